"""A disk that fails: this process is stopped, or told that the disk is full, at one of its operations on files."""

from __future__ import annotations

import builtins
import ctypes
import errno
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onepfrac import export, files

__all__ = ["Disk", "can_exchange"]


def can_exchange(folder: Path) -> bool:
    """Whether system and file system can exchange two names in ``folder``: tried, and without the library."""
    if sys.platform != "linux":
        return False
    one, other = folder / ".one.tmp", folder / ".other.tmp"
    one.mkdir()
    other.mkdir()
    (one / "file").touch()
    status = ctypes.CDLL(None).renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2)
    done = status == 0 and (other / "file").exists()
    shutil.rmtree(one)
    shutil.rmtree(other)
    return done


class Disk:
    """Counts the operations on files of this process from `install` on, and lets one of them fail.

    Parameters
    ----------
    stop
        The operation before which the process dies, as of a power cut; a write is done by half. 0: none.
    full
        The operation from which on every file that is to be made or written meets a full disk. 0: none.
    lost
        What becomes, on death, of what was written and not flushed to the disk: it is "kept", "cut" to a third, reads
        as "zeros", or is cut and all names that were given since their folder was flushed are taken back: "undone".
    """

    def __init__(self, stop: int = 0, full: int = 0, lost: str = "kept") -> None:
        self.count = 0
        self.named: list[int] = []  # the operations after those that gave a file its name
        self.removed: list[int] = []  # and after those that removed one
        self._stop, self._full, self._lost = stop, full, lost
        self._dirty: dict[str, int] = {}  # files, and how many of their bytes are on the disk for sure
        self._undo: list[tuple[str, Callable[[], None]]] = []  # what takes a name back, until this folder is flushed
        self._paths: dict[int, str] = {}
        self._lock = threading.RLock()
        self._open, self._fdopen, self._replace, self._fsync = os.open, os.fdopen, os.replace, os.fsync
        self._plain_open, self._exchange = builtins.open, files.exchange

    def install(self) -> None:
        """Put this in the place of the system's functions, until the process ends."""
        builtins.open = self.file  # type: ignore[assignment]
        os.open = self.open  # type: ignore[assignment]
        os.fdopen = self.fdopen  # type: ignore[assignment]
        os.replace = self.replace  # type: ignore[assignment]
        os.fsync = self.fsync  # type: ignore[assignment]
        for name in ("unlink", "remove", "mkdir", "rmdir", "link"):
            removes = name in ("unlink", "remove", "rmdir")
            setattr(os, name, self._counted(getattr(os, name), name == "mkdir", removes))
        files.exchange = self.exchange
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
        for path, safe in self._dirty.items():
            if self._lost == "kept" or not os.path.isfile(path):
                continue
            size = os.path.getsize(path)
            os.truncate(path, min(size, safe + (size - safe) // 3))
            if self._lost == "zeros":
                os.truncate(path, size)
        for _, undo in reversed(self._undo if self._lost == "undone" else []):
            undo()
        os._exit(137)

    def file(self, path: Any, mode: str = "r", *arguments: Any, **keywords: Any) -> Any:
        """Do what ``open`` does."""
        writes = any(letter in mode for letter in "wax+")
        # TensorBoard writes from a thread of its own, when it likes.
        if not writes or not isinstance(path, (str, os.PathLike)) or "tensorboard" in str(path):
            return self._plain_open(path, mode, *arguments, **keywords)
        self.step(path, True)
        size = os.path.getsize(path) if os.path.exists(path) and "w" not in mode else 0
        file, name = self._plain_open(path, mode, *arguments, **keywords), os.path.abspath(path)
        with self._lock:
            self._dirty[name] = min(size, self._dirty.get(name, size))
            self._paths[file.fileno()] = name
        return _File(self, file, name)

    def open(self, path: Any, flags: int, *arguments: Any, **keywords: Any) -> int:
        """Do what ``os.open`` does."""
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR)) and not str(path).endswith(".lock")
        if writes:
            self.step(path, True)
        descriptor = self._open(path, flags, *arguments, **keywords)
        with self._lock:
            self._paths[descriptor] = os.path.abspath(path)
            if flags & (os.O_EXCL | os.O_TRUNC):
                self._dirty.pop(self._paths[descriptor], None)
        return descriptor

    def fdopen(self, descriptor: int, *arguments: Any, **keywords: Any) -> Any:
        """Do what ``os.fdopen`` does."""
        return _File(self, self._fdopen(descriptor, *arguments, **keywords), self._paths.get(descriptor, ""))

    def replace(self, source: Any, target: Any) -> None:
        """Do what ``os.replace`` does."""
        self.step(target)
        before, after, held = os.path.abspath(source), os.path.abspath(target), None
        with self._lock:
            if self._lost == "undone" and os.path.isfile(after):
                with self._plain_open(after, "rb") as file:
                    held = file.read()
            self._replace(source, target)
            self._undo.append((os.path.dirname(after), lambda: self._take_back(before, after, held)))
            self.named.append(self.count + 1)
            self._dirty = {
                path if (inside := _inside(path, before)) is None else after + inside: safe
                for path, safe in self._dirty.items()
                if _inside(path, after) is None
            }

    def exchange(self, one: Any, other: Any) -> bool:
        """Do what ``onepfrac.files.exchange`` does."""
        self.step(other)
        names = os.path.abspath(one), os.path.abspath(other)
        with self._lock:
            if not self._exchange(one, other):
                return False
            self._undo.append((os.path.dirname(names[1]), lambda: self._change_back(one, other)))
            self.named.append(self.count + 1)
            moved = {
                path: to + inside
                for name, to in (names, names[::-1])
                for path in self._dirty
                if (inside := _inside(path, name)) is not None
            }
            self._dirty = {moved.get(path, path): safe for path, safe in self._dirty.items()}
        return True

    def fsync(self, descriptor: int) -> None:
        """Do what ``os.fsync`` does."""
        path = self._paths.get(descriptor, "")
        self.step(path, os.path.isfile(path))
        self._fsync(descriptor)
        with self._lock:
            if os.path.isfile(path):
                self._dirty[path] = os.path.getsize(path)
            self._undo = [(folder, undo) for folder, undo in self._undo if folder != path]

    def soil(self, path: str) -> None:
        """Note that a file was written."""
        with self._lock:
            self._dirty.setdefault(path, 0)

    def _take_back(self, before: str, after: str, held: bytes | None) -> None:
        if os.path.exists(after) and os.path.isdir(os.path.dirname(before)) and not os.path.exists(before):
            self._replace(after, before)
        if held is not None:
            with self._plain_open(after, "wb") as file:
                file.write(held)

    def _change_back(self, one: Any, other: Any) -> None:
        if os.path.exists(one):
            self._exchange(one, other)
        else:  # removed already: of an exchange that is not on the disk the new folder has its first name
            self._replace(other, one)

    def _counted(self, function: Callable[..., Any], writes: bool, removes: bool) -> Callable[..., Any]:
        def counted(path: Any, *arguments: Any, **keywords: Any) -> Any:
            self.step(path, writes)
            done = function(path, *arguments, **keywords)
            if removes:
                self.removed.append(self.count + 1)
            return done

        return counted

    def _synced(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def synced(folder: Any) -> None:
            self.step(folder)
            function(folder)
            with self._lock:
                self._dirty.clear()
                self._undo.clear()

        return synced


def _inside(path: str, folder: str) -> str | None:
    """Return what ``path`` adds to ``folder``, "" for itself, None where it lies elsewhere."""
    return path[len(folder) :] if path == folder or path.startswith(folder + os.sep) else None


class _File:
    """A file whose writes count; one that a death meets is done by half."""

    def __init__(self, disk: Disk, file: Any, path: str) -> None:
        self._disk, self._file, self._path = disk, file, path

    def __enter__(self) -> _File:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, data: Any) -> int:
        """Write in two halves, with the operation between them."""
        self._disk.soil(self._path)
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._disk.step(self._path, True)
        self._file.write(data[half:])
        self._file.flush()
        return len(data)
