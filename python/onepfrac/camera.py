"""The camera: pictures of canvases. One antialiased sample a pixel, then tone, then the asked dtype.

A canvas is a bitmap that `onepfrac.render` drew, or any gray picture. `picture` is for direct use; streams take their
pictures through `take_pictures`, or `draw_pictures` where the canvas is drawn on the way and never lies in memory. All
give the same bits on every device: view and weights are integers, tone is a table, noise comes from counters.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepfrac import _C
from onepfrac.arrays import dense_tensor, on_host, shared_tensor
from onepfrac.buffers import Buffers, allocate
from onepfrac.checks import check_choice, check_float, check_int, shown
from onepfrac.draws import log
from onepfrac.rendering import (
    BITS,
    BRUSHES,
    DTYPES,
    MAX_SIZE,
    MIN_SIZE,
    check_device,
    check_threads,
    render,
    simd_cap,
    stream_of,
    to_device,
)
from onepfrac.shots import MAX_SHARPNESS, MAX_STEPS, Shots, Step, whole_views
from onepfrac.systems import Systems

__all__ = [
    "INTERPOLATIONS",
    "Film",
    "draw_pictures",
    "gray_table",
    "noise_table",
    "normal_levels",
    "pack_shots",
    "picture",
    "take_pictures",
    "take_planes",
]

INTERPOLATIONS = ("bicubic", "bilinear")
MAX_CANVAS = 32768
_TONES = {step.name.lower(): step for step in Step if step not in (Step.NONE, Step.WINDOW)}
_WITHOUT_AMOUNT = ("autocontrast", "equalize", "invert")


@lru_cache(maxsize=1)
def normal_levels() -> NDArray[np.float64]:
    """Return the levels of the normal noise, float64 (4096,): equally probable, ascending, of mean 0 and variance 1.

    They are the quantiles of the standard normal distribution at (k + 1/2) / 4096, scaled to variance 1 (the largest is
    3.67). Wichura's algorithm AS 241 (Applied Statistics 37, 1988), with the fixed logarithm, so that the bits are the
    same on every machine.
    """
    count = _C.NOISE_LEVELS
    p = (np.arange(count // 2, dtype=np.float64) + 0.5) / count  # the lower half; the upper one mirrors it
    q = p - 0.5
    central = np.abs(q) <= 0.425
    r = 0.180625 - q * q
    inner = q * _ratio(r, _AS241_INNER)
    outer = -_ratio(np.sqrt(-log(p)) - 1.6, _AS241_MIDDLE)  # good down to 1e-11; p is 1 / 8192 or more
    lower = np.where(central, inner, outer)
    lower = lower / np.sqrt(_sum(lower * lower) / lower.size)
    levels = np.concatenate([lower, -lower[::-1]])
    levels.setflags(write=False)
    return levels


_AS241_INNER = (
    (2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457, 13731.693765509461125,
     1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
    (5226.495278852854561, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867, 5394.1960214247511077,
     687.1870074920579083, 42.313330701600911252, 1.0),
)  # fmt: skip
_AS241_MIDDLE = (
    (7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258,
     3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
    (1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459,
     0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
)  # fmt: skip


def _ratio(x: NDArray[np.float64], polynomials: tuple[Sequence[float], Sequence[float]]) -> NDArray[np.float64]:
    above, below = np.zeros_like(x), np.zeros_like(x)
    for over, under in zip(*polynomials, strict=True):
        above, below = above * x + over, below * x + under
    return above / below


def _sum(values: NDArray[np.float64]) -> float:
    return float(sum(values.tolist()))  # in order; NumPy's order depends on the processor


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


def noise_table(dtype: torch.dtype, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return the values of the erasing noise: `normal_levels` in ``dtype``; for uint8, the nearest gray of each.

    Returns
    -------
    tensor (len(mean), 4096).
    """
    levels = normal_levels()
    if dtype != torch.uint8:
        return torch.from_numpy(levels.copy()).to(dtype).repeat(len(mean), 1)
    rows = [np.clip(np.rint((levels * s + m) * 255), 0, 255) for m, s in zip(mean, std, strict=True)]
    return torch.from_numpy(np.stack(rows).astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Film:
    """What pictures become in memory.

    Attributes
    ----------
    size
        Width and height of a picture, 8..4096.
    channels
        1..4; the gray is written to all of them.
    channels_last
        Whether the channels of a pixel lie side by side (torch's ``channels_last``).
    bilinear
        Whether pictures are sampled with a triangle instead of a cubic kernel.
    table, noise
        (rows, 256) and (rows, 4096) in the pictures' dtype, on their device; one row, or one a channel. See
        `gray_table` and `noise_table`.
    """

    size: int
    channels: int
    channels_last: bool
    bilinear: bool
    table: torch.Tensor
    noise: torch.Tensor

    @staticmethod
    def make(
        size: int,
        channels: int,
        dtype: torch.dtype,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        interpolation: str = "bicubic",
        channels_last: bool = False,
        device: torch.device | None = None,
    ) -> Film:
        """Return the film for a dtype and a normalisation; ``mean`` and ``std`` hold a number for each channel."""
        rows = 1 if len(set(zip(mean, std, strict=True))) == 1 else channels
        where = torch.device("cpu") if device is None else device
        tables = [make(dtype, mean[:rows], std[:rows]).to(where) for make in (gray_table, noise_table)]
        return Film(size, channels, channels_last, interpolation == "bilinear", *tables)

    @property
    def dtype(self) -> torch.dtype:
        """Dtype of the pictures."""
        return self.table.dtype

    def to(self, device: torch.device) -> Film:
        """Return this film on a device."""
        if self.table.device == device:
            return self
        tables = self.table.to(device), self.noise.to(device)
        return Film(self.size, self.channels, self.channels_last, self.bilinear, *tables)

    def empty(self, count: int, buffers: Buffers | None = None) -> torch.Tensor:
        """Return room for ``count`` pictures: (count, channels, size, size) on the film's device.

        On the CPU the memory is taken from ``buffers``, if given.
        """
        plane = self.size, self.size
        shape = (count, *plane, self.channels) if self.channels_last else (count, self.channels, *plane)
        device = self.table.device
        if buffers is None or device.type != "cpu":
            pictures = allocate(shape, self.dtype, device)
        else:
            pictures = buffers.take(math.prod(shape) * self.dtype.itemsize).view(self.dtype).view(shape)
        return pictures.permute(0, 3, 1, 2) if self.channels_last else pictures


def pack_shots(shots: Shots, size: int, device: torch.device) -> torch.Tensor:
    """Check shots and lay them out as the core takes them.

    Parameters
    ----------
    shots
        B shots.
    size
        Of the pictures, in pixels.
    device
        Where pictures are taken.

    Returns
    -------
    int32 tensor (B, words).

    Raises
    ------
    ValueError
        If a view, window, step, amount or rectangle is not legal; the message names the shot and what is.
    """
    words = _C.pack_shots(
        _exactly("views", shots.views, np.float64),
        _exactly("steps", shots.steps, np.int8),
        _exactly("amounts", shots.amounts, np.float64),
        _exactly("windows", shots.windows, np.float64),
        _exactly("erased", shots.erased, np.int32),
        _exactly("keys", shots.keys, np.uint64),
        size,
    )
    return to_device(torch.from_numpy(words.view(np.int32)), device)


def _exactly(name: str, array: object, dtype: type[np.generic]) -> NDArray[Any]:
    """Return the array in C order, in ``dtype``; refuse one whose numbers that would change."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in ("iuf" if dtype is np.float64 else "iu"):
        what = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise TypeError(f"{name} must be an array of {dtype.__name__}, got {what}")
    same = np.ascontiguousarray(array, dtype)
    if dtype is not np.float64 and not np.array_equal(same, array):
        raise ValueError(f"{name} must be numbers of {dtype.__name__}, got {array.min()}..{array.max()}")
    return same


def take_pictures(
    canvases: torch.Tensor,
    shots: Shots,
    film: Film,
    out: torch.Tensor,
    *,
    which: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> None:
    """Take pictures of canvases that lie in memory.

    Parameters
    ----------
    canvases
        uint8 (C, H, W), or bits as `onepfrac.render` draws them, int32 (C, 1, S, words).
    shots
        B shots.
    film, out
        See `Film`; ``out`` is such as `Film.empty` returns. All on the device of ``canvases``.
    which
        int64 (B,) in 0..C-1: picture i is of canvas ``which[i]``. Default: its own number.
    threads
        As in `onepfrac.render`.
    """
    device = canvases.device
    if canvases.dtype is BITS:
        canvases = canvases.flatten(0, 1)
        width = canvases.shape[1]
    else:
        width = canvases.shape[2]
    numbers = None if which is None else to_device(torch.from_numpy(np.ascontiguousarray(which, np.int64)), device)
    _C.take_pictures(
        pack_shots(shots, film.size, device),
        canvases,
        numbers,
        width,
        _plain(out, film),
        film.table,
        film.noise,
        film.bilinear,
        film.channels_last,
        check_threads(threads),
        simd_cap(),
        stream_of(device),
    )


def take_planes(
    canvases: torch.Tensor,
    shots: Shots,
    film: Film,
    out: torch.Tensor,
    *,
    which: NDArray[np.int64] | None = None,
    threads: int | None = None,
) -> None:
    """Take pictures of canvases of one plane, or of three for the three channels of a picture.

    Tone is taken plane by plane, as are statistics; noise differs from plane to plane.

    Parameters
    ----------
    canvases
        uint8 (C, 1, H, W) or (C, 3, H, W), or bits as `onepfrac.render` draws them.
    shots, film, out, which, threads
        As in `take_pictures`; for three planes ``film.channels`` is 3.
    """
    planes = canvases.shape[1]
    if planes == 1:
        take_pictures(
            canvases if canvases.dtype is BITS else canvases[:, 0], shots, film, out, which=which, threads=threads
        )
        return
    numbers = np.arange(len(shots), dtype=np.int64) if which is None else which
    flat = canvases.flatten(0, 1)
    if flat.dtype is BITS:
        flat = flat[:, None]  # as `render` gives bits
    for plane in range(planes):
        row = min(plane, film.table.shape[0] - 1)
        tables = film.table[row : row + 1], film.noise[row : row + 1]
        of_plane = Film(film.size, 1, False, film.bilinear, *tables)
        pictures = of_plane.empty(len(shots))
        keyed = dataclasses.replace(shots, keys=shots.keys + np.uint64(plane))
        take_pictures(flat, keyed, of_plane, pictures, which=numbers * planes + plane, threads=threads)
        out[:, plane] = pictures[:, 0]


def draw_pictures(
    systems: Systems,
    shots: Shots,
    film: Film,
    out: torch.Tensor,
    *,
    points: int,
    canvas: int,
    pad: int,
    brush: str,
    threads: int | None = None,
) -> None:
    """Draw canvases and take their pictures in one go: a canvas is gone when its picture is taken.

    On a GPU it lies in a block's shared memory, where it fits (up to 1227 pixels on an H100, for pictures of 224);
    larger ones are drawn as bits first.

    Parameters
    ----------
    systems
        B packed systems, on the device of ``film``.
    shots, film, out, threads
        As in `take_pictures`.
    points, canvas, pad, brush
        As in `onepfrac.render`; ``canvas`` is its ``size``.
    """
    device = systems.device
    if device.type == "cuda" and not _C.fits_block(canvas, film.size, device.index):
        bits = render(systems, points=points, size=canvas, pad=pad, brush=brush, device=device, dtype=BITS)
        take_pictures(bits, shots, film, out, threads=threads)
        return
    _C.draw_pictures(
        systems.words,
        systems.num_maps,
        points,
        canvas,
        pad,
        BRUSHES.index(brush),
        pack_shots(shots, film.size, device),
        _plain(out, film),
        film.table,
        film.noise,
        film.bilinear,
        film.channels_last,
        check_threads(threads),
        simd_cap(),
        stream_of(device),
    )


def _plain(out: torch.Tensor, film: Film) -> torch.Tensor:
    """Return the pictures as the array that lies in memory."""
    return out.permute(0, 2, 3, 1) if film.channels_last else out


def picture(
    canvases: Any,
    view: ArrayLike | None = None,
    tone: Sequence[str | tuple[str, float]] = (),
    *,
    size: int | None = None,
    outside: int | None = None,
    shots: Shots | None = None,
    which: ArrayLike | None = None,
    interpolation: str = "bicubic",
    channels: int = 1,
    mean: float | Sequence[float] = 0.0,
    std: float | Sequence[float] = 1.0,
    dtype: torch.dtype | None = None,
    channels_last: bool = False,
    threads: int | None = None,
    device: str | int | torch.device | None = None,
) -> torch.Tensor:
    """Take pictures of bitmaps or gray images.

    A picture's pixel is one antialiased sample of the canvas: the kernel (Keys' cubic with a = -1/2, or the triangle)
    is widened by the view's scale where that shrinks the canvas, as Pillow's ``resize`` does it. With the identity as
    the view the picture is the canvas, exactly.

    Parameters
    ----------
    canvases
        uint8 or bool (H, W), (B, H, W) or (B, 1, H, W) of torch, NumPy, CuPy or any library with DLPack; or bits as
        `render` draws them, int32 (B, 1, S, ceil(S / 32)). Sides up to 32768. True counts as 255.
    view
        From a place in the picture to the place on the canvas, both as (x, y) in pixels with the centre of pixel
        (column i, row j) at (i + 0.5, j + 0.5): (2, 3) for all pictures or (B, 2, 3), ``canvas = view @ (x, y, 1)``.
        Default: the whole canvas.
    tone
        Operations on the grays, in order: ``("brightness", f)``, ``("contrast", f)``, ``("sharpness", f)``,
        ``"autocontrast"``, ``"equalize"``, ``("posterize", bits)``, ``("solarize", threshold)``,
        ``("solarize_add", gray)``, ``"invert"``, each as Pillow's (solarize_add as timm's).
    size
        Width and height of the pictures, 8..4096. Default: that of the canvas, if it is square.
    outside
        Gray 0..255 of what lies off the canvas. Default: the canvas's edge goes on.
    shots
        Everything at once, in place of ``view``, ``tone`` and ``outside``: what a policy of `onepfrac.augment` draws.
    which
        (B,) integers: picture i is of canvas ``which[i]``. Default: picture i is of canvas i; one canvas serves any
        number of views.
    interpolation
        ``"bicubic"`` or ``"bilinear"``.
    channels
        1..4; the gray is written to all of them.
    mean, std
        Float pictures hold ``(v / 255 - mean) / std``; a number, or one for each channel.
    dtype
        torch.uint8 (default), float16, bfloat16 or float32.
    channels_last
        Whether the result lies in torch's ``channels_last`` order.
    threads
        As in `render`.
    device
        Where the pictures are taken. Default: where the canvases are.

    Returns
    -------
    torch.Tensor
        (B, channels, size, size).

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is legal.

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    if threads is not None:
        check_threads(threads)
    if not isinstance(channels_last, bool):
        raise TypeError(f"channels_last must be a bool, got {channels_last!r} of type {type(channels_last).__name__}")
    source = _canvases(canvases, device)
    bits = source.dtype is BITS
    height = source.shape[-2]
    width = height if bits else source.shape[-1]
    if size is None:
        if width != height:
            raise ValueError(f"size must be given for canvases that are not square, got {width} x {height} pixels")
        size = width
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    channels = check_int("channels", channels, 1, 4)
    kind = torch.uint8 if dtype is None else dtype
    legal = ", ".join(map(str, DTYPES))
    if not isinstance(kind, torch.dtype):
        raise TypeError(f"dtype must be one of {legal}, got {shown(dtype)}")
    if kind not in DTYPES:
        raise ValueError(f"dtype must be one of {legal}, got {dtype}")
    check_choice("interpolation", interpolation, INTERPOLATIONS)
    means, stds = per_channel("mean", mean, channels, -np.inf), per_channel("std", std, channels, 0.0)

    numbers = None if which is None else _numbers(which, source.shape[0])
    if shots is None:
        shots = _shots(view, tone, outside, source.shape[0] if numbers is None else numbers.size, width, height, size)
    elif view is not None or len(tone) or outside is not None:
        raise ValueError("view, tone and outside must not be given beside shots, which hold them already")
    elif not isinstance(shots, Shots):
        raise TypeError(f"shots must be onepfrac.shots.Shots, got {type(shots).__name__}")
    _exactly("views", shots.views, np.float64)
    count = len(shots)
    if numbers is None and source.shape[0] == 1 and count != 1:
        numbers = np.zeros(count, np.int64)
    if count != (source.shape[0] if numbers is None else numbers.size):
        raise ValueError(
            f"{'canvases' if numbers is None else 'which'} must be one, or as many as views and shots, got"
            f" {source.shape[0] if numbers is None else numbers.size} for {count}"
        )
    film = Film.make(
        size,
        channels,
        kind,
        means,
        stds,
        interpolation=interpolation,
        channels_last=channels_last,
        device=source.device,
    )
    if not torch.isfinite(film.table).all():
        raise ValueError(f"mean and std must keep the values finite in {kind}, got {mean!r} and {std!r}")
    out = film.empty(count)
    if count:
        take_pictures(source, shots, film, out, which=numbers, threads=threads)
    return out


