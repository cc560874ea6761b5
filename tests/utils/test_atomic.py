"""Folders that appear whole or not at all."""

import errno

import pytest

from kbert.errors import CheckpointError
from kbert.utils import atomic as folders
from kbert.utils.atomic import check_replaceable
from kbert.utils.atomic import check_saved
from kbert.utils.atomic import new_file
from kbert.utils.atomic import new_folder


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
    with pytest.raises(CheckpointError, match="b, c, d, e, f and 2 more too"):
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
        if to == target and ".old-" not in self.name:
            raise OSError(errno.EIO, "broken disk")
        return rename(self, to)

    monkeypatch.setattr(folders.Path, "rename", fail)
    with pytest.raises(CheckpointError, match="broken disk"):
        with new_folder(target, replace=True) as folder:
            write(folder, "new")
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_a_kill_without_exchange_leaves_the_old_one(
    tmp_path, monkeypatch, no_exchange
):
    target = tmp_path / "b"
    with new_folder(target) as folder:
        write(folder, "old")
    rename = folders.Path.rename

    def die(self, to):
        if to == target:
            raise KeyboardInterrupt
        return rename(self, to)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(folders.Path, "rename", die)
        with new_folder(target, replace=True) as folder:
            write(folder, "new")
    with new_folder(tmp_path / "c"):
        pass  # It sweeps what is left of the new one.
    [old] = [p for p in tmp_path.iterdir() if p.name != "c"]
    assert old.name.startswith("b.old-")
    assert (old / "file").read_text() == "old"


def test_the_folder_that_we_are_in_is_refused(tmp_path, monkeypatch):
    inner = tmp_path / "model" / "run"
    inner.mkdir(parents=True)
    for here, place in ((inner.parent, "."), (inner, inner.parent)):
        monkeypatch.chdir(here)
        with pytest.raises(CheckpointError, match="you are in.*has changed"):
            with new_folder(place, replace=True, ours=("file",)) as folder:
                write(folder, "new")
        assert [*inner.parent.iterdir()] == [inner]
    with new_folder("new", replace=True) as folder:  # A new one is none.
        write(folder, "new")


def test_what_is_in_folders_of_a_model_is_not_lost(tmp_path):
    (tmp_path / "kbert.json").touch()
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").touch()
    check_saved(tmp_path)
    for name in ("1_Pooling", "modules.json"):
        (tmp_path / name).mkdir(exist_ok=True)
        notes = tmp_path / name / "notes"
        notes.touch()
        with pytest.raises(CheckpointError, match=f"be lost: {name}/notes"):
            check_saved(tmp_path)
        notes.unlink()


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


# === What is there stays ===


def test_what_is_not_ours_stays(tmp_path):
    target = tmp_path / "b"
    with new_folder(target, ours=["file"]) as folder:
        write(folder, "old")
        (folder / "gone").mkdir()
    (target / "run" / "deep").mkdir(parents=True)
    (target / "run" / "deep" / "state").write_text("state")
    (target / "notes").write_text("notes")
    (target / "to").symlink_to("notes")
    (target / "broken").symlink_to("nowhere")
    open_still = open(target / "notes", "a")
    with new_folder(target, replace=True, ours=["file", "gone"]) as folder:
        write(folder, "new")
    with open_still:
        open_still.write(" and more")
    assert sorted(p.name for p in target.iterdir()) == (
        ["broken", "file", "notes", "run", "to"]
    )
    assert (target / "file").read_text() == "new"
    assert (target / "run" / "deep" / "state").read_text() == "state"
    assert (target / "to").is_symlink() and (target / "broken").is_symlink()
    assert (target / "to").read_text() == "notes and more"
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_what_is_not_ours_stays_without_links(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(folders.os, "link", refuse)
    test_what_is_not_ours_stays_of(tmp_path)


def test_what_is_not_ours_stays_of(tmp_path):
    target = tmp_path / "b"
    (target / "run").mkdir(parents=True)
    (target / "run" / "state").write_text("state")
    with pytest.raises(ZeroDivisionError):
        with new_folder(target, replace=True, ours=["file"]):
            raise ZeroDivisionError
    with new_folder(target, replace=True, ours=["file"]) as folder:
        write(folder, "new")
    assert (target / "run" / "state").read_text() == "state"
    assert (target / "file").read_text() == "new"


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    for name, to in (("link", "real/b"), ("file", "real/f")):
        (tmp_path / name).symlink_to(to)
    for text in ("old", "new"):
        with new_folder(tmp_path / "link", replace=True) as folder:
            write(folder, text)
        with new_file(tmp_path / "file") as file:
            file.write_text(text)
    assert (tmp_path / "link").is_symlink() and (tmp_path / "file").is_symlink()
    assert (tmp_path / "real" / "b" / "file").read_text() == "new"
    assert (tmp_path / "real" / "f").read_text() == "new"
    assert sorted(p.name for p in (tmp_path / "real").iterdir()) == ["b", "f"]


@pytest.mark.parametrize("ours", [["file"], None])
def test_links_of_ours_are_refused_by_name(tmp_path, ours):
    target = tmp_path / "b"
    target.mkdir()
    (tmp_path / "blob").write_text("old")
    (target / "file").symlink_to("../blob")
    with pytest.raises(CheckpointError, match="links in it.*file"):
        with new_folder(target, replace=True, ours=ours) as folder:
            write(folder, "new")
    assert (target / "file").is_symlink()
    assert (tmp_path / "blob").read_text() == "old"


def test_a_device_is_not_replaced():
    with pytest.raises(CheckpointError, match="no plain file"):
        with new_file("/dev/null"):
            raise AssertionError("it began")


def test_refuses_before_it_begins(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "ring").symlink_to("ring")
    for name in ("file", "file/x", "", "nul\0x", "x" * 300, "ring", "\ud83d"):
        target = name and f"{tmp_path}/{name}"
        for make in (new_folder, new_file):
            if name == "file" and make is new_file:
                continue
            with pytest.raises(CheckpointError, match="Received"):
                with make(target):
                    raise AssertionError("it began")
    with pytest.raises(CheckpointError, match="a place that exists"):
        with new_folder(tmp_path):
            raise AssertionError("it began")


def test_keeps_the_mode_of_what_it_replaces(tmp_path):
    folder, file = tmp_path / "b", tmp_path / "f"
    for mode in (None, 0o750):
        with new_folder(folder, replace=True) as temporary:
            write(temporary, "x")
        with new_file(file) as temporary:
            temporary.write_text("x")
        if mode is None:
            umask = folders.os.umask(0)
            folders.os.umask(umask)
            assert folder.stat().st_mode & 0o777 == 0o777 & ~umask
            assert file.stat().st_mode & 0o777 == 0o666 & ~umask
            folder.chmod(0o750)
            file.chmod(0o640)
    assert folder.stat().st_mode & 0o777 == 0o750
    assert file.stat().st_mode & 0o777 == 0o640
