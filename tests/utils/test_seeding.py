"""Random numbers of a model's own, beside other threads."""

import random
import threading

import keras
import numpy as np

import kbert
from kbert.utils.seeding import Draws


def trained(toy, seed):
    clf = kbert.Classifier("random:1x64", seed=seed)
    clf.fit(*toy, epochs=2, batch_size=8, learning_rate=1e-3, verbose=0)
    return clf.predict_proba(toy[0])


def test_threads_with_one_seed_train_one_model(toy):
    alone, found = trained(toy, 3), {}
    random.random()
    np.random.rand()
    state, numbers = random.getstate(), np.random.get_state()[1].tolist()

    def run(name, seed):
        found[name] = trained(toy, seed)

    threads = [
        threading.Thread(target=run, args=pair)
        for pair in (("one", 3), ("other", 3), ("else", 4))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(found["one"], alone)
    np.testing.assert_array_equal(found["other"], alone)
    assert np.abs(found["else"] - alone).max() > 1e-4
    # Those of everyone else are as they were.
    assert random.getstate() == state
    assert np.random.get_state()[1].tolist() == numbers


def test_draws_go_on_where_they_were():
    def numbers(draws):
        with draws.own():
            return random.random(), keras.layers.Dropout(0.1).seed_generator

    one, other = Draws(0), Draws(0)
    first = [numbers(one)[0], numbers(one)[0]]
    random.seed(9)
    assert [numbers(other)[0], numbers(other)[0]] == first
    assert first[0] != first[1]
    random.seed(5)
    expected = random.random()
    random.seed(5)
    with Draws(None).own():
        assert random.random() == expected
