"""The server as a whole: reloads, draining, limits, health, the page."""

import gzip
import json
import shutil
import socket
import subprocess
import threading
import time
import zlib

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1 import health_pb2_grpc

from kbert.errors import ConfigError
from kbert.errors import RequestError
from kbert.errors import UnavailableError
from kbert.errors import UnknownNameError
from kbert.serving.app import PAGE
from kbert.serving.config import from_folder
from kbert.serving.options import ServerOptions

BODY = b'{"instances": ["aaa bb"]}'
PATH = "/v1/models/toy:predict"


class Load:
    """Clients that ask until told to stop, and what became of it."""

    def __init__(self, url, clients=4, until_goodbye=False):
        self.statuses = []
        self.errors = []
        self._stop = threading.Event()
        self._url = url
        self._until_goodbye = until_goodbye
        self._threads = [
            threading.Thread(target=self._ask) for _ in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self):
        with httpx.Client(base_url=self._url, trust_env=False) as client:
            while not self._stop.is_set():
                try:
                    response = client.post(PATH, content=BODY, timeout=30)
                except httpx.HTTPError as error:
                    self.errors.append(repr(error))
                    return
                self.statuses.append(response.status_code)
                goodbye = response.headers.get("connection") == "close"
                if self._until_goodbye and goodbye:
                    return

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def states(server, name="toy"):
    answer = httpx.get(f"{server.url}/v1/models/{name}", trust_env=False)
    rows = answer.json()["model_version_status"]
    return {int(row["version"]): row["state"] for row in rows}


def test_answers_do_not_wait_for_acknowledgements(server):
    assert httpx.get(f"{server.url}/healthz", trust_env=False).is_success
    (http,) = server.server._http.servers
    (listener,) = http.sockets  # Connections have the options of it.
    assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_hot_reload_fails_no_request(run_server, copied):
    server = run_server([from_folder(copied)], poll_seconds=0.1)
    load = Load(server.url)
    shutil.copytree(copied / "1", copied / "new")
    (copied / "new").rename(copied / "2")
    wait_for(lambda: states(server) == {2: "AVAILABLE", 1: "END"})
    time.sleep(0.2)
    load.stop()
    assert not load.errors
    assert set(load.statuses) == {200} and len(load.statuses) > 10
    # A version that cannot be loaded says so, and changes nothing.
    (copied / "3").mkdir()
    (copied / "3" / "saved_model.pb").write_bytes(b"no graph")
    wait_for(lambda: states(server).get(3) == "END")
    assert states(server)[2] == "AVAILABLE"
    answer = httpx.get(f"{server.url}/v1/models/toy/versions/3").json()
    status = answer["model_version_status"][0]["status"]
    assert status["error_code"] != "OK" and status["error_message"]


def test_draining_answers_what_has_come(run_server, text_model):
    server = run_server([from_folder(text_model)])
    load = Load(server.url, until_goodbye=True)
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest()
        serving = health.Check(request, timeout=30)
        assert serving.status == health_pb2.HealthCheckResponse.SERVING
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        server.stop()
        wait_for(lambda: server.server.draining)
        response = httpx.get(f"{server.url}/readyz", trust_env=False)
        assert (response.status_code, response.json()["status"]) == (
            503,
            "draining",
        )
        assert httpx.get(f"{server.url}/healthz").status_code == 200
        serving = health.Check(request, timeout=30)
        assert serving.status == health_pb2.HealthCheckResponse.NOT_SERVING
    server.join()
    load.stop()
    assert not load.errors
    assert set(load.statuses) == {200}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/healthz", trust_env=False)


# === Limits ===


