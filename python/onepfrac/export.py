"""Exports: the images of a recipe as files, for tools that read nothing else.

An export is made in parts (1000 images of an image folder, or one shard). The files of a part are written to the
folder ``.partial``, flushed to the disk and only then renamed; after that the part is marked in ``export.json``. So a
file that has its name is whole, a part that is marked is on the disk, and whatever ends the process, the next one goes
on with the parts that are not marked. Bytes depend on recipe, settings and zlib's version, not on workers or
interruptions.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tarfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import torch
from tqdm import tqdm

from onepfrac import png
from onepfrac.checks import check_choice, check_int
from onepfrac.datasets import Recipe
from onepfrac.files import (
    canonical_json,
    read_json_object,
    sync_file_system,
    sync_folder,
    write_text,
)
from onepfrac.plan import DRAWS
from onepfrac.stream import Stream

__all__ = ["FORMATS", "SHARD_SIZE", "Exported", "export_images"]

FORMATS = ("imagefolder", "webdataset")
SHARD_SIZE = 10_000
"""Images of one shard, unless told otherwise."""

_VERSION = 1  # of export.json and of everything that decides names and bytes
_PART = 1000  # images of one part of an image folder
_CHUNK = 64  # images that a worker draws at a time, at most
_CHUNK_BYTES = 8 * 2**20  # and their pixels
_STATE, _RECIPE, _LOCK, _PARTIAL = "export.json", "recipe.json", ".lock", ".partial"


@dataclass(frozen=True)
class Exported:
    """What one call exported.

    Attributes
    ----------
    folder
        Where.
    total
        Images of the dataset; all of them are in the folder now.
    images
        How many of them this call made; 0: the export was finished before.
    bytes
        Size of the files that it wrote.
    seconds
        How long it took.
    """

    folder: Path
    total: int
    images: int
    bytes: int
    seconds: float


def export_images(
    recipe: Recipe,
    folder: str | os.PathLike[str],
    format: str = "imagefolder",
    *,
    size: int | None = None,
    draws: str = "fixed",
    shard_size: int | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> Exported:
    """Write every image of a recipe once, as PNG; go on with an export that was interrupted.

    Parameters
    ----------
    recipe
        The dataset.
    folder
        Where to; made if it is absent. It must be empty, or hold an export of the same recipe and settings.
    format
        ``"imagefolder"``: ``folder/<class>/<image>.png``, for torchvision's ``ImageFolder``, whose class numbers are
        the labels and whose item i is image i. ``"webdataset"``: ``folder/shard-000000.tar`` and so on, with
        ``<image>.png`` and the label as ``<image>.cls``; of a dataset whose images show several classes, their numbers
        as ``<image>.json``, ``{"classes": [3, 17]}``.
    size
        None: the canvases themselves. Else pictures of that size, 8..4096, as `Recipe.images` gives them in uint8.
    draws
        ``"fixed"`` or ``"fresh"``, as of `Recipe.images` in epoch 0.
    shard_size
        Images of one shard, 1 .. 1 000 000; for ``"webdataset"`` only. Default: 10 000.
    workers
        Threads that draw and compress, 1..1024. Default: the CPUs that this process may use.
    progress
        Whether a bar shows how far it is, where stderr is a terminal.

    Returns
    -------
    Exported

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, the folder holds something else (the message names both fingerprints where
        it is the export of another recipe), or files that are none of the export's lie among its own.
    BlockingIOError
        If another process exports to the folder.
    OSError
        If the folder cannot be written or the disk is full; the message names the path, and a later call goes on.
    """
    start = time.perf_counter()
    if not isinstance(recipe, Recipe):
        raise TypeError(f"recipe must be a recipe such as onepfrac.OnePFrac, got {type(recipe).__name__}")
    check_choice("format", format, FORMATS)
    if format == "imagefolder" and recipe.multi_label:
        raise ValueError(
            f"format must be 'webdataset' for {recipe.dataset}: its images show several classes, and a file of an image"
            " folder lies in one; got 'imagefolder'"
        )
    if shard_size is not None and format != "webdataset":
        raise ValueError(f"shard_size must be None for format {format!r}, which has no shards; got {shard_size!r}")
    if format == "webdataset":
        shard_size = check_int("shard_size", SHARD_SIZE if shard_size is None else shard_size, 1, 1_000_000)
    size = None if size is None else check_int("size", size, 8, 4096)
    if size == recipe.canvas:  # the picture is the canvas
        size = None
    check_choice("draws", draws, DRAWS)
    workers = min(len(os.sched_getaffinity(0)), 1024) if workers is None else check_int("workers", workers, 1, 1024)
    settings = _Settings(format, size, draws, shard_size, _kind(recipe, size))
    root = Path(folder)
    if not (root / _STATE).exists():
        recipe.prepare()  # so that a recipe that cannot be drawn leaves no folder
    with _sole_user(root):
        state = _open_state(root, recipe, settings)
        writer = _Shards(root, recipe, shard_size) if shard_size else _ImageFolder(root, recipe)
        done = state.done - writer.check()
        images = _make_parts(recipe, settings, writer, state, done, workers, progress)
    return Exported(root, recipe.num_images, images, writer.written, time.perf_counter() - start)


# ---- the folder and its state ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """What, besides the recipe, decides names and bytes."""

    format: str
    size: int | None
    draws: str
    shard_size: int | None
    png: str


def _kind(recipe: Recipe, size: int | None) -> str:
    if size is None and recipe.bitmap:
        return "palette, 1 bit"
    return "gray, 8 bits" if recipe.planes == 1 else "rgb, 8 bits"


class _State:
    """The parts that are done, as ``export.json`` says."""

    def __init__(self, path: Path, head: dict[str, object], done: set[int]) -> None:
        self._path = path
        self._head = head
        self.done = done

    def save(self) -> None:
        """Write the file; a reader sees the old one or the new one."""
        write_text(self._path, canonical_json({**self._head, "done": _ranges(self.done)}) + "\n")


@contextmanager
def _sole_user(root: Path) -> Iterator[None]:
    """Make the folder or refuse it, and hold its lock, so that no other process writes there.

    The system frees the lock of a process that dies.
    """
    root.mkdir(parents=True, exist_ok=True)
    _refuse_strangers(root)  # before anything is written there
    lock = os.open(root / _LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(error.errno, f"{root}: another process exports to this folder") from None
        except OSError as error:
            raise OSError(error.errno, f"cannot lock {root / _LOCK}: {error.strerror}") from error
        _refuse_strangers(root)
        yield
    finally:
        os.close(lock)


def _refuse_strangers(root: Path) -> None:
    names = os.listdir(root)
    others = sorted(name for name in names if name != _LOCK and not _is_leftover(name))
    if others and _STATE not in names:
        raise ValueError(
            f"folder must be empty, absent or an export to go on with; {root} holds {others[0]!r} and no {_STATE}"
        )


def _is_leftover(name: str) -> bool:
    """Tell whether a killed process may have left a file of this name: a temporary one of `onepfrac.files`."""
    return name.startswith((f".{_STATE}.", f".{_RECIPE}.")) and name.endswith(".tmp")


def _open_state(root: Path, recipe: Recipe, settings: _Settings) -> _State:
    """Read the state of an export, or start one; remove what a killed process left."""
    for name in filter(_is_leftover, os.listdir(root)):
        os.unlink(root / name)
    _remove_folder(root / _PARTIAL)
    path = root / _STATE
    head: dict[str, object] = {
        "export": _VERSION,
        "fingerprint": recipe.fingerprint,
        "images": recipe.num_images,
        "settings": asdict(settings),
    }
    if path.is_symlink() or (path.exists() and not path.is_file()):  # a pipe would be waited for
        raise ValueError(f"{path} must be a file")
    if path.exists():
        there = read_json_object(path)
        for key in (*head, "done"):
            if key not in there:
                raise ValueError(f"{path}: {key} is missing")
        if there["export"] != _VERSION:
            raise ValueError(f"{path}: export must be {_VERSION}, got {there['export']!r:.80}")
        if there["fingerprint"] != head["fingerprint"]:
            raise ValueError(
                f"{root} holds the export of another recipe: its fingerprint is {there['fingerprint']!r:.80}, this"
                f" recipe's is {recipe.fingerprint!r}"
            )
        if there["settings"] != head["settings"] or there["images"] != head["images"]:
            raise ValueError(
                f"{root} holds the export of recipe {recipe.fingerprint!r} with other settings: there"
                f" {canonical_json(there['settings']):.300}, here {canonical_json(head['settings'])}"
            )
        state = _State(path, head, _numbers(there["done"], -(-recipe.num_images // _part_size(settings)), path))
    else:
        state = _State(path, head, set())
        state.save()
    text = recipe.to_json() + "\n"
    if not _holds(root / _RECIPE, text.encode("ascii")):
        write_text(root / _RECIPE, text)
    return state


def _holds(path: Path, data: bytes) -> bool:
    """Tell whether a plain file holds just this; of a longer one, or an endless one, no more is read."""
    if path.is_symlink() or not path.is_file():
        return False
    with open(path, "rb") as file:
        return file.read(len(data) + 1) == data


def _part_size(settings: _Settings) -> int:
    return _PART if settings.shard_size is None else settings.shard_size


def _ranges(numbers: set[int]) -> list[list[int]]:
    """Return numbers as [first, last] of each run of successive ones."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return runs


