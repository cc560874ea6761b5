import functools
import importlib.util
import itertools
import json
import os
import pickle
import time
import unicodedata
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import pytest
import tensorflow as tf
import tensorflow_text as tf_text
from hypothesis import assume
from hypothesis import example
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st
from tokenizers import BertWordPieceTokenizer

from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.tokenizers.normalizer import ends_word
from kbert.tokenizers.normalizer import is_blank
from kbert.tokenizers.normalizer import is_deleted
from kbert.tokenizers.tokenizer import Tokenizer

REPOSITORY = Path(__file__).parents[2]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = """
    the cat sat on mat hello world cafe title un ##aff ##able ##s ##' ' , . !
    ? - [ ] mask Mask The Cafe a b c i x ##a ##b ##c ##x ##i A B I É é ß Σ ##ς
    σ ς ##σ ο ##δ ##ο ##ς ก ##ก 我 爱 北 京 ##我 。 ， ½ 😀 ＡＢ ａ ##ｂ
    ᄀ ##ᅡ 가 ™
""".split()
VOCABULARY = list(dict.fromkeys(SPECIAL + WORDS + ["\u2028", "##\u2028"]))
# What normalization, splitting and pieces are likely to trip over.
ALPHABET = (
    "abcixABCI thes.,!?-'[]#\t\n\r\x00\x0b\x7f\x85\xa0\xad½™ßéÉİıſ"
    "ΣσςοδΆ\u0301\u0323\u0345กํ我爱北。，ＡＢａｂ가가😀👩\u200b\u200d\u2028\u3000\ufeff"
    "\ufffd\uf900\U0002f800\ue000\U0001d165\u302e\u01c5K\u212a\u1e9e"
)
TEXTS = st.lists(
    st.text(st.sampled_from(ALPHABET), max_size=30)
    | st.text(st.sampled_from("aAé我ก. "), max_size=140),
    max_size=8,
)
DATA_SETS = (
    "bbc_news",
    "chnsenticorp",
    "cola",
    "conll2003",
    "enwiki",
    "imdb",
    "sms_spam",
    "sst2",
    "stsb",
    "thucnews_title",
    "wikitext2",
    "zhwiki",
)
VOCABULARIES = {"uncased": True, "cased": False, "chinese": True}

# === Helpers ===


def rust(vocabulary, lowercase):
    if isinstance(vocabulary, list):
        vocabulary = {token: i for i, token in enumerate(vocabulary)}
    return BertWordPieceTokenizer(vocabulary, lowercase=lowercase)


