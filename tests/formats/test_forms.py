"""Every form of checkpoint gives the outputs of the framework it is of."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import kbert
from kbert.checkpoints import google
from kbert.checkpoints import huggingface
from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError
from kbert.formats import tensor_bundle
from kbert.formats import torch_form
from kbert.formats.safetensors_form import read_tensors
from kbert.formats.safetensors_form import write_tensors

FIXTURES = Path(__file__).parents[1] / "fixtures"
HF = FIXTURES / "huggingface"

FORMS = {
    "distilbert": "huggingface",
    "electra": "huggingface",
    "garden_1": "google",
    "garden_2": "google",
    "kerashub": "kerashub",
}


def inputs(name):
    """The rows that scripts/ gave to the framework."""
    with np.load(HF / "outputs.npz") as arrays:
        x = {
            key: arrays[key]
            for key in ("token_ids", "segment_ids", "padding_mask")
        }
    # DistilBERT has no segments: they must not matter.
    return x


@pytest.mark.parametrize("name", FORMS)
def test_outputs_of_the_framework(name):
    folder = FIXTURES / name
    checkpoint = open_checkpoint(folder)
    assert checkpoint.form == FORMS[name]
    assert len(checkpoint.vocabulary) == 61
    assert checkpoint.lowercase
    x = inputs(name)
    outputs = checkpoint.build()(x)
    real = x["padding_mask"][:, :, None]
    with np.load(folder / "outputs.npz") as expected:
        for key in expected:
            ours, theirs = np.asarray(outputs[key]), expected[key]
            if key == "sequence_output":
                ours, theirs = ours * real, theirs * real
            np.testing.assert_allclose(ours, theirs, atol=2e-5, err_msg=key)


# === Torch ===


def test_torch_is_read_as_safetensors_are():
    tensors = torch_form.open_tensors(FIXTURES / "torch" / "pytorch_model.bin")
    expected = read_tensors(HF / "model.safetensors")
    assert "classifier.weight" in tensors
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[f"bert.{name}"].read(), value)
    backbone = kbert.load_backbone(FIXTURES / "torch")
    for name, value in huggingface.backbone_tensors(backbone).items():
        np.testing.assert_array_equal(value, expected[name])


# === Shards ===


@pytest.fixture
def shards(tmp_path):
    """The fixture in two files and an index."""
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "vocab.txt"):
        shutil.copy(HF / name, folder)
    tensors = read_tensors(HF / "model.safetensors")
    names = sorted(tensors)
    files, table = {}, {}
    for i, name in enumerate(names):
        table[name] = f"model-0000{i % 2 + 1}-of-00002.safetensors"
        files.setdefault(table[name], {})[name] = tensors[name]
    for file, part in files.items():
        write_tensors(part, folder / file)
    index = {"metadata": {}, "weight_map": table}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards(shards):
    expected = read_tensors(HF / "model.safetensors")
    backbone = kbert.load_backbone(shards)
    for name, value in huggingface.backbone_tensors(backbone).items():
        np.testing.assert_array_equal(value, expected[name])


def test_shard_that_lacks_a_tensor(shards):
    tensors = read_tensors(shards / "model-00001-of-00002.safetensors")
    name = min(tensors)
    del tensors[name]
    write_tensors(tensors, shards / "model-00001-of-00002.safetensors")
    with pytest.raises(CheckpointError, match=f"without {name}"):
        kbert.load_backbone(shards)
    (shards / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002.*No such file"):
        kbert.load_backbone(shards)


# === TensorFlow 1 ===


def write_tf1(folder, embedding_dim=None):
    """A checkpoint under the names of Google's code; its backbone."""
    config = huggingface.read_config(HF) | {"embedding_dim": embedding_dim}
    backbone = kbert.Backbone(**config | {"activation": "gelu_new"})
    names, values = ["global_step"], [np.int64(7)]
    for name, value in huggingface.backbone_tensors(backbone).items():
        name = name.replace(
            "embeddings_project", "encoder.embedding_hidden_mapping_in"
        )
        name = name.replace(".layer.", ".layer_").replace(".", "/")
        part, _, kind = name.rpartition("/")
        if "LayerNorm" in part:
            kind = {"weight": "gamma", "bias": "beta"}[kind]
        elif part.endswith("_embeddings"):
            part, _, kind = part.rpartition("/")
        elif kind == "weight":
            kind, value = "kernel", value.T
        names += [f"bert/{part}/{kind}", f"bert/{part}/{kind}/adam_m"]
        values += [value, 0 * value]
    prefix = str(folder / "bert_model.ckpt")
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=[tf.constant(value) for value in values],
    )
    # `SaveV2` names its only shard so.
    hf = json.loads((HF / "config.json").read_text())
    if embedding_dim:
        hf["embedding_size"] = embedding_dim
    (folder / "bert_config.json").write_text(json.dumps(hf))
    shutil.copy(HF / "vocab.txt", folder)
    return backbone


