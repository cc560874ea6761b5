"""onnxruntime behind the Rust tokenizer, with texts sorted by length."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnxruntime
from tokenizers import BertWordPieceTokenizer

LENGTH = 128


class Fp32:
    """kbert's ONNX export, a plain graph that onnxruntime optimizes."""

    folder = "onnx"
    batch_size = 32

    def __init__(self, folder: Path):
        vocabulary = str(folder / "huggingface" / "vocab.txt")
        self.tokenizer = BertWordPieceTokenizer(vocabulary)._tokenizer
        self.tokenizer.enable_truncation(LENGTH)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = len(os.sched_getaffinity(0))
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            str(folder / self.folder / "model.onnx"), options
        )

    def predict(self, texts: list[str]) -> list[list[float]]:
        rows = self.tokenizer.encode_batch_fast(texts)
        order = np.argsort([-len(row.ids) for row in rows], kind="stable")
        answers = np.empty((len(texts), 2), "float32")
        for i in range(0, len(order), self.batch_size):
            part = order[i : i + self.batch_size]
            answers[part] = self.run([rows[row].ids for row in part])
        return answers.tolist()

    def batch(self, texts: list[str]) -> None:
        rows = self.tokenizer.encode_batch_fast(texts)
        self.run([row.ids for row in rows])

    def run(self, rows: list[list[int]]) -> np.ndarray:
        lengths = np.array([len(row) for row in rows])
        mask = np.arange(lengths.max()) < lengths[:, None]
        ids = np.zeros(mask.shape, "int64")
        ids[mask] = np.concatenate(rows)
        tokens = {
            "input_ids": ids,
            "token_type_ids": np.zeros_like(ids),
            "attention_mask": mask.astype("int64"),
        }
        return self.session.run(["probabilities"], tokens)[0]


class Int8(Fp32):
    """The same, in the eight bits of onnxruntime's own quantizer."""

    folder = "onnx-int8"
