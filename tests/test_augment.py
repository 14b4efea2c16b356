"""Augmentation: what policies draw, against what timm and torchvision draw, and where Pillow takes pixels from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from timm.data.auto_augment import NAME_TO_OP, AugmentOp, RandAugment, rand_augment_transform
from timm.data.random_erasing import RandomErasing
from timm.data.transforms_factory import transforms_imagenet_train
from torchvision.transforms import ColorJitter, RandomResizedCrop

from onepfrac.augment import AUGMENTATIONS, Policy, describe_policy, resolve_policy
from onepfrac.draws import Purpose, keys
from onepfrac.shots import MAX_STEPS, MAX_WINDOWS, Shots, Step, whole_views

Floats = NDArray[np.float64]

COUNT = 100_000
DEIT = "rand-m9-mstd0.5-inc1"

# What an operation is called in the tests: its number in this list. 0 is none; colour does nothing to gray pictures.
KINDS = [
    *("none", "AutoContrast", "Equalize", "Invert", "Rotate", "Posterize", "Solarize", "SolarizeAdd", "Contrast"),
    *("Brightness", "Sharpness", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel"),
]
KIND_OF_STEP = {
    Step.AUTOCONTRAST: KINDS.index("AutoContrast"),
    Step.EQUALIZE: KINDS.index("Equalize"),
    Step.INVERT: KINDS.index("Invert"),
    Step.POSTERIZE: KINDS.index("Posterize"),
    Step.SOLARIZE: KINDS.index("Solarize"),
    Step.SOLARIZE_ADD: KINDS.index("SolarizeAdd"),
    Step.CONTRAST: KINDS.index("Contrast"),
    Step.BRIGHTNESS: KINDS.index("Brightness"),
    Step.SHARPNESS: KINDS.index("Sharpness"),
}
ROTATE, SHEAR_X, SHEAR_Y, SHIFT_X, SHIFT_Y = map(
    KINDS.index, ("Rotate", "ShearX", "ShearY", "TranslateXRel", "TranslateYRel")
)
GEOMETRIC = (ROTATE, SHEAR_X, SHEAR_Y, SHIFT_X, SHIFT_Y)


# Texts, and how many draws are compared.
TEXTS = {
    DEIT: COUNT,
    "rand-m7-n3-p0.8-mstd101-mmax12": COUNT,
    "rand-m5-mstd1-tweights": COUNT,
    "rand-m10": COUNT,
    "rand-m10-n1-p1-mstd2-inc1": COUNT // 2,  # the highest magnitude in every second draw
    "rand-m12-n1-p1-mstd2-mmax12": COUNT // 2,
}


def distance(first: NDArray[np.generic], second: NDArray[np.generic]) -> float:
    """Kolmogorov and Smirnov's distance of two samples, in units of its 0.1 % quantile."""
    values = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / sample.size for sample in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max() / (1.95 * np.sqrt(1 / first.size + 1 / second.size)))


def as_often(first: NDArray[np.integer], second: NDArray[np.integer]) -> bool:
    """Whether two samples of equal size hold each integer equally often: chi-square, within some 4 deviations."""
    assert first.size == second.size
    cells = int(max(first.max(), second.max())) + 1
    counts = np.array([np.bincount(sample.ravel(), minlength=cells) for sample in (first, second)])
    frequent = counts.sum(0) >= 20
    counts = np.concatenate([counts[:, frequent], counts[:, ~frequent].sum(1, keepdims=True)], axis=1)
    counts = counts[:, counts.sum(0) > 0]
    degrees = counts.shape[1] - 1
    return float(((counts[0] - counts[1]) ** 2 / counts.sum(0)).sum()) < degrees + 4 * np.sqrt(2 * degrees) + 8


def squares(shots: Shots, size: int) -> Floats:
    """The windows as (B, G + 1, 3, 3), from pixels of the picture to pixels; past a shot's last one, the identity."""
    count, windows = len(shots), shots.windows.shape[1]
    result = np.tile(np.eye(3), (count, windows + 1, 1, 1))
    used = np.arange(windows) < (shots.steps == Step.WINDOW).sum(1)[:, None]
    result[:, :-1, :2][used] = shots.windows[used] * size
    return result


def operations(shots: Shots, size: int) -> tuple[NDArray[np.int64], Floats]:
    """The kinds and arguments (B, K) of the steps of shots; those of geometric ones are read from the windows."""
    maps = squares(shots, size)
    moves = maps[:, :-1] @ np.linalg.inv(maps[:, 1:])
    x, y, right, down = moves[..., 0, 1], moves[..., 1, 0], moves[..., 0, 2], moves[..., 1, 2]
    sheared_x, sheared_y, right_too, down_too = (np.abs(part) > 1e-7 for part in (x, y, right, down))
    choices = [sheared_x & sheared_y, sheared_x, sheared_y, right_too, down_too]
    kind_of_window = np.select(choices, GEOMETRIC, 0)
    angles = np.degrees(np.arctan2(y, moves[..., 0, 0]))
    argument_of_window = np.select(choices, [angles, x, y, right / size, down / size], 0.0)

    kinds, arguments = np.zeros(shots.steps.shape, np.int64), shots.amounts.copy()
    for step, kind in KIND_OF_STEP.items():
        kinds[shots.steps == step] = kind
    rows, columns = np.nonzero(shots.steps == Step.WINDOW)
    places = (np.cumsum(shots.steps == Step.WINDOW, axis=1) - 1)[rows, columns]
    kinds[rows, columns] = kind_of_window[rows, places]
    arguments[rows, columns] = argument_of_window[rows, places]
    assert np.array_equal(kinds > 0, shots.steps > 0)
    return kinds, np.round(arguments, 8)


