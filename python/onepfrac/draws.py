"""Keyed draws: every random number of a recipe is a function of a seed, a purpose and an index, and of nothing else.

The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the 64-bit
seed as the key and the counter ``(block, low half of the index, purpose, high half of the index)``; a block gives
four 32-bit words. There is no state, so draws can be made in any order, in parts and again, and give the same bits on
every machine.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onepfrac import _C
from onepfrac.checks import check_int

__all__ = [
    "FORMAT_VERSION",
    "MAX_SEED",
    "Purpose",
    "bits",
    "check_seed",
    "exp",
    "keys",
    "log",
    "permutation",
    "sincos_turns",
    "uniform",
]

FORMAT_VERSION: int = _C.FORMAT_VERSION
"""Version of everything that decides a pixel. Recipes and states of another version are refused."""

MAX_SEED = 2**64 - 1

sincos_turns = _C.sincos_turns
"""``(sin 2 pi u, cos 2 pi u)`` of a float64 array, the same bits on every machine."""

exp = _C.exp_fixed
"""``e ** x`` of a float64 array, the same bits on every machine."""

log = _C.log_fixed
"""Natural logarithm of a float64 array, the same bits on every machine."""


class Purpose(IntEnum):
    """What a draw is for; draws of two purposes are independent. 0..15 are the renderer's; no number is ever reused."""

    IFS = 16
    """Parameters of a sampled system; index: attempt."""
    EPSILON = 17
    """A class's perturbation; index: attempt * 2**32 + class."""
    ORDER = 18
    """The permutation of an epoch; index: epoch."""
    CLASS_KEY = 19
    """Seed of an image of its own; index: image number (with one instance a class: the class)."""
    AUGMENT = 20
    """Augmentation of a sample; index: sample."""
    TRAIN = 21
    """What a training script draws."""
    SAMPLE_KEY = 22
    """Seed of a sample's fresh image; index: sample."""
    BASE_KEY = 23
    """Seed of the picture that decides whether a sampled system is kept; index: attempt."""
    POLICY = 24
    """Operations, magnitudes, signs and colour jitter of a sample's augmentation; index: sample."""
    ERASE = 25
    """The rectangle that a sample's augmentation erases; index: sample."""
    NOISE_KEY = 26
    """Seed of the noise in the erased rectangle; index: sample."""
    CATEGORY = 27
    """A candidate system of a category; index: attempt * 2**32 + category."""
    CATEGORY_KEY = 28
    """Seed of the picture that decides whether a candidate is kept; index: attempt * 2**32 + category."""
    INSTANCE_ORDER = 29
    """The permutation of the instances in a cycle; index: cycle."""
    INSTANCE_SHIFT = 30
    """By how much each class's instances are shifted in a cycle, a word a class; index: cycle."""
    NOISE_BASE = 33
    """Seed of the base of `onepfrac.Noise`; index: 0."""
    AFFINE = 34
    """A class's affine map of `onepfrac.SingleImage`; index: class."""
    ATOM_CATEGORY = 31
    """Parameters of a category of Visual Atoms; index: class."""
    ATOM_INSTANCE = 32
    """Centre of a Visual Atom; index: the image's key."""
    SCENE = 35
    """What a scene holds: number of objects, background and blur; index: key of the image."""
    SCENE_OBJECT = 36
    """A scene's objects: flips, colour, place, class and key; index: key of the image."""
    JITTER = 37
    """How an instance's parameters are changed; index: image number, or a scene's object's key."""


def check_seed(name: str, seed: object) -> int:
    """Return ``seed`` as an int in 0..2**64-1, or raise a TypeError or ValueError that names it."""
    return check_int(name, seed, 0, MAX_SEED)


def bits(seed: int, purpose: int, index: ArrayLike, count: int) -> NDArray[np.uint32]:
    """Draw raw 32-bit words.

    Parameters
    ----------
    seed
        Key, 0..2**64-1.
    purpose
        A `Purpose`.
    index
        Integers in 0..2**64-1, any shape.
    count
        Words for each index. Asking for more words never changes the first ones.

    Returns
    -------
    uint32 array of shape (\\*index.shape, count).
    """
    check_seed("seed", seed)
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    index = np.asarray(index)
    if index.dtype.kind not in "iu":
        raise TypeError(f"index must hold integers, got dtype {index.dtype}")
    if index.dtype.kind == "i" and index.size and index.min() < 0:
        raise ValueError(f"index must not be negative, got {index.min()}")
    flat = index.astype(np.uint64).reshape(-1)
    blocks = -(-count // 4)
    counters = np.empty((flat.size, blocks, 4), np.uint32)
    counters[:, :, 0] = np.arange(blocks, dtype=np.uint32)
    counters[:, :, 1] = (flat & np.uint64(0xFFFFFFFF)).astype(np.uint32)[:, None]
    counters[:, :, 2] = int(purpose)
    counters[:, :, 3] = (flat >> np.uint64(32)).astype(np.uint32)[:, None]
    words = _C.philox4x32(seed, counters.reshape(-1, 4))
    return words.reshape(flat.size, 4 * blocks)[:, :count].reshape(*index.shape, count)


def uniform(seed: int, purpose: int, index: ArrayLike, count: int) -> NDArray[np.float64]:
    """Draw float64 values uniform in [0, 1): multiples of 2**-53, two words each.

    Parameters and shape as in `bits`.
    """
    words = bits(seed, purpose, index, 2 * count)
    high = (words[..., 0::2] >> np.uint32(5)).astype(np.float64)
    low = (words[..., 1::2] >> np.uint32(6)).astype(np.float64)
    result: NDArray[np.float64] = (high * 2.0**26 + low) * 2.0**-53
    return result


def keys(seed: int, purpose: int, index: ArrayLike) -> NDArray[np.uint64]:
    """Draw one 64-bit key for each index, a uint64 array of the shape of ``index``."""
    words = bits(seed, purpose, index, 2).astype(np.uint64)
    result: NDArray[np.uint64] = (words[..., 0] << np.uint64(32)) | words[..., 1]
    return result


def permutation(seed: int, index: int, n: int, purpose: Purpose = Purpose.ORDER) -> NDArray[np.int64]:
    """Draw the permutation of ``0..n-1`` numbered ``index``: the stable order of n 64-bit keys.

    Returns
    -------
    int64 array of shape (n,).
    """
    words = bits(seed, purpose, index, 2 * n).astype(np.uint64)
    return np.argsort((words[0::2] << np.uint64(32)) | words[1::2], kind="stable").astype(np.int64)
