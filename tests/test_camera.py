"""The camera: views, tone, noise and whole recipes against Pillow, timm and a NumPy twin; the same bits everywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterator
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import camera_twin
import numpy as np
import pytest
import torch
import twin
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageOps
from timm.data.auto_augment import solarize_add

import onepfrac
from onepfrac import _C, OnePFrac, sample_ifs
from onepfrac.augment import resolve_policy
from onepfrac.camera import INTERPOLATIONS, Film, draw_pictures, normal_levels, pack_shots, take_pictures, take_planes
from onepfrac.rendering import BITS, BRUSHES, DTYPES, render
from onepfrac.shots import MAX_STEPS, MAX_WINDOWS, Shots, Step

Grays = NDArray[np.uint8]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

CPU = torch.device("cpu")
LEVELS = _C.simd_levels()
PILLOWS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
SEEDS = st.integers(0, 2**32 - 1)
IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Torch's own loops wait for each other longer than they take, where pictures are this small."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@lru_cache
def fractals() -> Grays:
    """Eight canvases of 512 pixels, (8, 512, 512) of 0 and 127."""
    recipe = OnePFrac(num_classes=8)
    return recipe.draw(recipe.plan(range(8)), CPU, 1)[:, 0].numpy()


@lru_cache
def scenes(name: str) -> Grays:
    """Gray pictures (B, 512, 512)."""
    if name == "fractals":
        return fractals()
    if name == "photograph":
        data = pytest.importorskip("skimage.data")
        return np.ascontiguousarray(data.camera()[None])
    y, x = np.mgrid[0:512, 0:512] / 512
    waves = 128 + 60 * np.sin(7 * x + 3 * y * y) + 40 * np.cos(23 * x * y) + 30 * (np.hypot(x - 0.5, y - 0.4) < 0.2)
    noisy = waves + np.random.default_rng(3).normal(0, 6, waves.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)[None]


def as_bits(inked: NDArray[np.bool_]) -> torch.Tensor:
    """Canvases (B, S, S) as bits, int32 (B, 1, S, words): pixel c of a row is bit c % 32 of word c // 32."""
    count, side, _ = inked.shape
    padded = np.zeros((count, side, -(-side // 32) * 32), np.uint8)
    padded[..., :side] = inked
    words = np.packbits(padded, axis=-1, bitorder="little").view("<i4").astype(np.int32)
    return torch.from_numpy(words[:, None])


def shown(canvas: Any, *arguments: Any, **settings: Any) -> Ints:
    """The grays (size, size) of one picture."""
    (picture,) = onepfrac.picture(canvas, *arguments, **settings)
    return picture[0].numpy().astype(np.int64)


def seen_at(view: Floats, size: int) -> tuple[Floats, Floats]:
    """The places x and y on the canvas, (size, size), of the centres of pixels."""
    x, y = np.meshgrid(np.arange(size) + 0.5, np.arange(size) + 0.5)
    return view[0, 0] * x + view[0, 1] * y + view[0, 2], view[1, 0] * x + view[1, 1] * y + view[1, 2]


def shifted(x: float, y: float) -> Floats:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y]])


def about_the_centre(matrix: Any, side: float, size: float) -> Floats:
    """The view with this linear part that has the canvas's centre in the middle."""
    linear = np.asarray(matrix, np.float64)
    return np.column_stack([linear, side / 2 - linear @ [size / 2, size / 2]])


def turned(degrees: float, scale: float = 1.0) -> Floats:
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def random_shots(rng: np.random.Generator, count: int, size: int, side: int, widest: float = 6.0) -> Shots:
    """Shots of all kinds: crops, shears, turns and others, also off the canvas; any steps, windows, rectangles."""
    views, steps, amounts = np.zeros((count, 2, 3)), np.zeros((count, 20), np.int8), np.zeros((count, 20))
    windows, erased = np.zeros((count, MAX_WINDOWS, 2, 3)), np.zeros((count, 4), np.int32)
    for b in range(count):
        linear = np.diag(np.exp(rng.uniform(np.log(0.1), np.log(widest), 2)) * rng.choice([-1, 1], 2))
        kind = rng.integers(6)
        if kind == 1:
            linear[0, 1] = rng.normal()
        elif kind == 2:
            linear[1, 0] = rng.normal()
        elif kind == 3:
            linear = turned(rng.uniform(0, 360), abs(linear[0, 0]))
        elif kind == 4:
            linear = linear @ turned(rng.uniform(-40, 40))
        elif kind == 5:
            linear = linear[::-1]  # columns become rows
        views[b] = about_the_centre(linear, side, size)
        views[b, :, 2] += rng.uniform(-0.7, 0.7, 2) * side * rng.choice([0, 1])
        kinds = rng.choice(11, rng.choice([0, 1, 2, 3, 5, 10, 20]), p=[0.05, 0.2, *[0.05] * 2, 0.2, *[0.075] * 6])
        for step, most in ((Step.WINDOW, MAX_WINDOWS), (Step.SHARPNESS, 8)):
            kinds[np.flatnonzero(kinds == step)[most:]] = Step.NONE
        kinds[np.flatnonzero(kinds)[MAX_STEPS:]] = Step.NONE
        steps[b, : kinds.size] = kinds
        highest = {Step.WINDOW: 255, Step.POSTERIZE: 8, Step.SOLARIZE: 256, Step.SOLARIZE_ADD: 255}
        for k, step in enumerate(kinds):
            factor = rng.choice([rng.uniform(0, 2), rng.uniform(-3, 10), 0.0, 1.0], p=[0.7, 0.2, 0.05, 0.05])
            amounts[b, k] = rng.integers(0, highest[step] + 1) if step in highest else factor
        for g in range((kinds == Step.WINDOW).sum()):
            frame = turned(rng.choice([0, 0, rng.uniform(-60, 60)]), rng.uniform(0.4, 1.3) / size)
            windows[b, g] = about_the_centre(frame, 1, size)
            windows[b, g, :, 2] += rng.uniform(-0.3, 0.3, 2)
            if rng.random() < 0.3:  # centres of pixels lie on its edges exactly, where the size is a power of 2
                windows[b, g] = shifted(*(rng.integers(-size, size, 2) / 2)) / size
        if rng.random() < 0.7:
            (top, left), ends = rng.integers(0, size + 1, 2), rng.integers(0, size + 1, 2)
            erased[b] = top, left, max(0, ends[0] - top), max(0, ends[1] - left)
    keys = rng.integers(0, 2**64, count, dtype=np.uint64)
    return Shots(views, steps, amounts, windows, erased, keys)


