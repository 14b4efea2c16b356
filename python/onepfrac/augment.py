"""Augmentation: a policy draws views for the plan; one function applies them to canvases.

A view says which part of a canvas becomes the picture and how it is turned: plain arrays, drawn from the seed and the
sample's index alone. `take_pictures` is the only code that touches pixels. It resamples through torch's antialiased
interpolation, whose last bit may differ between devices and between releases of torch; everything that stands in the
plan is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from onepfrac.checks import check_choice, check_float
from onepfrac.draws import Purpose, exp, log, uniform

__all__ = ["AUGMENTATIONS", "CropFlip", "Views", "describe_policy", "gray_table", "resolve_policy", "take_pictures"]

AUGMENTATIONS = ("crop-flip",)
_CROP_ATTEMPTS = 10


@dataclass(frozen=True, eq=False)
class Views:
    """Which part of each canvas is taken.

    Attributes
    ----------
    boxes : int64 array (B, 4)
        Top, left, height and width in canvas pixels.
    flips : bool array (B, 2)
        Whether the picture is mirrored left to right, and top to bottom.
    """

    boxes: NDArray[np.int64]
    flips: NDArray[np.bool_]

    def __len__(self) -> int:
        return int(self.boxes.shape[0])

    def __getitem__(self, part: slice) -> Views:
        """Return the views of a slice of the samples."""
        return Views(self.boxes[part], self.flips[part])


@dataclass(frozen=True)
class CropFlip:
    """RandomResizedCrop and flips, each image by its own draws; distributions as in torchvision and timm.

    Parameters
    ----------
    scale
        Interval of the crop's share of the canvas area, 0 < low <= high <= 1; uniform.
    ratio
        Interval of width / height, 1/16 <= low <= high <= 16; its logarithm is uniform.
    hflip, vflip
        Probabilities of the flips, 0..1.
    interpolation
        ``"bicubic"`` or ``"bilinear"``, antialiased.

    Notes
    ----- The views are the same bits on every machine. The resampling is torch's and may differ in the last bit
    between devices.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.5
    interpolation: str = "bicubic"

    def __post_init__(self) -> None:
        object.__setattr__(self, "scale", _interval("scale", self.scale, 0.0, 1.0, open_low=True))
        object.__setattr__(self, "ratio", _interval("ratio", self.ratio, 1 / 16, 16.0))
        object.__setattr__(self, "hflip", check_float("hflip", self.hflip, 0.0, 1.0))
        object.__setattr__(self, "vflip", check_float("vflip", self.vflip, 0.0, 1.0))
        check_choice("interpolation", self.interpolation, ("bicubic", "bilinear"))

    def views(self, seed: int, samples: NDArray[np.int64], canvas: int) -> Views:
        """Draw the views of ``samples`` (int64, (B,)) on square canvases of ``canvas`` pixels.

        As in torchvision's ``RandomResizedCrop.get_params``: ten attempts at an area and a ratio; where no box fits,
        the largest central box within the ratio's interval.
        """
        drawn = uniform(seed, Purpose.AUGMENT, samples, 2 + 4 * _CROP_ATTEMPTS)
        flips = drawn[:, :2] < np.array([self.hflip, self.vflip])
        area, ratio, down, right = np.moveaxis(drawn[:, 2:].reshape(len(samples), _CROP_ATTEMPTS, 4), 2, 0)
        low, high = log(np.array(self.ratio))
        area = float(canvas * canvas) * (self.scale[0] + area * (self.scale[1] - self.scale[0]))
        ratio = exp(np.ascontiguousarray(low + ratio * (high - low)))
        width = np.rint(np.sqrt(area * ratio)).astype(np.int64)
        height = np.rint(np.sqrt(area / ratio)).astype(np.int64)
        fits = (width > 0) & (width <= canvas) & (height > 0) & (height <= canvas)
        first = np.argmax(fits, axis=1)[:, None]
        width, height = (np.take_along_axis(sides, first, 1)[:, 0] for sides in (width, height))
        down, right = (np.take_along_axis(places, first, 1)[:, 0] for places in (down, right))
        boxes = np.stack(
            [
                np.floor(down * (canvas - height + 1)).astype(np.int64),
                np.floor(right * (canvas - width + 1)).astype(np.int64),
                height,
                width,
            ],
            axis=1,
        )
        boxes[~fits.any(axis=1)] = self._central_box(canvas)
        return Views(boxes, flips)

    def _central_box(self, canvas: int) -> tuple[int, int, int, int]:
        height = width = canvas
        if self.ratio[0] > 1.0:
            height = max(1, round(canvas / self.ratio[0]))
        elif self.ratio[1] < 1.0:
            width = max(1, round(canvas * self.ratio[1]))
        return (canvas - height) // 2, (canvas - width) // 2, height, width


