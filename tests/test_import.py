"""What `import kbert` costs, and what editors see of it."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import kbert


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


def test_editors_see_what_is_imported_when_used():
    tree = ast.parse(Path(kbert.__file__).read_text())
    static = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert static == kbert._EXPORTS
    assert kbert.__all__ == ["__version__", "hookimpl", *kbert._EXPORTS]
    assert Path(kbert.__file__).with_name("py.typed").exists()
