"""FractalDB: categories of random systems, and instances of each by changed parameters."""

from __future__ import annotations

import os
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.camera import Film
from onepfrac.categories import MAX_CATEGORIES, Categories, stack_systems
from onepfrac.category_search import Rule, search
from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.datasets.recipe import Recipe
from onepfrac.drawing import Drawing
from onepfrac.draws import check_seed
from onepfrac.instances import JITTERS, MIRRORS, NUM_WEIGHTINGS, jittered, mirrored, weighted
from onepfrac.plan import Plan, SystemsPlan
from onepfrac.shots import Shots

__all__ = ["CategoryRecipe", "FractalDB"]

MAX_INSTANCES = 1_000_000

_Self = TypeVar("_Self", bound="CategoryRecipe")


@dataclass(frozen=True)
class CategoryRecipe(Recipe):
    """What FractalDB and OFDB share: systems found by a search or given, and how they are drawn."""

    num_classes: int = 1000
    seed: int = 0
    _: KW_ONLY
    sampling: str = "uniform"
    min_maps: int = 2
    max_maps: int = 7
    fill: float = 0.2
    points: int = 200_000
    canvas: int = 362
    pad: int = 6
    brush: str = "patch"
    categories: Categories | str | os.PathLike[str] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CATEGORIES))
        set_field(self, "seed", check_seed("seed", self.seed))
        rule = self._rule
        for name in ("sampling", "min_maps", "max_maps", "fill"):
            set_field(self, name, getattr(rule, name))
        drawing = self._drawing
        for name in ("points", "canvas", "pad", "brush"):
            set_field(self, name, getattr(drawing, name))
        if self.categories is not None:
            given = Categories.of(self.categories)  # a recipe's JSON holds lists
            set_field(self, "categories", given)
            if len(given) != self.num_classes:
                raise ValueError(f"num_classes must be {len(given)}, as many as categories, got {self.num_classes}")

    @cached_property
    def systems(self) -> Categories:
        """The systems of the categories: those given, or found by a search when first asked for."""
        return (
            search(self.num_classes, self.seed, self._rule)
            if self.categories is None
            else Categories.of(self.categories)
        )

    def draw(
        self, plan: SystemsPlan, device: torch.device, threads: int | None = None, bits: bool = False
    ) -> torch.Tensor:
        """Draw planned canvases on ``device``: uint8 (B, 1, canvas, canvas) of 0 and 127, or bits as `render`'s."""
        return self._drawing.draw(plan.maps, plan.probs, plan.seeds, device=device, threads=threads, bits=bits)

    def take(self, plan: SystemsPlan, shots: Shots, film: Film, out: torch.Tensor, threads: int | None = None) -> None:
        """Draw planned canvases and take their pictures in one go."""
        self._drawing.take(plan.maps, plan.probs, plan.seeds, shots, film, out, threads=threads)

    @property
    def _rule(self) -> Rule:
        return Rule(sampling=self.sampling, min_maps=self.min_maps, max_maps=self.max_maps, fill=self.fill)

    @property
    def _drawing(self) -> Drawing:
        return Drawing(points=self.points, canvas=self.canvas, pad=self.pad, brush=self.brush, min_inked=0.0)

    @cached_property
    def _stacked(self) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """The systems of the categories with one N, float32 (L, N, 2, 3) and float64 (L, N)."""
        return stack_systems(self.systems.systems)

    @classmethod
    def from_fields(cls: type[_Self], values: dict[str, object], name: str) -> _Self:
        """Make the recipe from a parsed JSON object; its categories are systems, never a path to be read."""
        if isinstance(values.get("categories"), str):
            raise TypeError(f"{name}: categories must be a list of systems, got a string")
        return super().from_fields(values, name)

    def _to_json(self, field: str) -> object:
        value = super()._to_json(field)
        return value.as_lists() if isinstance(value, Categories) else value


