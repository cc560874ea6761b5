"""`MultiTask`: one backbone, several heads, one SavedModel."""

import contextlib
import json
import os

import keras
import numpy as np
import pytest
from typer.testing import CliRunner

import kbert
from kbert.cli import app
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.heads.classification import ClassificationHead

LETTERS = [f"{word} {i}" for i in range(12) for word in ("aaa bb", "zz yyy")]
LABELS = ["a", "z"] * 12
WORDS = [["aaa", "bb", "QQ"], ["zz", "yyy"], ["QQ", "yyy"]] * 8
TAGS = [["O", "O", "B-Q"], ["O", "O"], ["B-Q", "O"]] * 8
DATA = {"letter": (LETTERS, LABELS), "tags": (WORDS, TAGS)}
HEADS = {"letter": "classification", "tags": "ner"}
ASKED = ["aaa bb 3", "zz QQ", "", "北京 🎉 QQ", "zz " * 60]

# Runs where only TensorFlow and tensorflow_text are imported.
ASK = """
import json, sys
import tensorflow as tf

path, texts = json.loads(sys.argv[1])
loaded = tf.saved_model.load(path)
answers = {}
def plain(value):
    if isinstance(value, list):
        return [plain(part) for part in value]
    return value.decode() if isinstance(value, bytes) else value


for name in ("letter", "tags"):
    answer = loaded.signatures[name](text=tf.constant(texts))
    answers[name] = {k: plain(v.numpy().tolist()) for k, v in answer.items()}
assert "kbert" not in sys.modules
answers["signatures"] = {
    name: sorted(signature.structured_outputs)
    for name, signature in loaded.signatures.items()
}
print(json.dumps(answers))
"""


def tiny(heads=HEADS, **options):
    return kbert.MultiTask("random:1x64", heads, **({"seed": 0} | options))


@contextlib.contextmanager
def counted_traces():
    """What the steps are traced with."""
    step, traced = keras.Model.train_step, []

    def counted(self, data):
        traced.append(data)
        return step(self, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "train_step", counted)
        yield traced


@pytest.fixture(scope="module")
def trained():
    multi = tiny(max_length=32)
    with counted_traces() as traced:
        history = multi.fit(
            DATA,
            validation_data={"letter": (LETTERS[:6], LABELS[:6])},
            epochs=8,
            batch_size=8,
            learning_rate=2e-3,
            verbose=0,
        )
    assert len(traced) == 1
    return multi, history


# === Training ===


def test_learns_both(trained):
    multi, _ = trained
    assert multi["letter"].predict(LETTERS) == LABELS
    found = multi["tags"].predict(["zz QQ yyy"])[0]
    assert [entity["text"] for entity in found] == ["QQ"]
    reports = multi.evaluate(DATA)
    assert reports["letter"]["accuracy"] == 1
    assert reports["tags"]["f1"] == 1
    json.dumps(reports)


def test_the_backbone_is_one(trained):
    multi, _ = trained
    weights = [{id(w) for w in multi[n].backbone.weights} for n in multi]
    assert weights[0] == weights[1]
    heads = sum(len(multi[name].head_weights()) for name in multi)
    used = len(multi.model.trainable_weights)
    # But for the pooler, which neither head uses.
    assert used == len(multi.backbone.trainable_weights) - 2 + heads
    assert list(multi) == ["letter", "tags"] and len(multi) == 2


def test_history_has_each_task_by_its_name(trained):
    multi, history = trained
    names = {"loss", "letter_accuracy", "tags_accuracy", "val_letter_accuracy"}
    assert names <= set(history.history)
    assert history.history["letter_accuracy"][-1] == 1
    assert history.history["val_letter_accuracy"][-1] == 1
    # What a task adds to the loss; all batches have 8 rows.
    for epoch, loss in enumerate(history.history["loss"]):
        parts = [history.history[f"{name}_loss"][epoch] for name in multi]
        assert sum(parts) == pytest.approx(loss, rel=1e-4)
    facts = multi["letter"].training
    assert facts["trained_with"] == ["tags"]
    assert facts["rows"], facts["steps_per_epoch"] == (24, 3)
    assert facts["validation"]["accuracy"] == 1
    assert "validation" not in multi["tags"].training


