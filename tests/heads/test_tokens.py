"""Heads that answer tokens are `TokenHead`s, and no others."""

import pytest

import kbert
from kbert.errors import PluginError
from kbert.heads.tokens import TokenHead
from kbert.plugins import get_plugins


def test_windows_need_what_token_heads_have():
    with pytest.raises(PluginError, match="TokenHead.*Windowed with `overlap`"):

        class Windowed(kbert.Head):
            overlap = 8


def test_a_name_of_before_is_refused():
    with pytest.raises(PluginError, match="`model_class`.*Old with `front`"):

        class Old(kbert.Head):
            front = "Embedder"


def test_which_heads_answer_tokens():
    heads = {name: made.value for name, made in get_plugins().heads.items()}
    of_tokens = {name for name, head in heads.items() if head.by_token}
    assert of_tokens == {"ner", "qa"}
    assert all(issubclass(heads[name], TokenHead) for name in of_tokens)
