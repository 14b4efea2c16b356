"""Exports: what is in the files, the same bytes however they came about, kills, full disks, and folders of others."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import tqdm
import webdataset
from family import SMALL
from kinds import Colour, Gray, Many, Scenes, small
from PIL import Image
from test_cli import error_of, help_of
from torchvision.datasets import ImageFolder
from torchvision.transforms.functional import pil_to_tensor

from onepfrac import OnePFrac, cli, export, export_images, files
from onepfrac.datasets import Recipe

RECIPE = small(num_classes=3, instances=4)
FORMATS = ["imagefolder", "webdataset"]
SETTINGS: dict[str, dict[str, Any]] = {"imagefolder": {}, "webdataset": {"shard_size": 5}}


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts and chunks so small that a dozen images fill several; `test_the_sizes_of_parts...` uses the real ones."""
    monkeypatch.setattr(export, "_PART", 5)
    monkeypatch.setattr(export, "_CHUNK", 2)


def run(folder: Path, format: str = "imagefolder", recipe: Recipe = RECIPE, **settings: Any) -> export.Exported:
    return export_images(recipe, folder, format, **{"workers": 2, **SETTINGS[format], **settings})


def contents(folder: Path) -> dict[str, bytes]:
    """All files of an export but its lock, by their path in the folder; no folders but those of files."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert found.pop(".lock") == b""
    folders = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir()}
    assert folders == {name.partition("/")[0] for name in found if "/" in name}
    return found


def canvases(recipe: Recipe) -> torch.Tensor:
    return recipe.draw(recipe.plan_images(np.arange(recipe.num_images)), torch.device("cpu"))


# What is in the files


@pytest.mark.parametrize("recipe", [small(), RECIPE, Gray(), Colour()], ids=lambda recipe: recipe.dataset)
def test_torchvisions_image_folder_reads_the_canvases_with_their_labels_and_numbers(
    recipe: Recipe, tmp_path: Path
) -> None:
    done = run(tmp_path, recipe=recipe)
    assert (done.folder, done.images, done.total) == (tmp_path, recipe.num_images, recipe.num_images)
    folder = ImageFolder(str(tmp_path))
    assert len(folder) == recipe.num_images
    assert len(folder.classes) == recipe.num_classes
    for number, canvas in enumerate(canvases(recipe)):
        image, label = folder[number]
        assert image.mode == "RGB"
        assert label == number // recipe.num_instances
        assert folder.class_to_idx[folder.classes[label]] == label == int(folder.classes[label])
        assert torch.equal(pil_to_tensor(image), canvas.expand(3, -1, -1))
    assert done.bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.png"))


@pytest.mark.parametrize("recipe", [RECIPE, Gray(), Colour(), Scenes()], ids=lambda recipe: recipe.dataset)
def test_webdataset_reads_the_canvases_with_their_labels_in_order(recipe: Recipe, tmp_path: Path) -> None:
    done = run(tmp_path, "webdataset", recipe)
    shards = sorted(map(str, tmp_path.glob("*.tar")))
    assert [os.path.basename(shard) for shard in shards] == [f"shard-{number:06}.tar" for number in range(3)]
    assert done.bytes == sum(os.path.getsize(shard) for shard in shards)
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    assert [sample["__key__"] for sample in samples] == [f"{number:05}" for number in range(12)]
    for number, (sample, canvas) in enumerate(zip(samples, canvases(recipe), strict=True)):
        assert torch.equal(pil_to_tensor(sample["png"].convert("RGB")), canvas.expand(3, -1, -1))
        if recipe.multi_label:
            shown = recipe.targets(recipe.plan_images([number]))[0].nonzero()[:, 0].tolist()
            assert sample["json"] == {"classes": shown}
            assert len(shown) == 2 - number % 2
            assert "cls" not in sample
        else:
            assert sample["cls"] == number // recipe.num_instances


@pytest.mark.parametrize("recipe", SMALL.values(), ids=SMALL)
def test_every_dataset_can_be_exported(recipe: Recipe, tmp_path: Path) -> None:
    run(tmp_path, "webdataset", recipe)
    samples = list(webdataset.WebDataset(sorted(map(str, tmp_path.glob("*.tar"))), shardshuffle=False).decode("pil"))
    assert len(samples) == recipe.num_images
    for sample, canvas in zip(samples, canvases(recipe), strict=True):
        assert torch.equal(pil_to_tensor(sample["png"].convert("RGB")), canvas.expand(3, -1, -1))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("recipe", [RECIPE, Gray(), Colour()], ids=lambda recipe: recipe.dataset)
@pytest.mark.parametrize("draws", ["fixed", "fresh"])
def test_pictures_of_another_size_are_those_of_map_style_access(
    recipe: Recipe, format: str, draws: str, tmp_path: Path
) -> None:
    run(tmp_path, format, recipe, size=20, draws=draws)
    expected = recipe.images(size=20, dtype=torch.uint8, draws=draws)
    found: list[Any]
    if format == "imagefolder":
        found = [image for image, _ in ImageFolder(str(tmp_path))]
    else:
        samples = webdataset.WebDataset(sorted(map(str, tmp_path.glob("*.tar"))), shardshuffle=False).decode("pil")
        found = [sample["png"].convert("RGB") for sample in samples]
    assert len(found) == 12
    for image, (picture, _) in zip(found, expected, strict=True):
        assert torch.equal(pil_to_tensor(image), picture)


def test_fresh_draws_are_other_images(tmp_path: Path) -> None:
    run(tmp_path / "fixed", size=20)
    run(tmp_path / "fresh", size=20, draws="fresh")
    assert contents(tmp_path / "fixed").keys() == contents(tmp_path / "fresh").keys()
    assert contents(tmp_path / "fixed")["00000/00000.png"] != contents(tmp_path / "fresh")["00000/00000.png"]


def test_a_picture_of_the_canvas_size_is_the_canvas_and_the_same_export(tmp_path: Path) -> None:
    run(tmp_path)
    assert run(tmp_path, size=RECIPE.canvas).images == 0


def test_names_of_classes_and_images_sort_as_their_numbers_however_many_there_are(tmp_path: Path) -> None:
    for classes, last in ((1, "00000"), (100_000, "99999"), (100_001, "100000"), (1_000_000, "999999")):
        writer = export._ImageFolder(tmp_path, OnePFrac(num_classes=classes))
        names = [writer._folder(label) for label in (*range(0, classes, 997), classes - 1)]
        assert sorted(names) == names
        assert names[-1] == last
        assert writer._name(classes - 1) == f"{last}.png"


def test_archives_hold_no_time_owner_or_padding_that_could_differ(tmp_path: Path) -> None:
    run(tmp_path, "webdataset")
    for shard in sorted(tmp_path.glob("*.tar")):
        data = shard.read_bytes()
        assert len(data) % tarfile.RECORDSIZE == 0
        with tarfile.open(shard) as archive:
            members = archive.getmembers()
            start = 5 * int(shard.stem[-6:])
            numbers = [number for number in range(start, min(start + 5, 12)) for _ in range(2)]
            assert [int(member.name.partition(".")[0]) for member in members] == numbers
            again = io.BytesIO()
            with tarfile.open(fileobj=again, mode="w", format=tarfile.USTAR_FORMAT) as other:
                for member in members:
                    assert (member.mtime, member.uid, member.gid, member.uname, member.gname) == (0, 0, 0, "", "")
                    assert member.mode == 0o644
                    plain = tarfile.TarInfo(member.name)
                    plain.size = member.size
                    other.addfile(plain, archive.extractfile(member))
        assert again.getvalue() == data  # what Python's own tarfile writes


def test_the_folder_says_what_it_is(tmp_path: Path) -> None:
    run(tmp_path, "webdataset")
    assert Many.from_json((tmp_path / "recipe.json").read_text()) == RECIPE
    state = json.loads((tmp_path / "export.json").read_text())
    assert state == {
        "export": 1,
        "fingerprint": RECIPE.fingerprint,
        "images": 12,
        "settings": {"format": "webdataset", "size": None, "draws": "fixed", "shard_size": 5, "png": "palette, 1 bit"},
        "done": [[0, 2]],
    }


# The same bytes, however they came about


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("settings", [{}, {"size": 20}], ids=["canvas", "size"])
def test_workers_and_chunks_do_not_change_a_byte(
    format: str, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path / "one", format, workers=1, **settings)
    expected = contents(tmp_path / "one")
    assert len(expected) == {"imagefolder": 12, "webdataset": 3}[format] + 2
    for workers, chunk, room in ((2, 2, 2**23), (5, 1, 2**23), (3, 64, 2**23), (2, 64, 1), (2, 64, 3 * 35 * 35)):
        monkeypatch.setattr(export, "_CHUNK", chunk)
        monkeypatch.setattr(export, "_CHUNK_BYTES", room)
        other = tmp_path / f"{workers}-{chunk}-{room}"
        run(other, format, workers=workers, **settings)
        assert contents(other) == expected


def test_the_sizes_of_parts_and_chunks_that_users_get_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert (export._PART, export._CHUNK) == (1000, 64)
    recipe = small(num_classes=2, instances=600)
    for format in FORMATS:
        assert export_images(recipe, tmp_path / format, format).images == 1200
    found = contents(tmp_path / "imagefolder")
    assert len(found) == 1202
    with tarfile.open(tmp_path / "webdataset" / "shard-000000.tar") as archive:
        members = [(member.name, archive.extractfile(member)) for member in archive]
        read = {name: file.read() for name, file in members if file is not None}
    for number in range(1200):
        assert found[f"{number // 600:05}/{number:05}.png"] == read[f"{number:05}.png"]
        assert read[f"{number:05}.cls"] == str(number // 600).encode()


@pytest.mark.parametrize("format", FORMATS)
def test_golden_bytes_of_a_small_export(format: str, tmp_path: Path) -> None:
    """Names and pixels may change only with the versions of the format; bytes, in addition, with zlib's."""
    run(tmp_path, format)
    digest = hashlib.sha256()
    for name, data in sorted(contents(tmp_path).items()):
        if name.endswith(".png"):
            digest.update(name.encode() + np.asarray(Image.open(io.BytesIO(data)).convert("L")).tobytes())
        elif name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                digest.update(name.encode() + repr(archive.getnames()).encode())
    assert digest.hexdigest()[:16] == {"imagefolder": "beff8a30289bbfd6", "webdataset": "0671c5746e155bdf"}[format]


