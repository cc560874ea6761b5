"""The client: the same answers by both ways, retries, typed errors."""

import http.server
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

import kbert
from kbert.data.answers import predictions
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import RequestError
from kbert.errors import ServingError
from kbert.errors import UnavailableError
from kbert.serving.config import from_folder

TEXTS = ["aaa", "zz yyy", "Ünïcode 中文 😀", "", "a\0b", "half \ud83d"]


def urls(server, name="toy"):
    yield f"{server.url}/v1/models/{name}"
    yield f"grpc://{server.grpc}/{name}"


@pytest.mark.parametrize("way", [0, 1])
def test_answers_are_the_classifiers(server, classifier, way):
    url = list(urls(server))[way]
    with kbert.Client(url, batch_size=2) as client:
        assert client.ready()
        assert client.predict(TEXTS) == classifier.predict(TEXTS)
        np.testing.assert_allclose(
            client.predict_proba(TEXTS),
            classifier.predict_proba(TEXTS),
            atol=1e-5,
        )
        why = client.answers(["aaa zz"], signature="explain")
        assert why["attribution"].shape == why["start"].shape
        # Each request's are as long as its longest text.
        why = client.answers(["a", "b", "a b a b"], signature="explain")
        short, _, long = why["attribution"]
        assert len(short) < len(long)
        numbers = list(urls(server, "numbers"))[way]
    with kbert.Client(numbers) as client:
        answers = client.answers({"x": ["a", "b"]}, signature="echo")
        assert answers["same"].tolist() == ["a", "b"]


@pytest.mark.parametrize("way", [0, 1])
def test_failures_have_types_and_codes(server, way):
    for name, signature, code in (
        ("nope", "", "NOT_FOUND"),
        ("toy", "nope", "INVALID_ARGUMENT"),
    ):
        url = list(urls(server, name))[way]
        with kbert.Client(url) as client:
            with pytest.raises(RequestError) as caught:
                client.answers({"text": ["a"]}, signature=signature)
            # REST and gRPC differ, as TF Serving's do.
            assert caught.value.code in (code, "FAILED_PRECONDITION")
    with kbert.Client(list(urls(server, "nope"))[way]) as client:
        assert not client.ready()


@pytest.mark.parametrize("way", [0, 1])
def test_versions_in_the_url(server, way):
    url = list(urls(server))[way]
    with kbert.Client(f"{url}/versions/1") as client:
        assert client.ready()
        assert client.predict(["a"])
    for part, message in (
        ("versions/9", "Specific"),
        ("labels/no", "Unrecognized servable version label"),
    ):
        with kbert.Client(f"{url}/{part}") as client:
            assert not client.ready()
            with pytest.raises(RequestError, match=message):
                client.predict(["a"])


@pytest.mark.parametrize("way", [0, 1])
def test_a_signature_that_is_not_there(server, way):
    with kbert.Client(list(urls(server))[way]) as client:
        with pytest.raises(RequestError, match='"no" not found'):
            client.predict(["a"], signature="no")


def array(*rows):
    return np.array(rows)


ROWS = [
    ({"label": array("a", "b"), "score": array(0.5, 0.25)}, ["a", "b"]),
    (
        {"labels": array(["a", "b"], ["b", ""]), "count": array(2, 1)},
        [["a", "b"], ["b"]],
    ),
    ({"answer": array("it"), "score": array(0.5)}, ["it"]),
    ({"": array(0.5, 0.25)}, [0.5, 0.25]),
    ({"score": array(0.5, 0.25)}, [0.5, 0.25]),
    (
        {
            "count": array(1, 0),
            "type": array(["PER"], [""]),
            "start": array([3], [-1]),
        },
        [[{"type": "PER", "start": 3}], []],
    ),
]


@pytest.mark.parametrize(("answers", "expected"), ROWS)
def test_answers_of_all_heads(answers, expected):
    assert predictions(answers) == expected


def test_outputs_of_another_model(server):
    with kbert.Client(f"{server.url}/v1/models/numbers") as client:
        with pytest.raises(ConfigError, match="same_bytes.*Ask `answers`"):
            client.predict({"x": ["a"]}, signature="echo")
        with pytest.raises(ConfigError, match="answers probabilities"):
            client.predict_proba({"x": ["a"]}, signature="echo")


