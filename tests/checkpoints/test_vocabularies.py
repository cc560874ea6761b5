"""What a tokenizer's files say: the ids are those of `tokenizers`, or none."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import tokenizers

import kbert
from kbert.checkpoints.loading import open_checkpoint
from kbert.checkpoints.vocabularies import open_tokenizer
from kbert.errors import CheckpointError

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"
VOCABULARY = (HF / "vocab.txt").read_text().split()
# Words that are in it, and more: accents, capitals, controls, an added word.
TEXTS = [
    "abc a! b",
    "Éa ÀB",
    "a\u0301b ca\u0300",
    "ABC xqaby qa",
    "QA qaqa aqa",
    "a\u200bb\x00c 中a",
    "",
]


@pytest.fixture
def folder(tmp_path):
    """A model without a tokenizer's files, but for those that are given."""
    path = tmp_path / "model"
    path.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(HF / name, path)

    def make(**files):
        for name, value in files.items():
            name = name.replace("__", ".")
            if not isinstance(value, str):
                value = json.dumps(value)
            (path / name).write_text(value)
        return path

    return make


@pytest.fixture
def say(folder):
    def write(**options):
        vocabulary = (HF / "vocab.txt").read_text()
        return folder(vocab__txt=vocabulary, tokenizer_config__json=options)

    return write


def check_ids(folder, tokenizer):
    """kbert cuts texts as `tokenizers` does, and so does what it writes."""
    expected = [e.ids[1:-1] for e in tokenizer.encode_batch(TEXTS)]
    ours = open_checkpoint(folder).tokenizer
    assert ours.tokenize(TEXTS).to_list() == expected
    backbone = kbert.load_backbone(folder)
    copy = folder.parent / "copy"
    kbert.save_backbone(backbone, copy, ours)
    again = open_checkpoint(copy).tokenizer
    assert again.get_config() == ours.get_config()
    assert again.tokenize(TEXTS).to_list() == expected


# === Honoured ===


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [None, True, False])
def test_case_and_accents(folder, bert_json, lowercase, strip_accents):
    vocabulary = [*VOCABULARY[:-2], "é", "à"]
    tokenizer, document = bert_json(
        vocabulary, lowercase=lowercase, strip_accents=strip_accents
    )
    path = folder(tokenizer__json=document)
    check_ids(path, tokenizer)
    options = {"do_lower_case": lowercase, "strip_accents": strip_accents}
    (path / "tokenizer.json").unlink()
    path = folder(
        vocab__txt="\n".join(vocabulary), tokenizer_config__json=options
    )
    ours = open_checkpoint(path).tokenizer
    assert ours.tokenize(TEXTS).to_list() == [
        e.ids[1:-1] for e in tokenizer.encode_batch(TEXTS)
    ]


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("lowercase", [True, False])
def test_lower_case_beside_berts(folder, bert_json, first, lowercase):
    tokenizer, _ = bert_json([*VOCABULARY[:-1], "é"], lowercase=lowercase)
    parts = [tokenizers.normalizers.Lowercase(), tokenizer.normalizer]
    tokenizer.normalizer = tokenizers.normalizers.Sequence(
        parts if first else parts[::-1]
    )
    path = folder(
        tokenizer__json=tokenizer.to_str(),
        # Of BERT's own normalizer, as sentence-transformers writes it.
        tokenizer_config__json={"do_lower_case": lowercase},
    )
    check_ids(path, tokenizer)


@pytest.mark.parametrize("file", ["decoder", "added", "json"])
def test_added_tokens(folder, bert_json, file):
    vocabulary = VOCABULARY[:-2]
    tokenizer, _ = bert_json(vocabulary)
    tokenizer.add_tokens(["Qa", "xq"])
    added = {"Qa": len(vocabulary), "xq": len(vocabulary) + 1}
    path = folder()
    if file == "json":
        tokenizer.save(str(path / "tokenizer.json"))
    else:
        folder(vocab__txt="\n".join(vocabulary))
    if file == "added":
        folder(added_tokens__json=added)
    elif file == "decoder":
        decoder = {
            str(number): {"content": token, "normalized": True}
            for token, number in added.items()
        }
        options = {"added_tokens_decoder": decoder, "do_lower_case": True}
        folder(tokenizer_config__json=options)
    check_ids(path, tokenizer)


