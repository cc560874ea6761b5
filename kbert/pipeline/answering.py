"""Answers to many texts, part by part, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from kbert.data.texts import ahead
from kbert.data.texts import encoded_parts
from kbert.tokenizers.windows import token_table

if TYPE_CHECKING:
    from kbert.task import Task

# Texts that are tokenized and sorted at once; and such as are read whole,
# whose tokens' answers are held at once.
WINDOW = 8192
LONG_TEXTS = 1024


def answer_parts(
    task: Task,
    columns: list,
    batch_size: int,
    done: Callable[[int], None] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """The head's answers by parts of some thousand rows, in their order.

    A part is tokenized while the one before is computed.

    Args:
        task: a task that has a model.
        columns: texts, one list a column.
        batch_size: rows computed at once.
        done: is told how many more rows are answered.
    """
    if task.head.overlap is None:
        parts = encoded_parts(columns, WINDOW)
        for table in ahead(map(task.tokenize, parts)):
            yield task.answer_table(table, batch_size, done)
        return
    parts = encoded_parts(columns, LONG_TEXTS)
    for part, tokens in ahead((part, task.tokens(part)) for part in parts):
        yield _answer_windows(task, part, tokens, batch_size)
        if done is not None:
            done(len(part[0]))


def _answer_windows(
    task: Task, texts: list, tokens: dict, batch_size: int
) -> dict[str, np.ndarray]:
    import tensorflow as tf

    table = token_table(tokens, task.tokenizer.pad_id)
    outputs = {
        key: tf.RaggedTensor.from_row_splits(value, table.offsets)
        for key, value in task.answer_table(table, batch_size).items()
    }
    texts = [tf.constant(text) for text in texts]
    answers = task.finish(outputs, tokens, texts)
    return {key: value.numpy() for key, value in answers.items()}
