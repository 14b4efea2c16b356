"""A first proof on photographs: are weights from one fractal worth more than fresh ones on a CIFAR-10 subset?

    python benchmarks/first_proof.py --data ../shared/data/cifar10-jpeg.tar.xz

pre-trains a small ViT on a 1p-frac stream, then fine-tunes its weights and fresh ones alike: the same images, order,
crops, epochs and optimizer, for each the learning rate that does best on training images that are held out, several
seeds. It prints both accuracies on CIFAR-10's test images and how the accuracy grows with the steps of pre-training,
and writes all of it with settings, versions, machine and commit to benchmarks/results/first_proof.json.

The data is an image folder (train/CLASS/*, val/CLASS/*) or a tar archive of one. On two CPU cores that do nothing else
`--scale half-hour` takes about half an hour, `--scale quarter-hour` half of that, `--scale smoke` a minute.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from provenance import RESULTS, ROOT, provenance

from onepfrac import files
from onepfrac.train import finetune, images, pretrain

MODEL = ("patch_size=8", "embed_dim=128", "depth=4", "num_heads=4")


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    pretrain: dict[str, Any]
    finetune: dict[str, Any]
    images: int  # training images of each class
    held_out: int  # further training images of each class, on which learning rates are chosen
    test: int  # test images of each class
    rates: tuple[float, ...]
    seeds: tuple[int, ...]


# Without mixup and cutmix the weights, which then know black and one gray alone, start worse than fresh ones.
PRETRAIN = {
    "num_classes": 300, "delta": 0.2, "data_seed": 6, "canvas": 128, "points": 20_000, "pad": 3, "size": 32,
    "model_arg": MODEL, "drop_path": 0.0, "batch_size": 64, "lr": 4e-3, "warmup": 200, "sheet": 0,
}  # fmt: skip
FINETUNE = {"optimizer": "adamw", "weight_decay": 0.05, "batch_size": 64, "crop": 0.5, "warmup": 0.05, "cache": True}
SCALES = {
    "smoke": Scale(
        pretrain={**PRETRAIN, "steps": 40, "warmup": 10, "keep_every": 20, "log_every": 10},
        finetune={**FINETUNE, "epochs": 2},
        images=10,
        held_out=10,
        test=20,
        rates=(0.004, 0.01),
        seeds=(0, 1),
    ),
    "quarter-hour": Scale(
        pretrain={**PRETRAIN, "steps": 4000, "keep_every": 2000, "log_every": 200},
        finetune={**FINETUNE, "epochs": 40},
        images=100,
        held_out=100,
        test=500,
        rates=(0.004, 0.01),
        seeds=(0, 1, 2),
    ),
    "half-hour": Scale(
        pretrain={**PRETRAIN, "steps": 9000, "keep_every": 2250, "log_every": 450},
        finetune={**FINETUNE, "epochs": 60},
        images=100,
        held_out=100,
        test=500,
        rates=(0.004, 0.01),
        seeds=(0, 1, 2),
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.xz")
    parser.add_argument("--scale", choices=sorted(SCALES), default="half-hour")
    parser.add_argument("--out", type=Path, default=RESULTS / "first_proof.json")
    parser.add_argument("--work", type=Path, help="folder for weights, kept (default: a temporary one)")
    namespace = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="onepfrac-proof-") as temporary:
        data = namespace.data
        if not data.is_dir():
            with tarfile.open(data) as archive:
                archive.extractall(Path(temporary, "data"), filter="data")
            data = find_image_folder(Path(temporary, "data"))
        result = prove(SCALES[namespace.scale], data, namespace.work or Path(temporary, "work"))
    result = {"command": shlex.join(["python", "benchmarks/first_proof.py", *sys.argv[1:]]), **result}
    report(result)
    namespace.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(namespace.out, json.dumps(result, indent=2) + "\n")
    print(f"wrote {namespace.out}")
    return 0


def find_image_folder(root: Path) -> Path:
    for train in sorted(root.glob("**/train")):
        if train.is_dir() and (train.parent / "val").is_dir():
            return train.parent
    raise FileNotFoundError(f"{root} holds no folder with train/ and val/ in it")


def prove(scale: Scale, data: Path, work: Path) -> dict[str, Any]:
    """Pre-train, choose learning rates, fine-tune; return everything that is to be known about it."""
    began = time.perf_counter()
    settings = pretrain.Settings(out=str(work / "pretrain"), **scale.pretrain)
    outcome = pretrain.pretrain(dataclasses.replace(settings, resume=True))
    pretrained = time.perf_counter()
    pool = images.load_photographs(data / "train", scale.images + scale.held_out, cache=True)
    rank = np.concatenate([np.arange(pool.labels.count(label)) for label in range(len(pool.classes))])
    train, held_out = (pool.pick(np.flatnonzero(part).tolist()) for part in (rank < scale.images, rank >= scale.images))
    test = images.load_photographs(data / "val", scale.test, cache=True)
    model = {"model": settings.model, "model_arg": settings.model_arg, "size": settings.size, "data": str(data)}
    base = finetune.Settings(**model, **scale.finetune)

    def tune(weights: Path | None, rate: float, seed: int, val: images.Photographs) -> dict[str, Any]:
        run = dataclasses.replace(
            base,
            weights="" if weights is None else str(weights),
            lr=rate,
            seed=seed,
            out=str(work / "finetune"),
            overwrite=True,
        )
        done = finetune.finetune(run, train, val)
        name = weights.stem if weights else "scratch"
        on = "test" if val is test else "held-out"
        print(
            f"{name}, lr {rate:g}, seed {seed}: {done.accuracy:.2%} of the {on} images, training loss "
            f"{done.train_loss:.3f}, {done.seconds:.0f} s",
            flush=True,
        )
        kept = {"accuracy": done.accuracy, "train_loss": done.train_loss, "seconds": done.seconds}
        return {"lr": rate, "seed": seed, "on": on, **kept}

    arms: dict[str, Any] = {}
    for name, weights in (("scratch", None), ("1p-frac", outcome.weights)):
        tried = [tune(weights, rate, 1000, held_out) for rate in scale.rates]  # a seed that is not reported
        best = max(tried, key=lambda run: run["accuracy"])["lr"]
        runs = [tune(weights, best, seed, test) for seed in scale.seeds]
        accuracies = [run["accuracy"] for run in runs]
        arms[name] = {
            "lr": best,
            "mean": statistics.mean(accuracies),
            "deviation": statistics.stdev(accuracies),
            "runs": runs,
            "tried": tried,
        }
    curve = []
    for step in range(settings.keep_every, settings.steps, settings.keep_every):
        weights = outcome.weights.with_name(f"weights-{step:07d}.safetensors")
        curve.append({"steps": step, **tune(weights, arms["1p-frac"]["lr"], scale.seeds[0], test)})
    curve = [
        {"steps": 0, **arms["scratch"]["runs"][0]},
        *curve,
        {"steps": settings.steps, **arms["1p-frac"]["runs"][0]},
    ]
    ended = time.perf_counter()
    return {
        **provenance("timm"),
        "recipe": json.loads(pretrain.build_recipe(settings).to_json()),
        "settings": {
            "pretrain": {**dataclasses.asdict(settings), "out": ""},
            "finetune": {**dataclasses.asdict(base), "data": data.name, "out": ""},
            "images": {"train": len(train), "held_out": len(held_out), "test": len(test)},
        },
        "pretraining": {
            "first_loss": outcome.first_loss,
            "last_loss": outcome.last_loss,
            "last_accuracy": outcome.last_accuracy,
            "images_per_second": outcome.images_per_second,
            "waiting": outcome.waiting,
        },
        "accuracy": arms,
        "curve": curve,
        "seconds": {"pretraining": pretrained - began, "finetuning": ended - pretrained},
    }


def report(result: dict[str, Any]) -> None:
    images, arms = result["settings"]["images"], result["accuracy"]
    print(f"\naccuracy on {images['test']} test images after fine-tuning on {images['train']} images")
    print(f"{'start':<10} {'lr':>6} {'mean':>8} {'s.d.':>7}   seeds")
    for name, arm in arms.items():
        seeds = ", ".join(f"{run['accuracy']:.2%}" for run in arm["runs"])
        print(f"{name:<10} {arm['lr']:>6g} {arm['mean']:>8.2%} {arm['deviation']:>7.2%}   {seeds}")
    gain = arms["1p-frac"]["mean"] - arms["scratch"]["mean"]
    spread = max(arm["deviation"] for arm in arms.values())
    verdict = (
        "pre-training helps"
        if gain > 2 * spread
        else "no gain beyond the spread of seeds"
        if gain > -2 * spread
        else "it hurts"
    )
    print(f"gain: {100 * gain:+.2f} percentage points; at this scale: {verdict}")
    print("\nsteps of pre-training, accuracy (first seed)")
    for point in result["curve"]:
        print(f"{point['steps']:>9}  {point['accuracy']:.2%}  {'#' * round(100 * point['accuracy'])}")


if __name__ == "__main__":
    sys.exit(main())
