"""Shots: how the pictures of a batch are taken of their canvases, as plain arrays.

A shot is a view (where the picture's pixels lie on the canvas), a list of steps (tone, and what lies outside of a
frame), and a rectangle that is erased. Shots are drawn by a policy (`onepfrac.augment`) or made by hand, and taken by
the camera (`onepfrac.camera`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_SHARPNESS", "MAX_STEPS", "MAX_WINDOWS", "Shots", "Step", "whole_views"]

MAX_STEPS = 16
"""Steps of one shot."""

MAX_WINDOWS = 8
"""Steps of one shot that are windows."""

MAX_SHARPNESS = 8
"""Steps of one shot that are sharpness."""


class Step(IntEnum):
    """What a step does to the grays 0..255 of a picture; each is the operation of Pillow named with it."""

    NONE = 0
    """Nothing: fills the array."""
    WINDOW = 1
    """Pixels that lie outside of the shot's next window become the gray ``amount``, 0..255; later steps see them."""
    BRIGHTNESS = 2
    """``ImageEnhance.Brightness``, factor ``amount``."""
    CONTRAST = 3
    """``ImageEnhance.Contrast``, factor ``amount``."""
    SHARPNESS = 4
    """``ImageEnhance.Sharpness``, factor ``amount``."""
    AUTOCONTRAST = 5
    """``ImageOps.autocontrast``."""
    EQUALIZE = 6
    """``ImageOps.equalize``."""
    POSTERIZE = 7
    """``ImageOps.posterize``, keeping ``amount`` bits, 0..8."""
    SOLARIZE = 8
    """``ImageOps.solarize``, threshold ``amount``, 0..256: grays from there on are inverted."""
    SOLARIZE_ADD = 9
    """Adds ``amount``, 0..255, to grays below 128, up to 255 (TensorFlow's and timm's operation)."""
    INVERT = 10
    """``ImageOps.invert``."""


@dataclass(frozen=True, eq=False)
class Shots:
    """How B pictures are taken.

    Attributes
    ----------
    views : float64 array (B, 2, 3)
        From a place in the picture to the place on the canvas, both as (x, y) in pixels with the centre of pixel
        (column i, row j) at (i + 0.5, j + 0.5): ``canvas = views @ (x, y, 1)``.
    steps : int8 array (B, K)
        `Step` codes, K at most 16, in the order in which they are taken; those after the last stay 0.
    amounts : float64 array (B, K)
        Their amounts.
    windows : float64 array (B, G, 2, 3)
        G at most 8; the g-th ``WINDOW`` step of a shot uses ``windows[b, g]``: it maps a place in the picture, in
        pixels, onto a frame of width and height 1; outside of it is what leaves ``0 <= u < 1`` in either coordinate.
    erased : int32 array (B, 4)
        Top, left, height and width, in pixels of the picture, of the rectangle that is filled with normal noise at the
        end; height and width 0: none.
    keys : uint64 array (B,)
        Keys of that noise.
    """

    views: NDArray[np.float64]
    steps: NDArray[np.int8]
    amounts: NDArray[np.float64]
    windows: NDArray[np.float64]
    erased: NDArray[np.int32]
    keys: NDArray[np.uint64]

    def __len__(self) -> int:
        return int(self.views.shape[0])

    def __getitem__(self, part: slice | NDArray[np.integer[Any]]) -> Shots:
        """Return the shots of a slice (views, no copies), or those with the given positions."""
        return Shots(
            self.views[part],
            self.steps[part],
            self.amounts[part],
            self.windows[part],
            self.erased[part],
            self.keys[part],
        )

    @staticmethod
    def of_views(views: NDArray[np.float64]) -> Shots:
        """Return shots with the given views (B, 2, 3) and nothing else."""
        count = len(views)
        return Shots(
            views,
            np.zeros((count, 0), np.int8),
            np.zeros((count, 0)),
            np.zeros((count, 0, 2, 3)),
            np.zeros((count, 4), np.int32),
            np.zeros(count, np.uint64),
        )


def whole_views(count: int, width: int, height: int, size: int) -> NDArray[np.float64]:
    """Return ``count`` views that show the whole canvas of ``width`` x ``height`` pixels in pictures of ``size``."""
    views = np.zeros((count, 2, 3))
    views[:, 0, 0] = width / size
    views[:, 1, 1] = height / size
    return views
