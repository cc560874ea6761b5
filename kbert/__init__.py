"""kbert: fine-tune BERT in three lines, serve raw strings.

>>> clf = kbert.Classifier()
>>> clf.fit(texts, labels)
>>> clf.export("saved_models/spam")

Names are imported when they are first used: `import kbert` imports neither
TensorFlow nor Keras.
"""

import importlib
from typing import TYPE_CHECKING
from typing import Any

from kbert.hookspecs import hookimpl
from kbert.utils import registration
from kbert.utils.version import __version__

# Editors read what `__getattr__` imports; a test holds the two together.
if TYPE_CHECKING:
    from kbert.checkpoints.loading import load_backbone
    from kbert.checkpoints.presets import Preset
    from kbert.classifier import Classifier
    from kbert.client import Client
    from kbert.embedder import Embedder
    from kbert.errors import KbertError
    from kbert.export.huggingface import save_backbone
    from kbert.heads.base import Head
    from kbert.loading import load
    from kbert.models.backbone import Backbone
    from kbert.multitask import MultiTask
    from kbert.onnx_model import OnnxModel
    from kbert.pretrainer import Pretrainer
    from kbert.pretraining.corpus import Corpus
    from kbert.pretraining.corpus_builder import build_corpus
    from kbert.pretraining.vocabulary import train_vocabulary
    from kbert.search import SearchIndex
    from kbert.summary import summarize
    from kbert.tokenizers.tokenizer import Tokenizer

_EXPORTS = {
    "Backbone": "kbert.models.backbone",
    "Classifier": "kbert.classifier",
    "Client": "kbert.client",
    "Corpus": "kbert.pretraining.corpus",
    "Embedder": "kbert.embedder",
    "Head": "kbert.heads.base",
    "KbertError": "kbert.errors",
    "MultiTask": "kbert.multitask",
    "OnnxModel": "kbert.onnx_model",
    "Preset": "kbert.checkpoints.presets",
    "Pretrainer": "kbert.pretrainer",
    "SearchIndex": "kbert.search",
    "Tokenizer": "kbert.tokenizers.tokenizer",
    "build_corpus": "kbert.pretraining.corpus_builder",
    "load": "kbert.loading",
    "load_backbone": "kbert.checkpoints.loading",
    "save_backbone": "kbert.export.huggingface",
    "summarize": "kbert.summary",
    "train_vocabulary": "kbert.pretraining.vocabulary",
}

__all__ = [
    "__version__",
    "hookimpl",
    "Backbone",
    "Classifier",
    "Client",
    "Corpus",
    "Embedder",
    "Head",
    "KbertError",
    "MultiTask",
    "OnnxModel",
    "Preset",
    "Pretrainer",
    "SearchIndex",
    "Tokenizer",
    "build_corpus",
    "load",
    "load_backbone",
    "save_backbone",
    "summarize",
    "train_vocabulary",
]


if not TYPE_CHECKING:
    # To editors a name that is misspelt is an error.
    def __getattr__(name: str) -> Any:
        if name not in _EXPORTS:
            raise AttributeError(f"module 'kbert' has no attribute {name!r}")
        value = getattr(importlib.import_module(_EXPORTS[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)


# `keras.models.load_model` is to know kbert's layers from now on.
registration.watch()
