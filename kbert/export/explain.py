"""Which words pushed the decision: a signature with integrated gradients.

The probability of the label that is answered is followed from a text in which
every word is blank to the text as it is, and what changes on the way is laid
to the words that change it. Of heads that answer several labels it is the
most probable one's, of heads without labels the score.

Reference: Sundararajan, Taly & Yan 2017, Axiomatic Attribution for Deep
Networks (integrated gradients), https://arxiv.org/abs/1703.01365
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.inference import outputs_on

if TYPE_CHECKING:
    from kbert.task import Task

# Points on the way from the blank text. The attributions of a text add up to
# the change of its score the better the more there are.
STEPS = 16


def can_explain(task: Task) -> bool:
    """Whether the head answers probabilities of labels, or a score.

    Not of heads that answer tokens: theirs have one a token.
    """
    if task.head.overlap is not None:
        return False
    answers = task.serving_model.output
    shapes = {name: len(x.shape) for name, x in answers.items()}
    return _of_label(shapes) or shapes.get("score") == 1


def _of_label(shapes: dict[str, int]) -> bool:
    return shapes.get("probabilities") == 2 and shapes.get("label", 1) == 1


def make_explain(task: Task, steps: int = STEPS) -> Callable[..., dict]:
    """A function of string tensors that explains the head's answer.

    The blank text has `[PAD]` in place of every word; special tokens and
    positions stay.

    Args:
        task: a task that `can_explain`.
        steps: points of the path at which the gradient is taken.

    Returns:
        A function of the task's inputs, string `(B,)` each, to `value`
        float `(B,)`, the probability of the label (or the score) that is
        followed, and
        `blank_value` `(B,)`, the same for the blank text; and for each token
        `attribution` float `(B, T)`, what it adds to the value, `start` and
        `end` int32 `(B, T)`, its bytes in its text, and `input` int32
        `(B, T)`, which of the inputs it stands in. Special tokens and
        padding have 0 in all. The attributions of a row add up to about
        `value - blank_value`.

    Example:

    >>> make_explain(clf)(text=tf.constant(["WINNER! Call now"]))
    """
    import tensorflow as tf

    embed = task.backbone.embeddings
    encoder = task.backbone.after_embeddings()
    outputs = outputs_on(encoder, task.model, task.backbone)
    answers = task.head.serve(outputs)
    of_label = _of_label({name: len(x.shape) for name, x in answers.items()})
    model = keras.Model(encoder.input, answers, name="explained")

    def answer(x, mask):
        inputs = {"embeddings": x, "padding_mask": mask}
        return model(inputs, training=False)

    def followed(answers):
        """The label of each row, `(B,)`."""
        if "label" in answers:
            return answers["label"]
        return tf.argmax(answers["probabilities"], axis=-1)

    def value(answers, label):
        if of_label:
            return tf.gather(answers["probabilities"], label, batch_dims=1)
        return tf.cast(answers["score"], tf.float32)  # (B,)

    def explain(**texts) -> dict[str, Any]:
        tokens = task.tokenizer(
            *(texts[name] for name in task.inputs),
            max_length=task.max_length,
            truncation=task.head.truncation,
            offsets=True,
        )
        batch = task.tokenizer.pad(tokens)
        ids, mask = batch["token_ids"], batch["padding_mask"]
        starts = tokens["starts"].to_tensor(0)  # (B, T)
        ends = tokens["ends"].to_tensor(0)
        word = ends > starts
        blank_ids = tf.where(word, task.tokenizer.pad_id, ids)
        segments = batch["segment_ids"]
        # Both texts in one call: each is a graph of its own otherwise.
        both = embed(
            tf.concat([ids, blank_ids], 0),
            tf.tile(segments, [2, 1]),
            training=False,
        )
        x, blank = tf.split(both, 2)  # (B, T, H) each
        answers = answer(both, tf.tile(mask, [2, 1]))
        label = tf.split(followed(answers), 2)[0] if of_label else None  # (B,)
        values = value(answers, tf.tile(label, [2]) if of_label else None)

        def step(i, total):
            part = (tf.cast(i, x.dtype) + 0.5) / steps
            point = blank + part * (x - blank)
            with tf.GradientTape() as tape:
                tape.watch(point)
                reached = value(answer(point, mask), label)
            return i + 1, total + tape.gradient(reached, point)

        _, total = tf.while_loop(
            lambda i, _: i < steps,
            step,
            [tf.constant(0), tf.zeros_like(x)],
            parallel_iterations=1,
        )
        pushed = tf.reduce_sum(
            tf.cast((x - blank) * total / steps, tf.float32), axis=-1
        )  # (B, T)
        return {
            "value": tf.split(values, 2)[0],
            "blank_value": tf.split(values, 2)[1],
            "attribution": tf.where(word, pushed, 0.0),
            "start": starts,
            "end": ends,
            "input": segments,
        }

    return explain