def test_bodies_and_batches_that_are_too_large(run_server, text_model):
    server = run_server([from_folder(text_model)], max_body=10_000, max_rows=5)
    with httpx.Client(base_url=server.url, trust_env=False) as client:
        many = json.dumps({"instances": ["a"] * 6})
        response = client.post(PATH, content=many)
        assert response.status_code == 413
        assert "at most 5 rows" in response.json()["error"]
        assert client.post(PATH, content=b" " * 10_001).status_code == 413
        bomb = gzip.compress(b" " * 10_000_000)
        assert len(bomb) < 10_000
        headers = {"Content-Encoding": "gzip"}
        response = client.post(PATH, content=bomb, headers=headers)
        assert response.status_code == 413
        # Without a length, in pieces.
        pieces = (b" " * 1000 for _ in range(20))
        assert client.post(PATH, content=pieces).status_code == 413
        assert client.post(PATH, content=BODY).status_code == 200


def test_rows_whose_answers_do_not_fit_together(run_server, text_model):
    server = run_server([from_folder(text_model)], max_batch_size=2)
    texts = ["a", "b", "a much longer one"]
    for signature, status in (("serving_default", 200), ("explain", 413)):
        body = {"signature_name": signature, "inputs": texts}
        response = httpx.post(f"{server.url}{PATH}", json=body, timeout=60)
        assert response.status_code == status, response.text
    assert "at most 2 rows" in response.json()["error"]


@pytest.mark.parametrize(
    ("body", "encoding", "status"),
    [
        (b"no gzip", "gzip", 400),
        (gzip.compress(BODY)[:-9], "gzip", 400),
        (gzip.compress(BODY) + b"x", "gzip", 400),
        (b"", "gzip", 400),
        (zlib.compress(BODY), "deflate", 400),
        (gzip.compress(BODY[:9]) + gzip.compress(BODY[9:]), "gzip", 200),
    ],
    ids=["no gzip", "cut", "more", "empty", "deflate", "two members"],
)
def test_encoded_bodies(server, body, encoding, status):
    headers = {"Content-Encoding": encoding}
    response = httpx.post(f"{server.url}{PATH}", content=body, headers=headers)
    assert response.status_code == status


def test_a_body_that_does_not_come(run_server, text_model):
    server = run_server([from_folder(text_model)], timeout=0.5)
    address = ("127.0.0.1", server.server.rest_port)
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: 100\r\n\r\n"
    )
    with socket.create_connection(address, timeout=30) as half:
        half.sendall(head.encode() + BODY)
        assert b" 504 " in half.recv(1000)
    # One that goes away in the middle leaves nothing behind.
    with socket.create_connection(address, timeout=30) as half:
        half.sendall(head.encode() + BODY)
    response = httpx.post(f"{server.url}{PATH}", content=BODY)
    assert response.status_code == 200


def test_a_full_queue_says_when_to_come_again(run_server, text_model):
    # The batch waits for more rows, so the queue is full meanwhile.
    server = run_server(
        [from_folder(text_model)], batch_timeout_ms=1000, max_enqueued=1
    )
    first = threading.Thread(
        target=httpx.post,
        args=(f"{server.url}{PATH}",),
        kwargs={"content": BODY},
    )
    first.start()
    time.sleep(0.3)
    response = httpx.post(f"{server.url}{PATH}", content=BODY)
    first.join()
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    assert "queue" in response.json()["error"]


# === Who may ask ===


