"""What a tokenizer's files say beside the vocabulary."""

import json
import shutil
from pathlib import Path

import pytest

from kbert.checkpoints.loading import open_checkpoint
from kbert.errors import CheckpointError

HF = Path(__file__).parents[1] / "fixtures" / "huggingface"


@pytest.fixture
def say(tmp_path):
    folder = shutil.copytree(HF, tmp_path / "model")

    def write(**options):
        text = json.dumps(options)
        (folder / "tokenizer_config.json").write_text(text)
        return folder

    return write


def test_options_that_berts_tokenizer_has(say):
    folder = say(
        do_lower_case=False,
        strip_accents=False,
        tokenize_chinese_chars=True,
        do_basic_tokenize=True,
        never_split=None,
    )
    assert not open_checkpoint(folder).lowercase
    assert open_checkpoint(say(strip_accents=None)).lowercase


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("strip_accents", False),
        ("tokenize_chinese_chars", False),
        ("do_basic_tokenize", False),
        ("word_tokenizer_type", "mecab"),
    ],
)
def test_options_that_would_make_other_ids(say, option, value):
    folder = say(do_lower_case=True, **{option: value})
    with pytest.raises(CheckpointError, match=f"{option}.*Received: {value!r}"):
        open_checkpoint(folder)
