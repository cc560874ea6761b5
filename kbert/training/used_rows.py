"""Updates of those tokens' embeddings that a training has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kbert.training.rate import Mixin

# In the path of the variable; a head may have a table of its own.
TABLE = "embeddings/token_embedding/embeddings"


class UsedRows(Mixin):
    """Of the tokens' embeddings, those are updated that the texts have.

    The texts of a fine-tuning have some thousand of 30,000 tokens. The others
    have no gradient at any step, and most of a short step would be spent on
    them. They stay as they are: without moments, and not decayed. Files have
    the moments of all, so that any optimizer reads them, and `whole` is one
    for what comes after. On TensorFlow; it is mixed into optimizers of Keras,
    before them.

    Args:
        used_rows: ids of the tokens, ascending, or None for all. A step with
            the gradient of another one fails.
    """

    def __init__(self, *args, used_rows=None, **kwargs):
        super().__init__(*args, **kwargs)
        if keras.backend.backend() != "tensorflow":
            used_rows = None  # A gradient has all rows there.
        self.used_rows: Any = None if used_rows is None else list(used_rows)
        self._parts = {}
        self._moments = {}  # Of used rows, by identity; rows of the table.

    def build(self, variables):
        super().build(variables)
        for variable in filter(self._has_part, variables):
            key = self._var_key(variable)
            self._parts[key] = _Part.of(variable, self.used_rows)

    def _has_part(self, variable) -> bool:
        # Averages are of whole tables.
        return (
            self.used_rows is not None
            and not self.use_ema
            and variable.path.endswith(TABLE)
        )

    def add_variable_from_reference(
        self, reference_variable, name=None, initializer="zeros"
    ):
        if not self._has_part(reference_variable):
            return super().add_variable_from_reference(
                reference_variable, name, initializer
            )
        count, *shape = reference_variable.shape
        variable = self.add_variable(
            (len(self.used_rows), *shape),
            initializer,
            reference_variable.dtype,
            name=f"{reference_variable.path.replace('/', '_')}_{name}",
        )
        self._moments[id(variable)] = count
        return variable

    def _backend_apply_gradients(self, grads, trainable_variables):
        parts = [self._parts.get(self._var_key(v)) for v in trainable_variables]
        super()._backend_apply_gradients(
            [
                gradient if part is None else part.gradient(gradient)
                for part, gradient in zip(parts, grads, strict=True)
            ],
            trainable_variables,
        )

    @contextmanager
    def updated(self, variable) -> Iterator[Any]:
        """What to update in a variable's place: itself, or its used rows."""
        part = self._parts.get(self._var_key(variable))
        if part is None:
            yield variable
            return
        import tensorflow as tf

        part.values.assign(tf.gather(variable, part.rows))
        yield part.values
        variable.scatter_update(tf.IndexedSlices(part.values, part.rows))

    def save_own_variables(self, store):
        values = {}  # A file takes each once.
        super().save_own_variables(values)
        for i, variable in enumerate(self.variables):
            value = values[str(i)]
            if count := self._moments.get(id(variable)):
                whole = np.zeros((count, *value.shape[1:]), value.dtype)
                whole[self.used_rows] = value
                value = whole
            store[str(i)] = value

    def load_own_variables(self, store):
        store = {key: store[key] for key in store.keys()}  # noqa: SIM118
        for i, variable in enumerate(self.variables):
            if str(i) in store:
                store[str(i)] = self.narrowed(variable, store[str(i)])
        super().load_own_variables(store)

    def narrowed(self, variable, value):
        """What a variable of its own holds of a value for all rows."""
        count = self._moments.get(id(variable))
        if count is None or value.shape[:1] != (count,):
            return value
        return np.asarray(value)[self.used_rows]

    def whole(self):
        """An optimizer of the same state that updates all rows."""
        other = type(self).from_config(self.get_config())
        other.build(self._trainable_variables)
        store = {}
        self.save_own_variables(store)
        other.load_own_variables(store)
        return other


def widen(model: keras.Model) -> None:
    """Have a model's optimizer update all rows, as Keras's own calls may ask.

    Args:
        model: a compiled model.
    """
    if getattr(model.optimizer, "used_rows", None) is None:
        return
    model.optimizer = model.optimizer.whole()
    model.make_train_function(force=True)  # The one that was made holds it.


@dataclass(frozen=True)
class _Part:
    """Some rows of a table.

    Attributes:
        rows: int32 `(U,)`, which ones.
        places: int32 `(V,)`, where each row of the table is among them; -1
            for those that are not.
        values: float `(U, E)`, a variable, in which they are updated.
    """

    rows: Any
    places: Any
    values: Any

    @classmethod
    def of(cls, table, rows) -> _Part:
        import tensorflow as tf

        places = np.full(table.shape[0], -1, "int32")
        places[rows] = np.arange(len(rows))
        shape = (len(rows), *table.shape[1:])
        with tf.init_scope():
            return cls(
                tf.constant(rows, tf.int32),
                tf.constant(places),
                tf.Variable(tf.zeros(shape, table.dtype), trainable=False),
            )

    def gradient(self, gradient):
        """Float `(U, E)`, of a gradient of the table."""
        import tensorflow as tf

        if not isinstance(gradient, tf.IndexedSlices):
            return tf.gather(gradient, self.rows)
        places = tf.gather(self.places, gradient.indices)
        known = tf.debugging.assert_non_negative(
            places,
            "The optimizer has the tokens of the texts that it was made for, "
            "and these have others. Compile the model anew.",
        )
        with tf.control_dependencies([known]):
            places = tf.identity(places)
        return tf.math.unsorted_segment_sum(
            gradient.values, places, len(self.rows)
        )
