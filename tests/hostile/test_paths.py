"""Names and links that lead out of the folder.

Keras's advisories CVE-2025-12058 (a vocabulary path that reads any file or
asks any server) and CVE-2025-12060 (names with `..`).
"""

import json
import os
import shutil

import numpy as np
import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import UnsafeFileError
from kbert.formats.safetensors_form import write_tensors
from kbert.utils.untrusted import member

ELSEWHERE = [
    "../secret",
    "a/../../secret",
    "/etc/passwd",
    "..",
    "",
    "a\\..\\secret",
    "file:///etc/passwd",
    "a\0b",
    "half\ud800",
]


@pytest.fixture
def secret(tmp_path):
    """A file that would be a good vocabulary, outside of the folder."""
    path = tmp_path / "secret"
    shutil.copy(
        os.path.join(os.path.dirname(__file__), "..", "fixtures")
        + "/huggingface/vocab.txt",
        path,
    )
    return path


@pytest.mark.parametrize("name", ELSEWHERE)
def test_member(tmp_path, name):
    with pytest.raises(UnsafeFileError, match="leads elsewhere"):
        member(tmp_path, name)


@pytest.mark.parametrize("name", ELSEWHERE)
@pytest.mark.parametrize("index", ["safetensors", "bin"])
def test_shard_elsewhere(copy, refused, name, index):
    folder = copy("huggingface")
    (folder / "model.safetensors").unlink()
    stem = "model" if index == "safetensors" else "pytorch_model"
    (folder / f"{stem}.{index}.index.json").write_text(
        json.dumps({"weight_map": {"embeddings.LayerNorm.weight": name}})
    )
    refused(folder, "leads elsewhere", error=UnsafeFileError)


@pytest.mark.parametrize("name", ELSEWHERE)
def test_shard_of_kerashub_elsewhere(copy, refused, name):
    folder = copy("kerashub")
    (folder / "model.weights.h5").unlink()
    (folder / "model.weights.json").write_text(
        json.dumps({"weight_map": {"/layers/dense/vars": name}})
    )
    refused(folder, "leads elsewhere", error=UnsafeFileError)


@pytest.mark.parametrize("name", [n for n in ELSEWHERE if n])
@pytest.mark.parametrize("kind", ["Transformer", "Pooling"])
def test_module_elsewhere(copy, refused, name, kind):
    folder = copy("huggingface")
    modules = [{"type": f"x.{kind}", "path": name}]
    (folder / "modules.json").write_text(json.dumps(modules))
    refused(folder, "leads elsewhere", error=UnsafeFileError)


def test_vocabulary_that_a_configuration_names(copy, watched, secret):
    folder = copy("kerashub")
    path = folder / "tokenizer.json"
    config = json.loads(path.read_text())
    config["config"]["vocabulary"] = str(secret)
    path.write_text(json.dumps(config))
    with watched(folder):
        kbert.load_backbone(folder)
    folder = folder.parent / "hf"
    shutil.copytree(
        os.path.dirname(__file__) + "/../fixtures/huggingface", folder
    )
    config = {"vocab_file": str(secret), "tokenizer_file": str(secret)}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    with watched(folder):
        kbert.load_backbone(folder)


# === Links ===

FILES = [
    ("huggingface", "vocab.txt"),
    ("huggingface", "config.json"),
    ("huggingface", "model.safetensors"),
    ("torch", "pytorch_model.bin"),
    ("kerashub", "model.weights.h5"),
    ("kerashub", "assets/tokenizer/vocabulary.txt"),
    ("garden_1", "bert_model.ckpt.index"),
    ("garden_1", "bert_model.ckpt.data-00000-of-00001"),
    ("garden_1", "bert_config.json"),
]


@pytest.mark.parametrize(("form", "name"), FILES)
def test_link_elsewhere(copy, refused, tmp_path, form, name):
    folder = copy(form)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    refused(folder, "a link to .*elsewhere", error=UnsafeFileError)


