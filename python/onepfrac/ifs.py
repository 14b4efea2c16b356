"""Iterated function systems: what they are made of, their sigma-factor, and sampling one of a given sigma-factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onepfrac.arrays import on_host
from onepfrac.checks import check_float, check_int
from onepfrac.draws import FORMAT_VERSION, Purpose, check_seed, sincos_turns, uniform
from onepfrac.files import canonical_json, parse_json_object

__all__ = ["IFS", "MAX_MAPS", "sample_ifs", "sample_ifs_attempt", "singular_values"]

MAX_MAPS = 16


@dataclass(frozen=True, init=False, eq=False, repr=False)
class IFS:
    """A system of N affine maps ``v -> A v + t``, each chosen with its probability.

    Parameters
    ----------
    maps
        (N, 2, 3) real numbers, N = 1..16; row i holds ``[[a, b, e], [c, d, f]]``: ``x' = a x + b y + e``, ``y' = c x
        + d y + f``.
    probs
        (N,) weights, not negative, not all zero; they are normalised. Default: ``|det A|``, normalised.

    Attributes
    ----------
    maps : float64 array (N, 2, 3), read-only
    probs : float64 array (N,), read-only, sum 1

    Raises
    ------
    TypeError
        If an argument does not hold real numbers.
    ValueError
        If a shape is wrong, a value is not finite, a probability is negative, or all probabilities are zero.
    """

    maps: NDArray[np.float64]
    probs: NDArray[np.float64]

    def __init__(self, maps: ArrayLike, probs: ArrayLike | None = None) -> None:
        checked = _real_array("maps", maps)
        if checked.ndim != 3 or checked.shape[1:] != (2, 3) or not 1 <= checked.shape[0] <= MAX_MAPS:
            raise ValueError(f"maps must have the shape (N, 2, 3) with N in 1..{MAX_MAPS}, got {checked.shape}")
        if not np.isfinite(checked).all():
            index = int(np.flatnonzero(~np.isfinite(checked).all(axis=(1, 2)))[0])
            raise ValueError(f"maps must be finite, got maps[{index}] = {checked[index].tolist()}")
        if probs is None:
            with np.errstate(over="ignore", invalid="ignore"):  # an overflow is reported by name below
                weights = np.abs(checked[:, 0, 0] * checked[:, 1, 1] - checked[:, 0, 1] * checked[:, 1, 0])
            if not np.isfinite(weights).all():
                raise ValueError(f"maps must have finite determinants, got {weights.tolist()}")
            if not weights.any():
                raise ValueError("probs must be given where the determinants of all maps are zero, got None")
        else:
            weights = _real_array("probs", probs)
            if weights.shape != checked.shape[:1]:
                raise ValueError(
                    f"probs must have the shape ({checked.shape[0]},), one for each map, got {weights.shape}"
                )
            if not np.isfinite(weights).all() or (weights < 0).any():
                raise ValueError(f"probs must be finite and not negative, got {weights.tolist()}")
            if not weights.any():
                raise ValueError(f"probs must not all be zero, got {weights.tolist()}")
        object.__setattr__(self, "maps", _frozen(checked))
        object.__setattr__(self, "probs", _frozen(_normalised(weights)))

    @property
    def num_maps(self) -> int:
        """N, the number of maps."""
        return int(self.maps.shape[0])

    @property
    def sigma_factor(self) -> float:
        """``sum_j (s1_j + 2 s2_j)`` of the singular values of each A (Anderson and Farrell); 0..3N if none expands."""
        total = 0.0
        for large, small in singular_values(self.maps).tolist():
            total += large + 2.0 * small
        return total

    def to_json(self) -> str:
        """Return the system as canonical JSON; `from_json` gives back an equal one, bit for bit."""
        return canonical_json(
            {"format": FORMAT_VERSION, "type": "IFS", "maps": self.maps.tolist(), "probs": self.probs.tolist()}
        )

    @classmethod
    def from_json(cls, text: str) -> IFS:
        """Read what `to_json` wrote.

        Raises
        ------
        TypeError, ValueError
            If it is not JSON, has another format version, unknown or missing fields, or values that `IFS` refuses.
        """
        fields = parse_json_object(text, "IFS")
        if fields.keys() != {"format", "type", "maps", "probs"}:
            raise ValueError(f"IFS must have the fields format, type, maps and probs, got {sorted(fields)}")
        if fields["type"] != "IFS" or fields["format"] != FORMAT_VERSION:
            raise ValueError(
                f"IFS must have type 'IFS' and format {FORMAT_VERSION}, got {fields['type']!r} and {fields['format']!r}"
            )
        return cls(fields["maps"], fields["probs"])  # type: ignore[arg-type]  # checked by __init__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, IFS):
            return NotImplemented
        return np.array_equal(self.maps, other.maps) and np.array_equal(self.probs, other.probs)

    def __hash__(self) -> int:
        # + 0.0 makes -0.0 and 0.0, which compare equal, the same bytes
        return hash(((self.maps + 0.0).tobytes(), (self.probs + 0.0).tobytes()))

    def __reduce__(self) -> tuple[type[IFS], tuple[NDArray[np.float64], NDArray[np.float64]]]:
        return (IFS, (self.maps, self.probs))  # through __init__, so that a copy's arrays are read-only too

    def __repr__(self) -> str:
        return f"IFS(maps={self.maps.tolist()}, probs={self.probs.tolist()})"


def singular_values(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the singular values (s1 >= s2) of the 2x2 part of each map.

    Closed form, in additions, multiplications and square roots alone: with ``E = (a + d) / 2, F = (a - d) / 2, G = (c
    + b) / 2, H = (c - b) / 2`` they are ``|sqrt(E^2 + H^2) +- sqrt(F^2 + G^2)|``.

    Parameters
    ----------
    maps
        float64 array (..., 2, 3) or (..., 2, 2).

    Returns
    -------
    float64 array (..., 2).
    """
    a, b, c, d = maps[..., 0, 0], maps[..., 0, 1], maps[..., 1, 0], maps[..., 1, 1]
    e, f, g, h = (a + d) * 0.5, (a - d) * 0.5, (c + b) * 0.5, (c - b) * 0.5
    rotating = np.sqrt(e * e + h * h)
    mirroring = np.sqrt(f * f + g * g)
    return np.stack([rotating + mirroring, np.abs(rotating - mirroring)], axis=-1)


