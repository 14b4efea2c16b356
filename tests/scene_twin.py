"""A plain NumPy twin of the painter of scenes, written from its description: slow, and shares no code with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from twin import philox

BACKGROUND = 8  # purpose of the background's draws


def noise(key: int, levels: int) -> NDArray[np.int64]:
    """The 16-bit numbers of a background: four corners, then those of each level."""
    count = 4 + sum((3 * m + 1) * (m + 1) for m in (2**k for k in range(levels)))
    blocks = -(-count // 8)
    counters = np.zeros((blocks, 4), np.uint32)
    counters[:, 0], counters[:, 2] = np.arange(blocks), BACKGROUND
    words = philox(key, counters).reshape(-1)
    return np.stack([words & 0xFFFF, words >> 16], 1).reshape(-1)[:count].astype(np.int64)


def surface(key: int, levels: int, amplitudes: NDArray[np.int32]) -> NDArray[np.int64]:
    """Diamond-square heights in 4096ths, (2^n + 1, 2^n + 1), point by point on the whole grid."""
    numbers = noise(key, levels)
    side = 2**levels + 1
    grid = np.zeros((side, side), np.int64)
    grid[0, 0], grid[0, -1], grid[-1, 0], grid[-1, -1] = numbers[:4] >> 4
    at = 4
    for k in range(1, levels + 1):
        m, step = 2 ** (k - 1), 2 ** (levels - k)  # step: half a cell of the coarser grid
        amplitude = int(amplitudes[k - 1])

        def moved(mean_of: list[int], number: int, amplitude: int = amplitude) -> int:
            return (sum(mean_of) + 2 >> 2) + ((number - 32768) * amplitude >> 19)

        def wrapped(r: int, c: int, step: int = step) -> int:
            """A neighbour of the square step; across the border, the one that lies as far inside the other side."""
            r = side - 1 - step if r < 0 else step if r >= side else r
            c = side - 1 - step if c < 0 else step if c >= side else c
            return int(grid[r, c])

        for i in range(m):
            for j in range(m):
                r, c = (2 * i + 1) * step, (2 * j + 1) * step
                corners = [int(grid[r + dr, c + dc]) for dr in (-step, step) for dc in (-step, step)]
                grid[r, c] = moved(corners, int(numbers[at + i * (m + 1) + j]))
        for first, rows, columns, down, right in ((m, m + 1, m, 0, 1), (2 * m + 1, m, m + 1, 1, 0)):
            for i in range(rows):
                for j in range(columns):
                    r, c = (2 * i + down) * step, (2 * j + right) * step
                    around = [wrapped(r - step, c), wrapped(r + step, c), wrapped(r, c - step), wrapped(r, c + step)]
                    grid[r, c] = moved(around, int(numbers[at + (first + i) * (m + 1) + j]))
        at += (3 * m + 1) * (m + 1)
    return grid


def rgb(hue: NDArray[np.int64], saturation: NDArray[np.int64], value: NDArray[np.int64]) -> NDArray[np.int64]:
    """Eight-bit HSV, 256 hues a turn, to RGB (3, ...), rounded half down from value."""
    planes = []
    for channel in (5, 3, 1):
        k = (6 * hue + 256 * channel) % 1536
        t = np.clip(np.minimum(k, 1024 - k), 0, 256)
        planes.append(value - (value * saturation * t + 32640) // 65280)
    return np.stack(planes)


def background(key: int, size: int, amplitudes: NDArray[np.int32], tints: NDArray[np.int32]) -> NDArray[np.int64]:
    levels = int(np.ceil(np.log2(size)))
    x = surface(key, levels, amplitudes)[:size, :size]
    hue, saturation, value = ((x * int(scale) + (int(shift) << 12)) >> 20 for scale, shift in tints)
    return rgb(hue % 256, np.clip(saturation, 0, 255), np.clip(value, 0, 255))


def scaled(picture: NDArray[np.uint8], flips: int, side: int) -> NDArray[np.uint8]:
    turned = picture.T if flips & 1 else picture
    turned = turned[::-1] if flips & 2 else turned
    turned = turned[:, ::-1] if flips & 4 else turned
    near = (2 * np.arange(side) + 1) * len(picture) // (2 * side)
    return turned[near][:, near]


def blurred(canvas: NDArray[np.int64], weight: int) -> NDArray[np.int64]:
    around = np.pad(canvas, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    middle = 256 - 2 * weight
    rows = weight * around[:, :, :-2] + middle * around[:, :, 1:-1] + weight * around[:, :, 2:]
    return (weight * rows[:, :-2] + middle * rows[:, 1:-1] + weight * rows[:, 2:] + 32768) >> 16


def paint(
    pictures: NDArray[np.uint8],
    key: int,
    size: int,
    objects: NDArray[np.int32],
    has_background: bool,
    amplitudes: NDArray[np.int32],
    tints: NDArray[np.int32],
    blur: int,
) -> NDArray[np.uint8]:
    """One scene, uint8 (3, size, size)."""
    canvas = np.zeros((3, size, size), np.int64)
    if has_background:
        canvas = background(key, size, amplitudes, tints)
    for picture, flips, hue, saturation, value, side, left, top in objects.tolist():
        grades = scaled(pictures[picture], flips, side).astype(np.int64)
        colours = rgb((grades + hue) % 256, np.full_like(grades, saturation), np.full_like(grades, value))
        for i, j in np.argwhere(grades > 0):
            if 0 <= top + i < size and 0 <= left + j < size:
                canvas[:, top + i, left + j] = colours[:, i, j]
    return (blurred(canvas, blur) if blur else canvas).astype(np.uint8)
