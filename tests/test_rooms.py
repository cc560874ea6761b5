"""Arrows between rooms go one way: what imports what, by reading the files."""

import ast
import pkgutil
from pathlib import Path

import pytest

import kbert

PACKAGE = Path(kbert.__file__).parent

# A room, or a file at the root, imports what stands before it. Lazy imports
# and those for types count.
ROOMS = (
    *("errors", "hookspecs", "utils", "plugins", "data", "tokenizers"),
    *("models", "formats", "checkpoints", "heads", "pipeline", "exported"),
    *("report", "export", "training", "task", "classifier", "embedder"),
    *("multitask", "loading", "search", "summary", "onnx_model", "testing"),
    *("pretraining", "pretrainer", "recipes", "scoring", "serving", "client"),
    *("commands", "cli", "__main__"),
    # Names of before, for one release.
    *("files", "labels", "checks", "quiet"),
)

# What says of which types an argument is where nothing else may be known.
KNOWN = {
    ("kbert.hookspecs", "kbert.checkpoints.presets"),
    ("kbert.hookspecs", "kbert.heads.base"),
}


def modules() -> dict[str, Path]:
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def arrows() -> set[tuple[str, str]]:
    """Which module imports which, anywhere in its file."""
    known, found = modules(), set()
    for name, path in known.items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: a relative import"
                targets = [f"{node.module}.{a.name}" for a in node.names]
                targets = [t if t in known else node.module for t in targets]
            elif isinstance(node, ast.Import):
                targets = [alias.name for alias in node.names]
            else:
                continue
            found |= {(name, t) for t in targets if t in known and t != name}
    return found


def room(module: str) -> str:
    assert module != "kbert", "a module imports the package that it is in"
    return module.split(".")[1]


def test_arrows_go_one_way():
    wrong = {
        (a, b)
        for a, b in arrows() - KNOWN
        if a != "kbert" and ROOMS.index(room(a)) < ROOMS.index(room(b))
    }
    assert not wrong


def test_the_exceptions_are_there():
    assert arrows() >= KNOWN


def test_no_circle_in_a_room():
    left = {(a, b) for a, b in arrows() if a != "kbert" and room(a) == room(b)}
    while left:  # Take away who imports nobody that is left.
        ends = {b for _, b in left} - {a for a, _ in left}
        assert ends, f"a circle in {sorted(left)}"
        left = {(a, b) for a, b in left if b not in ends}


@pytest.mark.parametrize(
    "name",
    [
        "kbert.files.read_table",
        "kbert.labels.LabelFinder",
        "kbert.checks.check_integer",
        "kbert.quiet.import_tensorflow",
        "kbert.pretraining.sentences.split_sentences",
        "kbert.scoring.model.find_version",
    ],
)
def test_names_of_before_are_there(name):
    assert callable(pkgutil.resolve_name(name))


def test_every_room_has_its_place():
    rooms = {room(name) for name in modules() if name != "kbert"}
    assert rooms == set(ROOMS)


def test_the_root_holds_doors():
    assert len([*PACKAGE.glob("*.py")]) <= 20
