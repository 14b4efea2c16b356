"""The datasets: one recipe a file, and reading a recipe without knowing which it is."""

from __future__ import annotations

import os

from onepfrac.datasets.fractal_db import FractalDB
from onepfrac.datasets.fractal_scenes import FractalScenes
from onepfrac.datasets.noise import Noise
from onepfrac.datasets.ofdb import OFDB
from onepfrac.datasets.one_p_frac import OnePFrac
from onepfrac.datasets.recipe import Recipe
from onepfrac.datasets.single_image import SingleImage
from onepfrac.files import read_json_object

__all__ = ["OFDB", "RECIPES", "FractalDB", "FractalScenes", "Noise", "OnePFrac", "Recipe", "SingleImage", "load_recipe"]

RECIPES: dict[str, type[Recipe]] = {
    kind.dataset: kind for kind in (OnePFrac, FractalDB, OFDB, FractalScenes, Noise, SingleImage)
}
"""All recipes by the name in their JSON text."""

MAX_RECIPE_BYTES = 256 * 1024 * 1024
"""Larger files of recipes are refused before they are read; 10 000 categories of FractalDB take 6 MB."""


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read a recipe that `Recipe.save` wrote.

    Raises
    ------
    FileNotFoundError, OSError
        If the file cannot be read.
    TypeError, ValueError
        If it is too large, not JSON, of an unknown dataset or another format version, or has unknown, missing or
        illegal fields; the message names the path.
    """
    values = read_json_object(path, MAX_RECIPE_BYTES)
    dataset = values.get("dataset")
    if not isinstance(dataset, str) or dataset not in RECIPES:
        raise ValueError(f"{path}: dataset must be one of {', '.join(map(repr, RECIPES))}, got {dataset!r:.80}")
    return RECIPES[dataset].from_fields(values, str(path))
