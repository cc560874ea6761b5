"""transformers and sentence-transformers on Torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

LENGTH, BATCH = 128, 32
PAIR_RATE = 2e-5  # kbert's default of pairs.
torch.set_num_threads(len(os.sched_getaffinity(0)))
transformers.logging.set_verbosity_error()


class Eager:
    """transformers as its docs show: pipeline, `Trainer`, dynamic padding."""

    sampling = "random"
    compiled = False
    batch_size = 32

    def __init__(self, folder: Path):
        folder = folder / "huggingface"
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        model = transformers.AutoModelForSequenceClassification
        self.model = model.from_pretrained(folder, dtype=torch.float32).eval()
        self.pipeline = None

    def predict(self, texts: list[str]) -> list[list[float]]:
        if self.pipeline is None:
            self.pipeline = transformers.pipeline(
                "text-classification",
                model=self.forward(),
                tokenizer=self.tokenizer,
                top_k=None,
            )
        rows = self.pipeline(
            texts,
            batch_size=self.batch_size,
            truncation=True,
            max_length=LENGTH,
        )
        scores = [
            {part["label"]: part["score"] for part in row} for row in rows
        ]
        return [[row["no"], row["yes"]] for row in scores]

    def forward(self):
        """The model that answers."""
        if self.compiled:
            self.model.compile(dynamic=True)
        return self.model

    def batch(self, texts: list[str]) -> None:
        with torch.inference_mode():
            tokens = self.tokenizer(
                texts,
                padding=True,
                truncation=True,
                max_length=LENGTH,
                return_tensors="pt",
            )
            self.model(**tokens).logits.softmax(-1).numpy()

    def tokenize(self, texts: list[str]) -> None:
        rust = self.tokenizer.backend_tokenizer
        for i in range(0, len(texts), 512):
            rust.encode_batch_fast(texts[i : i + 512], add_special_tokens=False)

    def fit(self, texts, labels, epochs, epoch) -> None:
        read = self.tokenizer(texts, truncation=True, max_length=LENGTH)
        numbers = {"no": 0, "yes": 1}
        rows = [
            {key: read[key][i] for key in read} | {"labels": numbers[label]}
            for i, label in enumerate(labels)
        ]
        collate = Counting(self.tokenizer)
        lengths = np.array([len(row["input_ids"]) for row in rows])

        def check():
            self.check(collate.padded(), lengths)

        with tempfile.TemporaryDirectory() as output:
            arguments = transformers.TrainingArguments(
                **recipe(output, epochs),
                learning_rate=5e-5,
                train_sampling_strategy=self.sampling,
                torch_compile=self.compiled,
            )
            transformers.Trainer(
                self.model,
                arguments,
                data_collator=collate,
                train_dataset=rows,
                callbacks=[gate(epoch, check)],
            ).train()

    def check(self, padding: float, lengths: np.ndarray) -> None:
        """Raise an error where batches are not what the peer's name says."""


class Counting(transformers.DataCollatorWithPadding):
    """Pads, and counts what it pads with."""

    real = computed = 0

    def __call__(self, rows):
        batch = super().__call__(rows)
        self.real += int(batch["attention_mask"].sum())
        self.computed += batch["attention_mask"].numel()
        return batch

    def padded(self) -> float:
        return 1 - self.real / self.computed


def gate(epoch, check=lambda: None):
    """Has the parent asked before every epoch; `check` is called after it."""

    class Gate(transformers.TrainerCallback):
        def on_epoch_begin(self, *arguments, **more):
            epoch.begin()

        def on_epoch_end(self, *arguments, **more):
            check()
            epoch.end()

    return Gate()


def recipe(output: str, epochs: int) -> dict:
    """What trainings by a trainer have in common."""
    return {
        "output_dir": output,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": BATCH,
        "weight_decay": 0.01,
        "warmup_steps": 0.1,  # A fraction, below 1.
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }


class Single(Eager):
    """The pipeline a text at a time, which is its default."""

    batch_size = 1


class Batch8(Eager):
    batch_size = 8


class Grouped(Eager):
    """`Trainer` with texts of like length in a batch.

    It sorts within a quarter of the rows, and within 50 batches at most: of
    fewer than 8 batches it puts none in order.
    """

    sampling = "group_by_length"

    def check(self, padding: float, lengths: np.ndarray) -> None:
        random = np.random.default_rng(0).permutation(lengths)
        parts = np.split(random, range(BATCH, len(random), BATCH))
        computed = sum(part.max() * len(part) for part in parts)
        ungrouped = 1 - lengths.sum() / computed
        if padding > 0.9 * ungrouped:
            raise RuntimeError(
                f"not by length: {padding:.0%} padding, random {ungrouped:.0%}"
            )


class Compiled(Eager):
    """With torch.compile, for shapes of any size."""

    compiled = True


class Sentence:
    """sentence-transformers, which sorts texts by length."""

    def __init__(self, folder: Path):
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.models import Pooling
        from sentence_transformers.models import Transformer

        # As kbert's Embedder reads the same folder: the mean of the tokens.
        body = Transformer(str(folder / "huggingface"), max_seq_length=LENGTH)
        pooling = Pooling(body.get_word_embedding_dimension(), "mean")
        self.model = SentenceTransformer(modules=[body, pooling], device="cpu")

    def encode(self, texts: list[str]) -> None:
        self.model.encode(texts, batch_size=32, show_progress_bar=False)


class SentencePairs(Sentence):
    """sentence-transformers' trainer, as its docs show it."""

    half = False

    def fit(self, pairs, epochs, epoch) -> None:
        from datasets import Dataset
        from sentence_transformers import SentenceTransformerTrainer
        from sentence_transformers import SentenceTransformerTrainingArguments
        from sentence_transformers.losses import MultipleNegativesRankingLoss
        from sentence_transformers.training_args import BatchSamplers

        anchors, positives = zip(*pairs, strict=True)
        columns = {"anchor": anchors, "positive": positives}
        with tempfile.TemporaryDirectory() as output:
            SentenceTransformerTrainer(
                self.model,
                SentenceTransformerTrainingArguments(
                    **recipe(output, epochs),
                    learning_rate=PAIR_RATE,
                    batch_sampler=BatchSamplers.NO_DUPLICATES,
                    bf16=self.half,
                ),
                train_dataset=Dataset.from_dict(columns),
                loss=MultipleNegativesRankingLoss(self.model),
                callbacks=[gate(epoch)],
            ).train()


class HalfSentencePairs(SentencePairs):
    """Under autocast, in bfloat16."""

    half = True
