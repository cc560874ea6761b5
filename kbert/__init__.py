"""kbert: fine-tune BERT in three lines, serve raw strings.

>>> clf = kbert.Classifier()
>>> clf.fit(texts, labels)
>>> clf.export("saved_models/spam")

Names are imported when they are first used: `import kbert` imports neither
TensorFlow nor Keras.
"""

import importlib

from kbert.hookspecs import hookimpl
from kbert.utils import registration
from kbert.version import __version__

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
    "summarize": "kbert.summary",
    "train_vocabulary": "kbert.pretraining.vocabulary",
}

__all__ = ["__version__", "hookimpl", *_EXPORTS]


def __getattr__(name: str):
    if name not in _EXPORTS:
        raise AttributeError(f"module 'kbert' has no attribute {name!r}")
    value = getattr(importlib.import_module(_EXPORTS[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)


# `keras.models.load_model` is to know kbert's layers from now on.
registration.watch()
