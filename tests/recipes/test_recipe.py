"""Recipes: what they may hold, and the way from text to a preset."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

import kbert
from kbert.cli import app
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import UnknownNameError
from kbert.recipes.recipe import TABLES
from kbert.recipes.recipe import read_recipe

ROOT = Path(__file__).resolve().parents[2]

RECIPE = """
[text]
train = ["text.txt"]
validation = ["text.txt"]
[vocabulary]
size = 100
[model]
preset = "random:1x16"
sequence_length = 24
[model.objectives]
mlm = 1.0
nsp = 1.0
[training]
steps = 4
batch_size = 8
save_every = 2
validation_steps = 2
[output]
path = "OUT"
dtype = "float16"
"""


def read(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return read_recipe(path)


@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/*.toml")))
def test_recipes_of_the_repository(path):
    assert read_recipe(path).training["steps"] > 0


def test_keys_are_arguments():
    assert "learning_rate" in TABLES["training"]
    assert "whole_words" in TABLES["model"]
    assert "self" not in TABLES["model"] + TABLES["training"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("[model]", "[modell]"), UnknownNameError, "Did you mean 'model'"),
        (
            ("steps = 4", "stepps = 4"),
            UnknownNameError,
            "'stepps'. Did you mean 'steps'",
        ),
        (("steps = 4", ""), ConfigError, r"`steps` in \[training\]"),
        (('train = ["text.txt"]', ""), ConfigError, r"`train` in \[text\]"),
        (("size = 100", ""), ConfigError, "one of `file` and `size`"),
        (
            ("size = 100", 'size = 100\nfile = "vocab.txt"'),
            ConfigError,
            "file and size",
        ),
        (
            ("random:1x16", "all-minilm-l6-v2"),
            ConfigError,
            "has its own. Received: size",
        ),
        (
            ('validation = ["text.txt"]', ""),
            ConfigError,
            r"`validation` in \[text\].* `validation_steps` in \[training\]",
        ),
        (('path = "OUT"', ""), ConfigError, r"`path` in \[output\].*`dtype`"),
        (
            ("[vocabulary]", 'segmenter = "jieba"\n[vocabulary]'),
            ConfigError,
            r"`whole_words` in \[model\].*segmenter = 'jieba' alone",
        ),
        (
            ("sequence_length = 24", "whole_words = true\nmask_rate = 2.0"),
            ConfigError,
            "recipe.toml: `mask_rate` must be a number above 0",
        ),
        (
            ("mlm = 1.0\nnsp = 1.0\n", ""),
            ConfigError,
            "recipe.toml: `objectives` must name one or more",
        ),
        (
            ("mlm = 1.0", "mln = 1.0"),
            UnknownNameError,
            "objective in .*recipe.toml: 'mln'. .* mean 'mlm'",
        ),
        (
            ("batch_size = 8", "batch_size = 8\naccumulate = 3"),
            ConfigError,
            "a multiple of `accumulate`",
        ),
        (
            ("batch_size = 8", 'batch_size = 8\noptimizer = "lam"'),
            UnknownNameError,
            "optimizer in .*recipe.toml: 'lam'. .* mean 'lamb'",
        ),
        (
            ("batch_size = 8", "jit_compile = 3"),
            ConfigError,
            "recipe.toml: .*jit_compile=3",
        ),
        (
            ("sequence_length = 24", "seed = -1"),
            ConfigError,
            "recipe.toml: .*seed=-1",
        ),
        (
            ("sequence_length = 24", 'policy = "bfloat16"'),
            ConfigError,
            "recipe.toml: .*one of float32, mixed_bfloat16.*'bfloat16'",
        ),
        (
            ('validation = ["text.txt"]', 'validation = "text.txt"'),
            ConfigError,
            "a list such as .* as `validation`.*'text.txt'",
        ),
        (
            ('preset = "random:1x16"', "preset = 3"),
            ConfigError,
            "a name as `preset`.*Received: 3",
        ),
        (
            ("save_every = 2", "save_every = 9"),
            ConfigError,
            "recipe.toml: `save_every` must be no more .*=9, steps=4",
        ),
        (
            ('dtype = "float16"', 'dtype = "flaot16"'),
            ConfigError,
            "recipe.toml: `dtype`.* mean 'float16'",
        ),
        (("[text]", "[text"), InputError, "a recipe in TOML"),
        ((RECIPE, "text = 3"), ConfigError, r"a table \[text\]"),
    ],
)
def test_wrong_recipes(tmp_path, change, error, message):
    with pytest.raises(error, match=message):
        read(tmp_path, RECIPE.replace(*change))


def test_no_recipe(tmp_path):
    with pytest.raises(InputError, match="nowhere.toml"):
        read_recipe(tmp_path / "nowhere.toml")


@pytest.fixture
def recipe(corpus_path, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("OUT", str(tmp_path / "out")))
    return path


def test_from_text_to_a_preset(recipe, corpus_path, tmp_path):
    command = [
        *("pretrain", str(recipe), "--run-dir", str(tmp_path / "run")),
        *("--data", str(corpus_path.parent), "--json", "--tensorboard"),
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["tokens"] > 1000
    assert 0 < found["mlm_loss"] < 10
    assert found["unigram_entropy"] > 1
    run = tmp_path / "run"
    assert Path(found["curves"]).read_bytes().startswith(b"\x89PNG")
    assert list((run / "tensorboard").rglob("events*"))
    # One line an epoch where there is no terminal.
    assert len(re.findall(r"^epoch \d/2  loss", result.stderr, re.M)) == 2
    clf = kbert.Classifier(tmp_path / "out", labels=["a", "b"])
    assert len(clf.predict(["a bird"])) == 1

    # Again: nothing is built or trained anew.
    stamps = {
        path: path.stat().st_mtime_ns
        for path in run.rglob("*")
        if path.suffix in (".npy", ".safetensors") or path.name == "vocab.txt"
    }
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.stderr
    assert all(p.stat().st_mtime_ns == stamp for p, stamp in stamps.items())
    figures = ("loss", "mlm_loss", "nsp_accuracy")
    assert [json.loads(again.stdout)[k] for k in figures] == [
        found[k] for k in figures
    ]

    # Another number of steps is another run.
    recipe.write_text(recipe.read_text().replace("steps = 4", "steps = 6"))
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 1
    assert "steps was 4 and is now 6" in refused.stderr


def test_a_preset_takes_no_other_folder(recipe, corpus_path, tmp_path):
    notes = tmp_path / "out" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    result = CliRunner().invoke(
        app,
        [
            *("pretrain", str(recipe), "--run-dir", str(tmp_path / "run")),
            *("--data", str(corpus_path.parent)),
        ],
    )
    assert result.exit_code == 1
    assert "holds notes.txt too" in result.stderr
    assert notes.read_text() == "mine"
    assert not (tmp_path / "run").exists()  # Refused before any work.


def test_text_that_is_not_there(recipe, tmp_path):
    result = CliRunner().invoke(
        app,
        [
            *("pretrain", str(recipe), "--run-dir", str(tmp_path / "run")),
            *("--data", str(tmp_path / "nowhere")),
        ],
    )
    assert result.exit_code == 1
    assert "text.txt" in result.stderr
