"""The images of a recipe by their numbers: a torch Dataset with a length, for loaders with samplers of their own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import Dataset

from onepfrac.augment import Policy
from onepfrac.checks import check_int
from onepfrac.plan import MAX_SAMPLE, Plan
from onepfrac.stream import Source, Stream

__all__ = ["Images", "Indexed"]

Item = tuple[Any, Any]


@runtime_checkable
class Indexed(Source, Protocol):
    """What map-style access needs of a recipe."""

    @property
    def num_classes(self) -> int: ...  # noqa: D102
    @property
    def num_instances(self) -> int: ...  # noqa: D102
    @property
    def multi_label(self) -> bool: ...  # noqa: D102
    def plan_images(self, images: ArrayLike, draws: str = "fixed", epoch: int = 0) -> Plan: ...  # noqa: D102


class Images(Dataset[Item]):
    """Images and labels of a recipe by number: image ``i`` is instance ``i % num_instances`` of class ``i //
    num_instances``.

    Item i is ``(image, label)``: a tensor (channels, size, size) and an int; of a dataset whose images show several
    classes, a float32 vector (num_classes,) of zeros and ones. With fixed draws and ``augment=None`` it is the picture
    that a stream shows of this image. It is drawn when it is asked for, on the CPU; a loader of torch asks for a whole
    batch at once.

    `set_epoch` decides augmentation and fresh draws: image i of epoch e is sample ``e * num_images + i``, whoever asks
    for it, however often. Call it before each loop over a loader; the loader's workers, persistent ones too, follow.

    Parameters
    ----------
    recipe
        The dataset, for example an `onepfrac.OnePFrac`. What is done once for it is done now.
    size, augment, draws, dtype, channels, mean, std, threads, cache
        As of `onepfrac.Stream`.
    transform
        Called with an image's tensor; what it returns takes its place.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, or no system of the recipe is accepted.
    """

    def __init__(
        self,
        recipe: Indexed,
        *,
        size: int = 224,
        augment: str | Policy | None = None,
        draws: str = "fixed",
        dtype: torch.dtype | None = None,
        channels: int = 3,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        transform: Callable[[torch.Tensor], Any] | None = None,
        threads: int | None = None,
        cache: int = 32 * 2**20,
    ) -> None:
        if not isinstance(recipe, Indexed):
            raise TypeError(f"recipe must be a recipe such as onepfrac.OnePFrac, got {type(recipe).__name__}")
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be None or callable, got {transform!r} of type {type(transform).__name__}")
        self._recipe = recipe
        self._draws = draws
        self._transform = transform
        self._camera = Stream(
            recipe,
            batch_size=1,
            size=size,
            augment=augment,
            draws=draws,
            threads=threads,
            dtype=dtype,
            channels=channels,
            mean=mean,
            std=std,
            rank=0,
            world_size=1,
            cache=cache,
        )
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # workers see what the main process writes

    @property
    def recipe(self) -> Indexed:
        """The recipe."""
        return self._recipe

    @property
    def epoch(self) -> int:
        """The epoch, 0 unless `set_epoch` said otherwise."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the samples that augmentation and fresh draws are of.

        Raises
        ------
        TypeError, ValueError
            If it is not an integer from 0 whose samples lie below 2**62.
        """
        self._epoch.fill_(check_int("epoch", epoch, 0, MAX_SAMPLE // len(self) - 1))

    def __len__(self) -> int:
        return self._recipe.num_images

    def __getitem__(self, index: int) -> Item:
        """Return the image of a number, counted from the end if negative.

        Raises
        ------
        IndexError
            If there is none.
        TypeError
            If it is not an integer.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Return the images of several numbers, drawn together; what a torch loader calls for a batch."""
        numbers = np.array([self._number(index) for index in indices], np.int64)
        images, targets = self._camera.take(self._recipe.plan_images(numbers, self._draws, self.epoch))
        labels = list(targets) if self._recipe.multi_label else targets.tolist()
        change = self._transform
        return list(zip(images if change is None else map(change, images), labels, strict=True))

    def _number(self, index: int) -> int:
        try:
            number = operator.index(index)
        except MemoryError:
            raise
        except Exception as error:  # whatever its __index__ raised
            raise TypeError(f"index must be an integer, got {index!r} of type {type(index).__name__}") from error
        count = len(self)
        if not -count <= number < count:
            raise IndexError(f"index must lie in {-count}..{count - 1}, got {number}")
        return number % count

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._epoch = self._epoch.share_memory_()  # by plain pickle, or a copy, it is a number of its own

    def __repr__(self) -> str:
        return f"Images({self._recipe!r}, draws={self._draws!r}, epoch={self.epoch})"
