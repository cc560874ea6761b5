"""Will this SavedModel load in that TF Serving? Compare the ops' names.

TF Serving links the ops and CPU kernels of the TensorFlow and the
tensorflow-text it was built from, nothing more. A model that uses a newer
op fails there with "Op type not registered", often only when the first
request comes, because functions are instantiated late.

What is checked: the name of every op in every meta graph and in every
function, against the ops that a release registers (`serving_ops.json`,
written by `scripts/serving_ops.py` from the released wheels).

What is not: the ops' attributes and types, that a kernel exists for a dtype
or on a GPU, and what the ops compute. Ops that the server may or may not
have count as missing: XLA's, TPU embedding's, plug-ins', and those that only
the runtime writes (`_FusedMatMul`, ...).
"""

import functools
import json
from importlib import resources
from pathlib import Path

from kbert.errors import ExportError
from kbert.errors import UnknownNameError
from kbert.errors import listed

TABLE = json.loads(
    resources.files("kbert.exported")
    .joinpath("serving_ops.json")
    .read_text(encoding="utf-8")
)

# TF Serving releases that can be checked, oldest first.
RELEASES = tuple(row["release"] for row in TABLE)

# Where an op is used that stands in no function.
MAIN_GRAPH = "main graph"


def check_ops(saved_model_dir: str | Path, release: str = "2.12.1") -> None:
    """Refuses a SavedModel with ops that a TF Serving release lacks.

    Args:
        saved_model_dir: folder that holds `saved_model.pb`.
        release: the TF Serving release it has to load in, one of `RELEASES`.
            An op is hardly ever removed, so the oldest release you serve
            with stands for the newer ones.

    Raises:
        ExportError: an op is missing. The message names each one, the
            functions it is used in and the releases that have it.
        UnknownNameError: the release is not one of `RELEASES`.

    Example:

    >>> kbert.exported.check_ops.check_ops("saved_models/spam/1", "2.12.1")
    """
    missing = missing_ops(saved_model_dir, release)
    if not missing:
        return
    lines = [
        f"{op!r} in {listed(functions, 3)} "
        f"(in TF Serving: {', '.join(_releases_with({op})) or 'none known'})"
        for op, functions in missing.items()
    ]
    cure = "replace these ops with older ones"
    if able := _releases_with(missing):
        cure += f", or serve with TF Serving {' or '.join(able)}"
    raise ExportError(
        f"Expected a SavedModel whose ops are all in TF Serving {release}. "
        f"Received {str(saved_model_dir)!r} with {len(missing)} that are "
        f"not:\n  " + "\n  ".join(lines) + f"\nTo load it, {cure}."
    )


def missing_ops(
    saved_model_dir: str | Path, release: str = "2.12.1"
) -> dict[str, list[str]]:
    """The ops of a SavedModel that a TF Serving release does not register.

    Args:
        saved_model_dir: folder that holds `saved_model.pb`.
        release: a TF Serving release, one of `RELEASES`.

    Returns:
        A dict of op names to the names of the functions that use them, both
        sorted; `"main graph"` stands for what is outside functions.

    Example:

    >>> missing_ops("saved_models/pairs/1", "2.12.1")
    {'TFText>RoundRobinTrim': ['__inference_serve_1043']}
    """
    known = release_ops(release)
    return {
        op: sorted(functions)
        for op, functions in sorted(_used_ops(saved_model_dir).items())
        if op not in known
    }


def check_release(release: str) -> None:
    """Refuses the name of a TF Serving release that cannot be checked."""
    if release not in RELEASES:
        raise UnknownNameError(
            "TF Serving release",
            release,
            RELEASES,
            "scripts/serving_ops.py can add a release.",
        )


@functools.cache
def release_ops(release: str) -> frozenset[str]:
    """The names of the ops that a TF Serving release registers."""
    check_release(release)
    ops: set[str] = set()
    for row in TABLE[: RELEASES.index(release) + 1]:
        ops = (ops | set(row["adds"])) - set(row["removes"])
    return frozenset(ops)


def _used_ops(saved_model_dir: str | Path) -> dict[str, set[str]]:
    # Here, because the releases and the table are read without TensorFlow.
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    path = Path(saved_model_dir) / "saved_model.pb"
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no plain file")  # A pipe may have no end.
        saved_model = SavedModel.FromString(path.read_bytes())
    except (OSError, DecodeError) as error:
        raise ExportError(
            "Expected the folder of a SavedModel, with a saved_model.pb. "
            f"Received {str(saved_model_dir)!r}: {error}. "
            "Give the version folder that the model was exported to."
        ) from error

    used: dict[str, set[str]] = {}
    for meta_graph in saved_model.meta_graphs:
        graph = meta_graph.graph_def
        bodies = [(MAIN_GRAPH, graph.node)]
        bodies += [
            (function.signature.name, function.node_def)
            for function in graph.library.function
        ]
        # A node may call a function by its name, as if it were an op.
        functions = {name for name, _ in bodies}
        for name, nodes in bodies:
            for node in nodes:
                if node.op not in functions:
                    used.setdefault(node.op, set()).add(name)
    return used


def _releases_with(ops) -> list[str]:
    return [name for name in RELEASES if release_ops(name).issuperset(ops)]
