"""Augmentation: policies that draw how the picture of a sample is taken, with the distributions of timm's transforms.

A policy gives `Shots`, plain arrays that are a function of the seed and the samples' indices alone and the same bits on
every machine. It touches no pixel: the camera (`onepfrac.camera`) takes the shots.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.draws import Purpose, bits, exp, keys, log, sincos_turns, uniform
from onepfrac.shots import MAX_SHARPNESS, MAX_WINDOWS, Shots, Step

__all__ = ["AUGMENTATIONS", "Policy", "describe_policy", "resolve_policy"]

AUGMENTATIONS = ("crop-flip", "deit")

_ATTEMPTS = 10
_MAX_LAYERS = min(MAX_SHARPNESS, MAX_WINDOWS)  # any layer may be one of them
_MAX_MAGNITUDE = 30
_LEVEL_DENOMINATOR = 10.0
_UNIFORM_FROM = 100.0  # a larger deviation of the magnitude stands for a uniform one


@dataclass(frozen=True)
class Policy:
    """Crop, flips, RandAugment, colour jitter and random erasing, in this order, each sample by its own draws.

    Order and distributions are those of ``timm.data.create_transform(..., is_training=True)``, and so are the names of
    the fields that it has. The defaults crop and flip as the 1p-frac paper does, and do nothing else.

    Parameters
    ----------
    crop
        Take a random box of the canvas; False: the whole canvas is resized.
    scale
        Interval of the crop's share of the canvas area, 0 < low <= high <= 1; uniform.
    ratio
        Interval of the crop's width / height, 1/16 <= low <= high <= 16; its logarithm is uniform.
    hflip, vflip
        Probabilities of the flips, 0..1.
    interpolation
        ``"bicubic"`` or ``"bilinear"``, antialiased.
    auto_augment
        timm's RandAugment, such as ``"rand-m9-mstd0.5-inc1"``: parts m (magnitude, 0..30), n (operations a sample,
        1..8), p (probability that one is applied), mstd (deviation of the magnitude, over 100: uniform in 0..m), mmax
        (largest magnitude, 0..30, 0 for 10), inc (0 or 1: operations that grow with the magnitude) and tweights
        (operations by weight, without replacement). Kept in this order and without what is default. None: off.
    color_jitter
        Half-widths of the factors' intervals around 1, 0..10: (brightness, contrast, saturation), or one number for
        the three. Saturation does nothing to gray pictures. Off where ``auto_augment`` is set. None: off.
    force_color_jitter
        Colour jitter also where ``auto_augment`` is set.
    re_prob
        Probability that a rectangle is erased, 0..1.
    re_area
        Interval of its share of the picture, 0..1; uniform.
    re_aspect
        Interval of its height / width, 1/16..16; the logarithm is uniform.
    fill
        Gray, 0..255, of what rotation, shear and translation uncover. None: the gray nearest to the mean of the
        normalisation.

    Notes
    -----
    RandAugment: Cubuk et al., "RandAugment: Practical automated data augmentation with a reduced search space", 2019.
    Random erasing: Zhong et al., "Random erasing data augmentation", 2017.
    """

    crop: bool = True
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.5
    interpolation: str = "bicubic"
    auto_augment: str | None = None
    color_jitter: float | tuple[float, float, float] | None = None
    force_color_jitter: bool = False
    re_prob: float = 0.0
    re_area: tuple[float, float] = (0.02, 1 / 3)
    re_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    fill: int | None = None

    def __post_init__(self) -> None:
        checked = {
            "crop": _flag("crop", self.crop),
            "scale": _interval("scale", self.scale, 0.0, 1.0, open_low=True),
            "ratio": _interval("ratio", self.ratio, 1 / 16, 16.0),
            "hflip": check_float("hflip", self.hflip, 0.0, 1.0),
            "vflip": check_float("vflip", self.vflip, 0.0, 1.0),
            "interpolation": check_choice("interpolation", self.interpolation, ("bicubic", "bilinear")),
            "auto_augment": None if self.auto_augment is None else _rand_augment(self.auto_augment).text,
            "color_jitter": _jitter(self.color_jitter),
            "force_color_jitter": _flag("force_color_jitter", self.force_color_jitter),
            "re_prob": check_float("re_prob", self.re_prob, 0.0, 1.0),
            "re_area": _interval("re_area", self.re_area, 0.0, 1.0),
            "re_aspect": _interval("re_aspect", self.re_aspect, 1 / 16, 16.0),
            "fill": None if self.fill is None else check_int("fill", self.fill, 0, 255),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def boxes(self, seed: int, samples: NDArray[np.int64], canvas: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Draw which part of square canvases of ``canvas`` pixels is taken, and how it is mirrored.

        As in torchvision's ``RandomResizedCrop.get_params``: ten attempts at an area and a ratio; where no box fits,
        the largest central box within the ratio's interval.

        Parameters
        ----------
        seed
            0..2**64-1.
        samples
            int64 (B,).
        canvas
            Width and height of the canvases.

        Returns
        -------
        boxes : int64 array (B, 4)
            Top, left, height and width in canvas pixels.
        flips : bool array (B, 2)
            Whether the picture is mirrored left to right, and top to bottom.
        """
        if self.crop:
            drawn, boxes, fits = _rectangles(
                seed, Purpose.AUGMENT, samples, 2, canvas, self.scale, self.ratio, (1, canvas)
            )
            boxes[~fits] = self._central_box(canvas)
        else:
            drawn = uniform(seed, Purpose.AUGMENT, samples, 2)
            boxes = np.tile(np.array([0, 0, canvas, canvas], np.int64), (len(samples), 1))
        return boxes, drawn < np.array([self.hflip, self.vflip])

    def shots(self, seed: int, samples: NDArray[np.int64], canvas: int, size: int, fill: int) -> Shots:
        """Draw how the pictures of ``samples`` are taken.

        Parameters
        ----------
        seed
            0..2**64-1.
        samples
            int64 (B,).
        canvas
            Width and height of the canvases.
        size
            Width and height of the pictures.
        fill
            Gray, 0..255, of what the geometric operations uncover, where the policy has none of its own.

        Returns
        -------
        B shots. The arrays' widths depend on the policy alone: K is one for each layer of RandAugment and each colour
        jitter, G one for each layer. Keys are 0 where the policy erases nothing at all.
        """
        boxes, flips = self.boxes(seed, samples, canvas)
        views = np.zeros((len(samples), 2, 3))  # from the picture, of width and height 1 for now, to the canvas
        for axis in (0, 1):
            start, extent, flip = boxes[:, 1 - axis], boxes[:, 3 - axis], flips[:, axis]
            views[:, axis, axis] = np.where(flip, -extent, extent)
            views[:, axis, 2] = np.where(flip, start + extent, start)

        rand = None if self.auto_augment is None else _rand_augment(self.auto_augment)
        jitter = self._jitters() if rand is None or self.force_color_jitter else []
        layers = 0 if rand is None else rand.layers
        blocks = layers + bool(jitter)
        words = bits(seed, Purpose.POLICY, samples, 4 * blocks).reshape(len(samples), blocks, 4)
        steps = np.zeros((len(samples), layers + len(jitter)), np.int8)
        amounts = np.zeros(steps.shape)
        windows = np.zeros((len(samples), layers, 2, 3))
        if jitter:
            steps[:, layers:], amounts[:, layers:] = _draw_jitter(jitter, words[:, layers])
        if rand is not None:
            steps[:, :layers], amounts[:, :layers], moves = _draw_layers(rand, words[:, :layers])
            geometric = steps[:, :layers] == _WINDOW
            amounts[:, :layers][geometric] = fill if self.fill is None else self.fill
            for layer in reversed(range(layers - 1)):
                moves[:, layer] = _composed(moves[:, layer], moves[:, layer + 1])
            views = _composed(views, moves[:, 0])
            (windows,) = _compacted(geometric, moves)
            steps, amounts = _compacted(steps != 0, steps, amounts)
        views[..., :2] /= size
        windows[..., :2] /= size

        if self.re_prob == 0.0:
            erased, noise = np.zeros((len(samples), 4), np.int32), np.zeros(len(samples), np.uint64)
        else:
            erased, noise = self._erased(seed, samples, size), keys(seed, Purpose.NOISE_KEY, samples)
        return Shots(views, steps, amounts, windows, erased, noise)

    def _central_box(self, canvas: int) -> tuple[int, int, int, int]:
        height = width = canvas
        if self.ratio[0] > 1.0:
            height = max(1, round(canvas / self.ratio[0]))
        elif self.ratio[1] < 1.0:
            width = max(1, round(canvas * self.ratio[1]))
        return (canvas - height) // 2, (canvas - width) // 2, height, width

    def _jitters(self) -> list[tuple[Step, float, float]]:
        """Return the steps of the colour jitter that change gray pictures, and the intervals of their factors."""
        widths = self.color_jitter if isinstance(self.color_jitter, tuple) else (0.0, 0.0, 0.0)
        steps = zip((Step.BRIGHTNESS, Step.CONTRAST), widths[:2], strict=True)
        return [(step, max(0.0, 1.0 - width), 1.0 + width) for step, width in steps if width > 0.0]

    def _erased(self, seed: int, samples: NDArray[np.int64], size: int) -> NDArray[np.int32]:
        """Draw the erased rectangles, int32 (B, 4); 0, 0, 0, 0 where there is none or it has no pixel."""
        drawn, boxes, fits = _rectangles(
            seed, Purpose.ERASE, samples, 1, size, self.re_area, self.re_aspect, (0, size - 1)
        )
        boxes = boxes[:, [1, 0, 3, 2]]  # the aspect is height / width here; a crop's is width / height
        boxes[~(fits & (drawn[:, 0] < self.re_prob) & boxes[:, 2:].all(axis=1))] = 0
        return boxes.astype(np.int32)


