"""Recipes and plans: argument checks, JSON, fingerprints, and what a plan says of its samples."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
from hypothesis import given
from hypothesis import strategies as st

import onepfrac
from onepfrac import OnePFrac, load_recipe, recipe_of
from onepfrac.datasets import RECIPES

SMALL = {"num_classes": 10, "points": 2000, "canvas": 32, "pad": 2, "brush": "fill"}
RECIPE = OnePFrac(**SMALL)

RECIPES_OF_ALL_KINDS = st.builds(
    OnePFrac,
    sigma=st.floats(0, 6),
    delta=st.floats(0, 10),
    num_classes=st.integers(1, 1_000_000),
    seed=st.integers(0, 2**64 - 1),
    num_maps=st.integers(2, 16),
    mode=st.sampled_from(["additive", "multiplicative"]),
    points=st.integers(1, 10**9),
    canvas=st.integers(16, 4096),
    pad=st.integers(0, 7),
    brush=st.sampled_from(["point", "fill", "patch", "patch_fixed"]),
    min_inked=st.floats(0, 1, exclude_max=True),
)


@given(RECIPES_OF_ALL_KINDS)
def test_json_gives_back_an_equal_recipe_with_the_same_fingerprint(recipe: OnePFrac) -> None:
    again = OnePFrac.from_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.fingerprint == recipe.fingerprint
    assert again.to_json() == recipe.to_json()


def test_saving_and_loading_gives_an_equal_recipe(tmp_path: Path) -> None:
    RECIPE.save(tmp_path / "recipe.json")
    assert load_recipe(tmp_path / "recipe.json") == RECIPE
    assert load_recipe(str(tmp_path / "recipe.json")).fingerprint == RECIPE.fingerprint
    assert os.listdir(tmp_path) == ["recipe.json"]


def test_numbers_that_are_equal_make_equal_recipes() -> None:
    first = OnePFrac(3, 1, 10, np.int64(5), canvas=np.int32(64))  # type: ignore[arg-type]
    second = OnePFrac(3.0, np.float64(1.0), 10, 5, canvas=64)
    assert first == second
    assert first.fingerprint == second.fingerprint
    assert type(first.seed) is int
    assert type(first.sigma) is float
    assert OnePFrac(delta=-0.0).to_json() == OnePFrac(delta=0.0).to_json()


def test_every_field_changes_the_fingerprint() -> None:
    base = OnePFrac()
    changes: dict[str, object] = {
        "sigma": 3.6,
        "delta": 0.2,
        "num_classes": 999,
        "seed": 1,
        "num_maps": 3,
        "mode": "multiplicative",
        "points": 99_999,
        "canvas": 511,
        "pad": 5,
        "brush": "fill",
        "min_inked": 0.06,
    }
    assert changes.keys() == {field.name for field in dataclasses.fields(base)}
    others = [dataclasses.replace(base, **{name: value}) for name, value in changes.items()]  # type: ignore[arg-type]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == len(changes) + 1
    assert all(other != base for other in others)


def test_fingerprints_are_the_same_for_ever() -> None:
    assert OnePFrac().to_json() == (
        '{"brush":"patch","canvas":512,"dataset":"OnePFrac","delta":0.1,"format":1,"min_inked":0.05,"mode":"additive",'
        '"num_classes":1000,"num_maps":2,"pad":6,"points":100000,"seed":0,"sigma":3.5}'
    )
    assert OnePFrac().fingerprint == "e607850607f37bea"
    assert RECIPE.fingerprint == "6252f5615522e476"


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        RECIPE.seed = 3  # type: ignore[misc]


def test_a_pickled_recipe_brings_its_systems_along(monkeypatch: pytest.MonkeyPatch) -> None:
    RECIPE.prepare()
    again = pickle.loads(pickle.dumps(RECIPE))
    assert again == RECIPE
    monkeypatch.setattr(onepfrac.datasets.one_p_frac, "draw_base_system", None)  # would fail if it were drawn again
    assert np.array_equal(again.plan([0, 1]).maps, RECIPE.plan([0, 1]).maps)


def test_the_system_has_the_sigma_factor_and_the_perturbations_have_the_settings() -> None:
    recipe = OnePFrac(4.0, 0.3, 7, 5, num_maps=3, mode="multiplicative", points=2000, canvas=32, pad=2, brush="fill")
    assert recipe.ifs.sigma_factor == pytest.approx(4.0, abs=0.1)
    liep = recipe.liep
    assert (liep.ifs, liep.delta, liep.num_classes, liep.mode, liep.seed) == (recipe.ifs, 0.3, 7, "multiplicative", 5)
    assert dataclasses.asdict(liep.drawing) == {
        "points": 2000,
        "canvas": 32,
        "pad": 2,
        "brush": "fill",
        "min_inked": 0.05,
    }
    assert recipe.liep is liep


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"sigma must be a number in \[0, 6\], got 7", {"sigma": 7}),
        (ValueError, r"sigma must be a number in \[0, 9\], got nan", {"sigma": float("nan"), "num_maps": 3}),
        (TypeError, "sigma must be a number .* got '3.5' of type str", {"sigma": "3.5"}),
        (TypeError, "sigma must be a number .* got True of type bool", {"sigma": True}),
        (ValueError, "delta must be a number .* got inf", {"delta": float("inf")}),
        (ValueError, "delta must be a number .* got -1", {"delta": -1}),
        (ValueError, "num_classes must be an integer in 1..1000000, got 1000001", {"num_classes": 1_000_001}),
        (ValueError, "num_classes .* an integer of 400 bits", {"num_classes": 2**400 - 1}),
        (TypeError, "num_classes .* of type str", {"num_classes": "x" * 1000}),
        (ValueError, "seed must be an integer in 0..18446744073709551615, got -1", {"seed": -1}),
        (TypeError, "seed .* got 1.0 of type float", {"seed": 1.0}),
        (ValueError, "num_maps must be an integer in 1..16, got 17", {"num_maps": 17}),
        (ValueError, "mode must be one of 'additive', 'multiplicative', got 'add'", {"mode": "add"}),
        (ValueError, "points must be an integer in 1..1000000000, got 0", {"points": 0}),
        (ValueError, "points .* got 10000000000", {"points": 10**10}),
        (ValueError, "canvas must be an integer in 8..4096, got 7", {"canvas": 7}),
        (ValueError, "canvas must be an integer in 8..4096, got 4097", {"canvas": 4097}),
        (ValueError, "pad must be an integer in 0..255, got 256", {"pad": 256}),
        (ValueError, "pad .* got -1", {"pad": -1}),
        (ValueError, "brush must be one of 'point', 'fill', 'patch', 'patch_fixed', got 'Patch'", {"brush": "Patch"}),
        (ValueError, r"min_inked must be a number in \[0, 1\), got 1", {"min_inked": 1}),
    ],
)
def test_bad_arguments_are_named(error: type[Exception], message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        OnePFrac(**arguments)  # type: ignore[arg-type]


def test_misspelt_arguments_are_not_swallowed() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'sigam'"):
        OnePFrac(sigam=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "message", "change"),
    [
        (ValueError, "format must be 1, got 2", {"format": 2}),
        (ValueError, "format must be 1, got True", {"format": True}),
        (ValueError, "format must be 1, got None", {"format": None}),
        (ValueError, "dataset must be one of 'OnePFrac', .*, got 'FractalDB-1k'", {"dataset": "FractalDB-1k"}),
        (ValueError, r"dataset must be one of 'OnePFrac', .*, got \['OnePFrac'\]", {"dataset": ["OnePFrac"]}),
        (ValueError, r"unknown fields \['colour'\]", {"colour": 1}),
        (ValueError, r"unknown fields \['_'\]", {"_": 1}),
        (ValueError, r"missing fields \['delta'\]", {"delta": ...}),
        (TypeError, "sigma must be a number .* got '3.5'", {"sigma": "3.5"}),
        (TypeError, "seed must be an integer .* got None", {"seed": None}),
        (TypeError, "points must be an integer .* got 100.0", {"points": 100.0}),
        (ValueError, "sigma must be a number .* got 99", {"sigma": 99}),
    ],
)
def test_bad_files_are_refused_and_the_path_is_named(
    tmp_path: Path, error: type[Exception], message: str, change: dict[str, object]
) -> None:
    values = {**json.loads(RECIPE.to_json()), **change}
    path = tmp_path / "recipe.json"
    path.write_text(json.dumps({name: value for name, value in values.items() if value is not ...}))
    with pytest.raises(error, match=message) as caught:
        load_recipe(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "not legal JSON"),
        ("[]", "must hold a JSON object"),
        (RECIPE.to_json().replace("3.5", "NaN"), "NaN is not a legal number"),
        (RECIPE.to_json().replace("3.5", "1e999"), r"sigma must be a number in \[0, 6\], got inf"),
        (RECIPE.to_json() + " " * 2**16, "larger than 65536 bytes"),
        (RECIPE.to_json()[:-10], "not legal JSON"),
    ],
)
def test_files_that_hold_no_recipe_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    monkeypatch.setattr("onepfrac.datasets.MAX_RECIPE_BYTES", 2**16)
    path = tmp_path / "recipe.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


def test_a_file_that_is_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "recipe.json"
    path.write_text(RECIPE.to_json() + " " * 100)
    monkeypatch.setattr(onepfrac.datasets, "MAX_RECIPE_BYTES", len(RECIPE.to_json()) + 99)
    with pytest.raises(ValueError, match=r"recipe\.json is larger than \d+ bytes"):
        load_recipe(path)
    monkeypatch.setattr(onepfrac.datasets, "MAX_RECIPE_BYTES", len(RECIPE.to_json()) + 100)
    assert load_recipe(path) == RECIPE


def test_a_recipe_does_not_read_the_text_of_another_dataset() -> None:
    with pytest.raises(ValueError, match="dataset must be 'OnePFrac', got 'OFDB'"):
        OnePFrac.from_json(RECIPE.to_json().replace("OnePFrac", "OFDB"))


def test_the_registry_knows_every_recipe_by_its_name() -> None:
    assert {name: recipe.dataset for name, recipe in RECIPES.items()} == {name: name for name in RECIPES}


def test_every_epoch_is_a_permutation_of_the_classes() -> None:
    labels = RECIPE.plan(np.arange(50)).labels.reshape(5, 10)
    assert all(sorted(epoch) == list(range(10)) for epoch in labels.tolist())
    assert len({tuple(epoch) for epoch in labels.tolist()}) == 5
    assert not np.array_equal(labels, OnePFrac(**SMALL, seed=1).plan(np.arange(50)).labels.reshape(5, 10))


def test_the_order_is_the_same_for_ever() -> None:
    assert RECIPE.plan(np.arange(20)).labels.tolist() == [7, 4, 1, 0, 9, 5, 2, 3, 6, 8, 3, 2, 4, 5, 8, 7, 0, 1, 6, 9]
    assert RECIPE.plan([10**15, 10**15 + 1]).labels.tolist() == [0, 8]


@given(st.lists(st.integers(0, 2**62 - 1), max_size=20), st.sampled_from(["fixed", "fresh"]), st.integers(0, 20))
def test_a_sample_has_the_same_plan_in_any_company(samples: list[int], draws: str, split: int) -> None:
    together = RECIPE.plan(np.array(samples, np.int64), draws)
    assert len(together) == len(samples)
    parts = [RECIPE.plan(np.array(part, np.int64), draws) for part in (samples[:split], samples[split:])]
    sliced = [together[:split], together[split:]]
    for field in dataclasses.fields(together):
        whole = getattr(together, field.name)
        assert np.array_equal(whole, np.concatenate([getattr(part, field.name) for part in parts]))
        assert np.array_equal(whole, np.concatenate([getattr(part, field.name) for part in sliced]))


def test_a_plan_holds_the_perturbed_systems_with_the_probabilities_of_the_unperturbed_one() -> None:
    plan = RECIPE.plan(np.arange(10))
    assert np.array_equal(plan.maps, RECIPE.liep.maps.astype(np.float32)[plan.labels])
    assert np.array_equal(plan.probs, np.tile(RECIPE.ifs.probs, (10, 1)))
    kinds = [getattr(plan, field.name).dtype for field in dataclasses.fields(plan)]
    assert kinds == [np.uint64, np.int64, np.int64, np.int64, np.float32, np.float64]


def test_fixed_draws_name_one_image_a_class_and_fresh_draws_one_a_sample() -> None:
    samples = np.arange(30)
    fixed, fresh = RECIPE.plan(samples, "fixed"), RECIPE.plan(samples, "fresh")
    assert np.array_equal(fixed.labels, fresh.labels)
    for label in range(10):
        assert len(set(fixed.seeds[fixed.labels == label].tolist())) == 1
    assert len(set(fixed.seeds.tolist())) == 10
    assert len(set(fresh.seeds.tolist()) | set(fixed.seeds.tolist())) == 40


@pytest.mark.parametrize(
    ("error", "message", "samples", "draws"),
    [
        (TypeError, "samples must hold integers, got dtype float64", [1.5], "fixed"),
        (ValueError, r"samples must have one dimension, got the shape \(1, 2\)", [[1, 2]], "fixed"),
        (ValueError, r"samples must lie in 0..2\*\*62-1, got -1..3", [3, -1], "fixed"),
        (ValueError, "samples must lie in", np.array([2**63], np.uint64), "fixed"),
        (ValueError, "draws must be one of 'fixed', 'fresh', got 'frozen'", [1], "frozen"),
        (TypeError, "draws must be one of 'fixed', 'fresh', got None", [1], None),
    ],
)
def test_bad_plans_are_refused(error: type[Exception], message: str, samples: object, draws: object) -> None:
    with pytest.raises(error, match=message):
        RECIPE.plan(samples, draws)  # type: ignore[arg-type]


def test_a_drawn_plan_is_what_render_draws() -> None:
    plan = RECIPE.plan(np.arange(4))
    images = RECIPE.draw(plan, torch.device("cpu"), 1)
    expected = onepfrac.render(plan.maps, plan.probs, points=2000, size=32, pad=2, brush="fill", seed=plan.seeds)
    assert torch.equal(images, expected)
    assert images.shape == (4, 1, 32, 32)
    assert (images != 0).flatten(1).double().mean(1).min() > 0.05


DIGEST = """
import hashlib, numpy, onepfrac
from onepfrac.augment import Policy
recipe = onepfrac.OnePFrac(delta=0.4, num_classes=40, points=3000, canvas=64, pad=2, min_inked=0.15)
plan = recipe.plan(numpy.arange(100), "fresh")
arrays = [recipe.liep.epsilon, recipe.liep.maps, recipe.ifs.maps, recipe.ifs.probs, plan.maps, plan.seeds, plan.labels]
arrays += [numpy.array(recipe.ifs.sigma_factor), *Policy().boxes(1, plan.samples, 512), recipe.liep.attempts]
print(recipe.liep.attempts.max(), *(hashlib.sha256(array.tobytes()).hexdigest() for array in arrays))
"""


def test_recipes_and_plans_do_not_depend_on_the_processors_vector_units() -> None:
    umath = pytest.importorskip("numpy._core._multiarray_umath")
    present = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__.get(name)]
    if not present:
        pytest.skip("NumPy has no code for this processor's vector units that could be switched off")
    outputs = set()
    for settings in ({}, {"NPY_DISABLE_CPU_FEATURES": " ".join(present), "ONEPFRAC_SIMD": "scalar"}):
        command = [sys.executable, "-c", DIGEST]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **settings})
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert int(outputs.pop().split()[0]) > 0  # some epsilon was drawn again


def test_importing_the_package_is_quick_and_brings_no_other_library() -> None:
    code = (
        "import sys, time; import torch; before = set(sys.modules); start = time.perf_counter(); import onepfrac;"
        "print(time.perf_counter() - start, *{name.split('.')[0] for name in set(sys.modules) - before})"
    )
    seconds = []
    for _ in range(3):
        printed = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True
        ).stdout.split()
        seconds.append(float(printed[0]))
        assert not {"torchvision", "timm", "PIL", "torchdata", "matplotlib"} & set(printed[1:])
        if seconds[-1] < 0.3:
            break
    assert min(seconds) < 0.3


# Recipes named by a text


def test_a_text_names_a_recipe_by_its_dataset_and_fields(tmp_path: Path) -> None:
    assert recipe_of("OnePFrac") == recipe_of("OnePFrac:") == OnePFrac()
    text = "OnePFrac:num_classes=100, canvas=256,brush=fill,mode='multiplicative',delta=5e-1"
    assert recipe_of(text) == OnePFrac(0.5 * 7, 0.5, 100, canvas=256, brush="fill", mode="multiplicative")
    RECIPE.save(tmp_path / "recipe.json")
    assert recipe_of(str(tmp_path / "recipe.json")) == RECIPE


@pytest.mark.parametrize(
    ("error", "message", "text"),
    [
        (ValueError, r"recipe must be a dataset \(.*OnePFrac.*\), alone or as NAME:field=value", "onepfrac"),
        (ValueError, "recipe must be a dataset", ""),
        (FileNotFoundError, "absent.json", "absent.json"),
        (ValueError, "unknown field 'classes'; OnePFrac has .*num_classes", "OnePFrac:classes=3"),
        (ValueError, "unknown field '_'", "OnePFrac:_=3"),
        (ValueError, "unknown field 'dataset'", "OnePFrac:dataset=x"),
        (ValueError, "field 'seed' stands twice", "OnePFrac:seed=1,seed=2"),
        (ValueError, "fields are written field=value, got '100'", "OnePFrac:100"),
        (ValueError, "unknown field ''", "OnePFrac:=5"),
        (ValueError, r"brush must be one of .*, got 'fill,'", "OnePFrac:brush=fill,"),
        (TypeError, "num_classes must be an integer .*, got 'ten'", "OnePFrac:num_classes=ten"),
        (TypeError, "num_classes must be an integer .*, got True", "OnePFrac:num_classes=True"),
        (ValueError, "recipe 'OnePFrac:canvas=5': .*", "OnePFrac:canvas=5"),
        (TypeError, "recipe must be a string, got 5", 5),
    ],
)
def test_a_text_that_names_no_recipe_is_refused_with_what_is_legal(
    error: type[Exception], message: str, text: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        recipe_of(text)


def test_images_are_numbered_by_class_and_instance() -> None:
    assert (RECIPE.num_instances, RECIPE.num_images) == (1, 10)
    made = toy.Gray(5, instances=3)
    assert (made.num_instances, made.num_images) == (3, 15)
    plan = made.plan_images(np.arange(15))
    assert plan.labels.tolist() == np.arange(5).repeat(3).tolist()
    assert plan.images.tolist() == list(range(15))
    one = RECIPE.plan_images(np.arange(10))
    assert one.labels.tolist() == one.images.tolist() == list(range(10))
    in_order = RECIPE.plan(np.arange(10))
    assert np.array_equal(one.seeds[in_order.labels], in_order.seeds)


@given(st.lists(st.lists(st.integers(-1, 4), min_size=4, max_size=4), min_size=1, max_size=6))
def test_targets_are_the_classes_that_an_image_shows_padding_and_repeats_aside(classes: list[list[int]]) -> None:
    made, count = toy.Several(5), len(classes)
    plan = dataclasses.replace(made.plan(np.arange(count)), classes=np.array(classes))
    targets = made.targets(plan)
    assert targets.dtype is torch.float32
    assert targets.is_contiguous()
    assert targets.tolist() == [[float(label in shown) for label in range(5)] for shown in classes]


def test_targets_of_one_class_an_image_are_the_labels() -> None:
    for made in (RECIPE, toy.Gray()):
        plan = made.plan(np.arange(12))
        targets = made.targets(plan)
        assert targets.dtype is torch.int64
        assert targets.tolist() == plan.labels.tolist()


@pytest.mark.parametrize("kind", [toy.Gray, toy.Colour, toy.ColourBitmap])
def test_pictures_taken_in_chunks_are_those_taken_at_once(
    kind: type[toy.Colour], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = next(iter(kind().stream(batch_size=11, size=16, augment="deit", draws="fresh")))[0].clone()
    for limit in (1, 24 * 24 * 3 * 4):
        monkeypatch.setitem(onepfrac.datasets.recipe._CANVAS_BYTES, "cpu", limit)
        assert torch.equal(
            next(iter(kind().stream(batch_size=11, size=16, augment="deit", draws="fresh")))[0], expected
        )