@pytest.mark.parametrize("embedding_dim", [None, 16])
def test_tensorflow_1(tmp_path, embedding_dim):
    expected = write_tf1(tmp_path, embedding_dim)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.form == "google"
    assert checkpoint.config["activation"] == "gelu_new"
    ours = huggingface.backbone_tensors(checkpoint.build())
    for name, value in huggingface.backbone_tensors(expected).items():
        np.testing.assert_array_equal(ours[name], value)


def test_tensors_are_those_of_tensorflows_reader(tmp_path):
    write_tf1(tmp_path)
    compare_readers(tmp_path)


def test_real_google_checkpoint(data_root):
    folder = data_root.parent / "weights" / "simbert-tiny-zh-tf1"
    if not folder.is_dir():
        pytest.skip(f"no weights in {folder}")
    compare_readers(folder)
    clf = kbert.Classifier(folder, labels=["a", "b"], max_length=16)
    assert clf.backbone.config["embedding_dim"] == 128
    assert clf.predict_proba(["今天天气很好"]).shape == (1, 2)


def compare_readers(folder):
    reader = tf.train.load_checkpoint(str(folder / "bert_model.ckpt"))
    ours = tensor_bundle.open_tensors(folder, "bert_model.ckpt")
    assert set(ours) == set(reader.get_variable_to_shape_map())
    for name, tensor in ours.items():
        value = reader.get_tensor(name)
        assert tensor.shape == value.shape
        np.testing.assert_array_equal(tensor.read(), value)


def test_two_checkpoints_in_a_folder(tmp_path):
    write_tf1(tmp_path)
    (tmp_path / "other.ckpt.index").touch()
    with pytest.raises(CheckpointError, match="bert_model.ckpt, other.ckpt"):
        kbert.load_backbone(tmp_path)
    assert google.find(tmp_path) == ["bert_model.ckpt", "other.ckpt"]


# === Vocabularies ===


def test_vocabulary_of_tokenizer_json_alone(tmp_path, bert_json):
    folder = shutil.copytree(HF, tmp_path / "model")
    vocabulary = (folder / "vocab.txt").read_text().split()
    (folder / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="without vocab.txt"):
        open_checkpoint(folder)
    fast = bert_json(vocabulary, lowercase=False)[1]
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    checkpoint = open_checkpoint(folder)
    assert checkpoint.vocabulary == vocabulary
    assert not checkpoint.lowercase
    # Early files do not name the model's type.
    del fast["model"]["type"]
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    assert open_checkpoint(folder).vocabulary == vocabulary
    fast["model"]["vocab"]["a"] = 1000
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    with pytest.raises(CheckpointError, match="each once"):
        open_checkpoint(folder)
    fast["model"]["type"] = "BPE"
    (folder / "tokenizer.json").write_text(json.dumps(fast))
    with pytest.raises(CheckpointError, match="WordPiece.*'BPE'"):
        open_checkpoint(folder)


def test_empty_line_of_a_vocabulary_keeps_its_id(tmp_path):
    folder = shutil.copytree(HF, tmp_path / "model")
    path = folder / "vocab.txt"
    path.write_text(path.read_text().replace("\nq\n", "\n\n"))
    clf = kbert.Classifier(folder, max_length=16)
    assert clf.tokenizer.vocabulary[21] == "[empty 21]"
    assert clf.tokenizer.vocabulary[22] == "r"
    assert clf.tokenizer.tokenize(["[empty 21]"]).to_list() != [[21]]


# === sentence-transformers ===


def test_pooling_of_sentence_transformers(tmp_path):
    folder = Path(shutil.copytree(HF, tmp_path / "0_Transformer")).parent
    (folder / "1_Pooling").mkdir()
    modules = [
        {
            "path": "0_Transformer",
            "type": "sentence_transformers.models.Transformer",
        },
        {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    config = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(config))
    assert kbert.Classifier(folder, max_length=16).head.pooling == "cls"
    clf = kbert.Classifier(folder, pooling="pooler", max_length=16)
    assert clf.head.pooling == "pooler"
    assert kbert.Classifier(HF, max_length=16).head.pooling == "mean"


# === Kin that kbert has not ===


def test_other_models_of_keras_hub_are_refused(tmp_path):
    folder = shutil.copytree(FIXTURES / "kerashub", tmp_path / "model")
    path = folder / "config.json"
    path.write_text(path.read_text().replace("BertBackbone", "GemmaBackbone"))
    with pytest.raises(CheckpointError, match="keras_hub>BertBackbone"):
        kbert.load_backbone(folder)
