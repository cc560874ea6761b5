"""TF Serving's contract over the wire, one row a rule.

The rows of the text model also run against another server, a real TF Serving:
set KBERT_SERVING_REST to its address (http://localhost:8501),
KBERT_SERVING_GRPC (localhost:8500) and KBERT_SERVING_MODEL to the name of a
model with the labels ham and spam.
"""

import gzip
import json
import os

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.apis import get_model_status_pb2
from tensorflow_serving.apis import inference_pb2
from tensorflow_serving.apis import model_management_pb2
from tensorflow_serving.apis import model_service_pb2_grpc
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc
from tensorflow_serving.apis import regression_pb2

REMOTE = os.environ.get("KBERT_SERVING_REST")
MODEL = os.environ.get("KBERT_SERVING_MODEL", "toy")
HANDLER = "model_servers/http_rest_api_handler.cc"
UTIL = "model_servers/http_rest_api_util.cc"
JSON = "util/json_tensor.cc"
PREDICT = "servables/tensorflow/predict_util.cc"
CLASSIFIER = "servables/tensorflow/classifier.cc"
REGRESSOR = "servables/tensorflow/regressor.cc"
MULTI = "servables/tensorflow/multi_inference.cc"
METADATA = "servables/tensorflow/get_model_metadata_impl.cc"
STATUS = "model_servers/get_model_status_impl.cc"
CORE = "model_servers/server_core.cc"
MANAGER = "core/basic_manager.cc"

only_here = pytest.mark.skipif(
    REMOTE is not None, reason="needs a model that only our server has here"
)


@pytest.fixture(scope="module")
def rest(request):
    url = REMOTE or request.getfixturevalue("server").url
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def channel(request):
    address = os.environ.get("KBERT_SERVING_GRPC")
    address = address or request.getfixturevalue("server").grpc
    with grpc.insecure_channel(address) as channel:
        yield channel


# === REST ===

P, C, R = ":predict", ":classify", ":regress"
TEXT = '{"instances": ["aaa bb", "zz yyy"]}'

