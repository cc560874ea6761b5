"""BERT's text normalization as core TensorFlow ops and one of TF Text's."""

import re
import unicodedata
from collections.abc import Iterable

import tensorflow as tf
import tensorflow_text as tf_text

# RE2 classes. Written out rather than \p{Cf}: the control characters are
# those of Unicode 8, as in `tokenizers`, whatever version RE2 carries.
CONTROL = (
    r"\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x9F\x{AD}"  # all of Cc but \t \n \r
    r"\x{600}-\x{605}\x{61C}\x{6DD}\x{70F}\x{180E}\x{200B}-\x{200F}"
    r"\x{202A}-\x{202E}\x{2060}-\x{2064}\x{2066}-\x{206F}\x{FEFF}"
    r"\x{FFF9}-\x{FFFB}\x{110BD}\x{1BCA0}-\x{1BCA3}\x{1D173}-\x{1D17A}"
    r"\x{E0001}\x{E0020}-\x{E007F}"
    r"\x{E000}-\x{F8FF}\x{F0000}-\x{FFFFD}\x{100000}-\x{10FFFD}"  # Co
    r"\x{FFFD}"
)
# Characters that uncased normalization leaves alone, or that only need an
# ASCII lower(): most of English and Chinese text.
PLAIN = (
    r"\t\n\r\x20-\x7E\xA0-\xAC\xAE-\xBF\x{2010}-\x{2027}\x{2030}-\x{205E}"
    r"\x{20A0}-\x{20BD}\x{2500}-\x{26FF}\x{3000}-\x{3029}\x{3400}-\x{4DB5}"
    r"\x{4E00}-\x{9FA5}\x{FF01}-\x{FF20}\x{FF3B}-\x{FF65}"
)
# Where words end: FastWordpieceTokenizer's own rule.
DELIMITER = (
    r"[\s\x{85}\p{Z}\p{P}$+<=>^`|~\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}"
    r"\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}"
    r"\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}\x{2F800}-\x{2FA1F}]"
)
# Of these the Chinese characters, for Python: each is a word.
CHINESE = re.compile(
    "[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df"
    "\U0002a700-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f]"
)
# Not one of the delimiters that are common enough to matter to the speed.
WORDLIKE = (
    r"[^\x00-/:-@\[-`{-\xA0\x{2010}-\x{2027}\x{3000}-\x{3002}"
    r"\x{3008}-\x{3011}\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{FF01}\x{FF08}"
    r"\x{FF09}\x{FF0C}\x{FF1A}\x{FF1B}\x{FF1F}]"
)
# Accents, which are category Mn; U+1734 was until Unicode 14.
ACCENT = r"[\p{Mn}\x{1734}]+"
# Marks that NFD sorts and that are no accents.
SORTED = (
    r"[\x{1715}\x{1B44}\x{1BAA}\x{1BF2}\x{1BF3}\x{302E}\x{302F}\x{A953}"
    r"\x{A9C0}\x{111C0}\x{11235}\x{1134D}\x{116B6}\x{1193D}\x{16FF0}"
    r"\x{16FF1}\x{1D165}\x{1D166}\x{1D16D}-\x{1D172}]"
)

_CONTROL = re.compile(
    re.sub(r"\\x\{(\w+)\}", lambda m: f"\\U{m[1]:0>8}", f"[{CONTROL}]")
)

# DEL: cleaned text has none, so no word that holds one is in a vocabulary.
SPOIL = "\x7f"
MAX_WORD = 100

# A control character, for the same reason: what was put around words.
_MARK = 1


