"""Photographs for fine-tuning and probing: image folders, timm's datasets, and batches of them for a model.

Every random choice about a sample follows from a seed and the sample's number, so it does not matter which process
prepares it, how many there are, or whether a run was interrupted.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data import create_dataset, create_transform
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torchvision import datasets
from torchvision.transforms import v2

from onepfrac.draws import Purpose, keys, uniform
from onepfrac.photos import pixel_formats
from onepfrac.train import machine

__all__ = [
    "Augment",
    "Batches",
    "Photographs",
    "Wanted",
    "check_splits",
    "crop_boxes",
    "load_photographs",
    "load_splits",
    "loader",
]

PREFIXES = ("torch", "hfds", "hfids", "tfds", "wds")
"""What the name of a dataset of timm begins with."""

Wanted = tuple[NDArray[np.int64], NDArray[np.uint64]]
"""Rows of the images in a batch, and the number by which each of them is augmented."""

# Where the draws about samples begin: a training script's steps and epochs lie elsewhere.
_CROPS, _OPERATIONS = np.uint64(2**62), np.uint64(2**61)
_ATTEMPTS = 10  # as torchvision's RandomResizedCrop


class Photographs(Dataset[tuple[torch.Tensor, int]]):
    """Images with a class each, decoded as RGB when asked for, or once.

    Parameters
    ----------
    items
        What ``decode`` turns into an image: paths, or an index into a dataset.
    labels
        The class of each, an index into ``classes``.
    classes
        Names of the classes.
    decode
        Returns a uint8 tensor (3, H, W).
    cache
        Decode all images now and keep them, in one tensor.
    """

    def __init__(
        self,
        items: Sequence[Any],
        labels: Sequence[int],
        classes: Sequence[str],
        decode: Callable[[Any], torch.Tensor],
        cache: bool = False,
    ) -> None:
        self.items, self.labels, self.classes = list(items), list(labels), tuple(classes)
        self._decode = decode
        if cache:
            with ThreadPoolExecutor() as pool:  # decoders release the GIL
                kept = list(pool.map(decode, items))
            self.items, self._decode = list(range(len(kept))), _Memory(kept)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Return an image, uint8 (3, H, W), and its class."""
        return self._decode(self.items[index]), self.labels[index]

    def pick(self, chosen: Sequence[int]) -> Photographs:
        """Return some of the images; decoded ones are shared."""
        items, labels = [self.items[i] for i in chosen], [self.labels[i] for i in chosen]
        return Photographs(items, labels, self.classes, self._decode)


class _Memory:
    """Decoded images one after another in one tensor, which loader processes can share."""

    def __init__(self, images: Sequence[torch.Tensor]) -> None:
        self._shapes = [tuple(image.shape) for image in images]
        self._ends = np.cumsum([image.numel() for image in images]).tolist()
        self._bytes = torch.cat([image.flatten() for image in images]) if images else torch.empty(0)

    def __call__(self, index: int) -> torch.Tensor:
        shape, end = self._shapes[index], self._ends[index]
        return self._bytes[end - shape[0] * shape[1] * shape[2] : end].view(shape)


