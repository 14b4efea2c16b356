"""Several ranks: DDP and FSDP do what one process does, on any number of ranks, and outlive a rank that dies."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from command_words import as_options
from safetensors.torch import load_file
from test_pretrain import same, tiny

from onepfrac.train import checkpoint, parallel, pretrain

pytestmark = pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")

# Two processes run all of these one after the other: starting them takes longer than training.
PLAIN = {"mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0, "lr": 0.01}
# A model of stages; without a BatchNorm, whose statistics are each rank's own.
CONVNEXT = {"model": "convnext_atto", "model_arg": ("depths=(1,1,1,1)", "dims=(8,16,16,32)"), "size": 32, **PLAIN}
TOGETHER: dict[str, dict[str, Any]] = {
    "ddp": PLAIN,
    "ddp, mixed": {"micro_batch": 4, "lr": 0.01},
    "ddp, passes": {"micro_batch": 2, "lr": 0.01, "ema": 0.9, "clip_grad": 0.5},
    "fsdp": {**PLAIN, "parallel": "fsdp"},
    "fsdp, passes": {"micro_batch": 2, "lr": 0.01, "ema": 0.9, "clip_grad": 0.5, "parallel": "fsdp"},
    "fsdp, convnext": {**CONVNEXT, "parallel": "fsdp", "steps": 3},
    "fsdp, whole": {"micro_batch": 2, "lr": 0.01, "ema": 0.9, "parallel": "fsdp", "steps": 20, "save_every": 20},
    "ddp, stopped": {**PLAIN, "minutes": 1e-9},
    "fsdp, stopped": {"micro_batch": 2, "lr": 0.01, "ema": 0.9, "parallel": "fsdp", "minutes": 1e-9},
}
SCRIPT = """
import json, sys
import torch.distributed as dist
from onepfrac.train import parallel, pretrain

begun = parallel.begin(__import__("torch").device("cpu"))
steps = {}
for name, words in json.load(open(sys.argv[1])).items():
    words["model_arg"] = tuple(words["model_arg"])
    steps[name] = pretrain.pretrain(pretrain.Settings(**words)).step
try:
    parallel.same_everywhere("the rank", dist.get_rank())
except ValueError as error:
    steps["error"] = str(error)
every = [None, None]
dist.all_gather_object(every, steps)
assert every[0] == every[1], every
if dist.get_rank() == 0:
    json.dump(steps, open(sys.argv[2], "w"))
