# What pyright brings of TensorFlow lacks much of it.
from typing import Any

def __getattr__(name: str) -> Any: ...
