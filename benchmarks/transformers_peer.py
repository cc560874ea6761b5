"""The same checkpoint fine-tuned by transformers: a peer of quality.py.

Pairs to embed are trained by sentence-transformers, which is built on it.

Runs in a process of its own: a task comes as JSON on standard input, and the
answers for its test rows go out as JSON, in the last line. The class for the
task is transformers' own (`AutoModelFor...`), and so are the loop (`Trainer`)
and the padding (of each batch to its longest row); epochs, rates, batch size,
weight decay and warm-up are the task's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time

KINDS = ("classification", "regression", "tagging", "similarity")


def ask(task: dict) -> dict:
    """Train and answer in a process of its own.

    Args:
        task: `kind`, one of `KINDS`; `folder` of the checkpoint; `columns`
            and `y` to train on; `test`, columns to answer; `epochs`,
            `learning_rate`, `batch_size`, `max_length`, `seed`. Texts to tag
            are lists of words.

    Returns:
        `answers`, one a test row, and `seconds` of the training.
    """
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        env=os.environ
        | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"},
    )
    if done.returncode:
        raise SystemExit(f"transformers failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run(task: dict) -> dict:
    import torch
    import transformers

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    transformers.set_seed(task["seed"])
    if task["kind"] == "similarity":
        return run_similarity(task)
    tagging = task["kind"] == "tagging"
    tokenizer = transformers.AutoTokenizer.from_pretrained(task["folder"])
    labels = {v for row in task["y"] for v in row} if tagging else task["y"]
    labels = sorted(set(labels))
    options = {"num_labels": len(labels)}
    loader = transformers.AutoModelForSequenceClassification
    if tagging:
        loader = transformers.AutoModelForTokenClassification
    elif task["kind"] == "regression":
        options = {"num_labels": 1, "problem_type": "regression"}
    model = loader.from_pretrained(
        task["folder"], dtype=torch.float32, **options
    )
    train = rows_of(task, tokenizer, task["columns"])
    for row, target in zip(train, task["y"], strict=True):
        if tagging:
            row["labels"] = [
                -100 if word is None else labels.index(target[word])
                for word in row.pop("words")
            ]
        elif task["kind"] == "regression":
            row["labels"] = float(target)
        else:
            row["labels"] = labels.index(target)
    collate = transformers.DataCollatorWithPadding(tokenizer)
    if tagging:
        collate = transformers.DataCollatorForTokenClassification(tokenizer)
    seconds = train_by(
        transformers.Trainer,
        transformers.TrainingArguments,
        task,
        model=model,
        data_collator=collate,
        train_dataset=train,
    )
    test = rows_of(task, tokenizer, task["test"])
    return {
        "answers": answers_of(task, model.eval(), tokenizer, test, labels),
        "seconds": seconds,
    }


def train_by(trainer_of, arguments_of, task: dict, **options) -> float:
    """Train with the task's recipe; the seconds that it took."""
    with tempfile.TemporaryDirectory() as output:
        arguments = arguments_of(
            output_dir=output,
            num_train_epochs=task["epochs"],
            learning_rate=task["learning_rate"],
            per_device_train_batch_size=task["batch_size"],
            weight_decay=0.01,
            warmup_steps=0.1,  # A fraction, below 1.
            adam_epsilon=1e-6,
            seed=task["seed"],
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = trainer_of(args=arguments, **options)
        started = time.perf_counter()
        trainer.train()
        return time.perf_counter() - started


def run_similarity(task: dict) -> dict:
    """Two texts and the cosine that they are to have."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer
    from sentence_transformers import SentenceTransformerTrainer
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.losses import CosineSimilarityLoss

    model = SentenceTransformer(task["folder"], device="cpu")
    model.max_seq_length = task["max_length"]
    first, second = task["columns"]
    columns = {"first": first, "second": second, "score": task["y"]}
    seconds = train_by(
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
        task,
        model=model,
        train_dataset=Dataset.from_dict(columns),
        loss=CosineSimilarityLoss(model),
    )
    a, b = (
        model.encode(column, normalize_embeddings=True)
        for column in task["test"]
    )
    return {"answers": (a * b).sum(axis=1).tolist(), "seconds": seconds}


def rows_of(task: dict, tokenizer, columns: list[list]) -> list[dict]:
    """Token ids of each row; of texts to tag also which word each first
    piece is of."""
    tagging = task["kind"] == "tagging"
    read = tokenizer(
        *columns,
        truncation=True,
        max_length=task["max_length"],
        is_split_into_words=tagging,
    )
    rows = [{key: read[key][i] for key in read} for i in range(len(columns[0]))]
    if tagging:
        for i, row in enumerate(rows):
            words, before = [], None
            for word in read.word_ids(i):
                words.append(None if word == before else word)
                before = word
            row["words"] = words
    return rows


def answers_of(task, model, tokenizer, rows, labels) -> list:
    import torch

    answers = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    for first in range(0, len(order), 64):
        part = order[first : first + 64]
        batch = tokenizer.pad(
            [{k: v for k, v in rows[i].items() if k != "words"} for i in part],
            return_tensors="pt",
        )
        with torch.inference_mode():
            logits = model(**batch).logits
        for i, row in zip(part, logits, strict=True):
            if task["kind"] == "regression":
                answers[i] = float(row[0])
            elif task["kind"] == "classification":
                answers[i] = labels[int(row.argmax())]
            else:
                tags = ["O"] * len(task["test"][0][i])  # Of words cut off.
                for place, word in enumerate(rows[i]["words"]):
                    if word is not None:
                        tags[word] = labels[int(row[place].argmax())]
                answers[i] = tags
    return answers


if __name__ == "__main__":
    print(json.dumps(run(json.load(sys.stdin))))
