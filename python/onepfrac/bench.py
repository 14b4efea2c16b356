"""How fast this machine draws and streams, in half a minute: what ``onepfrac bench`` prints.

The benchmarks that compare with others, and that the README quotes, are in ``benchmarks/`` of the repository.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from onepfrac.checks import check_float
from onepfrac.datasets import OnePFrac
from onepfrac.rendering import capabilities, check_device, pack, render

__all__ = ["Row", "bench"]

_IMAGES = {"cpu": 64, "cuda": 2048}  # a call


@dataclass(frozen=True)
class Row:
    """One measurement: calls of a fixed number of images, for a while.

    Attributes
    ----------
    what, where
        What was drawn or streamed, and by what.
    images_a_second
        Of the median call.
    spread
        Of the calls' times: (90th percentile - 10th percentile) / median.
    calls
        How many were timed.
    """

    what: str
    where: str
    images_a_second: float
    spread: float
    calls: int


def bench(seconds: float = 2.0, devices: list[str] | None = None) -> Iterator[Row]:
    """Measure rendering and streaming, row by row.

    Parameters
    ----------
    seconds
        How long each row is timed, 0.01..600; at least three calls are.
    devices
        ``"cpu"`` and CUDA devices. Default: the CPU and all CUDA devices.

    Yields
    ------
    Row
        100 000 points on 224 pixels (``point``) and on 512 (``patch``, as 1p-frac), on one thread and on all; then the
        stream of the default recipe under DeiT's augmentation, float32 (3, 224, 224), fixed draws and fresh.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, or a device is not there.
    """
    seconds = check_float("seconds", seconds, 0.01, 600.0)
    if devices is None:
        devices = ["cpu", *(f"cuda:{index}" for index in range(capabilities().cuda_devices))]
    checked = [check_device("devices", device) for device in devices]
    recipe = OnePFrac()
    for device in checked:
        images = _IMAGES[device.type]
        maps = np.resize(recipe.liep.maps.astype(np.float32), (images, recipe.num_maps, 2, 3))
        packed = pack(maps, recipe.ifs.probs, np.arange(images), device=device)
        threads: list[int | None] = [None]
        if device.type == "cpu" and torch.get_num_threads() > 1:
            threads = [1, None]
        for size, brush in ((224, "point"), (512, "patch")):
            out = torch.empty((images, 1, size, size), dtype=torch.uint8, device=device)
            for count in threads:
                draw = partial(render, packed, size=size, brush=brush, threads=count, out=out)
                yield _row(f"render {size}, {brush}", _place(device, count), draw, images, device, seconds)
        for count in threads:
            for draws in ("fixed", "fresh"):
                stream = recipe.stream(batch_size=images, augment="deit", draws=draws, device=device, threads=count)
                take = partial(next, iter(stream))
                yield _row(f"stream 224, deit, {draws} draws", _place(device, count), take, images, device, seconds)


def _row(what: str, where: str, call: Callable[[], object], images: int, device: torch.device, seconds: float) -> Row:
    times: list[float] = []
    end = time.perf_counter() + seconds
    call()  # warms up
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    times.sort()
    median = statistics.median(times)
    spread = (times[int(0.9 * len(times))] - times[int(0.1 * len(times))]) / median
    return Row(what, where, images / median, spread, len(times))


def _place(device: torch.device, threads: int | None) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    count = torch.get_num_threads() if threads is None else threads
    return "one CPU thread" if count == 1 else f"{count} CPU threads"
