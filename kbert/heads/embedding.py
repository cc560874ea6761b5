"""One vector for a text: the head `embedding`, that of `kbert.Embedder`."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.checkpoints.sentence import SIMILARITIES
from kbert.checkpoints.sentence_modules import POOLINGS
from kbert.data.containers import as_list
from kbert.errors import ConfigError
from kbert.errors import short
from kbert.heads.base import Head
from kbert.heads.base import mean_pool
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_flag


class EmbeddingHead(Head):
    """The text's vector, without labels; `kbert.Embedder` has it.

    Reference: Reimers & Gurevych 2019, Sentence-BERT, section 3,
    https://arxiv.org/abs/1908.10084

    Args:
        labels: None; it has none.
        pooling: how tokens become one vector: `"mean"`, `"cls"` (the first
            token), `"max"`, `"mean_sqrt_len_tokens"` (the sum by the square
            root of their number), `"weightedmean"` (the nth token counts n
            times), `"lasttoken"`; of several, a list, the vectors lie side
            by side.
        normalize: whether the vector is scaled to length 1.
        dense: layers between the two, a dict of `units`, `activation` and
            `bias` each, as a checkpoint has them.
        prompts: what may be put before a text, by name.
        default_prompt_name: the prompt that is put before every text.
        similarity: how vectors are compared: `"cosine"`, `"dot"`,
            `"euclidean"` or `"manhattan"`.

    Answers (`serve`): `embedding` float32 `(B, H)`.

    Raises:
        ConfigError: an argument is not valid.

    Example:

    >>> kbert.Embedder().head.pooling
    'mean'
    """

    name = "embedding"
    model_class = "Embedder"
    label_outputs = ()
    answer_output = "embedding"

    def __init__(
        self,
        labels: list | None = None,
        pooling: str | Sequence[str] = "mean",
        normalize: bool = True,
        dense: Sequence[Mapping[str, Any]] = (),
        prompts: Mapping[str, str] | None = None,
        default_prompt_name: str | None = None,
        similarity: str = "cosine",
    ):
        super().__init__()
        if labels:
            raise ConfigError(
                f"The head 'embedding' has no labels. Received: "
                f"labels={short(labels)}"
            )
        given = [pooling] if isinstance(pooling, str) else pooling
        poolings = [
            check_choice("pooling", one, POOLINGS)
            for one in as_list(given or [None], "poolings")
        ]
        self.pooling = poolings[0] if len(poolings) == 1 else poolings
        self.poolings = tuple(poolings)
        self.normalize = check_flag("normalize", normalize)
        self.dense = [dict(layer) for layer in dense]
        self.prompts = dict(prompts or {})
        self.default_prompt_name = default_prompt_name
        self.similarity = check_choice("similarity", similarity, SIMILARITIES)
        self.prompt()  # There must be one of the default's name.

    @property
    def ready(self) -> bool:
        return True  # There is nothing to learn from labels.

    def get_config(self) -> dict[str, Any]:
        config = {"pooling": self.pooling, "normalize": self.normalize}
        # What few have: earlier versions of kbert read the config of others.
        more = {
            "dense": self.dense,
            "prompts": self.prompts,
            "default_prompt_name": self.default_prompt_name,
        }
        config |= {key: value for key, value in more.items() if value}
        if self.similarity != "cosine":
            config["similarity"] = self.similarity
        return config

    def prompt(self, name: str | None = None) -> str:
        """The prompt of a name, or the default one.

        Raises:
            ConfigError: there is none of that name.
        """
        name = self.default_prompt_name if name is None else name
        if name is None:
            return ""
        if name not in self.prompts:
            known = ", ".join(map(repr, self.prompts)) or "none"
            raise ConfigError(
                f"`prompt_name` must be the name of a prompt. Received: "
                f"{name!r}. This model has: {known}."
            )
        return self.prompts[name]

    def check_products(self) -> None:
        """Raise `ConfigError` if vectors are compared by their distance."""
        if self.similarity not in ("cosine", "dot"):
            raise ConfigError(
                f"Expected an embedder whose vectors are compared by cosine "
                f"or dot product. Received: similarity={self.similarity!r}, "
                f"as its checkpoint says. Use `Embedder.similarity`."
            )

    def build(self, features: dict) -> keras.KerasTensor:
        # Summed and scaled in float32 at any precision.
        x = ops.cast(features["sequence_output"], "float32")  # (B, T, H)
        features = features | {"sequence_output": x}
        pooled = [_POOL[name](features) for name in self.poolings]
        x = pooled[0] if len(pooled) == 1 else ops.concatenate(pooled, axis=-1)
        for number, layer in enumerate(self.dense):
            x = keras.layers.Dense(
                layer["units"],
                activation=layer["activation"],
                use_bias=layer["bias"],
                dtype="float32",
                name=f"dense_{number}",
            )(x)
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


# === Poolings, (B, T, H) to (B, H) ===


def _mask(features: dict) -> keras.KerasTensor:
    return ops.cast(features["padding_mask"], "float32")[:, :, None]


def _max(features: dict) -> keras.KerasTensor:
    least = float(np.finfo("float32").min)
    x, real = features["sequence_output"], features["padding_mask"]
    return ops.max(ops.where(real[:, :, None], x, least), axis=1)


def _mean_sqrt_len(features: dict) -> keras.KerasTensor:
    mask = _mask(features)  # (B, T, 1)
    total = ops.sum(features["sequence_output"] * mask, axis=1)
    return total / ops.sqrt(ops.sum(mask, axis=1))


def _weighted_mean(features: dict) -> keras.KerasTensor:
    mask = _mask(features)
    weights = ops.cumsum(mask, axis=1) * mask  # 1, 2, 3 ...
    total = ops.sum(features["sequence_output"] * weights, axis=1)
    return total / ops.sum(weights, axis=1)


def _last(features: dict) -> keras.KerasTensor:
    mask = _mask(features)
    after = ops.concatenate([mask[:, 1:], 0 * mask[:, :1]], axis=1)
    return ops.sum(features["sequence_output"] * (mask - after), axis=1)


_POOL = {
    "cls": lambda features: features["sequence_output"][:, 0],
    "max": _max,
    "mean": mean_pool,
    "mean_sqrt_len_tokens": _mean_sqrt_len,
    "weightedmean": _weighted_mean,
    "lasttoken": _last,
}
