"""The augmented stream against PNG files and timm's PIL transforms: milliseconds an image, one thread each.

    python benchmarks/stream.py            # a table, and benchmarks/results/stream.json
    python benchmarks/stream.py --smoke    # seconds; writes nothing

Ours draws the image (100 000 points on 512 pixels, patches) and takes its picture, float32 (3, 224, 224), with the
recipe of DeiT or with crop and flips alone; with fixed draws the stream keeps the canvases as bits and draws each once,
with fresh draws every image is a new one. Theirs decodes the same image from a PNG file that lies in the page cache and
applies timm's transforms with the same recipe, image by image as its data sets do, and stacks them. Each turn makes one
batch.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from timing import take_turns, write
from timm.data import create_transform

import onepfrac

SIZE, BATCH, CLASSES = 224, 64, 64
DEIT: dict[str, Any] = {"auto_augment": "rand-m9-mstd0.5-inc1", "color_jitter": 0.4, "re_prob": 0.5, "re_mode": "pixel"}


def timm_transform(**extra: Any) -> Any:
    """Return timm's training transform with the paper's crop, flips and normalisation."""
    return create_transform(
        SIZE, is_training=True, scale=(0.08, 1.0), hflip=0.5, vflip=0.5, interpolation="bicubic",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), **({"auto_augment": None, "color_jitter": None} | extra),
    )  # fmt: skip


def draw(turn: int, batches: Iterator[Any]) -> Any:
    """Take the next batch of a stream."""
    return next(batches)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two turns; write nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    recipe = onepfrac.OnePFrac(num_classes=CLASSES)
    settings: dict[str, Any] = {"batch_size": BATCH, "size": SIZE, "threads": 1}
    streams = {
        f"onepfrac, {name}, {draws} draws": recipe.stream(augment=augment, draws=draws, **settings)
        for name, augment in (("DeiT's recipe", "deit"), ("crop and flips", "crop-flip"))
        for draws in ("fixed", "fresh")
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{label}.png") for label in range(CLASSES)]
        pictures = recipe.draw(recipe.plan(range(CLASSES)), torch.device("cpu"))
        for path, picture in zip(paths, pictures, strict=True):
            Image.fromarray(picture[0].numpy()).save(path)
        transforms = {
            "PNG and timm, DeiT's recipe": timm_transform(**DEIT),
            "PNG and timm, crop and flips": timm_transform(),
        }

        def load(turn: int, transform: Any) -> torch.Tensor:
            chosen = [paths[(BATCH * turn + i) % CLASSES] for i in range(BATCH)]
            return torch.stack([transform(Image.open(path).convert("RGB")) for path in chosen])

        contestants: dict[str, Any] = {
            name: (BATCH, functools.partial(draw, batches=iter(stream))) for name, stream in streams.items()
        }
        for name, transform in transforms.items():
            contestants[name] = (BATCH, lambda turn, transform=transform: load(turn, transform))
        contestants["PNG decoding alone"] = (BATCH, lambda turn: load(turn, lambda image: torch.empty(0)))
        timings = take_turns(contestants, 2 if options.smoke else 30, warm_up=1 if options.smoke else 3)
    ours = next(iter(timings.values()))["median"]
    print("ms an image, one thread (median), images/s, and times the first row")
    for name, timing in timings.items():
        print(f"  {name:40s} {timing['median']:7.3f} {1e3 / timing['median']:9,.0f} {timing['median'] / ours:6.1f}x")
    if not options.smoke:
        write("stream", {"size": SIZE, "batch": BATCH, "ms_an_image": timings}, ("timm", "torchvision", "pillow"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
