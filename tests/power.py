"""Power cuts and full disks: what writes files is stopped at each of its operations, looked at, and started again.

Reads lines of JSON, {"scenario": ..., "folder": ..., "every": ..., "full": ...}, and answers each with one: the number
of tries and what was wrong. Each try is a process forked from this one, which has imported everything already.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import os
import shutil
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from disk import Disk, can_exchange

import onepfrac
from onepfrac import IFS, Categories, OnePFrac, category_search, cli, export, files, recipe_of

TINY: dict[str, Any] = {
    "steps": 3, "warmup": 1, "save_every": 1, "log_every": 1, "sheet": 0, "device": "cpu", "threads": 1,
    "num_classes": 4, "delta": 0.5, "points": 500, "canvas": 16, "pad": 1, "size": 16, "batch_size": 4, "lr": 0.1,
    "model_arg": ("patch_size=8", "embed_dim=8", "depth=1", "num_heads=1"),
}  # fmt: skip


LOSSES = ("kept", "cut", "zeros", "undone")
"""What becomes of what was not flushed, see `Disk`."""


@dataclass(frozen=True)
class Scenario:
    """What is done in a folder, what must hold there at any moment, and what is there in the end.

    ``begin`` prepares the folder, ``work`` may be stopped and is started again, ``look`` raises an AssertionError
    where a file is read as whole that is not, ``end`` returns what must be the same in the end.
    """

    work: Callable[[Path], None]
    look: Callable[[Path], None]
    end: Callable[[Path], dict[str, Any]]
    begin: Callable[[Path], None] = lambda folder: None


# ---- recipes ---------------------------------------------------------------------------------------------------------

OLD, NEW = OnePFrac(num_classes=4, seed=1), OnePFrac(num_classes=4, seed=2)


def _read_recipe(folder: Path) -> None:
    assert recipe_of(str(folder / "recipe.json")) in (OLD, NEW)


# ---- categories and searches -----------------------------------------------------------------------------------------


def _search(name: str) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        ticks = iter(range(0, 10**9, 100))  # so that the state is written after each step
        category_search.time = type("Time", (), {"monotonic": staticmethod(lambda: next(ticks))})  # type: ignore
        category_search._CANDIDATES = 2  # type: ignore[misc]
        options = ["--points", "2000", "--size", "32", "--pad", "1", "--threads", "1", "--categories", "4"]
        if (folder / name).exists():  # it had come to its end
            return
        told = io.StringIO()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(told):
            status = cli.main(["search", *options, "--out", str(folder / name)])
        if status:
            raise OSError(told.getvalue().strip().splitlines()[-1])

    return work


def _look_search(name: str) -> Callable[[Path], None]:
    def look(folder: Path) -> None:
        if (folder / name).exists():
            assert len(Categories.load(folder / name)) == 4, "fewer categories were read as all"

    return look


def _look_categories(folder: Path) -> None:
    _stands(folder / "csv")
    _look_search("csv")(folder)


def _systems(first: float) -> Categories:
    maps = np.array([[[0.5, 0.0, first], [0.0, 0.5, 0.0]], [[0.5, 0.0, 0.0], [0.0, 0.5, 0.5]]])
    return Categories([IFS(maps + place / 100) for place in range(4)])


# ---- exports ---------------------------------------------------------------------------------------------------------

EXPORTED = OnePFrac(num_classes=4, points=200, canvas=16, pad=1)


def _export(format: str, **settings: Any) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        export._PART, export._CHUNK = 2, 2  # type: ignore[misc]
        onepfrac.export_images(EXPORTED, folder / "out", format, workers=1, **settings)

    return work


def _look_export(folder: Path) -> None:
    from PIL import Image

    for path in (folder / "out").glob("[0-9]*/*.png"):
        with Image.open(path) as picture:
            picture.load()  # whoever reads a file that has its name must find it whole
    for path in (folder / "out").glob("*.tar"):
        import tarfile

        with tarfile.open(path) as archive:
            assert len(archive.getnames()) == 4, path


# ---- trainings -------------------------------------------------------------------------------------------------------


def _pretrain(folder: Path) -> None:
    from onepfrac.train import pretrain

    settings = pretrain.Settings(**{**TINY, "out": str(folder / "run"), "resume": (folder / "run").exists()})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        pretrain.pretrain(settings)


def _mae(folder: Path) -> None:
    from onepfrac.train import mae

    common = {name: TINY[name] for name in ("steps", "warmup", "save_every", "log_every", "device", "model_arg")}
    settings = mae.Settings(
        recipe="OnePFrac:num_classes=4,delta=0.5,points=500,canvas=16,pad=1", size=16, batch_size=4, pictures=1,
        decoder_dim=4, decoder_depth=1, decoder_heads=1, out=str(folder / "run"), resume=(folder / "run").exists(),
        **common,
    )  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        mae.pretrain_mae(settings)


def _photographs(folder: Path) -> None:
    from PIL import Image

    for number, name in enumerate(f"photographs/{part}/{kind}/0.png" for part in ("train", "val") for kind in "ab"):
        (folder / name).parent.mkdir(parents=True)
        Image.new("RGB", (16, 16), (80 * number, 40, 200)).save(folder / name)


def _finetune(epochs: int) -> Callable[[Path], None]:
    def work(folder: Path) -> None:
        from onepfrac.train import finetune

        settings = finetune.Settings(
            data=str(folder / "photographs"), out=str(folder / "run"), resume=(folder / "run").exists(),
            model="vit_tiny_patch16_224", model_arg=TINY["model_arg"], size=16, epochs=epochs, save_every=1,
            batch_size=2, device="cpu",
        )  # fmt: skip
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            finetune.finetune(settings)

    return work


def _look_finetuned(folder: Path) -> None:
    from onepfrac.train import checkpoint

    for path in folder.glob("run/*.safetensors"):
        checkpoint.read(path)
    if (folder / "run/result.json").exists():
        assert json.loads(_text(folder / "run/result.json"))["finished"]
        assert (folder / "run/weights.safetensors").exists()


def _end_finetuned(folder: Path) -> dict[str, Any]:
    from onepfrac.train import checkpoint

    run = folder / "run"
    result = json.loads(_text(run / "result.json"))
    told = {name: result[name] for name in ("accuracy", "steps", "train_loss")}
    return {
        "names": sorted(path.name for path in run.iterdir()),
        "sha256": checkpoint.read_info(run / "weights.safetensors")["sha256"],
        **told,
    }


def _look_run(folder: Path) -> None:
    from onepfrac.train import checkpoint, run_folder

    for path in folder.glob("run/*.safetensors"):
        checkpoint.read(path)
    steps = [json.loads(line)["step"] for line in _text(folder / "run/log.jsonl").split("\n")[:-1]]
    found = run_folder.read_checkpoint(folder / "run") if (folder / "run").exists() else None
    if found is not None:
        assert len(steps) >= found[2]["step"], f"a checkpoint of step {found[2]['step']} with the log of {steps}"
        assert found[2]["step"] >= max(steps) - 1, f"more than a step was lost: {found[2]['step']} of {steps}"


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _end_run(folder: Path) -> dict[str, Any]:
    from onepfrac.train import checkpoint

    run = folder / "run"
    names = sorted(path.name for path in run.iterdir() if path.name != "tensorboard")
    losses = [json.loads(line)["train/loss"] for line in _text(run / "log.jsonl").splitlines()]
    sums = {name: checkpoint.read_info(run / name)["sha256"] for name in names if name.endswith(".safetensors")}
    return {"names": names, "losses": losses, **sums}


# ---- published folders and results -----------------------------------------------------------------------------------


def _publish(folder: Path) -> None:
    from onepfrac.train import publish

    publish.publish(folder / "run", folder / "out", overwrite=True)


def _look_published(folder: Path) -> None:
    from onepfrac.train import weights

    _stands(folder / "out")
    if (folder / "out").exists():
        weights.load_pretrained(folder / "out")
        assert weights.recipe_of_weights(folder / "out") == recipe_of(str(folder / "out/recipe.json"))


def _stands(path: Path) -> None:
    """What is replaced has its name at any moment, the old or the new, where the system can exchange two names."""
    assert path.exists() or (path.parent / CANNOT).exists() or not can_exchange(path.parent), f"{path} is gone"


CANNOT = ".cannot.tmp"  # no file of the scenario's
"""Stands where a scenario is to do without exchanging names."""


def _without_exchange(scenario: Scenario) -> Scenario:
    def begin(folder: Path) -> None:
        scenario.begin(folder)
        io.FileIO(folder / CANNOT, "w").close()

    def work(folder: Path) -> None:
        files.exchange = lambda one, other: False
        scenario.work(folder)

    return dataclasses.replace(scenario, begin=begin, work=work)


TOLD = f".told.{0:016}.tmp"  # no file of the scenario's
"""How many results were written when the power was cut."""


def _append(folder: Path) -> None:
    from onepfrac.train.experiments import results

    done = {line["job"] for line in results.read(folder)}
    for job in range(4):
        if job not in done:
            results.append(folder / "results.jsonl", {"job": job, "top1": 0.5})
            with io.FileIO(folder / TOLD, "w") as told:  # not through the disk that fails
                told.write(str(job + 1).encode("ascii"))


def _look_results(folder: Path) -> None:
    from onepfrac.train.experiments import results

    jobs = [line["job"] for line in results.read(folder)]
    assert jobs == list(range(len(jobs)))
    told = int(_text(folder / TOLD) or 0)
    assert len(jobs) >= told, f"of {told} results that were written {len(jobs)} are there"


def tree(folder: Path) -> dict[str, Any]:
    """Return all files of a folder by path, but locks, and temporary ones, which are told by their names."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes().hex()
        for name, path in found.items()
        if path.name != ".lock" and not any(part.startswith(".") and part.endswith(".tmp") for part in Path(name).parts)
    }


