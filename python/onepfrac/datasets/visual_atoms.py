"""Visual Atoms: rings of sine waves and noise, a category being one set of wave parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.atoms import (
    MAX_COEFFICIENT,
    MAX_LINE_WIDTH,
    MAX_LINES,
    MAX_OVAL,
    MAX_RADIUS,
    MAX_VERTICES,
    MAX_WAVES,
    Atoms,
    atom_words,
    draw_atoms,
)
from onepfrac.checks import check_float, check_int
from onepfrac.datasets.recipe import Recipe
from onepfrac.draws import Purpose, check_seed, uniform
from onepfrac.liep import MAX_CLASSES
from onepfrac.plan import Plan
from onepfrac.rendering import MAX_SIZE, MIN_SIZE

__all__ = ["VisualAtoms", "VisualAtomsPlan"]

MAX_INSTANCES = 1_000_000


@dataclass(frozen=True, eq=False)
class VisualAtomsPlan(Plan):
    """A plan of Visual Atoms.

    Attributes
    ----------
    atoms : uint32 array (B, 13)
        What `onepfrac.atoms.atom_words` returns.
    """

    atoms: NDArray[np.uint32]


@dataclass(frozen=True)
class VisualAtoms(Recipe):
    """The recipe of VisualAtom.

    A category is a set of parameters, each drawn uniformly from its range; an instance is a place of the centre, the
    noise and the grays. Defaults are the released generator's. Pixels are gray levels of lines without antialiasing, as
    released. Draws are this package's own, and the two ends of a cell of Perlin noise are independent: the noise has a
    standard deviation of 0.319 instead of 0.329.

    Parameters
    ----------
    num_classes, instances
        Categories, and images of each, 1 .. 1 000 000.
    seed
        0..2**64-1. Decides the categories, the order and every image.
    canvas
        Side of the canvas in pixels, 8..4096. The centre lies up to half of it off the middle, on each axis; all other
        lengths are in pixels, whatever the canvas.
    vertices
        Lowest and highest number of vertices of a line, 3..2048.
    lines
        Of lines, 1..2000.
    coefficient
        Of the noise, in pixels, 0..100: about how far apart lines are.
    line_width
        What is added to that, in pixels, 0..100.
    radius
        Of the first line's start, whole pixels, 0..4096.
    waves
        How often a sine wave goes round a line, 0..1000. Two waves are drawn: unequal, or both 0.
    oval
        Factor of the radius, 0..64, drawn for each axis.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.

    References
    ----------
    Takashima et al., "Visual Atoms: Pre-training Vision Transformers with Sinusoidal Waves", CVPR 2023.
    """

    dataset: ClassVar[str] = "VisualAtoms"
    bitmap: ClassVar[bool] = False

    num_classes: int = 1000
    seed: int = 0
    _: KW_ONLY
    instances: int = 1000
    canvas: int = 512
    vertices: tuple[int, int] = (200, 1000)
    lines: tuple[int, int] = (1, 200)
    coefficient: tuple[float, float] = (2.0, 6.0)
    line_width: tuple[float, float] = (0.0, 0.01)
    radius: tuple[int, int] = (0, 50)
    waves: tuple[int, int] = (0, 20)
    oval: tuple[float, float] = (1.0, 2.0)

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CLASSES))
        set_field(self, "instances", check_int("instances", self.instances, 1, MAX_INSTANCES))
        set_field(self, "seed", check_seed("seed", self.seed))
        set_field(self, "canvas", check_int("canvas", self.canvas, MIN_SIZE, MAX_SIZE))
        for name, low, high in (
            ("vertices", 3, MAX_VERTICES),
            ("lines", 1, MAX_LINES),
            ("radius", 0, MAX_RADIUS),
            ("waves", 0, MAX_WAVES),
        ):
            given = _pair(name, getattr(self, name))
            set_field(self, name, _ordered(name, *(check_int(name, value, low, high) for value in given)))
        for name, most in (
            ("coefficient", MAX_COEFFICIENT),
            ("line_width", MAX_LINE_WIDTH),
            ("oval", MAX_OVAL),
        ):
            given = _pair(name, getattr(self, name))
            set_field(self, name, _ordered(name, *(check_float(name, value, 0.0, most) for value in given)))
        if 0 < self.waves[0] == self.waves[1]:
            raise ValueError(f"waves must hold two numbers, since the two waves differ, got {self.waves}")
        self._check_images()

    def prepare(self) -> None:
        """Draw the categories, if that has not been done."""
        self._categories  # noqa: B018

    def _plan(self, order: Plan) -> VisualAtomsPlan:
        size = self.canvas
        shift = _integers(uniform(self.seed, Purpose.ATOM_INSTANCE, order.seeds, 2), -size, size)
        of_class = {name: values[order.labels] for name, values in self._categories.items()}
        words = atom_words(order.seeds, centre=(size + shift) / 2, **of_class)
        return VisualAtomsPlan(order.seeds, order.labels, order.images, order.samples, atoms=words)

    def draw(
        self, plan: VisualAtomsPlan, device: torch.device, threads: int | None = None, bits: bool = False
    ) -> torch.Tensor:
        """Draw planned canvases on ``device``: uint8 (B, 1, canvas, canvas), grays 0..255; not as ``bits``."""
        if bits:
            raise ValueError("bits must be False: canvases of VisualAtoms are grays, got True")
        return draw_atoms(Atoms.of(plan.atoms, self.vertices[1], device), size=self.canvas, threads=threads)

    @cached_property
    def _categories(self) -> dict[str, NDArray[Any]]:
        """The parameters of each class, by the names that `atom_words` has for them."""
        u = uniform(self.seed, Purpose.ATOM_CATEGORY, np.arange(self.num_classes), 9)
        low, high = self.waves
        first = _integers(u[:, 5], low, high)
        # The release draws the second again while it equals the first, unless that is 0: uniform over the others.
        other = _integers(u[:, 6], low, max(low, high - 1))
        second = np.where(first == 0, _integers(u[:, 6], low, high), other + (other >= first))
        return {
            "vertices": _integers(u[:, 0], *self.vertices),
            "lines": _integers(u[:, 1], *self.lines),
            "coefficient": _between(u[:, 2], *self.coefficient),
            "line_width": _between(u[:, 3], *self.line_width),
            "radius": _integers(u[:, 4], *self.radius),
            "waves": np.stack([first, second], 1),
            "oval": _between(u[:, 7:], *self.oval),
        }


def _integers(u: NDArray[np.float64], low: int, high: int) -> NDArray[np.int64]:
    """Return integers uniform in low..high from numbers uniform in [0, 1)."""
    return low + np.floor(u * (high - low + 1)).astype(np.int64)


def _between(u: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.minimum(low + u * (high - low), high)


def _pair(name: str, value: object) -> tuple[object, object]:
    if isinstance(value, (str, memoryview)) or not isinstance(value, Sequence) or len(value) != 2:
        raise TypeError(f"{name} must be a pair, lowest and highest, got {value!r:.80}")
    return value[0], value[1]


def _ordered(name: str, low: float, high: float) -> tuple[float, float]:
    if low > high:
        raise ValueError(f"{name} must be (lowest, highest), got {(low, high)}")
    return low, high