class Normalizer:
    """Clean text, strip accents and lower-case, as far as asked.

    In this order, as the normalizer of `tokenizers` does: delete control
    characters, NFD, delete accents (category Mn), lower-case. Whitespace,
    punctuation and Chinese characters are left to the WordPiece kernel, which
    splits at them. A word of more than 100 characters gets one that is in no
    vocabulary, so that the kernel answers `[UNK]`.

    Args:
        lowercase: `bool`, whether to lower-case.
        strip_accents: `bool`, whether to decompose and delete accents; None
            for `lowercase`.

    Example:

    >>> Normalizer(lowercase=True)(tf.constant(["CAFÉ!"])).numpy()
    array([b'cafe!'], dtype=object)
    """

    def __init__(self, *, lowercase: bool, strip_accents: bool | None = None):
        self.lowercase = lowercase
        self.strip_accents = (
            lowercase if strip_accents is None else strip_accents
        )
        self._whole = ""  # The pattern of `keep_whole`.

    def keep_whole(self, words: Iterable[str]) -> None:
        """From now on make words of these wherever a text holds them.

        Args:
            words: as normalized text has them, without what ends a word.
        """
        # The longest first: RE2 takes the first that fits.
        self._whole = "|".join(
            map(re.escape, sorted(words, key=len, reverse=True))
        )

    def __call__(self, text: tf.Tensor) -> tf.Tensor:
        """Strings `(B,)` to normalized strings `(B,)`, valid UTF-8."""
        text = self.normalize(text)
        if self._whole:
            text = _put_around(text, self._whole, " ")
        # Few rows have so long a run, so few pay for `_put_around`.
        long = tf.where(
            tf.strings.regex_full_match(
                text, f"(?s).*{WORDLIKE}{{{MAX_WORD + 1}}}.*"
            )
        )
        spoilt = _put_around(tf.gather_nd(text, long), DELIMITER, " ")
        spoilt = _spoil(spoilt, "[^ ]")
        return tf.tensor_scatter_nd_update(text, long, spoilt)

    def with_spans(self, text: tf.Tensor, unit: str):
        """Normalize, and say where each character comes from.

        Args:
            text: strings, shape `(B,)`.
            unit: `"byte"` or `"character"`, what spans are counted in.

        Returns:
            `(normal, places, starts, ends, reaches)`. `normal` is `(B,)`, the
            same words as calling the normalizer gives, though spaced
            otherwise; for each of its characters `places` has its first byte
            in `normal`, int64 `(B, None)`, `starts` and `ends` the span of
            `text` it was made from, int32 `(B, None)`, and `reaches` the end
            of what was deleted behind it: accents, control characters and
            invalid bytes.
        """
        chars, starts = tf.strings.unicode_split_with_offsets(
            text, "UTF-8", errors="ignore"
        )  # (B, None)
        if unit == "byte":
            starts = tf.cast(starts.values, tf.int32)  # (C,)
            ends = starts + tf.strings.length(chars.values)
            size = tf.strings.length(text)  # (B,)
        else:
            starts = tf.ragged.range(chars.row_lengths()).values
            starts = tf.cast(starts, tf.int32)
            ends = starts + 1
            size = tf.cast(chars.row_lengths(), tf.int32)

        # Every step works on one character at a time, or swaps one for one:
        # done to single characters it gives as many as done to the text.
        distinct, which = tf.unique(chars.values)
        counts = tf.gather(
            tf.strings.length(self.normalize(distinct), "UTF8_CHAR"), which
        )  # (C,)
        # Up to the next character that stays, or the end of the text.
        stays = counts > 0
        row = tf.boolean_mask(chars.value_rowids(), stays)  # (K,)
        following = tf.concat([tf.boolean_mask(starts, stays), [0]], 0)[1:]
        is_last = row != tf.concat([row, [-1]], 0)[1:]
        reaches = tf.where(is_last, tf.gather(size, row), following)
        reaches = tf.repeat(reaches, tf.boolean_mask(counts, stays))
        words = f"{self._whole}|{DELIMITER}" if self._whole else DELIMITER
        marked = _put_around(self.normalize(text), words, chr(_MARK))
        codes = tf.strings.unicode_decode(marked, "UTF-8").values  # (N,)
        # Each character's place among those that were there before marks.
        place = tf.cumsum(tf.cast(codes != _MARK, tf.int32)) - 1
        place = tf.maximum(place, 0)
        normal = tf.strings.regex_replace(marked, rf"\x{_MARK:02x}", " ")
        normal = _spoil(normal, "[^ ]")
        _, places = tf.strings.unicode_decode_with_offsets(normal, "UTF-8")
        return (
            normal,
            places,
            places.with_values(tf.gather(tf.repeat(starts, counts), place)),
            places.with_values(tf.gather(tf.repeat(ends, counts), place)),
            places.with_values(tf.gather(reaches, place)),
        )

    def normalize(self, text: tf.Tensor) -> tf.Tensor:
        """The same characters for the same ones, whatever is around them."""
        # Only those rows go through the chain that it would change.
        plain = PLAIN
        if not (self.lowercase or self.strip_accents):
            # Surrogates are no characters, but RE2's negated classes hold them.
            plain = rf"^\x{{D800}}-\x{{DFFF}}{CONTROL}"
        others = tf.where(~tf.strings.regex_full_match(text, f"[{plain}]*"))
        changed = self._chain(tf.gather_nd(text, others))
        if self.lowercase:
            text = tf.strings.lower(text)
        return tf.tensor_scatter_nd_update(text, others, changed)

    def _chain(self, text: tf.Tensor) -> tf.Tensor:
        text = tf.strings.unicode_transcode(
            text,
            "UTF-8",
            "UTF-8",
            errors="ignore",
            replace_control_characters=False,
        )
        text = tf.strings.regex_replace(text, f"[{CONTROL}]+", "")
        if self.strip_accents:
            # NFD sorts runs of marks in quadratic time, 80 s for a megabyte:
            # drop the accents first and break what may remain of such a run.
            # More than 100 marks are a word too long to be known in any case.
            text = tf.strings.regex_replace(text, ACCENT, "")
            text = _spoil(text, SORTED)
            text = tf_text.normalize_utf8(text, "NFD")
            text = tf.strings.regex_replace(text, ACCENT, "")
        if not self.lowercase:
            return text
        # ICU lower-cases by context (a final sigma) and by locale (a Turkish
        # I): take both out of its hands.
        text = tf.strings.regex_replace(text, "Σ", "σ")
        text = tf.strings.lower(text)
        return tf.strings.lower(text, encoding="utf-8")


