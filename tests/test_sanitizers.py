"""The sanitizers: each reports the fault that it is there for, and the core without Python agrees with itself."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from promises.tally import tried
from test_build import toolchain

ROOT = Path(__file__).resolve().parent.parent
X86 = platform.machine() == "x86_64"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))

pytestmark = pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler")


@cache
def lacks(sanitizer: str) -> str | None:
    """Why a sanitizer cannot be used here, None if it can."""
    done = subprocess.run(
        [str(COMPILER), f"-fsanitize={sanitizer}", "-x", "c++", "-", "-o", os.devnull],
        input="int main() {}",
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else f"the compiler has no {sanitizer} sanitizer here"


def build(folder: Path, sources: list[Path], flags: tuple[str, ...]) -> Path:
    """Compile sources with the flags of the extension and others after them, and link a program."""
    plain = [flag for flag in toolchain.CXX_FLAGS if flag != "-O3"]

    def compiled(numbered: tuple[int, Path]) -> Path:
        number, source = numbered
        target = folder / f"{number}.o"
        simd = toolchain.cxx_flags_for(source.name, X86)
        command = [str(COMPILER), *plain, "-O1", "-g", *simd, *(["-DONEPFRAC_X86=1"] if X86 else []), *flags]
        subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
        return target

    wanted = [source for source in sources if toolchain.cxx_flags_for(source.name, X86) is not None]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compiled, enumerate(wanted)))
    program = folder / "program"
    subprocess.run([str(COMPILER), *flags, *map(str, objects), "-lpthread", "-o", str(program)], check=True)
    return program


def core() -> list[Path]:
    """The files of the core, the slowest to compile first, and the driver."""
    levels = sorted((ROOT / "csrc" / "cpu" / "levels").glob("*.cpp"), key=lambda path: "render" not in path.name)
    rest = [ROOT / "csrc" / f"{name}.cpp" for name in ("host_block", "packing", "shot_packing")]
    cpu = [ROOT / "csrc" / "cpu" / f"{name}.cpp" for name in ("executor", "thread_pool")]
    return [*levels, *rest, *cpu, ROOT / "tests" / "native" / "driver.cpp"]


def drive(command: list[str | Path], timeout: float = 3000) -> int:
    """Run the driver; it must end with 0, without a word of a sanitizer. Return how many comparisons it made."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    assert "Sanitizer" not in done.stderr
    assert "runtime error" not in done.stderr
    found = re.fullmatch(r"(\d+) comparisons, 0 differ\n", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


PLANTED = {
    "address": ("int main(int n, char**) { int* p = new int[4]; int v = p[n + 3]; delete[] p; return v; }", "overflow"),
    "undefined": ("int main(int n, char**) { return (2147483646 + n) + n > 0; }", "signed integer overflow"),
    "thread": (
        "#include <thread>\nint shared = 0;\n"
        "int main() { std::thread t([] { for (int i = 0; i < 1000; ++i) ++shared; });\n"
        "for (int i = 0; i < 1000; ++i) ++shared;\nt.join(); return shared == 1; }",
        "data race",
    ),
}


@pytest.mark.parametrize("sanitizer", PLANTED)
def test_each_sanitizer_reports_a_planted_fault(sanitizer: str, tmp_path: Path) -> None:
    if (reason := lacks(sanitizer)) is not None:
        pytest.skip(reason)
    text, word = PLANTED[sanitizer]
    source = tmp_path / "planted.cpp"
    source.write_text(text)
    program = build(tmp_path, [source], (f"-fsanitize={sanitizer}", *toolchain.SANITIZED_FLAGS))
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert word in done.stderr


def test_a_step_out_of_a_part_of_working_memory_is_reported(tmp_path: Path) -> None:
    if (reason := lacks("address")) is not None:
        pytest.skip(reason)
    source = tmp_path / "arena.cpp"
    source.write_text(
        f'#include "{ROOT}/csrc/cpu/arena.h"\n#include <cstdlib>\n'
        "int main(int, char** words) { onepfrac::Arena arena;\n"
        "{ const onepfrac::Arena::Mark mark(arena); arena.take<char>(3000); }  // given back, and taken again\n"
        "auto* first = arena.take<char>(80); arena.take<char>(80)[79] = 1; first[std::atoi(words[1])] = 1; }"
    )
    program = build(tmp_path, [source], ("-fsanitize=address", *toolchain.SANITIZED_FLAGS))
    for place, word in (("79", None), ("80", "use-after-poison"), ("150", "use-after-poison"), ("-1", "overflow")):
        done = subprocess.run([str(program), place], capture_output=True, text=True, check=False)
        assert (done.returncode == 0) == (word is None), (place, done.stderr)
        assert word is None or word in done.stderr, place


@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_the_thread_pool_is_clean_under_sanitizers(sanitizer: str, tmp_path: Path) -> None:
    if (reason := lacks(sanitizer)) is not None:
        pytest.skip(reason)
    sources = [ROOT / "csrc" / "cpu" / "thread_pool.cpp", ROOT / "tests" / "native" / "pool.cpp"]
    program = build(tmp_path, sources, (f"-fsanitize={sanitizer}", *toolchain.SANITIZED_FLAGS))
    tried(drive([program, "40"], timeout=120))


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["address,undefined", "thread"])
def test_the_core_is_clean_under_sanitizers(sanitizer: str, tmp_path: Path) -> None:
    if (reason := lacks(sanitizer)) is not None:
        pytest.skip(reason)
    program = build(tmp_path, core(), (f"-fsanitize={sanitizer}", *toolchain.SANITIZED_FLAGS))
    tried(drive([program, "40"]))


