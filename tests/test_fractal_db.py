"""FractalDB and OFDB: recipes, the order of instances, weightings, mirrors, jitters, and their streams."""

from __future__ import annotations

import dataclasses
import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

import onepfrac
from onepfrac import IFS, OFDB, Categories, FractalDB, load_recipe
from onepfrac.category_search import Rule, search
from onepfrac.draws import Purpose, keys
from onepfrac.ifs import singular_values
from onepfrac.instances import JITTERS, jittered, mirrored, weighted, weightings
from onepfrac.plan import SystemsPlan, image_seeds, images_of
from onepfrac.systems import diverges

SIGMA = search(6, 1, Rule(sampling="sigma", points=2000, size=64, pad=2, fill=0.1), threads=1)
UNIFORM = search(6, 1, Rule(points=2000, size=64, pad=2, fill=0.2), threads=1)
SMALL: dict[str, Any] = {"num_classes": 6, "points": 2000, "canvas": 32, "pad": 2, "brush": "fill"}
RECIPE = FractalDB(**SMALL, instances=200, categories=UNIFORM)
JITTERED = {kind: FractalDB(**SMALL, instances=200, categories=SIGMA, jitter=kind) for kind in JITTERS}
CPU = torch.device("cpu")

DEFAULTS = (
    '"brush":"patch","canvas":362,"categories":null,"dataset":"FractalDB","fill":0.2,"format":1,"instances":1000,'
    '"jitter":"weights","max_maps":7,"min_maps":2,"num_classes":1000,"pad":6,"points":200000,"sampling":"uniform",'
    '"seed":0,"strength":0.4'
)

# The table weights_0.4.csv of FractalDB's release: factors of a, b, c, d, e, f.
RELEASED_WEIGHTS = """
0.2,1,1,1,1,1 0.6,1,1,1,1,1 1,1,1,1,1,1 1.4,1,1,1,1,1 1.8,1,1,1,1,1
1,0.2,1,1,1,1 1,0.6,1,1,1,1 1,1.4,1,1,1,1 1,1.8,1,1,1,1
1,1,0.2,1,1,1 1,1,0.6,1,1,1 1,1,1.4,1,1,1 1,1,1.8,1,1,1
1,1,1,0.2,1,1 1,1,1,0.6,1,1 1,1,1,1.4,1,1 1,1,1,1.8,1,1
1,1,1,1,0.2,1 1,1,1,1,0.6,1 1,1,1,1,1.4,1 1,1,1,1,1.8,1
1,1,1,1,1,0.2 1,1,1,1,1,0.6 1,1,1,1,1,1.4 1,1,1,1,1,1.8
"""


def exact(parts: Categories) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Systems in float64 with one N, written anew: maps, numbers of maps, probabilities."""
    most = max(ifs.num_maps for ifs in parts)
    maps = np.stack([np.concatenate([ifs.maps, np.repeat(ifs.maps[:1], most - ifs.num_maps, 0)]) for ifs in parts])
    probs = np.stack([np.pad(ifs.probs, (0, most - ifs.num_maps)) for ifs in parts])
    return maps, np.array([ifs.num_maps for ifs in parts]), probs


def ks_uniform(values: NDArray[np.float64]) -> float:
    """Kolmogorov and Smirnov's D against U(0, 1), times sqrt(n): above 1.95 with probability 0.001."""
    values = np.sort(values)
    steps = np.arange(values.size + 1) / values.size
    return float(np.sqrt(values.size) * max((steps[1:] - values).max(), (values - steps[:-1]).max()))


# Recipes


RECIPES_OF_BOTH_KINDS = st.one_of(
    st.builds(
        FractalDB,
        num_classes=st.integers(1, 1_000_000),
        seed=st.integers(0, 2**64 - 1),
        sampling=st.sampled_from(["uniform", "sigma"]),
        min_maps=st.integers(2, 5),
        max_maps=st.integers(5, 16),
        fill=st.floats(0, 0.38),
        points=st.integers(1, 10**9),
        canvas=st.integers(16, 4096),
        pad=st.integers(0, 7),
        brush=st.sampled_from(["point", "fill", "patch", "patch_fixed"]),
        instances=st.integers(1, 1_000_000),
        jitter=st.sampled_from(JITTERS),
        strength=st.floats(0, 0.5),
    ),
    st.builds(OFDB, num_classes=st.just(6), seed=st.integers(0, 2**64 - 1), categories=st.sampled_from([SIGMA, None])),
)


