"""Run an experiment's jobs: pre-train, choose a learning rate, fine-tune, one line of results each. Start it as

    onepfrac experiment main --scale cpu --data cifar10.tar.xz --out runs/main

What was done is not done again: a job whose key stands in the results is skipped, a pre-training goes on from its
checkpoint. Under torchrun every process runs its share of the jobs, each of them alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import hashlib
import json
import math
import os
import platform
import secrets
import shutil
import signal
import tarfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

from onepfrac import __version__, files
from onepfrac.datasets import SingleImage
from onepfrac.train import finetune, machine, options, pretrain, probe
from onepfrac.train.experiments import report, results
from onepfrac.train.experiments.catalogue import EXPERIMENTS, SCALES
from onepfrac.train.experiments.grid import Experiment, Scale
from onepfrac.train.experiments.jobs import Changes, Job, deal, jobs_of, parse_changes, scale_key
from onepfrac.train.images import PREFIXES, Photographs, check_splits, load_splits
from onepfrac.train.options import setting

__all__ = ["Outcome", "Settings", "find_images", "run", "write_report"]


@dataclass(frozen=True)
class Settings:
    """How an experiment is run; the texts are those of ``--help``."""

    scale: str = setting("cpu", "how much is done", choices=tuple(SCALES), group="run")
    data: str = setting(
        "", "image folder with train/CLASS/* and val/CLASS/*, a tar archive of one, or a dataset of timm: torch/cifar10"
    )
    data_root: str = setting("", "folder of a dataset of timm; none: where its library keeps it")
    download: bool = setting(False, "let timm download what is missing of its dataset")
    out: str = setting("", "folder for results, report and weights; none: runs/NAME")
    arms: str = setting("", "arms to run, e.g. scratch,1p-frac; none: all")
    seeds: str = setting("", "seeds to run, e.g. 0,1,2; none: those of the scale")
    share: str = setting("", "I/N: every N-th job from job I on, 0/2 and 1/2 are the whole; torchrun shares by itself")
    minutes: float = setting(0.0, "stop after so many minutes, with a checkpoint; 0: never")
    photo: str = setting("", "photograph for the arm with one image, or a SingleImage's recipe; none: no such arm")
    keep: bool = setting(False, "keep the fine-tuned weights too")
    commit: str = setting("", "where the code comes from, to be written into the results")
    pretrain: tuple[str, ...] = setting((), "another setting of pre-training for all arms, e.g. steps=500")
    finetune: tuple[str, ...] = setting((), "another setting of fine-tuning for all arms, e.g. epochs=5")

    device: str = setting("auto", "auto (a CUDA device where there is one), cpu, cuda or cuda:N", group="machine")
    threads: int = setting(0, "threads of torch and of the CPU renderer; 0: all cores", high=1024)

    def __post_init__(self) -> None:
        options.check(self)
        parse_changes("pretrain", self.pretrain)
        parse_changes("finetune", self.finetune)


@dataclass(frozen=True)
class Outcome:
    """What `run` did: jobs of this share that are done and that are left, the signal that ended it or 0, the report."""

    done: int
    left: int
    signal: int
    report: Path | None


class _Stop(BaseException):
    """The time is over (number 0), or a signal came."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def run(name: str, settings: Settings, dry: bool = False) -> Outcome:
    """Run or go on with an experiment, and write its report from all that is done.

    Parameters
    ----------
    name
        A key of ``EXPERIMENTS``.
    settings
        How.
    dry
        Only print the jobs, and which are done.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal, or a file cannot be read or written.
    FloatingPointError
        If the loss of a job was no longer finite; the others have been run.
    """
    # ---- set-up ------------------------------------------------------------------------------------------------------
    experiment, scale = _named(name), SCALES[settings.scale]
    if not settings.data:
        raise ValueError("data must name an image folder or a tar archive of one, got ''")
    out = Path(settings.out or f"runs/{name}")
    with _alone() as (rank, world):
        share, own = _share(settings.share, rank, world)
        out.mkdir(parents=True, exist_ok=True)
        changes = _changes(settings, scale, out)
        data = Path(settings.data).name if Path(settings.data).exists() else settings.data
        jobs = deal(
            _chosen(experiment, jobs_of(experiment, scale, data, changes, _seeds(settings.seeds)), settings), *share
        )
        about: dict[str, Any] = {"experiment": name, "scale": scale.name, "scale_key": scale_key(scale), "data": data}
        about["changes"] = {"pretrain": dict(changes.pretrain), "finetune": dict(changes.finetune)}
        work = _Work(out, out / f"results{own}.jsonl", settings, scale, about)
        if dry:
            return _print_jobs(jobs, work)

        # ---- loop ----------------------------------------------------------------------------------------------------
        failed, stopped = [], None
        try:
            with _stopping(), _threads(settings.threads):
                for number, job in enumerate(jobs, 1):
                    print(f"job {number} of {len(jobs)}: {name} {job.arm}, seed {job.seed}", flush=True)
                    try:
                        work.do(job)
                    except FloatingPointError as error:
                        failed.append(f"{job.arm}, seed {job.seed}: {error}")
                        print(f"failed: {error}", flush=True)
        except _Stop as stop:
            stopped = stop.number

        # ---- end -----------------------------------------------------------------------------------------------------
        mine = [line for line in work.lines if line["kind"] == "run" and work.is_ours(line)]
        written = report.write(experiment, mine, out) if mine else None
        left = sum(work.find(job) is None for job in jobs)
        if failed and stopped is None:
            raise FloatingPointError(f"{len(failed)} of {len(jobs)} jobs failed: {'; '.join(failed)}")
        return Outcome(done=len(jobs) - left, left=left, signal=stopped or 0, report=written)