def timms(text: str, **settings: object) -> list[Callable[[object], object]]:
    """What timm puts between the crop and the tensor."""
    transform = transforms_imagenet_train(
        224, auto_augment=text, interpolation="bicubic", mean=(0.5,) * 3, separate=True, **settings
    )[1]
    return list(transform.transforms)


@lru_cache
def operations_of_timm(text: str) -> tuple[NDArray[np.int64], Floats]:
    """The kinds and arguments (count, n) of the operations that timm would apply to as many pictures."""
    (transform,) = timms(text)
    assert isinstance(transform, RandAugment)
    applied: list[tuple[int, float]] = []

    def recorder(name: str) -> Callable[..., None]:
        kind = 0 if name == "Color" else KINDS.index(name)

        def record(_: None, argument: float = 0.0, **__: object) -> None:
            if kind:
                applied.append((kind, argument))

        return record

    for operation in transform.ops:
        operation.aug_fn = recorder(operation.name.removesuffix("Increasing"))
    transform.ops = np.array(transform.ops, object)  # spares NumPy's choice the conversion
    random.seed(5)
    np.random.seed(6)  # noqa: NPY002 - timm draws from there
    shape = TEXTS[text], transform.num_layers
    kinds, arguments = np.zeros(shape, np.int64), np.zeros(shape)
    for i in range(shape[0]):
        applied.clear()
        transform(None)
        if applied:
            kinds[i, : len(applied)], arguments[i, : len(applied)] = zip(*applied, strict=True)
    return kinds, np.round(arguments, 8)


@lru_cache
def operations_of_policy(text: str) -> tuple[NDArray[np.int64], Floats]:
    return operations(Policy(auto_augment=text).shots(11, np.arange(TEXTS[text]), 512, 224, 128), 224)


@pytest.mark.parametrize("text", TEXTS)
def test_operations_come_as_often_as_timms_in_the_same_company(text: str) -> None:
    (ours, _), (theirs, _) = operations_of_policy(text), operations_of_timm(text)
    assert ours.shape == theirs.shape
    assert as_often(ours, theirs)
    assert as_often((ours > 0).sum(1), (theirs > 0).sum(1))
    for layer in range(ours.shape[1] - 1):
        pairs = [len(KINDS) * kinds[:, layer] + kinds[:, layer + 1] for kinds in (ours, theirs)]
        assert as_often(*pairs)


@pytest.mark.parametrize("text", TEXTS)
def test_arguments_are_distributed_as_timms_for_each_operation(text: str) -> None:
    (our_kinds, ours), (their_kinds, theirs) = operations_of_policy(text), operations_of_timm(text)
    for kind in range(1, len(KINDS)):
        mine, other = ours[our_kinds == kind], theirs[their_kinds == kind]
        assert distance(mine, other) < 1.2, KINDS[kind]
        if KINDS[kind] in ("Posterize", "Solarize", "SolarizeAdd"):
            assert np.array_equal(mine, np.rint(mine))


@pytest.mark.parametrize("text", [DEIT, "rand-m7-n3-p0.8-mstd101-mmax12", "rand-m5-mstd1-tweights"])
def test_arguments_of_consecutive_operations_are_independent(text: str) -> None:
    kinds, arguments = operations_of_policy(text)
    scores = np.zeros(arguments.shape)
    for kind in GEOMETRIC:
        of_kind = kinds == kind
        scores[of_kind] = arguments[of_kind] / arguments[of_kind].std()
    both = np.isin(kinds[:, :2], GEOMETRIC).all(1)
    first, second = scores[both, 0], scores[both, 1]
    assert both.sum() > 2000
    for a, b in ((first, second), (np.abs(first), np.abs(second)), (np.abs(first), second), (first, np.abs(second))):
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(both.sum())


@pytest.mark.parametrize("text", ["rand-n1-p1", "rand-n1-p1-inc1", "rand-n1-p1-tweights"])
def test_operations_have_timms_probabilities(text: str) -> None:
    count = 200_000
    kinds, _ = operations(Policy(auto_augment=text).shots(1, np.arange(count), 512, 224, 128), 224)
    (transform,) = timms(text)
    assert isinstance(transform, RandAugment)
    weights = np.full(15, 1 / 15) if transform.choice_weights is None else transform.choice_weights
    for operation, weight in zip(transform.ops, weights, strict=True):
        name = operation.name.removesuffix("Increasing")
        found = int((kinds == (0 if name == "Color" else KINDS.index(name))).sum())
        assert abs(found - count * weight) < 4.5 * np.sqrt(count * weight * (1 - weight)), name


def test_magnitudes_are_normal() -> None:
    kinds, arguments = operations_of_policy("rand-m5-mstd1-tweights")
    units = {ROTATE: 3.0, SHEAR_X: 0.03, SHEAR_Y: 0.03, SHIFT_X: 0.045, SHIFT_Y: 0.045}
    scores = np.concatenate([np.abs(arguments[kinds == kind]) / unit for kind, unit in units.items()]) - 5
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((scores**power).mean() - moment) < 4 * np.sqrt(variance / scores.size), power


