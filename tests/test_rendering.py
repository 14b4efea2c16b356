"""The renderer against its NumPy twin and against itself: SIMD paths, threads, batches, the kernel body on the host."""

from __future__ import annotations

import hashlib
import multiprocessing
import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest
import torch
import twin
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from onepfrac import _C, IFS, pack, render, sample_ifs
from onepfrac.rendering import BITS, BRUSHES, DTYPES, expand
from onepfrac.systems import Systems, diverges

LEVELS = _C.simd_levels()
BATCH_MAPS = np.stack([sample_ifs(sigma=3.5, num_maps=2, seed=s).maps for s in range(6)])


def systems(num_maps: int, count: int, seed: int = 0) -> NDArray[np.float64]:
    """`count` contractive systems of N maps."""
    return np.stack([sample_ifs(sigma=0.6 * 3 * num_maps, num_maps=num_maps, seed=seed + s).maps for s in range(count)])


def digest(images: torch.Tensor) -> str:
    return hashlib.sha256(images.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()[:16]


def host_block(
    maps: NDArray[np.float64],
    *,
    points: int,
    size: int,
    pad: int,
    brush: str,
    seed: int,
    dtype: torch.dtype = torch.uint8,
    threads: int = 256,
    band_rows: int = 4096,
    reverse: bool = False,
) -> torch.Tensor:
    """The CUDA kernel's body, run serially on the host."""
    det = np.abs(maps[:, :, 0, 0] * maps[:, :, 1, 1] - maps[:, :, 0, 1] * maps[:, :, 1, 0])
    words = _C.pack_systems(maps.astype(np.float32), det, np.full(len(maps), seed, np.uint64))
    out = torch.full((len(maps), 1, size, size), 0, dtype=dtype)
    number = BRUSHES.index(brush)
    _C.render_host_block(words, out, maps.shape[1], points, pad, number, threads, band_rows, reverse)
    return out


# --- against the twin


@pytest.mark.parametrize("brush", BRUSHES)
@pytest.mark.parametrize(
    ("num_maps", "points", "size", "pad"),
    [
        (2, 5000, 64, 6),
        (1, 700, 33, 0),
        (2, 100, 40, 0),
        (3, 257, 31, 3),
        (7, 4096, 100, 5),
        (12, 3001, 64, 0),
        (16, 999, 96, 1),
    ],
)
def test_image_equals_the_twin(brush: str, num_maps: int, points: int, size: int, pad: int) -> None:
    for seed, maps in enumerate(systems(num_maps, 3)):
        system = IFS(maps)
        image = render(system, points=points, size=size, pad=pad, brush=brush, seed=seed)[0, 0].numpy()
        start = None if num_maps > 1 else twin.smallest_map_start(maps.astype(np.float32))
        expected = twin.render(
            maps.astype(np.float32),
            system.probs,
            points=points,
            size=size,
            pad=pad,
            brush=brush,
            seed=seed,
            start=start,
        )
        assert np.array_equal(image > 0, expected)
        assert set(np.unique(image)) <= {0, 127}


def test_philox_of_the_twin_gives_the_published_vectors() -> None:
    ones = 0xFFFFFFFF
    pi = [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344]
    for counter, key, expected in [
        ([0, 0, 0, 0], 0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([ones] * 4, 2**64 - 1, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (pi, 0x299F31D0A4093822, [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]),
    ]:
        counters = np.array([counter], np.uint32)
        assert twin.philox(key, counters)[0].tolist() == expected
        assert _C.philox4x32(key, counters)[0].tolist() == expected


def test_texture_sets_each_pixel_with_probability_256_of_511() -> None:
    bits = twin.texture(3, 2048)
    count = bits.size
    sigma = np.sqrt(0.25 / count)
    assert abs(bits.mean() - 256 / 511) < 4 * sigma
    for dy, dx in [(0, 1), (1, 0), (1, 1), (0, 2), (0, 31)]:
        a, b = bits[dy:, dx:], bits[: bits.shape[0] - dy, : bits.shape[1] - dx]
        assert abs((a & b).mean() - (256 / 511) ** 2) < 5 * np.sqrt(0.19 / a.size)


# --- the promise: the same bits however it is computed


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("brush", BRUSHES)
def test_every_simd_level_gives_the_same_bits(level: str, brush: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for num_maps in (1, 2, 3, 8, 9, 16):
        maps = systems(num_maps, 2)
        for points, size in ((1, 32), (255, 64), (256, 64), (4001, 127)):
            monkeypatch.setenv("ONEPFRAC_SIMD", "scalar")
            expected = render(maps, points=points, size=size, pad=2, brush=brush, seed=5)
            monkeypatch.setenv("ONEPFRAC_SIMD", level)
            assert torch.equal(render(maps, points=points, size=size, pad=2, brush=brush, seed=5), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("level", LEVELS)
def test_every_dtype_holds_the_same_picture(dtype: torch.dtype, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    for size in (64, 65, 100):
        gray = render(BATCH_MAPS, points=2000, size=size, dtype=torch.uint8)
        image = render(BATCH_MAPS, points=2000, size=size, dtype=dtype)
        assert image.dtype is dtype
        ink = 127 if dtype is torch.uint8 else torch.tensor(127 / 255, dtype=torch.float64).to(dtype)
        assert torch.equal(image, torch.where(gray > 0, ink, torch.zeros((), dtype=dtype)))


@pytest.mark.parametrize("threads", [1, 2, 3, 64])
def test_the_number_of_threads_does_not_matter(threads: int) -> None:
    assert torch.equal(
        render(BATCH_MAPS, points=3000, size=96, threads=threads), render(BATCH_MAPS, points=3000, size=96, threads=1)
    )


@settings(max_examples=20)
@given(st.data())
def test_an_image_does_not_depend_on_its_batch(data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(BATCH_MAPS))))
    chosen = np.array(order[: data.draw(st.integers(1, len(order)))])
    seeds = np.arange(100, 106)
    whole = render(BATCH_MAPS, points=1500, size=48, seed=seeds)
    assert torch.equal(render(BATCH_MAPS[chosen], points=1500, size=48, seed=seeds[chosen]), whole[chosen])


BLOCK_SHAPES = ((256, 4096, False), (256, 4096, True), (32, 4096, False), (100, 7, True), (256, 64, False))


@pytest.mark.parametrize("brush", BRUSHES)
@pytest.mark.parametrize("num_maps", [1, 2, 5, 16])
def test_the_kernel_body_on_the_host_equals_the_cpu_renderer(brush: str, num_maps: int) -> None:
    maps = systems(num_maps, 2)
    for points, size, pad in ((1, 8, 0), (300, 33, 0), (5000, 64, 6), (2500, 100, 3), (3000, 224, 6)):
        expected = render(maps, points=points, size=size, pad=pad, brush=brush, seed=9)
        for threads, band_rows, reverse in (
            (256, 4096, False),
            (256, 4096, True),
            (32, 4096, False),
            (100, 7, True),
            (256, 64, False),
        ):
            got = host_block(
                maps, points=points, size=size, pad=pad, brush=brush, seed=9,
                threads=threads, band_rows=band_rows, reverse=reverse,
            )  # fmt: skip
            assert torch.equal(got, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_kernel_body_writes_every_dtype(dtype: torch.dtype) -> None:
    for size in (32, 50, 64):
        expected = render(BATCH_MAPS, points=999, size=size, dtype=dtype, seed=1)
        got = host_block(BATCH_MAPS, points=999, size=size, pad=6, brush="patch", seed=1, dtype=dtype)
        assert torch.equal(got, expected)


def test_a_large_canvas_is_inked_in_bits_with_the_same_result() -> None:
    maps = systems(2, 1)
    assert torch.equal(
        render(maps, points=3000, size=1100, brush="patch"),
        host_block(maps, points=3000, size=1100, pad=6, brush="patch", seed=0),
    )
    assert render(maps, points=2000, size=4096, brush="point").count_nonzero() > 1000


def test_more_points_than_the_buffer_holds_give_the_same_bits() -> None:
    maps = systems(3, 1)
    for points in (2**18, 2**18 + 1, 2**18 + 300):
        assert torch.equal(
            render(maps, points=points, size=64, brush="point"),
            host_block(maps, points=points, size=64, pad=6, brush="point", seed=0),
        )


def test_flushing_of_denormals_by_others_does_not_change_a_bit() -> None:
    maps = np.array([[[[0.5, 0, 0], [0, 0.5, 0]], [[0.5, 0, 1e-36], [0, 0.5, 3e-38]]]])  # an attractor of denormals
    expected = render(maps, points=2000, size=64)
    assert torch.set_flush_denormal(True)
    try:
        assert torch.equal(render(maps, points=2000, size=64, threads=1), expected)
    finally:
        torch.set_flush_denormal(False)


GOLDEN = {
    ("point", 2): "c8c5e76a01dcaab2",
    ("fill", 2): "2d3f6c7ed41cde72",
    ("patch", 2): "212366797af05a6d",
    ("patch_fixed", 2): "f6573df4a96f9ff5",
    ("patch", 5): "9bf3db53a3ebc54d",
}


@pytest.mark.parametrize("key", GOLDEN)
def test_golden_images_of_format_1(key: tuple[str, int]) -> None:
    """A changed hash is a changed dataset: then FORMAT_VERSION rises."""
    brush, num_maps = key
    rng = np.random.RandomState(7)  # the legacy stream, frozen by NumPy
    maps = rng.random_sample((4, num_maps, 2, 3)) * 1.2 - 0.6
    assert _C.FORMAT_VERSION == 1
    images = render(maps, points=20_000, size=128, brush=brush, seed=np.array([0, 1, 2**63, 2**64 - 1], np.uint64))
    assert digest(images) == GOLDEN[key]


# --- processes and threads


def _hash_in_child(queue: multiprocessing.Queue) -> None:  # type: ignore[type-arg]
    queue.put(digest(render(BATCH_MAPS, points=2000, size=64, threads=3)))


@pytest.mark.forks
def test_the_thread_pool_survives_a_fork() -> None:
    expected = digest(render(BATCH_MAPS, points=2000, size=64, threads=3))  # the pool has started
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    children = [context.Process(target=_hash_in_child, args=(queue,)) for _ in range(2)]
    for child in children:
        child.start()
    assert [queue.get(timeout=60) for _ in children] == [expected] * 2
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    assert digest(render(BATCH_MAPS, points=2000, size=64, threads=3)) == expected


def test_many_python_threads_render_at_once() -> None:
    expected = digest(render(BATCH_MAPS, points=2000, size=64, threads=1))
    results: list[str] = []

    def work() -> None:
        for _ in range(5):
            results.append(digest(render(BATCH_MAPS, points=2000, size=64, threads=2)))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert results == [expected] * 20


def test_the_gil_is_released_while_rendering() -> None:
    ticks = 0
    done = threading.Event()

    def work() -> None:
        render(np.repeat(BATCH_MAPS, 30, 0), size=512, threads=1)
        done.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not done.wait(0.001):
        ticks += 1
    worker.join()
    assert ticks > 3


def test_the_process_exits_while_pool_threads_sleep() -> None:
    call = "onepfrac.render(np.full((4, 1, 2, 3), 0.3), [1], size=32, threads=4)"
    code = f"import numpy as np, onepfrac; {call}; print('ok')"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout == "ok\n"


# --- systems at the edge


def test_a_point_attractor_is_centred() -> None:
    maps = np.array([[[[0.5, 0, 3.0], [0, 0.5, -7.0]]]])
    image = render(maps, points=1000, size=64, brush="point")[0, 0]
    assert image.nonzero().tolist() == [[64 - 1 - 32, 32]]


def test_a_degenerate_axis_is_centred() -> None:
    maps = np.array([[[[0.5, 0, 0], [0, 0.5, 0]], [[0.5, 0, 1.0], [0, 0.5, 0]]]])  # a segment on the x axis
    image = render(maps, points=5000, size=64, pad=0, brush="point")[0, 0]
    rows, columns = image.nonzero(as_tuple=True)
    assert set(rows.tolist()) == {31}
    assert columns.min() == 0
    assert columns.max() == 63


def test_the_attractor_fills_the_canvas_up_to_the_pad() -> None:
    for pad in (0, 1, 6, 31):
        image = render(BATCH_MAPS[:1], points=20_000, size=64, pad=pad, brush="point")[0, 0]
        rows, columns = image.nonzero(as_tuple=True)
        assert columns.min() == pad
        assert columns.max() == (64 - pad if pad else 63)  # the largest coordinate falls on size - pad; off at pad 0
        assert rows.max() == 63 - pad


def test_isometries_start_at_the_origin_and_render() -> None:
    quarter = np.array([[[[0.0, -1.0, 0.3], [1.0, 0.0, 0.2]], [[0.0, 1.0, -0.4], [-1.0, 0.0, 0.1]]]])
    assert not diverges(quarter)[0]
    image = render(quarter, points=4000, size=64, brush="point")
    assert image.count_nonzero() > 20
    assert torch.equal(image, host_block(quarter, points=4000, size=64, pad=6, brush="point", seed=0))


def test_orbits_that_leave_the_finite_end_there_alike_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    # Underneath the check for divergence: a system that runs away within the orbit, packed directly.
    maps = np.array([[[[0.5, 0.1, 0.0], [0.0, 0.5, 0.2]], [[30.0, 1.0, 0.3], [2.0, 30.0, 0.1]]]], np.float32)
    words = _C.pack_systems(maps, np.array([[0.55, 0.45]]), np.array([4], np.uint64))
    expected = torch.zeros((1, 1, 64, 64), dtype=torch.uint8)
    _C.render_host_block(words, expected, 2, 50_000, 6, 0, 256, 4096, False)
    assert expected.count_nonzero() > 0
    drawn = twin.points_of(maps[0], np.array([0.55, 0.45]), 4, 50_000)
    assert not np.isfinite(drawn).all()
    for level in LEVELS:
        out = torch.zeros_like(expected)
        _C.render(words, out, 2, 50_000, 6, 0, 1, level, 0)
        assert torch.equal(out, expected)
    reference = twin.render(maps[0], np.array([0.55, 0.45]), points=50_000, size=64, pad=6, brush="point", seed=4)
    assert np.array_equal(expected[0, 0].numpy() > 0, reference)


def test_an_orbit_that_runs_away_among_lanes_that_have_drawn_all_is_seen() -> None:
    """Lanes with a point less than others repeat one of those: what they had come to must be looked at before."""
    maps = np.array([[[0.5, 0, 1], [0, 0.5, 0]], [[1e25, 0, 0], [0, 1e25, 1.0]]])
    for seed in range(28, 33):  # of 30 an orbit runs away
        expected, out = np.zeros((1, 1, 64, 64), np.uint8), np.zeros((1, 1, 64, 64), np.uint8)
        words = pack(maps[None], [0.998, 0.002], seed).words
        _C.render_host_block(words, expected, 2, 773, 6, 0, 256, 64, False)
        for level in _C.simd_levels():
            _C.render(words, out, 2, 773, 6, 0, 1, level, 0)
            assert np.array_equal(out, expected)


def test_a_map_of_zero_probability_is_never_chosen() -> None:
    contract = [[0.4, 0.1, 0.3], [-0.2, 0.5, 0.1]]
    other = [[0.3, 0.2, -0.5], [0.1, 0.4, 0.6]]
    far = [[0.9, 0.0, 500.0], [0.0, 0.9, 500.0]]
    two = render(np.array([[contract, other]]), [0.5, 0.5], points=3000, size=64)
    three = render(np.array([[contract, other, far]]), [0.5, 0.5, 0.0], points=3000, size=64)
    assert torch.equal(two, three)


def test_every_published_fractaldb_category_renders(shared: object) -> None:
    published = np.load(f"{shared}/data/fractaldb1k_systems.npz")
    for n in range(2, 8):
        rows = published["rows"][published["num_maps"] == n][:, :n]
        maps = np.stack([rows[..., i] for i in (0, 1, 4, 2, 3, 5)], -1).reshape(-1, n, 2, 3)
        assert not diverges(maps, rows[..., 6]).any()
        images = render(maps, rows[..., 6], brush="point")
        share = (images > 0).float().mean(dim=(1, 2, 3))
        assert share.min() > 0.13  # searched for at 0.2 with one other run of draws


def test_divergent_systems_are_told_from_those_that_make_excursions() -> None:
    runs_away = np.array([[[[1.5, 0, 0.1], [0, 1.5, 0.1]], [[1.2, 0, 0], [0, 1.2, 0]]]])
    expands_in_part = np.array([[[[1.1, 0, 0.1], [0, 0.4, 0.1]], [[0.3, 0, 0], [0, 0.4, 0]]]])
    assert diverges(runs_away).tolist() == [True]
    assert diverges(expands_in_part).tolist() == [False]
    with pytest.raises(ValueError, match=r"maps\[0\]"):
        render(runs_away)


# --- arrays in and out


def test_out_is_written_and_returned() -> None:
    expected = render(BATCH_MAPS, points=500, size=32)
    tensor = torch.empty_like(expected)
    assert render(BATCH_MAPS, points=500, size=32, out=tensor) is tensor
    assert torch.equal(tensor, expected)
    array = np.full(expected.shape, 9, np.uint8)
    assert render(BATCH_MAPS, points=500, size=32, out=array) is array
    assert np.array_equal(array, expected.numpy())
    half = np.empty(expected.shape, np.float16)
    render(BATCH_MAPS, points=500, size=32, out=half)
    assert np.array_equal(half > 0, expected.numpy() > 0)
    slice_of_larger = torch.zeros((8, 1, 32, 32), dtype=torch.uint8)
    render(BATCH_MAPS, points=500, size=32, out=slice_of_larger[1:7])
    assert torch.equal(slice_of_larger[1:7], expected)
    assert slice_of_larger[0].count_nonzero() == slice_of_larger[7].count_nonzero() == 0


def test_maps_may_be_lists_tensors_or_single_precision() -> None:
    expected = render(BATCH_MAPS, points=500, size=32)
    assert torch.equal(render(torch.tensor(BATCH_MAPS), points=500, size=32), expected)
    assert torch.equal(render(BATCH_MAPS.tolist(), points=500, size=32), expected)
    assert torch.equal(render(IFS(BATCH_MAPS[2]), points=500, size=32)[0], expected[2])
    assert render(BATCH_MAPS[:0], points=500, size=32).shape == (0, 1, 32, 32)


def test_one_seed_is_the_seed_of_every_image() -> None:
    same = np.repeat(BATCH_MAPS[:1], 3, 0)
    one = render(same, points=500, size=32, seed=5)
    assert torch.equal(one[0], one[2])
    assert torch.equal(one, render(same, points=500, size=32, seed=[5, 5, 5]))
    other = render(same, points=500, size=32, seed=torch.tensor([5, 6, 2**62]))
    assert torch.equal(other[0], one[0])
    assert not torch.equal(other[1], one[0])


# --- bad input

GOOD: dict[str, object] = {"maps": BATCH_MAPS, "points": 100, "size": 32}
READ_ONLY = np.zeros((6, 1, 32, 32), np.uint8)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"maps": np.full((1, 2, 2, 3), np.nan)}, ValueError, r"maps must be finite.*maps\[0\]"),
        ({"maps": np.full((1, 2, 2, 3), np.inf)}, ValueError, "maps must be finite"),
        ({"maps": np.full((1, 2, 2, 3), 1e300)}, ValueError, "maps must be finite in float32"),
        ({"maps": np.zeros((2, 2, 3))}, ValueError, r"maps must have the shape \(B, N, 2, 3\).*\(2, 2, 3\)"),
        ({"maps": np.zeros((1, 0, 2, 3))}, ValueError, "N in 1..16"),
        ({"maps": np.zeros((1, 17, 2, 3))}, ValueError, "N in 1..16"),
        ({"maps": np.zeros((1, 2, 3, 2))}, ValueError, "maps must have the shape"),
        ({"maps": [[1.0], [1.0, 2.0]]}, ValueError, "maps must be a regular array"),
        ({"maps": "fern"}, TypeError, "maps must hold real numbers"),
        ({"maps": BATCH_MAPS.astype(complex)}, TypeError, "maps must hold real numbers"),
        ({"maps": np.zeros((1, 2, 2, 3))}, ValueError, r"probs must be given.*maps\[0\]"),
        ({"maps": np.array([[[[1.7, 0, 1], [0, 1.7, 1]]]])}, ValueError, r"run away.*maps\[0\]"),
        ({"probs": [0.5, -0.5]}, ValueError, "probs must be finite and not negative"),
        ({"probs": [0.0, 0.0]}, ValueError, "probs must be finite and not negative, with a positive sum"),
        ({"probs": [np.nan, 1.0]}, ValueError, "probs must be finite"),
        ({"probs": [1.0]}, ValueError, r"probs must have the shape \(2,\) or \(6, 2\)"),
        ({"points": 0}, ValueError, "points must be an integer in 1..1000000000, got 0"),
        ({"points": 10**10}, ValueError, "points"),
        ({"points": 1.5}, TypeError, "points must be an integer"),
        ({"points": True}, TypeError, "points must be an integer"),
        ({"size": 7}, ValueError, "size must be an integer in 8..4096, got 7"),
        ({"size": 4097}, ValueError, "size"),
        ({"size": "32"}, TypeError, "size"),
        ({"pad": 16}, ValueError, "pad must be an integer in 0..15, got 16"),
        ({"pad": -1}, ValueError, "pad"),
        ({"brush": "pen"}, ValueError, "brush.*pen"),
        ({"brush": 3}, TypeError, "brush"),
        ({"seed": -1}, ValueError, "seed"),
        ({"seed": 2**64}, ValueError, "seed"),
        ({"seed": 1.0}, TypeError, "seed"),
        ({"seed": [1, 2]}, ValueError, r"seed must be an integer or have the shape \(6,\)"),
        ({"seed": [0, 0, 0, 0, 0, -4]}, ValueError, "seed.*-4"),
        ({"seed": [0.5] * 6}, TypeError, "seed"),
        ({"threads": 0}, ValueError, "threads must be an integer in 1..1024, got 0"),
        ({"threads": "two"}, TypeError, "threads"),
        ({"dtype": torch.int64}, ValueError, "dtype must be torch.uint8"),
        ({"dtype": "uint8"}, TypeError, "dtype"),
        ({"device": "tpu"}, ValueError, "device must be"),
        ({"device": "meta"}, ValueError, "device must be"),
        ({"device": 1.5}, TypeError, "device must be"),
        ({"out": torch.empty((6, 1, 32, 31), dtype=torch.uint8)}, ValueError, r"out must have the shape \(6, 1, 32"),
        ({"out": torch.empty((6, 1, 32, 32), dtype=torch.int8)}, ValueError, "out must have the dtype"),
        ({"out": np.empty((6, 1, 32, 32), np.float64)}, ValueError, "out must have the dtype"),
        ({"out": np.empty((6, 1, 32, 32), ">f4")}, ValueError, "byte order"),
        ({"out": torch.empty((6, 1, 32, 64), dtype=torch.uint8)[..., ::2]}, ValueError, "out must be contiguous"),
        ({"out": np.empty((6, 1, 32, 64), np.uint8)[..., ::2]}, ValueError, "out must be contiguous"),
        ({"out": READ_ONLY}, ValueError, "out must be writable"),
        ({"out": torch.empty((6, 1, 32, 32), requires_grad=True)}, ValueError, "out must not require a gradient"),
        ({"out": np.empty((6, 1, 32, 32), np.float16), "dtype": torch.float32}, ValueError, "out must have the dtype"),
        ({"out": [1, 2]}, TypeError, "out must be an array"),
        ({"out": torch.empty((6, 1, 32, 32), dtype=torch.uint8, device="meta")}, ValueError, "device"),
    ],
)  # fmt: skip
def test_bad_arguments_are_named(change: dict[str, object], error: type[Exception], text: str) -> None:
    arguments = GOOD | change
    maps = arguments.pop("maps")
    with pytest.raises(error, match=text):
        render(maps, **arguments)  # type: ignore[arg-type]


def test_an_unknown_simd_level_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", "mmx")
    with pytest.raises(ValueError, match=r"ONEPFRAC_SIMD.*mmx"):
        render(BATCH_MAPS, points=10, size=32)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"device must be 'cpu'.*'cuda'"):
        render(BATCH_MAPS, points=10, size=32, device="cuda")