def write_report(name: str, settings: Settings) -> Path:
    """Write report.md and report.png from the results in the folder alone, and return the path of the former.

    It is about the scale, photographs and changed settings of the latest run.

    Raises
    ------
    ValueError, OSError
        If there are no results of this experiment, or a file cannot be read or written.
    """
    experiment, out = _named(name), Path(settings.out or f"runs/{name}")
    lines = [line for line in results.read(out) if line["kind"] == "run" and line["experiment"] == name]
    latest = max(lines, key=lambda line: str(line["date"]), default={})
    same = ("scale", "scale_key", "data", "changes")
    return report.write(experiment, [x for x in lines if all(x[key] == latest[key] for key in same)], out)


@dataclass
class _Work:
    """The results so far, the photographs once they are needed, and the time that is left."""

    out: Path
    path: Path
    settings: Settings
    scale: Scale
    about: dict[str, Any]

    def __post_init__(self) -> None:
        self.lines = results.read(self.out)
        self.began, self.stages = time.monotonic(), 0
        self._images: tuple[Photographs, Photographs, Photographs] | None = None

    def find(self, job: Job) -> dict[str, Any] | None:
        """Return the line of a job, whatever experiment it was run for."""
        return next((line for line in reversed(self.lines) if line["key"] == job.key), None)

    def is_ours(self, line: dict[str, Any]) -> bool:
        """Return whether a line belongs to this experiment, as it is run now."""
        return all(line[name] == value for name, value in self.about.items())

    def folder(self, job: Job) -> Path:
        """Return where a job pre-trains."""
        return self.out / "work" / f"pretrain-{job.body[:16]}"

    @cached_property
    def data(self) -> str:
        """Where the photographs are: a folder, or a dataset of timm."""
        return find_images(self.settings.data, self.out)

    def images(self, job: Job) -> tuple[Photographs, Photographs, Photographs]:
        """Return images to fine-tune on, to choose rates on, to report on; of all jobs the same."""
        if self._images is None:
            self._images = self._load(job.finetuning)
        return self._images

    def _load(self, like: finetune.Settings) -> tuple[Photographs, Photographs, Photographs]:
        scale, settings = self.scale, self.settings
        wanted = scale.images + scale.held_out if scale.images else 0
        splits, counts = (like.train_split, like.val_split), (wanted, scale.test)
        pool, test = load_splits(self.data, settings.data_root, settings.download, splits, counts, like.cache)
        check_splits(pool, test)
        seen = [0] * len(pool.classes)
        train: list[int] = []
        held_out: list[int] = []
        for row, label in enumerate(pool.labels):
            (train if seen[label] < (scale.images or len(pool)) else held_out).append(row)
            seen[label] += 1
        if min(seen) < wanted:
            few = pool.classes[int(np.argmin(seen))]
            raise ValueError(f"data must hold {wanted} training images of each class, got {min(seen)} of {few}")
        return pool.pick(train), pool.pick(held_out), test

    def do(self, job: Job) -> None:
        """Bring a job to its line of results, from wherever it stands."""
        known = self.find(job)
        if known is not None:
            if not any(line["key"] == job.key and self.is_ours(line) for line in self.lines):
                self._note({**known, **self.about, "arm": job.arm})  # done for another experiment
            return
        before = self._pretrain(job)
        tried = {rate: self._try(job, rate) for rate in job.rates}
        best = max(tried, key=tried.__getitem__) if tried else job.finetuning.lr
        chosen = dataclasses.replace(job.finetuning, lr=best)
        train, _, test = self.images(job)
        after = self._finetune(job, job.key, chosen, train, test)
        blocks = self._probe(job) if job.probes else None
        self._note(
            {
                "kind": "run", **self.about, "arm": job.arm, "seed": job.seed, "key": job.key,
                "accuracy": after.accuracy, "train_loss": after.train_loss, "lr": best,
                "tried": [{"lr": rate, "held_out_accuracy": accuracy} for rate, accuracy in tried.items()],
                "pretraining": before, "recipe": job.fingerprint, "seconds": after.seconds, "probe": blocks,
                "images": {"classes": len(train.classes), "train": len(train), "test": len(test),
                           "per_class": self.scale.images, "test_per_class": self.scale.test},
                "settings": {
                    "pretrain": job.pretraining and {**dataclasses.asdict(job.pretraining), "out": ""},
                    "finetune": {**dataclasses.asdict(chosen), "out": ""},
                },
                **self._provenance(),
            }
        )  # fmt: skip
        if not self.settings.keep:
            shutil.rmtree(self._place(job, job.key))
        print(f"accuracy {after.accuracy:.2%} of {len(test)} images, lr {best:g}", flush=True)

    def _pretrain(self, job: Job) -> dict[str, Any] | None:
        if job.pretraining is None:
            return None
        out = self.folder(job)
        done, progress = out / "done.json", out / "progress.json"
        if done.exists() and (out / "weights.safetensors").exists():
            return files.read_json_object(done)
        spent = float(json.loads(progress.read_text())["seconds"]) if progress.exists() else 0.0
        self._begin_stage()
        changes: dict[str, Any] = {"out": str(out), "resume": True, "device": self.settings.device}
        changes["minutes"] = self._minutes()
        if self.settings.threads:
            changes["threads"] = self.settings.threads
        if job.pretraining.compile:
            torch.compiler.reset()  # each job has a model of its own, and the number of compiled ones is limited
        outcome = pretrain.pretrain(dataclasses.replace(job.pretraining, **changes))
        spent += outcome.seconds
        if not outcome.finished:
            files.write_text(progress, json.dumps({"seconds": spent}) + "\n")
            raise _Stop(outcome.signal)
        # NaN where a kill came after the last step and before this file: then the loss is in the log alone.
        loss, accuracy = (None if math.isnan(x) else x for x in (outcome.last_loss, outcome.last_accuracy))
        about = {"loss": loss, "accuracy": accuracy, "steps": outcome.step, "seconds": spent}
        about["images"] = outcome.step * job.pretraining.batch_size
        files.write_text(done, json.dumps(about) + "\n")
        (out / "checkpoint.safetensors").unlink(missing_ok=True)  # three times the weights, which stay
        progress.unlink(missing_ok=True)
        if outcome.signal:
            raise _Stop(outcome.signal)  # it came with the last step
        return about

    def _try(self, job: Job, rate: float) -> float:
        """Return the accuracy on held-out images that a rate gives; an arm's first run finds it for all."""
        key = job.trial(rate)
        known = next((line for line in self.lines if line["key"] == key), None)
        if known is None:
            train, held_out, _ = self.images(job)
            after = self._finetune(job, key, job.trial_settings(rate), train, held_out)
            known = {"kind": "trial", **self.about, "arm": job.arm, "key": key, "weights_of_seed": job.seed, "lr": rate}
            known |= {"accuracy": after.accuracy, "seconds": after.seconds}
            self._note(known)
            shutil.rmtree(self._place(job, key))
            print(f"lr {rate:g}: {after.accuracy:.2%} of {len(held_out)} images that are held out", flush=True)
        return float(known["accuracy"])

    def _finetune(
        self, job: Job, key: str, settings: finetune.Settings, train: Photographs, val: Photographs
    ) -> finetune.Outcome:
        self._begin_stage()
        changes: dict[str, Any] = {"out": str(self._place(job, key)), "weights": self._weights(job), "resume": True}
        changes |= {"device": self.settings.device, "minutes": self._minutes()}
        if settings.compile:
            torch.compiler.reset()
        outcome = finetune.finetune(dataclasses.replace(settings, **changes), train, val)
        if not outcome.finished:
            raise _Stop(outcome.signal)
        return outcome

    def _probe(self, job: Job) -> dict[str, Any]:
        """Return the names of the model's blocks, and what their probes have right; no stage, as it takes seconds."""
        weights, like, wanted = self._weights(job), job.finetuning, self.scale
        out = self.out / "work" / f"probe-{job.key[:16]}"
        outcome = probe.probe(
            probe.Settings(
                data=self.data, data_root=self.settings.data_root, download=self.settings.download,
                train_split=like.train_split, val_split=like.val_split,
                weights=weights, random=not weights, out=str(out), overwrite=True, seed=job.seed,
                model=like.model, model_arg=like.model_arg, size=like.size, workers=like.workers,
                per_class=wanted.images, val_per_class=wanted.test, device=self.settings.device,
            )
        )  # fmt: skip
        shutil.rmtree(out)
        return {"blocks": outcome.blocks, "accuracies": outcome.accuracies["weights" if weights else "random"]}

    def _weights(self, job: Job) -> str:
        return "" if job.pretraining is None else str(self.folder(job) / "weights.safetensors")

    def _place(self, job: Job, key: str) -> Path:
        """Return where to fine-tune: with weights from elsewhere it would be another run, which could not go on."""
        name = hashlib.sha256(f"{key} {self._weights(job)}".encode()).hexdigest()[:16]
        return self.out / "work" / f"finetune-{name}"

    def _begin_stage(self) -> None:
        """Stop if time is over, but begin a call's first stage in any case: every call gets something done."""
        if self.settings.minutes and self.stages and self._minutes() <= 1e-4:
            raise _Stop(0)
        self.stages += 1

    def _minutes(self) -> float:
        """Return the time that is left, 0 where there is no limit."""
        if not self.settings.minutes:
            return 0.0
        return max(self.settings.minutes - (time.monotonic() - self.began) / 60, 1e-5)

    def _note(self, line: dict[str, Any]) -> None:
        results.append(self.path, line)
        self.lines.append(line)

    def _provenance(self) -> dict[str, Any]:
        versions = {"onepfrac": __version__, "torch": torch.__version__, "timm": timm.__version__}
        versions |= {"numpy": np.__version__, "python": platform.python_version()}
        device = machine.pick_device(self.settings.device)
        place = {"device": machine.describe(device), "cpu": _cpu_name(), "system": platform.platform()}
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"versions": versions, "machine": place, "commit": self.settings.commit, "date": date}