def per_channel(name: str, value: object, channels: int, low: float) -> tuple[float, ...]:
    """Return one float a channel, each finite and greater than ``low``, from a number or a sequence of them."""
    if isinstance(value, Sequence) and not isinstance(value, (str, memoryview)):
        if len(value) != channels:
            raise ValueError(f"{name} must be a number or {channels} numbers, one for each channel, got {value!r}")
        return tuple(check_float(f"{name}[{i}]", item, low, open_low=True) for i, item in enumerate(value))
    return (check_float(name, value, low, open_low=True),) * channels


def _canvases(canvases: Any, device: str | int | torch.device | None) -> torch.Tensor:
    """Return the canvases as a contiguous tensor, uint8 (C, H, W) or bits (C, 1, S, words), where they are used."""
    if isinstance(canvases, np.ndarray):
        if canvases.dtype not in (np.uint8, np.bool_, np.int32):
            raise TypeError(f"canvases must be uint8, bool or int32 (bits), got {canvases.dtype}")
        plain = np.ascontiguousarray(canvases)
        tensor = torch.from_numpy(plain if plain.flags.writeable else plain.copy())  # torch warns of read-only memory
    elif isinstance(canvases, torch.Tensor):
        tensor = dense_tensor("canvases", canvases)
    elif hasattr(canvases, "__dlpack__"):
        tensor = dense_tensor("canvases", shared_tensor("canvases", canvases))
    else:
        raise TypeError(
            f"canvases must be an array of torch, NumPy or a library with DLPack, got {type(canvases).__name__}"
        )
    if tensor.dtype is torch.bool:
        tensor = tensor.to(torch.uint8) * 255
    shape = tuple(tensor.shape)
    if tensor.dtype is BITS:
        if len(shape) != 4 or shape[1] != 1 or shape[3] != -(-shape[2] // 32) or not MIN_SIZE <= shape[2] <= MAX_SIZE:
            raise ValueError(f"canvases must have the shape (B, 1, S, ceil(S / 32)) as bits, got {shape}")
    elif tensor.dtype is torch.uint8:
        if len(shape) not in (2, 3, 4) or (len(shape) == 4 and shape[1] != 1):
            raise ValueError(f"canvases must have the shape (H, W), (B, H, W) or (B, 1, H, W), got {shape}")
        if not all(1 <= side <= MAX_CANVAS for side in shape[-2:]):
            raise ValueError(f"canvases must have sides of 1..{MAX_CANVAS} pixels, got {shape[-2]} x {shape[-1]}")
        tensor = tensor.reshape(-1, *shape[-2:])
    else:
        raise TypeError(f"canvases must be uint8, bool or int32 (bits), got {tensor.dtype}")
    where = check_device("device", tensor.device if device is None else device)
    return tensor.to(where).contiguous()


def _numbers(which: ArrayLike, count: int) -> NDArray[np.int64]:
    numbers = on_host("which", which)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise TypeError(f"which must be integers of the shape (B,), got {numbers.dtype} {numbers.shape}")
    if numbers.size and not (int(numbers.min()) >= 0 and int(numbers.max()) < count):
        raise ValueError(f"which must be in 0..{count - 1}, got {numbers.min()}..{numbers.max()}")
    return np.ascontiguousarray(numbers, dtype=np.int64)


def _shots(
    view: ArrayLike | None,
    tone: Sequence[str | tuple[str, float]],
    outside: int | None,
    count: int,
    width: int,
    height: int,
    size: int,
) -> Shots:
    """Make shots of one view or B, with the same tone for all."""
    if view is None:
        views = whole_views(count, width, height, size)
    else:
        views = on_host("view", view)
        if views.dtype.kind not in "iuf" or views.shape[-2:] != (2, 3) or views.ndim not in (2, 3):
            raise ValueError(
                f"view must hold numbers of the shape (2, 3) or (B, 2, 3), got {views.dtype} {views.shape}"
            )
        views = views.astype(np.float64)
        if not np.isfinite(views).all():
            raise ValueError("view must be finite, got NaN or infinity")
        if views.ndim == 2:
            views = np.repeat(views[None], count, 0)
    steps, amounts = [], []
    windows = np.zeros((len(views), 0, 2, 3))
    if outside is not None:
        steps.append(int(Step.WINDOW))
        amounts.append(float(check_int("outside", outside, 0, 255)))
        windows = (views / np.array([[width], [height]]))[:, None]
    if isinstance(tone, str) or not isinstance(tone, Sequence):
        hint = f"; write [{tone!r}]" if isinstance(tone, str) else ""
        raise TypeError(f"tone must be a sequence of operations, got {tone!r}{hint}")
    for i, operation in enumerate(tone):
        step, amount = _operation(f"tone[{i}]", operation)
        steps.append(int(step))
        amounts.append(amount)
    if len(steps) > MAX_STEPS:
        raise ValueError(f"tone must have at most {MAX_STEPS - (outside is not None)} operations, got {len(tone)}")
    if steps.count(Step.SHARPNESS) > MAX_SHARPNESS:
        got = steps.count(Step.SHARPNESS)
        raise ValueError(f"tone must have at most {MAX_SHARPNESS} sharpness operations, got {got}")
    count = len(views)
    return Shots(
        views,
        np.repeat(np.array(steps, np.int8)[None], count, 0),
        np.repeat(np.array(amounts, np.float64)[None], count, 0),
        windows,
        np.zeros((count, 4), np.int32),
        np.zeros(count, np.uint64),
    )


def _operation(name: str, operation: object) -> tuple[Step, float]:
    legal = ", ".join(repr(tone) for tone in _TONES)
    kind, amount = operation if isinstance(operation, tuple) and len(operation) == 2 else (operation, None)
    if not isinstance(kind, str) or kind not in _TONES:
        raise ValueError(
            f"{name} must be the name of an operation, or a pair (name, amount); names are {legal}; got {operation!r}"
        )
    if kind in _WITHOUT_AMOUNT:
        if amount is not None:
            raise ValueError(f"{name} must be {kind!r} alone, which takes no amount, got {operation!r}")
        return _TONES[kind], 0.0
    if amount is None:
        raise ValueError(f"{name} must be a pair ({kind!r}, amount), got {operation!r}")
    if kind in ("posterize", "solarize", "solarize_add"):
        high = {"posterize": 8, "solarize": 256, "solarize_add": 255}[kind]
        return _TONES[kind], float(check_int(f"{name}[1]", amount, 0, high))
    return _TONES[kind], check_float(f"{name}[1]", amount, 0.0, 1e6)
