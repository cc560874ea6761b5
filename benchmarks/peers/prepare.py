"""One model in the form of every peer: `python peers/prepare.py FOLDER PRESET`.

All compute the same function, so that the table can hold their answers
against each other: a softmax over two labels on the pooler.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import kbert
from kbert.export.kerashub import save_task

LABELS = ["no", "yes"]
LENGTH = 128


def prepare(folder: Path, preset: str) -> None:
    """Write `kbert`, `savedmodel`, `huggingface`, `kerashub`, `onnx`, `int8`
    and `onnx-int8` into a folder."""
    clf = kbert.Classifier(
        preset, labels=LABELS, max_length=LENGTH, pooling="pooler", seed=0
    )
    clf.save(folder / "kbert")
    clf.export(folder / "savedmodel")
    clf.save_pretrained(folder / "huggingface")
    # KerasHub knows the tanh form of GELU only.
    save_task(clf, folder / "kerashub", approximate_gelu=True)
    clf.export(folder / "onnx", format="onnx")
    clf.export(folder / "int8", format="int8")
    quantize(folder / "onnx" / "model.onnx", folder / "onnx-int8")


def quantize(fp32: Path, folder: Path) -> None:
    """What onnxruntime's own quantizer makes of a float32 model."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization import quantize_dynamic

    folder.mkdir()
    quantize_dynamic(
        fp32,
        folder / "model.onnx",
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul"],
        extra_options={"MatMulConstBOnly": True},
    )


if __name__ == "__main__":
    prepare(Path(sys.argv[1]), sys.argv[2])
