"""Inputs that coverage guides find no crash, hang or wrong answer in the bindings and the readers of files."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from promises.tally import tried

from fuzz.guided import COUNTERS, TARGETS, build

TESTS = Path(__file__).resolve().parent.parent

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None, reason='needs atheris: pip install "onepfrac[nightly]"'
)


def guided(target: str, runs: int, folder: Path, *, first: str = "", package: Path | None = None) -> tuple[int, str]:
    """Fuzz a target in a process of its own; return its exit status and what it printed."""
    paths = [str(package) if package else "", str(TESTS), os.environ.get("PYTHONPATH", "")]
    code = f"{first}\nimport sys\nfrom fuzz.guided import main\nmain()"
    program = folder / "program.py"  # run again by the child, with what stands first
    program.write_text(code)
    done = subprocess.run(
        [sys.executable, str(program), target, "--runs", str(runs), "--crashes", str(folder / "crashes")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=600 + runs / 20,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("target", [name for name in TARGETS if name != "bindings"])
def test_what_coverage_guides_is_refused_in_words_or_read_right(
    target: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    runs = 100_000 if request.config.getoption("--nightly") else 400
    status, printed = guided(target, runs, tmp_path)
    assert status == 0, printed[-5000:]
    executed = re.search(r"number_of_executed_units: (\d+)", printed)
    assert executed is not None, printed[-5000:]
    assert int(executed[1]) >= runs
    tried(int(executed[1]))


def test_the_bindings_stand_what_coverage_guides(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    nightly = request.config.getoption("--nightly")
    package = build(tmp_path / "built") if nightly and shutil.which("gcc") else None
    runs = 100_000 if nightly else 400
    status, printed = guided("bindings", runs, tmp_path, package=package)
    assert status == 0, printed[-5000:]
    assert f"{COUNTERS if package else 0} counters of C++" in printed
    covered = [int(number) for number in re.findall(r"cov: (\d+)", printed)]
    assert max(covered) > (500 if package else 5)  # branches: many, or Python's alone
    executed = re.search(r"number_of_executed_units: (\d+)", printed)
    assert executed is not None
    tried(int(executed[1]))


def test_a_fault_behind_three_right_bytes_is_found(tmp_path: Path) -> None:
    # No random input has them: coverage must lead there, byte by byte.
    planted = """
import onepfrac.files
parse = onepfrac.files.parse_json_object
def faulty(text, name):
    if text[:1] == "{":
        if text[1:2] == "x":
            if text[2:3] == "y":
                raise KeyError("planted")
    return parse(text, name)
import atheris
onepfrac.files.parse_json_object = atheris.instrument_func(faulty)
"""
    status, printed = guided("recipe", 1_000_000, tmp_path, first=planted)
    assert status != 0
    assert "planted" in printed
    assert list((tmp_path / "crashes").glob("crash-*"))
