"""Masked language modelling: which tokens to hide, and behind what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Of the chosen tokens: hidden behind [MASK]; behind a random token. The rest
# stay as they are.
MASK_SHARE, RANDOM_SHARE = 0.8, 0.1


@dataclass(frozen=True)
class Masked:
    """A batch with hidden tokens, and what they were.

    Attributes:
        token_ids: int32 `(B, T)`, the model's input.
        positions: int32 `(B, P)`, places of the chosen tokens in their row,
            in order; 0 fills a row up.
        targets: int32 `(B, P)`, the tokens that stood there.
        weights: float32 `(B, P)`, 1 for chosen tokens and 0 for filling.
    """

    token_ids: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    weights: np.ndarray


def mask_tokens(
    token_ids: np.ndarray,
    candidates: np.ndarray,
    *,
    rate: float,
    mask_id: int,
    replacements: np.ndarray,
    generator: np.random.Generator,
    word_starts: np.ndarray | None = None,
    width: int | None = None,
) -> Masked:
    """Hide tokens of a batch.

    Of each row `rate` of the candidates is chosen, one at least. Of the
    chosen 80% become `[MASK]`, 10% a random token, and 10% stay.

    Reference: Devlin et al. 2018, section 3.1; whole words as in Google's
    BERT repository (May 2019) and, for Chinese, Cui et al. 2019.

    Args:
        token_ids: int32 `(B, T)`.
        candidates: bool `(B, T)`, what may be chosen: no special token and
            no padding.
        rate: part of the candidates to choose, 0 < rate < 1.
        mask_id: id of `[MASK]`.
        replacements: int `(R,)`, the ids that random tokens are drawn from.
        generator: what chance comes from.
        word_starts: bool `(B, T)`; if given, words are chosen whole. The
            word that crosses the number wanted is taken if that comes nearer
            to it.
        width: P, the most tokens chosen in a row; None for as many as needed.

    Returns:
        A `Masked`.

    Example:

    >>> masked = mask_tokens(ids, ids > 4, rate=0.15, mask_id=4,
    ...     replacements=np.arange(5, 8000), generator=default_rng(0))
    """
    chance = generator.random(token_ids.shape)  # (B, T)
    wanted = np.maximum(np.rint(rate * candidates.sum(axis=1)), 1)  # (B,)
    if word_starts is not None:
        chosen = _choose_words(chance, candidates, word_starts, wanted, width)
    else:
        chosen = _choose_tokens(chance, candidates, wanted, width)

    # === Hide ===
    fate = generator.random(token_ids.shape)
    drawn = generator.choice(replacements, token_ids.shape)
    hidden = np.where(fate < MASK_SHARE, mask_id, drawn)
    kept = ~chosen | (fate >= MASK_SHARE + RANDOM_SHARE)
    inputs = np.where(kept, token_ids, hidden).astype("int32")

    # === Gather ===
    counts = chosen.sum(axis=1)  # (B,)
    if width is None:
        width = max(int(counts.max(initial=1)), 1)
    weights = np.arange(width) < counts[:, None]  # (B, P)
    rows, places = np.nonzero(chosen)
    positions = np.zeros(weights.shape, "int32")
    targets = np.zeros(weights.shape, "int32")
    positions[weights] = places
    targets[weights] = token_ids[rows, places]
    return Masked(inputs, positions, targets, weights.astype("float32"))


def _choose_tokens(chance, candidates, wanted, width) -> np.ndarray:
    if width is not None:
        wanted = np.minimum(wanted, width)
    # Rank of each candidate by chance; the others come after them.
    order = np.where(candidates, chance, 2.0).argsort(axis=1)
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None], axis=1)
    return candidates & (ranks < wanted[:, None])


def _choose_words(chance, candidates, word_starts, wanted, width):
    rows, length = candidates.shape
    # A special token ends a word, and what follows it begins one.
    parted = np.zeros_like(candidates)
    parted[:, 1:] = candidates[:, 1:] & ~candidates[:, :-1]
    begins = candidates & (word_starts | parted)
    begins[:, 0] |= candidates[:, 0]
    # Number of each token's word in the whole batch; its chance and length.
    words = begins.cumsum().reshape(candidates.shape) - 1  # (B, T)
    count = int(begins.sum())
    if not count:
        return np.zeros_like(candidates)
    word_row = np.nonzero(begins)[0]  # (W,)
    size = np.bincount(words[candidates], minlength=count)  # (W,)
    # Words of a row after one another, by chance.
    order = np.lexsort((chance[begins], word_row))
    until = size[order].cumsum()
    first = np.searchsorted(word_row[order], np.arange(rows))  # (B,)
    row = word_row[order]
    before = until - size[order]
    before = before - before[np.minimum(first, count - 1)][row]
    after = before + size[order]
    limit = wanted[row]
    taken = (after <= limit) | (
        (before < limit) & (after - limit <= limit - before)
    )
    # One word at least, however long.
    taken |= before == 0
    if width is not None:
        taken &= after <= width
    picked = np.zeros(count, bool)
    picked[order] = taken
    return candidates & picked[np.maximum(words, 0)]
