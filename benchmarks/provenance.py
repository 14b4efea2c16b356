"""Where a figure comes from: commit, machine and versions, as every result file holds them."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from onepfrac.rendering import capabilities

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def provenance(*packages: str) -> dict[str, Any]:
    """Return commit, date, machine and versions; ``packages`` names further ones to list."""
    names = ("onepfrac", "numpy", "torch", *packages)
    return {
        "commit": commit(),
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "machine": {
            "cpu": cpu_name(),
            "cores": len(os.sched_getaffinity(0)),
            "threads": torch.get_num_threads(),
            "simd": list(capabilities().simd_levels),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": platform.platform(),
        },
        "versions": {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names},
    }


def commit() -> str:
    """Return the commit of this checkout, marked if tracked files, other than results, differ; empty outside one."""
    name = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", ":!benchmarks/results", ":!docs/pictures")
    return f"{name}-dirty" if name and changed else name


def _git(*arguments: str) -> str:
    result = subprocess.run(("git", "-C", str(ROOT), *arguments), capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else ""


def cpu_name() -> str:
    """Return the processor's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
