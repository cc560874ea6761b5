import pytest

from kbert.errors import ConfigError
from kbert.exported.warmup import write_warmup

REQUESTS = [
    {"text": ["Hello", "déjà vu"], "pair": ["x", ""]},
    {"text": ["one"], "pair": ["two"]},
]


@pytest.fixture(scope="module")
def version_dir(tmp_path_factory):
    """A model of two inputs with both kinds of signature."""
    import tensorflow as tf

    names = ("text", "pair")
    strings = [tf.TensorSpec([None], tf.string, name=name) for name in names]
    examples = tf.TensorSpec([None], tf.string, name="examples")
    features = {name: tf.io.FixedLenFeature([], tf.string) for name in names}

    class Model(tf.Module):
        @tf.function(input_signature=strings)
        def serve(self, text, pair):
            return {"joined": tf.strings.join([text, pair], "|")}

        @tf.function(input_signature=[examples])
        def classify(self, examples):
            parsed = tf.io.parse_example(examples, features)
            joined = self.serve(**parsed)["joined"]
            return {"classes": joined[:, None]}

    model, folder = Model(), tmp_path_factory.mktemp("model") / "1"
    signatures = {"serving_default": model.serve, "classify": model.classify}
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


def read_warmup(path):
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    records = tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    return [PredictionLog.FromString(record) for record in records]


def replay(model, log):
    """Asks the signature of a log as TF Serving would."""
    import tensorflow as tf

    kind = log.WhichOneof("log_type")
    request = getattr(log, kind).request
    signature = model.signatures[request.model_spec.signature_name]
    if kind == "predict_log":
        tensors = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        feeds = {k: tf.constant(v, tf.string) for k, v in tensors.items()}
        return signature(**feeds)["joined"].numpy().tolist()
    rows = request.input.example_list.examples
    feed = tf.constant([row.SerializeToString() for row in rows])
    return signature(examples=feed)["classes"][:, 0].numpy().tolist()


def test_replays_against_the_model(version_dir):
    import tensorflow as tf

    both = {"serving_default": REQUESTS, "classify": REQUESTS}
    path = write_warmup(version_dir, both, "pairs")
    assert path == version_dir / "assets.extra/tf_serving_warmup_requests"
    logs = read_warmup(path)
    kinds = [log.WhichOneof("log_type") for log in logs]
    assert kinds == ["predict_log"] * 2 + ["classify_log"] * 2
    assert logs[0].predict_log.request.model_spec.name == "pairs"
    assert logs[2].classify_log.request.model_spec.name == "pairs"

    model = tf.saved_model.load(str(version_dir))
    answers = [replay(model, log) for log in logs]
    expected = [[b"Hello|x", "déjà vu|".encode()], [b"one|two"]]
    assert answers == expected * 2


def serving(requests):
    return {"serving_default": requests}


def test_a_file_is_replaced(tmp_path):
    path = write_warmup(tmp_path, serving([{"text": ["a"]}] * 3), "spam")
    first = path.read_bytes()
    assert len(read_warmup(path)) == 3
    write_warmup(tmp_path, serving([{"text": ["a"]}]), "spam")
    (log,) = read_warmup(path)
    request = log.predict_log.request
    assert request.model_spec.signature_name == "serving_default"
    assert request.inputs["text"].string_val == [b"a"]
    write_warmup(tmp_path, serving([{"text": ["a"]}] * 3), "spam")
    assert path.read_bytes() == first


def test_signatures_have_requests_of_their_own(tmp_path):
    requests = {"spam": [{"text": ["a"]}], "nli": [{"a": ["b"], "b": ["c"]}]}
    first, second = read_warmup(write_warmup(tmp_path, requests, "m"))
    assert set(first.predict_log.request.inputs) == {"text"}
    assert set(second.predict_log.request.inputs) == {"a", "b"}
    assert second.predict_log.request.model_spec.signature_name == "nli"


def test_record_limit(tmp_path):
    requests = [{"text": ["a"]}] * 500
    both = {"serving_default": requests, "classify": requests}
    assert len(read_warmup(write_warmup(tmp_path, both, "m"))) == 1000
    both["classify"] = requests + requests[:1]
    with pytest.raises(ConfigError, match="1001 records"):
        write_warmup(tmp_path, both, "m")
    for empty in ({}, {"serving_default": [], "classify": []}):
        with pytest.raises(ConfigError, match="0 records"):
            write_warmup(tmp_path, empty, "m")


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"text": "bare"},
        {"text": []},
        {"text": ["a", "b"], "pair": ["c"]},
    ],
)
def test_bad_requests(tmp_path, request_):
    with pytest.raises(ConfigError, match="request 1 of serving_default"):
        write_warmup(tmp_path, serving([{"text": ["a"]}, request_]), "m")
    assert not list(tmp_path.iterdir())
