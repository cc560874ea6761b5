import pytest

from kbert.errors import ConfigError
from kbert.export.warmup import write_warmup

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

    path = write_warmup(
        version_dir, REQUESTS, "pairs", ["serving_default", "classify"]
    )
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


def test_default_is_predict_and_a_file_is_replaced(tmp_path):
    path = write_warmup(tmp_path, [{"text": ["a"]}] * 3, "spam")
    first = path.read_bytes()
    assert len(read_warmup(path)) == 3
    write_warmup(tmp_path, [{"text": ["a"]}], "spam")
    (log,) = read_warmup(path)
    request = log.predict_log.request
    assert request.model_spec.signature_name == "serving_default"
    assert request.inputs["text"].string_val == [b"a"]
    write_warmup(tmp_path, [{"text": ["a"]}] * 3, "spam")
    assert path.read_bytes() == first


def test_record_limit(tmp_path):
    requests = [{"text": ["a"]}] * 500
    both = ["serving_default", "classify"]
    assert len(read_warmup(write_warmup(tmp_path, requests, "m", both))) == 1000
    with pytest.raises(ConfigError, match="1002 records"):
        write_warmup(tmp_path, requests + requests[:1], "m", both)
    for empty in ([[], both], [requests, []]):
        with pytest.raises(ConfigError, match="0 records"):
            write_warmup(tmp_path, empty[0], "m", empty[1])


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
    with pytest.raises(ConfigError, match="request 1 of inputs"):
        write_warmup(tmp_path, [{"text": ["a"]}, request_], "m")
    assert not list(tmp_path.iterdir())