def test_one_task_trains_as_a_classifier_does():
    weight = np.linspace(0.5, 2, 24)
    options = {"epochs": 2, "batch_size": 24, "verbose": 0}
    clf = kbert.Classifier("random:1x64", seed=3)
    clf.fit(LETTERS, LABELS, sample_weight=weight, **options)
    multi = tiny({"letter": "classification"}, seed=3)
    multi.fit({"letter": (LETTERS, LABELS, weight)}, **options)
    for one, other in zip(
        multi["letter"].model.weights, clf.model.weights, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-6)


# In layout "flat", a CPU's, it is that of `trained`.
def test_the_step_is_traced_once():
    with counted_traces() as traced:
        tiny().fit(DATA, epochs=2, batch_size=4, layout="padded", verbose=0)
    assert len(traced) == 1


@pytest.mark.large
def test_trains_and_exports_on_jax(tmp_path, on_jax, ask):
    code = (
        "import sys, json, keras, kbert\n"
        "assert keras.backend.backend() == 'jax'\n"
        "heads, data, asked, path = json.loads(sys.argv[1])\n"
        "multi = kbert.MultiTask('random:1x64', heads, seed=0, max_length=32)\n"
        "data = {name: tuple(xy) for name, xy in data.items()}\n"
        "multi.fit(data, epochs=8, batch_size=8, learning_rate=2e-3,"
        " sampling='equal', verbose=0)\n"
        "print(multi.export(path))\n"
        "print(json.dumps([multi['letter'].predict(asked),"
        " [[e['text'] for e in row] for row in"
        " multi['tags'].predict(asked)]]))\n"
    )
    path = tmp_path / "several"
    printed = on_jax(code, json.dumps([HEADS, DATA, ASKED, str(path)]))
    letters, texts = json.loads(printed.splitlines()[-1])
    assert letters[0] == "a" and texts[1] == ["QQ"]
    served = ask(path / "1")
    signatures = served["signatures"]
    assert served["letter"]["label"] == letters
    assert [list(filter(None, row)) for row in served["tags"]["text"]] == texts
    assert signatures["serving_default"] == signatures["letter"]
    assert {"classify", "explain"} < set(signatures)


# === Saved and served ===


@pytest.fixture
def ask(plain_tensorflow):
    """What a SavedModel of several tasks answers in such a process."""
    return lambda path: plain_tensorflow(ASK, path, ASKED)


