"""Instances: how the images of one category differ, by changed parameters of its system.

FractalDB's way is fixed: 25 weightings of the parameters, and mirroring. Anderson and Farrell's ("Improving fractal
pre-training", WACV 2022, and the code released with it) draw a change of one map for each image, and keep it if all
maps still contract.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onepfrac.draws import Purpose, sincos_turns, uniform
from onepfrac.ifs import singular_values
from onepfrac.systems import diverges

__all__ = ["JITTERS", "MIRRORS", "NUM_WEIGHTINGS", "jittered", "mirrored", "weighted", "weightings"]

NUM_WEIGHTINGS = 25
MIRRORS = 4
JITTERS = ("weights", "scale", "svd", "sval", "none")
_ATTEMPTS = 4  # of Anderson and Farrell's jitters
_TEMPER = 0.75
_TEMPERINGS = 40


def weightings(strength: float = 0.4) -> NDArray[np.float64]:
    """Return the factors of the parameters (a, b, c, d, e, f), float64 (25, 6): row 0 is all ones.

    Each parameter in turn is multiplied by 1 - 2 s, 1 - s, 1 + s and 1 + 2 s, the rest by 1 (s the strength; the
    release calls the table of s = 0.4, with 0.2, 0.6, 1.4 and 1.8, ``weights_0.4.csv``).
    """
    rows = [[1.0] * 6]
    for parameter in range(6):
        for factor in (1.0 - 2.0 * strength, 1.0 - strength, 1.0 + strength, 1.0 + 2.0 * strength):
            rows.append([1.0] * 6)
            rows[-1][parameter] = factor
    return np.array(rows)


def weighted(
    maps: NDArray[np.float64], probs: NDArray[np.float64], count: int, strength: float
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the first ``count`` weightings of systems.

    A weighting can run away to infinity where its system does not (791 of the 24 000 of the published categories,
    nearly all with a factor above 1). The release then draws whatever points come before the overflow. Here the factor
    is brought nearer to 1: ``1 + (factor - 1) 0.75**k`` with the smallest k at which no orbit runs away.

    Parameters
    ----------
    maps
        float64 (L, N, 2, 3), systems that do not run away.
    probs
        float64 (L, N).
    count
        1..25.
    strength
        See `weightings`.

    Returns
    -------
    float32 (L, count, N, 2, 3), and k of each, int64 (L, count).
    """
    table = weightings(strength)[:count]
    result = np.empty((len(maps), count, *maps.shape[1:]), np.float32)
    tempered = np.zeros((len(maps), count), np.int64)
    for number, factors in enumerate(table):
        waiting = np.arange(len(maps))
        for k in range(_TEMPERINGS + 1):
            softened = 1.0 + (factors - 1.0) * (_TEMPER**k if k < _TEMPERINGS else 0.0)
            matrix = np.stack([softened[[0, 1, 4]], softened[[2, 3, 5]]])
            result[waiting, number] = maps[waiting] * matrix
            tempered[waiting, number] = k
            waiting = waiting[diverges(result[waiting, number], probs[waiting])] if number else waiting[:0]
            if not waiting.size:
                break
    return result, tempered


