"""Requests that ask for much: refused before they cost much, off the loop."""

import asyncio
import gc
import gzip
import json
import select
import socket
import threading
import time
import weakref

import grpc
import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from kbert.errors import RequestError
from kbert.errors import UnavailableError
from kbert.serving import bodies
from kbert.serving import connections
from kbert.serving import json_answers
from kbert.serving import json_parse
from kbert.serving import tensors
from kbert.serving import wire
from kbert.serving.batching import Batcher
from kbert.serving.batching import Work
from kbert.serving.config import from_folder
from kbert.serving.limits import Held
from kbert.serving.limits import Limits
from kbert.serving.status import TooLargeError
from kbert.serving.status import error
from kbert.serving.workers import Workers

GOOD = b'{"instances": ["aaa bb"]}'
MIB = 1024 * 1024


@pytest.fixture(autouse=True, scope="module")
def frozen():
    """Collections leave out TensorFlow, as in `kbert serve`."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Probe:
    """Asks `/healthz` all the time, and keeps the longest wait."""

    def __init__(self, server):
        self._address = ("127.0.0.1", server.server.rest_port)
        self._stop = threading.Event()
        self.worst = 0.0

    def __enter__(self):
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _ask(self):
        request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with socket.create_connection(self._address, timeout=60) as client:
            while not self._stop.wait(0.01):
                started = time.perf_counter()
                client.sendall(request)
                answer = b""
                while not answer.endswith(b"}"):
                    answer += client.recv(1000)
                self.worst = max(self.worst, time.perf_counter() - started)


def post(server, body, path="/v1/models/toy:predict", zipped=True):
    return httpx.post(
        f"{server.url}{path}",
        content=gzip.compress(body) if zipped else body,
        headers={"Content-Encoding": "gzip"} if zipped else {},
        timeout=60,
    )


def rows(value, count, key="instances"):
    return f'{{"{key}": [{",".join([value] * count)}]}}'.encode()


def with_context(size, count):
    body = {"context": {"x": "c" * size}, "examples": [{}] * count}
    return json.dumps(body).encode()


# A kilobyte or eight of gzip each.
LARGE = [
    ("predict", rows("{}", 2_700_000), 413, "values"),
    ("predict", rows('""', 2_700_000), 413, "values"),
    ("predict", rows('""', 1_000_000), 413, "1024 rows"),
    ("predict", rows('""', 300_000, "inputs"), 413, "1024 rows"),
    ("predict", rows("[]", 500_000), 413, "1024 rows"),
    ("predict", b'{"instances":' + b"[" * 8_000_000, 413, "values"),
    ("predict", b'{"a":' * 1_500_000, 413, "values"),
    ("predict", rows("9" * 8_000_000, 1), 400, "Number too big"),
    ("predict", b"{" + b'"a":1,' * 10**6 + b'"a":1}', 413, "values"),
    ("predict", b"{" + b'"a":1,' * 200_000 + b'"a":1}', 413, "keys"),
    ("predict", b" " * 8_000_000, 400, "empty"),
    (
        "predict",
        rows('{"%s": 1}' % ("n" * 8_000_000), 1),
        400,
        "element: 0 key",
    ),
    ("predict", rows('"%s"' % ("a" * 8_000_000), 1), 413, "texts of at most"),
    ("predict", rows('{"b64": "%s"}' % ("A" * 8_000_000), 1), 413, "texts of"),
    ("predict", rows('{"b64": "%s"}' % ("A " * 4_000_000), 1), 413, "texts of"),
    ("predict", rows('"%s"' % ("\\n" * 4_000_000), 1), 413, "texts of at most"),
    ("classify", with_context(MIB, 2000), 413, "1024 rows"),
    ("classify", with_context(7 * MIB, 1000), 413, "the context in each"),
]


@pytest.mark.parametrize("case", LARGE, ids=range(len(LARGE)))
def test_large_requests_hold_nobody_up(server, case):
    method, body, status, message = case
    with Probe(server) as probe:
        started = time.process_time()
        response = post(server, body, f"/v1/models/toy:{method}")
        took = time.process_time() - started
    assert (response.status_code, message in response.text) == (status, True)
    assert len(response.text) < 3000 and "\n" not in response.text
    # Loosely: others use this machine, and the client is in this process.
    assert probe.worst < 2
    assert took < 6


def test_many_members_of_gzip(server):
    empty = gzip.compress(b"") * 160_000
    headers = {"Content-Encoding": "gzip"}
    url = f"{server.url}/v1/models/toy:predict"
    started = time.perf_counter()
    response = httpx.post(url, content=empty, headers=headers, timeout=60)
    assert time.perf_counter() - started < 5
    assert response.status_code == 400
    assert "more than 1000 members" in response.text


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=9), st.data())
def test_unzip_is_the_inverse_of_gzip(parts, data):
    zipped = b"".join(map(gzip.compress, parts))
    plain = b"".join(parts)
    assert bodies.unzip(zipped, len(plain)) == plain
    if plain:
        with pytest.raises(TooLargeError):
            bodies.unzip(zipped, len(plain) - 1)
    cut = data.draw(st.integers(0, len(zipped) - 1))
    try:
        assert plain.startswith(bodies.unzip(zipped[:cut], len(plain)))
    except RequestError:
        pass  # But at the end of a member.


@settings(max_examples=50, deadline=None)
@given(
    st.recursive(
        st.text() | st.integers() | st.sampled_from(['"', "\\", '\\"', ",[{:"]),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
        max_leaves=20,
    )
)
def test_values_are_counted_as_they_are_parsed(value):
    body = json.dumps({"x": value}).encode()

    def marks(value):
        if isinstance(value, dict):
            return 2 * len(value) + sum(map(marks, value.values())) or 1
        if isinstance(value, list):
            return (len(value) or 1) + sum(map(marks, value))
        return 0

    expected = marks({"x": value})
    assert json_parse._count(body, 0) == expected
    assert json_parse._count(body, len(body)) >= expected


def test_both_parsers_say_the_same(monkeypatch):
    bodies = [
        b'{"a": [1, 2.5, -3, 1e5, NaN, Infinity, true, null, "x\\n\\u00e9"]}',
        b'{"a": {"b": [[], {}]}, "a": 1} rest',
        *(b'{"a": ', b'{"a" 1}', b"{a: 1}", b'{"a": "\x01"}', b'{"a": "\\x"}'),
        *(b'{"a": "x', b'{"a": [1 2]}', b'{"a": 1e999}', b"[1]", b'{"a": nul}'),
        b'{"a": ' + b"[" * 5000,
    ]

    def said(body):
        try:
            return repr(json_parse.parse(body))
        except RequestError as failure:
            return str(failure)

    quick = list(map(said, bodies))
    monkeypatch.setattr(json_parse, "_DECODER", json_parse._GIVING_WAY)
    assert list(map(said, bodies)) == quick


def test_json_of_large_answers_is_the_same():
    body = {"predictions": [{"a": "\x01é\ud800", "b": [1.5, True, None]}] * 3}
    assert json_answers.dump(body) == json_answers.dump_large(body)
    array = np.random.default_rng(0).random((3, 20_000), np.float32)
    assert json_answers.numbers(array)[2][7] == float(str(array[2, 7]))
    assert json_answers.numbers(array[0, 0]) == float(str(array[0, 0]))
    values = tensors.to_proto(np.arange(250_000)).int64_val
    assert list(values) == list(range(250_000))


# === gRPC ===


def predict_request(fill):
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "toy"
    fill(request.inputs["text"])
    return "Predict", request.SerializeToString()


def strings(values, *sizes):
    def fill(tensor):
        tensor.dtype = 7
        tensor.string_val.extend(values)
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)

    return predict_request(fill)


def classify_request(count, size):
    from tensorflow.core.example.example_pb2 import Example
    from tensorflow_serving.apis import classification_pb2

    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "toy"
    request.model_spec.signature_name = "classify"
    kind = request.input.example_list_with_context
    kind.context.features.feature["x"].bytes_list.value.append(b"c" * size)
    kind.examples.extend([Example()] * count)
    return "Classify", request.SerializeToString()


def dimensions(tensor):
    tensor.dtype = 7
    for _ in range(1000):
        tensor.tensor_shape.dim.add(size=1)


def one_by_one(tensor):
    tensor.dtype = 10  # One byte each in the message, an object in Python.
    tensor.bool_val.extend([True] * 8_000_000)
    tensor.tensor_shape.dim.add(size=1000)
    tensor.tensor_shape.dim.add(size=8000)


CALLS = [
    (lambda: strings([b""] * 1_500_000, 1_500_000), "1048576 values"),
    (lambda: strings([b""] * 900_000, 900_000), "1024 rows"),
    (lambda: strings([b""] * 900_000, 1), "parsing error"),
    (lambda: strings([b"x" * MIB], 1000), "1048584000 bytes"),
    (lambda: strings([b"x" * 2 * MIB], 1), "texts of at most 1048576"),
    (lambda: strings([b"x"], 10**9), "a tensor of at most 8388608"),
    (lambda: strings([b"x"], 2**62, 2**62, 0), "1024 rows"),
    (lambda: predict_request(dimensions), "254 dimensions"),
    (lambda: predict_request(one_by_one), "1048576 values"),
    (lambda: ("Predict", b"\x12\x00" * 4_000_000), "1048576 values"),
    (lambda: ("Predict", b"\x1a\x00" * 4_000_000), "1048576 values"),
    (lambda: ("Predict", b"\x12\xff" * 100), "bytes that are none"),
    (lambda: ("Predict", b"\x12\x05" + b"\xff" * 50_000), "that are none"),
    (lambda: classify_request(1_000_000, 0), "1048576 values"),
    (lambda: classify_request(2000, 0), "1024 rows"),
    (lambda: classify_request(1000, 7 * MIB), "the context in each"),
]


@pytest.mark.parametrize("case", CALLS, ids=range(len(CALLS)))
def test_large_calls_hold_nobody_up(server, case):
    make, message = case
    method, data = make()
    path = f"/tensorflow.serving.PredictionService/{method}"
    with grpc.insecure_channel(server.grpc) as channel, Probe(server) as probe:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(data, timeout=60)
    assert message in caught.value.details(), caught.value.details()
    assert caught.value.code().name in (
        "INVALID_ARGUMENT",
        "RESOURCE_EXHAUSTED",
    )
    assert probe.worst < 2


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 50))
def test_counting_a_message_is_safe(data, cut):
    from tensorflow_serving.apis import predict_pb2

    def outcome(function):
        try:
            return function()
        except Exception as failure:
            return type(failure)

    _, good = strings([b"a", b"b" * 200], 2)
    kind, limits = predict_pb2.PredictRequest, Limits()
    for message in (data, good[:cut] + data, good[: len(good) - cut]):
        before = outcome(lambda m=message: kind.FromString(m))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(wire, "SMALL", -1)
            after = outcome(lambda m=message: wire.parse(kind, m, limits))
        if isinstance(before, type):
            assert after is RequestError
        else:
            assert after == before


# === Connections ===


def talk(server, *pieces, pause=0.0):
    """What a server answers to bytes."""
    address = ("127.0.0.1", server.server.rest_port)
    with socket.create_connection(address, timeout=30) as client:
        try:
            for piece in pieces:
                client.sendall(piece)
                time.sleep(pause)
            return client.recv(100_000)
        except ConnectionError:
            return b""


START = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("head", "more", "status"),
    [
        (START, b"x: " + b"y" * 70_000, 431),
        (START, b"x: y\r\n" * 101, 431),
        (START, b"".join(b"x%d: " % i + b"y" * 7000 for i in range(10)), 431),
        (START, (b"x: " + b"y" * 7000 + b"\r\n") * 10 + b"\r\n", 431),
        (b"GET /", b"y" * 9_000, 414),
        (b"GET /", b"y" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 414),
        (b"", b"\r\n" * 40_000, 431),
        (CHUNKED, b"0\r\n" + b"x: y\r\n" * 101, 431),
        (CHUNKED, b"0\r\nx: " + b"y" * 70_000, 431),
        (CHUNKED, b"1;" + b"y" * 70_000, 431),
        (CHUNKED, b"zz\r\n", 400),
    ],
)
def test_heads_are_bounded(server, head, more, status):
    middle = len(more) // 2
    for pieces in ([head + more], [head, more[:middle], more[middle:]]):
        answer = talk(server, *pieces)
        assert answer.startswith(b"HTTP/1.1 %d " % status), answer
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]


def test_chunks_of_any_size_are_taken(server):
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in GOOD)
    padding = b"1\r\n \r\n" * 30_000
    answer = talk(server, CHUNKED + padding + chunks + b"0\r\nx: y\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    # And what comes after one is a request of its own.
    answer = talk(server, 3 * (CHUNKED + chunks + b"0\r\n\r\n"), pause=1.0)
    assert answer.count(b"HTTP/1.1 200 ") == 3


def test_slow_heads_and_silence(server, monkeypatch):
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    started = time.perf_counter()
    assert talk(server, b"") == b""
    assert talk(server, START).startswith(b"HTTP/1.1 408 ")
    slow = [b"x: y\r\n"] * 9
    assert b" 200 " not in talk(server, START, *slow, GOOD, pause=0.1)
    # A body that is refused is thrown away, but not for ever.
    head = START + b"Content-Length: 100000000\r\n\r\n"
    address = ("127.0.0.1", server.server.rest_port)
    with socket.create_connection(address, timeout=30) as client:
        client.sendall(head)
        assert b" 413 " in client.recv(1000)
        with pytest.raises(OSError):
            for _ in range(100):
                client.sendall(b" " * 1000)
                time.sleep(0.05)
    assert time.perf_counter() - started < 10
    # Who sends at once is not hurried.
    assert post(server, GOOD, zipped=False).status_code == 200


def test_answers_that_nobody_takes(server, monkeypatch):
    monkeypatch.setattr(connections, "SEND_SECONDS", 0.3)
    text = "x" * MIB
    body = {"signature_name": "echo", "inputs": [text] * 7}
    body = json.dumps(body).encode()
    head = (
        "POST /v1/models/numbers:predict HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    address = ("127.0.0.1", server.server.rest_port)
    found = server.server._http.server_state.connections
    before = len(found)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(30)
        client.connect(address)
        client.sendall(head + body)
        end = time.monotonic() + 30
        while len(found) > before:
            assert time.monotonic() < end
            time.sleep(0.05)


def test_slow_clients_do_not_take_all_connections(
    run_server, number_model, monkeypatch
):
    monkeypatch.setattr("kbert.serving.server.MAX_CONNECTIONS", 5)
    server = run_server([from_folder(number_model)])
    address = ("127.0.0.1", server.server.rest_port)
    held = [socket.create_connection(address, timeout=30) for _ in range(20)]
    try:
        for client in held:
            client.sendall(b"GET / HT")
        for _ in range(10):
            health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            assert b" 200 " in talk(server, health)
    finally:
        for client in held:
            client.close()


# === What all hold together ===


def test_large_requests_share_what_they_may_hold():
    held = Held(1000 * 1000)
    with held.share() as first, held.share() as second:
        first.resize(700 * 1000)
        with pytest.raises(UnavailableError, match="large requests"):
            second.resize(400 * 1000)
        second.resize(60 * 1000)  # Small ones are free.
        first.resize(100 * 1000)
        second.resize(400 * 1000)
        assert held.left == 500 * 1000
    assert held.left == 1000 * 1000


def test_half_sent_bodies_leave_room_for_small_ones(run_server, number_model):
    server = run_server([from_folder(number_model)], max_body=200_000)
    address = ("127.0.0.1", server.server.rest_port)
    head = START + b"Content-Length: 199999\r\n\r\n" + b" " * 190_000
    held = [socket.create_connection(address, timeout=30) for _ in range(9)]
    try:
        for client in held:
            client.sendall(head)
        (refused, *_), _, _ = select.select(held, [], [], 30)
        assert b" 503 " in refused.recv(1000)
        # There is no such model, but it was read.
        assert post(server, GOOD, zipped=False).status_code == 404
        assert post(server, b" " * 190_000 + GOOD).status_code == 503
    finally:
        for client in held:
            client.close()
    end = time.monotonic() + 30
    while post(server, b" " * 190_000 + GOOD).status_code != 404:
        assert time.monotonic() < end


def test_a_request_that_times_out_gives_up_its_place():
    async def main():
        workers, done = Workers(), []
        slow = [
            workers.run(MIB, time.monotonic() + 9, time.sleep, 0.3)
            for _ in range(2)
        ]
        running = [asyncio.ensure_future(one) for one in slow]
        await asyncio.sleep(0.05)
        with pytest.raises(UnavailableError, match="Timed out"):
            await workers.run(MIB, time.monotonic() + 0.05, done.append, 1)
        await asyncio.gather(*running)
        await asyncio.sleep(0.1)
        assert not done  # It was never begun.
        workers.close()

    asyncio.run(main())


def test_memory_of_large_messages_is_given_back(monkeypatch):
    trims = []
    monkeypatch.setattr("kbert.serving.workers.trim", lambda: trims.append(1))

    async def main():
        workers = Workers()
        for number in range(1, 40):
            with pytest.raises(ValueError):  # After a failure, too.
                await workers.run(MIB, time.monotonic() + 9, int, "x")
            assert len(trims) == number // 4
        await workers.run(10, time.monotonic() + 9, int, "1")
        workers.close()

    asyncio.run(main())
    assert len(trims) == 9


def test_small_messages_that_are_zipped_trim_nothing(server, monkeypatch):
    trims = []
    monkeypatch.setattr("kbert.serving.workers.trim", lambda: trims.append(1))
    text = np.random.default_rng(0).bytes(6000).hex()
    body = json.dumps({"instances": [text]}).encode()
    assert len(gzip.compress(body)) > 6000
    for _ in range(3):
        assert post(server, body).status_code == 200
    assert not trims


class Parsed(list):
    """What takes much memory, and can be watched."""


def test_what_failed_is_kept_in_no_circle():
    refs = []

    def read(*_):
        parsed = Parsed()
        refs.append(weakref.ref(parsed))
        raise TooLargeError("too many rows")

    async def main():
        workers, batcher = Workers(), Batcher()
        deadline = time.monotonic() + 9
        work = Work(read, {}, ("y",), 1, True, deadline, 1)
        for asked in (
            workers.run(MIB, deadline, read),
            batcher.submit(work),
        ):
            with pytest.raises(TooLargeError):
                await asked
            await asyncio.sleep(0.1)
        workers.close()
        batcher.close()

    gc.collect()
    gc.disable()  # It would find them in the end.
    try:
        asyncio.run(main())
        assert [ref() for ref in refs] == [None, None]
    finally:
        gc.enable()


def test_batches_are_bounded_in_bytes():
    sizes = []

    def run(feeds, fetches):
        sizes.append(sum(map(len, feeds["x"])))
        time.sleep(0.02)
        return [feeds["x"]]

    def work(*lengths):
        array = np.array([b"x" * n for n in lengths] + [None], object)[:-1]
        deadline = time.monotonic() + 9
        size = sum(lengths)
        return Work(run, {"x": array}, ("y",), len(array), True, deadline, size)

    async def main():
        batcher = Batcher(max_batch_bytes=100)
        answers = await asyncio.gather(
            *(batcher.submit(work(60)) for _ in range(6)),
            batcher.submit(work(50, 40, 30, 500, 10, 90, 1)),
        )
        batcher.close()
        return answers

    answers = asyncio.run(main())
    assert [len(x) for x in answers[-1][0]] == [50, 40, 30, 500, 10, 90, 1]
    assert sorted(sizes) == sorted([60] * 6 + [90, 30, 500, 100, 1])


def test_answers_are_bounded():
    limits = Limits(20_000)
    limits.check_answer([np.array([b"x" * 80_000], object)])
    with pytest.raises(TooLargeError, match="Expected an answer"):
        limits.check_answer([np.array([b"x" * 80_001], object)])
    with pytest.raises(TooLargeError, match="Expected an answer"):
        limits.check_answer([np.zeros(40_000, bool)])


def test_messages_fit_into_a_header(server):
    assert len(str(error("NOT_FOUND", "中" * 10_000)).encode()) < 2010
    version = "9" * 6000
    for path, status in (
        (f"/v1/models/toy/versions/{version}:predict", 400),
        (f"/v1/models/toy/versions/{'0' * 6000}1:predict", 200),
        (f"/v1/models/{'%E4%B8%AD' * 800}:predict", 404),
    ):
        response = post(server, GOOD, path, zipped=False)
        assert response.status_code == status, response.text
        assert len(response.text) < 3000
    with grpc.insecure_channel(server.grpc) as channel:
        path = "/tensorflow.serving.PredictionService/Predict"
        name = ("中" * 1_000_000).encode()
        spec = b"\x0a" + _varint(len(name)) + name
        data = b"\x0a" + _varint(len(spec)) + spec
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(path)(data, timeout=60)
        assert caught.value.code().name == "NOT_FOUND"


def _varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])
