"""Hits per pixel against a NumPy twin, against the renderer, and against themselves on every path."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
import torch
import twin
from numpy.typing import NDArray

from onepfrac import _C, IFS, density, pack, render, sample_ifs
from onepfrac.rendering import BRUSHES, COUNTED_BRUSHES, GRADES, HITS

LEVELS = _C.simd_levels()
BLOCKS = ((1, 4096, False), (7, 5, True), (256, 4096, False), (256, 4096, True), (100, 64, True))
RUNS_AWAY = np.array([[[[0.5, 0.1, 0.0], [0.0, 0.5, 0.2]], [[30.0, 1.0, 0.3], [2.0, 30.0, 0.1]]]], np.float32)


def systems(num_maps: int, count: int) -> NDArray[np.float64]:
    return np.stack([sample_ifs(sigma=1.8 * num_maps, num_maps=num_maps, seed=s).maps for s in range(count)])


def host_block(
    maps: Any, dtype: torch.dtype, *, points: int, size: int, pad: int, brush: str, seed: Any, shape: Any
) -> torch.Tensor:
    """The CUDA kernels' bodies, run serially on the host."""
    packed = pack(maps, seed=seed)
    out = torch.full((len(packed), 1, size, size), 77, dtype=dtype)
    threads, rows, reverse = shape
    _C.density_host_block(packed.words, out, packed.num_maps, points, pad, BRUSHES.index(brush), threads, rows, reverse)
    return out


def digest(array: torch.Tensor) -> str:
    return hashlib.sha256(array.contiguous().numpy().tobytes()).hexdigest()[:16]


