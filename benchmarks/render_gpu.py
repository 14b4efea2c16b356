"""Rendering throughput on a CUDA device: images a second, by events, beside a plain CuPy kernel and plain torch.

    python benchmarks/render_gpu.py            # a table, and benchmarks/results/render_gpu.json
    python benchmarks/render_gpu.py --smoke    # seconds; writes nothing

"Kernel" is ``onepfrac.render`` of packed systems (a single launch), "whole" the same from maps in host memory. The
peers draw like images of points: the CuPy kernel plays one orbit a thread, twice, with bounds and ink by atomics in
global memory, as one writes it first; torch plays all orbits of a batch as tensors, step by step. Before a row is timed
our pictures are compared with the CPU's, bit for bit. Beside the rate stands the share of three limits that it makes:
instructions issued (from results/gpu_code.json), shared-memory atomics (one a bank and cycle), bytes written.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from provenance import RESULTS
from timing import write

import onepfrac
from onepfrac import _C
from onepfrac.drawing import Drawing

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
PEER_ORBITS, PEER_BURN_IN = 256, 32
CUPY_SOURCE = r"""
__device__ unsigned next_draw(unsigned long long& state) {
    state ^= state << 13; state ^= state >> 7; state ^= state << 17;
    return (unsigned)(state >> 48);
}
__device__ void atomic_min(float* at, float v) {
    if (v >= 0) atomicMin((int*)at, __float_as_int(v)); else atomicMax((unsigned*)at, __float_as_uint(v));
}
__device__ void atomic_max(float* at, float v) {
    if (v >= 0) atomicMax((int*)at, __float_as_int(v)); else atomicMin((unsigned*)at, __float_as_uint(v));
}
extern "C" __global__ void chaos(const float* maps, const unsigned* thresholds, int num_maps, int points, int size,
                                 int pad, float* bounds, unsigned char* images, int inking) {
    const int image = blockIdx.x, steps = points / blockDim.x + BURN_IN;
    const float* mine = maps + image * num_maps * 6;
    float* box = bounds + 4 * image;
    unsigned long long state = 0x9E3779B97F4A7C15ull * (1ull + image * blockDim.x + threadIdx.x);
    float x = 0, y = 0;
    for (int i = 0; i < steps; ++i) {
        const unsigned draw = next_draw(state);
        int j = 0;
        while (draw >= thresholds[j]) ++j;
        const float* m = mine + 6 * j;
        const float nx = m[0] * x + m[1] * y + m[2];
        y = m[3] * x + m[4] * y + m[5];
        x = nx;
        if (i < BURN_IN) continue;
        if (inking) {
            const int px = (x - box[0]) * (size - 2 * pad) / (box[1] - box[0]) + pad;
            const int py = (y - box[2]) * (size - 2 * pad) / (box[3] - box[2]) + pad;
            images[((long long)image * size + size - 1 - py) * size + px] = 127;
        } else {
            atomic_min(box, x); atomic_max(box + 1, x); atomic_min(box + 2, y); atomic_max(box + 3, y);
        }
    }
}
"""


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


def thresholds_of(probs: Any) -> Any:
    """Return 16-bit thresholds."""
    found = np.round(65536 * np.cumsum(probs)).astype(np.int64)
    found[-1] = 65536
    return found


def cupy_game(maps: Any, probs: Any, points: int, size: int) -> Callable[[], Any] | None:
    """Return a call that draws with the plain CuPy kernel; None where CuPy is not installed."""
    try:
        import cupy
    except ImportError:
        return None
    kernel = cupy.RawKernel(CUPY_SOURCE.replace("BURN_IN", str(PEER_BURN_IN)), "chaos")
    device_maps = cupy.asarray(maps, dtype=cupy.float32)
    thresholds = cupy.asarray(thresholds_of(probs), dtype=cupy.uint32)
    images = cupy.empty((len(maps), size, size), cupy.uint8)
    box = cupy.asarray([np.inf, -np.inf, np.inf, -np.inf], dtype=cupy.float32)
    stream = cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream)

    def draw() -> Any:
        with stream:
            bounds = cupy.tile(box, (len(maps), 1))
            images.fill(0)
            for inking in (0, 1):
                kernel(
                    (len(maps),), (PEER_ORBITS,),
                    (device_maps, thresholds, np.int32(maps.shape[1]), np.int32(points), np.int32(size),
                     np.int32(PAD), bounds, images, np.int32(inking)),
                )  # fmt: skip
        return images

    return draw


def torch_game(maps: Any, probs: Any, points: int, size: int, device: str = "cuda") -> Callable[[], torch.Tensor]:
    """Return a call that draws with torch alone: all orbits of the batch as tensors, step by step."""
    batch = len(maps)
    rows = torch.as_tensor(maps, dtype=torch.float32, device=device)
    weights = torch.as_tensor(probs, dtype=torch.float32, device=device)
    which = torch.arange(batch, device=device)[:, None]

    def draw() -> torch.Tensor:
        steps = points // PEER_ORBITS
        choices = torch.multinomial(weights, batch * PEER_ORBITS * (steps + PEER_BURN_IN), replacement=True)
        choices = choices.view(steps + PEER_BURN_IN, batch, PEER_ORBITS)
        at = torch.zeros(batch, PEER_ORBITS, 2, device=device)
        orbit = torch.empty(steps, batch, PEER_ORBITS, 2, device=device)
        for step, choice in enumerate(choices):
            chosen = rows[which, choice]
            at = torch.einsum("bkij,bkj->bki", chosen[..., :2], at) + chosen[..., 2]
            if step >= PEER_BURN_IN:
                orbit[step - PEER_BURN_IN] = at
        flat = orbit.permute(1, 0, 2, 3).reshape(batch, -1, 2)
        low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
        pixels = ((flat - low) * ((size - 2 * PAD) / (high - low)) + PAD).long()
        images = torch.zeros(batch, size * size, dtype=torch.uint8, device=device)
        images.scatter_(1, (size - 1 - pixels[..., 1]) * size + pixels[..., 0], 127)
        return images.view(batch, size, size)

    return draw


def limits(points: int, size: int, dtype: torch.dtype) -> dict[str, float]:
    """Return images/s that each limit allows: issue slots, shared atomics without conflicts, bytes written."""
    found = torch.cuda.get_device_properties(0)
    clock = 1e3 * found.clock_rate if hasattr(found, "clock_rate") else 1.98e9  # kHz; else that of an H200
    multiprocessors = found.multi_processor_count
    loops = json.loads((RESULTS / "gpu_code.json").read_text())["kernels"]["render"]["loops"]
    steps = points + PEER_ORBITS * PEER_BURN_IN
    instructions = steps * sum(loop["each"] for loop in loops.values())
    return {
        "issue": multiprocessors * 4 * 32 * clock / instructions,
        "atomics": multiprocessors * 32 * clock / points,
        "bytes": 4.8e12 / (size * size * dtype.itemsize),  # HBM3e of an H200
    }


def measure(num_maps: int, points: int, size: int, brush: str, dtype: torch.dtype, batch: int) -> dict[str, Any]:
    """One row."""
    system = onepfrac.sample_ifs(sigma=1.75 * num_maps, num_maps=num_maps, seed=0)
    liep = onepfrac.LIEP(system, delta=0.05, num_classes=16, drawing=Drawing(min_inked=0.0))
    maps = np.resize(liep.maps.astype(np.float32), (batch, num_maps, 2, 3))
    seeds = np.arange(batch, dtype=np.uint64)
    options: dict[str, Any] = {"points": points, "size": size, "pad": PAD, "brush": brush, "dtype": dtype}
    few = min(batch, 8)
    on_gpu = onepfrac.render(maps[:few], system.probs, seed=seeds[:few], device="cuda", **options).cpu()
    if not torch.equal(on_gpu, onepfrac.render(maps[:few], system.probs, seed=seeds[:few], **options)):
        raise RuntimeError(f"the GPU's pictures differ from the CPU's: {num_maps=} {options}")

    out = torch.empty((batch, 1, size, size), dtype=dtype, device="cuda")
    packed = onepfrac.pack(maps, system.probs, seeds, device="cuda")
    rates = {
        "kernel": images_a_second(lambda: onepfrac.render(packed, out=out, **options), batch),
        "whole": images_a_second(lambda: onepfrac.render(maps, system.probs, seed=seeds, out=out, **options), batch, 5),
    }
    if brush == "point":
        cupy_draw = cupy_game(maps, system.probs, points, size)
        if cupy_draw is not None:
            rates["CuPy"] = images_a_second(cupy_draw, batch, 5)
        part = min(batch, 256)  # its tensors of points fill the memory
        rates["torch"] = images_a_second(torch_game(maps[:part], system.probs, points, size), part, 3)
    row = {"maps": num_maps, "points": points, "size": size, "brush": brush, "dtype": str(dtype), "batch": batch}
    return row | {"images_a_second": rates, "limits": limits(points, size, dtype) if num_maps == 2 else None}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two rows; write nothing")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available() or not _C.CUDA_ARCHS:
        parser.error("no CUDA device here, or an extension without CUDA")
    rows = [measure(*row) for row in (ROWS[-2:] if options.smoke else ROWS)]
    print("images/s (median); share of the limits that the kernel's rate makes")
    for row in rows:
        name = f"N {row['maps']} {row['points']:7d} pts {row['size']:4d} {row['brush']:5s} {row['dtype'][6:]:8s}"
        rates = "  ".join(f"{key} {rate['median']:,.0f}" for key, rate in row["images_a_second"].items())
        rate = row["images_a_second"]["kernel"]["median"]
        shares = "  ".join(f"{key} {rate / limit:.0%}" for key, limit in (row["limits"] or {}).items())
        print(f"  {name} x{row['batch']:<5d} {rates}  {shares}")
    if not options.smoke:
        write("render_gpu", {"rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
