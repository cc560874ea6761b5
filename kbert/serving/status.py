"""Canonical status codes, and what they are in HTTP.

Reference: tensorflow_serving/model_servers/http_server.cc, ToHTTPStatusCode.
"""

from __future__ import annotations

from kbert.errors import RequestError
from kbert.errors import ServingError
from kbert.errors import UnavailableError

# Code: its number in gRPC and TensorFlow, its status in HTTP.
CODES = {
    "OK": (0, 200),
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}

NAMES = {number: name for name, (number, _) in CODES.items()}

_LATER = ("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED")
_WRONG = (
    *("INVALID_ARGUMENT", "FAILED_PRECONDITION", "OUT_OF_RANGE"),
    *("NOT_FOUND", "ALREADY_EXISTS", "UNIMPLEMENTED"),
    *("PERMISSION_DENIED", "UNAUTHENTICATED"),
)


# Bytes: each may take three in a header, which holds eight thousand.
MAX_MESSAGE = 2000


class TooLargeError(RequestError):
    """A request of too many bytes or rows, 413 in HTTP."""

    def __init__(self, message: str):
        super().__init__("RESOURCE_EXHAUSTED", message)


def error(code: str, message: str) -> ServingError:
    """The exception of a status code.

    Args:
        code: one of `CODES`.
        message: what the caller reads, cut if a request made it long: gRPC
            has it in a header.
    """
    data = message.encode(errors="replace")
    if len(data) > MAX_MESSAGE:
        message = f"{data[:MAX_MESSAGE].decode(errors='ignore')}..."
    if code in _WRONG:
        return RequestError(code, message)
    if code in _LATER:
        return UnavailableError(code, message)
    return ServingError(code, message)


def invalid(message: str) -> ServingError:
    """The most common one: the request itself is wrong."""
    return error("INVALID_ARGUMENT", message)


def http_status(failure: ServingError) -> int:
    """The HTTP status that TF Serving answers for a failure."""
    if isinstance(failure, TooLargeError):
        return 413
    return CODES[failure.code][1]