@pytest.mark.parametrize("increasing", ["", "-inc1"])
def test_each_magnitude_gives_timms_argument_with_both_signs(increasing: str) -> None:
    random.seed(0)
    for magnitude in range(1, 31):
        text = f"rand-m{magnitude}-n8-p1-mmax30{increasing}"
        kinds, arguments = operations(Policy(auto_augment=text).shots(3, np.arange(100), 512, 224, 128), 224)
        (transform,) = timms(text)
        assert isinstance(transform, RandAugment)
        for operation in transform.ops:
            name = operation.name.removesuffix("Increasing")
            if name == "Color" or operation.level_fn is None:
                continue
            theirs = sorted({float(operation.level_fn(magnitude, operation.hparams)[0]) for _ in range(40)})
            ours = np.unique(arguments[kinds == KINDS.index(name)]).tolist()
            if name == "Posterize":  # 8 bits and more change nothing; Pillow takes fewer than 0 for 0
                theirs = [max(0.0, bits) for bits in theirs if bits < 8]
            assert ours == pytest.approx(theirs, abs=1e-7), (name, magnitude)


def test_layers_are_never_applied_or_always() -> None:
    none = Policy(auto_augment="rand-p0-n8").shots(0, np.arange(2000), 64, 32, 0)
    assert not none.steps.any()
    every = Policy(auto_augment="rand-p1-n8").shots(0, np.arange(2000), 64, 32, 0)
    assert (every.steps > 0).mean() == pytest.approx(14 / 15, abs=0.01)  # the fifteenth is colour


def test_weighted_operations_never_come_twice() -> None:
    kinds, _ = operations(Policy(auto_augment="rand-m5-n8-p1-tweights").shots(0, np.arange(3000), 64, 32, 0), 32)
    for kind in range(1, len(KINDS)):
        assert (kinds == kind).sum(1).max() == 1
    assert (kinds > 0).sum(1).min() == 7  # one of the eight may be colour


@pytest.mark.parametrize(("jitter", "count"), [(0.4, COUNT), ((0.4, 1.5, 0.2), 20_000)])
def test_colour_jitter_is_torchvisions(jitter: float | tuple[float, float, float], count: int) -> None:
    widths = jitter if isinstance(jitter, tuple) else (jitter,) * 3
    reference = ColorJitter(*widths)
    torch.manual_seed(3)
    theirs = np.empty((count, 3))
    for i in range(count):
        order, brightness, contrast, *_ = ColorJitter.get_params(reference.brightness, reference.contrast, None, None)
        places = order.tolist()
        theirs[i] = brightness, contrast, places.index(0) < places.index(1)
    shots = Policy(color_jitter=jitter).shots(5, np.arange(count), 512, 224, 128)
    first = shots.steps[:, 0] == Step.BRIGHTNESS
    assert np.array_equal(np.sort(shots.steps, axis=1), np.tile([Step.BRIGHTNESS, Step.CONTRAST], (count, 1)))
    brightness = np.where(first, shots.amounts[:, 0], shots.amounts[:, 1])
    contrast = np.where(first, shots.amounts[:, 1], shots.amounts[:, 0])
    assert distance(brightness, theirs[:, 0]) < 1
    assert distance(contrast, theirs[:, 1]) < 1
    assert as_often(first.astype(int), theirs[:, 2].astype(int))
    assert np.abs(np.corrcoef([brightness, contrast, first]) - np.eye(3)).max() < 4 / np.sqrt(count)


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [
        ((0, 0.4, 0), [Step.CONTRAST]),
        ((0.4, 0, 0.3), [Step.BRIGHTNESS]),
        ((0, 0, 0.4), []),
        (0, []),
        (None, []),
    ],
)
def test_colour_jitter_of_width_zero_and_saturation_are_no_steps(
    jitter: float | tuple[float, float, float] | None, expected: list[Step]
) -> None:
    shots = Policy(color_jitter=jitter).shots(0, np.arange(50), 64, 32, 0)
    assert shots.steps.tolist() == [expected] * 50
    assert np.unique(shots.amounts).size == 50 * len(expected)


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("text", [None, "rand-m9-p0"])
def test_colour_jitter_is_off_where_timm_has_it_off(text: str | None, force: bool) -> None:
    theirs = timms(text, color_jitter=0.4, force_color_jitter=force)  # type: ignore[arg-type]
    shots = Policy(auto_augment=text, color_jitter=0.4, force_color_jitter=force).shots(0, np.arange(50), 64, 32, 0)
    jittered = shots.steps.any(axis=1)
    assert jittered.all() == jittered.any() == any(isinstance(part, ColorJitter) for part in theirs)


def test_colour_jitter_comes_after_the_operations() -> None:
    shots = Policy(auto_augment=DEIT, color_jitter=0.4, force_color_jitter=True).shots(0, np.arange(5000), 64, 32, 0)
    without = Policy(auto_augment=DEIT).shots(0, np.arange(5000), 64, 32, 0)
    assert shots.steps.shape == (5000, 4)
    assert np.array_equal(shots.windows, without.windows)
    for layers in range(3):
        rows = (without.steps > 0).sum(1) == layers
        assert rows.any()
        assert np.array_equal(shots.steps[rows, :layers], without.steps[rows, :layers])
        assert np.array_equal(shots.amounts[rows, :layers], without.amounts[rows, :layers])
        tail = np.sort(shots.steps[rows, layers : layers + 2], axis=1)
        assert (tail == [Step.BRIGHTNESS, Step.CONTRAST]).all()
        assert not shots.steps[rows, layers + 2 :].any()


class Erased:
    """Stands in for a picture, and keeps the rectangle that is written to."""

    def __init__(self) -> None:
        self.box = (0, 0, 0, 0)

    def __setitem__(self, place: tuple[slice, slice, slice], value: torch.Tensor) -> None:
        _, rows, columns = place
        self.box = (rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start)


