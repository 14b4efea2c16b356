"""A small dataset whose canvases are gray or in colour, with a few classes an image: what no shipped bitmap is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.datasets import Recipe
from onepfrac.plan import Plan


@dataclass(frozen=True, eq=False)
class ToyPlan(Plan):
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Colour(Recipe):
    """Random grays in three planes, by the image's key."""

    dataset: ClassVar[str] = "Colour"
    planes: ClassVar[int] = 3
    bitmap: ClassVar[bool] = False

    num_classes: int = 5
    seed: int = 0
    canvas: int = 24
    instances: int = 3

    def prepare(self) -> None:
        pass

    def _plan(self, order: Plan) -> ToyPlan:
        second = np.where(order.images % 2 == 1, (order.labels + 1) % self.num_classes, -1)
        classes = np.stack([order.labels, second, order.labels], 1)
        return ToyPlan(order.seeds, order.labels, order.images, order.samples, classes=classes)

    def draw(self, plan: Plan, device: torch.device, threads: int | None = None, bits: bool = False) -> torch.Tensor:
        assert bits <= self.bitmap
        shape = (self.planes, self.canvas, self.canvas)
        made = [np.random.Generator(np.random.PCG64(int(seed))).integers(0, 256, shape) for seed in plan.seeds]
        grays = np.array(made, np.uint8).reshape(-1, *shape)
        if not self.bitmap:
            return torch.from_numpy(grays).to(device)
        ink = grays > 150
        if not bits:
            return torch.from_numpy(ink * np.uint8(127)).to(device)
        wide = np.zeros((*ink.shape[:-1], -(-self.canvas // 32) * 32), np.bool_)
        wide[..., : self.canvas] = ink
        words = np.packbits(wide, axis=-1, bitorder="little").view("<i4").astype(np.int32)
        return torch.from_numpy(words).to(device)


@dataclass(frozen=True)
class Gray(Colour):
    dataset: ClassVar[str] = "Gray"
    planes: ClassVar[int] = 1


@dataclass(frozen=True)
class ColourBitmap(Colour):
    dataset: ClassVar[str] = "ColourBitmap"
    bitmap: ClassVar[bool] = True


@dataclass(frozen=True)
class Several(Gray):
    """Images that show one or two classes."""

    dataset: ClassVar[str] = "Several"
    multi_label: ClassVar[bool] = True
