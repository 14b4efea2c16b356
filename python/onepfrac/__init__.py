"""The images of formula-driven pre-training, drawn where they are used."""

from typing import TYPE_CHECKING

from onepfrac import _interpreter  # noqa: F401 - refuses subinterpreters before NumPy and torch hang in one
from onepfrac._version import __version__
from onepfrac.augment import Policy
from onepfrac.camera import picture
from onepfrac.categories import Categories
from onepfrac.category_search import search
from onepfrac.datasets import (
    OFDB,
    FractalDB,
    FractalScenes,
    Noise,
    OnePFrac,
    SingleImage,
    VisualAtoms,
    load_recipe,
    recipe_of,
)
from onepfrac.export import Exported, export_images
from onepfrac.ifs import IFS, sample_ifs
from onepfrac.liep import LIEP
from onepfrac.map_style import Images
from onepfrac.rendering import density, expand, pack, render, replay
from onepfrac.shots import Shots
from onepfrac.stream import Stream
from onepfrac.systems import Systems

if TYPE_CHECKING:
    from onepfrac.train.weights import load_pretrained

__all__ = [
    "IFS",
    "LIEP",
    "OFDB",
    "Categories",
    "Exported",
    "FractalDB",
    "FractalScenes",
    "Images",
    "Noise",
    "OnePFrac",
    "Policy",
    "Shots",
    "SingleImage",
    "Stream",
    "Systems",
    "VisualAtoms",
    "__version__",
    "density",
    "expand",
    "export_images",
    "load_pretrained",
    "load_recipe",
    "pack",
    "picture",
    "recipe_of",
    "render",
    "replay",
    "sample_ifs",
    "search",
]


def __getattr__(name: str) -> object:
    """Import what needs timm, which takes seconds, when it is first asked for."""
    if name == "load_pretrained":
        from onepfrac.train.weights import load_pretrained

        return load_pretrained
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
