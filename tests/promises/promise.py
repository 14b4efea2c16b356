"""A promise: words, the tests that show it, and ways to break it that those tests must notice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Break", "Promise"]


@dataclass(frozen=True)
class Break:
    """One change of one file that breaks a promise: ``old``, which must stand there exactly once, becomes ``new``.

    ``test`` is the test that must then fail, as pytest names it ("tests/test_x.py::test_y", with parameters in
    brackets where one case is enough).
    """

    file: str
    old: str
    new: str
    test: str


@dataclass(frozen=True)
class Promise:
    """What is promised, in a sentence; the tests that show it; what was broken on purpose to see them fail."""

    about: str
    tests: tuple[str, ...]
    breaks: tuple[Break, ...]
