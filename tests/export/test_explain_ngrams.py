"""What n-grams add, laid to tokens: against the sums written out."""

import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.export.explain import can_explain
from kbert.export.explain import make_explain
from kbert.export.explain_ngrams import token_shares
from kbert.models.ngrams import BUCKETS
from kbert.models.ngrams import MOST_CHARACTERS
from kbert.models.ngrams import NgramModel

CLASSES = 3
WIDTHS = (1, 2, 3)


@pytest.fixture(scope="module")
def ngrams():
    model = NgramModel(CLASSES, WIDTHS[-1])
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def hashed(gram: str) -> int:
    return int(tf.strings.to_hash_bucket_fast(gram, BUCKETS))


def written_out(model, columns, weights, tokens):
    """The same for one text, n-gram by n-gram.

    `tokens` are (column, first byte, byte after the last).
    """
    kernel, _, idf = (w.numpy() for w in model.weights)
    text = "\n".join(columns)
    # Of each character, which tokens it is in.
    within = []
    for column, words in enumerate(columns):
        at = 0
        for character in words:
            within.append(
                [t for t in tokens if t[0] == column and t[1] <= at < t[2]]
            )
            at += len(character.encode())
        within.append([])  # What joins them.
    grams = [
        (start, text[start : start + width])
        for width in WIDTHS
        for start in range(len(text) - width + 1)
    ]
    counts = Counter(gram for _, gram in grams)
    values = {
        gram: (1 + math.log(count)) * idf[hashed(gram)]
        for gram, count in counts.items()
    }
    length = math.sqrt(sum(value**2 for value in values.values()))
    shares = dict.fromkeys(tokens, 0.0)
    for start, gram in grams:
        inside = [c for c in within[start : start + len(gram)] if c]
        part = values[gram] / counts[gram] / length
        part *= kernel[hashed(gram)] @ weights
        for covering in inside:
            for token in covering:
                shares[token] += part / len(inside) / len(covering)
    return list(shares.values())


WORDS = st.lists(st.text("abA1 é中😀", max_size=6), max_size=4).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=2), st.data())
@settings(max_examples=40)
def test_is_what_the_sums_give(ngrams, columns, data):
    tokens = []
    for column, text in enumerate(columns):
        cuts = sorted(
            {0, len(text)}
            | data.draw(st.sets(st.integers(0, len(text)), max_size=4))
        )
        places = [len(text[:cut].encode()) for cut in cuts]
        pairs = list(zip(places, places[1:], strict=False))
        kept = data.draw(st.lists(st.booleans(), min_size=4, max_size=8))
        tokens += [
            (column, *pair)
            for pair, keep in zip(pairs, kept, strict=False)
            if keep
        ]
    weights = np.array([0.5, -2.0, 1.0], "float32")
    table = np.array([*tokens, (0, 0, 0)], "int32")[None]  # A special one.
    which, starts, ends = np.moveaxis(table, -1, 0)
    found = token_shares(
        ngrams,
        [tf.constant([text]) for text in columns],
        tf.constant(weights[None]),
        *(tf.constant(x) for x in (starts, ends, which)),
    ).numpy()
    want = [*written_out(ngrams, columns, weights, tokens), 0.0]
    np.testing.assert_allclose(found, [want], atol=1e-5)


def test_adds_up_where_all_is_in_tokens(ngrams):
    """Rows of several lengths, some cut, bad bytes, and characters that are
    in two tokens."""
    texts = [b"abc", b"", b"a\xffb" * 9, b"x" * (MOST_CHARACTERS + 50)]
    starts = np.array([[0, 1], [0, 0], [0, 3], [0, 0]], "int32")
    ends = np.array([[2, 3], [0, 0], [3, 27], [99_999, 9]], "int32")
    weights = np.ones((4, CLASSES), "float32")
    columns = [tf.constant(texts)]
    found = token_shares(ngrams, columns, weights, starts, ends, 0 * starts)
    bias = ngrams.weights[1].numpy()
    added = (ngrams(columns).numpy() - bias).sum(1) * (np.arange(4) != 1)
    np.testing.assert_allclose(found.numpy().sum(1), added, rtol=1e-3)
    assert (found.numpy()[[0, 2, 3]] != 0).all()


@pytest.mark.parametrize("inputs", [("text",), ("text", "text_pair")])
def test_explanations_have_them(inputs):
    clf = kbert.Classifier(
        *("random:1x64", "classification"),
        labels=["calm", "loud"],
        ngrams=3,
        inputs=inputs,
        max_length=16,
        seed=0,
    )
    assert can_explain(clf)
    # No token tells the classes apart.
    calm = ["some words", "of the news", "or of others", "then more"]
    columns = [calm + [text.upper() for text in calm], ["and"] * 8]
    clf.ngrams.fit(columns[: len(inputs)], np.repeat([0, 1], 4))
    columns = [["MORE", "so MANY words", ""], ["and"] * 3][: len(inputs)]
    texts = dict(zip(inputs, columns, strict=True))
    why = make_explain(clf)(**{k: tf.constant(v) for k, v in texts.items()})
    why = {key: value.numpy() for key, value in why.items()}
    np.testing.assert_allclose(
        why["value"], clf.predict_proba(texts).max(axis=1), atol=1e-5
    )
    labels = clf.predict(texts)
    assert labels[0] == "loud"
    change = why["value"] - why["blank_value"]
    assert change[0] > 0.2
    if len(inputs) == 1:  # Nothing stands between words.
        whole = [0, 2]
        np.testing.assert_allclose(
            why["attribution"].sum(1)[whole], change[whole], atol=1e-3
        )
    # By word, what its tokens add to "loud".
    word = {b"so": 0.0, b"MANY": 0.0, b"words": 0.0}
    for start, end, at, part in zip(
        *(why[k][1] for k in ("start", "end", "input", "attribution")),
        strict=True,
    ):
        if end > start and at == 0:
            before = b"so MANY words"[: start + 1].count(b" ")
            word[list(word)[before]] += part
    sign = 1 if labels[1] == "loud" else -1
    assert max(word, key=lambda name: sign * word[name]) == b"MANY"