def _put_around(text: tf.Tensor, pattern: str, mark: str) -> tf.Tensor:
    """Put a character before and after whatever fits a pattern."""
    return tf.strings.regex_replace(text, f"({pattern})", rf"{mark}\1{mark}")


def _spoil(text: tf.Tensor, character: str) -> tf.Tensor:
    """Swap the last of every 101 characters in a row for `SPOIL`."""
    return tf.strings.regex_replace(
        text, f"({character}{{{MAX_WORD}}}){character}", rf"\1{SPOIL}"
    )


# === The same for one character, in Python ===


def is_deleted(character: str) -> bool:
    """Whether nothing of it is left: controls, and accents if lower-cased.

    Example:

    >>> [is_deleted(c) for c in "e\u0301\u200b "]
    [False, True, True, False]
    """
    return (
        _CONTROL.match(character) is not None
        or unicodedata.category(character) == "Mn"
        or character == "\u1734"
    )


def is_blank(character: str) -> bool:
    """Whether it is whitespace, which is in no word."""
    return character in "\t\n\r" or unicodedata.category(character)[0] == "Z"


def ends_word(character: str) -> bool:
    """Whether a text is split at it: blanks, punctuation, Chinese."""
    return any(
        c in "\t\n\r$+<=>^`|~"
        or unicodedata.category(c)[0] in "PZ"
        or CHINESE.match(c)
        for c in unicodedata.normalize("NFD", character)
    )
