"""Hostile calls of the public entries.

    PYTHONPATH=tests python -m fuzz.public --case 17

As `fuzz.bindings`, one layer up: a legal call of tiny size with an argument or two disguised or spoiled must end in a
ValueError, a TypeError, or what the plain call gives on one thread in scalar code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

import onepfrac
from fuzz.hostile import MOST_BYTES, Rng, disguised, plain, same, spoiled, spoiled_flag, spoiled_number, spoiled_text
from fuzz.runner import main, refused
from onepfrac import scenes
from onepfrac.drawing import Drawing
from onepfrac.systems import diverges

__all__ = ["CALLS", "run_case"]

REFUSALS = (TypeError, ValueError)
Call = tuple[Callable[..., Any], dict[str, Any]]

_DRAWING = Drawing(points=300, canvas=16, pad=1, min_inked=0.0)
_SMALL: dict[str, Any] = {"points": 300, "canvas": 16, "pad": 1, "min_inked": 0.0, "num_classes": 3, "seed": 3}
_RECIPE = onepfrac.OnePFrac(**_SMALL)
_RECIPE.prepare()
_JSON = _RECIPE.to_json()
_IFS = onepfrac.sample_ifs(seed=1)


def _maps(rng: Rng, count: int) -> np.ndarray:
    # One map alone must not run away, which many together hardly do.
    return rng.uniform(-0.5, 0.5, (int(rng.integers(1, 4)), count, 2, 3)).astype(rng.choice(["f4", "f8", "f2"]))


def _systems(rng: Rng) -> dict[str, Any]:
    maps = _maps(rng, int(rng.choice([1, 2, 3])))
    probs = None if rng.integers(2) else rng.uniform(0.1, 1.0, maps.shape[1 if rng.integers(2) else 0 : 2])
    if probs is not None and probs.ndim == 1 and probs.shape != maps.shape[1:2]:
        probs = None
    seeds = int(rng.integers(9)) if rng.integers(2) else rng.integers(0, 2**64, len(maps), np.uint64)
    return {"maps": maps, "probs": probs, "seed": seeds}


def _render(rng: Rng) -> Call:
    size = int(rng.integers(8, 40))
    more = {
        "points": int(rng.integers(1, 600)),
        "size": size,
        "pad": 1,
        "brush": str(rng.choice(["point", "fill", "patch"])),
    }
    more |= {"threads": int(rng.integers(1, 4)), "device": "cpu", "dtype": torch.uint8, "out": None}
    arguments = _systems(rng) | more
    if rng.integers(2):
        arguments["out"] = np.full((len(arguments["maps"]), 1, size, size), 7, np.uint8)
    return onepfrac.render, arguments


def _density(rng: Rng) -> Call:
    _, arguments = _render(rng)
    return onepfrac.density, arguments | {"brush": "fill"}


def _pack(rng: Rng) -> Call:
    def words(**arguments: Any) -> torch.Tensor:
        return onepfrac.pack(**arguments).words

    return words, _systems(rng)


def _diverges(rng: Rng) -> Call:
    arguments = _systems(rng)
    del arguments["seed"]
    return diverges, arguments


def _expand(rng: Rng) -> Call:
    size, count = int(rng.integers(8, 40)), int(rng.integers(1, 4))
    bits = rng.integers(-(2**31), 2**31, (count, 1, size, -(-size // 32)), np.int32)
    arguments = {"canvases": torch.from_numpy(bits), "which": rng.integers(0, count, 3), "size": size}
    return onepfrac.expand, arguments | {"dtype": torch.float32, "threads": 2}


def _picture(rng: Rng) -> Call:
    count = int(rng.integers(1, 4))
    tones = (
        ("brightness", 1.2),
        ("contrast", 0.7),
        ("sharpness", 1.5),
        "autocontrast",
        "equalize",
        ("posterize", 3),
        "invert",
    )
    arguments = {
        "canvases": rng.integers(0, 256, (count, *rng.integers(1, 40, 2)), np.uint8),
        "view": rng.uniform(-2.0, 2.0, (2, 3)) if rng.integers(2) else rng.uniform(-2.0, 2.0, (count, 2, 3)),
        "tone": [tones[i] for i in rng.integers(0, len(tones), int(rng.integers(3)))],
        "size": int(rng.integers(8, 30)),
        "outside": None if rng.integers(2) else int(rng.integers(256)),
        "which": rng.integers(0, count, count),
        "interpolation": "bilinear",
        "channels": int(rng.integers(1, 5)),
        "mean": 0.5,
        "std": float(rng.uniform(0.1, 1.0)),
        "dtype": (torch.uint8, torch.float32)[rng.integers(2)],
        "channels_last": bool(rng.integers(2)),
        "threads": 2,
        "device": None,
    }
    return onepfrac.picture, arguments


def _replay(rng: Rng) -> Call:
    arguments = {
        "maps": rng.uniform(-0.6, 0.6, (2, 2, 3)),
        "probs": np.array([0.4, 0.6]),
        "draws": rng.uniform(0.0, 1.0, 200),
    }
    return onepfrac.replay, arguments | {"size": int(rng.integers(8, 40)), "pad": 2, "brush": "fill"}


def _sample_ifs(rng: Rng) -> Call:
    arguments = {"sigma": float(rng.uniform(0.5, 5.0)), "num_maps": 2, "seed": int(rng.integers(2**40)), "margin": 0.1}
    return onepfrac.sample_ifs, arguments


def _ifs(rng: Rng) -> Call:
    count = int(rng.integers(1, 17))
    return onepfrac.IFS, {"maps": rng.uniform(-0.6, 0.6, (count, 2, 3)), "probs": rng.uniform(0.1, 1.0, count)}


def _singular_values(rng: Rng) -> Call:
    return lambda maps: onepfrac.IFS(maps).sigma_factor, {"maps": rng.uniform(-0.6, 0.6, (2, 2, 3))}


def _torn(rng: Rng, text: str) -> str:
    """Return a text of JSON that somebody has been at."""
    values = json.loads(text)
    if rng.integers(3) == 0:
        place = int(rng.integers(len(text)))
        return (
            text[:place]
            + str(rng.choice(["", "}", "NaN", "1e999", '"', "[" * 2000, "\0", "9" * 5000]))
            + text[place + 1 :]
        )
    names = list(values)
    name = names[rng.integers(len(names))]
    values[name] = (None, -1, 2**80, 1e300, "x", [], {}, True, [[]], 0)[rng.integers(10)]
    if rng.integers(4) == 0:
        del values[names[rng.integers(len(names))]]
    return json.dumps(values)


def _ifs_from_json(rng: Rng) -> Call:
    text = _IFS.to_json()
    return onepfrac.IFS.from_json, {"text": text if rng.integers(3) == 0 else _torn(rng, text)}


def _recipe_from_json(rng: Rng) -> Call:
    return onepfrac.OnePFrac.from_json, {"text": _JSON if rng.integers(3) == 0 else _torn(rng, _JSON)}


def _liep(rng: Rng) -> Call:
    def maps(**arguments: Any) -> np.ndarray:
        return onepfrac.LIEP(**arguments, drawing=_DRAWING).maps

    return maps, {"ifs": _IFS, "delta": float(rng.uniform(0, 0.2)), "num_classes": 2, "mode": "additive", "seed": 4}


def _one_p_frac(rng: Rng) -> Call:
    return lambda **given: onepfrac.OnePFrac(**given).to_json(), {
        **_SMALL,
        "sigma": float(rng.uniform(1, 5)),
        "delta": 0.1,
    }


def _plan(rng: Rng) -> Call:
    def taken(samples: Any, draws: str) -> np.ndarray:
        return _RECIPE.plan(samples, draws).images

    return taken, {"samples": rng.integers(0, 2**40, 4), "draws": "fixed"}


def _stream(rng: Rng) -> Call:
    def first(**settings: Any) -> tuple[torch.Tensor, torch.Tensor]:
        batch = next(iter(_RECIPE.stream(**settings)))
        return batch[0], batch[1]

    settings = {"batch_size": 2, "size": 16, "augment": None, "device": "cpu", "draws": "fixed", "threads": 2}
    settings |= {
        "dtype": torch.float32,
        "channels": 3,
        "mean": 0.5,
        "std": 0.5,
        "rank": 0,
        "world_size": 1,
        "cache": 1 << 20,
    }
    return first, settings


def _state(rng: Rng) -> Call:
    def resumed(state: Any) -> int:
        stream = _RECIPE.stream(batch_size=2, size=16)
        stream.load_state_dict(state)
        return int(str(stream.state_dict()["samples"])) if "samples" in stream.state_dict() else 0

    state = json.loads(json.dumps(_RECIPE.stream(batch_size=2, size=16).state_dict()))
    return resumed, {"state": state if rng.integers(3) == 0 else json.loads(_torn_whole(rng, state))}


def _torn_whole(rng: Rng, values: dict[str, Any]) -> str:
    names = list(values)
    name = names[rng.integers(len(names))]
    values[name] = (None, -1, 2**80, 1e300, "x", [], {}, True, 2**62, -(2**70))[rng.integers(10)]
    return json.dumps(values)


def _policy(rng: Rng) -> Call:
    def drawn(**arguments: Any) -> tuple[np.ndarray, ...]:
        shots = onepfrac.Policy(**arguments).shots(5, np.arange(3), 64, 32, 0)
        return shots.views, shots.steps, shots.amounts, shots.windows

    arguments = {"crop": True, "scale": (0.08, 1.0), "ratio": (0.75, 1.3), "hflip": 0.5, "vflip": 0.5, "re_prob": 0.5}
    return drawn, arguments | {"interpolation": "bicubic", "auto_augment": "rand-m9-mstd0.5-inc1", "fill": 3}


def _categories(rng: Rng) -> Call:
    return lambda systems: onepfrac.Categories(systems).to_json(), {"systems": [_IFS, _IFS]}


def _item(rng: Rng) -> Call:
    images = onepfrac.Images(_RECIPE, size=16)

    def item(index: Any) -> torch.Tensor:
        try:
            image: torch.Tensor = images[index][0]
        except IndexError as error:  # as of a sequence
            raise ValueError(str(error)) from error
        return image

    return item, {"index": int(rng.integers(len(images)))}


def _made_systems(rng: Rng) -> Call:
    def drawn(words: Any, num_maps: Any) -> torch.Tensor:
        result: torch.Tensor = onepfrac.render(onepfrac.Systems(words, num_maps), points=300, size=16, pad=1, threads=1)
        return result

    return drawn, {"words": onepfrac.pack(_maps(rng, 2).astype("f4")).words, "num_maps": 2}


def _paint_scenes(rng: Rng) -> Call:
    drawn = scenes.draw_scenes(3, rng.integers(0, 2**64, 2, np.uint64), 20)
    pictures = torch.from_numpy(rng.integers(0, 256, (int(drawn.counts.sum()), 1, 9, 9), np.uint8))
    return scenes.paint_scenes, {
        "pictures": pictures,
        "scenes": drawn,
        "size": 20,
        "threads": 2,
        "device": "cpu",
        "out": None,
    }


CALLS: tuple[Callable[[Rng], Call], ...] = (
    _render, _render, _density, _pack, _diverges, _expand, _picture, _picture, _replay, _sample_ifs, _ifs,
    _singular_values, _ifs_from_json, _recipe_from_json, _liep, _one_p_frac, _plan, _stream, _state, _policy,
    _categories, _item, _made_systems, _paint_scenes,
)  # fmt: skip
_FREE = ("text", "state", "systems", "tone")  # what is torn already, or takes objects


def _changed(rng: Rng, value: Any) -> Any:
    if isinstance(value, bool):
        return spoiled_flag(rng, value)
    if isinstance(value, (int, float)):
        return spoiled_number(rng, value)
    if isinstance(value, str):
        return spoiled_text(rng, value)
    if isinstance(value, torch.Tensor):
        plain_one = value.device.type == "cpu" and value.layout is torch.strided
        value = value.numpy() if plain_one and value.dtype in (torch.int32, torch.uint8) else None
    changed = disguised(rng, value) if rng.integers(2) and isinstance(value, np.ndarray) else spoiled(rng, value)
    return None if isinstance(changed, np.ndarray) and changed.nbytes > 2**32 else changed  # legal, but takes hours


def _too_much(name: str, value: Any) -> bool:
    """Whether a legal number asks for work of minutes."""
    limit = {
        "num_classes": 1000,
        "points": 100_000,
        "canvas": 2000,
        "size": 5000,
        "batch_size": 64,
        "cache": 2**30,
    }.get(name)
    try:
        return limit is not None and int(value) > limit
    except Exception:
        return False


def run_case(seed: int, number: int) -> str:
    """Make a case, check it, and return ``right``, or ``refused`` where the call was."""
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    function, legal = CALLS[rng.integers(len(CALLS))](rng)
    arguments = dict(legal)
    changed = any(name in ("text", "state") for name in arguments)  # perhaps
    for _ in range(int(rng.choice([0, 1, 1, 1, 2]))):
        name = list(arguments)[rng.integers(len(arguments))]
        value = _changed(rng, arguments[name])
        if _too_much(name, value):
            continue
        changed = changed or value is not arguments[name]
        arguments[name] = value
    meant = {name: plain(value) for name, value in arguments.items()}
    if "threads" in meant:
        meant["threads"] = 1
    out = arguments.get("out")
    before = out.copy() if isinstance(out, np.ndarray) and out.nbytes < 1 << 20 else None
    os.environ["ONEPFRAC_SIMD"] = ""
    try:
        result = function(**arguments)
    except REFUSALS as error:
        return refused(error, changed, before is None or same(before, out))
    except MemoryError:
        if not any(isinstance(value, np.ndarray) and value.nbytes > MOST_BYTES for value in arguments.values()):
            raise
        return "more than memory holds"
    except Exception as error:
        raise AssertionError(f"{function.__qualname__} raised {type(error).__name__}: {error}") from error
    if isinstance(arguments.get("words"), np.ndarray | torch.Tensor) and changed:
        return "drawn from words that nobody packed"
    if any(meant[name] is None and value is not None for name, value in arguments.items()):
        return "more than can be copied"
    os.environ["ONEPFRAC_SIMD"] = "scalar"
    if out is not None:
        result, meant["out"] = plain(out), plain(out)
        if isinstance(meant["out"], np.ndarray | torch.Tensor):
            meant["out"][...] = 0
    expected = function(**meant)
    assert same(result, meant["out"] if out is not None else expected), (
        f"not what the plain call gives: {function.__qualname__}"
    )
    return "right"


if __name__ == "__main__":
    main(run_case)
