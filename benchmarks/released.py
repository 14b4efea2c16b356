"""How the released generators make their images: plain Python, written here from their published rules.

`chaos_game` and `patches` are the way of FractalDB, OFDB and 1p-frac (Kataoka et al. 2020, Nakamura et al. 2023 and
2024): one orbit in Python, a random 3x3 patch pasted by Pillow for every point. `visual_atom` is that of Visual Atoms
(Takashima et al. 2023): Perlin noise for every vertex and a call of Pillow for every segment. They take the same
systems and parameters as the library, draw from Python's generator, and are here to be timed. `Scenes` is the way of
Anderson and Farrell (2022), in Numba and OpenCV: a new fractal and a new background for every second image, all other
objects from a cache of the last 512, scaled and coloured anew.
"""

# ruff: noqa: NPY002  # Numba compiles NumPy's old generator
from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["Scenes", "chaos_game", "patches", "visual_atom"]


def chaos_game(maps: NDArray[np.float64], probs: NDArray[np.float64], points: int) -> tuple[list[float], list[float]]:
    """Play one orbit from the origin; stops where it overflows."""
    rows = [tuple(one) for one in np.concatenate([maps[:, 0], maps[:, 1]], axis=1).tolist()]
    sums = np.cumsum(probs).tolist()
    draws = np.random.RandomState(100).random_sample(points).tolist()
    x = y = 0.0
    xs, ys = [x], [y]
    for draw in draws[:-1]:
        for row, total in zip(rows, sums, strict=True):
            if draw <= total:
                x, y = row[0] * x + row[1] * y + row[2], row[3] * x + row[4] * y + row[5]
                break
        if not (abs(x) < 1e300 and abs(y) < 1e300):
            break
        xs.append(x)
        ys.append(y)
    return xs, ys


def patches(maps: NDArray[np.float64], probs: NDArray[np.float64], points: int, size: int, pad: int) -> Image.Image:
    """Draw one picture: a 3x3 patch of nine random bits, not all zero, for every point, the last one winning."""
    xs, ys = (np.array(values) for values in chaos_game(maps, probs, points))
    columns = ((xs - xs.min()) / max(np.ptp(xs), 1e-30) * (size - 2 * pad) + pad).astype(int).tolist()
    rows = ((ys - ys.min()) / max(np.ptp(ys), 1e-30) * (size - 2 * pad) + pad).astype(int).tolist()
    image = Image.new("RGB", (size, size))
    for column, row in zip(columns, rows, strict=True):
        mask = format(random.randrange(1, 512), "09b")
        patch = np.zeros((3, 3, 3), np.uint8)
        for i in range(3):
            for j in range(3):
                patch[i, j, :] = 127 * int(mask[3 * i + j])
        image.paste(Image.fromarray(patch), (column + 1, row + 1))
    return image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)


_PERMUTATION = np.random.RandomState(0).permutation(256).tolist()  # its order does not matter to the time


def _perlin(place: float) -> float:
    """One value of 1-D Perlin noise."""
    cell = math.floor(place)
    x = place - cell
    fade = x * x * x * (x * (x * 6 - 15) + 10)
    first, second = (_PERMUTATION[(cell + k) & 255] for k in (0, 1))
    left = (-1.0 if first & 8 else (first & 7) + 1.0) * x
    right = (-1.0 if second & 8 else (second & 7) + 1.0) * (x - 1)
    return 0.4 * (left + fade * (right - left))


def visual_atom(category: dict[str, Any], size: int) -> Image.Image:
    """Draw one picture of a category: vertices, lines, waves (two), coefficient, line_width, radius, oval (two)."""
    vertices, lines = category["vertices"], category["lines"]
    n1, n2 = category["waves"]
    coefficient, width = category["coefficient"], category["line_width"]
    angle = 2 * math.pi / vertices
    centre = [(size + random.randint(-size, size)) / 2 for _ in range(2)]
    radii = [category["radius"] * oval for oval in category["oval"]]
    xs = [math.cos(angle * v) * radii[0] + centre[0] for v in range(vertices)]
    ys = [math.sin(angle * v) * radii[1] + centre[1] for v in range(vertices)]
    image = Image.new("RGB", (size, size))
    draw = ImageDraw.Draw(image)
    for _ in range(lines):
        gray = random.randint(0, 255)
        for values, turn in ((xs, math.cos), (ys, math.sin)):
            for v in range(vertices):
                wave = 0.5 * math.sin(angle * v * n1) + 0.5 * math.sin(angle * v * n2)
                noise = _perlin(random.uniform(0, 10000)) * coefficient - coefficient - wave
                values[v] -= turn(angle * v) * (noise - width)
        for v in range(vertices):
            after = (v + 1) % vertices
            draw.line((xs[v], ys[v], xs[after], ys[after]), fill=(gray, gray, gray), width=1)
    return image