def sample_ifs(sigma: float = 3.5, num_maps: int = 2, seed: int = 0, *, margin: float = 0.1) -> IFS:
    """Sample a system of contractions whose sigma-factor lies in ``[sigma - margin, sigma + margin]``.

    The released way of 1p-frac, which is Anderson and Farrell's ("Improving fractal pre-training", WACV 2022): the
    sigma-factor is uniform in the interval; singular values are drawn one after the other, each uniform in what the
    others leave possible; ``A = U diag(s1, s2) V`` with U and V a rotation by a uniform angle times independent
    random signs of the two axes; translations are uniform in [-1, 1).

    Parameters
    ----------
    sigma
        Wanted sigma-factor, 0 .. 3 num_maps.
    num_maps
        N, 1..16.
    seed
        0..2**64-1. The same seed gives the same bits on every machine.
    margin
        Half the width of the interval, clipped to 0 .. 3 num_maps; 0 asks for exactly sigma (to rounding).

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, or if all determinants come out zero (sigma and margin both 0).
    """
    return sample_ifs_attempt(sigma, num_maps, seed, margin, 0)


def sample_ifs_attempt(sigma: float, num_maps: int, seed: int, margin: float, attempt: int) -> IFS:
    """Sample as `sample_ifs` does; another ``attempt`` (0 .. 2**32-1) of the same seed is another system."""
    num_maps = check_int("num_maps", num_maps, 1, MAX_MAPS)
    sigma = check_float("sigma", sigma, 0.0, 3.0 * num_maps)
    margin = check_float("margin", margin, 0.0)
    seed = check_seed("seed", seed)
    # The sigma-factor; then for all maps two singular values each, two angles, four signs and two translations.
    drawn = uniform(seed, Purpose.IFS, attempt, 1 + 10 * num_maps)
    total = min(max(sigma - margin + 2.0 * margin * float(drawn[0]), 0.0), 3.0 * num_maps)
    values = _singular_values_of_total(total, drawn[1 : 1 + 2 * num_maps])
    sines, cosines = sincos_turns(np.ascontiguousarray(drawn[1 + 2 * num_maps : 1 + 4 * num_maps]))
    signs = np.where(drawn[1 + 4 * num_maps : 1 + 8 * num_maps] < 0.5, -1.0, 1.0).reshape(2 * num_maps, 2)
    translations = drawn[1 + 8 * num_maps :].reshape(num_maps, 2) * 2.0 - 1.0
    maps = np.empty((num_maps, 2, 3))
    for j in range(num_maps):
        left = _signed_rotation(float(sines[j]), float(cosines[j]), signs[j])
        right = _signed_rotation(float(sines[num_maps + j]), float(cosines[num_maps + j]), signs[num_maps + j])
        large, small = values[j]
        for row in range(2):
            for column in range(2):
                maps[j, row, column] = (left[row][0] * large) * right[0][column] + (left[row][1] * small) * right[1][
                    column
                ]
    maps[:, :, 2] = translations
    return IFS(maps)


def _singular_values_of_total(total: float, drawn: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Draw N pairs ``1 >= s1 >= s2 >= 0`` with ``sum (s1 + 2 s2) = total`` from 2N draws (the release's sample_svs)."""
    count = drawn.size // 2
    rest = total  # what is left to give to the pairs to come
    need = (
        total - 3.0 * count + 3.0
    )  # what this pair must take at least, for the pairs after it can take no more than 3 each
    pairs = []
    for j in range(count - 1):
        large = _between(max(0.0, need / 3.0), min(1.0, rest), float(drawn[2 * j]))
        need -= large
        rest -= large
        small = _between(max(0.0, need / 2.0), min(large, rest / 2.0), float(drawn[2 * j + 1]))
        need += 3.0 - 2.0 * small
        rest -= 2.0 * small
        pairs.append((large, small))
    small = _between(max(0.0, (rest - 1.0) / 2.0), rest / 3.0, float(drawn[2 * count - 2]))
    pairs.append((rest - 2.0 * small, small))
    return pairs


def _between(low: float, high: float, drawn: float) -> float:
    return low + (high - low) * drawn


def _signed_rotation(sine: float, cosine: float, signs: NDArray[np.float64]) -> list[list[float]]:
    first, second = float(signs[0]), float(signs[1])
    return [[cosine * first, -sine * second], [sine * first, cosine * second]]


def _normalised(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Divide by the sum; weights that add up to 1 are left alone, so that reading what was written changes no bit."""
    total = 0.0
    for weight in weights.tolist():
        total += weight
    if not np.isfinite(total):
        return _normalised(weights / float(weights.max()))
    return weights if abs(total - 1.0) <= 1e-14 else weights / total


def _real_array(name: str, values: ArrayLike) -> NDArray[np.float64]:
    array = on_host(name, values)
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be an array of real numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):  # of long doubles; what is not finite is reported by name
        return array.astype(np.float64)


def _frozen(array: NDArray[np.float64]) -> NDArray[np.float64]:
    array = np.array(array)
    array.setflags(write=False)
    return array
