"""Fine-tune a timm model on photographs, from weights or from scratch: settings, set-up, loop.

The defaults are those of Nakamura et al., ECCV 2024: SGD with momentum 0.9, learning rate 0.01 per 512 images, weight
decay 1e-4, batches of 768, 1000 epochs, a cosine. Start it as ``onepfrac finetune``, on eight devices as

    torchrun --nproc-per-node 8 -m onepfrac finetune --preset paper --weights FILE --data FOLDER

Every random choice of a step follows from (seed, step, rank), and of a sample from (seed, its number in the run), so
besides weights and optimizer a run's state is the step's number and what was counted since its epoch began.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from onepfrac import files
from onepfrac.draws import Purpose, permutation
from onepfrac.train import checkpoint, machine, options, parallel, run_folder
from onepfrac.train.bounded import bound_by
from onepfrac.train.images import Augment, Batches, Photographs, Wanted, check_splits, load_splits, loader
from onepfrac.train.models import build_model, load_body, model_of
from onepfrac.train.options import setting

__all__ = ["FREE", "PRESETS", "Outcome", "Settings", "finetune", "learning_rate", "resolve"]

CHECKPOINT, WEIGHTS = "checkpoint of onepfrac finetune, format 1", "weights of onepfrac finetune, format 1"


@dataclass(frozen=True)
class Settings:
    """Everything that decides a fine-tuning; the texts are those of ``--help``."""

    data: str = setting(
        "", "folder with train/CLASS/*.jpg and val/CLASS/*.jpg, or a dataset of timm, e.g. torch/cifar10", group="run"
    )
    weights: str = setting("", "safetensors file to start from; none: from scratch")
    out: str = setting("runs/finetune", "folder for weights.safetensors and result.json")
    resume: bool = setting(False, "go on from the folder's checkpoint, if there is one, with its settings")
    overwrite: bool = setting(False, "start anew in a folder that already holds a run")
    seed: int = setting(0, "seed of classifier, order, crops, mixup and drop path", high=2**64 - 1)
    evaluate_every: int = setting(0, "epochs between evaluations; 0: only at the end")
    save_every: int = setting(10, "epochs between checkpoints", low=1)
    minutes: float = setting(0.0, "stop with a checkpoint after so many minutes; 0: never")

    model: str = setting("", "a model of timm; none: the one that the weights name", group="model")
    model_arg: tuple[str, ...] = setting((), "argument for the model, e.g. patch_size=4; may be repeated")
    drop_path: float = setting(0.0, "rate of stochastic depth", high=1)

    data_root: str = setting(
        "", "folder of a dataset of timm; none: the working folder, or the cache of hfds and tfds", group="images"
    )
    download: bool = setting(False, "let timm download what is missing of its dataset")
    train_split: str = setting("", "name of the training images; none: train")
    val_split: str = setting("", "name of the validation images; none: val, validation or test")
    size: int = setting(0, "width and height of the images; 0: as the weights were trained, else 224")
    crop: float = setting(0.08, "least share of an image that RandomResizedCrop keeps", high=1)
    auto_augment: str = setting("", "policy of timm, e.g. rand-m9-mstd0.5-inc1")
    re_prob: float = setting(0.0, "probability of random erasing", high=1)
    per_class: int = setting(0, "training images of each class, the first by name; 0: all")
    val_per_class: int = setting(0, "validation images of each class, the first by name; 0: all")
    cache: bool = setting(False, "decode all images once, into memory")
    workers: int = setting(0, "loader processes")

    epochs: int = setting(1000, "passes over the training images", low=1, group="optimisation")
    batch_size: int = setting(768, "images a step, over all ranks", low=1)
    accumulate: int = setting(1, "parts in which a rank computes its share of a step, to save memory", low=1)
    optimizer: str = setting("sgd", "optimizer", choices=("sgd", "adamw"))
    lr: float = setting(0.01, "peak learning rate per 512 images: lr x batch size / 512 is used")
    warmup: float = setting(0.01, "share of the steps that warm up linearly", high=0.5)
    momentum: float = setting(0.9, "momentum of SGD, which is timm's, with Nesterov's look ahead", high=1)
    weight_decay: float = setting(1e-4, "weight decay; none on biases, norms and embeddings")
    layer_decay: float = setting(1.0, "factor of the learning rate from a block to the one before it", high=1)
    clip_grad: float = setting(0.0, "greatest norm of a step's gradient; 0: any")
    smoothing: float = setting(0.0, "label smoothing", high=1)
    mixup: float = setting(0.0, "alpha of mixup; 0: none")
    cutmix: float = setting(0.0, "alpha of cutmix; 0: none")
    mix_prob: float = setting(1.0, "probability that a batch is mixed", high=1)
    mix_switch: float = setting(0.5, "probability of cutmix where both are on", high=1)

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")
    precision: str = setting(
        "auto",
        "auto: bfloat16 on CUDA, else float32; float16 scales the loss",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    compile: bool = setting(False, "torch.compile the model")

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
        if self.optimizer == "sgd" and self.momentum == 0:
            raise ValueError("momentum must be more than 0 with optimizer sgd, got 0.0")
        if self.layer_decay == 0:
            raise ValueError("layer_decay must be more than 0, got 0.0")

    @property
    def mixes(self) -> bool:
        """Whether mixup or cutmix is on."""
        return self.mix_prob > 0 and (self.mixup > 0 or self.cutmix > 0)


# What may differ when a run is resumed: it does not enter the arithmetic of a step. On another device or number of
# ranks the run goes on, but no longer to the same bits.
FREE = {"out", "resume", "overwrite", "save_every", "evaluate_every", "minutes", "data_root", "download", "cache"}
FREE |= {"workers", "device", "compile"}
FIXED = sorted({field.name for field in dataclasses.fields(Settings)} - FREE)

# fmt: off
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {  # 1000 images: the model of pretrain's preset quick
        "out": "runs/finetune-quick", "overwrite": True, "epochs": 20, "evaluate_every": 5,
        "model": "vit_tiny_patch16_224", "model_arg": ("patch_size=4", "embed_dim=96", "depth=4", "num_heads=3"),
        "size": 32, "per_class": 100, "val_per_class": 100, "cache": True, "crop": 0.5,
        "batch_size": 64, "optimizer": "adamw", "lr": 8e-3, "weight_decay": 0.05, "warmup": 0.05,
    },
    "paper": {  # as in the paper, with DeiT's augmentation; written out so that the name keeps its meaning
        "out": "runs/finetune-paper", "epochs": 1000, "evaluate_every": 50,
        "drop_path": 0.1, "size": 224, "crop": 0.08, "auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.25,
        "batch_size": 768, "optimizer": "sgd", "momentum": 0.9, "lr": 0.01, "weight_decay": 1e-4, "warmup": 0.01,
        "smoothing": 0.1, "mixup": 0.8, "cutmix": 1.0, "mix_prob": 1.0, "mix_switch": 0.5,
    },
}
# fmt: on


@dataclass(frozen=True)
class Outcome:
    """What `finetune` did.

    ``accuracies`` holds (epoch, share of validation images that are right); ``accuracy`` is the last of them, ``top5``
    the share whose class is among the five likeliest (None with fewer than five classes), NaN and None before the
    first evaluation. ``train_loss`` is the mean over the last epoch. ``signal`` is the signal that ended the call, or
    0. ``steps`` counts from the beginning of the run, ``seconds`` over all its calls.
    """

    accuracy: float
    top5: float | None
    accuracies: tuple[tuple[int, float], ...]
    train_loss: float
    steps: int
    finished: bool
    signal: int
    seconds: float
    weights: Path


def learning_rate(settings: Settings, step: int, steps: int) -> float:
    """Return the rate of one of ``steps`` steps: linear warm-up to ``lr x batch size / 512``, then a cosine to 0."""
    peak, warmup = settings.lr * settings.batch_size / 512, math.ceil(settings.warmup * steps)
    if step < warmup:
        return peak * (step + 1) / warmup
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))


def resolve(given: dict[str, Any], preset: str | None = None) -> Settings:
    """Complete ``given`` settings by a preset's, else on ``resume`` by the checkpoint's, else by the defaults."""
    base = dict(PRESETS[preset]) if preset else {}
    if "out" in given:  # a preset may only write over its own folder
        base.pop("overwrite", None)
    if "weights" in given or "model" in given:
        for name in ("model", "model_arg"):
            base.pop(name, None)
    out = Path(given.get("out", Settings.out))
    if given.get("resume") and not preset and (info := _find_state(out)[0]):
        saved = dataclasses.asdict(options.from_json(Settings, info["settings"], str(out)))
        base = saved | {"resume": False, "overwrite": False, "minutes": 0.0}
    return Settings(**(base | given))


def finetune(settings: Settings, train: Photographs | None = None, val: Photographs | None = None) -> Outcome:
    """Fine-tune and evaluate, or go on with it; under ``torchrun`` every rank calls it.

    Parameters
    ----------
    settings
        What to do.
    train, val
        Images to use in place of those in ``settings.data``.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal, the weights do not fit, the folder holds another run or a broken checkpoint, or a
        file cannot be read or written.
    FloatingPointError
        If the loss is no longer finite; the last checkpoint stays.
    """
    # ---- set-up ------------------------------------------------------------------------------------------------------
    rank, world = parallel.place()
    out, device = Path(settings.out), machine.pick_device(settings.device)
    even = 2 if settings.mixes else 1  # timm's mixup pairs images
    if settings.batch_size % (multiple := world * settings.accumulate * even):
        raise ValueError(
            f"batch_size must be a multiple of {multiple} with {world} rank(s), {settings.accumulate} part(s) a step"
            f"{' and mixup' if settings.mixes else ''}, got {settings.batch_size}"
        )
    if settings.download and world > 1:
        raise ValueError("download must be off with several ranks, which would all write; let one process download")
    done, saved, info = _find_run(settings)
    if done is not None:
        if rank == 0:
            _tidy(out)
        return done
    body, source = checkpoint.read(settings.weights) if settings.weights and not info else ({}, info)
    name, arguments, size = model_of(settings.model, settings.model_arg, settings.size, settings.weights, source)
    if train is None or val is None:  # before there is a process group, which readers of timm would split images by
        splits, counts = (settings.train_split, settings.val_split), (settings.per_class, settings.val_per_class)
        loaded = load_splits(settings.data, settings.data_root, settings.download, splits, counts, settings.cache)
        train, val = (loaded[0] if train is None else train), (loaded[1] if val is None else val)
    check_splits(train, val)
    if settings.batch_size > len(train):
        raise ValueError(f"batch_size must be at most the {len(train)} training images, got {settings.batch_size}")
    about: dict[str, Any] = {"settings": dataclasses.asdict(settings), "model": name, "model_arg": list(arguments)}
    about |= {"size": size, "classes": list(train.classes), "images": [len(train), len(val)]}
    if info and [info["classes"], info["images"]] != [about["classes"], about["images"]]:
        raise ValueError(f"data: {settings.data} no longer holds the classes and numbers of images of the run in {out}")
    augment = Augment(settings.crop, settings.auto_augment, settings.re_prob)
    batches, steps_of_epoch = Batches(train, size, augment, settings.seed), len(train) // settings.batch_size
    steps, start = settings.epochs * steps_of_epoch, int(info.get("step", 0))
    if not 0 <= start <= steps:
        raise ValueError(f"{out / 'checkpoint.safetensors'} must hold a step in 1..{steps}, got {start}")

    begun = parallel.begin(device)
    parallel.same_everywhere("the step to go on from", start)
    machine.seed_step(settings.seed, machine.INITIAL)
    # A model that the weights name, and not the user, may be as large as they are.
    bound = None if settings.model else bound_by(body or saved, len(train.classes), settings.size)
    model = build_model(name, len(train.classes), size, options.model_arguments(arguments), settings.drop_path, bound)
    if body:
        load_body(model, body, settings.weights)
    model = model.to(device).train()
    optimizer = create_optimizer_v2(
        model,
        settings.optimizer,
        lr=settings.lr,
        weight_decay=settings.weight_decay,
        momentum=settings.momentum,
        layer_decay=settings.layer_decay if settings.layer_decay < 1 else None,
    )
    auto = "bfloat16" if device.type == "cuda" else "float32"
    precision = auto if settings.precision == "auto" else settings.precision
    cast = {"device_type": device.type, "dtype": getattr(torch, precision), "enabled": precision != "float32"}
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    if saved:
        checkpoint.restore(model, optimizer, saved)
        saved.clear()
        scaler.load_state_dict(info["scaler"])
    net = parallel.wrap(model, device, "ddp")
    if settings.compile:
        net = torch.compile(net)  # type: ignore[assignment]
    alphas = {"mixup_alpha": settings.mixup, "cutmix_alpha": settings.cutmix}
    rates = {"prob": settings.mix_prob, "switch_prob": settings.mix_switch, "label_smoothing": settings.smoothing}
    mix = Mixup(**alphas, **rates, num_classes=len(train.classes)) if settings.mixes else None
    if rank == 0:
        # Nothing of an earlier run may be taken for this one's.
        for old in ("result.json", run_folder.OLDER, run_folder.CHECKPOINT) if start == 0 else ():
            (out / old).unlink(missing_ok=True)
        run_folder.settle(out, start)

    # ---- loop --------------------------------------------------------------------------------------------------------
    clock, step, stop = machine.Clock(device), start, False
    accuracies: list[list[float]] = info.get("accuracies", [])
    top5: float | None = info.get("top5")
    total = torch.tensor(info.get("loss_sum", 0.0), device=device)  # of the parts of the epoch so far
    mean_loss, seconds_before = math.nan, info.get("seconds", 0.0)
    vote = parallel.Vote()
    bar = tqdm(total=steps, initial=start, unit="step", dynamic_ncols=True, disable=None if rank == 0 else True)
    with machine.signals() as asked:
        parts = iter(loader(batches, _order(settings, len(train), start, rank, world), settings.workers, device))
        while step < steps and not stop:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step, steps) * group.get("lr_scale", 1.0)
            for part in range(settings.accumulate):
                images, labels = (tensor.to(device, non_blocking=True) for tensor in next(parts))
                machine.seed_step(settings.seed, (step * settings.accumulate + part) * world + rank)
                targets = labels
                if mix is not None:
                    images, targets = mix(images, labels)  # soft targets, smoothed
                with parallel.without_sync(net, part + 1 < settings.accumulate):
                    with torch.autocast(**cast):
                        logits = net(images)
                    loss = cross_entropy(logits.float(), targets, label_smoothing=0.0 if mix else settings.smoothing)
                    scaler.scale(loss / settings.accumulate).backward()
                total += loss.detach() / settings.accumulate
            if settings.clip_grad:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            step += 1
            bar.update()

            ends = step % steps_of_epoch == 0
            late = 0 < 60 * settings.minutes < clock.seconds()
            stop = vote.stop(bool(asked) or late)
            if not (ends or stop):
                continue
            parallel.total(total)
            total /= world
            epoch, counted = -(-step // steps_of_epoch), (step - 1) % steps_of_epoch + 1
            mean_loss = total.item() / counted
            if not math.isfinite(mean_loss):
                raise FloatingPointError(f"the loss is {mean_loss} in epoch {epoch}; try a lower lr")
            if ends:
                total.zero_()
                if step == steps or (settings.evaluate_every and epoch % settings.evaluate_every == 0):
                    accuracy, top5 = _evaluate(model, val, size, settings, device, cast)
                    accuracies.append([epoch, accuracy])
                    text = f"loss {mean_loss:.3f}, accuracy {accuracy:.1%}"
                    bar.set_postfix_str(text)
                    if settings.evaluate_every and bar.disable and rank == 0:  # not a terminal
                        print(f"epoch {epoch}: {text}", flush=True)
            if rank == 0 and step < steps and (stop or epoch % settings.save_every == 0):
                out.mkdir(parents=True, exist_ok=True)
                state: dict[str, Any] = {"step": step, "loss_sum": total.item(), "accuracies": accuracies, "top5": top5}
                state |= {"seconds": seconds_before + clock.seconds(), "scaler": scaler.state_dict()}
                tensors = checkpoint.training_state(model, optimizer)
                run_folder.write_checkpoint(out, tensors, {"kind": CHECKPOINT, **state, **about})
    bar.close()
    vote.close()

    # ---- end ---------------------------------------------------------------------------------------------------------
    outcome = Outcome(
        accuracy=accuracies[-1][1] if accuracies else math.nan,
        top5=top5,
        accuracies=tuple((int(epoch), accuracy) for epoch, accuracy in accuracies),
        train_loss=mean_loss,
        steps=step,
        finished=step == steps,
        signal=asked[0] if asked else 0,
        seconds=seconds_before + clock.seconds(),
        weights=out / "weights.safetensors",
    )
    if outcome.finished and rank == 0:
        out.mkdir(parents=True, exist_ok=True)
        checkpoint.write(outcome.weights, model.state_dict(), {"kind": WEIGHTS, **about})
        about |= {"versions": run_folder.versions(), "ranks": world, "device": machine.describe(device)}
        result = {**about, **dataclasses.asdict(outcome)}
        files.write_text(out / "result.json", json.dumps(result, indent=2, default=str) + "\n")
        _tidy(out)
    parallel.end(begun)
    return outcome


def _tidy(out: Path) -> None:
    """Remove the checkpoints of a finished run, and what killed processes left."""
    run_folder.drop_older_checkpoint(out)
    (out / run_folder.CHECKPOINT).unlink(missing_ok=True)
    run_folder.settle(out, 0)


def _order(settings: Settings, images: int, start: int, rank: int, world: int) -> Iterator[Wanted]:
    """Yield what the parts of a rank's steps hold, from step ``start`` on; all ranks together see each image once."""
    steps_of_epoch = images // settings.batch_size
    slots = np.arange(settings.batch_size).reshape(settings.accumulate, world, -1)[:, rank]
    for epoch in range(start // steps_of_epoch, settings.epochs):
        order = permutation(settings.seed, 2**63 + epoch, images, Purpose.TRAIN)
        for step in range(max(start - epoch * steps_of_epoch, 0), steps_of_epoch):
            for part in slots + step * settings.batch_size:
                yield order[part], (part + epoch * images).astype(np.uint64)


def _evaluate(
    model: torch.nn.Module,
    val: Photographs,
    size: int,
    settings: Settings,
    device: torch.device,
    cast: dict[str, Any],
) -> tuple[float, float | None]:
    """Return the shares of images whose class is the likeliest, and among the five likeliest of five or more."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    rows = np.arange(rank, len(val), world)
    share = settings.batch_size // (world * settings.accumulate)
    order = [(part, part.astype(np.uint64)) for part in np.split(rows, range(share, len(rows), share))]
    right = torch.zeros(2, dtype=torch.int64, device=device)
    if world > 1:
        for buffer in model.buffers():  # a batch norm's statistics are those of rank 0
            dist.broadcast(buffer, 0)
    model.eval()
    with torch.inference_mode(), torch.autocast(**cast):
        for images, labels in loader(Batches(val, size), order, settings.workers, device):
            likeliest = model(images.to(device, non_blocking=True)).float().topk(min(5, len(val.classes))).indices
            hits = likeliest == labels.to(device)[:, None]
            right += torch.stack([hits[:, 0].sum(), hits.sum()])
    model.train()
    if world > 1:
        dist.all_reduce(right)
    top1, top5 = (right / len(val)).tolist()
    return top1, top5 if len(val.classes) >= 5 else None


def _find_state(out: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], bool]:
    """Return what stands about a run in its folder, if one is there, its tensors, and whether it is finished."""
    if (out / "result.json").exists():
        return files.read_json_object(out / "result.json"), {}, True
    found = run_folder.read_checkpoint(out)
    if found is None:
        return {}, {}, False
    path, tensors, info = found
    if info.get("kind") != CHECKPOINT:
        raise ValueError(f"{path} must be a {CHECKPOINT}, but is {info.get('kind', 'of another program')!r:.80}")
    return info, tensors, False


def _find_run(settings: Settings) -> tuple[Outcome | None, dict[str, torch.Tensor], dict[str, Any]]:
    """Return what a finished run came to, or tensors and state of a checkpoint; refuse what does not belong here."""
    out = Path(settings.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must name a folder, got the file {out}")
    info, tensors, finished = _find_state(out) if settings.resume else ({}, {}, False)
    if not info:
        if settings.resume and _wrote_weights(settings):
            return None, {}, {}
        for name, what in (("result", "a result"), ("checkpoint*", "a checkpoint"), ("weights", "weights")):
            if any(out.glob(f"{name}.*")) and not settings.overwrite:
                raise ValueError(
                    f"out: {out} holds {what}; give --overwrite to replace it, --resume to go on, or another --out"
                )
        return None, {}, {}
    saved = options.from_json(Settings, info["settings"], str(out))
    for name in FIXED:
        if getattr(saved, name) != getattr(settings, name):
            is_, was = getattr(settings, name), getattr(saved, name)
            raise ValueError(f"{name} must stay {was!r} to go on from the run in {out}, got {is_!r}")
    if not finished:
        return None, tensors, info
    values = {field.name: info[field.name] for field in dataclasses.fields(Outcome)}
    values |= {"accuracies": tuple((epoch, share) for epoch, share in info["accuracies"])}
    return Outcome(**{**values, "weights": out / "weights.safetensors"}), {}, {}


def _wrote_weights(settings: Settings) -> bool:
    """Return whether a run of these settings wrote the folder's weights, and was killed before it wrote its result.

    One that ended before its first checkpoint is not there to go on from: it begins anew, to the same weights.
    """
    path = Path(settings.out, "weights.safetensors")
    if not path.exists():
        return False
    try:
        info = checkpoint.read_info(path)
        saved = options.from_json(Settings, info["settings"], str(path)) if info.get("kind") == WEIGHTS else None
    except (KeyError, TypeError, ValueError):  # another program's
        return False
    return saved is not None and all(getattr(saved, name) == getattr(settings, name) for name in FIXED)
