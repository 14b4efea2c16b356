"""Fine-tune a timm model on a folder of photographs, from weights or from scratch: settings, set-up, loop.

The defaults are those of Nakamura et al., ECCV 2024: SGD with momentum 0.9, learning rate 0.01 per 512 images, weight
decay 1e-4, batches of 768, 1000 epochs, a cosine. Start it as ``onepfrac finetune``.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.optim import create_optimizer_v2
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset
from torchvision import datasets
from torchvision.transforms import v2
from tqdm import tqdm

from onepfrac import __version__, files
from onepfrac.draws import Purpose, keys
from onepfrac.train import checkpoint, machine, options
from onepfrac.train.models import build_model, load_body
from onepfrac.train.options import setting

__all__ = ["Outcome", "Photographs", "Settings", "finetune", "load_photographs"]

WEIGHTS = "weights of onepfrac finetune, format 1"


@dataclass(frozen=True)
class Settings:
    """Everything that decides a fine-tuning; the texts are those of ``--help``."""

    data: str = setting("", "folder with train/CLASS/*.jpg and val/CLASS/*.jpg", group="run")
    weights: str = setting("", "safetensors file to start from; none: from scratch")
    out: str = setting("runs/finetune", "folder for weights.safetensors and result.json")
    overwrite: bool = setting(False, "start anew in a folder that already holds a result")
    seed: int = setting(0, "seed of classifier, order and crops", high=2**64 - 1)
    evaluate_every: int = setting(0, "epochs between evaluations; 0: only at the end")

    model: str = setting("", "a model of timm; none: the one that the weights name", group="model")
    model_arg: tuple[str, ...] = setting((), "argument for the model, e.g. patch_size=4; may be repeated")
    drop_path: float = setting(0.0, "rate of stochastic depth", high=1)

    size: int = setting(0, "width and height of the images; 0: as the weights were trained, else 224", group="images")
    crop: float = setting(0.08, "least share of an image that RandomResizedCrop keeps", high=1)
    per_class: int = setting(0, "training images of each class, the first by name; 0: all")
    val_per_class: int = setting(0, "validation images of each class, the first by name; 0: all")
    cache: bool = setting(False, "decode all images once, into memory")
    workers: int = setting(0, "loader processes")

    epochs: int = setting(1000, "passes over the training images", low=1, group="optimisation")
    batch_size: int = setting(768, "images a step", low=1)
    optimizer: str = setting("sgd", "optimizer", choices=("sgd", "adamw"))
    lr: float = setting(0.01, "peak learning rate per 512 images: lr x batch size / 512 is used")
    warmup: float = setting(0.01, "share of the steps that warm up linearly", high=0.5)
    momentum: float = setting(0.9, "momentum of SGD", high=1)
    weight_decay: float = setting(1e-4, "weight decay; none on biases, norms and embeddings")
    smoothing: float = setting(0.0, "label smoothing", high=1)

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")

    def __post_init__(self) -> None:
        options.check(self)
        options.model_arguments(self.model_arg)
        if not self.data:
            raise ValueError("data must name a folder with train/CLASS/*.jpg and val/CLASS/*.jpg, got ''")
        if not self.out:
            raise ValueError("out must name a folder, got ''")
        if not (self.model or self.weights):
            raise ValueError("model must be given where no weights are that name one, got ''")
        if self.model_arg and not self.model:
            raise ValueError(f"model_arg goes with model, which is not given; got {self.model_arg}")


@dataclass(frozen=True)
class Outcome:
    """What `finetune` did; ``accuracies`` holds (epoch, share of validation images that are right)."""

    accuracy: float
    accuracies: tuple[tuple[int, float], ...]
    train_loss: float
    steps: int
    seconds: float
    weights: Path


class Photographs(Dataset[tuple[Any, int]]):
    """Images of a folder with a sub-folder for each class, decoded when asked for or once, as RGB."""

    def __init__(self, paths: Sequence[str], labels: Sequence[int], classes: Sequence[str], cache: bool) -> None:
        self.paths, self.labels, self.classes = list(paths), list(labels), tuple(classes)
        self.transform: Callable[[torch.Tensor], torch.Tensor] | None = None
        self._images = [_decode(path) for path in paths] if cache else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """Return the transformed image and its class."""
        image = self._images[index] if self._images else _decode(self.paths[index])
        return (self.transform(image) if self.transform else image), self.labels[index]

    def pick(self, chosen: Sequence[int]) -> Photographs:
        """Return some of the images; decoded ones are shared."""
        part = Photographs([self.paths[i] for i in chosen], [self.labels[i] for i in chosen], self.classes, cache=False)
        part._images = [self._images[i] for i in chosen] if self._images else None
        return part


def load_photographs(folder: str | os.PathLike[str], per_class: int = 0, cache: bool = False) -> Photographs:
    """List the images of ``folder/CLASS/*``, the first ``per_class`` by name of each class (0: all).

    Raises
    ------
    OSError
        If there is no such folder, or it holds a class without images or no class.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    found = datasets.ImageFolder(str(folder))
    taken: dict[int, list[str]] = {}
    for path, label in found.samples:
        taken.setdefault(label, []).append(path)
    pairs = [(path, label) for label, paths in taken.items() for path in paths[: per_class or None]]
    return Photographs([path for path, _ in pairs], [label for _, label in pairs], found.classes, cache)


def finetune(settings: Settings, train: Photographs | None = None, val: Photographs | None = None) -> Outcome:
    """Fine-tune and evaluate.

    Parameters
    ----------
    settings
        What to do.
    train, val
        Images to use in place of those in ``settings.data``.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal, the weights do not fit, or a file cannot be read or written.
    FloatingPointError
        If the loss is no longer finite.
    """
    # ---- set-up ------------------------------------------------------------------------------------------------------
    out = Path(settings.out)
    if (out / "result.json").exists() and not settings.overwrite:
        raise ValueError(f"out: {out} holds a result; give --overwrite to replace it, or another --out")
    device = machine.pick_device(settings.device)
    body, info = checkpoint.read(settings.weights) if settings.weights else ({}, {})
    name, arguments, size = _model_of(settings, info)
    train = train or load_photographs(Path(settings.data, "train"), settings.per_class, settings.cache)
    val = val or load_photographs(Path(settings.data, "val"), settings.val_per_class, settings.cache)
    if train.classes != val.classes:
        raise ValueError(f"train and val must hold the same classes, got {train.classes} and {val.classes}")
    if settings.batch_size > len(train):
        raise ValueError(f"batch_size must be at most the {len(train)} training images, got {settings.batch_size}")
    normalise = [v2.ToDtype(torch.float32, scale=True), v2.Normalize([0.5] * 3, [0.5] * 3)]
    bicubic = v2.InterpolationMode.BICUBIC
    crop = v2.RandomResizedCrop(size, (settings.crop, 1.0), interpolation=bicubic, antialias=True)
    train.transform = v2.Compose([crop, v2.RandomHorizontalFlip(), *normalise])
    val.transform = v2.Compose([v2.Resize(size, bicubic, antialias=True), v2.CenterCrop(size), *normalise])

    machine.seed_step(settings.seed, machine.INITIAL)
    model = build_model(name, len(train.classes), size, options.model_arguments(arguments), settings.drop_path)
    if body:
        load_body(model, body, settings.weights)
    model = model.to(device)
    optimizer = create_optimizer_v2(
        model, settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay, momentum=settings.momentum
    )
    steps = settings.epochs * (len(train) // settings.batch_size)
    peak, warmup = settings.lr * settings.batch_size / 512, math.ceil(settings.warmup * steps)

    # ---- loop --------------------------------------------------------------------------------------------------------
    clock, step, accuracies, loss_of_epoch = machine.Clock(device), 0, [], math.nan
    for epoch in tqdm(range(settings.epochs), unit="epoch", dynamic_ncols=True, disable=None):
        machine.seed_step(settings.seed, epoch)
        model.train()
        total = torch.zeros((), device=device)
        batches = _batches(train, settings, epoch, shuffle=True)
        for images, labels in batches:
            rising, done = (step + 1) / max(warmup, 1), (step - warmup) / max(steps - warmup, 1)
            rate = peak * (rising if step < warmup else 0.5 * (1 + math.cos(math.pi * done)))
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                logits = model(images.to(device, non_blocking=True))
            loss = cross_entropy(logits.float(), labels.to(device), label_smoothing=settings.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.detach()
            step += 1
        loss_of_epoch = total.item() / len(batches)
        if not math.isfinite(loss_of_epoch):
            raise FloatingPointError(f"the loss is {loss_of_epoch} in epoch {epoch + 1}; try a lower lr")
        last = epoch + 1 == settings.epochs
        if last or (settings.evaluate_every and (epoch + 1) % settings.evaluate_every == 0):
            accuracies.append((epoch + 1, _accuracy(model, _batches(val, settings, 0, shuffle=False), device)))

    # ---- end ---------------------------------------------------------------------------------------------------------
    outcome = Outcome(
        accuracy=accuracies[-1][1],
        accuracies=tuple(accuracies),
        train_loss=loss_of_epoch,
        steps=steps,
        seconds=clock.seconds(),
        weights=out / "weights.safetensors",
    )
    out.mkdir(parents=True, exist_ok=True)
    about = {"settings": dataclasses.asdict(settings), "model": name, "model_arg": arguments, "size": size}
    about |= {"classes": train.classes, "images": [len(train), len(val)]}
    checkpoint.write(outcome.weights, model.state_dict(), {"kind": WEIGHTS, **about})
    versions = {"onepfrac": __version__, "torch": torch.__version__, "timm": timm.__version__}
    result = {**about, "versions": versions, "device": machine.describe(device), **dataclasses.asdict(outcome)}
    files.write_text(out / "result.json", json.dumps(result, indent=2, default=str) + "\n")
    return outcome


def _model_of(settings: Settings, info: dict[str, Any]) -> tuple[str, tuple[str, ...], int]:
    """Return the model's name, its arguments and the image size: those given, else those that the weights name."""
    made: dict[str, Any] = info.get("settings", {})
    if not (settings.model or made.get("model")):
        raise ValueError(f"model must be given, because {settings.weights} does not name one")
    size = settings.size or int(info.get("size", made.get("size", 0))) or 224
    if settings.model:
        return settings.model, settings.model_arg, size
    return made["model"], tuple(made.get("model_arg", ())), size


def _batches(images: Photographs, settings: Settings, epoch: int, shuffle: bool) -> DataLoader[tuple[Any, int]]:
    key = int(keys(settings.seed, Purpose.TRAIN, np.array(2**63 + epoch, np.uint64)))
    return DataLoader(
        images,
        batch_size=settings.batch_size,
        shuffle=shuffle,
        drop_last=shuffle,
        num_workers=settings.workers,
        generator=torch.Generator().manual_seed(key % 2**63),
    )


def _accuracy(model: torch.nn.Module, batches: DataLoader[tuple[Any, int]], device: torch.device) -> float:
    model.eval()
    right = count = 0
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        for images, labels in batches:
            right += int((model(images.to(device)).argmax(1).cpu() == labels).sum())
            count += len(labels)
    return right / count


def _decode(path: str) -> torch.Tensor:
    """Return an image as a uint8 tensor (3, H, W)."""
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
