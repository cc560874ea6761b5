"""`Embedder`: vectors, similarity, training, files, bad input."""

import json

import keras
import numpy as np
import pandas as pd
import pytest

import kbert
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import InputError

TEXTS = ["aaa bb", "zz yyy zz", "", "Ünïcode 中文 😀", "word " * 500]

# Runs where only TensorFlow and tensorflow_text are imported.
ASK = """
import json, sys
import tensorflow as tf

path, texts = json.loads(sys.argv[1])
signatures = tf.saved_model.load(path).signatures
assert list(signatures) == ["serving_default"], list(signatures)
answer = signatures["serving_default"](text=tf.constant(texts))
assert list(answer) == ["embedding"] and "kbert" not in sys.modules
print(json.dumps(answer["embedding"].numpy().tolist()))
"""


def tiny(**options):
    return kbert.Embedder("random:1x64", **({"seed": 0} | options))


@pytest.fixture(scope="module")
def embedder():
    return tiny()


def pairs(rows=12):
    return [(f"{c * 3} {i}", f"{i} {c * 4}") for i, c in enumerate("abcxyz")][
        :rows
    ]


# === Vectors ===


def test_encode(embedder):
    vectors = embedder.encode(TEXTS, batch_size=2)
    assert vectors.shape == (5, 64) and vectors.dtype == np.float32
    alone = np.concatenate([embedder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(vectors, alone, atol=1e-5)
    streamed = [row["embedding"] for row in embedder.stream(iter(TEXTS))]
    np.testing.assert_allclose(vectors, streamed, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
@pytest.mark.parametrize("normalize", [False, True])
def test_pooling_and_normalization(pooling, normalize):
    embedder = tiny(pooling=pooling, normalize=normalize)
    batch = embedder.tokenize([TEXTS]).take(np.arange(len(TEXTS)))
    x = np.asarray(embedder.backbone(batch)["sequence_output"])
    mask = batch["padding_mask"][:, :, None]
    if pooling == "cls":
        expected = x[:, 0]
    else:
        expected = (x * mask).sum(axis=1) / mask.sum(axis=1)
    if normalize:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.encode(TEXTS), expected, atol=1e-5)


def test_without_a_word_in_the_checkpoint(embedder):
    assert embedder.head.get_config() == {"pooling": "mean", "normalize": False}
    assert embedder.max_length == 512


def test_similarity(embedder):
    texts = ["aaa", "bbb ccc", "zz"]
    table = embedder.similarity(texts, texts[:2])
    assert table.shape == (3, 2) and table.dtype == np.float32
    np.testing.assert_allclose(np.diag(table), 1, atol=1e-5)
    vectors = embedder.encode(texts)
    np.testing.assert_allclose(
        embedder.similarity(vectors)[:, :2], table, atol=1e-5
    )
    a, b = vectors[0], vectors[1]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(table[0, 1], cosine, atol=1e-5)


# === Training ===


def test_contrastive_training_brings_pairs_together():
    embedder = tiny()
    x = pairs()

    def rank():
        table = embedder.similarity([a for a, _ in x], [b for _, b in x])
        return table.diagonal().mean() - table.mean()

    before = rank()
    history = embedder.fit(
        x, epochs=15, batch_size=6, learning_rate=1e-3, verbose=0
    )
    assert history.history["loss"][-1] < history.history["loss"][0]
    assert rank() > before + 0.1
    assert isinstance(embedder.model, keras.Model)
    assert embedder.training["loss"] == "contrastive"


def test_cosine_training_learns_the_scores():
    embedder = tiny()
    x = [("aaa", "aaa b"), ("aaa", "zz"), ("ccc", "ccc d"), ("ccc", "yy")]
    y = [1, 0.0, np.float32(0.9), 0.1]
    held_out = (pd.DataFrame(x, columns=["text", "text_pair"]), pd.Series(y))
    history = embedder.fit(
        x,
        y,
        validation_data=held_out,
        epochs=40,
        learning_rate=1e-3,
        verbose=0,
    )
    assert history.history["val_loss"][-1] < 0.02
    report = embedder.evaluate(x, [5, 0, 4.5, 0.5])
    assert report["pearson"] > 0.95 and report["pairs"] == 4
    json.dumps(report)


def test_same_seed_same_vectors():
    def run():
        embedder = tiny(seed=1)
        # With a third text, which belongs to none of the others.
        rows = [(a, b, "no") for a, b in pairs()]
        embedder.fit(rows, batch_size=3, verbose=0)
        return embedder.encode(TEXTS)

    np.testing.assert_array_equal(run(), run())


# === Files ===


def test_save_and_load(embedder, tmp_path):
    embedder = tiny(pooling="cls", normalize=True, max_length=20)
    embedder.save(tmp_path / "model")
    for loaded in (
        kbert.load(tmp_path / "model"),
        kbert.Embedder(tmp_path / "model"),  # As a preset says the same.
    ):
        assert type(loaded) is kbert.Embedder
        assert loaded.head.get_config() == embedder.head.get_config()
        assert loaded.max_length == 20
        np.testing.assert_array_equal(
            loaded.encode(TEXTS), embedder.encode(TEXTS)
        )
    clf = kbert.Classifier(tmp_path / "model", labels=["a", "b"])
    assert clf.predict_proba(["aaa"]).shape == (1, 2)


def test_fresh_process_answers_as_encode(tmp_path, plain_tensorflow):
    embedder = tiny(normalize=True)
    path = embedder.export(tmp_path / "model")
    served = plain_tensorflow(ASK, path, TEXTS)
    np.testing.assert_allclose(served, embedder.encode(TEXTS), atol=1e-5)
    # Weights once: the variables are not much more than the model's.
    data = path / "variables" / "variables.data-00000-of-00001"
    weights = sum(weight.numpy().nbytes for weight in embedder.model.weights)
    assert weights <= data.stat().st_size < 1.1 * weights


# === Bad input ===


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: e.encode([]), "at least one text"),
        (lambda e: e.encode("one"), "Put it into a list"),
        (lambda e: e.encode(["a", 3]), r"3 \(int\) in row 1"),
        (lambda e: e.encode(["a", None]), "in row 1"),
        (lambda e: e.similarity(np.zeros((2, 3))), r"shape \(2, 3\)"),
        (lambda e: e.similarity(np.zeros(64)), r"shape \(64,\)"),
        (lambda e: e.fit([]), "at least one pair"),
        (lambda e: e.fit("text"), "list of pairs"),
        (lambda e: e.fit(["a", "b"]), "Received: 1 in row 0"),
        (lambda e: e.fit([("a", "b"), ("a",)]), "in row 1"),
        (lambda e: e.fit([("a", "b"), "ab"]), "in row 1"),
        (lambda e: e.fit([("a", "b"), ("a", None)]), "in row 1"),
        (lambda e: e.fit([("a", "b")]), "at least two rows"),
        (lambda e: e.fit([("a", "b")] * 2, batch_size=1), "at least two rows"),
        (lambda e: e.fit({"text": ["a"]}), "without text_pair"),
        (lambda e: e.fit([("a", "b", "c")], [1]), "Expected 2 texts"),
        (lambda e: e.fit([("a", "b")] * 2, [1, 4.2]), "4.2 in row 1.*divided"),
        (lambda e: e.fit([("a", "b")] * 2, [1, np.nan]), "nan in row 1"),
        (lambda e: e.fit([("a", "b")] * 2, [1, "0.5"]), "'0.5' in row 1"),
        (lambda e: e.fit([("a", "b")] * 2, [1]), "2 pairs and 1 similarities"),
        (lambda e: e.fit([("a", "b")], 1.0), "list of numbers"),
        (lambda e: e.fit([("a", "b")], loss="cosine"), "Received: y=None"),
        (
            lambda e: e.fit([("a", "b")], [1], loss="contrastive"),
            "no similarities",
        ),
        (lambda e: e.evaluate([("a", "b")] * 2, [1, 1]), "different scores"),
        (lambda e: e.evaluate([("a", "b")], ["x"]), "a number.*row 0"),
    ],
)
def test_bad_input(embedder, call, message):
    with pytest.raises(InputError, match=message):
        call(embedder)


