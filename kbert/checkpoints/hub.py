"""Repositories of the Hugging Face Hub by name, such as `owner/name`."""

from __future__ import annotations

import os
import re
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

from kbert.checkpoints.mirrors import HUB_PATIENCE
from kbert.errors import DownloadError

SCHEME = "hf:"

# owner/name, and a revision after `@`.
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w./-]+)?")

# What kbert reads; .bin only where there is no safetensors.
_FILES = [
    *("config.json", "vocab.txt", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "adapter_config.json"),
    *("sentence_*_config.json", "model*.safetensors"),
    "model.safetensors.index.json",
]
_PATTERNS = [
    *("modules.json", "config_sentence_transformers.json"),
    # Modules of sentence-transformers have folders such as 1_Pooling.
    *(f"{place}{name}" for name in _FILES for place in ("", "[0-9]_*/")),
]
_TORCH_PATTERNS = [
    f"{place}{name}"
    for name in ("pytorch_model*.bin", "pytorch_model.bin.index.json")
    for place in ("", "[0-9]_*/")
]


def is_repository(name: str) -> bool:
    """Whether a name has the form of a repository's."""
    return _NAME.fullmatch(name.removeprefix(SCHEME)) is not None


def fetch(name: str) -> Path:
    """The folder of a repository in the hub's cache, fetched if need be.

    `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and the hub's other
    settings count.

    Args:
        name: `"owner/name"` or `"owner/name@revision"`.

    Raises:
        DownloadError: it is not in the cache and cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    repo, _, revision = name.removeprefix(SCHEME).partition("@")
    revision = revision or None
    try:
        _reach(repo, revision)
        folder = snapshot_download(
            repo, revision=revision, allow_patterns=_PATTERNS
        )
        if _lacks_weights(Path(folder)):
            folder = snapshot_download(
                repo, revision=revision, allow_patterns=_TORCH_PATTERNS
            )
    except Exception as error:  # Of the hub, of its transport, or the disk.
        try:
            folder = snapshot_download(
                repo, revision=revision, local_files_only=True
            )
        except Exception:
            raise DownloadError(
                f"Expected the repository {repo!r} of the Hugging Face Hub, "
                f"since there is no folder of that name. Received: "
                f"{type(error).__name__}: {error}. Correct the name, or fetch "
                f"it where there is a network and give its folder."
            ) from error
    return Path(folder)


def _lacks_weights(folder: Path) -> bool:
    """Whether a folder that should hold weights has no safetensors."""
    places = [*folder.glob("[0-9]_Dense")]
    if not any(folder.glob("0_*/*.safetensors")):
        places.append(folder)
    return not all(any(place.glob("*.safetensors")) for place in places)


def _reach(repo: str, revision: str | None) -> None:
    """Raise unless the hub answers soon.

    Where there is no network at all, `snapshot_download` tries for minutes.
    """
    from huggingface_hub import HfApi
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise DownloadError("HF_HUB_OFFLINE is set")
    patience = HUB_PATIENCE
    if "HF_HUB_ETAG_TIMEOUT" in os.environ:
        patience = constants.HF_HUB_ETAG_TIMEOUT
    answer: Future = Future()

    def ask() -> None:
        try:
            found = HfApi().model_info(
                repo, revision=revision, timeout=patience
            )
            answer.set_result(found)
        except Exception as error:
            answer.set_exception(error)

    # See `HubMirror`: only a thread gives the whole a limit.
    Thread(target=ask, daemon=True).start()
    try:
        answer.result(timeout=patience)
    except TimeoutError:
        raise DownloadError(f"no answer within {patience} s") from None
