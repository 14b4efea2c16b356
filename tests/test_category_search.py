"""The search: what candidates are, which are kept, and that nothing but seed and rule decides them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onepfrac
from onepfrac import IFS, Categories, category_search, cli
from onepfrac.category_search import Rule, Search, search
from onepfrac.cli import main
from onepfrac.draws import Purpose, keys
from onepfrac.ifs import singular_values
from onepfrac.systems import diverges

QUICK = Rule(points=1000, size=32, pad=2, fill=0.3)
QUICK_OPTIONS = ["--points=1000", "--size=32", "--pad=2", "--fill=0.3", "--threads=1"]
QUICK_DIGEST = "2753a0c060970d73"
RELEASED_DIGEST = "c956460a80f08b13"
SIGMA_DIGEST = "dbf783a58db57aff"


def digest(found: Categories) -> str:
    return hashlib.sha256(found.to_json().encode()).hexdigest()[:16]


@pytest.fixture(scope="module")
def quick() -> Search:
    """A finished search for 20 categories by a small picture."""
    made = Search(20, 5, QUICK)
    made.run(threads=1)
    return made


def found_by(made: Search) -> Categories:
    return Categories([system for system in made.systems if system is not None])


# Statistics, written by hand: SciPy is no dependency


def ks_uniform(values: NDArray[np.float64]) -> float:
    """Kolmogorov and Smirnov's D of a sample against U(0, 1), times sqrt(n): above 1.95 with probability 0.001."""
    values = np.sort(values)
    n = values.size
    steps = np.arange(n + 1) / n
    return float(np.sqrt(n) * max((steps[1:] - values).max(), (values - steps[:-1]).max()))


def ks_two_samples(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """D of two samples, times sqrt(n m / (n + m)): above 1.95 with probability 0.001."""
    both = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(sample), both, side="right") / sample.size for sample in (first, second)]
    return float(np.abs(below[0] - below[1]).max() * np.sqrt(first.size * second.size / both.size))


def chi_square(counts: NDArray[np.int64], expected: NDArray[np.float64]) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def test_the_statistics_tell_a_uniform_sample_from_a_skewed_one() -> None:
    draws = np.random.Generator(np.random.PCG64(0)).random(2000)
    assert ks_uniform(draws) < 1.95 < ks_uniform(draws**1.2)
    assert ks_two_samples(draws[:1000], draws[1000:]) < 1.95 < ks_two_samples(draws[:1000], draws[1000:] ** 1.3)


# Candidates


def test_candidates_are_drawn_by_the_released_rule() -> None:
    rule = Rule()
    made = [rule.candidate(3, category, attempt) for category in range(60) for attempt in range(50)]
    candidates = [ifs for ifs in made if ifs is not None]
    assert len(candidates) == 3000
    counts = np.bincount([ifs.num_maps for ifs in candidates], minlength=8)
    assert counts[:2].sum() == 0
    assert counts.size == 8
    assert chi_square(counts[2:], np.full(6, 500.0)) < 20.5  # 5 degrees of freedom, probability 0.001
    for number in range(2, 8):
        parameters = np.concatenate([ifs.maps.reshape(-1, 6) for ifs in candidates if ifs.num_maps == number])
        assert parameters.min() >= -1
        assert parameters.max() < 1
        for column in parameters.T:
            assert ks_uniform((column + 1) / 2) < 2.3  # 36 of them; 5e-5 each
        shared = np.corrcoef(parameters.T)[np.triu_indices(6, 1)]
        assert np.abs(shared).max() * np.sqrt(len(parameters)) < 4.5
    for ifs in candidates[:50]:
        a, b, c, d = ifs.maps[:, 0, 0], ifs.maps[:, 0, 1], ifs.maps[:, 1, 0], ifs.maps[:, 1, 1]
        weights = np.abs(a * d - b * c)
        np.testing.assert_allclose(ifs.probs, weights / weights.sum(), rtol=1e-13)


