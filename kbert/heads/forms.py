"""How other frameworks compute what a head computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class TransformersForm:
    """A class of transformers that computes a head's outputs.

    Args:
        architecture: its name, such as `"BertForTokenClassification"`.
        layers: name of each dense layer that the head has built to what that
            class calls it, such as `{"logits": "classifier"}`. The head has
            no other weights.
        linear_pooler: whether the head takes the first token's features
            where that class takes them through its pooler.
    """

    architecture: str
    layers: Mapping[str, str]
    linear_pooler: bool = False
