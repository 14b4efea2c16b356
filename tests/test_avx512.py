"""The AVX-512 path on processors that lack it: its source compiled against an emulation of the intrinsics (SIMDe)."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLAGS = ("-std=c++20", "-O1", "-ffp-contract=off", "-w")


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the emulation rests on AVX2")
@pytest.mark.skipif(not Path("/usr/include/simde").exists(), reason="SIMDe is not installed (Debian: libsimde-dev)")
def test_the_avx512_path_gives_the_bits_of_the_scalar_one_in_emulation(tmp_path: Path) -> None:
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    assert compiler is not None
    emulated = (*FLAGS, "-mavx2", "-mfma", "-mbmi2", "-include", ROOT / "tests" / "avx512" / "emulation.h")
    builds = (
        *((*emulated, ROOT / "csrc" / "cpu" / f"{what}_avx512.cpp") for what in ("render", "picture", "atom")),
        *((*FLAGS, ROOT / "csrc" / "cpu" / f"{what}_scalar.cpp") for what in ("render", "picture", "atom")),
        *((*FLAGS, ROOT / "csrc" / f"{what}packing.cpp") for what in ("", "shot_")),
        (*FLAGS, ROOT / "tests" / "avx512" / "compare.cpp"),
    )
    for number, arguments in enumerate(builds):
        subprocess.run([compiler, *map(str, arguments), "-c", "-o", str(tmp_path / f"{number}.o")], check=True)
    program = tmp_path / "compare"
    subprocess.run([compiler, *(str(tmp_path / f"{i}.o") for i in range(len(builds))), "-o", str(program)], check=True)
    result = subprocess.run([str(program)], capture_output=True, text=True, check=True, timeout=600)
    assert result.stdout == "936 cases, 0 differ\n"
