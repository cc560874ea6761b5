"""A server in this process, over small SavedModels."""

import asyncio
import importlib.util
import shutil
import threading
from pathlib import Path

import pytest


class Running:
    """A `Server` on a thread of its own, on free ports."""

    def __init__(self, models, **options):
        from kbert.serving.logs import Log
        from kbert.serving.options import ServerOptions
        from kbert.serving.server import Server

        settings = {"rest_port": 0, "grpc_port": 0}
        self._ready = threading.Event()
        self._error = None

        async def main():
            self._loop = asyncio.get_running_loop()
            self.server = Server(
                models, ServerOptions(**(settings | options)), Log(None)
            )
            try:
                await self.server.start()
            except Exception as error:
                self._error = error
                return
            finally:
                self._ready.set()
            await self.server.wait()

        self._thread = threading.Thread(target=asyncio.run, args=(main(),))
        self._thread.start()
        self._ready.wait(120)
        if self._error is not None:
            self._thread.join()
            raise self._error
        scheme = "https" if options.get("tls_cert") else "http"
        self.url = f"{scheme}://127.0.0.1:{self.server.rest_port}"
        self.grpc = f"127.0.0.1:{self.server.grpc_port}"

    def stop(self):
        """Begin to drain, as SIGTERM does."""
        self._loop.call_soon_threadsafe(self.server.stop)

    def join(self):
        self._thread.join(60)
        assert not self._thread.is_alive()


@pytest.fixture(scope="session")
def run_server():
    """Starts servers, and ends them when the tests are over."""
    started = []

    def start(models, **options):
        server = Running(models, **options)
        started.append(server)
        return server

    yield start
    for server in started:
        if server._thread.is_alive():
            server.stop()
    for server in started:
        server.join()


@pytest.fixture(scope="session")
def classifier():
    """ham or spam, with random weights."""
    import kbert

    return kbert.Classifier(
        "random:1x64", labels=["ham", "spam"], seed=0, max_length=32
    )


@pytest.fixture(scope="session")
def text_model(classifier, tmp_path_factory):
    """A folder with version 1 of it."""
    path = tmp_path_factory.mktemp("models") / "toy"
    classifier.export(path)
    return path


@pytest.fixture(scope="session")
def number_model(tmp_path_factory):
    """A SavedModel that kbert did not make, with signatures of all kinds."""
    import tensorflow as tf

    class Model(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec((None,), tf.float32, "x"),
                tf.TensorSpec((None,), tf.int32, "n"),
            ]
        )
        def two(self, x, n):
            return {"y": x / 2 + 2, "n": n + 1}

        @tf.function(input_signature=[tf.TensorSpec((None, 2), tf.float32)])
        def one(self, x):
            return {"y": x / 2 + 2}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def echo(self, x):
            return {"same_bytes": x, "same": x}

        @tf.function(input_signature=[tf.TensorSpec((None,), tf.string)])
        def total(self, x):
            return {"rows": tf.size(x)}

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string, "inputs")]
        )
        def regress(self, inputs):
            features = tf.io.parse_example(
                inputs, {"x": tf.io.FixedLenFeature((), tf.float32)}
            )
            return {"outputs": features["x"] / 2 + 2}

        @tf.function(
            input_signature=[tf.TensorSpec((None,), tf.string, "inputs")]
        )
        def scores(self, inputs):
            features = tf.io.parse_example(
                inputs, {"x": tf.io.FixedLenFeature((), tf.float32)}
            )
            return {"scores": features["x"][:, None]}

    model = Model()
    path = tmp_path_factory.mktemp("models") / "numbers"
    tf.saved_model.save(
        model,
        str(path / "1"),
        {
            "serving_default": model.one,
            "two": model.two,
            "echo": model.echo,
            "total": model.total,
            "regress": model.regress,
            "scores": model.scores,
        },
    )
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(
        str(path / "1")
    )
    for name, method in (("regress", "regress"), ("scores", "classify")):
        updater.replace_method_name(
            name, f"tensorflow/serving/{method}", ["serve"]
        )
    updater.save()
    return path


