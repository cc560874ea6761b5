"""transformers and sentence-transformers on Torch."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import torch
import transformers

LENGTH = 128
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
        class Gate(transformers.TrainerCallback):
            def on_epoch_begin(self, *arguments, **more):
                epoch.begin()

            def on_epoch_end(self, *arguments, **more):
                epoch.end()

        read = self.tokenizer(texts, truncation=True, max_length=LENGTH)
        numbers = {"no": 0, "yes": 1}
        rows = [
            {key: read[key][i] for key in read} | {"labels": numbers[label]}
            for i, label in enumerate(labels)
        ]
        with tempfile.TemporaryDirectory() as output:
            arguments = transformers.TrainingArguments(
                output_dir=output,
                num_train_epochs=epochs,
                learning_rate=5e-5,
                per_device_train_batch_size=32,
                weight_decay=0.01,
                warmup_steps=0.1,  # A fraction, below 1.
                train_sampling_strategy=self.sampling,
                torch_compile=self.compiled,
                use_cpu=True,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            )
            transformers.Trainer(
                self.model,
                arguments,
                data_collator=transformers.DataCollatorWithPadding(
                    self.tokenizer
                ),
                train_dataset=rows,
                callbacks=[Gate()],
            ).train()


class Single(Eager):
    """The pipeline a text at a time, which is its default."""

    batch_size = 1


class Batch8(Eager):
    batch_size = 8


class Grouped(Eager):
    """`Trainer` with texts of like length in a batch."""

    sampling = "group_by_length"


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