def _numbers(runs: object, end: int, path: Path) -> set[int]:
    """Return the numbers of `_ranges`, all below ``end``."""
    numbers: set[int] = set()
    last = -1
    for run in runs if isinstance(runs, list) else [None]:
        pair = run if isinstance(run, list) and [type(number) for number in run] == [int, int] else [0, -1]
        if not last < pair[0] <= pair[1] < end:
            raise ValueError(f"{path}: done must be ascending pairs of numbers in 0..{end - 1}, got {runs!r:.80}")
        last = pair[1]
        numbers.update(range(pair[0], last + 1))
    return numbers


def _remove_folder(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


# ---- drawing ---------------------------------------------------------------------------------------------------------


class _Drawer:
    """Draws images of a recipe and makes PNG files of them; several threads may use it."""

    def __init__(self, recipe: Recipe, settings: _Settings) -> None:
        self.recipe = recipe
        self._draws = settings.draws
        self._camera: Stream | None = None
        if settings.size is not None:
            self._camera = Stream(
                recipe,
                batch_size=1,
                size=settings.size,
                draws=settings.draws,
                threads=1,
                dtype=torch.uint8,
                channels=recipe.planes,
                rank=0,
                world_size=1,
                cache=0,
            )
        self.chunk = max(1, min(_CHUNK, _CHUNK_BYTES // (recipe.planes * recipe.canvas**2)))

    def draw(self, images: range) -> tuple[list[bytes], torch.Tensor]:
        """Return the PNG files and the targets of images."""
        recipe = self.recipe
        plan = recipe.plan_images(np.arange(images.start, images.stop, dtype=np.int64), self._draws)
        if self._camera is not None:
            pictures, targets = self._camera.take(plan)
            return png.pictures(pictures.numpy(), smooth=not recipe.bitmap), targets
        canvases = recipe.draw(plan, torch.device("cpu"), 1, bits=recipe.bitmap)
        if recipe.bitmap:
            return png.bitmaps(canvases[:, 0].numpy(), recipe.canvas), recipe.targets(plan)
        return png.pictures(canvases.numpy(), smooth=True), recipe.targets(plan)


def _make_parts(
    recipe: Recipe, settings: _Settings, writer: _Writer, state: _State, done: set[int], workers: int, progress: bool
) -> int:
    """Make the parts that are not done, and return how many images they have.

    Workers draw chunks of images; their results are taken in order, here, where alone files get their names.
    """
    total = recipe.num_images
    parts = [
        (part, range(part * writer.part_size, min(total, (part + 1) * writer.part_size)))
        for part in range(-(-total // writer.part_size))
        if part not in done
    ]
    if state.done != done:  # parts are made again, so they count as done no longer
        state.done = done
        state.save()
    count = sum(len(images) for _, images in parts)
    if not parts:
        return 0
    recipe.prepare()
    drawer = _Drawer(recipe, settings)
    partial = writer.root / _PARTIAL
    os.mkdir(partial)
    pool = ThreadPoolExecutor(workers, "onepfrac-export")
    waiting: deque[tuple[Future[_Packed], range, int | None]] = deque()
    bar = tqdm(total=total, initial=total - count, unit=" images", disable=None if progress else True)

    def take() -> None:
        future, images, finishes = waiting.popleft()
        writer.add(future.result())
        bar.update(len(images))
        if finishes is not None:
            writer.finish(finishes)
            state.done.add(finishes)
            state.save()

    def pack(images: range) -> _Packed:
        return writer.pack(images, *drawer.draw(images))

    try:
        for part, images in parts:
            for first in range(images.start, images.stop, drawer.chunk):
                chunk = range(first, min(images.stop, first + drawer.chunk))
                waiting.append((pool.submit(pack, chunk), chunk, part if chunk.stop == images.stop else None))
                if len(waiting) > 2 * workers:  # enough to keep all busy; more would only take memory
                    take()
        while waiting:
            take()
    finally:
        bar.close()
        pool.shutdown(cancel_futures=True)
        writer.close()
        shutil.rmtree(partial, ignore_errors=True)  # the next run removes what is left
    return count


# ---- the formats -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Packed:
    """A chunk of images: the size of their files in bytes, and what of them has not been written yet."""

    images: range
    size: int
    rest: bytes = b""


class _Writer(Protocol):
    """Writes images in one of the formats."""

    root: Path
    part_size: int
    written: int

    def check(self) -> set[int]:
        """Return the parts of which files are missing or cut short; raise a ValueError if others lie among them."""

    def pack(self, images: range, pngs: list[bytes], targets: torch.Tensor) -> _Packed:
        """Do with a chunk what can be done in any order, in a worker."""

    def add(self, packed: _Packed) -> None:
        """Take the next chunk, in order."""

    def finish(self, part: int) -> None:
        """Flush the files of a part whose chunks have been added, and give them their names."""

    def close(self) -> None:
        """Let go of open files."""


class _ImageFolder:
    """``<class>/<image>.png``."""

    def __init__(self, root: Path, recipe: Recipe) -> None:
        self.root = root
        self.part_size = _PART
        self.written = 0
        self._classes, self._instances = recipe.num_classes, recipe.num_instances
        self._class_digits = _digits(self._classes)
        self._image_digits = _digits(recipe.num_images)
        self._chunks: list[range] = []

    def check(self) -> set[int]:
        folders = {self._folder(label): label for label in range(self._classes)}
        missing: set[int] = set()
        strangers = [name for name in set(os.listdir(self.root)) - folders.keys() if (self.root / name).is_dir()]
        if strangers:
            raise ValueError(
                f"{self.root / min(strangers)} is none of the export's {self._classes} classes; move it elsewhere"
            )
        for folder, label in folders.items():
            images = range(label * self._instances, (label + 1) * self._instances)
            names = {self._name(image): image for image in images}
            try:
                found = set(os.listdir(self.root / folder))
            except FileNotFoundError:
                found = set()
            if strangers := [name for name in found - names.keys() if name.lower().endswith(_IMAGES)]:
                raise ValueError(
                    f"{self.root / folder / min(strangers)} is none of the export's images; move it elsewhere"
                )
            missing.update(names[name] // _PART for name in names.keys() - found)
        return missing

    def pack(self, images: range, pngs: list[bytes], targets: torch.Tensor) -> _Packed:
        del targets  # the folder says it
        folder = self._chunk(images)  # of its own: file systems create files faster where nobody else does
        os.mkdir(folder)
        for image, data in zip(images, pngs, strict=True):
            path = folder / self._name(image)
            with _writing(path), _new_file(path) as file:
                file.write(data)
        return _Packed(images, sum(map(len, pngs)))

    def add(self, packed: _Packed) -> None:
        self.written += packed.size
        self._chunks.append(packed.images)

    def finish(self, part: int) -> None:
        del part  # the chunks since the last one
        chunks, self._chunks = self._chunks, []
        labels = range(chunks[0].start // self._instances, (chunks[-1].stop - 1) // self._instances + 1)
        for label in labels:
            _make_folder(self.root / self._folder(label))
        sync_file_system(self.root)  # one call for all files: a flush of each takes 0.2 to 4 ms
        for images in chunks:
            folder = self._chunk(images)
            for image in images:
                name = self._name(image)
                os.replace(folder / name, self.root / self._folder(image // self._instances) / name)
            os.rmdir(folder)
        sync_file_system(self.root)

    def close(self) -> None:
        pass

    def _chunk(self, images: range) -> Path:
        return self.root / _PARTIAL / str(images.start)

    def _folder(self, label: int) -> str:
        return f"{label:0{self._class_digits}}"

    def _name(self, image: int) -> str:
        return f"{image:0{self._image_digits}}.png"


_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")  # what ImageFolder would load


class _Shards:
    """``shard-<number>.tar`` of ``<image>.png`` and ``<image>.cls`` or ``<image>.json``."""

    def __init__(self, root: Path, recipe: Recipe, shard_size: int) -> None:
        self.root = root
        self.part_size = shard_size
        self.written = 0
        self._multi_label = recipe.multi_label
        self._images = recipe.num_images
        self._digits = _digits(recipe.num_images)
        self._shards = -(-recipe.num_images // shard_size)
        self._file: BinaryIO | None = None

    def check(self) -> set[int]:
        names = {self._name(number): number for number in range(self._shards)}
        found = {name for name in os.listdir(self.root) if name.endswith(".tar")}
        if strangers := found - names.keys():
            raise ValueError(
                f"{self.root / min(strangers)} is none of the export's {self._shards} shards; move it elsewhere"
            )
        missing = {names[name] for name in names.keys() - found}
        return missing | {names[name] for name in found if not self._is_whole(self.root / name, names[name])}

    def _is_whole(self, path: Path, number: int) -> bool:
        """Tell whether a shard holds its members, each to its end, and the blocks that end an archive.

        What a member holds between its first and last bytes is not read, so this takes some microseconds an image.
        """
        images = range(number * self.part_size, min((number + 1) * self.part_size, self._images))
        kind = "json" if self._multi_label else "cls"
        place = 0
        if path.is_symlink() or not path.is_file():
            return False
        most = path.stat().st_size
        with open(path, "rb", buffering=0) as file:
            for name in (f"{image:0{self._digits}}.{end}" for image in images for end in ("png", kind)):
                try:
                    header = tarfile.TarInfo.frombuf(
                        os.pread(file.fileno(), tarfile.BLOCKSIZE, place), "ascii", "strict"
                    )
                except (tarfile.HeaderError, UnicodeDecodeError):
                    return False
                if header.name != name or not header.isreg() or not 0 <= header.size <= most:
                    return False
                end = place + tarfile.BLOCKSIZE + header.size
                if name.endswith(".png") and os.pread(file.fileno(), len(png.END), end - len(png.END)) != png.END:
                    return False
                place = end + -header.size % tarfile.BLOCKSIZE
            rest = os.pread(file.fileno(), 2 * tarfile.RECORDSIZE, place)
        return rest == _end(place)

    def pack(self, images: range, pngs: list[bytes], targets: torch.Tensor) -> _Packed:
        members = []
        for image, data, target in zip(images, pngs, targets, strict=True):
            key = f"{image:0{self._digits}}"
            members.append(_member(f"{key}.png", data))
            if self._multi_label:
                classes = {"classes": target.nonzero()[:, 0].tolist()}
                members.append(_member(f"{key}.json", canonical_json(classes).encode("ascii")))
            else:
                members.append(_member(f"{key}.cls", str(int(target)).encode("ascii")))
        rest = b"".join(members)
        return _Packed(images, len(rest), rest)

    def add(self, packed: _Packed) -> None:
        path = self.root / _PARTIAL / _SHARD
        with _writing(path):
            if self._file is None:
                self._file = _new_file(path)
            self._file.write(packed.rest)
        self.written += packed.size

    def finish(self, part: int) -> None:
        file, path = self._file, self.root / _PARTIAL / _SHARD
        assert file is not None  # a part has a chunk
        with _writing(path):
            end = _end(file.tell())
            file.write(end)
            _flush(file)
            file.close()
        self._file = None
        os.replace(path, self.root / self._name(part))
        sync_folder(self.root)
        self.written += len(end)

    def close(self) -> None:
        if self._file is not None:  # something went wrong, perhaps with this very file
            with suppress(OSError):
                self._file.close()

    def _name(self, shard: int) -> str:
        return f"shard-{shard:0{max(6, len(str(self._shards - 1)))}}.tar"


_SHARD = "shard.tar"


def _digits(count: int) -> int:
    """Return the digits that names of numbers below ``count`` have, so that they sort as the numbers."""
    return max(5, len(str(count - 1)))


def _member(name: str, data: bytes) -> bytes:
    """Return a file as it stands in a tar archive, its header and its data padded to blocks, without time and owner."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    return header.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict") + data + bytes(-len(data) % tarfile.BLOCKSIZE)


def _end(length: int) -> bytes:
    """Return what ends an archive of so many bytes: two blocks of zeros, and more to fill the last record."""
    end = bytes(2 * tarfile.BLOCKSIZE)
    return end + bytes(-(length + len(end)) % tarfile.RECORDSIZE)


def _make_folder(path: Path) -> None:
    """Make a folder if it is absent; a link to another place is refused."""
    try:
        os.mkdir(path)
    except FileExistsError:
        if path.is_symlink() or not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is there and no folder", str(path)) from None


def _new_file(path: Path) -> BinaryIO:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    return os.fdopen(descriptor, "wb")


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Name the path in the system's errors."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"cannot write {path}: {error.strerror}") from error