@pytest.mark.parametrize("format", FORMATS)
def test_a_second_run_does_nothing_and_says_so(format: str, tmp_path: Path) -> None:
    run(tmp_path, format)
    before = {path: path.stat() for path in tmp_path.rglob("*")}
    done = run(tmp_path, format)
    assert (done.images, done.bytes, done.total) == (0, 0, 12)
    after = {path: path.stat() for path in tmp_path.rglob("*")}
    assert before.keys() == after.keys()
    for path, status in before.items():
        assert (status.st_mtime_ns, status.st_ino) == (after[path].st_mtime_ns, after[path].st_ino)


@pytest.mark.parametrize(
    ("format", "name", "images"), [("imagefolder", "00001/00006.png", 5), ("webdataset", "shard-000002.tar", 2)]
)
def test_a_file_that_is_missing_is_made_again_with_its_part(
    format: str, name: str, images: int, tmp_path: Path
) -> None:
    run(tmp_path, format)
    expected = contents(tmp_path)
    (tmp_path / name).unlink()
    assert run(tmp_path, format).images == images
    assert contents(tmp_path) == expected
    if format == "imagefolder":
        shutil.rmtree(tmp_path / "00002")
        assert run(tmp_path).images == 7
        assert contents(tmp_path) == expected


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("imagefolder", "00001/00003.png"),  # another class's
        ("imagefolder", "00001/00012.png"),
        ("imagefolder", "00001/photograph.JPG"),
        ("imagefolder", "00003/00012.png"),
        ("imagefolder", "cats/1.png"),
        ("webdataset", "shard-000003.tar"),
    ],
)
def test_files_that_would_be_read_as_the_exports_are_refused_by_name(format: str, name: str, tmp_path: Path) -> None:
    run(tmp_path, format)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_bytes(b"mine")
    refused = name if (tmp_path / name).parent.name in ("00001", tmp_path.name) else name.partition("/")[0]
    with pytest.raises(ValueError, match=f"{refused} is none of the export's .*; move it elsewhere"):
        run(tmp_path, format)
    assert (tmp_path / name).read_bytes() == b"mine"


