"""The Python of docs/several-tasks.md runs as it stands."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "several-tasks.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.large
def test_blocks_run(tmp_path, monkeypatch):
    pytest.importorskip("kbert_spam")
    pytest.importorskip("kbert_sentiment")
    monkeypatch.chdir(tmp_path)
    texts = ["aaa", "bbb"] * 20
    scope = {
        "messages": texts,
        "spam_labels": ["ham", "spam"] * 20,
        "reviews": texts,
        "moods": ["negative", "positive"] * 20,
        "new_messages": texts,
        "new_labels": ["ham", "spam"] * 20,
    }
    assert len(BLOCKS) == 4
    exec(BLOCKS[0], scope)
    trained = scope["multi"]
    exec(BLOCKS[1], scope)
    data = {"spam": (texts, scope["spam_labels"])}
    scope |= {
        "multi": trained,
        "data": data | {"mood": (texts, scope["moods"])},
    }
    exec(BLOCKS[2], scope)
    exec(BLOCKS[3], scope)
    assert Path("exports/messages/1/saved_model.pb").is_file()
