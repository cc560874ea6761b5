"""The examples of docstrings run, and print what they say."""

import doctest
import importlib
import inspect
import pkgutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import kbert
from kbert.data.batching import LengthBatches
from kbert.heads.classification import ClassificationHead
from kbert.models.graphs import features_of

ROOT = Path(__file__).resolve().parents[1]

# What these print hangs on pretrained weights, a vocabulary or a home folder:
# they run, and what they print is not compared.
OWN_OUTPUT = {
    "kbert.classifier.Classifier",
    "kbert.classifier.Classifier.predict",
    "kbert.embedder.Embedder",
    "kbert.embedder.Embedder.encode_document",
    "kbert.embedder.Embedder.encode_query",
    "kbert.heads.ner.EntityHead",
    "kbert.pipeline.text_model.TextModel.stream",
    "kbert.heads.qa.AnswerHead",
    "kbert.pretraining.words.word_starts",
    "kbert.search.SearchIndex",
    "kbert.serving.logs.Log",
    "kbert.tokenizers.tokenizer.Tokenizer",
    "kbert.tokenizers.tokenizer.Tokenizer.tokenize_with_offsets",
    "kbert.tokenizers.windows.make_windows",
}

# What needs more than a fast test has, by what it needs.
NEEDS = {
    "a download": """
        kbert.checkpoints.loading.load_backbone
        kbert.checkpoints.presets.resolve""",
    "a server": """
        kbert.client.Client kbert.client.Client.answers
        kbert.client.Client.close kbert.client.Client.predict
        kbert.client.Client.predict_proba kbert.client.Client.ready
        kbert.serving.deadlines.DeadlineTransport
        kbert.serving.models.Models kbert.serving.server.Server""",
    "an event loop": """
        kbert.serving.batching.Batcher kbert.serving.workers.Workers""",
    "an export, which takes seconds": """
        kbert.export.formats.export kbert.exported.check_ops.check_ops
        kbert.exported.check_ops.missing_ops kbert.exported.model.ServedModel
        kbert.multitask.MultiTask.export kbert.onnx_model.OnnxModel
        kbert.onnx_model.OnnxModel.answers kbert.onnx_model.OnnxModel.predict
        kbert.onnx_model.OnnxModel.stream kbert.scoring.score.score
        kbert.task.Task.export
        kbert.serving.servable.Servable kbert.commands.conversion.convert""",
    "files of text, or a corpus": """
        kbert.commands.reading.ReadingProgress
        kbert.data.documents.read_documents kbert.data.files.read_columns
        kbert.data.files.read_table kbert.data.files.read_texts
        kbert.pretrainer.Pretrainer kbert.pretrainer.Pretrainer.batches
        kbert.pretrainer.Pretrainer.compile
        kbert.pretrainer.Pretrainer.evaluate
        kbert.pretrainer.Pretrainer.fit kbert.pretrainer.Pretrainer.save
        kbert.pretraining.batches.PretrainingBatches
        kbert.pretraining.cooccurrence.cooccurrence_embeddings
        kbert.pretraining.corpus.Corpus
        kbert.pretraining.corpus.Corpus.token_counts
        kbert.pretraining.corpus.Corpus.unigram_entropy
        kbert.pretraining.corpus.Corpus.verify
        kbert.pretraining.corpus_builder.build_corpus
        kbert.pretraining.examples.plan_examples
        kbert.pretraining.first_weights.begin_with_corpus
        kbert.pretraining.statistics.statistics
        kbert.pretraining.vocabulary.train_vocabulary
        kbert.recipes.recipe.read_recipe
        kbert.training.optimizer.LossScaleOptimizer
        kbert.training.optimizer.Muon kbert.utils.untrusted.member""",
    "what only its place has": """
        kbert.checkpoints.presets.Preset kbert.data.batching.LengthBatches
        kbert.data.containers.as_list kbert.data.encodings.clean
        kbert.data.texts.ahead kbert.export.explain_ngrams.token_shares
        kbert.heads.adaptive_softmax.AdaptiveSoftmax kbert.heads.base.Head
        kbert.models.backbone.Backbone.after_embeddings
        kbert.models.backbone.Backbone.laid_out
        kbert.models.backbone.Backbone.packed
        kbert.models.backbone.Backbone.without_padding
        kbert.pretraining.masking.mask_tokens kbert.report.tables.print_report
        kbert.serving.elementwise.Elementwise
        kbert.training.substitute.trained_as kbert.training.r_drop.RDrop
        kbert.training.resume.RunFolder
        kbert.utils.progress.counting""",
    "labels of its own": """
        kbert.heads.multi_label.MultiLabelHead kbert.multitask.MultiTask
        kbert.heads.regression.RegressionHead""",
}
NOT_RUN = {name for names in NEEDS.values() for name in names.split()}


