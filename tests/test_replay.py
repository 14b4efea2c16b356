"""replay against the released generator's images, and against a plain transcription of its rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from onepfrac import IFS, replay


def released(
    maps: NDArray[np.float64], probs: NDArray[np.float64], draws: NDArray[np.float64], size: int, pad: int, fill: bool
) -> NDArray[np.bool_]:
    """The released rules in plain Python: running sums, the origin inked, patches pasted, then the flip."""
    sums: list[float] = []
    for p in probs.tolist():
        sums.append((sums[-1] if sums else 0.0) + p)
    xs, ys = [0.0], [0.0]
    for draw in draws.tolist()[:-1]:
        x, y = xs[-1], ys[-1]
        for j, limit in enumerate(sums):
            if draw <= limit:
                (a, b, e), (c, d, f) = maps[j].tolist()
                x, y = x * a + y * b + e, x * c + y * d + f
                break
        xs.append(x)
        ys.append(y)
    canvas = np.zeros((size, size), bool)
    px, py = np.array(xs), np.array(ys)
    px, py = px - px.min(), py - py.min()
    px = np.uint16(px / (px.max() - px.min()) * float(size - 2 * pad) + float(pad))
    py = np.uint16(py / (py.max() - py.min()) * float(size - 2 * pad) + float(pad))
    for x, y in zip(px.tolist(), py.tolist(), strict=True):
        if fill:
            canvas[y + 1 : y + 4, x + 1 : x + 4] = True
        else:
            canvas[y, x] = True
    return canvas[::-1]


def test_all_24_released_images_are_exact(shared: Path) -> None:
    cases = np.load(shared / "conformance" / "released_generator_cases.npz")
    for k in range(24):
        columns = cases[f"{k:02d}_maps"]
        maps = np.stack([columns[:, i] for i in (0, 1, 4, 2, 3, 5)], 1).reshape(-1, 2, 3)
        _, size, pad, steps, brush = cases[f"{k:02d}_meta"]
        draws = np.random.RandomState(100).random_sample(int(steps))
        name = "fill" if brush else "point"
        mask = replay(maps, cases[f"{k:02d}_prob"], draws, size=int(size), pad=int(pad), brush=name)
        expected = np.unpackbits(cases[f"{k:02d}_image"])[: mask.size].reshape(mask.shape).astype(bool)
        assert np.array_equal(mask, expected), f"case {k}"


@pytest.mark.parametrize("brush", ["point", "fill"])
@pytest.mark.parametrize(
    ("num_maps", "size", "pad", "points"), [(1, 40, 6, 200), (2, 64, 6, 1000), (5, 50, 4, 3000), (16, 96, 10, 500)]
)
def test_images_equal_a_plain_transcription_of_the_rules(
    brush: str, num_maps: int, size: int, pad: int, points: int
) -> None:
    rng = np.random.RandomState(num_maps)
    maps = rng.uniform(-0.7, 0.7, (num_maps, 2, 3))
    probs = rng.uniform(0.1, 1, num_maps)
    probs /= probs.sum()
    for total in (1.0, 0.7):  # where the sums stay below a draw, the point repeats
        draws = rng.random_sample(points)
        mask = replay(maps, probs * total, draws, size=size, pad=pad, brush=brush)
        assert np.array_equal(mask, released(maps, probs * total, draws, size, pad, brush == "fill"))


def test_published_categories_equal_the_transcription(shared: Path) -> None:
    published = np.load(shared / "data" / "fractaldb1k_systems.npz")
    draws = np.random.RandomState(100).random_sample(2000)
    for k in range(0, 1000, 125):
        rows = published["rows"][k, : published["num_maps"][k]]
        maps = np.stack([rows[:, i] for i in (0, 1, 4, 2, 3, 5)], 1).reshape(-1, 2, 3)
        mask = replay(maps, rows[:, 6], draws, size=128)
        assert np.array_equal(mask, released(maps, rows[:, 6], draws, 128, 6, False))


def test_probabilities_default_to_determinants() -> None:
    system = IFS([[[0.5, 0.1, 0.2], [0.0, 0.6, 0.3]], [[0.4, -0.3, -0.2], [0.3, 0.5, 0.1]]])
    draws = np.random.RandomState(1).random_sample(500)
    assert np.array_equal(replay(system.maps, None, draws, size=64), replay(system.maps, system.probs, draws, size=64))


def test_a_degenerate_axis_is_centred() -> None:
    mask = replay([[[0.5, 0, 1], [0, 0.5, 0]]], [1.0], [0.5] * 10, size=32)
    assert set(np.nonzero(mask)[0].tolist()) == {31 - 16}


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"maps": np.full((2, 2, 3), np.nan)}, ValueError, "maps"),
        ({"maps": np.zeros((17, 2, 3))}, ValueError, "maps"),
        ({"maps": np.zeros((2, 3, 2))}, ValueError, "maps"),
        ({"probs": [0.5]}, ValueError, "probs"),
        ({"probs": [-1.0, 2.0]}, ValueError, "probs"),
        ({"draws": []}, ValueError, "draws"),
        ({"draws": [[0.5]]}, ValueError, "draws"),
        ({"draws": [np.nan]}, ValueError, "draws"),
        ({"draws": ["a"]}, TypeError, "draws"),
        ({"size": 4}, ValueError, "size"),
        ({"pad": 16}, ValueError, "pad"),
        ({"brush": "patch"}, ValueError, "brush"),
        ({"maps": np.array([[[3.0, 0, 1], [0, 3.0, 1]]] * 2)}, ValueError, "run away"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, object], error: type[Exception], text: str) -> None:
    good: dict[str, object] = {"maps": np.full((2, 2, 3), 0.4), "probs": [0.5, 0.5], "draws": [0.1, 0.9], "size": 32}
    good |= change
    maps, probs, draws = good.pop("maps"), good.pop("probs"), good.pop("draws")
    with pytest.raises(error, match=text):
        replay(maps, probs, draws, **good)  # type: ignore[arg-type]


def test_an_orbit_that_its_draws_drive_away_is_refused() -> None:
    maps = np.array([[[0.5, 0, 0], [0, 0.5, 0]], [[10.0, 0, 1], [0, 10, 1]]])  # contracting, as its weights have it
    with pytest.raises(ValueError, match="finite"):
        replay(maps, [0.99, 0.01], np.full(2000, 0.999), size=64)
