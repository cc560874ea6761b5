"""What `predict` gives is the same, whichever way a model is asked.

Python, the SavedModel, ONNX, the server's JSON, and the client over REST and
gRPC; all heads and several tasks at once.
"""

import base64
import functools
import json
import urllib.request

import numpy as np
import pytest

import kbert
from kbert.data.answers import predictions
from kbert.data.answers import rows_of
from kbert.exported.model import ServedModel
from kbert.heads.embedding import EmbeddingHead
from kbert.plugins import get_plugins
from kbert.serving.config import from_folder

HEADS = {
    "number": ("classification", {"labels": [3, 1, 2]}),
    "tags": ("multi_label", {"labels": list("abcd"), "threshold": 0.5}),
    "grade": ("regression", {"mean": 2.0, "scale": 1.5, "minimum": 0}),
    "who": ("ner", {"labels": ["LOC", "PER"]}),
    "reply": ("qa", {"no_answer": True}),
}
PLUGINS = {
    "topic": ("classification", {"labels": ["a", "b", "c"]}),
    "spam": ("spam", {"labels": ["ham", "spam"]}),
    "mood": ("sentiment", {"labels": ["bad", "ok", "good"]}),
    "news": ("news", {"labels": ["a", "b"]}),
}
TEXTS = ["hello there", "", b"bad \xff bytes", "Ärger in 北京 🎉", "word " * 30]
WHOLE = [text or "a" for text in TEXTS]


def columns_of(task):
    first, *more = task.inputs
    return {first: TEXTS} | dict.fromkeys(more, WHOLE)


def several(heads, path):
    """Heads on one backbone, and their export."""
    known = get_plugins().heads
    names = [name for name, _ in known.items()]
    multi = kbert.MultiTask(
        "random:1x16",
        {
            task: known.get(name).value(**options)
            for task, (name, options) in heads.items()
            if name in names
        },
        max_length=32,
        seed=0,
    )
    rng = np.random.default_rng(0)
    for task in multi.tasks.values():
        for name, weight in task.head_weights():
            if name.endswith("kernel"):  # Or all texts are answered alike.
                weight.assign(rng.normal(size=weight.shape) * 3)
    with pytest.MonkeyPatch.context() as patch:
        # Not asked for here, and takes as long to make as all else.
        patch.setattr("kbert.export.saved_model.can_explain", lambda _: False)
        multi.export(path)
    return multi


@pytest.fixture(scope="module")
def ours(tmp_path_factory, run_server):
    path = tmp_path_factory.mktemp("models") / "ours"
    return several(HEADS, path), path, run_server([from_folder(path)])


@pytest.fixture(scope="module")
def plugins(tmp_path_factory, run_server):
    path = tmp_path_factory.mktemp("models") / "plugins"
    return several(PLUGINS, path), path, run_server([from_folder(path)])


@pytest.fixture(scope="module")
def embedding(tmp_path_factory, run_server):
    path = tmp_path_factory.mktemp("models") / "embedding"
    embedder = kbert.Embedder("random:1x16", max_length=32, seed=0)
    embedder.export(path)
    return embedder, path, run_server([from_folder(path)])


opened = functools.cache(ServedModel)  # Once for all the tasks of one.


def same(received, expected):
    """Whether answers are the same, numbers to 1e-4 and labels as strings."""
    if isinstance(expected, dict):
        return received.keys() == expected.keys() and all(
            same(received[key], expected[key]) for key in expected
        )
    if isinstance(expected, list | np.ndarray):
        return len(received) == len(expected) and all(
            map(same, received, expected)
        )
    if isinstance(expected, float | np.floating):
        return abs(received - expected) < 1e-4
    return str(received) == str(expected)


def asked_by_json(server, model, signature, columns):
    """The outputs as the server writes them, by name."""
    rows = [
        {
            name: {"b64": base64.b64encode(text).decode()}
            if isinstance(text, bytes)
            else text
            for name, text in zip(columns, row, strict=True)
        }
        for row in zip(*columns.values(), strict=True)
    ]
    request = {"signature_name": signature, "instances": rows}
    url = f"{server.url}/v1/models/{model}:predict"
    with urllib.request.urlopen(url, json.dumps(request).encode()) as answer:
        answers = json.load(answer)["predictions"]
    if not isinstance(answers[0], dict):
        return {"": np.array(answers)}
    return {key: np.array([row[key] for row in answers]) for key in answers[0]}


def python(model, columns):
    if isinstance(model, kbert.Embedder):
        return list(model.encode(columns["text"]))
    return model.predict(columns)


def model_of(request, of, task):
    """A model, its export, a server of that, and the name of its signature."""
    model, path, server = request.getfixturevalue(of)
    if of == "embedding":
        return model, path, server, "serving_default"
    if task not in model.tasks:
        pytest.skip(f"no plugin with the head {PLUGINS[task][0]!r}")
    return model[task], path, server, task


@pytest.mark.parametrize(
    ("of", "task"),
    [
        *(("ours", task) for task in HEADS),
        ("embedding", None),
        *(
            pytest.param("plugins", task, marks=pytest.mark.large)
            for task in PLUGINS
        ),
    ],
)
def test_all_ways_agree(request, of, task):
    model, path, server, signature = model_of(request, of, task)
    columns = columns_of(model)
    expected, rows = python(model, columns), [*model.stream(columns)]
    if task == "tags":
        assert len(set(map(len, expected))) > 1
    assert same([row[model.head.answer_output] for row in rows], expected)

    saved = opened(path)
    saved._serve = saved._loaded.signatures[signature]
    saved.inputs = model.inputs
    answers = saved(columns)
    assert same(predictions(answers), expected)
    assert same(rows_of(answers), rows)
    answers = asked_by_json(server, path.name, signature, columns)
    assert same(predictions(answers), expected)
    for url in (
        f"{server.url}/v1/models/{path.name}",
        f"grpc://{server.grpc}/{path.name}",
    ):
        with kbert.Client(url) as client:
            assert same(client.predict(columns, signature), expected)


@pytest.mark.parametrize(
    ("of", "task"),
    [
        ("ours", "tags"),
        *(
            pytest.param(of, task, marks=pytest.mark.large)
            for of, task in (
                *(("ours", "number"), ("ours", "grade"), ("embedding", None)),
                *(("plugins", "spam"), ("plugins", "mood")),
            )
        ),
    ],
)
def test_onnx_agrees(request, tmp_path, of, task):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    model, *_ = model_of(request, of, task)
    columns = columns_of(model)
    onnx = kbert.OnnxModel(model.export(tmp_path / "m", format="onnx"))
    assert same(onnx.predict(columns), python(model, columns))
    assert same([*onnx.stream(columns)], [*model.stream(columns)])
    assert same(onnx.predict(columns), predictions(onnx.answers(columns)))


def test_every_head_is_here():
    tried = {name for name, _ in HEADS.values()} | {EmbeddingHead.name}
    ours = {
        name
        for name, head in get_plugins().heads.items()
        if head.value.__module__.startswith("kbert.")
    }
    assert ours <= tried
