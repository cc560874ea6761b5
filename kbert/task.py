"""A model of texts that can be copied, saved, loaded and exported."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING
from typing import Self

from kbert.errors import CheckpointError
from kbert.models.backbone import Backbone
from kbert.pipeline.saved_folder import SavedFolder
from kbert.pipeline.saved_folder import find_head
from kbert.pipeline.saved_folder import save_model
from kbert.pipeline.saved_folder import weights_later
from kbert.pipeline.text_model import TextModel
from kbert.tokenizers.tokenizer import Tokenizer
from kbert.utils.checks import suggesting
from kbert.utils.copying import reduced
from kbert.utils.paths import as_path

if TYPE_CHECKING:
    from kbert.exported.warmup import Requests


@suggesting
class Task(TextModel):
    """A backbone, a head and a tokenizer, and the ways in and out of folders.

    Args, attributes: see `kbert.pipeline.text_model.TextModel`.
    """

    # === Copy ===

    def __reduce__(self) -> tuple:
        return reduced(self)

    def __copy__(self) -> Task:
        return copy.deepcopy(self)  # Half of it cannot be shared.

    # === Save and load ===

    def save(self, path: str | Path) -> None:
        """Save to a folder, which replaces one saved there before.

        What else is in the folder, such as an export or a `run_dir`, stays.
        The folder holds kbert.json, model.safetensors and vocab.txt, and
        beside them config.json and tokenizer_config.json, which make it a
        preset to fine-tune further. It appears whole or not at all.

        Raises:
            CheckpointError: the folder cannot be written, or holds something
                that kbert did not save.

        Example:

        >>> clf.save("saved_models/spam")
        >>> kbert.load("saved_models/spam").labels
        ['ham', 'spam']
        """
        self.require_model()
        save_model(
            path,
            self.backbone,
            self.tokenizer,
            self.head_weights(),
            self.config(),
            self.write_more,
        )

    def write_more(self, folder: Path) -> None:
        """Write what a subclass keeps beside a model's usual files."""

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load what `save` saved.

        Raises:
            CheckpointError: the folder is missing, incomplete or corrupt, or
                holds several tasks.
            PluginError: the head's plugin is not installed.

        Example:

        >>> kbert.Classifier.load("saved_models/spam").labels
        ['ham', 'spam']
        """
        saved = SavedFolder.open(path)
        if "tasks" in saved.config:
            raise CheckpointError(
                f"Expected a model of one task in {path}. Received: one of "
                f"{', '.join(saved.config['tasks'])}. Use kbert.load."
            )
        backbone, tokenizer = saved.backbone(), saved.tokenizer()
        with weights_later():
            task = cls.restore(saved, saved.config, backbone, tokenizer)
            saved.check(task.head_weights())
        saved.assign(task.head_weights())
        return task

    @classmethod
    def restore(
        cls,
        saved: SavedFolder,
        config: dict,
        backbone: Backbone,
        tokenizer: Tokenizer,
    ) -> Self:
        """A task as it was saved, but for the weights of its head.

        Args:
            saved: the opened folder.
            config: what `own_config` gave.
            backbone: that of the folder.
            tokenizer: that of the folder.
        """
        head = config["head"]
        registered = find_head(head, saved.path)
        task = cls.__new__(cls)
        with saved.refusals():
            Task.__init__(
                task,
                head=registered.value(**head["config"]),
                backbone=backbone,
                tokenizer=tokenizer,
                registered=registered,
                inputs=tuple(config["inputs"]),
                max_length=config["max_length"],
                training=config["training"],
            )
            task.require_model()  # What is saved has labels.
        return task

    def save_pretrained(self, path: str | Path, replace: bool = False) -> None:
        """Write in Hugging Face form; see `kbert.export.huggingface`.

        Example:

        >>> clf = kbert.Classifier(pooling="cls", labels=["ham", "spam"])
        >>> clf.save_pretrained("exports/huggingface")
        """
        from kbert.export.huggingface import save_task

        save_task(self, path, replace)

    def export(
        self,
        path: str | Path,
        format: str = "savedmodel",
        *,
        version: int | None = None,
        check_ops: str | None = None,
        warmup: Requests | None = None,
        replace: bool | None = None,
    ) -> Path:
        """Write what serves the model; see `kbert.export.formats.export`.

        Args:
            path: the folder to write; for `"savedmodel"` the one that holds
                the versions.
            format: `"savedmodel"`, `"int8"`, `"onnx"` or `"litert"`.
            version: of a SavedModel the number; by default one more than the
                last.
            check_ops: of a SavedModel a TF Serving release; the export is
                refused if that release lacks one of its ops.
            warmup: of a SavedModel requests, dicts of input names to texts;
                by default one short text and a batch of long ones.
            replace: of the other formats, whether to take the place of an
                export.

        Returns:
            The path that was written.

        Example:

        >>> clf.export("exports/spam")
        PosixPath('exports/spam/1')
        """
        from kbert.export.formats import export

        self.require_model()
        given = {
            "version": version,
            "check_ops": check_ops,
            "warmup": warmup,
            "replace": replace,
        }
        options = {k: v for k, v in given.items() if v is not None}
        return export(self, as_path(path), format, **options)