def test_nothing_is_written_when_an_argument_is_bad() -> None:
    out = torch.full((6, 1, 32, 32), 3, dtype=torch.uint8)
    maps = BATCH_MAPS.copy()
    maps[5] *= 100
    with pytest.raises(ValueError, match=r"maps\[5\]"):
        render(maps, points=10, size=32, out=out)
    assert (out == 3).all()


def test_the_core_refuses_what_the_package_would_not_pass() -> None:
    words = _C.pack_systems(BATCH_MAPS.astype(np.float32), np.ones((6, 2)), np.zeros(6, np.uint64))
    out = np.zeros((6, 1, 32, 32), np.uint8)
    good = {"num_maps": 2, "points": 10, "pad": 2, "brush": 0, "threads": 1, "simd": "", "stream": 0}
    for change, text in [
        ({"num_maps": 17}, "num_maps"), ({"points": 0}, "points"), ({"pad": 16}, "pad"), ({"brush": 4}, "brush"),
        ({"threads": 0}, "threads"), ({"simd": "sse"}, "simd"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            _C.render(words, out, **{**good, **change})  # type: ignore[arg-type]
    for bad, text in [
        (out[:5], "shape"), (out.astype(np.int64), "int64"), (out[..., ::-1], "contiguous"), (READ_ONLY, "writable"),
        (out[:, 0], "shape"), (np.zeros((6, 1, 32, 32), bool), "other8"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=text):
            _C.render(words, bad, **good)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="systems"):
        _C.render(words[:, :5], out, **good)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="out must be an array"):
        _C.render(words, object(), **good)  # type: ignore[arg-type]


# --- bits

BIT_SIZES = (8, 31, 32, 33, 64, 100, 224)


def unpacked(bits: torch.Tensor, size: int) -> NDArray[np.uint8]:
    """(B, 1, size, words) to (B, 1, size, size) of 0 and 1, by NumPy."""
    return np.unpackbits(bits.numpy().view(np.uint8), axis=-1, bitorder="little")[..., :size]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("size", BIT_SIZES)
def test_bits_are_the_picture_and_expand_into_it(size: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    for brush in BRUSHES:
        options: dict[str, Any] = {"points": 900, "size": size, "pad": 1, "brush": brush, "seed": np.arange(6)}
        bits = render(BATCH_MAPS, dtype=BITS, **options)
        assert (bits.dtype, bits.shape) == (torch.int32, (6, 1, size, -(-size // 32)))
        picture = render(BATCH_MAPS, **options)
        assert np.array_equal(unpacked(bits, size) * 127, picture.numpy())
        out = np.full(tuple(bits.shape), -1, np.int32)
        assert np.array_equal(render(BATCH_MAPS, out=out, **options), bits.numpy())
        for dtype in DTYPES:
            expected = render(BATCH_MAPS, dtype=dtype, **options)
            assert torch.equal(expand(bits, size=size, dtype=dtype), expected)
            assert torch.equal(expand(bits, [5, 0, 0], size=size, dtype=dtype, threads=2), expected[[5, 0, 0]])


@pytest.mark.parametrize("size", BIT_SIZES)
def test_the_kernel_bodies_draw_bits_and_expand_them(size: int) -> None:
    packed = pack(BATCH_MAPS, seed=np.arange(6))
    bits = render(packed, points=900, size=size, pad=1, dtype=BITS)
    drawn = torch.full_like(bits, -1)
    _C.render_host_block(packed.words, drawn, 2, 900, 1, BRUSHES.index("patch"), 7, 5, False)
    assert torch.equal(drawn, bits)
    which = torch.tensor([3, 3, 0])
    for dtype in DTYPES:
        for threads, reverse in ((1, False), (256, True)):
            out = torch.full((3, 1, size, size), 9, dtype=dtype)
            _C.expand_host_block(bits.flatten(0, 1), which, out, threads, reverse)
            assert torch.equal(out, expand(bits, which.numpy(), size=size, dtype=dtype))


def test_expand_names_bad_arguments() -> None:
    bits = render(BATCH_MAPS, points=100, size=40, dtype=BITS)
    good: dict[str, Any] = {"canvases": bits, "which": [0], "size": 40}
    changes: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"canvases": bits.numpy()}, TypeError, "canvases must be a torch.Tensor"),
        ({"canvases": bits.long()}, ValueError, "canvases must be contiguous int32"),
        ({"canvases": bits[..., :1]}, ValueError, "canvases must be contiguous int32"),
        ({"size": 72}, ValueError, "canvases must be contiguous int32 of the shape"),
        ({"size": 4}, ValueError, "size must be"),
        ({"which": [6]}, ValueError, "which must be in 0..5"),
        ({"which": [-1]}, ValueError, "which must be in 0..5"),
        ({"which": [0.0]}, TypeError, "which must be integers"),
        ({"which": [[0]]}, TypeError, "which must be integers"),
        ({"dtype": BITS}, ValueError, "dtype must be"),
        ({"dtype": "uint8"}, TypeError, "dtype must be"),
        ({"threads": 0}, ValueError, "threads must be"),
    ]
    for change, error, text in changes:
        with pytest.raises(error, match=text):
            expand(**(good | change))
    assert expand(bits, np.zeros(0, np.int64), size=40).shape == (0, 1, 40, 40)


def test_the_binding_of_expand_refuses_what_does_not_fit() -> None:
    bits, out = torch.zeros((2, 40, 2), dtype=torch.int32), torch.zeros((1, 1, 40, 40), dtype=torch.uint8)
    which = torch.zeros(1, dtype=torch.int64)
    for arguments, text in [
        ((bits, which + 2, out), "which"),
        ((bits, which - 1, out), "which"),
        ((bits, which.int(), out), "which"),
        ((bits, torch.zeros(2, dtype=torch.int64), out), "which"),
        ((bits.long(), which, out), "canvases|32-bit"),
        ((bits[:, :39], which, out), "canvases"),
        ((bits.transpose(0, 1), which, out), "canvases"),
        ((bits, which, out.int()), "out must be uint8"),
        ((bits, which, out[:, :, :, :39]), "out must be contiguous"),
    ]:
        with pytest.raises(ValueError, match=text):
            _C.expand(*arguments, 1, "", 0)
    with pytest.raises(ValueError, match="threads"):
        _C.expand(bits, which, out, 0, "", 0)
    with pytest.raises(ValueError, match="threads"):
        _C.expand_host_block(bits, which, out, 0, False)


# --- packed, and compiled


def test_packed_systems_give_the_same_pictures() -> None:
    options: dict[str, Any] = {"points": 3000, "size": 40}
    packed = pack(BATCH_MAPS, seed=np.arange(6))
    assert isinstance(packed, Systems)
    assert (len(packed), packed.num_maps, packed.device) == (6, 2, torch.device("cpu"))
    expected = render(BATCH_MAPS, seed=np.arange(6), **options)
    assert torch.equal(render(packed, **options), expected)
    out = np.full((6, 1, 40, 40), 9, np.uint8)
    assert torch.equal(torch.from_numpy(render(packed, out=out, **options)), expected)


def test_packed_systems_take_no_probabilities_or_seeds_and_stay_on_their_device() -> None:
    packed = pack(BATCH_MAPS)
    for change in ({"probs": [0.5, 0.5]}, {"seed": 1}, {"seed": np.arange(6)}):
        with pytest.raises(ValueError, match="probs and seed must not be given beside packed systems"):
            render(packed, points=10, size=16, **change)
    with pytest.raises(ValueError, match="maps must be finite"):
        pack(np.full((1, 2, 2, 3), np.nan))
    with pytest.raises(ValueError, match="maps must not run away"):
        pack(np.full((1, 1, 2, 3), 5.0), [1.0])


def compiled(function: Any) -> Any:
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("seed", [7, 2**64 - 3])
def test_a_compiled_function_renders_without_a_graph_break(seed: int) -> None:
    system = sample_ifs(sigma=3.5, seed=1)

    def halved(maps: torch.Tensor) -> torch.Tensor:
        return render(maps * 0.5, system.probs, points=2000, size=32, seed=seed, dtype=torch.float32) + 1.0

    maps = torch.as_tensor(BATCH_MAPS)
    assert torch.equal(compiled(halved)(maps), halved(maps))

    def of_ifs(extra: torch.Tensor) -> torch.Tensor:
        return render(system, points=2000, size=32, seed=seed) + extra

    assert torch.equal(compiled(of_ifs)(torch.ones(1)), of_ifs(torch.ones(1)))


def test_a_compiled_function_refuses_seeds_out_of_range() -> None:
    def drawn(maps: torch.Tensor, seed: int) -> torch.Tensor:
        return render(maps, points=100, size=16, seed=seed)

    for seed in (-1, 2**64):
        torch.compiler.reset()
        with pytest.raises(ValueError, match="seed must be"):
            torch.compile(drawn, backend="aot_eager")(torch.as_tensor(BATCH_MAPS), seed)


def test_a_compiled_function_takes_seeds_packed_systems_and_out() -> None:
    maps, seeds = torch.as_tensor(BATCH_MAPS), torch.arange(6)
    expected = render(maps, points=2000, size=32, seed=seeds)

    def seeded(maps: torch.Tensor, seeds: torch.Tensor) -> torch.Tensor:
        return render(maps, points=2000, size=32, seed=seeds) * 2

    assert torch.equal(compiled(seeded)(maps, seeds), expected * 2)
    packed = pack(maps, seed=seeds)
    out = torch.zeros_like(expected)

    def into(out: torch.Tensor) -> torch.Tensor:
        render(packed, points=2000, size=32, out=out)
        return out * 2

    assert torch.equal(compiled(into)(out), expected * 2)
    assert torch.equal(out, expected)


def test_the_operators_pass_torchs_own_checks() -> None:
    maps = torch.as_tensor(BATCH_MAPS)
    torch.library.opcheck(torch.ops.onepfrac.pack, (maps, None, 3, None, torch.device("cpu")))
    words = pack(maps).words
    out = torch.empty((6, 1, 16, 16))
    torch.library.opcheck(torch.ops.onepfrac.draw_into, (words, out, 2, 500, 2, "fill", 1))


# --- on a GPU

GPU_SIZES = ((1, 8, 0), (257, 33, 0), (5000, 64, 6), (20_000, 224, 6), (20_000, 512, 6), (9999, 100, 3))


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("brush", BRUSHES)
def test_the_gpu_gives_the_bits_of_the_cpu(brush: str, dtype: torch.dtype) -> None:
    for num_maps in (1, 2, 3, 8, 16):
        for batch in (1, 2, 33):
            maps = systems(num_maps, batch)
            seeds = np.arange(batch)
            for points, size, pad in (
                (1, 8, 0),
                (257, 33, 0),
                (5000, 64, 6),
                (20_000, 224, 6),
                (20_000, 512, 6),
                (9999, 100, 3),
            ):
                options = {"points": points, "size": size, "pad": pad, "brush": brush, "seed": seeds, "dtype": dtype}
                cpu = render(maps, **options)
                gpu = render(maps, device="cuda", **options)
                assert gpu.device.type == "cuda"
                assert torch.equal(gpu.cpu(), cpu), (num_maps, batch, points, size)


@pytest.mark.gpu
@pytest.mark.parametrize("size", [1024, 1500, 2048, 4096])
def test_canvases_beyond_shared_memory_take_bands_with_the_same_bits(size: int) -> None:
    for brush in BRUSHES:
        cpu = render(BATCH_MAPS[:2], points=30_000, size=size, brush=brush)
        assert torch.equal(render(BATCH_MAPS[:2], points=30_000, size=size, brush=brush, device="cuda").cpu(), cpu)


@pytest.mark.gpu
def test_the_gpu_writes_into_out_on_the_current_stream() -> None:
    out = torch.full((6, 1, 64, 64), 9, dtype=torch.uint8, device="cuda")
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        assert render(BATCH_MAPS, points=2000, size=64, out=out) is out
    stream.synchronize()
    assert torch.equal(out.cpu(), render(BATCH_MAPS, points=2000, size=64))


@pytest.mark.gpu
def test_orbits_that_run_away_end_alike_on_the_gpu() -> None:
    maps = np.array([[[[0.5, 0.1, 0.0], [0.0, 0.5, 0.2]], [[30.0, 1.0, 0.3], [2.0, 30.0, 0.1]]]], np.float32)
    words = _C.pack_systems(maps, np.array([[0.55, 0.45]]), np.array([4], np.uint64))
    expected = torch.zeros((1, 1, 64, 64), dtype=torch.uint8)
    _C.render(words, expected, 2, 50_000, 6, 0, 1, "", 0)
    out = torch.zeros((1, 1, 64, 64), dtype=torch.uint8, device="cuda")
    on_device = torch.from_numpy(words.view(np.int32)).cuda()
    _C.render(on_device, out, 2, 50_000, 6, 0, 1, "", torch.cuda.current_stream().cuda_stream)
    assert torch.equal(out.cpu(), expected)


@pytest.mark.gpu
def test_out_on_another_device_than_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="out must be on the device cpu"):
        render(
            BATCH_MAPS,
            points=10,
            size=32,
            device="cpu",
            out=torch.empty((6, 1, 32, 32), dtype=torch.uint8, device="cuda"),
        )


@pytest.mark.gpu
def test_a_cuda_graph_captures_the_drawing_of_packed_systems() -> None:
    packed = pack(BATCH_MAPS, seed=np.arange(6), device="cuda")
    out = torch.empty((6, 1, 64, 64), dtype=torch.uint8, device="cuda")
    render(packed, points=2000, size=64, out=out)  # loads the kernel, which a capture must not
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        render(packed, points=2000, size=64, out=out)
    out.fill_(9)
    graph.replay()
    assert torch.equal(out.cpu(), render(BATCH_MAPS, points=2000, size=64, seed=np.arange(6)))


@pytest.mark.gpu
def test_a_compiled_function_renders_on_the_gpu() -> None:
    packed = pack(BATCH_MAPS, device="cuda")

    def drawn(extra: torch.Tensor) -> torch.Tensor:
        return render(packed, points=2000, size=64) + extra

    extra = torch.ones(1, dtype=torch.uint8, device="cuda")
    assert torch.equal(torch.compile(drawn, fullgraph=True)(extra), drawn(extra))


@pytest.mark.gpu
@pytest.mark.parametrize("size", [33, 64, 512, 1500])
def test_the_gpu_draws_bits_and_expands_them_as_the_cpu_does(size: int) -> None:
    options: dict[str, Any] = {"points": 3000, "size": size, "seed": np.arange(6)}
    cpu, gpu = (render(BATCH_MAPS, dtype=BITS, device=device, **options) for device in ("cpu", "cuda"))
    assert torch.equal(gpu.cpu(), cpu)
    for dtype in DTYPES:
        expected = expand(cpu, [4, 4, 1], size=size, dtype=dtype)
        assert torch.equal(expand(gpu, [4, 4, 1], size=size, dtype=dtype).cpu(), expected)
