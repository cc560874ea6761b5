"""The backbone against Hugging Face's own outputs, on both backends."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError

FOLDER = Path(__file__).parents[1] / "fixtures" / "huggingface"
INPUTS = ("token_ids", "segment_ids", "padding_mask")


def differences(activation: str) -> dict[str, float]:
    """Largest difference to `transformers.BertModel`, of each output."""
    backbone = kbert.load_backbone(
        FOLDER,
        activation=activation,
        output_hidden_states=True,
        output_attentions=True,
    )
    with np.load(FOLDER / "outputs.npz") as expected:
        outputs = backbone({name: expected[name] for name in INPUTS})
        real = expected["padding_mask"]
        pairs = real[:, None, :, None] & real[:, None, None, :]

        def difference(name, mask=None):
            ours = keras.tree.map_structure(
                keras.ops.convert_to_numpy, outputs[name]
            )
            ours = np.stack(ours) if isinstance(ours, list) else ours
            distance = np.abs(ours - expected[f"{activation}/{name}"])
            return float(distance.max(where=mask, initial=0))

        return {
            "sequence_output": difference(
                "sequence_output",
                np.broadcast_to(real[:, :, None], (4, 12, 32)),
            ),
            "pooled_output": difference("pooled_output", True),
            "hidden_states": difference(
                "hidden_states",
                np.broadcast_to(real[:, :, None], (3, 4, 12, 32)),
            ),
            "attentions": difference(
                "attentions", np.broadcast_to(pairs, (2, 4, 4, 12, 12))
            ),
        }


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_equals_transformers(activation):
    assert max(differences(activation).values()) < 1e-5


def test_the_forms_of_gelu_differ():
    backbone = kbert.load_backbone(FOLDER, activation="gelu_new")
    with np.load(FOLDER / "outputs.npz") as expected:
        outputs = backbone({name: expected[name] for name in INPUTS})
        erf = expected["gelu/sequence_output"]
    assert np.abs(np.array(outputs["sequence_output"]) - erf).max() > 1e-4


def run_on(backend: str, code: str) -> None:
    """Run code in a process with that backend; this file can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ
        | {
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(
                [str(Path(__file__).parent), *filter(None, sys.path)]
            ),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_equals_transformers_on_jax():
    run_on(
        "jax",
        "from test_backbone import differences\n"
        "import keras\n"
        "assert keras.backend.backend() == 'jax'\n"
        "for name in ('gelu', 'gelu_new'):\n"
        "    found = differences(name)\n"
        "    assert max(found.values()) < 1e-5, found\n",
    )


def test_padding_does_not_change_the_answer():
    backbone = kbert.Backbone.from_size("tiny", vocabulary_size=50)
    token_ids = np.array([[2, 17, 5, 3]], "int32")

    def run(padding):
        ids = np.pad(token_ids, ((0, 0), (0, padding)))
        mask = np.arange(4 + padding)[None] < 4
        outputs = backbone(
            {
                "token_ids": ids,
                "segment_ids": np.zeros_like(ids),
                "padding_mask": mask,
            }
        )
        return np.array(outputs["sequence_output"])[:, :4]

    np.testing.assert_allclose(run(0), run(9), atol=1e-5)


def test_config_round_trip():
    backbone = kbert.Backbone.from_size("tiny", vocabulary_size=50, dropout=0.3)
    again = kbert.Backbone.from_config(backbone.get_config())
    assert again.get_config() == backbone.get_config()
    assert again.count_params() == backbone.count_params()


def test_dropout_acts_in_training_only():
    backbone = kbert.Backbone.from_size("tiny", vocabulary_size=50, dropout=0.5)
    ids = np.array([[2, 17, 5, 3]], "int32")
    batch = {
        "token_ids": ids,
        "segment_ids": np.zeros_like(ids),
        "padding_mask": ids != 0,
    }

    def run(training):
        return np.array(backbone(batch, training=training)["pooled_output"])

    assert np.array_equal(run(False), run(False))
    assert not np.array_equal(run(True), run(True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_layers": 0}, "`num_layers` must be a positive integer"),
        ({"hidden_dim": 1.5}, "`hidden_dim` must be a positive integer"),
        ({"num_heads": 7}, "multiple of `num_heads`"),
        ({"activation": "swish"}, "gelu_new"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ConfigError, match=message):
        kbert.Backbone.from_size("tiny", **({"vocabulary_size": 9} | change))


def test_unknown_size():
    with pytest.raises(ConfigError, match="tiny, mini"):
        kbert.Backbone.from_size("huge", vocabulary_size=9)


def minilm_difference() -> float:
    """Of the default preset to transformers: real tokens, ragged batch."""
    import torch
    import transformers

    from kbert.checkpoints.loading import open_checkpoint

    checkpoint = open_checkpoint()
    texts = ["a", "How are you?", "BERT is deep and bidirectional. " * 9]
    tokens = checkpoint.tokenizer(texts, max_length=128)
    batch = {
        key: value.numpy()
        for key, value in checkpoint.tokenizer.pad(tokens).items()
    }
    theirs = transformers.BertModel.from_pretrained(checkpoint.folder).eval()
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(batch["token_ids"]),
            token_type_ids=torch.tensor(batch["segment_ids"]),
            attention_mask=torch.tensor(batch["padding_mask"]).long(),
        ).last_hidden_state.numpy()
    ours = np.array(checkpoint.build()(batch)["sequence_output"])
    return float(np.abs(ours - expected)[batch["padding_mask"]].max())


@pytest.mark.large
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_minilm_equals_transformers(backend):
    for peer in ("torch", "transformers"):
        pytest.importorskip(peer, reason="needs the bench extra")
    code = (
        "from test_backbone import minilm_difference\n"
        "found = minilm_difference()\n"
        "assert found < 1e-5, found\n"
    )
    run_on(backend, code)
