"""`kbert pretrain`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from kbert.commands import common


def pretrain(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="A recipe in TOML.")
    ],
    run_dir: Annotated[
        str,
        typer.Option(
            metavar="DIR",
            help="Vocabulary, corpus, checkpoints and curves; a run that was "
            "stopped goes on from what is there.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR", help="Where the recipe's text files are looked for."
        ),
    ] = Path("."),
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", help="Write DIR/tensorboard too."),
    ] = False,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Pretrain a BERT on raw text.

    [bold]Examples[/bold]

      kbert pretrain recipes/kbert_tiny_en.toml --run-dir runs/tiny --data text
      KERAS_BACKEND=jax kbert pretrain recipe.toml --run-dir runs/mine
    """
    # TensorFlow without its chatter; on JAX training does without it.
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        from kbert.utils.tensorflow import import_tensorflow

        import_tensorflow()
    from kbert.recipes.recipe import read_recipe

    plan = read_recipe(recipe)
    from kbert.recipes.run import run_recipe

    notes = common.notes(quiet)
    result = run_recipe(
        plan,
        run_dir,
        data,
        notes,
        verbose=0 if quiet else "auto",
        tensorboard=tensorboard,
    )
    if as_json:
        common.print_json(result)
        return
    for name, value in result.items():
        print(f"{name:24}  {value}")