@pytest.mark.parametrize("sampling", category_search.SAMPLINGS)
def test_candidates_of_other_categories_attempts_and_seeds_are_independent(sampling: str) -> None:
    rule = Rule(sampling=sampling, min_maps=3, max_maps=3)

    def values(seed: int, category: int, attempt: int) -> NDArray[np.float64]:
        ifs = rule.candidate(seed, category, attempt)
        assert ifs is not None
        return ifs.maps.ravel()

    base = np.array([values(0, category, 0) for category in range(400)])
    others = [
        [values(0, category, 1) for category in range(400)],
        [values(1, category, 0) for category in range(400)],
        [values(0, category + 1, 0) for category in range(400)],
        [values(0, 0, category + 1) for category in range(400)],
    ]
    for other in map(np.array, others):
        same_place = [np.corrcoef(base[:, i], other[:, i])[0, 1] for i in range(18)]
        assert np.abs(same_place).max() * 20 < 4.0  # standard normal if independent; 72 of them
        assert not (base == other).all(axis=1).any()
    assert len(np.unique(np.concatenate([base, *map(np.array, others[:2])]), axis=0)) == 1200


def test_numbers_of_maps_are_uniform_between_the_bounds() -> None:
    for low, high in ((2, 2), (3, 5), (1, 16)):
        rule = Rule(min_maps=low, max_maps=high)
        counts = np.bincount(
            [ifs.num_maps for k in range(1600) if (ifs := rule.candidate(0, k, 0)) is not None], minlength=high + 1
        )
        assert counts[:low].sum() == 0
        assert counts.size == high + 1
        expected = 1600 / (high - low + 1)
        assert chi_square(counts[low:], np.full(high - low + 1, expected)) < 40  # 15 degrees of freedom: 5e-4


def test_candidates_of_sampling_sigma_contract_and_have_anderson_and_farrells_sigma_factor() -> None:
    rule = Rule(sampling="sigma")
    places = []
    counts = np.zeros(8, np.int64)
    for category in range(1500):
        ifs = rule.candidate(1, category, 2)
        assert ifs is not None
        counts[ifs.num_maps] += 1
        assert singular_values(ifs.maps)[:, 0].max() <= 1 + 1e-12
        assert np.abs(ifs.maps[:, :, 2]).max() <= 1
        places.append((ifs.sigma_factor - (5 + ifs.num_maps) / 2) * 2)
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9
    assert ks_uniform(np.clip(np.array(places), 0, 1)) < 1.95
    assert chi_square(counts[2:], np.full(6, 250.0)) < 20.5


def test_a_candidate_without_area_is_none_and_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    flat = np.zeros(1 + 6 * 7)
    flat[1:] = 0.5  # all six parameters 0
    monkeypatch.setattr(category_search, "uniform", lambda *_: flat)
    assert Rule().candidate(0, 0, 0) is None
    made = Search(2, 0, QUICK)
    assert made.step(threads=1) == 0
    assert made.attempts.min() > 0


# What is kept


def test_what_is_kept_has_the_share_and_what_was_skipped_has_not(quick: Search) -> None:
    assert quick.attempts.sum() > 100
    for category, count in enumerate(quick.attempts.tolist()):
        for attempt in range(count + 1):
            ifs = QUICK.candidate(5, category, attempt)
            kept = False
            if ifs is not None and not diverges(ifs).any():
                seed = int(keys(5, Purpose.CATEGORY_KEY, attempt * 2**32 + category)[()])
                picture = onepfrac.render(ifs, points=1000, size=32, pad=2, brush="point", seed=seed, threads=1)
                kept = int((picture != 0).sum()) >= 0.3 * 32 * 32
            assert kept == (attempt == count)
        assert quick.systems[category] == ifs


@pytest.mark.parametrize("candidates", [1, 7, 128, 1000])
@pytest.mark.parametrize("threads", [1, 2])
def test_neither_threads_nor_how_many_are_judged_at_a_time_change_what_is_found(
    quick: Search, monkeypatch: pytest.MonkeyPatch, candidates: int, threads: int
) -> None:
    monkeypatch.setattr(category_search, "_CANDIDATES", candidates)
    made = Search(20, 5, QUICK)
    assert made.run(threads) == found_by(quick)
    assert np.array_equal(made.attempts, quick.attempts)


def test_the_first_categories_are_those_of_a_smaller_search(quick: Search) -> None:
    assert list(search(10, 5, QUICK, threads=1)) == list(found_by(quick))[:10]
    assert search(10, 6, QUICK, threads=1) != Categories(found_by(quick)[:10])


