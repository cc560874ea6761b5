"""What a new backbone begins with, if not with random weights alone."""

from __future__ import annotations

import numpy as np

from kbert.models.backbone import Backbone
from kbert.models.layers import EncoderLayer
from kbert.pretraining.cooccurrence import cooccurrence_embeddings
from kbert.pretraining.corpus import Corpus

RANDOM, CORPUS = "random", "corpus"
FIRST_WEIGHTS = (RANDOM, CORPUS)

# The attention score of a token with itself, before the softmax.
SELF_SCORE = 13.0


def begin_with_corpus(backbone: Backbone, corpus: Corpus, seed: int) -> None:
    """Give a new backbone what can be told of a corpus without training.

    - Token embeddings from which tokens occur together.
    - Position embeddings that are sinusoids (Vaswani et al. 2017, section
      3.5), so that near positions are alike.
    - Query and key kernels that are equal, so that a token attends to those
      that are like it (after Trockman & Kolter 2023, Mimetic Initialization
      of Self-Attention Layers, who do so for images).

    From random weights a masked language model spends most of a short run on
    finding these out. All of them are trained on.

    Args:
        backbone: `kbert.Backbone`, changed in place.
        corpus: what it will be pretrained on, with its vocabulary.
        seed: int.

    Raises:
        ConfigError: the vocabulary has no more tokens than an embedding has
            numbers.

    Example:

    >>> backbone = kbert.Backbone.from_size("mini", vocabulary_size=8000)
    >>> begin_with_corpus(backbone, kbert.Corpus("corpora/wiki"), seed=0)
    """
    scale = backbone.config["initializer_range"]
    table = backbone.embeddings.token_embedding.embeddings  # (V, E)
    size = table.shape[1]
    table.assign(cooccurrence_embeddings(corpus, size, scale, seed))
    positions = backbone.embeddings.position_embedding.embeddings
    positions.assign(scale * sinusoids(positions.shape[0], size))
    generator = np.random.default_rng(seed)
    for layer in backbone.layers:
        if isinstance(layer, EncoderLayer):
            attention = layer.attention
            shape = attention.query.kernel.shape  # (H, H)
            # Inputs are normalized: H numbers whose squares are 1 on average.
            deviation = SELF_SCORE**0.5 / (
                shape[0] ** 0.5 * attention.head_dim**0.25
            )
            kernel = deviation * generator.standard_normal(shape)
            attention.query.kernel.assign(kernel)
            attention.key.kernel.assign(kernel)


def sinusoids(count: int, size: int) -> np.ndarray:
    """Sines, then cosines, of positions, float64 `(count, size)`.

    The mean square of each row is 1. Of an odd size the last cosine is left
    out.
    """
    waves = -(-size // 2)
    rates = 10_000.0 ** (-np.arange(waves) / waves)
    angles = np.arange(count)[:, None] * rates  # (count, waves)
    table = np.concatenate([np.sin(angles), np.cos(angles)], axis=1)
    return 2**0.5 * table[:, :size]
