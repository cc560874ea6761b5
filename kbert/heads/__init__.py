"""Task heads: the base class, and those that come with kbert."""

from kbert.hookspecs import hookimpl


@hookimpl
def register_heads(register):
    # Imported here: some take TensorFlow, which who only wants the classes
    # that Keras's files name need not pay.
    from kbert.heads.classification import ClassificationHead
    from kbert.heads.embedding import EmbeddingHead
    from kbert.heads.multi_label import MultiLabelHead
    from kbert.heads.ner import EntityHead
    from kbert.heads.qa import AnswerHead
    from kbert.heads.regression import RegressionHead

    register(ClassificationHead)
    register(MultiLabelHead)
    register(RegressionHead)
    register(EntityHead)
    register(AnswerHead)
    register(EmbeddingHead)
