"""`score` in this process: answers, resuming, and what is refused."""

import json
import sys
import types

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import kbert.scoring.score as module
from kbert.cli import app
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.exported.model import ServedModel
from kbert.exported.model import find_version
from kbert.scoring.score import score

TEXTS = ["a", "bbb", "", "ünï", "dd", "中文字", "g" * 50, "h h"]
LABELS = ["short", "läng", "short", "läng", "läng", "läng", "läng", "läng"]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "in" / "a.parquet"
    path.parent.mkdir()
    ids = pa.array(range(100, 108), pa.int32())
    pq.write_table(pa.table({"id": ids, "body": TEXTS}), path)
    return path


# === The model ===


def test_newest_version_is_by_number(exported):
    assert find_version(exported) == exported / "10"
    assert find_version(exported / "2") == exported / "2"


def test_answers_are_in_the_order_of_the_texts(exported):
    model = ServedModel(exported / "10", batch_size=3)
    assert model.inputs == ("text",)
    answers = model({"text": TEXTS})
    assert answers["label"].tolist() == LABELS
    lengths = [len(text) + 1 for text in TEXTS]
    assert (answers["score"] * 10).round().tolist() == lengths
    assert answers["probabilities"].shape == (8, 2)
    assert answers["probabilities"][:, 1].tolist() == answers["score"].tolist()


def test_answers_of_tokens_are_as_long_as_their_batch(exported):
    codes = ServedModel(exported / "10", batch_size=2)({"text": TEXTS})["codes"]
    assert [len(row) for row in codes] == [1, 3, 1, 3, 3, 50, 50, 3]
    for text, row in zip(TEXTS, codes, strict=True):
        assert row.tolist()[: len(text)] == [ord(letter) for letter in text]
        assert not row[len(text) :].any()
    codes = ServedModel(exported / "10")({"text": TEXTS})["codes"]
    assert codes.shape == (8, 50)


def test_models_that_are_none(tmp_path):
    with pytest.raises(CheckpointError, match="has neither"):
        find_version(tmp_path)
    (tmp_path / "kbert.json").touch()
    with pytest.raises(CheckpointError, match="Export it first: kbert export"):
        find_version(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match="signature serving_default"):
        ServedModel(tmp_path)


def test_models_that_take_no_texts(tmp_path):
    import tensorflow as tf

    half = tf.Module()
    half.serve = tf.function(
        lambda x: {"y": x / 2},
        input_signature=[tf.TensorSpec([None], tf.float32, "x")],
    )
    tf.saved_model.save(half, str(tmp_path), half.serve)
    with pytest.raises(CheckpointError, match="whose x is no text"):
        ServedModel(tmp_path)


# === Scoring ===


def test_columns_order_and_types(exported, table, tmp_path):
    output = tmp_path / "out"
    done = score(
        exported, [table], output, text=("body",), keep=("id",), part_rows=3
    )
    assert done == {"output": str(output), "rows": 8, "parts": 3, "kept": 0}
    assert sorted(p.name for p in output.iterdir()) == [
        *("_SUCCESS", "_lock", "_plan.json"),
        *(f"part-0000{i}.parquet" for i in range(3)),
    ]
    answers = pq.read_table(output)
    assert answers.column_names == [
        *("body", "id", "label", "codes", "probabilities", "score")
    ]
    assert answers["body"].to_pylist() == TEXTS
    assert answers["id"].to_pylist() == list(range(100, 108))
    assert answers["label"].to_pylist() == LABELS
    types = {field.name: field.type for field in answers.schema}
    assert types["id"] == pa.int32()
    assert types["score"] == pa.float32()
    assert types["probabilities"] == pa.list_(pa.float32())
    assert types["codes"] == pa.list_(pa.int32())