def resolve_policy(augment: str | Policy | None) -> Policy | None:
    """Return the policy that ``augment=`` of a stream names: None (the whole canvas), a name, or a policy as it is.

    ``"crop-flip"`` is ``Policy()``; ``"deit"`` adds RandAugment and random erasing as DeiT and the 1p-frac paper do.

    Raises
    ------
    TypeError, ValueError
        If it names none.
    """
    if augment is None or isinstance(augment, Policy):
        return augment
    legal = f"augment must be None, {', '.join(repr(name) for name in AUGMENTATIONS)} or a Policy"
    if not isinstance(augment, str):
        raise TypeError(f"{legal}, got {augment!r} of type {type(augment).__name__}")
    if augment == "crop-flip":
        return Policy()
    if augment == "deit":
        return Policy(auto_augment="rand-m9-mstd0.5-inc1", color_jitter=0.4, re_prob=0.5)
    raise ValueError(f"{legal}, got {augment!r}")


def describe_policy(policy: Policy | None) -> str:
    """Return a short text that two policies share exactly if they are equal."""
    return "none" if policy is None else repr(policy)


@dataclass(frozen=True)
class _RandAugment:
    """What a text of ``auto_augment`` says."""

    magnitude: int = 10
    layers: int = 2
    prob: float = 0.5
    deviation: float = 0.0  # infinite: uniform in 0..magnitude
    highest: int = 10
    increasing: bool = False
    weighted: bool = False

    @property
    def text(self) -> str:
        """The text that all with this meaning share."""
        parts = [f"rand-m{self.magnitude}"]
        if self.layers != 2:
            parts.append(f"n{self.layers}")
        if self.prob != 0.5:
            parts.append(f"p{_plain(self.prob)}")
        if self.deviation > 0.0:
            parts.append(f"mstd{101 if math.isinf(self.deviation) else _plain(self.deviation)}")
        if self.highest != 10:
            parts.append(f"mmax{self.highest}")
        if self.increasing and not self.weighted:
            parts.append("inc1")
        if self.weighted:
            parts.append("tweights")
        return "-".join(parts)


