"""How the cost of rendering grows: against points, size, number of maps, batch and threads, one axis at a time.

    python benchmarks/growth.py            # tables, and benchmarks/results/growth.json
    python benchmarks/growth.py --smoke    # a second; writes nothing
    python benchmarks/growth.py --device cuda

The settings that stand still are 100 000 points, 224 pixels, two maps, brush point, one thread, 32 images a call (256
on a GPU, and where threads grow). Each axis is fitted by a line, t = a + b x, in what it should be linear in: points,
pixels (size squared), maps, images. "Off" is the largest deviation of a median from the line. Where it is large, cost
does not grow like that: above 262 144 points the CPU keeps no buffer and walks each orbit twice; above 1024 pixels it
inks bits. Threads show the speed-up over one.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from timing import fit_line, take_turns, write

import onepfrac
from onepfrac.drawing import Drawing

STANDING: dict[str, Any] = {"points": 100_000, "size": 224, "maps": 2, "batch": 32, "threads": 1}
UNIT = {"points": "point", "size": "pixel", "maps": "map", "batch": "image"}


def axes(device: str) -> dict[str, list[int]]:
    """Return the values of each axis."""
    cores = torch.get_num_threads()
    found = {
        "points": [10_000, 20_000, 50_000, 100_000, 200_000, 400_000],
        "size": [32, 64, 128, 224, 256, 384, 512, 768, 1024],
        "maps": [2, 3, 4, 6, 8, 12, 16],
        "batch": [1, 2, 4, 8, 16, 32, 64, 128, 256],
        "threads": sorted({1, *(n for n in (2, 4, 8, 16, 32, 64) if n <= cores), cores}),
    }
    if device == "cuda":
        del found["threads"]
        found["batch"] = [1, 32, 132, 264, 528, 1056, 2112, 4224]
    return found


@functools.cache
def systems(num_maps: int, batch: int) -> onepfrac.Systems:
    """Return a batch of like systems of N maps, equally probable."""
    base = onepfrac.sample_ifs(sigma=1.75 * num_maps, num_maps=num_maps, seed=0)
    liep = onepfrac.LIEP(base, delta=0.02, num_classes=8, drawing=Drawing(min_inked=0.0))
    maps = np.resize(liep.maps.astype(np.float32), (batch, num_maps, 2, 3))
    return onepfrac.pack(maps, np.ones(num_maps), np.arange(batch))


def measure(axis: str, values: Sequence[int], turns: int, device: str) -> dict[str, Any]:
    """Time one axis; milliseconds an image, or a call where the batch itself grows."""
    contestants = {}
    for value in values:
        setting = STANDING | ({"batch": 256} if device == "cuda" or axis == "threads" else {}) | {axis: value}
        packed = systems(setting["maps"], setting["batch"])
        packed = onepfrac.Systems(packed.words.to(device), packed.num_maps)
        out = torch.empty((len(packed), 1, setting["size"], setting["size"]), dtype=torch.uint8, device=device)
        options = {
            "points": setting["points"],
            "size": setting["size"],
            "brush": "point",
            "threads": setting["threads"],
        }

        def draw(turn: int, packed: onepfrac.Systems = packed, options: Any = options, out: Any = out) -> None:
            onepfrac.render(packed, out=out, **options)
            if device == "cuda":
                torch.cuda.synchronize()

        contestants[str(value)] = (1 if axis == "batch" else setting["batch"], draw)
    timings = take_turns(contestants, turns)
    found: dict[str, Any] = {"axis": axis, "values": list(values), "ms": timings}
    medians = [timings[str(value)]["median"] for value in values]
    if axis == "threads":
        found["speed_up"] = [medians[0] / median for median in medians]
        return found
    x = [value * value for value in values] if axis == "size" else list(values)
    a, b, off = fit_line(x, medians)
    return found | {"constant_us": 1e3 * a, "ns_a_unit": 1e6 * b, "unit": UNIT[axis], "off": off}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the tables, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two values an axis, two turns; write nothing")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    options = parser.parse_args(arguments)
    found = []
    for axis, values in axes(options.device).items():
        if options.smoke:
            values = values[:2]
        row = measure(axis, values, 2 if options.smoke else 60, options.device)
        found.append(row)
        cells = "  ".join(f"{value}: {row['ms'][str(value)]['median']:.4f}" for value in values)
        print(f"{axis:8s} ms {'a call' if axis == 'batch' else 'an image'}  {cells}")
        if axis == "threads":
            print("         speed-up", " ".join(f"{value:.2f}x" for value in row["speed_up"]))
        else:
            print(
                f"         {row['constant_us']:.1f} us + {row['ns_a_unit']:.4f} ns a {row['unit']},"
                f" off by at most {100 * row['off']:.0f} %"
            )
    if not options.smoke:
        write("growth" if options.device == "cpu" else "growth_gpu", {"standing": STANDING, "axes": found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