# Where the rule is from; method and path after /v1/models/MODEL; body;
# status; what the error says, or the keys of the answer.
RULES = [
    # --- predict, row form ---
    (JSON, "POST", P, TEXT, 200, ["predictions"]),
    (JSON, "POST", P, '{"instances": [{"text": "a"}]}', 200, ["predictions"]),
    (JSON, "POST", P, '{"instances": [{"b64": "YQ=="}]}', 200, ["predictions"]),
    (JSON, "POST", P, '{"instances": [{"b64": "?"}]}', 400, "base64"),
    (JSON, "POST", P, '{"instances": []}', 400, "No values in 'instances'"),
    (JSON, "POST", P, '{"instances": 1}', 400, "to be an list/array"),
    (JSON, "POST", P, '{"instances": [1]}', 400, "not of expected type: str"),
    (JSON, "POST", P, '{"instances": [null]}', 400, "Type: Null"),
    (JSON, "POST", P, '{"instances": ["a", {"text": "b"}]}', 400, "at item 1"),
    (JSON, "POST", P, '{"instances": [{"text": "b"}, "a"]}', 400, "at item 1"),
    (JSON, "POST", P, '{"instances": [{"tex": "b"}]}', 400, "tex"),
    (JSON, "POST", P, '{"instances": [["a"], ["b", "c"]]}', 400, "size"),
    (JSON, "POST", P, '{"instances": [["a"], "b"]}', 400, "b"),
    # --- predict, columnar form ---
    (JSON, "POST", P, '{"inputs": ["a"]}', 200, ["outputs"]),
    (JSON, "POST", P, '{"inputs": {"text": ["a"]}}', 200, ["outputs"]),
    (JSON, "POST", P, '{"inputs": {"tex": ["a"]}}', 400, "Missing named input"),
    (JSON, "POST", P, '{"inputs": ["a"], "instances": ["a"]}', 400, "only one"),
    (
        JSON,
        "POST",
        P,
        '{"signature_name": "classify"}',
        400,
        "Missing 'inputs'",
    ),
    # --- what is no request ---
    (JSON, "POST", P, "", 400, "The document is empty"),
    (JSON, "POST", P, "instances = [1]", 400, "JSON Parse error"),
    (JSON, "POST", P, "[1]", 400, "Is not object"),
    (JSON, "POST", P, '{"signature_name": 100}', 400, "must be a string value"),
    # --- signatures ---
    (
        *(HANDLER, "POST", P),
        '{"signature_name": "serving_default", "instances": ["a"]}',
        *(200, ["predictions"]),
    ),
    (
        *(HANDLER, "POST", P),
        '{"signature_name": "nope", "instances": ["a"]}',
        *(400, 'Serving signature name: "nope" not found in signature def'),
    ),
    # --- classify ---
    (
        *(CLASSIFIER, "POST", C),
        '{"signature_name": "classify", "examples": [{"text": "aaa"}]}',
        *(200, ["results"]),
    ),
    (
        *(JSON, "POST", C),
        '{"signature_name": "classify", "context": {"text": "aaa"}, '
        '"examples": [{}]}',
        *(200, ["results"]),
    ),
    (
        *(JSON, "POST", C),
        '{"signature_name": "classify", "examples": [{"text": ["aaa"]}]}',
        *(200, ["results"]),
    ),
    (
        *(CLASSIFIER, "POST", C),
        '{"examples": [{"text": "aaa"}]}',
        *(400, "signature method_name to be tensorflow/serving/classify"),
    ),
    (
        CLASSIFIER,
        "POST",
        C,
        '{"signature_name": "no", "examples": [{}]}',
        400,
        "",
    ),
    (JSON, "POST", C, '{"examples": []}', 400, "empty array"),
    (JSON, "POST", C, '{"examples": 1}', 400, "list/array"),
    (JSON, "POST", C, "{}", 400, "'examples' is expected"),
    (JSON, "POST", C, '{"examples": [1]}', 400, "must be JSON object"),
    (JSON, "POST", C, '{"examples": [{"text": null}]}', 400, "Null"),
    (JSON, "POST", C, '{"examples": [{"text": [["a"]]}]}', 400, "Array"),
    (
        JSON,
        "POST",
        C,
        '{"examples": [{"text": ["a", 1]}]}',
        400,
        "element type",
    ),
    (
        *(JSON, "POST", C),
        '{"examples": [{"text": 9223372036854775808}]}',
        *(400, "Only int64 is supported"),
    ),
    (REGRESSOR, "POST", R, '{"examples": [{"text": "a"}]}', 400, "regress"),
    # --- status and metadata ---
    (STATUS, "GET", "", None, 200, ["model_version_status"]),
    (STATUS, "GET", "/versions/1", None, 200, ["model_version_status"]),
    (STATUS, "GET", "/versions/99", None, 404, "Could not find version 99"),
    (METADATA, "GET", "/metadata", None, 200, ["metadata", "model_spec"]),
    (
        *(METADATA, "GET", "/versions/1/metadata", None, 200),
        ["metadata", "model_spec"],
    ),
    (MANAGER, "GET", "/versions/99/metadata", None, 404, "Specific("),
    # --- versions, labels, paths ---
    (UTIL, "POST", f"/versions/1{P}", TEXT, 200, ["predictions"]),
    (MANAGER, "POST", f"/versions/99{P}", TEXT, 404, "Specific("),
    (UTIL, "POST", f"/versions/{2**64}{P}", TEXT, 400, "convert version"),
    (
        CORE,
        "POST",
        f"/labels/no{P}",
        TEXT,
        400,
        "Unrecognized servable version",
    ),
    (HANDLER, "POST", f"/version/1{P}", TEXT, 400, "Malformed request"),
    (HANDLER, "POST", f"/versions/x{P}", TEXT, 400, "Malformed request"),
    (HANDLER, "GET", P, None, 400, "Malformed request"),
    (HANDLER, "POST", "", TEXT, 400, "Malformed request"),
]


