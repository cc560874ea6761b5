"""The reference has a page for every door, and the site every page."""

import functools
import pkgutil
import re
from pathlib import Path

import pytest
import yaml

import kbert
from kbert.export import saved_model

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DOORS = sorted(set(kbert._EXPORTS) - {"KbertError"})


@pytest.mark.parametrize("name", DOORS)
def test_a_door_has_a_page(name):
    page = (DOCS / "api" / f"{name}.md").read_text()
    assert page == f"::: {kbert._EXPORTS[name]}.{name}\n"


def test_places_of_limits_are_there():
    table = (ROOT / "SECURITY.md").read_text()
    places = re.findall(r"\| `([\w.]+)` \|$", table, re.M)
    assert len(places) == 9
    for place in places:
        pkgutil.resolve_name(f"kbert.{place}")


def test_every_page_is_in_the_site():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    named = set()

    def walk(part):
        if isinstance(part, str):
            named.add(part)
        for value in part.values() if isinstance(part, dict) else ():
            walk(value)
        for value in part if isinstance(part, list) else ():
            walk(value)

    walk(nav)
    pages = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert named == pages


def test_the_tutorial_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = functools.partial(kbert.Classifier, "random:1x64")
    monkeypatch.setattr(kbert, "Classifier", small)
    # Nobody asks this one for explanations, which take half the time.
    monkeypatch.setattr(saved_model, "can_explain", lambda task: False)
    page = (DOCS / "tutorial.md").read_text()
    scope = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, scope)
    assert set(scope["clf"].labels) == {"good", "bad"}
    assert (tmp_path / "saved_models" / "films-serving" / "1").is_dir()
