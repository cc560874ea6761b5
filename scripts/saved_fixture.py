"""Makes tests/fixtures/saved/VERSION-formatN: a model as this version saves it.

    python scripts/saved_fixture.py

Run it once for every release and every format, and commit what it makes; the
tests load the models of all versions, whose answers must stay as they were.
"""

from __future__ import annotations

import json
from pathlib import Path

import kbert
from kbert.pipeline.saved_config import FORMAT

FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "saved"
TEXTS = ["what a day", "never again", "Café, 5 €!", ""]


def main() -> None:
    clf = kbert.Classifier(
        "random:2x16", labels=["ham", "spam"], max_length=16, seed=0
    )
    for weight in clf.model.weights:
        # Larger than at random, so that answers differ from text to text.
        if "kernel" in weight.path or "embeddings" in weight.path:
            weight.assign(weight.value * 10)
    folder = FIXTURES / f"{kbert.__version__}-format{FORMAT}"
    folder.parent.mkdir(exist_ok=True)
    clf.save(folder)
    answers = {
        "texts": TEXTS,
        "labels": clf.predict(TEXTS),
        "probabilities": clf.predict_proba(TEXTS).tolist(),
    }
    text = json.dumps(answers, ensure_ascii=False)
    (folder / "answers.json").write_text(text + "\n", encoding="utf-8")
    print(folder)


if __name__ == "__main__":
    main()
