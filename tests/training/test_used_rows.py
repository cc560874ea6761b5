"""The rows that a training has of the table of its tokens."""

import keras
import numpy as np
import pytest

import kbert
from kbert.training.optimizer import AdamW
from kbert.training.resume import State
from kbert.training.resume import random_states
from kbert.training.resume import restore
from kbert.training.resume import tensors_of
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


# The one that is trained by default, and the other.
LAYOUTS = ["flat", pytest.param("padded", marks=pytest.mark.large)]


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


def test_tokens_that_it_was_not_made_for():
    model = made()
    optimizer = AdamW(1e-2, used_rows=[0, 2])
    before = [v.numpy() for v in model.weights]
    with pytest.raises(tf.errors.InvalidArgumentError, match="Compile the mod"):
        steps(model, optimizer, count=1)
    for old, new in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_files_have_all_rows():
    model, store = made(), {}
    optimizer = AdamW(1e-2, used_rows=USED)
    table = steps(model, optimizer)
    index = model.trainable_variables.index(table)
    optimizer.save_own_variables(store)
    plain = AdamW(1e-2)
    plain.build(model.trainable_variables)
    plain.load_own_variables(store)
    whole = plain._momentums[index].numpy()
    np.testing.assert_array_equal(
        whole[USED], optimizer._momentums[index].numpy()
    )
    assert whole[USED].any(axis=1).all()
    assert not np.delete(whole, USED, 0).any()
    assert int(plain.iterations) == 6
    # And the other way, for other rows.
    other = AdamW(1e-2, used_rows=[1, 2])
    other.build(model.trainable_variables)
    other.load_own_variables(store)
    np.testing.assert_array_equal(
        other._momentums[index].numpy(), whole[[1, 2]]
    )
    # A configuration is of any texts.
    assert AdamW.from_config(optimizer.get_config()).used_rows is None


TEXTS = ["good film", "bad film", "a good one", "a bad one"] * 4
OTHERS = ["zebra crossing", "green vegetables"] * 8
LABELS = ["yes", "no"] * 8


def classifier():
    return kbert.Classifier("kbert_tiny_en", labels=["no", "yes"], seed=0)


def fit(clf, texts=TEXTS, **options):
    options = {"epochs": 2, "batch_size": 2, "verbose": 0} | options
    return clf.fit(texts, LABELS, learning_rate=1e-3, **options)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_fit(layout):
    clf = classifier()
    table = clf.backbone.embeddings.token_embedding.embeddings
    before = table.numpy()
    history = fit(clf, epochs=6, layout=layout)
    assert history.history["loss"][-1] < history.history["loss"][0]
    moved = set(np.flatnonzero((table.numpy() != before).any(axis=1)))
    # A padded batch has padding too, without a gradient.
    used = set(clf.tokenize([TEXTS]).ids())
    assert moved - {clf.tokenizer.pad_id} == used - {clf.tokenizer.pad_id}
    assert len(clf.predict(OTHERS)) == len(OTHERS)


def test_callbacks_write_files_that_any_model_reads(tmp_path):
    clf, other = classifier(), classifier()
    checkpoint = keras.callbacks.ModelCheckpoint
    fit(
        clf,
        callbacks=[
            checkpoint(tmp_path / "a.weights.h5", save_weights_only=True),
            checkpoint(tmp_path / "a.keras"),
        ],
    )
    fit(other, OTHERS)
    other.model.load_weights(tmp_path / "a.weights.h5")
    again = keras.saving.load_model(tmp_path / "a.keras")
    for model in (other.model, again):
        for a, b in zip(
            model.weights + model.optimizer.variables,
            clf.model.weights + clf.model.optimizer.variables,
            strict=True,
        ):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_afterwards_keras_trains_on_with_other_texts(layout):
    clf = classifier()
    fit(clf, layout=layout)
    table = clf.backbone.embeddings.token_embedding.embeddings
    before = table.numpy()
    batch = clf.tokenize([OTHERS])
    clf.model.optimizer.learning_rate = 1e-3
    targets = np.array([0, 1] * 8)
    clf.model.fit(batch.take(np.arange(16)), targets, verbose=0)
    moved = np.flatnonzero((table.numpy() != before).any(axis=1))
    assert set(batch.token_ids) <= set(moved)


def test_a_run_that_has_all_rows_goes_on():
    clf = classifier()
    clf.build()
    loss = clf.head.loss()
    clf.model.compile(AdamW(1e-3), loss)
    batch = clf.tokenize([TEXTS])
    clf.model.fit(batch.take(np.arange(16)), np.array([0, 1] * 8), verbose=0)
    state = State(1, tensors_of(clf.model), {"random": random_states()})
    old = clf.model.optimizer._momentums[0].numpy()
    clf.model.compile(AdamW(1e-3, used_rows=batch.ids()), loss)
    restore(clf.model, state)
    found = clf.model.optimizer._momentums[0].numpy()
    np.testing.assert_array_equal(found, old[batch.ids()])
    assert found.any()


def test_a_heads_own_table_is_left_alone():
    table = keras.layers.Embedding(5, 2, name="token_embedding")
    table.build()
    optimizer = AdamW(1e-3, used_rows=[0, 43])
    optimizer.build([table.embeddings])
    assert optimizer._momentums[0].shape == (5, 2)
