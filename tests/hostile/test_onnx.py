"""ONNX graphs whose numbers lie elsewhere (CVE-2024-27318 and its like)."""

import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError


@pytest.fixture
def secret(tmp_path):
    path = tmp_path / "secret.bin"
    path.write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    return path


def test_numbers_in_another_folder(tmp_path, secret):
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4], data_location=1)
    for key, value in (("location", "../secret.bin"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    output = onnx.helper.make_tensor_value_info("y", 1, [4])
    node = onnx.helper.make_node("Identity", ["w"], ["y"])
    graph = onnx.helper.make_graph([node], "g", [], [output], [tensor])
    model = onnx.helper.make_model(
        graph,
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    path = tmp_path / "model" / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="escapes model directory"):
        kbert.OnnxModel(path.parent)


def test_link_to_elsewhere(tmp_path, secret):
    pytest.importorskip("onnxruntime")
    (tmp_path / "model" / "model.onnx").symlink_to(secret)
    with pytest.raises(UnsafeFileError, match="a link to"):
        kbert.OnnxModel(tmp_path / "model")
