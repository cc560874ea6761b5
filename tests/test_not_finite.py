"""NaN, infinities and what float32 cannot hold are told, not trained."""

import json
import math

import keras
import numpy as np
import pytest

import kbert
from kbert.commands import common
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.errors import InputError
from kbert.errors import NotFiniteError
from kbert.export import kerashub
from kbert.formats.safetensors_form import read_tensors
from kbert.heads.classification import ClassificationHead
from kbert.training.class_weight import label_weights
from kbert.training.sample_weight import read_sample_weight
from kbert.utils.finite import is_number
from kbert.utils.finite import not_finite
from kbert.utils.json_text import dumps

NAN, INF = math.nan, math.inf
TEXTS = [f"{word} {i}" for i in range(4) for word in ("aaa bb", "zz yyy")]
NAMES = ["a", "z"] * 4
FAST = {"epochs": 1, "batch_size": 4, "verbose": 0}
PAIRS = list(zip(TEXTS, TEXTS[2:] + TEXTS[:2], strict=True))


def tiny(head="classification", **options):
    options = {"max_length": 16, "seed": 0} | options
    return kbert.Classifier("random:1x32", head, **options)


def several():
    heads = {"one": ClassificationHead(["a", "z"])}
    return kbert.MultiTask("random:1x32", heads, max_length=16, seed=0)


def spoil(model, name="gamma"):
    """NaN in one weight, whose path is given back."""
    weight = next(w for w in model.weights if w.path.endswith(name))
    weight.assign(np.full(weight.shape, NAN))
    return weight.path


# === Weights of rows and classes ===


@pytest.mark.parametrize("value", [NAN, INF, -1e-9, 1e39, "1", None, {1}])
def test_a_weight_that_is_none(value):
    weights = np.ones(8, object)
    weights[5] = value
    with pytest.raises(InputError, match="of 0 or more.*in row 5"):
        tiny().fit(TEXTS, NAMES, sample_weight=weights, **FAST)
    with pytest.raises(InputError, match="Task 'one'.*in row 5"):
        several().fit({"one": (TEXTS, NAMES, weights)}, **FAST)
    weights = {"a": 1, "z": value}
    with pytest.raises(ConfigError, match="of 0 or more.* for 'z'"):
        label_weights(ClassificationHead(["a", "z"]), NAMES, weights)
    if value is NAN:
        for method in ("fine_tune", "few_shot"):
            with pytest.raises(ConfigError, match="`class_weight`.* for 'z'"):
                tiny().fit(TEXTS, NAMES, class_weight=weights, method=method)


def test_what_is_masked_is_no_number():
    masked = list(np.ma.array([1.0] * 8, mask=[0] * 7 + [1]))
    assert masked[7] is np.ma.masked
    with pytest.raises(InputError, match="Received: None in row 7"):
        read_sample_weight(masked, 8)
    with pytest.raises(InputError, match="Received: None in row 7"):
        tiny("regression").fit(TEXTS, masked, **FAST)


def test_weights_of_nothing():
    with pytest.raises(InputError, match="above 0"):
        tiny().fit(TEXTS, NAMES, sample_weight=[0] * 8, **FAST)
    with pytest.raises(InputError, match="above 0"):
        read_sample_weight([1e-50] * 8, 8)  # 0 in float32.
    by_label = {NAMES[0]: 0}
    for weight in (
        {
            "class_weight": by_label,
            "sample_weight": [n in by_label for n in NAMES],
        },
        {"class_weight": {NAMES[0]: 3e38}, "sample_weight": [3e38] * 8},
    ):
        with pytest.raises(InputError, match="by row and by label together"):
            tiny().fit(TEXTS, NAMES, **weight, **FAST)
    with pytest.raises(ConfigError, match="above 0"):
        tiny().fit(TEXTS, NAMES, class_weight={"a": 0, "z": 0.0}, **FAST)


@pytest.mark.parametrize("weights", [[True, False] * 4, [0, 2.5] * 4])
def test_weights_that_are_numbers(weights):
    read = read_sample_weight(weights, 8)
    np.testing.assert_array_equal(read, np.array(weights, "float32"))


# === Targets ===


