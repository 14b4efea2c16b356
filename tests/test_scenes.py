"""Scenes: the painter against its NumPy twin and colorsys, what is drawn at random, and the recipe."""

from __future__ import annotations

import colorsys
import dataclasses
import hashlib
from typing import Any

import numpy as np
import pytest
import scene_twin
import torch
from numpy.typing import NDArray

from onepfrac import _C, FractalScenes, sample_ifs
from onepfrac.datasets import fractal_scenes
from onepfrac.draws import keys
from onepfrac.ifs import singular_values
from onepfrac.scenes import (
    OBJECT_FIELDS,
    Scenes,
    draw_counts,
    draw_object_keys,
    draw_other_classes,
    draw_scenes,
    paint_scenes,
)

LEVELS = _C.simd_levels()
CPU = torch.device("cpu")
KEYS = keys(3, 16, np.arange(20_000))
SMALL: dict[str, Any] = {"num_classes": 12, "instances": 5, "canvas": 48, "points": 2000}
RECIPE = FractalScenes(**SMALL)


def random_pictures(count: int, side: int, seed: int = 0) -> torch.Tensor:
    """Grades of all values, half of them empty."""
    rng = np.random.RandomState(seed)
    grades = rng.randint(0, 256, (count, 1, side, side)) * rng.randint(0, 2, (count, 1, side, side))
    return torch.from_numpy(grades.astype(np.uint8))


def random_scenes(count: int, most: int, size: int, pictures: int, seed: int = 0) -> Scenes:
    """Scenes of all legal values, also such as are never drawn."""
    rng = np.random.RandomState(seed)
    objects = np.stack(
        [
            rng.randint(0, pictures, (count, most)),
            rng.randint(0, 8, (count, most)),
            *(rng.randint(0, 256, (count, most)) for _ in range(3)),
            rng.randint(1, 2 * size, (count, most)),
            *(rng.randint(-size, size + 9, (count, most)) for _ in range(2)),
        ],
        -1,
    )
    return Scenes(
        seeds=rng.randint(0, 2**63 - 1, count).astype(np.uint64) * np.uint64(2),
        counts=rng.randint(0, most + 1, count).astype(np.int32),
        objects=objects.astype(np.int32),
        backgrounds=rng.randint(0, 4, count) > 0,
        amplitudes=(rng.randint(0, 32769, (count, 10))).astype(np.int32),
        tints=rng.randint(0, 65281, (count, 3, 2)).astype(np.int32),
        blurs=(rng.randint(0, 2, count) * rng.randint(1, 86, count)).astype(np.int32),
    )


def host_block(pictures: torch.Tensor, scenes: Scenes, size: int, threads: int, reverse: bool) -> torch.Tensor:
    """The CUDA kernel's body, run serially on the host."""
    out = torch.full((len(scenes), 3, size, size), 99, dtype=torch.uint8)
    _C.paint_scenes_host_block(pictures, scenes.words(), scenes.objects, out, threads, reverse)
    return out


def digest(array: torch.Tensor) -> str:
    return hashlib.sha256(array.contiguous().numpy().tobytes()).hexdigest()[:16]


