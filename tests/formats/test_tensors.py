import numpy as np
import pytest
from keras import ops

from kbert.errors import CheckpointError
from kbert.formats.tensors import _as_tensor
from kbert.formats.tensors import array_at


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "numbers"
    path.write_bytes(b"head" + np.arange(12, dtype="<f4").tobytes())
    return path


def test_array_at(file):
    found = array_at(file, np.dtype("<f4"), (3, 4), 4)
    np.testing.assert_array_equal(found, np.arange(12).reshape(3, 4))


def test_array_at_of_a_truncated_file(file):
    with pytest.raises(CheckpointError, match="Received: 4 fewer"):
        array_at(file, np.dtype("<f4"), (13,), 4)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array,
        lambda array: array.T,
        lambda array: array[:, 1:],  # Begins anywhere.
        lambda array: array[1:],
        lambda array: np.broadcast_to(array[:1], (5, 4)),
        lambda array: np.frombuffer(array.tobytes(), "<f4"),  # Read only.
        lambda array: array[:0],
        lambda array: np.zeros((), "float32"),
    ],
)
def test_as_tensor(file, change):
    array = change(array_at(file, np.dtype("<f4"), (3, 4), 4))
    expected = array.copy()
    tensor = _as_tensor(array)
    del array
    assert tuple(tensor.shape) == expected.shape
    np.testing.assert_array_equal(ops.convert_to_numpy(tensor), expected)