@dataclass(frozen=True)
class FractalDB(CategoryRecipe):
    """The recipe of FractalDB (Kataoka et al., "Pre-training without natural images", ACCV 2020).

    A category is a system that a search found: N of 2 to 7 maps, six parameters uniform in [-1, 1) each (maps may
    expand), kept if its picture is inked to a fifth. Its instances are pictures of 25 weightings of the parameters,
    under four mirrorings, each with draws of its own.

    Parameters
    ----------
    num_classes
        Categories, 1 .. 1 000 000.
    seed
        0..2**64-1. Decides the categories (if they are not given), the order and every image.
    instances
        Images of a category, 1 .. 1 000 000. Instance i has weighting ``i % 25`` (0: the category itself), mirroring
        ``i // 25 % 4`` (none, top to bottom, left to right, both), and its own points and texture; the release has
        1000, 25 weightings x 10 textures x 4.
    sampling, min_maps, max_maps, fill
        The search, see `onepfrac.category_search.Rule`: ``"uniform"`` as released, ``"sigma"`` for contractions as
        Anderson and Farrell draw them. Not used where ``categories`` are given.
    points, canvas, pad, brush
        How a picture is drawn: points of the chaos game, canvas and border in pixels, and what one point inks.
    jitter
        How instances differ: ``"weights"``, FractalDB's; ``"scale"``, ``"svd"``, ``"sval"``, Anderson and Farrell's
        (see `onepfrac.instances.jittered`; instance 0 is the category itself); ``"none"``, by their draws alone. Only
        the first mirrors; with the others that is left to the stream's augmentation.
    strength
        Of the weightings, 0..0.5: their factors are 1 - 2 s, 1 - s, 1 + s and 1 + 2 s.
    categories
        `onepfrac.Categories`, or the path that they are read from, as many as ``num_classes``, in place of a search;
        the recipe holds the systems themselves.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range. Where a category finds no system, the first use raises ValueError.
    """

    dataset: ClassVar[str] = "FractalDB"

    _: KW_ONLY
    instances: int = 1000
    jitter: str = "weights"
    strength: float = 0.4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "instances", check_int("instances", self.instances, 1, MAX_INSTANCES))
        object.__setattr__(self, "jitter", check_choice("jitter", self.jitter, JITTERS))
        object.__setattr__(self, "strength", check_float("strength", self.strength, 0.0, 0.5))
        self._check_images()

    def prepare(self) -> None:
        """Search for the categories, if that has not been done, and weight their parameters."""
        if self.jitter == "weights":
            self._weighted  # noqa: B018
        else:
            self._exact  # noqa: B018

    def _plan(self, order: Plan) -> SystemsPlan:
        instances = order.images - order.labels * self.instances
        if self.jitter == "weights":
            maps = self._weighted[order.labels, instances % NUM_WEIGHTINGS]
            maps = mirrored(maps, instances // NUM_WEIGHTINGS % MIRRORS)
        elif self.jitter == "none":
            maps = self._stacked[0][order.labels]
        else:
            exact, num_maps = self._exact[0][order.labels], self._exact[1][order.labels]
            changed = jittered(self.jitter, exact, num_maps, self.seed, order.images)
            maps = np.where((instances == 0)[:, None, None, None], exact, changed).astype(np.float32)
        probs = self._stacked[1][order.labels]
        return SystemsPlan(order.seeds, order.labels, order.images, order.samples, maps=maps, probs=probs)

    @cached_property
    def _exact(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The systems in float64 with one N (L, N, 2, 3), and how many maps each has (L,)."""
        maps = self._stacked[0].astype(np.float64)
        for place, ifs in enumerate(self.systems):
            maps[place, : ifs.num_maps] = ifs.maps
            maps[place, ifs.num_maps :] = ifs.maps[0]
        return maps, np.array([ifs.num_maps for ifs in self.systems])

    @cached_property
    def _weighted(self) -> NDArray[np.float32]:
        """The weightings that instances have, float32 (L, 25 or less, N, 2, 3)."""
        maps, _ = weighted(self._exact[0], self._stacked[1], min(self.instances, NUM_WEIGHTINGS), self.strength)
        maps.setflags(write=False)
        return maps
