"""Makes the fixtures of other frameworks under tests/fixtures.

    pip install -e ".[bench]" && python scripts/checkpoint_fixtures.py

Each is a folder that transformers or keras_hub wrote, of a small random
model, and outputs.npz with what that framework computes, so that the fast
tests compare with it without it.
"""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import keras_hub
import numpy as np
import torch
import transformers

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
TOKENS = (FIXTURES / "huggingface" / "vocab.txt").read_text().split()


def batch() -> dict[str, np.ndarray]:
    """Token ids of four rows, one of them a pair."""
    lengths = np.array([12, 7, 1, 9])
    mask = np.arange(12) < lengths[:, None]  # (B, T)
    random = np.random.default_rng(0)
    return {
        "token_ids": (random.integers(5, 61, mask.shape) * mask).astype(
            "int32"
        ),
        "segment_ids": ((np.arange(12) > 5) & mask).astype("int32"),
        "padding_mask": mask,
    }


def spread(model: torch.nn.Module) -> None:
    """Biases and norms that differ, so that a wrong place shows."""
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or "norm" in name.lower():
            torch.nn.init.normal_(parameter, 0.5, 0.2)


def run(model: torch.nn.Module, segments: bool) -> dict[str, np.ndarray]:
    x = batch()
    inputs = {
        "input_ids": torch.tensor(x["token_ids"]).long(),
        "attention_mask": torch.tensor(x["padding_mask"]).long(),
    }
    if segments:
        inputs["token_type_ids"] = torch.tensor(x["segment_ids"]).long()
    with torch.no_grad():
        y = model(**inputs)
    outputs = {"sequence_output": y.last_hidden_state.numpy()}
    if getattr(y, "pooler_output", None) is not None:
        outputs["pooled_output"] = y.pooler_output.numpy()
    return outputs


def transformers_fixtures() -> None:
    torch.manual_seed(0)
    sizes = {"max_position_embeddings": 32, "initializer_range": 0.3}
    distilbert = transformers.DistilBertConfig(
        vocab_size=61, dim=32, n_layers=2, n_heads=4, hidden_dim=64, **sizes
    )
    electra = transformers.ElectraConfig(
        vocab_size=61,
        embedding_size=16,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        **sizes,
    )
    for name, model in (
        ("distilbert", transformers.DistilBertModel(distilbert)),
        ("electra", transformers.ElectraForPreTraining(electra)),
    ):
        folder = FIXTURES / name
        model = model.eval()
        spread(model)
        model.save_pretrained(folder)
        (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
        body = model.electra if name == "electra" else model
        np.savez_compressed(
            folder / "outputs.npz", **run(body, name == "electra")
        )
    # The same weights as in huggingface/, as Torch pickles them.
    folder = FIXTURES / "torch"
    folder.mkdir(exist_ok=True)
    model = transformers.BertForSequenceClassification.from_pretrained(
        FIXTURES / "huggingface"
    )
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    for name in ("config.json", "vocab.txt"):
        (folder / name).write_bytes(
            (FIXTURES / "huggingface" / name).read_bytes()
        )


def kerashub_fixture() -> None:
    keras.utils.set_random_seed(0)
    folder = FIXTURES / "kerashub"
    backbone = keras_hub.models.BertBackbone(
        vocabulary_size=61,
        num_layers=2,
        num_heads=4,
        hidden_dim=32,
        intermediate_dim=64,
        max_sequence_length=32,
    )
    random = np.random.default_rng(0)
    for weight in backbone.weights:
        weight.assign(random.normal(0.1, 0.3, weight.shape))
    tokenizer = keras_hub.models.BertTokenizer(
        vocabulary=TOKENS, lowercase=True
    )
    backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    x = batch()
    np.savez_compressed(
        folder / "outputs.npz",
        **{k: np.asarray(v) for k, v in backbone(x).items()},
    )


if __name__ == "__main__":
    transformers_fixtures()
    kerashub_fixture()
