import keras
import numpy as np
import pytest
from kbert_news import NewsHead

from kbert.classifier import Classifier
from kbert.errors import ConfigError
from kbert.plugins import get_plugins
from kbert.testing import check_head

LABELS = ["art", "law", "sport", "tech"]


def serve(head, logits):
    served = head.serve(keras.ops.convert_to_tensor(logits, "float32"))
    return {k: keras.ops.convert_to_numpy(v) for k, v in served.items()}


def test_is_registered():
    entry = dict(get_plugins().heads.items())["news"]
    assert entry.value is NewsHead and entry.plugin == "kbert-news"


@pytest.mark.large
def test_check_head():
    check_head(NewsHead, labels=LABELS, top_k=2)


def test_topics_are_the_likeliest_labels_best_first():
    answers = serve(NewsHead(LABELS, top_k=2), [[1, 4, 3, 2], [9, 0, 0, 8]])
    assert answers["topics"].tolist() == [[1, 2], [0, 3]]
    assert answers["topics"][:, 0].tolist() == answers["label"].tolist()
    rows = np.arange(2)[:, None]
    np.testing.assert_array_equal(
        answers["topic_scores"],
        answers["probabilities"][rows, answers["topics"]],
    )


def test_fewer_labels_than_top_k_gives_all():
    head = NewsHead(["a", "b"], top_k=3)
    assert serve(head, [[0, 1]])["topics"].tolist() == [[1, 0]]
    assert head.get_config()["top_k"] == 3


@pytest.mark.parametrize("top_k", [0, -1, 2.0, True, None])
def test_wrong_top_k(top_k):
    with pytest.raises(ConfigError, match="`top_k` must be a positive"):
        NewsHead(top_k=top_k)


def test_report_counts_a_topic_among_the_best():
    head = NewsHead(LABELS, top_k=2)
    answers = serve(head, [[1, 4, 3, 2], [9, 0, 0, 8], [0, 0, 1, 2]])
    report = head.report(answers, np.array([2, 1, 3]))
    assert report["accuracy"] == pytest.approx(1 / 3)
    assert report["top_k"] == 2
    assert report["top_k_accuracy"] == pytest.approx(2 / 3)


def test_answers_name_the_topics():
    clf = Classifier(
        "random:1x64", head="news", labels=LABELS, max_length=16, seed=0
    )
    assert clf.inputs == ("title", "body")
    row = next(clf.stream([("a", "b c")]))
    assert set(row["topics"]) < set(LABELS) and len(row["topics"]) == 3
    assert row["label"] == row["topics"][0]


def test_long_body_keeps_its_tail():
    clf = Classifier(
        "random:1x64", head="news", labels=LABELS, max_length=40, seed=0
    )
    rows = [["t", "a" + " b" * 99 + end] for end in (" c", " d")]
    table = clf.tokenize(clf.columns(rows))
    assert table.lengths.tolist() == [40, 40]
    first, second = np.split(table.token_ids, 2)
    assert (first != second).sum() == 1
