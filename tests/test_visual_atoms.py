"""Visual Atoms against Pillow's lines, a NumPy twin and themselves: SIMD paths, threads, batches, the kernel's body."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
import twin
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from onepfrac import _C, VisualAtoms, load_recipe
from onepfrac.atoms import Atoms, atom_words, draw_atoms, polylines
from onepfrac.datasets.visual_atoms import VisualAtomsPlan

LEVELS = _C.simd_levels()
CPU = torch.device("cpu")


def words_of(count: int, size: int, seed: int = 0, **ranges: Any) -> NDArray[np.uint32]:
    """Atoms of `count` categories, the first instance of each."""
    recipe = VisualAtoms(count, seed=seed, canvas=size, **ranges)
    plan = recipe.plan_images(np.arange(count) * recipe.instances)
    assert isinstance(plan, VisualAtomsPlan)
    return plan.atoms


def one(**changes: Any) -> NDArray[np.uint32]:
    """One atom, of plain parameters but for the changes."""
    values: dict[str, Any] = {
        "vertices": 100,
        "lines": 20,
        "waves": (3, 5),
        "coefficient": 2.0,
        "line_width": 0.01,
        "radius": 10.0,
        "oval": (1.0, 1.0),
        "centre": (32.0, 32.0),
    }
    return atom_words(np.array([7], np.uint64), **values | changes)


def draw(words: NDArray[np.uint32], size: int, threads: int = 1, level: str = "") -> NDArray[np.uint8]:
    """(B, size, size), drawn over pixels that are not black."""
    out = np.full((len(words), 1, size, size), 77, np.uint8)
    _C.draw_atoms(words, out, 2048, threads, level, 0)
    return out[:, 0]


def by_pillow(words: NDArray[np.uint32], number: int, size: int) -> NDArray[np.uint8]:
    """The same picture with ImageDraw.line, a call a segment, from our vertices."""
    image = Image.new("L", (size, size))
    canvas = ImageDraw.Draw(image)
    for places, gray in zip(*polylines(words, number), strict=True):
        for start, end in zip(places.tolist(), np.roll(places, -1, 0).tolist(), strict=True):
            canvas.line((*start, *end), fill=int(gray), width=1)
    return np.asarray(image)


# --- Pillow


@pytest.mark.parametrize(("size", "count"), [(8, 20), (31, 20), (64, 20), (224, 10), (512, 6)])
def test_pixels_are_those_of_pillows_lines(size: int, count: int) -> None:
    words = words_of(count, size, seed=size)
    drawn = draw(words, size)
    for i in range(count):
        assert np.array_equal(drawn[i], by_pillow(words, i, size)), i
    assert drawn.any()
    assert (drawn == 0).any()


@pytest.mark.parametrize("level", LEVELS)
def test_long_segments_and_lines_that_come_back_to_the_canvas_are_pillows_too(level: str) -> None:
    size = 300
    cases = [
        one(vertices=3, radius=140, centre=(150, 150)),  # longer than a slope of 16 bits serves
        one(vertices=5, radius=4096, oval=(64, 64), coefficient=100, lines=40),
        one(vertices=700, radius=400, oval=(0.1, 1.5), coefficient=0.0, waves=(0, 1), lines=30, centre=(150, 150)),
        one(vertices=700, radius=0, coefficient=0.0, waves=(7, 1), lines=900, centre=(-1.5, 30.25)),
        one(vertices=352, radius=30, coefficient=100, lines=60, centre=(290, 290)),
        one(vertices=64, radius=30, coefficient=1.0, waves=(1, 2), lines=301, centre=(-16, 150)),
        one(vertices=2048, radius=150, coefficient=0.3, waves=(1, 1000), lines=33, centre=(150, 0)),
    ]
    for number, words in enumerate(cases):
        drawn = draw(words, size, level=level)[0]
        assert np.array_equal(drawn, by_pillow(words, 0, size)), number


@pytest.mark.parametrize(
    "words",
    [
        # A segment of a strip that has left ends in the next, which has not (found by search).
        one(vertices=133, lines=11, waves=(8, 1), coefficient=18, radius=108, oval=(0.5, 0.5), centre=(-169, 54)),
        one(vertices=55, lines=9, waves=(6, 4), coefficient=17, radius=278, oval=(0.25, 0.75), centre=(227, 232)),
        # From a centre off the canvas, lines grow onto it.
        one(vertices=256, radius=0, coefficient=1, centre=(-20, 32), lines=60),
        one(vertices=256, radius=0, coefficient=1, centre=(84, 32), lines=60),
        one(vertices=256, radius=0, coefficient=1, centre=(32, -20), lines=60),
        one(vertices=256, radius=0, coefficient=1, centre=(32, 84), lines=60),
    ],
)
def test_strips_are_given_up_only_when_they_have_left_for_good(words: NDArray[np.uint32]) -> None:
    expected = by_pillow(words, 0, 64)
    assert expected.any()
    for level in LEVELS:
        assert np.array_equal(draw(words, 64, level=level)[0], expected), level


@pytest.mark.slow
def test_many_atoms_are_drawn_as_the_kernels_body_draws_them() -> None:
    random = np.random.default_rng(1)
    for _ in range(100):
        count = 40
        words = atom_words(
            random.integers(0, 2**63, count).astype(np.uint64),
            vertices=random.integers(33, 200, count),
            lines=random.integers(9, 30, count),
            waves=random.integers(0, 12, (count, 2)),
            coefficient=random.uniform(0, 30, count),
            line_width=random.uniform(0, 1, count),
            radius=random.integers(0, 400, count),
            oval=random.integers(1, 4, (count, 2)) / 4,
            centre=random.integers(-200, 264, (count, 2)),
        )
        out = np.zeros((count, 1, 64, 64), np.uint8)
        _C.draw_atoms_host_block(words, out, 2048, 1, False)
        assert np.array_equal(draw(words, 64), out[:, 0])


@given(
    st.integers(3, 300),
    st.integers(1, 60),
    st.floats(0, 12, width=32),
    st.floats(0, 90, width=32),
    st.tuples(st.floats(-80, 144, width=32), st.floats(-80, 144, width=32)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_any_atom_is_drawn_as_pillow_draws_it(
    vertices: int,
    lines: int,
    coefficient: float,
    radius: float,
    centre: tuple[float, float],
    waves: tuple[int, int],
) -> None:
    words = one(vertices=vertices, lines=lines, coefficient=coefficient, radius=radius, centre=centre, waves=waves)
    expected = by_pillow(words, 0, 64)
    for level in LEVELS:
        assert np.array_equal(draw(words, 64, level=level)[0], expected), level


# --- the twin


def twin_sincos(number: NDArray[np.int64], of: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sine and cosine of number / of turns, in float32 as visual_atom.h has them."""
    eighths = 8 * (number % of)
    octant, part = eighths // of, eighths % of
    a = np.where(octant % 2, of - part, part).astype(np.float32) / np.float32(of) * np.float32(0.785398163)
    square = a * a

    def series(*terms: float) -> NDArray[np.float32]:
        value = np.full_like(a, terms[0])
        for term in terms[1:]:
            value = twin.fma(square, value, np.full_like(a, term))
        return value

    odd = series(2.75573192e-6, -1.98412698e-4, 8.33333333e-3, -0.166666667)
    s = twin.fma(square * odd, a, a)
    c = series(-2.75573192e-7, 2.48015873e-5, -1.38888889e-3, 4.16666667e-2, -0.5, 1.0)
    swapped = np.isin(octant, (1, 2, 5, 6))
    sine, cosine = np.where(swapped, c, s), np.where(swapped, s, c)
    return np.where(octant >= 4, -sine, sine), np.where((octant >= 2) & (octant < 6), -cosine, cosine)


