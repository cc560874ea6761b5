"""Tags: schemes that are checked, and entities as seqeval counts them."""

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.heads.tags import entities
from kbert.heads.tags import guess_scheme
from kbert.heads.tags import read_tags
from kbert.heads.tags import score
from kbert.heads.tags import word_spans
from kbert.heads.tags import write_tags

TAGS = st.lists(
    st.sampled_from([f"{p}-{k}" for p in "BIES" for k in "AB"] + ["O"]),
    max_size=12,
)


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-A I-A O B-B", [(0, 2, "A"), (3, 4, "B")]),
        ("B-A B-A I-A", [(0, 1, "A"), (1, 3, "A")]),
        ("I-A I-A I-B", [(0, 2, "A"), (2, 3, "B")]),
        ("B-A I-B I-B", [(0, 1, "A"), (1, 3, "B")]),
        ("B-A E-A S-A I-A", [(0, 2, "A"), (2, 3, "A"), (3, 4, "A")]),
        ("B-A L-A U-B", [(0, 2, "A"), (2, 3, "B")]),
        ("", []),
    ],
)
def test_entities(tags, expected):
    assert entities(tags.split()) == expected


@settings(max_examples=50)
@given(TAGS)
def test_entities_are_those_of_seqeval(tags):
    scoring = pytest.importorskip("seqeval.metrics.sequence_labeling")
    found = [(a, b + 1, k) for k, a, b in scoring.get_entities(tags)]
    assert entities(tags) == found


@settings(max_examples=50)
@given(st.lists(st.tuples(TAGS, TAGS), min_size=1, max_size=5))
def test_figures_are_those_of_seqeval(rows):
    metrics = pytest.importorskip("seqeval.metrics")
    rows = [(a[: len(b)], b[: len(a)]) for a, b in rows]
    predicted, true = (
        [list(r) for r in part] for part in zip(*rows, strict=True)
    )
    sets = [[set(entities(row)) for row in part] for part in (predicted, true)]
    report = score(*sets, ["A", "B"])
    options = {"zero_division": 0}
    for key, name in (
        ("precision", "precision_score"),
        ("recall", "recall_score"),
    ):
        theirs = getattr(metrics, name)(true, predicted, **options)
        assert report[key] == pytest.approx(float(theirs))
    theirs = metrics.f1_score(true, predicted, **options)
    assert report["f1"] == pytest.approx(float(theirs))
    if any(sets[1]):
        table = metrics.classification_report(
            true, predicted, output_dict=True, **options
        )
        for kind in {"A", "B"} & table.keys():
            for key, value in report["per_class"][kind].items():
                assert value == pytest.approx(float(table[kind][key]))


def test_figures_by_hand():
    true = [{(0, 2, "A"), (3, 4, "B")}, {(0, 1, "A")}]
    predicted = [{(0, 2, "A"), (3, 4, "A")}, set()]
    report = score(predicted, true, ["A", "B"])
    assert report["precision"] == 1 / 2 and report["recall"] == 1 / 3
    assert report["f1"] == pytest.approx(0.4)
    assert report["per_class"]["A"]["support"] == 2
    assert report["per_class"]["B"]["f1-score"] == 0.0
    assert report["macro_f1"] == pytest.approx(0.25)


@settings(max_examples=50)
@given(TAGS)
def test_written_tags_keep_to_bio(tags):
    found = entities(tags)
    written = write_tags(found, len(tags))
    assert read_tags(written, "BIO", 0) == found


@pytest.mark.parametrize(
    ("tags", "scheme", "message"),
    [
        ("O I-A", "BIO", "I-A only after B-A.*after O for word 1 in row 7"),
        ("I-A", "BIO", "after nothing for word 0 in row 7.*scheme='IOB1'"),
        ("B-A I-B", "BIO", "I-B only after B-B"),
        ("B-A E-A", "BIO", "the scheme BIO. Received: 'E-A'"),
        ("B-A O", "BIOES", "I-A or E-A after B-A.*O for word 1 in row 7"),
        ("B-A", "BIOES", "Received: the end"),
        ("S-A E-A", "BIOES", "E-A only after"),
        ("X-A", "BIO", "O or a tag such as B-PER.*'X-A' for word 0"),
        ("B", "BIO", "'B' for word 0 in row 7"),
        ("B-", "BIO", "'B-'"),
    ],
)
def test_tags_that_break_their_scheme(tags, scheme, message):
    with pytest.raises(InputError, match=message):
        read_tags(tags.split(), scheme, 7)


def test_tag_that_is_no_string():
    with pytest.raises(InputError, match="Received: 3 for word 1"):
        read_tags(["O", 3], "BIO", 0)


def test_unknown_scheme():
    with pytest.raises(ConfigError, match="BIO, BIOES, IOB1"):
        read_tags(["O"], "IO", 0)


def test_iob1_has_b_only_between_neighbours():
    tags = "I-A I-A B-A O I-B".split()
    assert read_tags(tags, "IOB1", 0) == [(0, 2, "A"), (2, 3, "A"), (4, 5, "B")]


def test_scheme_is_seen():
    assert guess_scheme([["B-A", "I-A"], ["O"]]) == "BIO"
    assert guess_scheme([["O"], ["S-A"]]) == "BIOES"
    assert guess_scheme([["U-A"]]) == "BIOES"


def test_words_of_a_text():
    assert word_spans("a  b", 3) == [(0, 1), (2, 2), (3, 4)]
    assert word_spans("a\n b", 2) == [(0, 2), (3, 4)]
    assert word_spans("a \t b", 2) == [(0, 1), (4, 5)]
    assert word_spans("a b", 3) is None


def test_tags_of_conll2003(data_root):
    from kbert.data.files import read_table

    path = data_root / "conll2003" / "test.txt"
    x, y = read_table(path, ("text",), "label", format="conll")
    assert len(y) == 3453
    # Its variant is BIO (IOB2): every entity begins with B-.
    found = [
        entity for i, row in enumerate(y) for entity in read_tags(row, "BIO", i)
    ]
    assert len(found) == 5648
    assert all(
        len(t.split(" ")) == len(r) for t, r in zip(x["text"], y, strict=True)
    )