# --- the view


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(side=st.integers(8, 100), seed=SEEDS)
def test_the_identity_view_gives_the_canvas_itself(interpolation: str, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    grays = rng.integers(0, 256, (2, side, side), dtype=np.uint8)
    inked = grays > 127
    for canvases, expected in ((grays, grays), (inked, 255 * inked), (as_bits(inked), 127 * inked)):
        for view in (None, IDENTITY):
            pictures = onepfrac.picture(canvases, view, interpolation=interpolation)
            assert pictures.dtype is torch.uint8
            assert pictures.shape == (2, 1, side, side)
            assert np.array_equal(pictures[:, 0].numpy(), expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(
    st.integers(1, 60), st.integers(1, 60), st.integers(8, 50), st.integers(-90, 90), st.integers(-90, 90), SEEDS,
    st.one_of(st.none(), st.integers(0, 255)),
)  # fmt: skip
def test_a_view_by_whole_pixels_is_a_crop_beyond_which_the_edge_or_the_outside_goes_on(
    interpolation: str, width: int, height: int, size: int, left: int, top: int, seed: int, outside: int | None
) -> None:
    canvas = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    padded = np.pad(canvas, 200, "edge") if outside is None else np.pad(canvas, 200, constant_values=outside)
    expected = padded[200 + top :, 200 + left :][:size, :size]
    picture = shown(canvas, shifted(left, top), size=size, outside=outside, interpolation=interpolation)
    assert np.array_equal(picture, expected)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("side", [8, 33, 64, 97])
def test_quarter_turns_and_mirrors_are_exact(side: int, interpolation: str) -> None:
    canvas = np.random.default_rng(side).integers(0, 256, (side, side), dtype=np.uint8)
    for quarters in range(4):
        turn = np.rint(turned(90 * quarters))
        for mirror in (np.eye(2), np.diag([-1, 1])):
            expected = np.rot90(canvas, quarters)
            if mirror[0, 0] < 0:
                expected = expected[:, ::-1]
            view = about_the_centre(turn @ mirror, side, side)
            assert np.array_equal(shown(canvas, view, interpolation=interpolation), expected)
            bits = as_bits(canvas[None] > 127)
            assert np.array_equal(shown(bits, view, interpolation=interpolation), 127 * (expected > 127))
    transposed = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    assert np.array_equal(shown(canvas, transposed, interpolation=interpolation), canvas.T)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(
    st.integers(0, 255),
    st.lists(st.floats(-12, 12), min_size=4, max_size=4),
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=2),
    st.integers(1, 50),
    st.integers(1, 50),
)
def test_a_canvas_of_one_gray_gives_that_gray_through_any_view(
    interpolation: str, gray: int, linear: list[float], shift: list[float], width: int, height: int
) -> None:
    view = np.column_stack([np.reshape(linear, (2, 2)), shift])
    canvas = np.full((height, width), gray, np.uint8)
    assert (shown(canvas, view, size=9, interpolation=interpolation) == gray).all()
    assert (shown(as_bits(np.ones((1, 32, 32), bool)), view, size=9, interpolation=interpolation) == 127).all()


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_far_off_the_canvas_its_edge_goes_on_or_the_gray_of_the_outside(interpolation: str) -> None:
    canvas = scenes("waves")[0, :40, :40]
    rows = np.tile(canvas[:, :1], (1, 40))
    corner = np.full((40, 40), canvas[-1, -1])
    for view, expected in ((shifted(-1e6, 0), rows), (shifted(1e6, 1e6), corner)):
        assert np.array_equal(shown(canvas, view, interpolation=interpolation), expected)
        assert (shown(canvas, view, outside=77, interpolation=interpolation) == 77).all()
    view = about_the_centre(turned(30, 3), 1e8, 40)
    assert (shown(canvas, view, interpolation=interpolation) == canvas[-1, -1]).all()
    assert (shown(canvas, view, outside=77, interpolation=interpolation) == 77).all()


@pytest.mark.parametrize(("scene", "bound"), [("fractals", 0.6), ("waves", 0.3), ("photograph", 0.3)])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_crops_are_those_of_pillow(scene: str, interpolation: str, bound: float) -> None:
    """Away from the border, where Pillow sees the crop alone. It also rounds and clips between the two axes."""
    rng, canvases, size = np.random.default_rng(1), scenes(scene), 224
    for share, number in itertools.product((0.08, 0.2, 0.5, 1.0), range(5)):
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = (min(512, round(512 * np.sqrt(share * r))) for r in (ratio, 1 / ratio))
        left, top = int(rng.integers(0, 513 - width)), int(rng.integers(0, 513 - height))
        canvas = canvases[number % len(canvases)]
        expected = Image.fromarray(canvas).crop((left, top, left + width, top + height))
        expected = expected.resize((size, size), PILLOWS[interpolation])
        view = np.array([[width / size, 0, left], [0, height / size, top]])
        if number % 2:
            expected, view = expected.transpose(Image.Transpose.FLIP_LEFT_RIGHT), view * [[-1, 1, 1], [1, 1, 1]]
            view[0, 2] += width
        if number // 2 % 2:
            expected, view = expected.transpose(Image.Transpose.FLIP_TOP_BOTTOM), view * [[1, 1, 1], [1, -1, 1]]
            view[1, 2] += height
        apart = np.abs(shown(canvas, view, size=size, interpolation=interpolation) - np.asarray(expected))[4:-4, 4:-4]
        assert apart.mean() < bound
        assert apart.max() <= (20 if interpolation == "bicubic" else 3)


@pytest.mark.parametrize("scene", ["fractals", "waves", "photograph"])
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("size", [64, 224, 500])
def test_each_pixel_of_a_crop_is_within_two_of_pillows_in_floats(scene: str, interpolation: str, size: int) -> None:
    """At fractions of pixels, enlarged and shrunk. Floats are not rounded between the axes, nor clipped."""
    rng, canvases = np.random.default_rng(2), scenes(scene)
    for share, number in itertools.product((0.0005, 0.08, 0.5, 0.98), range(3)):
        ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        width, height = (min(510.0, 512 * np.sqrt(share * r)) for r in (ratio, 1 / ratio))
        left, top = rng.uniform(1, 511 - width), rng.uniform(1, 511 - height)
        canvas = canvases[number % len(canvases)]
        view = np.array([[width / size, 0, left], [0, height / size, top]])
        floats = Image.fromarray(canvas.astype(np.float32))
        box = (left, top, left + width, top + height)
        expected = np.clip(np.asarray(floats.resize((size, size), PILLOWS[interpolation], box=box)), 0, 255)
        apart = np.abs(shown(canvas, view, size=size, interpolation=interpolation) - expected)
        reach = 2 * max(1, width / size, height / size) + 1  # nearer to the canvas's edge Pillow has fewer taps
        inner = [((at > reach) & (at < 512 - reach)) for at in seen_at(view, size)]
        apart = apart[inner[0] & inner[1]]
        assert apart.size
        assert apart.max() < 2
        assert apart.mean() < 0.3  # rounding alone gives 0.25


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize(("side", "size"), [(1024, 16), (4096, 32), (2048, 8), (16, 1000), (8, 512)])
def test_shrinking_and_enlarging_far_are_pillows(side: int, size: int, interpolation: str) -> None:
    rng = np.random.default_rng(4)
    blocks = rng.integers(0, 256, (max(2, min(side, side // 16)),) * 2, dtype=np.uint8)
    canvas = np.kron(blocks, np.ones((-(-side // len(blocks)),) * 2, np.uint8))[:side, :side]
    canvas = np.ascontiguousarray(canvas ^ rng.integers(0, 32, canvas.shape, dtype=np.uint8))
    floats = Image.fromarray(canvas.astype(np.float32))
    expected = np.clip(np.asarray(floats.resize((size, size), PILLOWS[interpolation])), 0, 255)
    apart = np.abs(shown(canvas, size=size, interpolation=interpolation) - expected)
    # Pillow leaves out the taps beyond the canvas, where ours repeat its edge.
    border = int(np.ceil(2.5 * max(1, size / side)))
    assert apart[border:-border, border:-border].max() < 2
    assert apart.mean() < 2


MOVES: dict[str, Callable[[float, int], Floats]] = {
    "rotation": lambda amount, side: about_the_centre(turned(30 * amount), side, side),
    "shear along x": lambda amount, _: np.array([[1, 0.3 * amount, 0], [0, 1, 0]]),
    "shear along y": lambda amount, _: np.array([[1, 0, 0], [0.3 * amount, 1, 0]]),
    "shift along x": lambda amount, side: shifted(0.45 * amount * side, 0),
    "shift along y": lambda amount, side: shifted(0, 0.45 * amount * side),
}


AMOUNTS = (-0.8713, -0.4177, 0.0331, 0.3119, 0.9237)  # no pixel lies on the canvas's edge exactly


def moved_by_pillow(canvas: Image.Image, view: Floats, interpolation: str, fill: int) -> Image.Image:
    return canvas.transform(
        canvas.size, Image.Transform.AFFINE, tuple(view.ravel().tolist()), PILLOWS[interpolation], fillcolor=fill
    )


@pytest.mark.parametrize(("scene", "bound"), [("fractals", 2.0), ("waves", 1.0), ("photograph", 1.3)])
@pytest.mark.parametrize("move", MOVES)
def test_moves_at_canvas_size_are_near_pillows_sharper_cubic(move: str, scene: str, bound: float) -> None:
    """Pillow's transform has a cubic with a = -1, its resize and the camera one with a = -1/2."""
    for number, amount in enumerate(AMOUNTS):
        canvas, view = scenes(scene)[number % len(scenes(scene))], MOVES[move](amount, 512)
        expected = np.asarray(moved_by_pillow(Image.fromarray(canvas), view, "bicubic", 200))
        x, y = seen_at(view, 512)
        inner = (x > 4) & (x < 508) & (y > 4) & (y < 508)
        apart = np.abs(shown(canvas, view, outside=200) - expected)[inner]
        assert apart.mean() < bound


@pytest.mark.parametrize("scene", ["fractals", "waves", "photograph"])
@pytest.mark.parametrize("move", MOVES)
def test_bilinear_moves_at_canvas_size_are_pillows(move: str, scene: str) -> None:
    """In floats: of 8-bit grays Pillow drops the fraction."""
    for number, amount in enumerate(AMOUNTS):
        canvas, view = scenes(scene)[number % len(scenes(scene))], MOVES[move](amount, 512)
        expected = np.asarray(moved_by_pillow(Image.fromarray(canvas.astype(np.float32)), view, "bilinear", 200))
        x, y = seen_at(view, 512)
        inner = (x > 4) & (x < 508) & (y > 4) & (y < 508)
        apart = np.abs(shown(canvas, view, outside=200, interpolation="bilinear") - expected)[inner]
        assert apart.mean() < 0.35
        # A shear is longer than 1 along its axis, so that the triangle is a little wider than Pillow's.
        assert apart.max() < (10 if move.startswith("shear") else 2)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@pytest.mark.parametrize("move", MOVES)
def test_the_outside_begins_where_pillow_fills(move: str, interpolation: str) -> None:
    for number, amount in enumerate(AMOUNTS):
        canvas, view = fractals()[number], MOVES[move](amount, 512)
        expected = np.asarray(moved_by_pillow(Image.fromarray(canvas), view, interpolation, 250)) == 250
        assert expected.any()
        assert np.array_equal(shown(canvas, view, outside=250, interpolation=interpolation) == 250, expected)


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_a_centre_on_the_first_edge_of_the_canvas_lies_on_it_and_one_on_the_last_does_not(turn: int) -> None:
    for side in (16, 32):
        for shift in (-side / 2 - 0.5, -0.5, 0.5, side / 2 + 0.5):
            view = about_the_centre(np.rint(turned(turn)), side, side)
            view[:, 2] += shift, -shift
            x, y = seen_at(view, side)
            assert (x % 1 == 0).all()
            on = (x >= 0) & (x < side) & (y >= 0) & (y < side)
            picture = shown(np.full((side, side), 100, np.uint8), view, outside=3)
            assert np.array_equal(picture, np.where(on, 100, 3))


def test_views_of_many_canvases_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(8)
    canvases = rng.integers(0, 256, (3, 30, 40), dtype=np.uint8)
    views = np.stack([about_the_centre(turned(angle, 1.3), 35, 16) for angle in range(0, 350, 70)])
    for which in ([0, 1, 2, 1, 0], [2] * 5, np.array([1, 0, 0, 2, 2], np.uint8)):
        pictures = onepfrac.picture(canvases, views, [("contrast", 1.5)], size=16, outside=9, which=which)
        for picture, view, number in zip(pictures, views, which, strict=True):
            alone = onepfrac.picture(canvases[number], view, [("contrast", 1.5)], size=16, outside=9)
            assert torch.equal(picture, alone[0])
    several = onepfrac.picture(canvases[1], views, size=16)
    assert torch.equal(several, onepfrac.picture(canvases, views, size=16, which=[1] * 5))
    assert torch.equal(
        onepfrac.picture(canvases, views[:3], size=16)[2:], onepfrac.picture(canvases[2], views[2], size=16)
    )
    one_view = onepfrac.picture(canvases, views[0], size=16)
    assert torch.equal(one_view, onepfrac.picture(canvases, views[[0, 0, 0]], size=16))
    assert onepfrac.picture(canvases[:0], size=16).shape == (0, 1, 16, 16)


class OnlyDlpack:
    """An array of a library that is neither torch nor NumPy."""

    def __init__(self, array: Grays) -> None:
        self.array = array

    def __dlpack__(self, **settings: Any) -> Any:
        return self.array.__dlpack__(**settings)

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()


def test_canvases_may_come_from_any_library_in_any_shape_and_stride() -> None:
    grays = np.random.default_rng(9).integers(0, 256, (2, 20, 20), dtype=np.uint8)
    expected, before = onepfrac.picture(grays, size=11), grays.copy()
    tensor = torch.from_numpy(grays)
    given_as = {
        "torch": tensor,
        "with a channel": tensor[:, None],
        "columns first": np.asfortranarray(grays),
        "every second": np.repeat(np.repeat(grays, 2, 1), 2, 2)[:, ::2, ::2],
        "backwards": np.ascontiguousarray(grays[:, ::-1, ::-1])[:, ::-1, ::-1],
        "transposed": tensor.transpose(1, 2).contiguous().transpose(1, 2),
        "DLPack": OnlyDlpack(grays),
    }
    for name, canvases in given_as.items():
        assert torch.equal(onepfrac.picture(canvases, size=11), expected), name
    assert torch.equal(onepfrac.picture(grays[1], size=11), expected[1:])
    assert torch.equal(onepfrac.picture(grays, torch.tensor([[20 / 11, 0, 0], [0, 20 / 11, 0]]), size=11), expected)
    onepfrac.picture(tensor).fill_(0)  # of the canvas's size, but not its memory
    assert np.array_equal(grays, before)


def test_a_canvas_that_may_not_be_written_to_is_read_without_a_warning() -> None:
    canvas = np.random.default_rng(10).integers(0, 256, (9, 9), dtype=np.uint8)
    expected, always = onepfrac.picture(canvas), torch.is_warn_always_enabled()
    canvas.setflags(write=False)
    torch.set_warn_always(True)  # or torch warns once in a process
    try:
        assert torch.equal(onepfrac.picture(canvas), expected)
    finally:
        torch.set_warn_always(always)


# --- tone


def toned_by_pillow(picture: Image.Image, operation: str | tuple[str, float]) -> Image.Image:
    name, amount = operation if isinstance(operation, tuple) else (operation, 0)
    operations: dict[str, Callable[[], Image.Image]] = {
        "brightness": lambda: ImageEnhance.Brightness(picture).enhance(amount),
        "contrast": lambda: ImageEnhance.Contrast(picture).enhance(amount),
        "sharpness": lambda: ImageEnhance.Sharpness(picture).enhance(amount),
        "autocontrast": lambda: ImageOps.autocontrast(picture),
        "equalize": lambda: ImageOps.equalize(picture),
        "posterize": lambda: ImageOps.posterize(picture, int(amount)),
        "solarize": lambda: ImageOps.solarize(picture, int(amount)),
        "solarize_add": lambda: solarize_add(picture, int(amount)),
        "invert": lambda: ImageOps.invert(picture),
    }
    return operations[name]()


@lru_cache
def gradients() -> list[Grays]:
    """Gradients with noise: over all grays, of an odd size, over some grays; and two that have few."""
    y, x = np.mgrid[0:96, 0:96]
    noise = np.random.default_rng(5).normal(0, 12, (96, 96))
    full = np.clip(2.2 * x + 0.4 * y + noise, 0, 255).astype(np.uint8)
    two = np.where(full > 90, np.uint8(130), np.uint8(20))
    return [full, full[:65, 20:85], (full // 2 + 40).astype(np.uint8), full // 64 * 60, two]


FACTORS = [0, 0.1, 0.5, 0.9, 1, 1.1, 1.5, 1.9, 2, 3, 10, *np.random.default_rng(6).uniform(0, 2, 9).tolist()]
ALONE: list[str | tuple[str, float]] = [
    *((name, factor) for name in ("brightness", "contrast", "sharpness") for factor in FACTORS),
    *(("posterize", kept) for kept in range(9)),
    *(("solarize", threshold) for threshold in (*range(0, 257, 16), 1, 127, 255)),
    *(("solarize_add", added) for added in (*range(0, 256, 17), 1, 110, 128)),
    *("autocontrast", "equalize", "invert"),
]


def test_each_operation_is_pillows_to_the_bit() -> None:
    for canvas, operation in itertools.product(gradients(), ALONE):
        expected = np.asarray(toned_by_pillow(Image.fromarray(canvas), operation))
        assert np.array_equal(shown(canvas, tone=[operation]), expected), operation


@pytest.mark.parametrize("gray", [0, 1, 127, 128, 255])
def test_operations_on_a_picture_of_one_gray_are_pillows_to_the_bit(gray: int) -> None:
    canvas = np.full((17, 17), gray, np.uint8)
    for operation in ALONE:
        expected = np.asarray(toned_by_pillow(Image.fromarray(canvas), operation))
        assert np.array_equal(shown(canvas, tone=[operation]), expected), operation


def test_autocontrast_is_pillows_to_the_bit_whatever_the_darkest_and_the_brightest_gray() -> None:
    for canvas, low, high in itertools.product(gradients(), range(0, 80, 7), range(90, 256, 5)):
        clipped = np.clip(canvas, low, high)
        expected = np.asarray(ImageOps.autocontrast(Image.fromarray(clipped)))
        assert np.array_equal(shown(clipped, tone=["autocontrast"]), expected)


def random_tone(rng: np.random.Generator, names: list[str]) -> list[str | tuple[str, float]]:
    """Two to four operations."""
    amounts: dict[str, Callable[[], float]] = {
        **dict.fromkeys(("brightness", "contrast", "sharpness"), lambda: float(rng.uniform(0, 2))),
        "posterize": lambda: int(rng.integers(0, 9)),
        "solarize": lambda: int(rng.integers(0, 257)),
        "solarize_add": lambda: int(rng.integers(0, 256)),
    }
    chosen = [str(name) for name in rng.choice(names, rng.integers(2, 5))]
    return [(name, amounts[name]()) if name in amounts else name for name in chosen]


NAMES = [
    "brightness",
    "contrast",
    "sharpness",
    "autocontrast",
    "equalize",
    "posterize",
    "solarize",
    "solarize_add",
    "invert",
]


def test_sequences_of_operations_are_pillows_to_the_bit_with_their_statistics() -> None:
    rng = np.random.default_rng(7)
    for number in range(300):
        canvas, tone = gradients()[number % 3], random_tone(rng, NAMES)
        expected = Image.fromarray(canvas)
        for operation in tone:
            expected = toned_by_pillow(expected, operation)
        assert np.array_equal(shown(canvas, tone=tone), np.asarray(expected)), tone


def test_statistics_are_of_the_picture_and_not_of_the_canvas() -> None:
    canvas = np.zeros((64, 64), np.uint8)
    canvas[:32, :32] = gradients()[0][:32, :32]
    view = np.array([[0.5, 0, 0], [0, 0.5, 0]])
    plain = Image.fromarray(shown(canvas, view).astype(np.uint8))
    for operation in (("contrast", 1.7), "autocontrast", "equalize"):
        expected = np.asarray(toned_by_pillow(plain, operation))
        assert np.array_equal(shown(canvas, view, [operation]), expected)


def test_operations_after_the_outside_see_it_and_those_before_do_not() -> None:
    canvas, view = gradients()[0], shifted(30, -20)
    moved = Image.fromarray(shown(canvas, view, outside=200).astype(np.uint8))
    for operation in (("contrast", 1.7), "equalize", ("sharpness", 1.9), "invert"):
        expected = np.asarray(toned_by_pillow(moved, operation))
        assert np.array_equal(shown(canvas, view, [operation], outside=200), expected)  # outside comes first
    shots = Shots(
        view[None], np.array([[Step.EQUALIZE, Step.WINDOW]], np.int8), np.array([[0.0, 200.0]]),
        (view / 96)[None, None], np.zeros((1, 4), np.int32), np.zeros(1, np.uint64),
    )  # fmt: skip
    seen = canvas[:76, 30:]
    equalized = np.asarray(ImageOps.equalize(Image.fromarray(np.ascontiguousarray(seen))))
    expected = np.pad(equalized, ((20, 0), (0, 30)), constant_values=200)
    assert np.array_equal(shown(canvas, shots=shots), expected)


# --- the whole recipe


def taken_by_timm(canvas: Grays, box: list[int], flips: list[bool], shot: Shots, size: int) -> Image.Image:
    """What Pillow makes of a shot one step after the other, as timm does: each move resamples the picture again."""
    top, left, height, width = box
    picture = Image.fromarray(canvas).crop((left, top, left + width, top + height))
    picture = picture.resize((size, size), Image.Resampling.BICUBIC)
    for flip, method in zip(flips, (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM), strict=True):
        picture = picture.transpose(method) if flip else picture
    kinds = [Step(step) for step in shot.steps[0].tolist() if step]
    frames = [np.vstack([size * window, [0, 0, 1]]) for window in shot.windows[0][: kinds.count(Step.WINDOW)]]
    frames.append(np.eye(3))
    number = 0
    for step, amount in zip(kinds, shot.amounts[0].tolist(), strict=False):
        if step == Step.WINDOW:
            move = frames[number] @ np.linalg.inv(frames[number + 1])
            picture, number = moved_by_pillow(picture, move[:2], "bicubic", int(amount)), number + 1
        else:
            picture = toned_by_pillow(picture, (step.name.lower(), amount))
    return picture


def test_the_deit_recipe_is_timms_up_to_resampling_once_instead_of_several_times() -> None:
    count, size, policy = 240, 224, resolve_policy("deit")
    assert policy is not None
    samples, which = np.arange(count), np.arange(count) % 8
    shots, (boxes, flips) = policy.shots(0, samples, 512, size, 128), policy.boxes(0, samples, 512)
    assert (shots.steps > 0).any()
    shots = Shots(shots.views, shots.steps, shots.amounts, shots.windows, np.zeros_like(shots.erased), shots.keys)
    pictures = onepfrac.picture(fractals(), shots=shots, which=which, size=size)[:, 0].numpy().astype(np.int64)
    apart, bias = np.zeros(count), np.zeros(count)
    for i in range(count):
        expected = taken_by_timm(fractals()[i % 8], boxes[i].tolist(), flips[i].tolist(), shots[i : i + 1], size)
        difference = pictures[i] - np.asarray(expected)
        apart[i], bias[i] = np.abs(difference).mean(), difference.mean()
    moved, toned = (shots.steps == Step.WINDOW).any(1), (shots.steps > Step.WINDOW).any(1)
    amplified = np.isin(shots.steps, [Step.EQUALIZE, Step.AUTOCONTRAST, Step.SOLARIZE, Step.INVERT]).any(1)
    # In grays of 255, with what was measured. Steps that are not smooth come out otherwise where edges were blurred.
    for name, group, median, highest in (
        ("neither", ~moved & ~toned, 0.4, 1.1),
        ("toned", ~moved & toned & ~amplified, 0.5, 1.2),
        ("amplified", ~moved & amplified, 1.5, 5.0),
        ("moved", moved & ~toned, 2.0, 7.0),
        ("both", moved & toned & ~amplified, 2.0, 4.0),
    ):
        assert group.sum() >= 8, name
        assert np.median(apart[group]) < median, name
        assert apart[group].max() < highest, name
    assert apart.mean() < 1.1
    assert abs(bias.mean()) < 0.5


# --- noise


def erasing(size: int, count: int, erased: list[int] | None = None) -> Shots:
    """Shots of the whole canvas that erase all, or a rectangle, each with a key of its own."""
    shots = Shots.of_views(np.repeat(IDENTITY[None], count, 0))
    keys = np.random.default_rng(11).integers(0, 2**64, count, dtype=np.uint64)
    rectangles = np.tile(np.array(erased or [0, 0, size, size], np.int32), (count, 1))
    return Shots(shots.views, shots.steps, shots.amounts, shots.windows, rectangles, keys)


@lru_cache
def noise() -> Floats:
    """(4, 3, 192, 192): 442 368 values."""
    canvas = np.zeros((192, 192), np.uint8)
    return onepfrac.picture(canvas, shots=erasing(192, 4), channels=3, dtype=torch.float32).double().numpy()


def test_the_levels_of_the_noise_are_the_quantiles_of_the_normal_distribution_at_variance_one() -> None:
    quantiles = np.array([NormalDist().inv_cdf((k + 0.5) / 4096) for k in range(4096)])
    levels = normal_levels()
    assert levels.dtype == np.float64
    assert levels == pytest.approx(quantiles / np.sqrt((quantiles**2).mean()), rel=1e-12)
    assert np.array_equal(levels, -levels[::-1])
    assert (levels**2).mean() == pytest.approx(1, rel=1e-13)
    assert np.sqrt((quantiles**2).mean()) == pytest.approx(1, abs=5e-4)  # the scaling
    assert hashlib.sha256(levels.astype("<f8").tobytes()).hexdigest()[:16] == "a84a71b4bd3730ae"


def test_erased_pixels_are_normal() -> None:
    values = np.sort(noise().ravel())
    below = np.array([NormalDist().cdf(level) for level in normal_levels()])
    shares = np.searchsorted(values, normal_levels().astype(np.float32), side="right") / values.size
    assert np.abs(shares - (below + 0.5 / 4096)).max() < 1.95 / np.sqrt(values.size) + 1 / 4096  # 0.1 %
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((values**power).mean() - moment) < 4 * np.sqrt(variance / values.size) + 0.006 * (power == 4), power
    counts = np.unique(values, return_counts=True)[1]
    assert counts.size == 4096  # every level, equally often
    expected = values.size / 4096
    assert abs(((counts - expected) ** 2 / expected).sum() - 4095) < 4 * np.sqrt(2 * 4095)


def test_erased_pixels_are_independent_of_their_neighbours_rows_channels_and_samples() -> None:
    values = noise()
    pairs = [(values[..., :-lag], values[..., lag:]) for lag in (1, 2, 3, 4, 7, 8, 9, 16, 64)]
    pairs += [(values[..., :-lag, :], values[..., lag:, :]) for lag in (1, 2, 3, 8, 64)]
    pairs += [(values[..., :-1, :-1], values[..., 1:, 1:]), (values[..., :-1, 8:], values[..., 1:, :-8])]
    pairs += [(values[:, a], values[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))]
    pairs += [(values[a], values[b]) for a, b in itertools.combinations(range(4), 2)]
    for first, second in pairs:
        for x, y in ((first, second), (first**2, second**2), (np.abs(first), second)):
            assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 4.5 / np.sqrt(first.size)


@given(st.integers(8, 40), st.data())
def test_only_the_rectangle_is_erased(size: int, data: st.DataObject) -> None:
    top, left = data.draw(st.integers(0, size)), data.draw(st.integers(0, size))
    height, width = data.draw(st.integers(0, size - top)), data.draw(st.integers(0, size - left))
    canvas = np.full((size, size), 100, np.uint8)
    pictures = onepfrac.picture(canvas, shots=erasing(size, 2, [top, left, height, width]), dtype=torch.float32)
    plain = onepfrac.picture(canvas, dtype=torch.float32)
    inside = np.zeros((size, size), bool)
    inside[top : top + height, left : left + width] = True
    for picture in pictures:
        assert torch.equal(picture[0][~inside], plain[0, 0][~inside])
        assert not torch.isin(picture[0][inside], plain[0, 0]).any()  # 100 / 255 is no level
    if height * width > 2:
        assert not torch.equal(pictures[0], pictures[1])


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (21, 3), (100, 4)])
def test_the_noise_has_the_published_layout_of_philox(size: int, channels: int) -> None:
    top, left, height, width = size // 5, size // 3, size // 2, size // 2
    shots = erasing(size, 2, [top, left, height, width])
    canvas = np.zeros((size, size), np.uint8)
    pictures = onepfrac.picture(canvas, shots=shots, channels=channels, dtype=torch.float32)
    levels = normal_levels().astype(np.float32)
    for picture, key in zip(pictures, shots.keys.tolist(), strict=True):
        for channel, row, column in itertools.product(
            range(channels), range(top, top + height), range(left, left + width)
        ):
            if (channel + row + column) % 5:
                continue
            words = twin.philox(key, np.array([[column // 8, row, 4, channel]], np.uint32))[0]
            half = int(words[(column % 8) // 2]) >> (16 * (column % 2)) & 0xFFFF
            assert picture[channel, row, column].item() == levels[half >> 4]


def test_noise_in_grays_is_what_the_normalisation_makes_normal() -> None:
    mean, std = (0.5, 0.3, 0.9), (0.5, 0.1, 0.25)
    canvas = np.zeros((64, 64), np.uint8)
    settings: dict[str, Any] = {"shots": erasing(64, 2), "channels": 3, "mean": mean, "std": std}
    normal = onepfrac.picture(canvas, dtype=torch.float32, **settings)
    assert torch.equal(normal, onepfrac.picture(canvas, dtype=torch.float32, **{**settings, "mean": 0.0, "std": 1.0}))
    grays = onepfrac.picture(canvas, **settings)
    for channel in range(3):
        expected = np.clip(255 * (mean[channel] + std[channel] * normal[:, channel].double().numpy()), 0, 255)
        assert np.abs(grays[:, channel].numpy() - expected).max() <= 0.5 + 1e-4  # float32's share
        assert grays[:, channel].float().std() > 10


# --- bits


def table_of(dtype: torch.dtype, mean: float, std: float) -> torch.Tensor:
    if dtype is torch.uint8:
        return torch.arange(256).to(dtype)
    return torch.tensor([(v / 255 - mean) / std for v in range(256)], dtype=torch.float64).to(dtype)


def noise_of(dtype: torch.dtype, mean: float, std: float) -> torch.Tensor:
    levels = normal_levels()
    if dtype is torch.uint8:
        return torch.from_numpy(np.clip(np.rint((levels * std + mean) * 255), 0, 255)).to(dtype)
    return torch.from_numpy(levels).to(dtype)


def choose(rng: np.random.Generator, options: Any) -> Any:
    return options[rng.integers(len(options))]


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(SEEDS)
def test_pictures_equal_the_twins(interpolation: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, (height, width), count = int(rng.integers(8, 34)), rng.integers(8, 50, 2).tolist(), 8
    square = bool(rng.integers(2))  # bits are square
    canvases = rng.integers(0, 256, (count, height, width if not square else height), dtype=np.uint8)
    if square:
        canvases = (canvases > 160) * np.uint8(127)
    shots = random_shots(rng, count, size, height)
    dtype, channels = choose(rng, DTYPES), int(rng.integers(1, 5))
    means, stds = rng.uniform(0.2, 0.8, channels).tolist(), rng.uniform(0.1, 1, channels).tolist()
    settings: dict[str, Any] = {"shots": shots, "size": size, "interpolation": interpolation, "channels": channels}
    settings |= {"mean": means, "std": stds, "dtype": dtype, "threads": 1}
    pictures = onepfrac.picture(canvases, **settings)
    if square:
        assert torch.equal(pictures, onepfrac.picture(as_bits(canvases > 0), **settings))
    for i, picture in enumerate(pictures):
        grays = camera_twin.sample(canvases[i], shots.views[i], size, interpolation == "bilinear")
        grays = camera_twin.developed(grays, shots.steps[i].tolist(), shots.amounts[i].tolist(), shots.windows[i])
        levels = camera_twin.noise_levels(size, shots.erased[i], int(shots.keys[i]), channels)
        for channel in range(channels):
            mean, std = means[channel], stds[channel]
            expected = table_of(dtype, mean, std)[torch.from_numpy(grays)]
            drawn = torch.from_numpy(levels[channel])
            expected = torch.where(drawn >= 0, noise_of(dtype, mean, std)[drawn.clamp(min=0)], expected)
            assert torch.equal(picture[channel], expected), (i, channel, shots.steps[i].tolist())


def some_canvases(rng: np.random.Generator, count: int, side: int) -> Grays:
    """Canvases of 0 and 127: fractals, dense and sparse noise, and an empty one."""
    inked = rng.random((count, side, side)) < rng.choice([0.02, 0.5, 0.9], (count, 1, 1))
    inked[0] = fractals()[int(rng.integers(8)), :side, :side] > 0
    inked[-1] = False
    return inked * np.uint8(127)


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
@given(SEEDS)
def test_levels_threads_batches_and_layouts_give_the_same_bits(interpolation: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, side, count = int(rng.integers(8, 100)), int(rng.integers(8, 200)), 6
    canvases = some_canvases(rng, 3, side)
    bits = as_bits(canvases > 0)
    shots, which = random_shots(rng, count, size, side, float(rng.choice([3, 12, 60]))), rng.integers(0, 3, count)
    settings: dict[str, Any] = {"size": size, "interpolation": interpolation, "threads": 1, "mean": 0.4, "std": 0.3}
    settings["channels"] = channels = int(choose(rng, (1, 3, 4)))
    settings["dtype"] = choose(rng, DTYPES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEPFRAC_SIMD", "scalar")
        expected = onepfrac.picture(bits, shots=shots, which=which, **settings)
        assert expected.is_contiguous()
        for level in LEVELS:
            patch.setenv("ONEPFRAC_SIMD", level)
            for source in (bits, canvases):
                assert torch.equal(onepfrac.picture(source, shots=shots, which=which, **settings), expected), level
    four = onepfrac.picture(bits, shots=shots, which=which, **{**settings, "threads": 4})
    assert torch.equal(four, expected)
    last = onepfrac.picture(bits, shots=shots, which=which, channels_last=True, **settings)
    assert torch.equal(last, expected)
    assert last.is_contiguous(memory_format=torch.channels_last)
    order = rng.permutation(count)
    split = int(rng.integers(1, count))
    parts = [
        onepfrac.picture(bits, shots=shots[part], which=which[part], **settings)
        for part in (order[:split], order[split:])
    ]
    assert torch.equal(torch.cat(parts), expected[order])
    gathered = onepfrac.picture(bits[which], shots=shots, **settings)
    assert torch.equal(gathered, expected)
    if not shots.erased.any():
        assert torch.equal(expected, expected[:, :1].expand(-1, channels, -1, -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_holds_the_grays_through_its_table(dtype: torch.dtype) -> None:
    shots = random_shots(np.random.default_rng(12), 12, 50, 120)
    shots = Shots(shots.views, shots.steps, shots.amounts, shots.windows, np.zeros_like(shots.erased), shots.keys)
    canvases = some_canvases(np.random.default_rng(13), 12, 120)
    grays = onepfrac.picture(canvases, shots=shots, size=50).long()
    for channels, means, stds in (
        (1, [0.5], [0.5]),
        (3, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (4, [0] * 4, [1] * 4),
    ):
        images = onepfrac.picture(
            canvases, shots=shots, size=50, channels=channels, dtype=dtype, mean=means, std=stds, channels_last=True
        )
        assert images.dtype is dtype
        for channel in range(channels):
            expected = table_of(dtype, means[channel], stds[channel])[grays[:, 0]]
            assert torch.equal(images[:, channel], expected)


def random_film(rng: np.random.Generator, size: int) -> Film:
    channels = int(rng.integers(1, 5))
    means = rng.uniform(0, 1, channels).tolist() if rng.integers(2) else [0.5] * channels
    return Film.make(
        size, channels, choose(rng, DTYPES), means, [0.3] * channels,
        interpolation=choose(rng, INTERPOLATIONS), channels_last=bool(rng.integers(2)),
    )  # fmt: skip


def laid_out(film: Film, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Room for pictures, and the same as the core takes it."""
    out = film.empty(count).fill_(99)
    return out, out.permute(0, 2, 3, 1) if film.channels_last else out


def by_blocks(
    canvases: torch.Tensor, width: int, shots: Shots, film: Film, which: Ints | None, threads: int, reverse: bool
) -> torch.Tensor:
    """Pictures by the CUDA kernel's body, run serially on the host."""
    out, plain = laid_out(film, len(shots))
    numbers = None if which is None else torch.from_numpy(which)
    words, flags = pack_shots(shots, film.size, CPU), (film.bilinear, film.channels_last, threads, reverse)
    _C.take_pictures_host_block(words, canvases, numbers, width, plain, film.table, film.noise, *flags)
    return out


@given(SEEDS)
def test_the_kernel_body_on_the_host_takes_the_same_pictures(seed: int) -> None:
    rng = np.random.default_rng(seed)
    size, side, count = int(rng.integers(8, 71)), int(rng.integers(8, 120)), 10
    canvases = some_canvases(rng, 3, side)
    bits, grays = as_bits(canvases > 0), torch.from_numpy(canvases)
    shots, film = random_shots(rng, count, size, side), random_film(rng, size)
    which = rng.integers(0, 3, count)
    expected = film.empty(count)
    take_pictures(bits, shots, film, expected, which=which, threads=1)
    for source, threads, reverse in (
        (bits.flatten(0, 1), 256, False), (grays, 64, True), (bits.flatten(0, 1), 7, True), (grays, 1, False),
    ):  # fmt: skip
        assert torch.equal(by_blocks(source, side, shots, film, which, threads, reverse), expected)
    noisy = torch.from_numpy(rng.integers(0, 256, (count, side, side + 5), dtype=np.uint8))
    take_pictures(noisy, shots, film, expected, threads=1)
    assert torch.equal(by_blocks(noisy, side + 5, shots, film, None, 33, True), expected)


@pytest.mark.parametrize("scale", [20.0, 100.0])
def test_the_kernel_body_on_the_host_shrinks_far_as_the_cpu_does(scale: float) -> None:
    rng = np.random.default_rng(14)
    canvases = some_canvases(rng, 2, 300)
    film = Film.make(8, 1, torch.uint8, (0.5,), (0.5,))
    shots = Shots.of_views(
        np.stack([about_the_centre(scale * np.eye(2), 300, 8), about_the_centre(turned(25, scale), 300, 8)])
    )
    expected = film.empty(2)
    take_pictures(as_bits(canvases > 0), shots, film, expected, threads=1)
    assert expected[0].unique().numel() > 2
    assert torch.equal(by_blocks(torch.from_numpy(canvases), 300, shots, film, None, 64, False), expected)


def drawn_both_ways(
    num_maps: int, canvas: int, size: int, brush: str, pad: int, seed: int, points: int
) -> tuple[torch.Tensor, Callable[..., torch.Tensor]]:
    """Pictures of rendered canvases, and a function that draws the canvases on the way, by blocks if so told."""
    rng, count = np.random.default_rng(seed), 3
    maps = np.stack([sample_ifs(sigma=1.8 * num_maps, num_maps=num_maps, seed=seed + s).maps for s in range(count)])
    systems = onepfrac.pack(maps, seed=np.arange(count) + seed)
    shots, film = random_shots(rng, count, size, canvas, 3.0), random_film(rng, size)
    bits = render(systems, points=points, size=canvas, pad=pad, brush=brush, dtype=BITS, threads=1)
    expected = film.empty(count)
    take_pictures(bits, shots, film, expected, threads=1)

    def drawn(threads: int, reverse: bool | None = None) -> torch.Tensor:
        out, plain = laid_out(film, count)
        if reverse is None:
            draw_pictures(
                systems, shots, film, out, points=points, canvas=canvas, pad=pad, brush=brush, threads=threads
            )
        else:
            _C.draw_pictures_host_block(
                systems.words, num_maps, points, canvas, pad, BRUSHES.index(brush), pack_shots(shots, size, CPU),
                plain, film.table, film.noise, film.bilinear, film.channels_last, threads, reverse,
            )  # fmt: skip
        return out

    return expected, drawn


@pytest.mark.parametrize("brush", BRUSHES)
@pytest.mark.parametrize("num_maps", [2, 3])
@given(SEEDS)
def test_a_canvas_drawn_on_the_way_gives_the_same_picture(brush: str, num_maps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    canvas, size = int(rng.integers(8, 100)), int(rng.integers(8, 71))
    pad = int(rng.integers(0, (canvas - 1) // 2))
    expected, drawn = drawn_both_ways(num_maps, canvas, size, brush, pad, seed % 1000, int(rng.integers(1, 1500)))
    for threads, reverse in ((1, None), (4, None), (256, False), (37, True)):
        assert torch.equal(drawn(threads, reverse), expected)


@pytest.mark.parametrize("brush", BRUSHES)
@pytest.mark.parametrize("canvas", [181, 182, 224, 333])
def test_a_canvas_that_is_brushed_in_several_strips_gives_the_same_picture(brush: str, canvas: int) -> None:
    expected, drawn = drawn_both_ways(2, canvas, 48, brush, 5, canvas, 4000)
    assert expected.unique().numel() > 10
    for threads, reverse in ((1, None), (256, False), (101, True)):
        assert torch.equal(drawn(threads, reverse), expected)


# --- golden pictures

GOLDEN = OnePFrac(num_classes=8, points=5000, canvas=128)
HASHES = {
    ("none", torch.uint8): "fbd0e0c396c6410a",
    ("none", torch.float32): "8847b20b675f3eac",
    ("crop-flip", torch.uint8): "373357a3c394e474",
    ("crop-flip", torch.float32): "f1501c49a822a935",
    ("deit", torch.uint8): "55bad4be44970ff2",
    ("deit", torch.float32): "1cf6d38b4cb46c61",
}


def golden_digest(augment: str, dtype: torch.dtype, **settings: Any) -> str:
    stream = GOLDEN.stream(
        batch_size=32, size=64, augment=None if augment == "none" else augment, dtype=dtype, **settings
    )
    images = next(iter(stream))[0].cpu()
    return hashlib.sha256(images.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("augment", "dtype"), HASHES)
def test_pictures_of_streams_keep_their_bits_for_ever(
    augment: str, dtype: torch.dtype, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    assert golden_digest(augment, dtype) == HASHES[augment, dtype]
    assert golden_digest(augment, dtype, cache=0, threads=1) == HASHES[augment, dtype]


# --- bad input


def shots_with(**changes: Any) -> Shots:
    return Shots(**{**vars(Shots.of_views(np.repeat(IDENTITY[None], 2, 0))), **changes})


def steps_with(step: int, amount: float, count: int = 1, **changes: Any) -> Shots:
    return shots_with(steps=np.full((2, count), step, np.int8), amounts=np.full((2, count), amount), **changes)


CANVASES = np.zeros((2, 16, 16), np.uint8)
SHAPES = r"canvases must have the shape \(H, W\), \(B, H, W\) or \(B, 1, H, W\), got"
BIT_SHAPES = r"canvases must have the shape \(B, 1, S, ceil\(S / 32\)\) as bits, got"
VIEW = r"view must hold numbers of the shape \(2, 3\) or \(B, 2, 3\), got"
NAMED = r"must be the name of an operation, or a pair \(name, amount\)"
MEANT = "which hold them already"
FINITE = "mean and std must keep the values finite in"
DTYPE = "dtype must be one of torch.uint8, torch.float16, torch.bfloat16, torch.float32, got"
BAD: list[tuple[type[Exception] | tuple[type[Exception], ...], str, dict[str, Any]]] = [
    (TypeError, "canvases must be an array of torch, NumPy or a library with DLPack, got list", {"canvases": [[0]]}),
    (TypeError, "canvases must be an array .* got NoneType", {"canvases": None}),
    (TypeError, "canvases must be uint8, bool or int32 .* got float32", {"canvases": CANVASES.astype(np.float32)}),
    (TypeError, "canvases must be uint8, bool or int32 .* got torch.int64", {"canvases": torch.zeros(2, 9, 9).long()}),
    (ValueError, rf"{SHAPES} \(16,\)", {"canvases": CANVASES[0, 0]}),
    (ValueError, rf"{SHAPES} \(1, 1, 2, 16, 16\)", {"canvases": CANVASES[None, None]}),
    (ValueError, rf"{SHAPES} \(2, 3, 16, 16\)", {"canvases": np.zeros((2, 3, 16, 16), np.uint8)}),
    (ValueError, "sides of 1..32768 pixels, got 0 x 16", {"canvases": np.zeros((2, 0, 16), np.uint8), "size": 8}),
    (ValueError, "sides of 1..32768 pixels, got 1 x 32769", {"canvases": np.zeros((1, 32769), np.uint8), "size": 8}),
    (ValueError, rf"{BIT_SHAPES} \(2, 1, 40, 1\)", {"canvases": np.zeros((2, 1, 40, 1), np.int32)}),
    (ValueError, rf"{BIT_SHAPES} \(2, 40, 2\)", {"canvases": np.zeros((2, 40, 2), np.int32)}),
    (ValueError, rf"{BIT_SHAPES} \(1, 1, 4, 1\)", {"canvases": np.zeros((1, 1, 4, 1), np.int32)}),
    (ValueError, "canvases must be on the CPU .* on meta", {"canvases": torch.from_numpy(CANVASES).to("meta")}),
    ((TypeError, ValueError), "canvases must", {"canvases": torch.from_numpy(CANVASES).to_sparse()}),
    (ValueError, "size must be given for canvases that are not square, got 9 x 8", {"canvases": CANVASES[0, :8, :9]}),
    (ValueError, "size must be an integer in 8..4096, got 4", {"canvases": CANVASES[:, :4, :4]}),
    (ValueError, "size must be an integer in 8..4096, got 7", {"size": 7}),
    (ValueError, "size must be an integer in 8..4096, got 4097", {"size": 4097}),
    (TypeError, "size must be an integer in 8..4096, got 16.0 of type float", {"size": 16.0}),
    (ValueError, rf"{VIEW} float64 \(3, 3\)", {"view": np.eye(3)}),
    (ValueError, rf"{VIEW} int64 \(3,\)", {"view": [1, 2, 3]}),
    (ValueError, rf"{VIEW} float64 \(1, 1, 2, 3\)", {"view": np.zeros((1, 1, 2, 3))}),
    (ValueError, rf"{VIEW} complex128 \(2, 3\)", {"view": 1j * IDENTITY}),
    (ValueError, rf"{VIEW} bool \(2, 3\)", {"view": IDENTITY > 0}),
    ((TypeError, ValueError), "view must", {"view": [[1, 0], [0, 1, 2]]}),
    (ValueError, "view must be finite, got", {"view": IDENTITY + np.nan}),
    (ValueError, "view must be finite, got", {"view": IDENTITY - np.inf}),
    (ValueError, r"views? must .*2\^29 pixels.* got", {"view": shifted(1e9, 0)}),
    (ValueError, r"views? must .*2\^29 pixels.* got", {"view": 1e300 * IDENTITY}),
    (ValueError, r"views? must not shrink .*by more than 1024, got", {"view": 1025 * IDENTITY}),
    (ValueError, "must be one, or as many as views and shots, got 2 for 3", {"view": np.repeat(IDENTITY[None], 3, 0)}),
    (TypeError, r"tone must be a sequence of operations, got 'invert'; write \['invert'\]", {"tone": "invert"}),
    (TypeError, "tone must be a sequence of operations, got None", {"tone": None}),
    (TypeError, "tone must be a sequence of operations, got 3", {"tone": 3}),
    (TypeError, "tone must be a sequence of operations, got {", {"tone": {"invert": 1}}),
    (ValueError, rf"tone\[1\] {NAMED}.* 'solarize_add', 'invert'; got 'blur'", {"tone": ["invert", "blur"]}),
    (ValueError, rf"tone\[0\] {NAMED}.* got \('window', 3\)", {"tone": [("window", 3)]}),
    (ValueError, rf"tone\[0\] {NAMED}.* got \('brightness', 1, 2\)", {"tone": [("brightness", 1, 2)]}),
    (ValueError, rf"tone\[0\] {NAMED}.* got None", {"tone": [None]}),
    (ValueError, r"tone\[0\] must be a pair \('brightness', amount\), got 'brightness'", {"tone": ("brightness", 0.5)}),
    (ValueError, r"tone\[0\] must be 'invert' alone, which takes no amount, got", {"tone": [("invert", 1)]}),
    (ValueError, r"tone\[0\]\[1\] must be a number in \[0, 1e\+06\], got -1", {"tone": [("brightness", -1)]}),
    (ValueError, r"tone\[0\]\[1\] must be a number .* got nan", {"tone": [("contrast", float("nan"))]}),
    (TypeError, r"tone\[0\]\[1\] must be a number .* got '1' of type str", {"tone": [("contrast", "1")]}),
    (ValueError, r"tone\[0\]\[1\] must be an integer in 0..8, got 9", {"tone": [("posterize", 9)]}),
    (TypeError, r"tone\[0\]\[1\] must be an integer in 0..8, got 2.5 of type float", {"tone": [("posterize", 2.5)]}),
    (ValueError, r"tone\[0\]\[1\] must be an integer in 0..256, got 257", {"tone": [("solarize", 257)]}),
    (ValueError, r"tone\[0\]\[1\] must be an integer in 0..255, got 256", {"tone": [("solarize_add", 256)]}),
    (ValueError, "tone must have at most 16 operations, got 17", {"tone": ["invert"] * 17}),
    (ValueError, "tone must have at most 15 operations, got 16", {"tone": ["invert"] * 16, "outside": 3}),
    (ValueError, "tone must have at most 8 .*got 9", {"tone": [("sharpness", 1.5)] * 9}),
    (ValueError, "outside must be an integer in 0..255, got 256", {"outside": 256}),
    (ValueError, "outside must be an integer in 0..255, got -1", {"outside": -1}),
    (TypeError, "outside must be an integer in 0..255, got 1.0 of type float", {"outside": 1.0}),
    (ValueError, MEANT, {"shots": shots_with(), "view": IDENTITY}),
    (ValueError, MEANT, {"shots": shots_with(), "tone": ["invert"]}),
    (ValueError, MEANT, {"shots": shots_with(), "outside": 1}),
    (TypeError, "shots must be onepfrac.shots.Shots, got ndarray", {"shots": IDENTITY}),
    (ValueError, "must be one, or as many as views and shots, got 2 for 1", {"shots": shots_with()[:1]}),
    (ValueError, r"views must have shape \(B, 2, 3\)", {"shots": shots_with(views=np.zeros((2, 3, 3)))}),
    (ValueError, r"steps must have shape \(B, K\)", {"shots": shots_with(steps=np.zeros((1, 2), np.int8))}),
    (ValueError, "amounts must have the shape of steps", {"shots": shots_with(amounts=np.zeros((2, 1)))}),
    (ValueError, r"keys must have shape \(B,\)", {"shots": shots_with(keys=np.zeros(3, np.uint64))}),
    ((TypeError, ValueError), "views must", {"shots": shots_with(views=[IDENTITY.tolist()] * 2)}),
    (ValueError, "shot 0: steps must be codes in 0..10, got 11", {"shots": steps_with(11, 0)}),
    (ValueError, "shot 0: steps must be codes in 0..10, got -1", {"shots": steps_with(-1, 0)}),
    (
        (TypeError, ValueError), "steps must",
        {"shots": shots_with(steps=np.full((2, 1), 256 + Step.INVERT), amounts=np.zeros((2, 1)))},
    ),
    (ValueError, "the amount of POSTERIZE must be an integer in 0..8, got 9", {"shots": steps_with(Step.POSTERIZE, 9)}),
    (ValueError, "the amount of WINDOW must be an integer in 0..255, got 0.5", {"shots": steps_with(Step.WINDOW, 0.5)}),
    (ValueError, "amounts must be finite, got nan", {"shots": steps_with(Step.CONTRAST, np.nan)}),
    (ValueError, "amounts must lie within 1e6, got 10000000", {"shots": steps_with(Step.CONTRAST, 1e7)}),
    (ValueError, "windows must hold one for each WINDOW step, at most 8, got", {"shots": steps_with(Step.WINDOW, 0)}),
    (
        ValueError, "windows must hold one for each WINDOW step, at most 8, got",
        {"shots": steps_with(Step.WINDOW, 0, 9, windows=np.full((2, 9, 2, 3), 0.1))},
    ),
    (
        ValueError, r"windows must be finite and stay within 2\^29 pixels, got",
        {"shots": steps_with(Step.WINDOW, 0, windows=np.full((2, 1, 2, 3), np.nan))},
    ),
    (ValueError, "at most 16 steps, got 17", {"shots": steps_with(Step.INVERT, 0, 17)}),
    (ValueError, "at most 8 SHARPNESS steps, got 9", {"shots": steps_with(Step.SHARPNESS, 0, 9)}),
    (ValueError, "erased must lie on the picture.* got", {"shots": shots_with(erased=np.full((2, 4), 9, np.int32))}),
    (ValueError, "erased must lie on the picture.* got", {"shots": shots_with(erased=np.full((2, 4), -1, np.int32))}),
    ((TypeError, ValueError), "erased must", {"shots": shots_with(erased=np.full((2, 4), 1.5))}),
    ((TypeError, ValueError), "keys must", {"shots": shots_with(keys=np.array([-1, 2]))}),
    (ValueError, r"which must be in 0..1, got 0..2", {"which": [0, 2]}),
    (ValueError, r"which must be in 0..1, got -1..0", {"which": [-1, 0]}),
    (ValueError, r"which must be in 0..1, got 18446744073709551615", {"which": np.array([2**64 - 1], np.uint64)}),
    (TypeError, r"which must be integers of the shape \(B,\), got float64 \(2,\)", {"which": [0.0, 1.0]}),
    (TypeError, r"which must be integers of the shape \(B,\), got bool \(2,\)", {"which": [True, False]}),
    (TypeError, r"which must be integers of the shape \(B,\), got int64 \(1, 2\)", {"which": [[0, 1]]}),
    ((TypeError, ValueError), "which must", {"which": [[0], [0, 1]]}),
    (ValueError, "which must be one, or as many .* got 3 for 2", {"which": [0, 1, 1], "shots": shots_with()}),
    (ValueError, "interpolation must be one of 'bicubic', 'bilinear', got 'nearest'", {"interpolation": "nearest"}),
    (TypeError, "interpolation must be one of 'bicubic', 'bilinear', got None", {"interpolation": None}),
    (ValueError, "channels must be an integer in 1..4, got 0", {"channels": 0}),
    (ValueError, "channels must be an integer in 1..4, got 5", {"channels": 5}),
    (TypeError, "channels must be an integer in 1..4, got True of type bool", {"channels": True}),
    (ValueError, "mean must be a number .* got nan", {"mean": float("nan")}),
    (TypeError, "mean must be a number .* got '0' of type str", {"mean": "0"}),
    (ValueError, r"mean must be a number or 1 numbers, one for each channel, got \(0, 0\)", {"mean": (0, 0)}),
    (ValueError, r"std must be a number in \(0, inf\), got 0", {"std": 0}),
    (ValueError, r"std\[1\] must be a number in \(0, inf\), got -1", {"std": (1, -1), "channels": 2}),
    (ValueError, f"{FINITE} torch.float16, got", {"std": 1e-9, "dtype": torch.float16}),
    (ValueError, f"{FINITE} torch.float32, got", {"mean": 1e300, "dtype": torch.float32}),
    (TypeError, f"{DTYPE} 'float32'", {"dtype": "float32"}),
    (ValueError, f"{DTYPE} torch.int64", {"dtype": torch.int64}),
    (ValueError, f"{DTYPE} torch.int32", {"dtype": BITS}),
    (TypeError, f"{DTYPE} <class 'numpy.float32'>", {"dtype": np.float32}),
    (TypeError, "channels_last must be .*got 'no'", {"channels_last": "no"}),
    (ValueError, "threads must be an integer in 1..1024, got 0", {"threads": 0}),
    (ValueError, "threads must be an integer in 1..1024, got 0", {"threads": 0, "canvases": CANVASES[:0]}),
    (TypeError, "threads must be an integer in 1..1024, got 1.5 of type float", {"threads": 1.5}),
    (ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'tpu'", {"device": "tpu"}),
    (ValueError, "device must be 'cpu', 'cuda' or 'cuda:N', got 'meta'", {"device": "meta"}),
    (TypeError, "device must be 'cpu', 'cuda', 'cuda:N' or a torch.device, got 1.5", {"device": 1.5}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "message", "arguments"), BAD, ids=[f"{n}-{next(iter(b[2]))}" for n, b in enumerate(BAD)]
)
def test_bad_input_is_named(error: type[Exception], message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        onepfrac.picture(**{"canvases": CANVASES, **arguments})


def test_cuda_asked_for_and_absent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device must be 'cpu': .* got 'cuda'"):
        onepfrac.picture(CANVASES, device="cuda")


def test_a_view_of_torch_may_have_any_dtype_and_a_gradient() -> None:
    expected = onepfrac.picture(CANVASES + np.arange(16, dtype=np.uint8), [[1, 0, 2], [0, 1, 0]])
    for view in (
        torch.tensor([[1.0, 0, 2], [0, 1, 0]], requires_grad=True),
        torch.tensor([[1.0, 0, 2], [0, 1, 0]], dtype=torch.bfloat16),
        torch.tensor([[1, 0, 2], [0, 1, 0]], dtype=torch.int8),
    ):
        assert torch.equal(onepfrac.picture(CANVASES + np.arange(16, dtype=np.uint8), view), expected)


# --- on a GPU


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_pictures_on_the_gpu_are_the_cpus(interpolation: str, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(15)
    for size, side in ((8, 40), (33, 100), (64, 200), (224, 512)):
        canvases = some_canvases(rng, 5, side)
        noisy = rng.integers(0, 256, (5, side, side + 3), dtype=np.uint8)
        shots, which = random_shots(rng, 40, size, side), rng.integers(0, 5, 40)
        settings: dict[str, Any] = {"shots": shots, "which": which, "size": size, "dtype": dtype}
        settings |= {"interpolation": interpolation, "mean": 0.4, "std": 0.3}
        for source in (as_bits(canvases > 0), torch.from_numpy(canvases), torch.from_numpy(noisy)):
            for channels, channels_last in ((1, False), (3, False), (3, True), (4, True)):
                settings |= {"channels": channels, "channels_last": channels_last}
                expected = onepfrac.picture(source, **settings)
                images = onepfrac.picture(source.cuda(), **settings)
                assert images.is_cuda
                order = torch.channels_last if channels_last else torch.contiguous_format
                assert images.is_contiguous(memory_format=order)
                assert torch.equal(images.cpu(), expected)
                assert torch.equal(onepfrac.picture(source, device="cuda", **settings), images)


@pytest.mark.gpu
def test_pictures_on_the_gpu_shrink_far_as_on_the_cpu() -> None:
    canvas = scenes("waves")[0]
    views = np.stack([about_the_centre(turned(angle, scale), 512, 8) for angle in (0, 25) for scale in (20, 100)])
    expected = onepfrac.picture(canvas, views, size=8)
    assert torch.equal(onepfrac.picture(canvas, views, size=8, device="cuda").cpu(), expected)


@pytest.mark.gpu
@pytest.mark.parametrize("brush", BRUSHES)
@pytest.mark.parametrize("num_maps", [2, 3])
@pytest.mark.parametrize(("canvas", "size"), [(8, 8), (100, 64), (512, 224), (1024, 96), (2048, 224), (4096, 64)])
def test_canvases_drawn_on_the_way_on_the_gpu_are_the_cpus(canvas: int, size: int, brush: str, num_maps: int) -> None:
    """The largest do not fit a block's shared memory, and are drawn as bits first."""
    rng, count = np.random.default_rng(canvas), 4
    maps = np.stack([sample_ifs(sigma=1.8 * num_maps, num_maps=num_maps, seed=s).maps for s in range(count)])
    shots, film = random_shots(rng, count, size, canvas), random_film(rng, size)
    pictures = []
    for device in (CPU, torch.device("cuda", torch.cuda.current_device())):
        systems, on = onepfrac.pack(maps, seed=np.arange(count), device=device), film.to(device)
        out = on.empty(count)
        draw_pictures(systems, shots, on, out, points=20_000, canvas=canvas, pad=3, brush=brush)
        pictures.append(out.cpu())
    assert torch.equal(*pictures)


@pytest.mark.gpu
@pytest.mark.parametrize("draws", ["fixed", "fresh"])
@pytest.mark.parametrize("augment", [None, "crop-flip", "deit"])
def test_streams_on_the_gpu_give_the_cpus_pictures(augment: str | None, draws: str) -> None:
    settings: dict[str, Any] = {"batch_size": 48, "size": 64, "augment": augment, "draws": draws}
    for dtype, cache in itertools.product((torch.float32, torch.bfloat16, torch.uint8), (0, 2**25)):
        settings |= {"dtype": dtype, "cache": cache, "channels_last": dtype is torch.bfloat16}
        both = zip(GOLDEN.stream(**settings), GOLDEN.stream(device="cuda", **settings), strict=False)
        for (expected, labels), (images, on_device) in itertools.islice(both, 3):
            assert images.is_cuda
            assert torch.equal(images.cpu(), expected)
            assert torch.equal(on_device.cpu(), labels)


@pytest.mark.gpu
@pytest.mark.parametrize(("augment", "dtype"), HASHES)
def test_pictures_of_streams_keep_their_bits_on_the_gpu(augment: str, dtype: torch.dtype) -> None:
    assert golden_digest(augment, dtype, device="cuda") == HASHES[augment, dtype]


# --- planes


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("last", [False, True])
def test_three_planes_are_three_pictures_with_noise_of_their_own(dtype: torch.dtype, last: bool) -> None:
    rng = np.random.default_rng(5)
    count, side, size = 6, 40, 24
    canvases = torch.from_numpy(rng.integers(0, 256, (4, 3, side, side), dtype=np.uint8))
    which = np.array([3, 0, 2, 1, 1, 0])
    shots = resolve_policy("deit").shots(7, np.arange(count), side, size, 128)
    shots.erased[:] = [2, 3, 9, 11]
    means, stds = [0.2, 0.5, 0.7], [0.3, 0.6, 1.0]
    film = Film.make(size, 3, dtype, means, stds, channels_last=last)
    out = film.empty(count)
    take_planes(canvases, shots, film, out, which=which, threads=1)
    for plane in range(3):
        alone = dataclasses.replace(shots, keys=shots.keys + np.uint64(plane))
        expected = onepfrac.picture(
            canvases[:, plane], shots=alone, which=which, size=size, mean=means[plane], std=stds[plane], dtype=dtype
        )
        assert torch.equal(out[:, plane], expected[:, 0])
    erased = out[:, :, 2:11, 3:14]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(erased[:, first], erased[:, second])
        if dtype is torch.float32:
            pair = torch.stack([erased[:, first].flatten(), erased[:, second].flatten()])
            assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.16  # 4 / sqrt(594)


def test_planes_of_bits_are_those_of_grays_and_one_plane_is_the_plain_picture() -> None:
    rng = np.random.default_rng(6)
    ink = rng.random((5, 3, 40, 40)) > 0.6
    shots = resolve_policy("deit").shots(8, np.arange(5), 40, 24, 128)
    film = Film.make(24, 3, torch.float32, [0.5] * 3, [0.5] * 3)
    words = torch.stack([as_bits(ink[:, plane])[:, 0] for plane in range(3)], 1)
    outs = [film.empty(5) for _ in range(4)]
    take_planes(torch.from_numpy(ink * np.uint8(127)), shots, film, outs[0], threads=1)
    take_planes(words, shots, film, outs[1], threads=2)
    assert torch.equal(outs[0], outs[1])
    take_planes(torch.from_numpy(ink[:, :1] * np.uint8(127)), shots, film, outs[2], threads=1)
    take_planes(words[:, :1].contiguous(), shots, film, outs[3], threads=1)
    expected = onepfrac.picture(
        ink[:, 0] * np.uint8(127), shots=shots, size=24, channels=3, mean=0.5, std=0.5, dtype=torch.float32
    )
    assert torch.equal(outs[2], expected)
    assert torch.equal(outs[3], expected)
