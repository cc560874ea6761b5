"""The command: what it prints where, and how it ends."""

import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.cli import app
from kbert.plugins import get_plugins

ROOT = Path(__file__).parents[2]
COMMANDS = ("train", "evaluate", "predict", "export", "heads", "presets")

ROWS = [
    (text, label)
    for number in range(12)
    for text, label in ((f"aaa {number}", "one"), (f"zzz {number}", "two"))
]
TABLE = "text\tlabel\n" + "".join(f"{t}\t{y}\n" for t, y in ROWS)


def run(*arguments, input=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=input)


def start(*arguments):
    """A process of its own, as a user starts it."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONUNBUFFERED="")
    # Set by the tests; a user has it not.
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    return subprocess.Popen(
        [sys.executable, "-m", "kbert", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        # What a shell starts in the background ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def refused(result, *parts):
    """The message of a command that ended with an explained error."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    for part in parts:
        assert part in result.stderr
    return result.stderr


@pytest.fixture
def policy():
    """Whatever a command sets, it is set back."""
    import keras

    before = keras.config.dtype_policy()
    yield keras.config.dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text(TABLE, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model trained by the command, and what the command printed."""
    folder = tmp_path_factory.mktemp("cli")
    data = folder / "train.tsv"
    data.write_text(TABLE, encoding="utf-8")
    result = run(
        *("train", data, "--output", folder / "model"),
        *("--preset", "random:1x64", "--epochs", 12, "--max-length", 16),
        *("--batch-size", 8, "--learning-rate", 0.003),
        *("--head-option", "dropout=0.0", "--validation-split", 0.25),
        *("--class-weight", "balanced", "--plot", folder / "plots"),
    )
    assert result.exit_code == 0, result.output
    return folder / "model", result


# === Help ===


@pytest.mark.parametrize("command", [(), *[(name,) for name in COMMANDS]])
def test_help_has_examples(command):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert "kbert " in result.stdout.partition("Examples")[2]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from kbert.cli import main\n"
        "sys.argv = ['kbert', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'sklearn', 'matplotlib'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        stdout=subprocess.DEVNULL,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
    )


def test_standard_error_that_is_closed(tmp_path):
    (tmp_path / "tensorflow.py").touch()
    (tmp_path / "tensorflow_text.py").touch()
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    # A file that is opened next gets its number.
    code = (
        "f = open(__file__); assert f.fileno() == 2;"
        "import kbert.utils.tensorflow as q;"
        "q.import_tensorflow(); print('good')"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = dict(os.environ, PYTHONPATH=path)
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    result = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" "{script}" 2>&-'],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert result.stdout == "good\n"


@pytest.mark.parametrize("fails", [False, True])
def test_start_up_messages(tmp_path, fails):
    # Stands in for TensorFlow, whose C++ side writes past `sys.stderr`.
    (tmp_path / "tensorflow_text.py").touch()
    (tmp_path / "tensorflow.py").write_text(
        "import os\n"
        "os.write(2, b'WARNING: All log messages before absl::Init\\n')\n"
        "os.write(2, b'I0000 00:00:17.6 7 port.cc:153] oneDNN is on\\n')\n"
        "os.write(2, b'something else\\n')\n"
        f"if {fails}: raise ImportError('broken')\n"
    )
    environment = dict(
        os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)])
    )
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    code = "import kbert.utils.tensorflow as q; q.import_tensorflow()"
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert "something else\n" in result.stderr
    assert ("oneDNN" in result.stderr) == fails
    assert ("ImportError: broken" in result.stderr) == fails
    assert bool(result.returncode) == fails


@pytest.mark.parametrize("backend", ["tensorflow", "jax", None])
def test_start_leaves_out_what_is_imported_for_being_there(tmp_path, backend):
    # Stand in for them; TensorFlow and Keras catch the error, too.
    for name in ("jax", "sklearn", "tensorflow_text"):
        (tmp_path / f"{name}.py").touch()
    guarded = "try: import {0}\nexcept ImportError: {0} = None\n"
    (tmp_path / "tensorflow.py").write_text(
        guarded.format("jax")
        + guarded.format("sklearn")
        + "import gc\nassert not gc.isenabled()\n"
    )
    (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    code = (
        "import kbert.utils.tensorflow as q; q.import_tensorflow()\n"
        "import tensorflow\n"
        "assert tensorflow.sklearn is None\n"
        f"assert (tensorflow.jax is None) == {backend == 'tensorflow'}\n"
        "import jax, sklearn\n"
        "import gc\n"
        "assert gc.isenabled() and gc.get_freeze_count()\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = dict(os.environ, PYTHONPATH=path, KERAS_HOME=str(tmp_path))
    environment.pop("KERAS_BACKEND", None)
    if backend is not None:
        environment["KERAS_BACKEND"] = backend
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_version():
    assert run("--version").stdout.startswith("kbert 0.")
    found = json.loads(run("version", "--json").stdout)
    assert {"kbert", "keras", "tensorflow", "tensorflow-text"} <= set(found)


def test_docs_are_current():
    spec = importlib.util.spec_from_file_location(
        "cli_docs", ROOT / "scripts" / "cli_docs.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == module.render(), "run: python scripts/cli_docs.py"


def test_defaults_are_those_of_the_library():
    from kbert import Classifier
    from kbert.training.settings import Settings

    library = {
        name: parameter.default
        for function in (Classifier.__init__, Classifier.fit, Settings)
        for name, parameter in inspect.signature(function).parameters.items()
    }
    command = typer.main.get_command(app).commands["train"]
    shared = (
        *("preset", "head", "batch_size", "learning_rate"),
        *("max_length", "layer_decay", "class_weight", "early_stopping"),
        "casing",
        "seed",
    )
    defaults = {p.name: p.default for p in command.params}
    assert defaults["preset"] == DEFAULT_PRESET
    for name in shared:
        assert defaults[name] == library[name], name


# === What is refused before TensorFlow is even imported ===


@pytest.mark.parametrize(
    ("content", "options", "parts"),
    [
        (None, [], ["train.tsv: No such file"]),
        ("", [], ["Expected rows", "none"]),
        ("txt\tlabel\nx\t1\n", [], ["mean 'txt'", "--columns"]),
        ("text\tclass\nx\t1\n", [], ["column 'label'", "text", "--label"]),
        ("text\tlabel\nx\t1\ny\n", [], ["2 columns", "line 3"]),
        ("x\t1\n", ["--columns", "a,text,label"], ["3 columns"]),
        ("text\tlabel\n", [], ["Expected rows"]),
        ('{"text": 1\n', ["--format", "jsonl"], ["JSON object in line 1"]),
        ("text\nx\n", ["--label", "text"], ["different columns"]),
    ],
)
def test_bad_tables(tmp_path, content, options, parts):
    path = tmp_path / "train.tsv"
    if content is not None:
        path.write_text(content)
    result = run("train", path, "-o", tmp_path / "out", *options)
    refused(result, *parts)


def test_validation_file_is_read_first(data, tmp_path):
    result = run("train", data, "-o", tmp_path / "m", "--validation", "none")
    refused(result, "none: No such file")


def test_output_is_checked_before_training(data, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "thesis.doc").write_text("do not touch")
    refused(run("train", data, "-o", taken), "holds something else")
    refused(run("train", data, "-o", data), "is a file")
    refused(run("train", data, "-o", data / "model"), "that can be written")
    assert [p.name for p in taken.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["train"],
        ["train", "FILE"],
        ["train", "FILE", "-o", "out", "--epochs", "0"],
        ["train", "FILE", "-o", "out", "--head-option", "threshold"],
        ["train", "FILE", "-o", "out", "--head-option", "preset=1"],
        ["train", "FILE", "-o", "out", "--class-weight", "heavy"],
        "train FILE -o out --validation FILE --validation-split 0.1".split(),
        "train FILE -o out --few-shot --layer-decay 0.9".split(),
        "train FILE -o out --few-shot --r-drop 1".split(),
        "train FILE -o out --few-shot --layout flat".split(),
        "train FILE -o out --run-dir out".split(),
        ["predict", "model", "FILE", "--input", "text"],
        ["predict", "model", "FILE", "--keep", "label"],
        ["nonsense"],
    ],
)
def test_wrong_usage(data, arguments):
    result = run(*[data if a == "FILE" else a for a in arguments])
    assert result.exit_code == 2


# === What is refused after ===


@pytest.mark.parametrize(
    ("content", "options", "parts"),
    [
        ("text\tlabel\nx\t1\ny\t1\n", [], ["two different labels", "'1'"]),
        (TABLE, ["--preset", "minilm"], ["Unknown preset 'minilm'"]),
        (TABLE, ["--head", "classificaton"], ["mean 'classification'"]),
        (TABLE, ["--head-option", "poolling=cls"], ["mean 'pooling'"]),
        (TABLE, ["--text", "text,text"], ["different columns"]),
        (TABLE, ["--text", "text,a,b"], ["`inputs` must be 1 or 2"]),
        (TABLE, ["--seed", "-1"], ["`seed` must be an integer from 0"]),
        (TABLE + "x\tQ\n", ["--head", "regression"], ["'one' in line 2 of"]),
        (TABLE, ["--max-length", 9999], ["`max_length`"]),
        (TABLE, ["--layout", "flatt"], ["`layout`", "padded, flat"]),
        (TABLE, ["--preset", "random:huge"], ["random preset"]),
    ],
)
def test_bad_arguments(tmp_path, content, options, parts):
    path = tmp_path / "train.tsv"
    path.write_text(content)
    result = run(
        *("train", path, "-o", tmp_path / "out"),
        *("--preset", "random:1x64", "--quiet", *options),
    )
    refused(result, *parts)
    assert not (tmp_path / "out").exists()


def test_columns_whose_names_no_input_can_have(tmp_path):
    # As GLUE's MRPC has them, byte order mark included.
    path = tmp_path / "mrpc.txt"
    rows = "".join(f"{i % 2}\t1\t2\tone {i}\ttwo {i}\n" for i in range(12))
    header = "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n"
    path.write_text(header + rows, encoding="utf-8")
    columns = ("--text", "#1 String,#2 String")
    result = run(
        *("train", path, "-o", tmp_path / "m", *columns, "--label", "Quality"),
        *("--preset", "random:1x64", "--max-length", 16, "--epochs", 1),
        *("--validation-split", 0),
    )
    assert result.exit_code == 0, result.stderr
    expected = "inputs: text (#1 String), text_pair (#2 String)"
    assert expected in " ".join(result.stderr.split())
    result = run("predict", tmp_path / "m", path, *columns, "--format", "tsv")
    assert len(result.stdout.splitlines()) == 12
    path.write_text(header + rows + "2\t1\t2\ta\tb\n", encoding="utf-8")
    result = run(
        *("evaluate", tmp_path / "m", path, *columns, "--label", "Quality"),
    )
    refused(result, "'2' in line 14 of", "mrpc.txt")


def test_errors_of_validation_name_its_file_and_line(data, tmp_path):
    path = tmp_path / "held_out.tsv"
    path.write_text("text\tlabel\naaa\tone\nbbb\tthree\n")
    result = run(
        *("train", data, "-o", tmp_path / "m", "--validation", path, "-q"),
        *("--preset", "random:1x64", "--max-length", 16),
    )
    refused(result, "'three' in line 3 of", "held_out.tsv")


def test_no_model(tmp_path, data):
    refused(run("predict", tmp_path, "-i", "x"), "a folder that kbert saved")
    refused(run("evaluate", tmp_path, data), "a folder that kbert saved")
    refused(run("export", tmp_path, tmp_path / "x"), "a folder that kbert")
    refused(run("predict", tmp_path, "none.txt"), "none.txt: No such file")


# === Train, evaluate, predict, export ===


def test_train(trained):
    model, result = trained
    assert (model / "kbert.json").is_file()
    assert "24 rows: one 12, two 12" in result.stderr
    assert f"Saved: {model}" in result.stderr
    assert f"kbert predict {model}" in result.stderr
    lines = [n for n in result.stderr.splitlines() if n.startswith("epoch")]
    assert len(lines) == 12
    for word in ("accuracy", "macro_f1", "precision", "Confusion matrix"):
        assert word in result.stdout
    pictures = {p.name for p in (model.parent / "plots").iterdir()}
    assert pictures == {"training.png", "confusion.png"}


def test_train_json_on_pairs_and_again(tmp_path):
    rows = [
        {"q": f"aaa {i}", "a": "b" if i % 2 else "c", "label": i % 2}
        for i in range(16)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    # Labels of a TSV are strings; those of the JSON Lines are integers.
    other = tmp_path / "validation.tsv"
    other.write_text("label\tq\ta\n1\taaa 1\tb\n0\taaa 2\tc\n")
    result = run(
        *("train", path, "-o", tmp_path / "model", "--text", "q,a"),
        *("--preset", "random:1x64", "--epochs", 1, "--json", "--quiet"),
        *("--validation", other),
    )
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    found = json.loads(result.stdout)
    assert found["model"] == str(tmp_path / "model")
    assert set(found["training"]["validation"]["per_class"]) == {"0", "1"}
    assert len(found["history"]["loss"]) == 1
    result = run("evaluate", tmp_path / "model", other, "--json")
    assert 0 <= json.loads(result.stdout)["accuracy"] <= 1
    result = run("predict", tmp_path / "model", input="aaa 1\tb\naaa 2\tc\n")
    assert [n.split("\t")[2:] for n in result.stdout.splitlines()] == [
        ["aaa 1", "b"],
        ["aaa 2", "c"],
    ]
    result = run("predict", tmp_path / "model", "-i", "one text")
    assert result.exit_code == 2


def test_a_run_goes_on(data, tmp_path):
    def train(output, epochs):
        return run(
            *("train", data, "-o", tmp_path / output, "--preset"),
            *("random:1x32", "--epochs", epochs, "--quiet", "--json"),
            *("--run-dir", tmp_path / "run"),
        )

    first, again = train("a", 2), train("b", 2)
    assert not first.exit_code and not again.exit_code, again.output
    assert len([*(tmp_path / "run").glob("checkpoint-*")]) == 2
    first, again = json.loads(first.stdout), json.loads(again.stdout)
    assert first["history"] == again["history"]
    refused(train("c", 3), "epochs was 2 and is now 3")
    empty = ("train", data, "-o", tmp_path / "d", "--run-dir", "")
    refused(run(*empty), "it is empty")


def test_few_shot(data, tmp_path):
    result = run(
        *("train", data, "-o", tmp_path / "few", "--few-shot", "--quiet"),
        *("--preset", "random:1x64", "--epochs", 1, "--json"),
        *("--validation", data),
    )
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)["training"]
    assert (facts["method"], facts["epochs"]) == ("few_shot", 1)
    assert facts["validation"]["accuracy"] > 0.9
    assert run("evaluate", tmp_path / "few", data).exit_code == 0


def test_evaluate(trained, data, tmp_path):
    model, _ = trained
    picture = tmp_path / "cm.svg"
    result = run("evaluate", model, data, "--plot", picture)
    assert result.exit_code == 0, result.output
    assert "support" in result.stdout
    assert picture.read_bytes().startswith(b"<?xml")
    report = json.loads(run("evaluate", model, data, "--json").stdout)
    assert report["accuracy"] == 1.0
    assert report["confusion_matrix"] == [[12, 0], [0, 12]]
    unseen = data.with_name("unseen.tsv")
    unseen.write_text("text\tlabel\nx\tthree\n")
    refused(run("evaluate", model, unseen), "'three'")
    refused(run("evaluate", model, data, "--text", "a,b"), "1 text column")
    refused(run("evaluate", model, data, "--text", "txt"), "mean 'text'")


def test_predict(trained, tmp_path):
    model, _ = trained
    result = run("predict", model, "--input", "aaa 3", "-i", "zzz 5")
    assert result.exit_code == 0, result.output
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert [(row[0], row[2]) for row in rows] == [
        ("one", "aaa 3"),
        ("two", "zzz 5"),
    ]
    assert all(0.5 <= float(row[1]) <= 1 for row in rows)

    result = run("predict", model, "-", input="aaa 1\n\nzzz\n")
    assert [n.split("\t")[2] for n in result.stdout.splitlines()] == [
        "aaa 1",
        "",
        "zzz",
    ]
    result = run("predict", model, "-i", "aaa", "--json", "--proba")
    answer = json.loads(result.stdout)
    assert answer["text"] == "aaa"
    assert answer["label"] == "one"
    assert answer["score"] == max(answer["probabilities"].values())
    assert list(answer["probabilities"]) == ["one", "two"]

    table = tmp_path / "new.csv"
    table.write_text('id,body\n1,"aaa\n\t2"\n')
    result = run("predict", model, table, "--text", "body", "--proba")
    cells = result.stdout.rstrip("\n").split("\t")
    assert cells[0] == "one"
    assert cells[2].startswith("one=")
    assert cells[-1] == "aaa  2"
    refused(run("predict", model, table), "'text'", "--text")


def test_answers_do_not_depend_on_the_window(trained, data):
    model, _ = trained
    whole = run("predict", model, data, "--json").stdout
    small = run("predict", model, data, "--json", "--window", 5).stdout
    assert len(whole.splitlines()) == 24
    for a, b in zip(whole.splitlines(), small.splitlines(), strict=True):
        a, b = json.loads(a), json.loads(b)
        assert a.pop("score") == pytest.approx(b.pop("score"), abs=1e-5)
        assert a == b


def test_stream_and_closed_pipe(trained):
    model, _ = trained
    process = start("predict", model, "-")
    process.stdin.write("aaa \u4e2d\n".encode())
    process.stdin.flush()
    # The answer is here while the input is open.
    line = process.stdout.readline().decode()
    assert line.startswith("one\t")
    assert line.endswith("aaa \u4e2d\n")
    process.stdout.close()
    process.stdin.write(b"zzz\n")
    process.stdin.close()
    assert process.wait(60) == 141
    # Nothing of TensorFlow's, and no traceback.
    assert process.stderr.read() == b""
    process.stderr.close()


def test_interrupt(trained):
    model, _ = trained
    process = start("predict", model)
    process.stdin.write(b"aaa\n")
    process.stdin.flush()
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == b""


def test_export(trained, tmp_path, unexplained):
    model, _ = trained
    result = run("export", model, tmp_path / "exports", "--version", 7)
    assert result.exit_code == 0, result.output
    written = Path(result.stdout.strip())
    assert written == tmp_path / "exports" / "7"
    assert (written / "saved_model.pb").is_file()
    assert "models/exports:predict" in result.stderr
    result = run("export", model, tmp_path / "other", "--check-ops", "1.0")
    refused(result, "TF Serving release '1.0'")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    "name",
    [
        "bfloat16",
        # tests/models/test_precision.py exports one that is mixed, too.
        pytest.param("mixed_bfloat16", marks=pytest.mark.large),
    ],
)
def test_export_with_a_policy(trained, tmp_path, policy, name, unexplained):
    import numpy as np
    import tensorflow as tf

    import kbert

    model, _ = trained
    clf = kbert.load(model)
    texts = ["aaa 1", "zzz 2"]
    result = run("export", model, tmp_path / "half", "--policy", name)
    assert result.exit_code == 0, result.output
    assert policy().name == name
    served = tf.saved_model.load(str(tmp_path / "half" / "1"))
    answer = served.signatures["serving_default"](text=tf.constant(texts))
    # Close, and not the same: it has computed with eight bits.
    apart = abs(answer["probabilities"] - clf.predict_proba(texts))
    assert 0 < np.max(apart) < 0.05
    # The mixed one leaves the weights as they are, the other halves them.
    stored = tf.train.load_checkpoint(
        str(tmp_path / "half" / "1" / "variables" / "variables")
    )
    kinds = set(stored.get_variable_to_dtype_map().values())
    assert (tf.bfloat16 in kinds) == (name == "bfloat16")


def test_answers_with_a_policy(trained, tmp_path, policy):
    model, _ = trained
    for name in ("bfloat16", "mixed_bfloat16", "float32"):
        result = run("predict", model, "-i", "aaa 1", "--policy", name)
        assert result.exit_code == 0, result.output
        assert policy().name == name
        assert result.stdout.startswith("one\t")
    half = ("--policy", "bfloat16")
    report = run("evaluate", model, model.parent / "train.tsv", *half)
    assert report.exit_code == 0, report.output
    assert policy().name == "bfloat16"
    result = run("export", model, tmp_path / "no", "--policy", "half")
    assert result.exit_code == 2 and "mixed_bfloat16" in result.output
    assert not (tmp_path / "no").exists()


def test_train_with_a_policy(data, tmp_path, policy):
    import kbert

    result = run(
        *("train", data, "-o", tmp_path / "model", "--preset", "random:1x64"),
        *("--epochs", 1, "--policy", "mixed_bfloat16", "--quiet"),
    )
    assert result.exit_code == 0, result.output
    assert policy().name == "mixed_bfloat16"
    clf = kbert.load(tmp_path / "model")
    assert clf.backbone.compute_dtype == "bfloat16"
    result = run("train", data, "-o", tmp_path / "no", "--policy", "bfloat16")
    assert result.exit_code == 2 and "mixed_bfloat16" in result.output


def test_listings(monkeypatch, tmp_path):
    monkeypatch.setenv("KBERT_HOME", str(tmp_path))
    assert "classification" in run("heads").stdout
    found = {
        row["name"]: row for row in json.loads(run("heads", "--json").stdout)
    }
    assert found["classification"]["plugin"] == "kbert"
    assert found["classification"]["description"].startswith("Softmax")
    assert DEFAULT_PRESET in run("presets").stdout
    found = {
        row["name"]: row["weights"]
        for row in json.loads(run("presets", "--json").stdout)
    }
    assert found[DEFAULT_PRESET] == "to fetch"
    assert found["kbert_mini_en"] == found["kbert_tiny_en"] == "bundled"
    preset = get_plugins().presets.get(DEFAULT_PRESET).value
    for name in preset.files:
        path = tmp_path / "presets" / preset.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert "fetched" in run("presets").stdout


@pytest.mark.parametrize("bad", ["nul\0x", "x" * 300, "file/x", "\ud83d"])
def test_paths_that_cannot_be(tmp_path, monkeypatch, bad):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "t.txt").write_text("a text\n")
    for arguments in (
        ("train", "t.txt", "-o", bad),
        ("train", bad, "-o", "m"),
        ("train", "t.txt", "-o", "m", "--plot", f"{bad}/x"),
        ("predict", bad, "-i", "a"),
        ("predict", "m", bad),
        ("evaluate", "m", bad),
        ("embed", "t.txt", "-o", bad),
        ("embed", "t.txt", "-o", "v.npy", "-m", f"./{bad}"),
        ("vocab", "t.txt", "-o", bad),
        ("corpus", "t.txt", "--vocab", "v.txt", "-o", bad),
        ("summarize", bad),
        ("export", bad, "e"),
        ("convert", "m", bad, "--to", "onnx"),
        ("info", f"./{bad}"),
    ):
        result = run(*arguments)
        assert isinstance(result.exception, SystemExit), arguments
        assert result.exit_code in (1, 2), arguments