def rust_ids(reference, texts):
    encodings = reference.encode_batch(texts, add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


SMALL = {
    lowercase: Tokenizer(VOCABULARY, lowercase=lowercase)
    for lowercase in (True, False)
}
RUST = {lowercase: rust(VOCABULARY, lowercase) for lowercase in (True, False)}
# Traced once: eagerly, ragged ops take most of the time.
OFFSETS = {
    (lowercase, unit): tf.function(
        functools.partial(tokenizer.tokenize_with_offsets, unit=unit),
        input_signature=[tf.TensorSpec([None], tf.string)],
    )
    for lowercase, tokenizer in SMALL.items()
    for unit in ("byte", "character")
}


def spans(lowercase, texts, unit):
    """The `(start, end)` pairs of each text, and the ids."""
    ids, starts, ends = OFFSETS[lowercase, unit](tf.constant(texts, tf.string))
    rows = zip(starts.to_list(), ends.to_list(), strict=True)
    return [list(zip(*row, strict=True)) for row in rows], ids.to_list()


@pytest.fixture(params=[True, False], ids=["uncased", "cased"])
def lowercase(request):
    return request.param


def words(tokenizer, text):
    (ids,) = tokenizer.tokenize([text]).to_list()
    return [tokenizer.vocabulary[i] for i in ids]


# === Ids ===


def test_uncased():
    text = "The CAFÉ unaffables, İ!"
    assert words(SMALL[True], text) == (
        "the cafe un ##aff ##able ##s , i !".split()
    )


def test_cased():
    assert words(SMALL[False], "The Café É\x00") == ["The", "[UNK]", "É"]


def test_ids_are_int32_and_empty_batches_pass():
    tokenizer = SMALL[True]
    assert tokenizer.tokenize(["a", ""]).dtype == tf.int32
    assert tokenizer.tokenize([]).to_list() == []
    for part in tokenizer.tokenize_with_offsets([]):
        assert part.to_list() == [] and part.dtype == tf.int32
    tokens = tokenizer([""], [""], max_length=5)
    assert tokens["segment_ids"].to_list() == [[0, 0, 1]]


def test_final_sigma_follows_the_code_point_not_the_word():
    assert words(SMALL[True], "ΟΔΟΣ") == ["ο", "##δ", "##ο", "##σ"]


@given(TEXTS, st.booleans())
@settings(max_examples=200)
def test_ids_equal_rust(texts, lowercase):
    ids = SMALL[lowercase].tokenize(texts).to_list()
    assert ids == rust_ids(RUST[lowercase], texts)


@given(
    st.lists(
        st.text(
            st.sampled_from("abA.[# \t\xa0é我σ\u2028\x7f"),
            min_size=1,
            max_size=3,
        ),
        max_size=20,
    ),
    st.lists(st.booleans(), min_size=20, max_size=20),
    TEXTS,
    st.booleans(),
)
@settings(max_examples=25)
def test_any_vocabulary(pieces, inner, texts, lowercase):
    pieces = [
        "##" * within + piece
        for piece, within in zip(pieces, inner, strict=False)
    ]
    vocabulary = list(dict.fromkeys(SPECIAL + ["a", *pieces]))
    tokenizer = Tokenizer(vocabulary, lowercase=lowercase)
    expected = rust_ids(rust(vocabulary, lowercase), texts)
    assert tokenizer.tokenize(texts).to_list() == expected


@given(st.lists(st.binary(max_size=12), max_size=50), st.booleans())
@example([b"0\xe2\xb9\x92"], False)
@settings(max_examples=200)
def test_any_bytes(texts, lowercase):
    tokenizer = SMALL[lowercase]
    decoded = [text.decode("utf-8", "ignore") for text in texts]
    ids = tokenizer.tokenize(texts).to_list()
    assert ids == tokenizer.tokenize(decoded).to_list()
    # Bytes may spell what the two tell apart by design; see DEPARTURES.
    assume(departures().isdisjoint(map(ord, "".join(decoded))))
    assert ids == rust_ids(RUST[lowercase], decoded)


@pytest.mark.parametrize(
    "invalid",
    [
        b"\xc0\x80",  # overlong NUL
        b"\xe0\x80\xaf",  # overlong slash
        b"\xed\xa0\x80",  # a surrogate
        b"\xf4\x90\x80\x80",  # beyond U+10FFFF
        b"\xe6\x88",  # cut short
        b"\xf0\x9f\x98",
        b"\x80\xbf\xff\xfe",
    ],
)
def test_invalid_utf8_is_skipped(invalid, lowercase):
    text = b"the " + invalid + b"cat" + invalid
    assert words(SMALL[lowercase], text) == ["the", "cat"]
    assert SMALL[lowercase].tokenize([text]).to_list() == rust_ids(
        RUST[lowercase], [text.decode("utf-8", "ignore")]
    )
    ((span,), _) = spans(lowercase, [text], "byte")
    assert [text[a:b] for a, b in span] == [b"the", b"cat"]


@pytest.mark.parametrize("character", ["a", "é", "ก", "😀"])
def test_long_words_are_unknown_over_100_characters(character, lowercase):
    texts = [
        f"{before}{character * length}{after}"
        for length in (99, 100, 101, 102, 250, 500)
        for before, after in itertools.product(
            ["", ". ", "我", "\u2e3a"], ["", "!", "\u3000b", "。"]
        )
    ]
    expected = rust_ids(RUST[lowercase], texts)
    assert SMALL[lowercase].tokenize(texts).to_list() == expected
    _, ids = spans(lowercase, texts, "character")
    assert ids == expected


# === Departures ===


def test_typed_special_tokens_stay_text(lowercase):
    mask = "mask" if lowercase else "[UNK]"
    assert words(SMALL[lowercase], "[MASK]") == ["[", mask, "]"]
    (ids,) = SMALL[lowercase].tokenize([" ".join(SPECIAL)]).to_list()
    assert SMALL[lowercase].mask_id not in ids


def test_a_token_of_the_prefix_alone_begins_a_word():
    tokenizer = Tokenizer([*SPECIAL, "##", "##a", "#", "###"])
    ids = tf.range(len(SPECIAL), 9)
    begins = tokenizer.begins_word(ids).numpy().tolist()
    assert begins == [True, False, True, False]


def test_newer_marks_are_accents():
    assert words(SMALL[True], "a\u1ac1 a\u0301") == ["a", "a"]


def test_newer_punctuation_splits_words():
    assert words(SMALL[True], "a\u2e43b") == ["a", "[UNK]", "b"]


@pytest.mark.parametrize("character", ["\u166d", "\U000111c9"])
def test_former_punctuation_does_not_split(character):
    assert words(SMALL[False], f"a{character}b") == ["[UNK]"]


def test_newer_case_pairs_are_left_alone():
    tokenizer = Tokenizer([*SPECIAL, "\ua7c0", "\ua7c1"])
    assert words(tokenizer, "\ua7c0") == ["\ua7c0"]


def test_chinese_characters_are_googles():
    assert words(SMALL[True], "a\U0002b820b") == ["a", "[UNK]", "b"]


# Marks and punctuation newer than Unicode 8, U+2B820 to U+2B91F: the classes
# that the docstring lists, as found by comparing all code points.
DEPARTURES = """
    61D 7FD 898-89F 8CA-8E1 9FD-9FE A76 AFA-AFF B55 C04 C3C C77 C84 D00
    D3B-D3C D81 EBA ECE 166D 180F 1885-1886 1ABF-1ACE 1B4E-1B4F 1B7D-1B7F
    1DF6-1DFB 2E43-2E4F 2E52-2E5D A82C A8C5 A8FF A9BD 10D24-10D27 10D6E
    10EAB-10EAD 10EFD-10EFF 10F46-10F50 10F55-10F59 10F82-10F89 11070
    11073-11074 110C2 111C9 111CF 1123E 11241 1133B 113D4-113D5 113D7-113D8
    11438-1143F 11442-11444 11446 1144B-1144F 1145A-1145B 1145D-1145E
    11660-1166C 116B9 1182F-11837 11839-1183B 1193B-1193C 1193E 11943-11946
    119D4-119D7 119DA-119DB 119E0 119E2 11A01-11A0A 11A33-11A38 11A3B-11A47
    11A51-11A56 11A59-11A5B 11A8A-11A96 11A98-11A9C 11A9E-11AA2 11B00-11B09
    11BE1 11C30-11C36 11C38-11C3D 11C3F 11C41-11C45 11C70-11C71 11C92-11CA7
    11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D
    11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11EF3-11EF4 11EF7-11EF8
    11F00-11F01 11F36-11F3A 11F40 11F42-11F4F 11FFF 12FF1-12FF2 13440
    13447-13455 16D6D-16D6F 16E97-16E9A 16F4F 16FE2 16FE4 1CF00-1CF2D
    1CF30-1CF46 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A
    1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5FF 1E944-1E94A
    1E95E-1E95F 2B820-2B91F
"""


@functools.cache
def departures():
    found = set()
    for span in DEPARTURES.split():
        first, _, last = span.partition("-")
        found.update(range(int(first, 16), int(last or first, 16) + 1))
    return found


def differing_code_points(lowercase, code_points):
    differing = set()
    for context in ("{}", "a{}b", "a {} b", "A{}", "{}{}"):
        texts = [context.replace("{}", chr(c)) for c in code_points]
        ours = SMALL[lowercase].tokenize(texts).to_list()
        theirs = rust_ids(RUST[lowercase], texts)
        rows = zip(code_points, ours, theirs, strict=True)
        differing |= {c for c, mine, other in rows if mine != other}
    return differing


def test_code_points_of_the_first_plane(lowercase):
    blocks = range(0x3100), range(0xA000, 0xAC00), range(0xF900, 0x10000)
    code_points = list(itertools.chain(*blocks))
    assert differing_code_points(lowercase, code_points) <= departures()


@pytest.mark.large
def test_all_code_points(lowercase):
    differing = set()
    for start in range(0, 0x110000, 0x8000):
        block = range(start, start + 0x8000)
        code_points = [c for c in block if not 0xD800 <= c < 0xE000]
        differing |= differing_code_points(lowercase, code_points)
    assert differing <= departures()


# === Offsets ===


def test_offsets_slice_the_input():
    text = "\u200bCaféS  我😀 é!\x00"
    expected = ["Café", "S", "我", "😀", "é", "!"]
    # What is deleted behind a token is not in its span, as in `tokenizers`.
    ((span,), _) = spans(True, [text], "character")
    assert [text[a:b] for a, b in span] == expected
    data = b"\xff" + text.encode()
    ((span,), _) = spans(True, [data], "byte")
    assert [data[a:b].decode() for a, b in span] == expected


def test_words_end_behind_what_is_deleted(lowercase):
    pieces = SMALL[lowercase].pieces_of_words
    texts = ["हिन्दू, a\u200b\u0301 \u200bb\0".encode(), b"a\xffb\xff \xffa\xff"]
    facts = pieces(texts)
    words = [
        [text[a:b] for a, b in dict.fromkeys(zip(*row, strict=True))]
        for text, *row in zip(
            texts,
            facts["word_starts"].to_list(),
            facts["word_ends"].to_list(),
            strict=True,
        )
    ]
    assert [word.decode() for word in words[0]] == [
        *("हिन्दू", ",", "a\u200b\u0301", "b\0")
    ]
    assert words[1] == [b"a\xffb\xff", b"\xffa\xff"[1:]]


@pytest.mark.parametrize("start", [0, 0x2000, 0xFE00, 0x1F300, 0xE0000])
def test_python_knows_what_is_deleted_and_where_words_end(start):
    tokenizer = SMALL[True]
    known = [
        c
        for c in map(chr, range(start, start + 0x800))
        if unicodedata.category(c) not in ("Cn", "Cs")
    ]
    alone = tokenizer.tokenize(known).row_lengths().numpy()
    gone = [is_blank(c) or is_deleted(c) for c in known]
    assert (alone == 0).tolist() == gone
    words = tokenizer.pieces_of_words([f"9{c}9" for c in known])["first"]
    split = tf.reduce_sum(tf.cast(words, tf.int32), axis=1).numpy() > 1
    assert split.tolist() == [ends_word(c) for c in known]


@given(TEXTS, st.booleans())
@settings(max_examples=150)
def test_offsets_of_any_text(texts, lowercase):
    check_offsets(lowercase, [text.encode() for text in texts])


@given(st.lists(st.binary(max_size=12), max_size=30), st.booleans())
@settings(max_examples=150)
def test_offsets_of_any_bytes(texts, lowercase):
    check_offsets(lowercase, texts)


def check_offsets(lowercase, texts):
    """Ids are those of `tokenize`; spans are in order and hold the token."""
    tokenizer = SMALL[lowercase]
    ids = tokenizer.tokenize(texts).to_list()
    in_bytes, byte_ids = spans(lowercase, texts, "byte")
    in_characters, character_ids = spans(lowercase, texts, "character")
    assert ids == byte_ids == character_ids
    pieces, tokens = [], []
    for row in zip(texts, ids, in_bytes, in_characters, strict=True):
        text, row_ids, byte_row, character_row = row
        decoded = text.decode("utf-8", "ignore")
        assert character_row == sorted(character_row)
        assert byte_row == sorted(byte_row)
        for i, (a, b), (c, d) in zip(
            row_ids, byte_row, character_row, strict=True
        ):
            assert text[a:b].decode("utf-8", "ignore") == decoded[c:d] != ""
            if i != tokenizer.unk_id:
                pieces.append(decoded[c:d])
                tokens.append(tokenizer.vocabulary[i].removeprefix("##"))
    # A piece by itself normalizes to its token, or to more where one
    # character was cut in two, as a Korean syllable is.
    normal = tokenizer._normalizer(tf.constant(pieces, tf.string)).numpy()
    for token, piece in zip(tokens, normal, strict=True):
        assert token in piece.decode()


def test_unknown_unit():
    with pytest.raises(ConfigError, match="`unit`.*'word'"):
        SMALL[True].tokenize_with_offsets(["a"], unit="word")


# === Special tokens, truncation, padding ===


def test_single_and_pair():
    t = SMALL[True]
    a, b = t.vocabulary.index("a"), t.vocabulary.index("b")
    tokens = t(["a", "a a"], max_length=8)
    assert tokens["token_ids"].to_list() == [
        [t.cls_id, a, t.sep_id],
        [t.cls_id, a, a, t.sep_id],
    ]
    assert tokens["segment_ids"].to_list() == [[0] * 3, [0] * 4]
    tokens = t(["a"], ["b b"], max_length=8)
    assert tokens["token_ids"].to_list() == [
        [t.cls_id, a, t.sep_id, b, b, t.sep_id]
    ]
    assert tokens["segment_ids"].to_list() == [[0, 0, 0, 1, 1, 1]]


@pytest.mark.parametrize("max_length", [5, 6, 7, 10, 11, 16])
def test_truncation_as_hugging_face(max_length):
    lengths = list(itertools.product(range(0, 12), repeat=2))
    first = [" ".join(["a"] * m) for m, _ in lengths]
    second = [" ".join(["b"] * n) for _, n in lengths]
    reference = rust(VOCABULARY, True)
    reference.enable_truncation(max_length, strategy="longest_first")
    pairs = reference.encode_batch(list(zip(first, second, strict=True)))
    tokens = SMALL[True](first, second, max_length=max_length)
    assert tokens["token_ids"].to_list() == [e.ids for e in pairs]
    assert tokens["segment_ids"].to_list() == [e.type_ids for e in pairs]
    tokens = SMALL[True](first, max_length=max_length)
    singles = reference.encode_batch(first)
    assert tokens["token_ids"].to_list() == [e.ids for e in singles]


def test_head_and_tail():
    t = SMALL[True]
    a, b, c = (t.vocabulary.index(token) for token in "abc")
    text = " ".join("a" * 200 + "b" * 500 + "c" * 400)
    tokens = t([text, "a b"], max_length=512, truncation="head_tail")
    long, short = tokens["token_ids"].to_list()
    assert long == [t.cls_id, *[a] * 128, *[c] * 382, t.sep_id]
    assert short == [t.cls_id, a, b, t.sep_id]


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ("a b", "c i", "a b | c i"),
        ("a a a a a a a a b", "c", "a a a a a a a | c"),
        ("a", "b c c c c c x i i i", "a | b c c x i i i"),
        ("a a a a a b", "b c c c c x i", "a a a a | b c x i"),
    ],
)
def test_head_and_tail_of_a_pair(first, second, kept):
    t = SMALL[True]
    tokens = t([first], [second], max_length=11, truncation="head_tail")
    (row,) = tokens["token_ids"].to_list()
    assert len(row) <= 11
    text = " ".join(t.vocabulary[i] for i in row[1:-1])
    assert text == kept.replace("|", "[SEP]")


