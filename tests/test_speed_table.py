"""The table of benchmarks/speed.py: ratios, aims, peers that fail."""

import sys
from pathlib import Path

import pytest


@pytest.fixture
def speed(monkeypatch):
    folder = Path(__file__).resolve().parents[1] / "benchmarks"
    monkeypatch.syspath_prepend(str(folder))
    import speed

    yield speed
    for name in ("speed", "rows", "machine", "real_data"):
        sys.modules.pop(name, None)


def turn(speed, name, figures, aim=None):
    figures = iter(figures)

    def go():
        figure = next(figures)
        if figure is None:
            raise RuntimeError(f"{name}: out of memory")
        return figure

    return speed.Turn(name, lambda: (go, lambda: None), aim)


def lines(speed, ours, *peers, less=False):
    row = speed.Row("predict", "SMS", "texts/s", ours, peers, less)
    return list(speed.measure(row, rounds=3))


def test_a_ratio_is_that_of_a_round_and_the_first_turn_is_left_out(speed):
    # One peer after the other, each beside turns of its own.
    ours = turn(speed, "kbert", [1, 100, 200, 300, 100, 200, 300])
    ahead = turn(speed, "a", [9, 50, 50, 50], aim=2)
    short = turn(speed, "b", [9, 100, 100, 300], aim=2)
    (a, b) = lines(speed, ours, ahead, short)
    assert a[2:] == (
        *("200 texts/s", "a", "50 texts/s", "4.00", "2.00-6.00", "2"),
    )
    assert b[5:] == ("1.00", "1.00-2.00", "2, short")


def test_where_less_is_better_above_one_is_still_ahead(speed):
    ours = turn(speed, "kbert", [9, 2, 2, 2])
    (line,) = lines(speed, ours, turn(speed, "a", [9, 6, 6, 6]), less=True)
    assert line[5] == "3.00"


def test_peers_that_are_named_stay(speed):
    ours, a, b = (turn(speed, name, [1]) for name in ("kbert", "a", "b"))
    row = speed.Row("predict", "SMS", "texts/s", ours, (a, b))
    assert speed.among(row, ["b", "c"]).peers == (b,)
    assert speed.among(row, None) == row


def test_a_peer_that_fails_says_why_and_the_others_go_on(speed):
    ours = turn(speed, "kbert", [1] * 7)
    at_once = turn(speed, "a", [None])
    later = turn(speed, "b", [1, 1, None])
    fine = turn(speed, "c", [1, 1, 1, 1])
    a, b, c = lines(speed, ours, at_once, later, fine)
    assert "out of memory" in a[4] and "out of memory" in b[4]
    assert c[5] == "1.00"


def test_markdown_names_a_row_once(speed):
    ours = turn(speed, "kbert", [1] * 7)
    peers = [turn(speed, name, [1, 1, 1, 1]) for name in "ab"]
    text = speed.markdown(lines(speed, ours, *peers), "here")
    rows = text.splitlines()[2:]
    assert rows[0].startswith("| predict | SMS |")
    assert rows[1].startswith("|  |  | 1 texts/s | b |")
    assert rows[-1] == "here"
