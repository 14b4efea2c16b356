"""The soak: streams and runs that are killed again and again end as if nothing had happened, and leave nothing behind.

Here it makes two rounds of each kind; with --nightly it takes five minutes, or ONEPFRAC_SOAK_MINUTES in either case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from promises.tally import tried

PROGRAM = Path(__file__).resolve().parent / "soak.py"


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What one soak, in a process of its own, says of itself."""
    nightly = request.config.getoption("--nightly")
    minutes = float(os.environ.get("ONEPFRAC_SOAK_MINUTES") or (5 if nightly else 0))
    seed = time.time_ns() // 1_000_000 if nightly else 0
    command = [sys.executable, str(PROGRAM), "--minutes", str(minutes), "--seed", str(seed)]
    done = subprocess.run(
        [*command, "--rounds", "8" if nightly else "2"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60 * minutes + 900,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    print(f"soak of {said['seconds']:.0f} s with seed {seed}: {said}")
    assert isinstance(said, dict)
    return said


def test_killed_streams_go_on_with_the_very_next_batch_on_any_ranks_workers_and_threads(report: dict[str, Any]) -> None:
    streams = report["streams"]
    tried(streams["rounds"] + streams["kills"])
    assert streams["failures"] == [], f"seed {report['seed']}"
    assert streams["rounds"] >= 2
    assert streams["resumed"] >= 1
    assert streams["compared"] >= 100


def test_killed_runs_end_with_the_weights_and_losses_of_one_that_was_left_alone(report: dict[str, Any]) -> None:
    runs = report["runs"]
    tried(runs["rounds"] + runs["kills"])
    assert runs["failures"] == [], f"seed {report['seed']}"
    assert runs["rounds"] >= 2
    assert runs["resumed"] >= 1


def test_round_after_round_no_memory_threads_files_or_processes_are_left_behind(report: dict[str, Any]) -> None:
    tried(report["streams"]["rounds"] + report["runs"]["rounds"])
    assert report["left behind"] == 0, "loader workers outlived a killed process by more than 30 s"
    assert report["growth"]["threads"] == 0
    assert report["growth"]["files"] == 0
    assert report["growth"]["MiB"] < 16