def test_bad_arguments(embedder):
    x = [("a", "b")] * 2
    for options, message in (
        ({"loss": "triplet"}, "loss='triplet'"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 2.0}, "batch_size=2.0"),
    ):
        with pytest.raises(ConfigError, match=message):
            embedder.fit(x, **options)
    with pytest.raises(ConfigError, match="pooling='first'"):
        tiny(pooling="first")
    with pytest.raises(ConfigError, match="Use kbert.Embedder"):
        kbert.Classifier("random:1x64", head="embedding")
    with pytest.raises(ConfigError, match="has no labels"):
        type(embedder.head)(labels=["a", "b"])


# === What the checkpoint says ===


def make_folder(tmp_path, modules, pooling=None, **files):
    kbert.Classifier("random:1x64", labels=["a", "b"]).save(tmp_path / "model")
    folder = tmp_path / "model"
    files = {"modules.json": modules} | files
    for name, value in files.items():
        (folder / name).write_text(json.dumps(value))
    (folder / "1_Pooling").mkdir()
    if pooling is not None:
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def steps(*names):
    return [
        {"path": f"{i}_{name}" if i else "", "type": f"some.where.{name}"}
        for i, name in enumerate(names)
    ]


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ({"pooling_mode_cls_token": True}, "cls"),
        ({"pooling_mode": "cls"}, "cls"),
        ({"pooling_mode_mean_tokens": True}, "mean"),
        ({}, "mean"),
    ],
)
def test_the_checkpoint_is_followed(tmp_path, pooling, expected):
    folder = make_folder(
        tmp_path,
        steps("Transformer", "Pooling", "Normalize"),
        pooling,
        **{"sentence_bert_config.json": {"max_seq_length": 77}},
    )
    embedder = kbert.Embedder(folder)
    assert embedder.head.get_config() == {
        "pooling": expected,
        "normalize": True,
    }
    assert embedder.max_length == 77
    other = kbert.Embedder(folder, pooling="mean", normalize=False)
    assert other.head.get_config() == {"pooling": "mean", "normalize": False}


