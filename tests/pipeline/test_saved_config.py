"""The form of saved models: every version so far loads and answers as ever."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.pipeline import saved_config

SAVED = Path(__file__).parents[1] / "fixtures" / "saved"
VERSIONS = sorted(path.name for path in SAVED.iterdir())


@pytest.mark.parametrize("version", VERSIONS)
def test_models_of_every_version_answer_as_they_did(version):
    answers = json.loads((SAVED / version / "answers.json").read_text())
    clf = kbert.load(SAVED / version)
    assert clf.predict(answers["texts"]) == answers["labels"]
    np.testing.assert_allclose(
        clf.predict_proba(answers["texts"]),
        answers["probabilities"],
        atol=1e-5,
    )


def test_there_is_a_model_of_every_form():
    forms = {
        json.loads((SAVED / version / "kbert.json").read_text())["format"]
        for version in VERSIONS
    }
    assert forms == {*saved_config.UPGRADES, saved_config.FORMAT}


def test_upgraded_model_is_saved_in_todays_form(tmp_path):
    clf = kbert.load(SAVED / "0.1.0-format1")
    clf.save(tmp_path / "again")
    config = json.loads((tmp_path / "again" / "kbert.json").read_text())
    assert config["format"] == saved_config.FORMAT
    assert config["backbone"]["embedding_dim"] is None
    again = kbert.load(tmp_path / "again")
    np.testing.assert_array_equal(
        again.predict_proba(["a b"]), clf.predict_proba(["a b"])
    )


def test_every_step_is_taken_in_order(monkeypatch):
    steps = []

    def step(number):
        def upgrade(config):
            steps.append(number)
            return config | {"training": {"step": number}}

        return upgrade

    upgrades = saved_config.UPGRADES | {2: step(2), 3: step(3)}
    monkeypatch.setattr(saved_config, "UPGRADES", upgrades)
    monkeypatch.setattr(saved_config, "FORMAT", 4)
    config = saved_config.read_saved_config(SAVED / "0.1.0-format1")
    assert steps == [2, 3]
    assert config["format"] == 4
    assert config["training"] == {"step": 3}


@pytest.mark.parametrize("version", [0, 99, None, "1", True, 1.0])
def test_version_that_is_not_known(tmp_path, version):
    folder = shutil.copytree(SAVED / "0.1.0-format1", tmp_path / "saved")
    path = folder / "kbert.json"
    config = json.loads(path.read_text()) | {"format": version}
    path.write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="Expected format 1 to 2"):
        kbert.load(folder)