@pytest.mark.parametrize("truncation", ["head", "head_tail"])
@pytest.mark.parametrize("max_length", [5, 9, 12])
def test_truncation_wastes_no_room(truncation, max_length):
    lengths = list(itertools.product(range(0, 12), repeat=2))
    tokens = SMALL[True](
        ["a " * m for m, _ in lengths],
        ["b " * n for _, n in lengths],
        max_length=max_length,
        truncation=truncation,
    )
    assert tokens["token_ids"].row_lengths().numpy().tolist() == [
        min(max_length, m + n + 3) for m, n in lengths
    ]


def test_bad_arguments():
    for arguments in (
        {"max_length": 2},
        {"max_length": 4, "pair": ["a"]},
        {"max_length": 8.0},
        {"max_length": 8, "truncation": "tail"},
    ):
        with pytest.raises(ConfigError, match="must be .* Received: "):
            SMALL[True](["a"], **arguments)
    for text in ("a", [["a"]], tf.constant([1]), tf.constant("a")):
        with pytest.raises(InputError, match="Expected .* Received: "):
            SMALL[True].tokenize(text)


def test_pad():
    t = SMALL[True]
    tokens = t(["a a a", "a"], max_length=8)
    dense = t.pad(tokens)
    assert dense["token_ids"].shape == (2, 5)
    assert dense["token_ids"].dtype == dense["segment_ids"].dtype == tf.int32
    assert dense["padding_mask"].numpy().tolist() == [
        [True] * 5,
        [True] * 3 + [False] * 2,
    ]
    assert (dense["token_ids"][1, 3:] == t.pad_id).numpy().all()
    for part in t.pad(tokens, 8).values():
        assert part.shape == (2, 8)