# ---- data ------------------------------------------------------------------------------------------------------------


def find_images(data: str, out: Path) -> str:
    """Return what `onepfrac.train.images.load_splits` takes.

    Parameters
    ----------
    data
        A folder, which holds train/ itself or in its only folder; a tar archive of one, which is unpacked once, into
        ``out/data``; or the name of a dataset of timm.
    out
        The experiment's folder.

    Raises
    ------
    OSError
        If there is no such file or folder, or it holds no image folder.
    ValueError
        If the file is no tar archive.
    """
    path = Path(data)
    if path.is_dir():
        return _inside(path)
    if not path.is_file():
        prefix, slash, _ = data.partition("/")
        if slash and prefix.lower() in PREFIXES:
            return data
        raise FileNotFoundError(
            f"data must be an image folder, a tar archive of one or a dataset of timm ({', '.join(PREFIXES)}/NAME), but"
            f" there is no {data}"
        )
    target = out / "data" / path.name
    if not target.exists():
        part = out / "data" / f".{secrets.token_hex(8)}.tmp"
        try:
            with tarfile.open(path) as archive:
                archive.extractall(part, filter="data")
            with contextlib.suppress(OSError):  # another process was faster
                part.rename(target)
        except tarfile.TarError as error:
            raise ValueError(f"data must be an image folder or a tar archive of one, got {data}: {error}") from error
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return _inside(target)


