"""What the messages of errors hold, and what they must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kbert import errors
from kbert.errors import KbertError
from kbert.errors import printable


@given(st.text())
def test_a_message_can_be_shown_and_sent(text):
    shown = printable(text)
    assert shown.replace("\n", "").isprintable()
    shown.encode()
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb", "a\\rb"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud83d", "\\ud83d"),
        ("中文 é 😀\n", "中文 é 😀\n"),
    ],
)
def test_every_error_spells_out_what_a_terminal_obeys(hostile, shown):
    for kind in vars(errors).values():
        if not (isinstance(kind, type) and issubclass(kind, KbertError)):
            continue
        before = {"ServingError": ["INTERNAL"], "UnknownNameError": ["head"]}
        roots = [before.get(k.__name__, []) for k in kind.__mro__]
        rest = [["x"]] if kind.__name__ == "UnknownNameError" else []
        error = kind(*sum(roots, []), hostile, *rest)
        assert "\x1b" not in str(error) and "\x9b" not in str(error)
        if kind.__name__ != "UnknownNameError":
            assert str(error) == shown
