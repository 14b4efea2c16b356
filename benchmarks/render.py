"""Rendering throughput: onepfrac against chaos games in Numba and NumPy that do the same, one thread each.

    python benchmarks/render.py            # a table, and benchmarks/results/render.json
    python benchmarks/render.py --smoke    # seconds; writes nothing

Each row's contestants take turns in one process, so that a machine whose speed drifts treats them alike; ours draws
256 images a call, a batch of the stream, once with each vector unit that the machine has, the others one. The figure is
the median over the turns, the ratio that of the medians. "Numba, plain" is what one writes: ``np.random.random()``
against the running sum of probabilities, then bounds, then pixels. "Numba, tuned" is the best scalar loop we could
write: a xorshift generator in registers, 16-bit draws, float32, buffers made once. A scalar loop is slowest where the
maps are equally probable, since it branches on the draw; ours does not, so the row for equal probabilities stands
beside rows for systems as the recipe samples them.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from timing import Call, take_turns, write

import onepfrac
from onepfrac.rendering import capabilities

PAD = 6
BATCH = 256  # images a call of ours: a batch of the stream
LEVEL_NAMES = {"avx512": "onepfrac, AVX-512", "avx2": "onepfrac, AVX2", "scalar": "onepfrac, scalar"}


@numba.njit(cache=False)
def plain_numba(maps: Any, probs: Any, points: int, size: int, pad: int) -> Any:
    """Chaos game as one writes it: float64, one orbit, NumPy's generator."""
    cumulative = np.cumsum(probs)
    last = len(probs) - 1
    xs, ys = np.empty(points), np.empty(points)
    x = y = 0.0
    for i in range(points):
        draw = np.random.random()  # noqa: NPY002  # Numba's generator
        j = 0
        while j < last and draw > cumulative[j]:
            j += 1
        x, y = (
            maps[j, 0, 0] * x + maps[j, 0, 1] * y + maps[j, 0, 2],
            maps[j, 1, 0] * x + maps[j, 1, 1] * y + maps[j, 1, 2],
        )
        xs[i] = x
        ys[i] = y
    x_min, y_min = xs.min(), ys.min()
    x_scale, y_scale = (size - 2 * pad) / (xs.max() - x_min), (size - 2 * pad) / (ys.max() - y_min)
    image = np.zeros((size, size), np.uint8)
    for i in range(points):
        image[size - 1 - int((ys[i] - y_min) * y_scale + pad), int((xs[i] - x_min) * x_scale + pad)] = 127
    return image


@numba.njit(cache=False)
def tuned_numba(maps: Any, thresholds: Any, seed: Any, pad: int, xs: Any, ys: Any, image: Any) -> None:
    """The same with everything that helps a scalar loop: draws in registers, float32, no allocation."""
    state = np.uint64(seed)
    x = y = np.float32(0)
    x_min = y_min = np.float32(3e38)
    x_max = y_max = np.float32(-3e38)
    for i in range(len(xs)):
        state ^= state << np.uint64(13)
        state ^= state >> np.uint64(7)
        state ^= state << np.uint64(17)
        draw = np.uint32(state >> np.uint64(48))
        j = 0
        while draw >= thresholds[j]:
            j += 1
        m = maps[j]
        x, y = m[0, 0] * x + m[0, 1] * y + m[0, 2], m[1, 0] * x + m[1, 1] * y + m[1, 2]
        xs[i] = x
        ys[i] = y
        x_min, x_max, y_min, y_max = min(x_min, x), max(x_max, x), min(y_min, y), max(y_max, y)
    size = len(image)
    x_scale, y_scale = np.float32(size - 2 * pad) / (x_max - x_min), np.float32(size - 2 * pad) / (y_max - y_min)
    image[:] = 0
    for i in range(len(xs)):
        row = size - 1 - np.int32((ys[i] - y_min) * y_scale + pad)
        image[row, np.int32((xs[i] - x_min) * x_scale + pad)] = 127


def numpy_game(maps: NDArray[np.float64], probs: NDArray[np.float64], points: int, size: int) -> NDArray[np.uint8]:
    """A loop in Python with NumPy for the rest, as the released generators have it."""
    choices = np.searchsorted(np.cumsum(probs), np.random.RandomState(100).random_sample(points)).tolist()
    rows = maps.reshape(-1, 6).tolist()
    xs, ys = [0.0] * points, [0.0] * points
    x = y = 0.0
    for i, j in enumerate(choices):
        a, b, e, c, d, f = rows[min(j, len(rows) - 1)]
        x, y = a * x + b * y + e, c * x + d * y + f
        xs[i], ys[i] = x, y
    px, py = np.array(xs), np.array(ys)
    px = ((px - px.min()) / (px.max() - px.min()) * (size - 2 * PAD) + PAD).astype(np.int64)
    py = ((py - py.min()) / (py.max() - py.min()) * (size - 2 * PAD) + PAD).astype(np.int64)
    image = np.zeros((size, size), np.uint8)
    image[size - 1 - py, px] = 127
    return image