# === Vocabulary, files, config ===


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ([], "empty"),
        (SPECIAL[:4] + ["a"], r"lacks \[MASK\]"),
        ([*SPECIAL, "a", "b", "a"], r"Line 8 .* repeats 'a' of line 6"),
        ([*SPECIAL, ""], r"Line 6 .* Received: ''"),
        ([*SPECIAL, 3], r"Line 6 .* Received: 3"),
    ],
)
def test_bad_vocabulary(vocabulary, message):
    with pytest.raises(InputError, match=message):
        Tokenizer(vocabulary)


def test_vocabulary_of_no_words():
    with pytest.raises(InputError, match="tokens that words are made of"):
        Tokenizer(SPECIAL)


def test_bad_lowercase():
    with pytest.raises(ConfigError, match="lowercase='yes'"):
        Tokenizer(VOCABULARY, lowercase="yes")


def test_file_and_config(tmp_path, lowercase):
    path = tmp_path / "vocab.txt"
    SMALL[lowercase].save(path)
    assert path.read_bytes().decode("utf-8").split("\n") == [*VOCABULARY, ""]
    tokenizer = Tokenizer.from_file(path, lowercase=lowercase)
    assert tokenizer.vocabulary == tuple(VOCABULARY)
    assert tokenizer.vocabulary_size == len(VOCABULARY)
    config = json.loads(json.dumps(tokenizer.get_config()))
    again = Tokenizer.from_config(config, tokenizer.vocabulary)
    assert again.lowercase is lowercase
    assert words(again, "The cat") == words(tokenizer, "The cat")


