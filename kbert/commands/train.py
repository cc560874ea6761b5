"""`kbert train`."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Annotated
from typing import Any

import typer
from rich.console import Console

from kbert.checkpoints.presets import DEFAULT_PRESET
from kbert.commands import common
from kbert.data.encodings import check_encoding
from kbert.data.files import read_table
from kbert.errors import did_you_mean
from kbert.errors import listed
from kbert.models.precision import TRAINED
from kbert.pipeline.names import fit_inputs
from kbert.utils.atomic import check_saved
from kbert.utils.paths import real_path
from kbert.utils.scratch import check_room

if TYPE_CHECKING:
    from kbert.classifier import Classifier
    from kbert.heads.base import Head

# What is of fine-tuning only, as it is where it was not given.
NOT_GIVEN = {
    "layer_decay": 1.0,
    "r_drop": 0.0,
    "layout": "auto",
    "early_stopping": None,
}


def train(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Labelled texts: TSV, CSV, JSON Lines, CoNLL or SQuAD.",
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Where to save; a model saved there before gives way, what "
            "else is there stays.",
        ),
    ],
    text: common.TextColumns = None,
    label: common.LabelColumn = "label",
    columns: common.AllColumns = None,
    format: common.FileFormat = None,
    encoding: common.Encoding = None,
    validation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Labelled texts to validate on."),
    ] = None,
    validation_split: Annotated[
        float | None,
        typer.Option(
            metavar="PART",
            min=0,
            max=0.9,
            help="Part of the rows to validate on instead.",
            show_default="0.1",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Pretrained checkpoint: a name from 'kbert presets', a "
            "folder in Hugging Face form, or random:SIZE.",
        ),
    ] = DEFAULT_PRESET,
    head: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Task head: a name from 'kbert heads'."
        ),
    ] = "classification",
    head_option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="Argument of the head, its value in JSON; repeatable.",
        ),
    ] = None,
    few_shot: Annotated[
        bool,
        typer.Option(
            "--few-shot",
            help="For a handful of texts a label: train on pairs of them.",
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Passes over the data.",
            show_default="3; with --few-shot by the labels",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(metavar="N", min=1, help="Rows in a step.")
    ] = 32,
    learning_rate: Annotated[
        float, typer.Option(metavar="X", min=0, help="Highest learning rate.")
    ] = 5e-5,
    max_length: Annotated[
        int, typer.Option(metavar="N", min=3, help="Tokens a text is cut to.")
    ] = 128,
    casing: Annotated[
        bool,
        typer.Option(
            "--casing",
            help="Tell a lower-cased model which words have capitals.",
        ),
    ] = False,
    class_weight: Annotated[
        str | None,
        typer.Option(
            metavar="WEIGHTS",
            help="'balanced', or a JSON object of label to weight.",
        ),
    ] = None,
    layer_decay: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0.01,
            max=1,
            help="Factor on the learning rate from a layer to the one below.",
        ),
    ] = 1.0,
    r_drop: Annotated[
        float,
        typer.Option(
            metavar="X",
            min=0,
            help="Weight of R-Drop, which takes twice the time; 1 is usual.",
        ),
    ] = 0.0,
    layout: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How tokens are laid out: padded, flat, packed, or auto.",
        ),
    ] = "auto",
    policy: common.Precision = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="EPOCHS",
            help="Stop after so many epochs without a better result.",
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Makes a run repeatable.")
    ] = 0,
    run_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Keep each epoch there; a run that was stopped goes on.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Draw training.png and confusion.png into this folder.",
        ),
    ] = None,
    quiet: common.Quiet = False,
    as_json: common.AsJson = False,
) -> None:
    """Fine-tune BERT on labelled texts and save it.

    [bold]Examples[/bold]

      kbert train reviews.tsv -o saved_models/reviews --text sentence
      kbert train SMSSpamCollection -o saved_models/spam --columns label,text
      kbert train pairs.csv -o saved_models/pairs --text question,answer
      kbert train mail.jsonl -o saved_models/mail --class-weight balanced
      kbert train eng.train -o saved_models/entities --head ner
      kbert train news.csv -o saved_models/news --run-dir runs/news
      kbert train few.tsv -o saved_models/few --few-shot
    """
    if validation is not None and validation_split is not None:
        raise typer.BadParameter(
            "Give --validation or --validation-split, not both."
        )
    if policy is not None and policy not in TRAINED:
        raise typer.BadParameter(
            "Weights in bfloat16 lose what a step adds to them. Train with "
            "mixed_bfloat16; export with bfloat16.",
            param_hint="--policy",
        )
    options = _head_options(head_option)
    fit = {
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "class_weight": _class_weight(class_weight),
        "run_dir": run_dir,
        "verbose": 0 if quiet else "auto",
    }
    if epochs is not None:
        fit["epochs"] = epochs
    fine_tuning = {
        "layer_decay": layer_decay,
        "r_drop": r_drop,
        "layout": layout,
        "early_stopping": early_stopping,
    }
    if not few_shot:
        fit |= fine_tuning
    elif fine_tuning != NOT_GIVEN:
        raise typer.BadParameter(
            "--few-shot goes without --layer-decay, --r-drop, --layout and "
            "--early-stopping."
        )
    else:
        fit["method"] = "few_shot"
    if validation is None:
        unsaid = 0.0 if few_shot else 0.1
        fit["validation_split"] = (
            unsaid if validation_split is None else validation_split
        )
    check_encoding(encoding)
    # Now, and not after hours.
    check_saved(output)
    if plot is not None:
        check_room(plot)
    if run_dir is not None:
        check_room(real_path(run_dir))
        if real_path(run_dir) == real_path(output):
            raise typer.BadParameter(
                "--run-dir and --output must be two folders.",
                param_hint="--run-dir",
            )
    for path in (file, validation):
        if path is not None:
            common.check_readable(path)
    common.start(policy)

    head_class = _head_class(head)
    names = tuple(common.split(text)) or head_class.inputs
    # The SavedModel's inputs are named like the columns, if they can be.
    inputs = fit_inputs(names, head_class)

    def read(path):
        form = common.file_format(format, path, head_class)
        named = common.split(columns) or None
        several = not head_class.exclusive
        x, y = read_table(path, names, label, named, form, several, encoding)
        return x.renamed(inputs), y

    x, y = read(file)
    if validation is not None:
        fit["validation_data"] = read(validation)
    notes = common.notes(quiet)
    clf = _classifier(
        preset=preset,
        head=head,
        inputs=inputs,
        max_length=max_length,
        casing=casing,
        seed=seed,
        **options,
    )
    if inputs != names:
        pairs = zip(inputs, names, strict=True)
        named = ", ".join(f"{name} ({column})" for name, column in pairs)
        _say(notes, f"The model's inputs: {named}")
    _say(notes, _describe(y))
    history = clf.fit(x, y, **fit)
    clf.save(output)
    plots = _draw(plot, history, clf.training.get("validation"))
    if as_json:
        common.print_json(
            {
                "model": str(output),
                "training": clf.training,
                "history": history.history,
                "plots": plots,
            }
        )
    _report(clf, output, plots, None if as_json or quiet else Console(), notes)


def _report(
    clf: Classifier,
    output: Path,
    plots: list[str],
    console: Console | None,
    notes: Console,
) -> None:
    """How good it became, and what to do with it."""
    report = clf.training.get("validation")
    if report and console is not None:
        from kbert.report.tables import print_report

        print_report(report, console)
    saved = shlex.quote(str(output))
    texts = " ".join('--input "..."' for _ in clf.inputs)
    for path in plots:
        _say(notes, f"Drawn: {path}")
    _say(notes, f"Saved: {output}")
    _say(notes, f"Try it:   kbert predict {saved} {texts}")
    _say(notes, f"Serve it: kbert export {saved} exports/{output.name}")


def _say(notes: Console, line: str) -> None:
    notes.print(line, markup=False, soft_wrap=True)


def _head_options(pairs: list[str] | None) -> dict[str, Any]:
    options = {}
    for pair in pairs or ():
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise typer.BadParameter(
                f"Expected KEY=VALUE. Received: {pair!r}.",
                param_hint="--head-option",
            )
        if key in ("preset", "head", "inputs", "max_length", "casing", "seed"):
            raise typer.BadParameter(
                f"{key!r} is no option of a head.", param_hint="--head-option"
            )
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _class_weight(value: str | None) -> str | dict | None:
    if value in (None, "balanced"):
        return value
    weights, reason = None, ""
    if value.lstrip().startswith("{"):
        try:
            weights = json.loads(value, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            reason = f" {error}."
    else:
        reason = did_you_mean(value, ["balanced"])
    if weights is None:
        raise typer.BadParameter(
            "Expected 'balanced' or a JSON object such as "
            f"'{{\"spam\": 5}}'. Received: {value!r}.{reason}",
            param_hint="--class-weight",
        )
    return weights


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Of labels that stand twice, JSON's reader would take the last.
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} stands there twice")
    return dict(pairs)


def _head_class(name: str) -> type[Head]:
    from kbert.plugins import get_plugins

    return get_plugins().heads.get(name).value


def _classifier(**arguments: Any) -> Classifier:
    from kbert.classifier import Classifier

    return Classifier(**arguments)


def _describe(labels: list) -> str:
    import keras

    # Tags and several labels a row are counted one by one.
    parts = [x for y in labels for x in (y if isinstance(y, list) else [y])]
    known = all(isinstance(part, str | int) for part in parts)
    counts = Counter(parts if known else ()).most_common()
    named = (f"{label or '(none)'} {count:,}" for label, count in counts)
    devices = keras.distribution.list_devices("gpu")
    device = f"{len(devices)} GPU" if devices else "CPU"
    facts = f": {listed(named, 6)}" if counts else ""
    return f"{len(labels):,} rows{facts}. Training on {device}."


def _draw(folder: Path | None, history: Any, report: dict | None) -> list:
    if folder is None:
        return []
    from kbert.report.plots import plot_confusion
    from kbert.report.plots import plot_history

    drawn = [plot_history(history.history, folder / "training.png")]
    if report and "confusion_matrix" in report:
        drawn.append(
            plot_confusion(
                report["confusion_matrix"],
                list(report["per_class"]),
                folder / "confusion.png",
            )
        )
    return [str(path) for path in drawn]
