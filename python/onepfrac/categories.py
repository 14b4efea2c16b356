"""Categories: the systems of FractalDB and OFDB, as a list that is found by a search or read from a file.

Files: JSON, which this library writes, and the published CSV format, a folder of ``00000.csv``, ``00001.csv``, ...: a
line a map with ``a,b,c,d,e,f,p`` of ``x' = a x + b y + e``, ``y' = c x + d y + f``, chosen with probability p.
"""

from __future__ import annotations

import itertools
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onepfrac.draws import FORMAT_VERSION
from onepfrac.files import (
    canonical_json,
    parse_json_object,
    put_folder,
    read_json_object,
    sync_folder,
    temporary_folder,
    write_text,
)
from onepfrac.ifs import IFS, MAX_MAPS
from onepfrac.systems import diverges

__all__ = ["MAX_CATEGORIES", "MAX_CATEGORIES_BYTES", "Categories", "as_values", "check_folder", "stack_systems"]

MAX_CATEGORIES = 1_000_000
MAX_CATEGORIES_BYTES = 1024 * 1024 * 1024
"""Larger files of categories are refused before they are read; a million of them take 650 MB."""
_MAX_CSV_BYTES = 64 * 1024  # 16 lines of seven numbers take less than 3 KB
_CSV_NAME = re.compile(r"[0-9]+\.csv")


