"""The plan: everything that decides the images of a range of samples, as plain arrays.

Sample i belongs to round ``i // L``; each round is a permutation of the L classes. Where a class has I instances, a
round shows one of them, and I rounds show each once: the next place in a permutation of the instances that is drawn
anew every I rounds, shifted by a number that each class has for itself. So classes are balanced in every L samples, and
no permutation of all images need be held.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onepfrac.arrays import on_host
from onepfrac.checks import check_choice
from onepfrac.draws import Purpose, bits, keys, permutation

__all__ = [
    "DRAWS",
    "MAX_IMAGES",
    "MAX_SAMPLE",
    "Draws",
    "Plan",
    "SystemsPlan",
    "check_images",
    "check_samples",
    "image_seeds",
    "images_of",
]

_Plan = TypeVar("_Plan", bound="Plan")

Draws = Literal["fixed", "fresh"]
DRAWS: tuple[Draws, ...] = ("fixed", "fresh")
MAX_SAMPLE = 2**62
"""Sample indices lie below this."""
MAX_IMAGES = 2**40
"""Images of one dataset."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What to draw for B samples; a dataset whose renderer takes more than keys adds arrays of its own.

    Attributes
    ----------
    seeds : uint64 array (B,)
        The key of each image's draws.
    labels : int64 array (B,)
        Classes.
    images : int64 array (B,)
        Image numbers, ``label * instances + instance``.
    samples : int64 array (B,)
        The sample indices.
    """

    seeds: NDArray[np.uint64]
    labels: NDArray[np.int64]
    images: NDArray[np.int64]
    samples: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.samples.size)

    def __getitem__(self: _Plan, part: slice | NDArray[np.integer[Any]]) -> _Plan:
        """Return the plan of a slice of the samples (views, no copies), or of those with the given positions."""
        return type(self)(**{field.name: getattr(self, field.name)[part] for field in fields(self)})


@dataclass(frozen=True, eq=False)
class SystemsPlan(Plan):
    """A plan of pictures of systems, one each.

    Attributes
    ----------
    maps : float32 array (B, N, 2, 3)
        The systems.
    probs : float64 array (B, N)
        Their probabilities.
    """

    maps: NDArray[np.float32]
    probs: NDArray[np.float64]


def check_samples(samples: ArrayLike) -> NDArray[np.int64]:
    """Return ``samples`` as an int64 array (B,), or raise a TypeError or ValueError that names them."""
    return _numbers("samples", samples, MAX_SAMPLE, "2**62-1")


def check_images(images: ArrayLike, num_images: int) -> NDArray[np.int64]:
    """Return image numbers as an int64 array (B,), or raise a TypeError or ValueError that names them."""
    return _numbers("images", images, num_images, str(num_images - 1))


def _numbers(name: str, numbers: ArrayLike, end: int, last: str) -> NDArray[np.int64]:
    array = on_host(name, numbers)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold integers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"{name} must have one dimension, got the shape {array.shape}")
    if array.size and not (int(array.min()) >= 0 and int(array.max()) < end):
        raise ValueError(f"{name} must lie in 0..{last}, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def images_of(
    seed: int, num_classes: int, instances: int, samples: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (labels, image numbers) of samples: the order of a stream.

    Sample i has place ``i % L`` in the permutation of round ``i // L``, and the instance that this round shows of the
    class.
    """
    rounds = samples // num_classes
    places = samples - rounds * num_classes
    labels = np.empty(samples.shape, np.int64)
    for number in np.unique(rounds):
        of_round = rounds == number
        labels[of_round] = _order(seed, Purpose.ORDER, int(number), num_classes)[places[of_round]]
    if instances == 1:
        return labels, labels.copy()
    cycles = rounds // instances
    chosen = np.empty(samples.shape, np.int64)
    for cycle in np.unique(cycles):
        of_cycle = cycles == cycle
        place = rounds[of_cycle] - cycle * instances
        shown = _order(seed, Purpose.INSTANCE_ORDER, int(cycle), instances)[place]
        chosen[of_cycle] = (shown + _shifts(seed, int(cycle), num_classes, instances)[labels[of_cycle]]) % instances
    return labels, labels * instances + chosen


def image_seeds(seed: int, draws: str, images: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the key of each image: decided by its number if ``draws="fixed"``, by the sample if ``draws="fresh"``."""
    if check_choice("draws", draws, DRAWS) == "fixed":
        return keys(seed, Purpose.CLASS_KEY, images)
    return keys(seed, Purpose.SAMPLE_KEY, samples)


@lru_cache(maxsize=4)
def _order(seed: int, purpose: Purpose, index: int, n: int) -> NDArray[np.int64]:
    order = permutation(seed, index, n, purpose)
    order.setflags(write=False)
    return order


@lru_cache(maxsize=2)
def _shifts(seed: int, cycle: int, num_classes: int, instances: int) -> NDArray[np.int64]:
    """Return by how much each class's instances are shifted in a cycle, 0..instances-1."""
    words = bits(seed, Purpose.INSTANCE_SHIFT, cycle, num_classes).astype(np.uint64)
    shifts = ((words * np.uint64(instances)) >> np.uint64(32)).astype(np.int64)
    shifts.setflags(write=False)
    return shifts
