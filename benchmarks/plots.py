"""The README's plots, from benchmarks/results alone: docs/pictures/speed.png and growth.png.

python benchmarks/plots.py
"""

from __future__ import annotations

import json
import sys
from typing import Any

import matplotlib as mpl
from provenance import RESULTS, ROOT

mpl.use("Agg")
from matplotlib import pyplot as plt  # after the backend is chosen
from matplotlib import ticker

PICTURES = ROOT / "docs" / "pictures"
OURS, THEIRS = "#1b6ca8", "#b0b7bf"


def load(name: str) -> dict[str, Any]:
    """Read one result file."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def where(found: dict[str, Any]) -> str:
    """Say on what a result was measured."""
    return f"{found['machine']['cpu']}, {'/'.join(found['machine']['simd'])}, {found['date']}, {found['commit']}"


def speed() -> None:
    """Milliseconds an image of each contestant, and of the augmented stream, as bars."""
    render, stream = load("render"), load("stream")
    row = render["rows"][0]
    panels = (
        (f"an image of {row['points']:,} points, {row['size']} pixels, one thread", row["ms_an_image"], render),
        (f"an augmented image, {stream['size']} pixels, one thread", stream["ms_an_image"], stream),
    )
    figure, axes = plt.subplots(2, 1, figsize=(8, 5), layout="constrained", height_ratios=[len(p[1]) for p in panels])
    for axis, (title, timings, found) in zip(axes, panels, strict=True):
        medians = {name: timing["median"] for name, timing in timings.items()}
        bars = axis.barh(list(medians), list(medians.values()), color=[_colour(name) for name in medians])
        axis.bar_label(bars, [f"{value:.3g} ms" for value in medians.values()], padding=3)
        axis.set_xscale("log")
        axis.set_xlim(min(medians.values()) / 2, max(medians.values()) * 3)
        axis.invert_yaxis()
        axis.xaxis.set_major_locator(ticker.NullLocator())  # the bars carry their values
        axis.xaxis.set_minor_locator(ticker.NullLocator())
        axis.set_title(title, loc="left", fontsize=10)
        axis.set_xlabel(where(found), fontsize=7)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("milliseconds, median, logarithmic", fontsize=8)
    figure.savefig(PICTURES / "speed.png", dpi=120)


def growth() -> None:
    """Time against each axis, with the fitted line."""
    found = load("growth")
    rows = found["axes"]
    figure, axes = plt.subplots(1, len(rows), figsize=(3 * len(rows), 3), layout="constrained")
    for axis, row in zip(axes, rows, strict=True):
        values = row["values"]
        medians = [row["ms"][str(value)]["median"] for value in values]
        axis.plot(values, medians, "o", color=OURS)
        if row["axis"] == "threads":
            line = [medians[0] / value for value in values]
        else:
            x = [value * value for value in values] if row["axis"] == "size" else values
            line = [row["constant_us"] / 1e3 + row["ns_a_unit"] / 1e6 * value for value in x]
        axis.plot(values, line, "-", color=THEIRS, zorder=0)
        axis.set_xlabel(row["axis"])
        axis.xaxis.set_major_locator(ticker.MaxNLocator(4, integer=True))
        axis.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
        axis.set_ylabel("ms a call" if row["axis"] == "batch" else "ms an image")
        axis.set_ylim(bottom=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(PICTURES / "growth.png", dpi=120)


def _colour(name: str) -> str:
    return OURS if name.startswith("onepfrac") else THEIRS


def main() -> int:
    """Draw all."""
    speed()
    growth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