@dataclass(frozen=True)
class Categories(Sequence[IFS]):
    """An immutable list of systems, none of which runs away to infinity.

    Parameters
    ----------
    systems
        At least one `IFS`, or for each a dict of its ``maps`` and ``probs``.

    Raises
    ------
    TypeError, ValueError
        If there is none, one is no system, or one runs away; the message names its place.
    """

    systems: tuple[IFS, ...]

    def __init__(self, systems: object) -> None:
        if isinstance(systems, (str, bytes, dict, IFS)) or not isinstance(systems, (Sequence, Iterator)):
            raise TypeError(f"categories must be a sequence of IFS, got {type(systems).__name__}")
        if isinstance(systems, memoryview):  # a sequence by name; of several dimensions it cannot be gone through
            raise TypeError("categories must be a sequence of IFS, got memoryview")
        made = tuple(_system(f"categories[{place}]", system) for place, system in enumerate(systems))
        if not 1 <= len(made) <= MAX_CATEGORIES:
            raise ValueError(f"categories must hold 1..{MAX_CATEGORIES} systems, got {len(made)}")
        maps, probs = stack_systems(made)
        away = diverges(maps, probs)
        if away.any():
            raise ValueError(f"categories[{int(np.argmax(away))}] must not run away to infinity: its orbits do")
        object.__setattr__(self, "systems", made)

    @classmethod
    def of(cls, systems: object) -> Categories:
        """Return categories as they are, read them from a path (see `load`), or make them of a sequence of systems."""
        if isinstance(systems, (str, os.PathLike)):
            return cls.load(systems)
        return systems if isinstance(systems, Categories) else cls(systems)

    def __len__(self) -> int:
        return len(self.systems)

    def __getitem__(self, place):  # type: ignore[no-untyped-def]
        return self.systems[place]

    def to_json(self, search: dict[str, object] | None = None) -> str:
        """Return the categories as canonical JSON; `from_json` gives back equal ones, bit for bit.

        ``search`` may tell how they were found; it is for people, and not read back.
        """
        about = {} if search is None else {"search": search}
        return canonical_json({"format": FORMAT_VERSION, "type": "Categories", "systems": self.as_lists(), **about})

    def as_lists(self) -> list[dict[str, object]]:
        """Return each system as a dict of ``maps`` and ``probs``, as JSON takes it."""
        return [as_values(ifs) for ifs in self.systems]

    @classmethod
    def from_json(cls, text: str) -> Categories:
        """Read what `to_json` wrote.

        Raises
        ------
        TypeError, ValueError
            If it is not JSON, of another type or format version, or a system is not legal.
        """
        return cls._from_fields(parse_json_object(text, "categories"), "categories")

    def save(self, path: str | os.PathLike[str], search: dict[str, object] | None = None) -> None:
        """Write JSON to a file (see `to_json`), or, where the name does not end in ``.json``, CSV files to a folder.

        The folder appears whole, if it is not there or holds nothing but categories; one that holds other CSV files is
        refused.

        Raises
        ------
        ValueError
            If the folder holds CSV files that are not categories' or more than these.
        OSError
            If it cannot be written.
        """
        path = Path(path)
        if path.suffix == ".json":
            write_text(path, self.to_json(search) + "\n")
            return
        check_folder(path, len(self))
        path.parent.mkdir(parents=True, exist_ok=True)
        names = [f"{place:05d}.csv" for place in range(len(self))]
        with temporary_folder(path) as fresh:
            for name, ifs in zip(names, self.systems, strict=True):
                rows = np.concatenate(
                    [ifs.maps[:, :, :2].reshape(-1, 4), ifs.maps[:, :, 2], ifs.probs[:, None]], axis=1
                )
                lines = [",".join(f"{value:.18e}" for value in row) for row in rows.tolist()]  # numpy.savetxt's format
                write_text(fresh / name, "\n".join(lines) + "\n")
            # A folder appears whole, as fewer categories would be read as all of them.
            if path.is_dir() and (path.is_symlink() or {entry.name for entry in path.iterdir()} - set(names)):
                for name in names:  # something else lies there too, and stays
                    os.replace(fresh / name, path / name)
                sync_folder(path)
            else:
                put_folder(fresh, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Categories:
        """Read a JSON file that `save` or ``onepfrac search`` wrote, or a folder of CSV files as published.

        Categories of a folder are its files ``<number>.csv``, and those of the folders in it (the published ones lie in
        several), in the order of their numbers.

        Raises
        ------
        FileNotFoundError, OSError
            If it cannot be read.
        TypeError, ValueError
            If it is not in this format; the message names file and line.
        """
        path = Path(path)
        if not path.is_dir():
            return cls._from_fields(read_json_object(path, MAX_CATEGORIES_BYTES), str(path))
        files = [entry for pattern in ("*.csv", "*/*.csv") for entry in path.glob(pattern)]
        files = [entry for entry in files if _CSV_NAME.fullmatch(entry.name)]
        # Not by names: the hundred thousandth has six digits.
        files.sort(key=lambda entry: (int(entry.stem), entry.name))
        if not files:
            raise ValueError(f"{path} must hold files such as 00000.csv, got none")
        if len(files) > MAX_CATEGORIES:
            raise ValueError(f"{path} must hold at most {MAX_CATEGORIES} categories, got {len(files)}")
        for first, second in itertools.pairwise(files):
            if int(first.stem) == int(second.stem):
                raise ValueError(f"{path} must hold each number once, got {first} and {second}")
        return cls([_read_csv(file) for file in files])

    @classmethod
    def _from_fields(cls, values: dict[str, object], name: str) -> Categories:
        if values.get("type") != "Categories" or values.get("format") != FORMAT_VERSION:
            raise ValueError(
                f"{name} must have type 'Categories' and format {FORMAT_VERSION}, got {values.get('type')!r:.80} and"
                f" {values.get('format')!r:.80}"
            )
        if odd := values.keys() - {"type", "format", "systems", "search"}:
            raise ValueError(f"{name}: unknown fields {sorted(odd)!r:.200}")
        systems = values.get("systems")
        if not isinstance(systems, list):
            raise TypeError(f"{name}: systems must be a list, got {type(systems).__name__}")
        try:
            return cls(systems)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from error


def as_values(ifs: IFS) -> dict[str, object]:
    """Return a system as JSON takes it: ``maps``, lists of (N, 2, 3), and ``probs``, a list of (N,)."""
    return {"maps": ifs.maps.tolist(), "probs": ifs.probs.tolist()}


def check_folder(path: Path, count: int) -> None:
    """Raise ValueError where a folder, if it is there, holds other CSV files than those of ``count`` categories."""
    names = {f"{place:05d}.csv" for place in range(count)}
    if odd := sorted(entry.name for entry in path.glob("*.csv") if entry.name not in names):
        raise ValueError(f"{path} must not hold other CSV files, got {odd[0]}")


def stack_systems(
    systems: Sequence[IFS], num_maps: int | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return systems of different N as arrays of one N, float32 (B, N, 2, 3) and float64 (B, N).

    Places that a system does not use hold its first map with probability 0: they are never drawn, so the pictures are
    those of the system itself.
    """
    most = max(ifs.num_maps for ifs in systems) if num_maps is None else num_maps
    maps = np.empty((len(systems), most, 2, 3), np.float32)
    probs = np.zeros((len(systems), most))
    for place, ifs in enumerate(systems):
        with np.errstate(over="ignore"):
            maps[place, : ifs.num_maps] = ifs.maps
        maps[place, ifs.num_maps :] = maps[place, 0]
        probs[place, : ifs.num_maps] = ifs.probs
    return maps, probs


def _system(name: str, system: object) -> IFS:
    if isinstance(system, IFS):
        return system
    if not isinstance(system, dict) or system.keys() != {"maps", "probs"}:
        got = f"a dict of {sorted(map(str, system))}" if isinstance(system, dict) else type(system).__name__
        raise TypeError(f"{name} must be an IFS, or a dict of maps and probs, got {got:.80}")
    try:
        return IFS(system["maps"], system["probs"])
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from error


def _read_csv(path: Path) -> IFS:
    if not path.is_file():  # a folder of a stranger may hold a pipe, on which one would wait for ever
        raise ValueError(f"{path} must be a file")
    with open(path, "rb") as file:
        data = file.read(_MAX_CSV_BYTES + 1)
    if len(data) > _MAX_CSV_BYTES:
        raise ValueError(f"{path} is larger than {_MAX_CSV_BYTES} bytes, the most that a category takes")
    rows = []
    try:
        lines = data.decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a category: not ASCII text ({error})") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = [float(field) for field in line.split(",")]
        except ValueError:
            row = []
        if len(row) != 7 or not all(map(math.isfinite, row)):
            raise ValueError(f"{path}, line {number}: must be seven finite numbers a,b,c,d,e,f,p, got {line!r:.80}")
        rows.append(row)
    if not 1 <= len(rows) <= MAX_MAPS:
        raise ValueError(f"{path} must hold 1..{MAX_MAPS} lines, got {len(rows)}")
    table = np.array(rows)
    maps = np.concatenate([table[:, :4].reshape(-1, 2, 2), table[:, 4:6, None]], axis=2)
    try:
        ifs = IFS(maps, table[:, 6])
        away = diverges(ifs)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{path}: {error}") from error
    if away.any():  # told here, where the file is known
        raise ValueError(f"{path}: must not run away to infinity: its orbits do")
    return ifs
