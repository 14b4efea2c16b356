"""Writes docs/reliability.md: each promise, its tests, how many cases they tried, and what broken builds showed.

pytest tests --tally build/tally.jsonl                             # --nightly for the numbers at length
PYTHONPATH=tests python -m promises.broken_builds --results build/broken.jsonl
PYTHONPATH=tests python -m promises.report --tally build/tally.jsonl --broken build/broken.jsonl --keep

With ``--keep`` these are added to tests/promises/outcomes, where lies what the committed page was made from, and the
page is made from all that lies there; otherwise from what is given alone. ``--keep`` by itself makes the page again.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

from promises.catalogue import TOPICS
from promises.promise import Break, Promise

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
OUTCOMES = Path(__file__).parent / "outcomes"

HEAD = """# Reliability

What this library promises about hostile input, faults and load. Every promise names the tests that show it, how many
cases they tried when this page was written, what came of them, and how many deliberate changes of the code (broken
builds) those tests were seen to notice. The promises and the changes are data in [tests/promises](../tests/promises).

```bash
.ci/nightly                                                        # everything at length, one command; makes this page
PYTHONPATH=tests python -m promises.broken_builds                  # the changes, one after the other
```

The formats of files, and what a new version does with old ones: [versions](versions.md).

Python without its GIL stays without it: the extension declares that it needs none. The outcome of the test that needs
such a Python, under "Threads", is of one built from CPython 3.13.5 with torch 2.9.1; `.ci/nightly --here`, run by such
a Python, tries all. What safetensors reads and writes (checkpoints, weights) has not run there, for lack of a wheel. As
with NumPy's own functions, no other thread may give an array another shape while a call begins.
"""


def read(paths: list[Path]) -> list[dict[str, object]]:
    """Return the lines of files of JSON lines."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]


def write(path: Path, lines: list[dict[str, object]]) -> None:
    """Write a file of JSON lines."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def keep(tallied: list[dict[str, object]], broken: list[dict[str, object]]) -> None:
    """Add lines to what is kept: of tests that promises name, and of changes that they list as they are now.

    The newest line of a test or change counts, but a skipped test counts for less than one that ran, and a test that
    passed for less than the same test passed with more cases.
    """
    promises = [promise for promises in TOPICS.values() for promise in promises]
    named = {test for promise in promises for test in promise.tests}
    tests: dict[str, dict[str, object]] = {}
    for line in [*read([OUTCOMES / "tests.jsonl"]), *tallied]:
        name, outcome = str(line["test"]), line["outcome"]
        if name.partition("[")[0] not in named:
            continue
        known = tests.get(name, line)
        if outcome == "skipped" and known["outcome"] != "skipped":
            continue
        if outcome == known["outcome"] and int(str(line["cases"])) < int(str(known["cases"])):
            continue
        tests[name] = line
    write(OUTCOMES / "tests.jsonl", sorted(tests.values(), key=lambda line: str(line["test"])))
    tried = {key_of_line(line): line for line in [*read([OUTCOMES / "broken-builds.jsonl"]), *broken]}
    listed = [key_of(change) for promise in promises for change in promise.breaks]
    write(OUTCOMES / "broken-builds.jsonl", [tried[key] for key in listed if key in tried])


class Tally:
    """Outcomes and numbers of cases by test; of several runs a failure counts, else the one with most cases."""

    def __init__(self, lines: list[dict[str, object]]) -> None:
        best: dict[str, tuple[int, str]] = {}
        for line in lines:
            name, cases, outcome = str(line["test"]), int(str(line["cases"])), str(line["outcome"])
            known = best.get(name)
            if known is None or self._rank(cases, outcome) > self._rank(*known):
                best[name] = cases, outcome
        self._of: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name, result in best.items():
            self._of[name.partition("[")[0]].append(result)

    @staticmethod
    def _rank(cases: int, outcome: str) -> tuple[int, int]:
        return ("skipped", "passed", "failed").index(outcome), cases

    def of(self, test: str) -> tuple[int, str]:
        """Return how many cases of a test were tried, and ``passed``, ``failed``, ``skipped`` or ``not run``."""
        results = self._of.get(test, [])
        cases = sum(cases for cases, outcome in results if outcome != "skipped")
        outcomes = {outcome for _, outcome in results}
        return cases, next((one for one in ("failed", "passed", "skipped") if one in outcomes), "not run")


def key_of(change: Break) -> tuple[str, str, str]:
    """Return what names a change in the results of broken builds."""
    return change.file, change.old, change.new


def key_of_line(line: dict[str, object]) -> tuple[str, str, str]:
    """Return the same of a line of such results."""
    return str(line["file"]), str(line["old"]), str(line["new"])


def rows(promise: Promise, tally: Tally, noticed: dict[tuple[str, str, str], bool]) -> str:
    """Return the row of a promise."""
    tests, cases, outcomes = [], [], []
    for test in promise.tests:
        file, _, name = test.partition("::")
        number, outcome = tally.of(test)
        tests.append(f"[{name.removeprefix('test_').replace('_', ' ')}](../{file})")
        cases.append(f"{number:,}".replace(",", " "))
        outcomes.append(outcome)
    tried = [noticed[key_of(change)] for change in promise.breaks if key_of(change) in noticed]
    broken = f"{sum(tried)} of {len(promise.breaks)}" if promise.breaks else "none possible here"
    if waiting := len(promise.breaks) - len(tried):
        broken += f", {waiting} not tried"
    return f"| {promise.text} | {'<br>'.join(tests)} | {'<br>'.join(cases)} | {'<br>'.join(outcomes)} | {broken} |"


def page(tally: Tally, noticed: dict[tuple[str, str, str], bool]) -> str:
    """Return the text of docs/reliability.md."""
    parts = [HEAD]
    for topic, promises in TOPICS.items():
        parts.append(
            f"\n## {topic}\n\n| promise | shown by | cases | outcome | changes noticed |\n|---|---|---:|---|---:|\n"
        )
        parts.append("\n".join(rows(promise, tally, noticed) for promise in promises) + "\n")
    return "".join(parts)


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="python -m promises.report", description=__doc__.partition("\n")[0])
    parser.add_argument("--tally", type=Path, action="append", default=[], help="what pytest --tally wrote; any number")
    parser.add_argument("--broken", type=Path, action="append", default=[], help="what broken_builds --results wrote")
    parser.add_argument("--keep", action="store_true", help="add these to tests/promises/outcomes and use all there")
    arguments = parser.parse_args()
    tallied, broken = read(arguments.tally), read(arguments.broken)
    if arguments.keep:
        keep(tallied, broken)
        tallied, broken = read([OUTCOMES / "tests.jsonl"]), read([OUTCOMES / "broken-builds.jsonl"])
    noticed = {key_of_line(line): bool(line["noticed"]) for line in broken}  # what was tried last counts
    PAGE.write_text(page(Tally(tallied), noticed))


if __name__ == "__main__":
    main()
