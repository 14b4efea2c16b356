"""Systems: their checks, the sigma-factor, and sampling in the released way."""

from __future__ import annotations

import copy
import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onepfrac
from onepfrac import IFS, sample_ifs
from onepfrac.draws import Purpose, uniform
from onepfrac.ifs import sample_ifs_attempt, singular_values

TWO = [[[0.5, 0.1, 0.2], [-0.1, 0.5, 0.3]], [[0.4, 0.0, -0.5], [0.2, -0.6, 0.1]]]


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Kolmogorov and Smirnov's distance of two samples, in units of its 0.1 % quantile."""
    values = np.sort(np.concatenate([first, second]))
    shares = [np.searchsorted(np.sort(sample), values, side="right") / sample.size for sample in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max() / (1.95 * np.sqrt(1 / first.size + 1 / second.size)))


def test_probabilities_are_by_default_the_determinants_normalised() -> None:
    ifs = IFS(TWO)
    dets = np.abs(np.linalg.det(np.array(TWO)[:, :, :2]))
    np.testing.assert_allclose(ifs.probs, dets / dets.sum(), rtol=1e-14)
    assert ifs.num_maps == 2


def test_weights_are_normalised_and_a_second_time_changes_no_bit() -> None:
    ifs = IFS(TWO, [1, 3])
    assert ifs.probs.tolist() == [0.25, 0.75]
    sums = set()
    for weights in uniform(0, Purpose.TRAIN, np.arange(50), 6):
        first = IFS(TWO * 3, weights)
        sums.add(sum(first.probs.tolist()))
        assert np.array_equal(IFS(first.maps, first.probs).probs, first.probs)
    assert len(sums) > 1  # rounding leaves some sums beside 1
    assert IFS(TWO, [1e308, 1e308]).probs.tolist() == [0.5, 0.5]


def test_arrays_are_read_only_copies() -> None:
    source = np.array(TWO)
    ifs = IFS(source)
    source[:] = 0
    assert ifs.maps[0, 0, 0] == 0.5
    for system in (ifs, copy.deepcopy(ifs), pickle.loads(pickle.dumps(ifs))):
        assert system == ifs
        for array in (system.maps, system.probs):
            assert array.dtype == np.float64
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    with pytest.raises(AttributeError):
        ifs.maps = source  # type: ignore[misc]


def test_systems_are_equal_if_their_maps_and_probabilities_are() -> None:
    assert IFS(TWO) == IFS(np.array(TWO, np.float64))
    assert hash(IFS(TWO)) == hash(IFS(np.array(TWO)))
    assert IFS(TWO) != IFS(TWO, [0.5, 0.5])
    assert IFS(TWO) != IFS(TWO[::-1])
    assert IFS(TWO) != TWO
    zero, minus_zero = np.array(TWO), np.array(TWO)
    zero[1, 0, 1], minus_zero[1, 0, 1] = 0.0, -0.0
    assert IFS(zero) == IFS(minus_zero)
    assert hash(IFS(zero)) == hash(IFS(minus_zero))
    assert "maps=[[[0.5, 0.1, 0.2]" in repr(IFS(TWO))


@given(seed=st.integers(0, 2**64 - 1), num_maps=st.integers(1, 16))
def test_json_gives_back_the_same_bits(seed: int, num_maps: int) -> None:
    ifs = sample_ifs(1.5 * num_maps, num_maps, seed)
    again = IFS.from_json(ifs.to_json())
    assert again == ifs
    assert again.to_json() == ifs.to_json()


@given(st.lists(st.lists(st.floats(-9, 9), min_size=4, max_size=4), min_size=1, max_size=5))
def test_singular_values_are_those_of_numpy(rows: list[list[float]]) -> None:
    matrices = np.array(rows).reshape(-1, 2, 2)
    np.testing.assert_allclose(singular_values(matrices), np.linalg.svd(matrices)[1], atol=1e-12)


def test_the_sigma_factor_is_the_weighted_sum_of_singular_values() -> None:
    values = np.linalg.svd(np.array(TWO)[:, :, :2])[1]
    assert IFS(TWO).sigma_factor == pytest.approx((values * [1, 2]).sum(), abs=1e-12)


