"""Streams and runs that are killed at random moments, resumed and compared with ones that nothing interrupted.

PYTHONPATH=python python tests/soak.py [--minutes 5] [--seed N]

Prints one line of JSON: rounds, kills and failures of streams and of runs, and how much memory, threads and open files
grew in a process that lived through all rounds. Three kinds of process: this one draws lots, kills and compares, and
computes nothing; the steady one makes what nothing interrupts, round after round; and each victim is a fork, one life
of a stream or a run between two kills.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import hashlib
import itertools
import json
import multiprocessing
import os
import pickle
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

import onepfrac
from onepfrac import files
from onepfrac.train import checkpoint, pretrain
from onepfrac.train.digest import digest

PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 120.0
"""Seconds after which a life that neither ends nor gets on is a failure."""

RECIPES: dict[str, Callable[[int], Any]] = {
    "OnePFrac": lambda seed: onepfrac.OnePFrac(num_classes=8, points=2000, canvas=64, seed=seed),
    "OFDB": lambda seed: onepfrac.OFDB(num_classes=6, points=2000, canvas=64, categories=SYSTEMS),
    "Noise": lambda seed: onepfrac.Noise(num_classes=5, canvas=48, seed=seed),
    "VisualAtoms": lambda seed: onepfrac.VisualAtoms(num_classes=4, instances=3, canvas=64, seed=seed),
    "FractalScenes": lambda seed: onepfrac.FractalScenes(num_classes=6, instances=3, points=2000, canvas=64, seed=seed),
}
SYSTEMS = onepfrac.Categories([onepfrac.sample_ifs(sigma=3.5, seed=seed) for seed in range(6)])
RUN: dict[str, Any] = {
    "warmup": 2, "log_every": 1, "sheet": 0, "device": "cpu", "threads": 1, "num_classes": 4, "delta": 0.5,
    "points": 500, "canvas": 16, "pad": 1, "size": 16, "batch_size": 8, "lr": 0.1,
    "model_arg": ("patch_size=8", "embed_dim=16", "depth=2", "num_heads=2"),
}  # fmt: skip


@dataclass
class Tally:
    """What came of one kind of round; ``resumed`` counts lives that began behind the beginning."""

    rounds: int = 0
    kills: int = 0
    resumed: int = 0
    compared: int = 0
    failures: list[str] = field(default_factory=list)


# --- processes


def in_group(work: Callable[[], None], log: Path) -> int:
    """Fork a process that leads a group of its own, does ``work`` and ends; return its number."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):  # whichever of the two comes first
            os.setpgid(pid, pid)
        return pid
    status = 1
    try:
        os.setpgid(0, 0)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        torch.set_num_threads(1)
        work()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def ended(pid: int) -> int | None:
    """Return the exit status of a process, None while it runs."""
    got, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if got else None


def group_is_empty(group: int) -> bool:
    """Reap what has ended in a group, whose orphans are this process's children; tell whether nothing is left."""
    try:
        while os.waitpid(-group, os.WNOHANG)[0]:
            pass
        return False
    except ChildProcessError:
        return True


