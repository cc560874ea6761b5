"""TF Serving's contract over the wire: the rows of contract.yaml.

They also run against another server, a real TF Serving: set
KBERT_SERVING_REST to its address (http://localhost:8501) and
KBERT_SERVING_GRPC (localhost:8500). It needs the models half_plus_two (with
the label stable for version 123), half_plus_two_tf2 and half_plus_three; rows
about other models and kbert's departures are skipped then.
"""

import gzip
import json
import math
import os
import re
from dataclasses import replace
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
import yaml
from google.protobuf import text_format
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis import regression_pb2

from kbert.serving.config import from_folder

REMOTE = os.environ.get("KBERT_SERVING_REST")
GROUPS = yaml.safe_load(
    Path(__file__).with_name("contract.yaml").read_text(encoding="utf-8")
)

# TF Serving's own test models: their names here, their folders there.
SHARED = Path(__file__).resolve().parents[3] / "shared" / "tfserving"
THEIRS = {
    "half_plus_two": SHARED / "saved_model_half_plus_two_cpu",
    "half_plus_two_tf2": SHARED / "saved_model_half_plus_two_tf2_cpu",
    "half_plus_three": SHARED / "saved_model_half_plus_three",
}
OURS = ("toy", "numbers", "kinds")

METHODS = {
    "Predict": (predict_pb2.PredictRequest, predict_pb2.PredictResponse),
    "Classify": (
        classification_pb2.ClassificationRequest,
        classification_pb2.ClassificationResponse,
    ),
    "Regress": (
        regression_pb2.RegressionRequest,
        regression_pb2.RegressionResponse,
    ),
    "MultiInference": (
        inference_pb2.MultiInferenceRequest,
        inference_pb2.MultiInferenceResponse,
    ),
    "GetModelMetadata": (
        get_model_metadata_pb2.GetModelMetadataRequest,
        get_model_metadata_pb2.GetModelMetadataResponse,
    ),
    "GetModelStatus": (
        get_model_status_pb2.GetModelStatusRequest,
        get_model_status_pb2.GetModelStatusResponse,
    ),
    "HandleReloadConfigRequest": (
        model_management_pb2.ReloadConfigRequest,
        model_management_pb2.ReloadConfigResponse,
    ),
}


@pytest.fixture(scope="module")
def contract_server(run_server, text_model, number_model, kind_model):
    models = [from_folder(p) for p in (text_model, number_model, kind_model)]
    if SHARED.is_dir():
        models += [from_folder(p, name) for name, p in THEIRS.items()]
    return run_server(
        [
            replace(m, labels={"stable": 123})
            if m.name == "half_plus_two"
            else m
            for m in models
        ],
        allow_reload=True,
    )


@pytest.fixture(scope="module")
def rest(request):
    url = REMOTE or request.getfixturevalue("contract_server").url
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def stubs(request):
    address = os.environ.get("KBERT_SERVING_GRPC")
    address = address or request.getfixturevalue("contract_server").grpc
    with grpc.insecure_channel(address) as channel:
        yield (
            prediction_service_pb2_grpc.PredictionServiceStub(channel),
            model_service_pb2_grpc.ModelServiceStub(channel),
        )


def rows(over_grpc):
    """The rows of one protocol, each with its group."""
    for group in GROUPS:
        name = group.get("rule") or group["departure"]
        for i, row in enumerate(group["rows"]):
            if (row[0] in METHODS) == over_grpc:
                yield pytest.param(
                    group, row, id=f"{name[:40]}-{i}-{row[0]}"[:80]
                )


def skip_what_is_elsewhere(group, row):
    model = re.search(f"\\b({'|'.join((*THEIRS, *OURS))})\\b", f"{row[:2]}")
    if REMOTE and ("departure" in group or (model and model[0] in OURS)):
        pytest.skip("only of our own server")
    if model and model[0] in THEIRS and not (REMOTE or SHARED.is_dir()):
        pytest.skip(f"no {SHARED}, TF Serving's test models")