def load_photographs(folder: str | os.PathLike[str], per_class: int = 0, cache: bool = False) -> Photographs:
    """List the images of ``folder/CLASS/*``, the first ``per_class`` by name of each class (0: all).

    Raises
    ------
    OSError
        If there is no such folder, it holds a class without images or no class, or an image cannot be read.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = datasets.ImageFolder(str(folder))
    paths, labels = [path for path, _ in found.samples], [label for _, label in found.samples]
    rows = _first(labels, per_class)
    return Photographs([paths[i] for i in rows], [labels[i] for i in rows], found.classes, _decode_file, cache)


def load_splits(
    data: str,
    root: str = "",
    download: bool = False,
    splits: tuple[str, str] = ("", ""),
    per_class: tuple[int, int] = (0, 0),
    cache: bool = False,
) -> tuple[Photographs, Photographs]:
    """Load training and validation images.

    Parameters
    ----------
    data
        A folder with ``train/CLASS/*`` and ``val/CLASS/*``, or the name of a dataset of timm: ``torch/cifar10``,
        ``hfds/NAME``, ``tfds/NAME``, ``wds/NAME``. Those that can only be read in order (hfids, tfds, wds) are read
        once and kept in memory.
    root
        Folder of a dataset of timm; '': the working folder, or where Hugging Face keeps its own.
    download
        Let timm download what is missing.
    splits
        Names of the two parts; '': "train", and the first of "val", "validation" and "test" that a folder holds,
        "validation" for a dataset of timm.
    per_class
        The first so many images of each class, of the two parts; 0: all.
    cache
        Decode all images now and keep them.

    Raises
    ------
    OSError
        If a folder or file cannot be read.
    ValueError
        If timm cannot read the dataset.
    """
    prefix, slash, _ = data.partition("/")
    if slash and prefix.lower() in PREFIXES:
        names = (splits[0] or "train", splits[1] or "validation")
        train, val = (_load_timm(data, root, n, download, m, cache) for n, m in zip(names, per_class, strict=True))
        if not (train.classes or val.classes):  # numbers without names
            train.classes = val.classes = tuple(str(i) for i in range(max(train.labels + val.labels, default=-1) + 1))
    else:
        known = [name for name in ("val", "validation", "test") if Path(data, name).is_dir()]
        train = load_photographs(Path(data, splits[0] or "train"), per_class[0], cache)
        val = load_photographs(Path(data, splits[1] or next(iter(known), "val")), per_class[1], cache)
    return train, val


def check_splits(train: Photographs, val: Photographs) -> None:
    """Check that training and validation images go together.

    Raises
    ------
    ValueError
        If they differ in their classes, or one has no image.
    """
    if train.classes != val.classes:
        raise ValueError(f"train and val must hold the same classes, got {train.classes} and {val.classes}")
    for name, part in (("train", train), ("val", val)):
        if not len(part):
            raise ValueError(f"{name} must hold images, got none")


@dataclass(frozen=True)
class Augment:
    """What happens to a training image: RandomResizedCrop and flip, a policy of timm, random erasing.

    Parameters
    ----------
    crop
        Least share of an image that is kept.
    auto_augment
        A policy of timm such as ``rand-m9-mstd0.5-inc1``; '': none.
    re_prob
        Probability that a rectangle is replaced by noise.
    """

    crop: float
    auto_augment: str = ""
    re_prob: float = 0.0


class Batches(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Batches for a DataLoader that does not collate: an index is rows of images and a number for each.

    Parameters
    ----------
    images
        The images.
    size
        Width and height that the model wants, in pixels.
    augment
        What a training does to them; None: resized and cropped at the centre.
    seed
        Seed of the augmentation; with the sample's number it decides everything.

    Raises
    ------
    ValueError
        If timm does not know the policy.
    """

    def __init__(self, images: Photographs, size: int, augment: Augment | None = None, seed: int = 0) -> None:
        self._images, self._size, self._augment, self._seed = images, size, augment, seed
        self._operations: Callable[[Any], Any] | None = None
        if augment is not None and (augment.auto_augment or augment.re_prob):
            self._operations = _operations(size, augment)

    def __getitem__(self, wanted: Wanted) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images, float32 (B, 3, size, size) in [-1, 1] but for erasing's noise, and labels, int64 (B,)."""
        rows, numbers = wanted
        pairs = [self._images[row] for row in rows.tolist()]
        labels = torch.tensor([label for _, label in pairs])
        pixels = torch.empty(len(pairs), 3, self._size, self._size, dtype=torch.uint8)
        if self._augment is None:
            for place, (image, _) in zip(pixels, pairs, strict=True):
                fitted = v2.functional.resize(image, [self._size], v2.InterpolationMode.BICUBIC, antialias=True)
                place.copy_(v2.functional.center_crop(fitted, [self._size] * 2))
            return pixels / 127.5 - 1, labels
        shapes = np.array([image.shape[1:] for image, _ in pairs])
        draws = uniform(self._seed, Purpose.TRAIN, numbers + _CROPS, 2 * _ATTEMPTS + 3)
        boxes = crop_boxes(draws[:, 1:], shapes, self._augment.crop)
        for place, (image, _), (top, left, height, width) in zip(pixels, pairs, boxes.tolist(), strict=True):
            part = image[None, :, top : top + height, left : left + width]
            # What v2.functional.resized_crop does, in a quarter of its time where images are small.
            place.copy_(interpolate(part, pixels.shape[2:], mode="bicubic", antialias=True)[0])
        flips = torch.from_numpy(draws[:, 0] < 0.5)[:, None, None, None]
        pixels = torch.where(flips, pixels.flip(3), pixels)
        if self._operations is None:
            return pixels / 127.5 - 1, labels
        done = []
        for key, image in zip(keys(self._seed, Purpose.TRAIN, numbers + _OPERATIONS).tolist(), pixels, strict=True):
            _seed_timm(key)
            done.append(self._operations(Image.fromarray(image.permute(1, 2, 0).numpy())))
        return torch.stack(done), labels


def crop_boxes(draws: NDArray[np.float64], shapes: NDArray[np.int64], least: float) -> NDArray[np.int64]:
    """Choose the crops of torchvision's RandomResizedCrop, with aspect ratios of 3/4 to 4/3.

    Parameters
    ----------
    draws
        Uniform in [0, 1), shape (B, 22): ten areas, ten aspect ratios, the place.
    shapes
        Heights and widths of the images, shape (B, 2).
    least
        Least share of an image's area.

    Returns
    -------
    Tops, lefts, heights and widths in pixels, int64 of shape (B, 4).
    """
    heights, widths = shapes[:, :1], shapes[:, 1:]
    areas = heights * widths * (least + (1 - least) * draws[:, :_ATTEMPTS])
    aspects = np.exp(np.log(3 / 4) + np.log(16 / 9) * draws[:, _ATTEMPTS : 2 * _ATTEMPTS])
    tall, wide = np.rint(np.sqrt(areas / aspects)), np.rint(np.sqrt(areas * aspects))
    fits = (tall > 0) & (tall <= heights) & (wide > 0) & (wide <= widths)
    first = np.arange(len(shapes)), fits.argmax(1)
    # Where no attempt fits: all of the image, cut to the nearest legal aspect ratio, from its centre.
    found, ratio = fits.any(1), (widths / heights)[:, 0]
    height = np.where(found, tall[first], np.where(ratio < 3 / 4, np.rint(widths[:, 0] / (3 / 4)), heights[:, 0]))
    width = np.where(found, wide[first], np.where(ratio > 4 / 3, np.rint(heights[:, 0] * (4 / 3)), widths[:, 0]))
    free = np.stack([heights[:, 0] - height, widths[:, 0] - width])
    top, left = np.where(found, np.floor(draws[:, -2:].T * (free + 1)), free // 2)
    return np.stack([top, left, height, width], axis=1).astype(np.int64)


def loader(
    batches: Batches, order: Iterable[Wanted], workers: int, device: torch.device
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    """Return a loader of the batches in ``order``, which is read once."""
    quiet = machine.ignore_signals if workers else None
    return DataLoader(
        batches,
        batch_size=None,
        sampler=order,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=quiet,
    )


def _load_timm(data: str, root: str, split: str, download: bool, per_class: int, cache: bool) -> Photographs:
    prefix = data.partition("/")[0].lower()
    where = root or ("." if prefix in ("torch", "wds") else None)
    try:
        found: Any = create_dataset(data, root=where, split=split, download=download)
        names = getattr(found, "classes", None) or _reader_classes(found)
        classes = [name if isinstance(name, str) else ", ".join(name) for name in names]
        targets = getattr(found, "targets", None)
        if targets is not None:
            rows = _first([int(label) for label in targets], per_class)
            labels = [int(targets[row]) for row in rows]
            return Photographs(rows, labels, classes, partial(_decode_item, found), cache)
        # The labels are known only once the items are read.
        in_order = isinstance(found, IterableDataset)
        counts: dict[int, int] = {}
        kept: list[Any] = []
        labels = []
        for row, (image, target) in enumerate(found if in_order else (found[i] for i in range(len(found)))):
            label = int(target)
            counts[label] = counts.get(label, 0) + 1
            if not per_class or counts[label] <= per_class:
                labels.append(label)
                kept.append(_to_tensor(image) if cache or in_order else row)
        if cache or in_order:
            return Photographs(range(len(kept)), labels, classes, _Memory(kept))
        return Photographs(kept, labels, classes, partial(_decode_item, found))
    except OSError:
        raise
    # What readers of many hands raise about a name, a split, an argument or a package that is not installed.
    except (AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError) as error:
        where_ = f"split {split!r}, data_root {root!r}"
        raise ValueError(f"data: timm cannot read {data} ({where_}): {type(error).__name__}: {error}") from error


def _reader_classes(dataset: Any) -> list[str]:
    """Return the names of the classes of a dataset with a reader of timm; none, where it knows only numbers."""
    indices: dict[str, int] = getattr(getattr(dataset, "reader", None), "class_to_idx", None) or {}
    return sorted(indices, key=lambda name: indices[name])


def _first(labels: Sequence[int], per_class: int) -> list[int]:
    """Return the rows of the first ``per_class`` items of each class, class by class; 0: all, in order."""
    if not per_class:
        return list(range(len(labels)))
    rows: dict[int, list[int]] = {}
    for row, label in enumerate(labels):
        rows.setdefault(label, []).append(row)
    return [row for label in sorted(rows) for row in rows[label][:per_class]]


def _operations(size: int, augment: Augment) -> Callable[[Any], Any]:
    """Return timm's transforms after crop and flip: the policy, the normalisation, erasing."""
    try:
        _, policy, rest = create_transform(
            size,
            is_training=True,
            auto_augment=augment.auto_augment or None,
            color_jitter=0.0,
            interpolation="bicubic",
            re_prob=augment.re_prob,
            re_mode="pixel",
            mean=(0.5, 0.5, 0.5),
            std=(0.5, 0.5, 0.5),
            separate=True,
        )
    except (AssertionError, KeyError, ValueError, NotImplementedError) as error:
        legal = "a policy of timm such as rand-m9-mstd0.5-inc1"
        raise ValueError(f"auto_augment must be {legal}, got {augment.auto_augment!r} ({error})") from error
    return v2.Compose([policy, rest])  # type: ignore[no-any-return]


def _seed_timm(key: int) -> None:
    """Seed what timm's transforms draw from; CUDA's generators, which they leave alone, are spared the time."""
    torch.default_generator.manual_seed(key)
    np.random.seed(key % 2**32)  # noqa: NPY002
    random.seed(key)


def _decode_file(path: str) -> torch.Tensor:
    try:
        with Image.open(path, formats=pixel_formats()) as image:
            return _to_tensor(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise OSError(f"cannot read the image {path}: {error}") from error


def _decode_item(dataset: Any, row: int) -> torch.Tensor:
    return _to_tensor(dataset[row][0])


def _to_tensor(image: Image.Image) -> torch.Tensor:
    """Return an image of any mode as a uint8 tensor (3, H, W)."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
