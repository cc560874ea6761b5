"""From a recipe to a preset: vocabulary, corpora, training, figures."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import keras
from rich.console import Console

from kbert.pretrainer import SAVED_FILES
from kbert.pretrainer import Pretrainer
from kbert.pretraining.corpus import Corpus
from kbert.recipes.recipe import Recipe
from kbert.report.plots import plot_history
from kbert.utils.atomic import check_replaceable
from kbert.utils.extras import need
from kbert.utils.paths import as_path
from kbert.utils.paths import real_path
from kbert.utils.scratch import check_room


def run_recipe(
    recipe: Recipe,
    run_dir: str | os.PathLike,
    data: str | os.PathLike,
    console: Console,
    verbose: str | int = "auto",
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Do all that a recipe asks for; what is done already is not done again.

    Args:
        recipe: `kbert.recipes.recipe.Recipe`.
        run_dir: where vocab.txt, corpora, checkpoints and curves.png go.
        data: folder that the recipe's files are relative to.
        console: where remarks go.
        verbose: of `Pretrainer.fit`.
        tensorboard: write logs for TensorBoard too (it takes TensorFlow).

    Returns:
        What is known of the run, as JSON can hold it: sizes, seconds, and
        with validation text the figures of `Pretrainer.evaluate`.

    Raises:
        CheckpointError: where the preset is to go is something else.
    """
    run_dir, data = real_path(run_dir), as_path(data)
    check_room(run_dir)
    if "path" in recipe.output:
        # Now, and not after hours.
        check_replaceable(recipe.output["path"], SAVED_FILES)
        check_room(real_path(recipe.output["path"]).parent)
    train = _corpus(recipe, "train", run_dir, data, console)
    validation = None
    if "validation" in recipe.text:
        validation = _corpus(recipe, "validation", run_dir, data, console)
    pretrainer = Pretrainer(train, **recipe.model)
    _say(
        console,
        f"Training {pretrainer.model.count_params():,} weights on "
        f"{train.tokens:,} tokens of {train.documents:,} documents",
    )
    callbacks = [_tensorboard(run_dir)] if tensorboard else []
    started = time.perf_counter()
    history = pretrainer.fit(
        run_dir,
        validation=validation,
        callbacks=callbacks,
        verbose=verbose,
        **recipe.training,
    )
    result = {
        "parameters": pretrainer.model.count_params(),
        "documents": train.documents,
        "tokens": train.tokens,
        "minutes": round((time.perf_counter() - started) / 60, 1),
    }
    curves = {
        key: values
        for key, values in history.history.items()
        if key.endswith(("loss", "_accuracy"))
    }
    result["curves"] = str(plot_history(curves, run_dir / "curves.png"))
    if validation is not None:
        result |= pretrainer.evaluate(validation)
    if "path" in recipe.output:
        pretrainer.save(**recipe.output)
        result["saved"] = recipe.output["path"]
    return result


def _tensorboard(run_dir: Path) -> keras.callbacks.Callback:
    need("tensorboard", "tensorboard", purpose="logs for TensorBoard")
    return keras.callbacks.TensorBoard(run_dir / "tensorboard")


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)


def _corpus(recipe, part, run_dir, data, console) -> Corpus:
    """The corpus of a part of the text, built at the first call."""
    folder = run_dir / f"corpus-{part}"
    if folder.exists():
        return Corpus(folder)
    # TensorFlow comes in here: a run that goes on does without it.
    from kbert.pretraining.corpus_builder import build_corpus

    options = {
        key: value
        for key, value in recipe.text.items()
        if key not in ("train", "validation")
    }
    tokenizer = _tokenizer(recipe, run_dir, data, console)
    corpus = build_corpus(
        [data / name for name in recipe.text[part]],
        tokenizer,
        folder,
        **options,
    )
    _say(
        console,
        f"{folder}: {corpus.documents:,} documents, {corpus.sentences:,} "
        f"sentences, {corpus.tokens:,} tokens",
    )
    return corpus


def _tokenizer(recipe, run_dir, data, console):
    from kbert.checkpoints.loading import open_checkpoint
    from kbert.tokenizers.tokenizer import Tokenizer

    if not recipe.vocabulary:
        return open_checkpoint(recipe.model["preset"]).tokenizer
    lowercase = recipe.vocabulary.get("lowercase", True)
    path = run_dir / "vocab.txt"
    if "file" in recipe.vocabulary:
        path = data / recipe.vocabulary["file"]
    elif not path.exists():
        from kbert.pretraining.vocabulary import train_vocabulary

        vocabulary = train_vocabulary(
            [data / name for name in recipe.text["train"]],
            recipe.vocabulary["size"],
            lowercase,
            format=recipe.text.get("format"),
            text_key=recipe.text.get("text_key", "text"),
            encoding=recipe.text.get("encoding"),
        )
        run_dir.mkdir(parents=True, exist_ok=True)
        Tokenizer(vocabulary, lowercase=lowercase).save(path)
        _say(console, f"{path}: {len(vocabulary):,} tokens")
    return Tokenizer.from_file(path, lowercase=lowercase)
