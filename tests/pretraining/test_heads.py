"""The heads: shapes, tied weights, and Hugging Face's logits."""

import keras
import numpy as np
import pytest

import kbert
from kbert.checkpoints.huggingface import backbone_tensors
from kbert.checkpoints.huggingface import canonical_tensors
from kbert.checkpoints.pretraining import assign_heads
from kbert.checkpoints.pretraining import head_tensors
from kbert.errors import CheckpointError
from kbert.formats.tensors import Tensor
from kbert.pretraining.heads import pretraining_model


def make(objectives=("mlm", "nsp", "sop"), **options):
    backbone = kbert.Backbone.from_size((1, 32), 50, **options)
    return pretraining_model(backbone, objectives)


def batch(rows=3, length=10, width=2):
    generator = np.random.default_rng(0)
    ids = generator.integers(5, 50, (rows, length)).astype("int32")
    mask = np.arange(length) < np.array([[length], [length - 3], [4]])
    return {
        "token_ids": np.where(mask, ids, 0),
        "segment_ids": (np.arange(length) > 2).astype("int32") * mask,
        "padding_mask": mask,
        "masked_positions": np.array([[1, 9], [6, 0], [3, 2]], "int32"),
    }


def test_shapes():
    outputs = make()(batch())
    assert {name: tuple(o.shape) for name, o in outputs.items()} == {
        "mlm": (3, 2, 50),
        "nsp": (3, 2),
        "sop": (3, 2),
    }
    assert {
        keras.backend.standardize_dtype(o.dtype) for o in outputs.values()
    } == {"float32"}
    assert set(make(("mlm",)).output) == {"mlm"}
    assert "masked_positions" not in make(("nsp",)).input


def test_positions_pick_their_own_row():
    model = make(("mlm",))
    inputs = batch()
    both = model(inputs)["mlm"]
    for row in range(3):
        alone = {key: value[row : row + 1] for key, value in inputs.items()}
        np.testing.assert_allclose(model(alone)["mlm"][0], both[row], atol=1e-5)


def test_output_weights_are_the_embeddings():
    model = make(("mlm",))
    before = np.asarray(model(batch())["mlm"])
    table = model.get_layer("embeddings").token_embedding.embeddings
    # Token 49 does not occur in the batch, but every logit row has it.
    inputs = batch()
    inputs["token_ids"] = np.minimum(inputs["token_ids"], 48)
    before = np.asarray(model(inputs)["mlm"])
    value = np.array(table)
    # Not the same for all: normalized features add up to nothing.
    value[49] += np.linspace(0, 1, value.shape[1])
    table.assign(value)
    after = np.asarray(model(inputs)["mlm"])
    np.testing.assert_array_equal(before[..., :49], after[..., :49])
    assert (before[..., 49] != after[..., 49]).all()


def test_config():
    model = make()
    json = model.to_json()
    assert "MaskedLanguageHead" in json
    head = model.get_layer("mlm")
    copy = type(head).from_config(head.get_config())
    assert copy.get_config() == head.get_config()


def test_weights_go_out_and_come_back():
    one, other = make(), make()
    tensors = head_tensors(one)
    assert set(tensors) == {
        "cls.predictions.bias",
        "cls.predictions.transform.dense.weight",
        "cls.predictions.transform.dense.bias",
        "cls.predictions.transform.LayerNorm.weight",
        "cls.predictions.transform.LayerNorm.bias",
        "cls.seq_relationship.weight",
        "cls.seq_relationship.bias",
        "cls.sentence_order.weight",
        "cls.sentence_order.bias",
    }
    # The older names of a layer normalization are understood.
    old = "cls.predictions.transform.LayerNorm"
    tensors[f"{old}.gamma"] = tensors.pop(f"{old}.weight")
    tensors[f"{old}.beta"] = tensors.pop(f"{old}.bias")
    tensors = canonical_tensors(
        {name: Tensor.of(value) for name, value in tensors.items()}
    )
    assert assign_heads(other, tensors, "here") == ["mlm", "nsp", "sop"]
    for name, value in head_tensors(one).items():
        np.testing.assert_array_equal(value, head_tensors(other)[name])


def test_a_checkpoint_without_heads_leaves_them():
    model = make()
    before = head_tensors(model)
    assert assign_heads(model, {"bert.pooler.dense.bias": before}, "x") == []


def test_half_a_head_is_an_error_and_changes_nothing():
    model = make()
    before = head_tensors(model)
    tensors = head_tensors(make())
    del tensors["cls.predictions.transform.dense.bias"]
    tensors["cls.seq_relationship.bias"] = np.zeros(3, "float32")
    with pytest.raises(CheckpointError) as error:
        assign_heads(model, tensors, "there")
    assert "cls.predictions.transform.dense.bias is missing" in str(error.value)
    assert "cls.seq_relationship.bias has shape (3,)" in str(error.value)
    for name, value in head_tensors(model).items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.large
def test_logits_equal_hugging_face(tmp_path):
    """MLM and NSP logits of `BertForPreTraining`, on real-sized weights."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from kbert.checkpoints.huggingface import write_config
    from kbert.formats.safetensors_form import write_tensors

    backbone = kbert.Backbone.from_size("small", 3000)
    model = pretraining_model(backbone, ("mlm", "nsp"))
    generator = np.random.default_rng(0)
    for variable in model.trainable_variables:
        noise = generator.normal(0, 0.02, variable.shape)
        variable.assign(np.asarray(variable) + noise)
    tensors = {
        f"bert.{name}": value
        for name, value in backbone_tensors(backbone).items()
    } | head_tensors(model)
    write_tensors(tensors, tmp_path / "model.safetensors")
    write_config(backbone, tmp_path, "BertForPreTraining")
    theirs, facts = transformers.BertForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not facts["missing_keys"] and not facts["unexpected_keys"]
    theirs.eval()
    ids = generator.integers(5, 3000, (4, 40)).astype("int32")
    mask = np.arange(40) < np.array([[40], [33], [12], [25]])
    inputs = {
        "token_ids": np.where(mask, ids, 0),
        "segment_ids": (np.arange(40) > 8) * mask.astype("int32"),
        "padding_mask": mask,
        "masked_positions": np.tile(np.arange(10, dtype="int32"), (4, 1)),
    }
    ours = model(inputs)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.tensor(inputs["token_ids"]).long(),
            token_type_ids=torch.tensor(inputs["segment_ids"]).long(),
            attention_mask=torch.tensor(mask).long(),
        )
    np.testing.assert_allclose(
        ours["mlm"], expected.prediction_logits[:, :10], atol=1e-4
    )
    np.testing.assert_allclose(
        ours["nsp"], expected.seq_relationship_logits, atol=1e-4
    )
