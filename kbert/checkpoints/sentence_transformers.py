"""What sentence-transformers adds to a folder: modules.json and a pooling.

Reference: Reimers & Gurevych 2019, Sentence-BERT, section 3.
"""

from __future__ import annotations

from pathlib import Path
from pathlib import PurePosixPath

from kbert.errors import CheckpointError
from kbert.untrusted import has_member
from kbert.untrusted import member
from kbert.untrusted import read_json
from kbert.untrusted import read_object

MODULES = "modules.json"
MAX_MODULES = 100

# Key of a pooling's config.json -> `pooling` of `ClassificationHead`.
_POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
}


def read_modules(folder: Path) -> dict[str, str]:
    """Kind of each module to its folder's name; empty if there are none.

    Raises:
        CheckpointError: modules.json is corrupt.
    """
    if not has_member(folder, MODULES):
        return {}
    path = member(folder, MODULES)
    modules = read_json(path)
    if not isinstance(modules, list) or len(modules) > MAX_MODULES:
        raise CheckpointError(
            f"Expected a JSON list of at most {MAX_MODULES} modules in "
            f"{path}. Received: something else. Fetch it again."
        )
    found = {}
    for module in modules:
        kind = module.get("type") if isinstance(module, dict) else None
        place = module.get("path") if isinstance(module, dict) else None
        if not isinstance(kind, str) or not isinstance(place, str):
            raise CheckpointError(
                f"Expected modules with a type and a path in {path}. "
                f"Received: something else. Fetch it again."
            )
        found.setdefault(kind.rpartition(".")[2], place)
    return found


def model_folder(folder: Path) -> Path:
    """Where the BERT is: the folder itself, or one in it.

    Raises:
        UnsafeFileError: modules.json leads elsewhere.
        CheckpointError: modules.json is corrupt, or the folder is missing.
    """
    place = read_modules(folder).get("Transformer", "")
    if not place:
        return folder
    # Through a file in it, since `member` is for files.
    return member(folder, str(PurePosixPath(place, "config.json"))).parent


def read_pooling(folder: Path) -> str | None:
    """`"mean"` or `"cls"`; None if the folder says neither.

    Raises:
        UnsafeFileError: modules.json leads elsewhere.
        CheckpointError: a file is corrupt or missing.
    """
    place = read_modules(folder).get("Pooling")
    if place is None:
        return None
    config = read_object(
        member(folder, str(PurePosixPath(place, "config.json")))
    )
    for key, pooling in _POOLINGS.items():
        if config.get(key) is True:
            return pooling
    mode = config.get("pooling_mode")
    return mode if mode in ("mean", "cls") else None
