"""Hostile input, case by case: each of these did harm once, or is named by a promise. Millions more: tests/fuzz."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fuzz.hostile import Exporter, Lying, Number, Raising
from programs import run
from promises.tally import tried

import onepfrac
from onepfrac import _C
from onepfrac.arrays import host_array, shared_tensor

MAPS = np.random.default_rng(3).uniform(-0.5, 0.5, (2, 2, 2, 3)).astype(np.float32)
CHAOS: dict[str, Any] = {"num_maps": 2, "points": 300, "pad": 1, "brush": 0, "threads": 1, "simd": "", "stream": 0}
BEFORE = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"  # of programs that use this module
SMALL: dict[str, Any] = {"points": 300, "size": 16, "pad": 1, "threads": 1}


def words(batch: int = 2) -> np.ndarray[Any, Any]:
    return _C.pack_systems(MAPS[:batch], np.full((batch, 2), 0.5), np.arange(batch, dtype=np.uint64))


def shots(batch: int = 2, size: int = 16) -> np.ndarray[Any, Any]:
    views = np.tile(np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), (batch, 1, 1))
    steps, amounts = np.full((batch, 2), 3, np.int8), np.ones((batch, 2))
    windows, erased, keys = np.zeros((batch, 0, 2, 3)), np.zeros((batch, 4), np.int32), np.zeros(batch, np.uint64)
    return _C.pack_shots(views, steps, amounts, windows, erased, keys, size)


def take(of: Any, which: Any = None, out: Any = None, canvases: Any = None) -> np.ndarray[Any, Any]:
    out = np.zeros((len(of), 1, 16, 16), np.uint8) if out is None else out
    canvases = np.zeros((len(of), 16, 16), np.uint8) if canvases is None else canvases
    table, noise = np.arange(256, dtype=np.uint8)[None], np.zeros((1, _C.NOISE_LEVELS), np.uint8)
    _C.take_pictures(of, canvases, which, 16, out, table, noise, False, False, 1, "", 0)
    return out


@contextmanager
def changing(array: np.ndarray[Any, Any], other: np.ndarray[Any, Any], pause: float) -> Iterator[None]:
    """Let an array be ``other`` and itself again by turns, on another thread, for up to ``pause`` seconds each."""
    done = threading.Event()
    own = array.copy()
    rng = np.random.default_rng(1)

    def change() -> None:
        while not done.is_set():
            array[...] = other  # with the GIL held
            time.sleep(rng.uniform(0.0, pause))
            array[...] = own
            time.sleep(rng.uniform(0.0, pause))

    thread = threading.Thread(target=change)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        array[...] = own


@pytest.mark.parametrize("given", ["counters of Philox", "steps of shots"])
def test_a_shape_that_a_handler_changes_in_the_midst_of_a_call_harms_nothing(given: str) -> None:
    run(
        f"""
        import signal, warnings
        import numpy as np
        from onepfrac import _C

        warnings.simplefilter("ignore", DeprecationWarning)  # of NumPy, which is to forbid it
        if {given!r} == "steps of shots":
            array, changed = np.full((300_000, 2), 3, np.int8), (1, 600_000)
            views = np.tile([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], (300_000, 1, 1))
            amounts, windows = np.ones((300_000, 2)), np.zeros((300_000, 0, 2, 3))
            erased, keys = np.zeros((300_000, 4), np.int32), np.zeros(300_000, np.uint64)
            call = lambda: _C.pack_shots(views, array, amounts, windows, erased, keys, 16)
        else:
            array, changed = np.arange(8_000_000, dtype=np.uint32).reshape(-1, 4), (8_000_000, 1)
            call = lambda: _C.philox4x32(7, array)
        own = array.shape
        wanted = call()
        turned = 0

        def handler(number, frame):
            global turned
            turned += 1
            array.shape = changed

        signal.signal(signal.SIGALRM, handler)
        for _ in range(10):
            signal.setitimer(signal.ITIMER_REAL, 0.004)
            got = call()
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert np.array_equal(got, wanted)
            array.shape = own
        assert turned > 0
        """,
        before=BEFORE,
    )


def test_a_pad_whose_double_overflows_is_refused() -> None:
    run(
        """
        import numpy as np
        import pytest
        from test_hostile import CHAOS, MAPS, words
        from onepfrac import _C

        out = np.zeros((2, 1, 16, 16), np.uint8)
        for pad in (2**30, 2**31 - 1, -(2**31), -1, 8):
            with pytest.raises(ValueError, match="pad must be"):
                _C.replay(MAPS[0].reshape(-1).astype(float), np.array([0.5, 0.5]), np.full(9, 0.3), 16, pad, 0)
            with pytest.raises(ValueError, match="pad must be"):
                _C.render(words(), out, **(CHAOS | {"pad": pad}))
        assert not out.any()
        """,
        before=BEFORE,
    )


def test_a_size_beyond_32_bits_is_not_taken_for_what_is_left_of_it() -> None:
    out = np.zeros((0, 1, 2**32 + 8, 1), np.int32)
    with pytest.raises(ValueError, match="size must be 8 to 4096"):
        _C.render(words()[:0], out, **CHAOS)


@pytest.mark.parametrize(
    "fields",
    [
        {"ndim": -1}, {"ndim": 65}, {"shape": None}, {"data": None}, {"size": -1}, {"size": 2**62}, {"byte_offset": 1},
        {"device_type": 2}, {"name": b"used_dltensor"}, {"says": (7, 7)},
    ],
    ids=str,
)  # fmt: skip
def test_an_exporter_that_lies_is_found_out_before_torch_takes_its_word(fields: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match="maps must"):
        shared_tensor("maps", Exporter(np.zeros((2, 3), np.int32), **fields))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_negative_strides_of_an_exporter_are_refused(axis: int) -> None:
    turned = np.flip(np.random.default_rng(0).uniform(-0.6, 0.6, (2, 2, 3)), axis)
    with pytest.raises(ValueError, match="maps must have strides of 0 or more, got -"):
        onepfrac.IFS(Exporter(turned))
    assert np.array_equal(onepfrac.IFS(turned).maps, turned)  # of NumPy's own all is read


def test_an_honest_exporter_shares_its_memory() -> None:
    array = np.arange(6, dtype=np.int32).reshape(2, 3)
    shared = shared_tensor("maps", Exporter(array))
    array[1, 2] = 77
    assert shared.tolist() == [[0, 1, 2], [3, 4, 77]]


@pytest.mark.parametrize("error", [KeyError, RuntimeError, BufferError, OSError, ZeroDivisionError])
def test_what_foreign_code_raises_becomes_a_type_error_that_names_the_argument(error: type[Exception]) -> None:
    for entry in (onepfrac.render, onepfrac.pack, onepfrac.IFS):
        with pytest.raises(TypeError, match="maps must"):
            entry(Raising(error))
    with pytest.raises(TypeError, match="out must"):
        onepfrac.render(MAPS, out=Raising(error), **SMALL)


def test_no_memory_and_ctrl_c_in_foreign_code_stay_what_they_are() -> None:
    for error in (MemoryError, KeyboardInterrupt):
        with pytest.raises(error):
            host_array("maps", Raising(error))
        with pytest.raises(error):
            _C.render(Exported(error), np.zeros((2, 1, 16, 16), np.uint8), **CHAOS)


class Exported:
    """Offers DLPack alone, and raises."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def __dlpack__(self, **_: object) -> object:
        raise self._error

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


