"""The rows that a training has of the table of its tokens."""

import keras
import numpy as np
import pytest

import kbert
from kbert.training.optimizer import AdamW
from kbert.training.optimizer import LossScaleOptimizer
from kbert.training.used_rows import TABLE

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="for TensorFlow"
)

USED = [0, 2, 5, 6]


def made():
    return kbert.Backbone.from_size("tiny", vocabulary_size=9)


def steps(model, optimizer, count=6, dense=False):
    """Steps whose gradients have slices of tokens that are used."""
    table = next(v for v in model.trainable_variables if TABLE in v.path)
    random = np.random.default_rng(0)
    for _ in range(count):
        grads = []
        for variable in model.trainable_variables:
            grad = tf.constant(random.normal(size=variable.shape), tf.float32)
            if variable is table:
                indices = random.choice(USED, 5)  # Some of them twice.
                values = random.normal(size=(5, variable.shape[1]))
                grad = tf.IndexedSlices(
                    tf.constant(values, tf.float32),
                    tf.constant(indices, tf.int32),
                    tuple(variable.shape),
                )
                grad = tf.convert_to_tensor(grad) if dense else grad
            grads.append(grad)
        optimizer.apply(grads, model.trainable_variables)
    return table


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layer_decay": 0.8},
        {"global_clipnorm": None},
        {"gradient_accumulation_steps": 2},
        {"use_ema": True},
    ],
)
def test_used_rows_move_as_ever_and_others_stay(options, dense):
    first, second = made(), made()
    second.set_weights(first.get_weights())
    table = next(v for v in first.trainable_variables if TABLE in v.path)
    before = table.numpy()
    steps(first, AdamW(1e-2, used_rows=USED, **options), dense=dense)
    other = steps(second, AdamW(1e-2, **options)).numpy()
    for a, b in zip(first.weights, second.weights, strict=True):
        if a is not table:
            np.testing.assert_allclose(a.numpy(), b.numpy(), atol=2e-6)
    found = table.numpy()
    np.testing.assert_allclose(found[USED], other[USED], atol=2e-6)
    rest = np.setdiff1d(range(9), USED)
    if "use_ema" not in options:  # It needs the whole table.
        np.testing.assert_array_equal(found[rest], before[rest])
    # Elsewhere they are decayed, which is all that happens to them.
    np.testing.assert_allclose(found[rest], other[rest], rtol=2e-3)


def test_the_loss_scaled():
    model = made()
    inner = AdamW(1e-2, used_rows=USED)
    steps(model, LossScaleOptimizer(inner, initial_scale=1.0))
    assert inner._momentums[0].shape[0] == len(USED)


def test_tokens_that_it_was_not_made_for():
    model = made()
    optimizer = AdamW(1e-2, used_rows=[0, 2])
    before = [v.numpy() for v in model.weights]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Compile the mod"):
        steps(model, optimizer, count=1)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_serialization():
    optimizer = AdamW(1e-2, used_rows=np.array(USED))
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.used_rows == USED
    model = made()
    again.build(model.trainable_variables)
    assert again._momentums[0].shape[0] == len(USED)


TEXTS = ["good film", "bad film", "a good one", "a bad one"] * 4
LABELS = ["yes", "no"] * 8


def tokens_of(clf):
    return set(clf.tokenize([TEXTS]).ids())


@pytest.mark.parametrize("layout", ["padded", "flat"])
def test_fit(layout, tmp_path):
    clf = kbert.Classifier("kbert_tiny_en", labels=["no", "yes"], seed=0)
    table = clf.backbone.embeddings.token_embedding.embeddings
    before = table.numpy()
    history = clf.fit(
        *(TEXTS, LABELS),
        epochs=12,
        batch_size=4,
        learning_rate=1e-3,
        layout=layout,
        verbose=0,
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    moved = set(np.flatnonzero((table.numpy() != before).any(axis=1)))
    pad = {clf.tokenizer.pad_id}  # A padded batch has it, without a gradient.
    assert moved - pad == tokens_of(clf) - pad
    assert clf.model.optimizer.used_rows == sorted(tokens_of(clf))
    # It answers other words, and is saved with its optimizer.
    assert len(clf.predict(["zebra crossing"])) == 1
    clf.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.optimizer.used_rows == clf.model.optimizer.used_rows
    for a, b in zip(
        again.optimizer.variables, clf.model.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