def test_what_is_found_is_the_same_for_ever(quick: Search) -> None:
    assert digest(found_by(quick)) == QUICK_DIGEST
    assert digest(search(5, 0, threads=1)) == RELEASED_DIGEST
    assert digest(search(5, 0, Rule(sampling="sigma"), threads=1)) == SIGMA_DIGEST


def test_progress_adds_up(quick: Search) -> None:
    seen: list[int] = []
    search(20, 5, QUICK, threads=1, progress=seen.append)
    assert sum(seen) == 20
    assert len(seen) > 1


def test_a_search_that_asks_for_nothing_keeps_all_that_do_not_run_away() -> None:
    made = Search(30, 2, Rule(points=10, size=8, pad=0, fill=0.0))
    found = made.run(threads=1)
    for category, (ifs, count) in enumerate(zip(found, made.attempts.tolist(), strict=True)):
        assert ifs == made.rule.candidate(2, category, count)
        for attempt in range(count):
            skipped = made.rule.candidate(2, category, attempt)
            assert skipped is None or diverges(skipped).any()


HOPELESS = 0.6  # the rule's points could ink that much, if no two fell on one pixel


@pytest.mark.parametrize("candidates", [1, 7, 128])
def test_a_hopeless_rule_ends_after_the_last_candidate(monkeypatch: pytest.MonkeyPatch, candidates: int) -> None:
    monkeypatch.setattr(category_search, "MAX_ATTEMPTS", 50)
    monkeypatch.setattr(category_search, "_CANDIDATES", candidates)
    with pytest.raises(ValueError, match=f"category 0 was kept in 50 candidates: .* fill than {HOPELESS}"):
        search(2, 0, dataclasses.replace(QUICK, fill=HOPELESS), threads=1)


@pytest.mark.parametrize("candidates", [1, 7, 128])
def test_the_last_candidate_counts_and_none_after_it(
    quick: Search, monkeypatch: pytest.MonkeyPatch, candidates: int
) -> None:
    monkeypatch.setattr(category_search, "_CANDIDATES", candidates)
    needed = int(quick.attempts[:3].max())
    assert needed > 3
    monkeypatch.setattr(category_search, "MAX_ATTEMPTS", needed + 1)
    assert list(search(3, 5, QUICK, threads=1)) == list(found_by(quick))[:3]
    monkeypatch.setattr(category_search, "MAX_ATTEMPTS", needed)
    with pytest.raises(ValueError, match=f"was kept in {needed} candidates"):
        search(3, 5, QUICK, threads=1)


@pytest.mark.parametrize(
    ("error", "message", "make"),
    [
        (ValueError, "sampling must be one of 'uniform', 'sigma', got 'gauss'", lambda: Rule(sampling="gauss")),
        (ValueError, r"min_maps must be an integer in 1\.\.7, got 8", lambda: Rule(min_maps=8)),
        (ValueError, r"min_maps must be an integer in 1\.\.7, got 0", lambda: Rule(min_maps=0)),
        (ValueError, r"max_maps must be an integer in 1\.\.16, got 17", lambda: Rule(max_maps=17)),
        (ValueError, r"min_maps must be an integer in 2\.\.7, got 1", lambda: Rule(sampling="sigma", min_maps=1)),
        (ValueError, r"fill must be a number in \[0, 1\], got 1.1", lambda: Rule(fill=1.1)),
        (ValueError, r"fill must be a number in \[0, 1\], got nan", lambda: Rule(fill=float("nan"))),
        (TypeError, "fill must be a number .* got '0.2' of type str", lambda: Rule(fill="0.2")),  # type: ignore[arg-type]
        (ValueError, "points must be an integer", lambda: Rule(points=0)),
        (ValueError, r"size must be an integer in 8\.\.4096, got 7", lambda: Rule(size=7)),
        (ValueError, r"pad must be an integer in 0\.\.15, got 16", lambda: Rule(size=32, pad=16)),
        (ValueError, r"num_categories must be an integer in 1\.\.1000000, got 0", lambda: Search(0)),
        (ValueError, "seed must be an integer", lambda: Search(1, -1)),
        (TypeError, "rule must be a Rule, got dict", lambda: Search(1, 0, {})),  # type: ignore[arg-type]
        (ValueError, "threads must be", lambda: search(1, 0, QUICK, threads=0)),
        (ValueError, "device must be", lambda: search(1, 0, QUICK, device="tpu")),
    ],
)
def test_bad_arguments_are_named(error: type[Exception], message: str, make: Any) -> None:
    with pytest.raises(error, match=message):
        make()


