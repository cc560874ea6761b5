"""docs/benchmarks-checkpoints.md: kbert beside the framework of each form.

    pip install -e ".[bench,onnx,litert]"
    python benchmarks/checkpoints.py             # prints the table
    python benchmarks/checkpoints.py --write     # and puts it into the page

Weights and texts are real, but for the Model Garden's: all-MiniLM-L6-v2,
kbert_tiny_en, a Torch file of the package nlptest, a checkpoint of Google's
form ($KBERT_DATA/../weights), and the first texts of SST-2 dev. "difference"
is the largest of all features of real tokens, or of probabilities for a head;
for TensorFlow's reader, of all weights. "labels" says whether the framework
names them in kbert's order, "ids" in how many texts its tokenizer differs
from kbert's.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kbert.utils.tensorflow import import_tensorflow

import_tensorflow()

import checkpoint_folders as folders
import numpy as np
import real_data
from machine import machine
from page import put_table

import kbert
from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.presets import resolve
from kbert.export import kerashub
from kbert.export import portable
from kbert.formats import tensor_bundle

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks-checkpoints.md"
LIMIT = 1e-4
LABELS = ["negative", "positive", "a third"]
LENGTH = 64

# Head of tokens -> transformers' class, and the logits that it gives.
TOKEN_HEADS = {
    "ner": ("AutoModelForTokenClassification", ["logits"]),
    "qa": ("AutoModelForQuestionAnswering", ["start_logits", "end_logits"]),
}


@dataclass(frozen=True)
class Row:
    what: str
    peer: str
    difference: float
    labels: bool | None = None
    ids: int | None = None
    texts: int = 0

    def __str__(self) -> str:
        labels = {None: "", True: "same", False: "OTHERS"}[self.labels]
        ids = "" if self.ids is None else f"{self.ids} of {self.texts}"
        return (
            f"| {self.what} | {self.peer} | {self.difference:.1e} | {labels} "
            f"| {ids} |"
        )

    @property
    def holds(self) -> bool:
        return self.difference < LIMIT and self.labels is not False


def tokens_of(tokenizer, texts, length=None) -> dict[str, np.ndarray]:
    rows = tokenizer.pad(tokenizer(texts, max_length=LENGTH), length)
    return {name: tensor.numpy() for name, tensor in rows.items()}


def differing(x: dict, ids: np.ndarray, mask: np.ndarray) -> int:
    """Texts whose real tokens are not the same."""
    pairs = zip(x["token_ids"], x["padding_mask"], ids, mask, strict=True)
    return sum(
        a[m].tolist() != b[n.astype(bool)].tolist() for a, m, b, n in pairs
    )


def features(backbone, folder, tokenizer, texts) -> tuple[float, int]:
    """Differences from transformers' model and tokenizer of a folder."""
    import torch
    import transformers

    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    x = tokens_of(tokenizer, texts)
    read = theirs(
        texts,
        padding=True,
        truncation=True,
        max_length=LENGTH,
        return_tensors="np",
    )
    # By itself it would compute in the float16 that a file may have.
    model = transformers.AutoModel.from_pretrained(
        folder, dtype=torch.float32
    ).eval()
    arguments = {
        "input_ids": torch.tensor(x["token_ids"]).long(),
        "token_type_ids": torch.tensor(x["segment_ids"]).long(),
        "attention_mask": torch.tensor(x["padding_mask"]).long(),
    }
    if model.config.model_type == "distilbert":
        del arguments["token_type_ids"]
    with torch.inference_mode():
        y = model(**arguments).last_hidden_state.numpy()
    ours = np.asarray(backbone.predict(x, verbose=0)["sequence_output"])
    real = x["padding_mask"][:, :, None]
    return (
        float(np.abs((ours - y) * real).max()),
        differing(x, read["input_ids"], read["attention_mask"]),
    )


# === In ===


def rows_in(root: Path, texts: list[str]) -> Iterator[Row]:
    n = len(texts)
    for name in ("all-minilm-l6-v2", "kbert_tiny_en"):
        opened = open_checkpoint(name)
        gap, ids = features(
            opened.build(), resolve(name), opened.tokenizer, texts
        )
        yield Row(f"in: safetensors, {name}", "transformers", gap, None, ids, n)
    for what, folder in (
        ("PyTorch .bin, nlptest", folders.torch(root)),
        ("shards and tokenizer.json, all-minilm-l6-v2", folders.shards(root)),
        ("DistilBERT of all-minilm-l6-v2", folders.distilbert(root)),
    ):
        opened = open_checkpoint(folder)
        gap, ids = features(opened.build(), folder, opened.tokenizer, texts)
        yield Row(f"in: {what}", "transformers", gap, None, ids, n)
    yield from google_rows(root, texts)
    yield from garden_rows()
    yield from kerashub_rows(root, texts)


