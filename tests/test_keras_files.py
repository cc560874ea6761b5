"""What Keras saves, Keras reads, where kbert was imported and no more."""

import importlib
import json
import pkgutil

import keras
import numpy as np
import pytest

import kbert
from kbert.data.packing import pack
from kbert.heads.adaptive_softmax import AdaptiveSoftmaxLoss
from kbert.pretraining.heads import pretraining_model
from kbert.utils.entry_points import installed_plugins

TEXTS = [f"{word} {i}" for i in range(4) for word in ("aa bb", "zz yy")]

LABELS = {
    "classification": ["a", "z"] * 4,
    "spam": ["ham", "spam"] * 4,
    "sentiment": ["negative", "positive"] * 4,
    "news": ["a", "z"] * 4,
    "regression": [float(i) for i in range(8)],
    "multi_label": [["a"], ["b"]] * 4,
    "ner": [[(0, 2, "X")]] * 8,
    "qa": [{"text": t, "answer_start": 0} for t in TEXTS],
}

OPTIONS = {
    "casing": {"casing": True},
    "ngrams": {"ngrams": 2},
    "pooler": {"pooling": "pooler"},
    "normalized": {"normalize": True},
    "adaptive": {
        "labels": [str(i) for i in range(30)],
        "adaptive_softmax": True,
        "label_counts": list(range(30)),
    },
}


def built(head="classification", **options):
    clf = kbert.Classifier("random:1x64", head=head, seed=0, **options)
    if clf.model is None:
        columns = [["who"] * 8, TEXTS] if head == "qa" else [TEXTS]
        clf.head.adapt(clf.head.read(LABELS[head], columns))
        clf.build()
    return clf


def several():
    multi = kbert.MultiTask(
        "random:1x64", {"x": "classification", "y": "ner"}, seed=0
    )
    for name, head in (("x", "classification"), ("y", "ner")):
        task = multi[name]
        task.head.adapt(task.head.read(LABELS[head], [TEXTS]))
        task.build()
    multi.build()
    return multi


def make(name):
    """A model by the name of what has it."""
    if name == "backbone":
        return kbert.Backbone(50, 1, 2, 8, 16, embedding_dim=4, dropout=0.3)
    if name in ("flat", "packed"):
        return built("ner").laid_out(name)
    if name == "pretraining":
        backbone = kbert.Backbone(50, 1, 2, 8, 16, embedding_dim=4)
        return pretraining_model(backbone, ("mlm", "nsp"))
    if name == "embedder":
        return kbert.Embedder("random:1x64", normalize=True).model
    front = several() if name == "several" else None
    front = front or built(**OPTIONS.get(name, {"head": name}))
    front.laid_out("flat")  # As training makes it, beside the model.
    return front.model


NAMES = [
    *LABELS,
    *OPTIONS,
    *("embedder", "several", "pretraining", "backbone", "flat", "packed"),
]


def rows_for(model):
    """A batch that a model takes."""
    mask = np.arange(7) < np.array([[7], [4], [2]])
    ids = np.random.default_rng(0).integers(5, 50, mask.shape)
    rows = {
        "token_ids": np.where(mask, ids, 0).astype("int32"),
        "segment_ids": np.zeros(mask.shape, "int32"),
        "padding_mask": mask,
    }
    if "slots" in model.input:
        rows |= pack(mask)
    for key, tensor in model.input.items():
        shape = [size or 3 for size in tensor.shape]
        rows.setdefault(key, np.ones(shape, tensor.dtype))
    return rows


def assert_same(one, other):
    pairs = zip(keras.tree.flatten(one), keras.tree.flatten(other), strict=True)
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder of the models as files, with rows and answers of each."""
    folder = tmp_path_factory.mktemp("saved")
    for name in NAMES:
        model = make(name)
        rows = rows_for(model)
        answers = keras.tree.flatten(model(rows))
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.rows.npz", **rows)
        np.savez(folder / f"{name}.npz", *map(np.asarray, answers))
        # By its configuration, as `to_json` and `clone_model` make it.
        copies = [keras.models.model_from_json(model.to_json())]
        if name in ("classification", "pretraining", "adaptive"):
            copies.append(keras.models.clone_model(model))
        for copy in copies:
            assert len(copy.weights) == len(model.weights)
            copy.set_weights(model.get_weights())
            assert_same(copy(rows), model(rows))
    return folder


PROGRAM = """
import json, sys, kbert, keras
import numpy as np
from pathlib import Path