def vector_levels() -> list[str]:
    """Return the vector units of this machine, the widest first; the scalar path where there is none."""
    return [level for level in reversed(capabilities().simd_levels) if level != "scalar"] or ["scalar"]


def compare(name: str, system: onepfrac.IFS, points: int, size: int, turns: int, brush: str) -> dict[str, Any]:
    """One row: our renderer and its peers on the same system."""
    maps, probs = system.maps, system.probs
    single = maps.astype(np.float32)
    thresholds = np.round(65536 * np.cumsum(probs)).astype(np.uint32)
    thresholds[-1] = 65536
    xs, ys = np.empty(points, np.float32), np.empty(points, np.float32)
    buffer = np.empty((size, size), np.uint8)
    out = torch.empty((BATCH, 1, size, size), dtype=torch.uint8)
    batch = np.repeat(maps[None], BATCH, 0)

    def ours(turn: int, level: str) -> object:
        seeds = np.arange(BATCH * turn, BATCH * (turn + 1))
        os.environ["ONEPFRAC_SIMD"] = level
        return onepfrac.render(
            batch, probs, points=points, size=size, pad=PAD, brush=brush, seed=seeds, threads=1, out=out
        )

    contestants: dict[str, tuple[int, Call]] = {
        LEVEL_NAMES[level]: (BATCH, functools.partial(ours, level=level)) for level in vector_levels()
    }
    if brush == "point":  # the peers draw points alone
        contestants["Numba, plain"] = (1, lambda _: plain_numba(maps, probs, points, size, PAD))
        contestants["Numba, tuned"] = (1, lambda i: tuned_numba(single, thresholds, i + 1, PAD, xs, ys, buffer))
    timings = take_turns(contestants, turns)
    if brush == "point":
        timings |= take_turns({"NumPy": (1, lambda _: numpy_game(maps, probs, points, size))}, max(3, turns // 12))
    return {"system": name, "maps": system.num_maps, "points": points, "size": size, "brush": brush, "turns": turns} | {
        "probabilities": probs.tolist(),
        "ms_an_image": timings,
    }


def dataset(images: int) -> dict[str, Any]:
    """The whole 1p-frac dataset of the paper (512, 100k points, patch), one thread and two; s a thousand images."""
    os.environ.pop("ONEPFRAC_SIMD", None)
    recipe = onepfrac.OnePFrac(num_classes=images)
    maps, probs = recipe.liep.maps.astype(np.float32), recipe.ifs.probs
    seconds: dict[str, list[float]] = {"one thread": [], "two threads": []}
    out = torch.empty((images, 1, 512, 512), dtype=torch.uint8)
    for _ in range(2 if images < 1000 else 12):
        for threads, name in enumerate(seconds, 1):
            start = time.perf_counter()
            onepfrac.render(maps, probs, threads=threads, out=out)
            seconds[name].append((time.perf_counter() - start) * 1000 / images)
    return {"images": images, "seconds_a_thousand": {name: min(times) for name, times in seconds.items()}}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few images only; write nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    turns = 2 if options.smoke else 60
    samples = [onepfrac.sample_ifs(sigma=3.5, num_maps=2, seed=seed) for seed in range(4)]
    equal = onepfrac.IFS(samples[1].maps, [0.5, 0.5])
    many = onepfrac.sample_ifs(sigma=9.0, num_maps=5, seed=0)
    rows = [
        compare("equal probabilities", equal, 100_000, 224, turns, "point"),
        *(compare(f"seed {k}", system, 100_000, 224, turns, "point") for k, system in enumerate(samples)),
        compare("equal probabilities", equal, 100_000, 512, turns, "point"),
        compare("equal probabilities", equal, 100_000, 512, turns, "patch"),
        compare("five maps", many, 100_000, 224, turns, "point"),
    ]
    levels = [LEVEL_NAMES[level] for level in vector_levels()]
    print("ms an image, one thread (median); how many times ours,", " and ".join(levels))
    for row in rows:
        medians = {name: timing["median"] for name, timing in row["ms_an_image"].items()}
        cells = [f"{name} {medians[name]:7.4f}" for name in levels]
        for name in (name for name in medians if name not in levels):
            ratios = ", ".join(f"{medians[name] / medians[level]:5.1f}x" for level in levels)
            cells.append(f"{name} {medians[name]:7.3f} ({ratios})")
        print(f"  {row['system']:20s} {row['size']:4d} {row['brush']:6s}", " | ".join(cells))
    whole = dataset(50 if options.smoke else 1000)
    print("1p-frac, 1000 images of 512, 100k points, patch:", whole["seconds_a_thousand"], "s")
    if not options.smoke:
        write("render", {"rows": rows, "dataset": whole}, ("numba",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
