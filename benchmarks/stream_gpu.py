"""The augmented stream on a CUDA device: images a second, by events, and what limits it.

    python benchmarks/stream_gpu.py            # a table, and benchmarks/results/stream_gpu.json
    python benchmarks/stream_gpu.py --smoke    # seconds; writes nothing

First 1p-frac under several augmentations and dtypes, then every dataset under crops and flips with fresh draws. Each
row takes batches of ``stream`` one after the other, as a training loop does, and does nothing with them. With
fixed draws the canvases lie on the device as bits; with fresh draws each image is drawn and photographed by one kernel.
Before a row is timed its first batch is compared with the CPU's, bit for bit. Beside the rate stand what the host takes
for an image (the plan and its way to the device; where that is more than the rate's inverse, the host is the limit) and
the share that the rate makes of the bytes that can be written (4.8 TB/s, an H200's).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from timing import spread, write

import onepfrac
from onepfrac import _C
from onepfrac.datasets import RECIPES, Recipe

SIZE, BATCH, CLASSES = 224, 1024, 1000
# Dataset, augmentation, draws, dtype, channels last.
ROWS: tuple[tuple[str, str | None, str, torch.dtype, bool], ...] = (
    ("OnePFrac", "deit", "fixed", torch.bfloat16, False),
    ("OnePFrac", "deit", "fresh", torch.bfloat16, False),
    ("OnePFrac", "deit", "fixed", torch.bfloat16, True),
    ("OnePFrac", "deit", "fixed", torch.float32, False),
    ("OnePFrac", "deit", "fixed", torch.uint8, False),
    ("OnePFrac", "crop-flip", "fixed", torch.bfloat16, False),
    ("OnePFrac", "crop-flip", "fresh", torch.bfloat16, False),
    ("OnePFrac", None, "fixed", torch.bfloat16, False),
    ("FractalDB", "crop-flip", "fresh", torch.bfloat16, False),
    ("VisualAtoms", "crop-flip", "fresh", torch.bfloat16, False),
    ("FractalScenes", "crop-flip", "fresh", torch.bfloat16, False),
    ("Noise", "crop-flip", "fresh", torch.bfloat16, False),
    ("SingleImage", "crop-flip", "fresh", torch.bfloat16, False),
)


def recipe_of(dataset: str, classes: int) -> Recipe:
    """Return the default recipe of a dataset; of one image, that of gray ramps: its content does not matter here."""
    if dataset == "SingleImage":
        ramps = np.add.outer(np.arange(512), np.arange(512) * 2).astype(np.uint8)
        return onepfrac.SingleImage.from_photo(ramps, canny=False, num_classes=classes)
    return RECIPES[dataset](num_classes=classes)


def images_a_second(call: Callable[[], object], images: int, calls: int) -> dict[str, float]:
    """Time calls by events on the current stream; return the spread of images a second."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    rates = []
    for _ in range(calls):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(4):
            call()
        end.record()
        end.synchronize()
        rates.append(4e3 * images / start.elapsed_time(end))
    return spread(rates)


def measure(
    dataset: str, augment: str | None, draws: str, dtype: torch.dtype, channels_last: bool, smoke: bool
) -> dict[str, Any]:
    """One row."""
    recipe = recipe_of(dataset, 16 if smoke else CLASSES if dataset == "OnePFrac" else 100)
    settings: dict[str, Any] = {"size": SIZE, "augment": augment, "draws": draws, "dtype": dtype}
    few = 64
    compared = [
        next(iter(recipe.stream(few, device=device, channels_last=channels_last, **settings)))[0].cpu()
        for device in ("cuda", "cpu")
    ]
    if not torch.equal(*compared):
        raise RuntimeError(f"the GPU's batch differs from the CPU's: {settings}")
    batch = few if smoke else BATCH
    stream = recipe.stream(batch, device="cuda", channels_last=channels_last, **settings)
    batches = iter(stream)
    for _ in range(-(-recipe.num_classes // batch)):  # the canvases that are kept are drawn
        next(batches)
    rates = {"stream": images_a_second(lambda: next(batches), batch, 3 if smoke else 15)}
    stall = statistics.median(_host_seconds(lambda: next(batches), 3 if smoke else 15))
    return {
        "dataset": dataset,
        "augment": augment,
        "draws": draws,
        "dtype": str(dtype).removeprefix("torch."),
        "channels_last": channels_last,
        "batch": batch,
        "images_a_second": rates,
        "host_us_an_image": 1e6 * stall / batch,
        "of_bytes_written": rates["stream"]["median"] * 3 * SIZE * SIZE * dtype.itemsize / 4.8e12,
    }


def _host_seconds(call: Callable[[], object], calls: int) -> list[float]:
    """Time what the host does for a call, with an idle device."""
    found = []
    for _ in range(calls):
        torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two rows of small batches; write nothing")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available() or not _C.CUDA_ARCHS:
        parser.error("no CUDA device here, or an extension without CUDA")
    rows = [measure(*row, options.smoke) for row in (ROWS[:2] if options.smoke else ROWS)]
    print("images/s (median); host us an image; share of the bytes that can be written")
    for row in rows:
        name = f"{row['dataset']} {row['augment'] or 'none'} {row['draws']} {row['dtype']}"
        name += " channels last" * row["channels_last"]
        rate = row["images_a_second"]["stream"]["median"]
        print(f"  {name:48s} {rate:12,.0f} {row['host_us_an_image']:8.2f} {row['of_bytes_written']:8.0%}")
    if not options.smoke:
        write("stream_gpu", {"size": SIZE, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
