"""Training of a model in another form of it.

Callbacks, the optimizer and the `History` are those of the model that people
have: what a callback saves or sets is of that one, whatever form computes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

# What a form may do in its own way.
STEPS = ("compute_loss", "compute_metrics")


@contextlib.contextmanager
def trained_as(model: keras.Model, form: Any) -> Iterator[None]:
    """Within, a model computes batches that its form takes as the form does.

    Args:
        model: a functional `keras.Model`.
        form: what has some or all of its weights and an `input`, such as
            `TextModel.laid_out` gives, or `RDrop`; None for `model` itself.

    Example:

    >>> with trained_as(clf.model, clf.laid_out("flat")):
    ...     clf.model.fit(batches.for_fit())
    """
    if form is None or form is model:
        yield
        return

    def call(inputs, training=None, mask=None, **kwargs):
        # Others are a callback's own, such as padded rows for packed ones.
        if isinstance(inputs, dict) and form.input.keys() <= inputs.keys():
            return form(inputs, training=training)
        return type(model).call(model, inputs, training, mask, **kwargs)

    # Not by `setattr`, with which Keras tracks what belongs to a layer.
    own = vars(model)
    own["call"] = call
    if not isinstance(form, keras.Model):
        own.update({name: getattr(form, name) for name in STEPS})
    try:
        yield
    finally:
        for name in ("call", *STEPS):
            own.pop(name, None)
        # Those that were made hold the form.
        model.make_train_function(force=True)
        model.make_test_function(force=True)
        model.make_predict_function(force=True)
