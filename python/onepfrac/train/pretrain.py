"""Pre-train a timm model on a stream: settings, set-up, loop. Start it as ``onepfrac pretrain``, on eight devices as

    torchrun --nproc-per-node 8 -m onepfrac pretrain --preset paper

The loss is LPCE, the cross entropy over the L perturbations of one fractal (Nakamura et al., ECCV 2024). A step's batch
is made of micro-batches, which the ranks share; every random choice follows from (seed, step, micro-batch), so besides
weights and optimizer a run's state is the step's number, whatever the number of ranks.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.data import Mixup
from timm.optim import create_optimizer_v2
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.utils.data import DataLoader
from tqdm import tqdm

from onepfrac import contact_sheet
from onepfrac.augment import resolve_policy
from onepfrac.datasets import OnePFrac, Recipe, recipe_of
from onepfrac.train import checkpoint, machine, options, parallel, run_folder
from onepfrac.train.average import Average
from onepfrac.train.models import build_model
from onepfrac.train.options import setting

__all__ = ["FREE", "PRESETS", "Outcome", "Settings", "build_recipe", "judge", "learning_rate", "pretrain", "resolve"]


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

    batch_size: int = setting(256, "images a step, over all ranks", low=1, group="optimisation")
    micro_batch: int = setting(
        0, "images of one pass; a step adds up the gradients of several. 0: all that a rank has of a step"
    )
    optimizer: str = setting("adamw", "optimizer", choices=("adamw", "sgd", "lion"))
    lr: float = setting(1e-3, "peak learning rate per 512 images: lr x batch size / 512 is used")
    min_lr: float = setting(1e-5, "learning rate at the end of the cosine")
    warmup: int = setting(5000, "steps of linear warm-up")
    weight_decay: float = setting(0.05, "weight decay; none on biases, norms and embeddings")
    clip_grad: float = setting(0.0, "norm to which longer gradients are shortened; 0: none")
    ema: float = setting(
        0.0, "decay of an average of the weights, weights-ema.safetensors, e.g. 0.9999; 0: none", high=1
    )
    smoothing: float = setting(0.1, "label smoothing", high=1)
    mixup: float = setting(0.8, "alpha of mixup; 0: none")
    cutmix: float = setting(1.0, "alpha of cutmix; 0: none")
    mix_prob: float = setting(1.0, "probability that a batch is mixed", high=1)
    mix_switch: float = setting(0.5, "probability of cutmix where both are on", high=1)

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")
    precision: str = setting(
        "auto", "auto: bfloat16 on CUDA, else float32", choices=("auto", "float32", "bfloat16", "float16")
    )
    compile: bool = setting(False, "torch.compile the model")
    cuda_graphs: bool = setting(False, "compile it into CUDA graphs, for models whose kernels are short")
    parallel: str = setting(
        "auto", "weights on every rank (ddp; auto) or spread over all (fsdp)", choices=("auto", "ddp", "fsdp")
    )
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


CHECKPOINT, WEIGHTS = "checkpoint of onepfrac pretrain, format 1", "weights of onepfrac pretrain, format 1"

# What may differ when a run is resumed: it does not enter the arithmetic of a step (the recipe's content does, and is
# compared by its fingerprint). On another device or number of ranks the run goes on, but no longer to the same bits.
FREE = {"out", "resume", "overwrite", "save_every", "keep_every", "log_every", "minutes", "sheet", "recipe"}
FREE |= {"workers", "threads", "device", "compile", "cuda_graphs", "parallel", "deterministic"}

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
        "batch_size": 256, "optimizer": "adamw", "lr": 1e-3, "min_lr": 1e-5, "warmup": 5000, "weight_decay": 0.05,
        "clip_grad": 0.0, "ema": 0.0, "smoothing": 0.1,
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
        return recipe_of(settings.recipe)
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
    if given.get("resume") and not preset:
        saved = run_folder.saved_settings(given.get("out", Settings.out), Settings, CHECKPOINT)
        if saved is not None:
            base = dataclasses.asdict(saved) | {"resume": False, "overwrite": False, "minutes": 0.0}
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
    rank, world = parallel.place()
    share, even = settings.batch_size // world, 2 if settings.mixes else 1  # timm's mixup pairs images
    if settings.batch_size % (world * even):
        raise ValueError(
            f"batch_size must be a multiple of {world * even} with {world} rank(s)"
            f"{' and mixup' if settings.mixes else ''}, got {settings.batch_size}"
        )
    micro = settings.micro_batch or share
    if share % micro or micro % even:
        raise ValueError(
            f"micro_batch must divide the {share} images of a rank{' and be even for mixup' if even == 2 else ''},"
            f" got {micro}"
        )
    passes = share // micro
    device = machine.pick_device(settings.device)
    auto = "bfloat16" if device.type == "cuda" else "float32"
    precision = auto if settings.precision == "auto" else settings.precision
    if precision == "float16" and settings.parallel == "fsdp":
        raise ValueError("precision must be bfloat16 or float32 with parallel fsdp, got 'float16'")
    if settings.cuda_graphs and device.type != "cuda":
        raise ValueError(f"cuda_graphs must be off on a {device.type} device, got True")
    recipe = build_recipe(settings)
    if recipe.multi_label and settings.mixes:
        raise ValueError(f"mixup and cutmix must be 0 with {recipe.dataset}, whose images show several classes")
    out = Path(settings.out)
    wants = {"resume": settings.resume, "overwrite": settings.overwrite}
    # What must be refused is refused before anything is written.
    start, saved = run_folder.find_checkpoint(settings, CHECKPOINT, FREE, recipe.fingerprint, **wants)
    begun = parallel.begin(device)
    parallel.same_everywhere("the step to go on from", start)
    if settings.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)

    machine.seed_step(settings.seed, machine.INITIAL)
    arguments = options.model_arguments(settings.model_arg)
    model = build_model(settings.model, recipe.num_classes, settings.size, arguments, settings.drop_path)
    model = model.to(device).train()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    net = parallel.wrap(model, device, settings.parallel)
    optimizer = create_optimizer_v2(model, settings.optimizer, lr=settings.lr, weight_decay=settings.weight_decay)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    average = Average(model, settings.ema) if settings.ema else None
    if saved:
        checkpoint.restore(model, optimizer, saved, scaler, average)
        saved.clear()
    if settings.compile or settings.cuda_graphs:
        net = torch.compile(net, mode="reduce-overhead" if settings.cuda_graphs else None)  # type: ignore[assignment]
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

    log = None
    about = {"settings": dataclasses.asdict(settings), "fingerprint": recipe.fingerprint}
    if rank == 0:
        run_folder.begin(out, start, {**about, "ranks": world, "device": machine.describe(device)})
        recipe.save(out / "recipe.json")
        if settings.sheet:
            contact_sheet.save(contact_sheet.classes(recipe, settings.sheet), out / "classes.png")
        log = run_folder.Log(out, start)
        classes = recipe.num_classes
        print(
            f"{settings.model}, {parameters / 1e6:.2f} M parameters, {precision}, {world} x {machine.describe(device)}"
        )
        print(f"{classes} classes, recipe {recipe.fingerprint}; by chance: loss {math.log(classes):.3f}", end="")
        print(f", accuracy {1 / classes:.2%}")
        print(f"steps {start} to {settings.steps} of {settings.batch_size} images", flush=True)
    info = {**about, "recipe": json.loads(recipe.to_json()), "versions": run_folder.versions()}

    # ---- loop ----------------------------------------------------------------------------------------------------
    step, counted, stop = start, 0, False
    totals = torch.zeros(2, device=device)  # since the last log entry: loss, share of right answers
    first = last = (math.nan, math.nan)
    clock, waited, vote = machine.Clock(device), 0.0, parallel.Vote()
    bar = tqdm(
        total=settings.steps, initial=start, unit="step", dynamic_ncols=True, disable=None if rank == 0 else True
    )
    with machine.signals() as asked, contextlib.closing(log) if log else contextlib.nullcontext():
        batches = iter(loader)
        while step < settings.steps and not stop:
            with clock.waiting():
                images, labels = (tensor.to(device, non_blocking=True) for tensor in next(batches))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(settings, step)
            for number in range(passes):
                machine.seed_step(settings.seed, (step * world + rank) * passes + number)
                part = slice(number * micro, (number + 1) * micro)
                # timm's mixup makes soft targets, smoothed.
                inputs, targets = mix(images[part], labels[part]) if mix else (images[part], labels[part])
                if settings.cuda_graphs:
                    torch.compiler.cudagraph_mark_step_begin()
                with parallel.without_sync(net, number + 1 < passes):
                    with torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32"):
                        logits = net(inputs).float()
                    loss, right = judge(logits, targets, 0.0 if mix else settings.smoothing, recipe.multi_label)
                    scaler.scale(loss / passes).backward()
                totals += torch.stack([loss.detach(), right]) / passes
            if settings.clip_grad:
                scaler.unscale_(optimizer)
                torch.nn.utils.clip_grad_norm_(model.parameters(), settings.clip_grad)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            step, counted = step + 1, counted + 1
            if average is not None:
                average.update(step)
            bar.update()

            late = 0 < 60 * settings.minutes < clock.seconds()
            stop = vote.stop(bool(asked) or late)
            ends, saves = step == settings.steps, step % settings.save_every == 0
            keeps = settings.keep_every > 0 and step % settings.keep_every == 0
            if not (stop or ends or saves or keeps or step % settings.log_every == 0):
                continue
            last = tuple((parallel.total(totals) / (counted * world)).tolist())
            if not math.isfinite(last[0]):
                raise FloatingPointError(f"the loss is {last[0]} by step {step}; try a lower lr or a longer warmup")
            first = last if math.isnan(first[0]) else first
            seconds, waiting = clock.lap()
            speed, waited = counted * settings.batch_size / seconds, waited + waiting
            totals.zero_()
            counted = 0
            if log is not None:
                text = (
                    f"loss {last[0]:.3f}, accuracy {last[1]:.1%}, {speed:.0f} images/s, waiting {waiting / seconds:.1%}"
                )
                bar.set_postfix_str(text)
                if bar.disable:  # not a terminal
                    print(f"step {step}: {text}", flush=True)
                entry = {
                    "train/loss": last[0],
                    "train/accuracy": last[1],
                    "train/lr": learning_rate(settings, step - 1),
                }
                log.write(
                    step, {**entry, "speed/images_per_second": speed, "speed/waiting_for_data": waiting / seconds}
                )
            of_step = {"step": step, **info, "metrics": {"loss": last[0], "accuracy": last[1]}}
            # The checkpoint comes last: a run that is killed here makes these weights again when it goes on.
            for suffix in [f"-{step:07d}"] * keeps + [""] * ends:
                whole = {name: parallel.whole(tensor) for name, tensor in model.state_dict().items()}
                checkpoint.write(out / f"weights{suffix}.safetensors", whole, {"kind": WEIGHTS, **of_step}, rank == 0)
                if average is not None:
                    made = {"kind": WEIGHTS, "average": True, **of_step}
                    checkpoint.write(out / f"weights-ema{suffix}.safetensors", average.weights(), made, rank == 0)
            if saves or ends or stop:
                state = checkpoint.training_state(model, optimizer, scaler, average)
                run_folder.write_checkpoint(out, state, {"kind": CHECKPOINT, **of_step}, rank == 0)
    bar.close()
    vote.close()

    # ---- end -----------------------------------------------------------------------------------------------------
    if log is not None:
        log.close()
        if step == settings.steps:
            run_folder.drop_older_checkpoint(out)
    parallel.end(begun)
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


def judge(
    logits: torch.Tensor, targets: torch.Tensor, smoothing: float, several: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the loss, and the share of images whose heaviest label wins; with several labels: one of them.

    Parameters
    ----------
    logits
        (B, L) float32.
    targets
        (B,) int64 or, where mixup made them, (B, L) float32 that add up to 1. With several labels (B, L) of 0 and 1.
    smoothing
        Label smoothing; with several labels, where each class has a binary cross entropy, towards 1 / 2.
    several
        Whether an image shows several classes.
    """
    guess = logits.detach().argmax(1)
    if several:
        right = targets.gather(1, guess[:, None]) > 0
        loss = binary_cross_entropy_with_logits(logits, targets * (1 - smoothing) + smoothing / 2)
    else:
        right = guess == (targets.argmax(1) if targets.ndim == 2 else targets)
        loss = cross_entropy(logits, targets, label_smoothing=smoothing)
    return loss, right.float().mean()
