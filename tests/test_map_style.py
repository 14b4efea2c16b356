"""Images by number: a list's indices, the stream's pictures, loaders and samplers, epochs."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from kinds import Colour, Gray, Scenes, small
from torch.utils.data import DataLoader, RandomSampler, SubsetRandomSampler, WeightedRandomSampler, default_collate

from onepfrac import Images, OnePFrac
from onepfrac.datasets import Recipe

RECIPE = small(num_classes=5, instances=3)
KINDS = [small(), RECIPE, Gray(), Colour(), Scenes()]


def make(recipe: Recipe = RECIPE, **settings: Any) -> Images:
    return recipe.images(**{"size": 16, "dtype": torch.uint8, **settings})


def all_of(dataset: Images) -> list[torch.Tensor]:
    return [dataset[index][0] for index in range(len(dataset))]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return len(first) == len(second) > 0 and all(map(torch.equal, first, second))


# Items


@pytest.mark.parametrize("cache", [0, 2**25])
@pytest.mark.parametrize("recipe", KINDS, ids=lambda recipe: recipe.dataset)
def test_without_augmentation_an_item_is_the_streams_picture_of_the_image_bit_for_bit(
    recipe: Recipe, cache: int
) -> None:
    for dtype in (torch.uint8, torch.float32):
        dataset = make(recipe, dtype=dtype, cache=cache)
        shown: set[int] = set()
        stream = iter(recipe.stream(batch_size=4, size=16, dtype=dtype))
        for batch in range(-(-recipe.num_images // 4)):
            images, targets = next(stream)
            numbers = recipe.plan(np.arange(4 * batch, 4 * batch + 4)).images.tolist()
            for number, image, target in zip(numbers, images, targets, strict=True):
                item, label = dataset[number]
                assert item.dtype == image.dtype == dtype
                assert torch.equal(item, image)
                assert torch.equal(torch.as_tensor(label), target)
            shown.update(numbers)
        assert shown == set(range(recipe.num_images))  # one round of all


def test_at_the_canvas_size_an_item_is_the_canvas() -> None:
    for recipe in (RECIPE, Colour()):
        canvases = recipe.draw(recipe.plan_images(np.arange(recipe.num_images)), torch.device("cpu"))
        dataset = make(recipe, size=recipe.canvas, channels=recipe.planes)
        assert equal(all_of(dataset), list(canvases))


def test_labels_are_ints_of_the_class_and_vectors_where_an_image_shows_several() -> None:
    labels = [make()[index][1] for index in range(15)]
    assert labels == [index // 3 for index in range(15)]
    assert {type(label) for label in labels} == {int}
    _, target = make(Scenes())[4]
    assert target.dtype == torch.float32
    assert target.tolist() == [0.0, 1.0, 1.0]


def test_indices_are_those_of_a_list() -> None:
    dataset = make()
    assert len(dataset) == 15
    for index in range(15):
        assert torch.equal(dataset[index - 15][0], dataset[index][0])
        assert dataset[index - 15][1] == dataset[index][1]
    assert torch.equal(dataset[np.int64(3)][0], dataset[torch.tensor(3)][0])
    for index in (15, -16, 10**30):
        with pytest.raises(IndexError, match=r"index must lie in -15\.\.14"):
            dataset[index]
        with pytest.raises(IndexError, match="index must lie"):
            dataset.__getitems__([0, index])
    for wrong in (1.0, "1", None, slice(2)):
        with pytest.raises(TypeError, match="index must be an integer"):
            dataset[wrong]  # type: ignore[index]
    assert len(list(dataset)) == 15  # Python's loop ends at the IndexError


def test_items_of_a_batch_are_drawn_in_one_call_and_equal_to_single_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = [3, 0, -1, 3, 14]
    for settings in ({}, {"augment": "deit"}, {"draws": "fresh"}, {"draws": "fresh", "augment": "crop-flip"}):
        dataset = make(**settings, cache=0)
        single = [dataset[number] for number in numbers]
        taken: list[int] = []
        take = OnePFrac.take

        def spy(self: OnePFrac, plan: Any, *rest: Any, taken: list[int] = taken, take: Any = take) -> None:
            taken.append(len(plan))
            take(self, plan, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(OnePFrac, "take", spy)
            items = dataset.__getitems__(numbers)
        assert taken == [5]
        assert equal([image for image, _ in items], [image for image, _ in single])
        assert [label for _, label in items] == [label for _, label in single] == [1, 0, 4, 1, 4]
    assert make().__getitems__([]) == []


def test_an_item_that_is_held_is_not_written_to_again() -> None:
    dataset = make()
    held = [dataset[index][0] for index in range(15)]
    copies = [image.clone() for image in held]
    for _ in range(3):
        all_of(dataset)
        dataset.__getitems__(list(range(15)))
    assert equal(held, copies)


def test_the_transform_is_called_with_each_image() -> None:
    dataset = make(transform=lambda image: image.float().mean().item())
    assert [dataset[index][0] for index in range(3)] == [make()[index][0].float().mean().item() for index in range(3)]
    assert dataset.__getitems__([1, 2])[1] == dataset[2]


# Epochs


def test_the_sample_of_an_image_is_the_epochs_number_times_all_images_plus_its_own() -> None:
    dataset = make(augment="crop-flip", draws="fresh")
    for epoch in (0, 3):
        dataset.set_epoch(epoch)
        assert dataset.epoch == epoch
        plan = RECIPE.plan_images(np.arange(15), "fresh", epoch)
        assert plan.samples.tolist() == list(range(15 * epoch, 15 * epoch + 15))
        stream = RECIPE.stream(batch_size=1, size=16, dtype=torch.uint8, augment="crop-flip", draws="fresh")
        assert equal(all_of(dataset), list(stream.take(plan)[0]))


def test_epochs_differ_in_augmentation_and_fresh_draws_and_in_nothing_else() -> None:
    for settings, differ in (
        ({}, False),
        ({"augment": "crop-flip"}, True),
        ({"draws": "fresh"}, True),
    ):
        dataset = make(**settings)
        first = all_of(dataset)
        assert equal(all_of(dataset), first)
        dataset.set_epoch(1)
        assert equal(all_of(dataset), first) is not differ
        dataset.set_epoch(0)
        assert equal(all_of(dataset), first)


def test_bad_epochs_are_refused() -> None:
    dataset = make()
    dataset.set_epoch(2)
    for epoch, error in ((-1, ValueError), (2**62 // 15, ValueError), (1.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="epoch must be an integer"):
            dataset.set_epoch(epoch)  # type: ignore[arg-type]
    assert dataset.epoch == 2
    dataset.set_epoch(2**62 // 15 - 1)
    assert dataset[14]


# Loaders


@pytest.mark.parametrize(("workers", "context"), [(0, None), (2, "fork"), (2, "spawn")])
@pytest.mark.forks
def test_a_loader_gives_the_same_items_with_workers_and_without(workers: int, context: str | None) -> None:
    for settings in (
        ({"augment": "deit", "dtype": torch.float32},)
        if context == "spawn"
        else (
            {},
            {"augment": "deit", "dtype": torch.float32},
            {"draws": "fresh"},
        )
    ):
        dataset = make(**settings)
        loader = DataLoader(dataset, batch_size=4, num_workers=workers, multiprocessing_context=context)
        images, labels = zip(*loader, strict=True)
        assert [len(batch) for batch in images] == [4, 4, 4, 3]
        assert equal(list(torch.cat(images)), all_of(make(**settings)))
        assert torch.cat(labels).tolist() == [index // 3 for index in range(15)]
        assert labels[0].dtype == torch.int64


def test_a_loaders_targets_of_several_classes_are_a_matrix() -> None:
    _, targets = next(iter(DataLoader(make(Scenes()), batch_size=12)))
    assert targets.dtype == torch.float32
    assert targets.shape == (12, 3)
    assert targets.sum(1).tolist() == [2.0, 1.0] * 6


@pytest.mark.forks
def test_a_shuffling_loader_shows_each_image_once_in_an_order_of_its_own() -> None:
    expected = [image.numpy().tobytes() for image in all_of(make())]
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(
        make(), batch_size=4, shuffle=True, num_workers=2, multiprocessing_context="fork", generator=generator
    )
    for _ in range(2):
        shown = [image.numpy().tobytes() for images, _ in loader for image in images]
        assert shown != expected
        assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize(
    "sampler",
    [
        lambda dataset, drawn: SubsetRandomSampler([1, 5, 7], drawn),
        lambda dataset, drawn: RandomSampler(dataset, True, 20, drawn),
        lambda dataset, drawn: WeightedRandomSampler([0.0] * 14 + [1.0], 3, generator=drawn),
    ],
)
def test_samplers_of_torch_choose_the_images(sampler: Any) -> None:
    expected = [make()[index] for index in sampler(make(), torch.Generator().manual_seed(5))]
    chosen = sampler(make(), torch.Generator().manual_seed(5))
    images, labels = next(iter(DataLoader(make(), batch_size=100, sampler=chosen)))
    assert equal(list(images), [image for image, _ in expected])
    assert labels.tolist() == [label for _, label in expected]


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.forks
def test_workers_follow_the_epoch_that_the_main_process_sets(context: str, persistent: bool) -> None:
    dataset = make(augment="crop-flip")
    loader = DataLoader(
        dataset, batch_size=15, num_workers=1, multiprocessing_context=context, persistent_workers=persistent
    )
    for epoch in (0, 4):
        dataset.set_epoch(epoch)
        other = make(augment="crop-flip")
        other.set_epoch(epoch)
        ((images, _),) = list(loader)
        assert equal(list(images), all_of(other))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda original: pickle.loads(pickle.dumps(original))])
def test_copies_and_pickles_have_the_same_items_and_an_epoch_of_their_own(copied: Any) -> None:
    original = make(augment="crop-flip")
    original.set_epoch(2)
    items = all_of(original)
    other = copied(original)
    assert other.epoch == 2
    assert equal(all_of(other), items)
    other.set_epoch(3)
    assert original.epoch == 2
    assert other._epoch.is_shared()  # by which workers follow it
    assert not equal(all_of(other), items)
    assert len(pickle.dumps(original)) < 30_000  # the canvases stay behind


def test_the_collated_batch_is_what_single_items_make() -> None:
    images, labels = default_collate([make()[index] for index in range(4)])
    batch = next(iter(DataLoader(make(), batch_size=4)))
    assert torch.equal(images, batch[0])
    assert torch.equal(labels, batch[1])


# Bad input


@pytest.mark.parametrize(
    ("error", "message", "settings"),
    [
        (ValueError, "size must be an integer in 8..4096, got 7", {"size": 7}),
        (ValueError, "augment must be None", {"augment": "none"}),
        (ValueError, "draws must be one of 'fixed', 'fresh', got 'old'", {"draws": "old"}),
        (TypeError, "dtype must be a torch.dtype", {"dtype": "uint8"}),
        (ValueError, "channels must be 1 or 3, got 2", {"channels": 2}),
        (ValueError, "std must", {"std": 0.0}),
        (TypeError, "transform must be None or callable, got 3 of type int", {"transform": 3}),
    ],
)
def test_bad_arguments_are_refused(error: type[Exception], message: str, settings: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        make(**settings)


def test_what_is_no_recipe_is_refused() -> None:
    with pytest.raises(TypeError, match=r"recipe must be a recipe such as onepfrac\.OnePFrac, got int"):
        Images(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="channels must be 3 for a recipe of images in colour"):
        Colour().images(channels=1)


def test_the_representation_names_the_recipe() -> None:
    assert repr(make()) == f"Images({RECIPE!r}, draws='fixed', epoch=0)"
