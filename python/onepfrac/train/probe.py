"""Linear probes of every block of a frozen timm model: settings, one pass over the images, probes, table and plot.

A probe is a multinomial logistic regression on the standardised features of one block. Early blocks are where weights
from one fractal are said to gain most, so a model with fresh weights is probed beside the trained one. Start it as
``onepfrac probe``.
"""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from torch.nn.functional import one_hot
from tqdm import tqdm

from onepfrac import __version__, files
from onepfrac.draws import Purpose, permutation
from onepfrac.train import checkpoint, machine, options
from onepfrac.train.bounded import bound_by
from onepfrac.train.images import Batches, Photographs, check_splits, load_splits, loader
from onepfrac.train.models import build_model, load_body, model_of
from onepfrac.train.options import setting

__all__ = ["STRENGTHS", "Outcome", "Probe", "Settings", "accuracy", "block_features", "fit", "probe"]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Strengths of the L2 penalty among which held-out training images choose."""

HELD_OUT = 0.2
"""Share of the training images on which the strength is chosen."""

ITERATIONS = 200


@dataclass(frozen=True)
class Settings:
    """Everything that decides the probes; the texts are those of ``--help``."""

    data: str = setting(
        "", "folder with train/CLASS/*.jpg and val/CLASS/*.jpg, or a dataset of timm, e.g. torch/cifar10", group="run"
    )
    weights: str = setting("", "safetensors file of the model; none: fresh weights alone are probed")
    random: bool = setting(True, "probe the same model with fresh weights as well")
    out: str = setting("runs/probe", "folder for result.json and probe.png")
    overwrite: bool = setting(False, "replace the result that the folder holds")
    seed: int = setting(0, "seed of the fresh weights and of the images that choose the penalty", high=2**64 - 1)

    model: str = setting("", "a model of timm; none: the one that the weights name", group="model")
    model_arg: tuple[str, ...] = setting((), "argument for the model, e.g. patch_size=4; may be repeated")
    pool: str = setting(
        "auto",
        "a block's features: its class token, the mean over all places, or what the model's classifier takes",
        choices=("auto", "token", "mean"),
    )

    data_root: str = setting(
        "", "folder of a dataset of timm; none: the working folder, or the cache of hfds and tfds", group="images"
    )
    download: bool = setting(False, "let timm download what is missing of its dataset")
    train_split: str = setting("", "name of the training images; none: train")
    val_split: str = setting("", "name of the validation images; none: val, validation or test")
    size: int = setting(0, "width and height of the images; 0: as the weights were trained, else 224")
    per_class: int = setting(0, "training images of each class, the first by name; 0: all")
    val_per_class: int = setting(0, "validation images of each class, the first by name; 0: all")
    batch_size: int = setting(256, "images that go through the model at once", low=1)
    workers: int = setting(0, "loader processes")

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")
    precision: str = setting(
        "auto", "of the model. auto: bfloat16 on CUDA, else float32", choices=("auto", "float32", "bfloat16", "float16")
    )

    def __post_init__(self) -> None:
        options.check(self)
        options.model_arguments(self.model_arg)
        for name in ("data", "out"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name a folder, got ''")
        if not (self.model or self.weights):
            raise ValueError("model must be given where no weights are that name one, got ''")
        if self.model_arg and not self.model:
            raise ValueError(f"model_arg goes with model, which is not given; got {self.model_arg}")
        if not (self.weights or self.random):
            raise ValueError("random must be on where no weights are given")


@dataclass(frozen=True)
class Outcome:
    """What `probe` found: names of the blocks, and for each set of weights a share of right answers a block."""

    blocks: tuple[str, ...]
    accuracies: dict[str, tuple[float, ...]]
    seconds: float
    result: Path
    plot: Path


@dataclass(frozen=True)
class Probe:
    """A linear classifier of features (n, d): ``(features - mean) / scale`` times ``weight`` (d, K), plus ``bias``."""

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor
    strength: float
    held_out: float  # share of the held-out training images that was right when the strength was chosen


def probe(settings: Settings) -> Outcome:
    """Probe all blocks of a model.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal, the weights do not fit, the model does not give its blocks' features, or a file
        cannot be read or written.
    """
    # ---- set-up ------------------------------------------------------------------------------------------------------
    out, device = Path(settings.out), machine.pick_device(settings.device)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must name a folder, got the file {out}")
    if (out / "result.json").exists() and not settings.overwrite:
        raise ValueError(f"out: {out} holds a result; give --overwrite to replace it, or another --out")
    body, info = checkpoint.read(settings.weights) if settings.weights else ({}, {})
    name, arguments, size = model_of(settings.model, settings.model_arg, settings.size, settings.weights, info)
    splits, counts = (settings.train_split, settings.val_split), (settings.per_class, settings.val_per_class)
    train, val = load_splits(settings.data, settings.data_root, settings.download, splits, counts)
    check_splits(train, val)
    if len(train) < 2:
        raise ValueError("train must hold at least 2 images, got 1")
    models: dict[str, torch.nn.Module] = {}
    for arm in ("weights", "random"):
        if settings.weights if arm == "weights" else settings.random:
            machine.seed_step(settings.seed, machine.INITIAL)
            # A model that the weights name, and not the user, may be as large as they are.
            bound = bound_by(body, len(train.classes), settings.size) if body and not settings.model else None
            model = build_model(name, len(train.classes), size, options.model_arguments(arguments), bound=bound)
            if arm == "weights":
                load_body(model, body, settings.weights)
            models[arm] = model.to(device).eval().requires_grad_(False)
    auto = "bfloat16" if device.type == "cuda" else "float32"
    precision = auto if settings.precision == "auto" else settings.precision
    cast = {"device_type": device.type, "dtype": getattr(torch, precision), "enabled": precision != "float32"}

    # ---- one pass over the images ------------------------------------------------------------------------------------
    clock = machine.Clock(device)
    features: dict[str, dict[str, dict[str, list[torch.Tensor]]]] = {}  # of a split, of an arm, of a block: batches
    labels: dict[str, torch.Tensor] = {}
    for split, images in (("train", train), ("val", val)):
        parts = features.setdefault(split, {arm: {} for arm in models})
        labels[split] = torch.tensor(images.labels, device=device)
        for batch in tqdm(_batches(images, size, settings, device), unit="batch", desc=split, disable=None):
            with torch.inference_mode(), torch.autocast(**cast):
                for arm, model in models.items():
                    for block, found in block_features(model, batch, settings.pool).items():
                        parts[arm].setdefault(block, []).append(found.float().cpu())

    # ---- probes ------------------------------------------------------------------------------------------------------
    blocks = tuple(next(iter(features["train"].values())))
    rows: list[dict[str, Any]] = []
    for arm in models:
        for block in tqdm(blocks, unit="probe", desc=arm, disable=None):
            x, x_val = (torch.cat(features[split][arm].pop(block)).to(device) for split in ("train", "val"))
            fitted = fit(x, labels["train"], len(train.classes), settings.seed)
            share = accuracy(fitted, x_val, labels["val"])
            row = {"model": arm, "block": block, "features": x.shape[1], "accuracy": share}
            rows.append({**row, "strength": fitted.strength, "held_out": fitted.held_out})

    # ---- end ---------------------------------------------------------------------------------------------------------
    outcome = Outcome(
        blocks=blocks,
        accuracies={arm: tuple(row["accuracy"] for row in rows if row["model"] == arm) for arm in models},
        seconds=clock.seconds(),
        result=out / "result.json",
        plot=out / "probe.png",
    )
    out.mkdir(parents=True, exist_ok=True)
    about: dict[str, Any] = {"settings": dataclasses.asdict(settings), "model": name, "model_arg": arguments}
    about |= {"size": size, "classes": train.classes, "images": [len(train), len(val)], "probes": rows}
    versions = {"onepfrac": __version__, "torch": torch.__version__, "timm": timm.__version__}
    result = {**about, "versions": versions, "device": machine.describe(device), **dataclasses.asdict(outcome)}
    _plot(outcome, len(train.classes))
    files.write_text(outcome.result, json.dumps(result, indent=2, default=str) + "\n")
    return outcome


def block_features(model: torch.nn.Module, images: torch.Tensor, pool: str = "auto") -> dict[str, torch.Tensor]:
    """Return the pooled features of every block of a timm model, and of the embedding before the first.

    Parameters
    ----------
    model
        A model with timm's ``forward_intermediates``.
    images
        Shape (B, 3, H, W).
    pool
        ``"token"``: the class token. ``"mean"``: the mean over all places. ``"auto"``: the class token if the model's
        classifier takes it. The embedding's is always a mean, because its class token is the same for all images.

    Returns
    -------
    A tensor (B, d) for each block, under timm's names, in order; the first is called ``embedding``, and left out where
    timm's own first block is the stem, or its end.

    Raises
    ------
    ValueError
        If the model does not give them, or no class token.
    """
    forward: Callable[..., Any] | None = getattr(model, "forward_intermediates", None)
    if forward is None:
        raise ValueError(f"model must have timm's forward_intermediates, got a {type(model).__name__}")
    names = [str(entry["module"]) for entry in getattr(model, "feature_info", [])]
    prefix = int(getattr(model, "num_prefix_tokens", 0))
    gives_token = prefix > 0 and getattr(model, "cls_token", None) is not None
    gives_token = gives_token and "return_prefix_tokens" in inspect.signature(forward).parameters
    if pool == "auto":
        pool = "token" if gives_token and getattr(model, "global_pool", "") == "token" else "mean"
    if pool == "token" and not gives_token:
        what = f"a {type(model).__name__} gives no class token for each block"
        raise ValueError(f"pool must be mean or auto, got 'token': {what}")
    tokens = {"return_prefix_tokens": True} if pool == "token" else {}
    with _inputs_of(model, names[0] if names else "") as received:
        found = forward(images, output_fmt="NCHW", intermediates_only=True, **tokens)
    if len(names) != len(found):
        names = [f"block {i}" for i in range(len(found))]
    features: dict[str, torch.Tensor] = {}
    if received:
        first = received[0]
        if first is images:  # a stem is the first block
            pass
        elif first.ndim == 3:
            features["embedding"] = first[:, prefix:].mean(1)
        elif first.ndim == 4:
            features["embedding"] = first.mean((1, 2) if getattr(model, "output_fmt", "NCHW") == "NHWC" else (2, 3))
    for name, value in zip(names, found, strict=True):
        features[name] = value[1][:, 0] if pool == "token" else value.mean((2, 3))
    return features


def fit(
    features: torch.Tensor,
    labels: torch.Tensor,
    num_classes: int,
    seed: int = 0,
    strengths: Sequence[float] = STRENGTHS,
) -> Probe:
    """Fit a multinomial logistic regression; the strength of its penalty is chosen on held-out training images.

    The mean cross entropy plus ``strength / 2 * |weight|^2`` is minimised for all strengths at once by Böhning's bound
    on its curvature ("Multinomial logistic regression algorithm", 1992) with Nesterov's momentum: a fifth of the
    images, drawn by ``seed``, then chooses the strength (of equals the greatest), and all images fit the result.

    Parameters
    ----------
    features
        Shape (n, d), n at least 2.
    labels
        int64 of shape (n,), in 0..num_classes-1.
    num_classes
        K.
    seed
        Decides which images are held out.
    strengths
        Strengths to choose from, in ascending order.
    """
    n = len(features)
    order = torch.from_numpy(permutation(seed, 0, n, Purpose.TRAIN)).to(features.device)
    held, kept = order[: max(1, round(HELD_OUT * n))], order[max(1, round(HELD_OUT * n)) :]
    mean, scale, weights, biases = _solve(features[kept], labels[kept], num_classes, strengths)
    logits = ((features[held] - mean) / scale) @ weights + biases[:, None]
    right = (logits.argmax(2) == labels[held]).float().mean(1).tolist()
    best = max(range(len(strengths)), key=lambda i: (right[i], i))
    mean, scale, weights, biases = _solve(features, labels, num_classes, strengths[best : best + 1])
    return Probe(mean, scale, weights[0], biases[0], strengths[best], right[best])


def accuracy(probe: Probe, features: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the share of ``features`` (n, d) whose likeliest class is the label."""
    logits = ((features - probe.mean) / probe.scale) @ probe.weight + probe.bias
    return float((logits.argmax(1) == labels).double().mean())


