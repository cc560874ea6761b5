"""Ray and Spark: several processes, killed and gone on with, same answers."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.large

ROOT = Path(__file__).resolve().parents[2]
ROWS = 1200


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """Folder of an export, and the classifier it is of."""
    import kbert

    clf = kbert.Classifier(
        "kbert_tiny_en", head="spam", labels=["ham", "spam"], seed=0
    )
    folder = tmp_path_factory.mktemp("exports") / "spam"
    clf.export(folder)
    return folder, clf


@pytest.fixture(scope="module")
def rows(data_root):
    """Text messages, longer ones between."""
    lines = (data_root / "sms_spam" / "SMSSpamCollection").read_text("utf-8")
    texts = [line.split("\t")[1] for line in lines.split("\n")[:ROWS]]
    texts[::10] = [text * 5 for text in texts[::10]]
    return {"id": list(range(ROWS)), "body": texts}


@pytest.fixture(scope="module")
def expected(model, rows):
    """What `kbert predict` gives in this process."""
    _, clf = model
    answered = list(clf.stream(rows["body"]))
    return {
        key: np.array([row[key] for row in answered])
        for key in ("label", "score")
    }


@pytest.fixture
def folder(rows, tmp_path):
    """Three files of unequal size, one of small row groups."""
    path = tmp_path / "in"
    path.mkdir()
    table = pa.table(rows)
    pq.write_table(table.slice(0, 500), path / "a.parquet", row_group_size=64)
    pq.write_table(table.slice(500, 20), path / "b.parquet")
    pq.write_table(table.slice(520), path / "c.parquet")
    return path


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ
        | {"PYTHONPATH": str(ROOT), "SPARK_LOCAL_IP": "127.0.0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 0, output
    return output


def wait_for(condition, process, seconds=400):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def descendants(ancestor):
    """Names of the processes that `ancestor` started, and these started."""
    parents, names = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                names[int(entry.name)] = (entry / "cmdline").read_text()
            except OSError:
                continue  # It has ended.
            parents[int(entry.name)] = int(fields[1])

    def below(pid):
        while pid in parents:
            pid = parents[pid]
            if pid == ancestor:
                return True
        return False

    return {pid: name for pid, name in names.items() if below(pid)}


def compare(table, rows, expected):
    """The same rows, labels and scores as those of one process."""
    order = np.argsort(table["id"].to_numpy())
    assert table["id"].to_numpy()[order].tolist() == rows["id"]
    assert [table["body"][i].as_py() for i in order] == rows["body"]
    labels = np.array(table["label"].to_pylist())[order]
    assert labels.tolist() == expected["label"].tolist()
    np.testing.assert_allclose(
        table["score"].to_numpy()[order], expected["score"], atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_killed_half_way(engine, model, rows, expected, folder, tmp_path):
    if engine == "ray":
        pytest.importorskip("ray")
    output = tmp_path / "out"
    command = ["-m", "kbert", "predict", model[0], folder, "--output", output]
    command += ["--text", "body", "--keep", "id", "--part-rows", 50]
    command += ["--engine", engine]
    if engine == "ray":
        command += ["--workers", 2]

    def done():
        return {p.name: p.stat().st_mtime_ns for p in output.glob("part-*")}

    process = start(*command)
    wait_for(lambda: len(done()) >= 3, process)
    if engine == "ray":
        started = descendants(process.pid).values()
        workers = [n for n in started if n.startswith("ray::MapWorker")]
        assert len(workers) == 2, list(started)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    # Ray's processes end by themselves, a little later.
    time.sleep(10)
    before = done()
    total = 10 + 1 + 14
    assert 3 <= len(before) < total
    assert not (output / "_SUCCESS").exists()
    for name in before:
        assert pq.read_metadata(output / name).num_rows > 0

    said = finish(start(*command))
    assert f"{ROWS:,} rows in {total} parts, {len(before)} of them" in said
    assert before.items() <= done().items()
    assert len(done()) == total
    assert not list(output.glob(".kbert-tmp-*"))
    table = pq.read_table(output)
    # Parts are in the order of the rows.
    assert table["id"].to_pylist() == rows["id"]
    compare(table, rows, expected)


def test_a_lost_worker_costs_its_part_only(
    model, rows, expected, folder, tmp_path
):
    pytest.importorskip("ray")
    output = tmp_path / "out"
    process = start(
        *("-m", "kbert", "predict", model[0], folder, "--output", output),
        *("--text", "body", "--keep", "id", "--part-rows", 50),
        *("--engine", "ray", "--workers", 2),
    )
    wait_for(lambda: len(list(output.glob("part-*"))) >= 2, process)
    workers = [
        pid
        for pid, name in descendants(process.pid).items()
        if name.startswith("ray::MapWorker")
    ]
    os.kill(workers[0], signal.SIGKILL)
    finish(process)
    compare(pq.read_table(output), rows, expected)


def test_errors_of_a_worker_are_explained(model, tmp_path):
    pytest.importorskip("ray")
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a"}\n{"text": 3}\n')
    process = start(
        *("-m", "kbert", "predict", model[0], path, "-o", tmp_path / "out"),
        *("--engine", "ray", "--workers", 1, "--part-rows", 1),
    )
    output, _ = process.communicate(timeout=500)
    assert process.returncode == 1
    assert "Error: Expected a text in the column 'text'." in output
    assert "line 2 of" in output
    assert "Traceback" not in output


def test_spark_killed_half_way(model, rows, expected, folder, tmp_path):
    pytest.importorskip("pyspark")
    if not shutil.which("java"):
        pytest.skip("no Java runtime here")
    output = tmp_path / "out"
    command = ["examples/spark_udf.py", model[0], folder, output]
    command += ["--text", "body", "--master", "local[2]"]

    def done():
        return sorted(p.parent.name for p in output.glob("*/_SUCCESS"))

    lines = folder / "d.txt"
    lines.write_text("".join(f"{t}\n" for t in rows["body"][:50]), "utf-8")
    process = start(*command)
    wait_for(lambda: (output / "c.parquet").exists(), process)
    java = [p for p, n in descendants(process.pid).items() if "java" in n]
    for pid in (process.pid, *java):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert done() == ["a.parquet", "b.parquet"]

    said = finish(start(*command))
    assert "a.parquet: was there\nb.parquet: was there\n" in said
    assert "c.parquet: done" in said and "d.txt: done" in said
    *names, text = done()
    table = pa.concat_tables(pq.read_table(output / name) for name in names)
    compare(table, rows, expected)
    answered = pq.read_table(output / text)
    labels = dict(zip(rows["body"], expected["label"], strict=True))
    assert sorted(answered["value"].to_pylist()) == sorted(rows["body"][:50])
    for value, label in zip(
        answered["value"].to_pylist(),
        answered["label"].to_pylist(),
        strict=True,
    ):
        assert label == labels[value]

    (output / "_model").write_text("another")
    process = start(*command)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert "has answers of another model" in said