@pytest.mark.parametrize(
    ("prob", "area", "aspect", "size", "count"),
    [
        (0.5, (0.02, 1 / 3), (0.3, 1 / 0.3), 224, COUNT),
        (0.9, (0.6, 0.9), (0.2, 1.5), 64, 30_000),  # three attempts in four miss
        (1.0, (0.0, 0.05), (0.1, 0.5), 16, 30_000),  # some have no width
    ],
)
def test_erased_rectangles_are_timms(
    prob: float, area: tuple[float, float], aspect: tuple[float, float], size: int, count: int
) -> None:
    erasing = RandomErasing(prob, *area, *aspect, device="cpu")
    random.seed(8)
    theirs = np.zeros((count, 4), np.int64)
    for i in range(count):
        picture = Erased()
        erasing._erase(picture, 1, size, size, torch.float32)
        theirs[i] = picture.box
    theirs[(theirs[:, 2:] == 0).any(axis=1)] = 0
    policy = Policy(re_prob=prob, re_area=area, re_aspect=aspect)
    ours = policy.shots(9, np.arange(count), 512, size, 128).erased
    for column in range(4):
        assert distance(ours[:, column], theirs[:, column]) < 1
    assert as_often((ours[:, 2] > 0).astype(int), (theirs[:, 2] > 0).astype(int))
    ours, theirs = ours[ours[:, 2] > 0], theirs[theirs[:, 2] > 0]
    assert distance(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]) < 1
    assert distance(ours[:, 2] / ours[:, 3], theirs[:, 2] / theirs[:, 3]) < 1
    assert distance(ours[:, 0] + ours[:, 2], theirs[:, 0] + theirs[:, 2]) < 1
    assert distance(ours[:, 1] + ours[:, 3], theirs[:, 1] + theirs[:, 3]) < 1
    assert distance(ours[:, 0] * ours[:, 1], theirs[:, 0] * theirs[:, 1]) < 1


def test_crop_flips_operations_jitter_and_erasing_are_independent() -> None:
    count, samples = 40_000, np.arange(40_000)
    policy = Policy(auto_augment="rand-n1-p0.7-mstd2", color_jitter=0.4, force_color_jitter=True, re_prob=0.6)
    shots, (boxes, flips) = policy.shots(4, samples, 512, 224, 0), policy.boxes(4, samples, 512)
    kinds, arguments = operations(shots, 224)
    last = (shots.steps > 0).sum(1)[:, None] - [2, 1]  # the two of the jitter
    steps, factors = np.take_along_axis(shots.steps, last, 1), np.take_along_axis(shots.amounts, last, 1)
    layer = last[:, 0] == 1
    groups = [
        boxes,
        flips,
        np.stack(
            [layer & (kinds[:, 0] == kind) for kind in range(1, len(KINDS))]
            + [np.where(layer & (kinds[:, 0] == kind), arguments[:, 0], 0.0) for kind in GEOMETRIC],
            axis=1,
        ),
        np.stack([steps[:, 0], *np.sort(factors * np.where(steps == Step.CONTRAST, -1, 1), axis=1).T], axis=1),
        np.concatenate([shots.erased, shots.erased[:, 2:3] > 0], axis=1),
    ]
    group_of = np.repeat(range(len(groups)), [group.shape[1] for group in groups])
    correlations = np.corrcoef(np.concatenate(groups, axis=1).astype(np.float64), rowvar=False)
    between = np.abs(correlations[group_of[:, None] != group_of])
    assert np.isfinite(correlations).all()
    assert between.max() < 4.5 / np.sqrt(count)


def test_erasing_takes_nothing_from_the_rest_and_its_noise_has_a_key_of_its_own() -> None:
    samples = np.arange(100)
    plain, erasing = Policy().shots(2, samples, 64, 32, 0), Policy(re_prob=1).shots(2, samples, 64, 32, 0)
    assert np.array_equal(plain.views, erasing.views)
    assert not plain.erased.any()
    assert not plain.keys.any()
    assert erasing.erased[:, 2:].all()
    assert np.array_equal(erasing.keys, keys(2, Purpose.NOISE_KEY, samples))


@pytest.mark.parametrize(
    "policy", [Policy(), Policy(scale=(0.6, 1.0), ratio=(0.3, 3.0)), Policy(scale=(0.2, 0.3), ratio=(2.0, 3.0))]
)
def test_crops_have_the_distribution_of_torchvision(policy: Policy) -> None:
    count, size = 8000, 128
    ours, _ = policy.boxes(7, np.arange(count), size)
    torch.manual_seed(5)
    image = torch.empty(1, size, size)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, list(policy.scale), list(policy.ratio)) for _ in range(count)]
    )
    for column in range(4):
        assert distance(ours[:, column], theirs[:, column]) < 1
    assert distance(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]) < 1
    assert distance(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]) < 1
    assert distance(ours[:, 0] + ours[:, 2], theirs[:, 0] + theirs[:, 2]) < 1
    assert distance(ours[:, 1] + ours[:, 3], theirs[:, 1] + theirs[:, 3]) < 1


