"""Bad requests: many small ones drawn at random, and some that ask for much."""

from __future__ import annotations

import functools
import gzip
import json
import random
from collections.abc import Callable

from tensorflow.core.example.example_pb2 import Example
from tensorflow_serving.apis import classification_pb2
from tensorflow_serving.apis import predict_pb2

PATH = "/v1/models/model:predict"
MIB = 1024 * 1024
BOMB = gzip.compress(b" " * 200_000_000)
VALUES = (
    *(None, True, -1, 1.5, 10**30, "x", "\ud800", [], {}, [[]], {"b64": "?"}),
    *({"text": 1}, {"b64": 1}, ["a", ["b"]], "long " * 20_000),
)


# === Small ones ===


def nested(draw: random.Random) -> bytes:
    depth = draw.choice((30, 300, 3_000, 300_000))
    opening = draw.choice((b"[", b'{"instances":', b'{"a":['))
    return b'{"instances": ' + opening * depth


def numbers(draw: random.Random) -> bytes:
    digits = b"9" * draw.choice((20, 400, 5_000, 500_000))
    number = draw.choice((digits, b"-" + digits, b"1e" + digits, b"NaN", b"0x"))
    return b'{"instances": [' + number + b"]}"


def wrong(draw: random.Random) -> bytes:
    key = draw.choice(("instances", "inputs", "examples", "signature_name"))
    count = draw.choice((0, 1, 3))
    value = [draw.choice(VALUES) for _ in range(count)]
    body = {key: draw.choice((value, draw.choice(VALUES)))}
    if draw.random() < 0.3:
        body["signature_name"] = draw.choice((1, "nope", "classify", "explain"))
    return json.dumps(body).encode()


def noise(draw: random.Random) -> bytes:
    return draw.randbytes(draw.choice((0, 1, 50, 5_000)))


def mangled(draw: random.Random) -> bytes:
    body = bytearray(b'{"instances": ["some words", "and more"]}')
    for _ in range(draw.randint(1, 4)):
        body[draw.randrange(len(body))] = draw.randrange(256)
    return bytes(body)


MAKERS = (nested, numbers, wrong, wrong, noise, mangled, mangled)


def post(path: str, body: bytes, *headers: str, length: int = -1) -> bytes:
    """A request, head and body, in bytes."""
    head = "\r\n".join(
        [
            f"POST {path} HTTP/1.1",
            "Host: localhost",
            f"Content-Length: {len(body) if length < 0 else length}",
            *headers,
            *("Connection: close", "", ""),
        ]
    )
    return head.encode() + body


def small(draw: random.Random) -> bytes:
    """A bad request that is cheap to make."""
    path, headers = PATH, []
    body = draw.choice(MAKERS)(draw)
    kind = draw.random()
    if kind < 0.05:
        headers.append("Content-Encoding: gzip")
        body = draw.choice((BOMB, gzip.compress(body)[:-3], body))
    elif kind < 0.15:
        path = draw.choice(
            (
                *("/v1/models/%00:predict", "/v1/models/model:classify"),
                "/v1/models/model/versions/99999999999999999999:predict",
                f"/v1/models/model/versions/{'9' * 5_000}:predict",
                *("/v1/models/model/labels/%ff:predict", "/v1/../etc"),
                *("/v1/models/model:regress", "/v1/" + "a" * 5_000),
            )
        )
    length = -1
    if 0.15 < kind < 0.17:
        length = draw.choice((len(body) + 10, 10**12))  # Never comes.
    return post(path, body, *headers, length=length)


# === Those that ask for much ===


def zipped(path: str, body: bytes) -> bytes:
    return post(path, gzip.compress(body), "Content-Encoding: gzip")


def rows(value: str, count: int, key: str = "instances") -> bytes:
    return f'{{"{key}": [{",".join([value] * count)}]}}'.encode()


def filled(before: str, value: str, after: str) -> bytes:
    """A body of 8 MiB, of one value again and again."""
    count = (8 * MIB - len(before) - len(after)) // len(value.encode())
    return (before + value * count + after).encode()


def context(size: int, count: int) -> bytes:
    body = {"context": {"x": "c" * size}, "examples": [{}] * count}
    return json.dumps(body).encode()


CLASSIFY = "/v1/models/model:classify"

