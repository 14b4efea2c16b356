"""Hostile calls of every function of ``onepfrac._C``.

    PYTHONPATH=tests python -m fuzz.bindings --case 17

A case is a legal call of tiny size, of which most have an argument or two disguised or spoiled. The outcome must be a
ValueError, a TypeError, or what the plain call gives: contiguous copies, one thread, scalar code. Arrays to write to
lie between guards, which must stay; where a call is refused, so must all of the array.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from fuzz.hostile import (
    MOST_BYTES,
    Exporter,
    Rng,
    disguised,
    plain,
    same,
    spoiled,
    spoiled_flag,
    spoiled_number,
    spoiled_text,
)
from fuzz.runner import main, refused
from onepfrac import _C
from onepfrac.arrays import shared_tensor

__all__ = ["CALLS", "check", "run_case"]

GUARD = 256
LEVELS = _C.simd_levels()
REFUSALS = (TypeError, ValueError)


class Guarded:
    """An array to write to, with bytes on either side that nobody may touch."""

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._bytes = np.full(2 * GUARD + count + 64, 0xA5, np.uint8)
        self._start = GUARD + (-(self._bytes.ctypes.data + GUARD)) % 64
        self._end = self._start + count
        self.array = self._bytes[self._start : self._end].view(dtype).reshape(shape)
        self._before = self._bytes.copy()

    def intact(self, written: bool) -> bool:
        """Whether the guards are as they were, and the array too if nothing was written."""
        if not written:
            return np.array_equal(self._bytes, self._before)
        sides = slice(None, self._start), slice(self._end, None)
        return all(np.array_equal(self._bytes[side], self._before[side]) for side in sides)

    def overlaid(self, rng: Rng, array: np.ndarray) -> np.ndarray | None:
        """Return a copy of ``array`` in the memory of the array to write to, or across its end; None if none fits."""
        lowest, highest = self._start - min(array.nbytes, GUARD), self._end + GUARD - array.nbytes
        if array.nbytes == 0 or array.dtype.hasobject or self._start == self._end or lowest >= min(highest, self._end):
            return None
        place = int(rng.integers(lowest + 1, min(highest, self._end))) // 8 * 8 + self._start % 8
        if place + array.nbytes <= self._start or place < 0:
            return None
        room = self._bytes[place : place + array.nbytes].view(array.dtype).reshape(array.shape)
        room[...] = array
        self._before = self._bytes.copy()
        return room


@dataclass
class Call:
    """A legal call: arguments by name, and what of them is written to."""

    function: Callable[..., Any]
    arguments: dict[str, Any]
    out: Guarded | None = None


def _maps(rng: Rng, batch: int, count: int) -> np.ndarray:
    maps = rng.uniform(-0.6, 0.6, (batch, count, 2, 3)).astype(np.float32)
    if rng.integers(8) == 0:
        maps *= np.float32(rng.choice([1e-40, 1e-20, 3.0, 1e20, 1e38]))
    return maps


def _systems(rng: Rng, batch: int, count: int) -> np.ndarray:
    seeds = rng.integers(0, 2**64, batch, np.uint64)
    return _C.pack_systems(_maps(rng, batch, count), rng.uniform(0.01, 1.0, (batch, count)), seeds)


def _execution(rng: Rng) -> dict[str, Any]:
    return {"threads": int(rng.integers(1, 4)), "simd": str(rng.choice(["", *LEVELS])), "stream": int(rng.integers(2))}


def _batch(rng: Rng) -> int:
    return int(rng.choice([0, 1, 1, 2, 3]))


def _chaos(rng: Rng, size: int, brushes: int = 4) -> dict[str, Any]:
    count = int(rng.choice([1, 2, 2, 3, 9, 16]))
    brush = int(rng.integers(brushes))
    return {
        "num_maps": count,
        "points": int(rng.choice([1, 255, 256, 300, 700])),
        "pad": int(rng.choice([0, 1, (size - 1) // 2])),
        "brush": brush,
    }


def _picture_array(rng: Rng, batch: int, size: int) -> tuple[Guarded, Any]:
    kind = rng.choice(["u1", "f2", "f4", "bf16", "i4"])
    columns = -(-size // 32) if kind == "i4" else size
    out = Guarded((batch, 1, size, columns), "u2" if kind == "bf16" else kind)
    return out, torch.from_numpy(out.array).view(torch.bfloat16) if kind == "bf16" else out.array


def _render(rng: Rng) -> Call:
    batch, size = _batch(rng), int(rng.integers(8, 40))
    out, array = _picture_array(rng, batch, size)
    chaos = _chaos(rng, size)
    return Call(
        _C.render, {"systems": _systems(rng, batch, chaos["num_maps"]), "out": array, **chaos, **_execution(rng)}, out
    )


def _on_block(rng: Rng, arguments: dict[str, Any], bands: bool) -> dict[str, Any]:
    rest = {name: value for name, value in arguments.items() if name not in ("threads", "simd", "stream")}
    rest |= {"threads": int(rng.choice([1, 7, 32]))} | ({"band_rows": int(rng.integers(1, 41))} if bands else {})
    return rest | {"reverse": bool(rng.integers(2))}


def _render_host_block(rng: Rng) -> Call:
    call = _render(rng)
    return Call(_C.render_host_block, _on_block(rng, call.arguments, True), call.out)


def _density(rng: Rng) -> Call:
    batch, size = _batch(rng), int(rng.integers(8, 40))
    out = Guarded((batch, 1, size, size), rng.choice(["i4", "u1"]))
    chaos = _chaos(rng, size)
    chaos["brush"] = int(rng.choice([0, 1, 3]))
    arguments = {"systems": _systems(rng, batch, chaos["num_maps"]), "out": out.array, **chaos, **_execution(rng)}
    return Call(_C.density, arguments, out)


def _density_host_block(rng: Rng) -> Call:
    call = _density(rng)
    arguments = _on_block(rng, call.arguments, True)
    if call.out is not None and call.out.array.dtype == np.uint8:
        arguments["band_rows"] = 40  # grades need the whole picture
    return Call(_C.density_host_block, arguments, call.out)


def _expand(rng: Rng) -> Call:
    batch, size, canvases = _batch(rng), int(rng.integers(8, 70)), int(rng.integers(1, 4))
    kind = rng.choice(["u1", "f2", "f4"])
    out = Guarded((batch, 1, size, size), kind)
    arguments = {
        "canvases": rng.integers(-(2**31), 2**31, (canvases, size, -(-size // 32)), np.int32),
        "which": rng.integers(0, canvases, batch),
        "out": out.array,
    }
    return Call(_C.expand, arguments | _execution(rng), out)


def _expand_host_block(rng: Rng) -> Call:
    call = _expand(rng)
    return Call(_C.expand_host_block, _on_block(rng, call.arguments, False), call.out)


def _shot_parts(rng: Rng, batch: int, size: int) -> dict[str, Any]:
    count = int(rng.integers(0, 6))
    steps = rng.integers(0, 11, (batch, count)).astype(np.int8)
    amounts = rng.uniform(0.0, 2.0, (batch, count))
    amounts[np.isin(steps, (1, 7, 8, 9))] = rng.integers(0, 9)
    views = rng.uniform(-3.0, 3.0, (batch, 2, 3))
    if rng.integers(2):
        views[:, 0, 1] = views[:, 1, 0] = 0.0
    if rng.integers(6) == 0:
        views *= rng.choice([1e-9, 1e4, 1e8])
        views[..., :2] = np.clip(views[..., :2], -9.0, 9.0)  # wide kernels take long
    top, left = rng.integers(0, size, (2, batch))
    width = np.floor(rng.uniform(0.0, 1.0, batch) * (size - left + 1))
    return {
        "views": views,
        "steps": steps,
        "amounts": amounts,
        "windows": rng.uniform(-0.2, 0.3, (batch, 6, 2, 3)),
        "erased": np.stack([top, left, size - top, width], axis=1).astype(np.int32),
        "keys": rng.integers(0, 2**64, batch, np.uint64),
        "size": size,
    }


def _pack_shots(rng: Rng) -> Call:
    return Call(_C.pack_shots, _shot_parts(rng, _batch(rng), int(rng.integers(8, 40))))


def _film(rng: Rng, batch: int) -> tuple[dict[str, Any], Guarded, int]:
    size, channels, last = int(rng.integers(8, 24)), int(rng.integers(1, 5)), bool(rng.integers(2))
    kind = str(rng.choice(["u1", "f2", "f4"]))
    out = Guarded((batch, size, size, channels) if last else (batch, channels, size, size), kind)
    rows = int(rng.choice([1, channels]))
    table, noise = (rng.integers(0, 256, (rows, length)).astype(kind) for length in (256, _C.NOISE_LEVELS))
    arguments = {
        "shots": _C.pack_shots(**_shot_parts(rng, batch, size)),
        "out": out.array,
        "table": table,
        "noise": noise,
        "bilinear": bool(rng.integers(2)),
        "channels_last": last,
    }
    return arguments, out, size


def _take_pictures(rng: Rng) -> Call:
    batch = _batch(rng)
    arguments, out, _ = _film(rng, batch)
    height, width, bits = int(rng.integers(1, 50)), int(rng.integers(1, 50)), bool(rng.integers(2))
    chosen = bool(rng.integers(2))
    count = int(rng.integers(1, 3)) if chosen else batch
    if bits:
        canvases = rng.integers(-(2**31), 2**31, (count, height, -(-width // 32)), np.int32)
    else:
        canvases = rng.integers(0, 256, (count, height, width), np.uint8)
    arguments |= {"canvases": canvases, "which": rng.integers(0, count, batch) if chosen else None, "width": width}
    return Call(_C.take_pictures, arguments | _execution(rng), out)


def _take_pictures_host_block(rng: Rng) -> Call:
    call = _take_pictures(rng)
    return Call(_C.take_pictures_host_block, _on_block(rng, call.arguments, False), call.out)


def _draw_pictures(rng: Rng) -> Call:
    batch, canvas = _batch(rng), int(rng.integers(8, 40))
    arguments, out, _ = _film(rng, batch)
    chaos = _chaos(rng, canvas)
    arguments |= {"systems": _systems(rng, batch, chaos["num_maps"]), "canvas": canvas, **chaos}
    return Call(_C.draw_pictures, arguments | _execution(rng), out)


def _draw_pictures_host_block(rng: Rng) -> Call:
    call = _draw_pictures(rng)
    return Call(_C.draw_pictures_host_block, _on_block(rng, call.arguments, False), call.out)


def _draw_noise(rng: Rng) -> Call:
    batch, size = _batch(rng), int(rng.integers(8, 40))
    out = Guarded((batch, 1, size, size), "u1")
    arguments = {
        "base": rng.integers(0, 255 * 128 + 1, (size, size), np.int16),
        "keys": rng.integers(0, 2**64, batch, np.uint64),
        "half": int(rng.integers(0, 255 * 128 + 1)),
        "out": out.array,
    }
    return Call(_C.draw_noise, arguments | _execution(rng), out)


def _draw_noise_host_block(rng: Rng) -> Call:
    call = _draw_noise(rng)
    return Call(_C.draw_noise_host_block, _on_block(rng, call.arguments, True), call.out)


def _atom_parts(rng: Rng, batch: int) -> dict[str, Any]:
    counts = np.stack([rng.integers(3, 70, batch), rng.integers(1, 9, batch), *rng.integers(0, 20, (2, batch))], axis=1)
    low, high = np.array([0, 0, 0, 0, 0, -20, -20]), np.array([6, 0.1, 30, 2, 2, 60, 60])
    if rng.integers(6) == 0:
        low, high = np.array([0, 0, 0, 0, 0, -16384, -16384]), np.array([100, 100, 4096, 64, 64, 16384, 16384])
    sizes = (low + (high - low) * rng.uniform(0.0, 1.0, (batch, 7))).astype(np.float32)
    return {"keys": rng.integers(0, 2**64, batch, np.uint64), "counts": counts.astype(np.int32), "sizes": sizes}


def _pack_atoms(rng: Rng) -> Call:
    return Call(_C.pack_atoms, _atom_parts(rng, _batch(rng)))


def _draw_atoms(rng: Rng) -> Call:
    batch, size = _batch(rng), int(rng.integers(8, 40))
    out = Guarded((batch, 1, size, size), "u1")
    arguments = {"atoms": _C.pack_atoms(**_atom_parts(rng, batch)), "out": out.array, "max_vertices": 128}
    return Call(_C.draw_atoms, arguments | _execution(rng), out)


def _draw_atoms_host_block(rng: Rng) -> Call:
    call = _draw_atoms(rng)
    return Call(_C.draw_atoms_host_block, _on_block(rng, call.arguments, False), call.out)


def _atom_polylines(rng: Rng) -> Call:
    batch = int(rng.integers(1, 4))
    words = _C.pack_atoms(**_atom_parts(rng, batch))
    return Call(_C.atom_polylines, {"atoms": words, "number": int(rng.integers(batch))})


def _paint_scenes(rng: Rng) -> Call:
    batch, size, side, most = _batch(rng), int(rng.integers(8, 40)), int(rng.integers(1, 40)), int(rng.integers(0, 4))
    pictures = int(rng.integers(1, 4))
    out = Guarded((batch, 3, size, size), "u1")
    scenes = np.zeros((batch, _C.SCENE_WORDS), np.int32)
    scenes[:, :2] = rng.integers(-(2**31), 2**31, (batch, 2))
    scenes[:, 2] = rng.integers(0, most + 1, batch)
    scenes[:, 3] = rng.integers(0, 2, batch)
    scenes[:, 4:14] = rng.integers(0, 32769, (batch, 10))
    scenes[:, 14:20] = rng.integers(0, 65281, (batch, 6))
    scenes[:, 20] = rng.integers(0, 86, batch)
    low = np.array([0, 0, 0, 0, 0, 1, -50, -50])
    high = np.array([pictures, 8, 256, 256, 256, 60, 60, 60])
    if rng.integers(6) == 0:
        low[5:], high[5:] = (1, -4096, -4096), (4097, 4097, 4097)
    objects = np.floor(low + (high - low) * rng.uniform(0.0, 1.0, (batch, most, 8))).astype(np.int32)
    arguments = {
        "pictures": rng.integers(0, 256, (pictures, 1, side, side), np.uint8),
        "scenes": scenes,
        "objects": objects,
        "out": out.array,
        "workspace": None,
    }
    return Call(_C.paint_scenes, arguments | _execution(rng), out)


def _paint_scenes_host_block(rng: Rng) -> Call:
    call = _paint_scenes(rng)
    arguments = _on_block(rng, call.arguments, False)
    del arguments["workspace"]
    return Call(_C.paint_scenes_host_block, arguments, call.out)


def _pack_systems(rng: Rng) -> Call:
    batch, count = _batch(rng), int(rng.integers(1, 17))
    arguments = {"maps": _maps(rng, batch, count), "probs": rng.uniform(0.1, 1.0, (batch, count))}
    return Call(_C.pack_systems, arguments | {"seeds": rng.integers(0, 2**64, batch, np.uint64)})


def _diverges(rng: Rng) -> Call:
    count = int(rng.integers(1, 17))
    return Call(_C.diverges, {"systems": _systems(rng, _batch(rng), count), "num_maps": count})


def _replay(rng: Rng) -> Call:
    count, size = int(rng.integers(1, 17)), int(rng.integers(1, 40))
    return Call(
        _C.replay,
        {
            "maps": rng.uniform(-0.6, 0.6, 6 * count),
            "probs": np.full(count, 1.0 / count),
            "draws": rng.uniform(0.0, 1.1, int(rng.integers(1, 300))),
            "size": size,
            "pad": int(rng.integers(0, (size - 1) // 2 + 1)),
            "brush": int(rng.integers(2)),
        },
    )


def _philox(rng: Rng) -> Call:
    return Call(
        _C.philox4x32,
        {"key": int(rng.integers(2**64, dtype=np.uint64)), "counters": rng.integers(0, 2**32, (3, 4), np.uint32)},
    )


def _elementary(rng: Rng) -> Call:
    function, name = [(_C.sincos_turns, "turns"), (_C.exp_fixed, "x"), (_C.log_fixed, "x")][rng.integers(3)]
    return Call(function, {name: rng.uniform(0.01, 9.0, (2, int(rng.integers(4))))})


def _numbers(rng: Rng) -> Call:
    calls = (
        Call(_C.picture_bytes, {"canvas": int(rng.integers(8, 4097)), "size": int(rng.integers(8, 4097))}),
        Call(_C.fits_block, {"canvas": 512, "size": 224, "device": 0}),
        Call(_C.cuda_layout, {"size": int(rng.integers(8, 4097)), "limit": int(rng.integers(16384, 300000))}),
        Call(_C.scene_workspace_bytes, {"size": int(rng.integers(8, 1025))}),
        Call(_C.simd_levels, {}),
        Call(_C.cuda_device_count, {}),
    )
    return calls[rng.integers(len(calls))]


def _dlpack(rng: Rng) -> Call:
    return Call(shared_tensor, {"name": "array", "array": Exporter(rng.integers(0, 9, (2, 3), np.int32))})


CALLS: tuple[Callable[[Rng], Call], ...] = (
    _render, _render, _render_host_block, _density, _density_host_block, _expand, _expand_host_block, _pack_shots,
    _take_pictures, _take_pictures, _take_pictures_host_block, _draw_pictures, _draw_pictures_host_block, _draw_noise,
    _draw_noise_host_block, _pack_atoms, _draw_atoms, _draw_atoms_host_block, _atom_polylines, _paint_scenes,
    _paint_scenes_host_block, _pack_systems, _diverges, _replay, _philox, _elementary, _numbers, _dlpack,
)  # fmt: skip


def run_case(seed: int, number: int) -> str:
    """Make a case by its number and check it."""
    if number % 1024 == 0:
        gc.collect()
    return check(np.random.Generator(np.random.PCG64([seed, number])))


def check(rng: Rng) -> str:
    """Make a case from what ``rng`` draws, check it, and return ``right``, or ``refused`` where the call was."""
    call = CALLS[rng.integers(len(CALLS))](rng)
    arguments = dict(call.arguments)
    changed = garbage = False
    for _ in range(int(rng.choice([0, 1, 1, 1, 2, 2])) if arguments else 0):
        name = list(arguments)[rng.integers(len(arguments))]
        value, before = arguments[name], arguments[name]
        if isinstance(value, bool):
            value = spoiled_flag(rng, value)
        elif isinstance(value, (int, float)):
            value = spoiled_number(rng, value)
        elif isinstance(value, str):
            value = spoiled_text(rng, value)
        elif name != "out" and isinstance(value, np.ndarray) and call.out is not None and rng.integers(6) == 0:
            overlaid = call.out.overlaid(rng, value)
            value = value if overlaid is None else overlaid
        elif rng.integers(2):
            value = disguised(rng, value.source if isinstance(value, Exporter) else value)
        else:
            value = spoiled(rng, value.source if isinstance(value, Exporter) else value)
            garbage = garbage or name == "systems"  # words that nobody packed: any picture is right
        arguments[name] = value
        changed = changed or value is not before
    meant = {name: plain(value) for name, value in arguments.items()}
    for name, value in (("threads", 1), ("simd", "scalar"), ("reverse", False)):
        if name in meant:
            meant[name] = value
    try:
        result = call.function(**arguments)
    except REFUSALS as error:
        return refused(error, changed, call.out is None or call.out.intact(written=False))
    except MemoryError:
        if not any(isinstance(value, np.ndarray) and value.nbytes > MOST_BYTES for value in arguments.values()):
            raise
        return "more than memory holds"
    except Exception as error:
        raise AssertionError(f"{call.function} raised {type(error).__name__}: {error}") from error
    if call.out is not None:
        assert call.out.intact(written=True), "written beside the array"
        locked = isinstance(arguments["out"], np.ndarray) and not arguments["out"].flags.writeable
        assert not locked or arguments["out"].size == 0, "written to a read-only array"
        result = plain(arguments["out"])
    if garbage:
        return "drawn from words that nobody packed"
    if any(meant[name] is None and value is not None for name, value in arguments.items()):
        return "more than can be copied"
    expected = call.function(**meant)
    if call.out is not None:
        expected = meant["out"]
    assert same(result, expected), f"not what the plain call gives: {call.function}"
    return "right"


if __name__ == "__main__":
    main(run_case)
