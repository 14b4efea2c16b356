"""Pre-train a timm model on a stream: settings, set-up, loop. Start it as ``onepfrac pretrain``, on eight devices as

    torchrun --nproc-per-node 8 -m onepfrac pretrain --preset paper

The loss is LPCE, the cross entropy over the L perturbations of one fractal (Nakamura et al., ECCV 2024). Every random
choice of a step follows from (seed, step, rank), so besides weights and optimizer a run's state is the step's number.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
import torch.distributed as dist
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from onepfrac import __version__, contact_sheet, files
from onepfrac.augment import resolve_policy
from onepfrac.datasets import OnePFrac, Recipe, recipe_of
from onepfrac.train import checkpoint, machine, options
from onepfrac.train.models import build_model
from onepfrac.train.options import setting

__all__ = ["FREE", "PRESETS", "Outcome", "Settings", "build_recipe", "learning_rate", "pretrain", "resolve"]


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run. The defaults are the paper's; the texts are those of ``--help``."""

    out: str = setting("runs/pretrain", "folder for all that the run writes", group="run")
    steps: int = setting(312_500, "steps; the paper has 80 000 epochs of 1000 images in batches of 256", low=1)
    seed: int = setting(0, "seed of weights, mixup and drop path", high=2**64 - 1)
    resume: bool = setting(False, "go on from the folder's checkpoint, if there is one, with its settings")
    overwrite: bool = setting(False, "start anew in a folder that already holds a run")
    save_every: int = setting(1000, "steps between checkpoints", low=1)
    keep_every: int = setting(0, "steps between weights kept as weights-STEP.safetensors; 0: only the last are kept")
    log_every: int = setting(50, "steps between log entries", low=1)
    minutes: float = setting(0.0, "stop with a checkpoint after so many minutes; 0: never")
    sheet: int = setting(40, "classes on the contact sheet classes.png; 0: no sheet")

    recipe: str = setting(
        "", "JSON file of a recipe, or NAME:field=value,..., in place of this group's other options", group="dataset"
    )
    sigma: float = setting(3.5, "sigma-factor of the fractal")
    delta: float = setting(0.1, "size of the perturbation epsilon")
    num_classes: int = setting(1000, "L, the number of perturbations", low=1)
    data_seed: int = setting(0, "seed of the dataset", high=2**64 - 1)
    num_maps: int = setting(2, "N, maps of the fractal", low=1)
    mode: str = setting("additive", "how epsilon is applied", choices=("additive", "multiplicative"))
    points: int = setting(100_000, "points of an image", low=1)
    canvas: int = setting(512, "width and height of the canvas in pixels", low=8)
    pad: int = setting(6, "free border of the canvas in pixels")
    brush: str = setting("patch", "what one point inks", choices=("point", "fill", "patch", "patch_fixed"))
    min_inked: float = setting(0.05, "an epsilon whose image inks no more than this share is drawn again", high=1)

    size: int = setting(224, "width and height of the training images", low=8, group="stream")
    augment: str = setting(
        "deit", "augmentation: none, crop and flips, DeiT's recipe", choices=("none", "crop-flip", "deit")
    )
    crop: bool = setting(True, "crop at random; without, augmentation sees the whole canvas (an ablation of the paper)")
    draws: str = setting("fixed", "one image a class for ever, or a new one each time", choices=("fixed", "fresh"))
    workers: int = setting(0, "loader processes drawing on the CPU; 0: the training process draws, on its device")
    threads: int = setting(0, "threads of the CPU renderer; 0: all cores, or one in each loader process")

    model: str = setting("vit_tiny_patch16_224", "a model of timm", group="model")
    model_arg: tuple[str, ...] = setting((), "argument for the model, e.g. patch_size=4; may be repeated")
    drop_path: float = setting(0.1, "rate of stochastic depth", high=1)

    batch_size: int = setting(256, "images a step, over all ranks", low=1, group="optimisation (AdamW)")
    lr: float = setting(1e-3, "peak learning rate per 512 images: lr x batch size / 512 is used")
    min_lr: float = setting(1e-5, "learning rate at the end of the cosine")
    warmup: int = setting(5000, "steps of linear warm-up")
    weight_decay: float = setting(0.05, "weight decay; none on biases, norms and embeddings")
    smoothing: float = setting(0.1, "label smoothing", high=1)
    mixup: float = setting(0.8, "alpha of mixup; 0: none")
    cutmix: float = setting(1.0, "alpha of cutmix; 0: none")
    mix_prob: float = setting(1.0, "probability that a batch is mixed", high=1)
    mix_switch: float = setting(0.5, "probability of cutmix where both are on", high=1)

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")
    precision: str = setting("auto", "auto: bfloat16 on CUDA, else float32", choices=("auto", "float32", "bfloat16"))
    compile: bool = setting(False, "torch.compile the model")
    deterministic: bool = setting(False, "deterministic CUDA kernels, so that resuming is exact there too")

    def __post_init__(self) -> None:
        options.check(self)
        options.model_arguments(self.model_arg)
        if self.warmup >= self.steps:
            raise ValueError(f"warmup must be less than steps ({self.steps}), got {self.warmup}")
        if not self.out:
            raise ValueError("out must name a folder, got ''")

    @property
    def mixes(self) -> bool:
        """Whether mixup or cutmix is on."""
        return self.mix_prob > 0 and (self.mixup > 0 or self.cutmix > 0)


