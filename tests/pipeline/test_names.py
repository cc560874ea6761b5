"""Names of inputs and of tasks, decided in one place."""

import pytest

from kbert.errors import ConfigError
from kbert.heads.classification import ClassificationHead
from kbert.heads.ner import EntityHead
from kbert.heads.qa import AnswerHead
from kbert.pipeline.names import check_inputs
from kbert.pipeline.names import check_name
from kbert.pipeline.names import fit_inputs


@pytest.mark.parametrize(
    "inputs",
    [
        "text",
        ("my text",),
        ("class",),
        ("None",),
        ("self",),
        ("a", "a"),
        ("a", "A"),
        (),
        ("a", "b", "c"),
        ("",),
        ("_a",),
        ("1a",),
        ("a\n",),
        ("т",),
        ("label",),
        ("score", "b"),
        {"a", "b"},
        (1,),
        5,
    ],
)
def test_what_is_no_name_of_an_input(inputs):
    with pytest.raises(ConfigError, match="Received"):
        check_inputs(inputs, ClassificationHead)


def test_names_of_inputs():
    assert check_inputs(None, AnswerHead) == ("question", "context")
    assert check_inputs(["a", "b"], ClassificationHead) == ("a", "b")
    # An answer of its own, which it wants to be called so.
    assert check_inputs(("text",), EntityHead()) == ("text",)
    with pytest.raises(ConfigError, match=r"1 name\(s\) for the head 'ner'"):
        check_inputs(("a", "b"), EntityHead())
    with pytest.raises(ConfigError, match=r"2 name\(s\) for the head 'qa'"):
        check_inputs(("a",), AnswerHead())


def test_columns_of_files_get_names():
    def fit(*columns):
        return fit_inputs(columns, ClassificationHead)

    assert fit("body") == ("body",)
    assert fit("Text A", "Text B") == ("text", "text_pair")
    assert fit("#1 String", "#2 String") == ("text", "text_pair")
    assert fit("label") == ("text",)
    assert fit_inputs(("Frage", "ein Text"), AnswerHead) == (
        "question",
        "context",
    )
    with pytest.raises(ConfigError, match="1 or 2"):
        fit("a", "b", "c d")


@pytest.mark.parametrize("name", ["", "my task", "1", "т", "a\n", 1, None])
def test_what_is_no_name_of_a_task(name):
    with pytest.raises(ConfigError, match="The name of a task"):
        check_name("a task", name)
