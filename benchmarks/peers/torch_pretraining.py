"""Pretraining in Torch, on transformers' `BertForPreTraining`."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import torch
import transformers
from peers.torch_loop import adamw
from torch.nn.functional import cross_entropy

import kbert
from kbert.checkpoints.huggingface import hf_config
from kbert.pretraining.batches import Position

RATE = 1e-4
ROUNDS = 3  # So many have batches of their own; later ones have them again.


def model_of(backbone: kbert.Backbone):
    """The model of a kbert backbone's shape, in training."""
    torch.manual_seed(0)
    config = transformers.BertConfig(**hf_config(backbone))
    return transformers.BertForPreTraining(config).train()


class Collated:
    """As its docs show: transformers' own collator, the logits of every
    token, rows in random order, padded to the longest of a batch."""

    name = "transformers + Torch"

    def __init__(self, pretrainer, rows: int, steps: int):
        self.model = model_of(pretrainer.backbone)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE)
        self.steps = steps
        self.prepare(pretrainer, rows)
        self.round(steps=2)

    def prepare(self, pretrainer, rows: int) -> None:
        corpus = pretrainer.corpus
        tokenizer = transformers.BertTokenizer(str(corpus.path / "vocab.txt"))
        # The same examples as kbert's, before masking: the collator masks.
        batches = kbert.Pretrainer(
            corpus,
            "random:1x64",
            objectives={"nsp": 1.0},
            sequence_length=pretrainer.sequence_length,
        ).batches(corpus, rows)
        examples = []
        for _, (x, y, _) in itertools.islice(
            batches.after(Position()), ROUNDS * (self.steps + 1)
        ):
            for ids, segments, mask, label in zip(
                x["token_ids"],
                x["segment_ids"],
                x["padding_mask"],
                y["nsp"],
                strict=True,
            ):
                examples.append(
                    {
                        "input_ids": ids[mask].tolist(),
                        "token_type_ids": segments[mask].tolist(),
                        "next_sentence_label": int(label),
                    }
                )
        self.loader = torch.utils.data.DataLoader(
            examples,
            batch_size=rows,
            shuffle=True,
            collate_fn=transformers.DataCollatorForLanguageModeling(tokenizer),
        )

    def batches(self) -> Iterator[dict]:
        return iter(self.loader)

    def round(self, steps: int | None = None) -> float:
        """Tokens a second; the first step is left out, as of kbert's."""
        steps = steps or self.steps
        tokens, started = 0, None
        for batch in itertools.islice(self.batches(), steps + 1):
            self.step(batch)
            if started is None:
                started = time.perf_counter()
            else:
                tokens += int(batch["attention_mask"].sum())
        return tokens / (time.perf_counter() - started)

    def step(self, batch: dict) -> None:
        self.loss(**batch).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def loss(self, **batch):
        return self.model(**batch).loss


class Tuned(Collated):
    """What an expert writes: only hidden tokens meet the head, rows of like
    length share a batch, AdamW is fused.

    Its batches are kbert's own, masked, made before the clock starts: it pays
    nothing for them.
    """

    name = "Torch, tuned"
    half = compiled = False

    def prepare(self, pretrainer, rows: int) -> None:
        self.optimizer, _ = adamw(self.model, RATE, 10**6)
        if self.compiled:
            self.loss = torch.compile(self.loss, dynamic=True)
        batches = pretrainer.batches(pretrainer.corpus, rows)
        found = itertools.islice(
            batches.after(Position()), ROUNDS * (self.steps + 1)
        )
        ready = [self.tensors(*batch) for _, batch in found]
        self.endless = itertools.cycle(ready)

    def tensors(self, x: dict, y: dict, weights: dict) -> dict:
        mask = torch.from_numpy(x["padding_mask"])
        rows, length = mask.shape
        starts = length * torch.arange(rows)[:, None]
        places = starts + torch.from_numpy(x["masked_positions"])
        hidden = torch.from_numpy(weights["mlm"]) > 0
        return {
            "input_ids": torch.from_numpy(x["token_ids"]).long(),
            "token_type_ids": torch.from_numpy(x["segment_ids"]).long(),
            "attention_mask": mask.long(),
            "places": places[hidden],
            "targets": torch.from_numpy(y["mlm"])[hidden].long(),
            "following": torch.from_numpy(y["nsp"]).long(),
        }

    def batches(self) -> Iterator[dict]:
        return self.endless

    def loss(self, places, targets, following, **tokens):
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            answer = self.model.bert(**tokens)
            states = answer.last_hidden_state.flatten(0, 1)
            heads = self.model.cls
            words = heads.predictions(states.index_select(0, places))
            pairs = heads.seq_relationship(answer.pooler_output)
        return cross_entropy(words.float(), targets) + cross_entropy(
            pairs.float(), following
        )


class Compiled(Tuned):
    """With torch.compile, for shapes of any size."""

    name = "Torch, tuned, compiled"
    compiled = True


class Half(Tuned):
    """Under autocast, in bfloat16."""

    half = True


class HalfCompiled(Compiled):
    half = True