class Shown(doctest.OutputChecker):
    """What an example does not show is not compared, or none of it."""

    def __init__(self, compares=True):
        self.compares = compares

    def check_output(self, want, got, optionflags):
        if not self.compares or not want:
            return True
        return super().check_output(want, got, optionflags)


def examples() -> dict[str, doctest.DocTest]:
    finder, found = doctest.DocTestFinder(exclude_empty=True), {}
    for info in pkgutil.walk_packages(kbert.__path__, "kbert."):
        if info.name != "kbert.__main__":
            module = importlib.import_module(info.name)
            for test in finder.find(module, info.name):
                if test.examples:
                    found[test.name] = test
    return found


EXAMPLES = examples()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What examples take as given: small, with random weights."""
    folder = tmp_path_factory.mktemp("examples")
    texts = ["hi", "win", "hello you", "win a prize"] * 4
    labels = ["ham", "spam"] * 8
    small = {"epochs": 1, "verbose": 0}
    clf = kbert.Classifier("random:1x64", seed=0)
    clf.fit(texts, labels, validation_split=0.25, **small)
    clf.save(folder / "saved_models" / "spam")
    embedder = kbert.Embedder("random:1x64", seed=0)
    embedder.save(folder / "saved_models" / "vectors")
    multi = kbert.MultiTask(
        "random:1x64", {"spam": "classification", "mood": "classification"}
    )
    multi.fit({"spam": (texts, labels), "mood": (texts, labels)}, **small)
    pairs = [*zip(texts[::2], texts[1::2], strict=True)]
    (folder / "vocab.txt").write_text("\n".join(clf.tokenizer.vocabulary))
    (folder / "train.tsv").write_text("text\tlabel\nhi\tham\nwin\tspam\n")
    (folder / "mail.txt").write_text("hi\nwin\n")
    (folder / "mail.jsonl").write_text('{"text": "hi", "label": "ham"}\n')
    table = clf.tokenize([texts])
    return folder, {
        "article": "One is here. Two are there. Three were away.",
        "backbone": clf.backbone,
        "batches": LengthBatches(table, np.arange(16) % 2),
        "commit": "0" * 40,
        "digest": "0" * 64,
        "clf": clf,
        "ClassificationHead": ClassificationHead,
        "embedder": embedder,
        "features": features_of(clf.backbone),
        "kbert": kbert,
        "keras": keras,
        "moods": labels,
        "multi": multi,
        "labels": labels,
        "np": np,
        "pairs": pairs,
        "Path": Path,
        "questions_and_answers": pairs,
        "reviews": texts,
        "scores": np.linspace(0, 5, len(pairs)),
        "table": table,
        "targets": np.arange(len(texts)) % 2,
        "texts": texts,
        "tf": tf,
        "tokenizer": clf.tokenizer,
    }


@pytest.fixture
def small_doors(monkeypatch):
    """Doors whose default is no preset, which would be downloaded."""
    for name in ("Classifier", "Embedder", "MultiTask"):
        start = inspect.unwrap(getattr(kbert, name).__init__)
        defaults = ("random:1x64", *start.__defaults__[1:])
        monkeypatch.setattr(start, "__defaults__", defaults)


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - NOT_RUN))
def test_example(name, made, small_doors, monkeypatch):
    folder, names = made
    monkeypatch.chdir(folder)
    test = EXAMPLES[name]
    test.globs = {**names, **test.globs}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    told = []
    shown = Shown(name not in OWN_OUTPUT)
    runner = doctest.DocTestRunner(shown, optionflags=flags, verbose=False)
    failed, _ = runner.run(test, out=told.append)
    assert not failed, "".join(told)


def test_what_is_not_run_is_there():
    assert NOT_RUN | OWN_OUTPUT <= EXAMPLES.keys()
