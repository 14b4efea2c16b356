"""Signals, forks, threads and the end of the interpreter: what surrounds a call must neither hang nor break it."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from programs import run
from promises.tally import tried
from torch.utils.data import DataLoader, IterableDataset

import onepfrac
from onepfrac import _C, rendering
from onepfrac.camera import Film, take_pictures
from onepfrac.cpus import available_cpus, cgroup_quota
from onepfrac.shots import Shots
from onepfrac.systems import diverges

IFS = onepfrac.sample_ifs(sigma=3.5, seed=3)
MAPS = np.repeat(IFS.maps[None], 8, 0)
LONGEST_WAIT = 0.1  # seconds from a signal to its exception


def same_pictures() -> bool:
    """Whether a small picture comes out as it did when this module was imported."""
    return torch.equal(onepfrac.render(MAPS, points=3000, size=64, threads=2), EXPECTED)


EXPECTED = onepfrac.render(MAPS, points=3000, size=64, threads=1)

# --- Ctrl-C


def after(seconds: float, number: int = signal.SIGINT) -> tuple[threading.Timer, list[float]]:
    """Send this process a signal a while later; the list gets the time at which it was sent."""
    sent: list[float] = []

    def send() -> None:
        sent.append(time.monotonic())
        os.kill(os.getpid(), number)

    timer = threading.Timer(seconds, send)
    timer.start()
    return timer, sent


def seconds_to_answer(call: Callable[[], object]) -> float:
    """Interrupt ``call``, which is repeated without end, by SIGINT and return how long it went on."""

    def repeat() -> None:
        while True:
            call()

    timer, sent = after(0.2)
    try:
        with pytest.raises(KeyboardInterrupt):
            repeat()
    finally:
        ended = time.monotonic()
        timer.join()
    return ended - sent[0]


def _taken_from_afar(canvas: torch.Tensor, threads: int) -> None:
    """One picture of 256 x 256 pixels, each of which is weighed from a million of the canvas: minutes of work."""
    film = Film.make(256, 1, torch.uint8, [0.5], [0.5])
    shots = Shots.of_views(np.array([[[200.0, 200.0, 0.0], [-200.0, 200.0, 0.0]]]))
    take_pictures(canvas, shots, film, film.empty(1), threads=threads)


def _calls(threads: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """Calls that take long, a third of a second to minutes, one of each kind of loop."""
    yield "one image of 1e9 points", lambda: onepfrac.render(IFS, points=10**9, size=64, threads=threads)
    yield (
        "densities of 1e9 points",
        lambda: rendering.density(MAPS, points=10**9, size=64, brush="point", threads=threads),
    )
    yield "many images", lambda: onepfrac.render(np.repeat(MAPS, 4000, 0), points=200_000, size=64, threads=threads)
    draws = np.full(30_000_000, 0.3)
    yield "replay", lambda: onepfrac.replay(IFS.maps, None, draws)
    expanding = np.array([[[[1.2, 0.0, 0.0], [0.0, 0.01, 0.0]], [[0.01, 0.0, 0.0], [0.0, 1.2, 0.0]]]])
    many = np.repeat(expanding, 400_000, 0)
    yield "looking for divergence", lambda: diverges(many, np.full((400_000, 2), 0.5))
    counts, sizes = np.array([[2048, 2000, 20, 19]], np.int32), np.array([[6, 0, 50, 2, 2, 2048, 2048]], np.float32)
    atoms = _C.pack_atoms(np.arange(20, dtype=np.uint64), np.repeat(counts, 20, 0), np.repeat(sizes, 20, 0))
    out = np.zeros((20, 1, 4096, 4096), np.uint8)
    yield (
        "a turned view of grays from afar",
        partial(_taken_from_afar, torch.zeros(1, 512, 512, dtype=torch.uint8), threads),
    )
    yield (
        "a turned view of bits from afar",
        partial(_taken_from_afar, torch.zeros(1, 1, 512, 16, dtype=torch.int32), threads),
    )
    yield "Visual Atoms", lambda: _C.draw_atoms(atoms, out, 2048, threads, rendering.simd_cap(), 0)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", ["", "scalar"])
def test_ctrl_c_is_answered_within_a_tenth_of_a_second(
    threads: int, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level:
        monkeypatch.setenv("ONEPFRAC_SIMD", level)
    for name, call in _calls(threads):
        # The least of three: other work on the machine may keep this process from running for a tenth of a second.
        assert min(seconds_to_answer(call) for _ in range(3)) < LONGEST_WAIT, name
        tried()
    assert same_pictures()


def test_interrupted_calls_leave_no_memory_behind() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def interrupted() -> None:
        seconds_to_answer(lambda: onepfrac.render(np.repeat(MAPS, 64, 0), points=20_000_000, size=512, threads=2))

    interrupted()
    before = resident()
    for _ in range(5):
        interrupted()  # 128 MiB of pictures each
        tried()
    assert resident() - before < 32 * 2**20


def test_a_handlers_own_exception_ends_a_call_and_a_handler_may_render() -> None:
    drawn: list[bool] = []

    def handler(number: int, frame: object) -> None:
        drawn.append(same_pictures())
        if len(drawn) == 2:
            raise ZeroDivisionError("the second signal")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        with pytest.raises(ZeroDivisionError, match="the second signal"):
            onepfrac.render(IFS, points=10**9, size=64, threads=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert drawn == [True, True]
    assert same_pictures()


def test_ctrl_c_does_not_lose_the_streams_batch() -> None:
    recipe = onepfrac.OnePFrac(num_classes=4, points=1_000_000_000, canvas=64)
    stream = recipe.stream(batch_size=4, size=32, augment=None)
    state = stream.state_dict()
    iterator = iter(stream)
    assert seconds_to_answer(lambda: next(iterator)) < 10
    assert stream.state_dict() == state


def test_a_call_on_another_thread_goes_on_while_ctrl_c_reaches_the_main_one() -> None:
    pictures: list[torch.Tensor] = []
    worker = threading.Thread(
        target=lambda: pictures.append(onepfrac.render(MAPS, points=5_000_000, size=64, threads=1))
    )
    worker.start()
    timer, _ = after(0.05)
    with pytest.raises(KeyboardInterrupt):
        time.sleep(60)
    timer.join()
    worker.join()
    assert torch.equal(pictures[0], onepfrac.render(MAPS, points=5_000_000, size=64, threads=2))


# --- workers of a loader, forks


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.forks
def test_a_worker_that_a_signal_ends_is_an_error_and_no_wait_without_end(number: signal.Signals) -> None:
    recipe = onepfrac.OnePFrac(num_classes=4, points=2_000_000, canvas=64)
    loader = DataLoader(recipe.stream(batch_size=16, size=32, augment=None, cache=0), batch_size=None, num_workers=2)
    others = set(multiprocessing.active_children())
    iterator = iter(loader)
    next(iterator)
    children = [child for child in multiprocessing.active_children() if child not in others]
    assert len(children) == 2
    pid = children[0].pid
    assert pid is not None

    def end_one_and_go_on(batches: Iterator[object]) -> None:
        os.kill(pid, number)  # torch's handler of SIGCHLD may raise on this very line
        for _ in itertools.islice(batches, 300):  # far more than were made ahead
            pass

    # torch's own word; or, where the worker was handing over a batch, that of the socket (OSError, EOFError).
    try:
        with pytest.raises((RuntimeError, OSError, EOFError, KeyboardInterrupt)):
            end_one_and_go_on(iterator)
        del iterator, loader
        for child in children:
            child.join(30)
            assert not child.is_alive()
    finally:
        for child in children:
            with contextlib.suppress(RuntimeError):  # torch's handler of SIGCHLD, where the loader lives on
                child.kill()  # where the test fails they may wait for ever, and pytest for them
                child.join(30)


@pytest.mark.forks
def test_ctrl_c_in_a_terminal_ends_a_loader_with_its_workers() -> None:
    code = """
        import onepfrac
        from torch.utils.data import DataLoader
        stream = onepfrac.OnePFrac(num_classes=4, points=2_000_000, canvas=64).stream(batch_size=16, size=32, cache=0)
        loader = DataLoader(stream, batch_size=None, num_workers=2)
        for number, _ in enumerate(loader):
            print(number, flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        text=True,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == "0\n"
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode != 0
    with pytest.raises(ProcessLookupError):  # nobody of its session is left
        os.killpg(process.pid, 0)


def renders_with_threads_of_its_own() -> int:
    """What a forked child ends with: 0 if its pictures are right and it has started a thread, for it got none."""
    right = same_pictures()
    deadline = time.monotonic() + 10
    while pool_threads() != 1 and time.monotonic() < deadline:  # a thread has its name once it runs
        time.sleep(0.001)
    return 0 if right and pool_threads() == 1 else 3


@pytest.mark.forks
def test_a_fork_while_other_threads_render_leaves_a_child_that_renders() -> None:
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            onepfrac.render(MAPS, points=3000, size=64, threads=2)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for _ in range(20):
            child = os.fork()
            if child == 0:
                os._exit(renders_with_threads_of_its_own())
            deadline = time.monotonic() + 60
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    pytest.fail("the child hangs")
                time.sleep(0.001)
            assert ended[1] == 0
            tried()
    finally:
        done.set()
        for worker in workers:
            worker.join()
    assert same_pictures()


# --- the end of the interpreter, other interpreters


@pytest.mark.parametrize("threads", [1, 2])
def test_the_interpreter_ends_while_daemon_threads_render(threads: int) -> None:
    # Arrays of NumPy: torch's own calls abort the process when the interpreter ends while a daemon thread is in them.
    code = f"""
        import threading, time, numpy as np, onepfrac
        from onepfrac import _C
        ifs = onepfrac.sample_ifs(sigma=3.5)
        systems = _C.pack_systems(ifs.maps[None].astype(np.float32), ifs.probs[None], np.zeros(1, np.uint64))
        def work(points):
            out = np.zeros((1, 1, 64, 64), np.uint8)
            while True:
                _C.render(systems, out, 2, points, 6, 0, {threads}, "", 0)
        for points in (2000, 1_000_000_000, 2000, 5_000_000):
            threading.Thread(target=work, args=(points,), daemon=True).start()
        time.sleep(0.2)
        print("ok")
    """
    for _ in range(2):
        assert run(code) == "ok"
        tried()


def test_a_thread_that_is_no_daemon_finishes_its_picture_first() -> None:
    code = """
        import threading, onepfrac
        ifs = onepfrac.sample_ifs(sigma=3.5)
        def work():
            onepfrac.render(ifs, points=30_000_000, size=64, threads=2)
            print("drawn")
        threading.Thread(target=work).start()
    """
    assert run(code) == "drawn"


def test_a_subinterpreter_is_refused_in_words() -> None:
    code = """
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters
        import onepfrac
        made = interpreters.create()
        program = "try: import onepfrac\\nexcept ImportError as error: print(error, flush=True)"
        for _ in range(2):
            assert not interpreters.run_string(made, program)
    """
    printed = run(code, timeout=60).splitlines()
    assert len(printed) == 2
    assert all("must be imported in the main interpreter" in line for line in printed)


# --- how many threads


def pool_threads() -> int:
    """How many threads of this process are the renderer's; the thread that calls it is not one of them."""
    return sum(name.read_text() == "onepfrac\n" for name in Path("/proc/self/task").glob("*/comm"))


def _pool_threads_of_worker(queue: Any, threads: int | None) -> None:
    torch.set_num_threads(1)  # as a loader's worker does
    for _ in range(20):
        onepfrac.render(MAPS, points=3000, size=64, threads=threads)
        time.sleep(0.01)  # a thread has its name once it runs
    queue.put(pool_threads())


@pytest.mark.parametrize(("threads", "started"), [(None, 0), (1, 0), (3, 2)])
@pytest.mark.forks
def test_workers_start_no_threads_but_those_that_were_asked_for(threads: int | None, started: int) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_pool_threads_of_worker, args=(queue, threads)) for _ in range(3)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [started] * 3
    for child in children:
        child.join(60)


