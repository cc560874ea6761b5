"""What a backbone begins with that knows its corpus."""

import numpy as np
import pytest

import kbert
from kbert.pretraining.first_weights import SELF_SCORE
from kbert.pretraining.first_weights import begin_with_corpus
from kbert.pretraining.first_weights import sinusoids


@pytest.mark.parametrize("size", [32, 33])
def test_near_positions_are_alike(size):
    table = sinusoids(100, size)
    assert table.shape == (100, size)
    np.testing.assert_allclose((table**2).mean(axis=1), 1, atol=0.05)
    near = (table[50] @ table.T) / size
    assert near.argmax() == 50
    assert near[51] > near[53] > near[60]


@pytest.fixture(scope="module")
def backbone(corpus):
    backbone = kbert.Backbone.from_size(
        "tiny", vocabulary_size=len(corpus.vocabulary), embedding_dim=8
    )
    begin_with_corpus(backbone, corpus, seed=0)
    return backbone


def test_tables_have_the_scale_of_random_ones(backbone):
    for table in (
        backbone.embeddings.token_embedding.embeddings,
        backbone.embeddings.position_embedding.embeddings,
    ):
        assert np.sqrt((np.array(table) ** 2).mean()) == pytest.approx(
            backbone.config["initializer_range"], rel=0.1
        )


def test_a_token_attends_to_those_like_it(backbone):
    x = np.random.default_rng(0).standard_normal((200, 128))
    for layer in (backbone.get_layer("layer_0"), backbone.get_layer("layer_1")):
        query = np.array(layer.attention.query.kernel)
        np.testing.assert_array_equal(query, layer.attention.key.kernel)
        heads = (x @ query).reshape(200, -1, layer.attention.head_dim)
        scores = np.einsum("ihd,jhd->hij", heads, heads)
        scores /= layer.attention.head_dim**0.5
        own = scores[:, np.arange(200), np.arange(200)]
        assert own.mean() == pytest.approx(SELF_SCORE, rel=0.1)
        assert abs(scores.mean()) < 0.1 * SELF_SCORE
    assert (
        np.array(backbone.get_layer("layer_0").attention.query.kernel)
        != np.array(backbone.get_layer("layer_1").attention.query.kernel)
    ).any()
