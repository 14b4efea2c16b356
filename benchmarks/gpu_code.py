"""The machine code of the CUDA kernels: instructions a point, registers, spills, occupancy. Needs no GPU.

    python benchmarks/gpu_code.py            # of the built extension: a table, and benchmarks/results/gpu_code.json
    python benchmarks/gpu_code.py --check    # exit status 1 where a budget is broken; writes nothing

cuobjdump and nvdisasm (of the CUDA toolkit, or the wheels nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm) disassemble
the extension. An orbit is walked twice, once for the bounds and once to ink; each walk of the kernel for two maps is a
loop that plays eight steps, one block of random numbers, an iteration. A loop is found by its backward branch and
known by what it holds: 32 multiply-adds of the maps and the wide multiplications of Philox; minima make it the bounds
loop, atomics in shared memory (an OR of bits, or a sum of hits) the ink loop. Of loops of one kind the shortest counts:
the others check each point. The kernel that draws a canvas and takes its picture holds the same two loops, and the
camera's: over the rows of taps around a pixel, known by their look-ups of 16-bit sums: two a row for kernels up to 8
columns wide (canvases shrunk to a half at most), four for those up to 16.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from timing import write

from onepfrac import _C

STEPS = 8  # of an orbit, an iteration of a loop
ROWS = 4  # of taps, an iteration of a loop
PICTURE = 224  # pixels of the pictures whose memory is told
KERNELS = {  # those for two maps, and for bits; of those from count hits on, for any number of maps or without, no
    # loop is counted
    "render": "13render_kernelILi2E",
    "draw pictures": "draw_pictures_kernelILi2E",
    "take pictures": "take_pictures_kernelINS_9BlockBits",
    "count hits": "count_hits_kernel",
    "grade hits": "grade_hits_kernel",
    "draw atoms": "draw_atoms_kernel",
    "draw noise": "noise_kernel",
    "paint scenes": "paint_scenes_kernel",
}
BUDGET = 40  # instructions a point in each loop
TAPS_BUDGET = 40  # instructions a row of taps
SIZES = (64, 128, 224, 256, 362, 384, 512, 1024, 2048)
# A multiprocessor of compute capability 9.0 (CUDA C++ Programming Guide, "Technical Specifications per Compute
# Capability"): registers, threads, bytes of shared memory for all blocks and for one, and what CUDA keeps of each.
REGISTERS, THREADS, SHARED, BLOCK_SHARED, KEPT_SHARED = 65536, 2048, 228 * 1024, 227 * 1024, 1024
INSTRUCTION = re.compile(r"/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);")


@dataclass(frozen=True)
class Instruction:
    """One machine instruction: address, operation with its modifiers, operands."""

    address: int
    operation: str
    operands: str


def tool(name: str) -> Path:
    """Return the path of a disassembler: on PATH, or of its wheel in this Python."""
    if found := shutil.which(name):
        return Path(found)
    for folder in sys.path:
        for path in sorted(Path(folder, "nvidia").glob(f"*/bin/{name}")):
            return path
    raise SystemExit(f"{name} is not here: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")


def cuobjdump(*arguments: str | Path) -> str:
    """Run cuobjdump, which looks for nvdisasm on PATH, and return what it prints."""
    environment = {"PATH": f"{tool('nvdisasm').parent}:/usr/bin:/bin"}
    command = [str(tool("cuobjdump")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def functions(sass: str) -> dict[str, list[Instruction]]:
    """Split a disassembly into its functions."""
    found = {}
    for part in re.split(r"^\s*Function : ", sass, flags=re.MULTILINE)[1:]:
        name, _, body = part.partition("\n")
        lines = INSTRUCTION.finditer(body)
        found[name.strip()] = [Instruction(int(line[1], 16), line[2], line[3].strip()) for line in lines]
    return found


def loops(code: Sequence[Instruction]) -> list[list[Instruction]]:
    """Return the innermost loops, each from the target of a backward branch to the branch."""
    spans = []
    for instruction in code:
        target = re.search(r"(0x[0-9a-f]+)$", instruction.operands)
        if instruction.operation.startswith("BRA") and target and int(target[1], 16) < instruction.address:
            spans.append((int(target[1], 16), instruction.address))
    inner = [a for a in spans if not any(b != a and a[0] <= b[0] and b[1] <= a[1] for b in spans)]
    return [[i for i in code if first <= i.address <= last] for first, last in inner]


def kind_of(operations: Counter[str]) -> str | None:
    """Tell the bounds loop, the ink loop and the camera's loops over rows of taps; None for any other."""
    wide = sum(count for name, count in operations.items() if name.startswith("IMAD.WIDE"))
    plain: Counter[str] = Counter()
    for name, count in operations.items():
        plain[name.split(".")[0]] += count
    if plain["FFMA"] < 4 * STEPS or wide < 8:
        sums = sum(count for name, count in operations.items() if name.startswith(("LDS.S16", "LDS.U16")))
        return {8: "eight columns", 16: "sixteen columns"}.get(sums) if plain["FFMA"] == 0 else None
    if plain["ATOMS"] >= STEPS:
        return "ink"
    return "bounds" if plain["FMNMX"] + plain["FMNMX3"] >= STEPS else None