# Interrupted and resumed


@pytest.mark.parametrize("candidates", [7, 128])
def test_a_search_interrupted_after_any_step_goes_on_to_the_same_end(
    quick: Search, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, candidates: int
) -> None:
    monkeypatch.setattr(category_search, "_CANDIDATES", candidates)
    expected = found_by(quick)
    path = tmp_path / "partial"
    steps = 0
    running = Search(20, 5, QUICK)  # a new process after every step
    while running.num_found < 20:

        def stop(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            running.run(1, progress=stop, path=path)
        steps += 1
        after, again = running, Search(20, 5, QUICK)
        again.resume(path)
        assert again.systems == after.systems
        assert np.array_equal(again.attempts, after.attempts)
        running = again
    assert steps > 2
    assert running.run(1) == expected
    assert np.array_equal(running.attempts, quick.attempts)
    assert os.listdir(tmp_path) == ["partial"]


def test_what_is_found_is_written_every_few_seconds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clock = [0.0]
    monkeypatch.setattr(category_search.time, "monotonic", lambda: clock[0])
    made, path = Search(20, 5, QUICK), tmp_path / "partial"
    written = []

    def tick(_: int) -> None:
        written.append(path.exists())
        clock[0] += 2.6

    made.run(1, progress=tick, path=path)
    assert written[:3] == [False, False, True]  # after 5.2 s
    assert path.exists()  # the caller removes it, when the result is safe


@pytest.fixture
def partial(tmp_path: Path) -> Path:
    made = Search(20, 5, QUICK)
    made.step(threads=1)
    made._save(tmp_path / "partial")
    assert 0 < made.num_found < 20
    return tmp_path / "partial"


@pytest.mark.parametrize(
    ("other", "name"),
    [
        (Search(20, 6, QUICK), "seed"),
        (Search(21, 5, QUICK), "num_categories"),
        (Search(20, 5), "rule"),
        (Search(20, 5, dataclasses.replace(QUICK, fill=0.31)), "rule"),
    ],
)
def test_what_another_search_found_is_refused(partial: Path, other: Search, name: str) -> None:
    before = list(other.systems)
    with pytest.raises(ValueError, match=f"is of another search: {name} is .* remove it") as caught:
        other.resume(partial)
    assert str(partial) in str(caught.value)
    assert other.systems == before


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, "format is 2", {"format": 2}),
        (ValueError, "type is 'Categories'", {"type": "Categories"}),
        (TypeError, "systems and attempts must be lists", {"systems": None}),
        (TypeError, "systems and attempts must be lists", {"attempts": {}}),
        (ValueError, "systems and attempts must have 20 entries", {"attempts": [0] * 19}),
        (ValueError, "systems and attempts must have 20 entries", {"systems": [None] * 21}),
        (TypeError, r"attempts\[1\] must be an integer", {"attempts": [0, "1"] * 10}),
        (ValueError, r"attempts\[0\] must be an integer", {"attempts": [-1] * 20}),
        (ValueError, r"attempts\[0\] must be an integer in 0\.\.100000", {"attempts": [100_001] * 20}),
        (TypeError, "must be an IFS", {"systems": [None, 3] * 10}),
        (ValueError, "maps must have the shape", {"systems": [{"maps": [], "probs": []}] * 20}),
        (
            ValueError,
            "must not run away",
            {"systems": [{"maps": [[[2, 0, 1], [0, 2, 1]]], "probs": [1]}] + [None] * 19},
        ),
    ],
)
def test_a_damaged_partial_file_is_refused_by_name(
    partial: Path, error: type[Exception], message: str, change: dict[str, object]
) -> None:
    partial.write_text(json.dumps({**json.loads(partial.read_text()), **change}))
    made = Search(20, 5, QUICK)
    with pytest.raises(error, match=message) as caught:
        made.resume(partial)
    assert str(partial) in str(caught.value)
    assert made.num_found == 0
    assert made.attempts.sum() == 0