def test_files_that_nobody_would_read_as_the_exports_are_left_alone(tmp_path: Path) -> None:
    run(tmp_path)
    for name in ("README", "00001/.DS_Store"):
        (tmp_path / name).write_bytes(b"mine")
    assert run(tmp_path).images == 0
    assert (tmp_path / "README").read_bytes() == b"mine"


# Kills


CHILD = """
import os, signal, sys, time
sys.path.insert(0, sys.argv[3])
import kinds
from onepfrac import export, png
export._PART, export._CHUNK = 10, 2
draw = export._Drawer.draw
def slowly(self, images):
    time.sleep(0.01)
    return draw(self, images)
export._Drawer.draw = slowly
recipe = kinds.small(num_classes=10, instances=12)
recipe.prepare()
folder, format = sys.argv[1:3]
shard_size = 10 if format == "webdataset" else None
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            done = export.export_images(recipe, folder, format, shard_size=shard_size, workers=2)
        finally:
            os._exit(0)
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.mark.parametrize("format", FORMATS)
def test_a_killed_export_leaves_whole_files_and_goes_on_to_the_same_bytes(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "_PART", 10)
    recipe = small(num_classes=10, instances=12)
    settings = {"shard_size": 10} if format == "webdataset" else {}
    run(tmp_path / "undisturbed", format, recipe, **settings)
    expected = contents(tmp_path / "undisturbed")
    folder = tmp_path / "killed"
    command = [sys.executable, "-c", CHILD, str(folder), format, str(Path(__file__).parent)]
    kills, moments = 0, set()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for attempt in range(100):  # later and later, until one ends before it is killed: machines differ in speed
            process.stdin.write(f"{0.011 * attempt + 0.002 * (attempt % 3)}\n")
            process.stdin.flush()
            killed = int(process.stdout.readline()) == signal.SIGKILL
            kills += killed
            names = [path for path in folder.rglob("*") if path.is_file() and path.suffix in (".png", ".tar")]
            found = [path for path in names if ".partial" not in path.parts]
            moments.add((len(found), len(names)))
            for path in found:
                assert path.read_bytes() == expected[str(path.relative_to(folder))]
            if not killed:
                break
        process.stdin.close()
    assert kills >= 4
    assert len(moments) >= 3  # not always at the same place
    run(folder, format, recipe, **settings)
    assert contents(folder) == expected


class Killed(BaseException):
    """Ends an export as a kill does: from then on, nothing that the process asks of the system happens."""


CALLS = ("open", "replace", "mkdir", "rmdir", "unlink", "fsync")


@pytest.fixture
def die_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A function: count calls that change the file system; the k-th raises, and so do all after it if it is a kill."""
    state = {"calls": 0, "at": 0}
    failure: list[type[BaseException]] = [Killed]

    def wrapped(call: Any) -> Any:
        def counted(*arguments: Any, **settings: Any) -> Any:
            state["calls"] += 1
            if state["calls"] == state["at"] or (failure[0] is Killed and 0 < state["at"] < state["calls"]):
                if failure[0] is Killed:
                    raise Killed
                named = [os.fspath(one) for one in arguments if isinstance(one, (str, Path))]
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named[:1])  # as the system's own
            return call(*arguments, **settings)

        return counted

    monkeypatch.setattr(files, "sync_file_system", lambda folder: None)
    monkeypatch.setattr(export, "sync_file_system", wrapped(lambda folder: None))
    for name in CALLS:
        monkeypatch.setattr(os, name, wrapped((lambda descriptor: None) if name == "fsync" else getattr(os, name)))

    def arm(at: int, error: type[BaseException]) -> None:
        state.update(calls=0, at=at)
        failure[:] = [error]

    yield arm
    arm(0, Killed)


