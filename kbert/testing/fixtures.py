"""Fixtures of pytest for the tests of head plugins."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from typing import Any

import pytest

if TYPE_CHECKING:
    from kbert.classifier import Classifier
    from kbert.heads.base import Head


@pytest.fixture
def kbert_classifier() -> Iterator[Callable[..., Classifier]]:
    """A function that makes a small classifier with a head of one's own.

    Its weights are random, so that nothing is downloaded. The head need not
    be registered: until the test ends kbert knows it by its name, as `load`
    and the SavedModel's export ask for it.

    Example:

    >>> def test_urgent(kbert_classifier):
    ...     clf = kbert_classifier(UrgentHead, gamma=1.0)
    ...     x, y = ["now!", "some day"] * 8, ["urgent", "routine"] * 8
    ...     clf.fit(x, y, epochs=10, learning_rate=1e-3)
    ...     assert clf.predict(["now!"]) == ["urgent"]
    """
    with ExitStack() as stack:

        def make(head: type[Head], **options: Any) -> Classifier:
            # Imported here: tests of other things pay nothing for it.
            from kbert.classifier import Classifier
            from kbert.plugins import Registered
            from kbert.plugins import get_plugins

            entry = Registered(head, "under test", "0")
            stack.enter_context(get_plugins().heads.lend(head.name, entry))
            options = {"seed": 0} | options
            return Classifier("random:1x64", head.name, **options)

        yield make
