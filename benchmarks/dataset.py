"""Every dataset of the family: drawing and streaming an image, building the files, and the released generators.

    python benchmarks/dataset.py            # a table, and benchmarks/results/dataset.json
    python benchmarks/dataset.py --smoke    # seconds; writes nothing

One thread, on a sample of images spread over the whole set; the whole is extrapolated from it. "Canvas" draws images
into memory. "Stream" is float32 3 x 224 x 224 under crops and flips with new draws for every image, as training takes
them. "Building" draws images and encodes them as PNG the way ``onepfrac export`` does, without the disk. "Released" is
`released.py`, the published generators' rules in plain Python, for the same systems and parameters, on 2 to 40 images;
for FractalScenes in Numba and OpenCV, with the release's cache. For Noise and SingleImage we know of no release. Hours
that papers state stand beside. The search for FractalDB's thousand categories is timed on two threads.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import released
import torch
from timing import write

import onepfrac
from onepfrac import png
from onepfrac.category_search import Search
from onepfrac.datasets import Recipe

CHUNK = 50  # images a call
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Entry:
    """One dataset, how much of it is measured, and who else makes it."""

    name: str
    recipe: Callable[[int], Recipe]  # takes a number of classes
    classes: int  # of the whole set
    sampled: int  # classes that the sample is drawn from
    sample: int  # images
    released: Callable[[Any], Callable[[int], object]] | None = None  # of a recipe, what makes image i
    slow: int = 2  # images that it makes
    stated_hours: float | None = None  # by Nakamura et al., ECCV 2024


def photograph() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A photograph that scikit-image brings along (CC0)."""
    from skimage import data

    return np.asarray(data.camera())


def released_systems(recipe: Any) -> Callable[[int], object]:
    def make(image: int) -> object:
        plan = recipe.plan_images([image])
        return released.patches(plan.maps[0].astype(float), plan.probs[0], recipe.points, recipe.canvas, recipe.pad)

    return make


def released_atom(recipe: Any) -> Callable[[int], object]:
    def make(image: int) -> object:
        label = image // recipe.num_instances
        return released.visual_atom({name: of[label] for name, of in recipe._categories.items()}, recipe.canvas)

    return make


def released_scenes(recipe: Any) -> Callable[[int], object]:
    maps, num_maps = recipe.systems
    scenes = released.Scenes([one[:n] for one, n in zip(maps, num_maps, strict=True)], recipe.canvas, recipe.points)
    for number in range(20):  # compiles, and fills the cache
        scenes.image(number)
    return scenes.image


ENTRIES = (
    Entry("1p-frac", lambda n: onepfrac.OnePFrac(num_classes=n), 1000, 1000, 1000, released_systems, stated_hours=0.04),
    Entry("FractalDB-1k", lambda n: onepfrac.FractalDB(n), 1000, 100, 1000, released_systems, stated_hours=19.0),
    Entry("OFDB", lambda n: onepfrac.OFDB(n), 1000, 200, 200, released_systems),
    Entry("VisualAtom-1k", lambda n: onepfrac.VisualAtoms(n), 1000, 100, 500, released_atom, slow=20),
    Entry("Noise, gaussian", lambda n: onepfrac.Noise(num_classes=n), 1000, 500, 500),
    Entry("SingleImage, Canny", lambda n: onepfrac.SingleImage.from_photo(photograph(), num_classes=n), 1000, 200, 200),
    Entry("FractalScenes", lambda n: onepfrac.FractalScenes(n), 1000, 100, 300, released_scenes, slow=40),
)


def measure(entry: Entry, classes: int, images: int, slow: int) -> dict[str, Any]:
    """Time one dataset on a sample of ``images`` of its first ``classes``."""
    start = time.perf_counter()
    recipe = entry.recipe(classes)
    recipe.prepare()
    prepared = time.perf_counter() - start
    numbers = np.linspace(0, recipe.num_images - 1, min(images, recipe.num_images)).astype(np.int64)
    parts = [recipe.plan_images(numbers[i : i + CHUNK]) for i in range(0, numbers.size, CHUNK)]
    seconds = {"canvas": 0.0, "stream": 0.0, "building": 0.0}
    size = 0
    recipe.draw(parts[0], CPU, 1)  # warms up
    for part in parts:
        start = time.perf_counter()
        canvases = recipe.draw(part, CPU, 1)
        seconds["canvas"] += time.perf_counter() - start
        del canvases
        start = time.perf_counter()
        if recipe.bitmap:
            files = png.bitmaps(recipe.draw(part, CPU, 1, bits=True)[:, 0].numpy(), recipe.canvas)
        else:
            files = png.pictures(recipe.draw(part, CPU, 1).numpy())
        seconds["building"] += time.perf_counter() - start
        size += sum(map(len, files))
    batch = min(64, numbers.size)
    stream = iter(recipe.stream(batch, augment="crop-flip", draws="fresh", threads=1))
    next(stream)
    taken = max(1, numbers.size // batch)
    start = time.perf_counter()
    for _ in range(taken):
        next(stream)
    seconds["stream"] = (time.perf_counter() - start) / (taken * batch) * numbers.size
    each = {key: 1e3 * value / numbers.size for key, value in seconds.items()}
    if entry.released is not None:
        make = entry.released(recipe)
        start = time.perf_counter()
        for number in numbers[:: max(1, numbers.size // slow)][:slow]:
            make(int(number))
        each["released"] = 1e3 * (time.perf_counter() - start) / slow
    whole = entry.classes * recipe.num_instances
    return {
        "dataset": entry.name,
        "images": whole,
        "sample": int(numbers.size),
        "canvas": recipe.canvas,
        "planes": recipe.planes,
        "prepare_seconds": prepared,
        "ms_an_image": each,
        "whole_seconds": {key: value * whole / 1e3 for key, value in each.items()},
        "whole_disk_bytes": size / numbers.size * whole,
        "stated_hours": entry.stated_hours,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few images of each; write nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print("one thread; ms an image; the whole set extrapolated from a sample")
    rows = []
    for entry in ENTRIES:
        row = measure(entry, 8, 8, 1) if options.smoke else measure(entry, entry.sampled, entry.sample, entry.slow)
        rows.append(row)
        each, whole, stated = row["ms_an_image"], row["whole_seconds"], row["stated_hours"]
        theirs = f"{each['released']:8.1f}" if "released" in each else "       -"
        print(
            f"  {row['dataset']:18s} canvas {each['canvas']:7.3f}, stream {each['stream']:7.3f}, building"
            f" {each['building']:7.3f}, released {theirs};  {row['images']:9,d} images: streaming"
            f" {whole['stream']:8.2f} s, no disk; building {whole['building']:8.2f} s,"
            f" {row['whole_disk_bytes'] / 1e9:7.3f} GB" + (f"; stated: {stated} h" if stated else ""),
            flush=True,
        )
    count = 4 if options.smoke else 1000
    search = Search(count)
    start = time.perf_counter()
    search.run(threads=2)
    found = {"categories": count, "threads": 2, "seconds": time.perf_counter() - start}
    found["candidates"] = int(search.attempts.sum()) + count
    print(f"  search: {count} categories of {found['candidates']} candidates in {found['seconds']:.1f} s, two threads")
    if not options.smoke:
        write("dataset", {"rows": rows, "search": found}, ("pillow",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
