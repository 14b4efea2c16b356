"""The stream: order, shares of ranks and workers, state and resuming, loaders, prefetching, pictures, bad input."""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import pickle
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import toy
from torch.utils.data import DataLoader

import onepfrac
from onepfrac import OnePFrac, Stream, stream
from onepfrac.augment import Policy
from onepfrac.canvases import store_shape
from onepfrac.datasets import recipe

RECIPE = OnePFrac(num_classes=10, points=2000, canvas=32, pad=2, brush="fill")
Batch = tuple[torch.Tensor, torch.Tensor]


def make(batch_size: int = 4, **settings: Any) -> Stream:
    return RECIPE.stream(
        **{"batch_size": batch_size, "size": 16, "augment": "crop-flip", "dtype": torch.uint8, **settings}
    )


def take(batches: Iterable[Batch], count: int) -> list[Batch]:
    return [(images.clone(), labels.clone()) for images, labels in itertools.islice(batches, count)]


def same(first: list[Batch], second: list[Batch]) -> bool:
    assert first
    return len(first) == len(second) and all(
        torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(first, second, strict=True)
    )


REFERENCE = take(make(), 12)


# Order, ranks


def test_every_epoch_shows_each_class_once_in_the_recipes_order() -> None:
    labels = torch.cat([labels for _, labels in REFERENCE]).tolist()
    assert labels == RECIPE.plan(np.arange(48)).labels.tolist()
    assert sorted(labels[:10]) == sorted(labels[10:20]) == list(range(10))


