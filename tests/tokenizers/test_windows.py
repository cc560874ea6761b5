"""Windows of long texts: they cover each token once, and know its place."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.errors import ConfigError
from kbert.heads.spans import characters
from kbert.tokenizers.windows import Windows
from kbert.tokenizers.windows import make_windows
from kbert.tokenizers.windows import to_characters

WORDS = ["ann", "left", "oslo", "play", "##ing", "北", "京", "-", ".", "é"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def tokenizer():
    return kbert.Tokenizer([*SPECIAL, *WORDS, "e"])


@given(
    st.lists(st.text("an ple京.é😀", max_size=40), min_size=1, max_size=4),
    st.integers(3, 12),
    st.integers(0, 9),
)
@settings(max_examples=25)
def test_every_token_has_one_owner(tokenizer, texts, max_length, overlap):
    tokens = make_windows(
        tokenizer, texts, max_length=max_length, overlap=overlap
    )
    ids = tokenizer.tokenize(texts).to_list()
    assert max(tokens["token_ids"].row_lengths().numpy()) <= max_length
    own = tokens["own"]
    owned = tf.ragged.boolean_mask(tokens["token_ids"], own).to_list()
    joined = [[] for _ in texts]
    for row, part in zip(tokens["row"].numpy(), owned, strict=True):
        joined[row] += part
    assert joined == ids
    assert sorted(set(tokens["row"].numpy())) == list(range(len(texts)))
    for key in ("segment_ids", "first", "start", "end"):
        assert tokens[key].row_lengths().numpy().tolist() == [
            len(row) for row in tokens["token_ids"].to_list()
        ]


def test_neighbours_share_tokens(tokenizer):
    tokens = make_windows(
        tokenizer, ["ann left oslo ann left oslo"], max_length=6, overlap=2
    )
    ids = tokens["token_ids"].to_list()
    assert [row[1:-1] for row in ids] == [[5, 6, 7, 5], [7, 5, 6, 7]]
    own = tokens["own"].to_list()
    assert [row[1:-1] for row in own] == [
        [True] * 3 + [False],
        [False] + [True] * 3,
    ]


def test_words_have_one_span(tokenizer):
    text = "Playing, é-北京"
    tokens = make_windows(tokenizer, [text], max_length=20, overlap=0)
    (first,) = tokens["first"].to_list()
    # play ##ing [UNK] e - 北 京
    assert first == [False, True, False, *[True] * 5, False]
    raw = text.encode()
    spans = zip(
        *(tokens[k].to_list()[0] for k in ("start", "end")), strict=True
    )
    words = [raw[a:b].decode() for a, b in spans if a >= 0]
    assert words == ["Playing", "Playing", ",", "é", "-", "北", "京"]


def test_pair_keeps_its_question(tokenizer):
    tokens = make_windows(
        tokenizer,
        ["ann left"],
        ["oslo . oslo ann left oslo"],
        max_length=9,
        overlap=2,
    )
    ids = tokens["token_ids"].to_list()
    assert len(ids) == 2 and all(row[:4] == [2, 5, 6, 3] for row in ids)
    assert tokens["segment_ids"].to_list()[0] == [0] * 4 + [1] * 5
    assert tokens["start"].to_list()[0][:4] == [-1] * 4
    assert tokens["start"].to_list()[0][4] == 0


def test_long_question_leaves_half_the_room(tokenizer):
    tokens = make_windows(
        tokenizer, ["ann " * 50], ["oslo " * 10], max_length=13, overlap=4
    )
    lengths = tokens["token_ids"].row_lengths().numpy()
    assert lengths.max() == 13
    assert tokens["token_ids"].to_list()[0].count(5) == 5


@pytest.mark.parametrize(("pair", "least"), [(None, 3), (["ann"], 5)])
def test_no_room(tokenizer, pair, least):
    with pytest.raises(ConfigError, match=f"at least {least}"):
        make_windows(tokenizer, ["ann"], pair, max_length=least - 1, overlap=0)


@given(
    st.lists(
        st.binary(max_size=12) | st.text(max_size=8), min_size=1, max_size=4
    )
)
@settings(max_examples=50)
def test_characters_are_those_that_python_counts(texts):
    raw = [
        t.encode("utf-8", "ignore") if isinstance(t, str) else t for t in texts
    ]
    begins = [characters(text)[1] for text in raw]
    for text, row in zip(raw, begins, strict=True):
        assert len(row) == len(text.decode("utf-8", "ignore")) + 1
        assert row[-1] == len(text)
    places = tf.ragged.constant(
        [row.tolist() for row in begins], dtype=tf.int32
    )
    counted = to_characters(tf.constant(raw), places).to_list()
    assert counted == [list(range(len(row))) for row in begins]


def test_arrays_know_the_tokens_of_a_text(tokenizer):
    def windows(texts):
        tokens = make_windows(tokenizer, texts, max_length=5, overlap=1)
        return Windows.from_tensors(tokens, tokenizer.pad_id)

    texts = ["ann left oslo ann", "oslo", ""]
    part = windows(texts)
    both = Windows.concatenate([part, windows(["left left left left"])])
    assert both.row.tolist() == [0, 0, 1, 2, 3, 3]
    places = both.tokens_of(4)
    assert [p.stop - p.start for p in places] == [9, 3, 2, 9]
    np.testing.assert_array_equal(both.start[places[0]][:3], [-1, 0, 4])
