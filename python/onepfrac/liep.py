"""LIEP: the classes of 1p-frac, L perturbations of one system, each kept only if its picture is inked enough."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.drawing import Drawing
from onepfrac.draws import Purpose, check_seed, keys, uniform
from onepfrac.ifs import IFS, sample_ifs_attempt

__all__ = ["LIEP", "MAX_ATTEMPTS", "MAX_CLASSES", "MAX_DELTA", "MODES", "draw_base_system"]

Mode = Literal["additive", "multiplicative"]
MODES: tuple[Mode, ...] = ("additive", "multiplicative")
MAX_CLASSES = 1_000_000
MAX_DELTA = 10.0
MAX_ATTEMPTS = 1000
"""How often one perturbation, or one system, is drawn before it is given up."""


@dataclass(frozen=True)
class LIEP:
    """The local integration empirical distribution of a system: L perturbations epsilon of all its 6N parameters.

    Where the picture of a perturbed system is not inked enough, or the perturbed system diverges, its epsilon is
    drawn again. The probabilities of a perturbed system are those of the unperturbed one.

    Parameters
    ----------
    ifs
        The system.
    delta
        Size of the perturbation, 0..10.
    num_classes
        L, 1 .. 1 000 000.
    mode
        ``"additive"`` (the paper): parameters plus epsilon, epsilon uniform in [-delta/2, delta/2).
        ``"multiplicative"`` (the release): parameters times 1 + epsilon, epsilon uniform in [-delta, delta).
    seed
        0..2**64-1.
    drawing
        How the picture is drawn that decides; the defaults are the release's.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range. `epsilon` and `maps`, which are drawn when first asked for, raise
        ValueError if a class finds no perturbation in 1000 attempts.
    """

    ifs: IFS
    delta: float = 0.1
    num_classes: int = 1000
    mode: str = "additive"
    seed: int = 0
    drawing: Drawing = Drawing()  # noqa: RUF009  # frozen

    def __post_init__(self) -> None:
        if not isinstance(self.ifs, IFS):
            raise TypeError(f"ifs must be an IFS, got {type(self.ifs).__name__}")
        object.__setattr__(self, "delta", check_float("delta", self.delta, 0.0, MAX_DELTA))
        object.__setattr__(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CLASSES))
        object.__setattr__(self, "mode", check_choice("mode", self.mode, MODES))
        object.__setattr__(self, "seed", check_seed("seed", self.seed))
        if not isinstance(self.drawing, Drawing):
            raise TypeError(f"drawing must be a Drawing, got {type(self.drawing).__name__}")

    @property
    def epsilon(self) -> NDArray[np.float64]:
        """The accepted perturbations, read-only float64 array (L, N, 2, 3)."""
        return self._accepted[0]

    @property
    def attempts(self) -> NDArray[np.int64]:
        """How often each epsilon was drawn before it was accepted, less one; read-only int64 array (L,)."""
        return self._accepted[1]

    @cached_property
    def maps(self) -> NDArray[np.float64]:
        """The perturbed systems, read-only float64 array (L, N, 2, 3)."""
        maps = self._perturb(self.epsilon)
        maps.setflags(write=False)
        return maps

    @cached_property
    def _accepted(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        epsilon = np.empty((self.num_classes, *self.ifs.maps.shape))
        attempts = np.zeros(self.num_classes, np.int64)
        seeds = keys(self.seed, Purpose.CLASS_KEY, np.arange(self.num_classes))
        pending = np.arange(self.num_classes)
        while pending.size:
            classes, waiting = pending[: self.drawing.chunk], pending[self.drawing.chunk :]
            epsilon[classes] = self._draw(classes, attempts[classes])
            maps = self._perturb(epsilon[classes]).astype(np.float32)
            failed = classes[~self.drawing.accepts(maps, self.ifs.probs, seeds[classes])]
            attempts[failed] += 1
            if failed.size and attempts[failed].max() >= MAX_ATTEMPTS:
                hopeless = failed[attempts[failed].argmax()]
                raise ValueError(
                    f"no perturbation of class {hopeless} was accepted in {MAX_ATTEMPTS} attempts: with"
                    f" delta={self.delta} ({self.mode}) the perturbed systems diverge or ink no more than"
                    f" min_inked={self.drawing.min_inked} of their picture; choose another system, delta or min_inked"
                )
            pending = np.concatenate([failed, waiting])
        epsilon.setflags(write=False)
        attempts.setflags(write=False)
        return epsilon, attempts

    def _draw(self, classes: NDArray[np.int64], attempts: NDArray[np.int64]) -> NDArray[np.float64]:
        drawn = uniform(self.seed, Purpose.EPSILON, attempts * 2**32 + classes, self.ifs.maps.size)
        drawn = drawn.reshape(classes.size, *self.ifs.maps.shape)
        return (drawn - 0.5) * self.delta if self.mode == "additive" else (2.0 * drawn - 1.0) * self.delta

    def _perturb(self, epsilon: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.ifs.maps + epsilon if self.mode == "additive" else self.ifs.maps * (1.0 + epsilon)


def draw_base_system(sigma: float, num_maps: int, seed: int, margin: float, drawing: Drawing) -> IFS:
    """Sample systems of the given sigma-factor until the picture of one is accepted.

    Parameters
    ----------
    sigma, num_maps, seed, margin
        See `onepfrac.ifs.sample_ifs`; the first attempt is the system it gives.
    drawing
        What decides.

    Raises
    ------
    ValueError
        If none is accepted in 1000 attempts.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            ifs = sample_ifs_attempt(sigma, num_maps, seed, margin, attempt)
        except ValueError:  # the sigma-factor came out 0, so that all determinants are zero
            continue
        maps = ifs.maps.astype(np.float32)[None]
        if drawing.accepts(maps, ifs.probs, keys(seed, Purpose.BASE_KEY, np.array([attempt])))[0]:
            return ifs
    raise ValueError(
        f"no system with sigma={sigma} and num_maps={num_maps} was accepted in {MAX_ATTEMPTS} attempts: they ink no"
        f" more than min_inked={drawing.min_inked} of their picture; choose another sigma or min_inked"
    )