HEADS = {
    "multi_label": {"labels": ["x", "y", "z"]},
    "ner": {"labels": ["PER", "LOC"]},
    "news": {"labels": ["business", "sport"]},
}


@pytest.mark.large
@pytest.mark.parametrize("head", HEADS)
def test_heads_as_the_classifier(run_server, tmp_path, head):
    clf = kbert.Classifier("random:1x64", head, seed=0, **HEADS[head])
    clf.export(tmp_path / head)
    server = run_server([from_folder(tmp_path / head)])
    texts = ["Bob went to Rome", "x", "中文 zz " * 20]
    x = {name: texts for name in clf.inputs}
    for url in urls(server, head):
        with kbert.Client(url, batch_size=2) as client:
            received, expected = client.predict(x), clf.predict(x)
            assert len(received) == len(expected) == 3
            if head != "ner":
                assert received == expected
                continue
            for mine, its in zip(received, expected, strict=True):
                for a, b in zip(mine, its, strict=True):
                    assert a.pop("score") == pytest.approx(b.pop("score"))
                assert mine == its


@pytest.fixture
def flaky():
    """A server that answers as told, and counts."""
    answers = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            answer = answers.pop(0)
            if answer == "close":  # Without an answer.
                self.close_connection = True
                return
            status, body, *headers = answer
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            with suppress(OSError):  # A client may have read enough.
                self.wfile.write(
                    body if isinstance(body, bytes) else body.encode()
                )

        def log_message(self, *args):
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}/v1/models/m"
    yield url, answers
    server.shutdown()
    thread.join()
    server.server_close()


GOOD = (200, json.dumps({"outputs": {"label": ["a"], "score": [0.5]}}))
FULL = (503, json.dumps({"error": "full"}))


def test_a_full_server_is_asked_again(flaky):
    url, answers = flaky
    answers += [FULL, FULL, GOOD]
    with kbert.Client(url) as client:
        assert client.predict(["x"]) == ["a"]
    assert not answers


@pytest.mark.parametrize(("asked", "least"), [("7", 7), ("soon", 0)])
def test_it_waits_as_long_as_the_server_asks(flaky, monkeypatch, asked, least):
    url, answers = flaky
    answers += [(*FULL, ("Retry-After", asked)), GOOD]
    pauses = []
    monkeypatch.setattr("kbert.client.time.sleep", pauses.append)
    with kbert.Client(url) as client:
        assert client.predict(["x"]) == ["a"]
    (pause,) = pauses
    assert least < pause < least + 1


def test_not_for_ever(flaky):
    url, answers = flaky
    answers += [FULL] * 5
    with kbert.Client(url, retry_seconds=0.5) as client:
        with pytest.raises(UnavailableError, match="full"):
            client.predict(["x"])
    assert 0 < len(answers) < 5
    with kbert.Client(url, timeout=0.01, retry_seconds=0) as client:
        with pytest.raises(UnavailableError):
            client.predict(["x"])


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((400, '{"error": "bad"}'), RequestError, "bad"),
        ((401, '{"error": "who"}'), RequestError, "who"),
        ((500, '{"error": "oh"}'), ServingError, "oh"),
        ((500, "<html>"), ServingError, "Received: status 500"),
        ((404, "[]"), RequestError, "404"),
    ],
)
def test_other_failures_are_not_repeated(flaky, answer, kind, message):
    url, answers = flaky
    answers += [answer, GOOD]
    with kbert.Client(url) as client, pytest.raises(kind, match=message):
        client.predict(["x"])
    assert len(answers) == 1


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there(scheme):
    path = "/v1/models/m" if scheme == "http" else "/m"
    client = kbert.Client(f"{scheme}://127.0.0.1:1{path}", retry_seconds=0.2)
    with client, pytest.raises(UnavailableError):
        client.answers({"text": ["x"]})


