"""Augmentation: the distribution of views against torchvision's, and pictures against its resampling."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onepfrac.augment import CropFlip, Views, describe_policy, gray_table, resolve_policy, take_pictures


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance of two samples, in units of its 0.1 % quantile."""
    values = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / sample.size for sample in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max() / (1.95 * np.sqrt(1 / first.size + 1 / second.size)))


def canvases(count: int, size: int) -> torch.Tensor:
    """Random pictures with structure at several scales, uint8 (count, 1, size, size)."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand((count, 1, size // 8, size // 8), generator=generator).repeat_interleave(8, 2)
    fine = torch.rand((count, 1, size, size), generator=generator)
    return ((coarse.repeat_interleave(8, 3) + fine) > 1).to(torch.uint8) * 127


RAW = gray_table(torch.uint8, [0.0], [1.0])


@pytest.mark.parametrize(
    "policy", [CropFlip(), CropFlip(scale=(0.6, 1.0), ratio=(0.3, 3.0)), CropFlip(scale=(0.2, 0.3), ratio=(2.0, 3.0))]
)
def test_crops_have_the_distribution_of_torchvision(policy: CropFlip) -> None:
    transforms = pytest.importorskip("torchvision.transforms")
    count, size = 4000, 128
    views = policy.views(7, np.arange(count), size)
    torch.manual_seed(5)
    image = torch.empty(1, size, size)
    theirs = np.array(
        [transforms.RandomResizedCrop.get_params(image, list(policy.scale), list(policy.ratio)) for _ in range(count)]
    )
    ours = views.boxes
    for column in range(4):
        assert distance(ours[:, column], theirs[:, column]) < 1
    assert distance(ours[:, 2] * ours[:, 3], theirs[:, 2] * theirs[:, 3]) < 1
    assert distance(ours[:, 3] / ours[:, 2], theirs[:, 3] / theirs[:, 2]) < 1
    assert distance(ours[:, 0] + ours[:, 2], theirs[:, 0] + theirs[:, 2]) < 1


@given(
    st.integers(0, 2**64 - 1),
    st.integers(8, 4096),
    st.tuples(st.floats(1e-6, 1), st.floats(1e-6, 1)).map(sorted),
    st.tuples(st.floats(1 / 16, 16), st.floats(1 / 16, 16)).map(sorted),
)
def test_every_box_lies_on_the_canvas(seed: int, canvas: int, scale: list[float], ratio: list[float]) -> None:
    boxes = CropFlip(scale=tuple(scale), ratio=tuple(ratio)).views(seed, np.arange(50), canvas).boxes  # type: ignore[arg-type]
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
    boxes = CropFlip(scale=(1.0, 1.0), ratio=ratio).views(0, np.arange(20), 100).boxes
    if box is None:
        assert (boxes == [0, 0, 100, 100]).all(axis=1).any()
    else:
        assert (boxes == box).all()


def test_flips_come_as_often_as_asked_and_independently() -> None:
    flips = CropFlip(hflip=0.3, vflip=0.8).views(1, np.arange(8000), 64).flips
    assert flips.dtype == np.bool_
    assert flips.mean(0).tolist() == pytest.approx([0.3, 0.8], abs=0.02)
    assert abs(np.corrcoef(flips.T)[0, 1]) < 0.04
    assert not CropFlip(hflip=0, vflip=0).views(1, np.arange(100), 64).flips.any()
    assert CropFlip(hflip=1, vflip=1).views(1, np.arange(100), 64).flips.all()


@given(st.lists(st.integers(0, 2**62 - 1), max_size=10), st.integers(0, 10))
def test_a_sample_has_the_same_view_in_any_company(samples: list[int], split: int) -> None:
    policy = CropFlip()
    whole = policy.views(3, np.array(samples, np.int64), 512)
    assert len(whole) == len(samples)
    for part in (slice(0, split), slice(split, None)):
        views = policy.views(3, np.array(samples[part], np.int64), 512)
        assert np.array_equal(views.boxes, whole[part].boxes)
        assert np.array_equal(views.flips, whole[part].flips)


def test_views_keep_their_bits_for_ever() -> None:
    views = CropFlip().views(2026, np.arange(500), 512)
    digest = hashlib.sha256(views.boxes.astype("<i8").tobytes() + views.flips.tobytes()).hexdigest()[:16]
    assert digest == "fcc621f306598147"


def test_the_whole_canvas_at_its_own_size_is_the_canvas() -> None:
    pictures = torch.empty((3, 1, 64, 64), dtype=torch.uint8)
    take_pictures(canvases(3, 64), None, 64, RAW, pictures, "bicubic")
    assert torch.equal(pictures, canvases(3, 64))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [16, 40, 100])
def test_pictures_are_those_of_torchvision(interpolation: str, size: int) -> None:
    functional = pytest.importorskip("torchvision.transforms.v2.functional")
    mode = pytest.importorskip("torchvision.transforms.v2").InterpolationMode(interpolation)
    source = canvases(16, 64)
    views = CropFlip().views(11, np.arange(16), 64)
    pictures = torch.empty((16, 1, size, size), dtype=torch.uint8)
    take_pictures(source, views, size, RAW, pictures, interpolation)
    for i, ((top, left, height, width), (across, down)) in enumerate(
        zip(views.boxes.tolist(), views.flips.tolist(), strict=True)
    ):
        expected = functional.resized_crop(source[i], top, left, height, width, [size, size], mode, antialias=True)
        expected = functional.horizontal_flip(expected) if across else expected
        expected = functional.vertical_flip(expected) if down else expected
        assert torch.equal(pictures[i], expected)
    assert {tuple(flip) for flip in views.flips.tolist()} == {(a, b) for a in (True, False) for b in (True, False)}
    take_pictures(source, None, size, RAW, pictures, interpolation)
    assert torch.equal(pictures, functional.resize(source, [size, size], mode, antialias=True))


def test_a_picture_does_not_depend_on_its_company() -> None:
    source, views = canvases(5, 64), CropFlip().views(0, np.arange(5), 64)
    whole = torch.empty((5, 1, 32, 32), dtype=torch.uint8)
    take_pictures(source, views, 32, RAW, whole, "bicubic")
    for i in range(5):
        alone = torch.empty((1, 1, 32, 32), dtype=torch.uint8)
        take_pictures(source[i : i + 1], views[i : i + 1], 32, RAW, alone, "bicubic")
        assert torch.equal(alone[0], whole[i])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_grays_are_normalised_and_written_to_each_channel(dtype: torch.dtype) -> None:
    source = canvases(2, 16)
    mean, std = [0.5, 0.25, 0.0], [0.5, 0.125, 2.0]
    pictures = torch.empty((2, 3, 16, 16), dtype=dtype)
    take_pictures(source, None, 16, gray_table(dtype, mean, std), pictures, "bicubic")
    for channel in range(3):
        expected = ((source[:, 0].double() / 255 - mean[channel]) / std[channel]).to(dtype)
        assert torch.equal(pictures[:, channel], expected)
    take_pictures(source, None, 16, gray_table(dtype, mean[:1], std[:1]), pictures, "bicubic")
    for channel in range(3):
        assert torch.equal(pictures[:, channel], ((source[:, 0].double() / 255 - 0.5) / 0.5).to(dtype))


def test_a_table_holds_every_gray_and_uint8_is_raw() -> None:
    table = gray_table(torch.float32, [0.5], [0.5])
    assert table.shape == (1, 256)
    assert table[0, 0] == -1
    assert table[0, 255] == 1
    assert gray_table(torch.uint8, [0.5, 0.1, 0.2], [0.5, 1, 1]).tolist() == [list(range(256))] * 3


def test_a_policy_is_named_or_given_and_described_exactly() -> None:
    assert resolve_policy(None) is None
    assert resolve_policy("crop-flip") == CropFlip()
    mine = CropFlip(scale=[0.5, 1], vflip=0)  # type: ignore[arg-type]
    assert resolve_policy(mine) is mine
    assert mine == CropFlip(scale=(0.5, 1.0), vflip=0.0)
    assert hash(mine) == hash(CropFlip(scale=(0.5, 1.0), vflip=0.0))
    texts = [describe_policy(policy) for policy in (None, CropFlip(), mine, CropFlip(scale=(0.5, 1.0), vflip=0.0))]
    assert len(set(texts)) == 3
    assert texts[2] == texts[3]


@pytest.mark.parametrize(
    ("error", "message", "augment"),
    [
        (ValueError, "augment='deit' is not available in this version; legal are None, 'crop-flip'", "deit"),
        (ValueError, "augment must be None, 'crop-flip' or a CropFlip, got 'crop'", "crop"),
        (TypeError, "augment must be None, 'crop-flip' or a CropFlip, got 3 of type int", 3),
    ],
)
def test_unknown_policies_are_refused(error: type[Exception], message: str, augment: object) -> None:
    with pytest.raises(error, match=message):
        resolve_policy(augment)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"scale\[0\] must be a number in \(0, 1\], got 0", {"scale": (0, 1)}),
        (ValueError, r"scale\[1\] must be a number in \(0, 1\], got 1.5", {"scale": (0.5, 1.5)}),
        (ValueError, r"scale must be a pair \(low, high\) with low <= high, got \(0.9, 0.1\)", {"scale": (0.9, 0.1)}),
        (TypeError, r"scale must be a pair \(low, high\), got 0.5", {"scale": 0.5}),
        (TypeError, r"scale must be a pair \(low, high\), got 'ab'", {"scale": "ab"}),
        (TypeError, r"ratio must be a pair \(low, high\), got \(1, 2, 3\)", {"ratio": (1, 2, 3)}),
        (ValueError, r"ratio\[0\] must be a number in \[0.0625, 16\], got 0.01", {"ratio": (0.01, 1)}),
        (ValueError, r"hflip must be a number in \[0, 1\], got 1.1", {"hflip": 1.1}),
        (TypeError, r"vflip must be a number in \[0, 1\], got None", {"vflip": None}),
        (ValueError, "interpolation must be one of 'bicubic', 'bilinear', got 'nearest'", {"interpolation": "nearest"}),
    ],
)
def test_bad_settings_of_a_policy_are_named(error: type[Exception], message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        CropFlip(**arguments)  # type: ignore[arg-type]


@pytest.mark.gpu
@pytest.mark.parametrize("size", [24, 64, 90])
def test_pictures_on_the_gpu_differ_from_the_cpus_by_at_most_one_gray(size: int) -> None:
    source, views = canvases(8, 64), CropFlip().views(0, np.arange(8), 64)
    for view in (None, views):
        pictures = []
        for device in ("cpu", "cuda"):
            out = torch.empty((8, 1, size, size), dtype=torch.uint8, device=device)
            take_pictures(source.to(device), view, size, RAW.to(device), out, "bicubic")
            pictures.append(out.cpu().int())
        assert (pictures[0] - pictures[1]).abs().max() <= (0 if view is None and size == 64 else 1)


def test_views_are_sliced_like_arrays() -> None:
    views = Views(np.arange(12).reshape(3, 4), np.ones((3, 2), bool))
    assert len(views[1:]) == 2
    assert views[1:].boxes[0, 0] == 4
