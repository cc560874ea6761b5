"""An export in other TensorFlows than the one that wrote it, and in C.

Environments are made by pip in `$KBERT_TEST_ENVS` (default
`~/.cache/kbert/test-envs`), about 2 GB each, and kept there.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import kbert

pytestmark = pytest.mark.large

HERE = Path(__file__).resolve().parent
ENVS = Path(
    os.environ.get("KBERT_TEST_ENVS", Path.home() / ".cache/kbert/test-envs")
)

# TensorFlow and the tensorflow-text that was built for it.
VERSIONS = [("2.18.1", "2.18.1"), ("2.20.0", "2.20.1")]

# The last Python that has wheels of both.
NEWEST_PYTHON = {"2.18.1": (3, 12), "2.20.0": (3, 13)}

# A head, its labels and how many texts a row has.
HEADS = {
    "classification": (["bad", "gut", "très bien", "好"], 1),
    "pairs": (["no", "yes"], 2),
    "sentiment": (["negative", "neutral", "positive"], 1),
    "spam": (["ham", "spam"], 1),
    "news": (["business", "sport", "tech"], 2),
}

HARD = [
    "",
    " ",
    "Ünïcode 中文 😀",
    "word " * 500,
    "½ ™ ﬁ TITLE\u200b",
    "[MASK]",
]

# Runs where kbert is not.
ASK = """
import json, sys
import tensorflow as tf
import tensorflow_text

def plain(value):
    value = value.numpy()
    if value.dtype == object:
        return [v.decode() for v in value.ravel()]
    return value.ravel().tolist()

answers = {"version": tf.__version__}
for name, (path, texts) in json.load(sys.stdin).items():
    serve = tf.saved_model.load(path).signatures["serving_default"]
    answer = serve(**{k: tf.constant(v) for k, v in texts.items()})
    answers[name] = {key: plain(value) for key, value in answer.items()}
assert "kbert" not in sys.modules
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def texts(data_root):
    """Text messages and what is hard about texts."""
    lines = (data_root / "sms_spam" / "SMSSpamCollection").read_text("utf-8")
    rows = [line.split("\t")[1] for line in lines.split("\n")[:200] if line]
    return rows + HARD


@pytest.fixture(scope="module")
def exported(texts, tmp_path_factory):
    """Folder, texts and kbert's own answers of each head's export."""
    folder, found = tmp_path_factory.mktemp("exports"), {}
    for name, (labels, width) in HEADS.items():
        clf = kbert.Classifier(
            "kbert_tiny_en",
            "classification" if name == "pairs" else name,
            labels=labels,
            inputs=("text", "text_pair") if name == "pairs" else None,
            max_length=64,
            seed=0,
        )
        assert len(clf.inputs) == width
        columns = dict(zip(clf.inputs, (texts, texts[::-1]), strict=False))
        pairs = zip(texts, texts[::-1], strict=True)
        rows = texts if width == 1 else list(pairs)
        answered = list(clf.stream(rows))
        answers = {
            key: np.array([row[key] for row in answered]) for key in answered[0]
        }
        found[name] = (clf.export(folder / name), columns, answers)
    return found


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda v: v[0])
def environment(request):
    """The Python of an environment with another TensorFlow."""
    version, text_version = request.param
    if sys.version_info[:2] > NEWEST_PYTHON[version]:
        pytest.skip(f"tensorflow {version} has no wheel for this Python")
    folder = ENVS / f"tf-{version}"
    if not (folder / ".ready").exists():
        venv.create(folder, clear=True, with_pip=True)
        packages = (
            f"tensorflow=={version}",
            f"tensorflow-text=={text_version}",
        )
        subprocess.run(
            [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
            + ["--only-binary=:all:", *packages],
            check=True,
        )
        (folder / ".ready").touch()
    return version, folder / "bin" / "python"


def clean():
    """The environment variables, without what leads to kbert."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def test_answers_as_predict(environment, exported):
    version, python = environment
    asked = {
        name: (str(path), columns)
        for name, (path, columns, _) in exported.items()
    }
    done = subprocess.run(
        [python, "-c", ASK],
        input=json.dumps(asked),
        env=clean(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    received = json.loads(done.stdout)
    assert received.pop("version") == version
    assert set(received) == set(HEADS)
    for name, (_, _, expected) in exported.items():
        assert set(received[name]) == set(expected)
        for key, value in expected.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(
                    received[name][key], value.ravel(), atol=1e-5, rtol=0
                )
            else:
                assert received[name][key] == value.ravel().tolist(), key


# === C ===


def site_packages(python):
    code = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    done = subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    )
    return Path(done.stdout.strip())


def compile_program(packages, target):
    tensorflow = packages / "tensorflow"
    subprocess.run(
        ["gcc", "-O1", "-Wall", "-Werror", HERE / "serve.c", "-o", target]
        + ["-I", tensorflow / "include", "-L", tensorflow]
        + ["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"]
        + [f"-Wl,-rpath,{tensorflow}"],
        check=True,
    )
    ops = packages / "tensorflow_text" / "python" / "ops"
    # What a kbert tokenizer takes; TF_LoadLibrary registers ops and kernels.
    return [
        ops / f"_{name}.so"
        for name in ("fast_wordpiece_tokenizer", "normalize_ops")
    ]


def tensors(path):
    """Names of the tensors of serving_default, inputs and outputs."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    proto = SavedModel.FromString((path / "saved_model.pb").read_bytes())
    signature = proto.meta_graphs[0].signature_def["serving_default"]
    return (
        {key: info.name for key, info in side.items()}
        for side in (signature.inputs, signature.outputs)
    )


def check_program(packages, exported, folder):
    program = folder / "serve"
    libraries = compile_program(packages, program)
    for name in ("classification", "sentiment", "spam"):
        path, columns, expected = exported[name]
        inputs, outputs = tensors(path)
        done = subprocess.run(
            [program, path, inputs["text"], outputs["label"]]
            + [outputs["score"], *libraries],
            input="".join(f"{text}\n" for text in columns["text"]),
            env=clean(),
            capture_output=True,
            encoding="utf-8",
        )
        assert done.returncode == 0, done.stderr
        rows = [line.split("\t") for line in done.stdout.splitlines()]
        assert [label for label, _ in rows] == expected["label"].tolist()
        np.testing.assert_allclose(
            [float(score) for _, score in rows],
            expected["score"],
            atol=1e-5,
            rtol=0,
        )
    return program, libraries


needs_gcc = pytest.mark.skipif(
    not shutil.which("gcc"), reason="gcc is not there"
)


@needs_gcc
def test_c_program(environment, exported, tmp_path):
    check_program(site_packages(environment[1]), exported, tmp_path)


@needs_gcc
def test_c_program_with_this_tensorflow(exported, tmp_path):
    packages = site_packages(sys.executable)
    program, libraries = check_program(packages, exported, tmp_path)
    # Without the text kernels it must not work: the test would prove nothing.
    path, _, _ = exported["spam"]
    inputs, outputs = tensors(path)
    arguments = [path, inputs["text"], outputs["label"], outputs["score"]]
    for missing in libraries:
        done = subprocess.run(
            [program, *arguments, *(x for x in libraries if x != missing)],
            input="text\n",
            env=clean(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1
        assert "Op type not registered" in done.stderr