def _inside(root: Path) -> str:
    for train in [root / "train", *sorted(root.glob("*/train"))]:
        if train.is_dir():
            return str(train.parent)
    raise FileNotFoundError(f"data must hold train/CLASS/* and val/CLASS/*, {root} does not")


# ---- what to run -----------------------------------------------------------------------------------------------------


def _named(name: str) -> Experiment:
    if name not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got {name!r}")
    return EXPERIMENTS[name]


def _chosen(experiment: Experiment, jobs: list[Job], settings: Settings) -> list[Job]:
    names = [experiment.arm(name).name for name in settings.arms.split(",") if name]
    chosen = [job for job in jobs if not names or job.arm in names]
    if absent := sorted(set(names) - {job.arm for job in chosen}):
        raise ValueError(f"photo must be given for {', '.join(absent)}, got ''")
    return chosen


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(",") if word)
    except ValueError:
        raise ValueError(f"seeds must be integers with commas between, e.g. 0,1,2, got {text!r}") from None


def _share(text: str, rank: int, world: int) -> tuple[tuple[int, int], str]:
    """Return (index, count), and what to add to the name of the file of results."""
    if not text:
        return (rank, world), f"-{rank}-of-{world}" if world > 1 else ""
    if world > 1:
        raise ValueError(
            f"share must not be given under torchrun, which shares among its {world} processes; got {text}"
        )
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise ValueError(f"share must be I/N with 0 <= I < N, e.g. 0/2, got {text!r}")
    return (int(first), int(second)), f"-{int(first)}-of-{int(second)}"


