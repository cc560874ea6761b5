"""Entities in a text: the head `ner`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kbert.data.batching import TokenTargets
from kbert.data.containers import as_list
from kbert.data.labels import LabelFinder
from kbert.data.row_names import row_name
from kbert.data.texts import as_texts
from kbert.data.texts import check_columns
from kbert.errors import InputError
from kbert.errors import listed
from kbert.errors import short
from kbert.heads.spans import read_entities
from kbert.heads.tag_accuracy import IGNORED
from kbert.heads.tag_accuracy import TagAccuracy
from kbert.heads.tags import SCHEMES
from kbert.heads.tags import score
from kbert.heads.tokens import TokenHead
from kbert.heads.transformers_form import TransformersForm
from kbert.tokenizers.windows import Windows
from kbert.tokenizers.windows import to_characters
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number

# Tags of the model: outside, then B- and I- of each label.
OUTSIDE = 0


class EntityHead(TokenHead):
    """Named entities: a tag for each word, and entities from the tags.

    Trained on words and their tags, or on texts and the spans of their
    entities; answers any string. A word is what BERT's own splitting makes
    of a text, so that training and serving see the same words: where a word
    of the data is split (AL-AIN into AL, - and AIN), each part is tagged. The
    tag stands on a word's first piece, and the other pieces are left out of
    the loss. Long texts are read in windows, and each word is tagged where
    it has the most context.

    Reference: Devlin et al. 2018, section 5.3.

    Args:
        labels: the types of entities, such as `["LOC", "PER"]`; learned by
            `fit` if None.
        scheme: that of the training tags. None: BIO, or BIOES (BILOU) if a
            tag shows it, and an error for tags that break it. `"IOB1"`:
            entities may begin with I-.
        overlap: tokens that neighbouring windows of a long text share.
        dropout: rate on the tokens' features, 0 to 1.

    Answers, each `(B, entities)`, filled up with -1, 0 or an empty string to
    the most entities of a text: `text` and `type` string; `score` float, the
    mean probability of its words' tags; `start` and `end` int, in characters
    (code points, as Python counts); `start_byte` and `end_byte` int, in bytes
    of UTF-8; and `count` int `(B,)`. Both kinds of span slice the text as it
    was given; invalid UTF-8 counts as bytes but not as characters, and is
    left out of `text`.

    Departures: the paper leaves a word's other parts out where the data's
    words are split at punctuation too, which a raw string does not tell.
    Tags that break BIO are read as seqeval reads them.

    Example:

    >>> clf = kbert.Classifier(head="ner")
    >>> clf.fit([["Ann", "left", "Oslo"]], [["B-PER", "O", "B-LOC"]])
    >>> clf.predict(["Bob moved to Rome."])
    [[{'text': 'Bob', 'type': 'PER', 'score': 0.99, 'start': 0, 'end': 3,
       'start_byte': 0, 'end_byte': 3}, ...]]
    """

    name = "ner"
    monitor = ("val_accuracy", "max")
    label_outputs = ("type",)
    answer_output = "entities"
    least_labels = 1
    file_format = "conll"

    def __init__(
        self,
        labels: list | None = None,
        scheme: str | None = None,
        overlap: int = 32,
        dropout: float = 0.1,
    ):
        super().__init__(labels)
        if scheme is not None:
            check_choice("scheme", scheme, SCHEMES)
        self.scheme = scheme
        self.overlap = check_integer("overlap", overlap, 0)
        self.dropout = check_number("dropout", dropout, 0, 1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "scheme": self.scheme,
            "overlap": self.overlap,
            "dropout": self.dropout,
        }

    # === Data ===

    def texts(self, x: Any, names: tuple[str, ...]) -> list[list]:
        """Also takes rows of words, which it joins by spaces."""
        if not isinstance(x, dict):
            return as_texts(join_words(x), names)
        check_columns(x, names)
        return as_texts({name: join_words(x[name]) for name in names}, names)

    def read(self, y: Any, columns: list[list]) -> list:
        """Entities of each row, `(first byte, byte after, type)`.

        Takes a list of tags, one a word, or of spans: `(start, end, type)`,
        or a dict with `start`, `end` and `type` or `label`, in characters.
        """
        return read_entities(y, columns[0], self.scheme)

    def adapt(self, y: list) -> None:
        if self.labels is None:
            super().adapt([kind for row in y for *_, kind in row])

    def encode(self, y: list) -> list[list]:
        find = LabelFinder(self.labels)
        targets = []
        for row, spans in enumerate(y):
            targets.append([])
            for start, end, kind in spans:
                if (label := find(kind, row)) is None:
                    raise InputError(
                        f"Expected entities of the types "
                        f"{listed(self.labels)}. Received: {short(kind)} in "
                        f"{row_name(row)}. Remove it, or train with it."
                    )
                targets[-1].append((start, end, label))
        return targets

    def strata(self, y: list) -> list[set]:
        return [{kind for *_, kind in row} for row in y]

    def align(self, targets: list, windows: Windows) -> TokenTargets:
        index = {label: i for i, label in enumerate(self.labels)}
        values = np.where(windows.first, OUTSIDE, IGNORED).astype("int32")
        places = windows.tokens_of(len(targets))
        for found, place in zip(targets, places, strict=True):
            start, part = windows.start[place], values[place]
            for begin, end, kind in found:
                # A word that two entities share is the first one's.
                inside = part == OUTSIDE
                inside &= (start < end) & (windows.end[place] > begin)
                tag = 1 + 2 * index[kind]
                part[inside] = tag + 1
                part[inside & (start == start[inside].min(initial=end))] = tag
        return TokenTargets(values, windows.table.offsets, IGNORED)

    # === Model ===

    def build(self, features: dict) -> keras.KerasTensor:
        x = keras.layers.Dropout(self.dropout, name="head_dropout")(
            features["sequence_output"]
        )
        return keras.layers.Dense(
            1 + 2 * len(self.labels),
            kernel_initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            dtype="float32",
            name="logits",
        )(x)  # (B, T, tags)

    def loss(self) -> keras.losses.Loss:
        return keras.losses.SparseCategoricalCrossentropy(
            from_logits=True, ignore_class=IGNORED
        )

    def metrics(self) -> list:
        return [TagAccuracy(name="accuracy")]

    # === Answers ===

    def serve(self, outputs: keras.KerasTensor) -> dict:
        return {
            "tag": ops.argmax(outputs, axis=-1),  # (B, T)
            "score": ops.max(ops.softmax(outputs), axis=-1),  # (B, T)
        }

    def finish(self, outputs: dict, tokens: dict, texts: dict) -> dict:
        import tensorflow as tf

        (text,) = texts.values()
        # === Words, (N,) ===
        word = tokens["first"].values & tokens["own"].values
        row = tf.repeat(tokens["row"], tokens["first"].row_lengths())

        def of_words(values):
            return tf.boolean_mask(values, word)

        row = of_words(row)
        tag = tf.cast(of_words(outputs["tag"].values), tf.int32)
        chance = of_words(outputs["score"].values)
        start = of_words(tokens["start"].values)
        end = of_words(tokens["end"].values)

        # === Entities, (M,) ===
        inside = tag != OUTSIDE
        kind = (tag - 1) // 2
        is_b = (tag % 2 == 1) & inside
        # A row's first word comes after nothing, as after O.
        before = tf.concat([[OUTSIDE], tag[:-1]], axis=0)[: tf.size(tag)]
        row_before = tf.concat([[-1], row[:-1]], axis=0)[: tf.size(row)]
        alone = (row != row_before) | (before == OUTSIDE)
        begins = inside & (is_b | alone | (kind != (before - 1) // 2))
        entity = tf.cumsum(tf.cast(begins, tf.int32)) - 1
        entity = tf.boolean_mask(entity, inside)

        def of_entities(reduce, values):
            return reduce(tf.boolean_mask(values, inside), entity)

        row = tf.boolean_mask(row, begins)
        start = of_entities(tf.math.segment_min, start)
        end = of_entities(tf.math.segment_max, end)
        pieces = tf.strings.substr(tf.gather(text, row), start, end - start)
        rows = tf.size(text, tf.int64)

        def ragged(values):
            return tf.RaggedTensor.from_value_rowids(values, row, rows)

        start, end = ragged(start), ragged(end)
        return {
            "count": tf.cast(start.row_lengths(), tf.int32),
            "text": ragged(
                tf.strings.unicode_transcode(
                    pieces,
                    "UTF-8",
                    "UTF-8",
                    errors="ignore",
                    replace_control_characters=False,
                )
            ),
            "type": ragged(tf.boolean_mask(kind, begins)),
            "score": ragged(of_entities(tf.math.segment_mean, chance)),
            "start": to_characters(text, start),
            "end": to_characters(text, end),
            "start_byte": start,
            "end_byte": end,
        }

    def decide(self, outputs, places: dict) -> dict:
        """The tags, `(B, T)`, and the words that count: those of entities,
        or all if there is none."""
        import tensorflow as tf

        tag = tf.argmax(outputs, axis=-1, output_type=tf.int32)
        inside = places["first"] & (tag != OUTSIDE)
        found = tf.reduce_any(inside, axis=1, keepdims=True)
        return {"tag": tag, "word": tf.where(found, inside, places["first"])}

    def evidence(self, outputs, places: dict, decision: dict):
        """The mean probability of the tags of the words that count."""
        import tensorflow as tf

        chance = tf.nn.softmax(outputs)  # (B, T, tags)
        chance = tf.gather(chance, decision["tag"], batch_dims=2)
        word = tf.cast(decision["word"], chance.dtype)
        total = tf.reduce_sum(chance * word, axis=1)
        return tf.math.divide_no_nan(total, tf.reduce_sum(word, axis=1))

    def transformers_form(self) -> TransformersForm:
        tags = [f"{part}-{kind}" for kind in self.labels for part in "BI"]
        return TransformersForm(
            "BertForTokenClassification",
            {"logits": "classifier"},
            labels=["O", *tags],
            pooler=None,
        )

    def report(self, answers: dict, targets: list) -> dict[str, Any]:
        """Entities count whose type and both ends are right; see
        `kbert.heads.tags.score`."""
        kinds = self.name_labels(answers)["type"]
        predicted = [
            set(zip(*columns, strict=True))
            for columns in zip(
                answers["start_byte"].tolist(),
                answers["end_byte"].tolist(),
                kinds.tolist(),
                strict=True,
            )
        ]
        padding = (-1, -1, "")
        return score(
            [row - {padding} for row in predicted],
            [set(row) for row in targets],
            self.labels,
        )


def join_words(rows: Any) -> Any:
    """Rows of words as texts; texts as they are.

    Raises:
        InputError: a word is no text, or empty, or has a space in it.
    """
    texts = []
    for number, row in enumerate(as_list(rows, "texts or words")):
        if isinstance(row, list | tuple | np.ndarray):
            for word in row:
                if not isinstance(word, str) or not word or " " in word:
                    raise InputError(
                        f"Expected words without spaces. Received: "
                        f"{short(word)} in {row_name(number)}."
                    )
            row = " ".join(row)
        texts.append(row)
    return texts