def mirrored(maps: NDArray[np.float32], mirror: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return systems whose attractors are mirrored.

    The map ``v -> A v + t`` becomes ``v -> S A S v + S t`` with S = diag(+-1, +-1).

    Parameters
    ----------
    maps
        float32 (B, N, 2, 3).
    mirror
        (B,): 0 none, 1 top to bottom (y), 2 left to right (x), 3 both; the release's order.
    """
    x = np.where(mirror >= 2, -1.0, 1.0).astype(np.float32)
    y = np.where(mirror % 2 == 1, -1.0, 1.0).astype(np.float32)
    signs = np.stack([np.stack([np.ones_like(x), x * y, x], -1), np.stack([x * y, np.ones_like(x), y], -1)], -2)
    result: NDArray[np.float32] = maps * signs[:, None] + np.float32(0.0)  # no minus zero
    return result


def jittered(
    kind: str,
    maps: NDArray[np.float64],
    num_maps: NDArray[np.int64],
    seed: int,
    images: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Change one map of each system as Anderson and Farrell do.

    At most four draws a system; the first with which no singular value exceeds 1 is taken, else the system stays as it
    is. So do systems with a map that expands, unless it is their only one and the change makes it contract.

    Parameters
    ----------
    kind
        ``"scale"``: all six numbers of a map times U(0.8, 1.1). ``"svd"``: a map's matrix turned by U(-0.5, 0.5) rad,
        on its left or right side, or its translation moved by U(-0.5, 0.5) in x and y. ``"sval"``: a map's matrix
        scaled, so that the sigma-factor stays uniform in [(5 + N) / 2, (6 + N) / 2].
    maps
        float64 (B, N, 2, 3).
    num_maps
        (B,), how many of the N maps each system has.
    seed, images
        The draws are those of the images' numbers (B,).
    """
    drawn = uniform(seed, Purpose.JITTER, images, 4 * _ATTEMPTS).reshape(-1, _ATTEMPTS, 4)
    result = maps.copy()
    waiting = np.arange(len(maps))
    for attempt in range(_ATTEMPTS):
        if not waiting.size:
            break
        changed = _jitter(kind, maps[waiting], num_maps[waiting], drawn[waiting, attempt])
        kept = (singular_values(changed)[..., 0] <= 1.0).all(axis=1)
        result[waiting[kept]] = changed[kept]
        waiting = waiting[~kept]
    return result


def _jitter(
    kind: str, maps: NDArray[np.float64], num_maps: NDArray[np.int64], drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Change the systems once; ``drawn`` (B, 4) in [0, 1)."""
    changed = maps.copy()
    rows = np.arange(len(maps))
    chosen = np.minimum((drawn[:, 0] * num_maps).astype(np.int64), num_maps - 1)
    one = maps[rows, chosen]
    if kind == "scale":
        one = one * (0.8 + 0.3 * drawn[:, 1])[:, None, None]
    elif kind == "sval":
        used = np.arange(maps.shape[1]) < num_maps[:, None]
        values = singular_values(maps)
        factors = np.where(used, values[..., 0] + 2.0 * values[..., 1], 0.0)
        total = np.zeros(len(maps))
        for place in range(maps.shape[1]):  # in order, on every machine
            total = total + factors[:, place]
        own = factors[rows, chosen]
        rest = total - own
        wanted = 0.5 * (5.0 + num_maps) + 0.5 * drawn[:, 1] - rest
        # A matrix of zeros, or one that would have to turn inside out, stays as it is.
        scale = np.where((own > 0.0) & (wanted > 0.0), wanted / np.where(own > 0.0, own, 1.0), 1.0)
        one = np.concatenate([one[:, :, :2] * scale[:, None, None], one[:, :, 2:]], axis=2)
    else:
        side = np.minimum((drawn[:, 1] * 3.0).astype(np.int64), 2)
        sines, cosines = sincos_turns((drawn[:, 2] - 0.5) * _TURNS_A_RADIAN)
        turn = np.stack([np.stack([cosines, -sines], -1), np.stack([sines, cosines], -1)], -2)
        matrix, shift = one[:, :, :2], one[:, :, 2]
        left, right = _product(turn, matrix), _product(matrix, turn)
        turned = np.where((side == 0)[:, None, None], left, np.where((side == 1)[:, None, None], right, matrix))
        moved = np.where((side == 2)[:, None], shift + (drawn[:, 2:4] - 0.5), shift)
        one = np.concatenate([turned, moved[:, :, None]], axis=2)
    changed[rows, chosen] = one
    # Places that a system does not use repeat its first map, with probability 0.
    unused = np.arange(maps.shape[1]) >= num_maps[:, None]
    changed[unused] = np.broadcast_to(changed[:, :1], changed.shape)[unused]
    return changed


_TURNS_A_RADIAN = 0.15915494309189535


def _product(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Multiply 2x2 matrices (B, 2, 2) in a fixed order of operations."""
    result = a[:, :, :1] * b[:, :1, :]
    return result + a[:, :, 1:] * b[:, 1:, :]