@pytest.mark.parametrize("ranks", [2, 4])
def test_the_ranks_shares_make_up_the_same_global_batches(ranks: int) -> None:
    streams = [make(4 // ranks, rank=rank, world_size=ranks) for rank in range(ranks)]
    assert {stream.global_batch_size for stream in streams} == {4}
    shares = [take(stream, 6) for stream in streams]
    batches = [
        (torch.cat([share[g][0] for share in shares]), torch.cat([share[g][1] for share in shares])) for g in range(6)
    ]
    assert same(batches, REFERENCE[:6])


@pytest.mark.parametrize("size", range(1, 8))
def test_a_sample_is_the_same_whatever_the_batch_size(size: int) -> None:
    images = torch.cat([images for images, _ in REFERENCE])
    batches = take(make(size), 3)
    assert torch.equal(torch.cat([batch for batch, _ in batches]), images[: 3 * size])


def test_fixed_draws_repeat_each_class_and_fresh_draws_never_do() -> None:
    for draws, distinct in (("fixed", 10), ("fresh", 40)):
        batches = take(make(10, augment=None, size=32, draws=draws), 4)
        pictures = {
            (int(label), image.numpy().tobytes()) for batch in batches for image, label in zip(*batch, strict=True)
        }
        assert len(pictures) == distinct
    fixed, fresh = (take(make(10, draws=draws), 1)[0][1] for draws in ("fixed", "fresh"))
    assert torch.equal(fixed, fresh)


def test_augmentation_is_drawn_anew_for_every_sample() -> None:
    batches = take(make(10), 4)
    assert len({image.numpy().tobytes() for images, _ in batches for image in images}) == 40


@pytest.mark.parametrize("augment", ["crop-flip", "deit"])
def test_chunks_of_canvases_and_threads_do_not_change_a_picture(augment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are for recipes that cannot take pictures on the way, as 1p-frac can."""
    expected = REFERENCE[:3] if augment == "crop-flip" else take(make(augment=augment), 3)
    drawn: list[int] = []
    draw = OnePFrac.draw

    def spy(self: OnePFrac, plan: Any, device: torch.device, threads: int | None, bits: bool = False) -> torch.Tensor:
        drawn.append(len(plan))
        return draw(self, plan, device, threads, bits)

    for threads in (1, 2, 5):
        assert same(take(make(augment=augment, threads=threads), 3), expected)
        assert same(take(make(augment=augment, threads=threads, cache=0), 3), expected)
    monkeypatch.setattr(OnePFrac, "draw", spy)
    monkeypatch.setattr(OnePFrac, "take", recipe.Recipe.take)
    for room, chunks in ((3 * 32 * 32, [3, 1]), (32 * 32 - 1, [1] * 4), (2**20, [4])):
        monkeypatch.setattr(recipe, "_CANVAS_BYTES", {"cpu": room})
        for threads in (1, 2):
            drawn.clear()
            assert same(take(make(augment=augment, threads=threads, cache=0), 3), expected)
            assert drawn == 3 * chunks


# State


@pytest.mark.parametrize("position", range(10))
def test_resuming_at_any_position_goes_on_exactly(position: int) -> None:
    first = make()
    assert same(take(first, position), REFERENCE[:position]) if position else True
    state = json.loads(json.dumps(first.state_dict()))
    assert state["samples"] == 4 * position
    assert state == first.state_at(4 * position)
    second = make()
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert same(take(second, 2), REFERENCE[position : position + 2])


@pytest.mark.parametrize("cache", [0, 2**25])
@pytest.mark.parametrize("draws", ["fixed", "fresh"])
def test_a_deit_stream_resumes_exactly_at_any_position_on_any_ranks(draws: str, cache: int) -> None:
    settings: dict[str, Any] = {"augment": "deit", "draws": draws, "dtype": torch.float32}
    reference = take(make(**settings), 8)
    assert len({image.numpy().tobytes() for images, _ in reference for image in images}) == 32
    for position in range(6):
        first = make(**settings, cache=cache)
        assert same(take(first, position), reference[:position]) if position else True
        second = make(**settings, cache=cache)
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert same(take(second, 2), reference[position : position + 2])
        shares = []
        for rank in range(2):
            half = make(2, rank=rank, world_size=2, **settings, cache=cache)
            half.load_state_dict(first.state_dict())
            shares.append(take(half, 1)[0])
        whole = tuple(map(torch.cat, zip(*shares, strict=True)))
        assert same([whole], reference[position : position + 1])  # type: ignore[list-item]


def test_the_state_resumes_on_another_number_of_ranks() -> None:
    state = make().state_at(12)
    shares = []
    for rank in range(2):
        half = make(2, rank=rank, world_size=2)
        half.load_state_dict(state)
        shares.append(take(half, 1)[0])
    assert same([tuple(map(torch.cat, zip(*shares, strict=True)))], REFERENCE[3:4])  # type: ignore[list-item]


def test_a_second_loop_goes_on_where_the_first_stopped() -> None:
    endless = make()
    for number, _ in enumerate(endless):
        if number == 2:
            break
    assert same(take(endless, 2), REFERENCE[3:5])
    first, second = iter(endless), iter(endless)
    alternating = [next(first), next(second), next(second), next(first)]
    assert same(alternating, REFERENCE[5:9])


def test_a_running_iterator_follows_a_loaded_state() -> None:
    endless = make()
    running = iter(endless)
    next(running)
    endless.load_state_dict(endless.state_at(28))
    assert same([next(running)], REFERENCE[7:8])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("hold", [lambda images: images, lambda images: images[1:], lambda images: images.numpy()])
def test_a_batch_or_any_part_of_it_that_is_held_is_not_written_to_again(hold: Any, channels_last: bool) -> None:
    endless, held = iter(make(channels_last=channels_last)), []
    for number in range(12):
        images, _ = next(endless)
        if number % 2 == 0:
            held.append((hold(images), hold(REFERENCE[number][0])))
        del images
    for part, expected in held:
        assert torch.equal(torch.as_tensor(part), torch.as_tensor(expected))


def test_a_batch_that_failed_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = make()
    running = iter(endless)
    next(running)
    with monkeypatch.context() as broken:
        broken.setattr("onepfrac.stream.take_planes", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(running)
    assert endless.state_dict()["samples"] == 4
    assert same([next(running)], REFERENCE[1:2])


@pytest.mark.parametrize("augment", [None, "crop-flip", "deit"])
def test_kept_canvases_give_the_same_batches_and_are_drawn_once(
    augment: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = [take(make(batch_size=5, augment=augment, cache=0), 6)]
    drawn: list[int] = []
    draw = OnePFrac.draw

    def spy(self: OnePFrac, plan: Any, device: torch.device, threads: int | None, bits: bool = False) -> torch.Tensor:
        assert bits
        drawn.extend(plan.labels.tolist())
        return draw(self, plan, device, threads, bits)

    monkeypatch.setattr(OnePFrac, "draw", spy)
    kept = make(batch_size=5, augment=augment)
    assert same(take(kept, 6), fresh[0])  # several epochs, and classes twice in a batch
    assert len(drawn) == len(set(drawn)) == kept.recipe.num_classes
    again = pickle.loads(pickle.dumps(kept))
    assert len(pickle.dumps(kept)) < 20_000  # the canvases stay behind
    assert same(take(again, 2), take(kept, 2))


def test_canvases_are_kept_only_with_fixed_draws_and_if_all_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, kind = store_shape(make().recipe.num_images, 1, make().recipe.canvas, bitmap=True)
    whole = math.prod(shape) * kind.itemsize
    asked: list[str] = []

    def spy_on(name: str) -> None:
        method = getattr(OnePFrac, name)

        def spy(self: OnePFrac, *arguments: Any, **settings: Any) -> Any:
            asked.append(name)
            return method(self, *arguments, **settings)

        monkeypatch.setattr(OnePFrac, name, spy)

    spy_on("draw")  # the canvases of a batch, to be kept
    spy_on("take")  # their pictures in one go
    for settings, name in (({"cache": whole}, "draw"), ({"cache": whole - 1}, "take"), ({"draws": "fresh"}, "take")):
        for augment in (None, "crop-flip", "deit"):
            asked.clear()
            take(make(augment=augment, **settings), 1)
            assert asked == [name]
    for cache, error in ((-1, ValueError), (1.5, TypeError)):
        for draws in ("fixed", "fresh"):
            with pytest.raises(error, match="cache"):
                make(cache=cache, draws=draws)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))])
def test_copies_and_pickles_stand_at_the_same_position_and_move_by_themselves(copied: Any) -> None:
    original = make()
    take(original, 2)
    other = copied(original)
    assert same(take(other, 2), REFERENCE[2:4])
    assert original.state_dict()["samples"] == 8


OTHER_SETTINGS: dict[str, Any] = {
    "size": 24,
    "augment": None,
    "draws": "fresh",
    "dtype": torch.float32,
    "channels": 1,
    "mean": 0.25,
    "std": 0.25,
    "batch_size": 8,
}


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_the_state_of_a_stream_with_other_settings_is_refused(name: str) -> None:
    other = make(**{name: OTHER_SETTINGS[name]})
    key = "global_batch_size" if name == "batch_size" else name
    endless = make()
    take(endless, 1)
    with pytest.raises(ValueError, match=rf"state\['stream'\]\['{key}'\] must be .* load stream.state_at\(samples\)"):
        endless.load_state_dict(other.state_dict())
    assert same(take(endless, 1), REFERENCE[1:2])


def test_settings_that_do_not_change_the_sequence_do_not_matter() -> None:
    endless = make(threads=1, prefetch=0, device=torch.device("cpu"))
    endless.load_state_dict(make(threads=2, prefetch=5).state_at(8))
    assert same(take(endless, 1), REFERENCE[2:3])


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, "state must have the keys", {"samples": ...}),
        (ValueError, "state must have the keys", {"more": 1}),
        (ValueError, r"state\['format'\] must be 1, got 2", {"format": 2}),
        (TypeError, r"state\['format'\] must be a int, got '1'", {"format": "1"}),
        (TypeError, r"state\['format'\] must be a int, got True", {"format": True}),
        (ValueError, r"state\['recipe'\] must be .* got '0123456789abcdef'", {"recipe": "0123456789abcdef"}),
        (TypeError, r"state\['recipe'\] must be a str, got 3", {"recipe": 3}),
        (ValueError, r"samples must be a multiple of the global batch size 4 \(4 x 1 ranks\), got 6", {"samples": 6}),
        (ValueError, r"state\['samples'\] must be an integer in .* got -4", {"samples": -4}),
        (ValueError, r"state\['samples'\] must be an integer in", {"samples": 2**62}),
        (TypeError, r"state\['samples'\] must be an integer .* got 4.0", {"samples": 4.0}),
        (TypeError, r"state\['stream'\] must be a dict, got NoneType", {"stream": None}),
        (ValueError, r"state\['stream'\] must have the keys", {"stream": {}}),
        (
            ValueError,
            r"state\['stream'\]\['size'\] must be 16 as in this stream, got 16.0",
            {"stream": {**make()._settings(), "size": 16.0}},
        ),
        (
            ValueError,
            r"state\['worker'\] \[0, 2\] .* is the state of one loader worker, this is no worker",
            {"worker": [0, 2]},
        ),
    ],
)
def test_bad_states_are_refused_and_leave_the_stream_where_it_is(
    error: type[Exception], message: str, change: dict[str, object]
) -> None:
    endless = make()
    take(endless, 1)
    state = {**endless.state_at(8), **change}
    with pytest.raises(error, match=message):
        endless.load_state_dict({key: value for key, value in state.items() if value is not ...})
    assert endless.state_dict()["samples"] == 4


def test_a_state_that_is_no_dict_is_refused() -> None:
    with pytest.raises(TypeError, match="state must be a dict, got list"):
        make().load_state_dict([])  # type: ignore[arg-type]


def test_the_state_of_another_recipe_is_refused() -> None:
    other = OnePFrac(num_classes=10, points=2000, canvas=32, pad=2, brush="fill", seed=1)
    state = other.stream(batch_size=4, size=16, augment="crop-flip", dtype=torch.uint8).state_dict()
    with pytest.raises(ValueError, match="it is the state of another recipe"):
        make().load_state_dict(state)


# Loaders


def loaded(workers: int, count: int, context: str = "fork", **settings: Any) -> list[Batch]:
    loader = DataLoader(
        make(**settings), batch_size=None, num_workers=workers, multiprocessing_context=context if workers else None
    )
    return take(loader, count)


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.forks
def test_a_loader_with_forked_workers_gives_the_same_batches(workers: int) -> None:
    assert same(loaded(workers, 7), REFERENCE[:7])


def test_a_loader_with_spawned_workers_gives_the_same_batches() -> None:
    assert same(loaded(2, 5, "spawn"), REFERENCE[:5])


@pytest.mark.parametrize("draws", ["fixed", "fresh"])
@pytest.mark.forks
def test_a_loader_of_a_deit_stream_gives_the_same_batches_with_workers_and_without(draws: str) -> None:
    settings: dict[str, Any] = {"augment": "deit", "draws": draws, "dtype": torch.float32}
    expected = take(make(**settings), 6)
    assert same(loaded(0, 6, **settings), expected)
    assert same(loaded(2, 6, **settings), expected)


@pytest.mark.forks
def test_ranks_and_workers_together_give_the_same_batches() -> None:
    shares = [loaded(2, 4, batch_size=2, rank=rank, world_size=2) for rank in range(2)]
    batches = [tuple(map(torch.cat, zip(*pair, strict=True))) for pair in zip(*shares, strict=True)]
    assert same(batches, REFERENCE[:4])  # type: ignore[arg-type]


@pytest.mark.forks
def test_a_loader_starts_where_the_stream_stands() -> None:
    endless = make()
    take(endless, 3)
    loader = DataLoader(endless, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert same(take(loader, 5), REFERENCE[3:8])
    assert endless.state_dict()["samples"] == 12


@pytest.mark.forks
def test_persistent_workers_start_again_at_the_streams_position() -> None:
    loader = DataLoader(make(), batch_size=None, num_workers=2, persistent_workers=True, multiprocessing_context="fork")
    for _ in range(2):
        assert same(take(loader, 5), REFERENCE[:5])


def test_the_renderer_uses_torchs_own_number_of_threads_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int | None] = []
    draw = OnePFrac.draw

    def spy(self: OnePFrac, plan: Any, device: torch.device, threads: int | None, bits: bool = False) -> torch.Tensor:
        asked.append(threads)
        return draw(self, plan, device, threads, bits)

    monkeypatch.setattr(OnePFrac, "draw", spy)
    next(iter(make()))  # None: torch.get_num_threads() of the process that renders, which a loader's worker sets to 1
    next(iter(make(threads=2)))
    assert asked == [None, 2]


stateful = pytest.importorskip("torchdata.stateful_dataloader")


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("taken", [0, 1, 3, 4])
@pytest.mark.forks
def test_torchdatas_loader_resumes_exactly_in_the_middle(workers: int, taken: int) -> None:
    settings: dict[str, Any] = {"batch_size": None, "num_workers": workers}
    if workers:
        settings["multiprocessing_context"] = "fork"
    first = stateful.StatefulDataLoader(make(), **settings)
    running = iter(first)
    assert same(take(running, taken), REFERENCE[:taken]) if taken else True
    state = json.loads(json.dumps(first.state_dict()))
    second = stateful.StatefulDataLoader(make(), **settings)
    second.load_state_dict(state)
    running = iter(second)
    assert same(take(running, 3), REFERENCE[taken : taken + 3])
    third = stateful.StatefulDataLoader(make(), **settings)  # a state taken after resuming
    third.load_state_dict(second.state_dict())
    assert same(take(third, 3), REFERENCE[taken + 3 : taken + 6])


@pytest.mark.forks
def test_torchdatas_loader_resumes_with_spawned_persistent_workers_and_sparse_snapshots() -> None:
    settings: dict[str, Any] = {
        "batch_size": None,
        "num_workers": 2,
        "persistent_workers": True,
        "snapshot_every_n_steps": 3,
    }
    first = stateful.StatefulDataLoader(make(), multiprocessing_context="fork", **settings)
    running = iter(first)
    take(running, 5)
    second = stateful.StatefulDataLoader(make(), multiprocessing_context="spawn", **settings)
    second.load_state_dict(first.state_dict())
    assert same(take(second, 3), REFERENCE[5:8])
    assert same(take(second, 3), REFERENCE[:3])  # a new epoch of the loader starts at the stream's own position


@pytest.mark.forks
def test_torchdatas_state_is_refused_by_a_loader_with_other_workers_or_another_recipe() -> None:
    first = stateful.StatefulDataLoader(make(), batch_size=None, num_workers=2, multiprocessing_context="fork")
    take(first, 3)
    state = first.state_dict()
    more = stateful.StatefulDataLoader(make(), batch_size=None, num_workers=3, multiprocessing_context="fork")
    more.load_state_dict(state)
    with pytest.raises(
        ValueError, match=r"\[[012], 2\] .* is the state of one loader worker, this is worker \[[012], 3\]"
    ):
        next(iter(more))
    other = stateful.StatefulDataLoader(make(size=24), batch_size=None, num_workers=2, multiprocessing_context="fork")
    other.load_state_dict(state)
    with pytest.raises(ValueError, match=r"state\['stream'\]\['size'\] must be 24"):
        next(iter(other))


# Prefetching


class Recorder:
    """A side that writes down what happens on it."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    @contextmanager
    def making(self) -> Iterator[None]:
        self.events.append("[")
        yield
        self.events.append("]")

    def mark(self) -> object:
        self.events.append("mark")
        return len(self.events)

    def hand_over(self, batch: Any, mark: object) -> None:
        self.events.append(("out", batch))


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("step", [1, 4])
def test_the_next_batches_are_on_their_way_before_one_is_handed_out(depth: int, step: int) -> None:
    made: list[int] = []

    def build(number: int) -> Any:
        made.append(number)
        return number

    side = Recorder()
    ahead = stream._Ahead(build, step, depth, side)
    for turn in range(5):
        number = 2 + turn * step
        assert ahead.take(number) == number  # type: ignore[comparison-overlap]
        assert made == [2 + i * step for i in range(turn + 1 + depth)]
        assert side.events[-1] == ("out", number)
    assert side.events.count("mark") == len(made)
    assert "".join(e for e in side.events if e in ("[", "]")) == "[]" * len(made)


def test_batches_made_ahead_are_dropped_when_the_position_moves() -> None:
    made: list[int] = []
    ahead = stream._Ahead(lambda number: made.append(number) or number, 1, 2, Recorder())  # type: ignore[arg-type,return-value,func-returns-value]
    assert ahead.take(0) == 0  # type: ignore[comparison-overlap]
    assert ahead.take(7) == 7  # type: ignore[comparison-overlap]
    assert ahead.take(8) == 8  # type: ignore[comparison-overlap]
    assert made == [0, 1, 2, 7, 8, 9, 10]


def test_a_failure_while_working_ahead_loses_no_batch() -> None:
    failing = {2}

    def build(number: int) -> Any:
        if number in failing:
            raise MemoryError
        return number

    ahead = stream._Ahead(build, 1, 2, Recorder())
    with pytest.raises(MemoryError):
        ahead.take(0)
    failing.clear()
    assert [ahead.take(number) for number in range(3)] == [0, 1, 2]


@pytest.mark.parametrize("depth", [1, 3])
def test_the_state_counts_what_was_handed_out_and_not_what_was_made_ahead(depth: int) -> None:
    endless = make()
    ahead = stream._Ahead(endless._make, 1, depth, Recorder())
    batches = take(stream._Batches(endless, ahead, 0, 1), 3)
    assert same(batches, REFERENCE[:3])
    assert endless.state_dict()["samples"] == 12
    endless.load_state_dict(endless.state_at(32))
    assert same(take(stream._Batches(endless, ahead, 0, 1), 2), REFERENCE[8:10])


class FakeCuda:
    """CUDA's streams and events as a log, to check the order of calls without a GPU."""

    def __init__(self) -> None:
        self.log: list[tuple[Any, ...]] = []
        self.now = "consumer"
        self.count = 0

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        fake = self

        class Event:
            def __init__(self) -> None:
                fake.count += 1
                self.number = fake.count

            def record(self, on: Any) -> None:
                self.on = on
                fake.log.append(("record", self.number, on.name))

            def synchronize(self) -> None:
                fake.log.append(("synchronize", self.number, self.on.name))

        class CudaStream:
            def __init__(self, device: object, name: str = "side") -> None:
                self.name = name

            def wait_event(self, event: Event) -> None:
                fake.log.append(("wait", self.name, event.number))

        @contextmanager
        def on(side: CudaStream) -> Iterator[None]:
            fake.now = side.name
            yield
            fake.now = "consumer"

        monkeypatch.setattr(torch.cuda, "Event", Event)
        monkeypatch.setattr(torch.cuda, "Stream", CudaStream)
        monkeypatch.setattr(torch.cuda, "stream", on)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda device: CudaStream(device, "consumer"))


class FakeTensor:
    def __init__(self, fake: FakeCuda, number: int) -> None:
        self.fake = fake
        self.number = number

    def record_stream(self, on: Any) -> None:
        self.fake.log.append(("keep", self.number, on.name))


def test_the_consumers_stream_waits_for_the_batch_and_keeps_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCuda()
    fake.install(monkeypatch)

    def build(number: int) -> Any:
        fake.log.append(("build", number, fake.now))
        return (FakeTensor(fake, number),)

    side = stream._side(torch.device("cuda", 0), 2)
    ahead = stream._Ahead(build, 1, 2, side)
    ahead.take(0)
    # Event 1 stands after batch 0 on the side; 2 and 3 after the two made ahead; 4 marks the consumer's step.
    assert fake.log == [
        ("build", 0, "side"),
        ("record", 1, "side"),
        ("build", 1, "side"),
        ("record", 2, "side"),
        ("build", 2, "side"),
        ("record", 3, "side"),
        ("record", 4, "consumer"),
        ("wait", "consumer", 1),
        ("keep", 0, "consumer"),
    ]
    for number in range(1, 6):
        fake.log.clear()
        ahead.take(number)
        assert ("build", number + 2, "side") in fake.log
        assert ("keep", number, "consumer") in fake.log
        waits = [entry for entry in fake.log if entry[0] == "wait"]
        records = [entry for entry in fake.log if entry[0] == "record" and entry[2] == "side"]
        assert len(waits) == len(records) == 1
        held = [entry for entry in fake.log if entry[0] == "synchronize"]
        assert len(held) == (number >= 3)  # the host is held back by the consumer, three steps behind
        assert all(entry[2] == "consumer" for entry in held)


# Pictures


def test_without_augmentation_the_picture_is_the_rendered_canvas() -> None:
    images, labels = next(iter(make(augment=None, size=32)))
    plan = RECIPE.plan(np.arange(4))
    canvases = onepfrac.render(plan.maps, plan.probs, points=2000, size=32, pad=2, brush="fill", seed=plan.seeds)
    assert images.shape == (4, 3, 32, 32)
    assert torch.equal(images, canvases.expand(4, 3, 32, 32))
    assert labels.dtype == torch.int64
    assert labels.tolist() == plan.labels.tolist()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16, torch.bfloat16])
