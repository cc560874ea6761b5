"""Every dtype policy, for every head: near float32, or refused by name."""

import functools
import json

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError
from kbert.heads.classification import ClassificationHead
from kbert.models.precision import POLICIES
from kbert.models.precision import TRAINED
from kbert.plugins import get_plugins

# How far probabilities, scores and vectors may be from float32's.
DISTANCE = {
    "float32": 1e-6,
    "mixed_float16": 2e-3,
    "float16": 2e-3,
    "mixed_bfloat16": 1e-2,
    "bfloat16": 1e-2,
    "float64": 1e-5,
}
TEXTS = [f"{word} {i}" for i in range(6) for word in ("aaa bb", "zz yyy")]
NAMES = ["a", "z"] * 6
DATA = {
    "multi_label": (TEXTS, [[name] for name in NAMES]),
    "regression": (TEXTS, [float(i % 5) for i in range(12)]),
    "ner": ([["Ann", "left", "Oslo"]] * 6, [["B-PER", "O", "B-LOC"]] * 6),
    "qa": (
        {"question": ["who left?"] * 6, "context": ["Ann left Oslo."] * 6},
        [{"text": "Ann", "answer_start": 0}] * 6,
    ),
    "sentiment": (TEXTS, ["1", "2"] * 6),
    "spam": (TEXTS, ["ham", "spam"] * 6),
    "news": ({"title": TEXTS, "body": TEXTS}, NAMES),
}
FAST = {"epochs": 1, "batch_size": 4, "verbose": 0}
HEADS = sorted(
    name
    for name, head in get_plugins().heads.items()
    if head.value.model_class == "Classifier"
)


@pytest.fixture(autouse=True)
def policy():
    """Sets the policy, which is what it was afterwards."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folders of small models in float32, by their heads; made when asked."""
    root, made = tmp_path_factory.mktemp("models"), {}

    def folder(name):
        if name not in made:
            made[name] = root / name
            _make(name).save(made[name])
        return made[name]

    return folder


def _make(name):
    if name == "embedding":
        return kbert.Embedder("random:1x64", seed=0)
    if name == "tasks":
        heads = {"one": ClassificationHead(["a", "z"]), "two": "regression"}
        multi = kbert.MultiTask("random:1x64", heads, max_length=32, seed=0)
        task = multi["two"]
        task.head.adapt([0.0, 1.0])
        task.build()
        return multi
    clf = kbert.Classifier("random:1x64", name, max_length=32, seed=0)
    x, y = DATA.get(name, (TEXTS, NAMES))
    clf.head.adapt(clf.head.read(y, clf.columns(x)))
    clf.build()
    return clf


def outputs(task, x):
    """What is computed of texts, without a graph, which would take longer."""
    columns = task.columns(x)
    table = task.tokenize(columns)
    if task.head.by_token:
        table = task.windows(columns).table
    computed = task.serving_model(table.take(np.arange(len(table))))
    found = {k: keras.ops.convert_to_numpy(v) for k, v in computed.items()}
    return {k: v for k, v in found.items() if v.dtype.kind == "f"}


@pytest.fixture(scope="module")
def in_float32(saved):
    """What the models of `saved` compute; worked out when first asked."""
    return functools.cache(
        lambda head: outputs(
            kbert.load(saved(head)), DATA.get(head, (TEXTS, NAMES))[0]
        )
    )


@pytest.mark.parametrize(
    ("head", "name"),
    [
        pytest.param(
            *(head, name),
            # One head in all, and all in the narrowest and the coarsest.
            marks=()
            if head == "classification" or name in ("float16", "bfloat16")
            else pytest.mark.large,
        )
        for head in [*HEADS, "embedding"]
        for name in POLICIES
    ],
)
def test_answers(saved, in_float32, policy, head, name):
    x, y = DATA.get(head, (TEXTS, NAMES))
    before = in_float32(head)
    policy(name)
    task = kbert.load(saved(head))
    assert task.backbone.embeddings.dtype_policy.name == name
    after = outputs(task, x)
    assert after.keys() == before.keys()
    for key, value in after.items():
        reach = max(1.0, np.abs(before[key][before[key] > -1e8]).max())
        distance = np.abs(value - before[key]).max() / reach
        assert distance <= DISTANCE[name], key
    pairs = (list(zip(TEXTS, NAMES, strict=True)),)
    data = pairs if head == "embedding" else (x, y)
    if name not in TRAINED:
        with pytest.raises(ConfigError, match=f"in {name}. Train with"):
            task.fit(*data, **FAST)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        pytest.param(
            *(head, name),
            # The narrowest range is the one that fails, if one does.
            marks=() if name == "mixed_float16" else pytest.mark.large,
        )
        for head in [*HEADS, "embedding"]
        for name in TRAINED
    ],
)
def test_training(saved, policy, head, name):
    x, y = DATA.get(head, (TEXTS, NAMES))
    policy(name)
    task = kbert.load(saved(head))
    pairs = (list(zip(TEXTS, NAMES, strict=True)),)
    data = pairs if head == "embedding" else (x, y)
    assert np.isfinite(task.fit(*data, **FAST).history["loss"]).all()


