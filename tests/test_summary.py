"""`summarize`: which sentences it picks, bad input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

import kbert
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.heads.embedding import EmbeddingHead
from kbert.summary import centrality
from kbert.summary import choose


class Words:
    """In place of an embedder: similarity is the words in common."""

    head = EmbeddingHead()

    def similarity(self, texts):
        words = [set(text.lower().strip(".").split()) for text in texts]
        return np.array(
            [[len(a & b) / len(a | b) for a in words] for b in words], "float32"
        )


DOCUMENT = """\
Rivers rise

The river rose after rain. Rain and the river flooded the town.
Cats sleep.

The town asked for help after the river flooded. He agreed.
"""


def test_picks_what_the_others_say_too():
    picked = kbert.summarize(DOCUMENT, sentences=2, embedder=Words())
    assert picked == [
        "Rain and the river flooded the town.",
        "The town asked for help after the river flooded.",
    ]


def test_sentences_are_the_documents_in_its_order():
    for count in range(1, 8):
        picked = kbert.summarize(DOCUMENT, sentences=count, embedder=Words())
        assert len(picked) == min(count, 6)
        places = [DOCUMENT.index(sentence) for sentence in picked]
        assert places == sorted(places)


def test_with_an_embedder():
    embedder = kbert.Embedder("random:1x64", seed=0)
    assert len(kbert.summarize(DOCUMENT, embedder=embedder)) == 3
    assert kbert.summarize("天晴了。他回来了。我们走。", 3) == [
        "天晴了。",
        "他回来了。",
        "我们走。",
    ]


def test_a_repeated_sentence_is_picked_once():
    text = "The river rose. The river rose. Cats sleep in the sun."
    assert kbert.summarize(text, 2, Words()) == [
        "The river rose.",
        "Cats sleep in the sun.",
    ]


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_centrality_is_pagerank(count, seed):
    table = np.random.default_rng(seed).uniform(-1, 1, (count, count))
    table = (table + table.T) / 2
    scores = centrality(table)
    assert scores.sum() == pytest.approx(1)
    weights = np.maximum(table, 0)
    np.fill_diagonal(weights, 0)
    # Its fixed point, solved for: the power method must have come there.
    total = weights.sum(axis=1, keepdims=True)
    step = np.where(total > 0, weights / np.where(total, total, 1), 1 / count)
    system = np.eye(count) - 0.85 * step.T
    peer = np.linalg.solve(system, np.full(count, 0.15 / count))
    np.testing.assert_allclose(scores, peer, atol=1e-6)
    assert len(set(choose(scores, table, count))) == count


@pytest.mark.parametrize("text", ["", " \n\n\t", None, ["a", "b"], b"text"])
def test_bad_text(text):
    with pytest.raises(InputError, match="Expected a text"):
        kbert.summarize(text)


@pytest.mark.parametrize("count", [0, -1, 2.0, "3"])
def test_bad_count(count):
    with pytest.raises(ConfigError, match="positive integer"):
        kbert.summarize("One. Two.", count)