@pytest.mark.parametrize("format", FORMATS)
def test_files_are_flushed_before_they_are_named_and_names_before_the_part_is_marked(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no killed process shows, but a power cut would."""
    events: list[tuple[str, str]] = []

    def spy(module: Any, name: str, describe: Any) -> None:
        call = getattr(module, name)

        def spied(*arguments: Any) -> Any:
            events.append((name, describe(*arguments)))
            return call(*arguments)

        monkeypatch.setattr(module, name, spied)

    spy(export, "_new_file", lambda path: path.name)
    spy(export, "sync_file_system", str)
    spy(export, "sync_folder", str)
    spy(os, "fsync", lambda descriptor: os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
    spy(os, "replace", lambda source, target: os.path.basename(target))
    run(tmp_path, format, workers=1)
    unflushed: set[str] = set()
    unsafe: set[str] = set()
    marks = named = 0
    for name, what in events:
        if name == "_new_file":
            unflushed.add(what)
        elif name == "sync_file_system":
            unflushed.clear()
            unsafe.clear()
        elif name == "fsync":
            unflushed.discard(what)
        elif name == "sync_folder":
            unsafe.clear()
        elif what == "export.json":
            assert not unsafe
            assert named == (min(12, 5 * marks) if format == "imagefolder" else marks)
            marks += 1
        elif what != "recipe.json":
            assert not ({what, "shard.tar"} & unflushed)
            unsafe.add(what)
            named += 1
    assert (marks, named) == (4, 12 if format == "imagefolder" else 3)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("format", FORMATS)
def test_an_export_that_dies_at_any_call_goes_on_to_the_same_bytes(
    format: str, workers: int, tmp_path: Path, die_at: Any
) -> None:
    recipe = small(num_classes=3, instances=2)
    settings = {"shard_size": 2} if format == "webdataset" else {}
    run(tmp_path / "undisturbed", format, recipe, **settings)
    expected = contents(tmp_path / "undisturbed")
    for moment in range(1, 500):
        folder = tmp_path / str(moment)
        die_at(moment, Killed)
        try:
            run(folder, format, recipe, workers=workers, **settings)
            survived = True
        except Killed:
            survived = False
        die_at(0, Killed)
        for path in folder.rglob("*"):
            if path.suffix in (".png", ".tar") and ".partial" not in path.parts:
                assert path.read_bytes() == expected[str(path.relative_to(folder))]
        run(folder, format, recipe, **settings)
        assert contents(folder) == expected
        if survived:
            break
    assert survived
    assert moment > 30


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_at_any_call_is_reported_with_the_path_and_the_export_goes_on_later(
    format: str, tmp_path: Path, die_at: Any
) -> None:
    recipe = small(num_classes=3, instances=2)
    settings = {"shard_size": 2} if format == "webdataset" else {}
    run(tmp_path / "undisturbed", format, recipe, **settings)
    expected = contents(tmp_path / "undisturbed")
    failures = 0
    for moment in range(1, 120):
        folder = tmp_path / str(moment)
        die_at(moment, OSError)
        caught: list[OSError] = []
        try:
            run(folder, format, recipe, **settings)
        except OSError as error:
            caught.append(error)
        die_at(0, Killed)
        failures += len(caught)
        assert all(error.errno == errno.ENOSPC and str(folder) in str(error) for error in caught)
        if folder.exists():
            assert not [path for path in folder.rglob("*") if path.suffix == ".tmp"]
        run(folder, format, recipe, **settings)
        assert contents(folder) == expected
    assert failures > 20


@pytest.mark.parametrize(
    ("format", "recipe", "limit"),
    [
        ("imagefolder", Gray(canvas=200), 30_000),
        ("webdataset", Gray(canvas=200), 30_000),
        ("webdataset", RECIPE, 2_000),  # when the end of a shard is written, and again when its file is closed
    ],
)
def test_a_write_that_the_system_refuses_is_reported_with_the_path(
    format: str, recipe: Recipe, limit: int, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a full disk: the error comes from the writing itself."""
    run(tmp_path / "undisturbed", format, recipe)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        with pytest.raises(OSError, match=f"cannot write {tmp_path}/full/.partial/.*: File too large"):
            run(tmp_path / "full", format, recipe)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "full" / ".partial").exists()
    run(tmp_path / "full", format, recipe)
    assert contents(tmp_path / "full") == contents(tmp_path / "undisturbed")