def test_newer_files_leave_the_length_to_the_tokenizer(tmp_path):
    folder = make_folder(
        tmp_path,
        steps("Transformer", "Pooling"),
        {"pooling_mode": "mean"},
        **{"tokenizer_config.json": {"model_max_length": 40}},
    )
    assert kbert.Embedder(folder).max_length == 40


@pytest.mark.parametrize(
    ("modules", "pooling", "message"),
    [
        (steps("Transformer", "Pooling", "Dense"), {}, "2_Dense/config.json"),
        (steps("Transformer", "Pooling", "LSTM"), {}, "Pooling, LSTM. kbert"),
        (
            steps("Transformer", "Pooling", "Normalize", "Dense"),
            {},
            "Normalize, Dense. kbert",
        ),
        (steps("Transformer", "Pooling")[::-1], {}, "Pooling, Transformer. k"),
        (
            steps("Transformer", "Pooling"),
            {"pooling_mode": "splade"},
            r"Received: \['splade'\]",
        ),
        (steps("Transformer", "Pooling"), None, "1_Pooling/config.json"),
        ({}, {}, "Expected a JSON list"),
        ([{"type": 3}], {}, "Expected modules"),
    ],
)
def test_a_checkpoint_that_cannot_be_followed(
    tmp_path, modules, pooling, message
):
    folder = make_folder(tmp_path, modules, pooling)
    with pytest.raises(CheckpointError, match=message):
        kbert.Embedder(folder)


# === Peers ===


@pytest.mark.large
def test_equals_sentence_transformers(tmp_path, data_root):
    library = pytest.importorskip("sentence_transformers")
    from kbert.checkpoints.presets import resolve

    rows = (data_root / "stsb" / "dev.tsv").read_text().splitlines()[1:]
    texts = [row.split("\t")[7] for row in rows[:200]] + TEXTS
    embedder = kbert.Embedder(DEFAULT_PRESET)
    peer = library.SentenceTransformer(
        str(resolve(DEFAULT_PRESET)), device="cpu"
    )
    assert peer.max_seq_length == embedder.max_length == 256
    np.testing.assert_allclose(
        embedder.encode(texts), peer.encode(texts), atol=1e-5
    )
    # And it opens what kbert saves.
    embedder.fit(list(zip(texts[:8], texts[8:16], strict=True)), verbose=0)
    embedder.save(tmp_path / "model")
    peer = library.SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(
        embedder.encode(texts), peer.encode(texts), atol=1e-5
    )


def test_losses_by_hand():
    from kbert.training.vector_losses import ContrastiveLoss
    from kbert.training.vector_losses import CosineLoss

    generator = np.random.default_rng(0)
    x = generator.normal(size=(9, 4)).astype("float32")
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    # Three rows of three texts; rows 0 and 2 have one positive.
    ids = np.array([[0, 1, 2], [3, 4, 5], [6, 1, 7]])
    scores = 20 * unit[:3] @ unit[3:].T
    scores[0, 2] = scores[2, 0] = -np.inf
    chance = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = -np.log(chance[np.arange(3), np.arange(3)]).mean()
    loss = ContrastiveLoss()
    np.testing.assert_allclose(loss(ids, x), expected, rtol=1e-5)
    assert ContrastiveLoss.from_config(loss.get_config()).scale == 20
    cosine = (unit[:4] * unit[4:8]).sum(axis=1)
    y = np.array([0.1, 1, -1, 0.5], "float32")
    np.testing.assert_allclose(
        CosineLoss()(y, x[:8]), np.square(cosine - y).mean(), rtol=1e-5
    )
