"""The fixed elementary functions against mpmath-grade references from the standard library."""

from __future__ import annotations

import hashlib
import math
from decimal import Decimal, getcontext

import numpy as np

from onepfrac import _C

getcontext().prec = 60


def ulps(value: float, exact: Decimal) -> float:
    return float(abs(Decimal(value) - exact) / Decimal(math.ulp(float(exact))))


def test_exp_and_log_are_within_two_units_in_the_last_place() -> None:
    rng = np.random.RandomState(0)
    for x in rng.uniform(-700, 700, 300):
        assert ulps(float(_C.exp_fixed(np.array([x]))[0]), Decimal(x).exp()) < 2
    for x in np.concatenate(
        [rng.uniform(0, 2, 200), 10 ** rng.uniform(-300, 300, 200), [1 + 1e-15, 1 - 1e-15, 5e-324]]
    ):
        assert ulps(float(_C.log_fixed(np.array([x]))[0]), Decimal(x).ln()) < 2
    assert _C.exp_fixed(np.array([0.0, -800.0, 800.0])).tolist() == [1.0, 0.0, math.inf]
    assert _C.log_fixed(np.array([1.0]))[0] == 0.0


def test_sines_of_turns_are_right_and_exact_at_eighths() -> None:
    u = np.random.RandomState(1).uniform(-3, 3, 2000)
    sine, cosine = _C.sincos_turns(u)
    assert np.abs(sine - np.sin(2 * np.pi * (u - np.floor(u)))).max() < 1e-15
    assert np.abs(cosine - np.cos(2 * np.pi * (u - np.floor(u)))).max() < 1e-15
    sine, cosine = _C.sincos_turns(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert sine.tolist() == [0.0, 1.0, 0.0, -1.0, 0.0]
    assert cosine.tolist() == [1.0, 0.0, -1.0, 0.0, 1.0]


def test_their_bits_are_frozen() -> None:
    u = np.random.RandomState(2).random_sample(50)
    bits = np.concatenate([*_C.sincos_turns(u), _C.exp_fixed(u), _C.log_fixed(u)])
    assert hashlib.sha256(bits.tobytes()).hexdigest()[:16] == "6d808f1090666956"
