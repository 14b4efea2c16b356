"""Pre-train a timm ViT as a masked autoencoder on a stream: settings, model, set-up, loop. Start it as

    python -m onepfrac.train.mae --recipe FractalDB --out runs/mae

or under torchrun. Three quarters of an image's patches are hidden, the encoder sees the others alone, and a small
decoder paints what is hidden (He et al., *Masked Autoencoders Are Scalable Vision Learners*, CVPR 2022). Labels are not
used. The masks of a step follow from (seed, step), so besides weights and optimizer a run's state is the step's number.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import io
import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timm.optim import create_optimizer_v2
from torch.utils.data import DataLoader
from torchvision.utils import save_image
from tqdm import tqdm

from onepfrac import files
from onepfrac.datasets import recipe_of
from onepfrac.train import checkpoint, machine, options, parallel, run_folder
from onepfrac.train.masked_autoencoder import build_autoencoder
from onepfrac.train.options import setting

__all__ = ["Outcome", "Settings", "draw_orders", "main", "pretrain_mae"]

CHECKPOINT, WEIGHTS = "checkpoint of onepfrac mae, format 1", "weights of onepfrac mae, format 1"


@dataclass(frozen=True)
class Settings:
    """Everything that decides a run; the texts are those of ``--help``."""

    out: str = setting("runs/mae", "folder for all that the run writes", group="run")
    steps: int = setting(100_000, "steps", low=1)
    seed: int = setting(0, "seed of weights and masks", high=2**64 - 1)
    resume: bool = setting(False, "go on from the folder's checkpoint, if there is one, with its settings")
    overwrite: bool = setting(False, "start anew in a folder that already holds a run")
    save_every: int = setting(1000, "steps between checkpoints", low=1)
    log_every: int = setting(50, "steps between log entries", low=1)
    minutes: float = setting(0.0, "stop with a checkpoint after so many minutes; 0: never")
    pictures: int = setting(8, "images shown in reconstruction.png; 0: no such file", high=1000)

    recipe: str = setting("OnePFrac", "NAME or NAME:field=value,... or a recipe's JSON file", group="stream")
    size: int = setting(224, "width and height of the images", low=8)
    augment: str = setting("crop-flip", "augmentation", choices=("none", "crop-flip", "deit"))
    draws: str = setting("fixed", "an image is the same for ever, or a new one each time", choices=("fixed", "fresh"))
    workers: int = setting(0, "loader processes drawing on the CPU; 0: the training process draws, on its device")

    model: str = setting("vit_tiny_patch16_224", "encoder, a VisionTransformer of timm", group="model")
    model_arg: tuple[str, ...] = setting((), "argument for the encoder, e.g. patch_size=4; may be repeated")
    position: str = setting(
        "sincos", "the encoder's position embeddings, fixed or learnt", choices=("sincos", "learnt")
    )
    mask: float = setting(0.75, "share of the patches that is hidden", high=1)
    decoder_dim: int = setting(192, "width of the decoder; the paper has 512 beside a ViT-Large", low=4)
    decoder_depth: int = setting(4, "blocks of the decoder", low=1)
    decoder_heads: int = setting(6, "heads of the decoder", low=1)

    batch_size: int = setting(
        256, "images a step, over all ranks", low=1, group="optimisation (AdamW, betas 0.9, 0.95)"
    )
    lr: float = setting(3e-4, "peak learning rate per 512 images (the paper's 1.5e-4 per 256)")
    min_lr: float = setting(0.0, "learning rate at the end of the cosine")
    warmup: int = setting(5000, "steps of linear warm-up")
    weight_decay: float = setting(0.05, "weight decay; none on biases, norms and embeddings")

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")
    precision: str = setting("auto", "auto: bfloat16 on CUDA, else float32", choices=("auto", "float32", "bfloat16"))

    def __post_init__(self) -> None:
        options.check(self)
        options.model_arguments(self.model_arg)
        if self.warmup >= self.steps:
            raise ValueError(f"warmup must be less than steps ({self.steps}), got {self.warmup}")
        if not self.out:
            raise ValueError("out must name a folder, got ''")


FREE = {"out", "resume", "overwrite", "save_every", "log_every", "minutes", "pictures", "workers", "device"}
"""Settings that may differ when a run is resumed: they do not enter the arithmetic of a step."""


@dataclass(frozen=True)
class Outcome:
    """What a call did: losses are means over the steps of its first and last log entry, NaN where it made no step."""

    step: int
    finished: bool
    signal: int
    first_loss: float
    last_loss: float
    weights: Path


def draw_orders(seed: int, step: int, batch_size: int, patches: int) -> torch.Tensor:
    """Return a step's orders of patches, int64 (batch_size, patches): the same on any device and number of ranks."""
    machine.seed_step(seed, step)
    return torch.rand(batch_size, patches).argsort(1)


