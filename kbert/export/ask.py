"""What was written is asked before it is kept.

Each format answers the same texts as the model that it was made of: short and
long, empty, of other scripts. What answers otherwise is an `ExportError`.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping
from typing import TYPE_CHECKING
from typing import Any

import keras
import numpy as np

from kbert.data.answers import decode
from kbert.data.answers import name_labels
from kbert.data.answers import rows_of
from kbert.errors import ExportError
from kbert.tokenizers.windows import token_table

if TYPE_CHECKING:
    from kbert.models.backbone import Backbone
    from kbert.pipeline.text_model import TextModel

TEXTS = ["What a day!", "", "a", "Ärger in 北京, 🎉"]

# How far answers in float32 may be apart, and those of less precision.
CLOSE, COARSE = 1e-3, 0.1

# Arrays `(B, ...)` by name.
Answers = Mapping[str, np.ndarray]


def example_texts(task: TextModel) -> list[list[str]]:
    """Texts, a list a column; only the first has an empty one."""
    texts = [*TEXTS, "word " * task.max_length]
    full = [text or "ok" for text in texts]
    return [texts, *[full for _ in task.inputs[1:]]]


def example_tokens(task: TextModel) -> dict[str, np.ndarray]:
    """The same as a padded batch of the model's inputs."""
    tokens = task.tokens(example_texts(task))
    table = token_table(tokens, task.tokenizer.pad_id)
    return table.take(np.arange(len(table.lengths)))


def closeness(task: TextModel) -> float:
    """How far another runtime's answers may be from the task's own."""
    whole = {"float32", "float64"}
    dtypes = {layer.compute_dtype for layer in task.model.layers}
    return CLOSE if dtypes <= whole else COARSE


def ask_tokens(
    task: TextModel,
    format: str,
    answer: Callable[[Mapping[str, np.ndarray]], Answers],
    check: Callable[[np.ndarray, np.ndarray], bool] | None = None,
) -> None:
    """Compare answers to token ids with those of the head's `serve`.

    Args:
        task: the model.
        format: what was written, for the message.
        answer: gives some or all of the answers to a padded batch.
        check: whether two arrays of floats agree; by default number by
            number.

    Raises:
        ExportError: an answer fails or is another.
    """
    batch = example_tokens(task)
    expected = task.head.serve(task.model(batch, training=False))
    expected = {k: keras.ops.convert_to_numpy(v) for k, v in expected.items()}
    received = asked(format, answer, batch)
    if task.head.by_token:
        mask = batch["padding_mask"]
        expected = {key: value[mask] for key, value in expected.items()}
        received = {key: value[mask] for key, value in received.items()}
    expected = {key: expected[key] for key in received}
    compare(format, received, expected, check or near(closeness(task)))


def ask_texts(
    task: TextModel, format: str, answer: Callable[[list[list[str]]], Answers]
) -> None:
    """The same, of what takes texts and answers as `predict` does."""
    head, texts = task.head, example_texts(task)
    # Label names are strings there, also of labels that are integers.
    labels = [str(label) for label in head.labels or ()]
    expected = name_labels(
        task.answer_columns(texts), labels, head.label_outputs
    )
    expected = {key: decode(value) for key, value in expected.items()}
    received = asked(format, answer, texts)
    received = {key: decode(value) for key, value in received.items()}
    if not task.head.by_token:
        compare(format, received, expected, near(closeness(task)))
    elif expected.keys() != received.keys():
        raise _differs(format, "; ".join(received), "; ".join(expected))
    elif closeness(task) == CLOSE:
        # Of two tags that are as likely, either may be answered.
        rows = [_plain(rows_of(x)) for x in (received, expected)]
        _most(format, *rows)