def _rand_augment(text: object) -> _RandAugment:
    if not isinstance(text, str):
        raise TypeError(f"auto_augment must be None or a str, got {text!r} of type {type(text).__name__}")
    return _parsed(text)


@lru_cache(maxsize=64)
def _parsed(text: str) -> _RandAugment:
    def refused(why: str) -> ValueError:
        shown = text if len(text) <= 80 else text[:77] + "..."
        return ValueError(
            f"auto_augment must be None or timm's 'rand' with any of -m0..{_MAX_MAGNITUDE}, -n1..{_MAX_LAYERS}, -p0..1,"
            f" -mstd0 and more, -mmax0..{_MAX_MAGNITUDE}, -inc0, -inc1, -tweights, each once, such as"
            f" 'rand-m9-mstd0.5-inc1', got {shown!r}: {why}"
        )

    kind, *parts = text.split("-")
    if kind != "rand":
        raise refused("only RandAugment is available")
    found: dict[str, str] = {}
    for part in parts:
        if part in ("t3a", "t3aw"):
            raise refused(f"{part} needs blur and saturation, which are not available")
        match = re.fullmatch(r"(m|n|mmax|inc)([0-9]{1,9})|(p|mstd)([0-9]{1,9}(?:\.[0-9]{1,20})?)|(t)(weights)", part)
        if match is None:
            raise refused(f"{part[:40]!r} is none of these")
        name, value = (group for group in match.groups() if group is not None)
        if name in found:
            raise refused(f"{name} stands twice")
        found[name] = value
    deviation = float(found.get("mstd", 0))
    rand = _RandAugment(
        magnitude=int(found.get("m", 10)),
        layers=int(found.get("n", 2)),
        prob=float(found.get("p", 0.5)),
        deviation=math.inf if deviation > _UNIFORM_FROM else deviation,
        highest=int(found.get("mmax", 0)) or 10,
        increasing=int(found.get("inc", 0)) != 0,
        weighted="t" in found,
    )
    legal = {
        "m": rand.magnitude <= _MAX_MAGNITUDE,
        "n": 1 <= rand.layers <= _MAX_LAYERS,
        "p": rand.prob <= 1.0,
        "mmax": rand.highest <= _MAX_MAGNITUDE,
        "inc": int(found.get("inc", 0)) <= 1,
    }
    for name in found:
        if not legal.get(name, True):
            raise refused(f"{name} is {found[name]}")
    return rand


