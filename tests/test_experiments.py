"""Experiments: what their arms are, that they go on where they were left, and what their reports say."""

from __future__ import annotations

import argparse
import base64
import dataclasses
import json
import os
import runpy
import signal
import subprocess
import sys
import tarfile
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onepfrac import SingleImage, cli, recipe_of
from onepfrac.train import finetune, models, options, pretrain, probe
from onepfrac.train.experiments import jobs, report, results, run
from onepfrac.train.experiments.catalogue import EXPERIMENTS, SCALES
from onepfrac.train.experiments.grid import Arm, Experiment, Scale

VOLATILE = ("seconds", "date", "machine", "pretraining")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes that colour tells apart; 6 training and 4 validation images each."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        for name, colour in (("blue", (20, 40, 220)), ("red", (220, 30, 30))):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + rng.integers(-20, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


def smoke(data: Path, out: Path, /, **changes: Any) -> run.Settings:
    given = {"scale": "smoke", "data": str(data), "out": str(out), "device": "cpu", "threads": 1, "arms": "fixed,fresh"}
    return run.Settings(**{**given, **changes})


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two arms of `draws` have run with two seeds, for real, and nothing came between."""
    out = tmp_path_factory.mktemp("finished")
    outcome = run.run("draws", smoke(data, out))
    assert (outcome.done, outcome.left, outcome.signal) == (4, 0, 0)
    return out


def lasting(out: Path) -> list[dict[str, Any]]:
    """The lines of a folder in the order of their keys, without what a second run cannot repeat."""
    lines = sorted(results.read(out), key=lambda line: str(line["key"]))
    kept = [{name: value for name, value in line.items() if name not in VOLATILE} for line in lines]
    for line, before in zip(kept, lines, strict=True):
        if before.get("pretraining"):
            line["loss"] = before["pretraining"]["loss"]
    return kept


def white(canvas: int, num_classes: int) -> SingleImage:
    pixels = base64.b64encode(b"\xff" * (canvas * canvas // 8)).decode()
    return SingleImage(pixels=pixels, edges=True, canvas=canvas, num_classes=num_classes)


@cache
def build(name: str, arguments: tuple[str, ...], size: int, drop_path: float) -> None:
    with torch.device("meta"):
        models.build_model(name, 10, size, options.model_arguments(arguments), drop_path)


class Trainer:
    """Stands in for pre-training and fine-tuning: notes the calls, and fails or stops where it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pretrained: list[pretrain.Settings] = []
        self.finetuned: list[finetune.Settings] = []
        self.fail: dict[int, BaseException] = {}
        self.unfinished: set[int] = set()
        self.signal = 0
        self.probed: list[probe.Settings] = []
        self.images: list[tuple[Any, Any]] = []
        self.seconds = 1.0
        monkeypatch.setattr(run.pretrain, "pretrain", self.pretrain)
        monkeypatch.setattr(run.finetune, "finetune", self.finetune)
        monkeypatch.setattr(run.probe, "probe", self.probe)

    def pretrain(self, settings: pretrain.Settings) -> pretrain.Outcome:
        self.pretrained.append(settings)
        assert not {"RANK", "WORLD_SIZE"} & os.environ.keys()
        out, ends = Path(settings.out), len(self.pretrained) not in self.unfinished
        out.mkdir(parents=True, exist_ok=True)
        (out / "checkpoint.safetensors").write_bytes(b"state")
        if ends:
            (out / "weights.safetensors").write_bytes(b"weights")
        step = settings.steps if ends else 3
        return pretrain.Outcome(
            step, ends, self.signal, 2.0, 0.1, 1.0, 0.5, self.seconds, 8.0, 0.0, out / "weights.safetensors"
        )

    def finetune(self, settings: finetune.Settings, train: Any, val: Any) -> finetune.Outcome:
        self.finetuned.append(settings)
        self.images.append((train, val))
        if (error := self.fail.get(len(self.finetuned))) is not None:
            raise error
        out = Path(settings.out)
        out.mkdir(parents=True, exist_ok=True)
        accuracy, weights = settings.lr + settings.seed % 1000 / 100, out / "weights.safetensors"
        ends = -len(self.finetuned) not in self.unfinished
        return finetune.Outcome(accuracy, None, ((2, accuracy),), 0.3, 4, ends, self.signal, self.seconds, weights)

    def probe(self, settings: probe.Settings) -> probe.Outcome:
        self.probed.append(settings)
        Path(settings.out).mkdir(parents=True)
        arm = "weights" if settings.weights else "random"
        return probe.Outcome(("embedding", "blocks.0"), {arm: (0.25, 0.5)}, 1.0, Path("x"), Path("y"))


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Trainer:
    return Trainer(monkeypatch)


