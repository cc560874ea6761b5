"""Which words pushed the decision: a signature with integrated gradients.

The probability of the label that is answered is followed from a text in which
every word is blank to the text as it is, and what changes on the way is laid
to the words that change it. Of heads that answer several labels it is the
most probable one's, of heads without labels the score, and of heads that
answer tokens what `kbert.heads.tokens.TokenHead.evidence` says.

Reference: Sundararajan, Taly & Yan 2017, Axiomatic Attribution for Deep
Networks (integrated gradients), https://arxiv.org/abs/1703.01365

Departures: of a probability the log-odds are followed, and their parts scaled
to the change of the probability. A trained model's probability leaps from 0 to
1 within a small part of the way, which evenly spaced points miss. The logits
of n-grams go the same way, and what they add is laid to the words by
`kbert.export.explain_ngrams`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING
from typing import Any

import keras

from kbert.export.explain_ngrams import token_shares
from kbert.heads.tokens import TokenHead
from kbert.models.graphs import outputs_on
from kbert.models.ngrams import NGRAM_LOGITS
from kbert.tokenizers.casing import TEXTS

if TYPE_CHECKING:
    from kbert.pipeline.text_model import TextModel

# Points on the way from the blank text. The attributions of a text add up to
# the change of its score the better the more there are.
STEPS = 32

# Tokens of the points that are computed at once, at most; one point at least.
# Rows of 32 tokens have all of theirs together, of 512 two: about the memory
# of two such texts, whatever the batch.
TOKENS = 1024

# A probability in float32 is told from 0 and from 1 down to here.
EPSILON = 1e-7


def can_explain(task: TextModel) -> bool:
    """Whether the head answers probabilities of labels, or a score.

    Heads that answer tokens have one a token; those say what to follow.
    """
    if isinstance(task.head, TokenHead):
        return type(task.head).evidence is not TokenHead.evidence
    answers = task.serving_model.output
    return _of_label(answers) or _ranks(answers).get("score") == 1


def _ranks(answers: dict) -> dict[str, int]:
    return {name: len(x.shape) for name, x in answers.items()}


def _of_label(answers: dict) -> bool:
    ranks = _ranks(answers)
    return ranks.get("probabilities") == 2 and ranks.get("label", 1) == 1


def make_explain(task: TextModel, steps: int = STEPS) -> Callable[..., dict]:
    """A function of string tensors that explains the head's answer.

    The blank text has `[PAD]` in place of every word; special tokens and
    positions stay. Of a text that heads that answer tokens read in windows,
    only the first `max_length` tokens are explained.

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
    head = task.head
    if not isinstance(head, TokenHead):
        outputs = head.serve(outputs)
        decide, evidence = _label, _value
        probable = _of_label(outputs)
    else:
        decide, evidence = head.decide, head.evidence
        probable = True
    follow = _log_odds if probable else tf.identity
    more, ngrams = {}, task.ngrams
    if ngrams is not None:
        more[NGRAM_LOGITS] = task.model.input[NGRAM_LOGITS]
    model = keras.Model(encoder.input | more, outputs, name="explained")

    def compute(inputs, mask):
        return model(inputs | {"padding_mask": mask}, training=False)

    def explain(**texts) -> dict[str, Any]:
        columns = [texts[name] for name in task.inputs]
        tokens = task.tokenizer(
            *columns,
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
        which = segments % TEXTS
        # Both texts in one call: each is a graph of its own otherwise.
        both = {
            "embeddings": embed(
                tf.concat([ids, blank_ids], 0),
                tf.tile(segments, [2, 1]),
                training=False,
            )  # (2B, T, H)
        }
        if ngrams is not None:
            written = ngrams(columns)  # (B, C)
            _, bias, _ = ngrams.weights
            nothing = tf.zeros_like(written) + bias.value
            both[NGRAM_LOGITS] = tf.concat([written, nothing], 0)
        computed = compute(both, tf.tile(mask, [2, 1]))
        (text, blank), (as_it_is, as_blank) = map(_halves, (both, computed))
        places = {}
        if head.by_token:
            begins = word & task.tokenizer.begins_word(ids)
            places = {"word": word, "first": begins, "input": which}
        decision = decide(as_it_is, places)

        # Points of all rows, so many at once that the memory stays bounded.
        count = tf.shape(ids)[0] * steps
        # No rows have no tokens either.
        size = tf.maximum(TOKENS // tf.maximum(tf.shape(ids)[1], 1), 1)

        def some_points(begin, totals):
            point = tf.range(begin, tf.minimum(begin + size, count))  # (P,)
            row = point // steps
            part = (tf.cast(point % steps, tf.float32) + 0.5) / steps
            reached = {
                name: _between(
                    tf.gather(a, row), tf.gather(text[name], row), part
                )
                for name, a in blank.items()
            }
            with tf.GradientTape() as tape:
                tape.watch(reached)
                outputs = compute(reached, tf.gather(mask, row))
                value = evidence(
                    outputs, _rows(places, row), _rows(decision, row)
                )
                value = follow(value)  # (P,)
            gradients = tape.gradient(value, reached)
            # In half precision a sum of many would lose the small ones.
            return begin + size, {
                name: tf.tensor_scatter_nd_add(
                    total, row[:, None], tf.cast(gradients[name], tf.float32)
                )
                for name, total in totals.items()
            }

        zeros = {k: tf.zeros_like(x, tf.float32) for k, x in text.items()}
        _, totals = tf.while_loop(
            lambda begin, _: begin < count,
            some_points,
            [tf.constant(0), zeros],
            parallel_iterations=1,
        )
        change = tf.cast(text["embeddings"] - blank["embeddings"], tf.float32)
        pushed = tf.reduce_sum(
            change * totals["embeddings"] / steps, axis=-1
        )  # (B, T)
        if ngrams is not None:
            weights = totals[NGRAM_LOGITS] / steps  # (B, C)
            pushed += token_shares(
                ngrams, columns, weights, starts, ends, which
            )
        value, blank_value = (
            evidence(computed, places, decision)
            for computed in (as_it_is, as_blank)
        )
        scale = tf.math.divide_no_nan(
            value - blank_value, follow(value) - follow(blank_value)
        )  # (B,)
        pushed *= scale[:, None]
        return {
            "value": value,
            "blank_value": blank_value,
            "attribution": tf.where(word, pushed, 0.0),
            "start": starts,
            "end": ends,
            "input": which,
        }

    return explain


def _halves(tensors):
    """Tensors `(2B, ...)`, or a structure of them, as two of `(B, ...)`."""
    import tensorflow as tf

    return [
        tf.nest.map_structure(lambda a, i=i: tf.split(a, 2)[i], tensors)
        for i in range(2)
    ]


def _rows(tensors, row):
    """Some rows of a structure of tensors `(B, ...)`."""
    import tensorflow as tf

    return tf.nest.map_structure(
        lambda x: tf.gather(x, row) if tf.is_tensor(x) else x, tensors
    )


def _between(first, last, part):
    """Points between tensors `(P, ...)`, by parts `(P,)` of the way."""
    import tensorflow as tf

    for _ in first.shape[1:]:
        part = part[..., None]
    return first + tf.cast(part, first.dtype) * (last - first)


def _label(answers, places):
    """The label of each row, `(B,)`; None of heads that answer none."""
    import tensorflow as tf

    if not _of_label(answers):
        return None
    if "label" in answers:
        return answers["label"]
    return tf.argmax(answers["probabilities"], axis=-1)


def _log_odds(probability):
    import tensorflow as tf

    p = tf.cast(probability, tf.float32)
    p = tf.clip_by_value(p, EPSILON, 1 - EPSILON)
    return tf.math.log(p) - tf.math.log1p(-p)


def _value(answers, places, label):
    """The probability of a label, or the score, `(B,)`."""
    import tensorflow as tf

    if label is not None:
        return tf.gather(answers["probabilities"], label, batch_dims=1)
    return tf.cast(answers["score"], tf.float32)
