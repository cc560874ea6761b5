"""What heads have that answer tokens, and read texts of any length."""

from __future__ import annotations

from typing import TYPE_CHECKING
from typing import Any

from kbert.heads.base import Head

if TYPE_CHECKING:
    from kbert.tokenizers.windows import Windows


class TokenHead(Head):
    """Base class of heads that answer tokens.

    A long text is read in windows that share some tokens: `serve` answers
    tokens, and `finish` makes answers of texts of them.

    Attributes:
        overlap: tokens that neighbouring windows of a text share.
    """

    by_token = True
    overlap: int = 32

    def align(self, targets: Any, windows: Windows) -> Any:
        """Targets of texts as the loss takes them, for windows of the texts.

        Args:
            targets: what `encode` gave, one a text.
            windows: `kbert.tokenizers.windows.Windows`, one or more of each
                text.

        Returns:
            Array `(windows, ...)`, or `kbert.data.batching.TokenTargets` for a
            target a token.
        """
        raise NotImplementedError

    def finish(self, outputs: dict, tokens: dict, texts: dict) -> dict:
        """Answers of texts from those of their tokens, in TensorFlow's ops.

        The same code runs in `predict`, on every backend, and in the exported
        graph.

        Args:
            outputs: what `serve` gave, each a `tf.RaggedTensor`
                `(W, None, ...)` without padding, of W windows.
            tokens: the windows, see `kbert.tokenizers.windows.make_windows`.
            texts: string tensors `(B,)` by the names of `inputs`.

        Returns:
            A dict of tensors `(B, ...)`. Ragged ones, `(B, None)`, are then
            filled up: integers with -1, others with 0 or an empty string.
        """
        raise NotImplementedError

    def decide(self, outputs: Any, places: dict) -> Any:
        """What an explanation holds fast: what was decided on a text.

        In TensorFlow's ops; with `evidence` it makes the signature `explain`.

        Args:
            outputs: what `build` gave for texts, `(B, T, ...)`.
            places: `(B, T)` each: `word` bool, no special token; `first`
                bool, the token begins a word; `input` int32, the text that
                it stands in.

        Returns:
            Whatever `evidence` is to have: tensors `(B, ...)`, or a
            structure of them.
        """
        raise NotImplementedError

    def evidence(self, outputs: Any, places: dict, decision: Any) -> Any:
        """The probability of a decision, float `(B,)` with a gradient.

        Args:
            outputs: what `build` gave for the texts, or for the same texts
                with their words partly blank.
            places: see `decide`.
            decision: what `decide` gave for the whole texts; it and
                `places` have the rows of `outputs`, each any number of times.
        """
        raise NotImplementedError
