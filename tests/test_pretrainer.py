"""`Pretrainer`: what it learns, refuses, saves and goes on with."""

import json
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.pretrainer import SAVED_FILES
from kbert.pretraining.batches import Position

OPTIONS = {"steps": 4, "batch_size": 8, "save_every": 2, "verbose": 0}


def make(corpus, preset="random:1x32", **options):
    return kbert.Pretrainer(
        corpus, preset, **({"sequence_length": 32} | options)
    )


def weights(pretrainer):
    return [np.array(v) for v in pretrainer.model.weights]


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """One that was trained, and what its step was traced with."""
    pretrainer = make(corpus)
    step, traced = pretrainer.model.train_step, []

    def counted(data):
        traced.append(data)
        return step(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrainer.model, "train_step", counted)
        pretrainer.fit(tmp_path_factory.mktemp("run"), **OPTIONS)
    return pretrainer, traced


def test_it_learns(corpus, tmp_path):
    pretrainer = make(corpus)
    before = pretrainer.evaluate(corpus, steps=10, batch_size=8)
    history = pretrainer.fit(
        tmp_path,
        **(OPTIONS | {"steps": 60, "save_every": 30}),
        learning_rate=3e-3,
        validation=corpus,
        validation_steps=3,
    ).history
    after = pretrainer.evaluate(corpus, steps=10, batch_size=8)
    assert after["mlm_loss"] < before["mlm_loss"] - 0.3
    # Before anything is learned, every token is as likely.
    assert before["mlm_loss"] == pytest.approx(
        np.log(len(corpus.vocabulary)), abs=0.1
    )
    assert before["unigram_entropy"] == pytest.approx(corpus.unigram_entropy())
    assert {
        "loss",
        "mlm_accuracy",
        "nsp_loss",
        "val_mlm_loss",
        "val_nsp_accuracy",
        "tokens_per_second",
        "real_tokens",
    } <= history.keys()
    assert all(len(values) == 2 for values in history.values())
    assert 0.9 < history["real_tokens"][0] <= 1


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": "lamb", "accumulate": 4, "steps": 3},
        {"jit_compile": True},
        *(
            pytest.param(options, marks=pytest.mark.large)
            for options in (
                {"optimizer": "lamb"},
                {"optimizer": "muon"},
                {"accumulate": 4},
                {"steps": 3},
            )
        ),
    ],
)
def test_ways_to_train(corpus, tmp_path, options):
    pretrainer = make(corpus, objectives={"mlm": 1.0, "sop": 0.5})
    before = weights(pretrainer)
    history = pretrainer.fit(tmp_path, **(OPTIONS | options)).history
    check_training(history, before, weights(pretrainer))


def check_training(history, before, after):
    assert np.isfinite(history["loss"]).all()
    assert len(history["loss"]) == 2
    assert any((a != b).any() for a, b in zip(before, after, strict=True))


def test_the_step_is_traced_once(trained):
    assert len(trained[1]) == 1


def test_accumulated_gradients_equal_one_batch(corpus):
    """The same rows in one part and in four change the weights alike."""
    import itertools

    from kbert.training.optimizer import make_optimizer

    one, four = make(corpus), make(corpus)
    for variable, value in zip(
        four.model.weights, one.model.weights, strict=True
    ):
        variable.assign(value)
    for layer in (*one.model._flatten_layers(), *four.model._flatten_layers()):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    batches = one.batches(corpus, 8)
    _, batch = next(itertools.islice(batches.after(Position()), 1))
    for pretrainer, parts in ((one, 1), (four, 4)):
        pretrainer.compile(
            make_optimizer("adamw", 1e-3, 2 * parts, 0.0, accumulate=parts)
        )
        # Or it would be made while the step is traced, which is traced again.
        pretrainer.model.optimizer.build(pretrainer.model.trainable_variables)
        rows = 8 // parts
        for i in range(parts):
            part = keras.tree.map_structure(
                lambda x, i=i, rows=rows: x[i * rows : (i + 1) * rows], batch
            )
            pretrainer.model.train_on_batch(*part)
    # Rows hide different numbers of tokens, so parts weigh a little otherwise.
    for a, b in zip(one.model.weights, four.model.weights, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-3)
    assert int(four.model.optimizer.iterations) == 1


def test_a_run_goes_on_bit_for_bit(corpus, tmp_path):
    # The kills of tests/training/test_resume.py are of AdamW.
    options = OPTIONS | {"optimizer": "muon"}
    whole = make(corpus, seed=5)
    before = weights(whole)
    expected = whole.fit(tmp_path / "whole", **options).history
    check_training(expected, before, weights(whole))

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(corpus, seed=5).fit(
            tmp_path / "run", **options, callbacks=[Stop()]
        )
    again = make(corpus, seed=5)
    history = again.fit(tmp_path / "run", **options).history
    assert history["loss"] == expected["loss"]
    for a, b in zip(weights(whole), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)
    # A run that is over is only loaded.
    over = make(corpus, seed=5)
    assert over.fit(tmp_path / "run", **options).history == history
    for a, b in zip(weights(whole), weights(over), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ConfigError, match="learning_rate was 0.0001 and is"):
        make(corpus, seed=5).fit(
            tmp_path / "run", **options, learning_rate=1e-3
        )


