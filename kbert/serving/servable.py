"""One loaded version of a SavedModel.

It runs as in TF Serving: the meta graph with the tag `serve` in a session,
fed and fetched by the tensor names of a signature. No Python of the model's
author runs, and Keras is not imported.

Reference: tensorflow_serving/servables/tensorflow/
saved_model_bundle_factory.cc.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kbert.errors import ExportError
from kbert.errors import ServingError
from kbert.export.check_ops import check_ops
from kbert.serving.status import NAMES
from kbert.serving.status import error
from kbert.serving.status import invalid

# What a request without a signature name asks.
DEFAULT_SIGNATURE = "serving_default"


class Servable:
    """A SavedModel in memory.

    Args:
        path: version folder, which holds saved_model.pb.
        release: TF Serving release whose ops the model may use; None for
            whatever this process has.

    Attributes:
        signatures: dict of names to `SignatureDef`s.
        path: as given.

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
        if release is not None:
            try:
                check_ops(path, release)
            except ExportError as failure:
                raise error("NOT_FOUND", str(failure)) from failure
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(graph=graph)
        try:
            with graph.as_default():
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

    def run(
        self, feeds: Mapping[str, np.ndarray], fetches: Sequence[str]
    ) -> list[np.ndarray]:
        """Compute tensors, by name, in the thread that calls.

        Args:
            feeds: arrays of input tensors, bytes as dtype object.
            fetches: names of output tensors.

        Returns:
            One array for each of `fetches`.

        Raises:
            ServingError: the graph refuses the inputs, or fails.
        """
        import tensorflow as tf

        try:
            return self._session.run(list(fetches), dict(feeds))
        except tf.errors.OpError as failure:
            raise _from_tensorflow(failure) from failure
        except (TypeError, ValueError) as failure:  # Such as a wrong shape.
            raise invalid(str(failure)) from failure
        except RuntimeError as failure:  # The session is closed.
            raise error("UNAVAILABLE", str(failure)) from failure

    def close(self) -> None:
        """Free the weights."""
        self._session.close()


def _from_tensorflow(failure) -> ServingError:
    code = NAMES.get(failure.error_code, "UNKNOWN")
    # What follows is where in the graph's Python it happened.
    message = str(failure.message).split("\n\nOriginal stack trace")[0]
    return error(code, message)
