"""Asks a model server: kbert's own, or TF Serving."""

from __future__ import annotations

import functools
import os
import random
import time
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sized
from typing import Any
from urllib.parse import SplitResult
from urllib.parse import urlsplit

import numpy as np

from kbert.data.answers import predictions
from kbert.data.containers import settle
from kbert.data.texts import as_texts
from kbert.data.texts import join_answers
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import ServingError
from kbert.errors import UnavailableError
from kbert.errors import listed
from kbert.errors import short
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_number
from kbert.utils.checks import suggesting

# Seconds before the second try, which double from try to try.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0

SCHEMES = ("http", "https", "grpc", "grpcs")


@suggesting
class Client:
    """A model behind REST or gRPC.

    Args:
        url: where the model is: `http://HOST:PORT/v1/models/NAME` (or
            `https`) or `grpc://HOST:PORT/NAME` (or `grpcs`), to which
            `/versions/N` or `/labels/LABEL` may be added.
        timeout: seconds for the answer to one request, of at most `batch_size`
            texts; each try has as many. A call of many texts may take longer.
        retry_seconds: for how long a request is tried again, with growing
            pauses, while the server is full, starting or not to be reached;
            no sooner than its `Retry-After` says. 0 tries once. A server that
            answers too slowly is not asked again.
        token: bearer token, if the server wants one.
        ca_file: PEM file of who signed the server's certificate, if that is
            not one of the usual ones.
        batch_size: texts in a request.

    Requests go to the address as it is given, by no proxy of the environment,
    and follow no redirect. A client may be used by several threads, and by
    processes that are forked from this one.

    Raises:
        ConfigError: the URL names no model, or an argument is impossible.

    Example:

    >>> client = kbert.Client("http://localhost:8501/v1/models/spam")
    >>> client.predict(["You have won!"])
    ['spam']
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        retry_seconds: float = 30.0,
        token: str | None = None,
        ca_file: str | os.PathLike | None = None,
        batch_size: int = 64,
    ):
        self.timeout = check_number("timeout", timeout, above=0)
        self.retry_seconds = check_number("retry_seconds", retry_seconds, 0)
        self.batch_size = check_integer("batch_size", batch_size)
        parts = _address(url)
        # Imported here: each needs a library that the other does not.
        if parts.scheme.startswith("http"):
            from kbert.serving.remote_rest import RestModel as Model
        else:
            from kbert.serving.remote_grpc import GrpcModel as Model
        _check_token(token)
        self._make = functools.partial(Model, parts, token, ca_file)
        self._model: Any = self._make()
        self._process = os.getpid()

    def answers(self, x: Any, signature: str = "") -> dict[str, np.ndarray]:
        """The model's outputs for texts, as `Classifier.answers` gives them.

        Args:
            x: texts as a list, array or column; rows of several inputs as a
                dict of columns, of which the model's inputs are sent.
            signature: of the model, by default `serving_default`.

        Returns:
            Arrays `(rows, ...)` by output name, strings as `str`. Where
            outputs are as long as the longest row of their request, and
            requests differ, `(rows,)` of arrays.

        Raises:
            RequestError: the server refuses the request.
            UnavailableError: it is not to be reached, full, or too slow.
            ServingError: it fails. What was answered before is in `answers`
                of each of these errors, of the first `rows` texts.

        Example:

        >>> client.answers(["Win a prize!"])["score"].shape
        (1,)
        """
        return self._answers(self._columns(x, signature), signature)

    def _answers(self, columns: dict, signature: str) -> dict[str, np.ndarray]:
        rows = _count(columns)
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, rows, self.batch_size):
            part = {
                name: texts[start : start + self.batch_size]
                for name, texts in columns.items()
            }
            try:
                parts.append(
                    self._patiently(
                        lambda model, part=part: model.predict(
                            part, signature, self.timeout
                        )
                    )
                )
                _check_alike(parts, part)
            except ServingError as failure:
                if start:
                    failure.rows = start
                    failure.answers = _join(parts[: start // self.batch_size])
                    failure.add_note(
                        f"The first {start} of {rows} texts were answered: "
                        f"`rows` and `answers` of this error."
                    )
                raise
        return _join(parts)

    def predict(self, x: Any, signature: str = "") -> list:
        """The answer for each row, as `Classifier.predict` gives it.

        Args:
            x: as for `answers`.
            signature: as for `answers`; the name of a task, of several.

        Returns:
            Labels, lists of labels, lists of entities, answers, numbers or
            vectors, by what the model's outputs are.

        Raises:
            ConfigError: the outputs are of no head that kbert has.
            ServingError: as `answers`.

        Example:

        >>> client.predict(["Win a prize!"])
        ['spam']
        """
        columns = self._columns(x, signature)
        found = predictions(self._answers(columns, signature))
        _check_rows(found, columns)
        return found

    def predict_proba(self, x: Any, signature: str = "") -> np.ndarray:
        """The probabilities of each text, float32 `(rows, labels)`.

        Raises:
            ConfigError: the model answers none.
            ServingError: as `answers`.

        Example:

        >>> client.predict_proba(["Win a prize!", "See you at six"]).shape
        (2, 2)
        """
        columns = self._columns(x, signature)
        answers = self._answers(columns, signature)
        if "probabilities" not in answers:
            raise ConfigError(
                "Expected a model that answers probabilities. Received: one "
                f"that answers {', '.join(answers)}. Ask `answers`."
            )
        _check_rows(answers["probabilities"], columns)
        return answers["probabilities"]

    def ready(self) -> bool:
        """Whether a version of the model answers.

        Example:

        >>> client.ready()
        True
        """
        try:
            return "AVAILABLE" in self._open().states(self.timeout)
        except ServingError:
            return False

    def _columns(self, x: Any, signature: str) -> dict[str, list]:
        """Texts by input name; "" where the name is not known."""
        x = settle(x)
        rows = isinstance(x, list) and x and isinstance(x[0], Mapping)
        if not rows and not isinstance(x, dict):
            return {"": _only_column(x)}
        names = tuple(x[0] if rows else x)
        if not names or not all(isinstance(name, str) for name in names):
            raise InputError(
                "Expected columns by the names of the model's inputs. "
                f"Received: {listed(names)}."
            )
        if len(names) > 1:  # Labels and the like may be among them.
            try:
                names = tuple(
                    self._patiently(
                        lambda model: model.inputs(signature, self.timeout)
                    )
                )
            except UnavailableError:
                raise
            except ServingError:
                pass  # The server does not say; it gets all.
        return dict(zip(names, as_texts(x, names), strict=True))

    def _patiently(self, ask: Callable[[Any], Any]) -> Any:
        """Try again after a pause, while it may help and there is time."""
        end, pause = time.monotonic() + self.retry_seconds, FIRST_PAUSE
        while True:
            try:
                return ask(self._open())
            except UnavailableError as failure:
                # Not all at once: each client waits another while.
                wait = pause * random.uniform(0.5, 1.5)
                wait += failure.retry_after or 0.0
                # It has all it can do.
                late = failure.code == "DEADLINE_EXCEEDED"
                if late or time.monotonic() + wait > end:
                    raise
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _open(self) -> Any:
        """The connections, which a forked process does not share."""
        if self._model is None:
            raise ConfigError(
                "Expected a client that is open. Received: one that was "
                "closed. Make another."
            )
        if self._process != os.getpid():
            self._model, self._process = self._make(), os.getpid()
        return self._model

    def close(self) -> None:
        """Close the connections; the client cannot be used any more.

        Example:

        >>> client.close()
        """
        model, self._model = self._model, None
        if model is not None and self._process == os.getpid():
            model.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _address(url: Any) -> SplitResult:
    try:
        parts = urlsplit(url)
        good = parts.scheme in SCHEMES and parts.hostname and parts.port != 0
    except (AttributeError, TypeError, ValueError):  # A port of letters.
        good = False
    if (
        not (good and isinstance(url, str) and url.isprintable())
        or " " in url
        or "@" in parts.netloc
        or parts.query
        or parts.fragment
    ):
        raise ConfigError(
            "Expected a URL such as http://localhost:8501/v1/models/spam "
            f"or grpc://localhost:8500/spam. Received: {short(url)}"
        )
    return parts


def _check_token(token: Any) -> None:
    """What a header can hold."""
    if (
        token is None
        or isinstance(token, str)
        and (token.isascii() and token.isprintable() and token.strip())
    ):
        return
    raise ConfigError(
        "Expected a `token` of printable ASCII characters. Received: another."
    )


def _check_alike(parts: list[dict[str, np.ndarray]], sent: dict) -> None:
    """Raise `ServingError` if parts of an answer do not fit together."""
    if len(parts) == 1:
        return
    rows = _count(sent)
    for part in parts[-2:]:
        if part.keys() != parts[0].keys():
            raise ServingError(
                "ABORTED",
                f"Expected outputs {listed(parts[0])}, as before. Received: "
                f"{listed(part)}. The model changed; ask again.",
            )
    for name, array in parts[-1].items():
        if array.shape[:1] != (rows,) or not parts[0][name].ndim:
            raise ServingError(
                "UNKNOWN",
                f"Expected a row of output {name!r} for each of {rows} texts. "
                f"Received: shape {array.shape}. Raise batch_size, so that "
                f"all texts go in one request.",
            )


def _count(columns: dict) -> int:
    return len(next(iter(columns.values())))


def _check_rows(found: Any, columns: dict) -> None:
    """Raise `ServingError` unless each text has an answer of its own."""
    if not isinstance(found, Sized) or len(found) != _count(columns):
        raise ServingError(
            "UNKNOWN",
            f"Expected an answer for each of {_count(columns)} texts. "
            f"Received: another number. Ask `answers` for what the model says.",
        )


def _join(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    if len(parts) == 1:
        return parts[0]
    return {
        name: join_answers([part[name] for part in parts]) for name in parts[0]
    }


def _only_column(x: Any) -> list:
    columns = as_texts(x, ("text",))
    if len(columns) > 1:
        raise InputError(
            "Expected rows of several texts as a table whose columns have "
            "the names of the model's inputs, such as {'text': [...], "
            "'text_pair': [...]}. Received: rows without names."
        )
    return columns[0]
