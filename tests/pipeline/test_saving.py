"""Saving: what is there stays, and no path is found to be bad too late."""

import json

import pytest

import kbert
from kbert.errors import KbertError
from kbert.heads.classification import ClassificationHead
from kbert.training.resume import RunFolder
from kbert.utils.atomic import SAVED

BAD = ["", "nul\0x", "x" * 300, "file/x", "ring/x", "\ud83d"]
RANDOM = {"preset": "random:1x16", "seed": 0}


@pytest.fixture(scope="module")
def models():
    return {
        "classifier": kbert.Classifier(labels=["a", "z"], **RANDOM),
        "embedder": kbert.Embedder(**RANDOM),
        "several": kbert.MultiTask(
            heads={"one": ClassificationHead(["a", "b"])}, **RANDOM
        ),
    }


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_only_what_a_save_writes_gives_way(models, tmp_path):
    target = tmp_path / "M"
    models["embedder"].save(target)
    assert set(names(target)) <= set(SAVED)
    (target / "2_Normalize").mkdir()  # sentence-transformers' own.
    (target / "notes.txt").write_text("mine")
    (target / ".git" / "objects").mkdir(parents=True)
    (target / "serving" / "1").mkdir(parents=True)
    RunFolder(target / "run", {"steps": 1})
    others = [".git", "notes.txt", "run", "serving"]
    for name, model in models.items():
        model.save(target)
        found = set(names(target))
        assert found.issuperset(others)
        assert found - set(others) <= set(SAVED)
        assert ("modules.json" in found) == (name == "embedder")
        assert type(kbert.load(target)) is type(model)
    assert (target / "notes.txt").read_text() == "mine"
    assert json.loads((target / "run" / "run.json").read_text()) == {"steps": 1}
    assert names(tmp_path) == ["M"]


def test_saved_where_a_link_leads(models, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "M").symlink_to("disk/M")
    for _ in range(2):
        models["classifier"].save(tmp_path / "M")
    assert (tmp_path / "M").is_symlink()
    assert names(tmp_path / "disk") == ["M"]
    assert kbert.load(tmp_path / "M").labels == ["a", "z"]


def _id(path):
    return ascii(path[:8])


@pytest.fixture
def bad_path(tmp_path, request):
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    return request.param and f"{tmp_path}/{request.param}"


@pytest.mark.parametrize("bad_path", BAD, indirect=True, ids=_id)
def test_bad_paths_are_refused_at_once(models, bad_path, toy, monkeypatch):
    clf = models["classifier"]

    def fit(**options):
        clf.fit(*toy, verbose=0, run_dir=bad_path, **options)

    def spent(*_, **__):
        raise AssertionError("it began")

    # What costs, in training and in exports.
    monkeypatch.setattr("kbert.training.fit.labelled_rows", spent)
    monkeypatch.setattr("kbert.export.saved_model.make_signatures", spent)
    monkeypatch.setattr("kbert.export.portable.to_onnx", spent)
    asked = {
        "fit": fit,
        "load": lambda: kbert.load(bad_path),
        "OnnxModel": lambda: kbert.OnnxModel(bad_path),
        "Corpus": lambda: kbert.Corpus(bad_path),
        "from_file": lambda: kbert.Tokenizer.from_file(bad_path),
        "Tokenizer.save": lambda: clf.tokenizer.save(bad_path),
        "Classifier": lambda: kbert.Classifier(bad_path),
        "load_backbone": lambda: kbert.load_backbone(bad_path),
        "save_pretrained": lambda: clf.save_pretrained(bad_path),
        "export": lambda: clf.export(bad_path),
        "several": lambda: models["several"].export(bad_path),
        "build_corpus": lambda: kbert.build_corpus(
            [__file__], clf.tokenizer, bad_path
        ),
    }
    for name, model in models.items():
        asked[f"save {name}"] = lambda m=model: m.save(bad_path)
    for format in ("onnx", "int8", "litert"):
        asked[format] = lambda f=format: clf.export(bad_path, format=f)
    for name, call in asked.items():
        try:
            call()
        except KbertError:
            continue
        except Exception as error:
            pytest.fail(f"{name}: {error!r}")
        pytest.fail(f"{name} took it")


@pytest.mark.parametrize("path", [None, 5, ["M"], "gs://a/M"])
def test_what_is_no_path_is_refused(models, path):
    clf = models["classifier"]
    for call in (kbert.load, kbert.Embedder.load, clf.save, clf.export):
        with pytest.raises(KbertError, match="path of a file or folder"):
            call(path)


def test_paths_may_be_bytes(models, tmp_path):
    path = bytes(tmp_path / "M")
    models["classifier"].save(path)
    assert kbert.load(path).labels == ["a", "z"]