far = {}
for path in Path(sys.argv[1]).glob("*.keras"):
    model = keras.models.load_model(path)
    rows = dict(np.load(path.with_suffix(".rows.npz")))
    answers = keras.tree.flatten(model(rows))
    expected = np.load(path.with_suffix(".npz")).values()
    far[path.stem] = max(
        float(abs(np.asarray(a, "float64") - b).max())
        for a, b in zip(answers, expected, strict=True)
    )
names = [n for n in keras.saving.get_custom_objects() if n.startswith("kbert")]
tokenizer = "kbert.tokenizers.tokenizer" in sys.modules
print(json.dumps([far, sorted(names), tokenizer]))
"""


def test_a_process_that_imported_kbert_alone(saved, fresh):
    far, names, tokenizer = json.loads(fresh(PROGRAM, str(saved)))
    assert sorted(far) == sorted(NAMES)
    assert max(far.values()) < 1e-5, far
    assert not tokenizer  # Reading a file need not pay for it.
    assert names == sorted(registered_names())


@pytest.mark.parametrize(
    "imports", ["keras, kbert", "kbert.models.dense, keras"]
)
def test_classes_are_registered_in_any_order_of_imports(imports, fresh):
    program = f"""
import os
os.environ["KERAS_BACKEND"] = "numpy"  # The one that is there at once.
import {imports}
print("kbert>AdamW" in keras.saving.get_custom_objects())
"""
    assert fresh(program) == "True\n"


# === Every class is registered ===

KINDS = (
    keras.layers.Layer,
    keras.losses.Loss,
    keras.metrics.Metric,
    keras.optimizers.Optimizer,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.initializers.Initializer,
)


def own_classes():
    """The classes of kbert and its plugins that Keras can save."""
    modules = [
        importlib.import_module(info.name)
        for info in pkgutil.walk_packages(kbert.__path__, "kbert.")
        if info.name != "kbert.__main__"
    ]
    modules += [
        plugin.load()
        for plugin in installed_plugins()
        if plugin.dist.name.startswith("kbert-")
    ]
    for module in modules:
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, KINDS)
                and value.__module__ == module.__name__
                and not value.__name__.startswith("_")
            ):
                yield value


def registered_names():
    return {keras.saving.get_registered_name(v) for v in own_classes()}


def test_every_class_is_registered():
    classes = set(own_classes())
    assert len(classes) > 15
    for value in classes:
        name = keras.saving.get_registered_name(value)
        assert name.startswith("kbert"), (
            f"{value} is not registered: decorate it, and have its module in "
            f"kbert.utils.registration.MODULES"
        )
        assert keras.saving.get_registered_object(name) is value


def test_a_backbone_keeps_its_policy_and_what_is_frozen():
    backbone = kbert.Backbone(50, 1, 2, 8, 16, dtype="mixed_bfloat16")
    backbone.trainable = False
    copy = kbert.Backbone.from_config(
        json.loads(json.dumps(backbone.get_config()))
    )
    assert copy.encoder[0].intermediate.compute_dtype == "bfloat16"
    assert copy.get_config() == backbone.get_config()
    assert not copy.trainable_variables
    assert type(copy) is kbert.Backbone


def test_pretraining_weights_stay_shared_in_a_file(saved):
    model = keras.models.load_model(saved / "pretraining.keras")
    table = model.get_layer("embeddings").token_embedding.embeddings
    rows = rows_for(model)
    before = np.asarray(model(rows)["mlm"])
    table.assign(np.array(table) + np.arange(200).reshape(50, 4) / 100)
    assert (np.asarray(model(rows)["mlm"])[..., 49] != before[..., 49]).all()


def test_a_file_trains_on_with_adaptive_softmax(tmp_path):
    clf = built(**OPTIONS["adaptive"])
    rows, y = rows_for(clf.model), np.array([1, 29, 12])
    clf.model.compile("sgd", clf.head.loss(), run_eagerly=True)
    before = clf.model.evaluate(rows, y, verbose=0)
    clf.model.save(tmp_path / "m.keras")
    copies = (
        keras.models.load_model(tmp_path / "m.keras"),
        keras.models.clone_model(clf.model),
    )
    copies[1].set_weights(clf.model.get_weights())
    for copy in copies:
        copy.run_eagerly = True
        layer = copy.get_layer("adaptive_softmax")
        kernel = np.array(layer.head.kernel)
        assert copy.evaluate(rows, y, verbose=0) == pytest.approx(before)
        copy.fit(rows, y, verbose=0)
        assert (np.array(layer.head.kernel) != kernel).any()
    assert clf.model.evaluate(rows, y, verbose=0) == pytest.approx(before)
    with pytest.raises(kbert.KbertError, match="AdaptiveSoftmaxLoss"):
        config = clf.head.loss().get_config()
        AdaptiveSoftmaxLoss.from_config(config | {"softmax": "another"})