@pytest.mark.parametrize(
    ("source", "method", "path", "body", "status", "expected"),
    RULES,
    ids=[f"{rule[1]}{rule[2]}-{i}" for i, rule in enumerate(RULES)],
)
def test_rest_rule(rest, source, method, path, body, status, expected):
    path = f"/v1/models/{MODEL}{path}"
    response = rest.request(method, path, content=body)
    answer = response.json()
    assert response.status_code == status, (source, answer)
    assert response.headers["content-type"] == "application/json"
    if status == 200:
        assert sorted(answer) == expected, source
    else:
        assert sorted(answer) == ["error"], source
        assert expected in answer["error"], source


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("POST", "/v1/models/nope:predict", 404, "Latest(nope)"),
        ("GET", "/v1/models/nope", 404, "any versions of model nope"),
        ("GET", "/v1/models", 400, "Missing model name"),
        ("GET", "/v1/foo", 400, "Malformed request"),
        ("POST", "/v1/foo", 400, "Malformed request"),
        ("PUT", f"/v1/models/{MODEL}:predict", 400, "Malformed request"),
    ],
)
def test_rest_path(rest, method, path, status, message):
    # http_rest_api_handler.cc and its test, UnsupportedApiCalls
    response = rest.request(method, path, content=TEXT)
    assert response.status_code == status
    assert message in response.json()["error"]


def test_paths_do_not_heed_case(rest):
    # http_rest_api_util.cc: (?i)
    response = rest.post(f"/V1/MODELS/{MODEL}:PREDICT", content=TEXT)
    assert response.status_code == 200


def test_row_form_gives_objects_of_all_outputs(rest):
    # json_tensor.cc, MakeRowFormatJsonFromTensors
    answer = rest.post(f"/v1/models/{MODEL}:predict", content=TEXT).json()
    assert len(answer["predictions"]) == 2
    for row in answer["predictions"]:
        assert sorted(row) == ["label", "probabilities", "score"]
        assert row["label"] in ("ham", "spam")
        assert row["score"] == max(row["probabilities"])


def test_columnar_form_gives_columns(rest):
    # json_tensor.cc, MakeColumnarFormatJsonFromTensors
    body = '{"inputs": ["a", "b", "c"]}'
    answer = rest.post(f"/v1/models/{MODEL}:predict", content=body).json()
    assert len(answer["outputs"]["label"]) == 3
    assert np.shape(answer["outputs"]["probabilities"]) == (3, 2)


def test_classify_gives_pairs_of_label_and_score(rest):
    # json_tensor.cc, MakeJsonFromClassificationResult
    body = {"signature_name": "classify", "examples": [{"text": "aaa"}] * 2}
    answer = rest.post(f"/v1/models/{MODEL}:classify", json=body).json()
    assert len(answer["results"]) == 2
    for row in answer["results"]:
        assert [label for label, _ in row] == ["ham", "spam"]
        assert sum(score for _, score in row) == pytest.approx(1, abs=1e-5)


def test_status_has_all_fields(rest):
    # get_model_status.proto; always_print_primitive_fields
    answer = rest.get(f"/v1/models/{MODEL}/versions/1").json()
    assert answer["model_version_status"] == [
        {
            "version": "1",
            "state": "AVAILABLE",
            "status": {"error_code": "OK", "error_message": ""},
        }
    ]


def test_metadata_has_the_signatures(rest):
    # http_rest_api_util.cc, ToJsonString(GetModelMetadataResponse)
    answer = rest.get(f"/v1/models/{MODEL}/metadata").json()
    assert answer["model_spec"]["name"] == MODEL
    assert answer["model_spec"]["version"] == "1"
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    text = signatures["serving_default"]["inputs"]["text"]
    assert text["dtype"] == "DT_STRING"
    assert text["tensor_shape"]["dim"] == [{"size": "-1", "name": ""}]
    method = signatures["classify"]["method_name"]
    assert method == "tensorflow/serving/classify"


def test_gzip_bodies(rest):
    # util/net_http/server/internal/evhttp_request.cc
    response = rest.post(
        f"/v1/models/{MODEL}:predict",
        content=gzip.compress(TEXT.encode()),
        headers={"Content-Encoding": "gzip"},
    )
    assert response.status_code == 200


