"""The images of formula-driven pre-training, drawn where they are used."""

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
    "load_recipe",
    "pack",
    "picture",
    "recipe_of",
    "render",
    "replay",
    "sample_ifs",
    "search",
]
