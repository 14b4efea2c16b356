"""1p-frac: one fractal, L perturbations, each of them a class of one image."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.camera import Film
from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.datasets.recipe import Recipe
from onepfrac.drawing import Drawing
from onepfrac.draws import check_seed
from onepfrac.ifs import IFS, MAX_MAPS
from onepfrac.liep import LIEP, MAX_CLASSES, MAX_DELTA, MODES, draw_base_system
from onepfrac.plan import Plan, SystemsPlan
from onepfrac.shots import Shots

__all__ = ["OnePFrac"]

_MARGIN = 0.1  # of the sigma-factor, as released


@dataclass(frozen=True)
class OnePFrac(Recipe):
    """The recipe of 1p-frac (Nakamura et al., "Scaling backwards: minimal synthetic pre-training?", ECCV 2024).

    One system of a given sigma-factor is sampled; class c is the system perturbed by the c-th epsilon of its `LIEP`.
    The defaults are the released generator's, with the paper's perturbation.

    Parameters
    ----------
    sigma
        Sigma-factor of the system, 0 .. 3 num_maps; the system's own lies within 0.1 of it.
    delta
        Size of the perturbation, 0..10.
    num_classes
        L, 1 .. 1 000 000.
    seed
        0..2**64-1. Decides the system, the perturbations, the order and every image.
    num_maps
        N, 1..16.
    mode
        ``"additive"`` (the paper's perturbation) or ``"multiplicative"`` (the release's), see `LIEP`.
    points, canvas, pad, brush
        How a picture is drawn: points of the chaos game, canvas and border in pixels, and what one point inks.
    min_inked
        A system, and a perturbation, is drawn again until more than this share of its picture is inked.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range. Where no system or perturbation is accepted, the first use raises
        ValueError.
    """

    dataset: ClassVar[str] = "OnePFrac"

    sigma: float = 3.5
    delta: float = 0.1
    num_classes: int = 1000
    seed: int = 0
    _: KW_ONLY
    num_maps: int = 2
    mode: str = "additive"
    points: int = 100_000
    canvas: int = 512
    pad: int = 6
    brush: str = "patch"
    min_inked: float = 0.05

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "num_maps", check_int("num_maps", self.num_maps, 1, MAX_MAPS))
        set_field(self, "sigma", check_float("sigma", self.sigma, 0.0, 3.0 * self.num_maps))
        set_field(self, "delta", check_float("delta", self.delta, 0.0, MAX_DELTA))
        set_field(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CLASSES))
        set_field(self, "seed", check_seed("seed", self.seed))
        set_field(self, "mode", check_choice("mode", self.mode, MODES))
        drawing = self._drawing
        for name in ("points", "canvas", "pad", "brush", "min_inked"):
            set_field(self, name, getattr(drawing, name))

    @cached_property
    def ifs(self) -> IFS:
        """The unperturbed system, sampled when first asked for."""
        return draw_base_system(self.sigma, self.num_maps, self.seed, _MARGIN, self._drawing)

    @cached_property
    def liep(self) -> LIEP:
        """The perturbations."""
        return LIEP(self.ifs, self.delta, self.num_classes, self.mode, self.seed, self._drawing)

    def prepare(self) -> None:
        """Sample the system and the perturbations, if that has not been done."""
        self._maps  # noqa: B018

    def _plan(self, order: Plan) -> SystemsPlan:
        return SystemsPlan(
            order.seeds,
            order.labels,
            order.images,
            order.samples,
            maps=self._maps[order.labels],
            probs=np.broadcast_to(self.ifs.probs, (len(order), self.num_maps)),
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
    def _drawing(self) -> Drawing:
        return Drawing(points=self.points, canvas=self.canvas, pad=self.pad, brush=self.brush, min_inked=self.min_inked)

    @cached_property
    def _maps(self) -> NDArray[np.float32]:
        """The systems as the renderer plays them, float32 (L, N, 2, 3)."""
        maps = self.liep.maps.astype(np.float32)
        maps.setflags(write=False)
        return maps
