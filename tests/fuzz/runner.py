"""Runs cases in a process of their own, which may die: then the case is named on which it did.

A module of cases has `run_case(seed, number)`, which returns what became of the case, in a word, or raises.
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["SEED", "Outcome", "explore", "main", "refused"]

SEED = 20260704
_MOST_FAILURES = 20
_TESTS = Path(__file__).resolve().parent.parent

Case = Callable[[int, int], str]


@dataclass
class Outcome:
    """What became of a run of cases: how many of each kind, and what failed, in words."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    @property
    def cases(self) -> int:
        """How many were tried."""
        return sum(self.counts.values()) + len(self.failures)


def explore(module: str, first: int, count: int, *, patience: float = 300.0, batch: int = 20_000) -> Outcome:
    """Run cases ``first .. first + count - 1`` of a module, in batches; ``patience`` is in seconds, for 1000 cases."""
    outcome = Outcome()
    end = first + count
    while first < end and len(outcome.failures) < _MOST_FAILURES:
        size = min(batch, end - first)
        first = _run_batch(module, first, size, patience * max(1.0, size / 1000), outcome)
    return outcome


def _run_batch(module: str, first: int, count: int, patience: float, outcome: Outcome) -> int:
    """Run one child and return the number of the first case that was not tried."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        mark, report = Path(folder, "mark"), Path(folder, "report")
        mark.write_bytes(first.to_bytes(8, "little"))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_TESTS), environment.get("PYTHONPATH")]))
        command = [sys.executable, "-X", "faulthandler", "-m", module, "--first", str(first), "--count", str(count)]
        command += ["--mark", str(mark), "--report", str(report)]
        with open(Path(folder, "errors"), "w+b") as errors:
            try:
                code = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=errors,
                    stderr=errors,
                    timeout=patience,
                    check=False,
                ).returncode
                what = f"ended with {code}"
            except subprocess.TimeoutExpired:
                code, what = -1, f"did not end in {patience:.0f} s"
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        lines = [json.loads(line) for line in report.read_text().splitlines()] if report.exists() else []
        for line in lines:
            if "counts" in line:
                outcome.counts.update(line["counts"])
            else:
                outcome.failures.append(f"{module} --case {line['case']}\n{line['error']}")
        if code == 0:
            return first + count
        number = int.from_bytes(mark.read_bytes()[:8], "little")
        outcome.failures.append(f"{module} --case {number}: the process {what}\n{said[-3000:]}")
        outcome.counts["before a crash"] += number - first
        return number + 1


def refused(error: Exception, changed: bool, untouched: bool) -> str:
    """Check that a call was rightly refused: not a legal one, with a word, and before anything was written."""
    assert changed, f"a legal call was refused: {error}"
    assert str(error), "a refusal without a word"
    assert untouched, f"written to although refused: {error}"
    return "refused"


def main(run_case: Case) -> None:
    """Run one case, or a batch of them; the command line of a module of cases."""
    parser = argparse.ArgumentParser(description="hostile calls: one case, or a batch")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--case", type=int, help="run this one and show what it raises")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--mark", type=Path, help="a file of 8 bytes that always holds the number of the running case")
    parser.add_argument("--report", type=Path, help="where failures and counts go, a line of JSON each")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.case is not None:
        print(run_case(arguments.seed, arguments.case))
        return
    counts: Counter[str] = Counter()
    with open(arguments.mark, "r+b") as file, open(arguments.report, "a", buffering=1) as report:
        memory = mmap.mmap(file.fileno(), 8)
        failures = 0
        for number in range(arguments.first, arguments.first + arguments.count):
            memory[:] = number.to_bytes(8, "little")
            try:
                counts[run_case(arguments.seed, number)] += 1
            except Exception:
                failures += 1
                report.write(json.dumps({"case": number, "error": traceback.format_exc(limit=-6)}) + "\n")
                if failures == _MOST_FAILURES:
                    break
        report.write(json.dumps({"counts": counts}) + "\n")