def test_an_error_while_drawing_ends_the_export_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        draw = export._Drawer.draw

        def fails(self: Any, images: range) -> Any:
            if images.start >= 8:
                raise RuntimeError("no memory")
            return draw(self, images)

        broken.setattr(export._Drawer, "draw", fails)
        with pytest.raises(RuntimeError, match="no memory"):
            run(tmp_path)
    assert json.loads((tmp_path / "export.json").read_text())["done"] == [[0, 0]]
    assert not (tmp_path / ".partial").exists()
    assert run(tmp_path).images == 7


# Folders of others


def test_an_export_of_another_recipe_is_refused_with_both_fingerprints(tmp_path: Path) -> None:
    run(tmp_path)
    expected = contents(tmp_path)
    other = small(num_classes=3, instances=4, seed=1)
    with pytest.raises(ValueError, match=f"another recipe.*{RECIPE.fingerprint}.*{other.fingerprint}"):
        run(tmp_path, recipe=other)
    assert contents(tmp_path) == expected


@pytest.mark.parametrize("settings", [{"size": 20}, {"draws": "fresh"}, {"shard_size": 4}, {"format": "imagefolder"}])
def test_an_export_with_other_settings_is_refused(settings: dict[str, Any], tmp_path: Path) -> None:
    run(tmp_path, "webdataset")
    expected = contents(tmp_path)
    with pytest.raises(ValueError, match=f"recipe '{RECIPE.fingerprint}' with other settings: there .*, here"):
        run(tmp_path, **{"format": "webdataset", **settings})
    assert contents(tmp_path) == expected


