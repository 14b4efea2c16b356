"""Keyed draws: the generator and its counter layout, independence of order and parts, distributions, golden values."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onepfrac import draws
from onepfrac.draws import Purpose, bits, keys, permutation, uniform

SEEDS = st.integers(0, 2**64 - 1)
INDICES = st.integers(0, 2**64 - 1)


def philox_by_hand(key: int, counter: tuple[int, int, int, int]) -> list[int]:
    """Philox4x32-10 in Python's integers, after figure 4 and equation 7 of Salmon et al. 2011."""
    mask = 2**32 - 1
    a, b, c, d = counter
    low, high = key & mask, key >> 32
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (second >> 32) ^ b ^ low, second & mask, (first >> 32) ^ d ^ high, first & mask
        low, high = (low + 0x9E3779B9) & mask, (high + 0xBB67AE85) & mask
    return [a, b, c, d]


def test_the_generator_by_hand_gives_the_published_known_answers() -> None:
    ones = 2**32 - 1
    assert philox_by_hand(0, (0, 0, 0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox_by_hand(2**64 - 1, (ones,) * 4) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    pi = (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)
    assert philox_by_hand(0x299F31D0A4093822, pi) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


@given(seed=SEEDS, index=INDICES, purpose=st.sampled_from(list(Purpose)), count=st.integers(0, 13))
@example(seed=2**63 + 5, index=2**63 + 2**40 + 3, purpose=Purpose.AUGMENT, count=13)
@example(seed=7, index=2**32, purpose=Purpose.IFS, count=4)
def test_words_are_philox_blocks_of_seed_purpose_and_index(seed: int, index: int, purpose: Purpose, count: int) -> None:
    expected: list[int] = []
    for block in range(4):
        expected += philox_by_hand(seed, (block, index & (2**32 - 1), int(purpose), index >> 32))
    drawn = bits(seed, purpose, np.uint64(index), count)
    assert drawn.dtype == np.uint32
    assert drawn.tolist() == expected[:count]


@given(seed=SEEDS, indices=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=12), split=st.integers(0, 12))
def test_draws_depend_on_their_index_alone_and_not_on_their_company(seed: int, indices: list[int], split: int) -> None:
    together = uniform(seed, Purpose.AUGMENT, np.array(indices), 5)
    apart = [uniform(seed, Purpose.AUGMENT, np.array(part, np.int64), 5) for part in (indices[:split], indices[split:])]
    assert np.array_equal(together, np.concatenate(apart))
    assert np.array_equal(together[::-1], uniform(seed, Purpose.AUGMENT, np.array(indices[::-1]), 5))


def test_an_index_may_have_any_shape() -> None:
    index = np.arange(6).reshape(2, 3)
    assert bits(1, Purpose.IFS, index, 7).shape == (2, 3, 7)
    assert uniform(1, Purpose.IFS, 4, 3).shape == (3,)
    assert keys(1, Purpose.IFS, index).shape == (2, 3)
    assert np.array_equal(bits(1, Purpose.IFS, index, 7)[1, 2], bits(1, Purpose.IFS, 5, 7))


def test_asking_for_more_words_does_not_change_the_first_ones() -> None:
    long = bits(3, Purpose.EPSILON, np.arange(4), 40)
    for count in range(40):
        assert np.array_equal(bits(3, Purpose.EPSILON, np.arange(4), count), long[:, :count])


def test_uniform_draws_are_multiples_of_two_to_the_minus_53_below_one() -> None:
    drawn = uniform(0, Purpose.EPSILON, np.arange(1000), 8)
    assert drawn.dtype == np.float64
    assert drawn.min() >= 0.0
    assert drawn.max() < 1.0
    scaled = (drawn * 2.0**53).astype(np.uint64)
    assert np.array_equal(scaled * 2.0**-53, drawn)
    for bit in range(53):
        assert ((scaled >> np.uint64(bit)) & np.uint64(1)).mean() == pytest.approx(0.5, abs=0.03)
    high, low = bits(0, Purpose.EPSILON, 17, 16).astype(object).reshape(8, 2).T
    assert drawn[17].tolist() == [(h // 32 * 2**26 + w // 64) / 2**53 for h, w in zip(high, low, strict=True)]


def test_uniform_draws_pass_the_test_of_kolmogorov_and_smirnov() -> None:
    drawn = np.sort(uniform(5, Purpose.AUGMENT, np.arange(5000), 4).reshape(-1))
    steps = np.arange(drawn.size + 1) / drawn.size
    distance = max(np.abs(steps[1:] - drawn).max(), np.abs(steps[:-1] - drawn).max())
    assert distance < 1.95 / np.sqrt(drawn.size)  # exceeded once in a thousand


def test_neighbouring_indices_seeds_and_purposes_are_uncorrelated() -> None:
    index = np.arange(20_000)
    reference = uniform(7, Purpose.IFS, index, 1)[:, 0]
    others = [
        uniform(7, Purpose.IFS, index + 1, 1)[:, 0],
        uniform(8, Purpose.IFS, index, 1)[:, 0],
        uniform(7, Purpose.EPSILON, index, 1)[:, 0],
        uniform(7, Purpose.IFS, index, 2)[:, 1],
    ]
    for other in others:
        assert abs(np.corrcoef(reference, other)[0, 1]) < 4 / np.sqrt(index.size)


def test_purposes_leave_the_numbers_below_16_to_the_renderer_and_are_distinct() -> None:
    numbers = [int(purpose) for purpose in Purpose]
    assert min(numbers) >= 16
    assert len(set(numbers)) == len(numbers) == len(Purpose.__members__)


@given(seed=SEEDS, epoch=st.integers(0, 2**40), n=st.integers(0, 50))
def test_a_permutation_holds_every_place_once(seed: int, epoch: int, n: int) -> None:
    order = permutation(seed, epoch, n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, permutation(seed, epoch, n))


def test_permutations_of_three_come_up_equally_often() -> None:
    count = 6000
    drawn = [tuple(permutation(11, epoch, 3).tolist()) for epoch in range(count)]
    frequencies = np.array([drawn.count(order) for order in set(drawn)])
    assert frequencies.size == 6
    assert ((frequencies - count / 6) ** 2 / (count / 6)).sum() < 20.5  # chi-squared, 5 degrees: once in a thousand


def test_the_fixed_functions_agree_with_the_library_to_the_last_bits() -> None:
    turns = uniform(1, Purpose.IFS, 0, 2000)
    sines, cosines = draws.sincos_turns(turns)
    np.testing.assert_allclose(sines, np.sin(2 * np.pi * turns), atol=1e-15)
    np.testing.assert_allclose(cosines, np.cos(2 * np.pi * turns), atol=1e-15)
    values = turns * 6 - 3
    np.testing.assert_allclose(draws.exp(values), np.exp(values), rtol=1e-15)
    np.testing.assert_allclose(draws.log(turns + 0.01), np.log(turns + 0.01), rtol=1e-15, atol=1e-16)


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "seed must be an integer in 0..18446744073709551615, got -1", lambda: bits(-1, 16, 0, 1)),
        (ValueError, "seed .* got 18446744073709551616", lambda: uniform(2**64, 16, 0, 1)),
        (TypeError, "seed .* got 0.5 of type float", lambda: keys(0.5, 16, 0)),  # type: ignore[arg-type]
        (TypeError, "seed .* got True of type bool", lambda: permutation(True, 0, 3)),
        (ValueError, "count must not be negative, got -1", lambda: bits(0, 16, 0, -1)),
        (ValueError, "index must not be negative, got -3", lambda: bits(0, 16, np.array([1, -3]), 1)),
        (TypeError, "index must hold integers, got dtype float64", lambda: bits(0, 16, np.array([1.0]), 1)),
    ],
)
def test_bad_arguments_are_named(error: type[Exception], message: str, call) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(error, match=message):
        call()


def test_draws_keep_their_bits_for_ever() -> None:
    words = bits(2**63 + 12345, Purpose.AUGMENT, np.arange(100) * 2**33, 10)
    assert hashlib.sha256(words.astype("<u4").tobytes()).hexdigest()[:16] == "a522eced3a9eaeda"
    assert permutation(2026, 7, 12).tolist() == [5, 9, 3, 7, 2, 11, 8, 10, 6, 0, 4, 1]
