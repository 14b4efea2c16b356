"""The stream: an endless iterable of whole batches whose order, and whose every image, is decided by the recipe alone.

Every L samples are a permutation of the classes (`onepfrac.plan`). Global batch g holds the samples ``g B .. (g + 1) B
- 1`` with B = batch_size x ranks. A rank takes its contiguous share of it, a loader worker takes every W-th batch in
turn. So the whole state of a stream is one integer, and the sequence of global batches is the same on any number of
ranks and workers.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch.utils.data import IterableDataset, get_worker_info

from onepfrac.augment import Policy, describe_policy, resolve_policy
from onepfrac.buffers import Buffers
from onepfrac.camera import Film, per_channel, take_planes
from onepfrac.canvases import CanvasStore, store_shape
from onepfrac.checks import check_choice, check_int
from onepfrac.draws import FORMAT_VERSION
from onepfrac.mutex import Mutex
from onepfrac.plan import DRAWS, MAX_SAMPLE, Plan
from onepfrac.rendering import check_device, check_threads, to_device
from onepfrac.shots import Shots, whole_views

__all__ = ["Source", "Stream"]

Batch = tuple[torch.Tensor, torch.Tensor]

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "uint8": torch.uint8,
}
_MAX_BATCH = 1_000_000
_MAX_PREFETCH = 64


@runtime_checkable
class Source(Protocol):
    """What a stream needs of a recipe."""

    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def num_images(self) -> int: ...  # noqa: D102
    @property
    def canvas(self) -> int: ...  # noqa: D102
    @property
    def planes(self) -> int: ...  # noqa: D102
    @property
    def bitmap(self) -> bool: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    def prepare(self) -> None: ...  # noqa: D102
    def plan(self, samples: ArrayLike, draws: str = "fixed") -> Plan: ...  # noqa: D102
    def targets(self, plan: Plan) -> torch.Tensor: ...  # noqa: D102
    def draw(self, plan: Any, device: torch.device, threads: int | None, bits: bool = False) -> torch.Tensor: ...  # noqa: D102
    def take(self, plan: Any, shots: Shots, film: Film, out: torch.Tensor, threads: int | None) -> None: ...  # noqa: D102


class Stream(IterableDataset[Batch]):
    """Endless batches ``(images, labels)`` of a recipe, drawn as they are asked for.

    The position belongs to the stream: leaving a loop and starting another goes on where the first one stopped.
    `state_dict` counts the batches that were handed out, and no others. Threads that share a stream get each batch
    once, one after the other; for batches made at the same time give each a stream.

    In a ``DataLoader`` give ``batch_size=None`` (the stream makes whole batches) and keep one iterator: the loader's
    workers start at the position that the stream has in the main process, every time that ``iter(loader)`` starts
    them, and do not move it. A position reached through a plain loader is resumed by
    ``stream.load_state_dict(stream.state_at(samples))``; torchdata's ``StatefulDataLoader`` keeps the state by
    itself.

    Parameters
    ----------
    recipe
        The dataset, for example an `onepfrac.OnePFrac`. Its systems are drawn now, if they have not been.
    batch_size
        Samples of one batch of this rank, 1 .. 1 000 000.
    size
        Width and height of the images, 8..4096.
    augment
        None: the whole canvas, resized with antialiasing; at ``size == recipe.canvas`` the canvas itself, exactly.
        ``"crop-flip"``: RandomResizedCrop and both flips. ``"deit"``: the recipe of DeiT and of the paper, which adds
        RandAugment and random erasing. Or an `onepfrac.augment.Policy` with other settings. Each image has draws of its
        own, with the distributions of timm; crop, flips and geometry are one antialiased sampling of the canvas.
    device
        Where the batches are made and handed out: ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or a torch.device. On CUDA the
        next batches are rendered ahead on a side stream.
    draws
        ``"fixed"``: each image is the same for ever. ``"fresh"``: every sample is drawn anew, for instance by a new
        chaos game with a new texture.
    threads
        Threads that render on the CPU; None asks ``torch.get_num_threads()`` (1 in a loader's workers), or fewer where
        the process may use fewer CPUs.
    dtype
        torch.float32 (None), float16, bfloat16, or uint8 for raw grays.
    channels
        1 or 3; a gray is written to all of them. Images in colour have 3.
    channels_last
        Whether batches lie in torch's ``channels_last`` order.
    mean, std
        Images hold ``(v / 255 - mean) / std``; a number, or one for each channel. Where dtype is uint8 they only say
        which grays the noise of random erasing has.
    rank, world_size
        This process's place. Default: torch.distributed if it is initialised, else the environment's RANK and
        WORLD_SIZE, else 0 of 1.
    prefetch
        Batches rendered ahead on CUDA, 0..64. On the CPU nothing is rendered ahead: use a loader with workers.
    cache
        Bytes that canvases may take, for ``draws="fixed"``: if those of all images fit, each is drawn once and kept
        where the batches are made; black and white ones as bits (1000 canvases of 512 pixels take 31.3 MiB, in every
        loader worker that draws them), others in bytes. They are the same canvases; 0 keeps none. Default: 32 MiB.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, or no system of the recipe is accepted.
    RuntimeError
        When the batches of a CUDA device are asked for in a forked process.
    """

    def __init__(
        self,
        recipe: Source,
        *,
        batch_size: int = 256,
        size: int = 224,
        augment: str | Policy | None = None,
        device: str | torch.device = "cpu",
        draws: str = "fixed",
        threads: int | None = None,
        dtype: torch.dtype | None = None,
        channels: int = 3,
        channels_last: bool = False,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        rank: int | None = None,
        world_size: int | None = None,
        prefetch: int = 2,
        cache: int = 32 * 2**20,
    ) -> None:
        if not isinstance(recipe, Source):
            raise TypeError(f"recipe must be a recipe such as onepfrac.OnePFrac, got {type(recipe).__name__}")
        self._recipe = recipe
        self._batch_size = check_int("batch_size", batch_size, 1, _MAX_BATCH)
        self._size = check_int("size", size, 8, 4096)
        self._policy = resolve_policy(augment)
        self._draws = check_choice("draws", draws, DRAWS)
        self._threads = None if threads is None else check_threads(threads)
        self._dtype_name = _dtype_name(dtype)
        self._channels = _channels(channels, recipe.planes)
        self._mean = per_channel("mean", mean, self._channels, -math.inf)
        self._std = per_channel("std", std, self._channels, 0.0)
        self._rank, self._world_size = _place(rank, world_size)
        self._prefetch = check_int("prefetch", prefetch, 0, _MAX_PREFETCH)
        cache = check_int("cache", cache, 0, 2**63 - 1)
        shape, kind = store_shape(recipe.num_images, recipe.planes, recipe.canvas, recipe.bitmap)
        self._keeps = self._draws == "fixed" and math.prod(shape) * kind.itemsize <= cache
        self._store: CanvasStore | None = None
        self._buffers = Buffers()
        self._mutex = Mutex()  # held while a batch is made or the position moved
        if not isinstance(channels_last, bool):
            raise TypeError(
                f"channels_last must be a bool, got {channels_last!r} of type {type(channels_last).__name__}"
            )
        self._film = Film.make(
            self._size,
            self._channels,
            _DTYPES[self._dtype_name],
            self._mean,
            self._std,
            interpolation="bicubic" if self._policy is None else self._policy.interpolation,
            channels_last=channels_last,
        )
        if not torch.isfinite(self._film.table).all():
            raise ValueError(
                f"mean and std must keep the values finite in {self._dtype_name}, got {mean!r} and {std!r}"
            )
        self._device = check_device("device", device)
        self._pid = os.getpid()
        self._samples = 0
        # Inside a loader's worker: where the main process's stream stood, and where a loaded state says to go on.
        self._start: int | None = None
        self._resume: int | None = None
        recipe.prepare()

    @property
    def recipe(self) -> Source:
        """The recipe."""
        return self._recipe

    @property
    def batch_size(self) -> int:
        """Samples of one batch of this rank."""
        return self._batch_size

    @property
    def global_batch_size(self) -> int:
        """B, the samples of one batch over all ranks."""
        return self._batch_size * self._world_size

    @property
    def rank(self) -> int:
        """This process's place among the ranks."""
        return self._rank

    @property
    def world_size(self) -> int:
        """The number of ranks."""
        return self._world_size

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self._device

    def __iter__(self) -> Iterator[Batch]:
        worker, workers = _worker()
        if get_worker_info() is not None:
            if self._start is None:
                self._start = self._samples
            self._samples = self._start if self._resume is None else self._resume
            self._resume = None
        if self._device.type == "cuda" and self._pid != os.getpid():
            raise RuntimeError(
                f"device {str(self._device)!r} cannot be used in a forked process: use the stream without loader"
                " workers (on CUDA it renders ahead by itself), or give the loader multiprocessing_context='spawn'"
            )
        depth = self._prefetch if self._device.type == "cuda" else 0
        ahead = _Ahead(self._make, workers, depth, _side(self._device, depth))
        return _Batches(self, ahead, worker, workers)

    def state_dict(self) -> dict[str, object]:
        """Return the state after the last batch handed out: a JSON-able dict whose only moving part is ``samples``.

        Inside a loader's worker the state also names the worker, since its position counts whole rounds of all workers.
        """
        state = self.state_at(self._samples if self._resume is None else self._resume)
        if get_worker_info() is not None:
            worker, workers = _worker()
            state["worker"] = [worker, workers]
        return state

    def state_at(self, samples: int) -> dict[str, object]:
        """Return the state of this stream at an absolute position.

        Parameters
        ----------
        samples
            How many samples all ranks together have handed out, a multiple of `global_batch_size`.
        """
        samples = check_int("samples", samples, 0, MAX_SAMPLE - 1)
        if samples % self.global_batch_size:
            raise ValueError(
                f"samples must be a multiple of the global batch size {self.global_batch_size}"
                f" ({self._batch_size} x {self._world_size} ranks), got {samples}"
            )
        return {
            "format": FORMAT_VERSION,
            "recipe": self._recipe.fingerprint,
            "stream": self._settings(),
            "samples": samples,
        }

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on where ``state`` was taken. Iterators of this stream follow.

        The number of ranks (at the same global batch size), of loader workers, the device and the threads may differ.

        Raises
        ------
        TypeError, ValueError
            If it is no state, or one of another format version, recipe or stream; the stream stays where it is.
        RuntimeError
            If a signal's handler asks for it while its thread makes a batch.
        """
        if not isinstance(state, dict):
            raise TypeError(f"state must be a dict, got {type(state).__name__}")
        legal = {"format", "recipe", "stream", "samples"}
        if not legal <= state.keys() or not state.keys() <= legal | {"worker"}:
            raise ValueError(f"state must have the keys {sorted(legal)}, got {sorted(map(str, state))!r:.200}")
        for key, here in (("format", FORMAT_VERSION), ("recipe", self._recipe.fingerprint)):
            if type(state[key]) is not type(here):
                raise TypeError(f"state[{key!r}] must be a {type(here).__name__}, got {state[key]!r:.80}")
            if state[key] != here:
                raise ValueError(
                    f"state[{key!r}] must be {here!r}, got {state[key]!r:.80}: it is the state of another {key}"
                )
        self._check_settings(state["stream"])
        position = check_int("state['samples']", state["samples"], 0, MAX_SAMPLE - 1)
        self.state_at(position)  # refuses a part of a batch
        if "worker" in state and (get_worker_info() is None or state["worker"] != list(_worker())):
            here = f"worker {list(_worker())}" if get_worker_info() is not None else "no worker"
            raise ValueError(
                f"state['worker'] {state['worker']!r:.80} ([worker, workers]) is the state of one loader worker,"
                f" this is {here}: resume a loader's state with as many workers, or make a state with"
                " stream.state_at(samples)"
            )
        with self._mutex.lock:
            self._check_between_batches()
            if get_worker_info() is None:
                self._samples = position
            else:
                self._resume = position

    def _check_between_batches(self) -> None:
        if self._mutex.busy:  # of this thread: others wait for the lock
            raise RuntimeError("the stream is in the midst of a batch: ask it for nothing from a signal's handler")

    def _settings(self) -> dict[str, object]:
        """Return what, besides the recipe, decides the sequence of global batches."""
        return {
            "augment": describe_policy(self._policy),
            "channels": self._channels,
            "draws": self._draws,
            "dtype": self._dtype_name,
            "global_batch_size": self.global_batch_size,
            "mean": list(self._mean),
            "size": self._size,
            "std": list(self._std),
        }

    def _check_settings(self, settings: object) -> None:
        if not isinstance(settings, dict):
            raise TypeError(f"state['stream'] must be a dict, got {type(settings).__name__}")
        here = self._settings()
        if settings.keys() != here.keys():
            got = sorted(map(str, settings))
            raise ValueError(f"state['stream'] must have the keys {sorted(here)}, got {got!r:.200}")
        for key, value in here.items():
            if settings[key] != value or type(settings[key]) is not type(value):
                raise ValueError(
                    f"state['stream'][{key!r}] must be {value!r} as in this stream, got {settings[key]!r:.80}; to go on"
                    " at the same place with other settings, load stream.state_at(samples)"
                )

    def _make(self, batch: int) -> Batch:
        """Make this rank's share of a global batch, on the current stream of the device."""
        first = batch * self.global_batch_size + self._rank * self._batch_size
        return self.take(self._recipe.plan(np.arange(first, first + self._batch_size, dtype=np.int64), self._draws))

    def take(self, plan: Plan) -> Batch:
        """Return the images and targets of a plan of this recipe, made as the stream makes its own (on CUDA, on the
        current stream of the device); the stream's position stays where it is.
        """
        film = self._film = self._film.to(self._device)
        images = film.empty(len(plan), self._buffers)
        shots = self._shots(plan)
        if self._keeps:
            take_planes(self._kept(plan), shots, film, images, which=plan.images, threads=self._threads)
        else:
            self._recipe.take(plan, shots, film, images, self._threads)
        return images, to_device(self._recipe.targets(plan), self._device)

    def _shots(self, plan: Plan) -> Shots:
        """Draw how the pictures of a plan are taken."""
        canvas = self._recipe.canvas
        if self._policy is None:
            return Shots.of_views(whole_views(len(plan), canvas, canvas, self._size))
        fill = min(255, round(255 * sum(self._mean) / len(self._mean)))  # timm's, of one gray
        return self._policy.shots(self._recipe.seed, plan.samples, canvas, self._size, max(0, fill))

    def _kept(self, plan: Plan) -> torch.Tensor:
        """Return the canvases of all images, with those of a plan drawn."""
        recipe, device, threads = self._recipe, self._device, self._threads
        if self._store is None:
            shape, kind = store_shape(recipe.num_images, recipe.planes, recipe.canvas, recipe.bitmap)
            self._store = CanvasStore(
                shape, kind, device, lambda part: recipe.draw(part, device, threads, bits=recipe.bitmap)
            )
        return self._store.with_canvases_of(plan)

    def __getstate__(self) -> dict[str, object]:
        # The canvases are drawn again, rather than sent.
        here = {"_store": None, "_buffers": None, "_mutex": None}
        return self.__dict__ | here | {"_film": self._film.to(torch.device("cpu"))}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._buffers = Buffers()
        self._mutex = Mutex()
        self._pid = os.getpid()  # pickled, so not forked: a spawned worker may use CUDA

    def __repr__(self) -> str:
        return (
            f"Stream({self._recipe!r}, batch_size={self._batch_size}, size={self._size},"
            f" augment={describe_policy(self._policy)}, device={str(self._device)!r}, draws={self._draws!r},"
            f" rank={self._rank}, world_size={self._world_size})"
        )


class _Batches(Iterator[Batch]):
    """The batches of a stream from its position on. All iterators of a stream share it, as readers share a file's; on
    several threads they take turns.
    """

    def __init__(self, stream: Stream, ahead: _Ahead, worker: int, workers: int) -> None:
        self._stream = stream
        self._ahead = ahead
        self._worker = worker
        self._workers = workers

    def __next__(self) -> Batch:
        stream = self._stream
        mutex = stream._mutex
        with mutex.lock:
            stream._check_between_batches()
            mutex.busy = True
            try:
                batch = self._ahead.take(stream._samples // stream.global_batch_size + self._worker)
                stream._samples += stream.global_batch_size * self._workers  # only now: an error leaves the position
            finally:
                mutex.busy = False
        return batch


class _Side(Protocol):
    """Where batches are made ahead: beside the consumer's stream on CUDA, nowhere else on the CPU."""

    def making(self) -> AbstractContextManager[object]:
        """Enter the side: what is launched within runs there."""

    def mark(self) -> object:
        """Return a mark of all that has been launched on the side."""

    def hand_over(self, batch: Batch, mark: object) -> None:
        """Make the consumer's stream wait for the mark, and keep the batch's memory while that stream may use it."""


class _Ahead:
    """Keeps the next ``depth`` batches of an arithmetic sequence made ahead of need.

    Parameters
    ----------
    make
        Makes the batch of a number.
    step
        Difference of the numbers of successive batches.
    depth
        How many are made ahead; 0 makes each when it is asked for.
    side
        Where they are made.
    """

    def __init__(self, make: Callable[[int], Batch], step: int, depth: int, side: _Side) -> None:
        self._make = make
        self._step = step
        self._depth = depth
        self._side = side
        self._queue: deque[tuple[int, Batch, object]] = deque()

    def take(self, number: int) -> Batch:
        """Return batch ``number`` and see to it that the next ones are on their way."""
        if not self._queue or self._queue[0][0] != number:  # the first time, or the position was moved
            self._queue.clear()
            self._launch(number)
        _, batch, mark = self._queue[0]
        # Launched before the batch leaves the queue: if launching fails, nothing is lost and the next call tries again.
        while len(self._queue) <= self._depth:
            self._launch(self._queue[-1][0] + self._step)
        self._side.hand_over(batch, mark)
        self._queue.popleft()
        return batch

    def _launch(self, number: int) -> None:
        with self._side.making():
            batch = self._make(number)
            self._queue.append((number, batch, self._side.mark()))


class _SameSide:
    """No side: batches are made where and when they are asked for."""

    def making(self) -> AbstractContextManager[object]:
        return nullcontext()

    def mark(self) -> object:
        return None

    def hand_over(self, batch: Batch, mark: object) -> None:
        pass


class _CudaSide:
    """A CUDA stream beside the consumer's.

    Batches are allocated and written on the side stream. At the hand-over the consumer's current stream waits for the
    event recorded after the batch, and ``record_stream`` tells the caching allocator that the memory may not be used
    again before the consumer's work is done. A host that runs far ahead of the device would make the allocator grow
    by a batch each step, so it is held back when the consumer's stream is more than ``depth + 1`` steps behind.
    """

    def __init__(self, device: torch.device, depth: int) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._depth = depth
        self._steps: deque[torch.cuda.Event] = deque()

    def making(self) -> AbstractContextManager[object]:
        return torch.cuda.stream(self._stream)

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event()
        event.record(self._stream)
        return event

    def hand_over(self, batch: Batch, mark: object) -> None:
        assert isinstance(mark, torch.cuda.Event)
        consumer = torch.cuda.current_stream(self._device)
        step = torch.cuda.Event()
        step.record(consumer)
        self._steps.append(step)
        if len(self._steps) > self._depth + 1:
            self._steps.popleft().synchronize()
        consumer.wait_event(mark)
        for tensor in batch:
            tensor.record_stream(consumer)


def _side(device: torch.device, depth: int) -> _Side:
    return _CudaSide(device, depth) if device.type == "cuda" else _SameSide()


def _worker() -> tuple[int, int]:
    """Return this loader worker's number and the number of workers; (0, 1) outside of a loader's workers."""
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)


def _dtype_name(dtype: object) -> str:
    if dtype is None:
        return "float32"
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be a torch.dtype, got {dtype!r} of type {type(dtype).__name__}")
    for name, known in _DTYPES.items():
        if known == dtype:
            return name
    raise ValueError(f"dtype must be one of {', '.join(f'torch.{name}' for name in _DTYPES)}, got {dtype}")


def _channels(channels: object, planes: int) -> int:
    if isinstance(channels, bool) or not isinstance(channels, int):
        raise TypeError(f"channels must be 1 or 3, got {channels!r} of type {type(channels).__name__}")
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3, got {channels}")
    if planes > channels:
        raise ValueError(f"channels must be {planes} for a recipe of images in colour, got {channels}")
    return channels


def _place(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return (rank, world_size) as given, else from torch.distributed, else from the environment, else (0, 1)."""
    if (rank is None) != (world_size is None):
        raise ValueError(f"rank and world_size must be given together, got rank={rank!r}, world_size={world_size!r}")
    if rank is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        given = {name: os.environ.get(name) for name in ("RANK", "WORLD_SIZE")}
        if not all(given.values()):
            if any(given.values()):
                raise ValueError(f"the environment must set RANK and WORLD_SIZE together, got {given}")
            return 0, 1
        try:
            rank, world_size = int(given["RANK"] or ""), int(given["WORLD_SIZE"] or "")
        except ValueError:
            raise ValueError(f"the environment's RANK and WORLD_SIZE must be integers, got {given}") from None
    world_size = check_int("world_size", world_size, 1, 1_000_000)
    return check_int("rank", rank, 0, world_size - 1), world_size
