"""Reading and writing checkpoints in Hugging Face form."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.checkpoints import huggingface
from kbert.errors import CheckpointError

FOLDER = Path(__file__).parents[1] / "fixtures" / "huggingface"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(FOLDER, tmp_path / "model"))


def test_follows_the_configuration(folder):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config |= {
        "layer_norm_eps": 1e-6,
        "hidden_act": "gelu_new",
        "hidden_dropout_prob": 0.2,
        "attention_probs_dropout_prob": 0.3,
    }
    path.write_text(json.dumps(config))
    backbone = kbert.load_backbone(folder)
    assert backbone.config["layer_norm_epsilon"] == 1e-6
    assert backbone.config["activation"] == "gelu_new"
    assert backbone.config["dropout"] == 0.2
    assert backbone.config["attention_dropout"] == 0.3


def test_names_round_trip():
    backbone = kbert.load_backbone(FOLDER)
    read = huggingface.read_tensors(FOLDER / "model.safetensors")
    written = huggingface.backbone_tensors(backbone)
    assert set(written) == set(read)
    for name, value in written.items():
        np.testing.assert_array_equal(value, read[name])


@pytest.mark.parametrize("form", ["prefix", "gamma and beta"])
def test_other_names_are_understood(form):
    tensors = huggingface.read_tensors(FOLDER / "model.safetensors")
    if form == "prefix":
        renamed = {f"bert.{name}": value for name, value in tensors.items()}
        renamed["cls.predictions.bias"] = np.zeros(3)
    else:
        renamed = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in tensors.items()
        }
    backbone = kbert.Backbone(**huggingface.read_config(FOLDER))
    huggingface.assign_backbone(backbone, renamed, FOLDER)
    for name, value in huggingface.backbone_tensors(backbone).items():
        np.testing.assert_array_equal(value, tensors[name])


def test_everything_wrong_is_named_and_nothing_changed():
    tensors = huggingface.read_tensors(FOLDER / "model.safetensors")
    del tensors["embeddings.LayerNorm.bias"]
    tensors["encoder.layer.1.output.dense.weight"] = np.zeros((3, 2))
    backbone = kbert.Backbone(**huggingface.read_config(FOLDER))
    before = backbone.get_weights()
    with pytest.raises(CheckpointError) as error:
        huggingface.assign_backbone(backbone, tensors, FOLDER)
    assert "embeddings.LayerNorm.bias is missing" in str(error.value)
    assert "output.dense.weight has shape (3, 2), not (32, 64)" in str(
        error.value
    )
    for a, b in zip(before, backbone.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_pooler_may_be_missing():
    tensors = huggingface.read_tensors(FOLDER / "model.safetensors")
    kept = {k: v for k, v in tensors.items() if not k.startswith("pooler")}
    backbone = kbert.Backbone(**huggingface.read_config(FOLDER))
    huggingface.assign_backbone(backbone, kept, FOLDER)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "JSON object"),
        ('{"model_type": "roberta"}', "'roberta'"),
        ('{"vocab_size": 9}', "lacks num_hidden_layers, hidden_size"),
    ],
)
def test_bad_configuration(folder, config, message):
    (folder / "config.json").write_text(config)
    with pytest.raises(CheckpointError, match=message):
        kbert.load_backbone(folder)


@pytest.mark.parametrize("size", [0, 5, 40_000])
def test_truncated_weights(folder, size):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="truncated or corrupt"):
        kbert.load_backbone(folder)


def test_vocabulary_of_another_model(folder):
    with (folder / "vocab.txt").open("a") as file:
        file.write("extra\n")
    with pytest.raises(CheckpointError, match="different models"):
        kbert.load_backbone(folder)


@pytest.mark.parametrize("lowercase", [True, False])
def test_case_as_the_tokenizer_configuration_says(folder, lowercase):
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"do_lower_case": lowercase})
    )
    clf = kbert.Classifier(folder, max_length=16)
    assert clf.tokenizer.lowercase is lowercase


def test_case_as_the_vocabulary_looks(folder):
    assert kbert.Classifier(folder, max_length=16).tokenizer.lowercase
    path = folder / "vocab.txt"
    path.write_text(path.read_text().replace("\n##z\n", "\nThe\n"))
    assert not kbert.Classifier(folder, max_length=16).tokenizer.lowercase


def test_random_preset_has_the_vocabulary_it_is_given():
    clf = kbert.Classifier("random:tiny", vocabulary=FOLDER / "vocab.txt")
    assert clf.tokenizer.vocabulary_size == 61
    assert clf.backbone.config["vocabulary_size"] == 61
    with pytest.raises(kbert.KbertError, match="has its own"):
        kbert.Classifier(FOLDER, vocabulary=FOLDER / "vocab.txt")