# ---- the catalogue ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES)
@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_every_experiment_is_legal_at_every_scale(experiment: Experiment, scale: Scale, tmp_path: Path) -> None:
    white(canvas=64, num_classes=5).save(tmp_path / "photo.json")
    made = jobs.jobs_of(experiment, scale, changes=jobs.Changes(photo=str(tmp_path / "photo.json")))
    assert len(made) == len(experiment.arms) * len(scale.seeds)
    assert len({job.key for job in made}) == len(made)
    assert [job.arm for job in made[: len(experiment.arms)]] == [arm.name for arm in experiment.arms]
    for job in made:
        assert (job.pretraining is None) == (experiment.arm(job.arm).pretrain is None)
        if job.pretraining is not None:
            assert pretrain.build_recipe(job.pretraining).fingerprint == job.fingerprint
            assert job.pretraining.seed == job.finetuning.seed == job.seed
            assert job.pretraining.model_arg == job.finetuning.model_arg
        build(job.finetuning.model, job.finetuning.model_arg, job.finetuning.size, job.finetuning.drop_path)


@pytest.mark.parametrize("name", ["main", "model"])
def test_every_arm_trains_at_the_smallest_scale(
    name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(run.SCALES, "smoke", dataclasses.replace(SCALES["smoke"], probe=False))
    white(canvas=16, num_classes=4).save(tmp_path / "photo.json")
    changes = {"arms": "", "seeds": "3", "photo": str(tmp_path / "photo.json"), "finetune": ("epochs=1", "lr=0.1")}
    outcome = run.run(name, smoke(data, tmp_path / "out", pretrain=("steps=3",), **changes))
    assert (outcome.done, outcome.left) == (len(EXPERIMENTS[name].arms), 0)


def test_the_paper_scale_has_the_papers_settings() -> None:
    job = next(job for job in jobs.jobs_of(EXPERIMENTS["main"], SCALES["paper"]) if job.arm == "1p-frac")
    assert job.pretraining == dataclasses.replace(pretrain.Settings(), sheet=0)
    like = finetune.resolve({"data": "data", "model": pretrain.Settings.model, "out": job.finetuning.out}, "paper")
    assert job.finetuning == like


def test_a_recipe_takes_classes_points_and_canvas_from_the_scale() -> None:
    made = {job.arm: job.pretraining for job in jobs.jobs_of(EXPERIMENTS["family"], SCALES["cpu"])}
    texts = {name: settings.recipe for name, settings in made.items() if settings is not None}
    assert recipe_of(texts["OFDB"]) == recipe_of("OFDB:num_classes=100,seed=6,points=20000,canvas=128,pad=3")
    assert recipe_of(texts["noise-uniform"]) == recipe_of("Noise:kind=uniform,num_classes=100,seed=6,canvas=128")
    one = recipe_of(texts["VisualAtoms-one"])
    assert (one.num_instances, one.num_classes, one.radius) == (1, 100, (0, 12))  # type: ignore[attr-defined]
    assert texts["1p-frac"] == ""


def test_torch_keeps_its_number_of_threads(data: Path, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    run.run("draws", smoke(data, tmp_path, arms="scratch", seeds="0", threads=before + 1))
    assert torch.get_num_threads() == before


def test_keys_follow_the_settings_and_neither_names_nor_the_machine() -> None:
    def key(name: str, arm: str, **changes: Any) -> str:
        made = jobs.jobs_of(EXPERIMENTS[name], SCALES["smoke"], **changes)
        return next(job.key for job in made if job.arm == arm)

    same = key("draws", "fixed")
    assert key("mode", "additive") == key("main", "1p-frac") == same
    free = jobs.Changes({"threads": 3, "save_every": 2}, {"workers": 2, "device": "cpu"})
    assert key("draws", "fixed", changes=free) == same
    others = [key("draws", "fresh"), key("draws", "fixed", data="other"), key("draws", "fixed", seeds=[5])]
    others += [key("draws", "fixed", changes=jobs.Changes({"lr": 0.3})), key("draws", "scratch")]
    others += [key("draws", "fixed", changes=jobs.Changes({}, {"epochs": 3}))]
    others += [key("draws", "fixed", changes=jobs.Changes({"data_seed": 9}))]
    assert len({same, *others}) == 8


def test_what_makes_an_arm_wins_over_changed_settings() -> None:
    made = jobs.jobs_of(EXPERIMENTS["delta"], SCALES["smoke"], changes=jobs.Changes({"delta": 0.7, "steps": 9}))
    assert {job.pretraining.delta for job in made if job.pretraining} == {0.001, 0.01, 0.05, 0.1, 0.2}
    assert {job.pretraining.steps for job in made if job.pretraining} == {9}


def test_experiments_that_contradict_themselves_are_refused() -> None:
    arms = (Arm("scratch", None), Arm("a"))
    with pytest.raises(ValueError, match="must have different names without commas"):
        Experiment("x", "X", "?", (*arms, Arm("a")))
    with pytest.raises(ValueError, match=r"must name arms \(scratch, a\), got 'b'"):
        Experiment("x", "X", "?", arms, order=(("a", "b"),))
    with pytest.raises(ValueError, match="must have a value, since the axis is 'delta'"):
        Experiment("x", "X", "?", arms, axis="delta")
    with pytest.raises(ValueError, match="arms must be among scratch, a in x, got 'b'"):
        Experiment("x", "X", "?", arms).arm("b")
    with pytest.raises(ValueError, match="seeds of scale x must hold one or more"):
        Scale("x", "?", {}, {}, ())
    with pytest.raises(ValueError, match="images and held_out of scale x must be 1 or more"):
        Scale("x", "?", {}, {}, (0,), rates=(0.1, 0.2), images=3)


# ---- shares ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rates", [(0.1,), (0.1, 0.5)])
@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_shares_together_make_the_whole(rates: tuple[float, ...], count: int) -> None:
    scale = dataclasses.replace(SCALES["smoke"], rates=rates)
    whole = jobs.jobs_of(EXPERIMENTS["delta"], scale)
    shares = [jobs.deal(whole, index, count) for index in range(count)]
    assert sorted(job.key for share in shares for job in share) == sorted(job.key for job in whole)
    if len(rates) == 1:
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    else:  # whoever chooses an arm's rate runs all its seeds
        arms = [{job.arm for job in share} for share in shares]
        assert sum(map(len, arms)) == len(EXPERIMENTS["delta"].arms)


def test_two_shares_give_the_lines_of_one_run(data: Path, finished: Path, tmp_path: Path) -> None:
    first = run.run("draws", smoke(data, tmp_path, share="0/2"))
    second = run.run("draws", smoke(data, tmp_path, share="1/2"))
    assert (first.done, second.done) == (2, 2)
    assert {path.name for path in tmp_path.glob("*.jsonl")} == {"results-0-of-2.jsonl", "results-1-of-2.jsonl"}
    assert lasting(tmp_path) == lasting(finished)


def test_under_torchrun_each_process_runs_its_share_alone(
    data: Path, tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    for rank in range(3):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "3")
        done.append(run.run("draws", smoke(data, tmp_path, arms="")).done)
        assert os.environ["RANK"] == str(rank)
    assert done == [2, 2, 2]
    assert len(trainer.pretrained) == 4
    assert (tmp_path / "results-2-of-3.jsonl").exists()
    with pytest.raises(ValueError, match="share must not be given under torchrun"):
        run.run("draws", smoke(data, tmp_path, share="0/2"))


# ---- going on --------------------------------------------------------------------------------------------------------


def test_a_line_tells_what_was_done(finished: Path, data: Path) -> None:
    lines = [line for line in results.read(finished) if line["kind"] == "run"]
    assert [(line["arm"], line["seed"]) for line in lines] == [(a, s) for s in (0, 1) for a in ("fixed", "fresh")]
    line = lines[0]
    assert line["settings"]["pretrain"]["steps"] == 8
    assert line["settings"]["finetune"]["lr"] == line["lr"]
    assert line["pretraining"]["images"] == 64
    assert line["images"] == {"classes": 2, "train": 8, "test": 8, "per_class": 4, "test_per_class": 4}
    assert (line["data"], line["scale"], len(line["key"])) == (data.name, "smoke", 64)
    assert {tried["lr"] for tried in line["tried"]} == set(SCALES["smoke"].rates)
    assert set(line["versions"]) == {"onepfrac", "torch", "timm", "numpy", "python"}
    weights = finished / "work" / f"pretrain-{jobs_of_draws(data)[0].body[:16]}" / "weights.safetensors"
    assert weights.exists()
    assert not list(finished.glob("work/*/checkpoint.safetensors"))
    assert not list(finished.glob("work/finetune-*"))


def jobs_of_draws(data: Path) -> list[jobs.Job]:
    return [job for job in jobs.jobs_of(EXPERIMENTS["draws"], SCALES["smoke"], data.name) if job.arm != "scratch"]


def test_a_killed_run_goes_on_and_ends_with_the_same_lines(data: Path, finished: Path, tmp_path: Path) -> None:
    """Killed by SIGKILL once some lines are there, with the last one torn on top."""
    words = ["draws", "--scale", "smoke", "--data", str(data), "--out", str(tmp_path), "--arms", "fixed,fresh"]
    words += ["--threads", "1", "--device", "cpu"]
    child = subprocess.Popen(
        [sys.executable, "-m", "onepfrac", "experiment", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    path, limit = tmp_path / "results.jsonl", time.monotonic() + 120
    while child.poll() is None and time.monotonic() < limit:
        if path.exists() and path.read_bytes().count(b"\n") >= 3:  # two trials and a run
            break
        time.sleep(0.01)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    before = path.read_bytes()
    path.write_bytes(before + b'{"kind":"run","ke')
    outcome = run.run("draws", smoke(data, tmp_path))
    assert (outcome.done, outcome.left) == (4, 0)
    assert path.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    assert lasting(tmp_path) == lasting(finished)


@pytest.mark.parametrize("call", range(1, 9))
def test_an_error_between_stages_costs_one_stage_at_most(
    data: Path, tmp_path: Path, trainer: Trainer, call: int
) -> None:
    """Two arms, two seeds, two rates: 4 pre-trainings, 4 trials, 4 runs."""
    trainer.fail = {call: OSError("the disk is full")}
    with pytest.raises(OSError, match="the disk is full"):
        run.run("draws", smoke(data, tmp_path))
    assert run.run("draws", smoke(data, tmp_path)).left == 0
    assert len(trainer.pretrained) == 4
    assert len(trainer.finetuned) == 9
    assert len({line["key"] for line in results.read(tmp_path)}) == len(results.read(tmp_path)) == 8
    assert run.run("draws", smoke(data, tmp_path)).done == 4
    assert (len(trainer.pretrained), len(trainer.finetuned)) == (4, 9)


def test_changed_settings_are_run_anew(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0"))
    run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0", finetune=("epochs=3",)))
    assert (len(trainer.pretrained), len(trainer.finetuned)) == (1, 6)  # the same weights
    run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0", pretrain=("steps=9",)))
    assert (len(trainer.pretrained), len(trainer.finetuned)) == (2, 9)
    assert "--pretrain=steps=9" in (tmp_path / "report.md").read_text()
    assert run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0")).done == 1
    assert len(trainer.finetuned) == 9


def test_lost_weights_are_trained_again(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    trainer.fail = {1: OSError("gone")}
    with pytest.raises(OSError, match="gone"):
        run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0"))
    for path in tmp_path.glob("work/*/weights.safetensors"):
        path.unlink()
    run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0"))
    assert len(trainer.pretrained) == 2


def test_what_another_experiment_has_done_is_taken_over(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    run.run("draws", smoke(data, tmp_path, arms="fixed"))
    calls = len(trainer.finetuned)
    for _ in range(2):
        assert run.run("mode", smoke(data, tmp_path, arms="additive")).done == 2
    assert len(trainer.finetuned) == calls
    taken = [line for line in results.read(tmp_path) if line["experiment"] == "mode"]
    assert [(line["arm"], line["seed"]) for line in taken] == [("additive", 0), ("additive", 1)]


def test_the_rate_that_is_best_on_held_out_images_is_taken(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    """The stand-in's accuracy is the rate itself; trials have a seed of their own."""
    run.run("draws", smoke(data, tmp_path, arms="scratch"))
    assert [(settings.lr, settings.seed) for settings in trainer.finetuned] == [
        (0.1, 1000), (0.5, 1000), (0.5, 0), (0.5, 1),
    ]  # fmt: skip
    assert [line["lr"] for line in results.read(tmp_path) if line["kind"] == "run"] == [0.5, 0.5]
    assert all(settings.weights == "" for settings in trainer.finetuned)
    (train, held_out), *_, (same, test) = trainer.images
    assert [len(part) for part in (train, held_out, same, test)] == [8, 4, 8, 8]
    pixels = [{part[i][0].numpy().tobytes() for i in range(len(part))} for part in (train, held_out, test)]
    assert len(set().union(*pixels)) == 8 + 4 + 8  # no image has two parts to play


def test_time_that_is_over_stops_with_a_checkpoint_and_changes_nothing(
    data: Path, finished: Path, tmp_path: Path
) -> None:
    """For real: a step a call, until all are done."""
    settings = smoke(data, tmp_path, arms="fixed", seeds="0", minutes=1e-6)
    outcome = run.run("draws", settings)
    assert (outcome.done, outcome.left, outcome.signal, outcome.report) == (0, 1, 0, None)
    assert len(list(tmp_path.glob("work/*/checkpoint.safetensors"))) == 1
    assert "seconds" in next(tmp_path.glob("work/*/progress.json")).read_text()
    calls = 1
    while run.run("draws", settings).left:
        calls += 1
        assert calls < 30
    assert calls + 1 == 8 + 3 * 2  # steps of pre-training, of two trials and of fine-tuning
    line, other = ({str(x["key"]): x for x in results.read(out)} for out in (tmp_path, finished))
    assert all(line[key][name] == other[key][name] for key in line for name in ("kind", "accuracy", "lr"))
    run_line = next(x for x in line.values() if x["kind"] == "run")
    for name in ("train_loss", "probe", "settings", "images", "recipe"):
        assert run_line[name] == other[run_line["key"]][name]


def test_the_time_that_is_left_is_passed_on(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    run.run("draws", smoke(data, tmp_path, seeds="0", minutes=30.0))
    assert [settings.minutes for settings in trainer.pretrained] == [pytest.approx(30.0, abs=2)] * 2
    assert [settings.minutes for settings in trainer.finetuned] == [pytest.approx(30.0, abs=2)] * 6


def test_a_fine_tuning_that_is_stopped_goes_on(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    trainer.unfinished = {-3}  # the third fine-tuning, after two trials
    outcome = run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0"))
    assert (outcome.done, outcome.left, outcome.signal) == (0, 1, 0)
    assert run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0")).done == 1
    assert trainer.finetuned[3] == trainer.finetuned[2]
    assert trainer.finetuned[2].resume
    assert len({settings.out for settings in trainer.finetuned}) == 3
    assert not list(tmp_path.glob("work/finetune-*"))


def test_blocks_are_probed_with_the_images_of_fine_tuning(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    run.run("draws", smoke(data, tmp_path, arms="scratch,fixed", seeds="0"))
    fresh, trained = trainer.probed
    assert (fresh.weights, fresh.random, trained.random) == ("", True, False)
    assert trained.weights == trainer.finetuned[-1].weights
    assert (trained.data, trained.per_class, trained.val_per_class) == (str(data), 4, 4)
    assert not list(tmp_path.glob("work/probe-*"))
    text = (tmp_path / "report.md").read_text()
    assert "| arm | embedding | blocks.0 |" in text
    assert "| fixed | 25.00 | 50.00 |" in text


def test_a_signal_in_a_pretraining_ends_the_run(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    trainer.signal, trainer.unfinished = int(signal.SIGTERM), {1}
    outcome = run.run("draws", smoke(data, tmp_path))
    assert (outcome.done, outcome.left, outcome.signal) == (0, 4, signal.SIGTERM)
    outcome = run.run("draws", smoke(data, tmp_path))  # this time it comes with the last step
    assert (outcome.done, outcome.left, outcome.signal) == (0, 4, signal.SIGTERM)
    trainer.signal = 0
    assert run.run("draws", smoke(data, tmp_path)).left == 0
    assert len(trainer.pretrained) == 5
    line = next(line for line in results.read(tmp_path) if line["kind"] == "run")
    assert line["pretraining"] == {"loss": 1.0, "accuracy": 0.5, "steps": 8, "seconds": 2.0, "images": 64}


def test_a_signal_in_a_fine_tuning_ends_the_run_at_once(
    data: Path, tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with monkeypatch.context() as patch:
        patch.setattr(run.finetune, "finetune", interrupted)
        began = time.monotonic()
        outcome = run.run("draws", smoke(data, tmp_path, seeds="0"))
        assert time.monotonic() - began < 8
    assert (outcome.done, outcome.left, outcome.signal) == (0, 2, signal.SIGINT)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert run.run("draws", smoke(data, tmp_path, seeds="0")).left == 0
    assert len(trainer.pretrained) == 2


@pytest.mark.forks
def test_a_signal_ends_a_loader_process_without_ado() -> None:
    read, write = os.pipe()
    with run._stopping():
        child = os.fork()
        if child == 0:
            os.write(write, b"ready")  # what comes earlier is dropped by Python
            time.sleep(30)
            os._exit(0)
        assert os.read(read, 5) == b"ready"
        os.kill(child, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 128 + signal.SIGTERM


def test_an_arm_that_diverges_does_not_stop_the_others(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    trainer.fail = {1: FloatingPointError("the loss is nan")}
    with pytest.raises(FloatingPointError, match="1 of 2 jobs failed: fixed, seed 0: the loss is nan"):
        run.run("draws", smoke(data, tmp_path, seeds="0"))
    assert [line["arm"] for line in results.read(tmp_path) if line["kind"] == "run"] == ["fresh"]
    assert "| fixed | 84.2 | not run |" in (tmp_path / "report.md").read_text()


def test_fine_tuned_weights_are_kept_if_asked_for(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    run.run("draws", smoke(data, tmp_path, seeds="0", keep=True))
    assert len(list(tmp_path.glob("work/finetune-*"))) == 2


@pytest.mark.gpu
def test_a_job_runs_on_a_gpu(data: Path, tmp_path: Path) -> None:
    assert run.run("draws", smoke(data, tmp_path, arms="fixed", seeds="0", device="cuda")).done == 1
    line = next(line for line in results.read(tmp_path) if line["kind"] == "run")
    assert line["machine"]["device"] == torch.cuda.get_device_name()


# ---- lines of results ------------------------------------------------------------------------------------------------


def test_a_torn_last_line_is_ignored_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results.append(path, {"key": "a", "loss": float("nan"), "list": (1, 2.5)})
    whole = path.read_bytes()
    for cut in range(1, len(whole)):
        path.write_bytes(whole + whole[:cut].replace(b"\n", b""))
        assert results.read(tmp_path) == [{"key": "a", "loss": None, "list": [1, 2.5]}]
    results.append(path, {"key": "b"})
    assert [line["key"] for line in results.read(tmp_path)] == ["a", "b"]
    assert path.read_bytes().startswith(whole)
    path.write_bytes(b"{}\nnonsense\n{}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl, line 2 is not legal JSON"):
        results.read(tmp_path)


# ---- the report ------------------------------------------------------------------------------------------------------


def line_of(arm: str, seed: int, accuracy: float, loss: float | None = None, **more: Any) -> dict[str, Any]:
    settings = {"pretrain": None, "finetune": {"lr": 0.1, "model_arg": ["a=1"], "cache": True, "out": ""}}
    before = None
    if loss is not None:
        before, settings["pretrain"] = {"loss": loss, "seconds": 1800.0}, {"delta": 0.2, "crop": False, "out": ""}
    line = {
        "kind": "run", "experiment": "draws", "scale": "smoke", "scale_key": "k", "data": "cifar10",
        "key": f"{arm}{seed}",
        "changes": {"pretrain": {"compile": False}, "finetune": {"model_arg": ["b=2"]}}, "arm": arm, "seed": seed,
        "accuracy": accuracy, "pretraining": before, "seconds": 900.0, "settings": settings, "commit": "abc",
        "images": {"classes": 10, "train": 100, "test": 500, "per_class": 10, "test_per_class": 50},
        "versions": {"torch": "2"}, "machine": {"device": "CPU", "cpu": "a CPU"}, "date": "2026-01-01T00:00:00Z",
    }  # fmt: skip
    return {**line, **more}


LINES = [
    *(line_of("scratch", seed, accuracy) for seed, accuracy in enumerate((0.50, 0.52, 0.54))),
    *(line_of("fixed", seed, accuracy, loss) for seed, accuracy, loss in ((0, 0.60, 2.0), (1, 0.64, 2.5))),
    line_of("fresh", 0, 0.70, 1.5),
]


def test_means_deviations_and_errors_are_those_computed_by_hand() -> None:
    rows = report.rows_of(EXPERIMENTS["draws"], LINES)
    assert rows["scratch"].mean == pytest.approx(0.52)
    assert rows["scratch"].deviation == pytest.approx(0.02)  # sqrt((0.02^2 + 0 + 0.02^2) / 2)
    assert rows["fixed"].mean == pytest.approx(0.62)
    assert rows["fixed"].deviation == pytest.approx(0.0008**0.5)  # sqrt((0.02^2 + 0.02^2) / 1)
    assert rows["fixed"].loss == pytest.approx(2.25)
    gain, error = report.difference(rows["fixed"], rows["scratch"])
    assert gain == pytest.approx(0.1)
    assert error == pytest.approx((0.0008 / 2 + 0.0004 / 3) ** 0.5)  # 0.0231
    assert report.difference(rows["fresh"], rows["scratch"]) == (pytest.approx(0.18), None)
    assert (rows["scratch"].loss, rows["fresh"].deviation) == (None, None)


def test_an_order_holds_beyond_two_standard_errors() -> None:
    def verdict(better: tuple[float, ...], worse: tuple[float, ...]) -> str:
        lines = [line_of("fixed", i, x) for i, x in enumerate(better)]
        rows = report.rows_of(EXPERIMENTS["draws"], lines + [line_of("scratch", i, x) for i, x in enumerate(worse)])
        return report.verdict(rows["fixed"], rows["scratch"])

    # Two runs 0.02 apart: variance 0.0002; of the difference of two such means 0.0002, its error 0.01414.
    assert verdict((0.60, 0.62), (0.57, 0.59)) == "holds"  # 0.03 > 0.0283
    assert verdict((0.60, 0.62), (0.573, 0.593)) == "within the noise"  # 0.027
    assert verdict((0.573, 0.593), (0.60, 0.62)) == "within the noise"
    assert verdict((0.57, 0.59), (0.60, 0.62)) == "does not hold"
    assert verdict((0.60,), (0.57, 0.59)) == "one seed is not enough to tell"


def test_the_report_is_written_from_results_alone(tmp_path: Path) -> None:
    for line in [line_of("fixed", 0, 0.1, 9.0, scale="cpu"), *LINES, line_of("fixed", 0, 0.1, experiment="mode")]:
        results.append(tmp_path / "results-0-of-2.jsonl", {**line, "date": "2026-01-02" if line in LINES else "2026"})
    path = run.write_report("draws", run.Settings(out=str(tmp_path)))
    text = path.read_text()
    for row in (
        "| scratch | 64.2 | 52.00 | 2.00 | 3 |  |  |",
        "| fixed | 84.2 | 62.00 | 2.83 | 2 | +10.00 ± 2.31 | 2.250 |",
        "| fresh |  | 70.00 |  | 1 | +18.00 | 1.500 |",
        "| fixed > scratch | +10.00 ± 2.31 | holds |",
        "| fresh > scratch | +18.00 | one seed is not enough to tell |",
        "onepfrac experiment draws --scale smoke --data cifar10 --finetune=model_arg=b=2 --pretrain=compile=off",
        "onepfrac pretrain --out runs/fixed --delta=0.2 --no-crop",
        "onepfrac finetune --data FOLDER --out runs/fixed-finetuned --model-arg=a=1 --cache --lr=0.1 --weights"
        " runs/fixed/weights.safetensors --per-class 10 --val-per-class 50",
        "6 runs, 3.00 h of training. On CPU, a CPU.",
        "Versions: torch 2. Commit abc.",
    ):
        assert row in text
    with Image.open(tmp_path / "report.png") as image:
        assert min(image.size) > 200
    with pytest.raises(ValueError, match="out must hold results of sigma"):
        run.write_report("sigma", run.Settings(out=str(tmp_path)))


def test_commands_in_the_report_are_legal(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    commands = [
        line.split() for line in text.splitlines() if line.startswith(("onepfrac pretrain", "onepfrac finetune"))
    ]
    assert len(commands) == 4
    for _, command, *words in commands:
        cls: type[Any] = {"pretrain": pretrain.Settings, "finetune": finetune.Settings}[command]
        parser = argparse.ArgumentParser()
        options.add_options(parser, cls)
        made = cls(**options.given(parser.parse_args(words), cls))
        assert command == "pretrain" or made.data == "FOLDER"
        assert made.model_arg == SCALES["smoke"].models["vit_tiny_patch16_224"]


def test_plots_show_what_is_there_and_say_what_it_is() -> None:
    sweep = EXPERIMENTS["delta"]
    rows = report.rows_of(sweep, [line_of(arm.name, 0, 0.5, 1.0) for arm in sweep.arms])
    here, paper = report.plot(sweep, rows).axes
    assert here.get_xscale() == paper.get_xscale() == "log"
    assert (here.get_xlabel(), here.get_title(loc="left")) == ("delta", "here, % ± standard error")
    assert list(here.lines[0].get_xdata()) == [0.001, 0.01, 0.05, 0.1, 0.2]
    assert list(paper.lines[0].get_ydata()) == [1.2, 19.9, 83.0, 84.2]
    (here,) = report.plot(sweep, report.rows_of(sweep, [line_of("scratch", 0, 0.5)])).axes
    assert here.get_legend() is not None
    bars = EXPERIMENTS["brush"]
    here, paper = report.plot(bars, report.rows_of(bars, [line_of(arm.name, 0, 0.5, 1.0) for arm in bars.arms])).axes
    assert [text.get_text() for text in here.get_yticklabels()] == [arm.name for arm in bars.arms]
    assert (len(here.patches), len(paper.patches)) == (5, 2)
    assert report.plot(bars, report.rows_of(bars, [line_of("fill", 0, 0.0, 1.0)])).axes[0].get_xlim()[1] == 1
    assert "matplotlib.pyplot" not in report.__dict__.values()


# ---- data ------------------------------------------------------------------------------------------------------------


def test_an_archive_is_unpacked_once_beside_the_results(data: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "photos.tar.xz", "w:xz") as archive:
        archive.add(data, "photos")
    out = tmp_path / "out"
    found = run.find_images(str(tmp_path / "photos.tar.xz"), out)
    assert found == str(out / "data" / "photos.tar.xz" / "photos")
    (Path(found) / "train" / "mark").mkdir()
    assert run.find_images(str(tmp_path / "photos.tar.xz"), out) == found
    assert (Path(found) / "train" / "mark").exists()
    assert [path.name for path in (out / "data").iterdir()] == ["photos.tar.xz"]
    assert run.find_images(str(data), out) == str(data)


def test_data_that_cannot_be_used_is_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "text.tar").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for path, error, words in (
        (tmp_path / "absent", OSError, "data must be an image folder, a tar archive of one or a dataset of timm"),
        (tmp_path / "text.tar", ValueError, "data must be an image folder or a tar archive of one, got"),
        (tmp_path / "empty", OSError, r"data must hold train/CLASS/\* and val/CLASS/\*"),
    ):
        with pytest.raises(error, match=words):
            run.find_images(str(path), tmp_path / "out")
    assert not list((tmp_path / "out").glob("data/*"))
    few = tmp_path / "few"
    for split, name, count in (("train", "a", 6), ("train", "b", 5), ("val", "a", 1), ("val", "b", 1)):
        (few / split / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (16, 16)).save(few / split / name / f"{number}.png")
    assert run.find_images("torch/cifar10", tmp_path / "out") == "torch/cifar10"
    with pytest.raises(ValueError, match="data must hold 6 training images of each class, got 5 of b"):
        run.run("draws", smoke(few, tmp_path / "out", arms="scratch"))


def test_all_images_are_used_where_the_scale_says_no_number(
    data: Path, tmp_path: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = dataclasses.replace(SCALES["smoke"], rates=(0.2,), images=0, held_out=0, test=0, seeds=(7,))
    monkeypatch.setitem(run.SCALES, "smoke", plain)
    assert run.run("draws", smoke(data, tmp_path)).done == 2
    line = results.read(tmp_path)[0]
    assert (line["images"]["train"], line["images"]["test"], line["lr"], line["tried"]) == (12, 8, 0.2, [])


def test_a_photograph_is_made_a_recipe_of_the_scales_shape(data: Path, tmp_path: Path, trainer: Trainer) -> None:
    pytest.importorskip("cv2")
    pixels = np.zeros((40, 40), np.uint8)
    pixels[10:30, 10:30] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    chosen = {"arms": "one-photograph", "seeds": "0", "photo": str(tmp_path / "photo.png")}
    assert run.run("main", smoke(data, tmp_path / "out", **chosen)).done == 1
    recipe = recipe_of(trainer.pretrained[0].recipe)
    assert (recipe.canvas, recipe.num_classes, recipe.seed) == (16, 4, 1)
    assert "--photo PHOTO" in (tmp_path / "out" / "report.md").read_text()


# ---- refusals and the command line -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "changes", "error", "words"),
    [
        ("mian", {}, ValueError, "experiment must be one of main, delta, .*, got 'mian'"),
        ("draws", {"scale": "huge"}, ValueError, "scale must be one of 'smoke', 'cpu', 'h200', 'paper'"),
        ("draws", {"data": ""}, ValueError, "data must name an image folder or a tar archive"),
        (
            "draws",
            {"arms": "fixed,frehs"},
            ValueError,
            "arms must be among scratch, fixed, fresh in draws, got 'frehs'",
        ),
        ("main", {"arms": "one-photograph"}, ValueError, "photo must be given for one-photograph"),
        ("draws", {"seeds": "0,x"}, ValueError, "seeds must be integers with commas between"),
        ("draws", {"seeds": "-1"}, ValueError, "seed must be an integer"),
        ("draws", {"share": "2/2"}, ValueError, "share must be I/N with 0 <= I < N, e.g. 0/2, got '2/2'"),
        ("draws", {"share": "one"}, ValueError, "share must be I/N"),
        ("draws", {"minutes": -1.0}, ValueError, "minutes must be a number"),
        ("draws", {"pretrain": ("stpes=3",)}, ValueError, "pretrain must be KEY=VALUE with a KEY of .*steps"),
        ("draws", {"pretrain": ("seed=3",)}, ValueError, "pretrain must be KEY=VALUE"),
        ("draws", {"pretrain": ("steps=few",)}, ValueError, r"pretrain steps must be a number \(int\), got 'few'"),
        ("draws", {"pretrain": ("crop=maybe",)}, ValueError, "pretrain crop must be on or off, got 'maybe'"),
        ("draws", {"finetune": ("epochs=0",)}, ValueError, "epochs must be"),
        ("draws", {"photo": "absent.jpg"}, OSError, "absent.jpg"),
    ],
)
def test_what_cannot_be_run_is_refused(
    data: Path, tmp_path: Path, name: str, changes: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        run.run(name, smoke(data, tmp_path, **{"arms": "", **changes}))
    assert not list(tmp_path.glob("results*"))


def test_changes_are_read_by_the_kind_of_their_setting() -> None:
    text = ("steps=9", "lr=2e-3", "crop=off", "augment=none", "precision=float32")
    assert jobs.parse_changes("pretrain", text) == {
        "steps": 9, "lr": 0.002, "crop": False, "augment": "none", "precision": "float32",
    }  # fmt: skip


def test_the_command_lists_runs_and_reports(
    data: Path, tmp_path: Path, trainer: Trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment", "draws", "--scale", "smoke", "--data", str(data), "--out", str(tmp_path), "--arms=fixed"]
    assert cli.main(["experiment", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(f"{name} " in text and experiment.title in text for name, experiment in EXPERIMENTS.items())
    assert cli.main(["experiment"]) == 2
    assert "NAME must be one of main, delta" in capsys.readouterr().err
    assert cli.main([*words, "--list"]) == 0
    assert "fixed  seed 0  left" in capsys.readouterr().out
    assert not trainer.pretrained
    trainer.signal, trainer.unfinished = 15, {1}
    assert cli.main(words) == 128 + 15
    assert "stopped: 0 jobs are done, 2 are left; the same command goes on" in capsys.readouterr().out
    trainer.signal = 0
    assert cli.main([*words, "--list"]) == 0
    assert "fixed  seed 0  begun" in capsys.readouterr().out
    assert cli.main(words) == 0
    assert f"wrote {tmp_path}/report.md" in capsys.readouterr().out
    assert cli.main([*words, "--list"]) == 0
    assert "2 jobs are done, 0 are left" in capsys.readouterr().out
    (tmp_path / "report.md").unlink()
    assert cli.main(["experiment", "draws", "--report", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "report.md").exists()
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])["kind"] == "trial"


def test_the_page_of_evidence_and_the_readme_say_what_the_results_say() -> None:
    root = Path(__file__).parent.parent
    page = (root / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert page == runpy.run_path(str(root / "docs" / "evidence.py"))["page"]()
    readme = (root / "README.md").read_text(encoding="utf-8")
    for ours in ("31.90 | 0.45 |", "27.73 | 1.20 |", "32.17 | 0.84 |", "34.23 | 0.14 |", "33.64 | 1.08 |", "± 0.27 |"):
        assert ours in readme
        assert ours in page
    for delta, accuracy in (("0.01", "30.73"), ("0.05", "32.95"), ("0.1", "33.13"), ("0.2", "34.23")):
        assert f"{accuracy} at {delta}" in readme
        assert f"| {accuracy} |" in page