# 4999, 777, 257, 300: numbers of points that leave lanes without a point, of every width of lanes
@pytest.mark.parametrize("brush", COUNTED_BRUSHES)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(
    ("num_maps", "points", "size", "pad"),
    [(2, 5120, 64, 6), (2, 4999, 33, 0), (5, 1, 8, 0), (3, 300, 50, 2), (9, 777, 64, 0), (16, 257, 40, 0)],
)
def test_hits_and_grades_equal_the_twin(
    brush: str, level: str, num_maps: int, points: int, size: int, pad: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    for seed, maps in enumerate(systems(num_maps, 2)):
        system = IFS(maps)
        options: dict[str, Any] = {"points": points, "size": size, "pad": pad, "brush": brush, "seed": seed}
        expected = twin.hits(maps.astype(np.float32), system.probs, **options)
        assert np.array_equal(density(system, **options)[0, 0].numpy(), expected)
        graded = density(system, dtype=GRADES, **options)
        assert np.array_equal(graded[0, 0].numpy(), twin.grades(expected))


@pytest.mark.parametrize("brush", COUNTED_BRUSHES)
def test_pixels_with_a_hit_are_those_that_render_inks(brush: str) -> None:
    for num_maps in (2, 6):
        for size, pad in ((64, 0), (100, 6), (1100, 2)):
            options: dict[str, Any] = {"points": 3001, "size": size, "pad": pad, "brush": brush, "seed": [4, 5]}
            maps = systems(num_maps, 2)
            inked = render(maps, **options) > 0
            assert torch.equal(density(maps, **options) > 0, inked)
            assert torch.equal(density(maps, dtype=GRADES, **options) > 0, inked)


@pytest.mark.parametrize("points", [1, 255, 256, 257, 511, 5000, 2**18 + 77])
def test_every_point_is_counted_once(points: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for level in LEVELS:
        monkeypatch.setenv("ONEPFRAC_SIMD", level)
        for num_maps in (2, 3):
            counted = density(systems(num_maps, 2), points=points, size=64, pad=3)
            assert counted.sum(dim=(1, 2, 3)).tolist() == [points, points]
            filled = density(systems(num_maps, 2), points=points, size=64, pad=4, brush="fill")
            assert filled.sum(dim=(1, 2, 3)).tolist() == [9 * points, 9 * points]


@pytest.mark.parametrize("brush", COUNTED_BRUSHES)
@pytest.mark.parametrize("dtype", [HITS, GRADES])
def test_the_kernels_bodies_on_the_host_equal_the_cpu(brush: str, dtype: torch.dtype) -> None:
    for num_maps, points, size, pad in ((2, 1, 8, 0), (5, 300, 33, 0), (2, 5000, 64, 6), (3, 2500, 112, 2)):
        options: dict[str, Any] = {"points": points, "size": size, "pad": pad, "brush": brush, "seed": [3, 9]}
        maps = systems(num_maps, 2)
        expected = density(maps, dtype=dtype, **options)
        for shape in BLOCKS:
            assert torch.equal(host_block(maps, dtype, shape=shape, **options), expected)


def test_more_points_than_the_buffer_holds_are_counted_alike() -> None:
    maps = systems(3, 1)
    for points in (2**18, 2**18 + 1, 2**18 + 300):
        options: dict[str, Any] = {"points": points, "size": 64, "pad": 0, "brush": "fill", "seed": 0}
        expected = host_block(maps, HITS, shape=(256, 4096, False), **options)
        assert torch.equal(density(maps, **options), expected)


@pytest.mark.parametrize("points", [50_000, 50_176])
def test_orbits_that_leave_the_finite_end_there_alike_on_every_path(points: int) -> None:
    probs = np.array([[0.55, 0.45]])
    words = _C.pack_systems(RUNS_AWAY, probs, np.array([4], np.uint64))
    with np.errstate(invalid="ignore"):
        expected = twin.hits(RUNS_AWAY[0], probs[0], points=points, size=64, pad=6, brush="point", seed=4)
    assert 0 < expected.sum() < points
    for level in LEVELS:
        out = torch.full((1, 1, 64, 64), 7, dtype=HITS)
        _C.density(words, out, 2, points, 6, 0, 1, level, 0)
        assert np.array_equal(out[0, 0].numpy(), expected)
    for threads, rows, reverse in BLOCKS:
        out = torch.full((1, 1, 64, 64), 7, dtype=HITS)
        _C.density_host_block(words, out, 2, points, 6, 0, threads, rows, reverse)
        assert np.array_equal(out[0, 0].numpy(), expected)


def test_threads_and_batches_do_not_matter() -> None:
    maps = systems(2, 6)
    seeds = np.arange(6)
    whole = density(maps, points=3000, size=64, seed=seeds, threads=1)
    assert torch.equal(density(maps, points=3000, size=64, seed=seeds, threads=5), whole)
    for part in (slice(0, 1), slice(2, 5)):
        assert torch.equal(density(maps[part], points=3000, size=64, seed=seeds[part]), whole[part])


def test_grades_beyond_32_bits_are_exact() -> None:
    centre = np.array([[[[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]]]])
    weights = [1.0, 65535.0]
    options: dict[str, Any] = {"points": 20_000_000, "size": 8, "pad": 2}
    counted = density(centre, weights, **options)[0, 0].numpy().astype(np.int64)
    assert counted.max() * 255 > 2**32
    assert np.count_nonzero(counted) == 2
    graded = density(centre, weights, dtype=GRADES, **options)[0, 0].numpy()
    assert np.array_equal(graded, twin.grades(counted))
    assert sorted(graded[graded > 0].tolist()) == [1, 255]


def test_out_is_written_and_returned() -> None:
    maps = systems(2, 3)
    expected = density(maps, points=500, size=32)
    tensor = torch.empty_like(expected)
    assert density(maps, points=500, size=32, out=tensor) is tensor
    assert torch.equal(tensor, expected)
    array = np.full((3, 1, 32, 32), 9, np.uint8)
    assert density(maps, points=500, size=32, out=array) is array
    assert np.array_equal(array, density(maps, points=500, size=32, dtype=GRADES).numpy())
    assert torch.equal(density(pack(maps), points=500, size=32), expected)
    assert density(maps[:0], points=500, size=32).shape == (0, 1, 32, 32)


GOLDEN = {("point", 2): "246b7e20a0a15c36", ("fill", 5): "88ffd7c58797095d", ("patch_fixed", 7): "ee3b9a4cebf00a78"}


@pytest.mark.parametrize("key", GOLDEN)
def test_golden_hits_of_format_1(key: tuple[str, int]) -> None:
    """A changed hash is a changed dataset: then FORMAT_VERSION rises."""
    brush, num_maps = key
    rng = np.random.RandomState(7)  # the legacy stream, frozen by NumPy
    maps = rng.random_sample((4, num_maps, 2, 3)) * 1.2 - 0.6
    assert _C.FORMAT_VERSION == 1
    seeds = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    assert digest(density(maps, points=20_011, size=112, brush=brush, seed=seeds)) == GOLDEN[key]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"maps": np.full((1, 2, 2, 3), np.nan)}, ValueError, "maps must be finite"),
        ({"points": 0}, ValueError, "points must be an integer in 1..1000000000, got 0"),
        ({"size": 7}, ValueError, "size must be an integer in 8..4096, got 7"),
        ({"pad": 16}, ValueError, "pad must be an integer in 0..15, got 16"),
        ({"brush": "patch"}, ValueError, "brush must be one of 'point', 'fill', 'patch_fixed', got 'patch'"),
        ({"seed": -1}, ValueError, "seed"),
        ({"threads": 0}, ValueError, "threads must be an integer in 1..1024, got 0"),
        ({"device": "tpu"}, ValueError, "device must be"),
        ({"dtype": torch.float32}, ValueError, "dtype must be torch.uint8 or torch.int32, got torch.float32"),
        ({"dtype": "int32"}, TypeError, "dtype must be torch.uint8 or torch.int32"),
        ({"out": np.empty((3, 1, 32, 31), np.int32)}, ValueError, r"out must have the shape \(3, 1, 32, 32\)"),
        ({"out": np.empty((3, 1, 32, 32), np.int64)}, ValueError, "out must have the dtype torch.uint8 or torch.int32"),
        ({"out": np.empty((3, 1, 32, 32), np.int32), "dtype": GRADES}, ValueError, "out must have the dtype"),
        ({"out": [1]}, TypeError, "out must be an array"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(change: dict[str, object], error: type[Exception], text: str) -> None:
    arguments: dict[str, Any] = {"maps": systems(2, 3), "points": 100, "size": 32} | change
    maps = arguments.pop("maps")
    with pytest.raises(error, match=text):
        density(maps, **arguments)


def test_the_core_refuses_what_the_package_would_not_pass() -> None:
    words = pack(systems(2, 3)).words
    out = torch.zeros((3, 1, 32, 32), dtype=HITS)
    good: dict[str, Any] = {"num_maps": 2, "points": 10, "pad": 2, "brush": 0, "threads": 1, "simd": "", "stream": 0}
    for change, text in [({"brush": 2}, "brush"), ({"threads": 0}, "threads"), ({"simd": "sse"}, "simd")]:
        with pytest.raises(ValueError, match=text):
            _C.density(words, out, **(good | change))
    for bad, text in [
        (out.float(), "int32"),
        (out[:2], "one picture"),
        (out[..., :31], "contiguous"),
        (out[:, 0], "shape"),
    ]:
        with pytest.raises(ValueError, match=text):
            _C.density(words, bad, **good)
    for threads, rows in ((0, 8), (1, 0)):
        with pytest.raises(ValueError, match=r"threads must be|band_rows must be"):
            _C.density_host_block(words, out, 2, 10, 2, 0, threads, rows, False)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [HITS, GRADES])
