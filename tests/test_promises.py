"""The promises themselves: every test they name exists, every change they list can be made, and the page lists them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest
from promises.catalogue import TOPICS
from promises.promise import Break, Promise
from promises.report import PAGE

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


def test_the_page_lists_every_promise() -> None:
    if not PAGE.exists():
        pytest.fail("docs/reliability.md is missing: see tests/promises/report.py")
    text = PAGE.read_text()
    assert [promise.text for promise in PROMISES if f"| {promise.text} |" not in text] == []
