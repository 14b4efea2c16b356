"""No call, however hostile, does anything but raise a ValueError or a TypeError, or give the right answer."""

from __future__ import annotations

import pytest
from promises.tally import tried

from fuzz.runner import explore

SIZES = {"fuzz.bindings": (2000, 800_000), "fuzz.public": (600, 200_000)}  # in all a million, with --nightly


def look_at(module: str, nightly: bool) -> None:
    count = SIZES[module][nightly]
    outcome = explore(module, 0, count)
    tried(outcome.cases)
    assert not outcome.failures, "\n\n".join(outcome.failures)
    assert outcome.cases == count
    assert all(outcome.counts[kind] > 0.2 * count for kind in ("right", "refused")), outcome.counts  # of both, many


def test_the_bindings_refuse_a_hostile_call_or_answer_it_rightly(request: pytest.FixtureRequest) -> None:
    look_at("fuzz.bindings", request.config.getoption("--nightly"))


def test_the_public_entries_refuse_a_hostile_call_or_answer_it_rightly(request: pytest.FixtureRequest) -> None:
    look_at("fuzz.public", request.config.getoption("--nightly"))