def test_a_cut_off_partial_file_is_refused_by_name(partial: Path) -> None:
    partial.write_text(partial.read_text()[:-7])
    with pytest.raises(ValueError, match=f"{partial} is not legal JSON"):
        Search(20, 5, QUICK).resume(partial)


# Against the published categories


def test_what_is_found_is_distributed_as_the_published_categories(shared: Path) -> None:
    path = shared / "data" / "fractaldb1k_systems.npz"
    if not path.exists():
        pytest.skip(f"{path} is absent")
    with np.load(path) as data:
        rows, counts = data["rows"], data["num_maps"]
    theirs = [
        IFS(np.concatenate([r[:n, :4].reshape(-1, 2, 2), r[:n, 4:6, None]], 2), r[:n, 6])
        for r, n in zip(rows, counts, strict=True)
    ]
    rule = Rule()
    made = Search(120, 0, rule)
    ours = list(made.run())
    # Numbers of maps: a two-sample chi-square with 5 degrees of freedom exceeds 20.5 with probability 0.001.
    tables = [np.bincount([ifs.num_maps for ifs in group], minlength=8)[2:] for group in (theirs, ours)]
    total = tables[0] + tables[1]
    statistic = sum(chi_square(t, total * t.sum() / total.sum()) for t in tables)
    assert statistic < 20.5
    for name, of in (
        ("linear", lambda ifs: ifs.maps[:, :, :2].ravel()),
        ("shift", lambda ifs: ifs.maps[:, :, 2].ravel()),
        ("sigma", lambda ifs: np.array([ifs.sigma_factor / ifs.num_maps])),
        ("expansion", lambda ifs: np.array([singular_values(ifs.maps)[:, 0].max()])),
        ("probability", lambda ifs: np.array([ifs.probs.max()])),
    ):
        samples = [np.concatenate([of(ifs) for ifs in group]) for group in (theirs, ours)]
        assert ks_two_samples(*samples) < 2.2, name  # probability 1.2e-4 each
    # Shares: a threshold on a falling density. Theirs were judged by other draws, so some lie below 0.2 here.
    shares = []
    for group in (theirs, ours):
        maps, probs = onepfrac.categories.stack_systems(group)
        shares.append(rule.drawing().inked(maps, probs, np.arange(len(group), dtype=np.uint64)))
    above = [share[share > 0.205] for share in shares]
    assert ks_two_samples(*above) < 1.95
    assert abs(shares[0].mean() - shares[1].mean()) < 0.006
    assert shares[1].min() > 0.2 - 0.03


# The command line