SCENARIOS = {
    "recipe": Scenario(
        lambda folder: NEW.save(folder / "recipe.json"),
        _read_recipe,
        tree,
        lambda folder: OLD.save(folder / "recipe.json"),
    ),
    "search": Scenario(
        _search("systems.json"), _look_search("systems.json"), lambda f: {"end": tree(f)["systems.json"]}
    ),
    "search to CSV": Scenario(
        _search("csv"), _look_search("csv"), lambda f: {k: v for k, v in tree(f).items() if not k.endswith(".partial")}
    ),
    "categories over others": Scenario(
        lambda folder: _systems(0.5).save(folder / "csv"),
        _look_categories,
        tree,
        lambda folder: _systems(0.25).save(folder / "csv"),
    ),
    "image folder": Scenario(_export("imagefolder"), _look_export, tree),
    "shards": Scenario(_export("webdataset", shard_size=2), _look_export, tree),
    "pretrain": Scenario(_pretrain, _look_run, _end_run),
    "mae": Scenario(_mae, _look_run, _end_run),
    "finetune": Scenario(_finetune(3), _look_finetuned, _end_finetuned, _photographs),
    "finetune without a checkpoint": Scenario(_finetune(1), _look_finetuned, _end_finetuned, _photographs),
    "publish": Scenario(_publish, _look_published, tree, lambda folder: _trained(folder)),
    "results": Scenario(_append, _look_results, tree),
}
SCENARIOS |= {
    f"{name} where names cannot be exchanged": _without_exchange(SCENARIOS[name])
    for name in ("categories over others", "publish")
}


