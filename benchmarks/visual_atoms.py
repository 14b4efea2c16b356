"""Drawing Visual Atoms: one thread, milliseconds an image, against Pillow drawing the same pictures.

    python benchmarks/visual_atoms.py            # a table, and benchmarks/results/visual_atoms.json
    python benchmarks/visual_atoms.py --smoke    # seconds; writes nothing

The first instances of the first categories of the default recipe, 512 pixels. Ours is everything from the packed
parameters to the pixels. Pillow is given the vertices and only draws, in two ways: one call of ``ImageDraw.line`` a
segment into RGB, as the released generator does it, and one call a line into gray, the fastest that Pillow offers. The
released generator's whole work (`released.visual_atom`: noise, vertices, calls, in plain Python) is timed on a few.
That the pictures are the same is checked before.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import released
import torch
from PIL import Image, ImageDraw
from timing import take_turns, write

import onepfrac
from onepfrac.atoms import Atoms, draw_atoms, polylines
from onepfrac.datasets.visual_atoms import VisualAtomsPlan
from onepfrac.rendering import capabilities

SIZE = 512
CALL = 20  # images a call


class Picture:
    """One image's lines as Pillow takes them: the coordinates of each closed line, and its gray."""

    def __init__(self, words: Any, number: int) -> None:
        places, grays = polylines(words, number)
        closed = np.concatenate([places, places[:, :1]], axis=1)
        self.lines: list[list[float]] = closed.reshape(len(closed), -1).tolist()
        self.grays: list[int] = grays.tolist()

    def by_segments(self) -> Image.Image:
        """Draw as the released generator does."""
        image = Image.new("RGB", (SIZE, SIZE))
        draw = ImageDraw.Draw(image)
        for line, gray in zip(self.lines, self.grays, strict=True):
            for i in range(0, len(line) - 2, 2):
                draw.line((line[i], line[i + 1], line[i + 2], line[i + 3]), fill=(gray, gray, gray), width=1)
        return image

    def by_lines(self) -> Image.Image:
        """Draw with one call a line."""
        image = Image.new("L", (SIZE, SIZE))
        draw = ImageDraw.Draw(image)
        for line, gray in zip(self.lines, self.grays, strict=True):
            draw.line(line, fill=gray, width=1)
        return image


def ours(words: Any, level: str) -> torch.Tensor:
    """Draw a batch with a vector unit at most."""
    os.environ["ONEPFRAC_SIMD"] = level
    return draw_atoms(Atoms.of(words, 1000, torch.device("cpu")), size=SIZE, threads=1)


def measure(images: int, turns: int) -> dict[str, Any]:
    """Time all contestants on the same images."""
    recipe = onepfrac.VisualAtoms()
    plan = recipe.plan_images(np.arange(images) * recipe.instances)
    assert isinstance(plan, VisualAtomsPlan)
    parts = [plan.atoms[i : i + CALL] for i in range(0, images, CALL)]
    pictures = [[Picture(part, i) for i in range(len(part))] for part in parts]
    for part, of_part in zip(parts, pictures, strict=True):
        for drawn, picture in zip(ours(part, "")[:, 0].numpy(), of_part, strict=True):
            if not (
                np.array_equal(drawn, picture.by_lines()) and np.array_equal(drawn, picture.by_segments().split()[0])
            ):
                raise SystemExit("Pillow draws another picture")
    levels = capabilities().simd_levels
    count = len(parts[0])
    contestants = {
        f"onepfrac, {level}": (count, lambda turn, level=level: ours(parts[turn % len(parts)], level))
        for level in levels
    }
    contestants |= {
        "Pillow, a call a line, gray": (count, lambda turn: [p.by_lines() for p in pictures[turn % len(parts)]]),
        "Pillow, a call a segment, RGB": (count, lambda turn: [p.by_segments() for p in pictures[turn % len(parts)]]),
    }
    found = take_turns(contestants, turns, warm_up=1)
    found["released generator, all of it"] = take_turns(
        {"released": (1, lambda turn: released.visual_atom(category(plan.atoms[turn]), SIZE))}, min(turns, images), 0
    )["released"]
    segments = [len(line) // 2 - 1 for of_part in pictures for p in of_part for line in p.lines]
    return {"images": images, "segments_an_image": sum(segments) / images, "ms_an_image": found}


def category(atom: Any) -> dict[str, Any]:
    """Return an atom's parameters as `released.visual_atom` takes them."""
    sizes = atom[6:].view(np.float32).tolist()
    return {
        "vertices": int(atom[2]),
        "lines": int(atom[3]),
        "waves": (int(atom[4]), int(atom[5])),
        "coefficient": sizes[0],
        "line_width": sizes[1],
        "radius": sizes[2],
        "oval": sizes[3:5],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few images; write nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    cap = os.environ.get("ONEPFRAC_SIMD", "")
    found = measure(4 if options.smoke else 100, 2 if options.smoke else 10)
    os.environ["ONEPFRAC_SIMD"] = cap
    medians = {name: times["median"] for name, times in found["ms_an_image"].items()}
    best = min(value for name, value in medians.items() if name.startswith("onepfrac"))
    print(f"one thread, {SIZE} pixels, {found['segments_an_image']:.0f} segments an image; ms an image, times ours")
    for name, value in medians.items():
        print(f"  {name:32s} {value:9.3f}  {value / best:7.1f}x")
    if not options.smoke:
        write("visual_atoms", found, ("pillow",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
