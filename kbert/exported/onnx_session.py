"""Running an ONNX export with onnxruntime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

# The backbone's inputs, and their names in an export, which are those of
# transformers' tokenizers. Exports of before 0.2 have the backbone's.
FEATURES = {
    "token_ids": "input_ids",
    "padding_mask": "attention_mask",
    "segment_ids": "token_type_ids",
}

# onnxruntime's names of types, and NumPy's.
_TYPES = {"tensor(int64)": "int64", "tensor(int32)": "int32"}
_TYPES["tensor(bool)"] = "bool"


def open_session(
    path: str | os.PathLike, threads: int | None = None
) -> InferenceSession:
    """An export on the CPU; `threads` are by default one a core."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # What fails is raised, too.
    if threads is not None:
        options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )


def feed_of(
    session: InferenceSession,
    token_ids: np.ndarray,
    padding_mask: np.ndarray,
    segment_ids: np.ndarray,
) -> dict[str, np.ndarray]:
    """Arrays `(B, T)` by the names and types that an export asks for."""
    values = (token_ids, padding_mask, segment_ids)
    named = {
        name: value
        for pair, value in zip(FEATURES.items(), values, strict=True)
        for name in pair
    }
    return {
        x.name: named[x.name].astype(_TYPES[x.type])
        for x in session.get_inputs()
    }