def _solve(
    features: torch.Tensor, labels: torch.Tensor, num_classes: int, strengths: Sequence[float]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return mean and scale (d,), weights (S, d, K) and biases (S, K) of the minima for all S strengths."""
    n, d = features.shape
    mean = features.mean(0)
    scale = features.std(0, correction=0)
    scale = torch.where(scale > 1e-6 * (1 + mean.abs()), scale, 1.0)  # what is constant tells nothing
    x = (features - mean) / scale
    # In the eigenbasis of the features' covariance, Böhning's bound on the Hessian, half of it, is diagonal.
    spread, basis = torch.linalg.eigh((x.T @ x).double() / n)
    z = torch.cat([x @ basis.to(x.dtype), torch.ones(n, 1, device=x.device)], dim=1)  # the last column is the bias's
    penalty = torch.tensor(strengths, device=x.device).repeat(d + 1, 1)[:, :, None]  # (d + 1, S, 1)
    penalty[-1] = 0
    spread = torch.cat([spread.clamp_min(0).to(x.dtype), torch.ones(1, device=x.device)])
    curvature = spread[:, None, None] / 2 + penalty
    targets = one_hot(labels, num_classes)[:, None]
    at = ahead = torch.zeros(d + 1, len(strengths), num_classes, device=x.device)
    age = torch.zeros(1, len(strengths), 1, device=x.device)
    for _ in range(ITERATIONS):
        wrong = torch.softmax((z @ ahead.flatten(1)).view(n, len(strengths), num_classes), dim=2) - targets
        slope = (z.T @ wrong.flatten(1)).view_as(at) / n + penalty * ahead
        moved = ahead - slope / curvature
        # Momentum starts anew where it leads uphill (O'Donoghue and Candès, 2015).
        age = torch.where((slope * (moved - at)).sum((0, 2), keepdim=True) > 0, 0.0, age + 1)
        ahead, at = moved + age / (age + 3) * (moved - at), moved
    weights = torch.einsum("de,esk->sdk", basis.to(x.dtype), at[:-1])
    return mean, scale, weights, at[-1]


def _batches(images: Photographs, size: int, settings: Settings, device: torch.device) -> Iterator[torch.Tensor]:
    rows = np.arange(len(images))
    parts = np.split(rows, range(settings.batch_size, len(rows), settings.batch_size))
    order = [(part, part.astype(np.uint64)) for part in parts]
    for batch, _ in loader(Batches(images, size), order, settings.workers, device):
        yield batch.to(device, non_blocking=True)


@contextmanager
def _inputs_of(model: torch.nn.Module, name: str) -> Iterator[list[torch.Tensor]]:
    """Collect what a module of the model receives; nothing where it has no parameters, as the end of a stem."""
    received: list[torch.Tensor] = []
    module = dict(model.named_modules()).get(name)
    if not name or module is None or not any(True for _ in module.parameters()):
        yield received
        return
    handle = module.register_forward_pre_hook(lambda _, inputs: received.append(inputs[0]))
    try:
        yield received
    finally:
        handle.remove()


def _plot(outcome: Outcome, num_classes: int) -> None:
    figure = Figure(figsize=(6, 4), dpi=150, layout="constrained")  # not pyplot, which keeps global state
    axes = figure.add_subplot()
    for arm, shares in outcome.accuracies.items():
        axes.plot(range(len(shares)), shares, "o-", label={"weights": "weights", "random": "fresh weights"}[arm])
    axes.axhline(1 / num_classes, color="gray", linestyle=":", label="by chance")
    axes.set_xticks(range(len(outcome.blocks)), outcome.blocks, rotation=45, ha="right")
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("accuracy of a linear probe")
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    files.write_bytes(outcome.plot, buffer.getvalue())
