"""Noise: a twin in NumPy, the distribution, the same bits on all paths, and the recipe."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from twin import philox

from onepfrac import _C, Noise, load_recipe
from onepfrac.camera import normal_levels
from onepfrac.draws import Purpose, keys
from onepfrac.noise import BRIGHTEST, base_image, draw_noise, normal_grays, uniform_grays

CPU = torch.device("cpu")
SIZES = (8, 13, 64, 100, 129, 264)  # below, at and above the columns that lanes draw at a time; not multiples of 8 too
RECIPES = st.one_of(
    st.builds(
        Noise,
        kind=st.just("gaussian"),
        delta=st.floats(0, 2),
        num_classes=st.integers(1, 1_000_000),
        seed=st.integers(0, 2**64 - 1),
        canvas=st.integers(8, 4096),
        mean=st.none() | st.floats(0, 255),
        std=st.none() | st.floats(0, 255, exclude_min=True),
    ),
    st.builds(Noise, kind=st.just("uniform"), delta=st.floats(0, 2), seed=st.integers(0, 2**64 - 1)),
)


def twin_draws(key: int, purpose: int, size: int) -> NDArray[np.int64]:
    """The 16-bit draws of an image, (size, size), as the text of csrc/noise_image.h has them."""
    y, x = np.divmod(np.arange(size * size), size)
    counters = np.stack([x // 8, y, np.full_like(x, purpose), np.zeros_like(x)], axis=1).astype(np.uint32)
    word = philox(key, counters)[np.arange(size * size), x % 8 // 2].astype(np.int64)
    return np.where(x % 2 == 0, word & 0xFFFF, word >> 16).reshape(size, size)


def twin_image(recipe: Noise, label: int) -> NDArray[np.int64]:
    """An image of a recipe, (canvas, canvas)."""
    u = twin_draws(int(keys(recipe.seed, Purpose.NOISE_BASE, 0)), 6, recipe.canvas) // 16
    if recipe.kind == "gaussian":
        grays = recipe.mean + recipe.std * normal_levels()[u]
    else:
        grays = (u + 0.5) / 4096 * 255
    base = np.clip(np.rint(grays * 128), 0, 255 * 128).astype(np.int64)
    half = round(recipe.delta / 2 * 255 * 128)
    draws = twin_draws(int(keys(recipe.seed, Purpose.CLASS_KEY, label)), 7, recipe.canvas)
    epsilon = (half * (draws - 32768) + 16384) // 32768
    return np.clip((base + epsilon + 64) // 128, 0, 255)


def images_of(recipe: Noise, labels: list[int], threads: int = 1) -> NDArray[np.uint8]:
    """The images of classes, uint8 (B, canvas, canvas)."""
    return recipe.draw(recipe.plan_images(labels), CPU, threads)[:, 0].numpy()


def some_base(size: int, seed: int = 0) -> NDArray[np.int16]:
    """A base of all values, with the extreme ones at its start."""
    base = np.random.default_rng(seed).integers(0, BRIGHTEST, (size, size), endpoint=True).astype(np.int16)
    base[0, :3] = 0, BRIGHTEST, 64
    return base


def kolmogorov(values: NDArray[Any], expected: Any) -> float:
    """The largest distance of the share of values up to each integer from ``expected(integer)``, times sqrt(n)."""
    counts = np.bincount(values.reshape(-1), minlength=256)
    return float(np.abs(np.cumsum(counts) / values.size - expected(np.arange(256))).max() * np.sqrt(values.size))


# ---- pixels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
@pytest.mark.parametrize("delta", [0.0, 0.1, 0.77, 2.0])
def test_images_are_those_of_the_twin(kind: str, size: int, delta: float) -> None:
    recipe = Noise(kind, delta, 50, 2**63 + 5, canvas=size)
    assert np.array_equal(images_of(recipe, [0, 49, 7]), [twin_image(recipe, label) for label in (0, 49, 7)])


def test_the_base_is_the_same_whatever_the_rows_that_are_drawn_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = base_image(9, normal_grays(127.5, 42.5), 100)
    for rows in (1, 7, 100):
        monkeypatch.setattr("onepfrac.noise._ROWS", rows)
        assert np.array_equal(base_image(9, normal_grays(127.5, 42.5), 100), whole)


@pytest.mark.parametrize("half", [0, 1, 1632, BRIGHTEST])
@pytest.mark.parametrize("size", SIZES)
def test_all_vector_units_give_the_same_bits(size: int, half: int, monkeypatch: pytest.MonkeyPatch) -> None:
    base, numbers = torch.from_numpy(some_base(size)), np.array([1, 2**64 - 1, 77], np.uint64)
    monkeypatch.setenv("ONEPFRAC_SIMD", "scalar")
    expected = draw_noise(base, numbers, half, threads=1)
    for level in _C.simd_levels():
        monkeypatch.setenv("ONEPFRAC_SIMD", level)
        for threads in (1, 3):
            assert torch.equal(draw_noise(base, numbers, half, threads=threads), expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("aligned", [True, False])
def test_the_kernel_body_gives_the_same_bits_for_any_threads_in_any_order(size: int, aligned: bool) -> None:
    spare = 0 if aligned else 1
    base = np.zeros(size * size + spare, np.int16)[spare:].reshape(size, size)
    base[:] = some_base(size)
    numbers = np.array([3, 2**63], np.uint64)
    expected = draw_noise(torch.from_numpy(base.copy()), numbers, 9000, threads=1).numpy()
    for threads, rows, reverse in ((1, size, False), (7, 5, True), (64, 1, False), (256, size, True), (300, 3, False)):
        out = np.full(2 * size * size + spare, 7, np.uint8)[spare:].reshape(2, 1, size, size)
        _C.draw_noise_host_block(base, numbers, 9000, out, threads, rows, reverse)
        assert np.array_equal(out, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [8, 13, 264, 512])
def test_a_gpu_gives_the_bits_of_the_cpu(size: int) -> None:
    for kind in ("gaussian", "uniform"):
        recipe = Noise(kind, canvas=size)
        plan = recipe.plan(np.arange(20))
        assert torch.equal(recipe.draw(plan, torch.device("cuda")).cpu(), recipe.draw(plan, CPU))


def test_images_are_the_same_for_ever() -> None:
    def digest(recipe: Noise) -> str:
        return hashlib.sha256(images_of(recipe, [0, 1, 999]).tobytes()).hexdigest()[:16]

    assert digest(Noise()) == "8cb334af24e5c71c"
    assert digest(Noise("uniform", 0.3, seed=5, canvas=100)) == "068c8ae9689801d6"


# ---- distribution ---------------------------------------------------------------------------------------------------

_LIMIT = 1.95  # of the Kolmogorov-Smirnov statistic: exceeded once in 1000 where the distribution is right


def test_levels_are_the_quantiles_of_their_distribution() -> None:
    normal = NormalDist(100, 30)
    quantiles = np.array([normal.inv_cdf((k + 0.5) / 4096) for k in range(4096)]) * 128
    # `normal_levels` are scaled to variance 1, by 1 / 1000.
    assert np.abs(normal_grays(100, 30) - np.clip(quantiles, 0, BRIGHTEST)).max() <= 0.5 + 0.002 * 4 * 30 * 128
    assert np.array_equal(uniform_grays(), np.rint((np.arange(4096) + 0.5) * 255 * 128 / 4096))
    assert (np.diff(normal_grays(127.5, 42.5)) >= 0).all()
    assert normal_grays(0, 255).min() == 0
    assert normal_grays(255, 255).max() == BRIGHTEST


def test_the_gaussian_base_has_the_normal_distribution() -> None:
    base = Noise(mean=120, std=30, seed=3).base / 128
    assert base.mean() == pytest.approx(120, abs=4 * 30 / 512)
    assert base.std() == pytest.approx(30, abs=4 * 30 / 512 / np.sqrt(2))
    normal = NormalDist(120, 30)
    assert kolmogorov(np.rint(base).astype(int), lambda v: np.vectorize(normal.cdf)(v + 0.5)) < _LIMIT


def test_the_uniform_base_has_the_uniform_distribution() -> None:
    base = Noise("uniform", seed=3).base / 128
    assert base.mean() == pytest.approx(127.5, abs=4 * 255 / np.sqrt(12) / 512)
    assert kolmogorov(np.rint(base).astype(int), lambda v: np.clip((v + 0.5) / 255, 0, 1)) < _LIMIT


@pytest.mark.parametrize("half", [12, 127.5])
def test_the_perturbation_is_uniform(half: float) -> None:
    base = torch.full((512, 512), 127 * 128 + 64, dtype=torch.int16)
    pixels = draw_noise(base, keys(3, Purpose.CLASS_KEY, np.arange(2)), round(half * 128)).numpy()
    assert pixels.mean() == pytest.approx(127.5, abs=4 * half / np.sqrt(3 * pixels.size) + 1 / 128)
    assert pixels.std() == pytest.approx(np.sqrt(half**2 / 3 + 1 / 12), rel=0.005)
    assert kolmogorov(pixels, lambda v: np.clip((v + 0.5 - 127.5 + half) / (2 * half), 0, 1)) < _LIMIT


def test_pixels_and_classes_are_independent() -> None:
    recipe = Noise("uniform", 1.0, seed=8)
    base = recipe.base / 128
    flat = torch.full((512, 512), BRIGHTEST // 2, dtype=torch.int16)
    epsilon = draw_noise(flat, keys(8, Purpose.CLASS_KEY, np.arange(3)), BRIGHTEST // 2)[:, 0].numpy().astype(float)
    pairs = {"base and class": (base, epsilon[0]), "classes": (epsilon[0], epsilon[1])}
    for name, image in (("base", base), ("class", epsilon[2])):
        for step in (1, 2, 3, 7, 8, 9, 64, 128):
            pairs[f"{name}, {step} columns"] = image[:, step:], image[:, :-step]
            pairs[f"{name}, {step} rows"] = image[step:], image[:-step]
    for name, (first, second) in pairs.items():
        assert abs(np.corrcoef(first.reshape(-1), second.reshape(-1))[0, 1]) < 4 / 512, name


@pytest.mark.parametrize("kind", ["gaussian", "uniform"])
@pytest.mark.parametrize("delta", [0.01, 0.1, 0.5])
def test_classes_lie_within_half_of_delta_of_the_base_and_within_delta_of_each_other(kind: str, delta: float) -> None:
    recipe = Noise(kind, delta)
    base = recipe.base / 128
    first, second = images_of(recipe, [3, 900]).astype(float)
    size = 255 * delta
    for image in (first, second):
        assert np.abs(image - base).max() <= size / 2 + 0.5
    unclipped = (base > size / 2) & (base < 255 - size / 2)
    difference = (first - second)[unclipped]
    assert 0.97 * size <= np.abs(difference).max() <= size + 1
    assert difference.std() == pytest.approx(np.sqrt(size**2 / 6 + 1 / 6), rel=0.01)  # a triangle, and two roundings


# ---- the recipe -----------------------------------------------------------------------------------------------------


def test_fresh_draws_are_the_fixed_images() -> None:
    recipe = Noise(num_classes=5, canvas=32)
    fixed, fresh = (recipe.plan(np.arange(12), draws) for draws in ("fixed", "fresh"))
    assert np.array_equal(fixed.labels, fresh.labels)
    assert torch.equal(recipe.draw(fixed, CPU), recipe.draw(fresh, CPU))


@pytest.mark.parametrize("draws", ["fixed", "fresh"])
@pytest.mark.parametrize("cache", [0, 2**20])
def test_a_stream_gives_the_images_of_its_classes(draws: str, cache: int) -> None:
    recipe = Noise("uniform", 0.2, 6, canvas=40)
    stream = iter(recipe.stream(batch_size=9, size=40, draws=draws, dtype=torch.uint8, channels=1, cache=cache))
    for _ in range(3):
        images, labels = next(stream)
        assert np.array_equal(images[:, 0].numpy(), images_of(recipe, labels.tolist()))


def test_a_stream_may_augment_and_goes_on_after_a_break() -> None:
    recipe = Noise(num_classes=6, canvas=64)
    stream = recipe.stream(batch_size=4, size=32, augment="deit")
    steps = iter(stream)
    next(steps)
    state = stream.state_dict()
    expected = next(steps)
    again = recipe.stream(batch_size=4, size=32, augment="deit")
    again.load_state_dict(state)
    got = next(iter(again))
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


def test_no_samples_give_no_images() -> None:
    recipe = Noise(canvas=16)
    assert recipe.draw(recipe.plan(np.zeros(0, np.int64)), CPU).shape == (0, 1, 16, 16)


def test_a_read_only_plan_can_be_drawn() -> None:
    recipe = Noise(canvas=16)
    plan = recipe.plan([0, 1])
    plan.seeds.setflags(write=False)
    assert recipe.draw(plan, CPU).shape == (2, 1, 16, 16)


@given(RECIPES)
def test_json_gives_back_an_equal_recipe_with_the_same_fingerprint(recipe: Noise) -> None:
    again = Noise.from_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.to_json() == recipe.to_json()


def test_saving_and_loading_gives_an_equal_recipe(tmp_path: Path) -> None:
    for recipe in (Noise(), Noise("uniform")):
        recipe.save(tmp_path / "recipe.json")
        assert load_recipe(tmp_path / "recipe.json") == recipe
        assert pickle.loads(pickle.dumps(recipe)) == recipe


def test_every_field_changes_the_fingerprint() -> None:
    base = Noise()
    changes: dict[str, object] = {"delta": 0.2, "num_classes": 999, "seed": 1, "canvas": 511, "mean": 100, "std": 9}
    assert changes.keys() | {"kind"} == {field.name for field in dataclasses.fields(base)}
    others = [dataclasses.replace(base, **{name: value}) for name, value in changes.items()]  # type: ignore[arg-type]
    assert len({recipe.fingerprint for recipe in (base, Noise("uniform"), *others)}) == len(changes) + 2


def test_texts_are_the_same_for_ever() -> None:
    assert Noise().to_json() == (
        '{"canvas":512,"dataset":"Noise","delta":0.1,"format":1,"kind":"gaussian","mean":127.5,"num_classes":1000,'
        '"seed":0,"std":42.5}'
    )
    assert Noise(mean=127.5, std=42.5) == Noise()
    assert '"mean":null' in Noise("uniform").to_json()


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, "kind must be one of 'gaussian', 'uniform', got 'normal'", {"kind": "normal"}),
        (TypeError, "kind must be one of .* got 1 of type int", {"kind": 1}),
        (ValueError, r"delta must be a number in \[0, 2\], got 2.1", {"delta": 2.1}),
        (ValueError, "delta must be a number .* got nan", {"delta": float("nan")}),
        (ValueError, "num_classes must be an integer in 1..1000000, got 0", {"num_classes": 0}),
        (ValueError, "seed must be an integer in 0..18446744073709551615, got -1", {"seed": -1}),
        (ValueError, "canvas must be an integer in 8..4096, got 4097", {"canvas": 4097}),
        (ValueError, r"mean must be a number in \[0, 255\], got -1", {"mean": -1}),
        (ValueError, r"std must be a number in \(0, 255\], got 0", {"std": 0}),
        (TypeError, "std must be a number .* got '1' of type str", {"std": "1"}),
        (ValueError, "mean must be None for kind 'uniform', got 127.5", {"kind": "uniform", "mean": 127.5}),
        (ValueError, "std must be None for kind 'uniform', got 1", {"kind": "uniform", "std": 1}),
    ],
)
def test_bad_arguments_are_refused(error: type[Exception], message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        Noise(**arguments)


def test_bits_are_refused() -> None:
    recipe = Noise(canvas=8)
    with pytest.raises(ValueError, match="bits must be False"):
        recipe.draw(recipe.plan([0]), CPU, bits=True)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        ("base must be contiguous int16", {"base": np.zeros((16, 16), np.int32)}),
        ("base must be contiguous int16", {"base": np.zeros((16, 8), np.int16)}),
        ("base must be contiguous int16", {"base": np.zeros((16, 16), np.int16).T[::2, ::2]}),
        ("base must be 0 to 32640", {"base": np.full((16, 16), -1, np.int16)}),
        ("base must be 0 to 32640", {"base": np.full((16, 16), 32641, np.int16)}),
        ("keys must be contiguous 64-bit", {"keys": np.zeros(3, np.uint64)}),
        ("keys must be contiguous 64-bit", {"keys": np.zeros(2, np.uint32)}),
        ("half must be 0 to 32640", {"half": 32641}),
        ("half must be 0 to 32640", {"half": -1}),
        ("out must be contiguous uint8", {"out": np.zeros((2, 1, 16, 17), np.uint8)}),
        ("out must be contiguous uint8", {"out": np.zeros((2, 1, 16, 16), np.int8)}),
        ("size must be 8 to 4096", {"out": np.zeros((2, 1, 7, 7), np.uint8)}),
        ("threads must be 1 to 1024", {"threads": 0}),
    ],
)
def test_the_core_refuses_what_does_not_fit(message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {
        "base": np.zeros((16, 16), np.int16),
        "keys": np.zeros(2, np.uint64),
        "half": 5,
        "out": np.zeros((2, 1, 16, 16), np.uint8),
        "threads": 1,
    }
    _C.draw_noise(**arguments, simd="", stream=0)
    with pytest.raises(ValueError, match=message):
        _C.draw_noise(**(arguments | changes), simd="", stream=0)


def test_the_core_refuses_an_out_that_is_read_only_and_an_unknown_vector_unit() -> None:
    base, numbers, out = np.zeros((16, 16), np.int16), np.zeros(2, np.uint64), np.zeros((2, 1, 16, 16), np.uint8)
    with pytest.raises(ValueError, match="simd level must be"):
        _C.draw_noise(base, numbers, 5, out, 1, "sse", 0)
    out.setflags(write=False)
    with pytest.raises(ValueError, match="out must be writable"):
        _C.draw_noise(base, numbers, 5, out, 1, "", 0)