NUMBERS = [
    # util/json_tensor.cc, WriteDecimal and a single output without its name
    ({"instances": [[1.0, 2.0]]}, {"predictions": [[2.5, 3.0]]}),
    ({"inputs": [[1.0, 2.0]]}, {"outputs": [[2.5, 3.0]]}),
    ({"instances": [[0.2, -4]]}, {"predictions": [[2.1, 0.0]]}),
    # Several inputs are objects with exactly the input names.
    (
        {"signature_name": "two", "instances": [{"x": 1, "n": 1}]},
        {"predictions": [{"y": 2.5, "n": 2}]},
    ),
    (
        {"signature_name": "two", "inputs": {"x": [1], "n": [1]}},
        {"outputs": {"y": [2.5], "n": [2]}},
    ),
    # Bytes outputs by their name.
    (
        {"signature_name": "echo", "instances": ["a"]},
        {"predictions": [{"same_bytes": {"b64": "YQ=="}, "same": "a"}]},
    ),
]


@only_here
@pytest.mark.parametrize(("body", "expected"), NUMBERS)
def test_numbers(rest, body, expected):
    response = rest.post("/v1/models/numbers:predict", json=body)
    assert response.json() == expected


NUMBER_ERRORS = [
    (P, '{"instances": ["x"]}', "not of expected type: float"),
    (P, '{"instances": [[1, 16777216]]}', "without loss of precision"),
    (P, '{"instances": [[1, 1e39]]}', "without loss of precision"),
    (P, '{"instances": [[1, true]]}', "Type: True"),
    (P, '{"instances": [[1, 2, 3]]}', "shape"),
    (P, '{"signature_name": "two", "instances": [1]}', "list of objects"),
    (P, '{"signature_name": "two", "inputs": [1]}', "expecting an object"),
    (
        P,
        '{"signature_name": "two", "instances": [{"x": 1, "n": 2147483648}]}',
        "expected type: int32",
    ),
    (
        P,
        '{"signature_name": "two", "inputs": {"x": [1, 2], "n": [1]}}',
        "equal 0th-dimension",
    ),
    # A scalar is no row.
    (P, '{"signature_name": "total", "instances": ["a"]}', "no shape"),
    (R, '{"signature_name": "regress", "examples": [{}]}', "x"),
]


@only_here
@pytest.mark.parametrize(("path", "body", "message"), NUMBER_ERRORS)
def test_numbers_that_are_wrong(rest, path, body, message):
    response = rest.post(f"/v1/models/numbers{path}", content=body)
    assert response.status_code == 400, response.text
    assert message in response.json()["error"]


@only_here
def test_regress_and_scores_without_classes(rest):
    # servables/tensorflow/regressor.cc; classifier.cc
    examples = [{"x": 80.0}, {"x": 2.0}]
    body = {"signature_name": "regress", "examples": examples}
    answer = rest.post("/v1/models/numbers:regress", json=body).json()
    assert answer == {"results": [42.0, 3.0]}
    body["signature_name"] = "scores"
    answer = rest.post("/v1/models/numbers:classify", json=body).json()
    assert answer == {"results": [[["", 80.0]], [["", 2.0]]]}


# === gRPC ===


def example(**features):
    made = tf.train.Example()
    for name, value in features.items():
        if isinstance(value, float):
            made.features.feature[name].float_list.value.append(value)
        else:
            made.features.feature[name].bytes_list.value.append(value.encode())
    return made


def ask(call, request):
    """The code and the message of a failure, or the answer."""
    try:
        return call(request, timeout=60)
    except grpc.RpcError as error:
        return error.code().name, error.details()


@pytest.fixture(scope="module")
def prediction(channel):
    return prediction_service_pb2_grpc.PredictionServiceStub(channel)


def predict_request(texts=("aaa", "zz"), name="text", **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = spec.pop("model", MODEL)
    for key, value in spec.items():
        if key == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, key, value)
    request.inputs[name].CopyFrom(tf.make_tensor_proto(list(texts)))
    return request


def test_grpc_predict(prediction, rest):
    response = prediction.Predict(predict_request(), timeout=60)
    assert response.model_spec.name == MODEL
    assert response.model_spec.version.value == 1
    assert response.model_spec.signature_name == "serving_default"
    outputs = {k: tf.make_ndarray(v) for k, v in response.outputs.items()}
    assert sorted(outputs) == ["label", "probabilities", "score"]
    body = {"inputs": ["aaa", "zz"]}
    answer = rest.post(f"/v1/models/{MODEL}:predict", json=body).json()
    np.testing.assert_allclose(
        outputs["probabilities"], answer["outputs"]["probabilities"], atol=1e-6
    )


