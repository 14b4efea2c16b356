"""OFDB: FractalDB's categories with one image each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from onepfrac.datasets.fractal_db import CategoryRecipe
from onepfrac.plan import Plan, SystemsPlan

__all__ = ["OFDB"]


@dataclass(frozen=True)
class OFDB(CategoryRecipe):
    """The recipe of OFDB, one-instance FractalDB, in two dimensions.

    Nakamura et al., "Pre-training vision transformers with very limited synthesized images", ICCV 2023. A category has
    one picture; variety comes from the stream's augmentation, crops and flips (``augment="crop-flip"`` or ``"deit"``).

    Parameters
    ----------
    num_classes
        Categories, 1 .. 1 000 000.
    seed
        0..2**64-1. Decides the categories (if they are not given), the order and every image.
    sampling, min_maps, max_maps, fill
        The search, see `onepfrac.category_search.Rule`. Not used where ``categories`` are given.
    points, canvas, pad, brush
        How a picture is drawn: points of the chaos game, canvas and border in pixels, and what one point inks.
    categories
        `onepfrac.Categories`, or the path that they are read from, as many as ``num_classes``, in place of a search;
        the recipe holds the systems themselves.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range. Where a category finds no system, the first use raises ValueError.
    """

    dataset: ClassVar[str] = "OFDB"

    def prepare(self) -> None:
        """Search for the categories, if that has not been done."""
        self._stacked  # noqa: B018

    def _plan(self, order: Plan) -> SystemsPlan:
        maps, probs = self._stacked
        return SystemsPlan(
            order.seeds, order.labels, order.images, order.samples, maps=maps[order.labels], probs=probs[order.labels]
        )