def _trained(folder: Path) -> None:
    if not (folder.parent / "trained").exists():
        _pretrain(folder.parent / "trained")
    shutil.copytree(folder.parent / "trained/run", folder / "run")
    _publish(folder)


# ---- tries -----------------------------------------------------------------------------------------------------------


def child(work: Callable[[], object], report: Path) -> tuple[int, str]:
    """Run ``work`` in a forked process; return its status, 0 where all was well, and what it reported."""
    report.unlink(missing_ok=True)
    process = os.fork()
    if process == 0:
        status = 1
        try:
            warnings.simplefilter("error", RuntimeWarning)
            said = work()
            report.write_text("" if said is None else json.dumps(said))
            status = 0
        except BaseException:
            report.write_text(traceback.format_exc())
        finally:
            os._exit(status)
    _, ended = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(ended), report.read_text() if report.exists() else ""


def attempt(scenario: Scenario, root: Path, every: int, full: bool) -> dict[str, Any]:
    """Stop a scenario at its operations, each time in a fresh folder below ``root``; return tries and faults.

    ``every``: of so many operations one is tried. At 1, every kind of loss is tried at each.
    ``full``: the disk is full from the operation on, instead of a power cut before it.
    """
    begun, report, wrong = root / "begun", root / "report", []
    begun.mkdir(parents=True)

    def finish(folder: Path) -> dict[str, Any]:
        scenario.work(folder)
        scenario.look(folder)
        return scenario.end(folder)

    def disturbed(folder: Path, disk: Disk) -> tuple[int, list[int], list[int]]:
        disk.install()
        scenario.work(folder)
        return disk.count, disk.named, disk.removed

    def some(moments: list[int], most: int) -> list[int]:
        return [moment for moment in moments[:: -(-len(moments) // most) or 1] if moment <= operations]

    def must(work: Callable[[], object]) -> Any:
        status, said = child(work, report)
        assert status == 0, said
        return json.loads(said) if said else None

    must(lambda: scenario.begin(begun))
    shutil.copytree(begun, root / "count")
    operations, named, removed = must(lambda: disturbed(root / "count", Disk()))
    shutil.copytree(begun, root / "left alone")
    expected = must(lambda: finish(root / "left alone"))
    moments = list(range(1, operations + 1, every))
    if full:
        trials = [(moment, "full") for moment in moments]
    elif every == 1:
        trials = [(moment, lost) for moment in moments for lost in LOSSES]
    else:
        trials = [(moment, LOSSES[number % len(LOSSES)]) for number, moment in enumerate(moments)]
        # What has just got its name must be on the disk already.
        trials += [(moment, "cut") for moment in some(named, 12)]
        # What comes back when names are taken back must not have been removed.
        trials += [(moment, "undone") for moment in some(removed, 4)]
    folder = root / "try"
    for moment, lost in trials:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(begun, folder)
        what = f"operation {moment} of {operations}, {lost}"
        disk = Disk(full=moment) if full else Disk(stop=moment, lost=lost)
        status, said = child(lambda: disturbed(folder, disk), report)  # noqa: B023 - called at once
        last = said.strip().splitlines()[-1:]
        if full and status and not (status == 1 and "No space left on device" in last[0] and str(folder) in last[0]):
            wrong.append(f"{what}: not an error of a full disk with its path: {said}")
        if not full and status != 137:
            wrong.append(f"{what}: ended with {status}: {said}")
        status, said = child(lambda: scenario.look(folder), report)
        if status:
            wrong.append(f"{what}: at that moment: {said}")
        status, said = child(lambda: finish(folder), report)
        if status:
            wrong.append(f"{what}: it did not go on: {said}")
        elif (found := json.loads(said)) != expected:
            odd = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
            wrong.append(f"{what}: other files in the end: {odd}")
    return {"tries": len(trials), "operations": operations, "wrong": wrong}


def main() -> None:
    """Answer line by line."""
    # Once, before the forks.
    for module in ("pretrain", "mae", "finetune", "publish", "experiments.results"):
        importlib.import_module(f"onepfrac.train.{module}")
    for line in sys.stdin:
        asked, start = json.loads(line), time.monotonic()
        try:
            said = attempt(SCENARIOS[asked["scenario"]], Path(asked["folder"]), asked["every"], asked["full"])
        except Exception:
            said = {"tries": 0, "operations": 0, "wrong": [traceback.format_exc()]}
        print(json.dumps({**said, "seconds": time.monotonic() - start}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