def _plain(number: float) -> str:
    """Return the shortest text of a number without an exponent: timm splits its texts at every minus."""
    return np.format_float_positional(number, trim="-")


@dataclass(frozen=True)
class _Argument:
    """An operation's argument as a function of the level: ``base + sign * scale * level``, within low..high."""

    scale: float = 0.0
    base: float = 0.0
    sign: int = 0  # 0: drawn
    low: float = -math.inf
    high: float = math.inf
    whole: bool = False  # scale * level is cut to a whole number


_NOTHING = _Argument(sign=1)
_DEGREES, _SHEAR, _SHIFT = _Argument(30.0), _Argument(0.3), _Argument(0.45)
_ADD = _Argument(110.0, sign=1, high=128.0, whole=True)
_POSTERIZE = _Argument(4.0, sign=1, high=8.0, whole=True), _Argument(4.0, 4.0, sign=-1, low=0.0, whole=True)
_SOLARIZE = _Argument(256.0, sign=1, high=256.0, whole=True), _Argument(256.0, 256.0, sign=-1, low=0.0, whole=True)
_ENHANCE = _Argument(1.8, 0.1, sign=1), _Argument(0.9, 1.0, low=0.1)

# timm's operations in timm's order: step; weight, times 20; argument without and with "inc1"; what the argument adds to
# the matrix (a, b, c, d, e, f) that leads from a place in the picture after the operation to the one before, the shifts
# c and f in units of the picture's size.
_OPERATIONS: tuple[tuple[Step, int, _Argument, _Argument, tuple[int, ...]], ...] = (
    (Step.AUTOCONTRAST, 5, _NOTHING, _NOTHING, (0, 0, 0, 0, 0, 0)),
    (Step.EQUALIZE, 1, _NOTHING, _NOTHING, (0, 0, 0, 0, 0, 0)),
    (Step.INVERT, 1, _NOTHING, _NOTHING, (0, 0, 0, 0, 0, 0)),
    (Step.WINDOW, 60, _DEGREES, _DEGREES, (0, 0, 0, 0, 0, 0)),  # rotation, which is not linear: see _draw_layers
    (Step.POSTERIZE, 1, *_POSTERIZE, (0, 0, 0, 0, 0, 0)),
    (Step.SOLARIZE, 1, *_SOLARIZE, (0, 0, 0, 0, 0, 0)),
    (Step.SOLARIZE_ADD, 1, _ADD, _ADD, (0, 0, 0, 0, 0, 0)),
    (Step.NONE, 5, *_ENHANCE, (0, 0, 0, 0, 0, 0)),  # colour, of which gray pictures have none
    (Step.CONTRAST, 1, *_ENHANCE, (0, 0, 0, 0, 0, 0)),
    (Step.BRIGHTNESS, 1, *_ENHANCE, (0, 0, 0, 0, 0, 0)),
    (Step.SHARPNESS, 5, *_ENHANCE, (0, 0, 0, 0, 0, 0)),
    (Step.WINDOW, 40, _SHEAR, _SHEAR, (0, 1, 0, 0, 0, 0)),
    (Step.WINDOW, 40, _SHEAR, _SHEAR, (0, 0, 0, 1, 0, 0)),
    (Step.WINDOW, 20, _SHIFT, _SHIFT, (0, 0, 1, 0, 0, 0)),
    (Step.WINDOW, 20, _SHIFT, _SHIFT, (0, 0, 0, 0, 0, 1)),
    (Step.NONE, 0, _NOTHING, _NOTHING, (0, 0, 0, 0, 0, 0)),  # a layer that is not applied
)
_ROTATION, _POSTERIZATION, _NOT_APPLIED = 3, 4, 15
_STEPS = np.array([step for step, *_ in _OPERATIONS], np.int8)
_WEIGHTS = np.array([weight for _, weight, *_ in _OPERATIONS[:_NOT_APPLIED]], np.int64)
_ARGUMENTS = [  # without and with "inc1": float64 (6, 16), the fields of each operation's argument
    np.array([dataclasses.astuple(argument) for argument in arguments], np.float64).T.copy()
    for arguments in zip(*((plain, growing) for _, _, plain, growing, _ in _OPERATIONS), strict=True)
]
_MOVES = np.array([move for *_, move in _OPERATIONS], np.float64)
_WINDOW = np.int8(Step.WINDOW)