def test_one_vocabulary_is_prepared_once(monkeypatch):
    built, build = [], tf_text.build_fast_wordpiece_model

    def counted(vocabulary, *options):
        built.append(vocabulary)
        return build(vocabulary, *options)

    monkeypatch.setattr(tf_text, "build_fast_wordpiece_model", counted)
    vocabulary = [*SPECIAL, "th", "##e", "once", "Once"]
    first = Tokenizer(vocabulary)
    copy = pickle.loads(pickle.dumps(first))
    cased = Tokenizer(vocabulary, lowercase=False)
    for tokenizer in (first, copy, cased):
        assert words(tokenizer, "the once") == ["th", "##e", "once"]
    assert built == [vocabulary]
    # Not so of another order, or with words that are kept whole.
    turned = Tokenizer(vocabulary[:-2] + vocabulary[:-3:-1])
    whole = Tokenizer(vocabulary, added_tokens=["Once"])
    assert len(built) == 3
    assert turned.tokenize(["the once"]).to_list() == [[5, 6, 8]]
    assert whole.tokenize(["the once"]).to_list() == [[5, 6, 8]]
    assert first.tokenize(["the once"]).to_list() == [[5, 6, 7]]


def test_windows_line_ends(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join(VOCABULARY).encode())
    assert Tokenizer.from_file(path).vocabulary == tuple(VOCABULARY)


