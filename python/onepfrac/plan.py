"""The plan: everything that decides the images of a range of samples, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onepfrac.checks import check_choice
from onepfrac.draws import Purpose, keys, permutation

__all__ = ["DRAWS", "Draws", "Plan", "check_samples", "image_seeds", "labels_of"]

Draws = Literal["fixed", "fresh"]
DRAWS: tuple[Draws, ...] = ("fixed", "fresh")
MAX_SAMPLE = 2**62
"""Sample indices lie below this."""


@dataclass(frozen=True, eq=False)
class Plan:
    """What to draw for B samples.

    Attributes
    ----------
    maps : float32 array (B, N, 2, 3)
        The systems.
    probs : float64 array (B, N)
        Their probabilities.
    seeds : uint64 array (B,)
        The key of each image's draws.
    labels : int64 array (B,)
        Classes.
    samples : int64 array (B,)
        The sample indices.
    """

    maps: NDArray[np.float32]
    probs: NDArray[np.float64]
    seeds: NDArray[np.uint64]
    labels: NDArray[np.int64]
    samples: NDArray[np.int64]

    def __len__(self) -> int:
        return int(self.samples.size)

    def __getitem__(self, part: slice | NDArray[np.integer[Any]]) -> Plan:
        """Return the plan of a slice of the samples (views, no copies), or of those with the given positions."""
        return Plan(self.maps[part], self.probs[part], self.seeds[part], self.labels[part], self.samples[part])


def check_samples(samples: ArrayLike) -> NDArray[np.int64]:
    """Return ``samples`` as an int64 array (B,), or raise a TypeError or ValueError that names them."""
    array = np.asarray(samples)
    if array.dtype.kind not in "iu":
        raise TypeError(f"samples must hold integers, got dtype {array.dtype}")
    if array.ndim != 1:
        raise ValueError(f"samples must have one dimension, got the shape {array.shape}")
    if array.size and not (int(array.min()) >= 0 and int(array.max()) < MAX_SAMPLE):
        raise ValueError(f"samples must lie in 0..2**62-1, got {array.min()}..{array.max()}")
    return array.astype(np.int64)


def labels_of(seed: int, num_classes: int, samples: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of each sample: sample i has place ``i % L`` in the permutation of epoch ``i // L``."""
    epochs = samples // num_classes
    places = samples - epochs * num_classes
    labels = np.empty(samples.shape, np.int64)
    for epoch in np.unique(epochs):
        of_epoch = epochs == epoch
        labels[of_epoch] = _order(seed, int(epoch), num_classes)[places[of_epoch]]
    return labels


def image_seeds(seed: int, draws: str, labels: NDArray[np.int64], samples: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return the key of each image: decided by the class if ``draws="fixed"``, by the sample if ``draws="fresh"``."""
    if check_choice("draws", draws, DRAWS) == "fixed":
        return keys(seed, Purpose.CLASS_KEY, labels)
    return keys(seed, Purpose.SAMPLE_KEY, samples)


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, num_classes: int) -> NDArray[np.int64]:
    order = permutation(seed, epoch, num_classes)
    order.setflags(write=False)
    return order