# What may differ when a run is resumed: it does not enter the arithmetic of a step (the recipe's content does, and is
# compared by its fingerprint). On another device or number of ranks the run goes on, but no longer to the same bits.
FREE = {"out", "resume", "overwrite", "save_every", "keep_every", "log_every", "minutes", "sheet", "recipe"}
FREE |= {"workers", "threads", "device", "compile", "deterministic"}

# fmt: off
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {  # under two minutes on two CPU cores: a small ViT learns to tell 100 perturbations of one fractal apart
        "out": "runs/quick", "overwrite": True, "steps": 500, "save_every": 250, "log_every": 25,
        "delta": 0.2, "num_classes": 100, "points": 30_000, "canvas": 256, "size": 32, "augment": "crop-flip",
        "model_arg": ("patch_size=4", "embed_dim=96", "depth=4", "num_heads=3"), "drop_path": 0.0,
        "batch_size": 64, "lr": 2e-3, "warmup": 50, "smoothing": 0.0, "mixup": 0.0, "cutmix": 0.0,
    },
    "paper": {  # ViT-Tiny as in the paper; written out so that the name keeps its meaning
        "out": "runs/paper", "steps": 312_500,
        "sigma": 3.5, "delta": 0.1, "num_classes": 1000, "num_maps": 2, "mode": "additive", "points": 100_000,
        "canvas": 512, "pad": 6, "brush": "patch", "min_inked": 0.05,
        "size": 224, "augment": "deit", "crop": True, "draws": "fixed",
        "model": "vit_tiny_patch16_224", "drop_path": 0.1,
        "batch_size": 256, "lr": 1e-3, "min_lr": 1e-5, "warmup": 5000, "weight_decay": 0.05, "smoothing": 0.1,
        "mixup": 0.8, "cutmix": 1.0, "mix_prob": 1.0, "mix_switch": 0.5,
    },
}
# fmt: on


@dataclass(frozen=True)
class Outcome:
    """What a call of `pretrain` did.

    ``step`` counts from the beginning of the run. Losses and accuracies are means over the steps of the call's first
    and last log entry (NaN where it made no step); accuracy is the share of images whose heaviest label wins.
    ``waiting`` is the share of time spent waiting for data; ``signal`` the signal that ended the call, or 0.
    """

    step: int
    finished: bool
    signal: int
    first_loss: float
    first_accuracy: float
    last_loss: float
    last_accuracy: float
    seconds: float
    images_per_second: float
    waiting: float
    weights: Path


