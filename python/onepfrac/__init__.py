"""The images of formula-driven pre-training, drawn where they are used."""

from onepfrac._version import __version__
from onepfrac.augment import Policy
from onepfrac.camera import picture
from onepfrac.categories import Categories
from onepfrac.category_search import search
from onepfrac.datasets import OFDB, FractalDB, FractalScenes, Noise, OnePFrac, SingleImage, load_recipe
from onepfrac.ifs import IFS, sample_ifs
from onepfrac.liep import LIEP
from onepfrac.rendering import density, expand, pack, render, replay
from onepfrac.shots import Shots
from onepfrac.stream import Stream
from onepfrac.systems import Systems

__all__ = [
    "IFS",
    "LIEP",
    "OFDB",
    "Categories",
    "FractalDB",
    "FractalScenes",
    "Noise",
    "OnePFrac",
    "Policy",
    "Shots",
    "SingleImage",
    "Stream",
    "Systems",
    "__version__",
    "density",
    "expand",
    "load_recipe",
    "pack",
    "picture",
    "render",
    "replay",
    "sample_ifs",
    "search",
]
