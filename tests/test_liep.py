"""LIEP: the distribution of epsilon, acceptance and redrawing."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle

import numpy as np
import pytest
import torch

import onepfrac
from onepfrac import IFS, LIEP, liep
from onepfrac.drawing import Drawing
from onepfrac.draws import Purpose, keys, uniform
from onepfrac.liep import draw_base_system
from onepfrac.systems import diverges

SMALL = Drawing(points=2000, canvas=32, pad=2, brush="fill")
SYSTEM = onepfrac.sample_ifs(sigma=3.5, num_maps=2, seed=3)


def inked_shares(distribution: LIEP) -> np.ndarray:
    """The inked share of each class's own picture, by the public renderer."""
    drawing = distribution.drawing
    images = onepfrac.render(
        distribution.maps.astype(np.float32),
        distribution.ifs.probs,
        points=drawing.points,
        size=drawing.canvas,
        pad=drawing.pad,
        brush=drawing.brush,
        seed=keys(distribution.seed, Purpose.CLASS_KEY, np.arange(distribution.num_classes)),
    )
    return (images != 0).flatten(1).double().mean(1).numpy()


def drawn(distribution: LIEP, attempt: int) -> np.ndarray:
    """The uniform draws of all classes at an attempt."""
    index = attempt * 2**32 + np.arange(distribution.num_classes)
    return uniform(distribution.seed, Purpose.EPSILON, index, distribution.ifs.maps.size).reshape(
        -1, *distribution.ifs.maps.shape
    )


def test_additive_perturbations_are_uniform_between_plus_and_minus_half_delta() -> None:
    distribution = LIEP(SYSTEM, delta=0.2, num_classes=600, drawing=dataclasses.replace(SMALL, min_inked=0))
    assert not distribution.attempts.any()
    epsilon = distribution.epsilon
    assert epsilon.shape == (600, 2, 2, 3)
    assert np.array_equal(distribution.maps, SYSTEM.maps + epsilon)
    values = np.sort(epsilon.reshape(-1)) / 0.2 + 0.5
    assert values[0] >= 0
    assert values[-1] < 1
    assert np.abs(np.arange(values.size) / values.size - values).max() < 1.95 / np.sqrt(values.size)


def test_multiplicative_perturbations_scale_each_parameter_by_one_plus_or_minus_delta() -> None:
    distribution = LIEP(
        SYSTEM, 0.1, 600, mode="multiplicative", drawing=dataclasses.replace(SMALL, min_inked=0), seed=3
    )
    assert np.array_equal(distribution.maps, SYSTEM.maps * (1 + distribution.epsilon))
    values = np.sort(distribution.epsilon.reshape(-1)) / 0.2 + 0.5
    assert values[0] >= 0
    assert values[-1] < 1
    assert np.abs(np.arange(values.size) / values.size - values).max() < 1.95 / np.sqrt(values.size)


def test_the_parameters_of_epsilon_are_uncorrelated() -> None:
    distribution = LIEP(SYSTEM, 0.1, 2000, drawing=dataclasses.replace(SMALL, min_inked=0, points=100))
    correlation = np.corrcoef(distribution.epsilon.reshape(2000, -1).T)
    assert np.abs(correlation - np.eye(12)).max() < 4.5 / np.sqrt(2000)


def test_every_accepted_picture_is_inked_enough_and_every_refused_one_was_not() -> None:
    drawing = dataclasses.replace(SMALL, brush="patch", min_inked=0)  # a patch's share depends on the picture's key
    first = inked_shares(LIEP(SYSTEM, 0.5, 60, drawing=drawing))
    limit = float(np.sort(first)[24])  # one picture has exactly this share, which is not more than it
    distribution = LIEP(SYSTEM, 0.5, 60, drawing=dataclasses.replace(drawing, min_inked=limit))
    assert inked_shares(distribution).min() > limit
    assert np.array_equal(distribution.attempts > 0, first <= limit)
    assert distribution.attempts.max() > 1
    for attempt in range(int(distribution.attempts.max()) + 1):
        epsilon = (drawn(distribution, attempt) - 0.5) * 0.5
        accepted = distribution.attempts == attempt
        assert np.array_equal(distribution.epsilon[accepted], epsilon[accepted])
        refused = distribution.attempts > attempt
        seeds = keys(0, Purpose.CLASS_KEY, np.arange(60))[refused]
        maps = (SYSTEM.maps + epsilon[refused]).astype(np.float32)
        assert not distribution.drawing.accepts(maps, SYSTEM.probs, seeds).any()


def test_the_result_does_not_depend_on_chunks_or_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> LIEP:
        return LIEP(SYSTEM, 0.5, 40, drawing=dataclasses.replace(SMALL, min_inked=0.3))

    reference = make()
    assert reference.attempts.max() > 0
    threads = torch.get_num_threads()
    for chunk, count in ((1, 1), (7, 2), (1000, 1)):
        monkeypatch.setattr("onepfrac.drawing._CHUNK_IMAGES", chunk)
        torch.set_num_threads(count)
        try:
            again = make()
            assert np.array_equal(again.epsilon, reference.epsilon)
            assert np.array_equal(again.attempts, reference.attempts)
        finally:
            torch.set_num_threads(threads)


def test_a_class_does_not_depend_on_how_many_classes_there_are() -> None:
    few = LIEP(SYSTEM, 0.5, 5, drawing=SMALL)
    many = LIEP(SYSTEM, 0.5, 20, drawing=SMALL)
    assert np.array_equal(few.epsilon, many.epsilon[:5])


