"""Fine-tuning on an accelerator: tokens a second, and the share of its peak.

    KERAS_BACKEND=jax python benchmarks/gpu.py       # BERT-base, 128 and 512
    KERAS_BACKEND=jax python benchmarks/gpu.py --size tiny --length 16 \
        --batch-size 4 --steps 2 --policy float32    # anywhere

Rows are full, models random; the step is that of `Classifier.fit`. Beside it
transformers' model with scaled dot-product attention under torch.compile and
autocast, in the same call, where Torch sees a GPU too (or `--torch-cpu` is
given). The share is of what large matrices are multiplied at in the same
process and dtype. On JAX set XLA_PYTHON_CLIENT_PREALLOCATE=false, or Torch
finds no memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()  # Without its start-up messages.

import keras
import numpy as np
from machine import machine

import kbert
from kbert.checkpoints.huggingface import hf_config
from kbert.training.loop import compile_for
from kbert.training.settings import Settings
from kbert.training.throughput import matmul_ceiling
from kbert.training.throughput import training_flops

VOCABULARY_SIZE = 30522
PEAKS = {"mixed_bfloat16": "bfloat16", "float32": "float32"}


def rows(batch_size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    ids = random.integers(1000, VOCABULARY_SIZE, (batch_size, length))
    return ids.astype("int32"), random.integers(0, 2, batch_size)


def ours(
    size: str, length: int, batch_size: int
) -> tuple[Callable, kbert.Backbone]:
    """A step of kbert, and its backbone."""
    backbone = kbert.Backbone.from_size(size, VOCABULARY_SIZE)
    output = keras.layers.Dense(2, dtype="float32")(
        backbone.output["pooled_output"]
    )
    model = keras.Model(backbone.input, output)
    compile_for(
        model,
        1000,
        Settings(layout="padded"),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    ids, labels = rows(batch_size, length)
    batch = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": np.ones(ids.shape, bool),
    }
    # The loss is fetched: until then a step may not have ended.
    return lambda: float(model.train_on_batch(batch, labels)), backbone


def theirs(
    backbone: kbert.Backbone,
    length: int,
    batch_size: int,
    policy: str,
    device: str,
) -> Callable:
    """A step of transformers, compiled."""
    import torch
    import transformers

    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            **hf_config(backbone), attn_implementation="sdpa"
        )
    ).to(device)
    model.compile()
    fused = device == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), 5e-5, fused=fused)
    ids, labels = rows(batch_size, length)
    ids = torch.tensor(ids, dtype=torch.long, device=device)
    labels = torch.tensor(labels, dtype=torch.long, device=device)

    def step() -> None:
        enabled = policy == "mixed_bfloat16"
        with torch.autocast(device, torch.bfloat16, enabled):
            loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()

    return step


def seconds(step: Callable, steps: int) -> float:
    """Median of some steps, after two that may compile."""
    step()
    step()
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--size", default="base")
    parser.add_argument("--length", type=int, nargs="*", default=[128, 512])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--policy", default="mixed_bfloat16", choices=PEAKS)
    parser.add_argument("--torch-cpu", action="store_true")
    options = parser.parse_args()
    keras.config.set_dtype_policy(options.policy)
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    peak = matmul_ceiling(PEAKS[options.policy])
    print(
        f"{machine('keras', 'jax', 'torch', 'transformers')}; Keras on "
        f"{keras.backend.backend()}, {keras.distribution.list_devices()}; "
        f"Torch on {device}; {options.size}, {options.policy}; matmul peak "
        f"{peak / 1e12:,.2f} TFLOP/s\n\n"
        "| length | who | tokens/s | share of peak |\n|--:|---|--:|--:|"
    )
    for length in options.length:
        shape = (length, options.batch_size)
        step, backbone = ours(options.size, *shape)
        steps = {"kbert": step}
        if device == "cuda" or options.torch_cpu:
            steps["transformers, compiled"] = theirs(
                backbone, *shape, options.policy, device
            )
        flops = training_flops(backbone.config, length, 0.0)
        for who, step in steps.items():
            speed = length * options.batch_size / seconds(step, options.steps)
            share = speed * flops / peak
            print(f"| {length} | {who} | {speed:,.0f} | {share:.0%} |")


if __name__ == "__main__":
    main()
