"""Drawing: how systems are drawn, and how much of a picture must be inked for a system to be kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.camera import Film, draw_pictures
from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.rendering import BRUSHES, MAX_POINTS, pack, render
from onepfrac.shots import Shots
from onepfrac.systems import diverges

__all__ = ["Drawing"]

_CHUNK_BYTES = 32 * 1024 * 1024  # of pictures held at a time while they are judged
_CHUNK_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How a system is drawn, and how much of its picture must be inked for it to be kept.

    Parameters
    ----------
    points
        Points of the chaos game, 1 .. 10**9.
    canvas
        Width and height in pixels, 8..4096.
    pad
        Free pixels at the border, 0 <= pad < canvas / 2.
    brush
        ``"point"``, ``"fill"``, ``"patch"`` or ``"patch_fixed"``.
    min_inked
        A picture is kept if its inked share is greater, 0 <= min_inked < 1.
    """

    points: int = 100_000
    canvas: int = 512
    pad: int = 6
    brush: str = "patch"
    min_inked: float = 0.05

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", check_int("points", self.points, 1, MAX_POINTS))
        object.__setattr__(self, "canvas", check_int("canvas", self.canvas, 8, 4096))
        object.__setattr__(self, "pad", check_int("pad", self.pad, 0, (self.canvas - 1) // 2))
        object.__setattr__(self, "brush", check_choice("brush", self.brush, BRUSHES))
        object.__setattr__(self, "min_inked", check_float("min_inked", self.min_inked, 0.0, 1.0, open_high=True))

    def accepts(
        self, maps: NDArray[np.float32], probs: NDArray[np.float64], seeds: NDArray[np.uint64]
    ) -> NDArray[np.bool_]:
        """Tell which systems do not diverge and ink more than `min_inked` of their picture.

        Parameters
        ----------
        maps
            float32 array (B, N, 2, 3).
        probs
            float64 array (N,), for all of them.
        seeds
            uint64 array (B,), the key of each picture.

        Returns
        -------
        bool array (B,).
        """
        accepted: NDArray[np.bool_] = self.inked(maps, np.broadcast_to(probs, maps.shape[:2]), seeds) > self.min_inked
        return accepted

    def inked(
        self,
        maps: NDArray[np.float32],
        probs: NDArray[np.float64],
        seeds: NDArray[np.uint64],
        *,
        device: torch.device | None = None,
        threads: int | None = None,
    ) -> NDArray[np.float64]:
        """Return the inked share of each picture, float64 (B,) in 0..1; -1 where a system runs away to infinity.

        ``maps`` (B, N, 2, 3), ``probs`` (B, N), ``seeds`` (B,).
        """
        shares = np.full(len(maps), -1.0)
        playable = np.flatnonzero(~diverges(maps, probs))
        for start in range(0, playable.size, self.chunk):
            part = playable[start : start + self.chunk]
            images = self.draw(maps[part], probs[part], seeds[part], device=device, threads=threads)
            if images.is_cuda:
                counts = torch.count_nonzero(images.flatten(1), dim=1).cpu().numpy()
            else:  # torch takes 2 to 4 ms a picture for it, NumPy 0.02
                counts = np.array([np.count_nonzero(image) for image in images.numpy()])
            shares[part] = counts / float(self.canvas * self.canvas)
        return shares

    @property
    def chunk(self) -> int:
        """How many pictures are drawn at a time where they need not be kept."""
        return max(1, min(_CHUNK_IMAGES, _CHUNK_BYTES // (self.canvas * self.canvas)))

    def draw(
        self,
        maps: NDArray[np.float32],
        probs: NDArray[np.float64],
        seeds: NDArray[np.uint64],
        *,
        device: torch.device | None = None,
        threads: int | None = None,
        bits: bool = False,
    ) -> torch.Tensor:
        """Draw the pictures on ``device``: uint8 tensor (B, 1, canvas, canvas) of 0 and 127, or bits as `render`'s."""
        images: torch.Tensor = render(
            maps,
            probs,
            points=self.points,
            size=self.canvas,
            pad=self.pad,
            brush=self.brush,
            seed=seeds,
            threads=threads,
            device=device,
            dtype=torch.int32 if bits else torch.uint8,
        )
        return images

    def take(
        self,
        maps: NDArray[np.float32],
        probs: NDArray[np.float64],
        seeds: NDArray[np.uint64],
        shots: Shots,
        film: Film,
        out: torch.Tensor,
        *,
        threads: int | None = None,
    ) -> None:
        """Draw canvases and take their pictures in one go, ``shots`` one an image, into ``out`` (see `Film.empty`)."""
        systems = pack(maps, probs, seeds, device=out.device)
        geometry: dict[str, int] = {"points": self.points, "canvas": self.canvas, "pad": self.pad}
        draw_pictures(systems, shots, film, out, brush=self.brush, threads=threads, **geometry)
