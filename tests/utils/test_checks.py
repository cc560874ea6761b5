"""What an argument must be: one check for each kind."""

import inspect

import numpy as np
import pytest

import kbert
from kbert.errors import ConfigError
from kbert.errors import UnknownNameError
from kbert.errors import short
from kbert.utils import checks

NO_INTEGERS = ("3", 3.0, True, np.True_, None, float("nan"), [3], b"3")
NO_NUMBERS = ("3", True, np.True_, None, float("nan"), float("inf"), [3], 1j)


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), np.array(3)])
def test_integers_of_any_make(value):
    number = checks.check_integer("epochs", value)
    assert number == 3 and type(number) is int


@pytest.mark.parametrize("value", [*NO_INTEGERS, 0, -1])
def test_what_is_no_integer(value):
    with pytest.raises(ConfigError, match="`epochs` must be a positive int"):
        checks.check_integer("epochs", value)


def test_ranges_of_integers():
    assert checks.check_integer("k", 0, 0) == 0
    with pytest.raises(ConfigError, match="an integer of 4 or more.*k=3"):
        checks.check_integer("k", 3, 4)
    with pytest.raises(ConfigError, match="from 3 to 512, the room.*k=513"):
        checks.check_integer("k", 513, 3, 512, why=", the room")


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), np.float16(0.5)])
def test_numbers_of_any_make(value):
    number = checks.check_number("rate", value, 0, 1)
    assert number == 0.5 and type(number) is float


@pytest.mark.parametrize("value", [*NO_NUMBERS, 0, -1, 1.5, 10**400])
def test_what_is_no_number(value):
    with pytest.raises(ConfigError, match="above 0 and at most 1. Received"):
        checks.check_number("rate", value, above=0, most=1)


def test_flags():
    assert checks.check_flag("tune", np.False_) is False
    for value in (1, 0, "false", None):
        with pytest.raises(ConfigError, match="`tune` must be True or False"):
            checks.check_flag("tune", value)


def test_choices_have_the_nearest():
    assert checks.check_choice("kind", "flat", ("flat", "hnsw")) == "flat"
    with pytest.raises(ConfigError, match="Did you mean 'flat'"):
        checks.check_choice("kind", "Flatt", ("flat", "hnsw"))
    for value in (None, 5, ["flat"], np.array(["flat"])):
        with pytest.raises(ConfigError, match="one of flat, hnsw"):
            checks.check_choice("kind", value, ("flat", "hnsw"))


@pytest.mark.parametrize("value", [-1, 2**40, 2**32, True, 1.5, "3", None])
def test_what_is_no_seed(value):
    with pytest.raises(ConfigError, match="`seed` must be an integer from 0"):
        checks.check_seed("seed", value)


def test_one_string_is_no_sequence_of_strings():
    assert checks.check_strings("x", np.array(["a", "b"]), "") == ("a", "b")
    assert checks.check_strings("x", iter(["a"]), "") == ("a",)
    for value in ("ab", b"ab", {"a"}, {"a": 1}, 5, None, [1], ["a", None]):
        with pytest.raises(ConfigError, match="a list of strings, such as"):
            checks.check_strings("x", value, "['a']")


def test_options_have_the_nearest():
    with pytest.raises(ConfigError, match="epoch=1.*mean 'epochs'.*Known: b"):
        checks.check_options("`fit`", {"epoch": 1}, ("batch_size", "epochs"))


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        ["x" * 1000] * 1000,
        {str(i): "x" * 1000 for i in range(1000)},
        [[["x" * 1000] * 100] * 100] * 100,
        np.zeros((1000, 1000)),
        [10**4000],
        [10**5000],
        "\x1b[31m\n\u202e",
    ],
)
def test_messages_never_have_data_in_full(value):
    text = short(value)
    assert len(text) < 100 and text.isprintable()


def test_unknown_names_of_any_kind():
    many = [f"column_{i}" for i in range(1000)]
    for name in (None, 5, ["spam"], "x" * 10**6, "column_7x"):
        message = str(UnknownNameError("column", name, many))
        assert len(message) < 1000 and "and 960 more" in message
    assert "Did you mean 'Text'" in str(UnknownNameError("c", "text", ["Text"]))


# Public names of kbert whose functions or methods take arguments by name.
DOORS = sorted(
    name
    for name in vars(kbert)["_EXPORTS"]
    # Those of other makers, and one that hands all to the backbone.
    if name
    not in (
        "Backbone",
        "Head",
        "KbertError",
        "Preset",
        "load_backbone",
        "Corpus",
    )
)


@pytest.mark.parametrize("door", DOORS)
def test_every_door_has_the_nearest(door):
    door = getattr(kbert, door)
    callables = {door.__name__: door}
    if inspect.isclass(door):
        callables |= {
            name: member
            for name, member in inspect.getmembers(door, callable)
            if not name.startswith("_")
        }
    asked = 0
    for function in callables.values():
        parameters = [
            p
            for p in inspect.signature(function).parameters.values()
            if p.name != "self"
        ]
        if any(p.kind is p.VAR_KEYWORD for p in parameters) or not parameters:
            continue
        last = parameters[-1].name
        arguments = [object()] * (inspect.isclass(door) and function != door)
        with pytest.raises(ConfigError, match=f"Did you mean '{last}'"):
            function(*arguments, **{f"{last}s": 1})
        asked += 1
    assert asked


def test_what_takes_any_name_is_left_alone():
    from_file = kbert.Tokenizer.from_file
    assert checks.suggests(from_file) is from_file
    assert (
        "batch_size" in inspect.signature(kbert.Classifier.predict).parameters
    )