def test_unreadable_file(tmp_path):
    with pytest.raises(InputError, match="nowhere.txt"):
        Tokenizer.from_file(tmp_path / "nowhere.txt")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(InputError, match="UTF-8"):
        Tokenizer.from_file(tmp_path / "latin.txt")


# === In the graph ===


@functools.cache
def make_module(lowercase):
    tokenizer = SMALL[lowercase]

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)] * 2)
        def rows(self, text, pair):
            tokens = tokenizer(
                text, pair, max_length=16, truncation="head_tail"
            )
            return tokenizer.pad(tokens, 16)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def offsets(self, text):
            return tokenizer.tokenize_with_offsets(text, "character")

    return Module()


def test_saved_model(tmp_path):
    module = make_module(True)
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    texts = tf.constant(
        ["The Café", "", "我爱 ΟΔΟΣ \x00", "the " * 40, "ก" * 150]
    )
    pairs = texts[::-1]
    for key, value in loaded.rows(texts, pairs).items():
        assert (value == module.rows(texts, pairs)[key]).numpy().all()
    for mine, other in zip(
        loaded.offsets(texts),
        module.offsets(texts),
        strict=True,
    ):
        assert mine.to_list() == other.to_list()


def test_only_ops_that_tensorflow_serving_has(lowercase):
    module = make_module(lowercase)
    text_ops = set()
    for function in (module.rows, module.offsets):
        graph = function.get_concrete_function().graph.as_graph_def()
        nodes = itertools.chain(
            graph.node, *(f.node_def for f in graph.library.function)
        )
        ops = {node.op for node in nodes}
        assert not {op for op in ops if "Table" in op or "PyFunc" in op}
        text_ops |= {op for op in ops if not hasattr(tf.raw_ops, op)}
    assert text_ops == {"FastWordpieceTokenizeWithOffsets"} | (
        {"NormalizeUTF8"} if lowercase else set()
    )