def test_images_are_normalised_in_the_asked_dtype(dtype: torch.dtype | None, channels: int) -> None:
    raw = next(iter(make(channels=channels)))[0]
    images = next(iter(make(dtype=dtype, channels=channels)))[0]
    assert images.dtype == (dtype or torch.float32)
    assert images.shape == (4, channels, 16, 16)
    assert images.is_contiguous()
    assert torch.equal(images, ((raw.double() / 255 - 0.5) / 0.5).to(images.dtype))


def test_each_channel_may_have_its_own_mean_and_standard_deviation() -> None:
    raw = next(iter(make()))[0].double() / 255
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    images = next(iter(make(dtype=torch.float32, mean=mean, std=list(std))))[0]
    for channel in range(3):
        assert torch.equal(images[:, channel], ((raw[:, channel] - mean[channel]) / std[channel]).float())


def test_a_policy_may_be_given() -> None:
    policy = Policy(scale=(1.0, 1.0), ratio=(1.0, 1.0), hflip=0, vflip=1)
    images = next(iter(make(augment=policy, size=32)))[0]
    assert torch.equal(images.flip(2), next(iter(make(augment=None, size=32)))[0])


# Places and bad input


def test_the_place_is_that_of_the_launchers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    endless = make(2)
    assert (endless.rank, endless.world_size, endless.batch_size, endless.global_batch_size) == (1, 4, 2, 8)
    assert torch.equal(next(iter(endless))[1], torch.from_numpy(RECIPE.plan([2, 3]).labels))
    given_place = make(2, rank=0, world_size=1)
    assert (given_place.rank, given_place.world_size) == (0, 1)


