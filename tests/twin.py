"""A plain NumPy twin of the renderer, written from the specification: slow, and shares no code with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ORBITS, BURN_IN = 256, 32
ORBIT, TEXTURE, PATCH_MASK = 0, 1, 2

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_LOW = np.uint64(0xFFFFFFFF)


def philox(key: int, counters: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Philox4x32-10 of (n, 4) counters, as the paper's figure has it."""
    c = [counters[:, i].astype(np.uint64) for i in range(4)]
    k0, k1 = key & 0xFFFFFFFF, key >> 32
    for _ in range(10):
        p0, p1 = c[0] * _M0, c[2] * _M1
        c = [
            (p1 >> np.uint64(32)) ^ c[1] ^ np.uint64(k0),
            p1 & _LOW,
            (p0 >> np.uint64(32)) ^ c[3] ^ np.uint64(k1),
            p0 & _LOW,
        ]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return np.stack(c, 1).astype(np.uint32)


def fma(a: NDArray[np.float32], b: NDArray[np.float32], c: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fused multiply-add in float32: the exact product, the sum rounded to odd in float64, then once to float32."""
    product = a.astype(np.float64) * b.astype(np.float64)  # exact: 48 bits
    term = c.astype(np.float64)
    total = product + term
    back = total - product
    error = (product - (total - back)) + (term - back)  # Knuth's two-sum
    bits = np.ascontiguousarray(total).view(np.int64)
    even = (bits & 1) == 0
    toward = np.where((error > 0) == (total > 0), 1, -1)
    odd = np.where((error != 0) & even & np.isfinite(total) & (total != 0), bits + toward, bits)
    with np.errstate(over="ignore"):
        return odd.view(np.float64).astype(np.float32)


def smallest_map_start(maps: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
    """The fixed point of the map with the smallest s1 below 1, else the origin."""
    best, start = 1.0, (np.float32(0), np.float32(0))
    for m in maps.astype(np.float64):
        s1 = np.linalg.svd(m[:, :2], compute_uv=False)[0]
        if s1 < best - 1e-12:
            v = np.linalg.solve(np.eye(2) - m[:, :2], m[:, 2])
            best, start = s1, (np.float32(v[0]), np.float32(v[1]))
    return start


def points_of(
    maps: NDArray[np.float32],
    probs: NDArray[np.float64],
    seed: int,
    points: int,
    start: tuple[np.float32, np.float32] | None = None,
) -> NDArray[np.float32]:
    """All points of an image, (points, 2), in any order."""
    cumulative = np.floor(65536 * np.cumsum(probs / probs.sum()) + 0.5).astype(np.int64)
    cumulative[-1] = 65536
    counts = points // ORBITS + (np.arange(ORBITS) < points % ORBITS)
    x0, y0 = smallest_map_start(maps) if start is None else start
    x, y = np.full(ORBITS, x0, np.float32), np.full(ORBITS, y0, np.float32)
    drawn = []
    for step in range(BURN_IN + counts.max()):
        if step % 8 == 0:
            counters = np.zeros((ORBITS, 4), np.uint32)
            counters[:, 0], counters[:, 1], counters[:, 2] = step // 8, np.arange(ORBITS), ORBIT
            block = philox(seed, counters)
        word = block[:, (step % 8) // 2]
        u = (word & 0xFFFF) if step % 2 == 0 else (word >> 16)
        chosen = np.argmax(u.astype(np.int64)[:, None] < cumulative[None], axis=1)
        m = maps[chosen]
        x, y = (
            fma(m[:, 0, 0], x, fma(m[:, 0, 1], y, m[:, 0, 2])),
            fma(m[:, 1, 0], x, fma(m[:, 1, 1], y, m[:, 1, 2])),
        )
        if step >= BURN_IN:
            here = step - BURN_IN < counts
            drawn.append(np.stack([x[here], y[here]], 1))
    return np.concatenate(drawn)


def to_pixels(v: NDArray[np.float32], size: int, pad: int) -> NDArray[np.int64]:
    low, high = v.min(), v.max()
    extent = np.float32(high - low)
    if not (np.isfinite(extent) and extent >= np.float32(1e-30) and extent > max(abs(low), abs(high)) * 2.0**-20):
        return np.full(len(v), int(0.5 * size))
    scale = np.float32(size - 2 * pad) / extent
    return fma(v - low, np.full_like(v, scale), np.full_like(v, pad)).astype(np.int64)


def texture(seed: int, size: int) -> NDArray[np.bool_]:
    words_a_row = -(-size // 32)
    total = size * words_a_row
    blocks = -(-total // 4)
    counters = np.zeros((blocks, 4), np.uint32)
    counters[:, 0], counters[:, 2] = np.arange(blocks), TEXTURE
    plain = philox(seed, counters).reshape(-1)
    counters[:, 1] = 1
    extra = philox(seed, counters).reshape(-1)
    hit = (extra >> 5) < round(2**27 * 32 / 511)
    plain = np.where(hit, plain | (np.uint32(1) << (extra & 31)), plain)[:total]
    bits = (plain[:, None] >> np.arange(32, dtype=np.uint32)) & 1
    return bits.reshape(size, 32 * words_a_row)[:, :size].astype(bool)


def render(
    maps: NDArray[np.float32],
    probs: NDArray[np.float64],
    *,
    points: int,
    size: int,
    pad: int,
    brush: str,
    seed: int,
    start: tuple[np.float32, np.float32] | None = None,
) -> NDArray[np.bool_]:
    """One image, True where inked, row 0 on top."""
    drawn = points_of(maps, probs, seed, points, start)
    drawn = drawn[np.isfinite(drawn).all(1)]
    px, py = to_pixels(drawn[:, 0], size, pad), to_pixels(drawn[:, 1], size, pad)
    canvas = np.zeros((size + 4, size + 4), bool)  # row = py: y grows upwards
    if brush == "point":
        canvas[py, px] = True
    else:
        mask = 511
        if brush == "patch_fixed":
            mask = 1 + ((int(philox(seed, np.array([[0, 0, PATCH_MASK, 0]], np.uint32))[0, 0]) * 511) >> 32)
        for dy in (1, 2, 3):
            for dx in (1, 2, 3):
                if mask >> (3 * (dy - 1) + dx - 1) & 1:
                    inside = (py + dy < size) & (px + dx < size)
                    canvas[py[inside] + dy, px[inside] + dx] = True
    picture = canvas[:size, :size][::-1]
    return picture & texture(seed, size) if brush == "patch" else picture


def hits(
    maps: NDArray[np.float32],
    probs: NDArray[np.float64],
    *,
    points: int,
    size: int,
    pad: int,
    brush: str,
    seed: int,
    start: tuple[np.float32, np.float32] | None = None,
) -> NDArray[np.int64]:
    """How many points ink each pixel of one image, row 0 on top."""
    drawn = points_of(maps, probs, seed, points, start)
    drawn = drawn[np.isfinite(drawn).all(1)]
    px, py = to_pixels(drawn[:, 0], size, pad), to_pixels(drawn[:, 1], size, pad)
    counts = np.zeros((size, size), np.int64)
    offsets = [(dy, dx) for dy in (1, 2, 3) for dx in (1, 2, 3)]
    if brush == "patch_fixed":
        mask = 1 + ((int(philox(seed, np.array([[0, 0, PATCH_MASK, 0]], np.uint32))[0, 0]) * 511) >> 32)
        offsets = [(dy, dx) for dy, dx in offsets if mask >> (3 * (dy - 1) + dx - 1) & 1]
    for dy, dx in [(0, 0)] if brush == "point" else offsets:
        inside = (px + dx < size) & (py + dy < size)
        np.add.at(counts, (size - 1 - py[inside] - dy, px[inside] + dx), 1)
    return counts


def grades(counts: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Hits on a scale of 255, in exact integers."""
    most = max(int(counts.max()), 1)
    return np.where(counts > 0, np.maximum(1, 255 * counts // most), 0).astype(np.uint8)
