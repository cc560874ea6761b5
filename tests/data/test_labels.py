"""JSON's labels meet CSV's, in every head, and no two become one."""

import enum
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import kbert
from kbert.cli import app
from kbert.data.labels import LabelFinder
from kbert.data.labels import check_labels
from kbert.data.labels import plain
from kbert.data.texts import as_labels
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import KbertError
from kbert.heads.classification import ClassificationHead
from kbert.heads.multi_label import MultiLabelHead
from kbert.heads.ner import EntityHead
from kbert.plugins import get_plugins
from kbert.training.class_weight import label_weights
from kbert.training.rows import labelled_rows

# One pair of labels as files and people write it.
FORMS = [
    ["0", "1"],
    [0, 1],
    [0.0, 1.0],
    ["0.0", "1.0"],
    [False, True],
    ["false", "true"],
    ["False", "True"],
    list(np.array([0, 1])),
    list(np.array([False, True])),
    list(np.array([0, 1], "float32")),
    [b"0", b"1"],
]
COLUMNS = [["x", "y"]]


@pytest.mark.parametrize("known", FORMS)
@pytest.mark.parametrize("given_as", FORMS)
def test_labels_meet_however_they_are_written(known, given_as):
    head = ClassificationHead()
    head.adapt(head.read(known * 2, [["x"] * 4]))
    y = head.read(given_as, COLUMNS)
    assert head.encode(y).tolist() == [0, 1]
    several = MultiLabelHead(head.labels)
    y = several.read([given_as, given_as[1:]], COLUMNS)
    assert several.encode(y).tolist() == [[1, 1], [0, 1]]
    spans = [[(0, 1, plain(given_as[1]))], []]
    if not isinstance(given_as[0], bytes):
        entities = EntityHead(head.labels)
        found = entities.encode(entities.read(spans, COLUMNS))
        assert found == [[(0, 1, head.labels[1])], []]


def test_in_plugins():
    heads = dict(get_plugins().heads.items())
    if "sentiment" in heads:
        head = heads["sentiment"].value(["-1", "0", "+1"])
        assert head.encode([1, 0, -1]).tolist() == [2, 1, 0]
        head = heads["sentiment"].value([1, 2, 3])
        assert head.encode(["3", "1", "2.0"]).tolist() == [2, 0, 1]
    if "spam" in heads:
        for labels, option, positive in (
            (["0", "1"], 1, "1"),
            ([0, 1], "1", 1),
            ([True, False], True, 1),
            (["false", "true"], None, "true"),
            (["0", "1"], None, "1"),
            (["Spam", "x"], None, "Spam"),
        ):
            head = heads["spam"].value(labels, positive=option)
            assert head.positive == positive
            assert type(head.positive) is type(positive)


@given(
    st.sets(
        st.sampled_from(["1", "1.0", "true", "True", "a", "01", "0", "2"]),
        min_size=2,
    ),
    st.lists(
        st.sampled_from(["1", 1, "1.0", True, "true", "01", "a", 2, "A"]),
        min_size=1,
        max_size=4,
    ),
)
def test_what_is_found_is_one_and_no_other(known, asked):
    find = LabelFinder(known)
    try:
        found = [find(label) for label in asked]
    except InputError:
        return
    pairs = {
        (label, type(given), given)
        for label, given in zip(found, asked, strict=True)
        if label is not None
    }
    assert len({label for label, *_ in pairs}) == len(pairs)
    for label, kind, given_as in pairs:
        assert label == given_as or given_as not in known or kind is not str


def test_exact_labels_come_first():
    find = LabelFinder(["1", "1.0", "01", "true", "True"])
    for label in ("1", "1.0", "01", "true", "True"):
        assert find(label) == label
    find = LabelFinder(["0", "1", "true"])
    assert find(True) == "true" and find(1) == "1"


@pytest.mark.parametrize(
    ("known", "asked", "message"),
    [
        (["1", "1.0"], [1], "1 in row 0, which may be '1' or '1.0'"),
        (["true", "TRUE"], [True], "'true' or 'TRUE'"),
        (["1", "2"], ["1", 1], "'1', and 1 in row 1"),
        ([1, 2], ["1", "2", "1.0"], "'1', and '1.0' in row 2"),
        (["false", "true"], ["true", 1, 0], "one way.*and 1 in row 1"),
        (["1", "2"], ["01", "2"], "'01' in row 0"),
        (["1", "2"], [" 1", "2"], "' 1' in row 0"),
        (["1", "2"], ["1", 3], "3 in row 1"),
    ],
)
def test_what_may_be_two_labels_is_refused(known, asked, message):
    for head, y in (
        (ClassificationHead(known), asked),
        (MultiLabelHead(known), [[label] for label in asked]),
    ):
        with pytest.raises(InputError, match=message):
            head.encode(y)


@pytest.mark.parametrize(
    "y", [["1", 1], [True, 1], [True, "true"], [1.0, "1.0"], [0, False]]
)
def test_training_labels_are_of_one_kind(y):
    head = ClassificationHead()
    with pytest.raises(ConfigError, match="all strings or all integers"):
        head.adapt(as_labels(y, 2))


class Word(enum.StrEnum):
    A, B = "a", "b"


class Number(enum.IntEnum):
    A, B = 1, 2


@pytest.mark.parametrize(
    ("kind", "labels"),
    [(Word, ["a", "b"]), (Number, [1, 2])],
)
def test_members_of_enums_are_what_they_are_equal_to(kind, labels):
    head = ClassificationHead()
    y = as_labels([kind.B, kind.A], 2)
    head.adapt(y)
    assert head.labels == labels and head.encode(y).tolist() == [1, 0]
    assert {type(label) for label in (*y, *head.labels)} == {type(labels[0])}
    assert check_labels(list(kind)) == labels
    assert json.dumps(head.get_config())
    assert label_weights(head, y, {kind.A: 2})[labels[0]] == 2


