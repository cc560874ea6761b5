"""The exceptions kbert raises, and "did you mean".

    KbertError
     x InputError (ValueError)        texts, labels or a data file are wrong
     x ConfigError (ValueError)       an argument or a configuration is wrong
     x UnknownNameError (LookupError) no such head, preset, column ...
     x PluginError                    a plugin is broken, missing or clashes
     x CheckpointError                weights or a saved folder are unreadable
        + DownloadError               no mirror gave the expected file
        + UnsafeFileError             a file that could do harm is refused
     x ExportError                    a SavedModel cannot be written as asked
     x NotFiniteError                 a loss, weights or answers are NaN
     x ServingError                   a model server cannot answer a request
        + RequestError (ValueError)   the request is wrong; do not repeat it
        + UnavailableError            not now; the same request may do later

Every message says what was expected, what was received and what to do. What
a terminal would obey, such as an escape sequence out of a file, is spelt out
in it.
"""

import reprlib
from collections.abc import Iterable
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

# Characters of a value, and names of a kind, that a message shows at most.
SHOWN = 80
NAMES = 40

_repr = reprlib.Repr()
_repr.maxlevel = 3
_repr.maxstring = _repr.maxother = _repr.maxlong = SHOWN


def short(value: Any) -> str:
    """A value for a message: escaped, in a line, and not at length.

    Data of users are in it, which may be large, and files of others, which a
    terminal must not obey.

    Example:

    >>> short(["a", "b"]), short(np.zeros((1000, 3)))
    ("['a', 'b']", 'ndarray of shape (1000, 3)')
    """
    shape = getattr(value, "shape", ())
    if isinstance(shape, Sequence) and len(shape):
        return f"{type(value).__name__} of shape {tuple(shape)}"
    try:
        text = " ".join(_repr.repr(value).split())
    except ValueError:  # Python writes no numbers of thousands of digits.
        text = f"{type(value).__name__} of very many digits"
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def listed(names: Iterable[Any], most: int = NAMES) -> str:
    """Names with commas between, not all of very many."""
    names = [str(name) for name in names]
    more = len(names) - most
    shown = ", ".join(
        name if len(name) <= SHOWN else f"{name[:SHOWN]}..."
        for name in names[:most]
    )
    return f"{shown} and {more:,} more" if more > 0 else shown or "none"


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """A sentence with the nearest of the names, after a space, if one is."""
    cases = {str(k).casefold(): k for k in known}
    close = get_close_matches(str(name).casefold(), cases, n=1, cutoff=0.5)
    return f" Did you mean {cases[close[0]]!r}?" if close else ""


def printable(text: str) -> str:
    r"""A text as it can be shown: control characters are spelt out.

    Line feeds stay; so does whatever Python calls printable.

    Example:

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    if text.isprintable():
        return text
    return "".join(
        c
        if c.isprintable() or c == "\n"
        else c.encode("unicode_escape").decode()
        for c in text
    )


class KbertError(Exception):
    """Base of everything kbert raises on purpose."""

    def __init__(self, message: str = ""):
        super().__init__(printable(message))


class InputError(KbertError, ValueError):
    """Texts, labels or a data file are not what was expected."""


class ConfigError(KbertError, ValueError):
    """An argument or a configuration value is not valid."""


class PluginError(KbertError):
    """A plugin is broken, is not installed, or takes a name twice."""


class CheckpointError(KbertError):
    """Weights, a preset or a saved folder cannot be read or written."""


class DownloadError(CheckpointError):
    """No mirror of a preset answered with the expected file."""


class UnsafeFileError(CheckpointError):
    """A file that points elsewhere, holds code, or asks for too much."""


class ExportError(KbertError):
    """A SavedModel cannot be written as asked."""


class NotFiniteError(KbertError, ArithmeticError):
    """A loss, weights or answers that are NaN or infinite."""


class ServingError(KbertError):
    """A model server cannot answer a request.

    Attributes:
        code: a canonical status code of gRPC, such as `"NOT_FOUND"`.
        rows: how many texts `kbert.Client` had answers for before; the next
            call may begin there.
        answers: these, as `Client.answers` gives them; None if there are none.
    """

    rows: int = 0
    answers: dict[str, Any] | None = None

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


class RequestError(ServingError, ValueError):
    """A request that no repetition mends."""


class UnavailableError(ServingError):
    """A server that is full, starting or stopping, or not to be reached.

    Attributes:
        retry_after: seconds that it asks to be left alone for; None if it
            does not say.
    """

    retry_after: float | None = None


class UnknownNameError(KbertError, LookupError):
    """A name that nothing is registered under.

    Args:
        kind: what was looked for, such as `"head"`.
        name: the name that was given.
        known: the names that exist.
        hint: what to do about it, a sentence.

    Example:

    >>> str(UnknownNameError("head", "spma", ["classification", "spam"]))
    "Unknown head 'spma'. Did you mean 'spam'? Known: classification, spam."
    """

    def __init__(
        self, kind: str, name: str, known: Iterable[str], hint: str = ""
    ):
        known = sorted(map(str, known))
        message = f"Unknown {kind} {short(name)}."
        message += f"{did_you_mean(name, known)} Known: {listed(known)}."
        super().__init__(f"{message} {hint}".rstrip())
        self.kind, self.name, self.known = kind, name, known