def _draw_layers(
    rand: _RandAugment, words: NDArray[np.uint32]
) -> tuple[NDArray[np.int8], NDArray[np.float64], NDArray[np.float64]]:
    """Draw RandAugment's layers from ``words``, uint32 (B, n, 4): operation, applied and sign, two for the magnitude.

    Returns
    -------
    steps : int8 array (B, n)
        0 for what does nothing.
    amounts : float64 array (B, n)
        The operations' arguments; of rotations in degrees, of shifts in units of the picture's size.
    moves : float64 array (B, n, 2, 3)
        From a place in the picture after the layer to the place before, in units of the picture's size.
    """
    chosen = _draw_weighted(words[..., 0]) if rand.weighted else (words[..., 0].astype(np.int64) * _NOT_APPLIED) >> 32
    applied = words[..., 1] >> np.uint32(1) < rand.prob * 2.0**31
    operation = np.where(applied, chosen, _NOT_APPLIED)
    magnitude = np.minimum(np.maximum(_draw_magnitudes(rand, words[..., 2:]), 0.0), rand.highest)
    level = magnitude / _LEVEL_DENOMINATOR

    scale, base, sign, low, high, whole = np.take(_ARGUMENTS[int(rand.increasing or rand.weighted)], operation, axis=1)
    product = scale * level
    product = np.where(whole, np.floor(product), product)
    drawn_sign = 1.0 - 2.0 * (words[..., 1] & np.uint32(1))
    amounts = np.minimum(np.maximum(base + np.where(sign, sign, drawn_sign) * product, low), high)
    steps = _STEPS[operation]
    steps[(operation == _POSTERIZATION) & (amounts >= 8.0)] = Step.NONE

    moves = amounts[..., None] * _MOVES[operation]
    moves[..., ::4] += 1.0  # the diagonal
    turned = operation == _ROTATION
    sine, cosine = sincos_turns(amounts[turned] / 360.0)
    shifts = 0.5 * (1.0 - cosine + sine), 0.5 * (1.0 - sine - cosine)  # so that the centre stays
    moves[turned] = np.stack([cosine, -sine, shifts[0], sine, cosine, shifts[1]], axis=-1)
    return steps, amounts, moves.reshape(*operation.shape, 2, 3)


