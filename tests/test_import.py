"""What `import kbert` costs."""

import os
import subprocess
import sys
from pathlib import Path


def test_import_takes_neither_tensorflow_nor_keras():
    code = (
        "import sys, kbert\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'jax', 'torch'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert 'Classifier' in dir(kbert)\n"
    )
    root = str(Path(__file__).resolve().parents[1])
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        env=dict(os.environ, PYTHONPATH=root),
    )
