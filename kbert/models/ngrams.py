"""A linear model of a text's characters, beside the backbone.

How a text is written (capitals, digits, odd spellings, prices) tells classes
apart that wordpieces blur. The linear model is fitted first; its logits are
added to the head's, so that the backbone learns what characters do not tell.

References:
    Cheng et al. 2016, Wide & Deep Learning for Recommender Systems,
    https://arxiv.org/abs/1606.07792 (a linear model beside a deep one)
    Kanaris et al. 2007, Words versus character n-grams for anti-spam
    filtering, https://doi.org/10.1142/S0218213007003692
    Wolpert 1992, Stacked Generalization,
    https://doi.org/10.1016/S0893-6080(05)80023-1 (out-of-fold answers)
    Platt 1999, Probabilistic Outputs for Support Vector Machines (margins to
    log-odds)

Departures: Cheng et al. train both parts at once; here the linear one is a
support vector machine, solved before.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf

from kbert.data.texts import encoded_parts

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# N-grams share so many weights of a class, by their hash.
BUCKETS = 2**18

# Characters of a text that are read, of at most 4 bytes each.
MOST_CHARACTERS = 4096
MOST_BYTES = 4 * MOST_CHARACTERS

# Parts of the rows that take turns in being answered and not learned from.
FOLDS = 10

# Texts that are read at once: a long one has n-grams by the thousand.
ROWS_AT_ONCE = 256

# The model input that takes the logits.
NGRAM_LOGITS = "ngram_logits"


class NgramModel:
    """Logits of the classes from the character n-grams of a text.

    An n-gram of a text, as it is written, weighs (1 + log of its count)
    times its inverse document frequency; a text's weights are scaled to
    length 1, as scikit-learn's `TfidfTransformer(sublinear_tf=True)` does.

    Args:
        classes: how many there are, two or more.
        longest: characters of the longest n-grams, from 1.

    Attributes:
        widths: characters of its n-grams, 1 to `longest`.
        weights: `kernel` float32 `(BUCKETS, classes)`, `bias` float32
            `(classes,)` and `idf` float32 `(BUCKETS,)`, Keras variables that
            no optimizer changes; zeros until `fit`.

    Example:

    >>> ngrams = NgramModel(2, 4)
    >>> unseen = ngrams.fit([texts], targets)  # (rows, 2), to train on
    >>> ngrams([tf.constant(["WIN a prize"])])  # (1, 2)
    """

    def __init__(self, classes: int, longest: int):
        self.classes = classes
        self.widths = tuple(range(1, longest + 1))
        self._counted = tf.function(
            partial(_counted, widths=self.widths),
            input_signature=[tf.TensorSpec((None,), tf.string)],
            autograph=False,
        )
        self.weights = [
            keras.Variable(
                "zeros",
                shape=shape,
                dtype="float32",
                trainable=False,
                name=name,
            )
            for name, shape in (
                ("kernel", (BUCKETS, classes)),
                ("bias", (classes,)),
                ("idf", (BUCKETS,)),
            )
        ]

    def __call__(self, columns: list) -> tf.Tensor:
        """Logits of texts.

        Args:
            columns: strings `(B,)`, a list or tensor a column.

        Returns:
            float32 `(B, classes)`.
        """
        texts = join(columns)
        row, bucket, count = self._counted(texts)
        # Off TensorFlow, what is computed with them there, as NumPy arrays.
        kernel, bias, idf = (
            weight.value
            if keras.backend.backend() == "tensorflow"
            else keras.ops.convert_to_numpy(weight.value)
            for weight in self.weights
        )
        value = (1.0 + tf.math.log(count)) * tf.gather(idf, bucket)  # (N,)

        def of_texts(values):
            return tf.math.unsorted_segment_sum(values, row, tf.shape(texts)[0])

        summed = of_texts(value[:, None] * tf.gather(kernel, bucket))
        length = tf.sqrt(of_texts(value**2))  # (B,)
        return tf.math.divide_no_nan(summed, length[:, None]) + bias

    def logits(self, columns: list) -> np.ndarray:
        """The same for many texts, a list a column, in bounded memory."""
        parts = encoded_parts(columns, ROWS_AT_ONCE)
        return np.concatenate([self(part).numpy() for part in parts])

    def counts(self, columns: list) -> csr_matrix:
        """How often texts, a list a column, have n-grams of each hash.

        Returns:
            Sparse float32 `(rows, BUCKETS)`.
        """
        from scipy.sparse import csr_matrix
        from scipy.sparse import vstack

        parts = []
        for part in encoded_parts(columns, ROWS_AT_ONCE):
            texts = join(part)
            row, bucket, count = (v.numpy() for v in self._counted(texts))
            shape = (len(texts), BUCKETS)
            parts.append(csr_matrix((count, (row, bucket)), shape))
        return vstack(parts, format="csr")

    def fit(
        self,
        columns: list,
        targets: np.ndarray,
        sample_weight: np.ndarray | None = None,
    ) -> np.ndarray:
        """Learn from labelled texts, in place of what was learned before.

        Args:
            columns: texts, a list a column.
            targets: int `(rows,)`, the class of each.
            sample_weight: float `(rows,)`, or None.

        Returns:
            Logits float32 `(rows, classes)` of the same texts, each from a
            model that did not learn from it: what the backbone is to train
            with, for so the logits of new texts look. Where fewer than two
            classes have two texts, or one has none, nothing is learned, and
            they are 0.
        """
        # Imported here: scikit-learn costs a second, which answering need
        # not pay.
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.svm import LinearSVC

        counts = np.bincount(targets, minlength=self.classes)
        if counts.min() < 1 or (counts > 1).sum() < 2:
            for weight in self.weights:
                weight.assign(np.zeros(weight.shape, "float32"))
            return np.zeros((len(targets), self.classes), "float32")
        tf_idf = TfidfTransformer(sublinear_tf=True)
        features = tf_idf.fit_transform(self.counts(columns))
        machine = LinearSVC(random_state=0)
        margins = _unseen_margins(machine, features, targets, sample_weight)
        weights = {"sample_weight": sample_weight}
        machine.fit(features, targets, **weights)
        # Few numbers from many rows: they hardly need a penalty.
        odds = LogisticRegression(C=100.0, max_iter=1000)
        odds.fit(margins, targets, **weights)
        # Linear in what is linear: one kernel and one bias.
        scale, shift = odds.coef_, odds.intercept_
        kernel = machine.coef_.T @ scale.T
        bias = machine.intercept_ @ scale.T + shift
        logits = margins @ scale.T + shift
        values = (_by_class(kernel), _by_class(bias), tf_idf.idf_)
        for weight, value in zip(self.weights, values, strict=True):
            weight.assign(value)
        return _by_class(logits)


def _unseen_margins(machine, features, targets, sample_weight) -> np.ndarray:
    """What a machine says to each row when it has not learned from it.

    A class of one text is learned with every part of the others, and its
    text is answered by a machine that knows nothing of the class.

    Returns:
        float `(rows, classes)`; `(rows, 1)`, of the second, for two classes.
    """
    from sklearn.model_selection import StratifiedKFold

    counts = np.bincount(targets)
    margins = np.full((len(targets), len(counts)), -1.0)
    alone = counts[targets] == 1
    rows = np.flatnonzero(~alone)

    def answer(seen, unseen):
        weight = None if sample_weight is None else sample_weight[seen]
        machine.fit(features[seen], targets[seen], sample_weight=weight)
        scores = machine.decision_function(features[unseen])
        if scores.ndim == 1:  # Of the second of two classes.
            scores = np.stack([-scores, scores], axis=1)
        margins[np.ix_(unseen, machine.classes_)] = scores

    parts = min(FOLDS, counts[counts > 1].min())
    folds = StratifiedKFold(parts, shuffle=True, random_state=0)
    for _, part in folds.split(rows, targets[rows]):
        seen = np.ones(len(targets), bool)
        seen[rows[part]] = False
        answer(np.flatnonzero(seen), rows[part])
    if alone.any():
        answer(rows, np.flatnonzero(alone))
    return margins[:, 1:] if len(counts) == 2 else margins


def _by_class(values: np.ndarray) -> np.ndarray:
    """Of log-odds of the second of two classes, logits of both."""
    if values.shape[-1] == 1:
        values = np.concatenate([-values / 2, values / 2], axis=-1)
    return values.astype("float32")


def join(columns: Sequence) -> tf.Tensor:
    """A text a row, string `(B,)`, of columns cut to what is read of them."""
    texts = [tf.strings.substr(column, 0, MOST_BYTES) for column in columns]
    return tf.strings.join(texts, separator="\n")


def _counted(texts: tf.Tensor, widths: tuple[int, ...]) -> tuple:
    """The n-grams of texts, each once a text.

    Args:
        texts: strings `(B,)`.
        widths: how many characters they have.

    Returns:
        `row` and `bucket` int64 `(N,)`, of which text and which hash each
        is, and `count` float32 `(N,)`, how often it is in the text.
    """
    characters = tf.strings.unicode_split(texts, "UTF-8", errors="ignore")
    characters = characters[:, :MOST_CHARACTERS]
    grams = tf.strings.ngrams(characters, widths, separator="")  # (B, None)
    bucket = tf.strings.to_hash_bucket_fast(grams.values, BUCKETS)
    both, _, count = tf.unique_with_counts(
        grams.value_rowids() * BUCKETS + bucket
    )
    return both // BUCKETS, both % BUCKETS, tf.cast(count, tf.float32)
