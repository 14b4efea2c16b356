"""The datasets: one recipe a file, and reading a recipe without knowing which it is."""

from __future__ import annotations

import ast
import os
import re
from dataclasses import MISSING, fields

from onepfrac.datasets.fractal_db import FractalDB
from onepfrac.datasets.fractal_scenes import FractalScenes
from onepfrac.datasets.noise import Noise
from onepfrac.datasets.ofdb import OFDB
from onepfrac.datasets.one_p_frac import OnePFrac
from onepfrac.datasets.recipe import Recipe
from onepfrac.datasets.single_image import SingleImage
from onepfrac.datasets.visual_atoms import VisualAtoms
from onepfrac.files import read_json_object

__all__ = [
    "OFDB",
    "RECIPES",
    "FractalDB",
    "FractalScenes",
    "Noise",
    "OnePFrac",
    "Recipe",
    "SingleImage",
    "VisualAtoms",
    "load_recipe",
    "recipe_of",
]

_KINDS: tuple[type[Recipe], ...] = (OnePFrac, FractalDB, OFDB, VisualAtoms, FractalScenes, Noise, SingleImage)

RECIPES: dict[str, type[Recipe]] = {kind.dataset: kind for kind in _KINDS}
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


def recipe_of(text: str) -> Recipe:
    """Make the recipe that a text names, as command lines do.

    Parameters
    ----------
    text
        A dataset's name, alone or with fields, ``"OnePFrac:num_classes=100,brush=fill"``, else the path of a recipe's
        JSON file. A value is a Python literal, or the string that stands there. A comma separates fields where a name
        and ``=`` follow it.

    Raises
    ------
    FileNotFoundError, OSError
        If it names a file that cannot be read.
    TypeError, ValueError
        If it is neither, or has unknown, repeated, missing or illegal fields; the message names what is legal.
    """
    if not isinstance(text, str):
        raise TypeError(f"recipe must be a string, got {text!r} of type {type(text).__name__}")
    name, _, rest = text.partition(":")
    if name not in RECIPES:
        if text.endswith(".json") or os.path.exists(text):
            return load_recipe(text)
        raise ValueError(
            f"recipe must be a dataset ({', '.join(RECIPES)}), alone or as NAME:field=value,field=value, or the path of"
            f" a recipe's JSON file; got {text!r:.200}"
        )
    cls = RECIPES[name]
    known = {field.name: field for field in fields(cls)}  # type: ignore[arg-type]
    values: dict[str, object] = {}
    for part in re.split(r",(?=\s*\w+\s*=)", rest) if rest else ():
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ValueError(f"recipe {text!r:.200}: fields are written field=value, got {part!r}")
        if key not in known:
            raise ValueError(f"recipe {text!r:.200}: unknown field {key!r}; {name} has {', '.join(sorted(known))}")
        if key in values:
            raise ValueError(f"recipe {text!r:.200}: field {key!r} stands twice")
        values[key] = _literal(value)
    required = {key for key, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if missing := sorted(required - values.keys()):
        raise ValueError(f"recipe {text!r:.200}: {name} needs the fields {', '.join(missing)}")
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"recipe {text!r:.200}: {error}") from error


def _literal(text: str) -> object:
    """Return the Python literal that ``text`` is, else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