def test_grpc_output_filter(prediction):
    request = predict_request()
    request.output_filter.append("label")
    assert list(prediction.Predict(request, timeout=60).outputs) == ["label"]


GRPC_RULES = [
    (MANAGER, {"model": "nope"}, {}, "NOT_FOUND", "Latest(nope)"),
    (MANAGER, {"version": 9}, {}, "NOT_FOUND", f"Specific({MODEL}, 9)"),
    (CORE, {"version_label": "no"}, {}, "INVALID_ARGUMENT", "Unrecognized"),
    (CORE, {"model": ""}, {}, "INVALID_ARGUMENT", "no name"),
    (
        *(PREDICT, {"signature_name": "no"}, {}),
        *("FAILED_PRECONDITION", 'signature key "no" not found'),
    ),
    (PREDICT, {}, {"name": "no"}, "INVALID_ARGUMENT", "no"),
]


@pytest.mark.parametrize(
    ("source", "spec", "inputs", "code", "message"), GRPC_RULES
)
def test_grpc_rule(prediction, source, spec, inputs, code, message):
    failure = ask(prediction.Predict, predict_request(**inputs, **spec))
    assert failure[0] == code, (source, failure)
    assert message in failure[1]


@pytest.mark.parametrize(
    ("names", "message"),
    [(["no"], "alias not found"), (["label", "label"], "duplicate")],
)
def test_grpc_output_filter_that_is_wrong(prediction, names, message):
    # predict_util.cc, PreProcessPrediction
    request = predict_request()
    request.output_filter.extend(names)
    code, text = ask(prediction.Predict, request)
    assert code == "INVALID_ARGUMENT" and message in text


def test_grpc_input_of_another_type(prediction):
    request = predict_request()
    request.inputs["text"].CopyFrom(tf.make_tensor_proto([1.0]))
    assert ask(prediction.Predict, request)[0] == "INVALID_ARGUMENT"


def test_grpc_without_a_spec(prediction):
    for call, request in (
        (prediction.Predict, predict_pb2.PredictRequest()),
        (prediction.Classify, classification_pb2.ClassificationRequest()),
        (prediction.Regress, regression_pb2.RegressionRequest()),
    ):
        assert ask(call, request)[0] == "INVALID_ARGUMENT"


@only_here
def test_grpc_tensor_that_claims_to_be_huge(prediction):
    request = predict_request()
    proto = request.inputs["text"]
    proto.tensor_shape.dim[0].size = 10**12
    code, message = ask(prediction.Predict, request)
    assert code == "RESOURCE_EXHAUSTED" and "at most" in message


def classify_request(signature="classify", examples=None, model=MODEL):
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    examples = [example(text="aaa")] if examples is None else examples
    request.input.example_list.examples.extend(examples)
    return request


def test_grpc_classify(prediction):
    response = prediction.Classify(classify_request(), timeout=60)
    (row,) = response.result.classifications
    assert [c.label for c in row.classes] == ["ham", "spam"]
    assert sum(c.score for c in row.classes) == pytest.approx(1, abs=1e-5)
    assert response.model_spec.signature_name == "classify"


def test_grpc_classify_with_context(prediction):
    # util.cc, InputToSerializedExampleTensor
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = MODEL
    request.model_spec.signature_name = "classify"
    context = request.input.example_list_with_context
    context.context.CopyFrom(example(text="aaa"))
    context.examples.extend([tf.train.Example()] * 2)
    response = prediction.Classify(request, timeout=60)
    assert len(response.result.classifications) == 2


def test_grpc_classify_that_is_wrong(prediction):
    failure = ask(prediction.Classify, classify_request(examples=[]))
    assert failure == ("INVALID_ARGUMENT", "Input is empty.")
    failure = ask(prediction.Classify, classify_request("serving_default"))
    assert failure[0] == "INVALID_ARGUMENT"
    assert "method_name to be tensorflow/serving/classify" in failure[1]
    failure = ask(prediction.Classify, classify_request(model="nope"))
    assert failure[0] == "NOT_FOUND"


