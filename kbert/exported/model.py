"""An exported SavedModel as a function of texts, without Keras."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kbert.data.texts import as_texts
from kbert.data.texts import encode_texts
from kbert.data.texts import join_answers
from kbert.errors import CheckpointError
from kbert.exported.names import CARD
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.exported.versions import version_folders
from kbert.utils.atomic import CONFIG
from kbert.utils.atomic import file_digest
from kbert.utils.checks import check_integer
from kbert.utils.paths import as_path
from kbert.utils.tensorflow import import_tensorflow


def find_version(path: str | os.PathLike) -> Path:
    """The folder of a SavedModel: `path` itself, or its newest version.

    Raises:
        CheckpointError: there is none.
    """
    path = as_path(path)
    if (path / "saved_model.pb").is_file():
        return path
    folders = version_folders(path) if path.is_dir() else {}
    for folder in reversed(folders.values()):
        if (folder / "saved_model.pb").is_file():
            return folder
    advice = "Check the path."
    if (path / CONFIG).is_file():
        advice = f"Export it first: kbert export {path} exports/{path.name}"
    raise CheckpointError(
        f"Expected an exported model: a folder with saved_model.pb, or with "
        f"numbered versions. Received: {path}, which has neither. {advice}"
    )


def model_digest(version: str | os.PathLike) -> str:
    """SHA-256 of what decides a SavedModel's answers: graph and weights."""
    version = Path(version)
    files = [version / "saved_model.pb", *(version / "variables").glob("*")]
    files += (version / "assets").glob("*")
    lines = [f"{file_digest(f)} {f.relative_to(version)}\n" for f in files]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


class ServedModel:
    """An exported SavedModel as a function of texts.

    It needs TensorFlow and tensorflow_text, neither Keras nor the plugin of
    the model's head, and asks the signature that TF Serving asks.

    Args:
        path: a version of an export, or the folder of its versions, of which
            the newest is taken.
        batch_size: rows computed at once. Texts are sorted by length first.
        threads: threads of TensorFlow in this process, which must not have
            run anything yet; TensorFlow decides if None.

    Attributes:
        inputs: names of the texts of a row.

    Raises:
        CheckpointError: there is no SavedModel, or it does not take texts.

    Example:

    >>> model = ServedModel("exports/spam")
    >>> model({"text": ["Win a prize!"]})["label"].tolist()
    ['spam']
    """

    def __init__(
        self,
        path: str | os.PathLike,
        batch_size: int = 64,
        threads: int | None = None,
    ):
        import_tensorflow()
        import tensorflow as tf

        # Registers the ops of the tokenizer.
        import tensorflow_text  # noqa: F401

        self.path = find_version(path)
        self.batch_size = check_integer("batch_size", batch_size)
        if threads is not None:
            threads = check_integer("threads", threads)
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        try:
            # The signature is valid only as long as what it was loaded with.
            self._loaded = tf.saved_model.load(str(self.path))
            self._serve = self._loaded.signatures[DEFAULT_SIGNATURE]
        except (OSError, KeyError, ValueError, tf.errors.OpError) as error:
            raise CheckpointError(
                f"Expected a SavedModel with the signature "
                f"{DEFAULT_SIGNATURE}. Received: {self.path}: {error}."
            ) from error
        specs = self._serve.structured_input_signature[1]
        other = [n for n, s in specs.items() if s.dtype != tf.string]
        if other:
            raise CheckpointError(
                f"Expected a SavedModel that takes texts. Received: "
                f"{self.path}, whose {', '.join(sorted(other))} is no text."
            )
        self.inputs = _in_order(specs, self.path)

    def __call__(self, x: Any) -> dict[str, np.ndarray]:
        """What the model answers.

        Args:
            x: texts in any form that `Classifier.predict` takes.

        Returns:
            A dict of output names to arrays whose first dimension is the
            row; label names are `str`. Where the model answers tokens and
            batches differ in length, `(rows,)` of arrays, each filled up as
            its batch was.

        Raises:
            InputError: a row has no text, or there are no rows.
        """
        import tensorflow as tf

        columns = [encode_texts(c) for c in as_texts(x, self.inputs)]
        lengths = [sum(map(len, row)) for row in zip(*columns, strict=True)]
        order = np.argsort(lengths, kind="stable")
        parts = []
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            batch = {
                name: tf.constant([column[i] for i in rows])
                for name, column in zip(self.inputs, columns, strict=True)
            }
            answers = self._serve(**batch)
            parts.append({k: _decode(v.numpy()) for k, v in answers.items()})
        inverse = np.argsort(order)
        return {
            key: join_answers([part[key] for part in parts])[inverse]
            for key in sorted(parts[0])
        }


def _decode(value: np.ndarray) -> np.ndarray:
    if value.dtype != object:
        return value
    return np.char.decode(value.astype(bytes), "utf-8")


@functools.lru_cache(maxsize=1)
def shared_model(path: str, threads: int | None = None) -> ServedModel:
    """The `ServedModel` of this process, loaded at the first call.

    For engines that call a function again and again in the same process,
    such as Spark, whose Python workers live on from task to task.
    """
    return ServedModel(path, threads=threads)


def input_names(version: Path) -> tuple[str, ...]:
    """Names of the texts of a row; for kbert's exports without TensorFlow.

    Raises:
        CheckpointError: `saved_model.pb` cannot be read.
    """
    if trained := _card(version):
        return trained
    import_tensorflow()
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    try:
        proto = SavedModel.FromString((version / "saved_model.pb").read_bytes())
        signature = proto.meta_graphs[0].signature_def[DEFAULT_SIGNATURE]
    except (OSError, DecodeError, IndexError) as error:
        raise CheckpointError(
            f"Expected a SavedModel. Received: {version}: {error}."
        ) from error
    return tuple(sorted(signature.inputs))


def _in_order(names: Iterable[str], version: Path) -> tuple[str, ...]:
    """Inputs in the order of the training, which a signature forgets."""
    trained = _card(version)
    return trained if set(trained) == set(names) else tuple(sorted(names))


def _card(version: Path) -> tuple[str, ...]:
    try:
        card = json.loads((version / CARD).read_text(encoding="utf-8"))
        return tuple(card["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return ()