@pytest.mark.parametrize(
    ("message", "environment"),
    [
        ("the environment must set RANK and WORLD_SIZE together", {"RANK": "0"}),
        ("the environment must set RANK and WORLD_SIZE together", {"WORLD_SIZE": "2"}),
        ("the environment's RANK and WORLD_SIZE must be integers", {"RANK": "x", "WORLD_SIZE": "2"}),
        ("rank must be an integer in 0..1, got 2", {"RANK": "2", "WORLD_SIZE": "2"}),
    ],
)
def test_a_bad_environment_is_named(monkeypatch: pytest.MonkeyPatch, message: str, environment: dict[str, str]) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "batch_size must be an integer in 1..1000000, got 0", {"batch_size": 0}),
        (ValueError, "batch_size .* got -4", {"batch_size": -4}),
        (TypeError, "batch_size .* got 4.0 of type float", {"batch_size": 4.0}),
        (ValueError, "size must be an integer in 8..4096, got 7", {"size": 7}),
        (ValueError, "size must be an integer in 8..4096, got 4097", {"size": 4097}),
        (TypeError, "size must be an integer .* got None", {"size": None}),
        (ValueError, "augment must be None, .* got 'none'", {"augment": "none"}),
        (TypeError, "channels_last must be a bool, got 1 of type int", {"channels_last": 1}),
        (ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'", {"device": "tpu"}),
        (ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'meta'", {"device": "meta"}),
        (TypeError, "device must be 'cpu', 'cuda', 'cuda:N' or a torch.device, got None", {"device": None}),
        (ValueError, "draws must be one of 'fixed', 'fresh', got 'new'", {"draws": "new"}),
        (TypeError, "draws must be one of 'fixed', 'fresh', got True", {"draws": True}),
        (ValueError, "threads must be an integer in 1..1024, got 0", {"threads": 0}),
        (TypeError, "threads .* got 'all' of type str", {"threads": "all"}),
        (ValueError, "dtype must be one of torch.float32, .* got torch.int64", {"dtype": torch.int64}),
        (TypeError, "dtype must be a torch.dtype, got 'float32' of type str", {"dtype": "float32"}),
        (ValueError, "channels must be 1 or 3, got 2", {"channels": 2}),
        (ValueError, "channels must be 1 or 3, got 4", {"channels": 4}),
        (TypeError, "channels must be 1 or 3, got True of type bool", {"channels": True}),
        (ValueError, r"std must be a number in \(0, inf\), got 0", {"std": 0}),
        (ValueError, r"std\[1\] must be a number in \(0, inf\), got -1", {"std": (1, -1, 1)}),
        (ValueError, "mean must be a number or 3 numbers, one for each channel, got", {"mean": (0.5, 0.5)}),
        (ValueError, "mean must be a number .* got nan", {"mean": float("nan")}),
        (TypeError, "mean must be a number .* got '0.5' of type str", {"mean": "0.5"}),
        (
            ValueError,
            "mean and std must keep the values finite in float16",
            {"dtype": torch.float16, "std": 1e-9},
        ),
        (ValueError, "rank and world_size must be given together, got rank=0, world_size=None", {"rank": 0}),
        (ValueError, "rank must be an integer in 0..1, got 2", {"rank": 2, "world_size": 2}),
        (ValueError, "world_size must be an integer in 1..1000000, got 0", {"rank": 0, "world_size": 0}),
        (ValueError, "prefetch must be an integer in 0..64, got -1", {"prefetch": -1}),
    ],
)
def test_bad_settings_are_named(error: type[Exception], message: str, settings: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        make(**settings)


def test_a_stream_of_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match=r"recipe must be a recipe such as onepfrac.OnePFrac, got IFS"):
        Stream(onepfrac.sample_ifs())  # type: ignore[arg-type]


