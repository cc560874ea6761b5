"""Several heads on one backbone, as one model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from typing import Generic
from typing import TypeVar

import keras

from kbert.errors import UnknownNameError
from kbert.models.graphs import outputs_on
from kbert.pipeline.saved_folder import shared_config
from kbert.pipeline.text_model import TextModel
from kbert.utils.checks import suggesting

Model = TypeVar("Model", bound=TextModel)


@suggesting
class MultiModel(Generic[Model]):
    """Models of texts by their name, all on one backbone.

    Attributes:
        tasks: dict of names to `TextModel`s.
        backbone: the `kbert.Backbone` of all.
        tokenizer: the `kbert.Tokenizer` of all.
        model: functional `keras.Model` from token arrays to a dict of the
            heads' outputs by task; None until every head is ready.
    """

    def start(self, tasks: dict[str, Model]) -> None:
        """Take over the tasks, which have the same backbone."""
        first = next(iter(tasks.values()))
        self.tasks = tasks
        self.backbone = first.backbone
        self.tokenizer = first.tokenizer
        self.model = None
        if all(task.model is not None for task in tasks.values()):
            self.build()

    def build(self) -> None:
        """Put all heads on the backbone; every one must be ready."""
        self.model = self.laid_out("padded")

    def laid_out(self, layout: str) -> keras.Model:
        """The model of all heads, as `TextModel.laid_out` gives that of one."""
        body = self.backbone.laid_out(layout)
        outputs = {
            name: outputs_on(body, task.model, self.backbone)
            for name, task in self.tasks.items()
        }
        return keras.Model(body.input, outputs, name="several_tasks")

    def __getitem__(self, name: str) -> Model:
        if name not in self.tasks:
            raise UnknownNameError("task", str(name), self.tasks)
        return self.tasks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def config(self) -> dict[str, Any]:
        """What kbert.json holds; see `kbert.load`."""
        return shared_config(self.backbone, self.tokenizer) | {
            "tasks": {n: task.own_config() for n, task in self.tasks.items()}
        }

    def head_weights(self, name: str) -> list[tuple[str, keras.Variable]]:
        """The weights that the head of a task has added, by name."""
        return [
            (f"tasks.{name}.{key}", weight)
            for key, weight in self[name].head_weights()
        ]
