"""Results as JSON lines: each is written whole and flushed, a torn last one is as good as none."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onepfrac import files

__all__ = ["append", "read"]


def append(path: Path, line: Mapping[str, Any]) -> None:
    """Append one JSON object to a file, and wait until it is on the disk; a torn last line is removed first.

    Numbers that are not finite are written as null.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    with open(path, "a+b") as file:
        file.seek(0)
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)
        file.write(files.canonical_json(_plain(line)).encode("ascii") + b"\n")
        file.flush()
        os.fsync(file.fileno())
    files.sync_folder(path.parent)


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of all ``results*.jsonl`` in a folder, file after file by name; of none, nothing.

    Raises
    ------
    OSError
        If a file cannot be read.
    ValueError
        If a line other than a torn last one is no JSON object; the message names file and line.
    """
    found: list[dict[str, Any]] = []
    for path in sorted(folder.glob("results*.jsonl")):
        lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last end of line is torn, or nothing
        for number, line in enumerate(lines, 1):
            found.append(files.parse_json_object(line.decode("utf-8", "replace"), f"{path}, line {number}"))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