def test_it_stops_early_with_the_best_weights(corpus, tmp_path):
    options = OPTIONS | {
        **{"steps": 12, "save_every": 1, "learning_rate": 1.0, "warmup": 0.0},
        **{"validation": corpus, "validation_steps": 2, "early_stopping": 2},
    }
    stopped = make(corpus)
    history = stopped.fit(tmp_path / "run", **options).history
    losses = history["val_loss"]
    assert len(losses) == losses.index(min(losses)) + 3 < 12
    after = stopped.evaluate(corpus, steps=2, batch_size=8)
    assert after["loss"] == pytest.approx(min(losses), rel=1e-5)

    # A run that has stopped is not gone on with.
    again = make(corpus)
    assert again.fit(tmp_path / "run", **options).history == history
    for a, b in zip(weights(again), weights(stopped), strict=True):
        np.testing.assert_array_equal(a, b)


def test_saving_takes_nothing_else_away(corpus, tmp_path):
    pretrainer = make(corpus)
    for _ in range(2):
        pretrainer.save(tmp_path / "preset")
    card = tmp_path / "preset" / "README.md"
    card.write_text("a card")
    before = (tmp_path / "preset" / "model.safetensors").read_bytes()
    with pytest.raises(CheckpointError, match="README.md too"):
        make(corpus, seed=5).save(tmp_path / "preset")
    assert card.read_text() == "a card"
    weights = tmp_path / "preset" / "model.safetensors"
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("dtype", "further"),
    [
        ("float32", False),
        ("float16", True),
        pytest.param("float32", True, marks=pytest.mark.large),
    ],
)
def test_saved_as_a_preset(trained, corpus, tmp_path, dtype, further):
    pretrainer, _ = trained
    pretrainer.save(tmp_path / "preset", dtype=dtype)
    saved = sorted(p.name for p in (tmp_path / "preset").iterdir())
    assert saved == sorted(SAVED_FILES)
    tolerance = {"float32": 0, "float16": 1e-3}[dtype]
    # To pretrain further, heads included.
    again = make(corpus, preset=tmp_path / "preset")
    for a, b in zip(weights(pretrainer), weights(again), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)
    if further:
        again.fit(tmp_path / "further", **OPTIONS)
    # To fine-tune.
    clf = kbert.Classifier(
        tmp_path / "preset", labels=["a", "b"], max_length=16
    )
    assert clf.tokenizer.vocabulary == corpus.vocabulary
    assert clf.predict_proba(["a bird calls"]).shape == (1, 2)


def test_nothing_is_saved_in_another_way(trained, tmp_path):
    pretrainer, _ = trained
    pretrainer.save(tmp_path / "preset")
    before = (tmp_path / "preset" / "model.safetensors").read_bytes()
    for dtype in ("int8", "flaot16", None):  # Of integers all would be 0.
        with pytest.raises(ConfigError, match="`dtype` must be one of"):
            pretrainer.save(tmp_path / "preset", dtype=dtype)
    after = (tmp_path / "preset" / "model.safetensors").read_bytes()
    assert after == before
    for path in (5, ""):
        with pytest.raises(CheckpointError, match="path of a file or folder"):
            pretrainer.save(path)


def test_dropout_while_it_is_pretrained(corpus, tmp_path):
    none = make(corpus, dropout=0.0)
    own = make(corpus)
    batches = none.batches(corpus, 8)
    _, (x, _, _) = next(batches.after(Position()))
    for pretrainer, same in ((none, True), (own, False)):
        answers = pretrainer.model(x, training=False)["mlm"]
        training, again = (
            pretrainer.model(x, training=True)["mlm"] for _ in range(2)
        )
        assert np.array_equal(training, again) == same
        # Norms and GELU have another form in training.
        assert np.allclose(answers, training, atol=1e-5) == same
    # What is fine-tuned has the rates of its configuration again.
    none.save(tmp_path / "preset")
    assert kbert.Classifier(
        tmp_path / "preset", labels=["a", "b"], max_length=16
    ).backbone.config["dropout"] == pytest.approx(0.1)
    # A checkpoint that has none gets some for as long as is asked.
    config = json.loads((tmp_path / "preset" / "config.json").read_text())
    rates = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (tmp_path / "preset" / "config.json").write_text(json.dumps(config | rates))
    some = make(corpus, tmp_path / "preset", dropout=0.3)
    assert some.backbone.config["attention_dropout"] == 0.3
    some.save(tmp_path / "again")
    again = json.loads((tmp_path / "again" / "config.json").read_text())
    assert again["hidden_dropout_prob"] == 0


