"""SavedModels of `multi_label` and `regression`, asked where kbert is not.

Those of `ner` and `qa` are asked in their own tests.
"""

import pytest

import kbert

ASK = """
import json, sys
import tensorflow as tf

paths, texts = json.loads(sys.argv[1])
answers = []
for path in paths:
    serve = tf.saved_model.load(path).signatures["serving_default"]
    _, inputs = serve.structured_input_signature
    answer = serve(**{name: tf.constant(texts) for name in inputs})
    answers.append({
        k: v.numpy().astype(str).tolist() if v.dtype == tf.string
        else v.numpy().tolist() for k, v in answer.items()
    })
print(json.dumps(answers))
assert "kbert" not in sys.modules
"""


def test_saved_models_equal_predict(tmp_path, plain_tensorflow, unexplained):
    texts = [f"{word} {i}" for i in range(12) for word in ("aaa bb", "zz yyy")]
    pairs = [(text, text) for text in texts]
    # So few steps that no graph is made of them.
    options = {"batch_size": 12, "learning_rate": 1e-3, "verbose": 0}
    several = kbert.Classifier("random:1x64", head="multi_label", seed=0)
    several.fit(texts, [["a", "b"], ["b"]] * 12, epochs=3, **options)
    number = kbert.Classifier("random:1x64", head="regression", seed=0)
    number.fit(pairs, [1.0, 4.0] * 12, epochs=1, **options)
    paths = [
        several.export(tmp_path / "several"),
        number.export(tmp_path / "number"),
    ]
    asked = ["zz yyy", "", "aaa bb 3", "北京 🎉"]
    first, second = plain_tensorflow(ASK, paths, asked)
    rows = list(several.stream(asked))
    assert first["count"] == [row["count"] for row in rows]
    for served, row in zip(first["labels"], rows, strict=True):
        assert [label for label in served if label] == row["labels"]
    expected = [(text, text) for text in asked]
    assert second["score"] == pytest.approx(number.predict(expected), abs=1e-5)
