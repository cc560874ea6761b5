"""What a type checker says of code that uses kbert."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

CODE = """\
import kbert

clf = kbert.Classifier(preset=3, no_such=1)  # wrong
clf.fit(["a"], ["b"], epochs="three")  # wrong
clf.fit(["a"], ["b"], epoch=3)  # wrong
clf.fit(["a"], ["b"], epochs=3, run_dir="runs")
clf.fit(["a"], ["b"]).history["loss"]
kbert.load("saved").predict(["a"])
kbert.load("saved", kbert.Embedder).encode(["a"]).shape
kbert.load("saved", kbert.Embedder).predict(["a"])  # wrong
kbert.MultiTask(heads={"a": "spam"}).fit({}, run_dir="runs", layout=1)  # wrong
kbert.MultiTask(heads={"a": "spam"})["a"].predict(["a"])
kbert.Clasifier()  # wrong
clf.model.summary()
clf.head.labels.index("b")
clf.export("exports/a", version="1")  # wrong
"""


def test_a_users_file(tmp_path):
    (tmp_path / "user.py").write_text(CODE)
    told = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "user.py"]
        + ["--pythonpath", sys.executable],
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
    )
    found = {
        each["range"]["start"]["line"]
        for each in json.loads(told.stdout)["generalDiagnostics"]
        if each["severity"] == "error"
    }
    lines = CODE.splitlines()
    assert found == {i for i, line in enumerate(lines) if "# wrong" in line}
