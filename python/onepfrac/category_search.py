"""The search for categories: systems are drawn at random until the picture of one is inked enough.

Candidate ``attempt`` of category c is a function of seed, c and attempt alone, and so is the picture that decides. So a
search gives the same categories on any number of threads and on a GPU, in one go or interrupted and resumed, and the
first hundred of a thousand are those of a search for a hundred.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac.categories import MAX_CATEGORIES, MAX_CATEGORIES_BYTES, Categories, as_values, stack_systems
from onepfrac.checks import check_choice, check_float, check_int
from onepfrac.drawing import Drawing
from onepfrac.draws import FORMAT_VERSION, Purpose, check_seed, keys, uniform
from onepfrac.files import canonical_json, read_json_object, write_text
from onepfrac.ifs import IFS, MAX_MAPS, sample_ifs_attempt
from onepfrac.rendering import MAX_POINTS, check_device, check_threads

__all__ = ["SAMPLINGS", "Rule", "Search", "search"]

SAMPLINGS = ("uniform", "sigma")
MAX_ATTEMPTS = 100_000
"""Candidates of one category before it is given up."""
_CANDIDATES = 128  # judged at a time


@dataclass(frozen=True, kw_only=True)
class Rule:
    """How candidates are drawn, and which are kept. The defaults are FractalDB's, as released.

    Parameters
    ----------
    sampling
        ``"uniform"``: all six parameters of a map uniform in [-1, 1); maps may expand (Kataoka et al., "Pre-training
        without natural images", ACCV 2020). ``"sigma"``: contractions whose sigma-factor is uniform in
        [(5 + N) / 2, (6 + N) / 2], translations uniform in [-1, 1) (Anderson and Farrell, "Improving fractal
        pre-training", WACV 2022).
    min_maps, max_maps
        N is uniform in min_maps .. max_maps; 1 <= min_maps <= max_maps <= 16, with ``"sigma"`` 2 <= min_maps.
    fill
        A candidate is kept if at least this share of its picture is inked, 0..1.
    points, size, pad
        The picture that decides: points of the chaos game, side and border in pixels.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.
    """

    sampling: str = "uniform"
    min_maps: int = 2
    max_maps: int = 7
    fill: float = 0.2
    points: int = 100_000
    size: int = 512
    pad: int = 6

    def __post_init__(self) -> None:
        # One contraction's sigma-factor is 3 at most, below the interval that "sigma" asks for.
        fewest = 2 if self.sampling == "sigma" else 1
        checked = {
            "sampling": check_choice("sampling", self.sampling, SAMPLINGS),
            "max_maps": check_int("max_maps", self.max_maps, fewest, MAX_MAPS),
            "min_maps": check_int("min_maps", self.min_maps, fewest, self.max_maps),
            "fill": check_float("fill", self.fill, 0.0, 1.0),
            "points": check_int("points", self.points, 1, MAX_POINTS),
            "size": check_int("size", self.size, 8, 4096),
        }
        checked["pad"] = check_int("pad", self.pad, 0, (self.size - 1) // 2)
        side = self.size - 2 * self.pad + 1  # no point falls outside of this square
        most = min(side * side, self.points) / self.size**2
        if self.fill > most:
            raise ValueError(
                f"fill must be at most {most:.4g}, the share that {self.points} points can ink with size {self.size}"
                f" and pad {self.pad}, got {self.fill}"
            )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    def candidate(self, seed: int, category: int, attempt: int) -> IFS | None:
        """Return a candidate for a category; None where its determinants are all zero."""
        index = attempt * 2**32 + category
        # How many maps, then their parameters: asking for more draws never changes the first ones.
        drawn = uniform(seed, Purpose.CATEGORY, index, 1 + 6 * self.max_maps)
        count = self.min_maps + int(drawn[0] * (self.max_maps - self.min_maps + 1))
        try:
            if self.sampling == "uniform":
                rows = drawn[1 : 1 + 6 * count].reshape(count, 6) * 2.0 - 1.0
                return IFS(np.concatenate([rows[:, :4].reshape(-1, 2, 2), rows[:, 4:, None]], axis=2))
            key = int(keys(seed, Purpose.CATEGORY, index)[()])
            return sample_ifs_attempt((5.5 + count) / 2.0, count, key, 0.25, 0)
        except ValueError:
            return None

    def drawing(self) -> Drawing:
        """How the picture that decides is drawn."""
        return Drawing(points=self.points, canvas=self.size, pad=self.pad, brush="point", min_inked=0.0)


class Search:
    """A search under way: which categories are found, and how many candidates each of the others has had.

    Parameters
    ----------
    num_categories
        1 .. 1 000 000.
    seed
        0..2**64-1.
    rule
        What is drawn, and kept.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.
    """

    def __init__(self, num_categories: int, seed: int = 0, rule: Rule | None = None) -> None:
        self.num_categories = check_int("num_categories", num_categories, 1, MAX_CATEGORIES)
        self.seed = check_seed("seed", seed)
        self.rule = Rule() if rule is None else rule
        if not isinstance(self.rule, Rule):
            raise TypeError(f"rule must be a Rule, got {type(rule).__name__}")
        self.systems: list[IFS | None] = [None] * self.num_categories
        self.attempts: NDArray[np.int64] = np.zeros(self.num_categories, np.int64)

    @property
    def num_found(self) -> int:
        """How many categories are found."""
        return sum(system is not None for system in self.systems)

    def step(self, threads: int | None = None, device: torch.device | None = None) -> int:
        """Judge the next candidates of the first categories that are not found; return how many were found.

        Raises
        ------
        ValueError
            If a category has had 100 000 candidates.
        """
        waiting = [place for place, system in enumerate(self.systems) if system is None]
        # Where few are left, several candidates of each are judged at a time; the first that is kept counts.
        each = max(1, _CANDIDATES // max(1, len(waiting)))
        tried = [
            (category, int(self.attempts[category]) + later)
            for category in waiting[:_CANDIDATES]
            for later in range(min(each, MAX_ATTEMPTS - int(self.attempts[category])))
        ]
        candidates = [self.rule.candidate(self.seed, *place) for place in tried]
        legal = [place for place, candidate in enumerate(candidates) if candidate is not None]
        shares = np.full(len(tried), -1.0)
        if legal:
            maps, probs = stack_systems([c for c in candidates if c is not None], self.rule.max_maps)
            indices = np.array([attempt * 2**32 + category for category, attempt in tried], np.int64)[legal]
            seeds = keys(self.seed, Purpose.CATEGORY_KEY, indices)
            shares[legal] = self.rule.drawing().inked(maps, probs, seeds, device=device, threads=threads)
        found = 0
        for place, (category, attempt) in enumerate(tried):
            if self.systems[category] is not None:
                continue
            if shares[place] >= self.rule.fill:
                self.systems[category] = candidates[place]
                found += 1
            else:
                self.attempts[category] = attempt + 1
        if self.attempts.max() >= MAX_ATTEMPTS:
            raise ValueError(
                f"no system of category {int(self.attempts.argmax())} was kept in {MAX_ATTEMPTS} candidates: choose a"
                f" smaller fill than {self.rule.fill}, or other numbers of maps"
            )
        return found

    def run(
        self,
        threads: int | None = None,
        device: str | torch.device = "cpu",
        progress: Callable[[int], object] | None = None,
        path: Path | None = None,
    ) -> Categories:
        """Search to the end.

        Parameters
        ----------
        threads, device
            As in `onepfrac.render`; they do not change what is found.
        progress
            Called after each step with the number of categories found in it.
        path
            What is found so far is written here every few seconds, and on Ctrl-C; see `resume`. The caller removes it
            when the result is safe.
        """
        check_threads(threads)
        where = check_device("device", device)
        saved = time.monotonic()
        try:
            while self.num_found < self.num_categories:
                found = self.step(threads, where)
                if progress is not None:
                    progress(found)
                if path is not None and time.monotonic() - saved > 5.0:
                    self._save(path)
                    saved = time.monotonic()
        except KeyboardInterrupt:
            if path is not None:
                self._save(path)
            raise
        return Categories([system for system in self.systems if system is not None])

    def resume(self, path: Path) -> None:
        """Take over what an interrupted search wrote.

        Raises
        ------
        TypeError, ValueError
            If the file is not in order, or of a search with another rule, seed or number of categories.
        """
        values = read_json_object(path, MAX_CATEGORIES_BYTES)
        for name, here in self._settings().items():
            if values.get(name) != here:
                raise ValueError(
                    f"{path} is of another search: {name} is {values.get(name)!r:.80} there and {here!r} here; remove"
                    " it, or search with its settings"
                )
        systems, attempts = values.get("systems"), values.get("attempts")
        if not (isinstance(systems, list) and isinstance(attempts, list)):
            raise TypeError(f"{path}: systems and attempts must be lists")
        if not len(systems) == len(attempts) == self.num_categories:
            raise ValueError(f"{path}: systems and attempts must have {self.num_categories} entries")
        counts = [check_int(f"{path}: attempts[{i}]", value, 0, MAX_ATTEMPTS) for i, value in enumerate(attempts)]
        places = [place for place, system in enumerate(systems) if system is not None]
        known: list[IFS | None] = [None] * self.num_categories
        if places:
            try:
                found = Categories([systems[place] for place in places])
            except (TypeError, ValueError) as error:
                raise type(error)(f"{path}: among its systems, {error}") from error
            for place, system in zip(places, found, strict=True):
                known[place] = system
        self.systems = known
        self.attempts = np.array(counts, np.int64)

    def about(self) -> dict[str, object]:
        """Return what decides the outcome, as JSON takes it."""
        return {"rule": asdict(self.rule), "seed": self.seed, "num_categories": self.num_categories}

    def _settings(self) -> dict[str, object]:
        return {"format": FORMAT_VERSION, "type": "Search", **self.about()}

    def _save(self, path: Path) -> None:
        systems = [None if system is None else as_values(system) for system in self.systems]
        write_text(path, canonical_json(self._settings() | {"systems": systems, "attempts": self.attempts.tolist()}))


def search(
    num_categories: int = 1000,
    seed: int = 0,
    rule: Rule | None = None,
    *,
    threads: int | None = None,
    device: str | torch.device = "cpu",
    progress: Callable[[int], object] | None = None,
) -> Categories:
    """Search for categories.

    Parameters
    ----------
    num_categories
        1 .. 1 000 000.
    seed
        0..2**64-1; the same seed gives the same categories on every machine.
    rule
        What is drawn, and kept. Default: FractalDB's rule.
    threads, device
        As in `onepfrac.render`; they do not change what is found.
    progress
        Called now and then with the number of categories found since.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range, or a category finds no system in 100 000 candidates.
    """
    return Search(num_categories, seed, rule).run(threads, device, progress)