def test_it_begins_with_the_corpus(corpus):
    random, informed, again = (
        make(corpus, "random:1x8", first_weights=first)
        for first in ("random", "corpus", "corpus")
    )
    for a, b in zip(weights(informed), weights(again), strict=True):
        np.testing.assert_array_equal(a, b)
    changed = {
        v.path
        for v, w in zip(
            random.model.weights, informed.model.weights, strict=True
        )
        if (np.array(v) != np.array(w)).any()
    }
    assert {path.rsplit("/", 2)[-2] for path in changed} == {
        *("token_embedding", "position_embedding", "query", "key"),
    }


def test_a_preset_without_heads_begins_them_at_random(corpus, tmp_path):
    clf = kbert.Classifier(
        "random:tiny",
        labels=["a", "b"],
        vocabulary=corpus.path / "vocab.txt",
        max_length=16,
    )
    clf.save(tmp_path / "clf")
    pretrainer = make(corpus, preset=tmp_path / "clf")
    for a, b in zip(
        clf.backbone.weights, pretrainer.backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(a, b)


# === Errors ===


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"objectives": {"mln": 1.0}}, UnknownNameError, "mean 'mlm'"),
        ({"objectives": {}}, ConfigError, "one or more"),
        ({"objectives": {"mlm": 0}}, ConfigError, "mlm.*above 0.*=0"),
        ({"mask_rate": 1.5}, ConfigError, "mask_rate=1.5"),
        (
            {"objectives": {"nsp": 1.0}, "whole_words": True},
            ConfigError,
            "about the objective 'mlm'",
        ),
        ({"first_weights": "corpsu"}, UnknownNameError, "mean 'corpus'"),
        (
            {"first_weights": "corpus", "preset": "all-minilm-l6-v2"},
            ConfigError,
            "for a new backbone.*all-minilm-l6-v2",
        ),
        ({"dropout": 1}, ConfigError, "below 1.*dropout=1"),
        ({"sequence_length": 513}, ConfigError, "from 8 to 512"),
        ({"preset": "random:huge"}, UnknownNameError, "size"),
    ],
)
def test_wrong_arguments(corpus, options, error, message):
    with pytest.raises(error, match=message):
        make(corpus, **options)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 0}, ConfigError, "`steps`.*positive integer"),
        ({"accumulate": 3}, ConfigError, "multiple of `accumulate`"),
        ({"warmup": 2}, ConfigError, "`warmup`"),
        ({"save_every": 5}, ConfigError, "no more than `steps`"),
        ({"early_stopping": 2}, ConfigError, "without `validation`"),
        ({"jit_compile": "yes"}, ConfigError, "jit_compile='yes'"),
        ({"optimizer": "sgdd"}, UnknownNameError, "optimizer"),
        ({"batch_size": 10_000}, InputError, "smaller batch_size"),
    ],
)
def test_wrong_arguments_of_fit(corpus, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        make(corpus).fit(tmp_path / "run", **(OPTIONS | options))


def test_vocabularies_must_fit(corpus, kill, tmp_path, monkeypatch):
    monkeypatch.setattr(kill, "WORDS", [*kill.WORDS, "zoo"])
    other = kbert.Corpus(kill.make_corpus(tmp_path))
    with pytest.raises(InputError, match="Build it again"):
        make(corpus).evaluate(other)
    make(corpus).save(tmp_path / "preset")
    with pytest.raises(CheckpointError, match="kbert corpus --preset"):
        make(other, preset=tmp_path / "preset")


def test_no_corpus(tmp_path):
    with pytest.raises(CheckpointError, match="kbert.build_corpus"):
        kbert.Pretrainer(tmp_path / "nowhere")


def test_a_damaged_corpus_is_not_trained_on(corpus, tmp_path):
    path = tmp_path / "corpus"
    shutil.copytree(corpus.path, path)
    tokens = path / "00000.tokens.npy"
    content = bytearray(tokens.read_bytes())
    content[-1] ^= 1
    tokens.write_bytes(content)
    with pytest.raises(CheckpointError, match="00000.tokens.npy"):
        make(path).fit(tmp_path / "run", **OPTIONS)


# === Backends ===

ON_JAX = """
import sys
import kbert
pretrainer = kbert.Pretrainer({corpus!r}, "random:1x16", sequence_length=24)
history = pretrainer.fit(
    {run!r},
    steps=2,
    batch_size=8,
    save_every=1,
    optimizer="muon",
    verbose=0,
)
pretrainer.evaluate({corpus!r}, steps=1, batch_size=8)
pretrainer.save({out!r})
assert len(history.history["loss"]) == 2
assert "tensorflow" not in sys.modules
"""


def test_training_on_jax_needs_no_tensorflow(corpus, tmp_path, monkeypatch):
    pytest.importorskip("jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    program = ON_JAX.format(
        corpus=str(corpus.path),
        run=str(tmp_path / "run"),
        out=str(tmp_path / "out"),
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    assert (tmp_path / "out" / "model.safetensors").is_file()
