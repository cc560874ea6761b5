"""How a checkpoint makes sentence embeddings, in sentence-transformers' form.

    modules.json                       the steps, and their folders
    config_sentence_transformers.json  prompts, how vectors are compared
    sentence_bert_config.json          of the Transformer: length, case
    1_Pooling/config.json              how tokens become one vector
    2_Dense/config.json                a layer on that vector

Every key is followed, does not matter, or is refused by its name.

Reference: Reimers & Gurevych 2019, Sentence-BERT, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field
from dataclasses import replace
from pathlib import Path
from pathlib import PurePosixPath
from typing import Any

from kbert.checkpoints.sentence_modules import DenseModule
from kbert.checkpoints.sentence_modules import read_dense
from kbert.checkpoints.sentence_modules import read_normalize
from kbert.checkpoints.sentence_modules import read_pooling
from kbert.checkpoints.sentence_modules import refuse_others
from kbert.errors import CheckpointError
from kbert.errors import short
from kbert.utils.untrusted import has_member
from kbert.utils.untrusted import member
from kbert.utils.untrusted import read_json
from kbert.utils.untrusted import read_object

MODULES = "modules.json"
CONFIG = "config_sentence_transformers.json"
MAX_MODULES = 100
MAX_PROMPTS = 10_000

# Names that the Transformer's configuration has had.
_TRANSFORMER = (
    "sentence_bert_config.json",
    "sentence_distilbert_config.json",
    "sentence_roberta_config.json",
)
# Key of it -> the values that BERT's has, beside those that are followed.
_TRANSFORMER_ONLY = {
    "transformer_task": ("feature-extraction",),
    "module_output_name": ("token_embeddings",),
    "model_args": ({},),
    "model_kwargs": ({},),
    "tokenizer_args": ({},),
    "processor_kwargs": ({},),
    "config_args": ({},),
    "config_kwargs": ({},),
    "processing_kwargs": ({},),
    "query_length": (),
    "document_length": (),
    "query_expansion": (),
    "tokenizer_name_or_path": (),
    "model_name_or_path": (),
}

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


@dataclass(frozen=True)
class SentenceConfig:
    """How a checkpoint makes a vector of a text.

    The defaults are sentence-transformers' own for a checkpoint that says
    nothing.

    Attributes:
        pooling: names of `POOLINGS`; the vectors of several lie side by side.
        dense: the layers after it.
        normalize: whether the vector is scaled to length 1 in the end.
        max_length: tokens a text is truncated to, special ones included;
            None for as many as the backbone has positions.
        prompts: what may be put before a text, by name.
        default_prompt_name: the prompt that is put before every text.
        similarity: how vectors are compared, one of `SIMILARITIES`.
    """

    pooling: tuple[str, ...] = ("mean",)
    dense: tuple[DenseModule, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    similarity: str = "cosine"


@dataclass(frozen=True)
class SentenceFiles:
    """What sentence-transformers has written into a folder.

    Attributes:
        folder: where modules.json is.
        modules: `(kind, folder's name)` of each; none without modules.json.
    """

    folder: Path
    modules: tuple[tuple[str, str], ...] = ()

    @classmethod
    def open(cls, folder: Path) -> SentenceFiles:
        """Read modules.json, if there is one.

        Raises:
            CheckpointError: it is corrupt, or has modules that are code.
        """
        if not has_member(folder, MODULES):
            return cls(folder)
        path = member(folder, MODULES)
        modules = read_json(path)
        if not isinstance(modules, list) or len(modules) > MAX_MODULES:
            raise CheckpointError(
                f"Expected a JSON list of at most {MAX_MODULES} modules in "
                f"{path}. Received: something else. Fetch it again."
            )
        return cls(folder, tuple(_module(m, path) for m in modules))

    def place(self, kind: str) -> str | None:
        """The folder's name of the first module of a kind."""
        return next((at for name, at in self.modules if name == kind), None)

    @property
    def model(self) -> Path:
        """Where the BERT is: the folder itself, or one in it.

        Raises:
            UnsafeFileError: modules.json leads elsewhere.
            CheckpointError: the folder is missing.
        """
        place = self.place("Transformer")
        if not place or place == ".":
            return self.folder
        # Through a file in it, since `member` is for files.
        return member(self.folder, _config(place)).parent

    def transformer(self) -> tuple[int | None, bool]:
        """`max_seq_length`, and whether text is lower-cased in any case.

        Raises:
            CheckpointError: the Transformer is to do what kbert's does not.
        """
        folder = self.model if self.modules else None
        for name in _TRANSFORMER:
            if folder is not None and has_member(folder, name):
                path = member(folder, name)
                return _read_transformer(read_object(path), path)
        return None, False

    def head_pooling(self) -> str | None:
        """`"mean"` or `"cls"`; None if the files say neither."""
        place = self.place("Pooling")
        if place is None:
            return None
        path = member(self.folder, _config(place))
        modes = read_pooling(read_object(path), path, strict=False)
        return modes[0] if modes in (("mean",), ("cls",)) else None

    def config(self, pooling: str | None = None) -> SentenceConfig:
        """All that the files say.

        Args:
            pooling: overrules what they say, if not None.

        Raises:
            CheckpointError: a file is corrupt, or asks for what kbert does
                not compute.
        """
        found = SentenceConfig()
        if has_member(self.folder, CONFIG) and self.modules:
            path = member(self.folder, CONFIG)
            found = _read_config(read_object(path), path)
        kinds = [kind for kind, _ in self.modules]
        order = [k for k in kinds if k != "Dense"]
        usual = ["Transformer", "Pooling", "Normalize"]
        if kinds and (
            order not in (usual[:2], usual)
            or kinds[:2] != usual[:2]
            or ("Normalize" in kinds and kinds[-1] != "Normalize")
        ):
            raise CheckpointError(
                f"Expected the modules Transformer, Pooling, any number of "
                f"Dense, and Normalize, in this order, in "
                f"{self.folder / MODULES}. Received: {', '.join(kinds)}. kbert "
                f"cannot compute this checkpoint's embeddings."
            )
        dense = []
        for kind, place in self.modules:
            if kind == "Pooling" and pooling is None:
                path = member(self.folder, _config(place))
                modes = read_pooling(read_object(path), path)
                found = replace(found, pooling=modes)
            elif kind == "Dense":
                dense.append(read_dense(self.folder, place))
            elif kind == "Normalize":
                read_normalize(self.folder, place)
                found = replace(found, normalize=True)
        if pooling is not None:
            found = replace(found, pooling=(pooling,))
        return replace(
            found, dense=tuple(dense), max_length=self.transformer()[0]
        )