def test_offsets_of_added_tokens(bert_json):
    tokenizer, _ = bert_json(VOCABULARY)
    tokenizer.add_tokens(["qa", "xqab"])
    ours = kbert.Tokenizer(
        [*VOCABULARY, "qa", "xqab"], added_tokens=["qa", "xqab"]
    )
    ids, starts, ends = ours.tokenize_with_offsets(TEXTS, "character")
    for row, text in enumerate(TEXTS):
        expected = tokenizer.encode(text)
        assert ids[row].numpy().tolist() == expected.ids[1:-1]
        spans = [*zip(starts[row].numpy(), ends[row].numpy(), strict=True)]
        assert spans == expected.offsets[1:-1]


def test_options_that_berts_tokenizer_has(say):
    folder = say(
        do_lower_case=False,
        strip_accents=False,
        tokenize_chinese_chars=True,
        do_basic_tokenize=True,
        never_split=None,
        model_max_length=512,
        tokenizer_class="BertTokenizerFast",
        mask_token={"content": "[MASK]", "lstrip": True},
        added_tokens_decoder={"0": {"content": "[PAD]", "special": True}},
        additional_special_tokens=[],
    )
    assert not open_checkpoint(folder).lowercase
    assert open_checkpoint(say(strip_accents=None)).lowercase


def test_keys_that_are_not_known_are_said(say, caplog):
    with caplog.at_level(logging.WARNING, "kbert"):
        open_checkpoint(say(do_lower_case=True, stemming="porter"))
    assert "does not read: stemming" in caplog.text


# === Refused by name ===


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tokenize_chinese_chars", False),
        ("do_basic_tokenize", False),
        ("clean_text", False),
        ("never_split", ["abc"]),
        ("word_tokenizer_type", "mecab"),
        ("tokenizer_class", "RobertaTokenizer"),
        ("truncation_side", "left"),
        ("padding_side", "left"),
        ("do_lower_case", "yes"),
        ("unk_token", "<unk>"),
        ("cls_token", {"content": "<s>"}),
        ("eos_token", "</s>"),
        ("additional_special_tokens", ["[E1]"]),
        ("extra_special_tokens", {"image": "<img>"}),
    ],
)
def test_options_that_would_make_other_ids(say, option, value):
    received = value
    for _ in range(2):
        if isinstance(received, dict):
            received = next(iter(received.values()))
        elif isinstance(received, list) and option != "never_split":
            received = received[0]
    folder = say(**({"do_lower_case": True} | {option: value}))
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(folder)
    assert option in str(caught.value) and ascii(received) in str(caught.value)


@pytest.mark.parametrize("model", ["WordPiece", None, 3, {"type": "BPE"}])
def test_a_tokenizer_json_of_another_model(folder, bert_json, model):
    document = bert_json(VOCABULARY)[1] | {"model": model}
    path = folder(tokenizer__json=document)
    with pytest.raises(CheckpointError, match="model.type 'WordPiece'"):
        open_checkpoint(path)


@pytest.mark.parametrize("name", ["special_tokens_map", "tokenizer_config"])
def test_special_tokens_of_other_names(folder, name):
    files = {f"{name}__json": {"sep_token": "</s>"}}
    path = folder(vocab__txt=(HF / "vocab.txt").read_text(), **files)
    with pytest.raises(CheckpointError, match="sep_token '.SEP.'.*</s>"):
        open_checkpoint(path)


def every_key(document, place=()):
    """The places of a tokenizer.json's keys, but for tokens and templates."""
    for key, value in document.items():
        yield (*place, key)
        if isinstance(value, dict) and key not in ("vocab", "post_processor"):
            yield from every_key(value, (*place, key))


# What is no other value than BERT's, if it is not `{"odd": 1}`.
OTHERS = {
    ("model", "max_input_chars_per_word"): 200,
    ("model", "vocab"): ["a"],
    ("truncation", "direction"): "Left",
    ("padding", "direction"): "Left",
}
# Their other values are a caller's business, or have a test of their own.
FREE = [("decoder",), ("truncation", "max_length"), ("padding", "pad_id")]
# What may be left out: it is what BERT's has then.
ABSENT = [("version",), ("added_tokens",), ("model", "type")]


