"""What stands in a SavedModel of kbert, by name."""

from pathlib import Path

from kbert.utils.atomic import CONFIG

# The signature that is asked if none is named; TensorFlow's name for it.
DEFAULT_SIGNATURE = "serving_default"

# The model's configuration, beside the graph, where TF Serving passes it by.
CARD = Path("assets.extra") / CONFIG