def alike(one, other):
    """Whether two JSON values are, floats as float32."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        with np.errstate(over="ignore"):
            same = np.float32(one) == np.float32(other)
        return bool(same) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(
            alike(one[k], other[k]) for k in one
        )
    return one == other


@pytest.mark.parametrize(("group", "row"), rows(over_grpc=False))
def test_rest(rest, group, row):
    skip_what_is_elsewhere(group, row)
    ask, body, expected, options = (*row, {})[:4]
    method, _, path = ask.rpartition(" ")
    depth = options.get("nest", 0)
    if body is not None:
        body = body.replace("NEST", "[" * depth + "1.0" + "]" * depth)
        body = body.encode(options.get("encoding", "utf-8"))
        body = gzip.compress(body) if options.get("gzip") else body
    response = rest.request(
        method or "POST",
        path if path.startswith("/") else f"/v1/models/{path}",
        content=body,
        headers=options.get("headers"),
    )
    said = (group["from"], response.status_code, response.text[:400])
    if isinstance(expected, dict):
        assert response.status_code == 200, said
        assert alike(response.json(), expected), said
        assert response.headers["content-type"] == "application/json"
        return
    status, _, message = str(expected).partition(" ")
    assert response.status_code == int(status), said
    if message:
        assert response.headers["content-type"] == "application/json"
        answer = response.json()
        assert list(answer) == ["error"], said
        assert message in answer["error"], said


@pytest.mark.parametrize(("group", "row"), rows(over_grpc=True))
def test_grpc(stubs, group, row):
    skip_what_is_elsewhere(group, row)
    method, text, expected = row
    kind, answer = METHODS[method]
    request = text_format.Parse(text, kind())
    stub = next(stub for stub in stubs if hasattr(stub, method))
    try:
        response = getattr(stub, method)(request, timeout=60)
    except grpc.RpcError as failure:
        code, _, message = expected.partition(" ")
        said = (group["from"], failure.code().name, failure.details())
        assert code == failure.code().name, said
        assert message in failure.details(), said
        return
    if "{" in expected:
        assert response == text_format.Parse(expected, answer()), group["from"]
    else:  # What is sent comes back, in its own type.
        sent, came = request.inputs["x"], response.outputs["y"]
        assert sent.dtype == came.dtype == tf.as_dtype(expected)
        assert tf.make_ndarray(sent) == tf.make_ndarray(came)


def test_the_table_is_whole():
    table = [(group, row) for group in GROUPS for row in group["rows"]]
    theirs = [row for _, row in table if "half_plus" in f"{row[:2]}"]
    assert len(theirs) >= 150
    assert all({"from", "since"} <= group.keys() for group in GROUPS)
    docs = Path(__file__).parents[2] / "docs" / "serving.md"
    said = docs.read_text(encoding="utf-8")
    for group in GROUPS:
        if "departure" in group:
            assert f"| {group['departure']} |" in said


def test_metadata(rest, stubs):
    # http_rest_api_util.cc, ToJsonString(GetModelMetadataResponse)
    if REMOTE:
        pytest.skip("only of our own server")
    answer = rest.get("/v1/models/toy/metadata").json()
    assert answer["model_spec"] == {
        "name": "toy",
        "version": "1",
        "signature_name": "",
    }
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    text = signatures["serving_default"]["inputs"]["text"]
    assert text["dtype"] == "DT_STRING"
    assert text["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}],
        "unknown_rank": False,
    }
    method = signatures["classify"]["method_name"]
    assert method == "tensorflow/serving/classify"

    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "toy"
    request.metadata_field.append("signature_def")
    response = stubs[0].GetModelMetadata(request, timeout=60)
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == set(signatures)
    assert response.model_spec.version.value == 1


def test_every_way_gives_the_answers_of_predict(rest, stubs, classifier):
    if REMOTE:
        pytest.skip("the classifier of the remote model is not here")
    texts = ["aaa", "zz yyy", "Ünïcode 中文 😀", ""]
    body = json.dumps({"inputs": texts})
    columns = rest.post("/v1/models/toy:predict", content=body).json()
    columns = columns["outputs"]
    assert columns["label"] == classifier.predict(texts)
    np.testing.assert_allclose(
        columns["probabilities"], classifier.predict_proba(texts), atol=1e-5
    )
    body = json.dumps({"instances": [{"text": text} for text in texts]})
    rows = rest.post("/v1/models/toy:predict", content=body).json()
    for i, row in enumerate(rows["predictions"]):
        assert row == {name: columns[name][i] for name in columns}

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts))
    response = stubs[0].Predict(request, timeout=60)
    np.testing.assert_allclose(
        tf.make_ndarray(response.outputs["probabilities"]),
        columns["probabilities"],
        atol=1e-6,
    )

    examples = [{"text": text} for text in texts]
    body = json.dumps({"signature_name": "classify", "examples": examples})
    results = rest.post("/v1/models/toy:classify", content=body).json()
    for row, wanted in zip(
        results["results"], columns["probabilities"], strict=True
    ):
        assert [label for label, _ in row] == ["ham", "spam"]
        np.testing.assert_allclose([s for _, s in row], wanted, atol=1e-6)
