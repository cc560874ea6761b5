"""How much one request may ask of the server, and all of them together.

All come from two options, the bytes of a body and the rows of a request, so
that whoever raises those raises the others.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from dataclasses import field

import numpy as np

from kbert.serving.status import TooLargeError
from kbert.serving.status import error

# Requests up to this are read where they come in: a switch of threads takes
# longer. They are not counted, either: a thousand of them are nothing.
SMALL = 16 * 1024


@dataclass(frozen=True)
class Limits:
    """What a request may be.

    Attributes:
        body: bytes of a request, and of each of its tensors.
        rows: rows.
    """

    body: int = 8 * 1024 * 1024
    rows: int = 1024

    @property
    def values(self) -> int:
        """Values of a request: Python needs 100 bytes for each."""
        return max(self.body // 8, SMALL)

    @property
    def text(self) -> int:
        """Bytes of a text, and of all that are computed together: a token
        takes a model 60 bytes before the text is cut to its length."""
        return max(self.body // 8, SMALL)

    @property
    def answer_values(self) -> int:
        """Values of an answer."""
        return 2 * self.values

    @property
    def answer_bytes(self) -> int:
        """Bytes of an answer's tensors."""
        return 4 * self.body

    @property
    def held(self) -> int:
        """Bytes of all requests that wait for their answers."""
        return 8 * self.body

    def check_rows(self, rows: int) -> None:
        """Raise `TooLargeError` if they are too many."""
        if rows > self.rows:
            raise TooLargeError(
                f"Expected at most {self.rows} rows in a request. Received: "
                f"{rows}. Send several requests."
            )

    def check_bytes(self, size: int, what: str, received: str) -> None:
        """Raise `TooLargeError` if `what` would take too many."""
        if size > self.body:
            raise TooLargeError(
                f"Expected {what} of at most {self.body} bytes. Received: "
                f"{received}, {size} bytes. Send fewer rows at once."
            )

    def check_values(self, values: int) -> None:
        """Raise `TooLargeError` if a request has too many."""
        if values > self.values:
            raise TooLargeError(
                f"Expected at most {self.values} values in a request. "
                f"Received: more. Send several requests."
            )

    def check_texts(self, arrays: Iterable[np.ndarray]) -> int:
        """The bytes of all texts.

        Raises:
            TooLargeError: one has too many.
        """
        total = 0
        for array in arrays:
            if array.dtype != object:
                continue
            sizes = list(map(len, array.flat))
            total += sum(sizes)
            longest = max(sizes, default=0)
            if longest > self.text:
                raise TooLargeError(
                    f"Expected texts of at most {self.text} bytes. Received: "
                    f"{longest} bytes. Cut it, or have the server started "
                    f"with a larger --max-body, an eighth of which this is."
                )
        return total

    def check_answer(self, arrays: Iterable[np.ndarray]) -> None:
        """Raise `TooLargeError` if an answer has too many values or bytes."""
        arrays = list(arrays)
        if (
            sum(array.size for array in arrays) > self.answer_values
            or sum(map(_bytes_of, arrays)) > self.answer_bytes
        ):
            raise TooLargeError(
                f"Expected an answer of at most {self.answer_values} values "
                f"and {self.answer_bytes} bytes. Received: more from the "
                f"model. Send fewer rows at once."
            )


def weight(arrays: Iterable[np.ndarray]) -> int:
    """About the bytes of arrays; of very many strings they are not counted."""
    return sum(
        _bytes_of(x) if x.size <= SMALL // 8 else 8 * x.nbytes for x in arrays
    )


def _bytes_of(array: np.ndarray) -> int:
    if array.dtype == object:
        return sum(map(len, array.flat))
    return array.nbytes


@dataclass
class Share:
    """The bytes of one request, of those that all may hold."""

    _all: Held
    size: int = 0

    def resize(self, size: int) -> None:
        """Hold so many in place of those before.

        Raises:
            ServingError: UNAVAILABLE, others hold too many.
        """
        self._all.change(self, 0 if size <= 4 * SMALL else size)


@dataclass
class Held:
    """The bytes that all large requests may hold together.

    Attributes:
        left: that nobody holds.
    """

    left: int
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def share(self) -> Iterator[Share]:
        """A share, given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.resize(0)

    def change(self, share: Share, size: int) -> None:
        """See `Share.resize`."""
        with self._lock:
            if size - share.size > self.left and size > share.size:
                raise error(
                    "UNAVAILABLE",
                    "The server holds as many large requests as it may",
                )
            self.left -= size - share.size
            share.size = size
