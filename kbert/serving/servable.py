"""One loaded version of a SavedModel.

It runs as in TF Serving: the meta graph with the tag `serve` in a session,
fed and fetched by the tensor names of a signature. No Python of the model's
author runs, and Keras is not imported.

Reference: tensorflow_serving/servables/tensorflow/
saved_model_bundle_factory.cc.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Any

import numpy as np

from kbert.errors import ExportError
from kbert.errors import ServingError
from kbert.exported.check_ops import check_ops
from kbert.exported.names import CARD
from kbert.serving.elementwise import Elementwise
from kbert.serving.json_codec import type_string
from kbert.serving.status import NAMES
from kbert.serving.status import error
from kbert.serving.status import invalid

if TYPE_CHECKING:
    from tensorflow import Tensor

# Pairs of feeds and fetches that are kept ready: a client's output_filter
# makes as many as it likes.
MAX_PROGRAMS = 64

# Dimensions of what is fed where a signature does not say that many: oneDNN's
# kernels end the process at 13, broadcasting takes 9.
MAX_RANK = 8


class Servable:
    """A SavedModel in memory.

    Args:
        path: version folder, which holds saved_model.pb.
        release: TF Serving release whose ops the model may use; None for
            whatever this process has.

    Attributes:
        signatures: dict of names to `SignatureDef`s.
        path: as given.
        examples: by signature some inputs that it was warmed up with, dicts
            of names to texts.

    Raises:
        ServingError: the folder cannot be loaded, or needs ops that the
            release lacks.

    Example:

    >>> servable = Servable("saved_models/spam/1")
    >>> servable.run({"serving_default_text:0": np.array(["hi"], object)},
    ...              ["StatefulPartitionedCall:0"])
    """

    def __init__(self, path: str | Path, release: str | None = None):
        import tensorflow as tf
        import tensorflow_text  # noqa: F401  (registers its ops)

        self.path = Path(path)
        self.examples: dict[str, list[dict[str, str]]] = {}
        if release is not None:
            try:
                check_ops(path, release)
            except ExportError as failure:
                raise error("NOT_FOUND", str(failure)) from failure
        self._graph = tf.Graph()
        config = tf.compat.v1.ConfigProto()
        # kbert's signatures are functions, which are optimized when they are
        # first run. To optimize what calls them is as much work again, and
        # meanwhile the session answers nothing else.
        config.graph_options.rewrite_options.disable_meta_optimizer = (
            self.path / CARD
        ).is_file()
        self._session: Any = tf.compat.v1.Session(
            graph=self._graph, config=config
        )
        try:
            with self._graph.as_default():
                loaded = tf.compat.v1.saved_model.load(
                    self._session, [tf.saved_model.SERVING], str(path)
                )
        except tf.errors.OpError as failure:
            self.close()
            raise _from_tensorflow(failure) from failure
        except (OSError, RuntimeError, ValueError, KeyError) as failure:
            self.close()
            raise error(
                "NOT_FOUND", f"Could not load {path}: {failure}"
            ) from failure
        self.signatures = dict(loaded.signature_def)
        self._elementwise = Elementwise(loaded.graph_def)
        cache = functools.lru_cache(MAX_PROGRAMS)
        self._tensors = cache(self._find_tensors)
        self._program = cache(self._make_program)

    def _find_tensors(
        self, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> tuple[list[Tensor], list[Tensor], bool]:
        """The tensors of feeds and fetches, and whether feeds may have any
        shape."""
        tensor = self._graph.get_tensor_by_name
        any_shape = self._elementwise(feeds, fetches)
        return [*map(tensor, feeds)], [*map(tensor, fetches)], any_shape

    def _make_program(
        self, feeds: tuple[str, ...], fetches: tuple[str, ...]
    ) -> Callable[..., list]:
        """What computes fetches of feeds; seconds for a large graph."""
        from tensorflow.core.protobuf.config_pb2 import CallableOptions

        # Python's `Session.run` compares shapes with those of placeholders,
        # the C++ session does not. This is its MakeCallable.
        return self._session._make_callable_from_options(
            CallableOptions(feed=feeds, fetch=fetches)
        )

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
    ) -> list[np.ndarray]:
        """Compute tensors, by name, in the thread that calls.

        Args:
            feeds: arrays of input tensors, bytes as dtype object; of the
                shapes that the graph says, or of any if it computes element
                by element.
            fetches: names of output tensors.

        Returns:
            One array for each of `fetches`.

        Raises:
            ServingError: the graph refuses the inputs, or fails.
        """
        import tensorflow as tf

        if self._session is None:
            raise error("UNAVAILABLE", "The version is unloaded")
        given, names = tuple(sorted(feeds)), tuple(sorted(set(fetches)))
        try:
            takes, gives, any_shape = self._tensors(given, names)
        except (KeyError, ValueError) as failure:
            # The graph lacks a tensor that the signature names.
            raise invalid(str(failure)) from failure
        for i, (name, tensor) in enumerate(zip(given, takes, strict=True)):
            _check(i, tensor, feeds[name], any_shape)
        try:
            compute = self._program(given, names)
            answers = compute(*(feeds[name] for name in given))
        except tf.errors.OpError as failure:
            raise _from_tensorflow(failure) from failure
        except (TypeError, ValueError) as failure:
            raise invalid(str(failure)) from failure
        arrays = dict(zip(names, map(_as_array, answers, gives), strict=True))
        return [arrays[name] for name in fetches]

    def close(self) -> None:
        """Free the weights."""
        session, self._session = self._session, None
        if session is not None:
            if hasattr(self, "_program"):
                self._program.cache_clear()
            session.close()


def _check(i: int, tensor: Tensor, array: np.ndarray, any_shape: bool) -> None:
    dtype = tensor.dtype.base_dtype
    if array.dtype != dtype.as_numpy_dtype:
        raise invalid(
            f"Expects arg[{i}] to be {type_string(dtype.name)} but "
            f"{type_string(array.dtype.name)} is provided"
        )
    said = tensor.shape
    if said.rank is not None and said.is_compatible_with(array.shape):
        return
    if not any_shape and said.rank is not None:
        raise invalid(
            f"Expected shape {said} for {tensor.name}. Received: {array.shape}"
        )
    if array.ndim > MAX_RANK:
        raise invalid(
            f"Expected at most {MAX_RANK} dimensions for {tensor.name}, whose "
            f"signature says no such shape. Received: {array.ndim}"
        )


def _as_array(value: Any, tensor: Tensor) -> np.ndarray:
    # A scalar comes as itself, and NumPy's own bytes would lose a last NUL.
    array = np.asarray(value, object if isinstance(value, bytes) else None)
    # Quantized numbers come as plain ones.
    dtype = tensor.dtype
    return array.view(dtype.as_numpy_dtype) if dtype.is_quantized else array


def _from_tensorflow(failure) -> ServingError:
    code = NAMES.get(failure.error_code, "UNKNOWN")
    # What follows is where in the graph's Python it happened.
    message = str(failure.message).split("\n\nOriginal stack trace")[0]
    return error(code, message)