@pytest.mark.parametrize(
    "url",
    [
        "localhost:8501",
        "ftp://localhost/m",
        "http://localhost:8501",
        "http://localhost:8501/v1",
        "grpc://localhost:8500",
        "grpc://localhost:8500/v1/models/m",
        "http://localhost:port/v1/models/m",
        "http://localhost:99999/v1/models/m",
        "http://user:secret@localhost/v1/models/m",
        "http://local host/v1/models/m",
        "http://localhost/v1/models/m?x=1",
        "http://[::1/v1/models/m",
        "http:///v1/models/m",
        b"http://localhost/v1/models/m",
        None,
    ],
)
def test_urls_that_name_no_model(url):
    with pytest.raises(ConfigError):
        kbert.Client(url)


def test_texts_that_are_none(server):
    with kbert.Client(next(urls(server))) as client:
        for texts in ([], [1, 2], None):
            with pytest.raises(InputError):
                client.predict(texts)


# === What a server may answer ===


SLOW = (503, '{"error": "full"}', ("Retry-After", "3600"))


@pytest.mark.parametrize(
    ("answer", "code", "message"),
    [
        ((413, '{"error": "big."}'), "RESOURCE_EXHAUSTED", "big. Lower batch"),
        ((413, "<html>"), "RESOURCE_EXHAUSTED", "status 413.*Lower batch_size"),
        ((414, ""), "INVALID_ARGUMENT", "414"),
        ((431, ""), "INVALID_ARGUMENT", "431"),
        ((302, "", ("Location", "/x")), "INVALID_ARGUMENT", "redirect to '/x'"),
        ((200, "<html>"), "UNKNOWN", "model server's JSON.*<html>"),
        ((200, "[1]"), "UNKNOWN", "model server's JSON"),
        ((200, "{}"), "UNKNOWN", "model server's JSON"),
        ((200, '{"outputs": [[1], [1, 2]]}'), "UNKNOWN", "model server's JSON"),
        ((200, '{"outputs": [{"a": 1}]}'), "UNKNOWN", "model server's JSON"),
        ((200, "[" * 100_000), "UNKNOWN", "model server's JSON"),
        ((200, "\ud800"), "UNKNOWN", "model server's JSON"),
        ((200, "{}", ("Content-Encoding", "gzip")), "UNAVAILABLE", "reached"),
        ((200, " " * 3000), "RESOURCE_EXHAUSTED", "at most 2000 bytes"),
        ((504, "<html>"), "DEADLINE_EXCEEDED", "504"),
        ((408, ""), "DEADLINE_EXCEEDED", "408"),
        (SLOW, "UNAVAILABLE", "full"),
        ((502, "<html>", SLOW[2]), "UNAVAILABLE", "502"),
        ((429, "{}", SLOW[2]), "RESOURCE_EXHAUSTED", "429"),
        (
            (503, "{}", ("Retry-After", "Fri, 31 Dec 2199 23:59:59 GMT")),
            "UNAVAILABLE",
            "503",
        ),
    ],
)
def test_what_proxies_and_others_answer(
    flaky, monkeypatch, answer, code, message
):
    monkeypatch.setattr("kbert.serving.remote_rest.MAX_ANSWER", 2000)
    url, answers = flaky
    status, body, *headers = answer
    if len(body) > 2500 and body[0] == "[":
        monkeypatch.setattr("kbert.serving.remote_rest.MAX_ANSWER", 200_000)
    answers += [(status, body.encode(errors="surrogatepass"), *headers), GOOD]
    seconds = 0.0 if "Content-Encoding" in str(headers) else 30.0
    with kbert.Client(url, retry_seconds=seconds) as client:
        with pytest.raises(ServingError, match=message) as caught:
            client.answers(["x"])
    assert caught.value.code == code
    assert len(answers) == 1
    # 413 and what else is wrong by itself is no matter of time.
    wrong = code == "INVALID_ARGUMENT" or status == 413 or len(body) == 3000
    assert isinstance(caught.value, RequestError) == wrong


def test_an_answer_whose_head_comes_byte_by_byte():
    def drip(listener):
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(1000)
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100:
                connection.sendall(bytes([byte]))
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models/m"
        with kbert.Client(url, timeout=0.3) as client:
            with pytest.raises(UnavailableError, match="No answer in time"):
                client.predict(["a"])
            assert thread.is_alive()  # It would have gone on.
        thread.join(10)