@pytest.mark.parametrize("layout", ["padded", "flat", "packed"])
def test_float16_in_every_layout(saved, policy, layout):
    policy("mixed_float16")
    clf = kbert.load(saved("classification"))
    # More than a few steps, which are traced, in one of them.
    options = {"epochs": 3 if layout == "padded" else 2, "layer_decay": 0.9}
    options |= {"learning_rate": 3e-3, "layout": layout}
    loss = clf.fit(TEXTS, NAMES, **(FAST | options)).history["loss"]
    assert np.isfinite(loss).all() and loss[-1] < loss[0]
    assert isinstance(clf.model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert np.isfinite(clf.predict_proba(TEXTS)).all()


def test_float16_for_several_tasks_and_few_shot(saved, policy):
    policy("mixed_float16")
    multi = kbert.load(saved("tasks"))
    data = {"one": (TEXTS, NAMES), "two": (TEXTS, DATA["regression"][1])}
    history = multi.fit(data, **FAST).history
    assert np.isfinite(history["loss"]).all()
    clf = kbert.load(saved("classification"))
    clf.fit(TEXTS, NAMES, method="few_shot", epochs=1, verbose=0)
    assert np.isfinite(clf.predict_proba(TEXTS)).all()


def test_float16_is_exported(saved, policy, tmp_path):
    import tensorflow as tf

    before = kbert.load(saved("classification")).predict_proba(TEXTS)
    policy("mixed_float16")
    path = kbert.load(saved("classification")).export(tmp_path / "served")
    model = tf.saved_model.load(str(path))
    texts = tf.constant(TEXTS)
    after = model.signatures["serving_default"](text=texts)["probabilities"]
    np.testing.assert_allclose(after, before, atol=2e-3, rtol=0)
    explained = model.signatures["explain"](text=texts)
    assert np.isfinite(explained["attribution"]).all()


def test_the_layers_decide_on_loss_scaling(saved, policy):
    policy("mixed_float16")
    clf = kbert.load(saved("classification"))
    policy("float32")
    clf.build()
    clf.fit(TEXTS, NAMES, **FAST)
    assert isinstance(clf.model.optimizer, keras.optimizers.LossScaleOptimizer)


def test_loss_scaling_goes_on_bit_for_bit(saved, policy, tmp_path):
    model = saved("classification")
    policy("mixed_float16")

    def run(folder, **options):
        keras.utils.set_random_seed(0)
        clf = kbert.load(model)
        options = FAST | {"epochs": 2, "run_dir": folder} | options
        clf.fit(TEXTS, NAMES, layout="padded", layer_decay=0.9, **options)
        return clf.model.get_weights()

    class Kill(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    whole = run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", callbacks=[Kill()])
    for a, b in zip(whole, run(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(a, b)


def test_unknown_policies_are_refused(policy):
    with pytest.raises(ConfigError, match="int8_from_float32"):
        kbert.Backbone.from_size("tiny", 9, dtype="int8_from_float32")
    for wrong in (np.float16, np.dtype("float16"), 16):
        with pytest.raises(ConfigError, match="policy must be one of float32"):
            kbert.Backbone.from_size("tiny", 9, dtype=wrong)
    policy("int8_from_float32")
    with pytest.raises(ConfigError, match="int8_from_float32"):
        kbert.Classifier("random:1x64")


def test_float64_on_jax(on_jax):
    code = (
        "import keras, kbert\n"
        "keras.config.set_dtype_policy('float64')\n"
        "try:\n"
        "    kbert.Backbone.from_size('tiny', 9)\n"
        "except kbert.errors.ConfigError as error:\n"
        "    print(error)\n"
    )
    assert "JAX_ENABLE_X64=1" in on_jax(code)


def test_float16_on_jax(on_jax):
    code = (
        "import keras, kbert\n"
        "keras.config.set_dtype_policy('mixed_float16')\n"
        "clf = kbert.Classifier('random:1x64', max_length=32, seed=0)\n"
        "history = clf.fit(\n"
        "    ['aaa b', 'zz yy'] * 8, ['a', 'z'] * 8, verbose=0,\n"
        "    learning_rate=3e-3, epochs=4, batch_size=4,\n"
        ")\n"
        "print(type(clf.model.optimizer).__name__)\n"
        "print(history.history['loss'])\n"
    )
    name, loss = on_jax(code).splitlines()[-2:]
    loss = json.loads(loss)
    assert name == "LossScaleOptimizer" and loss[-1] < loss[0]
