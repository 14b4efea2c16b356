"""Does the camera teach what timm's PIL recipe teaches? The same small ViT pre-trained on either, and crossed tests.

    python benchmarks/camera_proof.py            # a table, and benchmarks/results/camera_proof.json
    python benchmarks/camera_proof.py --smoke    # seconds; writes nothing

The task is the pre-training's own: tell the perturbations of one fractal apart. Both arms see the same canvases, in the
same order, from the same initial weights, with the same optimizer and schedule, and through the same recipe of DeiT
(random crops, both flips, RandAugment, erasing). In one the recipe is the stream's ``augment``, in the other it is
``timm.data.create_transform`` on the canvases as PIL images that lie in memory. Only the draws differ, and how a pixel
is computed: ours is one sampling of the canvas, timm resizes the crop first, then rotates, shears and shifts what came
out. A third arm, which crops and flips only, shows that the measure can tell recipes apart.

A seed stands for initial weights and for a stretch of the stream (so for order and draws). Measured after it: the
training loss over the last tenth of the steps, and the accuracy on pictures that no arm has trained on: taken by timm,
taken by the camera (the same number of each class, the same pictures for all), and of the canvases resized whole, in
their four mirrorings. Differences are taken seed by seed; their standard error is that of the mean over the seeds.
``--without re_prob`` and the like leaves parts of the recipe out of both arms, to find what makes a difference.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timing import write
from timm.data import create_transform
from torch.nn.functional import cross_entropy

import onepfrac
from onepfrac.augment import Policy

RECIPE: dict[str, Any] = {"num_classes": 20, "delta": 1.0, "seed": 0, "canvas": 128, "points": 20_000, "pad": 3}
DEIT: dict[str, Any] = {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4, "re_prob": 0.5}
MODEL: dict[str, Any] = {"patch_size": 8, "embed_dim": 96, "depth": 3, "num_heads": 3}
SIZE, BATCH, STEPS, SEEDS, HELD_OUT = 32, 64, 1600, 5, 250  # held out: pictures of each class, by each camera
RATE, WARM_UP, DECAY = 1e-3, 0.05, 0.05
OURS, THEIRS, PLAIN = "onepfrac", "timm, PIL", "onepfrac, crop and flips only"
MEASURES = ("training loss", "accuracy, taken by timm", "accuracy, taken by onepfrac", "accuracy, whole canvases")

Batch = tuple[torch.Tensor, torch.Tensor]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train every arm with every seed, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="twenty steps, two seeds; write nothing")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, at least 2")
    parser.add_argument("--without", nargs="+", choices=sorted(DEIT), default=[], help="leave out; write nothing")
    options = parser.parse_args(arguments)
    if options.seeds < 2 or options.steps < 20:
        parser.error(f"--seeds must be at least 2 and --steps at least 20, got {options.seeds} and {options.steps}")
    steps, seeds, held_out = (20, 2, 2) if options.smoke else (options.steps, options.seeds, HELD_OUT)
    torch.set_num_threads(1)
    began = time.perf_counter()
    recipe = onepfrac.OnePFrac(**RECIPE)
    parts = {name: value for name, value in DEIT.items() if name not in options.without}
    arms: dict[str, Callable[[int, int], Iterator[Batch]]] = {
        OURS: lambda start, seed: taken_by_us(recipe, Policy(**parts), start),
        THEIRS: lambda start, seed: taken_by_timm(recipe, parts, start, seed),
        PLAIN: lambda start, seed: taken_by_us(recipe, Policy(), start),
    }
    beyond = seeds * steps * BATCH  # where no arm trains
    beyond += -beyond % (recipe.num_classes * BATCH)  # an epoch begins, so that classes are equally frequent
    tests = {
        MEASURES[1]: first(arms[THEIRS](beyond, seeds), held_out * recipe.num_classes),
        MEASURES[2]: first(arms[OURS](beyond, seeds), held_out * recipe.num_classes),
        MEASURES[3]: whole(recipe),
    }
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for seed in range(seeds):
        for name, batches in arms.items():
            start = time.perf_counter()
            model, loss = train(batches(seed * steps * BATCH, seed), seed, steps)
            seconds = time.perf_counter() - start
            found = {MEASURES[0]: loss} | {test: accuracy(model, *pictures) for test, pictures in tests.items()}
            runs[name].append({"seed": seed, **found, "seconds": seconds})
            shown = ", ".join(f"{100 * found[test]:.2f} %" for test in tests)
            print(f"seed {seed}, {name}: loss {loss:.3f}, accuracy {shown}; {seconds:.0f} s", flush=True)
    differences = {
        other: {name: difference(runs[OURS], runs[other], name) for name in MEASURES} for other in (THEIRS, PLAIN)
    }
    report(runs, differences)
    if not options.smoke and not options.without:
        settings = {"size": SIZE, "batch": BATCH, "steps": steps, "seeds": seeds, "rate": RATE, "warm_up": WARM_UP}
        settings |= {
            "weight_decay": DECAY,
            "model": MODEL,
            "recipe": RECIPE,
            "augment": DEIT,
            "held_out_a_class": held_out,
        }
        found = {"settings": settings, "runs": runs, "ours_minus": differences, "seconds": time.perf_counter() - began}
        write("camera_proof", found, ("timm", "torchvision", "pillow"))
    return 0


def taken_by_us(recipe: onepfrac.OnePFrac, policy: Policy, start: int) -> Iterator[Batch]:
    """Batches of the stream from sample ``start`` on."""
    stream = recipe.stream(batch_size=BATCH, size=SIZE, augment=policy, threads=1)
    stream.load_state_dict(stream.state_at(start))
    return iter(stream)


def taken_by_timm(recipe: onepfrac.OnePFrac, parts: dict[str, Any], start: int, seed: int) -> Iterator[Batch]:
    """Batches of the same samples, through PIL and timm's transforms. They draw from the global generators."""
    plan = recipe.plan(range(recipe.num_classes))  # an epoch: every class once
    drawn = recipe.draw(plan, torch.device("cpu"))[:, 0].numpy()
    pictures = {
        label: Image.fromarray(gray).convert("RGB") for label, gray in zip(plan.labels.tolist(), drawn, strict=True)
    }
    transform = create_transform(
        SIZE, is_training=True, scale=(0.08, 1.0), hflip=0.5, vflip=0.5, interpolation="bicubic", re_mode="pixel",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), **({"auto_augment": None, "color_jitter": None} | parts),
    )  # fmt: skip
    for generator_seed in (random.seed, np.random.seed, torch.manual_seed):
        generator_seed(10_000 + seed)
    while True:
        labels = recipe.plan(np.arange(start, start + BATCH)).labels
        yield torch.stack([transform(pictures[label]) for label in labels.tolist()]), torch.from_numpy(labels)
        start += BATCH


