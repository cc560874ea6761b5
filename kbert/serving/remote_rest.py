"""A model of another server, over REST."""

from __future__ import annotations

import base64
import os
import ssl
from typing import Any
from urllib.parse import SplitResult

import httpx
import numpy as np

from kbert.errors import ConfigError
from kbert.errors import UnavailableError
from kbert.serving.status import CODES
from kbert.serving.status import error

# Codes by the HTTP status that stands for them; of several the plainest.
_FROM_HTTP = {http: code for code, (_, http) in reversed(CODES.items())}
_FROM_HTTP |= {413: "RESOURCE_EXHAUSTED", 408: "DEADLINE_EXCEEDED"}


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
            verify = ssl.create_default_context(cafile=str(ca_file))
        self._url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # Addresses are as they are given: no proxy, no redirect.
        self._http = httpx.Client(
            headers=headers, verify=verify, trust_env=False
        )

    def predict(self, columns: dict, signature: str, timeout: float) -> dict:
        """Outputs by name, of texts by input name ("" for the only one)."""
        columns = {k: [_json(text) for text in c] for k, c in columns.items()}
        inputs: Any = columns[""] if "" in columns else columns
        body = {"inputs": inputs}
        if signature:
            body["signature_name"] = signature
        outputs = self._ask("POST", f"{self._url}:predict", timeout, body)
        outputs = outputs["outputs"]
        if not isinstance(outputs, dict):
            outputs = {"": outputs}  # TF Serving does not name a single one.
        return {name: _array(value) for name, value in outputs.items()}

    def states(self, timeout: float) -> list[str]:
        """The states of the model's versions."""
        status = self._ask("GET", self._url, timeout)
        return [row["state"] for row in status["model_version_status"]]

    def _ask(self, method: str, url: str, timeout: float, body=None) -> dict:
        try:
            response = self._http.request(
                method, url, json=body, timeout=max(timeout, 0.001)
            )
            answer = response.json()
        except httpx.TimeoutException as failure:
            raise error(
                "DEADLINE_EXCEEDED", f"No answer in time from {url}"
            ) from failure
        except httpx.TransportError as failure:
            raise error(
                "UNAVAILABLE", f"{url} is not to be reached: {failure}"
            ) from failure
        except ValueError as failure:
            raise error(
                _FROM_HTTP.get(response.status_code, "UNKNOWN"),
                f"Expected JSON from {url}. Received: status "
                f"{response.status_code}.",
            ) from failure
        if response.status_code != 200:
            message = answer.get("error") if isinstance(answer, dict) else None
            failure = error(
                _FROM_HTTP.get(response.status_code, "UNKNOWN"),
                message or f"{url} answered {response.status_code}",
            )
            seconds = response.headers.get("Retry-After", "")
            if isinstance(failure, UnavailableError) and seconds.isdecimal():
                failure.retry_after = float(seconds)
            raise failure
        return answer

    def close(self) -> None:
        """Close the connections."""
        self._http.close()


def _json(text: str | bytes) -> Any:
    """A text as the API has it: bytes need not be UTF-8."""
    if isinstance(text, str):
        return text
    return {"b64": base64.b64encode(text).decode()}


def _array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype("float32") if array.dtype.kind == "f" else array