@given(seed=st.integers(0, 2**64 - 1), num_maps=st.integers(1, 16), share=st.floats(0.01, 1))
def test_a_sampled_system_has_exactly_the_asked_sigma_factor(seed: int, num_maps: int, share: float) -> None:
    sigma = 3 * num_maps * share
    ifs = sample_ifs(sigma, num_maps, seed, margin=0)
    assert ifs.sigma_factor == pytest.approx(sigma, abs=1e-9)
    values = singular_values(ifs.maps)
    assert values.max() <= 1 + 1e-12
    assert values.min() >= -1e-12
    assert ifs.maps.shape == (num_maps, 2, 3)
    assert np.abs(ifs.maps[:, :, 2]).max() <= 1


def test_the_margin_spreads_the_sigma_factor_uniformly_and_is_clipped() -> None:
    factors = np.array([sample_ifs(3.5, 2, seed).sigma_factor for seed in range(800)])
    assert factors.min() >= 3.4 - 1e-9
    assert factors.max() <= 3.6 + 1e-9
    assert distance(factors, np.linspace(3.4, 3.6, 4001)) < 1
    clipped = np.array([sample_ifs(6.0, 2, seed, margin=0.5).sigma_factor for seed in range(100)])
    assert clipped.max() <= 6 + 1e-9
    assert (clipped > 6 - 1e-9).mean() == pytest.approx(0.5, abs=0.2)


def released_values(n: int, alpha: float, rng: np.random.RandomState) -> np.ndarray:
    """Singular values by the released code's rule."""
    s = np.empty((n, 2))
    p, q = alpha, alpha - 3 * n + 3
    for i in range(n - 1):
        s1 = rng.uniform(max(0, q / 3), min(1, p))
        q -= s1
        p -= s1
        s2 = rng.uniform(max(0, q / 2), min(s1, p / 2))
        q = q - 2 * s2 + 3
        p -= 2 * s2
        s[i] = s1, s2
    s2 = rng.uniform(max(0, (p - 1) / 2), p / 3)
    s[-1] = p - 2 * s2, s2
    return s


def released_system(n: int, sigma: float, rng: np.random.RandomState) -> np.ndarray:
    """A system by the released code's rule."""
    s = released_values(n, rng.uniform(sigma - 0.1, sigma + 0.1), rng)
    angles = rng.uniform(-np.pi, np.pi, 2 * n)
    rotations = np.moveaxis(np.array([[np.cos(angles), -np.sin(angles)], [np.sin(angles), np.cos(angles)]]), 2, 0)
    bases = rotations @ (np.sign(rng.rand(2 * n, 2, 1) - 0.5) * np.eye(2))
    linear = (bases[:n] * s[:, None, :]) @ bases[n:]
    return np.concatenate([linear, rng.uniform(-1, 1, (n, 2, 1))], axis=2)


@pytest.mark.parametrize(("num_maps", "sigma"), [(2, 3.5), (2, 5.5), (4, 7.0)])
def test_sampled_systems_have_the_distribution_of_the_released_sampler(num_maps: int, sigma: float) -> None:
    count = 1500
    rng = np.random.RandomState(1)
    theirs = np.array([released_system(num_maps, sigma, rng) for _ in range(count)])
    ours = np.array([sample_ifs(sigma, num_maps, seed).maps for seed in range(count)])
    for j in range(num_maps):
        for row in range(2):
            for column in range(3):
                assert distance(ours[:, j, row, column], theirs[:, j, row, column]) < 1
        for pair in range(2):
            values = [singular_values(maps)[:, j, pair] for maps in (ours, theirs)]
            assert distance(*values) < 1
        dets = [np.linalg.det(maps[:, j, :, :2]) for maps in (ours, theirs)]
        assert distance(*dets) < 1
        assert (dets[0] < 0).mean() == pytest.approx(0.5, abs=0.06)


def test_attempts_of_one_seed_are_different_systems_and_the_first_is_the_sample() -> None:
    systems = [sample_ifs_attempt(3.5, 2, 9, 0.1, attempt) for attempt in range(4)]
    assert len(set(systems)) == 4
    assert systems[0] == sample_ifs(sigma=3.5, num_maps=2, seed=9)


def test_the_extremes_of_sigma_are_isometries_and_nothing() -> None:
    np.testing.assert_allclose(singular_values(sample_ifs(6, 2, 3, margin=0).maps), 1, atol=1e-12)
    with pytest.raises(ValueError, match="probs must be given where the determinants of all maps are zero"):
        sample_ifs(0, 2, 3, margin=0)
    assert sample_ifs(1e-6, 1, 3, margin=0).sigma_factor == pytest.approx(1e-6)