def whole(recipe: onepfrac.OnePFrac) -> Batch:
    """Every class's canvas, resized by the camera, and its mirrorings."""
    images, labels = next(iter(recipe.stream(batch_size=recipe.num_classes, size=SIZE, threads=1)))
    return torch.cat([images, images.flip(2), images.flip(3), images.flip(2, 3)]), labels.repeat(4)


def first(batches: Iterator[Batch], count: int) -> Batch:
    """The first ``count`` pictures."""
    images, labels = zip(*(next(batches) for _ in range(-(-count // BATCH))), strict=True)
    return torch.cat(images)[:count], torch.cat(labels)[:count]


def train(batches: Iterator[Batch], seed: int, steps: int) -> tuple[torch.nn.Module, float]:
    """Train a fresh ViT; return it and its mean loss over the last tenth of the steps."""
    torch.manual_seed(seed)
    model = timm.create_model("vit_tiny_patch16_224", img_size=SIZE, num_classes=RECIPE["num_classes"], **MODEL)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=DECAY)
    warm_up = max(1, round(WARM_UP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warm_up, 0.5 * (1 + np.cos(np.pi * max(0, step - warm_up) / (steps - warm_up)))),
    )
    losses = []
    for _, (images, labels) in zip(range(steps), batches, strict=False):
        loss = cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), statistics.mean(losses[-max(1, steps // 10) :])


@torch.inference_mode()
def accuracy(model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of pictures whose class the model finds."""
    right = [
        (model(part).argmax(1) == of).sum().item()
        for part, of in zip(images.split(250), labels.split(250), strict=True)
    ]
    return sum(right) / len(labels)


def difference(ours: list[dict[str, float]], others: list[dict[str, float]], name: str) -> dict[str, float]:
    """Return the mean over the seeds of ours less the other's, and its standard error."""
    found = [one[name] - other[name] for one, other in zip(ours, others, strict=True)]
    return {"mean": statistics.mean(found), "standard_error": statistics.stdev(found) / len(found) ** 0.5}


def report(runs: dict[str, list[dict[str, float]]], differences: dict[str, dict[str, dict[str, float]]]) -> None:
    """Print means and deviations over the seeds, and the differences."""
    print("\nmean (s.d. over the seeds); accuracies in %, and differences in percentage points")
    print(f"{'':37}" + "".join(f"{name.removeprefix('accuracy, '):>21}" for name in MEASURES))

    def row(title: str, cells: list[tuple[float, float]], form: str) -> None:
        scales = [1.0] + [100.0] * (len(MEASURES) - 1)
        texts = [
            form.format(scale * middle, scale * spread) for scale, (middle, spread) in zip(scales, cells, strict=True)
        ]
        print(f"{title:37}" + "".join(f"{text:>21}" for text in texts))

    for arm, of in runs.items():
        values = [[run[name] for run in of] for name in MEASURES]
        row(arm, [(statistics.mean(found), statistics.stdev(found)) for found in values], "{:.3f} ({:.3f})")
    for other, of_measure in differences.items():
        cells = [(of_measure[name]["mean"], of_measure[name]["standard_error"]) for name in MEASURES]
        row(f"ours - {other}", cells, "{:+.3f} +- {:.3f}")


if __name__ == "__main__":
    sys.exit(main())