class Scenes:
    """Images of several fractals in colour; ``systems`` is a list of arrays (N, 2, 3)."""

    def __init__(self, systems: list[NDArray[np.float64]], size: int = 224, points: int = 100_000) -> None:
        import numba

        self.systems, self.size, self.points = systems, size, points
        self.cache: list[tuple[NDArray[np.float64], NDArray[np.uint8]]] = []
        self.generator = np.random.default_rng(0)
        self.calls = 0
        compiled = numba.njit(cache=False)
        self.graded, self.clouds = compiled(_graded), compiled(_clouds)

    def image(self, number: int) -> NDArray[np.uint8]:
        """Return one image, uint8 (size, size, 3)."""
        import cv2

        draw, size = self.generator, self.size
        if self.calls % 2 == 0:
            maps = self.systems[number % len(self.systems)].astype(np.float64)
            weights = np.abs(maps[:, 0, 0] * maps[:, 1, 1] - maps[:, 0, 1] * maps[:, 1, 0])
            mask = draw.integers(0, 2, 9)
            picture = self.graded(maps, np.cumsum(weights / weights.sum()), self.points, size // 2, mask)
            heights = self.clouds(int(np.ceil(np.log2(size))), draw.uniform(0.4, 0.8))[:size, :size]
            scales, shifts = draw.uniform([0.25, 0.1, 0.3], [1, 0.3, 0.6]), draw.uniform([0, 0.4, 0.4], [1, 0.6, 0.6])
            hsv = np.clip(heights[:, :, None] * scales * 255 + shifts * 255, 0, 510)
            hsv[:, :, 1:] = np.minimum(hsv[:, :, 1:], 255)
            background = cv2.cvtColor(hsv.astype(np.int64).astype(np.uint8), cv2.COLOR_HSV2RGB)
            self.cache = [*self.cache[-511:], (picture, background)]
        self.calls += 1
        image = self.cache[draw.integers(len(self.cache))][1].copy()
        for _ in range(draw.integers(1, 6)):
            picture = self.cache[draw.integers(len(self.cache))][0]
            inked = picture > 0
            hsv = np.zeros((*picture.shape, 3), np.uint8)
            hsv[inked, 0] = (picture[inked] * 255 + draw.uniform(0, 255)).astype(np.int64) % 256
            hsv[inked, 1:] = (draw.uniform([0.3, 0.5], 1) * 255).astype(np.uint8)
            side = int(draw.uniform(0.15, 0.6) * size)
            flipped = np.ascontiguousarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[:: draw.choice((-1, 1))])
            scaled = cv2.resize(flipped, (side, side), interpolation=cv2.INTER_LINEAR)
            x, y = draw.integers(-(side // 2), size - side // 2, 2)
            part = image[max(y, 0) : y + side, max(x, 0) : x + side]
            top, left = max(-y, 0), max(-x, 0)
            cut = scaled[top : top + part.shape[0], left : left + part.shape[1]]
            part[:] = np.where(cut.any(axis=2, keepdims=True), cut, part)
        return cv2.GaussianBlur(image, (3, 3), draw.uniform(0.5, 1)) if draw.random() > 0.5 else image


def _graded(maps, sums, points, size, mask):  # type: ignore[no-untyped-def]  # compiled by Numba
    xs, ys = np.empty(points), np.empty(points)
    x = y = 0.0
    for i in range(points):
        draw = np.random.rand()
        k = 0
        while k + 1 < len(sums) and draw >= sums[k]:
            k += 1
        (a, b, e), (c, d, f) = maps[k]
        x, y = a * x + b * y + e, c * x + d * y + f
        xs[i], ys[i] = x, y
    low_x, low_y = xs.min(), ys.min()
    scale_x, scale_y = (size - 1) / max(xs.max() - low_x, 1e-9), (size - 1) / max(ys.max() - low_y, 1e-9)
    picture = np.zeros((size, size))
    for i in range(points):
        row, column = int((xs[i] - low_x) * scale_x), int((ys[i] - low_y) * scale_y)
        for j in range(9):
            r, c = row + j // 3 - 1, column + j % 3 - 1
            if mask[j] and 0 <= r < size and 0 <= c < size:
                picture[r, c] += 1
    most = picture.max()
    return picture / most if most > 0 else picture


def _clouds(levels, decay):  # type: ignore[no-untyped-def]  # compiled by Numba
    side = 2**levels + 1
    heights = np.zeros((side, side))
    for row in (0, side - 1):
        for column in (0, side - 1):
            heights[row, column] = np.random.rand()
    for level in range(1, levels + 1):
        size = 0.5 * np.exp(decay * (1 - level))
        step = side // 2**level
        for row in range(step, side, 2 * step):
            for column in range(step, side, 2 * step):
                total = heights[row - step, column - step] + heights[row - step, column + step]
                total += heights[row + step, column - step] + heights[row + step, column + step]
                heights[row, column] = 0.25 * total + np.random.uniform(-size, size)
        for row in range(0, side, step):
            for column in range(0 if (row // step) % 2 else step, side, 2 * step):
                up = row - step if row > 0 else side - 1 - step
                down = row + step if row < side - 1 else step
                left = column - step if column > 0 else side - 1 - step
                right = column + step if column < side - 1 else step
                total = heights[up, column] + heights[down, column] + heights[row, left] + heights[row, right]
                heights[row, column] = 0.25 * total + np.random.uniform(-size, size)
    return heights
