"""One vector for a text: the head `embedding`, that of `kbert.Embedder`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.checkpoints.sentence import POOLINGS
from kbert.errors import ConfigError
from kbert.heads.base import Head
from kbert.heads.base import mean_pool


class EmbeddingHead(Head):
    """The text's vector, without labels; `kbert.Embedder` has it.

    Reference: Reimers & Gurevych 2019, Sentence-BERT, section 3,
    https://arxiv.org/abs/1908.10084

    Args:
        labels: None; it has none.
        pooling: `"mean"` of the tokens, or `"cls"` for the first token.
        normalize: whether the vector is scaled to length 1.

    Answers (`serve`): `embedding` float32 `(B, H)`.

    Example:

    >>> kbert.Embedder().head.pooling
    'mean'
    """

    name = "embedding"
    front = "Embedder"
    label_outputs = ()

    def __init__(
        self,
        labels: list | None = None,
        pooling: str = "mean",
        normalize: bool = True,
    ):
        super().__init__()
        if labels:
            raise ConfigError(
                f"The head 'embedding' has no labels. Received: "
                f"labels={labels!r}"
            )
        if pooling not in POOLINGS:
            raise ConfigError(
                f"`pooling` must be 'mean' or 'cls'. Received: "
                f"pooling={pooling!r}"
            )
        self.pooling = pooling
        self.normalize = normalize

    @property
    def ready(self) -> bool:
        return True  # There is nothing to learn from labels.

    def get_config(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "normalize": self.normalize}

    def build(self, features: dict) -> keras.KerasTensor:
        # Summed and scaled in float32 at any precision.
        x = ops.cast(features["sequence_output"], "float32")  # (B, T, H)
        if self.pooling == "mean":
            x = mean_pool(features | {"sequence_output": x})  # (B, H)
        else:
            x = x[:, 0]  # (B, H)
        return ops.normalize(x, axis=-1) if self.normalize else x

    def serve(self, outputs: keras.KerasTensor) -> dict:
        return {"embedding": outputs}

    def report(self, answers: dict, targets: np.ndarray) -> dict[str, Any]:
        """Correlation of the similarity of pairs with scores, as for STS.

        Args:
            answers: `similarity` float `(pairs,)`.
            targets: float `(pairs,)`.
        """
        # Imported here: SciPy costs a second, which `encode` need not pay.
        from scipy import stats

        similarity = answers["similarity"]
        return {
            "spearman": float(stats.spearmanr(similarity, targets)[0]),
            "pearson": float(stats.pearsonr(similarity, targets)[0]),
            "pairs": len(targets),
        }