@pytest.mark.parametrize("name", ["kbert.json", "vocab.txt"])
def test_link_in_a_saved_model(saved, refused, tmp_path, name):
    (saved / name).rename(tmp_path / "elsewhere")
    (saved / name).symlink_to(tmp_path / "elsewhere")
    refused(saved, "a link to", kbert.load, UnsafeFileError)


def test_link_of_a_folder(copy, refused, tmp_path):
    folder = copy("kerashub")
    (folder / "assets").rename(tmp_path / "assets")
    (folder / "assets").symlink_to(tmp_path / "assets")
    refused(folder, "a link to", error=UnsafeFileError)


def test_link_to_itself(copy, refused):
    folder = copy("huggingface")
    (folder / "vocab.txt").unlink()
    (folder / "vocab.txt").symlink_to("vocab.txt")
    refused(folder, "Expected a file vocab.txt", error=CheckpointError)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_no_plain_file(copy, refused, kind):
    folder = copy("huggingface")
    path = folder / "vocab.txt"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    refused(folder, "a folder, pipe or device|a link to")


def test_links_of_the_hubs_cache_are_fine(copy, tmp_path, watched):
    folder = copy("huggingface")
    repo = tmp_path / "models--owner--name"
    snapshot = repo / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (repo / "blobs").mkdir()
    for path in list(folder.iterdir()):
        path.rename(repo / "blobs" / path.name)
        (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    with watched(repo):
        kbert.load_backbone(snapshot)
    # But no further.
    (repo / "blobs" / "vocab.txt").unlink()
    (repo / "blobs" / "vocab.txt").symlink_to("/etc/passwd")
    with pytest.raises(UnsafeFileError, match="a link to /etc/passwd"):
        kbert.load_backbone(snapshot)


# === Names that are not files' ===


@pytest.mark.parametrize(
    "name", ["../evil", "a/../b", "", ".x", "/etc", "a//b"]
)
def test_names_of_presets_and_their_files(name):
    digest = "0" * 64
    files = dict.fromkeys(
        ("config.json", "model.safetensors", "vocab.txt"), digest
    )
    facts = {
        "description": "",
        "parameters": 1,
        "languages": (),
        "lowercase": True,
        "mirrors": (object(),),
    }
    with pytest.raises(ConfigError, match="letters, digits"):
        kbert.Preset(name=name, files=files, **facts)
    with pytest.raises(ConfigError, match="letters, digits"):
        kbert.Preset(name="x", files=files | {name: digest}, **facts)


def test_a_file_of_a_preset_may_lie_in_a_folder_and_a_preset_may_not():
    digest = "0" * 64
    files = dict.fromkeys(
        ("config.json", "model.safetensors", "vocab.txt", "a/b"), digest
    )
    facts = {
        "description": "",
        "parameters": 1,
        "languages": (),
        "lowercase": True,
        "mirrors": (object(),),
    }
    assert kbert.Preset(name="x", files=files, **facts).files == files
    with pytest.raises(ConfigError, match="letters, digits"):
        kbert.Preset(name="a/b", files=files, **facts)


def test_tensor_of_any_name_is_only_a_name(copy, refused):
    folder = copy("huggingface")
    evil = {"../../evil": np.zeros(1), "encoder./etc/passwd": np.zeros(1)}
    write_tensors(evil, folder / "model.safetensors")
    message = refused(folder, "is missing")
    assert "encoder./etc/passwd is not in the configuration" in message


def test_corpus_that_names_files_elsewhere(tmp_path, corpus_path, refused):
    folder = tmp_path / "corpus"
    shutil.copytree(corpus_path, folder)
    index = json.loads((folder / "corpus.json").read_text())
    facts = index["files"].pop("vocab.txt")
    index["files"]["../vocab.txt"] = facts
    (folder / "corpus.json").write_text(json.dumps(index))
    refused(folder, "'files'", kbert.Corpus)