def twin_perlin(words: NDArray[np.uint32]) -> NDArray[np.float32]:
    """One-dimensional Perlin noise before its factor of 0.4."""

    def gradient(hashes: NDArray[np.uint32]) -> NDArray[np.float32]:
        return np.where(hashes & 8, -1, (hashes & 7).astype(np.int64) + 1).astype(np.float32)

    def constant(value: float) -> NDArray[np.float32]:
        return np.full(words.shape, value, np.float32)

    x = (words >> 8).astype(np.float32) * np.float32(2.0**-24)
    before, after = gradient(words) * x, gradient(words >> 4) * (x - np.float32(1))
    fade = (x * x * x) * twin.fma(x, twin.fma(x, constant(6), constant(-15)), constant(10))
    return twin.fma(fade, after - before, before)


def twin_polylines(atom: NDArray[np.uint32]) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Places of all vertices in all lines, and grays."""
    key = int(atom[0]) | int(atom[1]) << 32
    vertices, lines, n1, n2 = (int(value) for value in atom[2:6])
    coefficient, width, radius, *rest = atom[6:].view(np.float32)
    oval, centre = rest[:2], rest[2:]
    v = np.arange(vertices)
    sine, cosine = twin_sincos(v, vertices)
    directions = (cosine, sine)
    half = np.float32(0.5)
    first, second = twin_sincos(n1 * v, vertices)[0], twin_sincos(n2 * v, vertices)[0]
    wave = twin.fma(np.full_like(first, half), first, half * second)
    base = (-coefficient - wave) - width
    scale = np.full_like(base, np.float32(0.4) * coefficient)
    place = [
        twin.fma(directions[k], np.full_like(base, radius * oval[k]), np.full_like(base, centre[k])) for k in (0, 1)
    ]
    found, grays = [], []
    for line in range(lines):
        counters = np.zeros((vertices, 4), np.uint32)
        counters[:, 0], counters[:, 1], counters[:, 2] = line // 2, v, 5
        block = twin.philox(key, counters)
        for k in (0, 1):
            step = twin.fma(twin_perlin(block[:, 2 * (line % 2) + k]), scale, base)
            place[k] = twin.fma(-directions[k], step, place[k])
        found.append(np.stack(place, 1))
        gray = twin.philox(key, np.array([[line // 16, 0, 5, 1]], np.uint32))
        grays.append(gray.astype("<u4").view(np.uint8)[0, line % 16])
    return np.stack(found), np.array(grays, np.uint8)


def twin_draw(places: NDArray[np.float32], grays: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bresenham's lines by their closed form: after i of n steps, floor(i m / n + 1/2) steps aside."""
    canvas = np.zeros((size, size), np.uint8)
    for line, gray in zip(np.trunc(places).astype(np.int64), grays, strict=True):
        for start, end in zip(line, np.roll(line, -1, 0), strict=True):
            delta = end - start
            main = 0 if abs(delta[0]) > abs(delta[1]) else 1
            n, m = abs(delta[main]), abs(delta[1 - main])
            i = np.arange(n + 1)
            points = np.empty((n + 1, 2), np.int64)
            points[:, main] = start[main] + np.sign(delta[main]) * i
            points[:, 1 - main] = start[1 - main] + np.sign(delta[1 - main]) * ((2 * i * m + n) // max(2 * n, 1))
            inside = ((points >= 0) & (points < size)).all(1)
            canvas[points[inside, 1], points[inside, 0]] = gray
    return canvas


@pytest.mark.parametrize(("size", "seed"), [(32, 0), (100, 1), (128, 2)])
def test_vertices_grays_and_pixels_equal_the_twin(size: int, seed: int) -> None:
    words = words_of(3, size, seed=seed, vertices=(3, 151), lines=(1, 40), waves=(0, 100))
    drawn = draw(words, size)
    for i in range(len(words)):
        places, grays = polylines(words, i)
        expected, expected_grays = twin_polylines(words[i])
        assert np.array_equal(places, expected)
        assert np.array_equal(grays, expected_grays)
        assert np.array_equal(drawn[i], twin_draw(expected, expected_grays, size))


def test_without_noise_the_lines_are_the_waves() -> None:
    words = one(vertices=999, lines=50, coefficient=0.0, line_width=0.5, radius=40.0, oval=(1.5, 2.0), waves=(4, 17))
    places, _ = polylines(words, 0)
    t = 2 * np.pi * np.arange(999) / 999
    step = 0.5 * np.sin(4 * t) + 0.5 * np.sin(17 * t) + 0.5
    k = np.arange(1, 51)[:, None]
    assert np.abs(places[..., 0] - (32 + np.cos(t) * (60 + k * step))).max() < 1e-3
    assert np.abs(places[..., 1] - (32 + np.sin(t) * (80 + k * step))).max() < 1e-3


# --- the noise


def noise_drawn() -> NDArray[np.float64]:
    """The noise of many vertices, read from how far they moved."""
    words = one(vertices=2000, lines=200, waves=(0, 0), coefficient=1.0, line_width=0.0, radius=0.0, centre=(0, 0))
    places, _ = polylines(words, 0)
    moved = np.diff(places.astype(np.float64), axis=0)
    t = 2 * np.pi * np.arange(2000) / 2000
    slant = np.stack([np.cos(t), np.sin(t)], 1)
    strong = np.abs(slant) > 0.5
    return (1 - moved / np.where(strong, slant, 1))[:, strong].reshape(-1)


def released_noise(count: int) -> NDArray[np.float64]:
    """The formula of the released renderer's noise at uniform places, cell ends drawn independently."""
    random = np.random.default_rng(0)
    h0, h1, x = random.integers(0, 256, count), random.integers(0, 256, count), random.random(count)

    def gradient(h: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.where(h & 8, -1.0, (h & 7) + 1.0)

    fade = x * x * x * (x * (x * 6 - 15) + 10)
    return np.asarray(0.4 * (gradient(h0) * x * (1 - fade) + gradient(h1) * (x - 1) * fade))


def greatest_difference(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Kolmogorov and Smirnov's statistic."""
    places = np.linspace(-1, 1, 4001)
    shares = [np.searchsorted(np.sort(values), places) / values.size for values in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())


def test_noise_has_the_distribution_of_the_released_formula() -> None:
    ours, formula = noise_drawn(), released_noise(400_000)
    assert greatest_difference(ours, formula) < 0.004
    assert abs(ours.mean() - formula.mean()) < 0.002
    assert abs(ours).max() < 0.96  # what the drawing relies on where it leaves out strips


def test_noise_is_close_to_the_noise_package() -> None:
    noise = pytest.importorskip("noise")
    random = np.random.default_rng(0)
    theirs = np.array([noise.pnoise1(place) for place in random.uniform(0, 10000, 200_000)])
    # Its permutation has neighbours of its own: the two differ by 0.01.
    assert greatest_difference(noise_drawn(), theirs) < 0.02


def test_grays_are_uniform_and_independent_of_the_place_of_their_line() -> None:
    grays = np.stack([polylines(w[None], 0)[1] for w in words_of(400, 8, vertices=(3, 3), lines=(200, 200))])
    assert abs(grays.mean() - 127.5) < 1.0
    assert np.abs(grays.mean(0) - 127.5).max() < 5 * 73.9 / math.sqrt(400)
    assert len(np.unique(grays)) == 256


# --- one picture, whatever draws it


def test_all_levels_threads_and_batches_give_the_same_bits() -> None:
    words = words_of(12, 160, seed=3)
    expected = draw(words, 160, level="scalar")
    for level in LEVELS:
        assert np.array_equal(draw(words, 160, level=level), expected)
    for threads in (2, 7):
        assert np.array_equal(draw(words, 160, threads), expected)
    assert np.array_equal(np.concatenate([draw(words[:5], 160), draw(words[5:], 160)]), expected)
    assert np.array_equal(draw(words[::-1].copy(), 160), expected[::-1])


@pytest.mark.parametrize("threads", [1, 7, 256])
@pytest.mark.parametrize("reverse", [False, True])
def test_the_kernels_body_gives_the_bits_of_the_cpu(threads: int, reverse: bool) -> None:
    for size in (8, 33, 96):
        words = np.concatenate([words_of(4, size, seed=1), one(vertices=2048, lines=3), one(vertices=3, lines=1)])
        out = np.full((len(words), 1, size, size), 55, np.uint8)
        _C.draw_atoms_host_block(words, out, 2048, threads, reverse)
        assert np.array_equal(out[:, 0], draw(words, size))


def test_the_state_of_the_floating_point_unit_does_not_matter() -> None:
    words = words_of(3, 64)
    expected = draw(words, 64)
    torch.set_flush_denormal(True)
    try:
        assert np.array_equal(draw(words, 64), expected)
    finally:
        torch.set_flush_denormal(False)


GOLDEN = {512: "d408f633b49f82c9", 224: "1cff86b167259862", 65: "511366277ab6f08d"}


@pytest.mark.parametrize("size", GOLDEN)
def test_pictures_are_the_ones_they_have_always_been(size: int) -> None:
    recipe = VisualAtoms(5, instances=3, seed=11, canvas=size)
    drawn = recipe.draw(recipe.plan_images(np.arange(15)), CPU)
    assert hashlib.sha256(drawn.numpy().tobytes()).hexdigest()[:16] == GOLDEN[size]


@pytest.mark.gpu
@pytest.mark.parametrize("size", [8, 65, 224, 512])
def test_a_gpu_gives_the_bits_of_the_cpu(size: int) -> None:
    words = np.concatenate([words_of(20, size), one(vertices=2048, lines=3), one(vertices=3, lines=1)])
    drawn = draw_atoms(Atoms.of(words, 2048, torch.device("cuda", torch.cuda.current_device())), size=size)
    assert drawn.is_cuda
    assert np.array_equal(drawn[:, 0].cpu().numpy(), draw(words, size))


@pytest.mark.gpu
def test_a_gpu_draws_on_the_callers_stream() -> None:
    device = torch.device("cuda", torch.cuda.current_device())
    atoms = Atoms.of(words_of(20, 224), 1000, device)
    expected = draw_atoms(atoms, size=224)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(10_000_000)
        drawn = draw_atoms(atoms, size=224)
        assert not stream.query()  # the call did not wait
    stream.synchronize()
    assert torch.equal(drawn, expected)


# --- the recipe


def test_categories_have_the_released_distributions() -> None:
    found = VisualAtoms(20_000)._categories
    for name, low, high in (("vertices", 200, 1000), ("lines", 1, 200), ("radius", 0, 50)):
        values = found[name]
        assert (values.min(), values.max()) == (low, high)
        width = high - low + 1
        assert abs(values.mean() - (low + high) / 2) < 4 * width / math.sqrt(12 * values.size)
    for name, low, high in (("coefficient", 2.0, 6.0), ("line_width", 0.0, 0.01), ("oval", 1.0, 2.0)):
        values = found[name]
        assert low <= values.min()
        assert values.max() <= high
        assert abs(values.mean() - (low + high) / 2) < 4 * (high - low) / math.sqrt(12 * values.size)
        assert abs(values.std() - (high - low) / math.sqrt(12)) < 0.02 * (high - low)
    first, second = found["waves"].T
    assert ((first != second) | (first == 0)).all()
    assert (first == second).any()
    counts = np.bincount(first, minlength=21)
    assert np.abs(counts - 20_000 / 21).max() < 5 * math.sqrt(20_000 / 21)
    # After a first that is not 0, each other number is as likely; after 0, each number.
    for value in (0, 1, 20):
        others = np.bincount(second[first == value], minlength=21)
        legal = np.arange(21) != value if value else np.ones(21, bool)
        share = others.sum() / legal.sum()
        assert np.abs(others[legal] - share).max() < 5 * math.sqrt(share)


def test_parameters_of_a_category_are_independent() -> None:
    found = VisualAtoms(20_000)._categories
    columns = [np.asarray(values, float).reshape(20_000, -1) for name, values in found.items() if name != "waves"]
    correlations = np.corrcoef(np.concatenate(columns, 1).T)
    assert np.abs(correlations - np.eye(len(correlations))).max() < 0.035


@pytest.mark.parametrize("canvas", [512, 101])
def test_centres_are_as_released_and_scale_with_the_canvas(canvas: int) -> None:
    recipe = VisualAtoms(2, instances=5000, canvas=canvas)
    plan = recipe.plan_images(np.arange(10_000))
    assert isinstance(plan, VisualAtomsPlan)
    centres = plan.atoms[:, 11:].copy().view(np.float32)
    assert np.array_equal(2 * centres, np.trunc(2 * centres))
    assert (centres.min(), centres.max()) == (0, canvas)
    assert np.abs(centres.mean(0) / canvas - 0.5).max() < 0.012
    assert abs(np.corrcoef(centres.T)[0, 1]) < 0.04


def test_instances_of_a_class_share_its_parameters_and_fresh_draws_change_the_rest() -> None:
    recipe = VisualAtoms(3, instances=4, seed=5, canvas=64)
    images = recipe.plan_images(np.arange(12))
    assert isinstance(images, VisualAtomsPlan)
    assert len(np.unique(images.atoms[:, 2:11], axis=0)) == 3
    assert len(np.unique(images.atoms[:, :2], axis=0)) == 12
    assert len(np.unique(images.atoms[:, 11:], axis=0)) > 10
    fresh = recipe.plan_images(np.arange(12), draws="fresh")
    assert isinstance(fresh, VisualAtomsPlan)
    assert np.array_equal(fresh.atoms[:, 2:11], images.atoms[:, 2:11])
    assert not np.array_equal(fresh.atoms[:, 11:], images.atoms[:, 11:])
    drawn = recipe.draw(images, CPU)
    assert drawn.dtype is torch.uint8
    assert tuple(drawn.shape) == (12, 1, 64, 64)
    assert torch.equal(recipe.draw(images[4:7], CPU), drawn[4:7])


@pytest.mark.parametrize(
    "recipe",
    [
        VisualAtoms(),
        VisualAtoms(
            7, 2**64 - 1, instances=2, canvas=100, vertices=(3, 2048), oval=(0.5, 0.5), waves=(0, 0), radius=(4, 9)
        ),
    ],
)
def test_json_gives_an_equal_recipe_back(recipe: VisualAtoms, tmp_path: Any) -> None:
    again = VisualAtoms.from_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.to_json() == recipe.to_json()
    recipe.save(tmp_path / "recipe.json")
    assert load_recipe(tmp_path / "recipe.json") == recipe


def test_lists_and_whole_numbers_are_taken_as_the_pairs_they_mean() -> None:
    given: Any = {"vertices": [200, 1000], "coefficient": [2, 6]}
    assert VisualAtoms(**given) == VisualAtoms()
    assert VisualAtoms(**given).fingerprint == VisualAtoms().fingerprint


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"vertices": (2, 10)}, ValueError, "vertices must be an integer in 3..2048, got 2"),
        ({"vertices": (3, 2049)}, ValueError, "vertices must be an integer in 3..2048, got 2049"),
        ({"vertices": (30, 10)}, ValueError, r"vertices must be \(lowest, highest\), got \(30, 10\)"),
        ({"vertices": 30}, TypeError, "vertices must be a pair, lowest and highest, got 30"),
        ({"vertices": "39"}, TypeError, "vertices must be a pair"),
        ({"vertices": (3, 4, 5)}, TypeError, "vertices must be a pair"),
        ({"vertices": (3.0, 4.0)}, TypeError, "vertices must be an integer"),
        ({"lines": (0, 3)}, ValueError, "lines must be an integer in 1..2000, got 0"),
        ({"radius": (-1, 3)}, ValueError, "radius must be an integer in 0..4096, got -1"),
        ({"waves": (5, 5)}, ValueError, r"waves must hold two numbers, .* got \(5, 5\)"),
        ({"waves": (0, 1001)}, ValueError, "waves must be an integer in 0..1000, got 1001"),
        ({"coefficient": (2, math.nan)}, ValueError, "coefficient must be a number"),
        ({"coefficient": (2, 101)}, ValueError, "coefficient must be a number in .*, got 101"),
        ({"line_width": (-0.1, 0)}, ValueError, "line_width must be a number in .*, got -0.1"),
        ({"oval": (1, 65)}, ValueError, "oval must be a number in .*, got 65"),
        ({"canvas": 7}, ValueError, "canvas must be an integer in 8..4096, got 7"),
        ({"instances": 0}, ValueError, "instances must be an integer in 1..1000000, got 0"),
        ({"num_classes": 0}, ValueError, "num_classes must be an integer"),
        ({"seed": -1}, ValueError, "seed must be an integer"),
    ],
)
def test_bad_recipes_are_refused_by_name(changes: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        VisualAtoms(**changes)


def test_bits_are_refused() -> None:
    recipe = VisualAtoms(2, canvas=32)
    with pytest.raises(ValueError, match="bits must be False"):
        recipe.draw(recipe.plan_images([0]), CPU, bits=True)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"vertices": 2}, "atom 0: vertices must be 3 to 2048, got 2"),
        ({"lines": 2001}, "atom 0: lines must be 1 to 2000, got 2001"),
        ({"waves": (0, -1)}, "atom 0: waves must be 0 to 1000, got -1"),
        ({"coefficient": math.nan}, "atom 0: coefficient must be 0 to 100, got nan"),
        ({"line_width": 200}, "atom 0: line_width must be 0 to 100, got 200"),
        ({"radius": -1}, "atom 0: radius must be 0 to 4096, got -1"),
        ({"oval": (1, math.inf)}, "atom 0: oval must be 0 to 64, got inf"),
        ({"centre": (1, 20000)}, "atom 0: centre must be -16384 to 16384, got 20000"),
    ],
)
def test_bad_atoms_are_refused_by_name(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        one(**changes)


def test_the_core_refuses_what_it_cannot_draw_into() -> None:
    words = one()
    good = np.zeros((1, 1, 64, 64), np.uint8)
    read_only = good.copy()
    read_only.setflags(write=False)
    for out, text in (
        (good[0], "out must have shape"),
        (np.zeros((1, 1, 64, 32), np.uint8), "out must have shape"),
        (np.zeros((2, 1, 64, 64), np.uint8), "as many images"),
        (good.astype(np.int32), "out must be uint8"),
        (np.zeros((1, 1, 64, 128), np.uint8)[..., ::2], "out must be contiguous"),
        (read_only, "out must be writable"),
        (np.zeros((1, 1, 4, 4), np.uint8), "size must be 8 to 4096"),
    ):
        with pytest.raises(ValueError, match=text):
            _C.draw_atoms(words, out, 2048, 1, "", 0)
    with pytest.raises(ValueError, match="atoms must be what pack_atoms returns"):
        _C.draw_atoms(words[:, :12].copy(), good, 2048, 1, "", 0)
    with pytest.raises(ValueError, match="no atom may have more than max_vertices"):
        _C.draw_atoms(words, good, 99, 1, "", 0)
    with pytest.raises(ValueError, match="threads must be 1 to 1024"):
        _C.draw_atoms(words, good, 2048, 0, "", 0)
    bad = words.copy()
    bad[0, 2] = 2**31 + 5
    with pytest.raises(ValueError, match="vertices must be"):
        _C.draw_atoms(bad, good, 2048, 1, "", 0)
    assert not good.any()
    with pytest.raises(ValueError, match="number must be"):
        _C.atom_polylines(words, 1)


# --- streams


@pytest.mark.parametrize("draws", ["fixed", "fresh"])
def test_a_stream_gives_the_drawn_pictures(draws: str) -> None:
    recipe = VisualAtoms(6, instances=3, seed=2, canvas=64, lines=(1, 30))
    stream = recipe.stream(4, size=64, draws=draws, dtype=torch.uint8, channels=1)
    batches = iter(stream)
    for g in range(3):
        images, labels = next(batches)
        plan = recipe.plan(np.arange(4 * g, 4 * g + 4), draws)
        assert torch.equal(images, recipe.draw(plan, CPU))
        assert torch.equal(labels, torch.from_numpy(plan.labels))


def test_a_stream_augments_and_resumes() -> None:
    recipe = VisualAtoms(5, instances=2, canvas=96, lines=(1, 30))
    stream = recipe.stream(3, size=48, augment="deit")
    batches = iter(stream)
    first, _ = next(batches)
    assert tuple(first.shape) == (3, 3, 48, 48)
    state = stream.state_dict()
    second, _ = next(batches)
    other = recipe.stream(3, size=48, augment="deit")
    other.load_state_dict(state)
    assert torch.equal(next(iter(other))[0], second)
