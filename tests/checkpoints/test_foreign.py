"""Weights and configurations as others leave them: read, or told by name."""

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.checkpoints import huggingface
from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError
from kbert.formats.safetensors_form import read_tensors
from kbert.formats.safetensors_form import write_tensors
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import check_backbone

FIXTURES = Path(__file__).parents[1] / "fixtures"
HF = FIXTURES / "huggingface"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(HF, tmp_path / "model"))


def check(folder):
    checkpoint = open_checkpoint(folder)
    check_backbone(checkpoint.config, checkpoint.tensors(), folder)
    return checkpoint.tensors()


# === Names of weights ===


@pytest.mark.parametrize(
    ("before", "wrapper"),
    [
        ("bert.", ""),
        ("module.", "module."),
        ("module.bert.", "module."),
        ("_orig_mod.bert.", "_orig_mod."),
        ("_orig_mod.module.bert.", "_orig_mod.module."),
        ("model.", "model."),
        ("bert.bert.", "bert."),
        ("base_model.model.bert.", "base_model.model."),
        ("0.auto_model.", "0.auto_model."),
    ],
)
def test_what_stands_before_the_names(folder, before, wrapper):
    tensors = read_tensors(HF / "model.safetensors")
    renamed = {f"{before}{name}": value for name, value in tensors.items()}
    renamed[f"{wrapper}cls.predictions.bias"] = np.zeros(61, "float32")
    write_tensors(renamed, folder / "model.safetensors")
    found = check(folder)
    assert set(found) == {*tensors, "cls.predictions.bias"}
    for name, value in tensors.items():
        np.testing.assert_array_equal(found[name].read(), value)


def test_prefix_of_distilbert():
    tensors = read_tensors(FIXTURES / "distilbert" / "model.safetensors")
    expected = huggingface.canonical_tensors(
        {name: Tensor.of(value) for name, value in tensors.items()}
    )
    found = huggingface.canonical_tensors(
        {f"module.{k}": Tensor.of(value) for k, value in tensors.items()}
    )
    assert set(found) == set(expected)


@pytest.mark.parametrize("names", [("a.", "b."), ("", "generator.")])
def test_two_models_in_a_file(folder, names):
    tensors = read_tensors(HF / "model.safetensors")
    both = {f"{n}{k}": v for n in names for k, v in tensors.items()}
    write_tensors(both, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match="one BERT. Received: 2, under"):
        check(folder)


# === Numbers ===


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_precisions(folder, dtype):
    tensors = read_tensors(HF / "model.safetensors")
    write_tensors(
        {k: v.astype(dtype) for k, v in tensors.items()},
        folder / "model.safetensors",
    )
    backbone = kbert.load_backbone(folder)
    for name, value in huggingface.backbone_tensors(backbone).items():
        np.testing.assert_allclose(value, tensors[name], atol=1e-3)


def test_integers_are_no_weights(folder):
    tensors = read_tensors(HF / "model.safetensors")
    name = "encoder.layer.0.output.dense.weight"
    tensors[name] = tensors[name].astype("int8")
    write_tensors(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{name} has numbers of.*I8"):
        check(folder)


# === Adapters, pointers ===


@pytest.mark.parametrize("beside", [True, False])
def test_an_adapter_is_no_model(tmp_path, folder, beside):
    if not beside:
        folder = tmp_path / "adapter"
        folder.mkdir()
    config = {"peft_type": "LORA", "base_model_name_or_path": "owner/bert"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    write_tensors(
        {"a": np.zeros(3, "float32")}, folder / "adapter_model.safetensors"
    )
    with pytest.raises(CheckpointError) as caught:
        kbert.load_backbone(folder)
    message = str(caught.value)
    assert "adapter of 'owner/bert'" in message
    assert "merge_and_unload" in message
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="adapter of the model that it"):
        kbert.load_backbone(folder)


@pytest.mark.parametrize("part", ["lora_A", "base_layer"])
def test_weights_of_an_adapter(folder, part):
    tensors = read_tensors(HF / "model.safetensors")
    name = f"encoder.layer.0.attention.self.query.{part}.weight"
    tensors[name] = np.zeros((2, 32), "float32")
    write_tensors(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"{part}.*merge_and_unload"):
        check(folder)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("huggingface", "model.safetensors"),
        ("huggingface", "vocab.txt"),
        ("huggingface", "config.json"),
        ("torch", "pytorch_model.bin"),
        ("kerashub", "model.weights.h5"),
        ("garden_1", "bert_model.ckpt.index"),
        ("garden_1", "bert_model.ckpt.data-00000-of-00001"),
    ],
)
def test_pointers_of_git_lfs(tmp_path, form, name):
    folder = Path(shutil.copytree(FIXTURES / form, tmp_path / "model"))
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}"
    )
    (folder / name).write_text(f"{pointer}\nsize 90868376\n")
    with pytest.raises(
        CheckpointError, match="pointer of Git LFS.*git lfs pull"
    ):
        check(folder)


