"""Keras finds kbert's classes in a file, wherever kbert was imported.

`keras.models.load_model` knows a class by the name that it was registered
under, when its module was imported. `import kbert` imports no Keras, so those
modules are imported when Keras is there: as soon as the outermost import of
it, of TensorFlow, which imports it too, or of a part of kbert is over.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import sys
import threading
from collections.abc import Iterator
from typing import Any

# Where kbert's layers, losses, metrics, optimizers and schedules are.
MODULES = (
    "kbert.models.backbone",
    "kbert.heads.adaptive_softmax",
    "kbert.heads.regression",
    "kbert.heads.tag_accuracy",
    "kbert.pretraining.heads",
    "kbert.training.vector_losses",
    "kbert.training.optimizer",
)

_imports = threading.local()


def watch() -> None:
    """Register kbert's classes now, or when Keras has been imported."""
    sys.meta_path.insert(0, _Finder())
    with later():
        pass


@contextlib.contextmanager
def later() -> Iterator[None]:
    """Within, nothing is imported; at the end of the outermost, it is."""
    _imports.depth = getattr(_imports, "depth", 0) + 1
    try:
        yield
    finally:
        _imports.depth -= 1
    if not _imports.depth and "keras" in sys.modules:
        _register()


def _register() -> None:
    watching = [f for f in sys.meta_path if isinstance(f, _Finder)]
    if not watching:
        return
    for finder in watching:
        sys.meta_path.remove(finder)
    for name in MODULES:
        importlib.import_module(name)
    # Imported here: it reads what is installed, which takes a while.
    from kbert.utils.entry_points import installed_plugins

    for plugin in installed_plugins():
        # One that is broken is told of when heads are asked for.
        with contextlib.suppress(Exception):
            plugin.load()


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what the other finders find, and knows when it was imported."""

    def find_spec(self, name, path=None, target=None):
        if name not in ("keras", "tensorflow") and not name.startswith(
            "kbert."
        ):
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


class _Loader(importlib.abc.Loader):
    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module: Any):
        module.__spec__.loader = module.__loader__ = self._loader
        with later():
            self._loader.exec_module(module)
