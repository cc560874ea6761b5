"""Embeddings from what occurs together."""

import itertools

import numpy as np
import pytest

from kbert.errors import ConfigError
from kbert.pretraining import cooccurrence
from kbert.pretraining.cooccurrence import cooccurrence_embeddings
from kbert.pretraining.corpus import Shard
from kbert.pretraining.corpus_builder import build_corpus
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS

ANIMALS, METALS = ["cat", "dog", "horse"], ["iron", "gold", "tin"]
LIVING, DEAD = ["eats", "sleeps", "runs"], ["melts", "rusts", "shines"]
WORDS = [*ANIMALS, *METALS, *LIVING, *DEAD]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Animals live, metals do not; "never" is in no text."""
    random = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("topics")
    with (folder / "text.txt").open("w") as file:
        for _ in range(300):
            subjects, verbs = [(ANIMALS, LIVING), (METALS, DEAD)][
                random.integers(2)
            ]
            print(random.choice(subjects), random.choice(verbs), file=file)
            # Words that are not in the vocabulary say nothing.
            print("unheard of", random.choice(verbs), file=file)
            print(file=file)
    vocabulary = [*SPECIAL_TOKENS, *WORDS, "never"]
    return build_corpus(folder, Tokenizer(vocabulary), folder / "corpus")


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_tokens_of_like_surroundings_are_alike(corpus):
    table = cooccurrence_embeddings(corpus, 4, scale=0.05)
    assert table.shape == (len(corpus.vocabulary), 4)
    assert table.dtype == "float32"
    scale = np.sqrt((table**2).mean(axis=1))
    np.testing.assert_allclose(scale, 0.05, rtol=0.9)
    # But for those at random.
    rows = [corpus.vocabulary.index(w) for w in WORDS]
    np.testing.assert_allclose(scale[rows], 0.05, rtol=1e-5)
    word = {w: table[corpus.vocabulary.index(w)] for w in WORDS}
    alike = [
        cosine(word[a], word[b])
        for group in (ANIMALS, METALS, LIVING, DEAD)
        for a, b in itertools.combinations(group, 2)
    ]
    other = [cosine(word[a], word[b]) for a in ANIMALS for b in METALS]
    assert min(alike) > 0.5 + max(other)


def test_repeatable(corpus):
    a, b, c = (cooccurrence_embeddings(corpus, 4, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    # Of a token that is never near another nothing is known.
    never = corpus.vocabulary.index("never")
    assert (a[never] != c[never]).any()
    assert (a[never] != 0).all()


def test_pairs_are_those_within_documents(monkeypatch):
    # Two documents, of two sentences and of one; read in chunks of 3.
    monkeypatch.setattr(cooccurrence, "CHUNK", 3)
    random = np.random.default_rng(0)
    tokens = random.integers(0, 9, 30).astype("uint16")
    shard = Shard(
        tokens,
        np.array([0, 7, 13, 30]),
        np.array([0, 2, 3]),
        np.ones(30, bool),
    )
    found = sorted(
        (int(a), int(b), float(w))
        for first, second, weights in cooccurrence._pairs(shard)
        for a, b, w in zip(first, second, weights, strict=True)
    )
    expected = sorted(
        (int(tokens[i]), int(tokens[j]), 1 / (j - i))
        for i in range(30)
        for j in range(i + 1, min(i + 6, 30))
        if (i < 13) == (j < 13)
    )
    assert found == expected


def test_a_vocabulary_that_is_too_small(corpus):
    with pytest.raises(ConfigError, match="18 tokens and 64 numbers"):
        cooccurrence_embeddings(corpus, 64)
