"""A plain NumPy twin of the camera, written from the text of csrc/camera.h: slow, and shares no code with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from twin import fma, philox

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

PHASES, WEIGHT_SUM, NOISE = 128, 2048, 4
WINDOW, BRIGHTNESS, CONTRAST, SHARPNESS, AUTOCONTRAST, EQUALIZE, POSTERIZE, SOLARIZE, SOLARIZE_ADD, INVERT = range(
    1, 11
)


def positions(row: NDArray[np.float64], size: int) -> Ints:
    """Where one row of an affine map leads each pixel of a picture, (size, size), in units of 2**-32."""
    a, b, e = (int(np.rint(value * 2.0**32)) for value in (row[0], row[1], row[2] + 0.5 * (row[0] + row[1])))
    return a * np.arange(size)[None, :] + b * np.arange(size)[:, None] + e


def cubic(distance: Floats) -> Floats:
    d = np.abs(distance)
    full = np.full_like
    inner = fma(fma(full(d, 1.5), d, full(d, -2.5)), d * d, full(d, 1))
    outer = fma(fma(fma(full(d, -0.5), d, full(d, 2.5)), d, full(d, -4)), d, full(d, 2))
    return np.where(d < 1, inner, np.where(d < 2, outer, np.float32(0))).astype(np.float32)


def triangle(distance: Floats) -> Floats:
    return np.maximum(np.float32(1) - np.abs(distance), np.float32(0)).astype(np.float32)


def kernel(footprint: np.float32, bilinear: bool) -> Ints:
    """The weights of every phase, (128, taps): differences of the rounded running sums."""
    reach = int(np.ceil(footprint if bilinear else 2 * footprint))
    scale = (np.float32(1) / np.float32(PHASES)) / footprint
    offsets = (np.arange(2 * reach) - reach + 1)[None, :] * PHASES - np.arange(PHASES)[:, None]
    values = (triangle if bilinear else cubic)(offsets.astype(np.float32) * scale)
    running = np.zeros((PHASES, 2 * reach), np.float32)
    total = np.zeros(PHASES, np.float32)
    for tap in range(2 * reach):  # float32, tap after tap
        total = total + values[:, tap]
        running[:, tap] = total
    factor = np.float32(WEIGHT_SUM) / total
    edges = np.rint(running * factor[:, None]).astype(np.int64)
    return np.diff(edges, axis=1, prepend=0)


def sample(canvas: NDArray[np.uint8], view: NDArray[np.float64], size: int, bilinear: bool) -> Ints:
    """The grays (size, size) that a view shows."""
    lefts, weights = [], []
    for row in view:
        places = (
            positions(row, size) - 2**31 + 2**24
        ) // 2**25  # in 1/128 of a canvas pixel, from the centre of pixel 0
        of_phase = kernel(np.float32(max(1.0, np.sqrt(row[0] ** 2 + row[1] ** 2))), bilinear)
        lefts.append(places // PHASES - of_phase.shape[1] // 2 + 1)
        weights.append(of_phase[places % PHASES])
    height, width = canvas.shape
    total = np.zeros((size, size), np.int64)
    for v in range(weights[1].shape[2]):
        rows = np.clip(lefts[1] + v, 0, height - 1)
        for u in range(weights[0].shape[2]):
            columns = np.clip(lefts[0] + u, 0, width - 1)
            total += weights[1][..., v] * weights[0][..., u] * canvas[rows, columns]
    return np.clip((total + WEIGHT_SUM**2 // 2) // WEIGHT_SUM**2, 0, 255)


def blended(start: Ints, end: Ints, factor: float) -> Ints:
    value = start.astype(np.float32) + np.float32(factor) * (end - start).astype(np.float32)
    return np.clip(value, 0, 255).astype(np.int64)


def smoothed(grays: Ints) -> Ints:
    """Pillow's SMOOTH: thirteenths, with five of them for the pixel itself; the border stays."""
    result, size = grays.copy(), len(grays)
    around = sum(grays[j : size - 2 + j, i : size - 2 + i] for j in range(3) for i in range(3))
    total = np.asarray(around) + 4 * grays[1:-1, 1:-1]
    result[1:-1, 1:-1] = (2 * total + 13) // 26
    return result


def toned(step: int, amount: float, grays: Ints, seen: Ints) -> Ints:
    """One operation on grays; ``seen`` are those that its statistics are of."""
    if step == BRIGHTNESS:
        return blended(np.zeros_like(grays), grays, amount)
    if step == CONTRAST:
        mean = (2 * seen.sum() + seen.size) // (2 * seen.size) if seen.size else 0
        return blended(np.full_like(grays, mean), grays, amount)
    if step == SHARPNESS:
        return blended(smoothed(grays), grays, amount)
    if step == AUTOCONTRAST:
        low, high = (seen.min(), seen.max()) if seen.size else (0, 0)
        if high <= low:
            return grays
        scale = 255.0 / (high - low)
        return np.clip(np.trunc(grays * scale + -low * scale), 0, 255).astype(grays.dtype)
    if step == EQUALIZE:
        counts = np.bincount(seen.ravel(), minlength=256)
        part = (seen.size - counts[counts > 0][-1]) // 255 if seen.size else 0
        if part == 0:
            return grays
        below = part // 2 + np.concatenate([[0], np.cumsum(counts)[:-1]])
        return np.minimum(below // part, 255)[grays]
    if step == POSTERIZE:
        return grays // 2 ** (8 - int(amount)) * 2 ** (8 - int(amount))
    if step == SOLARIZE:
        return np.where(grays < amount, grays, 255 - grays)
    if step == SOLARIZE_ADD:
        return np.where(grays < 128, np.minimum(grays + int(amount), 255), grays)
    assert step == INVERT
    return 255 - grays


def developed(grays: Ints, steps: list[int], amounts: list[float], windows: NDArray[np.float64]) -> Ints:
    """The grays after all steps. A pixel off a window's frame has that window's gray and is no part of the picture
    until the window's step; of several windows, the last."""
    size, grays = len(grays), grays.copy()
    window_of = np.zeros(grays.shape, np.int64)  # 1 + its number
    fills = [int(amount) for step, amount in zip(steps, amounts, strict=True) if step == WINDOW]
    for number, fill in enumerate(fills):
        u, v = (positions(row, size) for row in windows[number])
        outside = (u < 0) | (u >= 2**32) | (v < 0) | (v >= 2**32)
        window_of[outside], grays[outside] = number + 1, fill
    passed = 0
    for step, amount in zip(steps, amounts, strict=True):
        if step == WINDOW:
            passed += 1
        elif step:
            here = window_of <= passed
            grays = np.where(here, toned(step, amount, grays, grays[here]), grays)
    return grays


def noise_levels(size: int, erased: NDArray[np.int32], key: int, channels: int) -> Ints:
    """The level 0..4095 of the noise at each pixel, (channels, size, size); -1 where nothing is erased."""
    top, left, height, width = erased.tolist()
    levels = np.full((channels, size, size), -1, np.int64)
    for channel in range(channels):
        for row in range(top, top + height):
            blocks = -(-size // 8)
            counters = np.zeros((blocks, 4), np.uint32)
            counters[:, 0], counters[:, 1], counters[:, 2], counters[:, 3] = np.arange(blocks), row, NOISE, channel
            halves = philox(key, counters).astype("<u4").view("<u2").reshape(-1)  # low half first
            levels[channel, row, left : left + width] = halves[left : left + width] >> 4
    return levels