def test_a_folder_that_holds_anything_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(ValueError, match=r"folder must be empty.* holds 'thesis.tex' and no export.json"):
        run(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


BAD_RUNS: list[object] = [7, [3], [[0]], [[0.0, 1]], [[0, True]], [[0, 3]], [[-1, 1]], [[1, 0]]]
BAD_RUNS += [[[1, 1], [0, 0]], [[0, 1], [1, 2]]]


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("is not legal JSON", None),
        ("done is missing", {"done": ...}),
        ("export must be 1, got 2", {"export": 2}),
        ("another recipe", {"fingerprint": 5}),
        ("other settings", {"settings": []}),
        ("other settings", {"images": 11}),
        *(("done must be ascending pairs of numbers in 0..2", {"done": done}) for done in BAD_RUNS),
    ],
)  # fmt: skip
def test_a_state_that_is_not_legal_is_refused(message: str, change: dict[str, Any] | None, tmp_path: Path) -> None:
    run(tmp_path)
    path = tmp_path / "export.json"
    if change is None:
        path.write_text("{")
    else:
        state = {**json.loads(path.read_text()), **change}
        path.write_text(json.dumps({key: value for key, value in state.items() if value is not ...}))
    before = path.read_text()
    with pytest.raises(ValueError, match=message):
        run(tmp_path)
    assert path.read_text() == before


def test_a_second_process_is_refused_while_the_first_one_lives(tmp_path: Path) -> None:
    code = (
        "import fcntl, sys; lock = open(sys.argv[1], 'a'); fcntl.flock(lock, fcntl.LOCK_EX); print(1, flush=True);"
        " sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "1\n"
        with pytest.raises(BlockingIOError, match=f"{tmp_path}: another process exports to this folder"):
            run(tmp_path)
        assert os.listdir(tmp_path) == [".lock"]
        process.kill()
    assert run(tmp_path).images == 12


def test_two_exports_of_one_process_exclude_each_other_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw, tried = export._Drawer.draw, []

    def nested(self: Any, images: range) -> Any:
        if not tried:
            tried.append(True)
            with pytest.raises(BlockingIOError, match="another process exports"):
                run(tmp_path)
        return draw(self, images)

    monkeypatch.setattr(export._Drawer, "draw", nested)
    assert run(tmp_path, workers=1).images == 12
    assert tried


def test_links_do_not_lead_an_export_out_of_its_folder(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("mine")
    for name in ("00001", ".partial", ".lock"):
        folder = tmp_path / name.strip(".")
        run(folder)
        done = folder / "export.json"
        done.write_text(done.read_text().replace("[[0,2]]", "[]"))
        if name == ".lock":
            (folder / name).unlink()
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).symlink_to(outside / "made" if name == ".lock" else outside)
        if name == ".partial":
            run(folder)
        else:
            with pytest.raises(OSError, match=name):
                run(folder)
        assert os.listdir(outside) == ["kept"]


def test_an_export_has_the_names_that_its_numbers_give_and_no_others(tmp_path: Path) -> None:
    run(tmp_path / "a" / "b")  # folders above are made
    assert os.listdir(tmp_path) == ["a"]
    names = set(contents(tmp_path / "a" / "b"))
    assert names == {"export.json", "recipe.json"} | {f"{n // 4:05}/{n:05}.png" for n in range(12)}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        run(tmp_path)


def test_a_path_where_no_folder_can_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/export")):
        with pytest.raises(OSError, match=str(path)):
            run(path)
    assert (tmp_path / "file").read_text() == "mine"


# Bad arguments


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "format must be one of 'imagefolder', 'webdataset', got 'zip'", {"format": "zip"}),
        (ValueError, "size must be an integer in 8..4096, got 7", {"size": 7}),
        (TypeError, "size must be an integer", {"size": 20.0}),
        (ValueError, "draws must be one of", {"draws": "old"}),
        (ValueError, "shard_size must be None for format 'imagefolder'", {"format": "imagefolder", "shard_size": 5}),
        (ValueError, "shard_size must be an integer in 1..1000000, got 0", {"shard_size": 0}),
        (ValueError, "workers must be an integer in 1..1024, got 0", {"workers": 0}),
        (TypeError, "workers must be an integer", {"workers": "2"}),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    error: type[Exception], message: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        export_images(RECIPE, tmp_path / "out", **{"format": "webdataset", **settings})
    assert os.listdir(tmp_path) == []


