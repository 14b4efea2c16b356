"""Building a dataset as PNG files against streaming it: time and disk, one thread, measured on a sample.

    python benchmarks/dataset.py            # a table, and benchmarks/results/dataset.json
    python benchmarks/dataset.py --smoke    # seconds; writes nothing

1p-frac: 1000 images of 512 pixels, 100 000 points. OFDB: 1000 of 362 pixels, 200 000 points. FractalDB-1k: a million
of them, 1000 categories x 25 weightings x 10 patch draws x 4 flips. Systems of the last two are found here by the
released rule: N of 2..7, parameters U(-1, 1), points cover at least 0.2 of 512 pixels. "Streaming" renders an image
into memory, as the stream does before its camera; "building" renders it too and writes it as PNG with Pillow. The whole
is extrapolated from the sample; the hours that the paper states stand beside it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timing import write

import onepfrac
from onepfrac.systems import diverges

CHUNK = 50  # images a call
# Hours for the whole set as Nakamura et al. (ECCV 2024) state them.
STATED_HOURS = {"1p-frac": 0.04, "FractalDB-1k": 19.0}


def categories(count: int) -> list[tuple[NDArray[np.float32], NDArray[np.float64]]]:
    """Find systems by the released rule; (maps, probabilities) each."""
    generator = np.random.default_rng(0)
    found: list[tuple[NDArray[np.float32], NDArray[np.float64]]] = []
    while len(found) < count:
        maps = generator.uniform(-1, 1, (int(generator.integers(2, 8)), 2, 3)).astype(np.float32)
        try:
            packed = onepfrac.pack(maps[None])
        except ValueError:  # its orbits run away
            continue
        if (onepfrac.render(packed, brush="point") > 0).double().mean() >= 0.2:
            found.append((maps, onepfrac.IFS(maps).probs))
    return found


def weightings(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the 25 weightings of a category: each of six parameters x 0.2, 0.6, 1.4, 1.8 in turn, and all at 1."""
    found = [maps]
    for parameter, factor in itertools.product(range(6), (0.2, 0.6, 1.4, 1.8)):
        changed = maps.reshape(-1, 6).copy()
        changed[:, parameter] *= factor
        found.append(changed.reshape(maps.shape))
    return np.stack(found)


def chunks_of(name: str, images: int) -> tuple[list[onepfrac.Systems], dict[str, int]]:
    """Return a sample of a dataset's systems, packed in chunks of like N, and how they are drawn."""
    if name == "1p-frac":
        recipe = onepfrac.OnePFrac(num_classes=images)
        maps = recipe.liep.maps.astype(np.float32)
        parts = [onepfrac.pack(maps[i : i + CHUNK], recipe.ifs.probs) for i in range(0, images, CHUNK)]
        return parts, {"points": 100_000, "size": 512}
    parts = []
    for maps, probs in categories(max(2, images // 25 if name == "FractalDB-1k" else images)):
        batch = weightings(maps) if name == "FractalDB-1k" else maps[None]
        stays = ~diverges(batch, probs)  # a weighting may run away though its category does not
        parts.append(onepfrac.pack(batch[stays], probs))
    return parts, {"points": 200_000, "size": 362}


def measure(name: str, whole: int, images: int) -> dict[str, Any]:
    """Draw a sample, once into memory and once into files."""
    parts, settings = chunks_of(name, images)
    drawn = sum(len(part) for part in parts)
    seconds = {"streaming": 0.0, "building": 0.0}
    size_bytes = 0
    for part in parts[:2]:
        onepfrac.render(part, threads=1, **settings)  # warms up
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(parts):
            start = time.perf_counter()
            pictures = onepfrac.render(part, threads=1, **settings)
            middle = time.perf_counter()
            for i, picture in enumerate(pictures):
                Image.fromarray(picture[0].numpy()).save(Path(folder, f"{number}-{i}.png"))
            seconds["streaming"] += middle - start
            seconds["building"] += time.perf_counter() - start
        size_bytes = sum(path.stat().st_size for path in Path(folder).iterdir())
    return {
        "dataset": name,
        "images": whole,
        "sample": drawn,
        **settings,
        "ms_an_image": {key: 1e3 * value / drawn for key, value in seconds.items()},
        "whole_seconds": {key: value / drawn * whole for key, value in seconds.items()},
        "whole_disk_bytes": size_bytes / drawn * whole,
        "stated_hours": STATED_HOURS.get(name),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="a few images of each; write nothing")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    sets = (("1p-frac", 1000, 500), ("OFDB", 1000, 200), ("FractalDB-1k", 1_000_000, 1000))
    rows = [measure(name, whole, 4 if options.smoke else images) for name, whole, images in sets]
    print("one thread; the whole set extrapolated from a sample")
    for row in rows:
        seconds, stated = row["whole_seconds"], row["stated_hours"]
        print(
            f"  {row['dataset']:13s} {row['images']:9,d} images: streaming {seconds['streaming']:8.2f} s, no disk;"
            f" building {seconds['building']:9.2f} s, {row['whole_disk_bytes'] / 1e9:7.3f} GB (sample {row['sample']})"
            + (f"; stated: {stated} h" if stated else "")
        )
    if not options.smoke:
        write("dataset", {"rows": rows}, ("pillow",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
