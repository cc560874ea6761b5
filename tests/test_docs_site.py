"""The reference has a page for every door, and the site every page."""

from pathlib import Path

import pytest
import yaml

import kbert

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
DOORS = sorted(set(kbert._EXPORTS) - {"KbertError"})


@pytest.mark.parametrize("name", DOORS)
def test_a_door_has_a_page(name):
    page = (DOCS / "api" / f"{name}.md").read_text()
    assert page == f"::: {kbert._EXPORTS[name]}.{name}\n"


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
