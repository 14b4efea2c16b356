"""Small recipes of every kind that a dataset may be: many instances, gray, colour, several classes an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac import OnePFrac
from onepfrac.datasets import Recipe
from onepfrac.draws import bits
from onepfrac.plan import Plan


@dataclass(frozen=True)
class Many(OnePFrac):
    """Bitmaps with several instances a class."""

    dataset: ClassVar[str] = "Many"
    instances: int = 1


@dataclass(frozen=True)
class Gray(Recipe):
    """Random grays, whose key alone decides them."""

    dataset: ClassVar[str] = "Gray"
    bitmap: ClassVar[bool] = False

    num_classes: int = 3
    instances: int = 4
    seed: int = 0
    canvas: int = 18

    def prepare(self) -> None:
        pass

    def _plan(self, order: Plan) -> Plan:
        return order

    def draw(self, plan: Plan, device: torch.device, threads: int | None = None, bits: bool = False) -> torch.Tensor:
        assert not bits
        shape = (self.planes, self.canvas, self.canvas)
        images = [_grays(int(seed), int(np.prod(shape))).reshape(shape) for seed in plan.seeds]
        return torch.from_numpy(np.stack(images)).to(device)


@dataclass(frozen=True)
class Colour(Gray):
    """The same in red, green and blue."""

    dataset: ClassVar[str] = "Colour"
    planes: ClassVar[int] = 3


@dataclass(frozen=True, eq=False)
class ScenePlan(Plan):
    classes: NDArray[np.int64]


@dataclass(frozen=True)
class Scenes(Gray):
    """Image n shows class ``n % num_classes`` and, where n is even, the one after it too."""

    dataset: ClassVar[str] = "Scenes"
    multi_label: ClassVar[bool] = True

    def _plan(self, order: Plan) -> ScenePlan:
        first = order.images % self.num_classes
        second = np.where(order.images % 2 == 0, (first + 1) % self.num_classes, -1)
        return ScenePlan(order.seeds, order.labels, order.images, order.samples, np.stack([first, second], axis=1))


def _grays(seed: int, count: int) -> NDArray[np.uint8]:
    return bits(seed, 63, 0, count).astype(np.uint8)


def small(num_classes: int = 6, instances: int = 1, **fields: int) -> Many:
    return Many(num_classes=num_classes, instances=instances, points=500, canvas=35, pad=2, brush="fill", **fields)
