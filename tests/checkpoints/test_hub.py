"""Repositories of a hub, by name."""

from pathlib import Path

import pytest

import kbert
from kbert.checkpoints import hub
from kbert.checkpoints import kerashub
from kbert.errors import CheckpointError
from kbert.errors import DownloadError

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("owner/name", True),
        ("owner/name@v1.0", True),
        ("hf:owner/name", True),
        ("name", False),
        ("../name", False),
        ("owner/../name", False),
        ("/owner/name", False),
        ("owner/.name", False),
        ("https://huggingface.co/owner/name", False),
    ],
)
def test_names(name, is_one):
    assert hub.is_repository(name) is is_one


def test_repository_is_loaded_from_the_hubs_cache(monkeypatch):
    asked = []

    def snapshot_download(repo, revision=None, allow_patterns=None, **_):
        asked.append((repo, revision, allow_patterns))
        return str(HF)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    monkeypatch.setattr(hub, "_reach", lambda repo, revision: None)
    kbert.load_backbone("owner/name@v2")
    ((repo, revision, patterns),) = asked
    assert (repo, revision) == ("owner/name", "v2")
    # Code that comes with a model is not even fetched.
    assert not [p for p in patterns if p.endswith((".py", ".bin", ".h5"))]


def test_hub_that_cannot_be_reached(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(DownloadError) as caught:
        kbert.load_backbone("owner/no-such-model")
    message = str(caught.value)
    assert "no folder of that name" in message
    assert "HF_HUB_OFFLINE is set" in message
    assert issubclass(DownloadError, CheckpointError)


def test_scheme_of_kerashub(monkeypatch):
    asked = []

    def fetch(name):
        asked.append(name)
        return HF.parent / "kerashub"

    monkeypatch.setattr(kerashub, "fetch", fetch)
    assert kbert.load_backbone("kerashub:bert_tiny_en_uncased").encoder
    assert asked == ["bert_tiny_en_uncased"]
