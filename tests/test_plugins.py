"""Loading plugins: clashes, misspelt hooks, broken ones, narrowing."""

import sys
from types import ModuleType

import pytest

import kbert
from kbert.errors import PluginError
from kbert.errors import UnknownNameError
from kbert.heads.classification import ClassificationHead
from kbert.plugins import KNOWN_PLUGINS
from kbert.plugins import Plugins
from kbert.plugins import Registered
from kbert.plugins import Registry


def head(name):
    return type("SomeHead", (ClassificationHead,), {"name": name})


def plugin(name, *heads):
    """A module that registers `heads`."""

    @kbert.hookimpl
    def register_heads(register):
        for each in heads:
            register(each)

    module = ModuleType(name)
    module.register_heads = register_heads
    return module


HEAD_MODULE = """
import kbert
from kbert.heads.classification import ClassificationHead

class SomeHead(ClassificationHead):
    name = "{head}"

@kbert.hookimpl
def {hook}(register):
    register(SomeHead)
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution of one module, and lets only such be loaded."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def install(name, code, version="1.2"):
        module = name.replace("-", "_")
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        (info / "entry_points.txt").write_text(f"[kbert]\nx = {module}\n")
        names.append(name)
        monkeypatch.setenv("KBERT_LOAD_PLUGINS", ",".join(names))

    yield install
    for name in names:
        sys.modules.pop(name.replace("-", "_"), None)


# === Built-in ===


def test_builtins_come_through_the_hooks(monkeypatch):
    monkeypatch.setenv("KBERT_LOAD_PLUGINS", "")
    plugins = Plugins()
    heads = dict(plugins.heads.items())
    assert heads["classification"].value is ClassificationHead
    assert {entry.plugin for entry in heads.values()} == {"kbert"}
    assert plugins.presets.items()


# === Installed ===


def test_installed_plugin_is_found(install):
    install("t-good", HEAD_MODULE.format(head="good", hook="register_heads"))
    entry = Plugins().heads.get("good")
    assert entry.value.name == "good"
    assert (entry.plugin, entry.version) == ("t-good", "1.2")


def test_variable_narrows_loading(install, monkeypatch):
    for name in ("one", "two"):
        code = HEAD_MODULE.format(head=name, hook="register_heads")
        install(f"t-{name}", code)
    assert {"one", "two"} <= dict(Plugins().heads.items()).keys()
    monkeypatch.setenv("KBERT_LOAD_PLUGINS", " t-two ,")
    names = dict(Plugins().heads.items()).keys()
    assert "two" in names and "one" not in names
    monkeypatch.delenv("KBERT_LOAD_PLUGINS")
    assert {"one", "two"} <= dict(Plugins().heads.items()).keys()


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError"),
        ("def", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        (
            "import kbert\n@kbert.hookimpl\ndef register_heads(register):\n"
            "    register(undefined)",
            "NameError",
        ),
        (
            "import kbert\n@kbert.hookimpl\ndef register_heads(register):\n"
            "    register(object)",
            "AttributeError",
        ),
    ],
)
def test_broken_plugin_warns_and_the_others_load(install, code, error):
    install("t-broken", code)
    install("t-good", HEAD_MODULE.format(head="good", hook="register_heads"))
    with pytest.warns(UserWarning, match=f"t-broken could not be .*{error}"):
        plugins = Plugins()
    assert {"good", "classification"} <= dict(plugins.heads.items()).keys()


def test_misspelt_hook_names_the_plugin(install):
    install("t-misspelt", HEAD_MODULE.format(head="x", hook="register_head"))
    with pytest.raises(PluginError, match="t-misspelt 1.2 .*register_head"):
        Plugins()


def test_hook_with_another_argument_names_the_plugin():
    @kbert.hookimpl
    def register_heads(registry):
        pass

    module = ModuleType("odd")
    module.register_heads = register_heads
    with pytest.raises(PluginError, match="(?s)Plugin odd 0 .*registry"):
        Plugins(modules=(module,))


# === Names ===


def test_clash_names_both_plugins():
    one, two = plugin("one", head("same")), plugin("two", head("same"))
    with pytest.raises(PluginError, match="'same' .* by one 0 and by two 0"):
        Plugins(modules=(one, two))


def test_clash_with_a_builtin_head_of_an_installed_plugin(install):
    code = HEAD_MODULE.format(head="classification", hook="register_heads")
    install("t-clash", code)
    with pytest.raises(PluginError, match="by kbert .* and by t-clash 1.2"):
        Plugins()


def test_unknown_head_is_told_what_was_meant():
    plugins = Plugins(modules=(plugin("one", head("weather")),))
    with pytest.raises(UnknownNameError, match="Did you mean 'weather'"):
        plugins.heads.get("wether")


@pytest.mark.parametrize("name", ["sentiment", "spam", "news"])
def test_head_of_a_known_plugin_is_told_what_to_install(name, monkeypatch):
    monkeypatch.setenv("KBERT_LOAD_PLUGINS", "")
    with pytest.raises(
        UnknownNameError, match=f"pip install ./plugins/kbert-{name}"
    ):
        Plugins().heads.get(name)
    assert KNOWN_PLUGINS[name] == f"kbert-{name}"


def test_preset_of_such_a_name_is_not():
    with pytest.raises(UnknownNameError, match="Unknown preset") as raised:
        Registry("preset").get("spam")
    assert "pip install" not in str(raised.value)


def test_lent_entry_is_given_back():
    registry = Registry("head")
    registry.add("a", 1, "one", "0")
    with pytest.raises(ZeroDivisionError):
        with registry.lend("a", Registered(2, "two", "0")):
            assert registry.get("a").value == 2
            raise ZeroDivisionError
    assert registry.get("a").value == 1
