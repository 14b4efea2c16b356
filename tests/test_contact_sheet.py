"""Contact sheets: the right pictures in the right places, labels that fit, files that are whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from PIL import Image

from onepfrac import FractalDB, contact_sheet, files
from onepfrac.datasets import OnePFrac, Recipe

RECIPE = OnePFrac(sigma=3.5, delta=0.5, num_classes=6, canvas=32, pad=2, points=500)


def class_picture(recipe: OnePFrac, label: int) -> np.ndarray[Any, Any]:
    plan = recipe.plan(np.arange(recipe.num_classes))
    place = int(np.flatnonzero(plan.labels == label)[0])
    return recipe.draw(plan[place : place + 1], torch.device("cpu"), 1)[0, 0].numpy()


def find(page: Image.Image, picture: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """Where a picture stands on a page."""
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(page), picture.shape)
    return [(int(top), int(left)) for top, left in np.argwhere((windows == picture).all(axis=(2, 3)))]


def test_a_tile_of_canvas_size_is_the_class_picture_at_twice_its_gray() -> None:
    page = contact_sheet.classes(RECIPE, 6, columns=3, tile=32)
    places = [find(page, class_picture(RECIPE, label) * 2) for label in range(6)]
    assert [len(found) for found in places] == [1] * 6
    tops, lefts = zip(*(found[0] for found in places), strict=True)
    assert lefts[:3] == lefts[3:]
    assert lefts[0] == contact_sheet.GAP + 1
    assert lefts[2] - lefts[1] == lefts[1] - lefts[0] >= 32 + 2 + contact_sheet.GAP
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4] == tops[5]


def test_fewer_tiles_show_classes_evenly_spaced_and_more_show_all() -> None:
    page = contact_sheet.classes(RECIPE, 3, columns=3, tile=32)  # classes 0, 2 (2.5 rounds to even) and 5
    assert [len(find(page, class_picture(RECIPE, label) * 2)) for label in range(6)] == [1, 0, 1, 0, 0, 1]
    assert contact_sheet.classes(RECIPE, 99, columns=3, tile=32) == contact_sheet.classes(RECIPE, 6, columns=3, tile=32)


def test_a_small_canvas_is_enlarged_by_whole_pixels() -> None:
    page = contact_sheet.classes(RECIPE, 1, tile=64)
    assert len(find(page, class_picture(RECIPE, 0).repeat(2, 0).repeat(2, 1) * 2)) == 1


def test_a_large_canvas_is_averaged() -> None:
    large = OnePFrac(num_classes=1, canvas=128, points=20_000)
    page = np.asarray(contact_sheet.classes(large, 1, tile=32))
    tile = page[-(32 + 3 + 26 + contact_sheet.GAP) :][: 32 + 3]
    ink = class_picture(large, 0).mean() * 2
    found = [tile[top : top + 32, contact_sheet.GAP + 1 :][:, :32].mean() for top in range(4)]
    assert min(abs(mean - ink) for mean in found) < 3


def test_the_label_tells_the_length_of_epsilon(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: list[Any] = []
    page = Image.new("L", (8, 8))
    monkeypatch.setattr(contact_sheet, "_page", lambda tiles, given, columns, title: labels.extend(given) or page)
    contact_sheet.classes(RECIPE, 2, tile=32)
    lengths = np.sqrt((RECIPE.liep.epsilon[[0, 5]] ** 2).sum(axis=(1, 2, 3)))
    assert [label[0] for label in labels] == ["class 0", "class 5"]
    assert [float(label[1].removeprefix("|eps| ")) for label in labels] == pytest.approx(lengths, rel=0.01)


def test_another_dataset_is_shown_by_its_class_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(Recipe):
        dataset = "Other"
        num_classes, seed, canvas, fingerprint = 3, 0, 32, "f" * 16
        prepare = None  # type: ignore[assignment]

        def _plan(self, order: Any) -> Any:
            return RECIPE._plan(order)

        def draw(self, plan: Any, device: torch.device, threads: int | None = None, bits: bool = False) -> torch.Tensor:
            return RECIPE.draw(plan, device, threads)

    seen: list[Any] = []
    page = Image.new("L", (8, 8))
    monkeypatch.setattr(contact_sheet, "_page", lambda *given, **title: seen.append((given, title)) or page)
    monkeypatch.setattr(Other, "num_classes", 6)
    contact_sheet.classes(Other(), 2, tile=32)
    (_, labels, _), title = seen[0]
    assert labels == [("class 0",), ("class 5",)]
    assert title["title"] == "Other, 6 classes, recipe ffffffffffffffff"


def test_the_table_has_a_cell_for_each_sigma_and_delta() -> None:
    page = contact_sheet.sigma_against_delta(RECIPE, [3.0, 4.0], [0.1, 0.2, 0.5], per_cell=2, tile=32)
    for row, sigma in enumerate([3.0, 4.0]):
        for column, delta in enumerate([0.1, 0.2, 0.5]):
            cell = OnePFrac(sigma=sigma, delta=delta, num_classes=2, canvas=32, pad=2, points=500)
            ((top, left),) = find(page, class_picture(cell, 1) * 2)
            assert abs((left - 34) / page.width - column / 3) < 0.1
            assert (top > page.height / 2) == bool(row)


def test_a_cell_without_an_accepted_system_stays_empty_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    page = Image.new("L", (8, 8))
    monkeypatch.setattr(contact_sheet, "_page", lambda *given, **title: seen.append(given) or page)
    hard = OnePFrac(num_classes=1, canvas=16, pad=1, points=1, brush="point", min_inked=0.5)
    contact_sheet.sigma_against_delta(hard, [3.0], [0.1], per_cell=1, tile=32)
    tiles, labels, _ = seen[0]
    assert labels == [("sigma 3, delta 0.1: none",)]
    assert (tiles == contact_sheet.PAPER).all()


def test_titles_and_labels_stay_on_the_page() -> None:
    for columns in (1, 2, 6):
        page = np.asarray(contact_sheet.classes(RECIPE, 6, columns=columns, tile=32))
        assert (page[:, -contact_sheet.GAP // 2 :] == contact_sheet.PAPER).all()
        assert (page[:, contact_sheet.GAP :] != contact_sheet.PAPER).any()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: contact_sheet.classes(RECIPE, 0), "count must be an integer"),
        (lambda: contact_sheet.classes(RECIPE, 4, tile=8), "tile must be an integer in 32..1024, got 8"),
        (lambda: contact_sheet.classes(RECIPE, 4, columns=-1), "columns must be"),
        (
            lambda: contact_sheet.sigma_against_delta(RECIPE, [], [0.1]),
            "sigmas and deltas must hold at least one number",
        ),
        (lambda: contact_sheet.sigma_against_delta(RECIPE, [7.0], [0.1]), "sigma must be"),
        (lambda: contact_sheet.sigma_against_delta(RECIPE, [3.0], [0.1], per_cell=65), "per_cell must be"),
        (
            lambda: contact_sheet.sigma_against_delta(RECIPE, [3.5], [0.1] * 40, per_cell=1, tile=1024),
            "more than 20000",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(call: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()


def test_saving_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = contact_sheet.classes(RECIPE, 2, tile=32)
    contact_sheet.save(page, tmp_path / "page.PNG")
    with Image.open(tmp_path / "page.PNG") as read:
        assert np.array_equal(np.asarray(read), np.asarray(page))
    with pytest.raises(ValueError, match=r"must end in \.png, got"):
        contact_sheet.save(page, tmp_path / "page.jpg")

    def full(*_: Any) -> None:
        raise OSError(28, "no space left")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        contact_sheet.save(page, tmp_path / "other.png")
    assert [path.name for path in tmp_path.iterdir()] == ["page.PNG"]


@pytest.mark.parametrize("kind", [toy.Gray, toy.Colour])
def test_a_dataset_of_grays_or_colours_is_shown_by_the_first_image_of_its_classes(kind: type[toy.Colour]) -> None:
    made = kind(5, canvas=32)
    page = contact_sheet.classes(made, 3, columns=3, tile=32)
    assert page.mode == ("RGB" if kind.planes == 3 else "L")
    canvases = made.draw(made.plan_images(np.arange(15)), torch.device("cpu")).numpy()
    grays = np.asarray(page) if kind.planes == 3 else np.asarray(page)[:, :, None]
    shown = []
    for number, canvas in enumerate(canvases):
        planes = [np.lib.stride_tricks.sliding_window_view(grays[:, :, p], (32, 32)) for p in range(kind.planes)]
        hits = np.all([(windows == canvas[p]).all(axis=(2, 3)) for p, windows in enumerate(planes)], axis=0)
        shown += [(number, *place) for place in np.argwhere(hits).tolist()]
    assert [place[0] for place in shown] == [0, 6, 12]  # classes 0, 2, 4; instances are three
    assert len({top for _, top, _ in shown}) == 1
    assert [left for *_, left in shown] == sorted(left for *_, left in shown)


def test_fractaldb_is_shown_by_its_categories_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = FractalDB(6, categories=[RECIPE.ifs] * 6, canvas=32, pad=2, points=500)  # type: ignore[arg-type]
    page = contact_sheet.classes(made, 6, columns=3, tile=32)
    plan = made.plan_images(np.arange(6) * 1000)
    pictures = made.draw(plan, torch.device("cpu"), 1)[:, 0].numpy()  # type: ignore[arg-type]
    assert [len(find(page, picture * 2)) for picture in pictures] == [1] * 6
    seen: list[Any] = []
    monkeypatch.setattr(contact_sheet, "_page", lambda *given, **title: seen.append((given, title)) or page)
    contact_sheet.classes(made, 2, tile=32)
    assert seen[0][0][1] == [("class 0",), ("class 5",)]
    assert seen[0][1]["title"] == f"FractalDB, 6 classes, recipe {made.fingerprint}"