def learning_rate(settings: Settings, step: int) -> float:
    """Return the learning rate of a step: linear warm-up to ``lr x batch size / 512``, then a cosine to ``min_lr``."""
    peak = settings.lr * settings.batch_size / 512
    if step < settings.warmup:
        return peak * (step + 1) / settings.warmup
    done = (step - settings.warmup) / (settings.steps - settings.warmup)
    return settings.min_lr + (peak - settings.min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def build_recipe(settings: Settings) -> Recipe:
    """Return the recipe that the settings name or describe."""
    if settings.recipe:
        recipe = recipe_of(settings.recipe)
        if recipe.multi_label:
            raise ValueError(
                f"recipe must have one label an image, got {recipe.dataset}, whose images show several classes"
            )
        return recipe
    names = [field.name for field in dataclasses.fields(OnePFrac) if field.name != "seed"]
    return OnePFrac(seed=settings.data_seed, **{name: getattr(settings, name) for name in names})


def resolve(given: dict[str, Any], preset: str | None = None) -> Settings:
    """Complete ``given`` settings by a preset's, else on ``resume`` by the checkpoint's, else by the defaults."""
    dataset = {name for name, group in options.groups(Settings).items() if group == "dataset"} - {"recipe"}
    if given.get("recipe") and (twice := sorted(dataset & given.keys())):
        raise ValueError(f"recipe {given['recipe']} already says {', '.join(twice)}; give one or the other")
    base = dict(PRESETS[preset]) if preset else {}
    if "out" in given:  # a preset may only write over its own folder
        base.pop("overwrite", None)
    path = Path(given.get("out", Settings.out)) / "checkpoint.safetensors"
    if given.get("resume") and not preset and path.exists():
        base = dataclasses.asdict(_saved_settings(path)) | {"resume": False, "overwrite": False, "minutes": 0.0}
    return Settings(**(base | given))


def pretrain(settings: Settings) -> Outcome:
    """Run or resume a pre-training; under ``torchrun`` every rank calls it.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal, the folder holds another run or a broken checkpoint, or a file cannot be written.
    FloatingPointError
        If the loss is no longer finite; the last checkpoint stays.
    """
    # ---- set-up --------------------------------------------------------------------------------------------------
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    share, even = settings.batch_size // world, 2 if settings.mixes else 1  # timm's mixup pairs images
    if settings.batch_size % (world * even):
        raise ValueError(
            f"batch_size must be a multiple of {world * even} with {world} rank(s)"
            f"{' and mixup' if settings.mixes else ''}, got {settings.batch_size}"
        )
    device = machine.pick_device(settings.device)
    recipe = build_recipe(settings)
    out = Path(settings.out)
    start, saved = _find_checkpoint(settings, recipe)  # refused, if it must be, before anything is written
    own_group = world > 1 and not dist.is_initialized()
    if own_group:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)

    machine.seed_step(settings.seed, machine.INITIAL)
    model = build_model(
        settings.model,
        recipe.num_classes,
        settings.size,
        options.model_arguments(settings.model_arg),
        settings.drop_path,
    )
    model = model.to(device).train()
    optimizer = create_optimizer_v2(model, opt="adamw", lr=settings.lr, weight_decay=settings.weight_decay)
    if saved:
        checkpoint.restore(model, optimizer, saved)
        saved.clear()
    net = model
    if world > 1:
        net = DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    if settings.compile:
        net = torch.compile(net)  # type: ignore[assignment]
    auto = "bfloat16" if device.type == "cuda" else "float32"
    precision = auto if settings.precision == "auto" else settings.precision
    alphas = {"mixup_alpha": settings.mixup, "cutmix_alpha": settings.cutmix}
    rates = {"prob": settings.mix_prob, "switch_prob": settings.mix_switch, "label_smoothing": settings.smoothing}
    mix = Mixup(**alphas, **rates, num_classes=recipe.num_classes) if settings.mixes else None

    policy = resolve_policy(None if settings.augment == "none" else settings.augment)
    stream = recipe.stream(
        batch_size=share,
        size=settings.size,
        augment=policy and dataclasses.replace(policy, crop=settings.crop),
        device="cpu" if settings.workers else device,
        draws=settings.draws,
        threads=settings.threads or (1 if settings.workers else None),
        rank=rank,
        world_size=world,
    )
    stream.load_state_dict(stream.state_at(start * settings.batch_size))
    loader: Iterable[tuple[torch.Tensor, torch.Tensor]] = stream
    if settings.workers:
        pinned = device.type == "cuda"
        quiet = machine.ignore_signals
        loader = DataLoader(
            stream, batch_size=None, num_workers=settings.workers, pin_memory=pinned, worker_init_fn=quiet
        )

    writer = None
    if rank == 0:
        _begin_folder(settings, recipe, start, world, device)
        writer = SummaryWriter(str(out / "tensorboard"), purge_step=start + 1)
        size, classes = sum(parameter.numel() for parameter in model.parameters()), recipe.num_classes
        print(f"{settings.model}, {size / 1e6:.2f} M parameters, {precision}, {world} x {machine.describe(device)}")
        print(f"{classes} classes, recipe {recipe.fingerprint}; by chance: loss {math.log(classes):.3f}", end="")
        print(
            f", accuracy {1 / classes:.2%}\nsteps {start} to {settings.steps} of {settings.batch_size} images",
            flush=True,
        )
    info = {"settings": dataclasses.asdict(settings), "recipe": json.loads(recipe.to_json())}
    info |= {"fingerprint": recipe.fingerprint}

    # ---- loop ----------------------------------------------------------------------------------------------------
    step, counted, stop = start, 0, False
    totals = torch.zeros(3, device=device)  # since the last log entry: loss, share of right answers; wish to stop
    first = last = (math.nan, math.nan)
    clock, waited = machine.Clock(device), 0.0
    bar = tqdm(
        total=settings.steps, initial=start, unit="step", dynamic_ncols=True, disable=None if rank == 0 else True
    )
    with machine.signals() as asked:
        batches = iter(loader)
        while step < settings.steps and not stop:
            machine.seed_step(settings.seed, step * world + rank)
            with clock.waiting():
                images, labels = (tensor.to(device, non_blocking=True) for tensor in next(batches))
            targets = labels
            if mix is not None:
                images, targets = mix(images, labels)  # soft targets, smoothed
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16"):
                logits = net(images)
            loss = cross_entropy(logits.float(), targets, label_smoothing=0.0 if mix else settings.smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, counted = step + 1, counted + 1
            right = logits.detach().argmax(1) == (targets.argmax(1) if mix else targets)
            totals[:2] += torch.stack([loss.detach(), right.float().mean()])
            bar.update()

            late = 0 < 60 * settings.minutes < clock.seconds()
            ends, saves = step == settings.steps, step % settings.save_every == 0
            keeps = settings.keep_every > 0 and step % settings.keep_every == 0
            if not (ends or saves or keeps or step % settings.log_every == 0) and (world > 1 or not (asked or late)):
                continue  # several ranks agree on stopping only where they wait for each other anyway
            totals[2] += float(bool(asked) or late)
            if world > 1:
                dist.all_reduce(totals)
                totals[:2] /= world
            loss_sum, right_sum, stops = totals.tolist()
            last, stop = (loss_sum / counted, right_sum / counted), stops > 0
            if not math.isfinite(last[0]):
                raise FloatingPointError(f"the loss is {last[0]} by step {step}; try a lower lr or a longer warmup")
            first = last if math.isnan(first[0]) else first
            seconds, waiting = clock.lap()
            speed, waited = counted * settings.batch_size / seconds, waited + waiting
            totals.zero_()
            counted = 0
            if writer is None:
                continue
            text = f"loss {last[0]:.3f}, accuracy {last[1]:.1%}, {speed:.0f} images/s, waiting {waiting / seconds:.1%}"
            bar.set_postfix_str(text)
            if bar.disable:  # not a terminal
                print(f"step {step}: {text}", flush=True)
            entry = {"train/loss": last[0], "train/accuracy": last[1], "train/lr": learning_rate(settings, step - 1)}
            entry |= {"speed/images_per_second": speed, "speed/waiting_for_data": waiting / seconds}
            for name, value in entry.items():
                writer.add_scalar(name, value, step)
            if keeps:
                of_step = {"kind": WEIGHTS, "step": step, **info}
                checkpoint.write(out / f"weights-{step:07d}.safetensors", model.state_dict(), of_step)
            if saves or ends or stop:
                state = checkpoint.training_state(model, optimizer)
                checkpoint.write(out / "checkpoint.safetensors", state, {"kind": CHECKPOINT, "step": step, **info})
    bar.close()

    # ---- end -----------------------------------------------------------------------------------------------------
    if writer is not None:
        writer.close()
        if step == settings.steps:
            checkpoint.write(out / "weights.safetensors", model.state_dict(), {"kind": WEIGHTS, "step": step, **info})
    if own_group:
        dist.barrier()
        dist.destroy_process_group()
    seconds = clock.seconds()
    return Outcome(
        step=step,
        finished=step == settings.steps,
        signal=asked[0] if asked else 0,
        first_loss=first[0],
        first_accuracy=first[1],
        last_loss=last[0],
        last_accuracy=last[1],
        seconds=seconds,
        images_per_second=(step - start) * settings.batch_size / seconds,
        waiting=waited / seconds,
        weights=out / "weights.safetensors",
    )


CHECKPOINT, WEIGHTS = "checkpoint of onepfrac pretrain, format 1", "weights of onepfrac pretrain, format 1"


def _saved_settings(path: Path) -> Settings:
    info = checkpoint.read_info(path)
    if info.get("kind") != CHECKPOINT:
        raise ValueError(f"{path} must be a {CHECKPOINT}, but is {info.get('kind', 'of another program')!r}")
    return options.from_json(Settings, info["settings"], str(path))


def _find_checkpoint(settings: Settings, recipe: Recipe) -> tuple[int, dict[str, torch.Tensor]]:
    """Return step and tensors of the checkpoint to go on from, or 0 and nothing; refuse what does not belong here."""
    out, path = Path(settings.out), Path(settings.out, "checkpoint.safetensors")
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must name a folder, got the file {out}")
    found = path.exists()
    if not settings.resume:
        if (found or (out / "weights.safetensors").exists()) and not settings.overwrite:
            raise ValueError(
                f"out: {out} holds a run; give --resume to go on, --overwrite to start anew, or another --out"
            )
        return 0, {}
    if not found:
        return 0, {}
    saved = _saved_settings(path)
    for name in sorted({field.name for field in dataclasses.fields(Settings)} - FREE):
        if getattr(saved, name) != getattr(settings, name):
            is_, was = getattr(settings, name), getattr(saved, name)
            raise ValueError(f"{name} must stay {was!r} to go on from {path}, got {is_!r}")
    tensors, info = checkpoint.read(path)
    if info.get("fingerprint") != recipe.fingerprint:
        raise ValueError(f"recipe must stay {info.get('fingerprint')} to go on from {path}, got {recipe.fingerprint}")
    step = info.get("step")
    if not isinstance(step, int) or not 0 < step <= settings.steps:
        raise ValueError(f"{path} must hold a step in 1..{settings.steps}, got {step!r}")
    return step, tensors


def _begin_folder(settings: Settings, recipe: Recipe, start: int, world: int, device: torch.device) -> None:
    """Write what describes the run. Where it starts anew, remove what an earlier one left in the folder."""
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    if start == 0:
        for pattern in (
            "checkpoint.safetensors",
            "weights.safetensors",
            "weights-*.safetensors",
            "tensorboard/events.*",
        ):
            for old in out.glob(pattern):
                old.unlink()
    recipe.save(out / "recipe.json")
    versions = {"onepfrac": __version__, "torch": torch.__version__, "timm": timm.__version__}
    about: dict[str, Any] = {"settings": dataclasses.asdict(settings), "fingerprint": recipe.fingerprint}
    about |= {"versions": versions, "ranks": world, "device": machine.describe(device)}
    files.write_text(out / "settings.json", json.dumps(about, indent=2) + "\n")
    if settings.sheet:
        contact_sheet.save(contact_sheet.classes(recipe, settings.sheet), out / "classes.png")
