"""Memory: of arrays to draw into, and of batches on the CPU, used again once nobody holds the batch that lies in it.

A fresh batch of many megabytes costs more than drawing it: the system hands out such memory page by page, and takes it
back when the batch goes (2 us a page of 4 KiB where we measured it).
"""

from __future__ import annotations

import math
import weakref

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["Buffers", "allocate"]

_ALIGNMENT = 64


def allocate(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """Return a tensor of any content.

    Raises
    ------
    MemoryError
        If the CPU has no room for it, where torch has a RuntimeError.
    torch.cuda.OutOfMemoryError
        If a GPU has none.
    """
    if device.type != "cpu" or torch.compiler.is_compiling():
        return torch.empty(shape, dtype=dtype, device=device)
    try:
        return torch.empty(shape, dtype=dtype)
    except RuntimeError as error:
        size = math.prod(shape) * dtype.itemsize
        raise MemoryError(f"no memory for an array of the shape {shape} and {dtype}, {size} bytes") from error


class Buffers:
    """Hands out memory and takes it back by itself when the last tensor that shares it is gone.

    At most one block waits to be used again: with batches of one size, what a loop needs that asks for the next batch
    while it holds the last one.
    """

    def __init__(self) -> None:
        self._spare: list[NDArray[np.uint8]] = []

    def take(self, count: int) -> torch.Tensor:
        """Return ``count`` bytes of any content, a uint8 tensor (count,)."""
        block: NDArray[np.uint8] | None
        try:
            block = self._spare.pop()
        except IndexError:  # none, or another thread has just taken it
            block = None
        if block is None or block.size < count + _ALIGNMENT or block.size > 2 * (count + _ALIGNMENT):
            block = np.empty(count + _ALIGNMENT, np.uint8)
        offset = -block.ctypes.data % _ALIGNMENT
        part = block[offset : offset + count]  # its finalizer runs when the tensor's storage lets go of it
        weakref.finalize(part, self._give_back, block).atexit = False
        return torch.from_numpy(part)

    def _give_back(self, block: NDArray[np.uint8]) -> None:
        self._spare[:] = [block]