def test_what_is_no_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"recipe must be a recipe such as .*, got str"):
        export_images("OnePFrac", tmp_path)  # type: ignore[arg-type]


def test_images_of_several_classes_cannot_be_an_image_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="format must be 'webdataset' for Scenes"):
        export_images(Scenes(), tmp_path)
    assert os.listdir(tmp_path) == []


# The command


TINY = "OnePFrac:num_classes=4,points=500,canvas=35,pad=2,brush=fill"


def test_the_command_exports_and_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    assert cli.main(["export", TINY, "--out", out, "--workers=1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith(f"wrote 4 images to {out}: ")
    assert len(ImageFolder(out)) == 4
    assert cli.main(["export", f"{out}/recipe.json", "--out", out]) == 0
    assert capsys.readouterr().out == f"the export in {out} is finished, all 4 images\n"
    (tmp_path / "out" / "export.json").write_text(
        (tmp_path / "out" / "export.json").read_text().replace("[[0,0]]", "[]")
    )
    shards = str(tmp_path / "shards")
    settings = ["--format=webdataset", "--size=16", "--draws=fresh", "--shard-size=3"]
    assert cli.main(["export", TINY, "--out", shards, *settings]) == 0
    state = json.loads((tmp_path / "shards" / "export.json").read_text())
    assert {**state["settings"], "png": ""} == {
        "format": "webdataset", "size": 16, "draws": "fresh", "shard_size": 3, "png": ""
    }  # fmt: skip


def test_a_bar_counts_the_images_with_those_that_were_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars: list[Any] = []

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    def bar(**settings: Any) -> Any:
        bars.append(tqdm.tqdm(**settings, file=Terminal()))
        return bars[-1]

    monkeypatch.setattr(export, "tqdm", bar)
    run(tmp_path, progress=True)
    (tmp_path / "00001" / "00004.png").unlink()
    run(tmp_path, progress=True)
    run(tmp_path / "silent")
    assert [(bar.total, bar.initial, bar.n) for bar in bars[:2]] == [(12, 0, 12), (12, 7, 12)]
    assert "7/12" in bars[1].fp.getvalue()
    assert "images/s" in bars[1].fp.getvalue()
    assert bars[2].disable


def test_a_recipe_that_cannot_be_drawn_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="inked"):
        run(tmp_path / "out", recipe=OnePFrac(num_classes=2, points=1, canvas=35, pad=2, brush="point", min_inked=0.9))
    assert os.listdir(tmp_path) == []


def test_the_command_says_how_much_was_there_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["export", TINY, f"--out={tmp_path}", "--format=webdataset", "--shard-size=3"])
    (tmp_path / "shard-000001.tar").unlink()
    capsys.readouterr()
    assert cli.main(["export", TINY, f"--out={tmp_path}", "--format=webdataset", "--shard-size=3"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote 1 images after 3 that were there to {tmp_path}: ")


def test_the_commands_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("")
    assert "holds 'mine' and no export.json" in error_of(["export", TINY, f"--out={tmp_path}"], capsys)
    assert "unknown field 'classes'" in error_of(["export", "OnePFrac:classes=3", "--out=x"], capsys)
    assert "size must be" in error_of(["export", TINY, f"--out={tmp_path / 'new'}", "--size=3"], capsys)


def test_the_commands_help_shows_examples(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of(["export"], capsys)
    assert "examples:\n  onepfrac export OnePFrac --out" in text
    for option in ("--format", "--size", "--draws", "--workers", "--shard-size"):
        assert option in text
