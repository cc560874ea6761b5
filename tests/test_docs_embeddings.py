"""The Python of docs/embeddings.md runs as it stands."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "embeddings.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.large
def test_blocks_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    monkeypatch.chdir(tmp_path)
    Path("sentences.txt").write_text("one\ntwo\n")
    scope = {
        "texts": ["aaa", "bbb"] * 8,
        "labels": ["a", "b"] * 8,
        "article": "One. Two. Three. Four.",
    }
    assert len(BLOCKS) == 8
    for block in BLOCKS:
        exec(block, scope)
    assert capsys.readouterr().out.startswith("(2, 384) float32")
