"""What a promise is: a sentence, the tests that show it, and changes of the code that those tests must notice."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Break", "Promise"]


@dataclass(frozen=True)
class Break:
    """A change that breaks a promise: in ``file`` (from the root of the checkout) ``old`` becomes ``new``.

    ``old`` stands once in the file. ``tests`` must each fail then, at least for one of their parameters; where there
    are none given, all tests of the promise. Where ``native`` is true these tests compile the core themselves, which is
    slow: they run with ``--nightly``, and the extension stays as it is.
    """

    file: str
    old: str
    new: str
    tests: tuple[str, ...] = ()
    native: bool = False


@dataclass(frozen=True)
class Promise:
    """``text`` is one sentence; ``tests`` are named as pytest does, without parameters."""

    text: str
    tests: tuple[str, ...]
    breaks: tuple[Break, ...]