# --- the painter


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("size", "side"), [(8, 3), (31, 16), (32, 40), (33, 8), (64, 32)])
def test_scenes_equal_the_twin(size: int, side: int, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", level)
    pictures, scenes = random_pictures(7, side, size), random_scenes(6, 4, size, 7, side)
    painted = paint_scenes(pictures, scenes, size=size)
    for i in range(len(scenes)):
        expected = scene_twin.paint(
            pictures[:, 0].numpy(),
            int(scenes.seeds[i]),
            size,
            scenes.objects[i, : scenes.counts[i]],
            bool(scenes.backgrounds[i]),
            scenes.amplitudes[i],
            scenes.tints[i],
            int(scenes.blurs[i]),
        )
        assert np.array_equal(painted[i].numpy(), expected)


def test_the_kernels_body_on_the_host_equals_the_cpu() -> None:
    for size, side in ((8, 5), (33, 16), (64, 32), (100, 50), (224, 112)):
        pictures, scenes = random_pictures(5, side), random_scenes(5, 3, size, 5, size)
        expected = paint_scenes(pictures, scenes, size=size, threads=2)
        for threads in (1, 7, 256):
            for reverse in (False, True):
                assert torch.equal(host_block(pictures, scenes, size, threads, reverse), expected)


def test_the_largest_canvas_with_the_highest_surface_is_the_same_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = dataclasses.replace(
        random_scenes(2, 1, 1024, 1),
        amplitudes=np.full((2, 10), 32768, np.int32),
        tints=np.full((2, 3, 2), 65280, np.int32),
        backgrounds=np.ones(2, np.bool_),
    )
    expected = host_block(random_pictures(1, 64), scenes, 1024, 256, True)
    for level in LEVELS:
        monkeypatch.setenv("ONEPFRAC_SIMD", level)
        assert torch.equal(paint_scenes(random_pictures(1, 64), scenes, size=1024), expected)


def test_threads_and_batches_do_not_matter() -> None:
    pictures, scenes = random_pictures(9, 20), random_scenes(9, 3, 40, 9)
    whole = paint_scenes(pictures, scenes, size=40, threads=1)
    assert torch.equal(paint_scenes(pictures, scenes, size=40, threads=4), whole)
    for part in (slice(0, 1), slice(3, 8), slice(0, 0)):
        assert torch.equal(paint_scenes(pictures, scenes[part], size=40), whole[part])


def test_colours_are_those_of_colorsys_to_rounding() -> None:
    hues = np.arange(256)
    grades = np.zeros((1, 1, 256, 256), np.uint8)
    grades[0, 0, :, :] = 1  # hue = 1 + the object's
    for saturation, value in ((255, 255), (0, 200), (77, 128), (200, 255), (255, 1), (13, 90)):
        objects = np.zeros((1, 64, 8), np.int32)
        for start in range(0, 256, 64):
            for j in range(64):
                objects[0, j] = (0, 0, hues[start + j], saturation, value, 1, j, 0)
            scenes = dataclasses.replace(random_scenes(1, 64, 64, 1), objects=objects, counts=np.array([64], np.int32))
            scenes = dataclasses.replace(scenes, blurs=np.zeros(1, np.int32))
            row = paint_scenes(torch.from_numpy(grades), scenes, size=64)[0, :, 0].numpy()
            for j in range(64):
                hue = (hues[start + j] + 1) % 256 / 256
                expected = 255 * np.array(colorsys.hsv_to_rgb(hue, saturation / 255, value / 255))
                assert np.abs(row[:, j] - expected).max() <= 0.5 + 1e-9


def test_one_object_on_black_is_its_picture_turned_over() -> None:
    picture = random_pictures(1, 16)
    for flips in range(8):
        turned = picture[0, 0].T if flips & 1 else picture[0, 0]
        turned = turned.flip([axis for axis, bit in ((0, 2), (1, 4)) if flips & bit])
        objects = np.array([[[0, flips, 0, 0, 200, 16, 4, 9]]], np.int32)  # no saturation: gray 200 where inked
        scenes = dataclasses.replace(
            random_scenes(1, 1, 32, 1),
            objects=objects,
            counts=np.array([1], np.int32),
            backgrounds=np.zeros(1, np.bool_),
            blurs=np.zeros(1, np.int32),
        )
        expected = torch.zeros((3, 32, 32), dtype=torch.uint8)
        expected[:, 9:25, 4:20] = (turned > 0) * torch.tensor(200, dtype=torch.uint8)
        assert torch.equal(paint_scenes(picture, scenes, size=32)[0], expected)


def test_later_objects_cover_earlier_ones_where_they_are_inked() -> None:
    pictures = torch.ones((2, 1, 8, 8), dtype=torch.uint8)
    pictures[1, 0, :, 4:] = 0
    objects = np.array([[[0, 0, 0, 0, 50, 16, 0, 0], [1, 0, 0, 0, 90, 16, 0, 0]]], np.int32)
    scenes = dataclasses.replace(
        random_scenes(1, 2, 16, 1),
        objects=objects,
        counts=np.array([2], np.int32),
        blurs=np.zeros(1, np.int32),
    )
    canvas = paint_scenes(pictures, scenes, size=16)[0]
    assert (canvas[:, :, :8] == 90).all()
    assert (canvas[:, :, 8:] == 50).all()


def test_the_blur_is_a_gaussians_and_leaves_a_flat_canvas_alone() -> None:
    flat = torch.full((1, 1, 8, 8), 1, dtype=torch.uint8)
    drawn = draw_scenes(0, KEYS[:400], 16, blur=1.0)
    assert 27 <= drawn.blurs.min() < 32
    assert 65 < drawn.blurs.max() <= 70
    scenes = random_scenes(400, 1, 16, 1)
    objects = np.tile(np.array([[[0, 0, 0, 0, 201, 16, 0, 0]]], np.int32), (400, 1, 1))
    counts = np.ones(400, np.int32)
    scenes = dataclasses.replace(scenes, objects=objects, counts=counts, blurs=drawn.blurs)
    assert (paint_scenes(flat, scenes, size=16) == 201).all()
    dots = objects.copy()
    dots[..., 5:] = (1, 8, 8)
    dot = dataclasses.replace(scenes, objects=dots, backgrounds=np.zeros(400, np.bool_))
    canvas = paint_scenes(flat, dot, size=16)[:, 0].numpy().astype(float)
    assert np.abs(canvas.sum((1, 2)) - 201).max() <= 4.5  # nine pixels, rounded each
    ratio = canvas[:, 8, 9].mean() / canvas[:, 8, 8].mean()
    sigma = 0.5 + 0.5 * (np.arange(10_000) + 0.5) / 10_000
    beside = np.exp(-1 / (2 * sigma**2))
    weights = 1 / (1 + 2 * beside)
    assert ratio == pytest.approx((weights**2 * beside).mean() / (weights**2).mean(), rel=0.05)


def test_a_surface_has_the_variance_of_its_noise() -> None:
    # One level on corners of variance 1/12: the middle is a mean of four, plus noise uniform in +- 1/2.
    middles = np.array([scene_twin.surface(key, 1, np.array([32768]))[1, 1] for key in range(2000)]) / 4096
    assert middles.mean() == pytest.approx(0.5, abs=4 * np.sqrt((1 / 48 + 1 / 12) / 2000))
    assert middles.var() == pytest.approx(1 / 48 + 1 / 12, rel=0.1)
    smooth = scene_twin.surface(5, 5, np.zeros(10, np.int64))
    rough = scene_twin.surface(5, 5, np.full(10, 32768))
    assert np.abs(np.diff(smooth)).mean() < 0.2 * np.abs(np.diff(rough)).mean()


GOLDEN = "cebc7447969a5451"


def test_golden_scenes_of_format_1() -> None:
    """A changed hash is a changed dataset: then FORMAT_VERSION rises."""
    assert _C.FORMAT_VERSION == 1
    painted = paint_scenes(random_pictures(8, 56), random_scenes(16, 5, 112, 8), size=112)
    assert digest(painted) == GOLDEN


# --- what is drawn at random


def uniform_in(values: NDArray[Any], low: float, high: float) -> None:
    """Check that whole numbers are spread evenly over low..high: mean, extremes, and quarters."""
    width = high - low + 1
    assert values.min() >= low
    assert values.max() <= high
    error = width / np.sqrt(12 * values.size)
    assert abs(values.mean() - (low + high) / 2) < 4.5 * error
    quarters = np.histogram(values, np.array([0, 0.25, 0.5, 0.75, 1]) * width + low - 0.5)[0] / values.size
    slack = 4.5 * np.sqrt(0.1875 / values.size) + (4 / width if width > 8 else 0)
    assert np.abs(quarters - 0.25).max() < slack


def test_the_draws_have_the_distributions_of_the_release() -> None:
    scenes = draw_scenes(0, KEYS, 224)
    counts = np.bincount(scenes.counts, minlength=6)[1:]
    assert np.abs(counts / len(KEYS) - 0.2).max() < 4.5 * np.sqrt(0.16 / len(KEYS))
    there = scenes.objects[scenes.there]
    field = dict(zip(OBJECT_FIELDS, there.T, strict=True))
    assert np.array_equal(field["picture"], np.arange(len(there)))
    assert np.abs(np.bincount(field["flips"], minlength=8) / len(there) - 1 / 8).max() < 0.01
    uniform_in(field["hue"], 0, 254)
    uniform_in(field["saturation"], int(0.3 * 255), 254)
    uniform_in(field["value"], int(0.5 * 255), 254)
    uniform_in(field["side"], int(0.15 * 224), int(0.6 * 224))
    for name in ("left", "top"):
        uniform_in(field[name] + field["side"] // 2, 0, 223)
    assert abs(np.corrcoef(field["left"], field["top"])[0, 1]) < 0.06  # both carry - side // 2
    for channel, ((a, b), (c, d)) in enumerate(
        (((0.25, 1), (0, 1)), ((0.1, 0.3), (0.4, 0.6)), ((0.3, 0.6), (0.4, 0.6)))
    ):
        uniform_in(scenes.tints[:, channel, 0], int(65280 * a), int(65280 * b))
        uniform_in(scenes.tints[:, channel, 1], int(65280 * c), int(65280 * d))
    assert (scenes.amplitudes[:, 0] == 32768).all()
    decays = -np.log(scenes.amplitudes[:, 1] / 32768)
    uniform_in(np.floor(decays * 1000), 400, 799)
    assert np.allclose(scenes.amplitudes[:, 5] / 32768, np.exp(-5 * decays), rtol=2e-3)
    assert abs((scenes.blurs > 0).mean() - 0.5) < 4.5 * np.sqrt(0.25 / len(KEYS))
    assert (scenes.objects[~scenes.there] == 0).all()
    assert np.array_equal(draw_counts(0, KEYS, (1, 5)), scenes.counts)
    uniform_in(draw_other_classes(0, KEYS, 2, 1000), 0, 999)
    object_keys = draw_object_keys(0, KEYS, 5)
    assert len(np.unique(object_keys)) == object_keys.size


def test_options_of_the_draws_change_what_they_name_alone() -> None:
    base = draw_scenes(0, KEYS[:200], 100)
    assert not draw_scenes(0, KEYS[:200], 100, background=False).backgrounds.any()
    assert not draw_scenes(0, KEYS[:200], 100, blur=0.0).blurs.any()
    assert draw_scenes(0, KEYS[:200], 100, blur=1.0).blurs.all()
    single = draw_scenes(0, KEYS[:200], 100, objects=(1, 1))
    assert (single.counts == 1).all()
    assert np.array_equal(single.objects[:, 0, 1:], base.objects[:, 0, 1:])
    assert np.array_equal(single.tints, base.tints)
    assert (draw_scenes(0, KEYS[:200], 100, side=(0.001, 0.001)).objects[:, 0, 5] == 1).all()


# --- the recipe


def test_json_gives_back_an_equal_recipe() -> None:
    for recipe in (FractalScenes(), RECIPE, FractalScenes(7, 3, objects=(2, 2), side=(0.5, 1), blur=1, jitter="none")):
        again = FractalScenes.from_json(recipe.to_json())
        assert again == recipe
        assert hash(again) == hash(recipe)
        assert again.fingerprint == recipe.fingerprint
    assert FractalScenes(objects=[1, 5]) == FractalScenes()  # type: ignore[arg-type]
    assert FractalScenes().to_json() == (
        '{"background":true,"blur":0.5,"canvas":224,"dataset":"FractalScenes","format":1,"instances":1000,'
        '"jitter":"scale","num_classes":1000,"num_maps":[2,7],"objects":[1,5],"points":100000,"seed":0,'
        '"side":[0.15,0.6]}'
    )


def test_every_field_changes_the_fingerprint() -> None:
    changes: dict[str, Any] = {
        "num_classes": 11, "instances": 6, "seed": 1, "canvas": 47, "objects": (1, 4), "side": (0.15, 0.5),
        "num_maps": (2, 6), "points": 2001, "jitter": "none", "background": False, "blur": 0.4,
    }  # fmt: skip
    assert changes.keys() == {field.name for field in dataclasses.fields(RECIPE)}
    others = [dataclasses.replace(RECIPE, **{name: value}) for name, value in changes.items()]
    assert len({RECIPE.fingerprint, *(other.fingerprint for other in others)}) == len(changes) + 1


def test_the_systems_are_those_of_the_release() -> None:
    recipe = FractalScenes(400, instances=1)
    maps, counts = recipe.systems
    assert maps.shape == (400, 7, 2, 3)
    assert np.abs(np.bincount(counts, minlength=8)[2:] / 400 - 1 / 6).max() < 4.5 * np.sqrt(0.14 / 400)
    values = singular_values(maps)
    assert values.max() <= 1 + 1e-12
    there = np.arange(7) < counts[:, None]
    sigma = ((values[..., 0] + 2 * values[..., 1]) * there).sum(1)
    place = 2 * sigma - counts - 5  # uniform in 0..1
    assert place.min() >= -1e-9
    assert place.max() <= 1 + 1e-9
    assert place.mean() == pytest.approx(0.5, abs=4.5 / np.sqrt(12 * 400))
    assert np.array_equal(
        FractalScenes(10, instances=1).systems[0], maps[:10]
    )  # a class's system does not depend on their number


def test_the_maps_beyond_a_systems_own_change_nothing() -> None:
    own = sample_ifs(4.0, 3, 5).maps
    padded = np.concatenate([own, np.repeat(own[-1:], 4, 0)])
    weights = np.abs(own[:, 0, 0] * own[:, 1, 1] - own[:, 0, 1] * own[:, 1, 0])
    options: dict[str, Any] = {"points": 5000, "size": 40, "seed": 3}
    short = fractal_scenes.density(own[None], weights, **options)
    assert torch.equal(fractal_scenes.density(padded[None], [*weights, 0, 0, 0, 0], **options), short)


def test_jitter_scales_one_map_and_keeps_contractions() -> None:
    recipe = FractalScenes(300, instances=20)
    plan = recipe.plan(np.arange(2000))
    there = plan.classes >= 0
    object_keys = draw_object_keys(recipe.seed, plan.seeds, 5)[there]
    maps, counts = recipe.systems
    plain, counts = maps[plan.classes[there]], counts[plan.classes[there]]
    own = np.arange(7) < counts[:, None]
    jittered, weights = recipe._played(plan, object_keys)
    assert singular_values(jittered).max() <= 1
    changed = (jittered != plain).any((2, 3)) & own
    assert (changed.sum(1) <= 1).all()
    assert (weights[~own] == 0).all()
    ratio = (jittered[changed] / plain[changed]).reshape(-1, 6)
    assert np.ptp(ratio, axis=1).max() < 1e-12
    assert ratio.min() >= 0.8
    assert ratio.max() <= 1.1 + 1e-12
    assert 0.97 < changed.any(1).mean() <= 1  # four attempts rarely all fail
    still = dataclasses.replace(recipe, jitter="none")
    assert np.array_equal(still._played(plan, object_keys)[0], plain)


def test_the_first_object_has_the_label_and_targets_hold_all_classes() -> None:
    plan = RECIPE.plan(np.arange(600))
    assert plan.classes.shape == (600, 5)
    assert np.array_equal(plan.classes[:, 0], plan.labels)
    counts = (plan.classes >= 0).sum(1)
    assert np.array_equal(counts, draw_counts(RECIPE.seed, plan.seeds, RECIPE.objects))
    targets = RECIPE.targets(plan)
    assert targets.shape == (600, 12)
    for i in range(600):
        assert targets[i].nonzero()[:, 0].tolist() == sorted(set(plan.classes[i, : counts[i]].tolist()))
    uniform_in(plan.classes[:, 1:][plan.classes[:, 1:] >= 0], 0, 11)


def test_an_image_depends_on_its_number_alone() -> None:
    images = np.array([3, 59, 17, 0, 42])
    whole = RECIPE.draw(RECIPE.plan_images(images), CPU, 1)
    assert whole.shape == (5, 3, 48, 48)
    assert torch.equal(RECIPE.draw(RECIPE.plan_images(images), CPU, 3), whole)
    assert torch.equal(RECIPE.draw(RECIPE.plan_images(images[[4, 1]]), CPU), whole[[4, 1]])
    plan = RECIPE.plan(np.arange(60))
    place = np.flatnonzero(plan.images == 17)
    assert torch.equal(RECIPE.draw(plan, CPU)[place], whole[2:3])
    fresh = RECIPE.draw(RECIPE.plan_images(images, "fresh"), CPU)
    assert (fresh != whole).flatten(1).any(1).all()


def test_more_images_than_are_painted_at_a_time_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = RECIPE.plan_images(np.arange(10))
    whole = RECIPE.draw(plan, CPU)
    monkeypatch.setitem(fractal_scenes._PICTURE_BYTES, "cpu", 3 * 5 * 24 * 24)
    assert torch.equal(RECIPE.draw(plan, CPU), whole)


def test_instances_of_a_class_differ_and_one_object_alone_has_its_class() -> None:
    recipe = FractalScenes(4, instances=3, canvas=48, points=2000, objects=(1, 1), background=False, blur=0)
    plan = recipe.plan_images(np.arange(12))
    assert np.array_equal(plan.classes, plan.labels[:, None])
    images = recipe.draw(plan, CPU)
    assert len({digest(image) for image in images}) == 12
    black = (images == 0).all(1).float().mean()
    assert 0.5 < black < 1


GOLDEN_RECIPE = "c0d9e4dbfcb59e39"


def test_golden_images_of_the_recipe_of_format_1() -> None:
    assert digest(RECIPE.draw(RECIPE.plan_images(np.arange(8)), CPU)) == GOLDEN_RECIPE


# --- bad input


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"num_classes": 0}, ValueError, "num_classes must be an integer in 1..1000000, got 0"),
        ({"instances": 0}, ValueError, "instances must be an integer in 1.."),
        ({"num_classes": 10**6, "instances": 2**30}, ValueError, "num_classes x instances must be at most"),
        ({"seed": -1}, ValueError, "seed must be"),
        ({"canvas": 15}, ValueError, "canvas must be an integer in 16..1024, got 15"),
        ({"canvas": 1025}, ValueError, "canvas must be an integer in 16..1024, got 1025"),
        ({"objects": 3}, TypeError, r"objects must be a pair \(least, most\), got 3"),
        ({"objects": (1, 2, 3)}, TypeError, "objects must be a pair"),
        ({"objects": (0, 3)}, ValueError, r"objects\[0\] must be an integer in 1..64, got 0"),
        ({"objects": (4, 3)}, ValueError, r"objects\[1\] must be an integer in 4..64, got 3"),
        ({"objects": (1.0, 3)}, TypeError, r"objects\[0\] must be an integer"),
        ({"side": (0, 0.5)}, ValueError, r"side\[0\] must be a number in \(0, 2\], got 0"),
        ({"side": (0.5, 0.4)}, ValueError, r"side\[1\] must be a number in \[0.5, 2\], got 0.4"),
        ({"num_maps": (1, 3)}, ValueError, r"num_maps\[0\] must be an integer in 2..16, got 1"),
        ({"num_maps": (2, 17)}, ValueError, r"num_maps\[1\] must be an integer in 2..16, got 17"),
        ({"points": 0}, ValueError, "points must be an integer"),
        ({"jitter": "weights"}, ValueError, "jitter must be one of 'scale', 'svd', 'sval', 'none', got 'weights'"),
        ({"background": "yes"}, TypeError, "background must be True or False, got 'yes'"),
        ({"blur": 1.5}, ValueError, r"blur must be a number in \[0, 1\], got 1.5"),
    ],
)  # fmt: skip
def test_bad_fields_are_named(change: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        FractalScenes(**change)


def test_bits_of_a_canvas_in_colour_are_refused() -> None:
    with pytest.raises(ValueError, match="bits must be False"):
        RECIPE.draw(RECIPE.plan_images([0]), CPU, bits=True)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"counts": np.full(2, 4, np.int32)}, r"counts must lie in 0..3, got 4..4"),
        ({"counts": np.full(2, 1, np.int64)}, r"counts must be int32 of the shape \(2,\), got int64"),
        ({"tints": np.zeros((2, 3), np.int32)}, r"tints must be int32 of the shape \(2, 3, 2\)"),
        ({"tints": np.full((2, 3, 2), 65281, np.int32)}, "tints must lie in 0..65280"),
        ({"amplitudes": np.full((2, 10), -1, np.int32)}, "amplitudes must lie in 0..32768, got -1"),
        ({"blurs": np.full(2, 86, np.int32)}, "blurs must lie in 0..85"),
        ({"objects": np.zeros((2, 65, 8), np.int32)}, "objects must be at most 64 a scene, got 65"),
        ({"objects": np.zeros((2, 3, 7), np.int32)}, "objects must be int32 of the shape"),
        ({"objects": np.zeros((2, 3, 8), np.int32), "counts": np.ones(2, np.int32)}, r"objects \(side\) must lie in 1"),
    ],
)  # fmt: skip
def test_scenes_that_are_not_legal_are_named(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        dataclasses.replace(random_scenes(2, 3, 32, 4), **change)


def test_bad_arguments_of_the_painter_are_named() -> None:
    good: dict[str, Any] = {"pictures": random_pictures(4, 16), "scenes": random_scenes(2, 3, 32, 4), "size": 32}
    changes: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"size": 7}, ValueError, "size must be an integer in 8..1024, got 7"),
        ({"size": 1025}, ValueError, "size must be an integer in 8..1024, got 1025"),
        ({"threads": 0}, ValueError, "threads must be"),
        ({"scenes": 3}, TypeError, "scenes must be Scenes, got int"),
        ({"pictures": good["pictures"].numpy()}, TypeError, "pictures must be a torch.Tensor"),
        ({"pictures": good["pictures"].int()}, ValueError, "pictures must be contiguous torch.uint8"),
        ({"pictures": good["pictures"][:, 0]}, ValueError, "pictures must be contiguous torch.uint8"),
        ({"pictures": good["pictures"][..., :8]}, ValueError, "pictures must be contiguous torch.uint8"),
        ({"pictures": good["pictures"][:1]}, ValueError, r"scenes must show pictures 0..0, got \d"),
        ({"out": np.empty((2, 1, 32, 32), np.uint8)}, ValueError, r"out must have the shape \(2, 3, 32, 32\)"),
        ({"out": np.empty((2, 3, 32, 32), np.int32)}, ValueError, "out must have the dtype torch.uint8, got int32"),
        ({"device": "tpu"}, ValueError, "device must be"),
    ]
    for change, error, text in changes:
        with pytest.raises(error, match=text):
            paint_scenes(**(good | change))
    out = np.empty((2, 3, 32, 32), np.uint8)
    assert paint_scenes(**good, out=out) is out
    assert np.array_equal(out, paint_scenes(**good).numpy())