def odd_tensors() -> dict[str, Callable[[], torch.Tensor]]:
    tensor = torch.from_numpy(MAPS)
    return {
        "sparse": lambda: tensor.to_sparse(),
        "meta": lambda: tensor.to("meta"),
        "quantized": lambda: torch.quantize_per_tensor(tensor, 0.1, 0, torch.quint8),
        "complex": lambda: torch.conj(tensor.to(torch.complex64)),
        "nested": lambda: torch.nested.nested_tensor([tensor[0], tensor[1]]),
    }


@pytest.mark.parametrize("kind", odd_tensors())
def test_tensors_that_are_no_plain_memory_are_refused_by_name(kind: str) -> None:
    tensor = odd_tensors()[kind]()
    for entry in (onepfrac.render, onepfrac.pack):
        with pytest.raises((TypeError, ValueError), match=r"(maps|device) must"):
            entry(tensor)
    with pytest.raises((TypeError, ValueError), match=r"(canvases|device) must"):
        onepfrac.picture(tensor)


def test_a_tensor_with_a_gradient_or_put_off_negation_is_read_as_what_it_means() -> None:
    expected = onepfrac.render(MAPS, **SMALL)
    tensor = torch.from_numpy(MAPS)
    assert torch.equal(onepfrac.render(tensor.clone().requires_grad_(), **SMALL), expected)
    assert torch.equal(onepfrac.render(torch._neg_view(-tensor), **SMALL), expected)


