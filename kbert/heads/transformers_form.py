"""How other frameworks compute what a head computes."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TransformersForm:
    """A class of transformers that computes a head's outputs.

    Args:
        architecture: its name, such as `"BertForTokenClassification"`.
        layers: name of each dense layer that the head has built to what that
            class calls it, such as `{"logits": "classifier"}`. The head has
            no other weights.
        labels: names of the outputs, if they are not the head's labels.
        pooler: what the class has between the backbone and those layers:
            the trained pooler; one that is `"linear"`, since the head takes
            the first token's features as they are; or None, for a class that
            takes every token's.
        problem_type: transformers' name of what is learned, if its class
            computes more than one.
    """

    architecture: str
    layers: Mapping[str, str]
    labels: Sequence[str] | None = None
    pooler: Literal["trained", "linear"] | None = "trained"
    problem_type: str | None = None
