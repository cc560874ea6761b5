"""The SavedModel: answers as `predict`, in a process without kbert."""

import functools
import json
import shutil

import numpy as np
import pytest
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.export import saved_model

TEXTS = ["aaa bb", "zz yyy zz", "", "Ünïcode 中文 😀", "word " * 500]

# Runs where only TensorFlow and tensorflow_text are imported.
ASK = """
import json, sys
import tensorflow as tf

path, texts = json.loads(sys.argv[1])
loaded = tf.saved_model.load(path)
signatures = loaded.signatures
answer = signatures["serving_default"](
    **{name: tf.constant(column) for name, column in texts.items()}
)
examples = [
    tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(
                    bytes_list=tf.train.BytesList(value=[text.encode()])
                )
                for name, text in zip(texts, row)
            }
        )
    ).SerializeToString()
    for row in zip(*texts.values())
]
classify = signatures["classify"](inputs=tf.constant(examples))
assert "kbert" not in sys.modules
print(json.dumps({
    "label": [v.decode() for v in answer["label"].numpy()],
    "score": answer["score"].numpy().tolist(),
    "probabilities": answer["probabilities"].numpy().tolist(),
    "classes": [[c.decode() for c in row]
                for row in classify["classes"].numpy()],
    "scores": classify["scores"].numpy().tolist(),
}))
"""


@pytest.fixture
def ask(plain_tensorflow):
    """What a SavedModel answers in such a process."""
    return functools.partial(plain_tensorflow, ASK)


def trained(pairs=False):
    texts = [f"{word} {i}" for i in range(8) for word in ("aaa", "zz")]
    x = [(text, "b") for text in texts] if pairs else texts
    clf = kbert.Classifier("random:1x64", seed=0, max_length=32)
    clf.fit(x, ["ä", "z"] * 8, epochs=2, batch_size=8, verbose=0)
    return clf


@pytest.fixture(scope="module")
def clf():
    return trained()


@pytest.fixture(scope="module")
def exported(clf, tmp_path_factory):
    """A version that was exported once, for tests that read it."""
    return clf.export(tmp_path_factory.mktemp("m"), check_ops="2.12.1")


@pytest.fixture
def versions(exported, tmp_path):
    """A folder that holds a version and can be changed."""
    shutil.copytree(exported, tmp_path / "m" / "1")
    return tmp_path / "m"


def test_fresh_process_answers_as_predict(clf, exported, ask):
    assert exported.name == "1"
    answer = ask(exported, {"text": TEXTS})
    probabilities = clf.predict_proba(TEXTS)
    np.testing.assert_allclose(
        answer["probabilities"], probabilities, atol=1e-5
    )
    np.testing.assert_allclose(
        answer["score"], probabilities.max(axis=1), atol=1e-5
    )
    assert answer["label"] == clf.predict(TEXTS)
    np.testing.assert_allclose(answer["scores"], probabilities, atol=1e-5)
    assert answer["classes"] == [clf.labels] * len(TEXTS)


def test_pairs_have_two_inputs(tmp_path, ask, unexplained):
    clf = trained(pairs=True)
    path = clf.export(tmp_path / "model")
    texts = {"text": TEXTS, "text_pair": TEXTS[::-1]}
    answer = ask(path, texts)
    np.testing.assert_allclose(
        answer["probabilities"], clf.predict_proba(texts), atol=1e-5
    )


def test_versions_count_up(clf, versions, unexplained):
    assert clf.export(versions, version=7).name == "7"
    assert clf.export(versions).name == "8"
    with pytest.raises(ExportError, match="which exists"):
        clf.export(versions, version=7)


def test_refuses_a_folder_that_holds_something_else(clf, tmp_path):
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(ExportError, match="holds thesis.txt"):
        clf.export(tmp_path)
    with pytest.raises(ExportError, match="a file"):
        clf.export(tmp_path / "thesis.txt")


def test_weights_are_stored_once(clf, exported):
    files = (exported / "variables").iterdir()
    stored = sum(file.stat().st_size for file in files)
    parameters = sum(w.numpy().nbytes for w in clf.model.weights)
    assert stored < 1.1 * parameters


def test_graphs_are_stored_once(exported):
    proto = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    functions = proto.meta_graphs[0].graph_def.library.function
    for name in ("serve", "classify", "explain"):
        traces = [
            f
            for f in functions
            if f.signature.name.startswith(f"__inference_{name}_")
        ]
        assert len(traces) == 1, name


def test_classify_has_the_method_name_that_tf_serving_asks_for(exported):
    proto = SavedModel.FromString((exported / "saved_model.pb").read_bytes())
    signature = proto.meta_graphs[0].signature_def["classify"]
    assert signature.method_name == "tensorflow/serving/classify"
    assert set(signature.inputs) == {"inputs"}
    assert set(signature.outputs) == {"classes", "scores"}


def test_missing_op_refuses_the_export(clf, tmp_path, monkeypatch, unexplained):
    from kbert.exported import check_ops

    ops = check_ops.release_ops("2.12.1") - {"Softmax"}
    monkeypatch.setattr(check_ops, "release_ops", lambda release: ops)
    with pytest.raises(ExportError, match="'Softmax'"):
        clf.export(tmp_path / "m", check_ops="2.12.1")
    assert list((tmp_path / "m").iterdir()) == []


def test_full_disk_leaves_the_last_version(
    clf, versions, monkeypatch, unexplained
):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kbert.export.saved_model.write_warmup", full)
    with pytest.raises(CheckpointError, match="No space left"):
        clf.export(versions)
    assert [p.name for p in versions.iterdir()] == ["1"]


def test_warmup_that_does_not_fit_is_refused(clf, tmp_path):
    with pytest.raises(ConfigError, match="warmup .* Did you mean 'text'"):
        clf.export(tmp_path / "m", warmup=[{"txet": ["a"]}])
    assert not (tmp_path / "m").exists()


def test_an_export_that_answers_otherwise_is_refused(
    clf, tmp_path, monkeypatch, unexplained
):
    serve = saved_model.make_answer

    def other(task):
        answer = serve(task)

        def turned(**texts):
            found = answer(**texts)
            return found | {"probabilities": found["probabilities"][:, ::-1]}

        return turned

    monkeypatch.setattr(saved_model, "make_answer", other)
    with pytest.raises(ExportError, match="SavedModel in probabilities"):
        clf.export(tmp_path / "m")
    assert list((tmp_path / "m").iterdir()) == []


def test_configuration_travels_along(exported):
    extra = exported / "assets.extra"
    card = json.loads((extra / "kbert.json").read_text())
    assert card["head"]["config"]["labels"] == ["z", "ä"]
    assert (extra / "tf_serving_warmup_requests").stat().st_size > 0


def test_export_from_jax(clf, tmp_path, on_jax, ask):
    clf.save(tmp_path / "saved")
    code = (
        "import sys, json, keras, kbert\n"
        "assert keras.backend.backend() == 'jax'\n"
        "clf = kbert.load(sys.argv[1])\n"
        "print(clf.export(sys.argv[2], check_ops='2.12.1'))\n"
        "print(json.dumps(clf.predict_proba(['aaa', 'zz']).tolist()))\n"
    )
    printed = on_jax(code, str(tmp_path / "saved"), str(tmp_path / "m"))
    _, probabilities = printed.splitlines()
    answer = ask(tmp_path / "m" / "1", {"text": ["aaa", "zz"]})
    np.testing.assert_allclose(
        answer["probabilities"], json.loads(probabilities), atol=1e-5
    )
