"""How the released generators make their images: plain Python, written here from their published rules.

`chaos_game` and `patches` are the way of FractalDB, OFDB and 1p-frac (Kataoka et al. 2020, Nakamura et al. 2023 and
2024): one orbit in Python, a random 3x3 patch pasted by Pillow for every point. `visual_atom` is that of Visual Atoms
(Takashima et al. 2023): Perlin noise for every vertex and a call of Pillow for every segment. They take the same
systems and parameters as the library, draw from Python's generator, and are here to be timed.
"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["chaos_game", "patches", "visual_atom"]


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