@pytest.mark.parametrize("value", [1e300, -1e39, INF, "1e400", NAN])
def test_a_target_beyond_float32(value):
    clf, good = tiny("regression"), [float(i) for i in range(8)]
    targets = [*good[:3], value, *good[4:]]
    with pytest.raises(InputError, match="float32.* in row 3"):
        clf.fit(TEXTS, targets, **FAST)
    with pytest.raises(InputError, match="float32.* in row 3"):
        clf.fit(TEXTS, good, validation_data=(TEXTS, targets), **FAST)
    with pytest.raises(InputError, match="float32.* in row 3"):
        clf.evaluate(TEXTS, targets)


@pytest.mark.parametrize(
    "targets",
    [
        [1e9 + i / 100 for i in range(8)],
        [i * 1e-40 for i in range(8)],
        [3e38, -3e38] * 4,
    ],
)
def test_targets_that_float32_does_not_tell_apart(targets):
    with pytest.raises(InputError, match="float32 tells apart"):
        tiny("regression").fit(TEXTS, targets, **FAST)


@pytest.mark.parametrize(
    "targets",
    [
        [1.7e9 + i * 86400 for i in range(8)],
        [i * 1e37 for i in range(8)],
    ],
)
def test_far_targets_that_float32_holds(targets):
    clf = tiny("regression")
    clf.fit(TEXTS, targets, validation_data=(TEXTS, targets), **FAST)
    answers = np.array(clf.predict(TEXTS)) - np.mean(targets)
    assert np.abs(answers).max() < 3 * np.std(targets)
    json.dumps(clf.training, allow_nan=False)


@pytest.mark.parametrize("option", ["minimum", "maximum", "mean", "scale"])
def test_options_that_are_no_numbers(option):
    for value in (NAN, INF, "1"):
        with pytest.raises(ConfigError, match=option):
            tiny("regression", **{option: value})


def test_scores_of_pairs():
    embedder = kbert.Embedder("random:1x32", seed=0)
    scores = [0.5] * 7 + [1e300]
    with pytest.raises(InputError, match="in row 7"):
        embedder.evaluate(PAIRS, scores)
    with pytest.raises(InputError, match="in row 7"):
        embedder.fit(PAIRS, scores, **FAST)


# === Rates ===


@pytest.mark.parametrize("value", [1e8, 1.5, NAN, INF, 0, -1, "1", None, True])
def test_learning_rates(value):
    options = FAST | {"learning_rate": value}
    ways = (
        lambda: tiny().fit(TEXTS, NAMES, **options),
        lambda: tiny().fit(TEXTS, NAMES, method="few_shot", **options),
        lambda: several().fit({"one": (TEXTS, NAMES)}, **options),
        lambda: kbert.Embedder("random:1x32").fit(PAIRS, **options),
    )
    for fit in ways if value == 1e8 else ways[:1]:
        with pytest.raises(ConfigError, match="`learning_rate` must be"):
            fit()


@pytest.mark.parametrize("value", [NAN, "x", -1])
def test_other_settings(value):
    for name in ("warmup", "weight_decay", "layer_decay", "r_drop"):
        with pytest.raises(ConfigError, match=f"`{name}` must be"):
            tiny().fit(TEXTS, NAMES, **(FAST | {name: value}))
    with pytest.raises(ConfigError, match="`scale` must be"):
        kbert.Embedder("random:1x32").fit(PAIRS, scale=value, **FAST)
    for name in ("dropout", "layer_norm_epsilon", "initializer_range"):
        with pytest.raises(ConfigError, match=f"`{name}` must be"):
            kbert.Backbone.from_size("tiny", 9, **{name: value})


def test_an_epsilon_that_float32_loses():
    with pytest.raises(ConfigError, match="layer_norm_epsilon"):
        kbert.Backbone.from_size("tiny", 9, layer_norm_epsilon=1e-50)


# === Training that fails ===


class Spoil(keras.callbacks.Callback):
    """Makes a weight NaN before a step of the second epoch."""

    def on_train_batch_begin(self, batch, logs=None):
        if self.epoch == 1 and batch == 1:
            # Of every model: the pooler is in some only.
            spoil(self.model, "attention_norm/gamma")

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch


def failing():
    options = FAST | {"epochs": 3, "callbacks": [Spoil()]}
    both = (TEXTS, NAMES)
    one = {"one": both}
    return {
        "fine_tune": lambda: tiny().fit(*both, **options),
        "r_drop": lambda: tiny().fit(*both, r_drop=1.0, **options),
        "few_shot": lambda: tiny().fit(*both, method="few_shot", **options),
        "several": lambda: several().fit(one, **options),
        "pairs": lambda: kbert.Embedder("random:1x32").fit(PAIRS, **options),
    }


