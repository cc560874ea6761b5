"""Makes tests/fixtures/garden_*: checkpoints of TensorFlow's Model Garden.

    pip install --target garden --no-deps tf-models-official tf-keras gin-config
    PYTHONPATH=garden python scripts/garden_fixture.py

The Model Garden runs on Keras 2, which is why it is not among the extras.
Each folder has a small random BERT and what the Model Garden computes.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from official.nlp.modeling import networks

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures"
SIZES = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_layers": 2,
    "num_attention_heads": 4,
    "max_sequence_length": 32,
}


def _first() -> tf.keras.Model:
    return networks.BertEncoder(
        intermediate_size=64, dict_outputs=True, **SIZES
    )


def main() -> None:
    with np.load(FIXTURES / "huggingface" / "outputs.npz") as arrays:
        inputs = {
            "input_word_ids": arrays["token_ids"],
            "input_mask": arrays["padding_mask"].astype("int32"),
            "input_type_ids": arrays["segment_ids"],
        }
    random = np.random.default_rng(0)
    for name, encoder in (
        ("garden_1", _first()),
        ("garden_2", networks.BertEncoderV2(inner_dim=64, **SIZES)),
    ):
        encoder(inputs)
        for weight in encoder.weights:
            weight.assign(random.normal(0.1, 0.3, weight.shape))
        folder = FIXTURES / name
        tf.train.Checkpoint(model=encoder).write(
            str(folder / "bert_model.ckpt")
        )
        outputs = encoder(inputs)
        np.savez_compressed(
            folder / "outputs.npz",
            sequence_output=outputs["sequence_output"],
            pooled_output=outputs["pooled_output"],
        )
        config = {
            "vocab_size": 61,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "max_position_embeddings": 32,
            "type_vocab_size": 16,
            "hidden_act": "gelu",
        }
        (folder / "bert_config.json").write_text(json.dumps(config) + "\n")
        vocabulary = (FIXTURES / "huggingface" / "vocab.txt").read_bytes()
        (folder / "vocab.txt").write_bytes(vocabulary)


if __name__ == "__main__":
    main()