def test_folder_of_texts(exported, tmp_path):
    (tmp_path / "in").mkdir()
    for name, texts in (("b", TEXTS[4:]), ("a", TEXTS[:4])):
        lines = "".join(f"{text}\n" for text in texts)
        (tmp_path / "in" / f"{name}.txt").write_text(lines, "utf-8")
    (tmp_path / "in" / "_SUCCESS").touch()
    score(exported, [tmp_path / "in"], tmp_path / "out")
    answers = pq.read_table(tmp_path / "out")
    assert answers["text"].to_pylist() == TEXTS
    assert answers["label"].to_pylist() == LABELS


def test_halves_of_characters(exported, tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [{"text": "a\ud83d", "id": "\ud83d"}, {"text": "bb", "id": "x"}]
    path.write_text("\n".join(map(json.dumps, rows)), "utf-8")
    score(exported, [path], tmp_path / "out", keep=("id",))
    answers = pq.read_table(tmp_path / "out")
    assert answers["text"].to_pylist() == ["a\ufffd", "bb"]
    assert answers["id"].to_pylist() == ["\ufffd", "x"]
    assert answers["label"].to_pylist() == ["läng", "läng"]


@pytest.mark.parametrize("kind", [pa.string(), pa.binary(), pa.large_string()])
def test_parquet_that_is_not_utf8(exported, tmp_path, kind):
    texts = [b"good", "плохо".encode("cp1251")]
    column = pa.array(texts, pa.binary())
    if kind != pa.binary():
        column = column.cast(
            pa.large_binary() if "large" in str(kind) else pa.binary()
        ).view(kind)
    pq.write_table(pa.table({"text": column}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="row 1 of .*a.parquet.*cp1251"):
        score(exported, [tmp_path / "a.parquet"], tmp_path / "out")


class Stop(Exception):
    pass


def test_goes_on_after_an_interruption(exported, table, tmp_path, monkeypatch):
    output, options = tmp_path / "out", {"text": ("body",), "part_rows": 2}
    score(exported, [table], tmp_path / "whole", **options)

    def stop(part, done, total):
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        score(exported, [table], output, on_part=stop, **options)
    before = {p.name: p.stat().st_mtime_ns for p in output.glob("part-*")}
    assert sorted(before) == ["part-00000.parquet", "part-00001.parquet"]
    assert not (output / "_SUCCESS").exists()

    asked = []

    class Counted(ServedModel):
        def __call__(self, x):
            asked.append(x["text"])
            return super().__call__(x)

    monkeypatch.setattr(module, "ServedModel", Counted)
    seen = []
    done = score(
        *(exported, [table], output),
        on_part=lambda *facts: seen.append(facts[1:]),
        batch_size=1,
        **options,
    )
    assert done["kept"] == 2 and done["parts"] == 4
    assert asked == [TEXTS[4:6], TEXTS[6:8]]
    assert seen == [(3, 4), (4, 4)]
    after = {p.name: p.stat().st_mtime_ns for p in output.glob("part-*")}
    assert before.items() <= after.items()
    # Asked in other batches, what answers tokens is filled up otherwise.
    one, other = (
        pq.read_table(folder).drop_columns("codes")
        for folder in (output, tmp_path / "whole")
    )
    assert one == other

    # All is there: not even the model is loaded.
    monkeypatch.setattr(module, "ServedModel", None)
    assert score(exported, [table], output, **options)["kept"] == 4


def test_a_part_appears_whole_or_not_at_all(
    exported, table, tmp_path, monkeypatch
):
    write, written = pq.write_table, []

    def full(table, path):
        write(table, path)
        written.append(path)
        if len(written) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", full)
    options = {"text": ("body",), "part_rows": 3}
    with pytest.raises(CheckpointError, match="No space left"):
        score(exported, [table], tmp_path / "out", **options)
    monkeypatch.undo()
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == ["_lock", "_plan.json", "part-00000.parquet"]
    assert score(exported, [table], tmp_path / "out", **options)["kept"] == 1


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({"part_rows": 5}, "part_rows"),
        ({"keep": ("id",)}, "keep"),
        ({"model": 2}, "model"),
        ({"file": ["more"]}, "files, rows"),
    ],
)
def test_another_job_in_the_folder(
    exported, table, tmp_path, change, different
):
    score(exported, [table], tmp_path / "out", text=("body",))
    options = {"text": ("body",)} | change
    version = exported / str(options.pop("model", 10))
    if extra := options.pop("file", None):
        pq.write_table(pa.table({"id": [1], "body": extra}), table)
    with pytest.raises(ConfigError, match=f"with different {different}\\."):
        score(version, [table], tmp_path / "out", **options)


