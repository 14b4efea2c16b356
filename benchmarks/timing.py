"""Taking turns: how every benchmark here times its contestants, and where it leaves what it found."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from provenance import RESULTS, provenance

from onepfrac import files

Call = Callable[[int], object]  # takes the number of the turn


def take_turns(
    contestants: Mapping[str, tuple[int, Call]], turns: int, warm_up: int = 3
) -> dict[str, dict[str, float]]:
    """Time every contestant (images a call, call) in turn, so that a machine whose speed drifts treats all alike.

    In its turn each is called twice and timed the second time: the first brings its own data back into the caches,
    which the contestant before has filled with other.

    Returns
    -------
    Of each: minimum, median and 90th percentile, in milliseconds an image.
    """
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(turns + warm_up):
        for name, (images, call) in contestants.items():
            call(turn)
            start = time.perf_counter()
            call(turn)
            if turn >= warm_up:
                times[name].append(1e3 * (time.perf_counter() - start) / images)
    return {name: spread(found) for name, found in times.items()}


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and 90th percentile."""
    ordered = sorted(values)
    return {"min": ordered[0], "median": statistics.median(ordered), "p90": ordered[int(0.9 * len(ordered))]}


def fit_line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float, float]:
    """Fit y = a + b x, each point weighted by 1 / y; return a, b and the largest relative deviation."""
    xs, ys = np.asarray(x, float), np.asarray(y, float)
    design = np.stack([np.ones_like(xs), xs], 1) / ys[:, None]
    a, b = np.linalg.lstsq(design, np.ones_like(ys), rcond=None)[0]
    return float(a), float(b), float(np.abs((a + b * xs) / ys - 1).max())


def write(name: str, found: Mapping[str, Any], packages: Sequence[str] = (), folder: Path = RESULTS) -> None:
    """Write what a benchmark found, with its provenance, to ``name.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"benchmark": name, **provenance(*packages), **found}, indent=1)
    files.write_text(folder / f"{name}.json", text + "\n")