@only_here
def test_grpc_regress(prediction):
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "numbers"
    request.model_spec.signature_name = "regress"
    request.input.example_list.examples.append(example(x=80.0))
    response = prediction.Regress(request, timeout=60)
    assert [r.value for r in response.result.regressions] == [42.0]


def multi_request(*tasks, model=MODEL):
    request = inference_pb2.MultiInferenceRequest()
    for method, signature in tasks:
        task = request.tasks.add()
        task.model_spec.name = model
        task.model_spec.signature_name = signature
        task.method_name = f"tensorflow/serving/{method}"
    request.input.example_list.examples.append(example(text="aaa"))
    return request


def test_grpc_multi_inference(prediction):
    request = multi_request(("classify", "classify"))
    (result,) = prediction.MultiInference(request, timeout=60).results
    assert len(result.classification_result.classifications) == 1
    assert result.model_spec.signature_name == "classify"


def test_grpc_multi_inference_that_is_wrong(prediction):
    # multi_inference.cc, TensorFlowMultiInferenceRunner::Infer
    twice = multi_request(("classify", "classify"), ("classify", "classify"))
    code, message = ask(prediction.MultiInference, twice)
    assert code == "INVALID_ARGUMENT" and "Duplicate evaluation" in message
    other = multi_request(("predict", "serving_default"))
    assert ask(prediction.MultiInference, other)[0] == "UNIMPLEMENTED"
    several = multi_request(("classify", "classify"), ("classify", "x"))
    several.tasks[1].model_spec.name = "other"
    code, message = ask(prediction.MultiInference, several)
    assert code == "INVALID_ARGUMENT" and "same model name" in message


@only_here
def test_grpc_multi_inference_needs_one_input_tensor(prediction):
    # Each signature of TensorFlow 2 has an input tensor of its own.
    request = multi_request(
        ("classify", "scores"), ("regress", "regress"), model="numbers"
    )
    code, message = ask(prediction.MultiInference, request)
    assert code == "INVALID_ARGUMENT" and "must be the same" in message


def metadata_request(*fields, model=MODEL):
    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = model
    request.metadata_field.extend(fields)
    return request


def test_grpc_metadata(prediction):
    request = metadata_request("signature_def")
    response = prediction.GetModelMetadata(request, timeout=60)
    found = get_model_metadata_pb2.SignatureDefMap()
    response.metadata["signature_def"].Unpack(found)
    assert {"serving_default", "classify"} <= set(found.signature_def)
    assert response.model_spec.version.value == 1


def test_grpc_metadata_that_is_wrong(prediction):
    call = prediction.GetModelMetadata
    assert ask(call, metadata_request())[0] == "INVALID_ARGUMENT"
    assert ask(call, metadata_request("x"))[0] == "INVALID_ARGUMENT"
    wrong = metadata_request("signature_def", model="nope")
    assert ask(call, wrong)[0] == "NOT_FOUND"


def test_grpc_status(channel):
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    request = get_model_status_pb2.GetModelStatusRequest()
    assert ask(service.GetModelStatus, request)[0] == "INVALID_ARGUMENT"
    request.model_spec.name = MODEL
    (row,) = service.GetModelStatus(request, timeout=60).model_version_status
    assert row.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    request.model_spec.version.value = 9
    assert ask(service.GetModelStatus, request)[0] == "NOT_FOUND"


def test_grpc_reload_of_nothing(channel):
    # model_service_impl.cc, HandleReloadConfigRequest
    service = model_service_pb2_grpc.ModelServiceStub(channel)
    request = model_management_pb2.ReloadConfigRequest()
    failure = ask(service.HandleReloadConfigRequest, request)
    assert failure[0] == "INVALID_ARGUMENT"
    assert "ModelConfigList" in failure[1]


def test_answers_are_those_of_predict(request, rest):
    if REMOTE:
        pytest.skip("the classifier of the remote model is not here")
    clf = request.getfixturevalue("classifier")
    texts = ["aaa", "zz yyy", "Ünïcode 中文 😀", ""]
    body = json.dumps({"inputs": texts})
    answer = rest.post(f"/v1/models/{MODEL}:predict", content=body).json()
    assert answer["outputs"]["label"] == clf.predict(texts)
    np.testing.assert_allclose(
        answer["outputs"]["probabilities"], clf.predict_proba(texts), atol=1e-5
    )
