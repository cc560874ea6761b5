"""What sentence-transformers has written: followed key by key, or refused.

Expected vectors are computed here from the backbone's features; a large test
compares with the library itself.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import special
from scipy.spatial.distance import cdist

import kbert
from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import KbertError
from kbert.formats.safetensors_form import write_tensors

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"
TEXTS = ["abc", "a b! c d e", "", "q w e r t y u i o p a s d f g h j k l z x"]
PLACE = "sentence_transformers.models"
MODES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
ACTIVATIONS = {
    "linear.Identity": lambda x: x,
    "activation.Tanh": np.tanh,
    "activation.ReLU": lambda x: np.maximum(x, 0),
    "activation.Sigmoid": special.expit,
    "activation.SiLU": lambda x: x * special.expit(x),
    "activation.GELU": lambda x: x * special.ndtr(x),
}


@pytest.fixture
def make(tmp_path):
    """A folder of sentence-transformers, its BERT at `place`."""

    def make(modules=("Pooling",), place="", files=(), **configs):
        folder = tmp_path / "model"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(HF, folder / place)
        steps = [("Transformer", place)]
        steps += [(k, f"{i}_{k}") for i, k in enumerate(modules, start=1)]
        table = [
            {"idx": i, "name": str(i), "path": at, "type": f"{PLACE}.{kind}"}
            for i, (kind, at) in enumerate(steps)
        ]
        write(folder / "modules.json", table)
        for kind, at in steps[1:]:
            config = configs.get(kind, {})
            if kind == "Dense":
                config, arrays = config
                write(folder / at / "config.json", config)
                write_tensors(arrays, folder / at / "model.safetensors")
            elif kind != "Normalize":
                write(folder / at / "config.json", config)
        for name, value in dict(files).items():
            write(folder / name, value)
        return folder

    return make


def write(path, value):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def plain():
    return kbert.Embedder(HF)


def pooled(embedder, mode, texts=TEXTS):
    """Vectors by hand, `(rows, H)`."""
    rows = []
    for text in texts:
        batch = embedder.tokenize([[text]]).take(np.arange(1))
        x = np.asarray(embedder.backbone(batch)["sequence_output"])[0]
        count = np.arange(1, len(x) + 1)[:, None]
        rows.append(
            {
                "cls": x[0],
                "max": x.max(axis=0),
                "mean": x.mean(axis=0),
                "mean_sqrt_len_tokens": x.sum(axis=0) / np.sqrt(len(x)),
                "weightedmean": (count * x).sum(axis=0) / count.sum(),
                "lasttoken": x[-1],
            }[mode]
        )
    return np.stack(rows)


def check(folder, expected, tmp_path, texts=TEXTS, ways=1):
    """`encode` gives these vectors, and so does what is saved.

    So many `ways` to load that are asked; of all, the settings are compared.
    """
    embedder = kbert.Embedder(folder)
    np.testing.assert_allclose(embedder.encode(texts), expected, atol=1e-5)
    embedder.save(tmp_path / "saved")
    for i, load in enumerate((kbert.Embedder, kbert.load)):
        other = load(tmp_path / "saved")
        if i < ways:
            np.testing.assert_allclose(other.encode(texts), expected, atol=1e-5)
        assert other.head.get_config() == embedder.head.get_config()
        assert other.max_length == embedder.max_length
        assert other.prompts == embedder.prompts
    return embedder


# === Followed ===


@pytest.mark.parametrize("flag", MODES)
def test_each_pooling(make, plain, flag):
    expected = pooled(plain, MODES[flag])
    found = kbert.Embedder(make(Pooling={flag: True})).encode(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        (dict.fromkeys([*MODES][:2], True), ["cls", "max"]),
        ({"pooling_mode": ["mean", "cls"]}, ["mean", "cls"]),
    ],
)
def test_several_poolings(make, plain, tmp_path, config, modes):
    expected = np.hstack([pooled(plain, mode) for mode in modes])
    embedder = check(make(Pooling=config), expected, tmp_path)
    assert embedder.dimension == 32 * len(modes)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense(make, plain, tmp_path, activation):
    generator = np.random.default_rng(0)
    arrays = {
        "linear.weight": generator.normal(size=(8, 32)).astype("float32"),
        "linear.bias": generator.normal(size=8).astype("float32"),
    }
    if activation == "linear.Identity":
        del arrays["linear.bias"]
    config = {
        "in_features": 32,
        "out_features": 8,
        "bias": len(arrays) == 2,
        "activation_function": f"torch.nn.modules.{activation}",
    }
    folder = make(
        ["Pooling", "Dense", "Normalize"],
        Pooling={"pooling_mode_cls_token": True},
        Dense=(config, arrays),
    )
    x = pooled(plain, "cls") @ arrays["linear.weight"].T
    x = ACTIVATIONS[activation](x + arrays.get("linear.bias", 0))
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    if activation != "activation.Tanh":
        found = kbert.Embedder(folder).encode(TEXTS)
        np.testing.assert_allclose(found, x, atol=1e-5)
        return
    embedder = check(folder, x, tmp_path, ways=2)
    assert embedder.dimension == 8
    # Their gradients flow as those of the backbone do.
    embedder.fit([("abc", "q"), ("w e", "r")] * 2, verbose=0)
    assert not np.allclose(embedder.encode(TEXTS), x, atol=1e-7)


def test_the_transformer_in_a_folder_of_its_own(make, plain, tmp_path):
    folder = make(
        ["Pooling", "Normalize"],
        place="0_Transformer",
        Pooling={"pooling_mode_cls_token": True},
        files={
            "0_Transformer/sentence_bert_config.json": {"max_seq_length": 9}
        },
    )
    embedder = kbert.Embedder(folder)
    assert embedder.max_length == 9
    expected = pooled(plain, "cls", ["abc"])
    expected = expected / np.linalg.norm(expected)
    check(folder, expected, tmp_path, ["abc"])
    assert kbert.Classifier(folder, max_length=9).head.pooling == "cls"


def test_prompts(make, plain, tmp_path, plain_tensorflow):
    prompts = {"query": "q: ", "passage": "p w ", "none": ""}
    config = {"prompts": prompts, "default_prompt_name": "query"}
    folder = make(files={"config_sentence_transformers.json": config})

    def after(prompt, texts=TEXTS):
        return plain.encode([prompt + text for text in texts])

    embedder = check(folder, after("q: "), tmp_path, ways=2)
    for options, prompt in (
        ({"prompt_name": "passage"}, "p w "),
        ({"prompt_name": "none"}, ""),
        ({"prompt": "z "}, "z "),
        ({"prompt": ""}, ""),
    ):
        found = embedder.encode(TEXTS, **options)
        np.testing.assert_allclose(found, after(prompt), atol=1e-5)
    config = {"prompts": {"document": "d: "}, "default_prompt_name": "document"}
    documents = kbert.Embedder(
        make(files={"config_sentence_transformers.json": config})
    )
    for found, prompt in (
        (embedder.encode_document(TEXTS), "p w "),
        (embedder.encode_query(TEXTS), "q: "),
        ([row["embedding"] for row in embedder.stream(TEXTS)], "q: "),
        (plain.encode_query(TEXTS), ""),
        # As in the library, the default is no prompt of queries.
        (documents.encode_query(TEXTS), ""),
        (documents.encode_document(TEXTS), "d: "),
    ):
        np.testing.assert_allclose(found, after(prompt), atol=1e-5)
    index = kbert.SearchIndex(embedder, ["abc", "q w"])
    [hit, _] = index.search("abc", k=2)
    a, b = after("q: ", ["abc"])[0], after("p w ", [hit.text])[0]
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    np.testing.assert_allclose(hit.score, cosine, atol=1e-5)
    served = plain_tensorflow(
        "import json, sys\nimport tensorflow as tf\n"
        "path, texts = json.loads(sys.argv[1])\n"
        "f = tf.saved_model.load(path).signatures['serving_default']\n"
        "print(json.dumps(f(text=tf.constant(texts))['embedding']"
        ".numpy().tolist()))",
        embedder.export(tmp_path / "export"),
        TEXTS,
    )
    np.testing.assert_allclose(served, after("q: "), atol=1e-5)
    for options, message in (
        ({"prompt_name": "nope"}, "'nope'.*'query', 'passage'"),
        ({"prompt_name": "query", "prompt": "x"}, "expected one of them"),
        ({"prompt": 3}, "expected a text"),
    ):
        with pytest.raises(ConfigError, match=message):
            embedder.encode(TEXTS, **options)


def test_prompts_of_an_onnx_model(make, tmp_path):
    pytest.importorskip("tf2onnx")
    config = {"prompts": {"a": "p w "}, "default_prompt_name": "a"}
    embedder = kbert.Embedder(
        make(files={"config_sentence_transformers.json": config})
    )
    embedder.export(tmp_path / "onnx", format="onnx")
    answers = kbert.OnnxModel(tmp_path / "onnx").answers(TEXTS)
    np.testing.assert_allclose(
        answers["embedding"], embedder.encode(TEXTS), atol=1e-5
    )


@pytest.mark.parametrize(
    "name",
    [
        *("dot", "euclidean"),
        *(
            pytest.param(name, marks=pytest.mark.large)
            for name in ("cosine", "manhattan")
        ),
    ],
)
def test_similarity(make, plain, tmp_path, name):
    config = {"similarity_fn_name": name}
    folder = make(files={"config_sentence_transformers.json": config})
    x = plain.encode(TEXTS)
    embedder = check(folder, x, tmp_path)
    if name == "dot":
        expected = x @ x.T
    else:
        metric = "cityblock" if name == "manhattan" else name
        expected = (name == "cosine") - cdist(x, x, metric)
    np.testing.assert_allclose(embedder.similarity(TEXTS), expected, atol=2e-5)
    pairs = [(TEXTS[0], text) for text in TEXTS[1:]]
    report = embedder.evaluate(pairs, -expected[0, 1:])
    assert report["pearson"] == pytest.approx(-1, abs=1e-4)
    if name in ("cosine", "dot"):
        hits = kbert.SearchIndex(embedder, TEXTS).search(TEXTS[0], k=4)
        scores = np.sort(expected[0])[::-1]
        np.testing.assert_allclose([h.score for h in hits], scores, atol=2e-5)
    else:
        with pytest.raises(ConfigError, match=name):
            kbert.SearchIndex(embedder, TEXTS)


def test_lower_case_of_the_transformer(make, tmp_path):
    folder = make(
        files={
            "tokenizer_config.json": {"do_lower_case": False},
            "sentence_bert_config.json": {"do_lower_case": True},
        }
    )
    embedder = kbert.Embedder(folder)
    found = embedder.encode(["ABC Éa"])
    np.testing.assert_array_equal(found, embedder.encode(["abc éa"]))
    # It lower-cases, and keeps accents.
    assert not np.allclose(found, embedder.encode(["abc ea"]))
    check(folder, found, tmp_path, ["ABC Éa"])


def test_length_that_the_tokenizer_says(make, tmp_path):
    options = {"model_max_length": 6, "do_lower_case": True}
    folder = make(files={"tokenizer_config.json": options})
    assert kbert.Embedder(folder).max_length == 6
    (folder / "modules.json").unlink()
    assert kbert.Embedder(folder).max_length == 6
    assert kbert.Embedder(HF).max_length == 32


# === Refused by name ===


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("1_Pooling/config.json", {"include_prompt": False}, "include_prompt"),
        ("1_Pooling/config.json", {"pooling_mode": "nope"}, "nope"),
        ("1_Pooling/config.json", {"odd": 1}, "odd"),
        ("sentence_bert_config.json", {"odd": 1}, "odd"),
        ("sentence_bert_config.json", {"max_seq_length": "x"}, "max_seq_len"),
        (
            "sentence_bert_config.json",
            {"transformer_task": "x"},
            "transformer_t",
        ),
        ("sentence_bert_config.json", {"model_args": {"a": 1}}, "model_args"),
        ("sentence_bert_config.json", {"query_length": 8}, "query_length"),
        (
            "sentence_bert_config.json",
            {"modality_config": {"image": {}}},
            "modality_config",
        ),
        ("config_sentence_transformers.json", {"odd": 1}, "odd"),
        (
            "config_sentence_transformers.json",
            {"truncate_dim": 8},
            "truncate_dim",
        ),
        (
            "config_sentence_transformers.json",
            {"model_type": "SparseEncoder"},
            "SparseEncoder",
        ),
        (
            "config_sentence_transformers.json",
            {"similarity_fn_name": "maxsim"},
            "maxsim",
        ),
        (
            "config_sentence_transformers.json",
            {"default_prompt_name": "q", "prompts": {"p": "p: "}},
            "default_prompt_name",
        ),
        ("config_sentence_transformers.json", {"prompts": ["q: "]}, "prompts"),
        ("custom_st.py", "", "custom_st.Transformer"),
    ],
)
def test_what_is_refused(make, name, value, message):
    folder = make(files={name: value})
    if name == "custom_st.py":
        table = [{"path": "", "type": "custom_st.Transformer"}]
        write(folder / "modules.json", table)
    with pytest.raises(CheckpointError, match=message):
        kbert.Embedder(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"activation_function": "torch.nn.modules.activation.ELU"}, "ELU"),
        ({"activation_function": "mine.Tanh"}, "mine.Tanh"),
        ({"use_residual": True}, "use_residual"),
        ({"module_input_name": "token_embeddings"}, "module_input_name"),
        ({"out_features": "8"}, "out_features"),
        ({"bias": None}, "bias"),
        ({"in_features": 16}, "linear.weight"),
        ({"odd": 1}, "odd"),
    ],
)
def test_dense_that_is_refused(make, change, message):
    config = {"in_features": 32, "out_features": 8, "bias": False}
    arrays = {"linear.weight": np.zeros((8, 32), "float32")}
    folder = make(["Pooling", "Dense"], Dense=(config | change, arrays))
    with pytest.raises(KbertError, match=message):
        kbert.Embedder(folder)
    # A classifier takes the BERT alone.
    assert open_checkpoint(folder).head_options == {"pooling": "mean"}


# === The library ===


@pytest.mark.large
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "case",
    [
        *({"pooling_mode": mode} for mode in MODES.values()),
        {"pooling_mode": ("weightedmean", "cls", "lasttoken")},
        *({"dense": name} for name in ACTIVATIONS),
        *({"similarity_fn_name": n} for n in ("cosine", "dot", "manhattan")),
        {"prompts": {"query": "q: ", "passage": "p: "}},
        {"prompts": {"x": "p w: "}, "default_prompt_name": "x"},
        {"max_seq_length": 8},
        {"do_lower_case": True},
    ],
)
def test_equals_sentence_transformers(tmp_path, case):
    library = pytest.importorskip("sentence_transformers")
    import torch
    from sentence_transformers.base import modules
    from sentence_transformers.sentence_transformer.modules import Pooling

    case = dict(case)
    torch.manual_seed(0)
    first = {k: case.pop(k) for k in [*case] if k in FIRST}
    steps = [
        modules.Transformer(str(HF), **first),
        Pooling(32, pooling_mode=case.pop("pooling_mode", "mean")),
    ]
    if name := case.pop("dense", None):
        activation = getattr(torch.nn, name.partition(".")[2])()
        steps += [
            modules.Dense(32, 16, activation_function=activation),
            modules.Dense(16, 8, bias=False),
            modules.Normalize(),
        ]
    library.SentenceTransformer(modules=steps, **case).save_pretrained(
        str(tmp_path / "theirs")
    )
    peer = library.SentenceTransformer(str(tmp_path / "theirs"), device="cpu")
    ours = kbert.Embedder(tmp_path / "theirs")
    ours.save(tmp_path / "ours")
    again = library.SentenceTransformer(str(tmp_path / "ours"), device="cpu")
    texts = [*TEXTS, "Éa ABC"]
    expected = peer.encode(texts)
    similarity = peer.similarity(expected, expected)
    for found in (ours.encode(texts), again.encode(texts)):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    for kind in ("encode_query", "encode_document"):
        expected = getattr(peer, kind)(texts)
        for other in (ours, again):
            found = getattr(other, kind)(texts)
            np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(ours.similarity(texts), similarity, atol=1e-4)
    assert again.max_seq_length == peer.max_seq_length
    assert again.similarity_fn_name == peer.similarity_fn_name


FIRST = ("max_seq_length", "do_lower_case")