@pytest.fixture(scope="session")
def kind_model(tmp_path_factory):
    """A SavedModel with a signature for each type, and odd ones."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    model, signatures = tf.Module(), {}

    def add(name, function, *specs):
        made = tf.function(function, input_signature=specs)
        setattr(model, f"f_{name}", made)
        signatures[name] = made

    for name in (
        *("float", "double", "half", "bfloat16", "bool", "string"),
        *("int8", "int16", "int32", "int64", "uint8", "uint16"),
        *("uint32", "uint64", "complex64", "qint8"),
    ):
        spec = tf.TensorSpec(None, tf.as_dtype(name), "x")
        add(name, lambda x: {"y": tf.identity(x)}, spec)
    x = tf.TensorSpec(None, tf.float32, "x")

    def to(name):
        return lambda x: {"y": tf.cast(x, name)}

    for name in ("half", "bfloat16", "uint16", "complex64", "complex128"):
        add(f"to_{name}", to(name), x)
    add(
        "to_qint8",
        lambda x: {"y": tf.quantization.quantize(x, -1.0, 1.0, tf.qint8)[0]},
        x,
    )
    row = tf.TensorSpec((None,), tf.float32, "x")
    rest = tf.TensorSpec((None,), tf.float32, "z")
    add("sum", lambda x, z: {"sum": tf.reduce_sum(x) + z, "x": x}, row, rest)
    add("rows", lambda x: {"x": x, "one": x[:1]}, row)
    add("swish", lambda x: {"y": x * tf.sigmoid(x)}, x)
    add(
        "convolution",
        lambda x: {"y": tf.nn.conv2d(x, tf.ones((1, 1, 1, 1)), 1, "SAME")},
        tf.TensorSpec((None, None, None, 1), tf.float32, "x"),
    )

    def of_size(output, answer):
        return lambda inputs: {output: answer(tf.size(inputs))}

    examples = tf.TensorSpec((None,), tf.string, "inputs")
    for name, output, answer in (
        ("classes", "classes", lambda n: tf.fill((n, 2), "a") + [["", "b"]]),
        ("scores_flat", "scores", lambda n: tf.zeros(n)),
        ("scores_double", "scores", lambda n: tf.zeros((n, 1), "double")),
        ("regress_double", "outputs", lambda n: tf.zeros(n, "double")),
        ("regress_wide", "outputs", lambda n: tf.zeros((n, 2))),
        ("regress_less", "outputs", lambda n: tf.zeros(n - 1)),
    ):
        add(name, of_size(output, answer), examples)
    path = tmp_path_factory.mktemp("models") / "kinds"
    tf.saved_model.save(model, str(path / "1"), signatures)
    # TensorFlow's Python has no way to say what an input is by default.
    file = path / "1" / "saved_model.pb"
    saved = SavedModel.FromString(file.read_bytes())
    saved.meta_graphs[0].signature_def["sum"].defaults["z"].CopyFrom(
        tf.make_tensor_proto([1.0])
    )
    file.write_bytes(saved.SerializeToString())
    return path


@pytest.fixture(scope="session")
def server(run_server, text_model, number_model):
    """A server of both."""
    from kbert.serving.config import from_folder

    return run_server(
        [from_folder(text_model), from_folder(number_model)], allow_reload=True
    )


@pytest.fixture
def copied(text_model, tmp_path):
    """A model folder of the test's own."""
    return shutil.copytree(text_model, tmp_path / "toy")


@pytest.fixture(scope="session")
def browser():
    """A page of a Chromium without a window."""
    spec = importlib.util.spec_from_file_location(
        "browser", Path(__file__).with_name("browser.py")
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.open_browser() as found:
        if found is None:
            pytest.skip("no chromium, which Debian's package brings")
        yield found