def test_perturbations_that_diverge_are_drawn_again() -> None:
    edge = IFS([[[0.999, 0, 0.3], [0, 0.999, 0.1]], [[0.999, 0, -0.3], [0, 0.999, 0.5]]])
    distribution = LIEP(edge, 0.4, 20, drawing=dataclasses.replace(SMALL, min_inked=0))
    first = (edge.maps + (drawn(distribution, 0) - 0.5) * 0.4).astype(np.float32)
    away = diverges(first, edge.probs)
    assert away.any()
    assert not away.all()
    assert np.array_equal(distribution.attempts > 0, away)
    assert not diverges(distribution.maps, edge.probs).any()


def test_without_perturbation_all_classes_are_the_system() -> None:
    distribution = LIEP(SYSTEM, 0.0, 3, drawing=SMALL)
    assert np.array_equal(distribution.maps, np.broadcast_to(SYSTEM.maps, (3, 2, 2, 3)))


@pytest.mark.parametrize("classes", [1, 50])
def test_no_accepted_perturbation_is_an_error_and_not_a_black_image(
    monkeypatch: pytest.MonkeyPatch, classes: int
) -> None:
    monkeypatch.setattr(liep, "MAX_ATTEMPTS", 5)
    distribution = LIEP(SYSTEM, 0.1, classes, drawing=dataclasses.replace(SMALL, min_inked=0.99))
    with pytest.raises(ValueError, match=r"no perturbation of class 0 was accepted in 5 attempts: with delta=0.1"):
        distribution.epsilon  # noqa: B018


def test_arrays_are_read_only_and_survive_pickling() -> None:
    distribution = LIEP(SYSTEM, 0.1, 3, drawing=SMALL)
    for array in (distribution.epsilon, distribution.maps, distribution.attempts):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    again = pickle.loads(pickle.dumps(distribution))
    assert again == distribution
    assert hash(again) == hash(distribution)
    assert np.array_equal(again.maps, distribution.maps)


def test_the_base_system_is_the_first_attempt_whose_picture_is_inked_enough() -> None:
    plain = [onepfrac.ifs.sample_ifs_attempt(3.5, 2, 1, 0.1, attempt) for attempt in range(30)]
    drawing = dataclasses.replace(SMALL, min_inked=0.6)
    chosen = draw_base_system(3.5, 2, 1, 0.1, drawing)
    place = plain.index(chosen)
    assert place > 0
    for attempt, system in enumerate(plain[: place + 1]):
        seed = keys(1, Purpose.BASE_KEY, attempt)
        image = onepfrac.render(system, points=2000, size=32, pad=2, brush="fill", seed=int(seed))
        assert ((image != 0).double().mean().item() > 0.6) == (attempt == place)


def test_the_base_systems_picture_has_a_key_of_its_own_and_must_ink_more_than_the_limit() -> None:
    first = onepfrac.sample_ifs(3.5, 2, 1)
    drawing = dataclasses.replace(SMALL, brush="patch")
    seed = int(keys(1, Purpose.BASE_KEY, 0))
    image = onepfrac.render(first, points=2000, size=32, pad=2, brush="patch", seed=seed)
    share = float((image != 0).double().mean())
    just_less = float(np.nextafter(share, 0))
    assert draw_base_system(3.5, 2, 1, 0.1, dataclasses.replace(drawing, min_inked=just_less)) == first
    assert draw_base_system(3.5, 2, 1, 0.1, dataclasses.replace(drawing, min_inked=share)) != first


@pytest.mark.parametrize("sigma", [0.0, 0.05])
def test_no_accepted_system_is_an_error(monkeypatch: pytest.MonkeyPatch, sigma: float) -> None:
    monkeypatch.setattr(liep, "MAX_ATTEMPTS", 5)
    with pytest.raises(ValueError, match=rf"no system with sigma={sigma} and num_maps=2 was accepted in 5 attempts"):
        draw_base_system(sigma, 2, 0, 0.0, SMALL)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "ifs must be an IFS, got list", {"ifs": []}),
        (ValueError, r"delta must be a number in \[0, 10\], got -0.1", {"delta": -0.1}),
        (ValueError, "delta must be a number .* got nan", {"delta": float("nan")}),
        (ValueError, "delta must be a number .* got 11", {"delta": 11}),
        (TypeError, "delta must be a number .* got None of type NoneType", {"delta": None}),
        (ValueError, "num_classes must be an integer in 1..1000000, got 0", {"num_classes": 0}),
        (TypeError, "num_classes must be an integer .* got 10.0 of type float", {"num_classes": 10.0}),
        (ValueError, "mode must be one of 'additive', 'multiplicative', got 'both'", {"mode": "both"}),
        (TypeError, "mode must be one of 'additive', 'multiplicative', got 1 of type int", {"mode": 1}),
        (ValueError, "seed must be an integer", {"seed": 2**64}),
        (TypeError, "drawing must be a Drawing, got dict", {"drawing": {}}),
    ],
)
def test_bad_arguments_are_named(error: type[Exception], message: str, arguments: dict[str, object]) -> None:
    with pytest.raises(error, match=message):
        LIEP(**{"ifs": SYSTEM, **arguments})  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["additive", "multiplicative"])
def test_epsilon_keeps_its_bits_for_ever(mode: str) -> None:
    drawing = dataclasses.replace(SMALL, min_inked=0.2, brush="patch")
    distribution = LIEP(SYSTEM, 0.3, 30, mode=mode, seed=77, drawing=drawing)
    assert distribution.attempts.max() > 0
    digest = hashlib.sha256(distribution.epsilon.astype("<f8").tobytes()).hexdigest()[:16]
    assert digest == {"additive": "a1ee030c6d5bdbce", "multiplicative": "32beb66832cb6a12"}[mode]
