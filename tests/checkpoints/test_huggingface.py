"""Reading and writing checkpoints in Hugging Face form."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.checkpoints import huggingface
from kbert.errors import CheckpointError
from kbert.formats.safetensors_form import read_tensors
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import backbone_shapes
from kbert.formats.tensors import build_backbone

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
    read = read_tensors(FOLDER / "model.safetensors")
    written = huggingface.backbone_tensors(backbone)
    assert set(written) == set(read)
    for name, value in written.items():
        np.testing.assert_array_equal(value, read[name])


def build(tensors, **config):
    """A backbone of arrays under any of Hugging Face's names."""
    tensors = {name: Tensor.of(value) for name, value in tensors.items()}
    return build_backbone(
        huggingface.read_config(FOLDER) | config,
        huggingface.canonical_tensors(tensors),
        FOLDER,
    )


@pytest.mark.parametrize("form", ["prefix", "gamma and beta"])
def test_other_names_are_understood(form):
    tensors = read_tensors(FOLDER / "model.safetensors")
    if form == "prefix":
        renamed = {f"bert.{name}": value for name, value in tensors.items()}
        renamed["cls.predictions.bias"] = np.zeros(3)
        renamed["bert.embeddings.position_ids"] = np.arange(32)[None]
    else:
        renamed = {
            name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            ): value
            for name, value in tensors.items()
        }
    backbone = build(renamed)
    for name, value in huggingface.backbone_tensors(backbone).items():
        np.testing.assert_array_equal(value, tensors[name])


def test_everything_wrong_is_named_before_anything_is_built(monkeypatch):
    monkeypatch.setattr("kbert.formats.tensors.Backbone", None)
    tensors = read_tensors(FOLDER / "model.safetensors")
    del tensors["embeddings.LayerNorm.bias"]
    tensors["encoder.layer.1.output.dense.weight"] = np.zeros((3, 2))
    tensors["encoder.layer.2.output.dense.bias"] = np.zeros(2)
    tensors["classifier.weight"] = np.zeros((3, 2))  # A head's.
    with pytest.raises(CheckpointError) as error:
        build(tensors)
    assert str(error.value).partition("configuration: ")[2] == (
        "embeddings.LayerNorm.bias is missing; "
        "encoder.layer.1.output.dense.weight has shape (3, 2), not (32, 64); "
        "encoder.layer.2.output.dense.bias is not in the configuration."
    )


def test_pooler_may_be_missing():
    tensors = read_tensors(FOLDER / "model.safetensors")
    kept = {k: v for k, v in tensors.items() if not k.startswith("pooler")}
    kernel = build(kept).pooler.get_weights()[0]
    assert 0.2 < kernel.std() < 0.4  # Random, as the configuration says.
    assert not np.allclose(kernel.T, tensors["pooler.dense.weight"])


@pytest.mark.parametrize("embedding_dim", [None, 8])
def test_shapes_are_those_of_a_built_backbone(embedding_dim):
    config = huggingface.read_config(FOLDER)
    config["embedding_dim"] = embedding_dim
    written = huggingface.backbone_tensors(kbert.Backbone(**config))
    shapes = {name: value.shape for name, value in written.items()}
    assert list(shapes.items()) == list(backbone_shapes(config).items())
    again = build(written, **config)
    for name, value in huggingface.backbone_tensors(again).items():
        np.testing.assert_array_equal(value, written[name])


def test_layers_can_be_left_out():
    backbone = kbert.load_backbone(FOLDER, num_layers=1)
    assert len(backbone.encoder) == 1


def test_half_precision_becomes_float32():
    tensors = read_tensors(FOLDER / "model.safetensors")
    halves = {k: v.astype("float16") for k, v in tensors.items()}
    for name, value in huggingface.backbone_tensors(build(halves)).items():
        assert value.dtype == "float32"
        np.testing.assert_array_equal(value, halves[name])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "Expecting property name"),
        ("[]", "JSON object"),
        ('{"model_type": "roberta"}', "bert, distilbert, electra.*'roberta'"),
        ('{"is_decoder": true}', "is_decoder"),
        ('{"position_embedding_type": "relative_key"}', "'relative_key'"),
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


# === What a configuration leaves out ===


@pytest.mark.parametrize(
    ("kind", "heads", "inner"),
    [("bert", 12, 3072), ("distilbert", 12, 3072), ("electra", 4, 1024)],
)
def test_sizes_that_are_left_out_are_those_of_transformers(
    tmp_path, kind, heads, inner
):
    sizes = {"vocab_size": 61, "num_hidden_layers": 2, "hidden_size": 48}
    if kind == "distilbert":
        sizes = {"vocab_size": 61, "n_layers": 2, "dim": 48}
    text = json.dumps({"model_type": kind, **sizes})
    (tmp_path / "config.json").write_text(text)
    config = huggingface.read_config(tmp_path)
    assert (config["num_heads"], config["intermediate_dim"]) == (heads, inner)
    assert config.get("embedding_dim") == (128 if kind == "electra" else None)
