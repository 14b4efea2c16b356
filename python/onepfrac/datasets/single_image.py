"""One photograph, L affine copies of it, each of them a class; the control of 1p-frac with a real image."""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property, lru_cache
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.camera import Film, take_pictures
from onepfrac.checks import check_float, check_int
from onepfrac.datasets.recipe import Recipe
from onepfrac.draws import Purpose, check_seed, uniform
from onepfrac.liep import MAX_CLASSES
from onepfrac.plan import Plan
from onepfrac.rendering import MIN_SIZE, check_device
from onepfrac.shots import Shots, Step

__all__ = ["SingleImage", "ViewsPlan"]

_MAX_CANVAS = 2048  # a recipe's text then takes 5.3 MiB, or 0.7 MiB of edges
_MAX_DELTA = 0.9
_EDGE_GRAY = 127  # the ink of all bitmaps here


@dataclass(frozen=True, eq=False)
class ViewsPlan(Plan):
    """A plan of pictures of one canvas.

    Attributes
    ----------
    views : float64 array (B, 2, 3)
        From a place in the image to the place on the canvas, see `onepfrac.Shots`.
    """

    views: NDArray[np.float64]


@dataclass(frozen=True)
class SingleImage(Recipe):
    """The recipe of affine copies of one image (Nakamura et al., "Scaling backwards", ECCV 2024).

    The image is a photograph's square in the middle, in gray, and with ``edges`` its Canny edges; `from_photo` makes
    one. Class c is a copy of it under an affine map about the centre of the canvas, ``x -> (I + A) x + canvas * t``,
    whose six numbers ``A`` and ``t`` are uniform in ``[-delta/2, delta/2]``: the perturbation that 1p-frac adds to the
    parameters of a system, added to those of the identity. What comes from outside of the canvas is black. In the
    paper a ViT-Tiny pre-trained on such copies reaches 82.2 % on CIFAR-100, against 84.2 % of 1p-frac.

    The copies are one antialiased sample a pixel, so that edges have soft borders and images hold all grays. Nothing
    is left to be drawn for a sample: ``draws="fresh"`` gives the images of ``draws="fixed"``.

    A recipe holds the image itself: two equal recipes are the same dataset on every machine, without the photograph
    and without OpenCV.

    Parameters
    ----------
    pixels
        The canvas, as base64 of its bytes, row after row. With ``edges`` 8 pixels a byte, the first in the highest bit
        and each row padded with zeros to whole bytes; else a byte a pixel, 0..255.
    edges
        Whether ``pixels`` holds bits. A pixel on an edge has the gray 127, as ink has in the other datasets.
    delta
        Size of the perturbation, 0..0.9. The determinant of every map is 1 - delta or more, so that none is singular or
        turns the image over.
    num_classes
        L, 1 .. 1 000 000.
    seed
        0..2**64-1. Decides the maps and the order.
    canvas
        Side of the images in pixels, 8..2048.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, ``pixels`` is not base64 of as many bytes as the canvas has, or the image
        is all black.
    """

    dataset: ClassVar[str] = "SingleImage"
    bitmap: ClassVar[bool] = False

    pixels: str = field(repr=False)
    edges: bool
    delta: float = 0.1
    num_classes: int = 1000
    seed: int = 0
    _: KW_ONLY
    canvas: int = 512

    def __post_init__(self) -> None:
        set_field = object.__setattr__
        if not isinstance(self.edges, bool):
            raise TypeError(f"edges must be a bool, got {self.edges!r:.80} of type {type(self.edges).__name__}")
        set_field(self, "delta", check_float("delta", self.delta, 0.0, _MAX_DELTA))
        set_field(self, "num_classes", check_int("num_classes", self.num_classes, 1, MAX_CLASSES))
        set_field(self, "seed", check_seed("seed", self.seed))
        set_field(self, "canvas", check_int("canvas", self.canvas, MIN_SIZE, _MAX_CANVAS))
        _decode(self.pixels, self.edges, self.canvas)

    @classmethod
    def from_photo(
        cls,
        photo: str | os.PathLike[str] | NDArray[np.uint8],
        *,
        canny: bool = True,
        low: float = 100.0,
        high: float = 200.0,
        canvas: int = 512,
        delta: float = 0.1,
        num_classes: int = 1000,
        seed: int = 0,
    ) -> SingleImage:
        """Make the recipe of a photograph.

        The square in its middle is cut out, resized to the canvas (Pillow, bicubic with antialiasing) and made gray
        (Pillow's ``L``: 0.299 R + 0.587 G + 0.114 B).

        Parameters
        ----------
        photo
            The path of an image that Pillow reads, turned upright as its EXIF data say; or uint8 (H, W) gray or
            (H, W, 3) RGB.
        canny
            Whether to keep the edges alone, as the paper does. Needs OpenCV: ``pip install 'onepfrac[photo]'``.
        low, high
            Canny's thresholds of the gradient (Sobel 3 x 3, L1 norm), 0 <= low <= high.
        canvas, delta, num_classes, seed
            As for the class.

        Raises
        ------
        ModuleNotFoundError
            If OpenCV is needed and not installed.
        OSError
            If the file cannot be read as an image.
        TypeError, ValueError
            If an argument is outside its range, or the image is all black, for instance because it has no edges.

        References
        ----------
        Canny, "A computational approach to edge detection", IEEE PAMI 8, 1986.
        """
        if not isinstance(canny, bool):
            raise TypeError(f"canny must be a bool, got {canny!r:.80} of type {type(canny).__name__}")
        canvas = check_int("canvas", canvas, MIN_SIZE, _MAX_CANVAS)
        low = check_float("low", low, 0.0)
        high = check_float("high", high, low)
        from onepfrac.photos import canny_edges, gray_square  # brings Pillow, which no other recipe needs

        gray = gray_square(photo, canvas)
        if canny:
            gray = canny_edges(gray, low, high)
        if not gray.any():
            raise ValueError(
                f"photo must not be all black{f' after Canny with thresholds {low:g} and {high:g}' if canny else ''}"
            )
        return cls(_encode(gray, canny), canny, delta, num_classes, seed, canvas=canvas)

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """The canvas that is copied, uint8 (canvas, canvas); with ``edges`` of 0 and 127."""
        image = _decode(self.pixels, self.edges, self.canvas)
        image.setflags(write=False)
        return image

    def views(self, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the views of classes: float64 (B, 2, 3), from a place in the image to the place on the canvas.

        ``labels`` are integers in 0..num_classes-1, (B,). A view is the inverse of the class's map.
        """
        epsilon = (uniform(self.seed, Purpose.AFFINE, labels, 6) - 0.5) * self.delta
        a, b, e, c, d, f = np.moveaxis(epsilon, -1, 0)
        a, d = 1.0 + a, 1.0 + d
        determinant = a * d - b * c
        inverse = np.stack([d, -b, -c, a], axis=-1).reshape(-1, 2, 2) / determinant[:, None, None]
        middle = 0.5 * self.canvas
        x, y = middle + self.canvas * e, middle + self.canvas * f  # where the centre of the canvas comes to lie
        views = np.empty((len(labels), 2, 3))
        views[:, :, :2] = inverse
        views[:, :, 2] = middle - (inverse[:, :, 0] * x[:, None] + inverse[:, :, 1] * y[:, None])
        return views

    def prepare(self) -> None:
        """Decode the canvas, if that has not been done."""
        self.image  # noqa: B018

    def _plan(self, order: Plan) -> ViewsPlan:
        return ViewsPlan(order.seeds, order.labels, order.images, order.samples, self.views(order.labels))

    def draw(
        self, plan: ViewsPlan, device: torch.device, threads: int | None = None, bits: bool = False
    ) -> torch.Tensor:
        """Draw planned copies on ``device``: uint8 (B, 1, canvas, canvas), grays 0..255; they cannot be bits."""
        if bits:
            raise ValueError("bits must be False: affine copies hold all grays")
        canvas, film = _material_on(self, check_device("device", device))
        if canvas.is_cuda:  # its memory stays until this stream, too, is done with it
            for tensor in (canvas, film.table, film.noise):
                tensor.record_stream(torch.cuda.current_stream(canvas.device))
        out = film.empty(len(plan))
        if len(plan):
            shots = _shots(plan.views, self.canvas)
            take_pictures(canvas, shots, film, out, which=np.zeros(len(plan), np.int64), threads=threads)
        return out


def _shots(views: NDArray[np.float64], canvas: int) -> Shots:
    """Return shots with the given views, black where they leave the canvas."""
    count = len(views)
    return Shots(
        views,
        steps=np.full((count, 1), int(Step.WINDOW), np.int8),
        amounts=np.zeros((count, 1)),
        windows=views[:, None] / canvas,
        erased=np.zeros((count, 4), np.int32),
        keys=np.zeros(count, np.uint64),
    )


@lru_cache(maxsize=2)
def _material_on(recipe: SingleImage, device: torch.device) -> tuple[torch.Tensor, Film]:
    """Return a recipe's canvas and the film for its copies on a device; every stream may read them.

    Edges are bits, of which the camera makes the same pictures as of grays in a third of the time.
    """
    image = recipe.image
    if recipe.edges:
        octets = np.zeros((recipe.canvas, 4 * -(-recipe.canvas // 32)), np.uint8)
        packed = np.packbits(image != 0, axis=1, bitorder="little")
        octets[:, : packed.shape[1]] = packed
        canvas = torch.from_numpy(octets.view("<i4")[None, None]).to(device)
    else:
        canvas = torch.from_numpy(image[None].copy()).to(device)  # torch warns of memory that cannot be written
    return canvas, Film.make(recipe.canvas, 1, torch.uint8, (0.0,), (1.0,), device=device)


# ---- the image as text ----------------------------------------------------------------------------------------------


def _encode(image: NDArray[np.uint8], edges: bool) -> str:
    """Return the image as base64; with ``edges`` a bit a pixel, set where it is not black."""
    data = np.packbits(image != 0, axis=1) if edges else np.ascontiguousarray(image)
    return base64.b64encode(data.tobytes()).decode("ascii")


def _decode(pixels: object, edges: bool, canvas: int) -> NDArray[np.uint8]:
    """Return the image that `_encode` wrote, uint8 (canvas, canvas), or raise an error that names ``pixels``."""
    columns = -(-canvas // 8) if edges else canvas
    what = f"base64 of {canvas * columns} bytes ({canvas} rows of {columns})"
    if not isinstance(pixels, str):
        raise TypeError(f"pixels must be {what}, got a {type(pixels).__name__}")
    if len(pixels) > 2 * canvas * columns + 1000:  # told before memory is taken for them
        raise ValueError(f"pixels must be {what}, got {len(pixels)} characters")
    try:
        data = base64.b64decode(pixels, validate=True)
    except (binascii.Error, ValueError) as error:  # ValueError: not ASCII
        raise ValueError(f"pixels must be {what}, got text that is not base64: {error}") from None
    if len(data) != canvas * columns:
        raise ValueError(f"pixels must be {what}, got {len(data)} bytes")
    if base64.b64encode(data).decode("ascii") != pixels:  # one image, one text: equal datasets are equal recipes
        raise ValueError(f"pixels must be {what}, got text whose last letter holds bits that are not used")
    rows = np.frombuffer(data, np.uint8).reshape(canvas, columns)
    if not rows.any():
        raise ValueError("pixels must not be all black, got an image of zeros")
    if not edges:
        return rows.copy()
    bits = np.unpackbits(rows, axis=1)
    if bits[:, canvas:].any():
        raise ValueError(f"pixels must have zeros in the {8 * columns - canvas} bits after each row's last pixel")
    return bits[:, :canvas] * np.uint8(_EDGE_GRAY)
