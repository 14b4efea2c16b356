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

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="the emulation rests on AVX2"),
    pytest.mark.skipif(not Path("/usr/include/simde").exists(), reason="SIMDe is not installed (Debian: libsimde-dev)"),
]


def compare(folder: Path, program: str, kernels: tuple[str, ...], others: tuple[str, ...] = ()) -> str:
    """Build a program of tests/avx512 with both paths of the kernels and other files of csrc; return its output."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    assert compiler is not None
    emulated = (*FLAGS, "-mavx2", "-mfma", "-mbmi2", "-include", ROOT / "tests" / "avx512" / "emulation.h")
    builds = (
        *((*emulated, ROOT / "csrc" / "cpu" / "levels" / f"{what}_avx512.cpp") for what in kernels),
        *((*FLAGS, ROOT / "csrc" / "cpu" / "levels" / f"{what}_scalar.cpp") for what in kernels),
        *((*FLAGS, ROOT / "csrc" / f"{what}.cpp") for what in others),
        (*FLAGS, ROOT / "tests" / "avx512" / f"{program}.cpp"),
    )
    for number, arguments in enumerate(builds):
        subprocess.run([compiler, *map(str, arguments), "-c", "-o", str(folder / f"{number}.o")], check=True)
    linked = folder / program
    subprocess.run([compiler, *(str(folder / f"{i}.o") for i in range(len(builds))), "-o", str(linked)], check=True)
    return subprocess.run([str(linked)], capture_output=True, text=True, check=True, timeout=600).stdout


def test_the_avx512_path_gives_the_bits_of_the_scalar_one_in_emulation(tmp_path: Path) -> None:
    assert (
        compare(tmp_path, "compare", ("render", "picture", "atom"), ("packing", "shot_packing"))
        == "936 cases, 0 differ\n"
    )


def test_the_avx512_path_of_noise_gives_the_bits_of_the_scalar_one_in_emulation(tmp_path: Path) -> None:
    assert compare(tmp_path, "compare_noise", ("noise",)) == "32 cases, 0 differ\n"


def test_the_avx512_paths_of_hits_and_scenes_give_the_bits_of_the_scalar_ones_in_emulation(tmp_path: Path) -> None:
    output = compare(tmp_path, "compare_scenes", ("density", "scene"), ("packing",))
    assert output == "370 cases, 0 differ\n"
