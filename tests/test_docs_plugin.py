"""docs/plugins.md: its example works as printed, and no hook is left out."""

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from kbert import hookspecs

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "plugins.md"


def code_blocks():
    """Code blocks that name a file, by that name."""
    found = re.findall(
        r"^```\w+ (\S+)\n(.*?)^```$",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )
    return dict(found)


def run(*arguments, cwd, path=()):
    env = {k: v for k, v in os.environ.items() if k != "KBERT_LOAD_PLUGINS"}
    before = [env["PYTHONPATH"]] if env.get("PYTHONPATH") else []
    env["PYTHONPATH"] = os.pathsep.join([*map(str, path), str(ROOT), *before])
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """The page's files, and the folder its plugin is installed in."""
    folder = tmp_path_factory.mktemp("docs")
    for name, text in code_blocks().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    target = folder / "installed"
    run(
        *("-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        # What it depends on is there, and nothing is to be downloaded.
        *("--no-deps", "--no-build-isolation", "--target", target),
        folder / "kbert-urgent",
        cwd=folder,
    )
    return folder, target


# What a reader does, in a process where the plugin is installed; starting one
# takes longer than all of it.
STEPS = """
import contextlib, io, json, os, sys

import pytest
import kbert


def shown(step):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        step()
    return out.getvalue()


def find():
    from kbert.plugins import get_plugins

    entry = get_plugins().heads.get("urgent")
    print(entry.value.__name__, entry.plugin, entry.version)


def check():
    status = pytest.main([
        "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", ".",
        "kbert-urgent/test_kbert_urgent.py",
    ])
    assert not status


def train():
    code = open("train.py", encoding="utf-8").read()
    assert code.count("kbert.Classifier(") == 1
    # The one change: no pretrained weights, which would be downloaded.
    small = "kbert.Classifier('random:1x64', "
    exec(code.replace("kbert.Classifier(", small), {})


def list_heads():
    from typer.testing import CliRunner

    from kbert.cli import app

    print(CliRunner().invoke(app, ["heads"]).stdout)


found = {}
for step in (find, check, train, list_heads):
    try:
        found[step.__name__] = shown(step)
    except BaseException as error:
        found[step.__name__] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def shown(workspace):
    """What each step of a reader printed, by its name."""
    folder, target = workspace
    output = run("-c", STEPS, cwd=folder, path=[target])
    return json.loads(output.splitlines()[-1])


def test_plugin_is_found(shown):
    assert shown["find"].strip() == "UrgentHead kbert-urgent 0.1.0"


def test_check_head_passes(shown):
    assert "1 passed" in shown["check"]


def test_training_runs(shown):
    last = shown["train"].strip().splitlines()[-1]
    assert last in ("['urgent']", "['routine']")


def test_command_lists_the_head(shown):
    assert "urgent" in shown["list_heads"]


# === Every hook has a heading ===


def hooks():
    for name, function in vars(hookspecs).items():
        if hasattr(function, "kbert_spec"):
            yield name, function


def test_there_are_hooks():
    assert {"register_heads", "register_presets"} <= {n for n, _ in hooks()}


@pytest.mark.parametrize(("name", "function"), hooks())
def test_hook_has_a_heading_with_its_signature(name, function):
    # Annotations are strings there, which `inspect` shows in quotes.
    signature = str(inspect.signature(function)).replace("'", "")
    headings = PAGE.read_text(encoding="utf-8").splitlines()
    assert f"### `{name}{signature}`" in headings


def test_no_heading_without_a_hook():
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"^### `(\w+)\(", text, re.MULTILINE))
    assert named == {name for name, _ in hooks()}


@pytest.mark.parametrize(
    "name", re.findall(r"`(kbert(?:\.\w+)+)`", PAGE.read_text("utf-8"))
)
def test_names_on_the_page_exist(name):
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute)
