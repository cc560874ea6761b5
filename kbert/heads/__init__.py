"""Task heads: the base class, and those that come with kbert."""

from kbert.heads.classification import ClassificationHead
from kbert.heads.embedding import EmbeddingHead
from kbert.hookspecs import hookimpl


@hookimpl
def register_heads(register):
    register(ClassificationHead)
    register(EmbeddingHead)