def test_in_a_data_pipeline():
    data = tf.data.Dataset.from_tensor_slices(["the cat", "hello"]).batch(2)
    (ids,) = data.map(SMALL[True].tokenize)
    assert ids.to_list() == SMALL[True].tokenize(["the cat", "hello"]).to_list()


def test_locale_has_no_influence(plain_tensorflow):
    texts = ["TITLE I İ ı Iı", "ΟΔΟΣ IÌĮ\u0301 J"]
    # ICU reads the environment when it is first asked for a locale.
    script = """
import json, os, sys
os.environ["LC_ALL"] = "tr_TR.UTF-8"
path, vocabulary, texts = json.loads(sys.argv[1])
sys.path.insert(0, path)
import tensorflow as tf
from kbert.tokenizers.tokenizer import Tokenizer
ids = Tokenizer(vocabulary).tokenize(texts).to_list()
lower = tf.strings.lower("TITLE", encoding="utf-8").numpy()
print(json.dumps([ids, lower.decode()]))
"""
    ids, lower = plain_tensorflow(script, REPOSITORY, VOCABULARY, texts)
    # The locale did reach ICU.
    assert lower == "t\u0131tle"
    assert ids == SMALL[True].tokenize(texts).to_list()
    assert ids == rust_ids(RUST[True], texts)


@pytest.mark.parametrize(
    "text",
    [
        "Hello world! " * 80_000,
        "a" * 1_000_000,
        "é" * 500_000,
        "ก" * 330_000,
        "我爱" * 160_000,
        "a" + "\u0301\u0323" * 250_000,
        "a" + "\U0001d165\u302e\u1b44" * 100_000,
        b"\xff\x00a" * 333_000,
    ],
    ids=[
        "words",
        "ascii",
        "accents",
        "thai",
        "chinese",
        "marks",
        "sorted marks",
        "bytes",
    ],
)
def test_a_megabyte_is_truncated_and_not_slow(text):
    tokenize = tf.function(
        lambda text: SMALL[True](text, max_length=512)["token_ids"]
    )
    batch = tf.constant([text])
    assert tokenize(batch).row_lengths()[0] <= 512
    start = time.process_time()
    tokenize(batch)
    assert time.process_time() - start < 1.0


# === Real text ===


@pytest.fixture(scope="module")
def bench():
    path = REPOSITORY / "benchmarks" / "tokenizer.py"
    spec = importlib.util.spec_from_file_location("tokenizer_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=VOCABULARIES, scope="module")
def published(request, bench):
    path = bench.vocabulary_path(request.param)
    if not path.exists():
        pytest.skip(f"no vocabulary at {path}; set KBERT_DATA")
    lowercase = VOCABULARIES[request.param]
    tokenizer = Tokenizer.from_file(path, lowercase=lowercase)
    return tokenizer, rust(str(path), lowercase)


def batches(bench, name, limit):
    if not (bench.data_root() / name).exists():
        pytest.skip(f"no {name} in {bench.data_root()}; set KBERT_DATA")
    lines = itertools.islice(bench.read_lines(name), limit)
    while batch := list(itertools.islice(lines, 512)):
        yield batch


def differing_lines(tokenizer, reference, batch):
    decoded = [line.decode("utf-8", "ignore") for line in batch]
    rows = zip(
        batch,
        tokenizer.tokenize(batch).to_list(),
        rust_ids(reference, decoded),
        strict=True,
    )
    return [line for line, mine, other in rows if mine != other]


@pytest.mark.parametrize("name", DATA_SETS)
def test_real_text(published, bench, name):
    for batch in batches(bench, name, 512):
        assert differing_lines(*published, batch) == []


@pytest.mark.parametrize("name", ["chnsenticorp", "enwiki", "sms_spam"])
def test_offsets_of_real_text(bench, lowercase, name):
    for batch in batches(bench, name, 512):
        check_offsets(lowercase, batch)


@pytest.mark.large
@pytest.mark.parametrize("name", DATA_SETS)
def test_every_line_of_real_text(published, bench, name):
    differing = []
    for batch in batches(bench, name, None):
        differing += differing_lines(*published, batch)
    assert differing == []
