"""Asks a model server: kbert's own, or TF Serving."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from kbert.answers import predictions
from kbert.checks import check_integer
from kbert.checks import check_number
from kbert.containers import settle
from kbert.data import as_texts
from kbert.data import join_answers
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import ServingError
from kbert.errors import UnavailableError
from kbert.errors import listed
from kbert.errors import short

# Seconds before the second try; it doubles from try to try.
FIRST_PAUSE = 0.1

SCHEMES = ("http", "https", "grpc", "grpcs")


class Client:
    """A model behind REST or gRPC.

    Args:
        url: where the model is: `http://HOST:PORT/v1/models/NAME` (or
            `https`) or `grpc://HOST:PORT/NAME` (or `grpcs`), to which
            `/versions/N` or `/labels/LABEL` may be added.
        timeout: seconds for an answer, all tries together.
        retries: further tries when the server is full, starting or not to
            be reached, no sooner than its `Retry-After` says.
        token: bearer token, if the server wants one.
        ca_file: PEM file of who signed the server's certificate, if that is
            not one of the usual ones.
        batch_size: texts in a request.

    Raises:
        ConfigError: the URL names no model.

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
        retries: int = 4,
        token: str | None = None,
        ca_file: str | os.PathLike | None = None,
        batch_size: int = 64,
    ):
        if not isinstance(url, str):
            raise ConfigError(f"`url` must be a string. Received: {short(url)}")
        parts = urlsplit(url)
        if parts.scheme not in SCHEMES or not parts.netloc:
            raise ConfigError(
                "Expected a URL such as http://localhost:8501/v1/models/spam "
                f"or grpc://localhost:8500/spam. Received: {url!r}"
            )
        # Imported here: each needs a library that the other does not.
        if parts.scheme.startswith("http"):
            from kbert.serving.remote_rest import RestModel as Model
        else:
            from kbert.serving.remote_grpc import GrpcModel as Model
        self._model = Model(parts, token, ca_file)
        self.timeout = check_number("timeout", timeout, above=0)
        self.retries = check_integer("retries", retries, 0)
        self.batch_size = check_integer("batch_size", batch_size)

    def answers(self, x: Any, signature: str = "") -> dict[str, np.ndarray]:
        """The model's outputs for texts, as `Classifier.answers` gives them.

        Args:
            x: texts as a list, array or column; rows of several inputs as a
                dict of columns.
            signature: of the model, by default `serving_default`.

        Returns:
            Arrays `(rows, ...)` by output name, strings as `str`. Where
            outputs are as long as the longest row of their request, and
            requests differ, `(rows,)` of arrays.

        Raises:
            RequestError: the server refuses the request.
            UnavailableError: it is not to be reached, full, or too slow.
            ServingError: it fails.
        """
        deadline = time.monotonic() + self.timeout
        columns = _columns(x)
        rows = len(next(iter(columns.values())))
        parts = []
        for start in range(0, rows, self.batch_size):
            part = {
                name: texts[start : start + self.batch_size]
                for name, texts in columns.items()
            }
            parts.append(
                self._patiently(
                    lambda part=part: self._model.predict(
                        part, signature, deadline - time.monotonic()
                    ),
                    deadline,
                )
            )
        return {
            name: join_answers([part[name] for part in parts])
            for name in parts[0]
        }

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
        """
        return predictions(self.answers(x, signature))

    def predict_proba(self, x: Any, signature: str = "") -> np.ndarray:
        """The probabilities of each text, float32 `(rows, labels)`.

        Raises:
            ConfigError: the model answers none.
            ServingError: as `answers`.
        """
        answers = self.answers(x, signature)
        if "probabilities" not in answers:
            raise ConfigError(
                "Expected a model that answers probabilities. Received: one "
                f"that answers {', '.join(answers)}. Ask `answers`."
            )
        return answers["probabilities"]

    def ready(self) -> bool:
        """Whether a version of the model answers."""
        try:
            return "AVAILABLE" in self._model.states(self.timeout)
        except ServingError:
            return False

    def _patiently(self, call: Callable[[], Any], deadline: float) -> Any:
        """Try again after a pause, while it may help and there is time."""
        pause = FIRST_PAUSE
        for tries_left in range(self.retries, -1, -1):
            try:
                return call()
            except UnavailableError as failure:
                # Not all at once: each client waits another while.
                wait = pause * random.uniform(0.5, 1.5)
                wait += failure.retry_after or 0.0
                if not tries_left or time.monotonic() + wait > deadline:
                    raise
                if failure.code == "DEADLINE_EXCEEDED":
                    raise
                time.sleep(wait)
                pause *= 2

    def close(self) -> None:
        """Close the connections."""
        self._model.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def _columns(x: Any) -> dict[str, list[str]]:
    """Texts by input name; "" where the name is not known."""
    x = settle(x)
    if isinstance(x, list) and x and isinstance(x[0], Mapping):
        x = {name: [row.get(name) for row in x] for name in x[0]}
    if isinstance(x, dict):
        names = tuple(x)
        if not names or not all(isinstance(name, str) for name in names):
            raise InputError(
                "Expected columns by the names of the model's inputs. "
                f"Received: {listed(names)}."
            )
        return dict(zip(names, as_texts(x, names), strict=True))
    columns = as_texts(x, ("text",))
    if len(columns) > 1:
        raise InputError(
            "Expected rows of several texts as a table whose columns have "
            "the names of the model's inputs, such as {'text': [...], "
            "'text_pair': [...]}. Received: rows without names."
        )
    return {"": columns[0]}