def test_the_core_refuses_what_the_package_would_not_pass() -> None:
    pictures, scenes = random_pictures(4, 16), random_scenes(2, 3, 32, 4)
    scenes = dataclasses.replace(scenes, counts=np.full(2, 3, np.int32))
    words, objects = scenes.words(), scenes.objects
    out = np.zeros((2, 3, 32, 32), np.uint8)

    def call(
        pictures: Any = pictures, words: Any = words, objects: Any = objects, out: Any = out, threads: int = 1
    ) -> None:
        _C.paint_scenes(pictures, words, objects, out, out, threads, "", 0)

    call()
    for column, value in ((2, 4), (2, -1), (4, 32769), (14, 65281), (19, -1), (20, 86)):
        bad = words.copy()
        bad[1, column] = value
        with pytest.raises(ValueError, match=r"scenes\[1\]"):
            call(words=bad)
    for column, value in ((0, 4), (0, -1), (1, 8), (2, 256), (4, -1), (5, 0), (5, 4097), (6, 4097), (7, -4097)):
        bad = objects.copy()
        bad[1, 2, column] = value
        with pytest.raises(ValueError, match=r"scenes\[1\], object 2"):
            call(objects=bad)
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"pictures": pictures[:, 0]}, "pictures must"), ({"pictures": pictures.int()}, "pictures must"),
        ({"words": words[:, :5]}, "scenes must"), ({"objects": objects[:1]}, "objects must"),
        ({"objects": objects.astype(np.int64)}, "objects must"), ({"out": out[:, :1]}, "out must"),
        ({"out": out[..., :7]}, "out must"), ({"threads": 0}, "threads"),
        ({"out": np.zeros((2, 3, 7, 7), np.uint8)}, "size must be 8 to 1024"),
    ]  # fmt: skip
    for change, text in wrong:
        with pytest.raises(ValueError, match=text):
            call(**change)
    with pytest.raises(ValueError, match="threads"):
        _C.paint_scenes_host_block(pictures, words, objects, out, 0, False)
    with pytest.raises(ValueError, match="size must be 8 to 1024"):
        _C.scene_workspace_bytes(1025)


