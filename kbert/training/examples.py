"""Labelled rows, and what they become when they are tokenized."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbert.data.batching import TokenTable
from kbert.data.batching import TokenTargets
from kbert.data.batching import static_shapes
from kbert.data.batching import take_targets
from kbert.heads.tokens import TokenHead
from kbert.pipeline.text_model import TextModel


@dataclass(frozen=True)
class Rows:
    """Texts and what is known of them.

    Attributes:
        columns: texts, a list a column.
        targets: what the head's `encode` gave.
        sample_weight: float32 `(rows,)`, or None.
    """

    columns: list
    targets: Any
    sample_weight: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.columns[0])

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        weight = self.sample_weight
        return Rows(
            [_take(column, rows) for column in self.columns],
            _take(self.targets, rows),
            None if weight is None else weight[rows],
        )


@dataclass(frozen=True)
class Examples:
    """Tokenized texts, or windows of them, and the targets of the loss."""

    table: TokenTable
    targets: Any
    sample_weight: np.ndarray | None = None

    @classmethod
    def of(
        cls, task: TextModel, rows: Rows, ngram_logits: np.ndarray | None = None
    ) -> Examples:
        """The examples of some rows; see `TextModel.tokenize`."""
        if not isinstance(task.head, TokenHead):
            table = task.tokenize(rows.columns, ngram_logits)
            return cls(table, rows.targets, rows.sample_weight)
        windows = task.windows(rows.columns)
        weight = rows.sample_weight
        return cls(
            windows.table,
            task.head.align(rows.targets, windows),
            None if weight is None else weight[windows.row],
        )

    def batch(self, rows: np.ndarray) -> tuple:
        """Some rows as one batch, `(inputs, targets)`."""
        return (
            self.table.take(rows, static_shapes()),
            take_targets(self.targets, rows),
        )

    def digest(self) -> str:
        """SHA-256 of all of it."""
        digest = hashlib.sha256()
        targets = [
            t.values if isinstance(t, TokenTargets) else t
            for t in keras.tree.flatten(self.targets)
        ]
        for array in (
            self.table.token_ids,
            self.table.segment_ids,
            self.table.offsets,
            *self.table.inputs.values(),
            *targets,
            self.sample_weight,
        ):
            if array is not None:
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def _take(values: Any, rows: np.ndarray) -> Any:
    if isinstance(values, np.ndarray):
        return values[rows]
    return [values[i] for i in rows]