def test_an_output_without_rows_is_no_prediction(flaky):
    url, answers = flaky
    answers += [(200, '{"outputs": 1.5}')] * 2
    with kbert.Client(url) as client:
        assert client.answers(["a"])[""] == 1.5
        with pytest.raises(ConfigError, match="Ask `answers`"):
            client.predict(["a"])


def test_answers_of_another_number_than_texts(flaky):
    url, answers = flaky
    two = '{"outputs": {"label": ["a", "b"], "probabilities": [[1.0], [0.0]]}}'
    answers += [(200, two)] * 3
    with kbert.Client(url) as client:
        assert len(client.answers(["x"])["label"]) == 2
        for ask in (client.predict, client.predict_proba):
            with pytest.raises(ServingError, match="each of 1 texts"):
                ask(["x"])


def test_a_proxy_whose_server_restarts(flaky):
    url, answers = flaky
    answers += [(502, "<html>"), (429, "{}"), GOOD]
    with kbert.Client(url) as client:
        assert client.predict(["x"]) == ["a"]


def test_a_connection_that_the_server_closed(flaky):
    url, answers = flaky
    answers += ["close", GOOD]
    with kbert.Client(url) as client:
        assert client.predict(["x"]) == ["a"]


@pytest.mark.parametrize("way", [0, 1])
def test_a_restart_is_outlasted(run_server, number_model, way):
    models = [from_folder(number_model)]
    server = run_server(models, drain_seconds=0)
    options = {
        "rest_port": server.server.rest_port,
        "grpc_port": server.server.grpc_port,
    }
    with kbert.Client(list(urls(server, "numbers"))[way]) as client:
        before = client.answers({"x": ["a"]}, "echo")
        server.stop()
        server.join()
        later = threading.Timer(1.8, run_server, [models], options)
        later.start()
        assert client.answers({"x": ["a"]}, "echo") == before
        later.join()


def test_pauses_grow_up_to_a_limit(flaky, monkeypatch):
    url, answers = flaky
    answers += [FULL] * 1000
    pauses, now = [], [0.0]

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr("kbert.client.time.sleep", sleep)
    monkeypatch.setattr("kbert.client.time.monotonic", lambda: now[0])
    with kbert.Client(url, retry_seconds=60) as client:
        with pytest.raises(UnavailableError):
            client.predict(["x"])
    assert 57 <= now[0] <= 60
    assert pauses[0] < 0.2 and 1 <= max(pauses[6:]) <= 3
    assert len(set(pauses)) == len(pauses)


def test_answers_before_a_failure_are_kept(flaky):
    url, answers = flaky
    other = (200, json.dumps({"outputs": {"other": ["a"]}}))
    short = (200, json.dumps({"outputs": {"label": [], "score": []}}))
    for failure, kind in (
        ((400, '{"error": "bad"}'), RequestError),
        (other, ServingError),
        (short, ServingError),
    ):
        answers += [GOOD, GOOD, failure]
        with kbert.Client(url, batch_size=1) as client:
            with pytest.raises(kind) as caught:
                client.predict(["x", "y", "z", "later"])
        assert caught.value.rows == 2
        assert caught.value.answers["label"].tolist() == ["a", "a"]
        assert "2 of 4 texts" in caught.value.__notes__[0]
    answers += [(400, "{}")]
    with kbert.Client(url) as client, pytest.raises(RequestError) as caught:
        client.predict(["x"])
    assert (caught.value.rows, caught.value.answers) == (0, None)


@pytest.mark.parametrize("way", [0, 1])
def test_the_time_is_that_of_each_answer(server, way, monkeypatch):
    timeouts = []
    with kbert.Client(list(urls(server))[way], batch_size=1) as client:
        ask = client._model.predict

        def predict(part, signature, timeout):
            timeouts.append(timeout)
            return ask(part, signature, timeout)

        monkeypatch.setattr(client._model, "predict", predict)
        client.predict(["a", "b", "c"])
    assert timeouts == [30.0] * 3