def _draw_weighted(words: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Draw for each row of ``words`` (B, n) as many operations by their weights, none twice."""
    chosen = np.empty(words.shape, np.int64)
    left = np.tile(_WEIGHTS, (len(words), 1))
    for layer in range(words.shape[1]):
        sums = np.cumsum(left, axis=1)
        mark = (words[:, layer].astype(np.int64) * sums[:, -1]) >> 32
        chosen[:, layer] = np.argmax(sums > mark[:, None], axis=1)
        np.put_along_axis(left, chosen[:, layer, None], 0, axis=1)
    return chosen


def _draw_magnitudes(rand: _RandAugment, words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Draw a magnitude from each pair of ``words`` (B, n, 2): constant, uniform, or normal by Box and Muller."""
    if rand.deviation == 0.0:
        return np.full(words.shape[:-1], float(rand.magnitude))
    if math.isinf(rand.deviation):
        return rand.magnitude * _fractions(words[..., 0])
    radius = np.sqrt(-2.0 * log(1.0 - _fractions(words[..., 0])))
    result: NDArray[np.float64] = rand.magnitude + rand.deviation * (
        radius * sincos_turns(_fractions(words[..., 1]))[1]
    )
    return result


def _fractions(words: NDArray[np.uint32]) -> NDArray[np.float64]:
    """Return values uniform in [0, 1), multiples of 2**-32: half the words of `onepfrac.draws.uniform`."""
    return words.astype(np.float64) * 2.0**-32


def _draw_jitter(
    jitter: list[tuple[Step, float, float]], words: NDArray[np.uint32]
) -> tuple[NDArray[np.int8], NDArray[np.float64]]:
    """Draw the factors of one or two steps, and their order, from ``words`` (B, 4)."""
    low, high = (np.array([entry[i] for entry in jitter]) for i in (1, 2))
    steps = np.tile(np.array([entry[0] for entry in jitter], np.int8), (len(words), 1))
    factors = low + (high - low) * _fractions(words[:, : len(jitter)])
    swapped = (words[:, 2] & np.uint32(1)).astype(np.bool_)
    steps[swapped], factors[swapped] = steps[swapped, ::-1], factors[swapped, ::-1]
    return steps, factors


def _composed(outer: NDArray[np.float64], inner: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the affine maps (B, 2, 3) that apply first ``inner``, then ``outer``; no BLAS, whose order is its own."""
    result = outer[:, :, 0, None] * inner[:, None, 0] + outer[:, :, 1, None] * inner[:, None, 1]
    result[..., 2] += outer[..., 2]
    return result


def _compacted(kept: NDArray[np.bool_], *arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Move the entries (b, k) that are kept to the left within their rows, and fill with zeros."""
    rows, places = np.nonzero(kept)[0], np.cumsum(kept, axis=1)[kept] - 1
    moved = [np.zeros(array.shape, array.dtype) for array in arrays]
    for array, target in zip(arrays, moved, strict=True):
        target[rows, places] = array[kept]
    return moved


def _rectangles(
    seed: int,
    purpose: Purpose,
    samples: NDArray[np.int64],
    before: int,
    side: int,
    share: tuple[float, float],
    aspect: tuple[float, float],
    sides: tuple[int, int],
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.bool_]]:
    """Draw ``before`` uniform values for each sample, and then a rectangle in a square, in up to ten attempts.

    Returns
    -------
    drawn : float64 array (B, before)
    rectangles : int64 array (B, 4)
        Where it starts along the second and the first axis, and its sides along them; the first axis' side over the
        second's is the aspect.
    fits : bool array (B,)
        Whether an attempt gave both sides in the interval ``sides``; where none did the rectangle means nothing.
    """
    low, high = log(np.array(aspect))

    def attempted(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        area = float(side * side) * (share[0] + values[..., 0] * (share[1] - share[0]))
        ratio = exp(low + values[..., 1] * (high - low))
        first, second = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (np.minimum(first, second) >= sides[0]) & (np.maximum(first, second) <= sides[1])
        taken = np.arange(len(values)), np.argmax(fits, axis=1)
        rectangles = np.empty((len(values), 4), np.int64)
        rectangles[:, 2], rectangles[:, 3] = second[taken], first[taken]
        rectangles[:, :2] = np.floor(values[..., 2:][taken] * (side - rectangles[:, 2:] + 1))
        return rectangles, fits[taken]

    drawn = uniform(seed, purpose, samples, before + 4)
    rectangles, fits = attempted(drawn[:, None, before:])
    missed = np.flatnonzero(~fits)
    if missed.size:
        more = uniform(seed, purpose, samples[missed], before + 4 * _ATTEMPTS)[:, before + 4 :]
        rectangles[missed], fits[missed] = attempted(more.reshape(len(missed), _ATTEMPTS - 1, 4))
    return drawn[:, :before], rectangles, fits


def _jitter(value: object) -> tuple[float, float, float] | None:
    if value is None:
        return None
    if isinstance(value, Sequence) and not isinstance(value, (str, memoryview)):
        if len(value) != 3:
            raise TypeError(f"color_jitter must be None, a number or (brightness, contrast, saturation), got {value!r}")
        brightness, contrast, saturation = (check_float(f"color_jitter[{i}]", value[i], 0.0, 10.0) for i in range(3))
        return brightness, contrast, saturation
    return (check_float("color_jitter", value, 0.0, 10.0),) * 3


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r} of type {type(value).__name__}")
    return bool(value)


def _interval(name: str, value: object, low: float, high: float, *, open_low: bool = False) -> tuple[float, float]:
    if not isinstance(value, Sequence) or isinstance(value, (str, memoryview)) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (low, high), got {value!r}")
    first = check_float(f"{name}[0]", value[0], low, high, open_low=open_low)
    second = check_float(f"{name}[1]", value[1], low, high, open_low=open_low)
    if first > second:
        raise ValueError(f"{name} must be a pair (low, high) with low <= high, got {value!r}")
    return first, second