parallel.end(begun)
"""


def torchrun(*words: str, **keywords: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=300, check=False, **keywords
    )


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder with a run of two ranks for each entry of TOGETHER, and at what step each ended."""
    folder = tmp_path_factory.mktemp("two")
    runs = {name: dataclasses.asdict(tiny(folder / name, **changes)) for name, changes in TOGETHER.items()}
    (folder / "runs.json").write_text(json.dumps(runs))
    (folder / "script.py").write_text(SCRIPT)
    done = torchrun(str(folder / "script.py"), str(folder / "runs.json"), str(folder / "steps.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("steps 0 to ") == len(TOGETHER)  # rank 0 alone speaks
    return folder, json.loads((folder / "steps.json").read_text())


def assert_close(left: Path, right: Path) -> None:
    """The order of float sums differs, and nothing else."""
    a, b = load_file(left), load_file(right)
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("name", [name for name in TOGETHER if "stopped" not in name and "whole" not in name])
def test_two_ranks_do_what_one_does(tmp_path: Path, two: tuple[Path, dict[str, Any]], name: str) -> None:
    """Mixup and drop path too, where the micro-batch is given: each has draws of its own, whoever computes it."""
    changes = {**TOGETHER[name], "parallel": "auto"}
    pretrain.pretrain(tiny(tmp_path / "one", **changes))
    for file in ("weights.safetensors", "checkpoint.safetensors"):
        assert_close(tmp_path / "one" / file, two[0] / name / file)
    if "ema" in changes:
        assert_close(tmp_path / "one" / "weights-ema.safetensors", two[0] / name / "weights-ema.safetensors")
    logs = [(folder / "log.jsonl").read_text().splitlines() for folder in (tmp_path / "one", two[0] / name)]
    for one, both in zip(*logs, strict=True):
        assert json.loads(both)["train/loss"] == pytest.approx(json.loads(one)["train/loss"], rel=1e-3)


def test_fsdp_and_ddp_do_the_same(two: tuple[Path, dict[str, Any]]) -> None:
    for kind in ("", ", passes"):
        assert_close(two[0] / f"ddp{kind}" / "weights.safetensors", two[0] / f"fsdp{kind}" / "weights.safetensors")


def test_ranks_stop_together_and_one_goes_on(tmp_path: Path, two: tuple[Path, dict[str, Any]]) -> None:
    folder, steps = two
    for name in ("ddp, stopped", "fsdp, stopped"):
        assert steps[name] == 2  # they agree on the wish of step 1 while they compute step 2
        out = folder / name
        assert not (out / "weights.safetensors").exists()
        changes = {**TOGETHER[name], "parallel": "auto", "minutes": 0.0}
        assert pretrain.pretrain(tiny(out, **changes, resume=True)).finished
        pretrain.pretrain(tiny(tmp_path / name, **changes))
        assert_close(tmp_path / name / "weights.safetensors", out / "weights.safetensors")


def test_ranks_that_see_different_things_are_refused(two: tuple[Path, dict[str, Any]]) -> None:
    assert two[1]["error"] == "the rank must be the same on all ranks, got [0, 1]: do they see the same folder?"


def test_a_rank_that_is_killed_restarts_the_run_to_the_same_bits(tmp_path: Path, two: tuple[Path, Any]) -> None:
    """torchrun starts all ranks again; --resume takes them to the last checkpoint."""
    out = tmp_path / "run"
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    settings = tiny(out, **{**TOGETHER["fsdp, whole"], "save_every": 1, "resume": True})
    process = subprocess.Popen(
        [sys.executable, *launcher, "-m", "onepfrac", "pretrain", *as_options(settings)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_for(out / "checkpoint.safetensors", process)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    output = process.communicate(timeout=300)[0].decode()
    assert process.returncode == 0, output
    starts = [line for line in output.splitlines() if line.startswith("steps ")]
    assert len(starts) == 2, output
    assert starts[0].startswith("steps 0 to 20")
    assert not starts[1].startswith("steps 0 to 20")
    for file in ("weights.safetensors", "weights-ema.safetensors"):
        assert same(out / file, two[0] / "fsdp, whole" / file)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    limit = time.monotonic() + 200
    while not path.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.05)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_sigterm_to_torchrun_leaves_a_checkpoint_of_one_step(tmp_path: Path) -> None:
    changes = {"steps": 100_000, "save_every": 100_000, "log_every": 100_000}
    out = tmp_path / "run"
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "onepfrac", "pretrain"]
    process = subprocess.Popen(
        [sys.executable, *words, *as_options(tiny(out, **changes))],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    wait_for(out / "log.jsonl", process)
    time.sleep(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    step = checkpoint.read_info(out / "checkpoint.safetensors")["step"]
    assert 0 < step < 100_000
    assert pretrain.pretrain(tiny(out, **changes, resume=True, minutes=1e-9)).step == step + 1


def test_one_rank_votes_for_itself() -> None:
    vote = parallel.Vote()
    assert [vote.stop(wish) for wish in (False, True, False)] == [False, True, False]
    vote.close()


def test_fsdp_needs_a_torch_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(parallel.dist, "get_world_size", lambda: 2)
    monkeypatch.setitem(sys.modules, "torch.distributed.fsdp", None)
    with pytest.raises(ValueError, match="parallel must be ddp with torch"):
        parallel.wrap(torch.nn.Linear(1, 1), torch.device("cpu"), "fsdp")
