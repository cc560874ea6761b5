"""The client: the same answers by both ways, retries, typed errors."""

import http.server
import json
import threading

import numpy as np
import pytest

import kbert
from kbert.answers import predictions
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
            status, body, *headers = answers.pop(0)
            self.send_response(status)
            for header in headers:
                self.send_header(*header)
            self.end_headers()
            self.wfile.write(body.encode())

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
    with kbert.Client(url, retries=2) as client:
        with pytest.raises(UnavailableError, match="full"):
            client.predict(["x"])
    assert len(answers) == 2
    with kbert.Client(url, timeout=0.01) as client:
        with pytest.raises(UnavailableError):
            client.predict(["x"])


@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        ((400, '{"error": "bad"}'), RequestError, "bad"),
        ((401, '{"error": "who"}'), RequestError, "who"),
        ((500, '{"error": "oh"}'), ServingError, "oh"),
        ((500, "<html>"), ServingError, "Expected JSON"),
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
    client = kbert.Client(f"{scheme}://127.0.0.1:1{path}", retries=1)
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