def garden_rows() -> Iterator[Row]:
    """What the Model Garden itself computed, when the fixtures were made."""
    fixtures = Path(__file__).parents[1] / "tests" / "fixtures"
    with np.load(fixtures / "huggingface" / "outputs.npz") as arrays:
        names = ("token_ids", "segment_ids", "padding_mask")
        x = {name: arrays[name] for name in names}
    for name in ("garden_1", "garden_2"):
        ours = kbert.load_backbone(fixtures / name)(x)
        with np.load(fixtures / name / "outputs.npz") as theirs:
            gap = np.abs(ours["pooled_output"] - theirs["pooled_output"]).max()
        what = f"Model Garden, TensorFlow 2, random ({name})"
        yield Row(f"in: {what}", "tf-models-official", float(gap))


def google_rows(root: Path, texts: list[str]) -> Iterator[Row]:
    import tensorflow as tf

    folder = real_data.data_root().parent / "weights" / "simbert-tiny-zh-tf1"
    if not folder.is_dir():
        print(f"no weights in {folder}: without Google's form", file=sys.stderr)
        return
    reader = tf.train.load_checkpoint(str(folder / "bert_model.ckpt"))
    gap = max(
        float(np.abs(tensor.read() - reader.get_tensor(name)).max())
        for name, tensor in tensor_bundle.open_tensors(
            folder, "bert_model.ckpt"
        ).items()
    )
    yield Row("in: TensorFlow 1, simbert-tiny-zh", "tf.train", gap)
    opened = open_checkpoint(folder)
    backbone = opened.build()
    kbert.save_backbone(backbone, root / "simbert", opened.tokenizer)
    chinese = real_data.thucnews("dev")[0][: len(texts)]
    gap, ids = features(backbone, root / "simbert", opened.tokenizer, chinese)
    yield Row(
        "out: Hugging Face, simbert-tiny-zh (`ElectraModel`)",
        "transformers",
        gap,
        None,
        ids,
        len(chinese),
    )


def kerashub_rows(root: Path, texts: list[str]) -> Iterator[Row]:
    import keras_hub

    clf = classifier("kbert_tiny_en", activation="gelu_new")
    kerashub.save_task(clf, root / "preset")
    theirs = keras_hub.models.BertTextClassifier.from_preset(
        str(root / "preset")
    )
    theirs.preprocessor.sequence_length = LENGTH
    x = tokens_of(clf.tokenizer, texts, LENGTH)
    read = {k: np.asarray(v) for k, v in theirs.preprocessor(texts).items()}
    probabilities = softmax(theirs.predict(texts, verbose=0))
    gap = np.abs(clf.predict_proba(texts) - probabilities).max()
    ids = differing(x, read["token_ids"], read["padding_mask"])
    what = "KerasHub preset, kbert_tiny_en with the tanh GELU"
    yield Row(f"out: {what}", "keras_hub", float(gap), None, ids, len(texts))
    backbone = kbert.load_backbone(root / "preset")
    ours = backbone.predict(x, verbose=0)["pooled_output"]
    y = theirs.backbone.predict(x, verbose=0)["pooled_output"]
    yield Row(f"in: {what}", "keras_hub", float(np.abs(ours - y).max()))


# === Out ===


def classifier(preset: str, **backbone) -> kbert.Classifier:
    clf = kbert.Classifier(
        preset, labels=LABELS, pooling="pooler", max_length=LENGTH, seed=0
    )
    if backbone:
        clf.backbone = kbert.load_backbone(preset, **backbone)
        clf.build()
    return clf


def softmax(logits: np.ndarray) -> np.ndarray:
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def rows_out(root: Path, texts: list[str]) -> Iterator[Row]:
    clf = classifier("all-minilm-l6-v2")
    ours = clf.predict_proba(texts)
    yield transformers_row(clf, ours, root, texts)
    for head in TOKEN_HEADS:
        yield token_head_row(head, root, texts)
    portable.export_onnx(clf, root / "onnx")
    portable.export_litert(clf, root / "litert")
    yield onnx_row(clf, ours, root / "onnx", texts)
    yield litert_row(clf, ours, root / "litert", texts)


