"""The Python of docs/several-tasks.md runs as it stands."""

import re
from pathlib import Path

import pytest

import kbert
from kbert.multitask import MultiTask

PAGE = Path(__file__).resolve().parents[1] / "docs" / "several-tasks.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


class Small(MultiTask):
    def __init__(self, **options):
        super().__init__("random:tiny", **options)


@pytest.mark.large
def test_blocks_run(tmp_path, monkeypatch):
    pytest.importorskip("kbert_spam")
    pytest.importorskip("kbert_sentiment")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kbert, "MultiTask", Small)
    texts = ["aaa", "bbb"] * 20
    spam, moods = ["ham", "spam"] * 20, ["negative", "positive"] * 20
    scope = {
        "messages": texts,
        "spam_labels": spam,
        "reviews": texts,
        "moods": moods,
        "new_messages": texts,
        "new_labels": spam,
        "data": {"spam": (texts, spam), "mood": (texts, moods)},
    }
    first, heads, callback, serving = BLOCKS
    exec(first, scope)
    trained = scope["multi"]
    exec(heads, scope)
    assert list(scope["multi"]) == ["topic", "names"]
    scope["multi"] = trained
    exec(callback, scope)
    exec(serving, scope)
    assert Path("exports/messages/1/saved_model.pb").is_file()