@given(RECIPES_OF_BOTH_KINDS)
def test_json_gives_back_an_equal_recipe_with_the_same_fingerprint(recipe: FractalDB | OFDB) -> None:
    again = type(recipe).from_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.fingerprint == recipe.fingerprint
    assert again.to_json() == recipe.to_json()


def test_fingerprints_are_the_same_for_ever() -> None:
    assert FractalDB().to_json() == f"{{{DEFAULTS}}}"
    others = DEFAULTS.replace('"jitter":"weights",', "").replace(',"strength":0.4', "").replace('"instances":1000,', "")
    assert OFDB().to_json() == "{" + others.replace("FractalDB", "OFDB") + "}"
    assert FractalDB().fingerprint == "9a4d3b06df3398a1"
    assert OFDB().fingerprint == "71e6283404e90cdf"


@pytest.mark.parametrize("kind", [FractalDB, OFDB])
def test_every_field_changes_the_fingerprint(kind: type[FractalDB | OFDB]) -> None:
    base = kind(num_classes=6)
    changes: dict[str, object] = {
        "num_classes": 7,
        "seed": 1,
        "sampling": "sigma",
        "min_maps": 3,
        "max_maps": 6,
        "fill": 0.21,
        "points": 199_999,
        "canvas": 361,
        "pad": 5,
        "brush": "fill",
        "categories": SIGMA,
    }
    if kind is FractalDB:
        changes |= {"instances": 999, "jitter": "none", "strength": 0.3}
    assert changes.keys() == {field.name for field in dataclasses.fields(base)}
    others = [dataclasses.replace(base, **{name: value}) for name, value in changes.items()]  # type: ignore[arg-type]
    others.append(dataclasses.replace(base, categories=UNIFORM))
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == len(changes) + 2
    assert all(other != base for other in others)


def test_given_categories_stand_in_the_recipes_file_bit_for_bit(tmp_path: Path) -> None:
    for recipe in (RECIPE, OFDB(**SMALL, categories=UNIFORM)):
        recipe.save(tmp_path / "recipe.json")
        again = load_recipe(tmp_path / "recipe.json")
        assert type(again) is type(recipe)
        assert again == recipe
        assert again.fingerprint == recipe.fingerprint
        assert isinstance(again, (FractalDB, OFDB))
        assert [ifs.maps.tobytes() for ifs in again.systems] == [ifs.maps.tobytes() for ifs in UNIFORM]
        assert [ifs.probs.tobytes() for ifs in again.systems] == [ifs.probs.tobytes() for ifs in UNIFORM]
        plans = again.plan(np.arange(30)), recipe.plan(np.arange(30))
        assert all(np.array_equal(getattr(plans[0], name), getattr(plans[1], name)) for name in ("maps", "seeds"))


def test_categories_may_be_given_as_a_list_of_systems() -> None:
    assert FractalDB(**SMALL, categories=list(UNIFORM)) == FractalDB(**SMALL, categories=UNIFORM)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [FractalDB, OFDB])
def test_categories_that_are_not_given_are_those_of_the_search(kind: type[FractalDB | OFDB]) -> None:
    recipe = kind(3, 7, sampling="sigma", min_maps=3, max_maps=4, fill=0.1)
    found = search(3, 7, Rule(sampling="sigma", min_maps=3, max_maps=4, fill=0.1))
    assert recipe.systems == found
    assert recipe.systems is recipe.systems
    assert {ifs.num_maps for ifs in found} <= {3, 4}
    labels = recipe.plan_images(np.array([0])).labels
    maps = recipe.plan_images(np.array([0])).maps  # type: ignore[attr-defined]
    assert np.array_equal(maps[0, : found[int(labels[0])].num_maps], found[int(labels[0])].maps.astype(np.float32))