def kill_when(pid: int, whole_group: bool, due: Callable[[], bool], delay: float) -> int:
    """Kill a process, or its group, ``delay`` seconds after it is ``due``; return how it ended."""
    limit = time.monotonic() + PATIENCE
    while not due():
        if (status := ended(pid)) is not None:
            return status
        if time.monotonic() > limit:
            os.killpg(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise TimeoutError(f"a life did not get on within {PATIENCE} s")
        time.sleep(0.001)
    time.sleep(delay)
    with contextlib.suppress(ProcessLookupError):
        (os.killpg if whole_group else os.kill)(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# --- streams


@dataclass(frozen=True)
class StreamRound:
    """What all lives of a stream have in common."""

    recipe: str
    seed: int
    batch: int
    batches: int
    settings: dict[str, Any]

    def stream(self, **changes: Any) -> onepfrac.Stream:
        stream = RECIPES[self.recipe](self.seed).stream(**{"batch_size": self.batch, **self.settings, **changes})
        assert isinstance(stream, onepfrac.Stream)
        return stream


@dataclass(frozen=True)
class Life:
    """How one life of a stream is made: its loader, its place among the ranks, threads, and how often it saves."""

    kind: str
    workers: int
    world: int
    rank: int
    threads: int
    cache: int
    every: int


def names_of(batch: tuple[torch.Tensor, torch.Tensor]) -> list[str]:
    """Return a hash for each sample of a batch."""
    parts = [tensor.reshape(len(tensor), -1).contiguous().view(torch.uint8).numpy() for tensor in batch]
    return [
        hashlib.sha256(image.tobytes() + label.tobytes()).hexdigest()[:16] for image, label in zip(*parts, strict=True)
    ]


def live(about: StreamRound, life: Life, folder: Path, number: int) -> None:
    """One life of a stream: go on where the last checkpoint says, and log the hashes of all that is handed out."""
    saved = folder / "state.pickle"
    known = pickle.loads(saved.read_bytes()) if saved.exists() else None  # our own, of a moment ago
    done = 0 if known is None else known["batches"]
    stream = about.stream(
        batch_size=about.batch // life.world,
        rank=life.rank,
        world_size=life.world,
        threads=life.threads,
        cache=life.cache,
    )
    loader: Iterable[tuple[torch.Tensor, torch.Tensor]] = stream
    state: Callable[[], Any] = stream.state_dict
    context = "fork" if life.workers else None
    if life.kind == "stateful":
        stateful = StatefulDataLoader(
            stream, batch_size=None, num_workers=life.workers, multiprocessing_context=context
        )
        loader, state = stateful, stateful.state_dict
        if known is not None:
            stateful.load_state_dict(known["state"])
    elif known is not None:
        stream.load_state_dict(known["state"])
    if life.kind == "loader":
        loader = DataLoader(stream, batch_size=None, num_workers=life.workers, multiprocessing_context=context)
    log = os.open(folder / f"life-{number}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.write(log, f"begins {done}\n".encode())
    for batch in itertools.islice(loader, about.batches - done):
        os.write(log, f"{done} {life.rank} {life.world} {' '.join(names_of(batch))}\n".encode())
        done += 1
        if done % life.every == 0:
            now = stream.state_at(done * about.batch) if life.kind == "loader" else state()
            files.write_bytes(saved, pickle.dumps({"batches": done, "state": now}))
    os.write(log, b"ends\n")


def draw_stream_round(lots: random.Random) -> StreamRound:
    settings = {
        "size": lots.choice((32, 48)),
        "augment": lots.choice((None, "crop-flip", "deit")),
        "draws": lots.choice(("fixed", "fresh")),
        "dtype": lots.choice((torch.float32, torch.uint8)),
    }
    recipe = lots.choice(list(RECIPES))
    return StreamRound(recipe, lots.randrange(100), lots.choice((4, 6, 12)), lots.randrange(30, 90), settings)


def draw_lives(about: StreamRound, lots: random.Random) -> Iterator[Life]:
    """Lives of one kind of loader, whose states another kind does not read; a stateful one keeps its workers."""
    kind = lots.choice(("bare", "loader", "stateful"))
    kept = lots.randrange(3)
    while True:
        world = lots.choice([world for world in (1, 2, 3) if about.batch % world == 0])
        workers = {"bare": 0, "loader": lots.randrange(3), "stateful": kept}[kind]
        yield Life(
            kind,
            workers,
            world,
            lots.randrange(world),
            lots.choice((1, 2)),
            lots.choice((0, 2**25)),
            lots.choice((1, 2, 5)),
        )


def stream_round(steady: Steady, lots: random.Random, folder: Path, tally: Tally, groups: list[int]) -> None:
    """Kill and resume a stream, and compare every sample of every life with those of one that nothing interrupted."""
    about = draw_stream_round(lots)
    reference: list[list[str]] = steady.ask("stream", about)
    lives = draw_lives(about, lots)
    kills = lots.randrange(1, 4)
    logs = []
    for number in itertools.count():
        life = next(lives)
        log = folder / f"life-{number}.log"
        logs.append((log, life))
        pid = in_group(lambda life=life, number=number: live(about, life, folder, number), folder / "output")
        groups.append(pid)
        goal = lots.randrange(1, about.batches)
        last = number >= kills

        def due(log: Path = log, goal: int = goal, last: bool = last) -> bool:
            lines = log.read_bytes().splitlines() if log.exists() and not last else []
            return len(lines) > 1 and int(lines[-1].split()[0] if lines[-1][:4] != b"ends" else 0) + 1 >= goal

        status = kill_when(pid, lots.random() < 0.5, due, lots.random() * 0.01)
        if status not in (0, -signal.SIGKILL):
            tally.failures.append(f"{about}, {life}: status {status}: {(folder / 'output').read_text()[-2000:]}")
            return
        tally.kills += status != 0
        if status == 0:
            break
    seen = set()
    for log, life in logs:
        lines = log.read_text().split("\n")[:-1] if log.exists() else []
        if not lines:
            continue  # killed before its first word
        begin = int(lines[0].split()[1])
        tally.resumed += begin > 0
        rows = [line.split() for line in lines[1:] if line != "ends"]
        for place, (batch, rank, world, *names) in enumerate(rows, begin):
            share = about.batch // int(world)
            wanted = reference[int(batch)][int(rank) * share :][:share]
            tally.compared += len(names)
            seen.add(int(batch))
            if int(batch) != place or names != wanted:
                tally.failures.append(f"{about}, {life}: batch {batch} is {names}, uninterrupted {wanted}")
                return
    if seen != set(range(about.batches)):
        tally.failures.append(f"{about}: never saw batches {sorted(set(range(about.batches)) - seen)}")


# --- runs


def settings_of(out: Path, changes: dict[str, Any]) -> pretrain.Settings:
    return pretrain.Settings(**{**RUN, **changes, "out": str(out)})


def losses(out: Path) -> list[tuple[int, float]]:
    """Return step and loss of every line of a run's log."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["train/loss"]) for line in lines]


def result(out: Path) -> dict[str, Any]:
    """Return what a finished run is compared by."""
    names = {"weights": "weights.safetensors", "checkpoint": "checkpoint.safetensors"}
    return {**{name: digest(checkpoint.read(out / file)[0]) for name, file in names.items()}, "losses": losses(out)}


def run_round(steady: Steady, lots: random.Random, folder: Path, tally: Tally, groups: list[int]) -> None:
    """Kill and resume a pre-training, and compare weights, checkpoint and losses with those of one left alone."""
    steps = lots.randrange(24, 60)
    changes: dict[str, Any] = {"steps": steps, "seed": lots.randrange(1000), "ema": lots.choice((0.0, 0.9))}
    changes |= {"augment": lots.choice(("none", "deit")), "draws": lots.choice(("fixed", "fresh"))}
    changes |= {"micro_batch": lots.choice((0, 4)), "save_every": lots.randrange(2, 9)}
    reference = steady.ask("run", folder / "left-alone", changes)
    out = folder / "killed"
    path = out / "checkpoint.safetensors"
    kills, number = lots.randrange(1, 4), 0
    while True:
        begin = checkpoint.read_info(path)["step"] if path.exists() else 0
        tally.resumed += begin > 0
        life = {"resume": True, "workers": lots.choice((0, 0, 1)), "save_every": changes["save_every"]}
        work = settings_of(out, {**changes, **life})
        pid = in_group(lambda work=work: pretrain.pretrain(work), folder / "output")
        groups.append(pid)
        goal = lots.randrange(begin + 1, steps + 1)

        def due(goal: int = goal, number: int = number) -> bool:
            log = out / "log.jsonl"
            lines = log.read_bytes().split(b"\n")[:-1] if number < kills and log.exists() else []
            return bool(lines) and int(json.loads(lines[-1])["step"]) >= goal

        status = kill_when(pid, lots.random() < 0.5, due, lots.random() * 0.01)
        if status not in (0, -signal.SIGKILL):
            tally.failures.append(f"{changes}, {life}: status {status}: {(folder / 'output').read_text()[-2000:]}")
            return
        tally.kills += status != 0
        number += 1
        if status == 0:
            break
    got = result(out)
    tally.compared += steps
    for name, value in reference.items():
        if got[name] != value:
            tally.failures.append(f"{changes} after {number - 1} kills: {name} {got[name]}, left alone {value}")


# --- the steady process


class Steady:
    """A process that lives as long as the soak, makes what nothing interrupts, and tells how large it is."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("fork")
        self._here, there = context.Pipe()
        self._process = context.Process(target=self._serve, args=(there,))
        self._process.start()
        there.close()
        self.sizes: list[tuple[float, int, int]] = []

    def ask(self, what: str, *about: Any) -> Any:
        """Let it make what ``what`` names. Raises RuntimeError with its traceback."""
        self._here.send((what, about))
        answer, self_size, error = self._here.recv()
        self.sizes.append(self_size)
        if error:
            raise RuntimeError(error)
        return answer

    def end(self) -> None:
        self._here.send(None)
        self._process.join()

    def _serve(self, pipe: Any) -> None:
        torch.set_num_threads(1)
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        while (request := pipe.recv()) is not None:
            what, about = request
            try:
                answer, error = getattr(self, f"_{what}")(*about), ""
            except Exception:
                answer, error = None, traceback.format_exc()
            gc.collect()
            pipe.send((answer, size_of_process(), error))

    def _stream(self, about: StreamRound) -> list[list[str]]:
        stream = about.stream()
        batches = iter(stream)
        names = [names_of(next(batches)) for _ in range(about.batches)]
        back = about.seed % about.batches  # a jump within one process, too
        stream.load_state_dict(stream.state_at(back * about.batch))
        if names_of(next(batches)) != names[back]:
            raise AssertionError(f"{about}: batch {back} differs after going back to it")
        return names

    def _run(self, out: Path, changes: dict[str, Any]) -> dict[str, Any]:
        outcome = pretrain.pretrain(settings_of(out, changes))
        if not outcome.finished:
            raise AssertionError(f"{changes} ended at step {outcome.step}")
        return result(out)


def size_of_process() -> tuple[float, int, int]:
    """Return resident MiB, threads and open files of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    threads, opened = len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, threads, opened


def growth(sizes: list[tuple[float, int, int]]) -> dict[str, float]:
    """Return how far the largest of the second half exceed those of the first, as caches are full by then."""
    half = len(sizes) // 2
    names = ("MiB", "threads", "files")
    return {
        name: max(size[i] for size in sizes[half:]) - max(size[i] for size in sizes[:half])
        for i, name in enumerate(names)
    }


# --- the soak


def soak(seconds: float, seed: int, least: int) -> dict[str, Any]:
    """Rounds of both kinds in turn, until the time is over and each had ``least`` rounds and resumed once."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    lots = random.Random(seed)
    steady = Steady()
    groups: list[int] = []
    tallies = {"streams": Tally(), "runs": Tally()}
    rounds = {"streams": stream_round, "runs": run_round}
    start = time.monotonic()
    for name in itertools.cycle(rounds):
        tally = tallies[name]
        enough = all(one.rounds >= least and (one.resumed or one.rounds >= 20) for one in tallies.values())
        if any(one.failures for one in tallies.values()) or (enough and time.monotonic() - start > seconds):
            break
        folder = Path(tempfile.mkdtemp(prefix="onepfrac-soak-"))
        try:
            rounds[name](steady, lots, folder, tally, groups)
        except Exception:
            tally.failures.append(traceback.format_exc())
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        tally.rounds += 1
        groups = [group for group in groups if not group_is_empty(group)]
    steady.end()
    limit = time.monotonic() + 30
    while groups and time.monotonic() < limit:  # loader workers see within seconds that they are orphans
        time.sleep(0.05)
        groups = [group for group in groups if not group_is_empty(group)]
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    return {
        "seed": seed,
        "seconds": time.monotonic() - start,
        **{name: asdict(tally) for name, tally in tallies.items()},
        "left behind": len(groups),
        "growth": growth(steady.sizes),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long; at least so many (default: 5)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all lots (default: 0)")
    parser.add_argument("--rounds", type=int, default=8, help="at least so many rounds of each kind (default: 8)")
    arguments = parser.parse_args()
    print(json.dumps(soak(60 * arguments.minutes, arguments.seed, arguments.rounds)))


if __name__ == "__main__":
    main()
