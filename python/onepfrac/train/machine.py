"""The machine under a training script: its device, random state, clock and signals."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from onepfrac.draws import Purpose, keys

__all__ = ["INITIAL", "Clock", "describe", "ignore_signals", "pick_device", "seed_step", "signals"]

INITIAL = 2**64 - 1
"""Index of the draws before the first step: a model's fresh weights."""


def pick_device(name: str) -> torch.device:
    """Return the device that ``name`` means; under torchrun ``auto`` and ``cuda`` give each rank its own.

    Raises
    ------
    ValueError
        If it means none, or a CUDA device that is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    kind, colon, number = name.partition(":")
    if name != "cpu" and not (kind == "cuda" and (number.isdecimal() if colon else True)):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number) if colon else int(os.environ.get("LOCAL_RANK", 0))
    count = torch.cuda.device_count()
    if index >= count:
        raise ValueError(
            f"device must be one of this machine's {count} CUDA devices or cpu, got {name!r} (index {index})"
        )
    device = torch.device("cuda", index)
    torch.cuda.set_device(device)
    return device


def describe(device: torch.device) -> str:
    """Return a name for people."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU ({torch.get_num_threads()} threads)"


def seed_step(seed: int, index: int) -> None:
    """Seed torch, and NumPy for timm's mixup, by a draw of (``seed``, ``index``): no step depends on the one before."""
    key = int(keys(seed, Purpose.TRAIN, np.array(index, np.uint64)))
    torch.manual_seed(key)
    np.random.seed(key % 2**32)  # noqa: NPY002


class Clock:
    """Measures time in laps, and how much of it the device waited for data."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._waits: list[tuple[Any, Any]] = []
        self._began = self._lap = time.perf_counter()

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Count the time inside as waiting: on CUDA by the device's own timeline, which the host runs ahead of."""
        start = self._mark()
        yield
        self._waits.append((start, self._mark()))

    def lap(self) -> tuple[float, float]:
        """Return the seconds since the last lap, and how many of them were waiting."""
        if self._cuda:
            torch.cuda.synchronize()
        waited = sum(a.elapsed_time(b) / 1e3 if self._cuda else b - a for a, b in self._waits)
        self._waits.clear()
        lap, self._lap = self._lap, time.perf_counter()
        return max(self._lap - lap, 1e-9), waited

    def seconds(self) -> float:
        """Return the seconds since the clock was made."""
        return max(time.perf_counter() - self._began, 1e-9)

    def _mark(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


@contextmanager
def signals() -> Iterator[list[int]]:
    """Collect Ctrl-C and SIGTERM in a list, so that a step can be finished; a second signal acts as usual."""
    asked: list[int] = []
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    if threading.current_thread() is threading.main_thread():
        before.update({number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_signals(_: int) -> None:
    """Let a loader process outlive a signal to the whole group until its parent has finished the step."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
