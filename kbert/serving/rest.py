"""TF Serving's REST API.

Reference: tensorflow_serving/model_servers/http_rest_api_handler.cc and
http_rest_api_util.cc; g3doc/api_rest.md.
"""

from __future__ import annotations

import functools
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
from kbert.exported.names import DEFAULT_SIGNATURE
from kbert.serving import json_answers
from kbert.serving import json_codec
from kbert.serving import json_parse
from kbert.serving import messages
from kbert.serving import signatures
from kbert.serving.bodies import is_zipped
from kbert.serving.bodies import read_body
from kbert.serving.bodies import unzip
from kbert.serving.core import Core
from kbert.serving.core import InferenceTask
from kbert.serving.core import ModelSpec
from kbert.serving.examples import examples_from_json
from kbert.serving.limits import SMALL
from kbert.serving.limits import Share
from kbert.serving.logs import Log
from kbert.serving.metrics import Metrics
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

# Of a path in the log.
LONGEST_PATH = 256


@dataclass(frozen=True)
class Rest:
    """Answers HTTP requests under `/v1/`.

    Attributes:
        core: answers them.
        metrics: counts them.
        log: notes them.
        timeout: seconds for a request, body included.
    """

    core: Core
    metrics: Metrics
    log: Log
    timeout: float

    async def __call__(self, request: Request) -> Response:
        started = time.perf_counter()
        path = request.scope["raw_path"].decode("latin-1").split("?")[0]
        shown = path[:LONGEST_PATH]
        found = _PREDICTION.fullmatch(path)
        api = found["method"].capitalize() if found else "Status"
        status, text, model = 200, b"", ""
        try:
            with self.metrics.request(api, "REST") as outcome:
                try:
                    text = await self._answer(request, path, outcome)
                except ServingError:
                    raise
                except ClientDisconnect:
                    raise error("CANCELLED", "The client went away") from None
                except Exception as failure:
                    # A fault of ours must not show its insides.
                    self.log("fault", path=shown, error=repr(failure))
                    raise error("INTERNAL", "Internal error") from failure
                finally:
                    model = outcome.model
        except ServingError as failure:
            status = http_status(failure)
            text = json_answers.dump({"error": str(failure)})
        self.log(
            "request",
            method=request.method,
            path=shown,
            model=model,
            status=status,
            ms=round(1e3 * (time.perf_counter() - started), 2),
        )
        # A full server says when to come again.
        headers = {"Retry-After": "1"} if status == 503 else None
        return Response(text, status, headers, media_type="application/json")

    async def _answer(self, request: Request, path: str, outcome) -> bytes:
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
            return json_answers.dump(self._about(spec, found["part"]))
        with self.core.held.share() as share:
            size, body = await self._read(request, deadline, share)
            if found["method"] == "predict":
                return await self._predict(spec, size, body, outcome)
            return await self._infer(spec, size, body, found["method"], outcome)

    async def _read(
        self, request: Request, deadline: float, share: Share
    ) -> tuple[int, dict]:
        """The size of the body, and what it says."""
        limits, run = self.core.limits, self.core.workers.run
        raw = await read_body(request, limits.body, deadline, share)
        if is_zipped(request):
            # A thousand times as much may come out of it, which may be work for
            # a thread, but is not yet what takes memory.
            size = min(1000 * len(raw), SMALL + 1)
            raw = await run(size, deadline, unzip, raw, limits.body)
            share.resize(len(raw))
        body = await run(len(raw), deadline, json_parse.parse, raw, limits)
        return len(raw), body

    def _about(self, spec: ModelSpec, part: str | None) -> dict:
        """ProcessModelStatusRequest, ProcessModelMetadataRequest."""
        if not spec.name:
            raise invalid("Missing model name in request.")
        if part == "metadata":
            return messages.metadata_json(messages.metadata(self.core, spec))
        return messages.as_json(messages.status(self.core, spec))

    async def _predict(
        self, spec: ModelSpec, size: int, body: dict, outcome
    ) -> bytes:
        """ProcessPredictRequest."""
        name = outcome.signature = json_codec.signature_name(body)
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
            inputs, row = json_codec.predict_inputs(
                body, dtypes, self.core.limits
            )
            return signatures.complete(signature, inputs, lambda _, x: x)

        outputs, _ = await self.core.predict(spec, size, read)
        outcome.rows = _rows(outputs)

        def answer() -> dict:
            return json_answers.predict_response(outputs, row)

        return await self.core.write(
            spec,
            outputs.values(),
            functools.partial(json_answers.write, answer),
        )

    async def _infer(
        self, spec: ModelSpec, size: int, body: dict, method: str, outcome
    ) -> bytes:
        """ProcessClassifyRequest, ProcessRegressRequest."""
        core, limits = self.core, self.core.limits
        task = InferenceTask(
            signatures.CLASSIFY if method == "classify" else signatures.REGRESS,
            json_codec.signature_name(body),
        )
        # Wrong examples are said before a model that is not there.
        examples = await core.workers.run(
            size, spec.deadline, examples_from_json, body, limits
        )
        (found,), _ = await core.infer(spec, 0, [task], lambda: examples)
        outcome.rows = len(examples)

        def answer() -> dict:
            if method == "regress":
                return {"results": json_answers.numbers(found["outputs"])}
            return {"results": messages.class_pairs(found)}

        return await core.write(
            spec,
            found.values(),
            functools.partial(json_answers.write, answer),
        )


def _preflight(request: Request) -> bytes:
    """A browser's question before a request of another origin.

    It is answered without the headers that would let the request pass, as
    --enable_cors_support is off there unless it is given.
    """
    if not re.search("https?://", request.headers.get("origin", "")):
        raise error(
            "FAILED_PRECONDITION",
            "Origin header is missing in CORS preflight",
        )
    return b""


def _spec(found: re.Match, deadline: float) -> ModelSpec:
    """ParseModelInfo."""
    version = found["version"]
    # Python makes no number of thousands of digits.
    if version is not None and (
        len(version.lstrip("0")) > 19 or int(version[-20:]) >= 2**63
    ):
        raise invalid(f"Failed to convert version: {version} to numeric.")
    return ModelSpec(
        name=unquote(found["name"] or ""),
        number=None if version is None else int(version[-20:]),
        label=None if found["label"] is None else unquote(found["label"]),
        signature="",
        deadline=deadline,
    )


def _rows(outputs: dict[str, Any]) -> int:
    return max((len(x) for x in outputs.values() if x.ndim), default=1)