@given(
    st.integers(0, 2**64 - 1),
    st.integers(8, 4096),
    st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)).map(sorted),
    st.tuples(st.floats(1 / 16, 16), st.floats(1 / 16, 16)).map(sorted),
)
def test_every_box_lies_on_the_canvas(seed: int, canvas: int, scale: list[float], ratio: list[float]) -> None:
    boxes, _ = Policy(scale=tuple(scale), ratio=tuple(ratio)).boxes(seed, np.arange(50), canvas)  # type: ignore[arg-type]
    assert boxes.min() >= 0
    assert boxes[:, 2:].min() >= 1
    assert (boxes[:, 0] + boxes[:, 2]).max() <= canvas
    assert (boxes[:, 1] + boxes[:, 3]).max() <= canvas


@pytest.mark.parametrize(
    ("ratio", "box"),
    [((2.0, 3.0), (25, 0, 50, 100)), ((0.2, 0.25), (0, 37, 100, 25)), ((0.9, 1.1), None)],
)
def test_where_no_box_fits_the_largest_central_one_is_taken(
    ratio: tuple[float, float], box: tuple[int, ...] | None
) -> None:
    boxes, _ = Policy(scale=(1.0, 1.0), ratio=ratio).boxes(0, np.arange(20), 100)
    if box is None:
        assert (boxes == [0, 0, 100, 100]).all(axis=1).any()
    else:
        assert (boxes == box).all()


def test_flips_come_as_often_as_asked_and_independently() -> None:
    _, flips = Policy(hflip=0.3, vflip=0.8).boxes(1, np.arange(8000), 64)
    assert flips.dtype == np.bool_
    assert flips.mean(0).tolist() == pytest.approx([0.3, 0.8], abs=0.02)
    assert abs(np.corrcoef(flips.T)[0, 1]) < 0.04
    assert not Policy(hflip=0, vflip=0).boxes(1, np.arange(100), 64)[1].any()
    assert Policy(hflip=1, vflip=1).boxes(1, np.arange(100), 64)[1].all()


@pytest.mark.parametrize(("canvas", "size"), [(64, 64), (49, 49), (512, 224), (362, 49)])
def test_without_crop_the_whole_canvas_is_shown_exactly(canvas: int, size: int) -> None:
    shots = Policy(crop=False, hflip=0, vflip=0).shots(4, np.arange(9), canvas, size, 0)
    assert np.array_equal(shots.views, whole_views(9, canvas, canvas, size))
    boxes, flips = Policy(crop=False).boxes(4, np.arange(9), canvas)
    assert (boxes == [0, 0, canvas, canvas]).all()
    assert np.array_equal(flips, Policy().boxes(4, np.arange(9), canvas)[1])


def taken_by_pillow(picture: Image.Image, box: list[int], flips: list[bool], size: int) -> Image.Image:
    """Crop, resize and mirror as timm's transform does."""
    top, left, height, width = box
    picture = picture.crop((left, top, left + width, top + height)).resize((size, size), Image.Resampling.BILINEAR)
    for flip, method in zip(flips, (Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.FLIP_TOP_BOTTOM), strict=True):
        picture = picture.transpose(method) if flip else picture
    return picture


def moved_by_pillow(picture: Image.Image, kind: int, argument: float, fill: float) -> Image.Image:
    """One of timm's geometric operations."""
    moved = NAME_TO_OP[KINDS[kind]](picture, argument, fillcolor=fill, resample=Image.Resampling.BILINEAR)
    assert isinstance(moved, Image.Image)
    return moved


def seen_at(maps: Floats, size: int) -> Floats:
    """Where affine maps (..., 2 or 3, 3) lead the centres of pixels: (..., 2, size, size), x and y."""
    centres = np.arange(size) + 0.5
    x, y = np.meshgrid(centres, centres)
    return np.einsum("...ij,jrc->...irc", maps[..., :2, :], np.stack([x, y, np.ones_like(x)]))


@pytest.mark.parametrize("text", [None, "rand-m9-n1-p1-mstd2-tweights", "rand-m5-n3-p1-mstd101-tweights"])
def test_a_view_leads_to_the_place_from_which_timm_and_pillow_take_a_pixel(text: str | None) -> None:
    canvas, size, count = 64, 96, 60
    policy, samples = Policy(auto_augment=text), np.arange(count)
    shots, (boxes, flips) = policy.shots(21, samples, canvas, size, 0), policy.boxes(21, samples, canvas)
    kinds, arguments = operations(shots, size)
    centres = np.arange(canvas, dtype=np.float32) + 0.5
    ramps = np.meshgrid(centres, centres)  # each pixel holds its own place
    compared, known = 0, set()
    for i in range(count):
        places = seen_at(squares(shots[i : i + 1], size)[0], size)
        inner = ((places > 7) & (places < size - 7)).all(axis=(0, 1))  # where Pillow sees neither an edge nor its fill
        geometric = [(k, a) for k, a in zip(kinds[i].tolist(), arguments[i].tolist(), strict=True) if k in GEOMETRIC]
        known.add(tuple(kind for kind, _ in geometric))
        expected = seen_at(shots.views[i], size)
        for axis in (0, 1):
            picture = taken_by_pillow(Image.fromarray(ramps[axis]), boxes[i].tolist(), flips[i].tolist(), size)
            for kind, argument in geometric:
                picture = moved_by_pillow(picture, kind, argument, -1e6)
            assert np.abs(np.asarray(picture) - expected[axis])[inner].max(initial=0) < 1e-3
        compared += int(inner.sum())
    assert compared > 0.3 * count * size**2
    assert {(kind,) for kind in GEOMETRIC} <= known or text != "rand-m9-n1-p1-mstd2-tweights"
    assert len(known) > (20 if text == "rand-m5-n3-p1-mstd101-tweights" else 0)


