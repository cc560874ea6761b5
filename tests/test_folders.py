"""Folders that appear whole or not at all."""

import errno

import pytest

from kbert import folders
from kbert.errors import CheckpointError
from kbert.folders import check_replaceable
from kbert.folders import new_file
from kbert.folders import new_folder


def write(folder, text):
    (folder / "file").write_text(text)


def test_appears_whole(tmp_path):
    target = tmp_path / "a" / "b"
    with new_folder(target) as folder:
        write(folder, "new")
        assert not target.exists()
    assert (target / "file").read_text() == "new"
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def test_failure_leaves_the_old_one(tmp_path):
    target = tmp_path / "b"
    with new_folder(target) as folder:
        write(folder, "old")
    with pytest.raises(ZeroDivisionError):
        with new_folder(target, replace=True) as folder:
            write(folder, "half")
            raise ZeroDivisionError
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_replaces_when_asked(tmp_path):
    target = tmp_path / "b"
    for text in ("old", "new"):
        with new_folder(target, replace=True) as folder:
            write(folder, text)
    assert (target / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_refuses_to_replace_unasked(tmp_path):
    target = tmp_path / "b"
    target.mkdir()
    with pytest.raises(CheckpointError, match="exists already"):
        with new_folder(target) as folder:
            write(folder, "new")
    assert list(target.iterdir()) == []


def test_replaces_nothing_of_another_name(tmp_path):
    target = tmp_path / "b"
    target.mkdir()
    write(target, "old")
    for name in ("thesis.txt", "photos"):
        (target / name).mkdir()
    with pytest.raises(
        CheckpointError, match="nothing but file, .* photos, thesis.txt too"
    ):
        with new_folder(target, replace=True) as folder:
            write(folder, "new")
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]
    with new_folder(target, replace=True, whole=True) as folder:
        write(folder, "new")
    assert [p.name for p in target.iterdir()] == ["file"]


def test_replaces_no_file(tmp_path):
    target = tmp_path / "thesis.txt"
    target.write_text("old")
    with pytest.raises(CheckpointError, match="is a file"):
        with new_folder(target, replace=True) as folder:
            write(folder, "new")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_names_many_files_in_part(tmp_path):
    for name in "abcdefgh":
        (tmp_path / name).touch()
    with pytest.raises(CheckpointError, match="b, c, d, e, f, 2 more too"):
        check_replaceable(tmp_path, ["a"])
    check_replaceable(tmp_path, "abcdefghi")
    check_replaceable(tmp_path / "new", [])


@pytest.fixture
def no_exchange(monkeypatch):
    """A system that cannot swap two folders in one step."""
    monkeypatch.setattr(folders.ctypes, "CDLL", lambda *_, **__: object())


def test_replaces_without_exchange(tmp_path, no_exchange):
    test_replaces_when_asked(tmp_path)


def test_failed_rename_brings_the_old_one_back(
    tmp_path, monkeypatch, no_exchange
):
    target = tmp_path / "b"
    with new_folder(target) as folder:
        write(folder, "old")
    rename = folders.Path.rename

    def fail(self, to):
        if to == target and not self.name.endswith(".old"):
            raise OSError(errno.EIO, "broken disk")
        return rename(self, to)

    monkeypatch.setattr(folders.Path, "rename", fail)
    with pytest.raises(CheckpointError, match="broken disk"):
        with new_folder(target, replace=True) as folder:
            write(folder, "new")
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_full_disk_is_a_clear_error(tmp_path):
    target = tmp_path / "b"
    with pytest.raises(CheckpointError, match="No space left.*make room"):
        with new_folder(target):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert not any(tmp_path.iterdir())


def test_new_file(tmp_path):
    target = tmp_path / "a" / "file"
    for text in ("old", "new"):
        with new_file(target) as file:
            file.write_text(text)
    with pytest.raises(ZeroDivisionError):
        with new_file(target) as file:
            file.write_text("half")
            raise ZeroDivisionError
    assert target.read_text() == "new"
    assert list(target.parent.iterdir()) == [target]


def test_new_file_refuses_at_once(tmp_path):
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file" / "x"):
        with pytest.raises(CheckpointError, match="Expected to write"):
            with new_file(target):
                raise AssertionError("it began")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_new_file_on_a_full_disk(tmp_path):
    with pytest.raises(CheckpointError, match="No space left"):
        with new_file(tmp_path / "file"):
            raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []
