"""Objects that several Python threads share: streams, images by number, and Python without its GIL."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from programs import run
from promises.tally import tried

import onepfrac

RECIPE = onepfrac.OnePFrac(num_classes=60, points=2000, canvas=64)
SLOW = onepfrac.OnePFrac(num_classes=4, points=20_000_000, canvas=64)  # 40 ms a batch, or more
Sample = tuple[bytes, bytes]


@contextmanager
def impatient() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def at_once(work: Callable[[int], None], threads: int) -> None:
    """Call ``work`` with the number of its thread on several threads, which all start together."""
    ready = threading.Barrier(threads)
    errors: list[BaseException] = []

    def body(number: int) -> None:
        ready.wait()
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=body, args=(number,)) for number in range(threads)]
    with impatient():
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    if errors:
        raise errors[0]


@contextmanager
def in_the_midst_of_a_batch(stream: onepfrac.stream.Stream) -> Iterator[None]:
    """Let another thread take a batch, and enter while it is being made."""
    worker = threading.Thread(target=lambda: next(iter(stream)))
    worker.start()
    while worker.is_alive() and not stream._mutex.busy:
        pass
    try:
        yield
    finally:
        worker.join()


def sample(item: tuple[torch.Tensor, torch.Tensor | int]) -> Sample:
    """What a batch or a single image holds, so that it can be counted."""
    images, labels = item
    return images.numpy().tobytes(), torch.as_tensor(labels).numpy().tobytes()


@pytest.mark.parametrize("iterators", ["one iterator", "one each"])
def test_threads_that_share_a_stream_get_each_batch_once(iterators: str) -> None:
    threads, each = 4, 60
    alone = RECIPE.stream(batch_size=1, size=32, augment="deit", threads=1)
    wanted = Counter(map(sample, itertools.islice(alone, threads * each)))
    stream = RECIPE.stream(batch_size=1, size=32, augment="deit", threads=1)
    shared = iter(stream)
    got: list[Sample] = []

    def take(number: int) -> None:
        batches = shared if iterators == "one iterator" else iter(stream)
        got.extend(map(sample, itertools.islice(batches, each)))

    at_once(take, threads)
    tried(threads * each)
    assert Counter(got) == wanted
    assert stream.state_dict() == alone.state_dict()


def test_a_state_that_is_loaded_in_the_midst_of_another_threads_batch_holds_after_it() -> None:
    stream = SLOW.stream(batch_size=4, size=32, threads=1)
    state = stream.state_at(8)
    elsewhere = SLOW.stream(batch_size=4, size=32, threads=1)
    elsewhere.load_state_dict(state)
    with in_the_midst_of_a_batch(stream):
        stream.load_state_dict(state)
    assert sample(next(iter(stream))) == sample(next(iter(elsewhere)))
    assert stream.state_dict()["samples"] == 12


@pytest.mark.parametrize("draws", ["fixed", "fresh"])
def test_threads_with_a_stream_each_of_one_recipe_get_what_one_alone_gets(draws: str) -> None:
    def batches(recipe: onepfrac.OnePFrac) -> list[Sample]:
        stream = recipe.stream(batch_size=4, size=32, augment="deit", draws=draws, threads=1)
        return list(map(sample, itertools.islice(stream, 30)))

    recipe = replace(RECIPE, points=200_000)  # long enough to be drawn at the same time
    wanted = batches(recipe)
    for _ in range(5):
        cold = replace(recipe)  # its systems are found by whichever thread comes first
        at_once(lambda number: check(batches(cold), wanted), 4)  # noqa: B023
        tried(4 * 30)


def test_threads_that_share_images_get_those_that_one_gets() -> None:
    def every(images: onepfrac.map_style.Images) -> list[Sample]:
        return [sample(images[number]) for number in range(len(images))]

    wanted = every(RECIPE.images(size=32, threads=1))
    for _ in range(5):
        cold = RECIPE.images(size=32, threads=1)  # its canvases are drawn when they are first asked for
        at_once(lambda number: check(every(cold), wanted), 4)  # noqa: B023
        tried(4 * len(cold))


def check(got: list[Sample], wanted: list[Sample]) -> None:
    assert got == wanted


def test_a_handler_that_asks_a_stream_in_the_midst_of_a_batch_is_refused() -> None:
    stream = SLOW.stream(batch_size=4, size=32, threads=1)
    said: list[str] = []

    def handler(number: int, frame: object) -> None:
        for ask in (lambda: next(iter(stream)), lambda: stream.load_state_dict(stream.state_at(8))):
            with pytest.raises(RuntimeError, match="in the midst of a batch") as error:
                ask()
            said.append(str(error.value))

    before = signal.signal(signal.SIGPROF, handler)
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.01)  # of this process's own time, so that a busy machine delays it too
        batch = next(iter(stream))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert len(said) == 2
    assert stream.state_dict()["samples"] == 4
    stream.load_state_dict(stream.state_at(0))
    assert sample(batch) == sample(next(iter(stream)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.forks
def test_a_child_forked_in_the_midst_of_another_threads_batch_gets_its_own() -> None:
    wanted = sample(next(iter(SLOW.stream(batch_size=4, size=32, threads=1))))
    stream = SLOW.stream(batch_size=4, size=32, threads=1)
    with in_the_midst_of_a_batch(stream):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                signal.alarm(120)  # ends it if it waits for a thread that is not there
                status = 0 if sample(next(iter(stream))) == wanted else 1
            finally:
                os._exit(status)  # nothing of pytest's goes on here
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


without_gil = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="needs a Python that is built without its GIL"
)


@without_gil
def test_python_stays_without_its_gil() -> None:
    code = """
        import sys
        import onepfrac
        data = onepfrac.OnePFrac(num_classes=4, points=2000, canvas=64)
        next(iter(data.stream(batch_size=4, size=32, augment="deit")))
        print(sys._is_gil_enabled())
    """
    assert run(code) == "False"
