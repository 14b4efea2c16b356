"""Scenes: graded pictures of fractals, in colour, over a background of clouds.

After Anderson and Farrell, "Improving Fractal Pre-training", WACV 2022, sections 3.2 and 3.3, and the release's
generator of images with several fractals. What is drawn at random is drawn here, as integers; the core paints.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac import _C
from onepfrac.arrays import dense_tensor, shared_tensor
from onepfrac.buffers import allocate
from onepfrac.checks import check_int
from onepfrac.draws import Purpose, exp, uniform
from onepfrac.rendering import check_out, check_threads, device_of, simd_cap, stream_of, to_device

__all__ = [
    "MAX_OBJECTS",
    "MAX_SCENE_SIZE",
    "MIN_SCENE_SIZE",
    "OBJECT_FIELDS",
    "Scenes",
    "draw_counts",
    "draw_object_keys",
    "draw_other_classes",
    "draw_scenes",
    "paint_scenes",
]

MIN_SCENE_SIZE, MAX_SCENE_SIZE = 8, 1024
MAX_OBJECTS: int = _C.MAX_OBJECTS
MAX_SIDE = 4096  # of an object, and of a graded picture

OBJECT_FIELDS = ("picture", "flips", "hue", "saturation", "value", "side", "left", "top")
_OBJECT_DRAWS = 11  # uniform numbers of an object: nine here, then its class and its key
_CLASS, _KEY = 9, 10
_LEVELS: int = _C.SCENE_LEVELS
_WORKSPACE_BYTES = 256 * 2**20  # on a GPU; a scene of 224 pixels takes 0.35 MB


@dataclass(frozen=True, eq=False)
class Scenes:
    """What B scenes of at most M objects hold, in integers.

    Attributes
    ----------
    seeds : uint64 (B,)
        Keys of the backgrounds.
    counts : int32 (B,)
        Objects of each scene, 0..M, the first ones of its row; later ones cover earlier ones.
    objects : int32 (B, M, 8)
        By `OBJECT_FIELDS`: which picture; flips (1 transposes, 2 turns upside down, 4 swaps left and right, in this
        order); hue (256 a turn), saturation and value, 0..255; side on the canvas, 1..4096 pixels; column and row of
        its upper left corner, -4096..4096.
    backgrounds : bool (B,)
        Whether there is a background; else it is black.
    amplitudes : int32 (B, 10)
        Noise of each level of the background, in 65536ths, 0..32768.
    tints : int32 (B, 3, 2)
        Scale and shift of the background's hue, saturation and value, in 256ths of a step, 0..65280.
    blurs : int32 (B,)
        Weight of a neighbour in the blur, in 256ths, 0 (none) .. 85.
    """

    seeds: NDArray[np.uint64]
    counts: NDArray[np.int32]
    objects: NDArray[np.int32]
    backgrounds: NDArray[np.bool_]
    amplitudes: NDArray[np.int32]
    tints: NDArray[np.int32]
    blurs: NDArray[np.int32]

    def __post_init__(self) -> None:
        batch = len(self.seeds)
        most = self.objects.shape[1] if self.objects.ndim == 3 else 0
        shapes: dict[str, tuple[tuple[int, ...], type]] = {
            "seeds": ((batch,), np.uint64),
            "counts": ((batch,), np.int32),
            "objects": ((batch, most, len(OBJECT_FIELDS)), np.int32),
            "backgrounds": ((batch,), np.bool_),
            "amplitudes": ((batch, _LEVELS), np.int32),
            "tints": ((batch, 3, 2), np.int32),
            "blurs": ((batch,), np.int32),
        }
        for name, (shape, kind) in shapes.items():
            array = getattr(self, name)
            if array.shape != shape or array.dtype != kind:
                raise ValueError(
                    f"{name} must be {np.dtype(kind).name} of the shape {shape}, got {array.dtype} {array.shape}"
                )
        if most > MAX_OBJECTS:
            raise ValueError(f"objects must be at most {MAX_OBJECTS} a scene, got {most}")
        _check_range("counts", self.counts, 0, most)
        _check_range("amplitudes", self.amplitudes, 0, 32768)
        _check_range("tints", self.tints, 0, 255 * 256)
        _check_range("blurs", self.blurs, 0, 85)
        ranges = ((0, 2**31 - 1), (0, 7), (0, 255), (0, 255), (0, 255), (1, MAX_SIDE), *[(-MAX_SIDE, MAX_SIDE)] * 2)
        there = self.objects[self.there]
        for column, (name, (low, high)) in enumerate(zip(OBJECT_FIELDS, ranges, strict=True)):
            _check_range(f"objects ({name})", there[:, column], low, high)

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, part: slice) -> Scenes:
        """Return the scenes of a slice."""
        return Scenes(**{field.name: getattr(self, field.name)[part] for field in fields(self)})

    @property
    def there(self) -> NDArray[np.bool_]:
        """Which objects are there, bool (B, M)."""
        result: NDArray[np.bool_] = np.arange(self.objects.shape[1]) < self.counts[:, None]
        return result

    def words(self) -> NDArray[np.int32]:
        """Return the scenes, less their objects, as the core takes them: int32 (B, 21)."""
        words = np.empty((len(self), _C.SCENE_WORDS), np.int32)
        words[:, 0:2] = np.ascontiguousarray(self.seeds, "<u8").view("<i4").reshape(-1, 2)
        words[:, 2], words[:, 3] = self.counts, self.backgrounds
        words[:, 4 : 4 + _LEVELS] = self.amplitudes
        words[:, 4 + _LEVELS : 10 + _LEVELS] = self.tints.reshape(-1, 6)
        words[:, 10 + _LEVELS] = self.blurs
        return words


def draw_scenes(
    seed: int,
    keys: NDArray[np.uint64],
    size: int,
    *,
    objects: tuple[int, int] = (1, 5),
    side: tuple[float, float] = (0.15, 0.6),
    background: bool = True,
    blur: float = 0.5,
) -> Scenes:
    """Draw what scenes hold, with the distributions of the release's generator.

    Objects: their number is uniform; transposed, turned upside down and swapped left and right, each with probability
    1/2; hue U(0, 255), saturation 255 U(0.3, 1), value 255 U(0.5, 1); side ``floor(size U(side))``; left and top
    uniform in ``-(side // 2) .. size - side // 2 - 1``. Background: amplitude ``0.5 exp(decay (1 - k))`` at level k =
    1, 2, ... with decay U(0.4, 0.8); of a height x in about 0..1, hue ``255 (x U(0.25, 1) + U(0, 1))``, saturation
    ``255 (x U(0.1, 0.3) + U(0.4, 0.6))``, value ``255 (x U(0.3, 0.6) + U(0.4, 0.6))``. Blur: sigma U(0.5, 1).

    Parameters
    ----------
    seed
        Of the dataset, 0..2**64-1.
    keys
        uint64 (B,), the keys of the images: each decides all of its scene.
    size
        Side of the canvas in pixels.
    objects
        Fewest and most objects of a scene.
    side
        Smallest and largest side of an object, as a share of ``size``.
    background
        Whether scenes have a background.
    blur
        Share of the scenes that are blurred.

    Returns
    -------
    Scenes
        Object j of scene i shows picture number j + the objects of the scenes before.
    """
    most = objects[1]
    counts = draw_counts(seed, keys, objects)
    of_scene = uniform(seed, Purpose.SCENE, keys, 10)
    decay = _between(0.4, 0.8, of_scene[:, 1])
    amplitudes = _rounded(65536.0 * 0.5 * exp(decay[:, None] * -np.arange(_LEVELS, dtype=np.float64)))
    ranges = (((0.25, 1.0), (0.0, 1.0)), ((0.1, 0.3), (0.4, 0.6)), ((0.3, 0.6), (0.4, 0.6)))
    tints = np.empty((len(keys), 3, 2), np.int32)
    for channel, pair in enumerate(ranges):
        for part, (low, high) in enumerate(pair):
            tints[:, channel, part] = _floored(256.0 * 255.0 * _between(low, high, of_scene[:, 2 + 2 * channel + part]))
    sigma = _between(0.5, 1.0, of_scene[:, 9])
    beside = exp(-1.0 / (2.0 * sigma * sigma))
    weights = _rounded(256.0 * beside / (1.0 + 2.0 * beside))

    drawn = _of_objects(seed, keys, most)
    values = np.zeros((len(keys), most, len(OBJECT_FIELDS)), np.int32)
    there = np.arange(most) < counts[:, None]
    values[there, 0] = np.arange(int(counts.sum()), dtype=np.int32)
    values[..., 1] = (drawn[..., 0] < 0.5) * 1 + (drawn[..., 1] < 0.5) * 2 + (drawn[..., 2] < 0.5) * 4
    values[..., 2] = _floored(255.0 * drawn[..., 3])
    values[..., 3] = _floored(255.0 * _between(0.3, 1.0, drawn[..., 4]))
    values[..., 4] = _floored(255.0 * _between(0.5, 1.0, drawn[..., 5]))
    sides = np.maximum(_floored(_between(*side, drawn[..., 6]) * size), 1)
    values[..., 5] = sides
    values[..., 6] = _floored(drawn[..., 7] * size) - sides // 2
    values[..., 7] = _floored(drawn[..., 8] * size) - sides // 2
    values[~there] = 0
    return Scenes(
        seeds=keys,
        counts=counts,
        objects=values,
        backgrounds=np.full(len(keys), background),
        amplitudes=amplitudes,
        tints=tints,
        blurs=np.where(of_scene[:, 8] < blur, weights, 0).astype(np.int32),
    )


def draw_counts(seed: int, keys: NDArray[np.uint64], objects: tuple[int, int]) -> NDArray[np.int32]:
    """Draw how many objects scenes with the given keys have, uniform between fewest and most: int32 (B,)."""
    fewest, most = objects
    return fewest + _floored(uniform(seed, Purpose.SCENE, keys, 1)[:, 0] * (most - fewest + 1))


def draw_other_classes(seed: int, keys: NDArray[np.uint64], most: int, num_classes: int) -> NDArray[np.int64]:
    """Draw a class for each of ``most`` objects of scenes with the given keys, uniform: int64 (B, most)."""
    drawn = _of_objects(seed, keys, most)[..., _CLASS]
    return np.floor(drawn * num_classes).astype(np.int64)


def draw_object_keys(seed: int, keys: NDArray[np.uint64], most: int) -> NDArray[np.uint64]:
    """Draw the keys of the chaos games of objects, uint64 (B, most), 53 bits each."""
    return (_of_objects(seed, keys, most)[..., _KEY] * 2.0**53).astype(np.uint64)


def paint_scenes(
    pictures: torch.Tensor,
    scenes: Scenes,
    *,
    size: int = 224,
    threads: int | None = None,
    device: str | int | torch.device | None = None,
    out: Any = None,
) -> Any:
    """Paint scenes.

    The background is a diamond-square surface of 2^n + 1 points a side, 2^n >= size, in fixed point. An object's pixel
    is the nearest one of its picture, row ``floor((2 i + 1) R / (2 side))`` for row i of a picture of R pixels: means
    between hues would be colours that no pixel has (the release interpolates colours). Its hue is grade + hue modulo
    256, a full turn being 256 (the release draws the same bytes, but hands them to OpenCV, where 180 is a turn). Grade
    0 is empty and shows what lies below.

    Parameters
    ----------
    pictures
        uint8 (K, 1, R, R), grades as `onepfrac.density` draws them (``dtype=torch.uint8``), R in 1..4096.
    scenes
        B scenes, whose objects show pictures 0..K-1.
    size
        Side of the canvas, 8..1024 pixels.
    threads
        CPU threads, 1..1024. Default: ``torch.get_num_threads()``.
    device
        Where to paint, and where ``pictures`` are. Default: where they are.
    out
        Where to write: a C-contiguous uint8 array (B, 3, size, size).

    Returns
    -------
    torch.Tensor
        uint8 (B, 3, size, size), red, green, blue; ``out`` itself where it was given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is legal.
    """
    size = check_int("size", size, MIN_SCENE_SIZE, MAX_SCENE_SIZE)
    threads = check_threads(threads)
    if not isinstance(scenes, Scenes):
        raise TypeError(f"scenes must be Scenes, got {type(scenes).__name__}")
    if not isinstance(pictures, torch.Tensor):
        raise TypeError(f"pictures must be a torch.Tensor, got {type(pictures).__name__}")
    pictures = dense_tensor("pictures", pictures)
    side = pictures.shape[-1] if pictures.ndim == 4 else 0
    legal = pictures.dtype is torch.uint8 and tuple(pictures.shape[1:]) == (1, side, side) and 1 <= side <= MAX_SIDE
    if not (legal and pictures.is_contiguous()):
        raise ValueError(
            f"pictures must be contiguous torch.uint8 of the shape (K, 1, R, R) with R in 1..{MAX_SIDE}, got"
            f" {pictures.dtype} {tuple(pictures.shape)}"
        )
    where = device_of(device, pictures, out)
    if pictures.device != where:
        raise ValueError(f"pictures must be on the device {where}, got {pictures.device}")
    numbers = scenes.objects[scenes.there][:, 0]
    if numbers.size and int(numbers.max()) >= len(pictures):
        raise ValueError(f"scenes must show pictures 0..{len(pictures) - 1}, got {int(numbers.max())}")
    shape = (len(scenes), 3, size, size)
    if out is None:
        out = allocate(shape, torch.uint8, where)
    else:
        check_out(out, shape, None, where, (torch.uint8,))
    if len(scenes) == 0:
        return out
    words = to_device(torch.from_numpy(scenes.words()), where)
    objects = to_device(torch.from_numpy(np.ascontiguousarray(scenes.objects)), where)
    simd, stream = simd_cap(), stream_of(where)
    if where.type == "cpu":
        _C.paint_scenes(pictures, words, objects, out, None, threads, simd, stream)
        return out
    of_scene = _C.scene_workspace_bytes(size)
    at_once = min(len(scenes), max(1, _WORKSPACE_BYTES // of_scene))
    workspace = allocate((at_once * of_scene,), torch.uint8, where)
    canvases = out if isinstance(out, torch.Tensor) else shared_tensor("out", out)
    for start in range(0, len(scenes), at_once):  # one after the other on the stream, in the same workspace
        part = slice(start, start + at_once)
        _C.paint_scenes(pictures, words[part], objects[part], canvases[part], workspace, threads, simd, stream)
    return out


def _of_objects(seed: int, keys: NDArray[np.uint64], most: int) -> NDArray[np.float64]:
    return uniform(seed, Purpose.SCENE_OBJECT, keys, _OBJECT_DRAWS * most).reshape(len(keys), most, _OBJECT_DRAWS)


def _between(low: float, high: float, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    return low + (high - low) * drawn


def _floored(values: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.floor(values).astype(np.int32)


def _rounded(values: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.floor(values + 0.5).astype(np.int32)


def _check_range(name: str, values: NDArray[Any], low: int, high: int) -> None:
    if values.size and not (int(values.min()) >= low and int(values.max()) <= high):
        raise ValueError(f"{name} must lie in {low}..{high}, got {values.min()}..{values.max()}")