def describe(extension: Path, arch: str) -> dict[str, Any]:
    """Measure the kernels for two maps, and look for spills in all."""
    found = functions(cuobjdump("-sass", "-arch", f"sm_{arch}", extension))
    usage = cuobjdump("-res-usage", "-arch", f"sm_{arch}", extension)
    kernels = {}
    for short, part in KERNELS.items():
        name = next((name for name in found if part in name), None)
        if name is None:
            raise SystemExit(f"{extension} holds no kernel {part} for sm_{arch}")
        resources = re.search(re.escape(name) + r".*?REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", usage, re.DOTALL)
        if resources is None:
            raise SystemExit(f"cuobjdump -res-usage says nothing of {name}")
        kernels[short] = {
            "registers": int(resources[1]),
            "stack_bytes": int(resources[2]),
            "local_memory_instructions": sum(i.operation.split(".")[0] in ("LDL", "STL") for i in found[name]),
            "loops": loops_of(found[name]),
        }
    sizes = [occupancy(size, _C.cuda_layout(size, BLOCK_SHARED), kernels["render"]["registers"]) for size in SIZES]
    drawn = [
        occupancy(size, (1, _C.picture_bytes(size, PICTURE)), kernels["draw pictures"]["registers"])
        for size in SIZES
        if _C.picture_bytes(size, PICTURE) <= BLOCK_SHARED
    ]
    return {"arch": arch, "kernels": kernels, "occupancy": {"render": sizes, "draw pictures": drawn}}


def loops_of(code: Sequence[Instruction]) -> dict[str, dict[str, Any]]:
    """Return the loops that are counted: instructions a point, or a row of taps; the shortest of each kind."""
    counted: dict[str, dict[str, Any]] = {}
    for loop in loops(code):
        operations = Counter(i.operation for i in loop)
        kind = kind_of(operations)
        if kind is None or (kind in counted and counted[kind]["instructions"] <= len(loop)):
            continue
        steps = ROWS if "columns" in kind else STEPS
        plain = Counter(i.operation.split(".")[0] for i in loop)
        counted[kind] = {"instructions": len(loop), "each": len(loop) / steps, "operations": dict(plain.most_common())}
    return counted


def occupancy(size: int, layout: tuple[int, int], registers: int) -> dict[str, Any]:
    """Return how a canvas fits: bands of rows it is cut into, shared memory of a block, blocks and threads at once."""
    bands, shared = layout
    threads = _C.ORBITS
    limits = {
        "registers": REGISTERS // (threads * -(-registers // 8) * 8),
        "threads": THREADS // threads,
        "shared memory": SHARED // (-(-(shared + KEPT_SHARED) // 128) * 128),
    }
    blocks = min(limits.values())
    return {
        "size": size,
        "bands": bands,
        "shared_bytes": shared,
        "blocks": blocks,
        "threads": blocks * threads,
        "limit": min(limits, key=lambda name: limits[name]),
    }


def broken(found: dict[str, Any]) -> list[str]:
    """Return what is wrong with the code; nothing where all budgets hold."""
    complaints = []
    walks, taps = ("bounds", "ink"), ("eight columns", "sixteen columns")
    for kernel, kinds in (("render", walks), ("draw pictures", (*walks, *taps))):
        counted = found["kernels"][kernel]["loops"]
        for kind in kinds:
            budget = TAPS_BUDGET if kind in taps else BUDGET
            if kind not in counted:
                complaints.append(f"{kernel}: no loop for {kind} was found")
            elif counted[kind]["each"] > budget:
                complaints.append(
                    f"{kernel}: {kind} takes {counted[kind]['each']:.1f} instructions, of at most {budget}"
                )
    for kernel, usage in found["kernels"].items():
        if usage["stack_bytes"] or usage["local_memory_instructions"]:
            complaints.append(
                f"{kernel}: {usage['stack_bytes']} bytes of stack,"
                f" {usage['local_memory_instructions']} accesses to local memory"
            )
    return complaints


def main(arguments: Sequence[str] | None = None) -> int:
    """Disassemble, print, and check or write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the budgets; write nothing")
    parser.add_argument("--arch", default="90", help="compute capability times ten (default 90)")
    parser.add_argument("--file", type=Path, default=Path(_C.__file__), help="extension (default: the built one)")
    options = parser.parse_args(arguments)
    found = describe(options.file, options.arch)
    print(f"sm_{found['arch']}")
    for kernel, usage in found["kernels"].items():
        print(f"{kernel}: {usage['registers']} registers, {usage['stack_bytes']} bytes of stack,", end=" ")
        print(f"{usage['local_memory_instructions']} accesses to local memory")
        for kind, loop in usage["loops"].items():
            unit, steps = ("row of taps", ROWS) if "columns" in kind else ("point", STEPS)
            most = ", ".join(f"{count} {name}" for name, count in list(loop["operations"].items())[:8])
            print(f"  {kind}: {loop['each']:.1f} instructions a {unit}; of {steps}: {most}")
    for kernel, rows in found["occupancy"].items():
        for row in rows:
            memory = f"{row['bands']} band(s), {row['shared_bytes'] / 1024:6.1f} KiB a block"
            print(
                f"  {kernel}, canvas {row['size']:4d}: {memory}, {row['blocks']} blocks and {row['threads']} threads"
                f" a multiprocessor (limit: {row['limit']})"
            )
    complaints = broken(found)
    print(*complaints, sep="\n", end="\n" if complaints else "")
    if not options.check:
        write("gpu_code", found)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
