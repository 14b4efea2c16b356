"""Counts the cases that each test tries, for docs/reliability.md."""

from __future__ import annotations

import os
from collections import Counter

__all__ = ["cases", "tried"]

cases: Counter[str] = Counter()
"""Cases by test, as pytest names it."""


def tried(number: int = 1) -> None:
    """Say that the test that is running has tried ``number`` more cases. A test that says nothing counts as one."""
    cases[os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]] += number