def test_a_pickled_recipe_brings_its_systems_along(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = FractalDB(2, sampling="sigma", fill=0.1, points=500, canvas=32)
    recipe.prepare()
    again = pickle.loads(pickle.dumps(recipe))
    assert again == recipe
    monkeypatch.setattr(onepfrac.datasets.fractal_db, "search", None)  # would fail if it were searched again
    assert np.array_equal(again.plan([0, 1]).maps, recipe.plan([0, 1]).maps)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"num_classes must be an integer in 1\.\.1000000, got 0", {"num_classes": 0}),
        (TypeError, "num_classes must be an integer .* of type float", {"num_classes": 5.0}),
        (ValueError, "seed must be an integer", {"seed": -1}),
        (ValueError, "sampling must be one of 'uniform', 'sigma', got 'gauss'", {"sampling": "gauss"}),
        (ValueError, r"min_maps must be an integer in 1\.\.7, got 8", {"min_maps": 8}),
        (ValueError, r"max_maps must be an integer in 1\.\.16, got 17", {"max_maps": 17}),
        (ValueError, r"fill must be a number in \[0, 1\], got -0.1", {"fill": -0.1}),
        (ValueError, "points must be an integer", {"points": 0}),
        (ValueError, r"canvas must be an integer in 8\.\.4096, got 7", {"canvas": 7}),
        (ValueError, r"pad must be an integer in 0\.\.180, got 181", {"pad": 181}),
        (ValueError, "brush must be one of", {"brush": "spray"}),
        (FileNotFoundError, "absent.json", {"categories": "absent.json"}),
        (TypeError, "categories must be a sequence of IFS, got bytes", {"categories": b"systems.json"}),
        (TypeError, r"categories\[0\] must be an IFS", {"categories": [3], "num_classes": 1}),
        (ValueError, "num_classes must be 6, as many as categories, got 1000", {"categories": UNIFORM}),
        (TypeError, "unexpected keyword argument 'catgories'", {"catgories": UNIFORM}),
    ],
)
@pytest.mark.parametrize("kind", [FractalDB, OFDB])
def test_bad_arguments_are_named(kind: Any, error: type[Exception], message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        kind(**arguments)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"instances must be an integer in 1\.\.1000000, got 0", {"instances": 0}),
        (TypeError, "instances must be an integer .* got True", {"instances": True}),
        (ValueError, "jitter must be one of 'weights', 'scale', 'svd', 'sval', 'none', got 'svds'", {"jitter": "svds"}),
        (ValueError, r"strength must be a number in \[0, 0.5\], got 0.6", {"strength": 0.6}),
        (ValueError, "instances must be an integer .* got 1000001", {"instances": 1_000_001}),
    ],
)
def test_bad_arguments_of_instances_are_named(
    error: type[Exception], message: str, arguments: dict[str, object]
) -> None:
    with pytest.raises(error, match=message):
        FractalDB(**arguments)  # type: ignore[arg-type]


def test_more_images_than_can_be_counted_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onepfrac.datasets.recipe, "MAX_IMAGES", 1200)
    assert FractalDB(6, instances=200).num_images == 1200
    with pytest.raises(ValueError, match=r"num_classes x instances must be at most 2\*\*40, got 6 x 201"):
        FractalDB(6, instances=201)


