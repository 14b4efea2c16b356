"""Locks that a forked child finds free, whichever threads held them when it was forked."""

from __future__ import annotations

import os
import threading
import weakref

__all__ = ["Mutex"]


class Mutex:
    """A lock, used as ``with mutex.lock:``, and whether what it guards is under way.

    ``lock`` is Python's own re-entrant one, so that Ctrl-C never comes between its being taken and its being given
    back, and a signal's handler does not wait for the thread it runs on; it finds ``busy`` set instead.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.busy = False
        _all.add(self)


_all: weakref.WeakSet[Mutex] = weakref.WeakSet()


def _renew() -> None:
    """Free all locks in a forked child: the threads that held them are not there."""
    for mutex in _all:
        mutex.lock = threading.RLock()
        mutex.busy = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