@pytest.mark.parametrize(
    ("text", "apart"), [("rand-m9-n1-p1-mstd2-tweights", 0), ("rand-m9-n3-p1-mstd2-tweights", 0.004)]
)
def test_outside_of_a_window_is_what_pillow_fills(text: str, apart: float) -> None:
    size, count, fills = 80, 60, (17, 91, 151)
    shots = Policy(auto_augment=text).shots(22, np.arange(count), 64, size, 0)
    kinds, arguments = operations(shots, size)
    for i in range(count):
        picture, expected = Image.new("L", (size, size), 200), np.full((size, size), 200)
        geometric = np.flatnonzero(np.isin(kinds[i], GEOMETRIC))
        for window, step in enumerate(geometric.tolist()):
            picture = moved_by_pillow(picture, int(kinds[i, step]), float(arguments[i, step]), fills[window])
            places = seen_at(shots.windows[i, window], size)
            expected[((places < 0) | (places >= 1)).any(axis=0)] = fills[window]
        pure = np.isin(picture, [200, *fills])  # all but where Pillow mixes the two sides of an edge
        assert pure.mean() > 0.9
        assert (np.asarray(picture)[pure] != expected[pure]).mean() <= apart
    assert 2 * (shots.steps == Step.WINDOW).sum() > shots.steps.size


def test_windows_are_filled_with_the_policys_gray_or_else_the_given_one() -> None:
    for policy, gray in ((Policy(auto_augment="rand-p1"), 99), (Policy(auto_augment="rand-p1", fill=7), 7)):
        shots = policy.shots(0, np.arange(300), 64, 32, 99)
        assert (shots.amounts[shots.steps == Step.WINDOW] == gray).all()
        assert (shots.steps == Step.WINDOW).any()


def fields(shots: Shots) -> dict[str, NDArray[np.generic]]:
    """The arrays of shots, little-endian."""
    return {name: array.astype(array.dtype.newbyteorder("<")) for name, array in vars(shots).items()}


RICH = Policy(auto_augment="rand-m6-n3-p0.7-mstd2-tweights", color_jitter=0.4, force_color_jitter=True, re_prob=0.6)


@given(
    st.lists(st.integers(0, 2**62 - 1), max_size=10),
    st.integers(0, 10),
    st.sampled_from([Policy(), Policy(auto_augment=DEIT, re_prob=0.5), RICH, Policy(color_jitter=0.3)]),
)
def test_a_sample_has_the_same_shot_in_any_company(samples: list[int], split: int, policy: Policy) -> None:
    whole = policy.shots(3, np.array(samples, np.int64), 512, 224, 128)
    assert len(whole) == len(samples)
    for part in (slice(0, split), slice(split, None)):
        shots = policy.shots(3, np.array(samples[part], np.int64), 512, 224, 128)
        for name, array in fields(shots).items():
            assert array.tobytes() == fields(whole[part])[name].tobytes(), name


def test_boxes_keep_their_bits_for_ever() -> None:
    boxes, flips = Policy().boxes(2026, np.arange(500), 512)
    digest = hashlib.sha256(boxes.astype("<i8").tobytes() + flips.tobytes()).hexdigest()[:16]
    assert digest == "fcc621f306598147"


@pytest.mark.parametrize(
    ("policy", "golden"),
    [
        (resolve_policy("deit"), "98387a482879dfa6"),
        (RICH, "e5dee2e64fdb4e05"),
        (Policy(auto_augment="rand-m8-mstd101", color_jitter=0.2, force_color_jitter=True), "a0eb6e4b8493d6c6"),
    ],
)
def test_shots_keep_their_bits_for_ever(policy: Policy, golden: str) -> None:
    shots = policy.shots(2026, np.arange(500), 512, 224, 128)
    assert list(fields(shots)) == ["views", "steps", "amounts", "windows", "erased", "keys"]
    assert hashlib.sha256(b"".join(array.tobytes() for array in fields(shots).values())).hexdigest()[:16] == golden


def intervals(low: float, high: float) -> st.SearchStrategy[tuple[float, float]]:
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(lambda pair: (min(pair), max(pair)))


def texts() -> st.SearchStrategy[str]:
    """Legal texts of ``auto_augment``, the parts in any order."""
    digits = st.decimals(0, 1, places=3).map(lambda number: f"{number:f}")
    parts = (
        st.integers(0, 30).map(lambda m: f"m{m}"),
        st.integers(1, 8).map(lambda n: f"n{n}"),
        digits.map(lambda p: f"p{p}"),
        st.one_of(digits, st.integers(0, 120).map(str), st.just("0.00001")).map(lambda std: f"mstd{std}"),
        st.integers(0, 30).map(lambda top: f"mmax{top}"),
        st.integers(0, 1).map(lambda inc: f"inc{inc}"),
        st.just("tweights"),
    )
    optional = st.tuples(*(st.one_of(st.none(), part) for part in parts))
    return optional.map(lambda chosen: ["rand", *(part for part in chosen if part)]).flatmap(
        lambda chosen: st.permutations(chosen[1:]).map(lambda shuffled: "-".join([chosen[0], *shuffled]))
    )


POLICIES = st.builds(
    Policy,
    crop=st.booleans(),
    scale=intervals(0.01, 1),
    ratio=intervals(1 / 16, 16),
    auto_augment=st.one_of(st.none(), texts()),
    color_jitter=st.one_of(st.none(), st.floats(0, 10), st.tuples(*[st.floats(0, 10)] * 3)),
    force_color_jitter=st.booleans(),
    re_prob=st.floats(0, 1),
    re_area=intervals(0, 1),
    re_aspect=intervals(1 / 16, 16),
    fill=st.one_of(st.none(), st.integers(0, 255)),
)


