"""Breaks what is promised, one change at a time, and looks whether the tests notice.

    PYTHONPATH=tests python -m promises.broken_builds [--topic WORD] [--only WORD] [--results FILE]

Each change is made in a copy of the tracked files, beside the objects of the last build in place, and undone after it;
where it touches C++ the extension is compiled again. A change is noticed if each of its tests fails for one of its
parameters, or does not end in time. Ends with 1 where one was not noticed. FILE gets a line of JSON for each change.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from promises.catalogue import TOPICS
from promises.promise import Break, Promise

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900.0
"""Seconds after which tests that have not ended count as failed; four times as many where they compile the core."""


class Copy:
    """A copy of the checkout in which one change at a time is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        for name in filter(None, tracked.decode().split("\0")):
            if (ROOT / name).exists():
                self._copy(ROOT / name, folder / name)
        for built in [*ROOT.glob("python/onepfrac/_C*.so"), *ROOT.glob("build/objects-*")]:
            self._copy(built, folder / built.relative_to(ROOT))
        self._built: set[str] = set()
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(folder / "python"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ONEPFRAC_CUDA": "0",
        }
        shared = os.environ.get("ONEPFRAC_SHARED") or str(ROOT.parent / "shared")
        if Path(shared).is_dir():
            self.environment["ONEPFRAC_SHARED"] = shared

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)

    def apply(self, change: Break) -> None:
        """Make a change, and compile it if need be."""
        file = self.folder / change.file
        text = file.read_text()
        if text.count(change.old) != 1:
            raise SystemExit(
                f"{change.file} must hold this once, and does {text.count(change.old)} times: {change.old}"
            )
        file.write_text(text.replace(change.old, change.new))
        if change.file.startswith(("csrc/", "setup.py", "build_support/")) and not change.native:
            self._built.add(change.file)
        self.build()

    def undo(self, change: Break) -> None:
        """Put back what stood there; what was compiled is compiled again when it is needed."""
        shutil.copyfile(ROOT / change.file, self.folder / change.file)

    def build(self) -> None:
        """Compile what changed since the last time, if anything did."""
        if not self._built:
            return
        command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
        environment = {**self.environment, "PYTHONPATH": ""}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(done.stdout + done.stderr)
        self._built = {name for name in self._built if (ROOT / name).read_bytes() != (self.folder / name).read_bytes()}

    def outcomes(self, tests: tuple[str, ...], native: bool) -> dict[str, str]:
        """Run tests, and return what became of each: ``failed`` if one of its parameters did."""
        tally = self.folder / "tally.jsonl"
        tally.unlink(missing_ok=True)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tally", str(tally)]
        command += ["--nightly"] if native else []
        with subprocess.Popen(
            [*command, *tests],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that it is ended with all that it has started
        ) as process:
            try:
                printed, _ = process.communicate(timeout=4 * PATIENCE if native else PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                return dict.fromkeys(tests, "no end")
        if not tally.exists():
            if process.returncode < 0:  # a crash of the process that runs the tests
                return dict.fromkeys(tests, signal.Signals(-process.returncode).name)
            return dict.fromkeys(tests, f"pytest said {printed.decode(errors='replace')[-2000:]}")
        seen: dict[str, set[str]] = {}
        for line in tally.read_text().splitlines():
            entry = json.loads(line)
            seen.setdefault(entry["test"].partition("[")[0], set()).add(entry["outcome"])
        order = ("failed", "passed", "skipped")
        return {test: next((one for one in order if one in seen.get(test, ())), "not run") for test in tests}


NOTICED = frozenset({"failed", "no end", *(number.name for number in signal.Signals)})


def main() -> int:
    """Try the changes that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m promises.broken_builds", description=__doc__.partition("\n")[0])
    parser.add_argument("--topic", default="", help="only topics whose name holds this")
    parser.add_argument("--only", default="", help="only changes whose promise, file or text holds this")
    parser.add_argument("--results", metavar="FILE", help="add a line of JSON for each change")
    arguments = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory(prefix="broken-") as folder:
        copy = Copy(Path(folder))
        for topic, promises in TOPICS.items():
            for promise in promises:
                for change in promise.breaks:
                    words = "\n".join((promise.text, change.file, change.old, change.new))
                    if arguments.topic in topic and arguments.only in words:
                        missed += not _try(copy, topic, promise, change, arguments.results)
    print(f"{missed} not noticed")
    return 1 if missed else 0


def _try(copy: Copy, topic: str, promise: Promise, change: Break, results: str | None) -> bool:
    start = time.monotonic()
    copy.apply(change)
    outcomes = copy.outcomes(change.tests or promise.tests, change.native)
    copy.undo(change)
    noticed = all(outcome in NOTICED for outcome in outcomes.values())
    line = {
        "topic": topic,
        "promise": promise.text,
        "file": change.file,
        "old": change.old,
        "new": change.new,
        "outcomes": outcomes,
        "noticed": noticed,
    }
    print(f"{'noticed' if noticed else 'MISSED '} {time.monotonic() - start:5.0f} s  {change.file}: {change.new!r:.70}")
    for test, outcome in outcomes.items():
        print(f"    {outcome}: {test}", flush=True)
    if results is not None:
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    return noticed


if __name__ == "__main__":
    raise SystemExit(main())