def test_the_core_does_not_take_memory_for_elements_whose_negation_is_put_off() -> None:
    out = torch.zeros((2, 1, 16, 16))
    with pytest.raises(ValueError, match="out must hold its elements as they are"):
        _C.render(words(), torch._neg_view(out), **CHAOS)
    assert not out.any()


def test_an_array_of_ctypes_has_no_strides_and_is_taken_all_the_same() -> None:
    run(
        """
        import ctypes
        import numpy as np
        import onepfrac
        from test_hostile import CHAOS, MAPS, SMALL, words
        from onepfrac import _C

        out = (ctypes.c_uint8 * 16 * 16 * 1 * 2)()
        _C.render(words(), out, **CHAOS)
        expected = onepfrac.render(MAPS, np.array([0.5, 0.5]), seed=[0, 1], brush="point", **SMALL)
        assert np.array_equal(np.array(out), expected)
        """,
        before=BEFORE,
    )


def test_elements_of_no_bytes_are_refused() -> None:
    with pytest.raises(TypeError, match="out must be an array of elements of 1 to 1024 bytes"):
        _C.render(words(), np.zeros((2, 1, 16, 16), "V0"), **CHAOS)


def test_arrays_of_huge_shapes_without_strides_are_refused_before_they_are_copied() -> None:
    """Each would take terabytes; of sizes that a machine just has, NumPy copies for minutes."""
    run(
        """
        import numpy as np
        from onepfrac import _C

        def huge(like, *shape):
            return np.broadcast_to(like, shape)

        n = 2**40
        one, keys = np.zeros(1), np.zeros(1, np.uint64)
        f4, i4, i1, u4 = (np.zeros(1, dtype) for dtype in (np.float32, np.int32, np.int8, np.uint32))
        views, erased, systems = np.zeros((1, 2, 3)), np.zeros((1, 4), np.int32), np.zeros((1, 16, 2, 3), np.float32)
        nothing, windows, steps = np.zeros((1, 2)), np.zeros((1, 2, 2, 3)), np.zeros((1, 2), np.int8)
        calls = [
            (_C.pack_atoms, keys, huge(i4, 1, n), np.zeros((1, 7), np.float32)),
            (_C.pack_atoms, keys, np.zeros((1, 4), np.int32), huge(f4, 1, n)),
            (_C.pack_atoms, huge(keys, 1, n), np.zeros((1, 4), np.int32), np.zeros((1, 7), np.float32)),
            (_C.pack_systems, huge(f4, 1, n, 2, 3), huge(one, 1, n), keys),
            (_C.pack_systems, systems, huge(one, 1, n), keys),
            (_C.pack_systems, systems, np.zeros((1, 16)), huge(keys, n)),
            (_C.diverges, huge(u4, 1, n), 2),
            (_C.philox4x32, 1, huge(u4, 1, n)),
            (_C.atom_polylines, huge(u4, 1, n), 0),
            (_C.atom_polylines, huge(u4, n, 16), n),
            (_C.replay, huge(one, n), np.ones(2) / 2, np.zeros(9), 64, 3, 1),
            (_C.replay, np.zeros(12), huge(one, n), np.zeros(9), 64, 3, 1),
            (_C.pack_shots, huge(one, 1, 2, n), steps, nothing, windows, erased, keys, 64),
            (_C.pack_shots, views, huge(i1, 1, n), huge(one, 1, n), windows, erased, keys, 64),
            (_C.pack_shots, views, steps, huge(one, 1, n), windows, erased, keys, 64),
            (_C.pack_shots, views, steps, nothing, huge(one, 1, n, 2, 3), erased, keys, 64),
            (_C.pack_shots, views, steps, nothing, windows, huge(i4, 1, n), keys, 64),
            (_C.pack_shots, views, steps, nothing, windows, erased, huge(keys, n), 64),
        ]
        for call, *arguments in calls:
            try:
                call(*arguments)
            except ValueError as error:
                assert "must" in str(error), error
            else:
                raise SystemExit(f"{call} took {arguments}")
        """
    )
    tried(18)