@pytest.mark.parametrize("way", failing())
def test_a_loss_that_is_nan_ends_training(way):
    expected = r"loss nan in epoch 2, at step 2 of 2.*learning_rate"
    with pytest.raises(NotFiniteError, match=expected):
        failing()[way]()


def test_pretraining_ends_and_keeps_good_checkpoints(corpus, tmp_path):
    made = {"sequence_length": 32, "seed": 0}
    options = {"steps": 6, "batch_size": 8, "save_every": 2, "verbose": 0}
    pretrainer = kbert.Pretrainer(corpus, "random:1x32", **made)
    with pytest.raises(NotFiniteError, match="epoch 2, at step 2 of 2"):
        pretrainer.fit(tmp_path, callbacks=[Spoil()], **options)
    with pytest.raises(CheckpointError, match="NaN or infinity in bert"):
        pretrainer.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    (kept,) = tmp_path.glob("checkpoint-*")
    assert not not_finite(read_tensors(kept / "state.safetensors").items())


def test_a_run_keeps_good_checkpoints_only(tmp_path):
    options = FAST | {"epochs": 3, "run_dir": tmp_path}

    class Last(keras.callbacks.Callback):
        """The last step's weights have no loss yet."""

        def on_train_batch_end(self, batch, logs=None):
            if batch == 1 and len(list(tmp_path.glob("checkpoint-*"))) == 1:
                spoil(self.model)

    with pytest.raises(NotFiniteError, match="infinity in .*gamma in epoch 2"):
        tiny().fit(TEXTS, NAMES, callbacks=[Last()], **options)
    assert [p.name for p in tmp_path.glob("check*")] == ["checkpoint-00000002"]
    history = tiny().fit(TEXTS, NAMES, **options).history
    assert len(history["loss"]) == 3 and np.isfinite(history["loss"]).all()