# Each is made when it is sent: together they would take a gigabyte.
LARGE: dict[str, Callable[[], bytes]] = {
    "rows {}": lambda: zipped(PATH, rows("{}", 2_790_000)),
    "rows empty": lambda: zipped(PATH, rows('""', 2_790_000)),
    "rows one million": lambda: zipped(PATH, rows('""', 1_000_000)),
    "columns": lambda: zipped(PATH, rows('""', 1_000_000, "inputs")),
    "rows []": lambda: zipped(PATH, rows("[]", 500_000)),
    "numbers": lambda: zipped(PATH, rows("1", 1_000_000)),
    "decimals": lambda: zipped(PATH, rows("1.5", 1_000_000)),
    "one row": lambda: zipped(PATH, rows("[" + '"",' * 10**6 + '""]', 1)),
    "dicts": lambda: zipped(PATH, rows('{"a":1}', 300_000)),
    "keys": lambda: zipped(
        PATH, b"{" + b",".join(b'"%d":1' % i for i in range(500_000)) + b"}"
    ),
    "a key": lambda: zipped(PATH, filled("{", '"a":1,', '"a":1}')),
    "context": lambda: zipped(CLASSIFY, context(MIB, 2_000)),
    "context, few": lambda: zipped(CLASSIFY, context(7 * MIB, 1_000)),
    "members": lambda: post(
        PATH, gzip.compress(b"") * 160_000, "Content-Encoding: gzip"
    ),
    "text": lambda: zipped(PATH, filled('{"instances": ["', "a", '"]}')),
    "escapes": lambda: zipped(PATH, filled('{"instances": ["', "\\n", '"]}')),
    "quotes": lambda: zipped(PATH, filled('{"instances": ["', '\\"', '"]}')),
    "commas": lambda: zipped(PATH, filled('{"instances": ["', ",", '"]}')),
    "base64": lambda: zipped(
        PATH, filled('{"instances": [{"b64": "', "AAAA", '"}]}')
    ),
    "spaces": lambda: zipped(PATH, filled("{", " ", "}")),
    "digits": lambda: zipped(PATH, filled('{"instances": [', "9", "]}")),
    "deep": lambda: zipped(PATH, filled("", "[", "")),
    "features": lambda: zipped(
        CLASSIFY, rows('{"x": [' + "1," * 900_000 + "1]}", 1, "examples")
    ),
    "name": lambda: zipped(PATH, filled('{"instances": [{"', "n", '": 1}]}')),
    "header lines": lambda: (
        b"GET /healthz HTTP/1.1\r\n" + b"x: y\r\n" * 10_000_000
    ),
    "a header": lambda: b"GET / HTTP/1.1\r\nx: " + b"y" * 60_000_000,
    "a target": lambda: b"GET /" + b"y" * 60_000_000,
    "trailers": lambda: (
        b"POST /v1/models/model:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"x: y\r\n" * 10_000_000
    ),
    "chunks": lambda: (
        b"POST /v1/models/model:predict HTTP/1.1\r\nHost: localhost\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n" + b"1;" + b"x" * 60_000_000
    ),
}


def _predict(fill: Callable) -> tuple[str, bytes]:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    fill(request.inputs["text"])
    return "Predict", request.SerializeToString()


def _strings(values: list[bytes], *sizes: int):
    def fill(tensor):
        tensor.dtype = 7
        tensor.string_val.extend(values)
        for size in sizes:
            tensor.tensor_shape.dim.add(size=size)

    return fill


def _dimensions(tensor):
    tensor.dtype = 7
    for _ in range(1_500_000):
        tensor.tensor_shape.dim.add(size=1)


def _classify(count: int, size: int) -> tuple[str, bytes]:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = "classify"
    kind = request.input.example_list_with_context
    kind.context.features.feature["x"].bytes_list.value.append(b"c" * size)
    kind.examples.extend([Example()] * count)
    return "Classify", request.SerializeToString()


# The method of PredictionService, and its message.
CALLS: dict[str, Callable[[], tuple[str, bytes]]] = {
    "empty strings": lambda: _predict(_strings([b""] * 4_000_000, 4_000_000)),
    "more strings": lambda: _predict(_strings([b""] * 1_000_000, 1)),
    "one string": lambda: _predict(_strings([b"x" * MIB], 1_000)),
    "a shape": lambda: _predict(_strings([b"x"], 10**9)),
    "dimensions": lambda: _predict(_dimensions),
    "inputs": lambda: ("Predict", b"\x12\x00" * 4_000_000),
    "filters": lambda: ("Predict", b"\x1a\x00" * 4_000_000),
    "examples": lambda: _classify(3_000_000, 0),
    "context": lambda: _classify(1_000, 7 * MIB),
    "noise": lambda: ("Predict", random.Random(0).randbytes(7 * MIB)),
}


@functools.cache
def call(name: str) -> tuple[str, bytes]:
    """A method of PredictionService, and the message it is called with."""
    return CALLS[name]()