def transformers_row(clf, ours, root, texts) -> Row:
    import torch
    import transformers

    clf.save_pretrained(root / "hf")
    tokenizer = transformers.AutoTokenizer.from_pretrained(root / "hf")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        root / "hf"
    ).eval()
    read = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        theirs = model(**read).logits.softmax(-1).numpy()
    x = tokens_of(clf.tokenizer, texts)
    ids = differing(
        x, read["input_ids"].numpy(), read["attention_mask"].numpy()
    )
    labels = [model.config.id2label[i] for i in range(len(LABELS))] == LABELS
    gap = float(np.abs(ours - theirs).max())
    return Row(
        "out: Hugging Face, a classifier",
        "transformers",
        gap,
        labels,
        ids,
        len(texts),
    )


def token_head_row(head: str, root: Path, texts: list[str]) -> Row:
    """A head of tokens: the largest difference of its logits."""
    import torch
    import transformers

    architecture, answers = TOKEN_HEADS[head]
    clf = kbert.Classifier(
        "all-minilm-l6-v2", head=head, max_length=2 * LENGTH, seed=0
    )
    if head == "ner":
        clf.head.labels = LABELS
    else:
        clf.head.no_answer = True
    clf.build()
    clf.save_pretrained(root / head)
    tokenizer = transformers.AutoTokenizer.from_pretrained(root / head)
    model = getattr(transformers, architecture).from_pretrained(root / head)
    columns = [texts] if head == "ner" else [texts[::-1], texts]
    read = tokenizer(*columns, padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = model.eval()(**read)
    tokens = clf.tokenizer(*columns, max_length=clf.max_length)
    x = {k: v.numpy() for k, v in clf.tokenizer.pad(tokens).items()}
    ids = differing(
        x, read["input_ids"].numpy(), read["attention_mask"].numpy()
    )
    ours = clf.model.predict(x, verbose=0)
    theirs = [found[name].numpy() for name in answers]
    mask = x["padding_mask"]
    if head == "ner":  # (B, T, tags)
        gap = np.abs((ours - theirs[0]) * mask[:, :, None]).max()
        labels = ["O", *(f"{b}-{name}" for name in LABELS for b in "BI")]
    else:  # (B, 2, T)
        gap = np.abs((ours - np.stack(theirs, 1)) * mask[:, None]).max()
        labels = ["start", "end"]
    same = list(model.config.id2label.values()) == labels
    return Row(
        f"out: Hugging Face, head `{head}`",
        "transformers",
        float(gap),
        same,
        ids,
        len(texts),
    )


def saved_labels(folder: Path) -> bool:
    config = json.loads((folder / "kbert.json").read_text())
    return config["head"]["config"]["labels"] == LABELS


def onnx_row(clf, ours, folder, texts) -> Row:
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (theirs,) = session.run(["probabilities"], tokens_of(clf.tokenizer, texts))
    gap = float(np.abs(ours - theirs).max())
    return Row("out: ONNX", "onnxruntime", gap, saved_labels(folder))


def litert_row(clf, ours, folder, texts) -> Row:
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(folder / "model.tflite")).get_signature_runner()
    theirs = [
        run(**tokens_of(clf.tokenizer, [text], LENGTH))["probabilities"][0]
        for text in texts
    ]
    gap = float(np.abs(ours - np.stack(theirs)).max())
    return Row("out: LiteRT", "ai-edge-litert", gap, saved_labels(folder))


def table(rows: list[Row], title: str) -> str:
    lines = [
        "| form, weights | beside | difference | labels | ids that differ |",
        "|---|---|--:|---|--:|",
        *map(str, rows),
    ]
    return "\n".join([*lines, "", f"{title}."])


def make_rows(texts: int) -> list[Row]:
    text = real_data.sst2("dev")[0][:texts]
    with tempfile.TemporaryDirectory() as root:
        return [*rows_in(Path(root), text), *rows_out(Path(root), text)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = make_rows(options.texts)
    text = table(
        rows, machine("transformers", "torch", "keras-hub", "onnxruntime")
    )
    print(text)
    if options.write:
        put_table(PAGE, text)
    if not all(row.holds for row in rows):
        sys.exit("a row differs by more than it may")


if __name__ == "__main__":
    main()
