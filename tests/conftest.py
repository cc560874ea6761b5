"""Shared by all tests: where data is, and what must not leak in."""

import gc
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# XLA's programs run for a moment; making them fast would take longer.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest

# Graphs of TensorFlow are many small objects; to look through them for
# garbage as often as Python does is a tenth of the suite's time.
gc.set_threshold(100_000, 20, 50)

ROOT = Path(__file__).resolve().parents[1]

# Imports what takes long, and runs each program in a fork.
SERVER = """
import importlib, json, os, sys, traceback

for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    program, arguments, out, err = json.loads(line)
    child = os.fork()
    if not child:
        end = 1
        try:
            for stream, path in ((0, os.devnull), (1, out), (2, err)):
                flags = os.O_WRONLY if stream else os.O_RDONLY
                os.dup2(os.open(path, flags), stream)
            sys.argv = ["-c", *arguments]
            exec(program, {"__name__": "__main__"})
            end = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Interpreter:
    """Runs programs, each in a process that has imported these modules only.

    Args:
        modules: names of modules.
        folder: a `pathlib.Path` for what the programs print.
        environment: all its environment variables.

    Example:

    >>> run = Interpreter(["tensorflow"], tmp_path, os.environ)
    >>> run("import sys; print(sys.argv[1])", "aaa")
    'aaa\\n'
    """

    def __init__(self, modules, folder, environment):
        self.out, self.err = folder / "out", folder / "err"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, *modules],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, program, *arguments):
        """What a program prints; an `AssertionError` has its errors."""
        self.out.write_bytes(b"")
        self.err.write_bytes(b"")
        request = program, arguments, str(self.out), str(self.err)
        print(json.dumps(request), file=self.process.stdin, flush=True)
        end = self.process.stdout.readline()
        assert end == "0\n", self.err.read_text()
        return self.out.read_text()

    def close(self):
        self.process.communicate()


@pytest.fixture(scope="session")
def data_root():
    """The folder of the real data sets; skips where there is none."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("KBERT_DATA", default))
    if not root.is_dir():
        pytest.skip(f"no data sets in {root}; set KBERT_DATA to their folder")
    return root


@pytest.fixture
def toy():
    """Two classes that a letter tells apart: texts and labels."""
    texts = [f"{word} {i}" for i in range(12) for word in ("aaa bb", "zz yyy")]
    return texts, ["a", "z"] * 12


@pytest.fixture(scope="session")
def bert_json():
    """Makes the tokenizer of a vocabulary, and the JSON that it writes."""
    import tokenizers

    def make(vocabulary, **options):
        ids = {token: i for i, token in enumerate(vocabulary)}
        tokenizer = tokenizers.Tokenizer(
            tokenizers.models.WordPiece(ids, unk_token="[UNK]")
        )
        tokenizer.normalizer = tokenizers.normalizers.BertNormalizer(**options)
        tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
        tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS]:0 $A:0 [SEP]:0",
            pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
            special_tokens=[(t, ids[t]) for t in ("[CLS]", "[SEP]")],
        )
        return tokenizer, json.loads(tokenizer.to_str())

    return make


@pytest.fixture(scope="session")
def batch():
    """Makes a padded batch of random tokens, by the lengths of its texts."""
    import numpy as np

    def make(lengths, length=None, seed=0):
        mask = np.arange(length or max(lengths)) < np.array(lengths)[:, None]
        ids = np.random.default_rng(seed).integers(5, 50, mask.shape)
        segment_ids = (np.arange(mask.shape[1]) > 3) & mask
        return {
            "token_ids": np.where(mask, ids, 0).astype("int32"),
            "segment_ids": segment_ids.astype("int32"),
            "padding_mask": mask,
        }

    return make


@pytest.fixture(scope="session")
def without_dropout():
    """Makes a small classifier that trains without dropout."""
    import keras

    import kbert

    def make(**options):
        clf = kbert.Classifier(
            "random:1x64", seed=0, labels=["a", "z"], **options
        )
        for layer in clf.model._flatten_layers():
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = 0.0
        return clf

    return make


@pytest.fixture(scope="session")
def check_layout():
    """Checks a layout's features against those of padded tokens."""
    import numpy as np

    def check(backbone, layout, inputs, more=()):
        padded = backbone(inputs)
        other = backbone.laid_out(layout)(inputs | dict(more))
        assert padded.keys() == other.keys()
        mask = inputs["padding_mask"]
        np.testing.assert_allclose(
            np.array(padded["sequence_output"])[mask],
            np.array(other["sequence_output"])[mask],
            atol=1e-5,
        )
        np.testing.assert_allclose(
            padded["pooled_output"], other["pooled_output"], atol=1e-5
        )

    return check


@pytest.fixture(scope="session")
def plain_tensorflow(tmp_path_factory):
    """Runs programs where TensorFlow and tensorflow_text are imported only.

    A program gets its arguments as JSON, and what it prints is read as JSON.
    """
    run = Interpreter(
        ["tensorflow", "tensorflow_text"],
        tmp_path_factory.mktemp("plain"),
        {k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
    )

    def asked(program, *arguments):
        return json.loads(run(program, json.dumps(arguments, default=str)))

    yield asked
    run.close()


@pytest.fixture
def unexplained(monkeypatch):
    """Has SavedModels come without `explain`, which takes longest to make."""
    monkeypatch.setattr("kbert.export.saved_model.can_explain", lambda _: False)


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """Runs programs where nothing is imported."""
    folder = tmp_path_factory.mktemp("fresh")
    run = Interpreter([], folder, dict(os.environ))
    yield run
    run.close()


@pytest.fixture(scope="session")
def on_jax(tmp_path_factory):
    """Runs programs where kbert has JAX as its backend."""
    run = Interpreter(
        ["kbert.classifier"],
        tmp_path_factory.mktemp("jax"),
        os.environ | {"KERAS_BACKEND": "jax"},
    )
    yield run
    run.close()


@pytest.fixture(scope="session")
def kill():
    """benchmarks/kill.py as a module."""
    path = ROOT / "benchmarks" / "kill.py"
    spec = importlib.util.spec_from_file_location("kill", path)
    module = importlib.util.module_from_spec(spec)
    # Processes that it starts look its functions up by the module's name.
    sys.modules["kill"] = module
    sys.path.append(str(path.parent))
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(path.parent))
    del sys.modules["kill"]


@pytest.fixture(scope="session")
def corpus_path(kill, tmp_path_factory):
    """A corpus of 80 documents of random words."""
    return kill.make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="session")
def corpus(corpus_path):
    from kbert.pretraining.corpus import Corpus

    return Corpus(corpus_path)