@given(POLICIES, st.integers(0, 2**64 - 1), st.integers(1, 4096), st.integers(1, 512))
def test_every_policy_gives_shots_within_their_limits(policy: Policy, seed: int, canvas: int, size: int) -> None:
    count = 40
    shots = policy.shots(seed, np.arange(count), canvas, size, 128)
    steps, amounts = shots.steps, shots.amounts
    assert {name: (array.dtype, array.shape) for name, array in vars(shots).items()} == {
        "views": (np.float64, (count, 2, 3)),
        "steps": (np.int8, (count, steps.shape[1])),
        "amounts": (np.float64, (count, steps.shape[1])),
        "windows": (np.float64, (count, shots.windows.shape[1], 2, 3)),
        "erased": (np.int32, (count, 4)),
        "keys": (np.uint64, (count,)),
    }
    assert steps.shape[1] <= MAX_STEPS
    assert shots.windows.shape[1] <= MAX_WINDOWS
    assert all(np.isfinite(array).all() for array in (shots.views, amounts, shots.windows))
    assert not (steps[:, 1:].astype(bool) & ~steps[:, :-1].astype(bool)).any()
    assert not amounts[steps == Step.NONE].any()
    unused = np.arange(shots.windows.shape[1]) >= (steps == Step.WINDOW).sum(1)[:, None]
    assert not shots.windows[unused].any()
    highest = {Step.WINDOW: 255, Step.POSTERIZE: 7, Step.SOLARIZE: 256, Step.SOLARIZE_ADD: 128}
    for step in Step:
        of_step = amounts[steps == step]
        assert of_step.min(initial=0) >= 0
        assert of_step.max(initial=0) <= highest.get(step, 11)
        if step in highest:
            assert np.array_equal(of_step, np.rint(of_step))
    erased = shots.erased
    assert erased.min() >= 0
    assert (erased[:, :2] + erased[:, 2:]).max() <= size
    assert (erased[:, 2:] < size).all()
    assert not erased[(erased[:, 2:] == 0).any(axis=1)].any()


def meaning(text: str) -> tuple[object, ...]:
    """What timm makes of a text."""
    transform = rand_augment_transform(text, {"img_mean": (128, 128, 128)})
    weights = None if transform.choice_weights is None else transform.choice_weights.tolist()
    assert all(isinstance(operation, AugmentOp) for operation in transform.ops)
    return (
        transform.num_layers,
        weights,
        [
            (each.name, each.prob, each.magnitude, each.magnitude_std, each.magnitude_max or 10)
            for each in transform.ops
        ],
    )


@given(texts(), st.randoms(use_true_random=False))
def test_a_text_is_kept_in_one_form_that_means_the_same_to_timm(text: str, shuffler: random.Random) -> None:
    kept = Policy(auto_augment=text).auto_augment
    assert kept is not None
    assert meaning(kept) == meaning(text)
    assert Policy(auto_augment=kept).auto_augment == kept
    parts = text.split("-")[1:]
    shuffler.shuffle(parts)
    assert Policy(auto_augment="-".join(["rand", *parts])) == Policy(auto_augment=text)


def test_equal_texts_are_equal_policies_and_others_are_not() -> None:
    for several in (
        ["rand", "rand-m10", "rand-n2-p0.5", "rand-m010-mmax10", "rand-mmax0", "rand-mstd0-inc0", "rand-p0.50"],
        ["rand-m9-mstd0.5-inc1", "rand-inc1-mstd0.50-m9"],
        ["rand-mstd101", "rand-mstd1000", "rand-mstd100.5"],
        ["rand-tweights", "rand-tweights-inc1"],
        ["rand-mstd0.00001"],
        ["rand-mstd100"],
        ["rand-inc1"],
    ):
        assert len({Policy(auto_augment=text) for text in several}) == 1
        assert len({describe_policy(Policy(auto_augment=text)) for text in several}) == 1
    assert Policy(auto_augment="rand-inc1-mstd0.5-m9").auto_augment == DEIT
    assert len({Policy(auto_augment=text) for text in ("rand", "rand-mstd101", "rand-mstd100", "rand-inc1")}) == 4


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("augmix-m3-w3", "only RandAugment is available"),
        ("original", "only RandAugment is available"),
        ("v0", "only RandAugment is available"),
        ("3a", "only RandAugment is available"),
        ("", "only RandAugment is available"),
        ("randm9", "only RandAugment is available"),
        ("RAND-m9", "only RandAugment is available"),
        ("rand-m9-t3a", "t3a needs blur and saturation"),
        ("rand-t3aw", "t3aw needs blur and saturation"),
        ("rand-", "'' is none of these"),
        ("rand-m9-tfoo", "'tfoo' is none of these"),
        ("rand-w0", "'w0' is none of these"),
        ("rand-m", "'m' is none of these"),
        ("rand-m9.5", "'m9.5' is none of these"),
        ("rand-m-9", "'m' is none of these"),
        ("rand-m9 ", "'m9 ' is none of these"),
        ("rand-m\N{FULLWIDTH DIGIT NINE}", "'m\N{FULLWIDTH DIGIT NINE}' is none of these"),
        ("rand-m9\n", "'m9\\n' is none of these"),
        ("rand-inc", "'inc' is none of these"),
        ("rand-mstdinf", "'mstdinf' is none of these"),
        ("rand-mstd1e3", "'mstd1e3' is none of these"),
        ("rand-p.5", "'p.5' is none of these"),
        ("rand-m9-n2-m9", "m stands twice"),
        ("rand-m31", "m is 31"),
        ("rand-n0", "n is 0"),
        ("rand-n9", "n is 9"),
        ("rand-p1.5", "p is 1.5"),
        ("rand-mmax31", "mmax is 31"),
        ("rand-inc2", "inc is 2"),
    ],
)
def test_texts_that_are_not_timms_or_not_available_are_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="auto_augment must be None or timm's 'rand' with any of -m0") as got:
        Policy(auto_augment=text)
    assert f"such as {DEIT!r}, got {text!r}: {why}" in str(got.value)


