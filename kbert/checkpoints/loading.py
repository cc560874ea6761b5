"""A checkpoint of any known form, opened."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kbert.checkpoints import google
from kbert.checkpoints import huggingface
from kbert.checkpoints import kerashub
from kbert.checkpoints import sentence
from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.checkpoints.presets import resolve
from kbert.checkpoints.sentence import SentenceFiles
from kbert.checkpoints.vocabularies import TokenizerFiles
from kbert.checkpoints.vocabularies import looks_lowercase
from kbert.checkpoints.vocabularies import open_tokenizer
from kbert.data.containers import as_list
from kbert.errors import CheckpointError
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.formats.tensors import Tensor
from kbert.formats.tensors import build_backbone
from kbert.models.backbone import SIZES
from kbert.models.backbone import Backbone
from kbert.tokenizers.casing import CASINGS
from kbert.tokenizers.casing import TEXTS
from kbert.tokenizers.vocabulary import SPECIAL_TOKENS
from kbert.tokenizers.vocabulary import read_vocabulary
from kbert.utils.checks import check_flag
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_object

if TYPE_CHECKING:
    from kbert.tokenizers.tokenizer import Tokenizer

RANDOM = "random:"

# Of peft and of the adapters library.
ADAPTERS = (
    *("adapter_config.json", "adapter_model.safetensors"),
    *("adapter_model.bin", "pytorch_adapter.bin"),
)

SEGMENTS = "embeddings.token_type_embeddings.weight"

Weights = tuple[Mapping[str, Tensor], str]


@dataclass(frozen=True)
class Checkpoint:
    """A vocabulary, a backbone's arguments, and where its weights are.

    Attributes:
        form: `"huggingface"`, `"google"`, `"kerashub"` or `"random"`.
        text: its vocabulary, and the options of its tokenizer.
        config: arguments of `kbert.Backbone`.
        folder: where the files are; None for random weights.
        open_weights: gives the tensors, which are not read yet, under the
            names of Hugging Face's `BertModel`, and the name of their file.
        head_options: what the checkpoint says of a head, such as
            `{"pooling": "cls"}`.
        sentences: what sentence-transformers has written beside it; None for
            other forms.
        casing: whether segment ids say how words are written, see
            `kbert.Tokenizer`.
    """

    form: str
    text: TokenizerFiles
    config: dict
    folder: Path | None = None
    open_weights: Callable[[], Weights] = field(
        default=lambda: ({}, "nothing"), repr=False
    )
    head_options: Mapping[str, str] = field(default_factory=dict)
    sentences: SentenceFiles | None = None
    casing: bool = False

    @property
    def vocabulary(self) -> Sequence[str]:
        return self.text.vocabulary

    @property
    def lowercase(self) -> bool:
        """Whether text is lower-cased."""
        return self.text.options["lowercase"]

    @property
    def strip_accents(self) -> bool:
        """Whether accents are deleted."""
        return self.text.options.get("strip_accents", self.lowercase)

    @property
    def added_tokens(self) -> Sequence[str]:
        """Words that are a token wherever a text holds them."""
        return self.text.options.get("added_tokens", ())

    @property
    def tokenizer(self) -> Tokenizer:
        """A new `kbert.Tokenizer`; it takes TensorFlow."""
        from kbert.tokenizers.tokenizer import Tokenizer

        return Tokenizer(
            self.vocabulary, **self.text.options, casing=self.casing
        )

    def with_casing(self) -> Checkpoint:
        """The same with segment ids that say how words are written.

        Each casing begins with what the checkpoint has for its segment, so
        that nothing differs before the backbone is trained.

        Raises:
            ConfigError: the vocabulary is cased, or the backbone has no two
                segment ids.
        """
        before = self.config.get("num_segments", TEXTS)
        if not self.lowercase or before not in (TEXTS, TEXTS * CASINGS):
            raise ConfigError(
                f"`casing` is for a lower-cased vocabulary and a backbone of "
                f"{TEXTS} segment ids. Received: a vocabulary with "
                f"lowercase={self.lowercase}, and {before} segment ids. Leave "
                f"`casing` out."
            )

        def open_weights() -> Weights:
            tensors, name = self.open_weights()
            table = tensors.get(SEGMENTS)
            if before > TEXTS or table is None:
                return tensors, name
            shape = (table.shape[0] * CASINGS, *table.shape[1:])
            tiled = replace(
                table,
                shape=shape,
                read=lambda: np.concatenate([table.read()] * CASINGS),
            )
            return {**tensors, SEGMENTS: tiled}, name

        return replace(
            self,
            config=self.config | {"num_segments": TEXTS * CASINGS},
            open_weights=open_weights,
            casing=True,
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """The tensors of the file; none for random weights."""
        return self.open_weights()[0]

    def build(self, **overrides) -> Backbone:
        """The backbone with its weights.

        Args:
            **overrides: arguments of `kbert.Backbone` to replace, such as
                `dropout` or `output_attentions`.

        Raises:
            CheckpointError: names every tensor that is missing, has another
                shape, or is not in the configuration; nothing is built then.
        """
        if self.folder is None:
            return Backbone(**(self.config | overrides))
        tensors, name = self.open_weights()
        return build_backbone(
            self.config, tensors, self.folder / name, **overrides
        )


def open_checkpoint(
    preset: str | os.PathLike = DEFAULT_PRESET,
    vocabulary: str | os.PathLike | Sequence[str] | None = None,
    lowercase: bool = True,
    casing: bool = False,
) -> Checkpoint:
    """Open a checkpoint by a name or by its folder.

    Args:
        preset: one of

            - a preset's name, see `kbert presets`;
            - a folder in Hugging Face form, sentence-transformers' too;
            - a folder with bert_config.json, vocab.txt and a TensorFlow
              checkpoint of Google's BERT or of the Model Garden;
            - a folder of a KerasHub preset;
            - `"owner/name"`, a repository of the Hugging Face Hub, and
              `"owner/name@revision"`;
            - `"kerashub:NAME"`, a preset of KerasHub;
            - `"random:SIZE"` for random weights, with a size of
              `Backbone.from_size` or such as `"random:2x128"`, layers by
              hidden size.
        vocabulary: of a random backbone, its vocab.txt or its tokens; without
            it the tokens are single ASCII characters.
        lowercase: whether that vocabulary is uncased.
        casing: whether the model is told how words are written, see
            `kbert.Tokenizer`.

    Raises:
        UnknownNameError: nothing is registered under the name.
        CheckpointError: the folder's files are missing, corrupt, or do not
            fit each other.
        UnsafeFileError: a file leads out of the folder, holds code, or asks
            for too much.
        ConfigError: a vocabulary is given for a preset that has its own, or
            casing asked for where there is none to tell.
    """
    if not isinstance(preset, str | os.PathLike):
        raise ConfigError(
            f"`preset` must be a preset's name or the path of a folder. "
            f"Received: preset={short(preset)}"
        )
    lowercase = check_flag("lowercase", lowercase)
    casing = check_flag("casing", casing)
    checkpoint = _open(preset, vocabulary, lowercase)
    return checkpoint.with_casing() if casing else checkpoint


def _open(preset, vocabulary, lowercase) -> Checkpoint:
    name = os.fspath(preset)
    if name.startswith(RANDOM):
        return _random(name.removeprefix(RANDOM), vocabulary, lowercase)
    if vocabulary is not None:
        raise ConfigError(
            f"`vocabulary` goes with preset='{RANDOM}SIZE' only. Received: "
            f"preset={name!r}, which has its own."
        )
    checkpoint = open_folder(resolve(preset))
    tokens, size = checkpoint.vocabulary, checkpoint.config["vocabulary_size"]
    if len(tokens) > size:
        raise CheckpointError(
            f"Expected at most {size} tokens, the embeddings in "
            f"{checkpoint.folder}. Received: {len(tokens)} in its vocabulary. "
            f"The files belong to different models, or tokens were added "
            f"without `resize_token_embeddings`."
        )
    return checkpoint


def open_folder(folder: Path) -> Checkpoint:
    """Open a folder of whatever form; see `open_checkpoint`."""
    open_form = {
        "huggingface": _open_huggingface,
        "google": _open_google,
        "kerashub": _open_kerashub,
    }[detect(folder)]
    return open_form(folder)


def detect(folder: Path) -> str:
    """The form of a folder's files.

    Returns:
        `"huggingface"`, `"google"` or `"kerashub"`.

    Raises:
        CheckpointError: it has none of the forms.
    """
    for name in ADAPTERS:
        if has_member(folder, name):
            raise _adapter(member(folder, name))
    if has_member(folder, google.CONFIG) and google.find(folder):
        return "google"
    if has_member(folder, "config.json"):
        config = read_object(member(folder, "config.json"))
        return "kerashub" if kerashub.is_preset(config) else "huggingface"
    if has_member(folder, sentence.MODULES):
        return "huggingface"
    raise CheckpointError(
        f"Expected a checkpoint in {folder}: config.json, model.safetensors "
        f"and vocab.txt, a KerasHub preset, or bert_config.json beside a "
        f"TensorFlow checkpoint. Received a folder without config.json. "
        f"Complete it or give another folder."
    )


def _adapter(path: Path) -> CheckpointError:
    base = "the model that it was trained on"
    if path.suffix == ".json":
        facts = read_object(path)
        name = facts.get("base_model_name_or_path", facts.get("model_name"))
        base = short(name)
    return CheckpointError(
        f"Expected a whole model in {path.parent}. Received: {path.name}, of "
        f"an adapter of {base}, as peft and adapters write it: it holds what "
        f"is added to that model. Merge the two first, in Python: "
        f"PeftModel.from_pretrained(model, folder).merge_and_unload()"
        f".save_pretrained(new_folder), and save the tokenizer there too."
    )


def _open_huggingface(folder: Path) -> Checkpoint:
    sentences = SentenceFiles.open(folder)
    inner = sentences.model
    if inner != folder:
        detect(inner)  # It may be what cannot be read.
    config = huggingface.read_config(inner)
    text = open_tokenizer(inner)
    _, lowercase = sentences.transformer()
    if lowercase:
        # The library lower-cases before the tokenizer does what it does.
        text = replace(text, options=text.options | {"lowercase": True})
    pooling = sentences.head_pooling()
    return Checkpoint(
        "huggingface",
        text,
        config,
        inner,
        lambda: huggingface.open_weights(inner),
        {} if pooling is None else {"pooling": pooling},
        sentences,
    )


def _open_google(folder: Path) -> Checkpoint:
    config = google.read_config(folder)
    return Checkpoint(
        "google",
        open_tokenizer(folder),
        config,
        folder,
        lambda: google.open_weights(folder, config),
    )


def _open_kerashub(folder: Path) -> Checkpoint:
    config = kerashub.read_config(folder)
    tokens = read_vocabulary(member(folder, kerashub.VOCABULARY))
    options = kerashub.read_tokenizer(folder)
    if options is None:
        options = {"lowercase": looks_lowercase(tokens)}
    return Checkpoint(
        "kerashub",
        TokenizerFiles(tokens, options),
        config,
        folder,
        lambda: kerashub.open_weights(folder),
    )


def load_backbone(
    preset: str | os.PathLike = DEFAULT_PRESET, **overrides
) -> Backbone:
    """The backbone of a checkpoint of any form, with its weights.

    Args:
        preset: see `kbert.checkpoints.loading.open_checkpoint`.
        **overrides: arguments of `kbert.Backbone` to replace.

    Example:

    >>> backbone = kbert.load_backbone(output_attentions=True)
    """
    return open_checkpoint(preset).build(**overrides)


def _random(size, vocabulary, lowercase) -> Checkpoint:
    if vocabulary is None:
        characters = [chr(code) for code in range(33, 127)]
        characters = [c for c in characters if not (lowercase and c.isupper())]
        pieces = [f"##{c}" for c in characters if c.isalnum()]
        tokens = [*SPECIAL_TOKENS, *characters, *pieces]
    elif isinstance(vocabulary, str | os.PathLike):
        tokens = read_vocabulary(vocabulary)
    else:
        tokens = as_list(vocabulary, "tokens")
    config = _size(size) | {"vocabulary_size": len(tokens)}
    return Checkpoint(
        "random", TokenizerFiles(tokens, {"lowercase": lowercase}), config
    )


def _size(size: str) -> dict:
    if found := re.fullmatch(r"(\d+)x(\d+)", size):
        return Backbone.size_config(tuple(map(int, found.groups())))
    if size not in SIZES:
        raise UnknownNameError("size of a random preset", size, SIZES)
    return Backbone.size_config(size)
