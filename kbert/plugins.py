"""The plugin manager and the registries that hooks fill."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pluggy

from kbert import hookspecs
from kbert.errors import PluginError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.utils.entry_points import GROUP
from kbert.utils.entry_points import installed_plugins
from kbert.utils.entry_points import source_of
from kbert.utils.version import __version__

BUILTIN = ("kbert.heads", "kbert.checkpoints.builtin")

# Heads that a plugin of this project provides: an unknown name among them
# gets an answer that says what to install.
KNOWN_PLUGINS = {
    "sentiment": "kbert-sentiment",
    "spam": "kbert-spam",
    "news": "kbert-news",
}


@dataclass(frozen=True)
class Registered:
    """Something a plugin registered, and where it came from.

    Attributes:
        value: the head class or the preset.
        plugin: name of the distribution that registered it.
        version: version of that distribution.
    """

    value: Any
    plugin: str
    version: str


class Registry:
    """Names to registered values; a name can be taken once only.

    Args:
        kind: what it holds, for messages, such as `"head"`.
    """

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, Registered] = {}

    def add(self, name: str, value: Any, plugin: str, version: str) -> None:
        taken = self._entries.get(name)
        if taken is not None:
            raise PluginError(
                f"The {self.kind} name {name!r} is registered twice: by "
                f"{taken.plugin} {taken.version} and by {plugin} {version}. "
                f"Uninstall one of them or rename its {self.kind}."
            )
        self._entries[name] = Registered(value, plugin, version)

    def get(self, name: str) -> Registered:
        try:
            return self._entries[name]
        except (KeyError, TypeError):  # What cannot be a key is no name.
            name = name if isinstance(name, str) else short(name)
            package = KNOWN_PLUGINS.get(name) if self.kind == "head" else None
            hint = (
                f"It comes with a plugin, in a checkout of kbert: "
                f"pip install ./plugins/{package}."
                if package
                else ""
            )
            raise UnknownNameError(
                self.kind, name, self._entries, hint
            ) from None

    def items(self) -> list[tuple[str, Registered]]:
        return sorted(self._entries.items())

    @contextlib.contextmanager
    def lend(self, name: str, entry: Registered) -> Iterator[None]:
        """Have `entry` under `name` while a `with` block runs, for tests."""
        before = self._entries
        self._entries = before | {name: entry}
        try:
            yield
        finally:
            self._entries = before


class Plugins:
    """Loads plugins and holds what they registered.

    The environment variable `KBERT_LOAD_PLUGINS` narrows which installed
    plugins are loaded: distribution names with commas between, empty for
    none.

    Args:
        modules: already imported modules (or objects) to register besides
            the built-in and the installed ones, for tests.

    Raises:
        PluginError: a hook is misspelt, or a name is taken twice.
    """

    def __init__(self, modules: tuple[Any, ...] = ()):
        self.heads = Registry("head")
        self.presets = Registry("preset")
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        for name in BUILTIN:
            self._register(importlib.import_module(name), "kbert", __version__)
        for entry_point in installed_plugins():
            self._load(entry_point)
        for module in modules:
            self._register(module, getattr(module, "__name__", "?"), "0")

    def _load(self, entry_point: importlib.metadata.EntryPoint) -> None:
        dist, version = source_of(entry_point)
        # A plugin's code, its hooks included, can fail in any way; the
        # others must still work.
        try:
            module = entry_point.load()
            self._register(module, dist, version)
        except PluginError:
            raise
        except Exception as error:
            warnings.warn(
                f"Plugin {dist} could not be loaded and is left out: "
                f"{type(error).__name__}: {error}",
                stacklevel=2,
            )

    def _register(self, module: Any, plugin: str, version: str) -> None:
        try:
            name = self._manager.register(module)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(
                f"Plugin {plugin} {version} implements a hook that does not "
                f"fit: {error}. The hooks are in kbert.hookspecs; see "
                f"docs/plugins.md."
            ) from error

        # Only this module's hooks run, so that each name has its plugin.
        others = [p for n, p in self._manager.list_name_plugin() if n != name]
        hooks = functools.partial(
            self._manager.subset_hook_caller, remove_plugins=others
        )

        def add_head(head):
            self.heads.add(head.name, head, plugin, version)

        def add_preset(preset):
            self.presets.add(preset.name, preset, plugin, version)

        hooks("register_heads")(register=add_head)
        hooks("register_presets")(register=add_preset)


@functools.cache
def get_plugins() -> Plugins:
    """The plugins of this process, loaded at the first call."""
    return Plugins()
