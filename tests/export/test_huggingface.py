"""What is written in Hugging Face form, and what transformers makes of it."""

import json
from pathlib import Path

import numpy as np
import pytest

import kbert
from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError
from kbert.errors import ExportError
from kbert.formats.safetensors_form import read_tensors

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"
ELECTRA = HF.parent / "electra"
LABELS = ["z", "a", "m"]
TEXTS = ["the film was good", "bad, bad.", "Café!", "x"]


def classifier(**options):
    return kbert.Classifier(HF, labels=LABELS, max_length=16, seed=0, **options)


def test_folder_is_whole_and_comes_back(tmp_path):
    clf = classifier(pooling="pooler")
    clf.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["architectures"] == ["BertForSequenceClassification"]
    assert config["id2label"] == {"0": "z", "1": "a", "2": "m"}
    assert config["label2id"] == {"z": 0, "a": 1, "m": 2}
    tensors = read_tensors(tmp_path / "model" / "model.safetensors")
    assert tensors["classifier.weight"].shape == (3, 32)
    again = open_checkpoint(tmp_path / "model")
    assert again.build().config == clf.backbone.config
    assert tuple(again.vocabulary) == clf.tokenizer.vocabulary
    with pytest.raises(CheckpointError, match="exists already"):
        clf.save_pretrained(tmp_path / "model")
    clf.save_pretrained(tmp_path / "model", replace=True)


def test_heads_that_transformers_has_not(tmp_path):
    with pytest.raises(ExportError, match="pooling='pooler' or 'cls'"):
        classifier(pooling="mean").save_pretrained(tmp_path / "model")
    clf = kbert.Classifier(
        ELECTRA, labels=LABELS, max_length=16, pooling="pooler"
    )
    with pytest.raises(ExportError, match="a size of their own"):
        clf.save_pretrained(tmp_path / "model")

    class Other(type(clf.head)):
        def build(self, features):
            import keras

            x = keras.layers.Dense(4, name="more")(self.pool(features))
            return keras.layers.Dense(3, name="logits")(x)

    clf = classifier(pooling="pooler")
    clf.head = Other(labels=LABELS, pooling="pooler")
    clf.build()
    with pytest.raises(ExportError, match="other weights .*head.more"):
        clf.save_pretrained(tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.large
@pytest.mark.parametrize("pooling", ["pooler", "cls"])
def test_transformers_answers_the_same(tmp_path, pooling):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    clf = classifier(pooling=pooling)
    clf.save_pretrained(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model"
    ).eval()
    assert [model.config.id2label[i] for i in range(3)] == LABELS
    x = tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")
    ours = clf.tokenizer(TEXTS, max_length=16)["token_ids"].to_list()
    for row, ids, mask in zip(
        ours, x["input_ids"], x["attention_mask"], strict=True
    ):
        assert ids[mask.bool()].tolist() == row
    with torch.no_grad():
        theirs = model(**x).logits.softmax(-1).numpy()
    np.testing.assert_allclose(clf.predict_proba(TEXTS), theirs, atol=1e-5)


TOKEN_HEADS = {
    "ner": ("BertForTokenClassification", ["O", "B-a", "I-a", "B-z", "I-z"]),
    "qa": ("BertForQuestionAnswering", ["start", "end"]),
}


def token_classifier(head):
    clf = kbert.Classifier(HF, head=head, max_length=24, seed=0)
    if head == "ner":
        clf.head.labels = ["a", "z"]
    else:
        clf.head.no_answer = True
    clf.build()
    return clf


@pytest.mark.parametrize("head", TOKEN_HEADS)
def test_heads_of_tokens(tmp_path, head):
    token_classifier(head).save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    architecture, labels = TOKEN_HEADS[head]
    assert config["architectures"] == [architecture]
    assert list(config["id2label"].values()) == labels
    tensors = read_tensors(tmp_path / "model" / "model.safetensors")
    assert not any("pooler" in name for name in tensors)


def test_several_labels_are_said(tmp_path):
    clf = classifier(head="multi_label", pooling="pooler", tune=False)
    clf.save_pretrained(tmp_path / "model")
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"


@pytest.mark.large
@pytest.mark.parametrize("head", TOKEN_HEADS)
def test_transformers_marks_the_same_tokens(tmp_path, head):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    clf = token_classifier(head)
    clf.save_pretrained(tmp_path / "model")
    architecture, labels = TOKEN_HEADS[head]
    model, info = getattr(transformers, architecture).from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert [model.config.id2label[i] for i in range(len(labels))] == labels
    columns = [TEXTS] if head == "ner" else [TEXTS[::-1], TEXTS]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    read = tokenizer(*columns, padding=True, return_tensors="pt")
    with torch.no_grad():
        theirs = model.eval()(**read)
    mask = read["attention_mask"].numpy().astype("uint8")
    outputs = np.asarray(
        clf.model(
            {
                "token_ids": read["input_ids"].numpy().astype("int32"),
                "segment_ids": read["token_type_ids"].numpy().astype("uint8"),
                "padding_mask": mask,
            }
        )
    )
    if head == "ner":
        ours, theirs = {"logits": outputs}, {"logits": theirs.logits}
        mask = mask[:, :, None]
    else:
        ours = {"start": outputs[:, 0], "end": outputs[:, 1]}
        theirs = {"start": theirs.start_logits, "end": theirs.end_logits}
    for name, value in ours.items():
        expected = theirs[name].numpy() * mask
        np.testing.assert_allclose(value * mask, expected, atol=1e-5)


@pytest.mark.large
@pytest.mark.parametrize("source", [HF, ELECTRA])
def test_transformers_computes_the_same_features(tmp_path, source):
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    backbone = kbert.load_backbone(source)
    tokenizer = open_checkpoint(source).tokenizer
    kbert.save_backbone(backbone, tmp_path / "model", tokenizer)
    model, info = transformers.AutoModel.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    tokens = tokenizer.pad(tokenizer(TEXTS, max_length=16))
    x = {k: v.numpy() for k, v in tokens.items()}
    with torch.no_grad():
        theirs = model.eval()(
            input_ids=torch.tensor(x["token_ids"]).long(),
            token_type_ids=torch.tensor(x["segment_ids"]).long(),
            attention_mask=torch.tensor(x["padding_mask"]).long(),
        ).last_hidden_state.numpy()
    mask = x["padding_mask"][:, :, None]
    ours = np.asarray(backbone(x)["sequence_output"])
    np.testing.assert_allclose(ours * mask, theirs * mask, atol=2e-5)


def test_what_computes_otherwise_is_not_kept(tmp_path):
    """transformers' classes know no `normalize`."""
    clf = kbert.Classifier(
        "random:1x16", labels=["a", "z"], pooling="cls", normalize=True
    )
    with pytest.raises(ExportError, match="BertForSequenceClassification"):
        clf.save_pretrained(tmp_path / "m")
    assert not any(tmp_path.iterdir())
