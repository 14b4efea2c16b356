"""Noise: one image of noise, L perturbations of its pixels; the control of 1p-frac without shapes."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property, lru_cache
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.datasets.recipe import Recipe
from onepfrac.draws import Purpose, check_seed, keys
from onepfrac.liep import MAX_CLASSES
from onepfrac.noise import BRIGHTEST, base_image, draw_noise, normal_grays, uniform_grays
from onepfrac.plan import Plan
from onepfrac.rendering import MAX_SIZE, MIN_SIZE, check_device

__all__ = ["Noise"]

_KINDS: tuple[Literal["gaussian", "uniform"], ...] = ("gaussian", "uniform")
_MAX_DELTA = 2.0  # an epsilon of the whole range of grays
_MEAN, _STD = 127.5, 42.5  # three standard deviations to black and to white


@dataclass(frozen=True)
class Noise(Recipe):
    """The recipe of noise in place of a fractal (Nakamura et al., "Scaling backwards", ECCV 2024).

    One image of noise is drawn, the base. Class c adds a perturbation to every pixel of it, uniform in
    ``[-delta/2, delta/2]`` of the range of 255 grays and independent from pixel to pixel, as 1p-frac adds one to every
    parameter; the sum is rounded and clipped to 0..255. So a class is one image, as a class of `OnePFrac`, but nothing
    has a shape. In the paper a ViT-Tiny pre-trained on such images learns nothing: 1.1 % (gaussian) and 2.0 % (uniform)
    on CIFAR-100, against 84.2 % of 1p-frac.

    The perturbation is all there is to a class, and the base belongs to all classes. Nothing is left to be drawn for a
    sample, so ``draws="fresh"`` gives the images of ``draws="fixed"``.

    Parameters
    ----------
    kind
        The base: ``"gaussian"`` or ``"uniform"`` (over 0..255), independent from pixel to pixel. 4096 equally probable
        levels of either, to 1/128 gray.
    delta
        Size of the perturbation, 0..2; with 2 an epsilon is -255..255 grays.
    num_classes
        L, 1 .. 1 000 000.
    seed
        0..2**64-1. Decides the base, the perturbations and the order.
    canvas
        Side of the images in pixels, 8..4096.
    mean, std
        Of the gaussian base, in grays: mean 0..255, std above 0 and up to 255; what falls outside of 0..255 is clipped.
        Default: 127.5 and 42.5. The uniform base takes None.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.
    """

    dataset: ClassVar[str] = "Noise"
    bitmap: ClassVar[bool] = False

    kind: str = "gaussian"
    delta: float = 0.1
    num_classes: int = 1000
    seed: int = 0
    _: KW_ONLY
    canvas: int = 512
    mean: float | None = None
    std: float | None = None

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        set_field(self, "kind", check_choice("kind", self.kind, _KINDS))
        set_field(self, "delta", check_float("delta", self.delta, 0.0, _MAX_DELTA))
        set_field(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CLASSES))
        set_field(self, "seed", check_seed("seed", self.seed))
        set_field(self, "canvas", check_int("canvas", self.canvas, MIN_SIZE, MAX_SIZE))
        if self.kind == "gaussian":
            mean = _MEAN if self.mean is None else self.mean
            std = _STD if self.std is None else self.std
            set_field(self, "mean", check_float("mean", mean, 0.0, 255.0))
            set_field(self, "std", check_float("std", std, 0.0, 255.0, open_low=True))
        else:
            for name in ("mean", "std"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} must be None for kind 'uniform', got {getattr(self, name)!r:.80}")

    @cached_property
    def base(self) -> NDArray[np.int16]:
        """The image that all classes perturb, int16 (canvas, canvas) in 1/128 gray, drawn when first asked for."""
        if self.mean is None or self.std is None:
            levels = uniform_grays()
        else:
            levels = normal_grays(self.mean, self.std)
        base = base_image(int(keys(self.seed, Purpose.NOISE_BASE, 0)), levels, self.canvas)
        base.setflags(write=False)
        return base

    def prepare(self) -> None:
        """Draw the base, if that has not been done."""
        self.base  # noqa: B018

    def _plan(self, order: Plan) -> Plan:
        return replace(order, seeds=keys(self.seed, Purpose.CLASS_KEY, order.labels))

    def draw(self, plan: Plan, device: torch.device, threads: int | None = None, bits: bool = False) -> torch.Tensor:
        """Draw planned images on ``device``: uint8 (B, 1, canvas, canvas), grays 0..255; they cannot be bits."""
        if bits:
            raise ValueError("bits must be False: images of noise hold all grays")
        base = _base_on(self, check_device("device", device))
        if base.is_cuda:  # its memory stays until this stream, too, is done with it
            base.record_stream(torch.cuda.current_stream(base.device))
        half = round(self.delta / 2 * BRIGHTEST)
        return draw_noise(base, plan.seeds, half, threads=threads)


@lru_cache(maxsize=2)
def _base_on(recipe: Noise, device: torch.device) -> torch.Tensor:
    """Return the base of a recipe on a device. The copy is over when it returns: every stream may read."""
    return torch.from_numpy(recipe.base.copy()).to(device)  # torch warns of memory that cannot be written
