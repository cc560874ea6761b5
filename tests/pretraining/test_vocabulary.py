"""Training of vocabularies: the same again, whole Chinese characters."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kbert.data.documents import read_documents
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.pretraining.vocabulary import train_vocabulary
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS

ROOT = Path(__file__).parents[2]

WORDS = "the low lower lowest new newer newest wide wider widest Café".split()
TEXT = "\n".join(" ".join(WORDS[i:] + WORDS[:i]) for i in range(11)) * 9
CHINESE = "中国人民银行，中国人民大学。\n" * 30


@pytest.fixture
def files(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT + "\n\n" + CHINESE, encoding="utf-8")
    return path


def is_chinese(character):
    return "\u4e00" <= character <= "\u9fff"


def test_vocabulary(files):
    tokens = train_vocabulary(files, 120)
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert len(tokens) == len(set(tokens)) <= 120
    assert {"the", "low", "cafe", "new", "##r", "，", "。"} <= set(tokens)
    assert all(t == t.lower() for t in tokens[5:])
    chinese = [t for t in tokens if any(map(is_chinese, t))]
    assert sorted(chinese) == sorted(set("中国人民银行大学"))


def test_nothing_of_the_text_is_unknown(files):
    tokenizer = Tokenizer(train_vocabulary(files, 120))
    paragraphs = [p for document in read_documents(files) for p in document]
    ids = tokenizer.tokenize(paragraphs).flat_values.numpy()
    assert len(ids) > 1000
    assert tokenizer.unk_id not in ids
    # Frequent words are one token.
    assert tokenizer.tokenize(["the lowest café"]).row_lengths()[0] == 3


def test_cased(files):
    tokens = train_vocabulary(files, 150, lowercase=False)
    assert "Café" in tokens
    assert "cafe" not in tokens
    ids = Tokenizer(tokens, lowercase=False).tokenize(["Café"])
    assert ids.to_list() == [[tokens.index("Café")]]


def test_special_tokens_in_the_text_are_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("[MASK] mask ##ing ##ing\n" * 50)
    tokens = train_vocabulary(path, 100)
    assert tuple(tokens[:5]) == SPECIAL_TOKENS
    assert {"[", "]", "#", "mask", "ing"} <= set(tokens)


def test_rare_and_overlong_words_are_left_out(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("word " * 50_000 + "\u0436\n" + "x" * 5000)
    tokens = train_vocabulary(path, 100)
    assert "word" in tokens
    assert not {"\u0436", "x", "##x"} & set(tokens)


def test_characters_leave_room_for_words(tmp_path):
    path = tmp_path / "a.txt"
    characters = "".join(map(chr, range(0x4E00, 0x4E00 + 2000)))
    path.write_text(characters + " aaaa bbbb aabb" * 40, encoding="utf-8")
    tokens = train_vocabulary(path, 200)
    assert len(tokens) <= 200
    assert {"aaaa", "bbbb", "aabb"} <= set(tokens)
    assert sum(map(is_chinese, tokens)) > 100


def test_the_same_text_gives_the_same_tokens(files):
    # Hash tables differ from process to process.
    code = (
        "import sys\n"
        "from kbert.pretraining.vocabulary import train_vocabulary\n"
        "tokens = train_vocabulary(sys.argv[1], 110)\n"
        "sys.stdout.buffer.write('\\n'.join(tokens).encode())\n"
    )
    tokens = train_vocabulary(files, 110)
    digests = {hashlib.sha256("\n".join(tokens).encode()).hexdigest()}
    for seed in ("1", "2"):
        result = subprocess.run(
            [sys.executable, "-c", code, files],
            check=True,
            capture_output=True,
            env=dict(os.environ, PYTHONPATH=str(ROOT), PYTHONHASHSEED=seed),
        )
        digests.add(hashlib.sha256(result.stdout).hexdigest())
    assert len(digests) == 1


def test_normalization_is_that_of_the_tokenizer(data_root):
    path = data_root / "wikitext2" / "wiki.valid.raw"
    tokenizer = Tokenizer(train_vocabulary(path, 3000))
    paragraphs = [p for d in read_documents(path) for p in d]
    ids = tokenizer.tokenize(paragraphs).flat_values.numpy()
    assert (ids == tokenizer.unk_id).mean() < 0.001


@pytest.mark.large
def test_loads_in_transformers(files, tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizer = Tokenizer(train_vocabulary(files, 120))
    tokenizer.save(tmp_path / "vocab.txt")
    other = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    assert other.pad_token_id == tokenizer.pad_id
    assert other.mask_token_id == tokenizer.mask_id
    texts = TEXT.splitlines() + CHINESE.splitlines()
    assert (
        tokenizer(texts, max_length=512)["token_ids"].to_list()
        == (other(texts)["input_ids"])
    )


@pytest.mark.parametrize("size", [99, 0, -1, 1000.0, "1000", True])
def test_bad_size(files, size):
    with pytest.raises(ConfigError, match="`size`"):
        train_vocabulary(files, size)


def test_no_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(" \n\u200b\n")
    with pytest.raises(InputError, match="without a single word"):
        train_vocabulary(path, 100)
    with pytest.raises(InputError, match="matches nothing"):
        train_vocabulary(tmp_path / "none", 100)
