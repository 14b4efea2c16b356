"""All benchmarks that this machine can run, and the plots of the README.

    python benchmarks/run.py                  # everything: tables, JSON in benchmarks/results, plots in docs/pictures
    python benchmarks/run.py render stream    # some of them
    python benchmarks/run.py --smoke          # seconds each; writes nothing

Run it on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

HERE = Path(__file__).resolve().parent
CPU = ("render", "growth", "stream", "train", "dataset", "visual_atoms", "gpu_code")
GPU = ("stream_gpu", "render_gpu", "growth_gpu")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run each benchmark in a process of its own; 1 if any failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = CPU + GPU
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(known)} (default: all)")
    parser.add_argument("--smoke", action="store_true", help="seconds each; write nothing")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.names if name not in known]:
        parser.error(f"NAME must be one of {', '.join(known)}, got {', '.join(unknown)}")
    here = CPU + (GPU if torch.cuda.is_available() else ())
    failed = []
    for name in options.names or here:
        if name not in here:
            parser.error(f"{name} needs a CUDA device, and torch finds none here")
        script, extra = ("growth", ["--device", "cuda"]) if name == "growth_gpu" else (name, [])
        if options.smoke:
            extra += ["--check" if name == "gpu_code" else "--smoke"]
        print(f"--- {name}", flush=True)
        start = time.perf_counter()
        if subprocess.run([sys.executable, str(HERE / f"{script}.py"), *extra], check=False).returncode != 0:
            failed.append(name)
        print(f"    {time.perf_counter() - start:.0f} s", flush=True)
    drawn = {"render", "growth", "stream"} & set(options.names or here)  # what the plots show
    if drawn and not options.smoke and not failed:
        print("--- plots", flush=True)
        failed += ["plots"] * (subprocess.run([sys.executable, str(HERE / "plots.py")], check=False).returncode != 0)
    if failed:
        print("failed:", ", ".join(failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
