"""Files and folders that are whole or absent: atomic writing, and reading of JSON that strangers may have written."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn

__all__ = [
    "MAX_JSON_BYTES",
    "canonical_json",
    "exchange",
    "parse_json_object",
    "put_folder",
    "read_json_object",
    "sync_file_system",
    "sync_folder",
    "temporary_folder",
    "write_bytes",
    "write_text",
]

MAX_JSON_BYTES = 16 * 1024 * 1024
"""Larger JSON files are refused before they are read."""

_MEMORY = {"[": 96, "{": 300, ":": 300, ",": 64}  # bytes that what a character begins or parts takes in Python, at most
_MEMORY_PER_BYTE = 8  # more than any list of systems takes, whose numbers have their digits
_MEMORY_SPARE = 64 * 1024 * 1024

_AT_FDCWD = -100  # Linux: names that begin at the working folder
_EXCHANGE = 2  # Linux's RENAME_EXCHANGE and macOS's RENAME_SWAP


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` to ``path``; a reader sees the old file or the new one, never a part.

    The bytes go to a temporary name in the same folder, are flushed to the disk and renamed. On any failure the
    temporary file is removed and what stood at ``path`` is left alone.

    Raises
    ------
    OSError
        If the folder does not exist, cannot be written or is full; the error names the path.
    """
    target = Path(path)
    temporary = _beside(target)
    try:
        # os.open and not tempfile: the file gets the permissions that the user's umask gives to any new file.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with suppress(OSError):  # where there is no folder there is no temporary file either
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, f"cannot write {target}: {error.strerror}") from error
        raise
    sync_folder(target.parent)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


@contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Make an empty folder beside ``target``, to be filled for `put_folder`; what is left of it in the end is removed.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    folder = _beside(target)
    try:
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def put_folder(source: Path, target: Path) -> None:
    """Give the folder ``source`` the name ``target``; a folder that stood there is at ``source`` afterwards.

    Both lie in one folder. At any moment, a power cut included, the old folder or the new one has the name, each of
    them whole; for the length of one rename neither has it where the system or the file system cannot exchange names.
    The name is on the disk before this returns, so that the old folder may be removed.

    Raises
    ------
    OSError
        If ``target`` is no folder, a link among others, or cannot be renamed; then both are as they were.
    """
    if not os.path.lexists(target):
        os.replace(source, target)
    elif not target.is_dir() or target.is_symlink():
        raise OSError(errno.ENOTDIR, f"cannot replace {target}: {os.strerror(errno.ENOTDIR)}")
    elif not exchange(source, target):
        old = _beside(target)
        try:
            os.replace(target, old)
            os.replace(source, target)
        except BaseException:
            if os.path.lexists(old) and not os.path.lexists(target):
                os.replace(old, target)
            raise
        os.replace(old, source)
    sync_folder(target.parent)  # before the old one goes, or a power cut could bring back what is left of it


def exchange(one: Path, other: Path) -> bool:
    """Let two files or folders change names in one step; return False where the system or file system cannot.

    Raises
    ------
    OSError
        If it fails for another reason; the error names the second.
    """
    library = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(one), os.fsencode(other)
    if hasattr(library, "renameat2"):  # Linux
        status = library.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE)
    elif hasattr(library, "renamex_np"):  # macOS
        status = library.renamex_np(*names, _EXCHANGE)
    else:
        return False
    if status == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP):
        return False
    raise OSError(number, f"cannot replace {other}: {os.strerror(number)}")


def canonical_json(value: object) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, ASCII, shortest floats, no NaN or infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def parse_json_object(text: str, name: str) -> dict[str, object]:
    """Parse ``text`` as one JSON object.

    Parameters
    ----------
    text
        The JSON text.
    name
        What the text is, for error messages ("recipe", a path).

    Raises
    ------
    TypeError
        If it is no text.
    ValueError
        If the text is not JSON, is nested too deeply, is not an object, repeats a key or holds NaN or an infinity, or
        if its values would take more than 64 MiB and 8 bytes for each of its own.
    """
    if not isinstance(text, str):
        raise TypeError(f"{name} must be a text of JSON, got {type(text).__name__}")
    # Three bytes of text, "[],", make a list of 64: what is small as a file must not be large in memory.
    wanted = sum(size * text.count(character) for character, size in _MEMORY.items())
    if wanted > _MEMORY_PER_BYTE * len(text) + _MEMORY_SPARE:
        raise ValueError(f"{name} must hold long values, got {len(text)} characters that would take {wanted} bytes")
    try:
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise ValueError(f"{name} is not legal JSON: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{name} is not legal JSON: {error}") from error
    if not isinstance(value, dict):
        raise ValueError(f"{name} must hold a JSON object, got a {type(value).__name__}")
    return value


def read_json_object(path: str | os.PathLike[str], limit: int = MAX_JSON_BYTES) -> dict[str, object]:
    """Read a UTF-8 file of at most ``limit`` bytes that holds one JSON object.

    Raises
    ------
    FileNotFoundError, OSError
        If the file cannot be read.
    ValueError
        If it is larger than ``limit``, or for the reasons of `parse_json_object`; the message names the path.
    """
    with open(path, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes, the most that is read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not legal JSON: not UTF-8 text ({error})") from error
    del data
    return parse_json_object(text, str(path))


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut, where the file system allows to ask for it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def sync_file_system(folder: Path) -> None:
    """Flush all that was written to the file system on which ``folder`` lies, by one call for any number of files.

    Raises
    ------
    OSError
        If it could not be written; the error names the folder.
    """
    syncfs = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
    if syncfs is None:  # no Linux
        os.sync()
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        if syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"cannot write {folder}: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name[:200]}.{secrets.token_hex(8)}.tmp")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a legal number")


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"key {key!r:.80} stands twice")
        result[key] = value
    return result