def test_cuda_asked_for_and_absent_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device must be 'cpu': .* got 'cuda'"):
        make(device="cuda")


def test_a_recipe_without_accepted_systems_is_refused_before_the_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onepfrac.liep, "MAX_ATTEMPTS", 3)
    hopeless = OnePFrac(points=100, canvas=32, pad=2, min_inked=0.9)
    with pytest.raises(ValueError, match=r"no system with sigma=3.5"):
        hopeless.stream()


def test_a_cuda_stream_in_a_forked_process_is_refused_by_name() -> None:
    endless = make()
    endless._device = torch.device("cuda", 0)
    endless._pid = os.getpid() + 1  # as a forked child sees it
    with pytest.raises(RuntimeError, match=r"device 'cuda:0' cannot be used in a forked process.*spawn"):
        iter(endless)
    again = pickle.loads(pickle.dumps(endless))
    assert again._pid == os.getpid()  # as a spawned child sees it


def test_states_are_asked_for_at_whole_batches() -> None:
    with pytest.raises(ValueError, match="samples must be a multiple of the global batch size 4"):
        make().state_at(3)
    with pytest.raises(TypeError, match="samples must be an integer"):
        make().state_at("4")  # type: ignore[arg-type]


def test_the_stream_says_what_it_is() -> None:
    assert make().recipe is RECIPE
    assert make().device == torch.device("cpu")
    text = repr(make())
    assert "OnePFrac(sigma=3.5" in text
    assert "batch_size=4" in text
    assert "Policy" in text