def test_refused(exported, table, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(UnknownNameError, match="Unknown engine 'spark'"):
        score(exported, [table], output, engine="spark")
    with pytest.raises(ConfigError, match="of engine='ray' only"):
        score(exported, [table], output, workers=2)
    with pytest.raises(ConfigError, match="1 text column.*Received: a, b"):
        score(exported, [table], output, text=("a", "b"))
    with pytest.raises(UnknownNameError, match="Unknown column 'text'"):
        score(exported, [table], output)
    with pytest.raises(UnknownNameError, match="Unknown column 'idd'"):
        score(exported, [table], output, text=("body",), keep=("idd",))
    with pytest.raises(InputError, match="matches nothing"):
        score(exported, [tmp_path / "none"], output)
    assert not output.exists()


def test_rows_without_a_text(exported, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a", "b", "c", None]}), path)
    with pytest.raises(InputError, match="None .* in row 3 of .*a.parquet"):
        score(exported, [path], tmp_path / "out", part_rows=2)
    assert (tmp_path / "out" / "part-00000.parquet").exists()


def test_columns_named_like_an_answer(exported, tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a", "label": "x"}\n')
    with pytest.raises(ConfigError, match="Received: label. Rename"):
        score(exported, [path], tmp_path / "out", keep=("label",))


def test_ray_has_to_be_installed(exported, table, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'kbert-keras\[ray\]'"):
        score(exported, [table], tmp_path / "out", text=("body",), engine="ray")


def test_a_ray_cluster_that_cannot_be_reached(
    exported, table, tmp_path, monkeypatch
):
    class Ray(types.ModuleType):
        def is_initialized(self):
            return False

        def init(self, **_):
            raise ConnectionError("Failed to connect")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    for name in ("ray", "ray.data"):
        monkeypatch.setitem(sys.modules, name, Ray(name))
    with pytest.raises(ConfigError, match=r"\(10\.0\.0\.1:6379\).*Failed to"):
        score(exported, [table], tmp_path / "out", text=("body",), engine="ray")


# === The command ===


def run(*arguments):
    return CliRunner().invoke(app, ["predict", *map(str, arguments)])


def test_command(exported, table, tmp_path):
    output = tmp_path / "out"
    arguments = (exported, table, "-o", output, "--text", "body")
    arguments += ("--keep", "id", "--part-rows", 5)
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{output}\n"
    assert result.stderr == "8 rows in 2 parts.\n"
    assert pq.read_table(output)["label"].to_pylist() == LABELS
    plan = json.loads((output / "_plan.json").read_text())
    assert plan["columns"] == {"text": "body"} and plan["rows"] == 8
    again = run(*arguments)
    assert again.stderr == "8 rows in 2 parts, 2 of them were there.\n"
    refused = run(*arguments[:-1], 6)
    assert refused.exit_code == 1 and refused.stdout == ""
    assert "different part_rows" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in", "--engine", "ray"], "needs --output"),
        (["--output", "out"], "needs a FILE"),
        (["-", "--output", "out"], "needs a FILE"),
        (["in", "--output", "out", "--json"], "are not for --output"),
        (["in", "--output", "out", "--engine", "spark"], "spark"),
    ],
)
def test_wrong_usage(arguments, message):
    result = run("model", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
