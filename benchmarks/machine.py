"""What a figure was measured on: the first line of every benchmark."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import kbert


def machine(*packages: str) -> str:
    """Date, processor, cores, load, and versions of kbert and packages."""
    cores = len(os.sched_getaffinity(0))
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{time.strftime('%Y-%m-%d')}, {cores} cores of {_cpu()}, load "
        f"{os.getloadavg()[0]:.1f}, Python {platform.python_version()}, kbert "
        f"{kbert.__version__}, {versions}"
    )


def _cpu() -> str:
    """The processor's name."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()
