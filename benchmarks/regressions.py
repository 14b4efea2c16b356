"""Timings to compare with earlier ones on the same machine, by pytest-benchmark.

    pytest benchmarks/regressions.py --benchmark-autosave                               # before a change
    pytest benchmarks/regressions.py --benchmark-compare --benchmark-compare-fail=median:8%    # after it

What others take, and what we claim, is in the other benchmarks; here is one row for each piece of work.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import onepfrac
from onepfrac.rendering import BITS, capabilities

IMAGES = 64
MAPS = np.repeat(onepfrac.sample_ifs(sigma=3.5, seed=1).maps[None], IMAGES, 0)


@pytest.mark.parametrize("level", capabilities().simd_levels)
@pytest.mark.parametrize(("size", "brush"), [(224, "point"), (512, "patch")])
def test_render(benchmark: Any, monkeypatch: pytest.MonkeyPatch, level: str, size: int, brush: str) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    packed = onepfrac.pack(MAPS, [0.5, 0.5], np.arange(IMAGES))
    out = torch.empty((IMAGES, 1, size, size), dtype=torch.uint8)
    benchmark(onepfrac.render, packed, size=size, brush=brush, threads=1, out=out)


def test_expand(benchmark: Any) -> None:
    bits = onepfrac.render(MAPS, points=1000, size=512, dtype=BITS)
    benchmark(onepfrac.expand, bits, size=512, threads=1)


def test_pack(benchmark: Any) -> None:
    benchmark(onepfrac.pack, MAPS, [0.5, 0.5], np.arange(IMAGES))


@pytest.mark.parametrize("level", capabilities().simd_levels)
def test_visual_atoms(benchmark: Any, monkeypatch: pytest.MonkeyPatch, level: str) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    recipe = onepfrac.VisualAtoms(IMAGES, instances=1)
    benchmark(recipe.draw, recipe.plan(np.arange(IMAGES)), torch.device("cpu"), 1)


@pytest.mark.parametrize("draws", ["fixed", "fresh"])
def test_stream(benchmark: Any, draws: str) -> None:
    stream = onepfrac.OnePFrac(num_classes=16).stream(batch_size=16, augment="deit", draws=draws, threads=1)
    batches = iter(stream)
    benchmark(next, batches)
