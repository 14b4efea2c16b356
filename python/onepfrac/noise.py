"""Images of noise: one base image, and for each key a perturbation of every pixel of it.

All is integers, in units of 1/128 gray, so that an image has the same bits on every device (csrc/noise_image.h). A
pixel is ``clamp((base + epsilon + 64) >> 7, 0, 255)`` with ``epsilon = (half * (u - 2**15) + 2**14) >> 15`` from a
16-bit draw u: uniform between -half and half. Column x of row y takes half ``x % 2`` of word ``(x % 8) // 2`` of the
Philox block with counter ``(x // 8, y, purpose, 0)``; the purpose is 6 for the base, of whose draw the upper 12 bits
choose a level, and 7 for the perturbation.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac import _C
from onepfrac.buffers import allocate
from onepfrac.camera import normal_levels
from onepfrac.rendering import check_threads, simd_cap, stream_of, to_device

__all__ = ["BRIGHTEST", "GRAY_UNITS", "base_image", "draw_noise", "normal_grays", "uniform_grays"]

GRAY_UNITS = 128
"""Units of one gray."""

BRIGHTEST = 255 * GRAY_UNITS
"""The largest value of a base and of an epsilon, in units."""

_ROWS = 64  # of a base that are drawn at a time: 4 MiB of counters and words at 4096 columns


def normal_grays(mean: float, std: float) -> NDArray[np.int16]:
    """Return equally probable levels of the normal distribution, in units, ascending and clipped: int16 (4096,).

    ``mean`` and ``std`` are in grays.
    """
    units = np.rint((normal_levels() * std + mean) * GRAY_UNITS)
    return np.clip(units, 0, BRIGHTEST).astype(np.int16)


def uniform_grays() -> NDArray[np.int16]:
    """Return equally spaced levels of 0..255, in units: int16 (4096,), level k at ``(k + 1/2) / 4096`` of the range."""
    count = _C.NOISE_LEVELS
    return np.rint((np.arange(count) + 0.5) / count * BRIGHTEST).astype(np.int16)


def base_image(key: int, levels: NDArray[np.int16], size: int) -> NDArray[np.int16]:
    """Draw the base.

    Parameters
    ----------
    key
        0..2**64-1.
    levels
        int16 (4096,), in units; the upper 12 bits of a draw choose one.
    size
        Side S in pixels.

    Returns
    -------
    int16 array (S, S), in units.
    """
    blocks = -(-size // 8)
    base = np.empty((size, size), np.int16)
    for first in range(0, size, _ROWS):
        rows = np.arange(first, min(first + _ROWS, size), dtype=np.uint32)
        counters = np.zeros((rows.size, blocks, 4), np.uint32)
        counters[:, :, 0] = np.arange(blocks, dtype=np.uint32)
        counters[:, :, 1] = rows[:, None]
        counters[:, :, 2] = _C.NOISE_BASE_PURPOSE
        words = _C.philox4x32(key, counters.reshape(-1, 4)).reshape(rows.size, blocks, 4)
        halves = np.stack([words & np.uint32(0xFFFF), words >> np.uint32(16)], axis=-1)
        base[first : first + rows.size] = levels[halves.reshape(rows.size, 8 * blocks)[:, :size] >> np.uint32(4)]
    return base


def draw_noise(base: torch.Tensor, keys: NDArray[np.uint64], half: int, *, threads: int | None = None) -> torch.Tensor:
    """Perturb the base, once for each key.

    Parameters
    ----------
    base
        int16 (S, S) of 0..`BRIGHTEST`, contiguous, on the CPU or a CUDA device; S in 8..4096.
    keys
        uint64 (B,).
    half
        The largest epsilon, 0..`BRIGHTEST` units.
    threads
        As in `onepfrac.render`.

    Returns
    -------
    uint8 tensor (B, 1, S, S) on the device of ``base``.
    """
    device = base.device
    out = allocate((len(keys), 1, *base.shape), torch.uint8, device)
    if len(keys):
        signed = np.ascontiguousarray(keys, np.uint64).view(np.int64)  # torch's unsigned types are of little use
        numbers = to_device(torch.from_numpy(signed if signed.flags.writeable else signed.copy()), device)
        _C.draw_noise(base, numbers, half, out, check_threads(threads), simd_cap(), stream_of(device))
    return out
