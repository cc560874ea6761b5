"""Shared by the tests of kbert and of its plugins."""

from hypothesis import HealthCheck
from hypothesis import settings

# An example's time says how busy the machine is, not whether it is right.
settings.register_profile(
    "kbert", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("kbert")
