"""Rendering throughput on a CUDA device: images a second, by events, the device kept full.

    python benchmarks/render_gpu.py                    # a table, and benchmarks/results/render_gpu.json
    python benchmarks/render_gpu.py --out $OUT/a.json  # the file elsewhere

A row launches the kernel alone (systems packed and on the device before) and, beside it, the whole of
``onepfrac.render`` as a user calls it. Before a row is timed its pictures are compared with the CPU's, bit for bit.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from provenance import RESULTS, provenance

import onepfrac
from onepfrac import _C, files
from onepfrac.rendering import BRUSHES

PAD = 6
ROWS = (  # maps, points, size, brush, dtype, batch
    (2, 100_000, 224, "point", torch.uint8, 4096),
    (2, 100_000, 224, "patch", torch.uint8, 4096),
    (2, 100_000, 224, "patch", torch.bfloat16, 4096),
    (2, 100_000, 512, "patch", torch.uint8, 2048),
    (5, 100_000, 224, "point", torch.uint8, 4096),
    (2, 200_000, 362, "patch", torch.uint8, 2048),
    (2, 100_000, 224, "point", torch.uint8, 256),
    (2, 10_000, 64, "patch", torch.uint8, 4096),
    (2, 100_000, 2048, "patch", torch.uint8, 64),
)


def images_a_second(draw: Callable[[], object], images: int, repeats: int = 20) -> dict[str, float]:
    """Time `repeats` calls by events after three of warm-up; median and best."""
    for _ in range(3):
        draw()
    rates = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        draw()
        end.record()
        end.synchronize()
        rates.append(images / (start.elapsed_time(end) / 1e3))
    return {"median": statistics.median(rates), "best": max(rates)}


def measure(num_maps: int, points: int, size: int, brush: str, dtype: torch.dtype, batch: int) -> dict[str, Any]:
    """One row."""
    system = onepfrac.sample_ifs(sigma=1.75 * num_maps, num_maps=num_maps, seed=0)
    liep = onepfrac.LIEP(system, delta=0.05, num_classes=16, drawing=onepfrac.liep.Drawing(min_inked=0.0))
    maps = np.resize(liep.maps.astype(np.float32), (batch, num_maps, 2, 3))
    seeds = np.arange(batch, dtype=np.uint64)
    options: dict[str, Any] = {"points": points, "size": size, "pad": PAD, "brush": brush, "dtype": dtype}
    few = min(batch, 8)
    on_gpu = onepfrac.render(maps[:few], system.probs, seed=seeds[:few], device="cuda", **options).cpu()
    if not torch.equal(on_gpu, onepfrac.render(maps[:few], system.probs, seed=seeds[:few], **options)):
        raise RuntimeError(f"the GPU's pictures differ from the CPU's: {num_maps=} {options}")

    out = torch.empty((batch, 1, size, size), dtype=dtype, device="cuda")
    probs = np.ascontiguousarray(np.broadcast_to(system.probs, (batch, num_maps)))
    words = torch.from_numpy(_C.pack_systems(maps, probs, seeds).view(np.int32)).cuda()

    def kernel() -> None:
        stream = torch.cuda.current_stream().cuda_stream
        _C.render(words, out, num_maps, points, PAD, BRUSHES.index(brush), 1, "", stream)

    def whole() -> None:
        onepfrac.render(maps, system.probs, seed=seeds, out=out, **options)

    row = {"maps": num_maps, "points": points, "size": size, "brush": brush, "dtype": str(dtype), "batch": batch}
    return row | {"kernel": images_a_second(kernel, batch), "render": images_a_second(whole, batch, 5)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS / "render_gpu.json", help="where to write the JSON")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        parser.error("no CUDA device here")
    rows = [measure(*row) for row in ROWS]
    print("images a second (median)      kernel alone   onepfrac.render")
    for row in rows:
        name = f"N {row['maps']} {row['points']:7d} pts {row['size']:4d} {row['brush']:5s} {row['dtype'][6:]:8s}"
        print(f"{name} x{row['batch']:<5d} {row['kernel']['median']:12,.0f} {row['render']['median']:12,.0f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(
        options.out, json.dumps({"benchmark": "render_gpu", **provenance(), "rows": rows}, indent=1) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
