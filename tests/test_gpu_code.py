"""The machine code of the CUDA kernel keeps its budgets; checked without a GPU."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from onepfrac import _C

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "gpu_code.py"


def has_disassemblers() -> bool:
    folders = [Path(folder, "nvidia") for folder in sys.path]
    return all(
        shutil.which(name) or any(list(folder.glob(f"*/bin/{name}")) for folder in folders)
        for name in ("cuobjdump", "nvdisasm")
    )


@pytest.mark.skipif("90" not in _C.CUDA_ARCHS.split(), reason="the extension holds no machine code for sm_90")
@pytest.mark.skipif(not has_disassemblers(), reason="no cuobjdump and nvdisasm (wheels of nvidia-cuda-…, see [test])")
def test_the_kernels_loops_keep_their_budget_and_nothing_spills() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bounds" in done.stdout
    assert "ink" in done.stdout