@pytest.mark.slow
def test_the_core_is_clean_under_valgrind(tmp_path: Path) -> None:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        pytest.skip("valgrind is not installed")
    program = build(tmp_path, core(), ())
    # Valgrind knows no AVX-512; it hides it from the program.
    tried(
        drive([valgrind, "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite", program, "2"])
    )


@pytest.mark.slow
def test_the_core_agrees_with_itself_on_every_path(tmp_path: Path) -> None:
    tried(drive([build(tmp_path, core(), ()), "100"]))


def check_kernels(folder: Path, program: str | None) -> subprocess.CompletedProcess[str]:
    """Run benchmarks/compute_sanitizer.sh with a shell script in the place of NVIDIA's program, or with none."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "mkdir", "tail", "grep", "timeout", "cat"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    if program is not None:
        (tools / "compute-sanitizer").write_text(f"#!/bin/bash\n{program}\n")
        (tools / "compute-sanitizer").chmod(0o755)
    return subprocess.run(
        [str(ROOT / "benchmarks" / "compute_sanitizer.sh"), str(folder / "logs"), "tests/test_noise.py"],
        env={"PATH": str(tools), "SECONDS_EACH": "2"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")


def test_every_tool_of_compute_sanitizer_runs_the_tests_that_need_a_gpu(tmp_path: Path) -> None:
    done = check_kernels(tmp_path, 'echo "$@"; echo "3 passed, 9 deselected in 1.00s"')
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[-4:]] == list(TOOLS)
    assert all(line.endswith("clean") for line in done.stdout.splitlines()[-4:])
    for tool in TOOLS:
        called = (tmp_path / "logs" / f"{tool}.log").read_text().splitlines()[0]
        assert called.startswith(f"--tool {tool} --error-exitcode 9 python -m pytest -q -m gpu ")
        assert called.endswith(" tests/test_noise.py")


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("echo 3 passed; exit 9", "reports, see"),
        ("echo 1 failed; exit 1", "rc 1"),
        ("echo 7 skipped", "no test ran"),
        ("sleep() { while :; do :; done; }; sleep", "no end after 2 s"),
    ],
)
def test_one_tool_that_finds_a_fault_or_nothing_to_test_fails_the_check(
    program: str, verdict: str, tmp_path: Path
) -> None:
    done = check_kernels(tmp_path, f"if [ $2 = initcheck ]; then {program}; exit; fi; echo 3 passed")
    assert done.returncode == 1, done.stdout + done.stderr
    assert [verdict in line for line in done.stdout.splitlines()[-4:]] == [False, False, True, False]


def test_a_check_of_kernels_without_compute_sanitizer_says_what_is_missing(tmp_path: Path) -> None:
    done = check_kernels(tmp_path, None)
    assert done.returncode == 2
    assert "compute-sanitizer is not on PATH" in done.stderr