class Counted(IterableDataset[int]):
    """A stream that hands out how many threads its process renders with."""

    def __init__(self) -> None:
        self.stream = onepfrac.OnePFrac(num_classes=8, points=2000, canvas=64).stream(batch_size=8, size=32)

    def __iter__(self) -> Iterator[int]:
        for _ in self.stream:
            yield pool_threads()


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.forks
def test_a_loaders_workers_render_with_one_thread_each(start: str) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        loader = DataLoader(Counted(), batch_size=None, num_workers=2, multiprocessing_context=start)
        assert list(itertools.islice(loader, 6)) == [0] * 6
    finally:
        torch.set_num_threads(before)


def test_calls_from_many_threads_share_the_pools_threads() -> None:
    code = """
        import threading, onepfrac, test_processes
        from test_processes import MAPS, pool_threads
        def work():
            for _ in range(20): onepfrac.render(MAPS, points=3000, size=64, threads=3)
        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers: worker.start()
        for worker in workers: worker.join()
        print(pool_threads())
    """
    assert run(code, PYTHONPATH=os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])) == "2"


def test_the_number_of_threads_follows_omp_num_threads_and_the_cpus_of_the_process() -> None:
    code = """
        import os
        from onepfrac.rendering import check_threads
        import torch
        print(check_threads(None))
        torch.set_num_threads(1000)
        print(check_threads(None))
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(check_threads(None))
    """
    assert run(code, OMP_NUM_THREADS="1").split() == ["1", str(available_cpus()), "1"]


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "800000 100000\n"}, 1.5),
        ("0::/a/b\n", {"cpu.max": "50000 100000\n", "a/b/cpu.max": "max 100000\n"}, 0.5),
        ("0::/elsewhere/of/the/host\n", {"cpu.max": "300000 100000\n"}, 3.0),
        ("0::/../x\n", {"cpu.max": "300000 100000\n"}, 3.0),
        (
            "5:memory:/m\n4:cpu,cpuacct:/docker/x\n0::/\n",
            {"cpu,cpuacct/docker/x/cpu.cfs_quota_us": "400000\n", "cpu,cpuacct/docker/x/cpu.cfs_period_us": "100000\n"},
            4.0,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("0::/\n", {"cpu.max": ""}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", {"cpu.max": "100000 0\n"}, None),
        ("nonsense\n", {}, None),
        ("", {}, None),
    ],
)
def test_the_quota_of_control_groups_is_read(
    groups: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    mounts = tmp_path / "cgroup"
    mounts.mkdir()
    for name, text in files.items():
        (mounts / name).parent.mkdir(parents=True, exist_ok=True)
        (mounts / name).write_text(text)
    (tmp_path / "groups").write_text(groups)
    assert cgroup_quota(tmp_path / "groups", mounts) == quota


def test_without_control_groups_the_affinity_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cgroup_quota(tmp_path / "absent", tmp_path) is None
    monkeypatch.setattr("onepfrac.cpus._quota_of_this_process", lambda: None)
    assert available_cpus() == len(os.sched_getaffinity(0))
    for quota, cpus in ((0.2, 1), (1.5, min(2, len(os.sched_getaffinity(0))))):
        monkeypatch.setattr("onepfrac.cpus._quota_of_this_process", lambda quota=quota: quota)
        assert available_cpus() == cpus
