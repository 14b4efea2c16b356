"""The promises themselves: every test they name exists, every change they list can be made, and the page lists them."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from promises import report
from promises.catalogue import TOPICS
from promises.promise import Break, Promise

ROOT = Path(__file__).resolve().parent.parent
PROMISES = [promise for promises in TOPICS.values() for promise in promises]
BREAKS = [change for promise in PROMISES for change in promise.breaks]


@cache
def functions_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.text[:60])
def test_every_promise_names_tests_that_exist_and_a_broken_build_for_each(promise: Promise) -> None:
    for test in promise.tests:
        file, _, name = test.partition("::")
        assert name in functions_of(file), test
    if promise.breaks:
        covered = {test for change in promise.breaks for test in change.tests or promise.tests}
        assert covered == set(promise.tests)


@pytest.mark.parametrize("change", BREAKS, ids=lambda change: f"{change.file}: {change.new[:40]}")
def test_every_change_that_breaks_a_promise_can_be_made(change: Break) -> None:
    assert (ROOT / change.file).read_text().count(change.old) == 1
    assert change.old != change.new


def test_no_change_is_listed_twice_and_no_promise_stands_twice() -> None:
    assert len({(change.file, change.old, change.new) for change in BREAKS}) == len(BREAKS)
    assert len({promise.text for promise in PROMISES}) == len(PROMISES)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_the_cases_that_tests_try_are_counted_in_any_number_of_processes(tmp_path: Path, processes: str) -> None:
    test = "tests/test_supply.py::test_the_table_of_formats_says_what_the_code_writes"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", processes]
    command += ["--tally", str(tmp_path / "tally"), test]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (line,) = report.read([tmp_path / "tally"])
    assert (line["test"], line["outcome"]) == (test, "passed")
    assert int(str(line["cases"])) > 1


def test_the_page_lists_every_promise() -> None:
    text = report.PAGE.read_text()
    assert [promise.text for promise in PROMISES if f"| {promise.text} |" not in text] == []


def test_the_page_is_what_is_made_of_the_outcomes_that_are_kept() -> None:
    tallied, broken = (report.read([report.OUTCOMES / name]) for name in ("tests.jsonl", "broken-builds.jsonl"))
    noticed = {report.key_of_line(line): bool(line["noticed"]) for line in broken}
    assert report.PAGE.read_text() == report.page(report.Tally(tallied), noticed)


def test_of_kept_outcomes_the_newest_counts_unless_it_shows_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "OUTCOMES", tmp_path)
    name, change = PROMISES[0].tests[0], PROMISES[0].breaks[0]
    tests, builds = tmp_path / "tests.jsonl", tmp_path / "broken-builds.jsonl"

    def line(outcome: str, cases: int, test: str = name) -> dict[str, object]:
        return {"test": test, "outcome": outcome, "cases": cases}

    def built(noticed: bool, old: str = change.old) -> dict[str, object]:
        return {"file": change.file, "old": old, "new": change.new, "noticed": noticed}

    tests.touch()
    builds.touch()
    for new, kept in (
        (line("passed", 600), line("passed", 600)),
        (line("passed", 500), line("passed", 600)),
        (line("skipped", 0), line("passed", 600)),
        (line("failed", 3), line("failed", 3)),
        (line("passed", 500), line("passed", 500)),
        (line("passed", 9, "tests/test_of_no_promise.py::test_a"), line("passed", 500)),
    ):
        report.keep([new], [])
        assert [json.loads(text) for text in tests.read_text().splitlines()] == [kept]
    for new, kept in ((built(False), False), (built(True), True), (built(False, "what is listed no more"), True)):
        report.keep([], [new])
        assert [json.loads(text)["noticed"] for text in builds.read_text().splitlines()] == [kept]