def _changes(settings: Settings, scale: Scale, out: Path) -> Changes:
    photo = settings.photo
    before, after = (parse_changes(name, getattr(settings, name)) for name in ("pretrain", "finetune"))
    if photo and not photo.endswith(".json"):
        shape = {**scale.pretrain, **before}
        fields = {name: shape[name] for name in ("canvas", "num_classes") if name in shape}
        SingleImage.from_photo(photo, seed=shape.get("data_seed", 0), **fields).save(out / "photo.json")
        photo = str(out / "photo.json")
    return Changes(before, after, photo)


def _print_jobs(jobs: list[Job], work: _Work) -> Outcome:
    width = max((len(job.arm) for job in jobs), default=0)
    left = 0
    for job in jobs:
        line = work.find(job)
        left += line is None
        state = "begun" if job.pretraining and work.folder(job).exists() else "left"
        if line is not None:
            state = f"done, {line['accuracy']:.2%}"
        print(f"{job.arm:<{width}}  seed {job.seed}  {state}")
    return Outcome(done=len(jobs) - left, left=left, signal=0, report=work.out / "report.md")


# ---- the process -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone() -> Iterator[tuple[int, int]]:
    """Hide torchrun's variables, by which stream and pre-training would share their work; LOCAL_RANK picks the GPU."""
    hidden = {name: os.environ.pop(name) for name in ("RANK", "WORLD_SIZE") if name in os.environ}
    try:
        yield int(hidden.get("RANK", 0)), int(hidden.get("WORLD_SIZE", 1))
    finally:
        os.environ.update(hidden)


@contextlib.contextmanager
def _stopping() -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM into `_Stop`; a pre-training takes them itself, and ends with a checkpoint."""
    process = os.getpid()
    before: dict[int, Any] = {}

    def stop(number: int, _: object) -> None:
        if os.getpid() != process:  # a loader process, which has inherited this
            os._exit(128 + number)
        for one, handler in before.items():
            signal.signal(one, handler)
        raise _Stop(number)

    if threading.current_thread() is threading.main_thread():
        before.update({number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)})
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    """Have torch compute with so many threads inside, 0: as it does. Their number decides the last bits of its sums."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpu_name() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()
