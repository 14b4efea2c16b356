"""Faults: power cuts and full disks at any moment, and damaged checkpoints."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from promises.tally import tried
from safetensors.torch import save

from onepfrac import Categories, OnePFrac, export_images, files
from onepfrac.train import checkpoint, pretrain, run_folder
from onepfrac.train.digest import sealed

PROGRAM = Path(__file__).resolve().parent / "power.py"
EVERY = {
    "recipe": 2, "search": 3, "search to CSV": 7, "categories over others": 5, "image folder": 7, "shards": 7,
    "publish": 5, "results": 3, "pretrain": 9, "mae": 19, "finetune": 11, "finetune without a checkpoint": 5,
    "categories over others where names cannot be exchanged": 11, "publish where names cannot be exchanged": 11,
}  # fmt: skip
"""Of so many operations one is tried, unless all are, with --nightly; no multiple of the four kinds of loss."""


Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def ask() -> Iterator[Ask]:
    """Let one process, which imports everything once, try a scenario."""
    with subprocess.Popen(
        [sys.executable, str(PROGRAM)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def answer(**asked: Any) -> dict[str, Any]:
            print(json.dumps(asked), file=process.stdin, flush=True)
            said = json.loads(process.stdout.readline())
            assert isinstance(said, dict)
            return said

        yield answer
        process.stdin.close()


def trials(ask: Ask, scenario: str, folder: Path, request: pytest.FixtureRequest, full: bool = False) -> None:
    every = 1 if request.config.getoption("--nightly") else EVERY[scenario]
    said = ask(scenario=scenario, folder=str(folder / "tries"), every=every, full=full)
    tried(said["tries"])
    assert said["wrong"] == []
    assert said["tries"] >= 3


# ---- power cuts and full disks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", EVERY)
def test_a_power_cut_at_any_operation_leaves_no_half_file_and_the_same_command_comes_to_the_same_end(
    scenario: str, ask: Ask, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trials(ask, scenario, tmp_path, request)


@pytest.mark.parametrize("scenario", EVERY)
def test_a_disk_that_is_full_from_any_operation_on_is_told_by_path_and_what_stood_before_is_intact(
    scenario: str, ask: Ask, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trials(ask, scenario, tmp_path, request, full=True)


# ---- checkpoints -----------------------------------------------------------------------------------------------------

TINY: dict[str, Any] = {
    "steps": 6, "warmup": 1, "save_every": 2, "log_every": 2, "sheet": 0, "device": "cpu", "threads": 1,
    "num_classes": 4, "delta": 0.5, "points": 500, "canvas": 16, "pad": 1, "size": 16, "batch_size": 4, "lr": 0.1,
    "model_arg": ("patch_size=8", "embed_dim=8", "depth=1", "num_heads=1"),
}  # fmt: skip


def settings(out: Path, **changes: Any) -> pretrain.Settings:
    return pretrain.Settings(**{**TINY, "out": str(out), **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    pretrain.pretrain(settings(out))
    return out


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, ended as by a kill while its last weights were written: it has the checkpoints of steps 4 and 2."""
    out = tmp_path_factory.mktemp("cut") / "run"
    write, name = checkpoint.write, out / "weights.safetensors"

    class Killed(BaseException):
        pass

    def stop(path: Path, *arguments: Any, **keywords: Any) -> None:
        if path == name:
            raise Killed
        write(path, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write", stop)
        with pytest.raises(Killed):
            pretrain.pretrain(settings(out))
    return out


def sums(run: Path) -> list[str]:
    names = ("weights.safetensors", "checkpoint.safetensors")
    return [checkpoint.read_info(run / name)["sha256"] for name in names]


def test_a_run_keeps_two_checkpoints(cut: Path) -> None:
    steps = [checkpoint.read_info(cut / name)["step"] for name in (run_folder.CHECKPOINT, run_folder.OLDER)]
    assert steps == [4, 2]


@pytest.mark.parametrize("damage", ["cut", "empty", "step", "tensor", "gone"])
def test_where_the_last_checkpoint_is_damaged_a_run_goes_on_from_the_one_before_it(
    damage: str, cut: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(cut, run)
    path = run / run_folder.CHECKPOINT
    data = path.read_bytes()
    changed = {
        "cut": data[:-100],
        "empty": b"",
        "step": data.replace(b'\\"step\\":4', b'\\"step\\":3'),
        "tensor": data[:-1] + bytes([data[-1] ^ 1]),
    }
    if damage == "gone":
        path.unlink()
        pretrain.pretrain(settings(run, resume=True))
    else:
        assert changed[damage] != data
        path.write_bytes(changed[damage])
        with pytest.warns(RuntimeWarning, match=r"checkpoint\.safetensors .*; the one before it, of step 2, is used"):
            pretrain.pretrain(settings(run, resume=True))
    assert sums(run) == sums(whole)
    assert {path.name for path in run.iterdir()} == {path.name for path in whole.iterdir()}


def test_a_damaged_checkpoint_never_takes_the_place_of_the_one_before_it(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "run")
    path = tmp_path / "run" / run_folder.CHECKPOINT
    path.write_bytes(path.read_bytes()[:-1])
    run_folder.settle(tmp_path / "run", 2)
    assert checkpoint.read(path)[1]["step"] == 2


def test_where_both_checkpoints_are_damaged_the_run_is_refused_with_the_reason(cut: Path, tmp_path: Path) -> None:
    shutil.copytree(cut, tmp_path / "run")
    for name in (run_folder.CHECKPOINT, run_folder.OLDER):
        (tmp_path / "run" / name).write_bytes(b"\0" * 1000)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is truncated or no safetensors file"):
        pretrain.pretrain(settings(tmp_path / "run", resume=True))


def test_a_checkpoint_of_which_any_byte_was_changed_or_lost_is_refused_or_read_as_it_was(
    cut: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data = (cut / run_folder.CHECKPOINT).read_bytes()
    tensors, info = checkpoint.read(cut / run_folder.CHECKPOINT)
    header = 8 + int.from_bytes(data[:8], "little")
    draw = random.Random(5)
    count = len(data) if request.config.getoption("--nightly") else 700
    places = [*draw.sample(range(header), min(count, header)), *draw.sample(range(header, len(data)), count // 3)]
    path, refused = tmp_path / "checkpoint.safetensors", 0
    changes = [data[:at] + bytes([data[at] ^ (1 << draw.randrange(8))]) + data[at + 1 :] for at in places]
    changes += [data[:size] for size in draw.sample(range(len(data)), 100)]
    for changed in changes:
        path.write_bytes(changed)
        try:
            found, about = checkpoint.read(path)
        except ValueError as error:
            why = str(error)
        else:
            why = "" if about else f"{path} is of another program"  # which no run goes on from
        if why:
            refused += str(path) in why
            continue
        # A bit of a space means nothing else.
        assert all(torch.equal(found[name], tensors[name]) for name in tensors)
        assert found.keys() == tensors.keys()
        assert about == info
    tried(len(changes))
    assert refused >= 0.95 * len(changes)


@pytest.mark.parametrize("name", ["sha256", "header_sha256"])
def test_a_checkpoint_without_one_of_its_checksums_is_refused(name: str, cut: Path, tmp_path: Path) -> None:
    tensors, info = checkpoint.read(cut / run_folder.CHECKPOINT)
    bare = {key: value for key, value in info.items() if key != name}
    about = bare if name == "header_sha256" else sealed(bare)
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(save(tensors, {"format": "pt", "onepfrac": files.canonical_json(about)}))
    with pytest.raises(ValueError, match=f"{path} was altered"):
        checkpoint.read(path)
    tried()


def test_a_log_with_a_torn_end_is_read_up_to_it(cut: Path, tmp_path: Path) -> None:
    for torn in (b'{"step": 6, "tra', b"\0" * 40 + b"\n", b"7\n", b'{"loss": 1}\n', b"\xff\xfe\n"):
        shutil.copytree(cut, tmp_path / "run")
        with open(tmp_path / "run" / "log.jsonl", "ab") as file:
            file.write(torn)
        run_folder.Log(tmp_path / "run", 6).close()
        lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
        shutil.rmtree(tmp_path / "run")


# ---- exports ---------------------------------------------------------------------------------------------------------

EXPORTED = OnePFrac(num_classes=6, points=300, canvas=32, pad=1)


@pytest.mark.parametrize("zeros", [False, True], ids=["cut", "zeros"])
def test_a_shard_that_is_cut_anywhere_is_made_again(zeros: bool, tmp_path: Path) -> None:
    export_images(EXPORTED, tmp_path, "webdataset", shard_size=3)
    path = tmp_path / "shard-000001.tar"
    data = path.read_bytes()
    sizes = [0, 1, 511, 512, 513, 700, *range(1024, len(data) - 10240, 256), len(data) - 10240, len(data) - 512]
    content = len(data.rstrip(b"\0"))
    for size in [*sizes, len(data) - 1]:
        if zeros and size >= content:
            continue  # nothing is lost
        path.write_bytes(data[:size] + bytes(len(data) - size) * zeros)
        assert export_images(EXPORTED, tmp_path, "webdataset", shard_size=3).images == 3, size
        assert path.read_bytes() == data
    with tarfile.open(path) as archive:
        ends = [member.offset_data + member.size for member in archive if member.name.endswith(".png")]
    for end in ends:  # a hole, with all around it in its place
        path.write_bytes(data[: end - 12] + bytes(12) + data[end:])
        assert export_images(EXPORTED, tmp_path, "webdataset", shard_size=3).images == 3, end
    tried(len(sizes) + len(ends))
    assert export_images(EXPORTED, tmp_path, "webdataset", shard_size=3).images == 0


# ---- places that cannot be written -----------------------------------------------------------------------------------


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").write_text("")
    places = [
        tmp_path / "folder.json",
        tmp_path / ("n" * 300 + ".json"),
        tmp_path / "file/x.json",
        tmp_path / "no/x.json",
    ]
    for place in places:
        with pytest.raises(OSError, match="cannot write ") as caught:
            EXPORTED.save(place)
        assert str(place) in str(caught.value)
        assert {path.name for path in tmp_path.iterdir()} == {"folder.json", "file"}
    tried(len(places))


def test_categories_in_a_folder_with_other_files_are_replaced_and_the_others_stay(tmp_path: Path) -> None:
    maps = np.array([[[0.5, 0.0, 0.5], [0.0, 0.5, 0.0]], [[0.5, 0.0, 0.0], [0.0, 0.5, 0.5]]])
    probs = [0.5, 0.5]
    folder = tmp_path / "csv"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    for factor in (1.0, 0.5):
        made = Categories([{"maps": (maps * factor).tolist(), "probs": probs}])
        made.save(folder)
        assert Categories.load(folder) == made
    assert (folder / "notes.txt").read_text() == "mine"
    assert {path.name for path in folder.iterdir()} == {"notes.txt", "00000.csv"}
    assert os.listdir(tmp_path) == ["csv"]


def test_what_is_written_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (order.append("fsync"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda *paths: (order.append("replace"), replace(*paths))[1])
    files.write_bytes(tmp_path / "file", b"data")
    assert order == ["fsync", "replace", "fsync"]