def test_a_misaligned_array_is_refused() -> None:
    out = np.zeros(2 * 256 * 4 + 1, np.uint8)[1:].view(np.float32).reshape(2, 1, 16, 16)
    with pytest.raises(ValueError, match="out must be aligned"):
        _C.render(words(), out, **CHAOS)


@pytest.mark.parametrize("place", [0, 64, 600], ids=["inside", "further in", "across the end"])
def test_an_array_to_write_to_that_shares_memory_with_what_is_read_is_refused(place: int) -> None:
    memory = np.zeros(2048, np.uint8)
    out = memory[: 2 * 256].reshape(2, 1, 16, 16)
    place = min(place, 512 - 64)
    shared = memory[place : place + 2 * _C.SYSTEM_WORDS * 4].view(np.uint32).reshape(2, -1)
    shared[...] = words()
    before = memory.copy()
    with pytest.raises(ValueError, match="out must not share memory with systems"):
        _C.render(shared, out, **CHAOS)
    canvases = memory[256 : 256 + 512].reshape(2, 16, 16)
    with pytest.raises(ValueError, match="out must not share memory with canvases"):
        take(shots(), out=out, canvases=canvases)
    assert np.array_equal(memory, before)


def test_read_only_negative_strided_and_holed_arrays_are_refused_and_left_as_they_were() -> None:
    locked = np.full((2, 1, 16, 16), 9, np.uint8)
    locked.flags.writeable = False
    for out, text in (
        (locked, "writable"),
        (np.full((2, 1, 16, 16), 9, np.uint8)[::-1], "contiguous"),
        (np.full((2, 1, 16, 32), 9, np.uint8)[..., ::2], "contiguous"),
        (np.lib.stride_tricks.as_strided(np.full(256, 9, np.uint8), (2, 1, 16, 16), (0, 0, 16, 1)), "contiguous"),
    ):
        with pytest.raises(ValueError, match=text):
            _C.render(words(), out, **CHAOS)
        with pytest.raises(ValueError, match=text):
            onepfrac.render(MAPS, out=out, **SMALL)
        assert (out == 9).all()


def test_nothing_at_all_is_drawn_as_nothing() -> None:
    assert onepfrac.render(MAPS[:0], **SMALL).shape == (0, 1, 16, 16)
    assert onepfrac.pack(MAPS[:0]).words.shape == (0, _C.SYSTEM_WORDS)
    assert take(shots(0)).shape == (0, 1, 16, 16)


@pytest.mark.parametrize(("word", "value"), [(8, 17), (8, -1), (9, 9), (9, 1), (10, 11), (5, 40), (2, -1)])
def test_shots_that_nobody_packed_are_refused(word: int, value: int) -> None:
    torn = shots().view(np.int32).copy()
    torn[1, word] = value
    with pytest.raises(ValueError, match=r"shots must be what pack_shots returns .* of shots\[1\]"):
        take(torn)


def test_systems_that_nobody_packed_are_drawn_without_harm() -> None:
    rng = np.random.default_rng(7)
    out = np.full(2 * 256 + 128, 9, np.uint8)
    for _ in range(200):
        garbage = np.frombuffer(rng.bytes(2 * 4 * _C.SYSTEM_WORDS), np.uint32).reshape(2, -1)
        _C.render(garbage, out[64:-64].reshape(2, 1, 16, 16), **CHAOS)
    assert (out[:64] == 9).all()
    assert (out[-64:] == 9).all()


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 116), np.int32), torch.zeros((2, 115), dtype=torch.int32), torch.zeros(116)]
)
def test_systems_are_made_of_packed_words_alone(wrong: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="words must be"):
        onepfrac.Systems(wrong, 2)
    with pytest.raises(ValueError, match="num_maps must be"):
        onepfrac.Systems(onepfrac.pack(MAPS).words, 17)


