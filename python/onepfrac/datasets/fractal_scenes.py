"""FractalScenes: several fractals in colour over a background, an image labelled with all of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.buffers import allocate
from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.datasets.recipe import Recipe
from onepfrac.draws import Purpose, check_seed, keys, uniform
from onepfrac.ifs import MAX_MAPS, sample_ifs
from onepfrac.instances import JITTERS, jittered
from onepfrac.liep import MAX_CLASSES
from onepfrac.plan import MAX_IMAGES, Plan
from onepfrac.rendering import GRADES, MAX_POINTS, density
from onepfrac.scenes import (
    MAX_OBJECTS,
    MAX_SCENE_SIZE,
    draw_counts,
    draw_object_keys,
    draw_other_classes,
    draw_scenes,
    paint_scenes,
)

__all__ = ["FractalScenes", "ScenePlan"]

_PAD = 2  # pixels: the brush covers pixels 1..3 to the right of a point and above it, so this centres a picture
_JITTERS = tuple(kind for kind in JITTERS if kind != "weights")  # weightings belong to instances that are counted
_PICTURE_BYTES = {"cpu": 8 * 2**20, "cuda": 128 * 2**20}  # of objects' pictures held at a time


@dataclass(frozen=True, eq=False)
class ScenePlan(Plan):
    """A plan of scenes.

    Attributes
    ----------
    classes : int64 array (B, M)
        The classes of an image's objects in the order in which they are painted, -1 where there is none. The first is
        its label.
    """

    classes: NDArray[np.int64]


@dataclass(frozen=True)
class FractalScenes(Recipe):
    """The recipe of Anderson and Farrell's images with several fractals ("Improving Fractal Pre-training", WACV 2022).

    A class is a system of N maps, N uniform in ``num_maps``, whose sigma-factor is uniform in [(5 + N) / 2, (6 + N) /
    2]. An image shows 1..5 of them: each graded by its hits per pixel at half the canvas's side, turned over, coloured,
    scaled and put anywhere on a background of coloured clouds; half of the images are blurred. The label of an image
    is all its classes (binary cross entropy): the first object's comes from the order of the stream, the others' are
    uniform. The distributions are those of the release's generator, see `onepfrac.scenes.draw_scenes`.

    Augmentation takes tone plane by plane: contrast by the mean of a plane, and no saturation.

    Parameters
    ----------
    num_classes
        L, 1 .. 1 000 000.
    instances
        Images of a class (as that of the first object), 1 .. 2**40 / L.
    seed
        0..2**64-1. Decides the systems, the order and every image.
    canvas
        Side of the images, 16..1024 pixels.
    objects
        Fewest and most objects of an image, 1..64.
    side
        Smallest and largest side of an object, as a share of the canvas, above 0, up to 2.
    num_maps
        Fewest and most maps of a system, 1..16.
    points
        Points of an object's chaos game.
    jitter
        How each object's system is changed, see `onepfrac.instances.jittered`: ``"scale"`` multiplies one of its maps
        by U(0.8, 1.1); ``"svd"`` and ``"sval"`` are the release's others; ``"none"``.
    background
        Whether there is a background; else it is black.
    blur
        Share of the images that are blurred, 0..1.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.
    """

    dataset: ClassVar[str] = "FractalScenes"
    planes: ClassVar[int] = 3
    bitmap: ClassVar[bool] = False
    multi_label: ClassVar[bool] = True

    num_classes: int = 1000
    seed: int = 0
    _: KW_ONLY
    instances: int = 1000
    canvas: int = 224
    objects: tuple[int, int] = (1, 5)
    side: tuple[float, float] = (0.15, 0.6)
    num_maps: tuple[int, int] = (2, 7)
    points: int = 100_000
    jitter: str = "scale"
    background: bool = True
    blur: float = 0.5

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CLASSES))
        set_field(self, "instances", check_int("instances", self.instances, 1, MAX_IMAGES))
        set_field(self, "seed", check_seed("seed", self.seed))
        set_field(self, "canvas", check_int("canvas", self.canvas, 16, MAX_SCENE_SIZE))
        fewest, most = _pair("objects", self.objects)
        fewest = check_int("objects[0]", fewest, 1, MAX_OBJECTS)
        set_field(self, "objects", (fewest, check_int("objects[1]", most, fewest, MAX_OBJECTS)))
        smallest, largest = _pair("side", self.side)
        smallest = check_float("side[0]", smallest, 0.0, 2.0, open_low=True)
        set_field(self, "side", (smallest, check_float("side[1]", largest, smallest, 2.0)))
        fewest, most = _pair("num_maps", self.num_maps)
        # Fewer than two maps cannot have this sigma-factor, of which a map has at most 3.
        fewest = check_int("num_maps[0]", fewest, 2, MAX_MAPS)
        set_field(self, "num_maps", (fewest, check_int("num_maps[1]", most, fewest, MAX_MAPS)))
        set_field(self, "points", check_int("points", self.points, 1, MAX_POINTS))
        set_field(self, "jitter", check_choice("jitter", self.jitter, _JITTERS))
        if not isinstance(self.background, bool):
            raise TypeError(f"background must be True or False, got {self.background!r:.80}")
        set_field(self, "blur", check_float("blur", self.blur, 0.0, 1.0))
        self._check_images()

    def prepare(self) -> None:
        """Sample the systems, if that has not been done."""
        self.systems  # noqa: B018

    @cached_property
    def systems(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The systems: maps float64 (L, N, 2, 3) with N the most, and how many of them each class has, int64 (L,).

        The maps beyond a system's own repeat its last one; they are never played.
        """
        fewest, most = self.num_maps
        classes = np.arange(self.num_classes)
        counts = fewest + np.floor(uniform(self.seed, Purpose.CATEGORY, classes, 1)[:, 0] * (most - fewest + 1))
        maps = np.empty((self.num_classes, most, 2, 3))
        for c, (n, key) in enumerate(zip(counts.tolist(), keys(self.seed, Purpose.CATEGORY_KEY, classes), strict=True)):
            own = sample_ifs((5.5 + n) / 2, int(n), int(key), margin=0.25).maps
            maps[c, : int(n)], maps[c, int(n) :] = own, own[-1]
        maps.setflags(write=False)
        return maps, counts.astype(np.int64)

    def _plan(self, order: Plan) -> ScenePlan:
        most = self.objects[1]
        classes = draw_other_classes(self.seed, order.seeds, most, self.num_classes)
        classes[:, 0] = order.labels
        counts = draw_counts(self.seed, order.seeds, self.objects)
        classes[np.arange(most) >= counts[:, None]] = -1
        return ScenePlan(order.seeds, order.labels, order.images, order.samples, classes=classes)

    def draw(
        self, plan: ScenePlan, device: torch.device, threads: int | None = None, bits: bool = False
    ) -> torch.Tensor:
        """Draw planned canvases on ``device``: uint8 (B, 3, canvas, canvas), red, green, blue. There are no bits."""
        if bits:
            raise ValueError("bits must be False: these canvases are in colour")
        out = allocate((len(plan), 3, self.canvas, self.canvas), torch.uint8, device)
        chunk = max(1, _PICTURE_BYTES[device.type] // (self.objects[1] * (self.canvas // 2) ** 2))
        for start in range(0, len(plan), chunk):
            part = slice(start, start + chunk)
            self._draw_part(plan[part], device, threads, out[part])
        return out

    def _draw_part(self, plan: ScenePlan, device: torch.device, threads: int | None, out: torch.Tensor) -> None:
        scenes = draw_scenes(
            self.seed,
            plan.seeds,
            self.canvas,
            objects=self.objects,
            side=self.side,
            background=self.background,
            blur=self.blur,
        )
        object_keys = draw_object_keys(self.seed, plan.seeds, self.objects[1])[scenes.there]
        maps, probs = self._played(plan, object_keys)
        pictures = density(
            maps,
            probs,
            points=self.points,
            size=self.canvas // 2,
            pad=_PAD,
            brush="patch_fixed",
            seed=object_keys,
            threads=threads,
            device=device,
            dtype=GRADES,
        )
        paint_scenes(pictures, scenes, size=self.canvas, threads=threads, device=device, out=out)

    def _played(
        self, plan: ScenePlan, object_keys: NDArray[np.uint64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the systems of a plan's objects, one after the other, (K, N, 2, 3), and their weights (K, N)."""
        there = plan.classes >= 0
        all_maps, all_counts = self.systems
        maps, counts = all_maps[plan.classes[there]], all_counts[plan.classes[there]]
        if self.jitter != "none":
            maps = jittered(self.jitter, maps, counts, self.seed, object_keys.astype(np.int64))
        weights = np.abs(maps[..., 0, 0] * maps[..., 1, 1] - maps[..., 0, 1] * maps[..., 1, 0])
        weights[np.arange(maps.shape[1]) >= counts[:, None]] = 0.0
        return maps, weights

    def _to_json(self, field: str) -> object:
        value = getattr(self, field)
        return list(value) if isinstance(value, tuple) else value


def _pair(name: str, value: object) -> Sequence[object]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (least, most), got {value!r:.80}")
    return value