def test_a_token(run_server, text_model):
    server = run_server([from_folder(text_model)], token="secret")
    for headers, status in (
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer secret"}, 200),
    ):
        response = httpx.post(
            f"{server.url}{PATH}", content=BODY, headers=headers
        )
        assert response.status_code == status
        path = "/monitoring/prometheus/metrics"
        response = httpx.get(f"{server.url}{path}", headers=headers)
        assert response.status_code == status
    for path in ("/", "/healthz", "/readyz", "/static/page.js"):
        assert httpx.get(f"{server.url}{path}").status_code == 200
    with grpc.insecure_channel(server.grpc) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=30)
        from tensorflow_serving.apis import get_model_status_pb2
        from tensorflow_serving.apis import model_service_pb2_grpc

        service = model_service_pb2_grpc.ModelServiceStub(channel)
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = "toy"
        with pytest.raises(grpc.RpcError) as caught:
            service.GetModelStatus(request, timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", "Bearer secret")]
        service.GetModelStatus(request, timeout=30, metadata=metadata)


def reload(address, path, **metadata):
    """Have a server serve the model of another folder, or say why not."""
    from tensorflow_serving.apis import model_management_pb2
    from tensorflow_serving.apis import model_service_pb2_grpc

    request = model_management_pb2.ReloadConfigRequest()
    model = request.config.model_config_list.config.add()
    model.name, model.base_path = "toy", str(path)
    model.model_platform = "tensorflow"
    with grpc.insecure_channel(address) as channel:
        service = model_service_pb2_grpc.ModelServiceStub(channel)
        try:
            service.HandleReloadConfigRequest(
                request, timeout=60, metadata=list(metadata.items())
            )
        except grpc.RpcError as failure:
            return failure.code().name
    return "OK"


def test_only_who_may_says_what_is_loaded(run_server, number_model, tmp_path):
    server = run_server([from_folder(number_model, "toy")])
    assert reload(server.grpc, number_model) == "PERMISSION_DENIED"
    assert states(server) == {1: "AVAILABLE"}
    server = run_server([from_folder(number_model, "toy")], allow_reload=True)
    assert reload(server.grpc, number_model) == "OK"
    # What cannot be listed does not become available, and unloads nothing.
    assert reload(server.grpc, tmp_path / "no") == "OK"
    assert reload(server.grpc, f"{tmp_path}/\0") == "INVALID_ARGUMENT"
    assert states(server) == {1: "AVAILABLE"}
    server = run_server([from_folder(number_model, "toy")], token="secret")
    assert reload(server.grpc, number_model) == "UNAUTHENTICATED"
    allowed = {"authorization": "Bearer secret"}
    assert reload(server.grpc, number_model, **allowed) == "OK"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:9", 200),
        ("127.0.0.1:8501", 200),
        ("10.1.2.3", 200),
        ("[::1]:8501", 200),
        ("attacker.example", 403),
        ("attacker.example:8501", 403),
        ("localhost.attacker.example", 403),
        ("127.0.0.1.attacker.example", 403),
        ("", 403),
    ],
)
def test_a_name_that_is_not_the_servers_is_refused(server, host, status):
    for path in ("/ui/models", "/v1/models/toy", "/healthz"):
        response = httpx.get(f"{server.url}{path}", headers={"Host": host})
        assert response.status_code == status, path


def test_names_that_a_server_is_told(run_server, number_model):
    models = [from_folder(number_model)]
    named = run_server(models, allowed_hosts=("Models.example",))
    everywhere = run_server(models, host="0.0.0.0")
    for server, host, status in (
        (named, "models.example:8501", 200),
        (named, "other.example", 403),
        (everywhere, "anything.example", 200),
    ):
        port = server.server.rest_port
        response = httpx.get(
            f"http://127.0.0.1:{port}/healthz", headers={"Host": host}
        )
        assert response.status_code == status, host


