"""Answers to many rows: those of like length at once, in the rows' order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kbert.data.batching import TokenTable
from kbert.data.batching import answer_batches
from kbert.data.batching import static_shapes
from kbert.data.batching import token_places
from kbert.errors import NotFiniteError
from kbert.utils.finite import not_finite


def answer_table(
    table: TokenTable,
    compute: Callable[[dict], dict],
    batch_size: int,
    by_token: bool = False,
    done: Callable[[int], None] | None = None,
) -> dict[str, np.ndarray]:
    """What a model computes for each row of a table.

    Args:
        table: the rows.
        compute: a batch's answers, arrays `(B, ...)`, or `(B, T, ...)`.
        batch_size: rows computed at once.
        by_token: whether answers are of tokens; they are joined without
            padding, `(N, ...)`.
        done: is told how many rows each batch had.

    Raises:
        NotFiniteError: an answer is NaN or infinite.
    """
    batches = answer_batches(table.lengths, batch_size)
    answers = []
    order = batches
    for rows in batches:
        batch = table.take(rows, static_shapes())
        answer = compute(batch)
        if by_token:
            mask = batch["padding_mask"]
            answer = {key: value[mask] for key, value in answer.items()}
        answers.append(answer)
        if done is not None:
            done(len(rows))
    if by_token:
        order = [token_places(table.offsets, rows)[0] for rows in batches]
    inverse = np.argsort(np.concatenate(order))
    joined = {
        key: np.concatenate([answer[key] for answer in answers])[inverse]
        for key in answers[0]
    }
    if names := not_finite(joined.items()):
        raise NotFiniteError(
            f"Expected finite answers. Received: NaN or infinity in "
            f"{names}. The weights are of no use: load the model again, "
            f"or train anew. If they are good, compute in float32 or "
            f"mixed_bfloat16, which hold greater numbers than float16."
        )
    return joined
