"""What holds for every dataset: recipes, order, draws, streams on any device, with and without kept canvases."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from family import SMALL

import onepfrac
from onepfrac import contact_sheet, datasets
from onepfrac.stream import Stream

ALL = pytest.mark.parametrize("recipe", SMALL.values(), ids=SMALL)
CPU = torch.device("cpu")


def take(stream: Stream, batches: int) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = [batch for batch, _ in zip(stream, range(batches), strict=False)]
    return torch.cat([images for images, _ in drawn]), torch.cat([labels for _, labels in drawn])


def same(first: tuple[torch.Tensor, torch.Tensor], second: tuple[torch.Tensor, torch.Tensor]) -> bool:
    return all(torch.equal(a.cpu(), b.cpu()) for a, b in zip(first, second, strict=True))


def test_there_is_a_small_recipe_of_every_dataset_and_each_is_public() -> None:
    assert SMALL.keys() == datasets.RECIPES.keys()
    for name, recipe in SMALL.items():
        assert type(recipe) is getattr(onepfrac, name)
        assert recipe.dataset == name


@ALL
def test_json_and_pickle_give_back_an_equal_recipe(recipe: datasets.Recipe, tmp_path: Path) -> None:
    recipe.save(tmp_path / "recipe.json")
    for again in (type(recipe).from_json(recipe.to_json()), pickle.loads(pickle.dumps(recipe))):
        assert again == recipe
        assert hash(again) == hash(recipe)
        assert again.fingerprint == recipe.fingerprint
    assert datasets.load_recipe(tmp_path / "recipe.json") == recipe


@ALL
def test_a_canvas_has_the_planes_and_the_grays_that_the_recipe_says(recipe: datasets.Recipe) -> None:
    canvases = recipe.draw(recipe.plan(np.arange(6)), CPU)
    assert canvases.shape == (6, recipe.planes, recipe.canvas, recipe.canvas)
    assert canvases.dtype is torch.uint8
    assert canvases.is_contiguous()
    assert canvases.flatten(1).any(dim=1).all()  # none is black
    if recipe.bitmap:
        assert set(canvases.unique().tolist()) == {0, 127}
        bits = recipe.draw(recipe.plan(np.arange(6)), CPU, bits=True)
        assert torch.equal(onepfrac.expand(bits, size=recipe.canvas), canvases)
    else:
        assert len(canvases.unique()) > 2


@ALL
def test_rounds_show_every_class_once_and_all_instances_in_turn(recipe: datasets.Recipe) -> None:
    plan = recipe.plan(np.arange(2 * recipe.num_images))
    rounds = plan.labels.reshape(-1, recipe.num_classes)
    assert (np.sort(rounds, axis=1) == np.arange(recipe.num_classes)).all()
    images = plan.images.reshape(2, -1)
    assert (np.sort(images, axis=1) == np.arange(recipe.num_images)).all()
    assert (plan.labels == plan.images // recipe.num_instances).all()


@ALL
def test_an_image_depends_neither_on_its_batch_nor_on_threads(recipe: datasets.Recipe) -> None:
    plan = recipe.plan(np.arange(7))
    together = recipe.draw(plan, CPU, 2)
    for place in range(7):
        assert torch.equal(recipe.draw(plan[place : place + 1], CPU, 1), together[place : place + 1])
    numbered = recipe.plan_images(plan.images)
    assert torch.equal(recipe.draw(numbered, CPU, 1), together)


@ALL
@pytest.mark.parametrize("augment", [None, "deit"])
def test_streams_are_the_same_with_kept_canvases_other_batches_and_ranks(
    recipe: datasets.Recipe, augment: str | None
) -> None:
    whole = take(recipe.stream(6, size=32, augment=augment), 4)
    assert whole[0].shape == (24, 3, 32, 32)
    assert torch.isfinite(whole[0]).all()
    assert whole[1].shape == ((24, recipe.num_classes) if recipe.multi_label else (24,))
    assert same(take(recipe.stream(6, size=32, augment=augment, cache=0, threads=2), 4), whole)
    halves = [take(recipe.stream(3, size=32, augment=augment, rank=rank, world_size=2), 4) for rank in (0, 1)]
    for kind in (0, 1):  # images, labels
        shares = [half[kind].unflatten(0, (4, 3)) for half in halves]
        assert torch.equal(torch.cat(shares, dim=1).flatten(0, 1), whole[kind])


@ALL
def test_a_stream_goes_on_from_its_state(recipe: datasets.Recipe) -> None:
    stream = recipe.stream(5, size=24, augment="crop-flip", draws="fresh")
    take(stream, 3)
    state = stream.state_dict()
    after = take(stream, 2)
    again = recipe.stream(5, size=24, augment="crop-flip", draws="fresh")
    again.load_state_dict(state)
    assert same(take(again, 2), after)


@ALL
def test_the_whole_canvas_at_its_own_size_is_the_canvas(recipe: datasets.Recipe) -> None:
    images, _ = take(recipe.stream(6, size=recipe.canvas, dtype=torch.uint8), 1)
    canvases = recipe.draw(recipe.plan(np.arange(6)), CPU)
    assert torch.equal(images, canvases.expand(-1, 3, -1, -1))


@ALL
def test_a_contact_sheet_shows_it(recipe: datasets.Recipe) -> None:
    page = contact_sheet.classes(recipe, 3, tile=32)
    assert page.mode == ("RGB" if recipe.planes == 3 else "L")
    assert np.asarray(page).std() > 10


@ALL
@pytest.mark.parametrize("draws", ["fixed", "fresh"])
@pytest.mark.gpu
def test_a_gpu_streams_the_same_bits(recipe: datasets.Recipe, draws: str) -> None:
    for augment in (None, "crop-flip", "deit"):
        for cache in (0, 2**25):
            settings = {"size": 32, "augment": augment, "draws": draws, "cache": cache}
            assert same(take(recipe.stream(6, device="cuda", **settings), 4), take(recipe.stream(6, **settings), 4))
    canvases = recipe.draw(recipe.plan(np.arange(6)), torch.device("cuda"))
    assert torch.equal(canvases.cpu(), recipe.draw(recipe.plan(np.arange(6)), CPU))
