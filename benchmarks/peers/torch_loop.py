"""The loops that an expert writes in Torch, on transformers' model.

Rows are tokenized once. In training batches are of rows of like length, within
windows of as many batches as kbert's; AdamW is Torch's fused one, biases and
norms are not decayed, gradients are clipped to length 1, and the rate rises
and falls as kbert's. In answering rows are sorted by length; 32 a batch are
quicker here than 64.
"""

from __future__ import annotations

import numpy as np
import torch
from peers.torch_peer import BATCH
from peers.torch_peer import LENGTH
from peers.torch_peer import PAIR_RATE
from peers.torch_peer import Eager
from torch.nn.functional import cross_entropy
from torch.nn.functional import normalize

RATE, DECAY, WARMUP = 5e-5, 0.01, 0.1
SCALE = 20.0  # Of the cosines of pairs; kbert's default, and its peer's.
WINDOW = 50  # Batches; `kbert.data.batching.SORTED_BATCHES`.


def adamw(model, rate: float, steps: int):
    """The fused AdamW with BERT's groups, and kbert's schedule."""
    decayed, other = [], []
    for parameter in model.parameters():
        (decayed if parameter.ndim > 1 else other).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": decayed, "weight_decay": DECAY},
            {"params": other, "weight_decay": 0.0},
        ],
        lr=rate,
        eps=1e-6,
        fused=True,
    )
    warmup = round(WARMUP * steps)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(
            (step + 1) / max(warmup, 1),
            (steps - step) / max(steps - warmup, 1),
        ),
    )


class ByLength(Eager):
    """float32."""

    window = WINDOW
    autocast = False

    def predict(self, texts: list[str]) -> list[list[float]]:
        ids = self.ids(texts)
        order = np.argsort([-len(row) for row in ids], kind="stable")
        model = self.forward().eval()
        answers = torch.empty(len(ids), 2)
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                part = order[start : start + BATCH]
                logits = model(**self.pad([ids[i] for i in part])).logits
                answers[part] = logits.float().softmax(-1)
        return answers.tolist()

    def ids(self, texts: list[str]) -> list[np.ndarray]:
        rows = self.tokenizer(texts, truncation=True, max_length=LENGTH)
        return [np.array(row) for row in rows["input_ids"]]

    def fit(self, texts, labels, epochs, epoch) -> None:
        ids = self.ids(texts)
        targets = torch.tensor([label == "yes" for label in labels]).long()
        self.forward()

        def loss(batch):
            tokens = self.pad([ids[i] for i in batch])
            return self.model(**tokens, labels=targets[batch]).loss

        lengths = np.array([len(row) for row in ids])
        self.train(lengths, loss, RATE, epochs, epoch)

    def train(self, lengths, loss, rate, epochs, epoch) -> None:
        """`loss` is that of a batch, an array of row numbers."""
        random = np.random.default_rng(0)
        steps = -(-len(lengths) // BATCH) * epochs
        optimizer, schedule = adamw(self.model, rate, steps)
        half = torch.autocast("cpu", torch.bfloat16, enabled=self.autocast)
        self.model.train()
        for _ in range(epochs):
            epoch.begin()
            for batch in self.batches(lengths, random):
                optimizer.zero_grad(set_to_none=True)
                with half:
                    value = loss(batch)
                value.backward()
                torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            epoch.end()

    def batches(self, lengths, random) -> list[np.ndarray]:
        order = random.permutation(len(lengths))
        size = self.window * BATCH or len(lengths)
        batches = []
        for start in range(0, len(order), size):
            part = order[start : start + size]
            if self.window:
                part = part[np.argsort(-lengths[part], kind="stable")]
            batches += [part[i : i + BATCH] for i in range(0, len(part), BATCH)]
        return [batches[i] for i in random.permutation(len(batches))]

    def pad(self, rows) -> dict[str, torch.Tensor]:
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self.tokenizer.pad_token_id)
        mask = torch.zeros(ids.shape, dtype=torch.long)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.from_numpy(row)
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}


class Random(ByLength):
    """Batches as they come, padded to their longest row."""

    window = 0


class Compiled(ByLength):
    """With torch.compile, for shapes of any size."""

    compiled = True


class Half(ByLength):
    """In bfloat16: trained under autocast, answering with weights of it.

    In answering that is quicker than autocast by a tenth.
    """

    autocast = True

    def predict(self, texts: list[str]) -> list[list[float]]:
        self.model.to(torch.bfloat16)
        return super().predict(texts)


class HalfCompiled(Half):
    compiled = True


class Pairs(ByLength):
    """Pairs of texts that belong together: a text is told from the others.

    As in kbert the texts of a batch are one batch of the model, and pairs
    whose longer text is of like length come together.
    """

    def fit(self, pairs, epochs, epoch) -> None:
        first, second = (self.ids(list(c)) for c in zip(*pairs, strict=True))
        self.model.bert.pooler = None  # The mean of the tokens needs none.

        def loss(batch):
            rows = [part[i] for part in (first, second) for i in batch]
            tokens = self.pad(rows)
            states = self.model.bert(**tokens).last_hidden_state.float()
            weights = tokens["attention_mask"].unsqueeze(-1)
            means = (states * weights).sum(1) / weights.sum(1)
            a, b = normalize(means, dim=-1).chunk(2)
            return cross_entropy(SCALE * a @ b.T, torch.arange(len(a)))

        both = zip(first, second, strict=True)
        lengths = np.array([max(map(len, pair)) for pair in both])
        self.train(lengths, loss, PAIR_RATE, epochs, epoch)


class HalfPairs(Pairs):
    autocast = True
