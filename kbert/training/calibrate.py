"""What heads learn from validation data when training is over."""

from __future__ import annotations

import copy
from typing import Any

from kbert.pipeline.text_model import TextModel
from kbert.training.examples import Rows


def calibrate(task: TextModel, held_out: Rows) -> dict[str, Any]:
    """Have the head learn from validation data; what is to be noted of it."""
    answers = task.answer_columns(held_out.columns)
    # A copy, since a head may change what it holds in place.
    before = copy.deepcopy(task.head.get_config())
    task.head.calibrate(answers, held_out.targets)
    # Most heads learn nothing more; then the answers stand.
    if task.head.get_config() != before:
        task.build_serving()
        answers = task.answer_columns(held_out.columns)
    return {
        "validation_rows": len(held_out),
        "validation": task.head.report(answers, held_out.targets),
    }
