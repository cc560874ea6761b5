"""The fixture that kbert gives to the tests of plugins."""

import subprocess
import sys

from kbert import load
from kbert.heads.classification import ClassificationHead
from kbert.plugins import get_plugins


class LoudHead(ClassificationHead):
    name = "loud"


def test_a_head_is_known_until_the_test_ends(kbert_classifier, tmp_path):
    clf = kbert_classifier(LoudHead, labels=["hush", "loud"])
    x, y = ["now!", "some day"] * 8, ["loud", "hush"] * 8
    clf.fit(x, y, epochs=10, learning_rate=1e-3, verbose=0)
    clf.save(tmp_path / "loud")
    assert load(tmp_path / "loud").predict(x[:2]) == ["loud", "hush"]


def test_it_is_gone_then(kbert_classifier):
    assert "loud" not in dict(get_plugins().heads.items())


def test_pytest_loads_it_without_tensorflow():
    code = (
        "import sys, kbert.testing.fixtures\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
