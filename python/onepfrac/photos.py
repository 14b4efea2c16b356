"""From a photograph to a small gray image: the square in its middle, and its edges."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

__all__ = ["canny_edges", "gray_square", "pixel_formats"]

_FORMATS = frozenset(
    [
        "AVIF",
        "BMP",
        "DIB",
        "GIF",
        "ICO",
        "JPEG",
        "JPEG2000",
        "MPO",
        "PCX",
        "PNG",
        "PPM",
        "QOI",
        "SGI",
        "TGA",
        "TIFF",
        "WEBP",
    ]
)


def gray_square(photo: object, side: int) -> NDArray[np.uint8]:
    """Return the square in the middle of a photograph, resized and made gray: uint8 (side, side).

    ``photo`` is the path of an image, or uint8 (H, W) or (H, W, 3); see `onepfrac.SingleImage.from_photo`, also for the
    errors.
    """
    picture = _opened(photo)
    shorter = min(picture.size)
    left, top = (picture.width - shorter) // 2, (picture.height - shorter) // 2
    square = picture.crop((left, top, left + shorter, top + shorter))
    return np.asarray(square.resize((side, side), Image.Resampling.BICUBIC).convert("L"))


def canny_edges(gray: NDArray[np.uint8], low: float, high: float) -> NDArray[np.uint8]:
    """Return OpenCV's edges of a gray image: 255 on an edge, 0 elsewhere."""
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "canny=True needs OpenCV, which is not installed: pip install 'onepfrac[photo]', or give canny=False",
            name=error.name,
        ) from error
    edges: Any = cv2.Canny(gray, low, high)
    return np.asarray(edges, np.uint8)


def pixel_formats() -> list[str]:
    """Return Pillow's formats of pixels: those in which a file is a program (EPS) or drawing (WMF) are left out."""
    Image.init()
    return [name for name in Image.OPEN if name in _FORMATS]


def _opened(photo: object) -> Image.Image:
    """Return the photograph in gray (L) or RGB."""
    if isinstance(photo, (str, os.PathLike)):
        try:
            with Image.open(photo, formats=pixel_formats()) as file:
                if file.mode[0] in "IF":  # Pillow would cut off what exceeds 255
                    raise ValueError(f"photo must have 8 bits a channel, got Pillow's mode {file.mode!r}")
                ImageOps.exif_transpose(file, in_place=True)  # in place, as a copy would take as much memory again
                return file if file.mode in ("L", "RGB") else file.convert("RGB")
        except Image.DecompressionBombError as error:
            raise ValueError(f"photo must have fewer pixels: {error}") from error
    if not isinstance(photo, np.ndarray):
        raise TypeError(f"photo must be a path or an array of uint8, got a {type(photo).__name__}")
    if photo.dtype != np.uint8:
        raise TypeError(f"photo must be an array of uint8, got {photo.dtype}")
    if not (photo.ndim == 2 or (photo.ndim == 3 and photo.shape[2] == 3)) or photo.size == 0:
        raise ValueError(f"photo must have the shape (H, W) or (H, W, 3), not empty, got {photo.shape}")
    return Image.fromarray(np.ascontiguousarray(photo))