def test_a_long_text_does_not_flood_the_message() -> None:
    with pytest.raises(ValueError, match="only RandAugment") as got:
        Policy(auto_augment="x" * 10_000)
    assert len(str(got.value)) < 500
    with pytest.raises(ValueError, match="none of these"):
        Policy(auto_augment="rand-m" + "9" * 10_000)


def test_a_policy_is_named_or_given_and_described_exactly() -> None:
    assert resolve_policy(None) is None
    assert resolve_policy("crop-flip") == Policy()
    deit = Policy(auto_augment=DEIT, color_jitter=0.4, re_prob=0.5)
    assert resolve_policy("deit") == deit
    assert all(isinstance(resolve_policy(name), Policy) for name in AUGMENTATIONS)
    mine = Policy(scale=[0.5, 1], vflip=0, color_jitter=0.4, crop=np.True_, fill=np.int64(3))  # type: ignore[arg-type]
    same = Policy(scale=(0.5, 1.0), vflip=-0.0, color_jitter=(0.4, 0.4, 0.4), crop=True, fill=3)
    assert resolve_policy(mine) is mine
    assert mine == same
    assert hash(mine) == hash(same)
    texts = [describe_policy(policy) for policy in (None, Policy(), deit, mine, same)]
    assert len(set(texts)) == 4
    assert texts[3] == texts[4]


@pytest.mark.parametrize(
    ("error", "message", "augment"),
    [
        (ValueError, "augment must be None, 'crop-flip', 'deit' or a Policy, got 'crop'", "crop"),
        (TypeError, "augment must be None, 'crop-flip', 'deit' or a Policy, got 3 of type int", 3),
    ],
)
def test_unknown_policies_are_refused(error: type[Exception], message: str, augment: object) -> None:
    with pytest.raises(error, match=message):
        resolve_policy(augment)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "crop must be True or False, got 1 of type int", {"crop": 1}),
        (ValueError, r"scale\[0\] must be a number in \(0, 1\], got 0", {"scale": (0, 1)}),
        (ValueError, r"scale\[1\] must be a number in \(0, 1\], got 1.5", {"scale": (0.5, 1.5)}),
        (ValueError, r"scale must be a pair \(low, high\) with low <= high, got \(0.9, 0.1\)", {"scale": (0.9, 0.1)}),
        (TypeError, r"scale must be a pair \(low, high\), got 0.5", {"scale": 0.5}),
        (TypeError, r"scale must be a pair \(low, high\), got 'ab'", {"scale": "ab"}),
        (TypeError, r"ratio must be a pair \(low, high\), got \(1, 2, 3\)", {"ratio": (1, 2, 3)}),
        (TypeError, r"ratio must be a pair", {"ratio": memoryview(np.ones((2, 2)))}),
        (ValueError, r"ratio\[0\] must be a number in \[0.0625, 16\], got 0.01", {"ratio": (0.01, 1)}),
        (ValueError, r"hflip must be a number in \[0, 1\], got 1.1", {"hflip": 1.1}),
        (TypeError, r"vflip must be a number in \[0, 1\], got None", {"vflip": None}),
        (ValueError, "interpolation must be one of 'bicubic', 'bilinear', got 'nearest'", {"interpolation": "nearest"}),
        (TypeError, "auto_augment must be None or a str, got 9 of type int", {"auto_augment": 9}),
        (TypeError, r"auto_augment must be None or a str, got \['rand'\] of type list", {"auto_augment": ["rand"]}),
        (ValueError, r"color_jitter must be a number in \[0, 10\], got -0.1", {"color_jitter": -0.1}),
        (TypeError, r"color_jitter must be a number in \[0, 10\], got 'a' of type str", {"color_jitter": "a"}),
        (TypeError, r"color_jitter must be None, a number or \(bright", {"color_jitter": (0.4, 0.4, 0.4, 0.1)}),
        (ValueError, r"color_jitter\[1\] must be a number in \[0, 10\], got 11", {"color_jitter": (0, 11, 0)}),
        (TypeError, "force_color_jitter must be True or False, got None", {"force_color_jitter": None}),
        (ValueError, r"re_prob must be a number in \[0, 1\], got nan", {"re_prob": float("nan")}),
        (ValueError, r"re_area\[1\] must be a number in \[0, 1\], got 2", {"re_area": (0.1, 2)}),
        (ValueError, r"re_aspect\[0\] must be a number in \[0.0625, 16\], got 0", {"re_aspect": (0, 1)}),
        (ValueError, "fill must be an integer in 0..255, got 256", {"fill": 256}),
        (TypeError, "fill must be an integer in 0..255, got 1.0 of type float", {"fill": 1.0}),
    ],
)
def test_bad_settings_of_a_policy_are_named(error: type[Exception], message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        Policy(**arguments)  # type: ignore[arg-type]
