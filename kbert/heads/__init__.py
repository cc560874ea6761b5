"""Task heads: the base class, and those that come with kbert."""

from kbert.heads.classification import ClassificationHead
from kbert.heads.embedding import EmbeddingHead
from kbert.heads.multi_label import MultiLabelHead
from kbert.heads.ner import EntityHead
from kbert.heads.qa import AnswerHead
from kbert.heads.regression import RegressionHead
from kbert.hookspecs import hookimpl


@hookimpl
def register_heads(register):
    register(ClassificationHead)
    register(MultiLabelHead)
    register(RegressionHead)
    register(EntityHead)
    register(AnswerHead)
    register(EmbeddingHead)