def resolve_policy(augment: str | CropFlip | None) -> CropFlip | None:
    """Return the policy that ``augment=`` of a stream names: None (the whole canvas), a name, or a policy as it is.

    Raises
    ------
    TypeError, ValueError
        If it names none.
    """
    if augment is None or isinstance(augment, CropFlip):
        return augment
    if not isinstance(augment, str):
        raise TypeError(
            f"augment must be None, 'crop-flip' or a CropFlip, got {augment!r} of type {type(augment).__name__}"
        )
    if augment == "deit":
        raise ValueError("augment='deit' is not available in this version; legal are None, 'crop-flip' and a CropFlip")
    if augment not in AUGMENTATIONS:
        raise ValueError(f"augment must be None, 'crop-flip' or a CropFlip, got {augment!r}")
    return CropFlip()


def describe_policy(policy: CropFlip | None) -> str:
    """Return a short text that two policies share exactly if they are equal."""
    if policy is None:
        return "none"
    return f"{type(policy).__name__}({', '.join(f'{name}={value!r}' for name, value in asdict(policy).items())})"


def gray_table(dtype: torch.dtype, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return the table from gray to value: row c holds ``(v / 255 - mean[c]) / std[c]`` for v = 0..255, in ``dtype``.

    For uint8 it holds v itself. A table gives the same bits on every device, which arithmetic on the device would not
    promise.

    Returns
    -------
    tensor (len(mean), 256).
    """
    if dtype == torch.uint8:
        return torch.arange(256, dtype=dtype).repeat(len(mean), 1)
    rows = [[(v / 255 - m) / s for v in range(256)] for m, s in zip(mean, std, strict=True)]
    return torch.tensor(rows, dtype=torch.float64).to(dtype)


def take_pictures(
    canvases: torch.Tensor, views: Views | None, size: int, table: torch.Tensor, out: torch.Tensor, interpolation: str
) -> None:
    """Take the pictures of canvases through their views and write them to ``out``.

    Parameters
    ----------
    canvases
        uint8 (B, 1, S, S).
    views
        B views; None takes the whole canvas of each, which at ``size == S`` is the canvas itself, exactly.
    size
        Width and height of the pictures.
    table
        (C, 256), see `gray_table`; (1, 256) serves all channels.
    out
        (B, C, size, size) of the table's dtype, on the canvases' device.
    interpolation
        ``"bicubic"`` or ``"bilinear"``, antialiased.
    """
    if views is None:
        gray = _resized(canvases, size, interpolation)
    else:
        gray = torch.empty((len(views), 1, size, size), dtype=torch.uint8, device=canvases.device)
        flips = [[axis for axis, flip in ((-1, right), (-2, down)) if flip] for right, down in views.flips.tolist()]
        for i, (top, left, height, width) in enumerate(views.boxes.tolist()):
            picture = _resized(canvases[i : i + 1, :, top : top + height, left : left + width], size, interpolation)
            gray[i] = picture[0].flip(flips[i]) if flips[i] else picture[0]
    index = gray.reshape(-1).to(torch.int32)
    if table.shape[0] == 1:
        out.copy_(torch.index_select(table[0], 0, index).view(-1, 1, size, size).expand_as(out))
    else:
        for channel in range(table.shape[0]):
            out[:, channel] = torch.index_select(table[channel], 0, index).view(-1, size, size)


def _resized(gray: torch.Tensor, size: int, interpolation: str) -> torch.Tensor:
    """Resize uint8 (B, 1, h, w) to (B, 1, size, size), antialiased."""
    if gray.shape[-2:] == (size, size):
        return gray
    if gray.device.type == "cpu":
        return interpolate(gray, (size, size), mode=interpolation, antialias=True)
    resized = interpolate(gray.float(), (size, size), mode=interpolation, antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8)


def _interval(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (low, high), got {value!r}")
    first = check_float(f"{name}[0]", value[0], low, high, open_low=open_low)
    second = check_float(f"{name}[1]", value[1], low, high, open_low=open_low)
    if first > second:
        raise ValueError(f"{name} must be a pair (low, high) with low <= high, got {value!r}")
    return first, second
