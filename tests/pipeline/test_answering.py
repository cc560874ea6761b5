"""Many texts: by parts, in order, tokenized ahead, counted."""

import threading

import numpy as np
import pytest

import kbert
from kbert.data.texts import ahead
from kbert.pipeline import text_model


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(text_model, "PART", 5)


@pytest.fixture(scope="module")
def clf():
    return kbert.Classifier("random:1x64", labels=["a", "z"], seed=0)


TEXTS = ["ab " * n + str(n) for n in (9, 1, 12, 5, 25, 2, 9, 7, 3, 30, 4, 8)]


def test_answers_of_parts_are_in_the_order_of_the_texts(clf, small_parts):
    parts = list(clf._parts([TEXTS], 2))
    assert [len(part["label"]) for part in parts] == [5, 5, 2]
    alone = np.concatenate([clf.predict_proba([text]) for text in TEXTS])
    np.testing.assert_allclose(clf.predict_proba(TEXTS), alone, atol=1e-5)
    assert clf.predict(TEXTS) == [clf.labels[i] for i in alone.argmax(axis=1)]


def test_tokens_are_made_while_the_part_before_is_computed(
    clf, small_parts, monkeypatch
):
    tokenize, compute = clf.tokenize, clf._compute
    begun, second = [], threading.Event()

    def seen(part):
        begun.append(threading.current_thread())
        if len(begun) == 2:
            second.set()
        return tokenize(part)

    def slow(batch):
        assert second.wait(30)  # Else it would be made only afterwards.
        return compute(batch)

    monkeypatch.setattr(clf, "tokenize", seen)
    monkeypatch.setattr(clf, "_compute", slow)
    assert len(clf.predict(TEXTS)) == len(TEXTS)
    assert len(begun) == 3 and threading.main_thread() not in begun


def test_one_part_ahead_and_no_more():
    made = []

    def values():
        for i in range(9):
            made.append(i)
            yield i

    for value in ahead(values()):
        assert value >= made[-1] - 1
    assert made == list(range(9))


def test_an_error_comes_out_in_its_place():
    def values():
        yield 1
        raise ZeroDivisionError

    come = ahead(values())
    assert next(come) == 1
    with pytest.raises(ZeroDivisionError):
        next(come)


def test_progress_counts_every_text(clf, small_parts, capfd):
    clf.predict(TEXTS)
    assert "12 of 12 texts" in capfd.readouterr().err
    clf.predict(TEXTS, verbose=0)
    clf.predict(TEXTS[:5])
    assert not capfd.readouterr().err
