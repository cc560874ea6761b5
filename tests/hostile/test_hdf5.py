"""HDF5: external and virtual datasets, links, bombs, and old model files.

Keras's advisories CVE-2025-9905 (.h5 files ignore safe_mode), CVE-2026-1669
(external storage reads any file) and CVE-2026-0897 (a shape that takes all
memory).
"""

import h5py
import numpy as np
import pytest

import kbert
from kbert.errors import UnsafeFileError

PLACE = "layers/dense/vars/0"  # The pooler's kernel, (32, 32) float32.


@pytest.fixture
def preset(copy):
    return copy("kerashub")


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret"
    path.write_bytes(bytes(range(256)) * 16)
    return path


@pytest.fixture
def edit(preset):
    with h5py.File(preset / "model.weights.h5", "a") as file:
        yield file


def test_external_storage(edit, preset, refused, secret):
    del edit[PLACE]
    edit.create_dataset(
        PLACE, (32, 32), "float32", external=[(str(secret), 0, 4096)]
    )
    edit.close()
    refused(preset, "bytes are in another file", error=UnsafeFileError)


def test_external_link(edit, preset, refused, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros((32, 32), "float32")
    del edit[PLACE]
    edit[PLACE] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    edit.close()
    refused(preset, "the ExternalLink '0'", error=UnsafeFileError)


def test_external_link_to_a_group(edit, preset, refused):
    edit["layers/evil"] = h5py.ExternalLink("/proc/self/mem", "/")
    edit.close()
    refused(preset, "the ExternalLink 'evil'", error=UnsafeFileError)


def test_link_of_a_layers_name(edit, preset, refused):
    del edit["layers/dense/vars"]
    edit["layers/dense/vars"] = h5py.ExternalLink("/etc/passwd", "/")
    edit.close()
    refused(preset, "the ExternalLink 'vars'", error=UnsafeFileError)


def test_soft_link(edit, preset, refused):
    edit["layers/evil"] = h5py.SoftLink("/layers")
    edit.close()
    refused(preset, "the SoftLink 'evil'", error=UnsafeFileError)


def test_virtual_dataset(edit, preset, refused, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = np.zeros((32, 32), "float32")
    layout = h5py.VirtualLayout((32, 32), "float32")
    layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (32, 32))
    del edit[PLACE]
    edit.create_virtual_dataset(PLACE, layout)
    edit.close()
    refused(preset, "made of others'", error=UnsafeFileError)


def test_shape_without_bytes(edit, preset, refused):
    del edit[PLACE]
    edit.create_dataset(PLACE, (2**20, 2**20), "float32", chunks=(32, 32))
    edit.close()
    refused(preset, "no room for", error=UnsafeFileError)


def test_contiguous_shape_without_bytes(edit, preset, refused):
    edit.create_dataset("layers/evil", (2**40,), "float32")
    edit.close()
    refused(preset, "no room for", error=UnsafeFileError)


def test_compressed_zeros(edit, preset, refused):
    del edit[PLACE]
    edit.create_dataset(
        PLACE,
        (4096, 4096),
        "float32",
        data=np.zeros((4096, 4096), "float32"),
        compression="gzip",
    )
    edit.close()
    refused(preset, "which is compressed", error=UnsafeFileError)


def test_group_in_itself(edit, preset, refused):
    edit["layers/evil"] = edit["layers"]
    edit.close()
    refused(preset, "groups more than 16 deep", error=UnsafeFileError)


def test_groups_without_end(edit, preset, refused):
    group = edit["layers"]
    for _ in range(20):
        group = group.create_group("x")
    edit.close()
    refused(preset, "groups more than 16 deep", error=UnsafeFileError)


def test_strings_for_numbers(edit, preset, refused):
    del edit[PLACE]
    edit[PLACE] = ["a", "b"]
    edit.close()
    refused(preset, "no numbers", error=UnsafeFileError)


def test_type_for_an_array(edit, preset, refused):
    del edit[PLACE]
    edit[PLACE] = np.dtype("float32")
    edit.close()
    refused(preset, "neither a group nor numbers", error=UnsafeFileError)


def test_whole_model_with_code_in_it(preset, refused, canary):
    # What keras.models.load_model would make layers of is not looked at.
    code = f"import os; os.system('touch {canary}')"
    with h5py.File(preset / "model.weights.h5", "w") as file:
        file.attrs["model_config"] = (
            '{"class_name": "Lambda", "config": {"function": ["' + code + '"]}}'
        )
        file.attrs["keras_version"] = "2.15.0"
    refused(preset, "embeddings.word_embeddings.weight is missing")


@pytest.mark.parametrize("size", [0, 8, 500, 100_000])
def test_truncated(preset, refused, size):
    path = preset / "model.weights.h5"
    path.write_bytes(path.read_bytes()[:size])
    refused(preset, "truncated or corrupt|no room for|missing")


def test_heap_without_end(preset, refused, monkeypatch):
    # libhdf5 1.14 loops: free space of no size in the heap of the names.
    monkeypatch.setattr("kbert.formats.hdf5.MAX_SECONDS", 2)
    path = preset / "model.weights.h5"
    content = bytearray(path.read_bytes())
    heap = content.index(b"GCOL")
    size = int.from_bytes(content[heap + 8 : heap + 16], "little")
    content[heap + 16 : heap + size] = bytes(size - 16)
    path.write_bytes(content)
    refused(preset, "takes over 2 s to open", error=UnsafeFileError)


def test_reader_that_crashes(preset, refused, monkeypatch, tmp_path):
    program = tmp_path / "crash.py"
    program.write_text("import os; os.abort()")
    monkeypatch.setattr("kbert.formats.hdf5.PROGRAM", program)
    refused(preset, "ends its reader: code -6", error=UnsafeFileError)


def test_bytes_in_pieces(edit, preset, refused):
    values = edit[PLACE][...]
    del edit[PLACE]
    edit.create_dataset(PLACE, data=values, chunks=(16, 16))
    edit.close()
    refused(preset, "not lie in one piece", error=UnsafeFileError)


def test_numbers_of_another_layout(edit, preset, refused):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_ebias(100)
    del edit[PLACE]
    space = h5py.h5s.create_simple((32, 32))
    h5py.h5d.create(edit.id, PLACE.encode(), kind, space)
    edit.close()
    refused(preset, "which are no numbers", error=UnsafeFileError)


def test_unharmed(preset):
    kbert.load_backbone(preset)
