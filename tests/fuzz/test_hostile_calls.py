"""No call, however hostile, does anything but raise a ValueError or a TypeError, or give the right answer."""

from __future__ import annotations

import pytest
from promises.tally import tried

from fuzz.runner import explore

SIZES = {"fuzz.bindings": (2000, 800_000), "fuzz.public": (600, 200_000)}


def look_at(module: str, count: int) -> None:
    outcome = explore(module, 0, count)
    tried(outcome.cases)
    assert not outcome.failures, "\n\n".join(outcome.failures)
    assert outcome.cases == count
    assert all(outcome.counts[kind] > 0.2 * count for kind in ("right", "refused")), outcome.counts  # of both, many


def test_the_bindings_refuse_a_hostile_call_or_answer_it_rightly() -> None:
    look_at("fuzz.bindings", SIZES["fuzz.bindings"][0])


def test_the_public_entries_refuse_a_hostile_call_or_answer_it_rightly() -> None:
    look_at("fuzz.public", SIZES["fuzz.public"][0])


@pytest.mark.slow
@pytest.mark.parametrize("module", SIZES)
def test_a_million_hostile_calls_are_refused_or_answered_rightly(module: str) -> None:
    look_at(module, SIZES[module][1])