@pytest.mark.parametrize("changed", ["which", "of"])
def test_words_that_another_thread_changes_during_a_call_harm_nothing(changed: str) -> None:
    """Which canvas, how many steps, where to erase: read once, into memory of the call's own."""
    run(
        f"""
        import time
        import numpy as np
        from test_hostile import changing, shots, take

        rng = np.random.default_rng(0)
        which, of = np.zeros(20_000, np.int64), shots(20_000)
        canvases = rng.integers(0, 256, (1, 16, 16)).astype(np.uint8)
        expected = take(of, which, canvases=canvases)
        other = np.frombuffer(rng.bytes({changed}.nbytes), {changed}.dtype).reshape({changed}.shape)
        right = refused = 0
        until = time.monotonic() + 20.0
        with changing({changed}, other, 0.004):
            while (right < 5 or refused < 2) and time.monotonic() < until:
                try:
                    got = take(of, which, canvases=canvases)
                except ValueError:
                    refused += 1
                    continue
                assert np.array_equal(got, expected)
                right += 1
        assert right, "none was taken"
        """,
        before=BEFORE,
    )


def test_systems_that_another_thread_changes_while_they_are_drawn_are_those_of_the_beginning() -> None:
    """Orbits too long to be kept are walked twice, and must be the same both times."""
    run(
        """
        import numpy as np
        from test_hostile import CHAOS, changing, words
        from onepfrac import _C

        of, other, out = words(), words()[::-1].copy(), np.zeros((2, 1, 64, 64), np.uint8)
        long = CHAOS | {"points": 1_000_000, "simd": "scalar"}
        pictures = []
        for system in (of, other):
            _C.render(system, out, **long)
            pictures.append(out.copy())
        assert not np.array_equal(*pictures)
        with changing(of, other, 0.004):
            for _ in range(15):
                _C.render(of, out, **long)
                assert any(np.array_equal(out, picture) for picture in pictures)
        """,
        before=BEFORE,
    )


def test_draws_of_a_replay_that_another_thread_changes_ink_nothing_beyond_the_picture() -> None:
    run(
        """
        import numpy as np
        from test_hostile import changing
        from onepfrac import _C

        near, far = [0.5, 0, 1.0, 0, 0.5, 1.0], [0.5, 0, -4e6, 0, 0.5, -3e6]  # near first, by the first draws
        draws = np.full(1_000_000, 0.2)
        with changing(draws, np.full(1_000_000, 0.7), 0.02):
            for _ in range(60):
                assert _C.replay(np.array(near + far), np.array([0.5, 0.5]), draws, 16, 0, 1).shape == (16, 16)
        """,
        before=BEFORE,
    )


def test_an_array_deleted_during_a_call_lives_until_its_end() -> None:
    size = 256
    expected = onepfrac.render(MAPS, points=100_000, size=size, threads=1)
    for _ in range(20):
        arrays: dict[str, Any] = {"maps": MAPS.copy(), "out": np.zeros((2, 1, size, size), np.uint8)}
        thread = threading.Thread(target=arrays.clear)
        thread.start()
        given = dict(arrays)
        if given:
            drawn = onepfrac.render(given.pop("maps"), out=given.pop("out"), points=100_000, size=size, threads=1)
            assert np.array_equal(drawn, expected)
        thread.join()


def test_numbers_and_sequences_that_lie_are_refused_or_taken_at_their_word() -> None:
    with pytest.raises((TypeError, ValueError), match="maps must"):
        onepfrac.render(Lying(5), **SMALL)
    with pytest.raises(TypeError, match="size must be an integer"):
        onepfrac.render(MAPS, points=300, size=Number(16))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be an integer"):
        onepfrac.render(MAPS, points=300, size=10**400)
    for value in (-1, 2**64, 10**400):
        with pytest.raises(ValueError, match="seed must"):
            onepfrac.render(MAPS, seed=value, **SMALL)


@pytest.mark.parametrize(
    ("function", "value"), [(_C.sincos_turns, np.inf), (_C.exp_fixed, np.nan), (_C.log_fixed, 0.0)]
)
def test_elementary_functions_refuse_what_they_are_not_made_for(function: Callable[[Any], Any], value: float) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        function(np.array([0.5, value]))


def test_ctrl_c_ends_the_checking_of_large_inputs() -> None:
    """Half a second of packing answers a signal within a twentieth."""
    run(
        """
        import signal, time
        import numpy as np
        from onepfrac import _C

        class Rung(Exception): pass
        def ring(*_): raise Rung
        signal.signal(signal.SIGALRM, ring)
        counters = np.zeros((60_000_000, 4), np.uint32)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        start = time.process_time()
        try:
            _C.philox4x32(1, counters)
            raise SystemExit("not answered")
        except Rung:
            took = time.process_time() - start
        assert took < 0.2, took
        """
    )