def ask_backbone(
    backbone: Backbone,
    format: str,
    answer: Callable[[Mapping[str, np.ndarray]], Answers],
    close: float = CLOSE,
    outputs: keras.Model | None = None,
) -> None:
    """The same, of checkpoints: features of some token ids.

    Args:
        backbone: what was written.
        format: see `ask_tokens`, as `answer`.
        close: how far they may be apart.
        outputs: a model of the backbone's inputs to answers by name, in
            place of its features.
    """
    config = backbone.config
    length = min(16, config["max_sequence_length"])
    ids = np.arange(2 * length).reshape(2, length)
    batch = {
        "token_ids": (ids % config["vocabulary_size"]).astype("int32"),
        "segment_ids": np.zeros(ids.shape, "int32"),
        "padding_mask": np.ones(ids.shape, bool),
    }
    expected = (outputs or backbone)(batch, training=False)
    expected = {k: keras.ops.convert_to_numpy(v) for k, v in expected.items()}
    received = asked(format, answer, batch)
    expected = {key: expected[key] for key in received}
    if backbone.embeddings.compute_dtype != "float32":
        close = COARSE
    compare(format, received, expected, near(close))


def near(close: float) -> Callable[[np.ndarray, np.ndarray], bool]:
    """Whether arrays agree, number by number."""
    return lambda a, b: np.allclose(a, b, rtol=close, atol=close)


def asked(format: str, answer: Callable[[Any], Answers], x: Any) -> Answers:
    """What is answered, or `ExportError`."""
    try:
        return {key: np.asarray(v) for key, v in answer(x).items()}
    except Exception as error:  # Each runtime has its own, without a base.
        raise ExportError(
            f"Expected the {format} that was written to answer texts. "
            f"Received: {' '.join(str(error).split())[:500]}. Nothing is "
            f"kept; export to another format."
        ) from error


def compare(
    format: str,
    received: Answers,
    expected: Answers,
    agree: Callable[[np.ndarray, np.ndarray], bool],
) -> None:
    """Raise `ExportError` if answers differ."""
    if received.keys() != expected.keys():
        raise _differs(format, "; ".join(received), "; ".join(expected))
    for key, value in expected.items():
        found = received[key]
        if found.shape != value.shape:
            raise _differs(f"{format} in {key}", found.shape, value.shape)
        if value.dtype.kind != "f":
            # Labels: of equal scores either may win.
            alike = _alike_counts if key == "count" else _alike
            _most(f"{format} in {key}", [*found], [*value], alike)
        elif not np.isfinite(found).all() or not agree(found, value):
            raise _differs(f"{format} in {key}", found, value)


def _most(
    format: str,
    received: list,
    expected: list,
    alike: Callable[[Any, Any], float] | None = None,
) -> None:
    """Raise `ExportError` if more than a quarter of the rows differ."""
    pairs = zip(received, expected, strict=True)
    wrong = [1.0 - (alike or _alike)(a, b) for a, b in pairs]
    if sum(wrong) > max(1, len(expected) // 4):
        worst = int(np.argmax(wrong))
        raise _differs(format, received[worst], expected[worst])


def _alike(a: Any, b: Any) -> float:
    """1 for the same answers, 0 for others.

    Of several labels a row it is the part that both have, in whatever order:
    that follows scores, which may be near each other.
    """
    if isinstance(b, np.ndarray) and b.ndim:
        one, other = {*a.ravel().tolist()}, {*b.ravel().tolist()}
        return len(one & other) / max(len(one | other), 1)
    return float(np.array_equal(a, b))


def _alike_counts(a: Any, b: Any) -> float:
    """The same of how many labels there are: a score may be at a limit."""
    return min(a, b) / max(a, b, 1) if a != b else 1.0


def _plain(value: Any) -> Any:
    """What is decided in an answer, without its scores."""
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if not _is_float(v)}
        return {key: _plain(v) for key, v in kept.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value


def _is_float(value: Any) -> bool:
    return isinstance(value, float | np.floating)


def _differs(what: str, received: Any, expected: Any) -> ExportError:
    def short(value):
        return " ".join(str(value).split())[:200]

    return ExportError(
        f"Expected the answers of the model from the {what}: "
        f"{short(expected)}. Received: {short(received)}. Nothing is kept; "
        f"export to another format."
    )
