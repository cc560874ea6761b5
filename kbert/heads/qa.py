"""Answers to questions, out of a text: the head `qa`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.data import squad
from kbert.data.answers import decode
from kbert.data.containers import as_list
from kbert.data.containers import as_table
from kbert.data.row_names import row_name
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.heads.answers import read_answers
from kbert.heads.tokens import TokenHead
from kbert.heads.transformers_form import TransformersForm
from kbert.tokenizers.windows import Windows
from kbert.tokenizers.windows import to_characters
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number

HIDDEN = -1e9


class AnswerHead(TokenHead):
    """The span of a context that answers a question, or that there is none.

    Two scores for each token: that the answer begins with it, and that it
    ends with it. A span has the sum of both, no answer the sum of `[CLS]`'s.
    Long contexts are read in windows, of which the best span is taken, and
    for no answer the window that says so least. Spans are of whole words, as
    BERT splits words, with what it deletes behind them, such as an accent
    that is a character of its own.

    References:
        Devlin et al. 2018, sections 4.2 and 4.3
        Rajpurkar et al. 2016 and 2018, SQuAD 1.1 and 2.0

    Args:
        labels: None; there are no labels.
        no_answer: whether there may be no answer; learned by `fit`: true if
            a training question has none.
        threshold: no answer is given where its score is above that of the
            best span by more than this. `fit` replaces it by what is best on
            the validation data, if they have questions without an answer.
        max_answer_length: most tokens of an answer.
        overlap: tokens that neighbouring windows of a context share, at most
            half of the room. BERT's `doc_stride` is the room without it.
        dropout: rate on the tokens' features, 0 to 1.

    Answers, each `(B,)`: `answer` string, empty for none; `score` float, the
    softmax probability of that span among all spans of all windows and no
    answer; `no_answer_score` float, that of no answer; `difference` float,
    what `threshold` is compared with; `best` string, the best span whatever
    the threshold says; `start` and `end` int, in characters (code points),
    `start_byte` and `end_byte` int, in bytes of UTF-8, of `answer` in the
    context as it was given, -1 for none.

    Departures: Google's code has the question truncated at 64 tokens, here
    it may have half the room; a window's span must begin where that window
    owns the token, as there, but ownership is halved between neighbours.

    Example:

    >>> clf = kbert.Classifier(head="qa", max_length=384)
    >>> clf.fit(
    ...     {"question": ["Who left?"], "context": ["Ann left Oslo."]},
    ...     [{"text": "Ann", "answer_start": 0}],
    ... )
    >>> clf.predict([("Who came?", "Bob came to Rome.")])
    ['Bob']
    """

    name = "qa"
    inputs = ("question", "context")
    label_outputs = ()
    answer_output = "answer"
    file_format = "squad"

    def __init__(
        self,
        labels: None = None,
        no_answer: bool | None = None,
        threshold: float = 0.0,
        max_answer_length: int = 30,
        overlap: int = 64,
        dropout: float = 0.1,
    ):
        if labels is not None:
            raise ConfigError(
                f"Expected no labels: the head 'qa' answers spans of texts. "
                f"Received: labels={short(labels)}. Leave `labels` out."
            )
        super().__init__()
        if no_answer is not None:
            no_answer = check_flag("no_answer", no_answer)
        self.no_answer = no_answer
        self.threshold = check_number("threshold", threshold)
        self.max_answer_length = check_integer(
            "max_answer_length", max_answer_length
        )
        self.overlap = check_integer("overlap", overlap, 0)
        self.dropout = check_number("dropout", dropout, 0, 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "no_answer": self.no_answer,
            "threshold": self.threshold,
            "max_answer_length": self.max_answer_length,
            "overlap": self.overlap,
            "dropout": self.dropout,
        }

    @property
    def ready(self) -> bool:
        return self.no_answer is not None

    # === Data ===

    def texts(self, x: Any, names: tuple[str, ...]) -> list[list]:
        """Pairs of a question and a context that is not empty."""
        columns = super().texts(x, names)
        if len(columns) == 2:
            for row, context in enumerate(columns[1]):
                if not context.strip():
                    raise InputError(
                        f"Expected a context to look for the answer in. "
                        f"Received: an empty one in {row_name(row)}."
                    )
        return columns

    def read(self, y: Any, columns: list[list]) -> list[dict]:
        """Answers of each row, with their spans in bytes.

        Takes dicts with `text` and `answer_start` (characters), both values
        or both lists, as Hugging Face's datasets have them; lists of such
        dicts, as SQuAD's files have them; None or empty for no answer.
        """
        table = as_table(y)
        if table is not None and {"text", "answer_start"} <= table.keys():
            lists = [
                as_list(table[k], "answers") for k in ("text", "answer_start")
            ]
            rows = [
                {"text": text, "answer_start": start}
                for text, start in zip(*lists, strict=False)
            ]
        else:
            rows = as_list(y, "answers")
        contexts = columns[1]
        if len(rows) != len(contexts):
            raise InputError(
                f"Expected answers for each context. Received: "
                f"{len(contexts)} contexts and {len(rows)} rows of answers."
            )
        return [
            read_answers(row, context, number)
            for number, (row, context) in enumerate(
                zip(rows, contexts, strict=True)
            )
        ]

    def adapt(self, y: list) -> None:
        if self.no_answer is None:
            self.no_answer = not all(row["text"] for row in y)

    def encode(self, y: list) -> list[dict]:
        for row, answers in enumerate(y):
            if not answers["text"] and not self.no_answer:
                raise InputError(
                    f"Expected an answer to each question. Received: none in "
                    f"{row_name(row)}. Train with such rows, or with "
                    f"no_answer=True."
                )
        return y

    def strata(self, y: list) -> list[tuple]:
        return [(bool(row["text"]),) for row in y]

    def align(self, targets: list, windows: Windows) -> np.ndarray:
        """First and last token of the first answer, `(windows, 2)`; [CLS]
        where a window does not have the whole of it.

        Warns:
            UserWarning: answers that no window has the whole of, or that
                begin or end inside of a word.
        """
        aligned = np.zeros((len(windows.row), 2), "int32")
        splits = windows.table.offsets
        edges = np.searchsorted(windows.row, np.arange(len(targets) + 1))
        lost, cut = [], []
        for target, parts in zip(targets, pairwise(edges), strict=True):
            if not target["text"]:
                continue
            begin, end = target["span"]
            tokens = slice(*splits[list(parts)])
            start, stop = windows.start[tokens], windows.end[tokens]
            inside = (start < end) & (stop > begin)
            if not inside.any():
                lost.append(target["row"])
                continue
            whole = start[inside].min(), stop[inside].max()
            if whole != (begin, end):
                cut.append(target["row"])
            for window in range(*parts):
                part = slice(*(splits[window : window + 2] - tokens.start))
                places = np.flatnonzero(inside[part])
                if len(places):
                    first, last = part.start + places[[0, -1]]
                    if (start[first], stop[last]) == whole:
                        aligned[window] = places[[0, -1]]
            if not aligned[slice(*parts)].any():
                lost.append(target["row"])
        _tell(
            lost,
            "are in no window as a whole, and are learned as no answer. A "
            "greater `max_length` has room for them",
        )
        _tell(
            cut, "begin or end inside of a word, and are learned as whole words"
        )
        return aligned

    # === Model ===

    def build(self, features: dict) -> keras.KerasTensor:
        x = keras.layers.Dropout(self.dropout, name="head_dropout")(
            features["sequence_output"]
        )
        x = keras.layers.Dense(
            2,
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",
            name="logits",
        )(x)  # (B, T, 2)
        mask = ops.cast(features["padding_mask"], "float32")[:, :, None]
        return ops.transpose(x * mask + (1 - mask) * HIDDEN, (0, 2, 1))

    def loss(self) -> keras.losses.Loss:
        # Of two distributions over the tokens, (B, 2, T).
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self) -> list:
        return [keras.metrics.SparseCategoricalAccuracy(name="accuracy")]

    # === Answers ===

    def serve(self, outputs: keras.KerasTensor) -> dict:
        return {"start": outputs[:, 0], "end": outputs[:, 1]}  # (B, T)

    def finish(self, outputs: dict, tokens: dict, texts: dict) -> dict:
        import tensorflow as tf

        context = texts["context"]
        row = tokens["row"]  # (W,)
        first = outputs["start"].to_tensor(HIDDEN)  # (W, T)
        last = outputs["end"].to_tensor(HIDDEN)
        nothing = first[:, 0] + last[:, 0]  # (W,), those of [CLS]
        begins = tokens["start"].to_tensor(-1)  # (W, T)
        first = tf.where(tokens["own"].to_tensor(False), first, HIDDEN)
        last = tf.where(begins >= 0, last, HIDDEN)

        spans = _spans(first, last, self.max_answer_length)
        best, reach = _best_spans(spans, self.max_answer_length)  # (W, T)
        token = tf.argmax(best, axis=1, output_type=tf.int32)  # (W,)
        reach = tf.gather(reach, token, batch_dims=1)
        score = tf.reduce_max(best, axis=1)

        # === The best window of each text, (B,) ===
        texts_count = tf.size(context)
        best = tf.math.segment_max(score, row)
        window = tf.range(tf.size(row))
        window = tf.where(score == tf.gather(best, row), window, tf.size(row))
        window = tf.math.segment_min(window, row)
        token, reach = tf.gather(token, window), tf.gather(reach, window)
        start = tf.gather(begins, window)
        start = tf.gather(start, token, batch_dims=1)
        end = tf.gather(tokens["end"].to_tensor(-1), window)
        # A context without a word has a span of special tokens.
        final = tf.minimum(token + reach, tf.shape(first)[1] - 1)
        end = tf.gather(end, final, batch_dims=1)
        empty = best < HIDDEN / 2
        nothing = tf.math.segment_min(nothing, row)
        difference = tf.where(empty, -HIDDEN, nothing - best)

        # === Softmax over every span of a text and no answer ===
        highest = tf.maximum(best, nothing)
        shift = tf.gather(highest, row)[:, tf.newaxis]
        total = tf.add_n(
            [
                tf.reduce_sum(tf.exp(spans(more) - shift), axis=1)
                for more in range(self.max_answer_length)
            ]
        )  # (W,)
        total = tf.math.segment_sum(total, row) + tf.exp(nothing - highest)
        given = ~empty
        if self.no_answer:
            given &= difference <= self.threshold
        bounds = tf.RaggedTensor.from_uniform_row_length(
            tf.reshape(tf.stack([start, end], axis=1), [-1]), 2
        )
        bounds = to_characters(context, tf.maximum(bounds, 0))
        bounds = tf.reshape(bounds.values, [texts_count, 2])
        text = tf.strings.unicode_transcode(
            tf.strings.substr(
                context,
                tf.where(empty, 0, start),
                tf.where(empty, 0, end - start),
            ),
            "UTF-8",
            "UTF-8",
            errors="ignore",
            replace_control_characters=False,
        )
        return {
            "answer": tf.where(given, text, ""),
            "score": tf.exp(best - highest) / total,
            "no_answer_score": tf.exp(nothing - highest) / total,
            "difference": difference,
            "best": text,
            "start": tf.where(given, bounds[:, 0], -1),
            "end": tf.where(given, bounds[:, 1], -1),
            "start_byte": tf.where(given, start, -1),
            "end_byte": tf.where(given, end, -1),
        }

    def decide(self, outputs, places: dict):
        """First and last token of the answer, `(B, 2)`; [CLS] for none."""
        import tensorflow as tf

        context = places["word"] & (places["input"] == 1)
        first, last = (
            tf.where(context, outputs[:, i], HIDDEN) for i in range(2)
        )
        best, reach = _best_spans(
            _spans(first, last, self.max_answer_length), self.max_answer_length
        )
        token = tf.argmax(best, axis=1, output_type=tf.int32)  # (B,)
        reach = tf.gather(reach, token, batch_dims=1)
        best = tf.reduce_max(best, axis=1)
        given = best >= HIDDEN / 2
        if self.no_answer:
            nothing = tf.reduce_sum(outputs[:, :, 0], axis=1)
            given &= nothing - best <= self.threshold
        span = tf.stack([token, token + reach], axis=1)
        return tf.where(given[:, tf.newaxis], span, 0)

    def evidence(self, outputs, places: dict, decision):
        """The probability of the first token times that of the last."""
        import tensorflow as tf

        chance = tf.gather(tf.nn.softmax(outputs), decision, batch_dims=2)
        return tf.reduce_prod(chance, axis=1)

    def transformers_form(self) -> TransformersForm:
        return TransformersForm(
            "BertForQuestionAnswering",
            {"logits": "qa_outputs"},
            labels=["start", "end"],
            pooler=None,
        )

    def calibrate(self, answers: dict, targets: list) -> None:
        true = [row["text"] for row in targets]
        if self.no_answer and not all(true):
            self.threshold = squad.best_threshold(
                answers["difference"].tolist(),
                decode(answers["best"]).tolist(),
                true,
            )

    def report(self, answers: dict, targets: list) -> dict[str, Any]:
        """`exact` and `f1`, 0 to 1; see `kbert.data.squad.report`."""
        return squad.report(
            decode(answers["answer"]).tolist(), [row["text"] for row in targets]
        )


def _spans(first, last, most: int) -> Callable:
    """A function to the scores `(B, T)` of spans from each token, all of a
    length, of the scores of first and last tokens `(B, T)`."""
    import tensorflow as tf

    width = tf.shape(first)[1]
    last = tf.pad(last, [[0, 0], [0, most - 1]], constant_values=HIDDEN)
    return lambda more: first + last[:, more : more + width]


def _best_spans(spans: Callable, most: int):
    """The best span from each token: its score, and how much further on it
    ends, `(B, T)`."""
    import tensorflow as tf

    best = spans(0)
    reach = tf.zeros_like(best, tf.int32)
    # A length at a time, or memory would grow with all of them.
    for more in range(1, most):
        reach = tf.where(spans(more) > best, more, reach)
        best = tf.maximum(best, spans(more))
    return best, reach


def _tell(rows: list[str], what: str) -> None:
    if rows:
        warnings.warn(
            f"{len(rows)} answers {what}. The first is that of {rows[0]}.",
            stacklevel=2,
        )