def test_the_command_writes_what_the_search_finds_with_its_rule(
    quick: Search, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "systems.json"
    assert cli.main(["search", "--categories=20", "--seed=5", f"--out={out}", *QUICK_OPTIONS]) == 0
    tried = int(quick.attempts.sum()) + 20
    assert f"wrote {out}: 20 categories of {tried} candidates" in capsys.readouterr().out
    assert Categories.load(out) == found_by(quick)
    about = json.loads(out.read_text())["search"]
    assert about == {"num_categories": 20, "seed": 5, "rule": dataclasses.asdict(QUICK)}
    assert os.listdir(tmp_path) == ["systems.json"]


def test_the_command_writes_csv_files_to_a_folder(quick: Search, tmp_path: Path) -> None:
    out = tmp_path / "csv"
    assert cli.main(["search", "--categories=20", "--seed=5", f"--out={out}", *QUICK_OPTIONS]) == 0
    assert sorted(os.listdir(out)) == [f"{place:05d}.csv" for place in range(20)]
    assert Categories.load(out) == found_by(quick)
    assert os.listdir(tmp_path) == ["csv"]


def test_an_output_that_is_there_is_replaced_only_if_asked(
    quick: Search, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "systems.json"
    out.write_text("precious")
    command = ["search", "--categories=20", "--seed=5", f"--out={out}", *QUICK_OPTIONS]
    assert cli.main(command) == 2
    assert f"out must not be there yet, got {out}; give --overwrite" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert cli.main([*command, "--overwrite"]) == 0
    assert Categories.load(out) == found_by(quick)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--categories=0"], "num_categories must be"),
        (["--fill=2"], "fill must be"),
        (["--min-maps=8"], "min_maps must be"),
        (["--pad=300"], "pad must be"),
        (["--threads=0"], "threads must be"),
        (["--device=tpu"], "device must be"),
        (["--sampling=sigma", "--min-maps=1"], "min_maps must be an integer in 2..7, got 1"),
    ],
)
def test_the_command_refuses_in_one_line(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["search", f"--out={tmp_path / 'systems.json'}", *options]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert words in lines[-1]
    assert lines[-1].startswith("onepfrac search: error: ")
    assert not list(tmp_path.iterdir())


def test_the_command_interrupted_goes_on_and_refuses_what_another_search_left(
    quick: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "systems.json"
    command = ["search", "--categories=20", "--seed=5", f"--out={out}", *QUICK_OPTIONS]
    step, steps = Search.step, []

    def interrupted(self: Search, *arguments: Any) -> int:
        if len(steps) == 2:
            raise KeyboardInterrupt
        steps.append(1)
        return step(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Search, "step", interrupted)
        assert cli.main(command) == 130
    assert os.listdir(tmp_path) == ["systems.json.partial"]
    half = Search(20, 5, QUICK)
    half.resume(tmp_path / "systems.json.partial")
    assert 0 < half.num_found < 20

    capsys.readouterr()
    assert cli.main([*command, "--seed=6"]) == 2
    assert "systems.json.partial is of another search: seed is 5 there and 6 here" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["systems.json.partial"]
    assert cli.main(command) == 0
    assert f"going on from {out}.partial: {half.num_found} of 20 categories" in capsys.readouterr().out
    assert Categories.load(out) == found_by(quick)
    assert os.listdir(tmp_path) == ["systems.json"]


SLOWLY = """
import sys, time
from onepfrac import category_search, cli

step = category_search.Search.step
def slowly(self, *arguments):
    time.sleep(0.05)
    return step(self, *arguments)

category_search.Search.step = slowly
category_search._CANDIDATES = 4
clock, count = time.monotonic, iter(range(10**9))
category_search.time = type("Clock", (), {"monotonic": staticmethod(lambda: 6.0 * next(count))})
sys.exit(cli.main(sys.argv[1:]))
"""


def test_the_command_killed_in_the_middle_goes_on_to_the_same_file(quick: Search, tmp_path: Path) -> None:
    out, partial = tmp_path / "systems.json", tmp_path / "systems.json.partial"
    arguments = ["search", "--categories=20", "--seed=5", f"--out={out}", *QUICK_OPTIONS]
    process = subprocess.Popen([sys.executable, "-c", SLOWLY, *arguments])
    try:
        limit = time.monotonic() + 120
        while not partial.exists() and time.monotonic() < limit:
            time.sleep(0.01)
        time.sleep(0.2)
        assert process.poll() is None, "it ended before it was killed"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert partial.exists()
    assert not out.exists()
    half = Search(20, 5, QUICK)
    half.resume(partial)
    assert half.num_found < 20
    assert half.attempts.sum() > 0
    assert cli.main(arguments) == 0
    expected = tmp_path / "expected.json"
    found_by(quick).save(expected, quick.about())
    assert out.read_bytes() == expected.read_bytes()
    assert not partial.exists()


@pytest.mark.gpu
@pytest.mark.parametrize("rule", [QUICK, Rule(), Rule(sampling="sigma")], ids=["quick", "uniform", "sigma"])
def test_a_search_on_the_gpu_finds_the_same(rule: Rule) -> None:
    found = [Search(20, 5, rule), Search(20, 5, rule)]
    assert found[0].run(device="cpu") == found[1].run(device="cuda")
    assert np.array_equal(found[0].attempts, found[1].attempts)


def test_a_fill_that_no_picture_can_have_is_refused() -> None:
    for values in ({"fill": 0.3, "points": 1000, "size": 64, "pad": 2}, {"fill": 0.9, "size": 64, "pad": 6}):
        with pytest.raises(ValueError, match=r"fill must be at most 0\.[0-9]+, the share that"):
            Rule(**values)  # type: ignore[arg-type]
    assert Rule(fill=0.99, size=512, pad=0, points=10**6).fill == 0.99


def test_overwriting_a_folder_of_more_categories_is_refused_before_the_search(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "00002.csv").write_text("")
    assert main(["search", "--categories", "2", "--out", str(tmp_path / "csv"), "--overwrite"]) == 2
    assert "must not hold other CSV files, got 00002.csv" in capsys.readouterr().err
