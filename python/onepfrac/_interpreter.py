"""Refuses to be imported in a subinterpreter, where extensions such as ours and torch's hang or crash."""

from __future__ import annotations

import importlib
from types import ModuleType

__all__: list[str] = []


def _interpreters() -> ModuleType | None:
    for name in ("_interpreters", "_xxsubinterpreters"):  # from Python 3.13 on, and before
        try:
            return importlib.import_module(name)
        except ImportError:
            pass
    return None


_found = _interpreters()
if _found is not None and _found.get_current() != _found.get_main():
    raise ImportError(
        "onepfrac must be imported in the main interpreter, not in a subinterpreter: its extension, NumPy's"
        " and torch's hold state that interpreters would share"
    )