def test_an_odd_card_leaves_the_page_to_the_others(
    run_server, number_model, text_model, tmp_path
):
    cards = ['{"a": NaN}', '{"a": "\\ud83d"}', "[" * 900 + "]" * 900, "5", "{"]
    models = []
    for i, card in enumerate(cards):
        path = tmp_path / f"odd-{i}"
        shutil.copytree(number_model, path)
        (path / "1" / "assets.extra").mkdir()
        (path / "1" / "assets.extra" / "kbert.json").write_text(card)
        models.append(from_folder(path))
    server = run_server([*models, from_folder(text_model)])
    response = httpx.get(f"{server.url}/ui/models")
    assert response.status_code == 200
    *odd, toy = response.json()
    assert [model["name"] for model in odd] == [m.name for m in models]
    # What is no object has no card; of one that is odd nothing odd is sent.
    for model in odd:
        card = model["model"]
        assert card is None or card["head"] == {"config": {}}
    assert toy["model"]["head"]["name"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for this machine that nobody else signed."""
    folder = tmp_path_factory.mktemp("tls")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes"),
            *("-days", "1", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    return folder


def test_tls(run_server, text_model, certificate):
    import kbert

    server = run_server(
        [from_folder(text_model)],
        tls_cert=certificate / "cert.pem",
        tls_key=certificate / "key.pem",
    )
    ca_file = certificate / "cert.pem"
    for url in (
        f"{server.url}/v1/models/toy",
        f"grpcs://localhost:{server.server.grpc_port}/toy",
    ):
        with kbert.Client(url, ca_file=ca_file) as client:
            assert client.predict(["aaa"])[0] in ("ham", "spam")
    for url in (
        f"{server.url}/v1/models/toy",
        f"grpcs://localhost:{server.server.grpc_port}/toy",
    ):
        # Which no repetition mends.
        with kbert.Client(url, retry_seconds=60) as client:
            with pytest.raises(RequestError, match="(?i)certificate"):
                client.predict(["aaa"])


@pytest.mark.parametrize("wrong", ["other key", "no key", "password"])
def test_a_key_that_does_not_fit_is_named(certificate, tmp_path, wrong):
    key = tmp_path / "key.pem"
    if wrong == "no key":
        key.write_text("none")
    else:
        locked = (
            ["-aes256", "-passout", "pass:x"] if wrong == "password" else []
        )
        subprocess.run(
            ["openssl", "genrsa", *locked, "-out", key, "2048"],
            check=True,
            capture_output=True,
        )
    with pytest.raises(ConfigError, match="a certificate chain and its key"):
        ServerOptions(tls_cert=certificate / "cert.pem", tls_key=key)


# === What it says of itself ===


def test_metrics_have_tf_servings_names(server):
    httpx.post(f"{server.url}{PATH}", content=BODY)
    httpx.post(f"{server.url}/v1/models/secret-name:predict", content=BODY)
    page = httpx.get(f"{server.url}/monitoring/prometheus/metrics")
    assert page.headers["content-type"].startswith("text/plain")
    lines = page.text.splitlines()
    prefix = ":tensorflow:serving"
    assert f"# TYPE {prefix}:request_count counter" in lines
    assert f"# TYPE {prefix}:request_latency histogram" in lines
    counts = [x for x in lines if x.startswith(f"{prefix}:request_count{{")]
    assert any('model_name="toy",status="OK"' in line for line in counts)
    assert any('model_name="",status="NOT_FOUND"' in line for line in counts)
    labels = 'API="Predict",entrypoint="REST",model_name="toy",status="OK"'
    assert any(
        x.startswith(f"{prefix}:request_latency_bucket{{{labels[:13]}")
        or (f"{prefix}:request_latency_count" in x and labels in x)
        for x in lines
    )
    assert f"{prefix}:model_warmup_latency_count" in page.text
    # Names that clients make up must not fill the memory.
    assert "secret-name" not in page.text


def test_the_page_and_its_parts(server):
    page = httpx.get(server.url)
    assert page.status_code == 200 and "kbert" in page.text
    assert "default-src 'self'" in page.headers["content-security-policy"]
    for path in PAGE.iterdir():
        part = httpx.get(f"{server.url}/static/{path.name}")
        assert part.status_code == 200
        for word in ("http://", "https://", "//cdn"):
            assert word not in page.text + part.text
    assert httpx.get(f"{server.url}/static/../app.py").status_code == 404
    numbers, toy = httpx.get(f"{server.url}/ui/models").json()
    assert (numbers["name"], numbers["model"]) == ("numbers", None)
    assert toy["model"]["head"]["config"]["labels"] == ["ham", "spam"]
    assert toy["versions"][0]["state"] == "AVAILABLE"
    assert toy["signatures"]["explain"]["inputs"] == ["text"]


def test_explanations_add_up(server):
    body = {"signature_name": "explain", "instances": ["zz yyy 中文 aaa"]}
    answer = httpx.post(f"{server.url}{PATH}", json=body, timeout=60).json()
    (row,) = answer["predictions"]
    assert sum(row["attribution"]) == pytest.approx(
        row["value"] - row["blank_value"], abs=1e-3
    )
    text = "zz yyy 中文 aaa".encode()
    pieces = zip(row["start"], row["end"], strict=True)
    words = "".join(text[a:b].decode() for a, b in pieces if b > a)
    assert words == "zzyyy中文aaa"
    plain = httpx.post(
        f"{server.url}{PATH}", json={"instances": ["zz yyy 中文 aaa"]}
    ).json()["predictions"][0]
    assert row["value"] == pytest.approx(plain["score"], abs=1e-5)


# === Starting ===


def test_ports_that_are_taken(run_server, number_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("rest_port", "grpc_port"):
            with pytest.raises(ConfigError, match="Expected a free port"):
                run_server([from_folder(number_model)], **{option: port})


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", "a" * 70])
def test_an_address_that_is_none_of_this_machine(
    run_server, number_model, host
):
    # The port is free: nothing that listens there is to be stopped.
    with pytest.raises(ConfigError, match="Expected an address of this"):
        run_server([from_folder(number_model)], host=host)


def test_no_address_is_not_every_address():
    with pytest.raises(ConfigError, match="Received: an empty one"):
        ServerOptions(host="")


def test_an_ipv6_address(run_server, number_model):
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    server = run_server([from_folder(number_model)], host="::1").server
    assert httpx.get(f"http://[::1]:{server.rest_port}/readyz").is_success
    with grpc.insecure_channel(f"[::1]:{server.grpc_port}") as channel:
        grpc.channel_ready_future(channel).result(10)


def test_two_servers_do_not_share_a_port(run_server, server, number_model):
    # gRPC would let them, and each would answer a part of the calls.
    for option in ("rest_port", "grpc_port"):
        port = getattr(server.server, option)
        with pytest.raises(ConfigError, match="Expected a free port"):
            run_server([from_folder(number_model)], **{option: port})


def test_a_model_that_cannot_be_loaded(run_server, copied):
    (copied / "1" / "saved_model.pb").write_bytes(b"no graph")
    with pytest.raises(UnavailableError, match="version 1: "):
        run_server([from_folder(copied)])


def test_a_warm_up_that_fails(run_server, copied):
    path = copied / "1" / "assets.extra" / "tf_serving_warmup_requests"
    path.write_bytes(b"no records " * 100)
    with pytest.raises(UnavailableError, match="TFRecord"):
        run_server([from_folder(copied)])


def test_ops_that_a_release_lacks(run_server, tmp_path):
    import tensorflow as tf
    import tensorflow_text as tf_text

    trimmer = tf_text.RoundRobinTrimmer(max_seq_length=4)

    def trim(x):
        first, second = trimmer.trim([tf.strings.split(x)] * 2)
        return {"a": first.to_tensor(), "b": second.to_tensor()}

    module = tf.Module()
    module.f = tf.function(
        trim, input_signature=[tf.TensorSpec((None,), tf.string)]
    )
    path = tmp_path / "new" / "1"
    tf.saved_model.save(module, str(path), {"serving_default": module.f})
    model = from_folder(path.parent)
    with pytest.raises(UnavailableError, match="RoundRobinTrim"):
        run_server([model], release="2.12.1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers"),
        ({"max_body": -1}, "max_body"),
        ({"token": " "}, "token"),
        ({"tls_cert": "cert.pem"}, "both"),
        ({"tls_cert": "no.pem", "tls_key": "no.pem"}, "Expected a PEM file"),
        ({"release": "1.0"}, "Unknown TF Serving release '1.0'"),
    ],
)
def test_options_that_are_wrong(options, message):
    with pytest.raises((ConfigError, UnknownNameError), match=message):
        ServerOptions(**options)