def test_every_key_of_tokenizer_json(folder, bert_json):
    _, document = bert_json(VOCABULARY)
    document["truncation"] = {"direction": "Right", "max_length": 8}
    document["padding"] = {"direction": "Right", "pad_id": 0}
    path = folder(tokenizer__json=document)
    assert open_checkpoint(path).vocabulary == VOCABULARY
    places = [p for p in every_key(document) if p[0] != "decoder"]
    assert len(places) == 23
    new = [("new",), *((key, "new") for key in ("model", "normalizer"))]
    for place in {*places, *new} - {*FREE}:
        changed = json.loads(json.dumps(document))
        at = changed
        for key in place[:-1]:
            at = at[key]
        at[place[-1]] = OTHERS.get(place, {"odd": 1})
        folder(tokenizer__json=changed)
        with pytest.raises(CheckpointError, match=place[-1]):
            open_checkpoint(path)
        del at[place[-1]]
        folder(tokenizer__json=changed)
        optional = place[0] in ("truncation", "padding") or place in ABSENT
        if optional or place in new or place[-1] == "strip_accents":
            assert open_checkpoint(path).vocabulary == VOCABULARY
        else:
            with pytest.raises(CheckpointError, match=place[-1]):
                open_checkpoint(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("normalizer", None),
        ("normalizer", {"type": "Lowercase"}),
        ("normalizer", {"type": "Sequence", "normalizers": []}),
        ("pre_tokenizer", None),
        ("pre_tokenizer", {"type": "WhitespaceSplit"}),
        ("pre_tokenizer", {"type": "Whitespace"}),
        ("post_processor", None),
    ],
)
def test_other_tokenizers(folder, bert_json, key, value):
    _, document = bert_json(VOCABULARY)
    assert tokenizers.Tokenizer.from_str(json.dumps(document | {key: value}))
    path = folder(tokenizer__json=document | {key: value})
    with pytest.raises(CheckpointError, match=key):
        open_checkpoint(path)
    # vocab.txt beside it does not hide it.
    folder(vocab__txt="\n".join(VOCABULARY))
    with pytest.raises(CheckpointError, match=key):
        open_checkpoint(path)


def test_ways_to_call_do_not_matter(folder, bert_json):
    tokenizer, _ = bert_json(VOCABULARY)
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    document = json.loads(tokenizer.to_str())
    document["normalizer"] = {
        "type": "Sequence",
        "normalizers": [document["normalizer"]],
    }
    path = folder(tokenizer__json=document)
    assert open_checkpoint(path).vocabulary == VOCABULARY


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (tokenizers.AddedToken("qa", single_word=True), "single_word"),
        (tokenizers.AddedToken("qa", lstrip=True), "lstrip"),
        (tokenizers.AddedToken("qa", normalized=False), "normalized"),
        (tokenizers.AddedToken("qa", special=True), "special.*'qa'"),
        (tokenizers.AddedToken("<url>"), "<url>"),
        (tokenizers.AddedToken("q a"), "q a"),
        (tokenizers.AddedToken("中"), "中"),
    ],
)
def test_added_tokens_that_are_refused(folder, bert_json, token, message):
    tokenizer, _ = bert_json(VOCABULARY[:-1])
    tokenizer.add_tokens([token])
    path = folder(tokenizer__json=tokenizer.to_str())
    with pytest.raises(CheckpointError, match=message):
        open_checkpoint(path)


def test_files_that_contradict_each_other(folder, bert_json):
    _, document = bert_json(VOCABULARY, lowercase=False)
    options = {"do_lower_case": True}
    path = folder(tokenizer__json=document, tokenizer_config__json=options)
    with pytest.raises(CheckpointError, match="do_lower_case True.*False"):
        open_checkpoint(path)
    options = {"do_lower_case": False, "strip_accents": True}
    folder(tokenizer_config__json=options)
    with pytest.raises(CheckpointError, match="strip_accents True.*False"):
        open_checkpoint(path)
    (path / "tokenizer_config.json").unlink()
    lines = [*VOCABULARY[:-1], "other"]
    folder(vocab__txt="\n".join(lines))
    with pytest.raises(CheckpointError, match="token 60 is"):
        open_checkpoint(path)
    (path / "tokenizer.json").unlink()
    folder(added_tokens__json={"new": 3})
    with pytest.raises(CheckpointError, match="'new' with the id 3"):
        open_checkpoint(path)


def test_a_token_of_vocab_txt_alone(folder, bert_json):
    # As transformers 5 leaves them: BertTokenizer(vocab_file=...) reads none.
    place = len(VOCABULARY)
    _, document = bert_json(VOCABULARY)
    lines = "\n".join([*VOCABULARY, "zz"])
    model = folder(tokenizer__json=document, vocab__txt=lines)
    with pytest.raises(CheckpointError, match=f"agree.*token {place}.*alone"):
        open_tokenizer(model)
    token = {"id": place, "content": "zz"}
    folder(tokenizer__json=document | {"added_tokens": [token]})
    open_tokenizer(model)


def test_more_tokens_than_embeddings(folder, bert_json):
    tokenizer, _ = bert_json(VOCABULARY)
    tokenizer.add_tokens(["covid"])
    path = folder(tokenizer__json=tokenizer.to_str())
    with pytest.raises(CheckpointError, match="resize_token_embeddings"):
        open_checkpoint(path)