def test_labels_of_a_constructor():
    assert check_labels(np.array([2, 1])) == [2, 1]
    assert check_labels([1.0, 2.0]) == [1, 2]
    assert check_labels([False, True]) == [0, 1]
    for labels in ("spam", {"a", "b"}, {"a": 0, "b": 1}, b"ab", 2):
        with pytest.raises(ConfigError, match="a list, in order"):
            check_labels(labels)
    with pytest.raises(ConfigError, match="all integers"):
        check_labels([0.5, 1])


# === Weights by label ===


@pytest.mark.parametrize(
    ("labels", "class_weight", "expected"),
    [
        ([0, 1], {"1": 5}, [1, 5]),
        (["0", "1"], {1: 5}, [1, 5]),
        (["0", "1"], {np.int64(0): 0.5, np.str_("1"): 2}, [0.5, 2]),
        (["false", "true"], {True: 5}, [1, 5]),
        ([0, 1], {"true": 5, "false": 2}, [2, 5]),
        (["0.0", "1.0"], {"1": 5}, [1, 5]),
        ([0, 1], {}, [1, 1]),
        ([0, 1], "balanced", [4 / 6, 2]),
        (["0", "1", "2"], "balanced", [4 / 6, 2, 1]),
    ],
)
def test_weights_by_label(labels, class_weight, expected):
    head = ClassificationHead(labels)
    y = [labels[0]] * 3 + [labels[1]]
    weights = label_weights(head, y, class_weight)
    assert list(weights) == labels
    assert list(weights.values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"spma": 5}, "keys: ham, spam. Received: 'spma'.*mean 'spam'"),
        ({0: 1.0, 1: 5.0}, "keys: ham, spam. Received: 0"),
        ({"Spam": 5}, "Did you mean 'spam'"),
        ({None: 5}, "Received: None"),
        ({("ham",): 5}, "Received: .'ham'"),
        ("balance", "Received: class_weight='balance'. Did you mean 'bal"),
        ("BALANCED", "Did you mean 'balanced'"),
        ("heavy", "or a dict of label to weight"),
        ([1.0, 5.0], "or a dict"),
        (np.array([1.0, 5.0]), "or a dict"),
        (5.0, "or a dict"),
    ],
)
def test_bad_weights_by_label(class_weight, message):
    head = ClassificationHead(["ham", "spam"])
    with pytest.raises(ConfigError, match=message):
        label_weights(head, ["ham", "spam"], class_weight)
    clf = kbert.Classifier("random:1x64")
    with pytest.raises(ConfigError, match=message):
        clf.fit(
            *(["a", "b"] * 2, ["ham", "spam"] * 2),
            method="few_shot",
            class_weight=class_weight,
        )


def test_two_keys_of_one_label():
    with pytest.raises(ConfigError, match="`class_weight`.*'1', and 1"):
        label_weights(ClassificationHead([0, 1]), [0, 1], {"1": 2, 1: 3})


@pytest.mark.parametrize(
    ("head", "y"),
    [
        ("multi_label", [["a"], ["b"]]),
        ("regression", [1, 2]),
        ("ner", [[(0, 1, "A")], []]),
    ],
)
def test_heads_without_one_label_a_row(head, y):
    with pytest.raises(KbertError, match=f"one label.*{head}"):
        kbert.Classifier("random:1x64", head=head).fit(
            ["x", "y"], y, class_weight={"a": 2.0}
        )


def test_weights_of_labels_and_of_rows_multiply():
    clf = kbert.Classifier("random:1x64")
    rows, _ = labelled_rows(
        clf,
        (["x", "y", "z"], ["a", "b", "a"]),
        None,
        0.0,
        {"a": 2.0},
        [0.5, 3.0, 10.0],
        0,
    )
    assert rows.sample_weight.tolist() == [1.0, 3.0, 20.0]


def test_files_of_both_kinds_meet_from_the_command_line(tmp_path):
    rows = [(f"{'ab'[i % 2]} {i}", i % 2) for i in range(16)]
    files = {
        "rows.jsonl": [json.dumps({"text": t, "label": n}) for t, n in rows],
        "floats.csv": ["text,label"] + [f"{t},{n}.0" for t, n in rows],
        "bools.csv": ["text,label"] + [f"{t},{n == 1}" for t, n in rows],
    }
    for name, lines in files.items():
        (tmp_path / name).write_text("\n".join(lines) + "\n")

    def run(*arguments):
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        assert result.exit_code == 0, result.output
        return result.stdout

    model = tmp_path / "model"
    run(
        *("train", tmp_path / "rows.jsonl", "-o", model, "--quiet"),
        *("--preset", "random:1x64", "--epochs", "1"),
        *("--class-weight", '{"1": 3}'),
        *("--validation", tmp_path / "floats.csv"),
    )
    assert kbert.load(model).labels == [0, 1]
    report = run("evaluate", model, tmp_path / "bools.csv", "--json")
    assert list(json.loads(report)["per_class"]) == ["0", "1"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("balance", "Did you mean 'balanced'"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ("[1, 2]", "a JSON object"),
        ('{"a": 1', "a JSON object"),
    ],
)
def test_wrong_weights_from_the_command_line(value, message):
    arguments = ["train", __file__, "-o", "out", "--class-weight", value]
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "400"})
    assert result.exit_code == 2 and message in result.stderr
