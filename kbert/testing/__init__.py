"""What tests of plugins need: `check_head`, and a fixture for pytest.

Names are imported when they are first used: pytest loads the fixture wherever
kbert is installed.
"""

from typing import TYPE_CHECKING
from typing import Any

if TYPE_CHECKING:
    from kbert.testing.heads import check_head

__all__ = ["check_head"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(
            f"module 'kbert.testing' has no attribute {name!r}"
        )
    from kbert.testing import heads

    return getattr(heads, name)