def test_the_draws_of_a_system_do_not_depend_on_numpys_generators() -> None:
    np.random.seed(1)  # noqa: NPY002
    first = sample_ifs(seed=4)
    np.random.seed(2)  # noqa: NPY002
    assert sample_ifs(seed=4) == first
    drawn = uniform(4, Purpose.IFS, 0, 21)
    np.testing.assert_array_equal(first.maps[:, :, 2], drawn[17:].reshape(2, 2) * 2 - 1)


NAN = float("nan")


@pytest.mark.parametrize(
    ("error", "message", "maps", "probs"),
    [
        (ValueError, r"maps must have the shape \(N, 2, 3\) with N in 1..16, got \(2, 3\)", TWO[0], None),
        (ValueError, r"got \(0, 2, 3\)", np.empty((0, 2, 3)), None),
        (ValueError, r"got \(17, 2, 3\)", np.ones((17, 2, 3)), None),
        (ValueError, r"maps must be finite, got maps\[1\] = \[\[nan", [TWO[0], [[NAN, 0, 0], [0, 0, 0]]], None),
        (ValueError, "maps must be finite", [[[1e308 * 10, 0, 0], [0, 1, 0]]], None),
        (ValueError, "maps must have finite determinants", [[[1e200, 0, 0], [0, 1e200, 0]]], None),
        (TypeError, "maps must be an array of real numbers, got dtype", [[["a", "b", "c"]] * 2], None),
        (TypeError, "maps must be an array of real numbers, got dtype complex", np.ones((1, 2, 3)) * 1j, None),
        (TypeError, "maps must be an array of real numbers, got dtype bool", np.ones((1, 2, 3), bool), None),
        (ValueError, "maps must be a regular array of real numbers", [[[1, 2, 3], [4, 5]]], None),
        (ValueError, "probs must be given where", np.zeros((1, 2, 3)), None),
        (ValueError, r"probs must have the shape \(2,\), one for each map, got \(3,\)", TWO, [1, 1, 1]),
        (ValueError, r"probs must be finite and not negative, got \[1.0, -1.0\]", TWO, [1, -1]),
        (ValueError, "probs must be finite and not negative", TWO, [1, NAN]),
        (ValueError, r"probs must not all be zero, got \[0.0, 0.0\]", TWO, [0, 0]),
        (TypeError, "probs must be an array of real numbers", TWO, "ab"),
    ],
)
def test_bad_systems_are_refused(error: type[Exception], message: str, maps: object, probs: object) -> None:
    with pytest.raises(error, match=message):
        IFS(maps, probs)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"sigma must be a number in \[0, 6\], got 6.5", {"sigma": 6.5}),
        (ValueError, "sigma must be a number", {"sigma": NAN}),
        (ValueError, "sigma must be a number", {"sigma": -0.1}),
        (TypeError, "sigma must be a number .* got '3' of type str", {"sigma": "3"}),
        (ValueError, "num_maps must be an integer in 1..16, got 0", {"num_maps": 0}),
        (ValueError, "num_maps must be an integer in 1..16, got 17", {"num_maps": 17}),
        (TypeError, "num_maps .* got 2.0 of type float", {"num_maps": 2.0}),
        (ValueError, "seed must be an integer", {"seed": -1}),
        (ValueError, r"margin must be a number in \[0, inf\), got -1", {"margin": -1}),
        (ValueError, "sigma must be a number", {"sigma": 10**400}),
    ],
)
def test_bad_arguments_of_sampling_are_named(
    error: type[Exception], message: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(error, match=message):
        onepfrac.sample_ifs(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "change"),
    [
        ("must have type 'IFS' and format 1, got 'IFS' and 2", ('"format":1', '"format":2')),
        ("must have type 'IFS' and format 1, got 'x'", ('"IFS"', '"x"')),
        ("must have the fields", ('"probs"', '"weights"')),
        ("not legal JSON", ("}", "")),
        ("not legal JSON: NaN", ("0.5", "NaN")),
        ("maps must be finite", ("0.5", "1e999")),
    ],
)
def test_bad_json_of_a_system_is_refused(message: str, change: tuple[str, str]) -> None:
    text = IFS(TWO).to_json()
    assert text.replace(*change, 1) != text
    with pytest.raises(ValueError, match=message):
        IFS.from_json(text.replace(*change, 1))


def test_sampled_systems_keep_their_bits_for_ever() -> None:
    maps = np.array([sample_ifs(3.5, 2, seed).maps for seed in range(50)])
    assert hashlib.sha256(maps.astype("<f8").tobytes()).hexdigest()[:16] == "45b88a6a734a9a03"
