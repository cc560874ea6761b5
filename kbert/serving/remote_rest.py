"""A model of another server, over REST."""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
from datetime import UTC
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import SplitResult

import httpx
import numpy as np

from kbert.errors import ConfigError
from kbert.errors import ServingError
from kbert.errors import UnavailableError
from kbert.errors import short
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.serving.deadlines import DeadlineTransport
from kbert.serving.status import CODES
from kbert.serving.status import TooLargeError
from kbert.serving.status import error
from kbert.serving.status import invalid

# Codes by the HTTP status that stands for them; of several the plainest.
_FROM_HTTP = {http: code for code, (_, http) in reversed(CODES.items())}
# Those that proxies answer, too.
_FROM_HTTP |= {408: "DEADLINE_EXCEEDED", 502: "UNAVAILABLE"}

# Bytes of an answer, and seconds after which an idle connection is not used
# again: servers close theirs after five.
MAX_ANSWER = 64 * 1024 * 1024
KEEP_ALIVE = 4.0


class RestModel:
    """A model behind `/v1/models/NAME`.

    Args:
        parts: the URL, split.
        token: bearer token, or None.
        ca_file: PEM file, or None.
    """

    def __init__(
        self,
        parts: SplitResult,
        token: str | None,
        ca_file: str | os.PathLike | None,
    ):
        if "/models/" not in parts.path:
            raise ConfigError(
                f"Expected /v1/models/NAME after the address. Received: "
                f"{parts.path or 'nothing'}."
            )
        verify: Any = True
        if ca_file is not None:
            try:
                verify = ssl.create_default_context(cafile=str(ca_file))
            except (OSError, ValueError) as failure:  # An SSLError is one.
                raise ConfigError(
                    f"Expected a PEM file of certificates as `ca_file`. "
                    f"Received: {ca_file} ({failure})."
                ) from failure
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Addresses are as they are given, as for gRPC: no proxy, no redirect.
        self._transport = DeadlineTransport(
            verify=verify,
            trust_env=False,
            limits=httpx.Limits(keepalive_expiry=KEEP_ALIVE),
        )
        self._http = httpx.Client(
            headers=headers | {"Accept-Encoding": "identity"},
            transport=self._transport,
            trust_env=False,
        )

    def predict(self, columns: dict, signature: str, timeout: float) -> dict:
        """Outputs by name, of texts by input name ("" for the only one)."""
        columns = {k: [_json(text) for text in c] for k, c in columns.items()}
        inputs: Any = columns[""] if "" in columns else columns
        body = {"inputs": inputs}
        if signature:
            body["signature_name"] = signature
        url = f"{self._url}:predict"
        answer = self._ask("POST", url, timeout, body)
        try:
            outputs = answer["outputs"]
            if not isinstance(outputs, dict):
                # TF Serving does not name a single one.
                outputs = {"": outputs}
            return {name: _array(value) for name, value in outputs.items()}
        except (KeyError, ValueError) as failure:
            raise _no_answer(url, answer) from failure

    def inputs(self, signature: str, timeout: float) -> list[str]:
        """The names of a signature's inputs."""
        url, name = f"{self._url}/metadata", signature or DEFAULT_SIGNATURE
        answer = self._ask("GET", url, timeout)
        try:
            found = answer["metadata"]["signature_def"]["signature_def"]
            if name not in found:
                raise invalid(f'Serving signature name: "{name}" not found')
            return sorted(found[name]["inputs"])
        except (KeyError, TypeError) as failure:
            raise _no_answer(url, answer) from failure

    def states(self, timeout: float) -> list[str]:
        """The states of the model's versions."""
        status = self._ask("GET", self._url, timeout)
        try:
            return [row["state"] for row in status["model_version_status"]]
        except (KeyError, TypeError) as failure:
            raise _no_answer(self._url, status) from failure

    def _ask(self, method: str, url: str, timeout: float, body=None) -> dict:
        """The object that a server answers with 200."""
        self._transport.end_in(timeout)
        try:
            with self._http.stream(
                method, url, json=body, timeout=timeout
            ) as response:
                data = _read(response, url, time.monotonic() + timeout)
        except (httpx.ReadTimeout, httpx.WriteTimeout) as failure:
            raise _late(url) from failure
        except httpx.HTTPError as failure:
            # No repetition makes a certificate good.
            code = "UNAVAILABLE"
            if "CERTIFICATE_VERIFY_FAILED" in str(failure):
                code = "UNAUTHENTICATED"
            reason = f"{failure}" or type(failure).__name__
            raise error(
                code, f"{url} is not to be reached: {reason}"
            ) from failure
        try:
            answer = json.loads(data, object_hook=_from_base64)
        except (ValueError, RecursionError):
            answer = None
        if response.status_code != 200:
            raise _refusal(url, response, answer)
        if not isinstance(answer, dict):
            raise _no_answer(url, data)
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _json(text: str | bytes) -> Any:
    """A text as the API has it: bytes need not be UTF-8."""
    if isinstance(text, str):
        return text
    return {"b64": base64.b64encode(text).decode()}


def _read(response: httpx.Response, url: str, deadline: float) -> bytes:
    """The body of an answer, bounded in bytes and in time."""
    data = bytearray()
    for chunk in response.iter_bytes():
        data += chunk
        if len(data) > MAX_ANSWER:
            raise TooLargeError(
                f"Expected an answer of at most {MAX_ANSWER} bytes from "
                f"{url}. Received: more. Lower batch_size."
            )
        if time.monotonic() > deadline:
            raise _late(url)
    return bytes(data)


def _late(url: str) -> ServingError:
    return error("DEADLINE_EXCEEDED", f"No answer in time from {url}")


def _no_answer(url: str, received: Any) -> ServingError:
    return error(
        "UNKNOWN",
        f"Expected a model server's JSON from {url}. Received: status 200 and "
        f"{short(received)}.",
    )


def _refusal(url: str, response: httpx.Response, answer: Any) -> ServingError:
    """The error that an answer which is not 200 stands for."""
    status = response.status_code
    message = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(message, str):
        message = f"Expected an answer from {url}. Received: status {status}"
        if response.has_redirect_location:
            message += (
                f", a redirect to {short(response.headers['Location'])}. Give "
                f"the address that it leads to"
            )
    if status == 413:
        return TooLargeError(f"{message} Lower batch_size.")
    # Other faults of a request are not known to TF Serving.
    other = "INVALID_ARGUMENT" if 300 <= status < 500 else "UNKNOWN"
    failure = error(_FROM_HTTP.get(status, other), message)
    if isinstance(failure, UnavailableError):
        failure.retry_after = _seconds(response.headers.get("Retry-After", ""))
    return failure


def _seconds(asked: str) -> float | None:
    """What `Retry-After` says: seconds or a date."""
    try:
        if asked.isdecimal():
            return float(asked)
        date = parsedate_to_datetime(asked)
        return max((date - datetime.now(UTC)).total_seconds(), 0.0)
    except (TypeError, ValueError):
        return None


def _from_base64(value: dict) -> Any:
    """Bytes, which gRPC has as they are, as the text they are."""
    if value.keys() == {"b64"} and isinstance(value["b64"], str):
        return base64.b64decode(value["b64"]).decode("utf-8", "replace")
    return value


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    if array.dtype.kind not in "biufU":
        raise ValueError(f"Expected numbers or strings, got {array.dtype}")
    return array.astype("float32") if array.dtype.kind == "f" else array
