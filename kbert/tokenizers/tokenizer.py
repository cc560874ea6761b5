"""WordPiece inside the TensorFlow graph: raw strings in, token ids out."""

import functools
import inspect
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from kbert.data.containers import as_list
from kbert.data.texts import clean_texts
from kbert.data.texts import encode_texts
from kbert.errors import ConfigError
from kbert.errors import InputError
from kbert.errors import short
from kbert.tokenizers.casing import TEXTS
from kbert.tokenizers.casing import casing_of
from kbert.tokenizers.normalizer import Normalizer
from kbert.tokenizers.rows import join_pieces
from kbert.tokenizers.truncation import TRUNCATIONS
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.tokenizers.vocabulary import index_vocabulary
from kbert.tokenizers.vocabulary import read_vocabulary
from kbert.tokenizers.vocabulary import write_vocabulary
from kbert.tokenizers.wordpiece import is_word
from kbert.tokenizers.wordpiece import kernel_model
from kbert.tokenizers.wordpiece import matchable
from kbert.utils.atomic import new_file
from kbert.utils.checks import check_choice
from kbert.utils.checks import check_flag
from kbert.utils.checks import check_integer
from kbert.utils.checks import check_options
from kbert.utils.checks import suggesting

UNITS = ("byte", "character")


@suggesting
class Tokenizer:
    """BERT's tokenizer: basic tokenization, then WordPiece, all in the graph.

    The same TensorFlow ops run eagerly, in a `tf.function`, in `tf.data` and
    in a SavedModel, so training and serving cannot disagree. Control
    characters are deleted; `lowercase=True` also decomposes (NFD), strips
    accents and lower-cases; text is split at whitespace, punctuation and
    Chinese characters, and words are cut into the longest known pieces.

    Any byte string is accepted: invalid UTF-8 is skipped as
    `bytes.decode("utf-8", "ignore")` skips it. The locale (`LC_ALL`) has no
    influence. The ids equal those of `tokenizers.BertWordPieceTokenizer`
    except as listed under Departures.

    References:
        Devlin et al. 2018, BERT, https://arxiv.org/abs/1810.04805
        Song et al. 2021, Fast WordPiece Tokenization,
        https://arxiv.org/abs/2012.15524
        Sun et al. 2019, How to Fine-Tune BERT for Text Classification,
        https://arxiv.org/abs/1905.05583

    Args:
        vocabulary: sequence of `str`; the place of a token is its id. It
            holds `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]`; pieces
            that continue a word start with `##`.
        lowercase: `bool`, whether to lower-case and strip accents. True for
            the uncased vocabularies and bert-base-chinese, False for cased.
        strip_accents: `bool`, whether to decompose text (NFD) and delete the
            accents; None for `lowercase`, as in BERT.
        added_tokens: words of the vocabulary that are a token wherever a text
            holds them, inside of other words too, as those that
            `add_tokens` of transformers adds. They have no spaces,
            punctuation or Chinese characters.
        casing: `bool`, whether segment ids also say how each token's word
            was written before it was lower-cased: 2 is added where it has a
            capital, 4 where it has two letters or more, all of them
            capitals. The backbone then needs 6 segment ids.

    Raises:
        InputError: the vocabulary is empty, lacks a special token or any
            other, or has an empty or repeated line.
        ConfigError: `lowercase`, `strip_accents` or `casing` is not a `bool`,
            there is nothing to tell, as with a cased vocabulary, or an added
            token is no such word.

    Example:

    >>> tokenizer = kbert.Tokenizer.from_file("vocab.txt")
    >>> tokenizer.tokenize(["Hello, world!"]).to_list()
    [[7592, 1010, 2088, 999]]
    >>> tokens = tokenizer(["Hello!"], ["Hi."], max_length=128)
    >>> tokens["token_ids"].to_list()
    [[101, 7592, 999, 102, 7632, 1012, 102]]
    >>> tokens["segment_ids"].to_list()
    [[0, 0, 0, 0, 1, 1, 1]]
    >>> tokenizer.pad(tokens, 128)["padding_mask"].shape
    TensorShape([1, 128])

    Departures from `tokenizers.BertWordPieceTokenizer`:

    - A special token that a user types, such as `[MASK]`, stays text.
    - `tokenizers` froze its tables of marks and punctuation at Unicode 8.
      Here, marks added since are stripped as accents and punctuation added
      since splits words; U+166D and U+111C9 are no longer punctuation.
    - Case pairs and decompositions newer than TensorFlow's ICU are left
      alone; none is in a published vocabulary.
    - U+2B820 to U+2B91F are Chinese characters, as in Google's code;
      `tokenizers` starts that block at U+2B920.
    """

    def __init__(
        self,
        vocabulary: Sequence[str],
        *,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        added_tokens: Sequence[str] = (),
        casing: bool = False,
    ):
        if strip_accents is None:
            strip_accents = lowercase
        lowercase = check_flag("lowercase", lowercase)
        strip_accents = check_flag("strip_accents", strip_accents)
        casing = check_flag("casing", casing)
        if isinstance(vocabulary, str | bytes | os.PathLike):
            raise InputError(
                "The vocabulary, expected a sequence of tokens. Received: "
                f"{short(vocabulary)}. Read a file by "
                "kbert.Tokenizer.from_file(path)."
            )
        if casing and not lowercase:
            raise ConfigError(
                "`casing` is for vocabularies that are lower-cased. Received: "
                "lowercase=False, whose tokens say how words are written. "
                "Leave `casing` out."
            )
        self.vocabulary = tuple(as_list(vocabulary, "tokens"))
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.added_tokens = tuple(added_tokens)
        self.casing = casing
        ids = index_vocabulary(self.vocabulary)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            ids[token] for token in SPECIAL_TOKENS
        )

        # === Kernels ===
        self._normalizer = Normalizer(
            lowercase=lowercase, strip_accents=strip_accents
        )
        # A constant, and on the CPU: the kernel that reads it has no other.
        with tf.init_scope(), tf.device("CPU:0"):
            whole = self._whole_words(ids)
            try:
                model = kernel_model(matchable(self.vocabulary, whole))
            except RuntimeError as error:
                raise InputError(
                    "The vocabulary, expected tokens that words are made of. "
                    f"Received: {self.vocabulary_size} lines, {error}"
                ) from error
            self._wordpiece = tf_text.FastWordpieceTokenizer(
                model_buffer=tf.constant(model), token_out_type=tf.int32
            )

    def _whole_words(self, ids: dict[str, int]) -> dict[str, int]:
        """The added tokens as normalized text has them, to their ids."""
        if not self.added_tokens:
            return {}
        names = self.added_tokens
        if unknown := [name for name in names if name not in ids]:
            raise ConfigError(
                f"`added_tokens`, expected tokens of the vocabulary. "
                f"Received: {unknown[0]!r}, which it lacks."
            )
        words = self._normalizer.normalize(tf.constant(names)).numpy()
        whole = {
            word.decode(): ids[name]
            for word, name in zip(words, names, strict=True)
        }
        for word, number in whole.items():
            if not is_word(word):
                raise ConfigError(
                    f"`added_tokens`, expected words without spaces, "
                    f"punctuation and Chinese characters. Received: "
                    f"{self.vocabulary[number]!r}."
                )
        self._normalizer.keep_whole(whole)
        return whole

    @property
    def vocabulary_size(self) -> int:
        return len(self.vocabulary)

    # === Text to tokens ===

    def tokenize(self, text) -> tf.RaggedTensor:
        """Cut texts into token ids, without special tokens.

        Args:
            text: string tensor or list of `str`, shape `(B,)`.

        Returns:
            `tf.RaggedTensor` of int32, shape `(B, None)`.

        Example:

        >>> tokenizer.tokenize(["hi", "hello you"]).bounding_shape().numpy()
        array([2, ...])
        """
        return self._wordpiece.tokenize(self._normalizer(_strings(text)))

    def tokenize_with_offsets(self, text, unit: str = "byte"):
        """Cut texts into token ids and the span of the text behind each.

        A span slices the text as it was given: `text[start:end]` is what
        the token was made of, case, accents and invalid bytes included.

        Args:
            text: string tensor or list of `str`, shape `(B,)`.
            unit: `"byte"`, or `"character"` to count the code points of
                `text.decode("utf-8", "ignore")`.

        Returns:
            `(ids, starts, ends)`, each a `tf.RaggedTensor` of int32, shape
            `(B, None)`; `ids` equals what `tokenize` returns.

        Raises:
            ConfigError: `unit` is neither.

        Example:

        >>> tokenizer.tokenize_with_offsets(["Café!"], unit="character")
        (<tf.RaggedTensor [[7668, 999]]>,
         <tf.RaggedTensor [[0, 4]]>,
         <tf.RaggedTensor [[4, 5]]>)
        """
        check_choice("unit", unit, UNITS)
        return self._offsets(_strings(text), unit)[:3]

    def _offsets(self, text: tf.Tensor, unit: str) -> tuple:
        """The same, and where what was deleted behind each token ends."""
        normal, places, starts, ends, reaches = self._normalizer.with_spans(
            text, unit
        )
        ids, token_starts, token_ends = self._wordpiece.tokenize_with_offsets(
            normal
        )
        # Rows are laid end to end, so that one sorted search serves them all.
        size = tf.cast(tf.strings.length(normal), tf.int64)
        base = tf.cumsum(size, exclusive=True)  # (B,)

        def flat(ragged):
            # Adding a ragged and a dense tensor takes a thousand ops.
            return ragged.values + tf.gather(base, ragged.value_rowids())

        places = flat(places)  # (N,)
        first = tf.searchsorted(places, flat(token_starts))  # (T,)
        last = tf.searchsorted(places, flat(token_ends)) - 1
        return (
            ids,
            ids.with_values(tf.gather(starts.values, first)),
            ids.with_values(tf.gather(ends.values, last)),
            ids.with_values(tf.gather(reaches.values, last)),
        )

    def pieces(
        self, text, number: int = 0, offsets: bool = False
    ) -> dict[str, tf.RaggedTensor]:
        """Cut one text of each row into tokens, with their segment ids.

        Args:
            text: string tensor or list of `str`, shape `(B,)`.
            number: 0 for the text, 1 for the pair.
            offsets: whether to say where each token stands in its text.

        Returns:
            A dict of `tf.RaggedTensor` of int32, shape `(B, None)`:
            `"token_ids"`, `"segment_ids"`, and with `offsets` `"starts"` and
            `"ends"`, see `tokenize_with_offsets`.

        Example:

        >>> [*tokenizer.pieces(["hello you"], offsets=True)]
        ['token_ids', ...]
        """
        if self.casing:
            pieces = self.pieces_of_words(text, number)
            keys = ("token_ids", "segment_ids", "starts", "ends")
            return {key: pieces[key] for key in keys[: 4 if offsets else 2]}
        spans = {}
        if offsets:
            ids, starts, ends = self.tokenize_with_offsets(text)
            spans = {"starts": starts, "ends": ends}
        else:
            ids = self.tokenize(text)
        segments = ids.with_values(tf.fill(tf.shape(ids.values), number))
        return {"token_ids": ids, "segment_ids": segments} | spans

    def pieces_of_words(
        self, text, number: int = 0
    ) -> dict[str, tf.RaggedTensor]:
        """The same, and which word each token is a piece of.

        Words are what BERT's own splitting makes of a text.

        Returns:
            What `pieces` gives with `offsets`; `"first"` bool, the token
            begins a word; `"word_starts"` and `"word_ends"` int32, the bytes
            of that word in the text, with what is deleted behind it, such as
            an accent that is a character of its own.
        """
        text = _strings(text)
        ids, starts, ends, reaches = self._offsets(text, "byte")
        first = self.begins_word(ids.values)  # (N,)
        # Of a text's first token there can be no other.
        opening = tf.boolean_mask(ids.row_starts(), ids.row_lengths() > 0)
        first |= tf.scatter_nd(
            opening[:, tf.newaxis],
            tf.ones_like(opening, tf.bool),
            tf.shape(first, tf.int64),
        )
        word = tf.cumsum(tf.cast(first, tf.int32)) - 1  # (N,)
        word_starts = tf.math.segment_min(starts.values, word)  # (words,)
        word_ends = tf.math.segment_max(reaches.values, word)
        segments = tf.fill(tf.shape(word), number)
        if self.casing:
            row = tf.boolean_mask(ids.value_rowids(), first)
            words = tf.strings.substr(
                tf.gather(text, row), word_starts, word_ends - word_starts
            )
            segments += TEXTS * tf.gather(casing_of(words), word)
        return {
            "token_ids": ids,
            "segment_ids": ids.with_values(segments),
            "starts": starts,
            "ends": ends,
            "first": ids.with_values(first),
            "word_starts": ids.with_values(tf.gather(word_starts, word)),
            "word_ends": ids.with_values(tf.gather(word_ends, word)),
        }

    def begins_word(self, ids: tf.Tensor) -> tf.Tensor:
        """Whether tokens are not written as the rest of a word, `##...`.

        Args:
            ids: int32, of any shape.

        Returns:
            bool, of the same shape.

        Example:

        >>> ids = tokenizer.tokenize(["hello you"]).values
        >>> int(tf.reduce_sum(tf.cast(tokenizer.begins_word(ids), tf.int32)))
        2
        """
        return tf.gather(tf.constant(self._begins), ids)

    @functools.cached_property
    def _begins(self) -> np.ndarray:
        """For each token of the vocabulary, bool."""
        return np.array(
            [token[:2] != "##" or len(token) <= 2 for token in self.vocabulary]
        )

    # === Tokens to rows of the model ===

    def __call__(
        self,
        text,
        pair=None,
        *,
        max_length: int,
        truncation: str = "head",
        offsets: bool = False,
    ) -> dict[str, tf.RaggedTensor]:
        """Tokenize, truncate and add the special tokens.

        A row becomes `[CLS] text [SEP]`, or `[CLS] text [SEP] pair [SEP]`.

        Args:
            text: string tensor or list of `str`, shape `(B,)`.
            pair: the second texts, shape `(B,)`, or None.
            max_length: `int`, the most tokens in a row, special ones
                included.
            truncation: what a row that is too long keeps. `"head"`: its
                first tokens; of a pair the longer text is cut first, as
                Hugging Face's `truncation=True` does. `"head_tail"`: the
                first 128/510 and the last 382/510 of the room (Sun et al.
                2019); with a pair, the first text keeps its first tokens,
                half the room or what the pair leaves over if that is more,
                and the pair keeps the head and tail that fit.
            offsets: whether to say where each token stands in its text.

        Returns:
            A dict of `tf.RaggedTensor` of int32, shape `(B, None)`:
            `"token_ids"`, and `"segment_ids"`, 0 for the text and 1 for the
            pair, and more with `casing`. With `offsets` also `"starts"` and
            `"ends"`, the bytes of the token in its text, as
            `tokenize_with_offsets` gives them; special tokens have 0 and 0.

        Raises:
            ConfigError: `max_length` leaves no room for a token of each
                text, or `truncation` is unknown.
        """
        check_choice("truncation", truncation, TRUNCATIONS)
        special = 2 if pair is None else 3
        least = special + (1 if pair is None else 2)
        max_length = check_integer(
            "max_length",
            max_length,
            least,
            why=f": {special} special tokens and a token of each text",
        )
        room = max_length - special
        texts = [text] if pair is None else [text, pair]
        facts = [
            self.pieces(text, number, offsets)
            for number, text in enumerate(texts)
        ]
        sizes = [fact["token_ids"].row_lengths() for fact in facts]  # (B,)
        second = None if pair is None else sizes[1]
        kept = TRUNCATIONS[truncation](sizes[0], second, room)

        return join_pieces(
            facts,
            kept,
            {
                "token_ids": [self.cls_id, self.sep_id, self.sep_id],
                "segment_ids": [0, 0, 1],
                "starts": [0, 0, 0],
                "ends": [0, 0, 0],
            },
        )

    def pad(
        self, tokens: dict[str, tf.RaggedTensor], length: int | None = None
    ) -> dict[str, tf.Tensor]:
        """Fill the rows up with `[PAD]`, to dense tensors.

        Args:
            tokens: what calling the tokenizer returned.
            length: `int` T, or None for the longest row of the batch. Rows
                that are longer lose their end: give the `max_length` that
                the tokens were made with, or more.

        Returns:
            A dict of `"token_ids"` and `"segment_ids"`, int32 `(B, T)`, and
            `"padding_mask"`, bool `(B, T)`, True where a token is.

        Example:

        >>> tokens = tokenizer(["hi", "hello you"], max_length=16)
        >>> tokenizer.pad(tokens, length=16)["token_ids"].shape
        TensorShape([2, 16])
        """
        ids = tokens["token_ids"]
        shape = (None, length)
        token_ids = ids.to_tensor(self.pad_id, shape=shape)  # (B, T)
        return {
            "token_ids": token_ids,
            "segment_ids": tokens["segment_ids"].to_tensor(0, shape=shape),
            "padding_mask": tf.sequence_mask(
                ids.row_lengths(), tf.shape(token_ids)[1]
            ),
        }

    # === Files and config ===

    @classmethod
    def from_file(cls, path, **options) -> "Tokenizer":
        """Read a `vocab.txt`: UTF-8, one token a line, line 1 is id 0.

        Args:
            path: the file.
            **options: those of `Tokenizer`, such as `lowercase`.

        Raises:
            InputError: the file is missing, not UTF-8, or not a vocabulary.

        Example:

        >>> kbert.Tokenizer.from_file("vocab.txt").lowercase
        True
        """
        known = [*inspect.signature(Tokenizer).parameters][1:]
        check_options("`Tokenizer.from_file`", options, known)
        return cls(read_vocabulary(path), **options)

    def save(self, path) -> None:
        """Write the vocabulary to `path` as `from_file` reads it.

        Example:

        >>> tokenizer.save("vocab.txt")
        """
        with new_file(path) as temporary:
            write_vocabulary(self.vocabulary, temporary)

    def get_config(self) -> dict:
        """What `from_config` needs besides the vocabulary, JSON-ready.

        Example:

        >>> tokenizer.get_config()
        {'lowercase': True, 'casing': False}
        """
        config: dict[str, Any] = {
            "lowercase": self.lowercase,
            "casing": self.casing,
        }
        # What few have: earlier versions of kbert read the config of others.
        if self.strip_accents != self.lowercase:
            config["strip_accents"] = self.strip_accents
        if self.added_tokens:
            config["added_tokens"] = list(self.added_tokens)
        return config

    def __reduce__(self):
        # Not by a bound method, which dill cannot take where it is loaded.
        return _made, (type(self), self.get_config(), self.vocabulary)

    @classmethod
    def from_config(cls, config: dict, vocabulary: Sequence[str]):
        """The tokenizer of a `get_config` dict and a vocabulary.

        Example:

        >>> same = kbert.Tokenizer.from_config(
        ...     tokenizer.get_config(), tokenizer.vocabulary
        ... )
        >>> same.vocabulary_size == tokenizer.vocabulary_size
        True
        """
        return cls(vocabulary, **config)


def _made(cls: type[Tokenizer], config: dict, vocabulary: Sequence[str]):
    return cls.from_config(config, vocabulary)


def _strings(text) -> tf.Tensor:
    """`text` as a string tensor `(B,)`."""
    if not tf.is_tensor(text):
        column = clean_texts(as_list(text, "texts"))
        text = tf.constant(encode_texts(column), tf.string)
    if text.dtype != tf.string or text.shape.rank != 1:
        raise InputError(
            "Expected texts as strings of shape (B,). "
            f"Received: {text.dtype.name} of shape {text.shape}"
        )
    return text
