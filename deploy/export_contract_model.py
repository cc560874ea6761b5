"""Export the model that the contract tests ask a server about.

    python deploy/export_contract_model.py DIR

A `random:tiny` backbone with the labels `ham` and `spam`, always with the
same weights: it answers no better than chance, and the same on each machine.
Nothing is downloaded.
"""

from __future__ import annotations

import sys
from pathlib import Path

LABELS = ["ham", "spam"]


def make():
    """The classifier, always with the same weights."""
    from kbert.utils.tensorflow import import_tensorflow

    import_tensorflow()
    import kbert

    return kbert.Classifier("random:tiny", labels=LABELS, max_length=32, seed=0)


def export(path: Path) -> Path:
    """Write version 1 into `path`, which is named like the model."""
    return make().export(path, version=1, check_ops="2.12.1")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    print(export(Path(sys.argv[1])))