def _config(place: str) -> str:
    return str(PurePosixPath(place, "config.json"))


def _module(module: Any, path: Path) -> tuple[str, str]:
    kind = module.get("type") if isinstance(module, dict) else None
    place = module.get("path") if isinstance(module, dict) else None
    if not isinstance(kind, str) or not isinstance(place, str):
        raise CheckpointError(
            f"Expected modules with a type and a path in {path}. "
            f"Received: {short(module)}. Fetch it again."
        )
    refuse_others(module, ("idx", "name", "path", "type", "kwargs"), path)
    if module.get("kwargs"):
        raise CheckpointError(
            f"Expected modules without kwargs in {path}. Received: "
            f"{short(module['kwargs'])}. kbert has none to pass on."
        )
    code = f"{kind.partition('.')[0]}.py"
    if has_member(path.parent, code):
        raise CheckpointError(
            f"Expected modules of sentence_transformers itself in {path}. "
            f"Received: {short(kind)}, of {short(code)} beside it. kbert runs "
            f"no code that comes with a model."
        )
    return kind.rpartition(".")[2], place


def _read_transformer(config: dict, path: Path) -> tuple[int | None, bool]:
    known = {"max_seq_length", "do_lower_case", "modality_config"}
    refuse_others(config, {*known, *_TRANSFORMER_ONLY, "unpad_inputs"}, path)
    for key, allowed in _TRANSFORMER_ONLY.items():
        if config.get(key) is not None and config[key] not in allowed:
            raise CheckpointError(
                f"Expected {key} as sentence-transformers has it for BERT in "
                f"{path}. Received: {short(config[key])}. kbert cannot "
                f"compute this checkpoint's embeddings."
            )
    modality = config.get("modality_config")
    usual = {"method": "forward", "method_output_name": "last_hidden_state"}
    if modality not in (None, {"text": usual}):
        raise CheckpointError(
            f"Expected modality_config of text in {path}. Received: "
            f"{short(modality)}. kbert reads text only."
        )
    lowercase = config.get("do_lower_case")
    length = config.get("max_seq_length")
    if lowercase not in (None, True, False) or not (
        length is None or (type(length) is int and length >= 3)
    ):
        raise CheckpointError(
            f"Expected max_seq_length, an integer of at least 3, and "
            f"do_lower_case, true or false, in {path}. Received: "
            f"{short(length)} and {short(lowercase)}."
        )
    return length, bool(lowercase)


def _read_config(config: dict, path: Path) -> SentenceConfig:
    refuse_others(
        config,
        (
            *("__version__", "model_type", "requirements", "prompts"),
            *("default_prompt_name", "similarity_fn_name", "truncate_dim"),
        ),
        path,
    )
    for key, value in (
        ("model_type", "SentenceTransformer"),
        ("truncate_dim", None),
    ):
        if config.get(key) not in (None, value):
            raise CheckpointError(
                f"Expected {key} {value!r} in {path}. Received: "
                f"{short(config[key])}. kbert cannot compute this "
                f"checkpoint's embeddings."
            )
    prompts = config.get("prompts") or {}
    # The library writes its own, "query" and "document", without a text.
    if isinstance(prompts, dict):
        prompts = {k: v for k, v in prompts.items() if v is not None}
    name = config.get("default_prompt_name")
    if (
        not isinstance(prompts, dict)
        or len(prompts) > MAX_PROMPTS
        or not all(isinstance(text, str) for text in prompts.values())
        or not (name is None or name in prompts)
    ):
        raise CheckpointError(
            f"Expected prompts, texts by name, and default_prompt_name, one "
            f"of them or null, in {path}. Received: {short(prompts)} and "
            f"{short(name)}."
        )
    similarity = config.get("similarity_fn_name") or "cosine"
    if similarity not in SIMILARITIES:
        raise CheckpointError(
            f"Expected similarity_fn_name {', '.join(SIMILARITIES)} or null "
            f"in {path}. Received: {short(similarity)}."
        )
    return SentenceConfig(
        prompts=prompts, default_prompt_name=name, similarity=similarity
    )
