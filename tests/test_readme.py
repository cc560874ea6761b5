"""README's Python runs as it stands, one block after the other."""

import functools
import re
from pathlib import Path

import kbert
from kbert.export import saved_model

README = Path(__file__).resolve().parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)


def test_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = functools.partial(kbert.Classifier, "random:1x64")
    small.load = kbert.Classifier.load
    monkeypatch.setattr(kbert, "Classifier", small)
    three_lines, way, served = BLOCKS
    spam = [f"win {i}" for i in range(40)] + [f"hi {i}" for i in range(40)]
    exec(three_lines, {"texts": spam, "labels": ["spam"] * 40 + ["ham"] * 40})
    assert (tmp_path / "saved_models" / "spam-serving" / "1").is_dir()

    scope = {}
    exec(way, scope)
    assert set(scope["clf"].labels) == {"good", "bad"}

    # Nobody asks this one for explanations, which take half the time.
    monkeypatch.setattr(saved_model, "can_explain", lambda task: False)
    scope["clf"].export("saved_models/films-serving")
    exec(served, {})


def test_links_lead_somewhere():
    prose = re.sub(r"```.*?```", "", README.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#]+)", prose)
    assert links
    for link in links:
        if not link.startswith("http"):
            assert (README.parent / link).exists(), link
