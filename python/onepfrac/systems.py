"""Systems as the renderer takes them: checked, in float32, with probabilities as thresholds and the image's seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepfrac import _C
from onepfrac.arrays import dense_tensor, host_array
from onepfrac.checks import check_int
from onepfrac.ifs import IFS

__all__ = ["Systems", "diverges", "pack_words"]

Maps = ArrayLike | torch.Tensor | IFS
Seed = int | ArrayLike | torch.Tensor


@dataclass(frozen=True, eq=False)
class Systems:
    """A batch of systems, packed: what `onepfrac.pack` returns and `onepfrac.render` takes in place of maps.

    Attributes
    ----------
    words
        int32 tensor (B, 116), the renderer's own layout, on the device that draws.
    num_maps
        N, of every system.

    Words on the CPU are looked at again when they are drawn, so that no other ones do harm. On a GPU they are trusted:
    leave them unchanged until the work that was queued is done.
    """

    words: torch.Tensor
    num_maps: int

    def __post_init__(self) -> None:
        if torch.compiler.is_compiling():  # made by `pack` alone
            return
        if not isinstance(self.words, torch.Tensor):
            raise TypeError(f"words must be a torch.Tensor, got {type(self.words).__name__}")
        dense_tensor("words", self.words)
        shape = tuple(self.words.shape)
        legal = self.words.dtype is torch.int32 and len(shape) == 2 and shape[1] == _C.SYSTEM_WORDS
        if not (legal and self.words.is_contiguous()):
            raise ValueError(
                f"words must be contiguous int32 of the shape (B, {_C.SYSTEM_WORDS}), as pack makes them, got"
                f" {self.words.dtype} {shape}"
            )
        object.__setattr__(self, "num_maps", check_int("num_maps", self.num_maps, 1, _C.MAX_MAPS))

    def __len__(self) -> int:
        return self.words.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the systems are."""
        return self.words.device


def diverges(maps: Maps, probs: ArrayLike | torch.Tensor | None = None) -> NDArray[np.bool_]:
    """Tell which systems run away to infinity: those that `render` refuses.

    Where the mean of log s1 (s1 the larger singular value of a map, weighted by probability) is not positive, no orbit
    can; elsewhere probe orbits are played and looked at.

    Parameters
    ----------
    maps, probs
        As in `render`.

    Returns
    -------
    bool array (B,)

    Raises
    ------
    TypeError, ValueError
        As `render`.
    """
    words, num_maps = _words(maps, probs, 0)
    return _C.diverges(words, num_maps)


def pack_words(maps: Maps, probs: ArrayLike | torch.Tensor | None, seed: Seed) -> tuple[NDArray[np.uint32], int]:
    """Return the words (B, 116) of systems that do not run away, and N; arguments and errors are those of `render`."""
    words, num_maps = _words(maps, probs, seed)
    away = _C.diverges(words, num_maps)
    if away.any():
        index = int(np.argmax(away))
        raise ValueError(f"maps must not run away to infinity: the orbits of maps[{index}] do")
    return words, num_maps


def _words(maps: Maps, probs: ArrayLike | torch.Tensor | None, seed: Seed) -> tuple[NDArray[np.uint32], int]:
    if isinstance(maps, IFS):
        if probs is None:
            probs = maps.probs
        maps = maps.maps[None]
    exact = host_array("maps", maps)
    if exact.ndim != 4 or exact.shape[2:] != (2, 3) or not 1 <= exact.shape[1] <= _C.MAX_MAPS:
        raise ValueError(f"maps must have the shape (B, N, 2, 3) with N in 1..{_C.MAX_MAPS}, got {exact.shape}")
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(exact, dtype=np.float32)
    finite = np.isfinite(single).all(axis=(1, 2, 3))
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(f"maps must be finite in float32, got maps[{index}] = {exact[index].tolist()}")

    batch, num_maps = exact.shape[:2]
    if probs is None:
        with np.errstate(over="ignore"):  # of long doubles; told below
            double = exact.astype(np.float64)
        weights = np.abs(double[:, :, 0, 0] * double[:, :, 1, 1] - double[:, :, 0, 1] * double[:, :, 1, 0])
        if batch and not weights.any(axis=1).all():
            index = int(np.argmin(weights.any(axis=1)))
            raise ValueError(f"probs must be given: all determinants of maps[{index}] are zero, got None")
    else:
        with np.errstate(over="ignore"):
            weights = host_array("probs", probs).astype(np.float64)
        if weights.shape not in ((num_maps,), (batch, num_maps)):
            raise ValueError(f"probs must have the shape ({num_maps},) or ({batch}, {num_maps}), got {weights.shape}")
        weights = np.broadcast_to(weights, (batch, num_maps))
        legal = (np.isfinite(weights) & (weights >= 0)).all(axis=1) & weights.any(axis=1)
        if not legal.all():
            index = int(np.argmin(legal))
            raise ValueError(
                "probs must be finite and not negative, with a positive sum, "
                f"got {weights[index].tolist()} for maps[{index}]"
            )
    return _C.pack_systems(single, np.ascontiguousarray(weights), _seeds(seed, batch)), num_maps


def _seeds(seed: Seed, batch: int) -> NDArray[np.uint64]:
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.full(batch, check_int("seed", seed, 0, 2**64 - 1), dtype=np.uint64)
    numbers = host_array("seed", seed)
    if numbers.dtype.kind not in "iu":
        raise TypeError(
            f"seed must be an integer or (B,) integers in 0..2**64 - 1, got {numbers.dtype} of shape {numbers.shape}"
        )
    if numbers.ndim == 0:
        return _seeds(int(numbers[()]), batch)
    if numbers.shape != (batch,):
        raise ValueError(f"seed must be an integer or have the shape ({batch},), got {numbers.shape}")
    if (numbers < 0).any():
        raise ValueError(f"seed must be in 0..2**64 - 1, got {int(numbers.min())}")
    return np.ascontiguousarray(numbers, dtype=np.uint64)
