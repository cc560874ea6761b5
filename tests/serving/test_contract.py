"""TF Serving's contract over the wire: the rows of contract.yaml.

They also run against another server, a real TF Serving: set
KBERT_SERVING_REST to its address (http://localhost:8501),
KBERT_SERVING_GRPC (localhost:8500) and KBERT_SERVING_MODEL to the name of a
model with the labels ham and spam. Rows about TF Serving's own test models
run if the server has them by their names here (half_plus_two with the label
stable for version 123); kbert's departures are skipped then.
"""

import gzip
import math
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

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
MODEL = os.environ.get("KBERT_SERVING_MODEL", "toy")
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
OURS = ("numbers", "kinds")

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


@pytest.fixture(scope="module")
def found(rest):
    """Which of the models the server has."""
    return {
        name
        for name in (*THEIRS, *OURS)
        if rest.get(f"/v1/models/{name}").status_code == 200
    }


def prepared(group, row, found):
    """The row for the server that is asked, or skipped."""
    if REMOTE and "departure" in group:
        pytest.skip("only of our own server")
    names = sorted((*THEIRS, *OURS), key=len, reverse=True)
    asked = re.search("|".join(names), unquote(f"{row[:2]}"))
    if asked and asked[0] not in found:
        pytest.skip(f"no model {asked[0]}, which may be in {SHARED}")
    return [
        re.sub(r"\btoy\b", MODEL, part) if isinstance(part, str) else part
        for part in row
    ]


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
def test_rest(rest, found, group, row):
    row = prepared(group, row, found)
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
    if isinstance(expected, dict | list):
        assert response.status_code == 200, said
        answer = response.json()
        if isinstance(expected, list):
            answer = sorted(answer)
        assert alike(answer, expected), said
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
def test_grpc(stubs, found, group, row):
    method, text, expected = prepared(group, row, found)
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
    answer = rest.get(f"/v1/models/{MODEL}/metadata").json()
    assert answer["model_spec"] == {
        "name": MODEL,
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
    request.model_spec.name = MODEL
    request.metadata_field.append("signature_def")
    response = stubs[0].GetModelMetadata(request, timeout=60)
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    assert set(found.signature_def) == set(signatures)
    assert response.model_spec.version.value == 1


def test_every_way_gives_the_same_answers(rest, stubs):
    texts = ["aaa", "zz yyy", "Ünïcode 中文 😀", ""]
    url = f"/v1/models/{MODEL}"
    columns = rest.post(f"{url}:predict", json={"inputs": texts}).json()
    columns = columns["outputs"]
    assert sorted(columns) == ["label", "probabilities", "score"]
    rows = rest.post(f"{url}:predict", json={"instances": texts}).json()
    for i, row in enumerate(rows["predictions"]):
        assert row == {name: columns[name][i] for name in columns}
        assert row["score"] == max(row["probabilities"])

    request = predict_pb2.PredictRequest()
    request.model_spec.name = MODEL
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts))
    response = stubs[0].Predict(request, timeout=60)
    for name, column in columns.items():
        came = tf.make_ndarray(response.outputs[name])
        if name == "label":
            assert [label.decode() for label in came] == column
        else:
            np.testing.assert_allclose(came, column, atol=1e-6)

    body = {"signature_name": "classify"}
    body["examples"] = [{"text": text} for text in texts]
    results = rest.post(f"{url}:classify", json=body).json()["results"]
    for row, wanted in zip(results, columns["probabilities"], strict=True):
        assert [label for label, _ in row] == ["ham", "spam"]
        np.testing.assert_allclose([s for _, s in row], wanted, atol=1e-6)


def test_answers_are_those_of_predict(rest, classifier):
    if REMOTE:
        pytest.skip("the classifier of the remote model is not here")
    texts = ["aaa", "zz yyy", "Ünïcode 中文 😀", ""]
    answer = rest.post("/v1/models/toy:predict", json={"inputs": texts}).json()
    assert answer["outputs"]["label"] == classifier.predict(texts)
    np.testing.assert_allclose(
        answer["outputs"]["probabilities"],
        classifier.predict_proba(texts),
        atol=1e-5,
    )