# On a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("prefetch", [0, 2])
def test_a_stream_on_the_gpu_gives_the_cpus_canvases_bit_for_bit(prefetch: int) -> None:
    settings: dict[str, Any] = {"augment": None, "size": 32, "dtype": torch.float32}
    expected = take(make(**settings), 8)
    batches = take(make(**settings, device="cuda", prefetch=prefetch), 8)
    assert all(tensor.is_cuda for batch in batches for tensor in batch)
    assert same([(images.cpu(), labels.cpu()) for images, labels in batches], expected)


@pytest.mark.gpu
def test_batches_on_the_gpu_survive_a_consumer_that_is_behind() -> None:
    expected = [images.double().sum().item() for images, _ in take(make(64, augment=None, size=32), 30)]
    weights = torch.rand((2048, 2048), device="cuda")
    sums = []
    for images, _ in itertools.islice(make(64, augment=None, size=32, device="cuda"), 30):
        for _ in range(20):  # keeps the consumer's stream busy, so that the host and the side stream run ahead
            weights = (weights @ weights).clamp_(0, 1)
        sums.append(images.double().sum())
        del images
    assert [value.item() for value in sums] == expected


@pytest.mark.gpu
def test_a_stream_on_the_gpu_resumes_and_follows_a_loaded_state() -> None:
    endless = make(device="cuda")
    running = iter(endless)
    reference = take(running, 6)
    assert endless.state_dict()["samples"] == 24
    endless.load_state_dict(endless.state_at(8))
    assert same(take(running, 4), reference[2:])
    assert make().state_at(24) == endless.state_dict()