# --- on a GPU


@pytest.mark.gpu
def test_the_gpu_paints_as_the_cpu_does() -> None:
    for size, side in ((8, 5), (33, 16), (100, 50), (224, 112), (1024, 512)):
        pictures, scenes = random_pictures(5, side), random_scenes(9, 4, size, 5, size)
        painted = paint_scenes(pictures.cuda(), scenes, size=size)
        assert painted.is_cuda
        assert torch.equal(painted.cpu(), paint_scenes(pictures, scenes, size=size))


@pytest.mark.gpu
def test_more_scenes_than_the_workspace_holds_are_painted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, scenes = random_pictures(5, 16), random_scenes(9, 4, 40, 5)
    monkeypatch.setattr("onepfrac.scenes._WORKSPACE_BYTES", 2 * _C.scene_workspace_bytes(40))
    painted = paint_scenes(pictures.cuda(), scenes, size=40)
    assert torch.equal(painted.cpu(), paint_scenes(pictures, scenes, size=40))


@pytest.mark.gpu
def test_the_recipe_draws_the_same_on_the_gpu() -> None:
    recipe = FractalScenes(20, instances=10, points=20_000)
    plan = recipe.plan(np.arange(50))
    assert torch.equal(recipe.draw(plan, torch.device("cuda")).cpu(), recipe.draw(plan, CPU))
