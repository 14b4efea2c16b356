"""Small recipes of every kind that an export or a map-style dataset meets, of uneven sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import toy

from onepfrac import OnePFrac
from onepfrac.plan import Plan


@dataclass(frozen=True)
class Many(OnePFrac):
    """Bitmaps with several instances a class."""

    dataset: ClassVar[str] = "Many"
    instances: int = 1


@dataclass(frozen=True)
class Gray(toy.Gray):
    """Random grays, which the image's key alone decides."""

    num_classes: int = 3
    canvas: int = 18
    instances: int = 4


@dataclass(frozen=True)
class Colour(Gray):
    """The same in red, green and blue."""

    dataset: ClassVar[str] = "Colour"
    planes: ClassVar[int] = 3


@dataclass(frozen=True)
class Scenes(Gray):
    """Image n shows class ``n % num_classes`` and, where n is even, the one after it too."""

    dataset: ClassVar[str] = "Scenes"
    multi_label: ClassVar[bool] = True

    def _plan(self, order: Plan) -> toy.ToyPlan:
        first = order.images % self.num_classes
        second = np.where(order.images % 2 == 0, (first + 1) % self.num_classes, -1)
        return toy.ToyPlan(order.seeds, order.labels, order.images, order.samples, np.stack([first, second], axis=1))


def small(num_classes: int = 6, instances: int = 1, **fields: int) -> Many:
    return Many(num_classes=num_classes, instances=instances, points=500, canvas=35, pad=2, brush="fill", **fields)
