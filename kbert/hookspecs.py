"""The hooks a plugin can implement, one function each.

A plugin is a module that an entry point in the group `kbert` names; it marks
its implementations with `kbert.hookimpl`. kbert's own heads and presets are
registered through the same hooks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from kbert.checkpoints.presets import Preset
    from kbert.heads.base import Head

hookspec = pluggy.HookspecMarker("kbert")
hookimpl = pluggy.HookimplMarker("kbert")


@hookspec
def register_heads(register: Callable[[type[Head]], None]) -> None:
    """Register task heads.

    :param register: call it once with each `kbert.Head` subclass; the
        class's `name` is what `Classifier(head=...)` takes.
    """


@hookspec
def register_presets(register: Callable[[Preset], None]) -> None:
    """Register pretrained checkpoints that can be fetched by name.

    :param register: call it once with each `kbert.Preset`.
    """