def test_a_bad_category_in_a_recipes_file_is_named(tmp_path: Path) -> None:
    values = json.loads(RECIPE.to_json())
    values["categories"][3]["maps"][0][1][1] = 1e300
    (tmp_path / "recipe.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match=r"recipe\.json: .*maps\[3\]"):
        load_recipe(tmp_path / "recipe.json")


# The order of instances


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**64 - 1), st.integers(0, 2**30), st.randoms())
def test_each_round_shows_each_class_once_and_a_cycle_of_rounds_each_image_once(
    classes: int, instances: int, seed: int, cycle: int, shuffle: Any
) -> None:
    samples = list(range(cycle * classes * instances, (cycle + 1) * classes * instances))
    labels, images = images_of(seed, classes, instances, np.array(samples))
    for one_round in labels.reshape(instances, classes).tolist():
        assert sorted(one_round) == list(range(classes))
    assert sorted(images.tolist()) == list(range(classes * instances))
    assert np.array_equal(images // instances, labels)
    shuffle.shuffle(samples)  # and that in any company
    mixed = images_of(seed, classes, instances, np.array(samples[:7]))
    places = np.array(samples[:7]) - cycle * classes * instances
    assert np.array_equal(mixed[0], labels[places])
    assert np.array_equal(mixed[1], images[places])


def test_classes_do_not_show_the_same_instance_in_a_round_nor_in_the_same_order_every_cycle() -> None:
    _, images = images_of(3, 50, 40, np.arange(50 * 40 * 3))
    shown = (images % 40).reshape(3, 40, 50)
    distinct = [len(set(one_round)) for one_round in shown.reshape(120, 50).tolist()]
    assert np.mean(distinct) == pytest.approx(40 * (1 - (39 / 40) ** 50), abs=3)
    of_class = np.argsort(images.reshape(3, -1)[:, :], axis=1, kind="stable").reshape(3, 50, 40) // 50  # its round
    assert not np.array_equal(of_class[0], of_class[1])
    assert not np.array_equal(of_class[:, 0], of_class[:, 1])


def test_the_order_is_the_same_for_ever() -> None:
    labels, images = images_of(0, 4, 3, np.arange(12))
    assert labels.tolist() == [1, 0, 2, 3, 3, 2, 0, 1, 2, 1, 3, 0]
    assert images.tolist() == [5, 1, 8, 9, 10, 6, 2, 3, 7, 4, 11, 0]
    assert images_of(1, 4, 3, np.array([10**15, 2**62 - 1]))[1].tolist() == [8, 9]


@given(st.lists(st.integers(0, 1199), max_size=12), st.sampled_from(["fixed", "fresh"]), st.integers(0, 12))
def test_a_sample_has_the_same_plan_in_any_company(samples: list[int], draws: str, split: int) -> None:
    for recipe in (RECIPE, JITTERED["svd"], OFDB(**SMALL, categories=UNIFORM)):
        together = recipe.plan(np.array(samples, np.int64), draws)
        parts = [recipe.plan(np.array(part, np.int64), draws) for part in (samples[:split], samples[split:])]
        for field in dataclasses.fields(together):
            whole = getattr(together, field.name)
            assert np.array_equal(whole, np.concatenate([getattr(part, field.name) for part in parts]))
            assert np.array_equal(whole[::-1], getattr(together[::-1], field.name))


@pytest.mark.parametrize("jitter", JITTERS)
def test_planning_by_image_number_gives_the_image_that_planning_by_sample_gives(jitter: str) -> None:
    recipe = JITTERED[jitter]
    by_sample = recipe.plan(np.arange(500, 560))
    by_number = recipe.plan_images(by_sample.images)
    assert np.array_equal(by_number.samples, by_sample.images)
    for name in ("seeds", "labels", "images", "maps", "probs"):
        assert np.array_equal(getattr(by_number, name), getattr(by_sample, name)), name
    assert np.array_equal(by_number.labels, by_number.images // 200)
    assert torch.equal(recipe.draw(by_number, CPU, 1), recipe.draw(by_sample, CPU, 1))  # type: ignore[arg-type]


def test_fresh_draws_by_image_number_are_those_of_the_sample_in_its_epoch() -> None:
    numbers = np.array([3, 1199, 0])
    plans = [RECIPE.plan_images(numbers, "fresh", epoch) for epoch in (0, 1, 5)]
    for epoch, plan in zip((0, 1, 5), plans, strict=True):
        assert plan.samples.tolist() == (numbers + 1200 * epoch).tolist()
        assert plan.seeds.tolist() == keys(0, Purpose.SAMPLE_KEY, plan.samples).tolist()
        assert np.array_equal(plan.images, numbers)
    fixed = [RECIPE.plan_images(numbers, "fixed", epoch).seeds.tolist() for epoch in (0, 1)]
    assert fixed[0] == fixed[1] == keys(0, Purpose.CLASS_KEY, numbers).tolist()
    assert image_seeds(0, "fixed", numbers, numbers).tolist() == fixed[0]


@pytest.mark.parametrize(
    ("error", "message", "images", "settings"),
    [
        (TypeError, "images must hold integers, got dtype float64", [1.5], {}),
        (ValueError, r"images must have one dimension, got the shape \(1, 1\)", [[1]], {}),
        (ValueError, r"images must lie in 0\.\.1199, got 3\.\.1200", [3, 1200], {}),
        (ValueError, r"images must lie in 0\.\.1199, got -1\.\.3", [3, -1], {}),
        (ValueError, "draws must be one of", [1], {"draws": "frozen"}),
        (ValueError, r"epoch must be an integer in 0\.\.3843071682022822, got -1", [1], {"epoch": -1}),
        (ValueError, "epoch must be an integer", [1], {"epoch": 2**70}),
        (TypeError, "epoch must be an integer .* got 1.0 of type float", [1], {"epoch": 1.0}),
    ],
)
def test_bad_image_numbers_are_named(
    error: type[Exception], message: str, images: object, settings: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        RECIPE.plan_images(images, **settings)  # type: ignore[arg-type]
    assert RECIPE.plan_images([1199], epoch=2**62 // 1200 - 1).samples[0] < 2**62


# Weightings and mirrors


def test_weightings_are_the_released_table() -> None:
    released = np.array([[float(x) for x in row.split(",")] for row in RELEASED_WEIGHTS.split()])
    ours = weightings()
    assert released.shape == ours.shape == (25, 6)
    assert (ours[0] == 1).all()
    order = [np.lexsort(table.round(9).T) for table in (released, ours)]
    np.testing.assert_allclose(ours[order[1]], released[order[0]], rtol=3e-16, atol=1e-16)
    np.testing.assert_allclose(sorted(set(weightings(0.25).round(9).ravel())), [0.5, 0.75, 1, 1.25, 1.5])
    assert (weightings(0.0) == 1).all()


@pytest.mark.parametrize("label", range(6))
def test_an_instance_has_the_weighting_and_the_mirror_of_its_number(label: int) -> None:
    instances = np.arange(200)
    plan = RECIPE.plan_images(label * 200 + instances)
    assert isinstance(plan, SystemsPlan)
    ifs = UNIFORM[label]
    probs = np.pad(ifs.probs, (0, plan.maps.shape[1] - ifs.num_maps))
    assert np.array_equal(plan.probs, np.tile(probs, (200, 1)))
    untempered = 0
    for instance in instances.tolist():
        factors = np.ones(6)
        if instance % 25:
            factors[(instance % 25 - 1) // 4] = (0.2, 0.6, 1.4, 1.8)[(instance % 25 - 1) % 4]
        a, b, c, d, e, f = factors
        x, y = ((1, 1), (1, -1), (-1, 1), (-1, -1))[instance // 25 % 4]
        scale = np.diag([x, y])
        weighted_maps = ifs.maps * np.array([[a, b, e], [c, d, f]])
        if diverges(weighted_maps[None], ifs.probs).any():
            continue
        untempered += 1
        expected = np.concatenate(
            [scale @ weighted_maps[:, :, :2] @ scale, (weighted_maps[:, :, 2] * [x, y])[..., None]], 2
        )
        np.testing.assert_allclose(plan.maps[instance, : ifs.num_maps], expected, rtol=2e-7)
        assert (plan.probs[instance, ifs.num_maps :] == 0).all()
    assert untempered > 150
    assert np.array_equal(plan.maps[0, : ifs.num_maps], ifs.maps.astype(np.float32))
    assert len(set(plan.seeds.tolist())) == 200  # texture and points of its own


def test_a_mirrored_system_draws_the_mirrored_picture() -> None:
    # The points are those of the system, mirrored to the bit; truncation may put one a pixel further on.
    maps, _, probs = exact(UNIFORM)
    single = maps.astype(np.float32)
    settings: dict[str, Any] = {"points": 4000, "size": 64, "pad": 3, "brush": "point", "seed": 9, "threads": 1}
    plain = onepfrac.render(single, probs, **settings)[:, 0].numpy() > 0
    for number, axes in ((0, ()), (1, (0,)), (2, (1,)), (3, (0, 1))):
        flipped = mirrored(single, np.full(6, number))
        assert not (np.signbit(flipped) & (flipped == 0)).any()
        pictures = onepfrac.render(flipped, probs, **settings)[:, 0].numpy() > 0
        for before, after in zip(plain, pictures, strict=True):
            back = np.flip(after, axes)
            if number == 0:
                assert np.array_equal(back, before)
                continue
            assert not np.array_equal(after, before)
            assert abs(int(back.sum()) - int(before.sum())) <= 0.1 * before.sum() + 5
            for one, other in ((before, back), (back, before)):
                grown = one.copy()
                for axis in axes:
                    grown = grown | np.roll(grown, 1, axis) | np.roll(grown, -1, axis)
                assert not (other & ~grown).any()
            boxes = [np.argwhere(picture) for picture in (before, back)]
            assert np.abs(boxes[0].min(0) - boxes[1].min(0)).max() <= 1
            assert np.abs(boxes[0].max(0) - boxes[1].max(0)).max() <= 1


def test_the_orbits_of_a_mirrored_system_are_mirrored() -> None:
    draws = np.random.Generator(np.random.PCG64(1))
    maps, counts, _ = exact(UNIFORM)
    for number, signs in enumerate(([1, 1], [1, -1], [-1, 1], [-1, -1])):
        flipped = mirrored(maps.astype(np.float32), np.full(6, number)).astype(np.float64)
        plain = maps.astype(np.float32).astype(np.float64)
        for system in range(6):
            point = draws.normal(size=2)
            image = point * signs
            for _ in range(30):
                j = draws.integers(counts[system])
                point = plain[system, j, :, :2] @ point + plain[system, j, :, 2]
                image = flipped[system, j, :, :2] @ image + flipped[system, j, :, 2]
            np.testing.assert_allclose(image, point * signs, rtol=1e-12)


def test_weightings_that_run_away_are_tempered_as_little_as_it_takes_and_others_not() -> None:
    parts = search(60, 2, Rule(points=100, size=16, pad=0, fill=0.0), threads=1)
    maps, _, probs = exact(parts)
    played, tempered = weighted(maps, probs, 25, 0.4)
    assert (tempered > 0).sum() > 10
    factors = np.array([weightings()[n].reshape(-1) for n in range(25)])
    matrix = lambda row: np.array([[row[0], row[1], row[4]], [row[2], row[3], row[5]]])  # noqa: E731
    for system, number in itertools.product(range(60), range(25)):
        k = int(tempered[system, number])
        for earlier in range(k + 1):
            tried = maps[system] * matrix(1 + (factors[number] - 1) * 0.75**earlier)
            assert bool(diverges(tried[None], probs[system]).any()) == (earlier < k)
        np.testing.assert_allclose(played[system, number], tried, rtol=2e-7)
    few, _ = weighted(maps, probs, 7, 0.4)
    assert np.array_equal(few, played[:, :7])


def test_fewer_instances_than_weightings_are_the_first_ones() -> None:
    few = dataclasses.replace(RECIPE, instances=10)
    plan = few.plan_images(np.arange(60))
    whole = RECIPE.plan_images(np.concatenate([np.arange(10) + 200 * label for label in range(6)]))
    assert np.array_equal(plan.maps, whole.maps)  # type: ignore[attr-defined]


# Anderson and Farrell's jitters


def changes_of(kind: str, images: NDArray[np.int64], parts: Categories = SIGMA) -> Any:
    """(before, after, which map was changed or -1, labels) of images of 1000 instances a category."""
    maps, counts, _ = exact(parts)
    labels = images // 1000
    before = maps[labels]
    after = jittered(kind, before, counts[labels], 4, images)
    used = np.arange(before.shape[1]) < counts[labels][:, None]
    changed = (before != after).any(axis=(2, 3)) & used
    assert (changed.sum(axis=1) <= 1).all()
    unused = ~used
    assert np.array_equal(after[unused], np.broadcast_to(after[:, :1], after.shape)[unused])
    return before, after, np.where(changed.any(axis=1), changed.argmax(axis=1), -1), labels


IMAGES = np.arange(6000)


@pytest.mark.parametrize("kind", ["scale", "svd", "sval"])
def test_jitters_change_one_map_and_none_expands(kind: str) -> None:
    _, after, which, labels = changes_of(kind, IMAGES)
    assert singular_values(after)[..., 0].max() <= 1
    assert (which >= 0).mean() > 0.8
    for label in range(6):
        count = SIGMA[label].num_maps
        numbers = which[(labels == label) & (which >= 0)]
        assert set(numbers.tolist()) <= set(range(count))
    again = jittered(kind, *(exact(SIGMA)[0][labels[::7]], exact(SIGMA)[1][labels[::7]]), 4, IMAGES[::7])
    assert np.array_equal(again, after[::7])
    assert not np.array_equal(jittered(kind, exact(SIGMA)[0][labels], exact(SIGMA)[1][labels], 5, IMAGES), after)


def test_every_map_is_as_likely_to_be_changed() -> None:
    shrunk = Categories([IFS(ifs.maps * 0.5) for ifs in SIGMA])  # no draw is refused
    _, _, which, labels = changes_of("scale", IMAGES, shrunk)
    assert which.min() >= 0
    for label in range(6):
        counts = np.bincount(which[labels == label], minlength=shrunk[label].num_maps)
        expected = 1000 / shrunk[label].num_maps
        assert ((counts - expected) ** 2 / expected).sum() < 24  # at most 6 degrees of freedom: 0.0005


def test_scale_multiplies_one_map_by_one_factor() -> None:
    before, after, which, _ = changes_of("scale", IMAGES)
    rows = np.flatnonzero(which >= 0)
    ratios = (after[rows, which[rows]] / before[rows, which[rows]]).reshape(len(rows), 6)
    assert np.ptp(ratios, axis=1).max() < 1e-12
    assert ratios.min() >= 0.8 - 1e-12
    assert ratios.max() <= 1.1 + 1e-12
    shrunk = Categories([IFS(ifs.maps * 0.5) for ifs in SIGMA])
    before, after, which, _ = changes_of("scale", IMAGES, shrunk)
    factors = after[IMAGES, which][:, 0, 0] / before[IMAGES, which][:, 0, 0]
    assert ks_uniform(np.clip((factors - 0.8) / 0.3, 0, 1)) < 1.95


def test_svd_turns_a_map_on_one_side_or_moves_it() -> None:
    before, after, which, _ = changes_of("svd", IMAGES)
    assert which.min() >= 0
    one, other = before[IMAGES, which], after[IMAGES, which]
    np.testing.assert_allclose(singular_values(other), singular_values(one), atol=1e-12)
    moved = (one[:, :, 2] != other[:, :, 2]).any(axis=1)
    turned = (one[:, :, :2] != other[:, :, :2]).any(axis=(1, 2))
    assert not (moved & turned).any()
    assert moved.sum() == pytest.approx(2000, abs=150)
    shifts = other[moved][:, :, 2] - one[moved][:, :, 2]
    assert np.abs(shifts).max() <= 0.5
    assert ks_uniform(np.clip(shifts[:, 0] + 0.5, 0, 1)) < 1.95
    assert ks_uniform(np.clip(shifts[:, 1] + 0.5, 0, 1)) < 1.95
    assert abs(np.corrcoef(shifts.T)[0, 1]) < 0.1
    # B = R A or B = A R with R a rotation: exactly one of B A^-1 and A^-1 B is one, of -0.5 to 0.5 rad.
    a, b = one[turned][:, :, :2], other[turned][:, :, :2]
    sides, angles = [], []
    for matrix, result in zip(a, b, strict=True):
        if np.linalg.cond(matrix) > 1e4:
            continue
        inverse = np.linalg.inv(matrix)
        candidates = [result @ inverse, inverse @ result]
        errors = [float(np.abs(r @ r.T - np.eye(2)).max()) for r in candidates]
        side = int(np.argmin(errors))
        assert errors[side] < 1e-9
        assert np.linalg.det(candidates[side]) == pytest.approx(1, abs=1e-9)
        sides.append(side)
        angles.append(np.arctan2(candidates[side][1, 0], candidates[side][0, 0]))
    assert np.abs(angles).max() <= 0.5 + 1e-9
    assert ks_uniform(np.clip(np.array(angles) + 0.5, 0, 1)) < 1.95
    assert np.mean(sides) == pytest.approx(0.5, abs=0.05)


def test_sval_keeps_the_sigma_factor_in_the_interval_of_the_category() -> None:
    before, after, which, labels = changes_of("sval", IMAGES)
    counts = exact(SIGMA)[1][labels]
    rows = np.flatnonzero(which >= 0)
    assert np.array_equal(after[:, :, :, 2], before[:, :, :, 2])
    places = []
    for row in rows.tolist():
        values = singular_values(after[row, : counts[row]])
        places.append(float((values[:, 0] + 2 * values[:, 1]).sum()) * 2 - 5 - counts[row])
        ratios = after[row, which[row], :, :2] / before[row, which[row], :, :2]
        assert np.ptp(ratios) < 1e-9
    assert min(places) >= -1e-9
    assert max(places) <= 1 + 1e-9
    # Uniform where no draw is refused: seven equal maps, far from expanding.
    tame = [IFS(np.array([[[s, 0, j], [0, s, -j]] for j in range(7)])) for s in (12.5 / 42,) * 6]
    _, after, which, labels = changes_of("sval", IMAGES, Categories(tame))
    assert which.min() >= 0
    values = singular_values(after)
    totals = (values[..., 0] + 2 * values[..., 1]).sum(axis=1)
    assert ks_uniform(np.clip(totals * 2 - 12, 0, 1)) < 1.95


def test_a_system_that_no_draw_lets_contract_stays_as_it_is() -> None:
    expanding = Categories(
        [IFS(np.array([[[1.05, 0, 0], [0, 0.1, 0]], [[0.1, 0, 1], [0, 1.02, 0]], [[0.1, 0, 0], [0, 0.1, 1]]]))]
    )
    for kind in ("scale", "svd", "sval"):
        _, _, which, _ = changes_of(kind, np.arange(500), expanding)
        assert (which == -1).all()
    zero = Categories([IFS(np.array([[[0.0, 0, 1], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]), [0.5, 0.5])])
    for kind in ("svd", "sval"):
        _, after, _, _ = changes_of(kind, np.arange(50), zero)
        assert np.isfinite(after).all()


@pytest.mark.parametrize("kind", ["scale", "svd", "sval", "none"])
def test_instance_0_is_the_category_and_others_are_jittered(kind: str) -> None:
    recipe = JITTERED[kind]
    plan = recipe.plan_images(np.arange(1200))
    assert isinstance(plan, SystemsPlan)
    maps, counts, probs = exact(SIGMA)
    for label in range(6):
        of_class = plan.maps[200 * label : 200 * (label + 1)]
        assert np.array_equal(of_class[0], maps[label].astype(np.float32))
        distinct = len({system.tobytes() for system in of_class})
        assert distinct == 1 if kind == "none" else distinct > 150
    if kind != "none":
        expected = jittered(kind, maps[plan.labels], counts[plan.labels], 0, plan.images).astype(np.float32)
        others = plan.images % 200 != 0
        assert np.array_equal(plan.maps[others], expected[others])
    assert np.array_equal(plan.probs, probs[plan.labels])
    assert len(set(plan.seeds.tolist())) == 1200


# Streams


def batches(recipe: Any, count: int, **settings: Any) -> list[tuple[torch.Tensor, torch.Tensor]]:
    stream = recipe.stream(**{"batch_size": 12, "size": 16, "dtype": torch.uint8, "threads": 1, **settings})
    return [(images.clone(), labels.clone()) for images, labels in itertools.islice(stream, count)]


def same(first: Any, second: Any) -> bool:
    assert first
    return all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(first, second, strict=True))


@pytest.mark.parametrize("recipe", [RECIPE, JITTERED["sval"], OFDB(**SMALL, categories=UNIFORM)])
@pytest.mark.parametrize("draws", ["fixed", "fresh"])
def test_a_stream_is_the_same_kept_or_not_on_one_rank_or_three(recipe: Any, draws: str) -> None:
    expected = batches(recipe, 5, draws=draws, augment="crop-flip", cache=0)
    assert same(batches(recipe, 5, draws=draws, augment="crop-flip", cache=2**25), expected)
    shares = [
        batches(recipe, 5, draws=draws, augment="crop-flip", batch_size=4, rank=rank, world_size=3) for rank in range(3)
    ]
    joined = [tuple(torch.cat([share[g][part] for share in shares]) for part in (0, 1)) for g in range(5)]
    assert same(joined, expected)


def test_fixed_draws_repeat_an_image_after_a_cycle_and_fresh_draws_never_do() -> None:
    small = dataclasses.replace(RECIPE, instances=4)
    for draws, distinct in (("fixed", 24), ("fresh", 48)):
        both = batches(small, 4, draws=draws, size=32, channels=1)
        pictures = {image.numpy().tobytes() for images, _ in both for image in images}
        assert len(pictures) == distinct
        assert torch.cat([labels for _, labels in both]).bincount().tolist() == [8] * 6


def test_a_picture_of_a_stream_is_the_canvas_of_its_image_number() -> None:
    plan = RECIPE.plan(np.arange(12))
    ((images, labels),) = batches(RECIPE, 1, size=32, channels=1)
    assert np.array_equal(labels.numpy(), plan.labels)
    for place, number in enumerate(plan.images.tolist()):
        alone = RECIPE.draw(RECIPE.plan_images([number]), CPU, 1)  # type: ignore[arg-type]
        assert torch.equal(images[place], alone[0])
        assert alone.any()
    bits = RECIPE.draw(plan, CPU, 1, bits=True)  # type: ignore[arg-type]
    assert torch.equal(onepfrac.expand(bits, size=32), RECIPE.draw(plan, CPU, 1))  # type: ignore[arg-type]


def test_ofdb_shows_fractaldbs_categories_one_image_each() -> None:
    ofdb = OFDB(**SMALL, categories=UNIFORM, seed=3)
    assert (ofdb.num_instances, ofdb.num_images) == (1, 6)
    mine, theirs = ofdb.plan_images(np.arange(6)), dataclasses.replace(RECIPE, seed=3).plan_images(np.arange(6) * 200)
    assert np.array_equal(mine.maps, theirs.maps)  # type: ignore[attr-defined]
    assert np.array_equal(mine.probs, theirs.probs)  # type: ignore[attr-defined]
    # Keys are drawn by image number: class 0's picture is the same, and all are where FractalDB has one instance.
    assert (mine.seeds == theirs.seeds).tolist() == [True] + [False] * 5
    single = dataclasses.replace(RECIPE, seed=3, instances=1)
    assert same(batches(single, 3, augment="deit"), batches(ofdb, 3, augment="deit"))
    labels = ofdb.plan(np.arange(18)).labels.reshape(3, 6)
    assert all(sorted(one_round) == list(range(6)) for one_round in labels.tolist())


def test_ofdb_searches_what_fractaldb_searches() -> None:
    assert OFDB(2, 4, sampling="sigma", fill=0.1).systems == FractalDB(2, 4, sampling="sigma", fill=0.1).systems
