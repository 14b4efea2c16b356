"""A disk that fails: this process is stopped, or told that the disk is full, at one of its operations on files."""

from __future__ import annotations

import errno
import io
import os
import threading
from collections.abc import Callable
from typing import Any

from onepfrac import export, files

__all__ = ["Disk"]


class Disk:
    """Counts the operations on files of this process from `install` on, and lets one of them fail.

    Parameters
    ----------
    stop
        The operation before which the process dies, as of a power cut; a write is done by half. 0: none.
    full
        The operation from which on every file that is to be made or written meets a full disk. 0: none.
    lost
        What becomes, on death, of files that were written and not flushed to the disk: "kept", "cut" by half, "zeros".
    """

    def __init__(self, stop: int = 0, full: int = 0, lost: str = "kept") -> None:
        self.count = 0
        self._stop, self._full, self._lost = stop, full, lost
        self._dirty: set[str] = set()
        self._paths: dict[int, str] = {}
        self._lock = threading.RLock()
        self._open, self._fdopen, self._replace, self._fsync = os.open, os.fdopen, os.replace, os.fsync

    def install(self) -> None:
        """Put this in the place of the system's functions, until the process ends."""
        os.open = self.open  # type: ignore[assignment]
        os.fdopen = self.fdopen  # type: ignore[assignment]
        os.replace = self.replace  # type: ignore[assignment]
        os.fsync = self.fsync  # type: ignore[assignment]
        for name in ("unlink", "remove", "mkdir", "rmdir", "link"):
            setattr(os, name, self._counted(getattr(os, name), name == "mkdir"))
        syncfs = files.sync_file_system
        for module in (files, export):
            module.sync_file_system = self._synced(syncfs)  # type: ignore[attr-defined]

    def step(self, path: object, writes: bool = False) -> None:
        """Count an operation, and fail if it is the one; ``writes``: it takes room on the disk."""
        with self._lock:
            self.count += 1
            if self.count == self._stop:
                self._die()
            if writes and self._full and self.count >= self._full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _die(self) -> None:
        for path in self._dirty:
            if self._lost == "kept" or not os.path.isfile(path):
                continue
            size = os.path.getsize(path)
            os.truncate(path, size // 2)
            if self._lost == "zeros":
                os.truncate(path, size)
        os._exit(137)

    def open(self, path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) and not str(path).endswith(".lock")
        if writes:
            self.step(path, True)
        descriptor = self._open(path, flags, *arguments, **keywords)
        with self._lock:
            self._paths[descriptor] = os.path.abspath(path)
        return descriptor

    def fdopen(self, descriptor: int, *arguments: Any, **keywords: Any) -> Any:
        return _File(self, self._fdopen(descriptor, *arguments, **keywords), self._paths.get(descriptor, ""))

    def replace(self, source: Any, target: Any) -> None:
        self.step(target)
        with self._lock:
            self._replace(source, target)
            before, after = os.path.abspath(source), os.path.abspath(target)
            self._dirty -= {path for path in self._dirty if path == after or path.startswith(after + os.sep)}
            self._dirty = {
                after + path[len(before) :] if path == before or path.startswith(before + os.sep) else path
                for path in self._dirty
            }

    def fsync(self, descriptor: int) -> None:
        path = self._paths.get(descriptor, "")
        self.step(path, os.path.isfile(path))
        self._fsync(descriptor)
        self._dirty.discard(path)

    def soil(self, path: str) -> None:
        """Note that a file was written."""
        with self._lock:
            self._dirty.add(path)

    def _counted(self, function: Callable[..., Any], writes: bool) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **keywords: Any) -> Any:
            self.step(path, writes)
            return function(path, *arguments, **keywords)

        return counted

    def _synced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def synced(folder: Any) -> None:
            self.step(folder)
            function(folder)
            self._dirty.clear()

        return synced


class _File:
    """A file whose writes count; one that a death meets is done by half."""

    def __init__(self, disk: Disk, file: io.BufferedWriter, path: str) -> None:
        self._disk, self._file, self._path = disk, file, path

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: bytes) -> int:
        self._disk.soil(self._path)
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._disk.step(self._path, True)
        self._file.write(data[half:])
        self._file.flush()
        return len(data)