@pytest.mark.parametrize("way", [0, 1])
def test_rows_that_are_too_many_for_the_server(server, way):
    url = list(urls(server, "numbers"))[way]
    with kbert.Client(url, batch_size=2000) as client:
        with pytest.raises(RequestError, match="1024 rows.*Lower batch_size"):
            client.answers({"x": ["a"] * 2000}, "echo")


@pytest.mark.parametrize("way", [0, 1])
def test_no_proxy_of_the_environment_is_asked(server, way, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    url = list(urls(server))[way]
    with kbert.Client(url, retry_seconds=0) as client:
        assert client.predict(["a"])


@pytest.mark.parametrize("way", [0, 1])
def test_texts_of_all_forms(server, classifier, way):
    import pandas
    import tensorflow as tf

    texts = ["aaa", "zz", "a\0", b"\xc3\xa9"]
    want = classifier.predict(texts)
    series = pandas.Series(texts, index=[7, 7, 1, 0])
    with kbert.Client(list(urls(server))[way], batch_size=3) as client:
        for x in (
            *(texts, tuple(texts), series, np.array(texts, object)),
            *(iter(texts), tf.constant(texts), {"text": iter(texts)}),
            *(pandas.DataFrame({"text": texts}), [{"text": t} for t in texts]),
            tf.data.Dataset.from_tensor_slices(texts).batch(3),
        ):
            assert client.predict(x) == want, x
        # Of a table the model's inputs are sent.
        table = {"label": [1, 2, 3, 4], "text": texts}
        for x in (table, pandas.DataFrame(table)):
            assert client.predict(x) == want
        assert client.predict([{"text": "zz", "n": 1}, {"text": "aaa"}])
        with pytest.raises(InputError, match="without text"):
            client.predict({"label": ["a"], "txt": ["b"]})
        with pytest.raises(InputError, match="a dict in each row.*row 1"):
            client.predict([{"text": "a"}, "b"])
        for x in ("one", [["a", "b"]], [], {}, {"text": []}, {1: ["a"]}, 5):
            with pytest.raises(InputError):
                client.predict(x)
        binary = client.answers([b"\xff\xfe"])
        assert len(binary["label"]) == 1


@pytest.mark.parametrize("way", [0, 1])
def test_a_closed_client(server, way):
    client = kbert.Client(list(urls(server))[way])
    client.close()
    client.close()
    for ask in (client.ready, lambda: client.predict(["a"])):
        with pytest.raises(ConfigError, match="was closed"):
            ask()


def test_threads_share_a_client(server, classifier):
    texts = [f"text {'a' * i}" for i in range(8)]
    want = classifier.predict(texts)
    for url in urls(server):
        with kbert.Client(url) as client:
            with ThreadPoolExecutor(8) as pool:
                got = list(pool.map(lambda t: client.predict([t])[0], texts))
        assert got == want


def test_a_forked_process_has_connections_of_its_own(server):
    client = kbert.Client(next(urls(server)))
    client.predict(["a"])
    mine = client._model
    client._process = -1  # As if this were another.
    assert client.predict(["a"])
    assert client._model is not mine
    mine.close()
    client.close()


@pytest.mark.parametrize(
    "options",
    [
        *({"timeout": 0}, {"timeout": -1}, {"timeout": None}),
        *({"timeout": float("nan")}, {"timeout": True}, {"timeout": "30"}),
        *({"retry_seconds": -1}, {"retry_seconds": float("inf")}),
        *({"batch_size": 0}, {"batch_size": -1}, {"batch_size": "8"}),
        *({"batch_size": True}, {"batch_size": 2.5}),
        *({"token": ""}, {"token": "a\nb"}, {"token": "é"}, {"token": 5}),
        *({"ca_file": "no.pem"}, {"ca_file": "pyproject.toml"}),
    ],
)
def test_arguments_that_are_wrong(options):
    for url in ("https://localhost:1/v1/models/m", "grpcs://localhost:1/m"):
        if url.startswith("grpc") and "pyproject" in str(options):
            continue  # gRPC looks at it later.
        with pytest.raises(ConfigError):
            kbert.Client(url, **options)
