"""`kbert convert` and `kbert info`."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import kbert
from kbert.cli import app
from kbert.utils.atomic import file_digest

FIXTURES = Path(__file__).parents[1] / "fixtures"


def run(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def saved(tmp_path):
    clf = kbert.Classifier(
        FIXTURES / "torch",
        labels=["z", "a"],
        pooling="pooler",
        max_length=16,
        seed=0,
    )
    clf.save(tmp_path / "saved")
    return tmp_path / "saved"


@pytest.mark.parametrize("form", ["torch", "kerashub", "garden_1", "electra"])
def test_any_form_becomes_hugging_faces(tmp_path, form):
    done = run(
        "convert", FIXTURES / form, tmp_path / "out", "--to", "huggingface"
    )
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out")
    before = kbert.load_backbone(FIXTURES / form)
    after = kbert.load_backbone(tmp_path / "out")
    assert after.config == before.config | {
        "initializer_range": before.config["initializer_range"]
    }
    x = np.array([[7, 8, 9]], "int32")
    x = {"token_ids": x, "segment_ids": 0 * x, "padding_mask": x > 0}
    np.testing.assert_array_equal(
        before(x)["sequence_output"], after(x)["sequence_output"]
    )


def test_saved_model(tmp_path, saved):
    done = run(
        *("convert", saved, tmp_path / "out", "--to", "huggingface", "--json")
    )
    assert json.loads(done.stdout) == {
        "path": str(tmp_path / "out"),
        "form": "huggingface",
    }
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["id2label"] == {"0": "z", "1": "a"}
    again = run("convert", saved, tmp_path / "out", "--to", "huggingface")
    assert again.exit_code == 1
    assert "exists already" in again.stderr
    again = run(
        *("convert", saved, tmp_path / "out", "--to", "huggingface"),
        "--overwrite",
    )
    assert again.exit_code == 0
    (tmp_path / "out" / "notes.txt").write_text("mine")
    again = run(
        *("convert", saved, tmp_path / "out", "--to", "huggingface"),
        "--overwrite",
    )
    assert again.exit_code == 1
    assert "notes.txt" in again.stderr
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_what_cannot_be_converted(tmp_path, saved):
    done = run("convert", FIXTURES / "torch", tmp_path / "x", "--to", "onnx")
    assert done.exit_code == 1
    assert "a checkpoint without one" in done.stderr
    done = run("convert", saved, tmp_path / "x", "--to", "kerashub")
    assert done.exit_code == 1
    assert "--approximate-gelu" in done.stderr
    done = run(
        *("convert", saved, tmp_path / "x", "--to", "onnx"),
        "--approximate-gelu",
    )
    assert done.exit_code == 1
    assert run("convert", saved, tmp_path / "x", "--to", "pt").exit_code == 2
    assert not (tmp_path / "x").exists()


def test_info_of_a_saved_model(saved, monkeypatch):
    # It reads no numbers.
    monkeypatch.setattr("kbert.formats.safetensors_form.array_at", None)
    done = run("info", saved, "--json")
    found = json.loads(done.stdout)
    assert found["form"] == "kbert"
    assert found["architecture"]["hidden_dim"] == 32
    assert found["parameters"] == {
        "backbone": kbert.Backbone(**found["architecture"]).count_params(),
        "heads": 32 * 2 + 2,
    }
    assert found["vocabulary"] == {"tokens": 61, "lowercase": True}
    assert found["head"]["labels"] == ["z", "a"]
    assert found["head"]["plugin"] == f"kbert {kbert.__version__}"
    digest = file_digest(saved / "model.safetensors")
    assert digest in found["files"]["model.safetensors"]
    shown = run("info", saved).stdout
    assert "head.name" in shown and "classification" in shown


def test_info_of_other_forms():
    done = run("info", FIXTURES / "kerashub", "--json")
    assert json.loads(done.stdout)["form"] == "kerashub"
    done = run("info", "random:1x64", "--json")
    assert json.loads(done.stdout)["form"] == "random"
    done = run("info", "no-such-preset")
    assert done.exit_code == 1
    assert "Unknown preset" in done.stderr
