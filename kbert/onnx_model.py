"""`OnnxModel`: raw strings to answers with an ONNX export."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from collections.abc import Iterator
from typing import Any
from typing import NoReturn

import numpy as np

from kbert.data.answers import name_labels
from kbert.data.answers import predictions
from kbert.data.answers import rows_of
from kbert.data.containers import iterate
from kbert.data.containers import settle
from kbert.data.files import PART
from kbert.data.row_names import rows_from
from kbert.data.texts import as_texts
from kbert.data.texts import chunks
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.errors import UnsafeFileError
from kbert.exported.onnx_session import feed_of
from kbert.exported.onnx_session import open_session
from kbert.tokenizers.vocabulary import index_vocabulary
from kbert.tokenizers.vocabulary import read_vocabulary
from kbert.utils.checks import check_integer
from kbert.utils.checks import suggesting
from kbert.utils.extras import need
from kbert.utils.paths import as_path
from kbert.utils.untrusted import member


@suggesting
class OnnxModel:
    """An export of `format="onnx"` or `"int8"`, ready to answer.

    Texts are cut into tokens by `tokenizers` and computed by onnxruntime, in
    batches of about one length. TensorFlow and Keras are not imported.

    Args:
        path: the exported folder.
        threads: of onnxruntime; by default one a core.

    Attributes:
        labels: the labels, in the order of `probabilities`.
        label_outputs: names of the answers that are labels.

    Raises:
        CheckpointError: the folder is not such an export.
        UnsafeFileError: a file leads out of the folder.
        ExportError: the extra `kbert-keras[onnx]` is not installed.

    Departures: words of over 100 characters become `[UNK]`; in
    `kbert.Tokenizer` those of over 100 bytes. Answers of `"int8"` depend a
    little on what else is in a batch, as its activations share a scale.

    Example:

    >>> clf.export("exports/spam", format="onnx")
    >>> model = kbert.OnnxModel("exports/spam")
    >>> model.predict(["Win a prize!"])
    ['spam']
    """

    def __init__(self, path: str | os.PathLike, threads: int | None = None):
        path = as_path(path)
        need("onnx", "onnxruntime", purpose="ONNX", error=ExportError)
        if threads is not None:
            threads = check_integer("threads", threads)
        try:
            file = member(path, "model.onnx")
            self._session = open_session(file, threads)
            facts = self._session.get_modelmeta().custom_metadata_map
            facts = json.loads(facts["kbert"])
            vocabulary = read_vocabulary(member(path, "vocab.txt"))
            self._tokenizer = _tokenizer(vocabulary, facts)
            self._prompt = facts.get("prompt", "")
            self.inputs = tuple(facts["inputs"])
            self.labels = facts["labels"]
            self.label_outputs = tuple(facts["label_outputs"])
        except UnsafeFileError:
            raise
        except Exception as error:  # onnxruntime's have no common base.
            raise CheckpointError(
                f"Expected a folder that kbert exported with format='onnx' or "
                f"'int8', with a head that answers whole texts, cut at their "
                f"end. Received: {path}: {error}"
            ) from error

    def __reduce__(self) -> NoReturn:
        raise ConfigError(
            "An OnnxModel holds a session of onnxruntime, which cannot be "
            "copied or pickled. Open its folder again: kbert.OnnxModel(path)."
        )

    def answers(self, x: Any, batch_size: int = 32) -> dict[str, np.ndarray]:
        """What the head answers, an array `(rows, ...)` for each output.

        Args:
            x: texts in any form that `Classifier.predict` takes.
            batch_size: rows computed at once.

        Raises:
            InputError: there are no such texts.

        Example:

        >>> model.answers(["Win a prize!", "See you at six"])["score"].shape
        (2,)
        """
        batch_size = check_integer("batch_size", batch_size)
        columns = [
            [
                self._prompt
                + (v.decode("utf-8", "ignore") if isinstance(v, bytes) else v)
                for v in column
            ]
            for column in as_texts(settle(x, len(self.inputs)), self.inputs)
        ]
        if len(columns) != len(self.inputs):
            raise ConfigError(
                f"Expected {len(self.inputs)} text(s) a row "
                f"({', '.join(self.inputs)}). Received: {len(columns)}."
            )
        rows = (
            columns[0] if len(columns) == 1 else [*zip(*columns, strict=True)]
        )
        tokens = self._tokenizer.encode_batch(rows)
        order = np.argsort([len(t.ids) for t in tokens], kind="stable")
        parts = []
        for start in range(0, len(order), batch_size):
            batch = [tokens[i] for i in order[start : start + batch_size]]
            parts.append(self._session.run(None, self._feed(batch)))
        inverse = np.argsort(order)
        answers = {
            output.name: np.concatenate([part[i] for part in parts])[inverse]
            for i, output in enumerate(self._session.get_outputs())
        }
        return name_labels(answers, self.labels, self.label_outputs)

    def _feed(self, batch: list) -> dict[str, np.ndarray]:
        lengths = np.array([len(t.ids) for t in batch])
        mask = np.arange(lengths.max()) < lengths[:, None]  # (B, T)
        token_ids, segment_ids = np.zeros((2, *mask.shape), "int64")
        token_ids[mask] = np.concatenate([t.ids for t in batch])
        segment_ids[mask] = np.concatenate([t.type_ids for t in batch])
        return feed_of(self._session, token_ids, mask, segment_ids)

    def stream(
        self, rows: Iterable, batch_size: int = 32, window: int = PART
    ) -> Iterator[dict[str, Any]]:
        """Answers row by row, in bounded memory, as `Classifier.stream`.

        Example:

        >>> for answer in model.stream(["Win a prize!"]):
        ...     print(answer["label"])
        spam
        """
        window, first = check_integer("window", window), 0
        for part in chunks(iterate(rows, len(self.inputs)), window):
            with rows_from(first):
                answers = self.answers(part, batch_size)
            yield from rows_of(answers)
            first += len(part)

    def predict(self, x: Any, batch_size: int = 32) -> list:
        """The label of each text, or what else `Classifier.predict` gives.

        Raises:
            ConfigError: the outputs are of no head that kbert has.

        Example:

        >>> model.predict(["Win a prize!"])
        ['spam']
        """
        return predictions(self.answers(x, batch_size))


def _tokenizer(vocabulary: list[str], facts: dict):
    """WordPiece as `kbert.Tokenizer` does it, in Rust."""
    import tokenizers
    from tokenizers import models
    from tokenizers import normalizers
    from tokenizers import pre_tokenizers
    from tokenizers import processors

    ids = index_vocabulary(vocabulary)
    # No special tokens are added: "[SEP]" that a user types stays text.
    tokenizer = tokenizers.Tokenizer(
        models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100)
    )
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=facts["lowercase"],
        # Files of earlier versions have none of the rest.
        strip_accents=facts.get("strip_accents"),
    )
    tokenizer.add_tokens(facts.get("added_tokens", []))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    tokenizer.enable_truncation(facts["max_length"])
    return tokenizer