@pytest.fixture(scope="module")
def saved(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "several"
    trained[0].save(path)
    return path


def test_every_signature_answers_as_predict_in_a_fresh_process(
    trained, tmp_path, ask
):
    multi, _ = trained
    options = {"default": "tags", "check_ops": "2.12.1"}
    path = multi.export(tmp_path / "several", **options)
    served = ask(path)
    letter = multi["letter"].answers(ASKED)
    assert served["letter"]["label"] == multi["letter"].predict(ASKED)
    np.testing.assert_allclose(
        served["letter"]["probabilities"], letter["probabilities"], atol=1e-5
    )
    signatures = served["signatures"]
    assert set(signatures) == {"explain", "letter", "serving_default", "tags"}
    assert signatures["serving_default"] == signatures["tags"]
    tags = multi["tags"].answers(ASKED)
    for key in ("count", "start", "end", "start_byte", "end_byte"):
        np.testing.assert_array_equal(served["tags"][key], tags[key])
    np.testing.assert_allclose(
        served["tags"]["score"], tags["score"], atol=1e-5
    )
    texts = [
        [entity["text"] for entity in row]
        for row in multi["tags"].predict(ASKED)
    ]
    assert any(texts)
    assert [list(filter(None, row)) for row in served["tags"]["text"]] == texts

    # Weights are stored once.
    stored = sum(f.stat().st_size for f in (path / "variables").iterdir())
    assert stored < 1.1 * sum(w.numpy().nbytes for w in multi.model.weights)
    card = json.loads((path / "assets.extra" / "kbert.json").read_text())
    assert list(card["tasks"]) == ["letter", "tags"]
    assert card["default"] == "tags"
    assert card["head"] == card["tasks"]["tags"]["head"]
    warmup = path / "assets.extra" / "tf_serving_warmup_requests"
    assert warmup.read_bytes().count(b"letter") == 2


def test_saves_and_loads(trained, saved):
    multi, _ = trained
    again = kbert.load(saved)
    assert isinstance(again, kbert.MultiTask)
    assert list(again) == list(multi)
    assert again.model is not None
    for name in multi:
        expected = multi[name].answers(ASKED)
        answers = again[name].answers(ASKED)
        assert again[name].training == multi[name].training
        for key, value in expected.items():
            np.testing.assert_array_equal(answers[key], value)


def test_the_folder_is_a_preset(trained, saved):
    clf = kbert.Classifier(saved)
    for one, other in zip(
        clf.backbone.weights, trained[0].backbone.weights, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_load_of_the_wrong_class(saved, tmp_path):
    with pytest.raises(CheckpointError, match="of letter, tags. Use kbert"):
        kbert.Classifier.load(saved)
    clf = kbert.Classifier("random:1x64", labels=["a", "b"])
    clf.save(tmp_path / "one")
    with pytest.raises(CheckpointError, match="of one task. Use kbert.load"):
        kbert.MultiTask.load(tmp_path / "one")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda tasks: tasks.clear(), "tasks is missing"),
        (lambda tasks: tasks.update(explain=tasks["tags"]), "explain"),
        (lambda tasks: tasks.update(tags=3), "tasks is missing"),
        (lambda tasks: tasks["tags"].pop("head"), "tasks.tags.head is"),
        (lambda tasks: tasks["tags"].update(inputs=[1]), "tasks.tags.inputs"),
        (
            lambda tasks: tasks["letter"]["head"]["config"].update(labels=[1]),
            "head|labels",
        ),
        (
            lambda tasks: tasks["letter"]["head"]["config"].update(
                labels=["a", "b", "c"]
            ),
            "tasks.letter.head.logits.kernel has shape",
        ),
    ],
)
def test_damaged_configuration(saved, tmp_path, change, message):
    folder = tmp_path / "several"
    folder.mkdir()
    for file in saved.iterdir():
        os.link(file, folder / file.name)
    config = json.loads((saved / "kbert.json").read_text())
    change(config["tasks"])
    (folder / "kbert.json").unlink()
    (folder / "kbert.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=message):
        kbert.load(folder)


def test_command_asks_for_the_task(saved, tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    rows = tmp_path / "rows.tsv"
    rows.write_text("text\tlabel\naaa bb 1\ta\nzz yyy 2\tz\n")
    done = run("evaluate", saved, rows, "--task", "letter", "--json")
    assert json.loads(done.stdout)["accuracy"] == 1
    missing = run("predict", saved, "-i", "aaa")
    assert "Expected --task, one of letter, tags" in missing.stderr
    wrong = run("predict", saved, "-i", "aaa", "--task", "lettre")
    assert "Did you mean 'letter'?" in wrong.stderr
    facts = json.loads(run("info", saved, "--json").stdout)
    assert facts["form"] == "kbert"
    assert facts["task tags"]["head"]["name"] == "ner"
    refused = run("convert", saved, tmp_path / "out", "--to", "huggingface")
    assert "one of letter, tags" in refused.stderr


# === What is refused ===


@pytest.mark.parametrize(
    "heads, error, message",
    [
        (None, ConfigError, "dict of task names to heads"),
        ({}, ConfigError, "dict of task names to heads"),
        ([("a", "ner")], ConfigError, "dict of task names to heads"),
        ({"a": "nre"}, UnknownNameError, "Did you mean 'ner'"),
        ({"a": "embedding"}, ConfigError, "Use kbert.Embedder"),
        ({"a": 3}, ConfigError, "name of one, or a kbert.Head"),
        ({"a b": "ner"}, ConfigError, "of letters.*'a b'"),
        ({"é": "ner"}, ConfigError, "of letters.*'é'"),
        ({"_a": "ner"}, ConfigError, "of letters.*'_a'"),
        ({7: "ner"}, ConfigError, "of letters.*7"),
        ({"classify": "ner"}, ConfigError, "must not be serving_default"),
        ({"val_a": "ner"}, ConfigError, "begin with val_"),
    ],
)
def test_bad_heads(heads, error, message):
    with pytest.raises(error, match=message):
        tiny(heads)


def test_heads_of_ones_own():
    head = ClassificationHead(labels=["a", "z"], dropout=0.0)
    with pytest.raises(ConfigError, match="same one for 'one' and 'two'"):
        tiny({"one": head, "two": head})

    class Mine(ClassificationHead):
        pass

    with pytest.raises(ConfigError, match="Received: a Mine"):
        tiny({"one": Mine()})
    multi = tiny({"one": head}, max_length={"one": 16})
    assert multi["one"].max_length == 16
    assert multi.model is not None  # The labels are known.
    with pytest.raises(ConfigError, match="`max_length`"):
        tiny({"one": ClassificationHead()}, max_length={"two": 16})


@pytest.fixture(scope="module")
def empty():
    return tiny()


@pytest.mark.parametrize(
    "data, options, error, message",
    [
        (None, {}, ConfigError, "`data` must be a dict"),
        ({"letter": DATA["letter"]}, {}, ConfigError, "without tags"),
        (DATA | {"lettr": 1}, {}, UnknownNameError, "mean 'letter'"),
        (DATA | {"tags": WORDS}, {}, InputError, "Task 'tags': .*a tuple"),
        (DATA | {"tags": (WORDS, None)}, {}, InputError, "'tags': .* labels"),
        (DATA | {"letter": (LETTERS, "a")}, {}, InputError, "Task 'letter'"),
        (DATA, {"sampling": "random"}, UnknownNameError, "sampling 'random'"),
        (DATA, {"sampling": 0.5}, ConfigError, "`sampling` must be a dict"),
        (DATA, {"sampling": {"letter": 1}}, ConfigError, "without tags"),
        (
            DATA,
            {"sampling": {"letter": 1, "tags": 2, "more": 1}},
            UnknownNameError,
            "task 'more'",
        ),
        *(
            (
                DATA,
                {"sampling": {"letter": 1, "tags": w}},
                ConfigError,
                "for 'tags'",
            )
            for w in (0, -1, float("nan"), float("inf"), "1", True)
        ),
        (DATA, {"epochs": 0}, ConfigError, "`epochs`"),
        (DATA, {"class_weight": {"x": "balanced"}}, UnknownNameError, "'x'"),
        (DATA, {"validation_data": {"x": ()}}, UnknownNameError, "'x'"),
    ],
)
def test_bad_fit(empty, data, options, error, message):
    with pytest.raises(error, match=message):
        empty.fit(data, **options)


def test_tasks_that_are_not_there(empty, trained, tmp_path):
    with pytest.raises(UnknownNameError, match="Did you mean 'letter'"):
        empty["lettre"]
    with pytest.raises(UnknownNameError, match="task 'x'"):
        empty.evaluate({"x": DATA["letter"]})
    for what in (empty.save, empty.export):
        with pytest.raises(ConfigError, match="There is no model"):
            what(tmp_path / "several")
    multi, _ = trained
    for options in ({"default": "x"}, {"warmup": {"x": [{"text": ["a"]}]}}):
        with pytest.raises(UnknownNameError, match="task 'x'"):
            multi.export(tmp_path / "several", **options)
    with pytest.raises(UnknownNameError, match="TF Serving release '1.0'"):
        multi.export(tmp_path / "several", check_ops="1.0")
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ExportError, match="holds notes.txt"):
        multi.export(tmp_path)
    assert not (tmp_path / "several").exists()