# Canvases of several planes, in grays


@pytest.mark.parametrize("kind", [toy.Gray, toy.Colour, toy.ColourBitmap, toy.Several])
@pytest.mark.parametrize("augment", [None, "crop-flip", "deit"])
def test_canvases_kept_in_grays_or_as_bits_give_the_pictures_of_those_that_are_not(kind: Any, augment: Any) -> None:
    settings: dict[str, Any] = {"batch_size": 7, "size": 16, "augment": augment, "threads": 1}
    kept, drawn = (kind().stream(**settings, cache=cache) for cache in (2**25, 0))
    assert same(take(kept, 5), take(drawn, 5))
    assert kept._store is not None
    assert drawn._store is None
    planes, bitmap = kind.planes, kind.bitmap
    assert store_shape(15, planes, 24, bitmap) == (
        ((15, planes, 24, 1), torch.int32) if bitmap else ((15, planes, 24, 24), torch.uint8)
    )


def test_a_colour_stream_shows_the_canvases_of_its_plan_channel_by_channel() -> None:
    made = toy.Colour()
    plan = made.plan(np.arange(6))
    canvases = made.draw(plan, torch.device("cpu"))
    for cache in (0, 2**25):
        stream = made.stream(batch_size=6, size=24, dtype=torch.uint8, cache=cache)
        ((images, labels),) = take(stream, 1)
        assert torch.equal(images, canvases)
        assert labels.tolist() == plan.labels.tolist()
        for last in (False, True):
            means, stds = [0.2, 0.5, 0.7], [0.1, 1.0, 2.0]
            stream = made.stream(batch_size=6, size=24, mean=means, std=stds, cache=cache, channels_last=last)
            ((images, _),) = take(stream, 1)
            exact = (canvases.double() / 255 - torch.tensor(means).double()[:, None, None]) / torch.tensor(stds)[
                :, None, None
            ].double()
            assert (images.double() - exact).abs().max() < 1e-6
            assert images.is_contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    with pytest.raises(ValueError, match="channels must be 3 for a recipe of images in colour, got 1"):
        made.stream(channels=1)


def test_targets_of_images_that_show_several_classes_are_zeros_and_ones() -> None:
    made = toy.Several()
    ((_, targets),) = take(made.stream(batch_size=15, size=16), 1)
    plan = made.plan(np.arange(15))
    assert targets.dtype is torch.float32
    assert targets.shape == (15, 5)
    for row, number, label in zip(targets, plan.images.tolist(), plan.labels.tolist(), strict=True):
        expected = {label, (label + 1) % 5} if number % 2 else {label}
        assert set(torch.nonzero(row).flatten().tolist()) == expected
        assert set(row.tolist()) == {0.0, 1.0}
