"""TF Serving's REST API.

Reference: tensorflow_serving/model_servers/http_rest_api_handler.cc and
http_rest_api_util.cc; g3doc/api_rest.md.
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from dataclasses import replace
from typing import Any
from urllib.parse import unquote

import numpy as np
from starlette.requests import ClientDisconnect
from starlette.requests import Request
from starlette.responses import Response

from kbert.errors import ServingError
from kbert.serving import json_answers
from kbert.serving import json_codec
from kbert.serving import json_parse
from kbert.serving import messages
from kbert.serving import signatures
from kbert.serving.bodies import read_body
from kbert.serving.core import Core
from kbert.serving.core import Spec
from kbert.serving.core import Task
from kbert.serving.examples import examples_from_json
from kbert.serving.logs import Log
from kbert.serving.metrics import Metrics
from kbert.serving.servable import DEFAULT_SIGNATURE
from kbert.serving.status import error
from kbert.serving.status import http_status
from kbert.serving.status import invalid

# kPredictionApiGegex and kModelStatusApiRegex. They do not heed case, what
# compares the method afterwards does.
_VERSION = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_PREDICTION = re.compile(
    rf"/v1/models/(?P<name>[^/:]+){_VERSION}"
    r":(?P<method>(?-i:classify|regress|predict))",
    re.IGNORECASE | re.ASCII,
)
_STATUS = re.compile(
    rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<part>metadata))?",
    re.IGNORECASE | re.ASCII,
)

# Bodies above this are parsed in a thread, others wait less for the switch.
LARGE_BODY = 64 * 1024


@dataclass(frozen=True)
class Rest:
    """Answers HTTP requests under `/v1/`.

    Attributes:
        core: answers them.
        metrics: counts them.
        log: notes them.
        timeout: seconds for a request, body included.
        max_body: bytes of a body.
    """

    core: Core
    metrics: Metrics
    log: Log
    timeout: float
    max_body: int

    async def __call__(self, request: Request) -> Response:
        started = time.perf_counter()
        path = request.scope["raw_path"].decode("latin-1").split("?")[0]
        found = _PREDICTION.fullmatch(path)
        api = found["method"].capitalize() if found else "Status"
        status, text, model = 200, b"", ""
        try:
            with self.metrics.request(api, "REST") as outcome:
                try:
                    body = await self._answer(request, path, outcome)
                    text = b"" if body is None else json_answers.dump(body)
                except ServingError:
                    raise
                except ClientDisconnect:
                    raise error("CANCELLED", "The client went away") from None
                except Exception as failure:
                    # A fault of ours must not show its insides.
                    self.log("fault", path=path, error=repr(failure))
                    raise error("INTERNAL", "Internal error") from failure
                finally:
                    model = outcome.model
        except ServingError as failure:
            status = http_status(failure)
            text = json_answers.dump({"error": str(failure)})
        self.log(
            "request",
            method=request.method,
            path=path,
            model=model,
            status=status,
            ms=round(1e3 * (time.perf_counter() - started), 2),
        )
        # A full server says when to come again.
        headers = {"Retry-After": "1"} if status == 503 else None
        return Response(text, status, headers, media_type="application/json")

    async def _answer(
        self, request: Request, path: str, outcome
    ) -> dict | None:
        method = request.method
        if method == "OPTIONS":
            return _preflight(request)
        pattern = {"POST": _PREDICTION, "GET": _STATUS}.get(method)
        found = pattern.fullmatch(path) if pattern else None
        if found is None:
            raise invalid(f"Malformed request: {method} {path}")
        deadline = time.monotonic() + self.timeout
        spec = _spec(found, deadline)
        if spec.name in self.core.models.configs:
            outcome.model = spec.name
        if method == "GET":
            return self._about(spec, found["part"])
        raw = await read_body(request, self.max_body, deadline)
        if len(raw) > LARGE_BODY:
            body = await asyncio.to_thread(json_parse.parse, raw)
        else:
            body = json_parse.parse(raw)
        if found["method"] == "predict":
            return await self._predict(spec, body, outcome)
        return await self._infer(spec, body, found["method"], outcome)

    def _about(self, spec: Spec, part: str | None) -> dict:
        """ProcessModelStatusRequest, ProcessModelMetadataRequest."""
        if not spec.name:
            raise invalid("Missing model name in request.")
        if part == "metadata":
            return messages.metadata_json(messages.metadata(self.core, spec))
        return messages.as_json(messages.status(self.core, spec))

    async def _predict(self, spec: Spec, body: dict, outcome) -> dict:
        """ProcessPredictRequest."""
        name = json_codec.signature_name(body)
        spec = replace(spec, signature=name)
        row = False

        def read(signature) -> dict[str, np.ndarray]:
            nonlocal row
            if signature is None:  # GetInfoMap's words, not those of gRPC.
                raise invalid(
                    f'Serving signature name: "{name or DEFAULT_SIGNATURE}" '
                    f"not found in signature def"
                )
            dtypes = signatures.dtypes(signature)
            if not dtypes:
                raise invalid(
                    "Failed to get input map for signature: "
                    f"{name or 'DEFAULT'}"
                )
            inputs, row = json_codec.predict_inputs(body, dtypes)
            return signatures.complete(signature, inputs, lambda _, x: x)

        outputs, _ = await self.core.predict(spec, read)
        outcome.rows = _rows(outputs)
        return json_answers.predict_response(outputs, row)

    async def _infer(
        self, spec: Spec, body: dict, method: str, outcome
    ) -> dict:
        """ProcessClassifyRequest, ProcessRegressRequest."""
        task = Task(
            signatures.CLASSIFY if method == "classify" else signatures.REGRESS,
            json_codec.signature_name(body),
        )
        examples = examples_from_json(body)
        (answer,), _ = await self.core.infer(spec, [task], lambda: examples)
        outcome.rows = len(examples)
        if method == "regress":
            return {"results": json_answers.numbers(answer["outputs"])}
        return {"results": messages.class_pairs(answer)}


def _preflight(request: Request) -> None:
    """A browser's question before a request of another origin.

    It is answered without the headers that would let the request pass, as
    --enable_cors_support is off there unless it is given.
    """
    if not re.search("https?://", request.headers.get("origin", "")):
        raise error(
            "FAILED_PRECONDITION",
            "Origin header is missing in CORS preflight",
        )


def _spec(found: re.Match, deadline: float) -> Spec:
    """ParseModelInfo."""
    version = found["version"]
    if version is not None and int(version) >= 2**63:
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return Spec(
        name=unquote(found["name"] or ""),
        number=None if version is None else int(version),
        label=None if found["label"] is None else unquote(found["label"]),
        signature="",
        deadline=deadline,
    )


def _rows(outputs: dict[str, Any]) -> int:
    return max((len(x) for x in outputs.values() if x.ndim), default=1)