# === config.json ===


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position_embedding_type", "relative_key"),
        ("position_embedding_type", "relative_key_query"),
        ("is_decoder", True),
        ("add_cross_attention", True),
        ("is_encoder_decoder", True),
        ("pruned_heads", {"0": [1]}),
        ("quantization_config", {"quant_method": "gptq"}),
        ("auto_map", {"AutoModel": "modeling.Mine"}),
        ("hidden_act", "silu"),
        ("model_type", "roberta"),
        ("layer_norm_eps", 0),
        ("type_vocab_size", 0),
    ],
)
def test_configurations_that_are_refused(folder, key, value):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {key: value}))
    names = {
        "hidden_act": "activation",
        "model_type": "model types",
        "layer_norm_eps": "layer_norm_epsilon",
        "type_vocab_size": "num_segments",
    }
    with pytest.raises(CheckpointError, match=names.get(key, key)):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("pruned_heads", {}),
        ("position_embedding_type", None),
        ("hidden_act", "gelu_python"),
        ("id2label", {"0": "a"}),
        ("problem_type", "regression"),
        ("classifier_dropout", 0.5),
    ],
)
def test_configurations_that_do_not_matter(folder, key, value, caplog):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {key: value}))
    expected = open_checkpoint(HF).config
    assert open_checkpoint(folder).config == expected
    assert not caplog.text
    path.write_text(json.dumps(config | {"alibi": True}))
    with caplog.at_level(logging.WARNING, "kbert"):
        assert open_checkpoint(folder).config == expected
    assert "does not read: alibi" in caplog.text


# === KerasHub ===


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("tokenizer.json", "split", False),
        ("tokenizer.json", "suffix_indicator", "@@"),
        ("tokenizer.json", "oov_token", "<unk>"),
        ("tokenizer.json", "special_tokens_in_strings", True),
        ("tokenizer.json", "lowercase", None),
        ("tokenizer.json", "odd", 1),
        ("config.json", "odd", 1),
    ],
)
def test_keys_of_kerashub_that_are_refused(tmp_path, name, key, value):
    folder = Path(shutil.copytree(FIXTURES / "kerashub", tmp_path / "model"))
    config = json.loads((folder / name).read_text())
    config["config"][key] = value
    (folder / name).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=key):
        open_checkpoint(folder)


@pytest.mark.parametrize("strip_accents", [True, False])
def test_accents_of_kerashub(tmp_path, strip_accents):
    folder = Path(shutil.copytree(FIXTURES / "kerashub", tmp_path / "model"))
    path = folder / "tokenizer.json"
    config = json.loads(path.read_text())
    config["config"]["strip_accents"] = strip_accents
    path.write_text(json.dumps(config))
    tokenizer = open_checkpoint(folder).tokenizer
    same = (
        tokenizer.tokenize(["é"]).to_list()
        == tokenizer.tokenize(["e"]).to_list()
    )
    assert same is strip_accents