def test_a_validation_loss_that_is_not_finite(monkeypatch):
    class Validation(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.kept = self.model.get_weights()
            spoil(self.model)

        def on_test_end(self, logs=None):
            self.model.set_weights(self.kept)

    with pytest.raises(NotFiniteError, match="val_loss nan in epoch 1"):
        tiny().fit(
            *(TEXTS, NAMES),
            validation_data=(TEXTS, NAMES),
            callbacks=[Validation()],
            **FAST,
        )


def test_steps_that_loss_scaling_skips_are_no_failure(capsys):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        clf = tiny()
    finally:
        keras.config.set_dtype_policy(before)

    class Overflow(keras.callbacks.Callback):
        scales = []

        def on_train_begin(self, logs=None):
            self.model.optimizer.dynamic_scale.assign(2.0**40)

        def on_train_batch_end(self, batch, logs=None):
            self.scales.append(float(self.model.optimizer.dynamic_scale))

    options = FAST | {"epochs": 2, "callbacks": [Overflow()]}
    history = clf.fit(TEXTS, NAMES, **options).history
    assert Overflow.scales == [2.0**39, 2.0**38, 2.0**37, 2.0**36]
    assert np.isfinite(history["loss"]).all()
    assert "nothing was learned" in " ".join(capsys.readouterr().err.split())
    # Where nothing but such steps comes, nothing is learned.
    Overflow.on_train_begin = lambda self, logs=None: None
    Overflow.on_epoch_begin = lambda self, epoch, logs=None: (
        self.model.optimizer.dynamic_scale.assign(2.0**-9)
    )
    with pytest.raises(NotFiniteError, match="loss scaled by"):
        clf.fit(TEXTS, NAMES, **options)


# === Weights that are not finite ===


def test_they_are_not_trained_answered_or_saved(tmp_path):
    clf = tiny(labels=["a", "z"])
    clf.save(tmp_path / "saved")
    kept = (tmp_path / "saved" / "model.safetensors").read_bytes()
    spoil(clf.model, "logits/kernel")
    with pytest.raises(NotFiniteError, match="logits/kernel"):
        clf.fit(TEXTS, NAMES, **FAST)
    with pytest.raises(NotFiniteError, match="probabilities"):
        clf.predict(TEXTS)
    with pytest.raises(CheckpointError, match="head.logits.kernel"):
        clf.save(tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").read_bytes() == kept
    for format in ("savedmodel", "onnx", "litert", "int8"):
        with pytest.raises(ExportError, match="logits/kernel"):
            clf.export(tmp_path / format, format=format)
    with pytest.raises(CheckpointError, match="kernel|classifier"):
        pooled = tiny(labels=["a", "z"], pooling="pooler")
        spoil(pooled.model, "logits/kernel")
        pooled.save_pretrained(tmp_path / "huggingface")
    with pytest.raises(ExportError, match="logits/kernel"):
        clf.backbone.config["activation"] = "gelu_new"
        kerashub.save_task(clf, tmp_path / "kerashub")
    assert [p.name for p in tmp_path.iterdir()] == ["saved"]


def test_those_of_several_tasks_and_of_vectors(tmp_path):
    multi, embedder = several(), kbert.Embedder("random:1x32")
    spoil(multi.model), spoil(embedder.model)
    with pytest.raises(CheckpointError, match="LayerNorm"):
        multi.save(tmp_path / "multi")
    with pytest.raises(ExportError, match="gamma"):
        multi.export(tmp_path / "multi")
    with pytest.raises(CheckpointError, match="LayerNorm"):
        embedder.save(tmp_path / "embedder")
    with pytest.raises(ExportError, match="gamma"):
        embedder.export(tmp_path / "embedder")
    with pytest.raises(NotFiniteError, match="embedding"):
        embedder.encode(TEXTS)
    with pytest.raises(CheckpointError, match="LayerNorm"):
        kbert.save_backbone(embedder.backbone, tmp_path / "backbone")
    assert not list(tmp_path.iterdir())


def test_weights_that_float16_cannot_hold(corpus, tmp_path):
    pretrainer = kbert.Pretrainer(corpus, "random:1x32", sequence_length=32)
    bias = pretrainer.backbone.pooler.bias
    bias.assign(np.full(bias.shape, 1e5))
    pretrainer.save(tmp_path / "whole")
    with (
        pytest.warns(RuntimeWarning, match="overflow"),
        pytest.raises(CheckpointError, match="bert.pooler.dense.bias"),
    ):
        pretrainer.save(tmp_path / "half", dtype="float16")


def test_options_that_json_cannot_hold(tmp_path):
    clf = tiny("multi_label", labels=["a", "z"])
    clf.head.thresholds = [0.5, NAN]
    with pytest.raises(ConfigError, match="thresholds"):
        clf.save(tmp_path / "saved")
    assert not list(tmp_path.iterdir())


# === JSON ===


def test_json_is_json(capsys):
    value = {"a": [NAN, 1.0, (INF, {"b": -INF})], "c": float("nan"), "d": "NaN"}
    held = {"a": [None, 1.0, [None, {"b": None}]], "c": None, "d": "NaN"}
    assert json.loads(dumps(value), parse_constant=pytest.fail) == held
    common.print_json(value)
    out = capsys.readouterr().out
    assert json.loads(out, parse_constant=pytest.fail) == held
    assert dumps({"é": 1}, ensure_ascii=False) == '{"é": 1}'


def test_a_report_that_is_nan_is_saved_as_null(tmp_path):
    clf = tiny(labels=["a", "z"])
    clf.note_training(8, 1.0, validation={"kappa": NAN})
    clf.save(tmp_path / "saved")
    text = (tmp_path / "saved" / "kbert.json").read_text()
    config = json.loads(text, parse_constant=pytest.fail)
    assert config["training"]["validation"] == {"kappa": None}


def test_names_of_what_is_not_finite():
    names = [f"w{i}" for i in range(9)]
    arrays = [(name, np.array([1.0, NAN], "float16")) for name in names]
    assert not_finite([*arrays, ("ids", np.array([1]))]) == (
        "w0, w1, w2, w3, w4 and 4 more"
    )
    for value, names in ((1.0, ""), (INF, "half")):
        half = keras.ops.cast([value], "bfloat16")
        half = keras.ops.convert_to_numpy(half)
        assert not_finite([("half", half)]) == names
    assert is_number(np.float16(2)) and is_number(-3)
    assert not any(map(is_number, [True, np.True_, "1", 10**400, 1j, None]))
