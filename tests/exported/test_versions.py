"""Which folders are versions of a model, and which comes next."""

import numpy as np
import pytest

from kbert.errors import ConfigError
from kbert.errors import ExportError
from kbert.export.saved_model import new_version
from kbert.exported.model import find_version
from kbert.exported.versions import MAX_VERSION
from kbert.exported.versions import version_number
from kbert.serving.config import ModelConfig


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("0", 0), ("1", 1), ("007", 7), (str(MAX_VERSION), MAX_VERSION)),
        *((n, None) for n in (str(MAX_VERSION + 1), "9" * 200, "\u0663", "")),
        *((n, None) for n in ("-1", "+1", " 1", "1.0", "1\n", "v1", "\u00b2")),
    ],
)
def test_versions_are_what_tf_serving_takes(tmp_path, name, number):
    assert version_number(name) == number
    (tmp_path / "2").mkdir()
    if name:
        (tmp_path / name).mkdir(exist_ok=True)
    found = ModelConfig("m", tmp_path, latest=None).versions()
    assert [*found] == sorted({2, *({number} - {None})})
    for entry in tmp_path.iterdir():
        (entry / "saved_model.pb").touch()
    assert version_number(find_version(tmp_path).name) == max(found)


@pytest.mark.parametrize(
    "version",
    [10**20, 2**63, -1, 1.5, 1.0, True, np.bool_(True), "../7", "7", [1]],
)
def test_what_is_no_version(tmp_path, version):
    with pytest.raises(ConfigError, match="`version` must be an integer"):
        new_version(tmp_path / "m", version)
    assert not any(tmp_path.iterdir())


def test_which_comes_next(tmp_path):
    path = tmp_path / "m"
    for version in (0, np.int64(3), np.uint8(4), MAX_VERSION - 1):
        assert new_version(path, version) == path / str(int(version))
    assert new_version(path, None).name == "1"
    for name, following in (("0", "1"), ("007", "8"), ("10", "11")):
        (path / name).mkdir(parents=True)
        assert new_version(path, None).name == following
    with pytest.raises(ExportError, match="exists"):
        new_version(path, 7)
    (path / ".hidden").mkdir()
    (path / str(MAX_VERSION)).mkdir()
    with pytest.raises(ExportError, match="a number left.*Give a `version`"):
        new_version(path, None)
    assert new_version(path, 12).name == "12"
    (path / str(MAX_VERSION + 1)).mkdir()
    with pytest.raises(ExportError, match=f"which holds {MAX_VERSION + 1}"):
        new_version(path, 12)


def test_a_link_that_leads_nowhere_for_a_moment_is_a_version(tmp_path):
    base, store = tmp_path / "m", tmp_path / "store"
    base.mkdir()
    store.mkdir()
    (base / "1").symlink_to(store)
    (base / "2").symlink_to(base / "2")  # To itself.
    (tmp_path / "file").touch()
    (base / "3").symlink_to(tmp_path / "file")
    model = ModelConfig("m", base, latest=None)
    assert [*model.versions()] == [1, 2]
    store.rmdir()
    assert [*model.versions()] == [1, 2]


def test_a_link_in_the_place_of_a_version(tmp_path):
    (tmp_path / "1").symlink_to("nowhere")
    with pytest.raises(ExportError, match="exists"):
        new_version(tmp_path, 1)