def pretrain_mae(settings: Settings) -> Outcome:
    """Run or resume a pre-training; under ``torchrun`` every rank calls it.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal, the folder holds another run or a broken checkpoint, or a file cannot be written.
    FloatingPointError
        If the loss is no longer finite; the last checkpoint stays.
    """
    # ---- set-up ------------------------------------------------------------------------------------------------------
    rank, world = parallel.place()
    if settings.batch_size % world:
        raise ValueError(f"batch_size must be a multiple of {world} with {world} rank(s), got {settings.batch_size}")
    share, out = settings.batch_size // world, Path(settings.out)
    device, recipe = machine.pick_device(settings.device), recipe_of(settings.recipe)
    machine.seed_step(settings.seed, machine.INITIAL)
    model = build_autoencoder(
        settings.model,
        settings.size,
        options.model_arguments(settings.model_arg),
        mask=settings.mask,
        dim=settings.decoder_dim,
        depth=settings.decoder_depth,
        heads=settings.decoder_heads,
        sincos=settings.position == "sincos",
    )
    wants = {"resume": settings.resume, "overwrite": settings.overwrite}
    # What must be refused is refused before anything is written.
    start, saved = run_folder.find_checkpoint(settings, CHECKPOINT, FREE, recipe.fingerprint, **wants)
    stream = recipe.stream(
        batch_size=share,
        size=settings.size,
        augment=None if settings.augment == "none" else settings.augment,
        device="cpu" if settings.workers else device,
        draws=settings.draws,
    )
    stream.load_state_dict(stream.state_at(start * settings.batch_size))
    loader: Iterable[tuple[torch.Tensor, torch.Tensor]] = stream
    if settings.workers:
        loader = DataLoader(
            stream, batch_size=None, num_workers=settings.workers, worker_init_fn=machine.ignore_signals
        )
    begun = parallel.begin(device)
    parallel.same_everywhere("the step to go on from", start)
    model = model.to(device).train()
    optimizer = create_optimizer_v2(model, "adamw", lr=0.0, weight_decay=settings.weight_decay, betas=(0.9, 0.95))
    if saved:
        checkpoint.restore(model, optimizer, saved)
    net = parallel.wrap(model, device, "ddp")
    halves = settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda")
    patches, peak = math.prod(model.grid), settings.lr * settings.batch_size / 512
    about = {"settings": dataclasses.asdict(settings), "fingerprint": recipe.fingerprint}
    info = {**about, "recipe": json.loads(recipe.to_json()), "versions": run_folder.versions()}
    log = None
    if rank == 0:
        run_folder.begin(out, start, {**about, "ranks": world, "device": machine.describe(device)})
        recipe.save(out / "recipe.json")
        log = run_folder.Log(out, start)
        print(f"{settings.model}, {model.visible} of {patches} patches seen, {world} x {machine.describe(device)}")
        print(f"recipe {recipe.fingerprint}; steps {start} to {settings.steps} of {settings.batch_size} images")

    # ---- loop --------------------------------------------------------------------------------------------------------
    step, counted, stop, first, last = start, 0, False, math.nan, math.nan
    total, clock, vote = torch.zeros((), device=device), machine.Clock(device), parallel.Vote()
    bar = tqdm(total=settings.steps, initial=start, unit="step", dynamic_ncols=True, disable=True if rank else None)
    with machine.signals() as asked, contextlib.closing(log) if log else contextlib.nullcontext():
        batches = iter(loader)
        while step < settings.steps and not stop:
            order = draw_orders(settings.seed, step, settings.batch_size, patches)[rank * share :][:share].to(device)
            images = next(batches)[0].to(device, non_blocking=True)
            rising, done = (step + 1) / max(settings.warmup, 1), step - settings.warmup
            falling = 0.5 + 0.5 * math.cos(math.pi * done / (settings.steps - settings.warmup))
            rate = peak * rising if done < 0 else settings.min_lr + (peak - settings.min_lr) * falling
            for group in optimizer.param_groups:
                group["lr"] = rate
            with torch.autocast(device.type, torch.bfloat16, enabled=halves):
                loss, _ = net(images, order)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step, counted = step + 1, counted + 1
            total += loss.detach()
            bar.update()

            late = 0 < 60 * settings.minutes < clock.seconds()
            ends, saves = step == settings.steps, step % settings.save_every == 0
            stop = vote.stop(bool(asked) or late)
            if not (stop or ends or saves or step % settings.log_every == 0):
                continue
            last = parallel.total(total).item() / world / counted
            if not math.isfinite(last):
                raise FloatingPointError(f"the loss is {last} by step {step}; try a lower lr or a longer warmup")
            first = last if math.isnan(first) else first
            speed, counted = counted * settings.batch_size / clock.lap()[0], 0
            total.zero_()
            if log is not None:
                bar.set_postfix_str(f"loss {last:.4f}, {speed:.0f} images/s")
                if bar.disable:  # not a terminal
                    print(f"step {step}: loss {last:.4f}, {speed:.0f} images/s", flush=True)
                log.write(step, {"train/loss": last, "train/lr": rate, "speed/images_per_second": speed})
            if saves or ends or stop:
                state, of_step = checkpoint.training_state(model, optimizer), {"step": step, **info}
                run_folder.write_checkpoint(out, state, {"kind": CHECKPOINT, **of_step}, rank == 0)
    bar.close()
    vote.close()

    # ---- end ---------------------------------------------------------------------------------------------------------
    if log is not None:
        if step == settings.steps:
            encoder = model.encoder.state_dict()
            checkpoint.write(out / "weights.safetensors", encoder, {"kind": WEIGHTS, "step": step, **info})
            run_folder.drop_older_checkpoint(out)
        if step == settings.steps and settings.pictures:  # of the stream's first images
            images = stream.take(recipe.plan(np.arange(settings.pictures), settings.draws))[0]
            order = draw_orders(settings.seed, machine.INITIAL, settings.pictures, patches).to(device)
            tiles = model.eval().reconstruct(images.to(device), order).flatten(0, 1) * 0.5 + 0.5
            picture = io.BytesIO()
            save_image(tiles.clamp(0, 1), picture, format="png", nrow=6, pad_value=1.0)
            files.write_bytes(out / "reconstruction.png", picture.getvalue())
    parallel.end(begun)
    return Outcome(step, step == settings.steps, asked[0] if asked else 0, first, last, out / "weights.safetensors")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns 0, 2 for what is not legal, or 128 + n where signal n ended the training early."""
    parser = argparse.ArgumentParser("python -m onepfrac.train.mae", description="Masked-autoencoder pre-training.")
    options.add_options(parser, Settings)
    given = options.given(parser.parse_args(arguments), Settings)
    try:
        resumes = given.get("resume")
        saved = run_folder.saved_settings(given.get("out", Settings.out), Settings, CHECKPOINT) if resumes else None
        if saved is not None:
            given = dataclasses.asdict(saved) | {"overwrite": False, "minutes": 0.0} | given
        outcome = pretrain_mae(Settings(**given))
    except (FloatingPointError, OSError, TypeError, ValueError) as error:
        print(f"onepfrac.train.mae: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    if int(os.environ.get("RANK", 0)) == 0:
        end = f"wrote {outcome.weights}" if outcome.finished else "--resume goes on"
        print(f"step {outcome.step}: loss {outcome.first_loss:.4f} -> {outcome.last_loss:.4f}; {end}")
    return 128 + outcome.signal if outcome.signal and not outcome.finished else 0


if __name__ == "__main__":
    sys.exit(main())