@pytest.mark.parametrize("brush", COUNTED_BRUSHES)
def test_the_gpu_counts_as_the_cpu_does(brush: str, dtype: torch.dtype) -> None:
    for num_maps in (2, 7):
        maps = systems(num_maps, 5)
        for points, size, pad in ((1, 8, 0), (4999, 33, 0), (20_000, 112, 2), (20_000, 512, 6), (30_000, 1100, 0)):
            options: dict[str, Any] = {"points": points, "size": size, "pad": pad, "brush": brush, "dtype": dtype}
            options["seed"] = np.arange(5)
            assert torch.equal(density(maps, device="cuda", **options).cpu(), density(maps, **options))


@pytest.mark.gpu
def test_orbits_that_run_away_are_counted_alike_on_the_gpu() -> None:
    words = torch.from_numpy(
        _C.pack_systems(RUNS_AWAY, np.array([[0.55, 0.45]]), np.array([4], np.uint64)).view(np.int32)
    )
    for dtype in (HITS, GRADES):
        expected = torch.zeros((1, 1, 64, 64), dtype=dtype)
        _C.density(words, expected, 2, 50_000, 6, 0, 1, "", 0)
        out = torch.zeros((1, 1, 64, 64), dtype=dtype, device="cuda")
        _C.density(words.cuda(), out, 2, 50_000, 6, 0, 1, "", torch.cuda.current_stream().cuda_stream)
        assert torch.equal(out.cpu(), expected)
