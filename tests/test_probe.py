"""Linear probes: features of every block, the classifier's minimum, no look at validation labels, files, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

from onepfrac import cli
from onepfrac.train import checkpoint, images, models, probe

ARGUMENTS = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
MODEL = tuple(f"{key}={value}" for key, value in ARGUMENTS.items())
TINY: dict[str, Any] = {"model": "vit_tiny_patch16_224", "model_arg": MODEL, "size": 16, "batch_size": 7}
COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}
BLOCKS = ("embedding", "blocks.0", "blocks.1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that colour tells apart; ten training and four validation images each."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4)):
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(np.array(colour) + rng.integers(-20, 20, (20, 24, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that name their model, which had nine classes."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    torch.manual_seed(3)
    state = models.build_model("vit_tiny_patch16_224", 9, 16, ARGUMENTS).state_dict()
    checkpoint.write(path, state, {"settings": {"model": TINY["model"], "model_arg": list(MODEL), "size": 16}})
    return path


def tiny(folder: Path, to: Path, **changes: Any) -> probe.Settings:
    return probe.Settings(**{**TINY, "data": str(folder), "out": str(to), "device": "cpu", **changes})


def build(name: str, size: int = 32, **arguments: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build_model(name, 5, size, arguments).eval()


# ---- features --------------------------------------------------------------------------------------------------------


def hooked(model: torch.nn.Module, names: list[str], pixels: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """What the first named module receives, and what each of them returns."""
    seen: list[torch.Tensor] = []
    handles = [model.get_submodule(names[0]).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))]
    handles += [model.get_submodule(name).register_forward_hook(lambda _, __, out: seen.append(out)) for name in names]
    model(pixels)
    for handle in handles:
        handle.remove()
    return seen[0], seen[1:]


@pytest.mark.parametrize(
    ("changes", "pool", "pooled"),
    [
        ({}, "auto", lambda tokens: tokens[:, 0]),
        ({}, "token", lambda tokens: tokens[:, 0]),
        ({"reg_tokens": 2}, "auto", lambda tokens: tokens[:, 0]),
        ({"reg_tokens": 2}, "mean", lambda tokens: tokens[:, 3:].mean(1)),
        ({}, "mean", lambda tokens: tokens[:, 1:].mean(1)),
        ({"global_pool": "avg"}, "auto", lambda tokens: tokens[:, 1:].mean(1)),
        ({"global_pool": "avg", "class_token": False}, "auto", lambda tokens: tokens.mean(1)),
    ],
)
def test_features_of_a_vit_are_those_of_a_hand_made_hook(
    changes: dict[str, Any], pool: str, pooled: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    model, pixels = build("vit_tiny_patch16_224", 16, **ARGUMENTS, **changes), torch.rand(3, 3, 16, 16)
    first, later = hooked(model, ["blocks.0", "blocks.1"], pixels)
    got = probe.block_features(model, pixels, pool)
    assert tuple(got) == BLOCKS
    torch.testing.assert_close(got["embedding"], first[:, model.num_prefix_tokens :].mean(1))
    for name, value in zip(BLOCKS[1:], later, strict=True):
        torch.testing.assert_close(got[name], pooled(value))
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(
    ("name", "arguments", "blocks", "places"),
    [
        ("swin_tiny_patch4_window7_224", {"embed_dim": 12, "depths": (1, 1), "num_heads": (2, 2)}, 2, (1, 2)),
        ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (4, 8, 8, 8)}, 4, (2, 3)),
        ("resnet10t", {}, 5, (2, 3)),
    ],
)
def test_features_of_stages_are_means_over_all_places(
    name: str, arguments: dict[str, Any], blocks: int, places: tuple[int, int]
) -> None:
    model, pixels = build(name, 64, **arguments), torch.rand(2, 3, 64, 64)
    names = [entry["module"] for entry in model.feature_info]  # type: ignore[union-attr]
    first, later = hooked(model, names, pixels)
    got = probe.block_features(model, pixels)
    # The first of a ResNet's features is its stem's, there is nothing before it.
    assert list(got) == names if name == "resnet10t" else list(got) == ["embedding", *names]
    assert len(names) == blocks
    if "embedding" in got:
        torch.testing.assert_close(got["embedding"], first.mean(places))
    for key, value in zip(names, later, strict=True):
        torch.testing.assert_close(got[key], value.mean(places))


def test_a_model_that_does_not_give_its_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match="model must have timm's forward_intermediates, got a Linear"):
        probe.block_features(torch.nn.Linear(2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="pool must be mean or auto, got 'token': a ResNet gives no class token"):
        probe.block_features(build("resnet10t"), torch.zeros(1, 3, 32, 32), "token")


def test_a_class_token_that_is_not_given_for_each_block_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    model, pixels = build("vit_tiny_patch16_224", 16, **ARGUMENTS), torch.rand(2, 3, 16, 16)
    plain = model.forward_intermediates
    monkeypatch.setattr(
        model,
        "forward_intermediates",
        lambda images, output_fmt, intermediates_only: plain(
            images, output_fmt=output_fmt, intermediates_only=intermediates_only
        ),
    )
    with pytest.raises(ValueError, match="got 'token': a VisionTransformer gives no class token for each block"):
        probe.block_features(model, pixels, "token")
    auto, mean = (probe.block_features(model, pixels, pool) for pool in ("auto", "mean"))
    assert all(torch.equal(auto[name], mean[name]) for name in BLOCKS)


def test_a_stem_that_takes_the_images_has_no_embedding_before_it() -> None:
    names = list(probe.block_features(build("regnetx_002", 64), torch.rand(1, 3, 64, 64)))
    assert names == ["stem", "s1", "s2", "s3", "s4"]


def test_blocks_without_names_are_numbered(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("vit_tiny_patch16_224", 16, **ARGUMENTS)
    model.feature_info = [{"module": "absent"}, {"module": "blocks.1"}]  # type: ignore[assignment]
    assert list(probe.block_features(model, torch.zeros(1, 3, 16, 16))) == ["absent", "blocks.1"]
    model.feature_info = []  # type: ignore[assignment]
    assert list(probe.block_features(model, torch.zeros(1, 3, 16, 16))) == ["block 0", "block 1"]


# ---- the classifier --------------------------------------------------------------------------------------------------


def blobs(n: int, d: int, classes: int, noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds around a centre for each class, with features of very different spread, one of them constant."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % classes
    centres = torch.randn(classes, d, generator=torch.Generator().manual_seed(99))
    x = centres[labels] + noise * torch.randn(n, d, generator=generator)
    x = x * torch.logspace(-2, 2, d) + 5
    x[:, 0] = 3.0
    return x, labels


@pytest.mark.parametrize("strength", [1e-4, 1e-2, 1.0])
def test_a_probe_is_the_minimum_that_lbfgs_finds(strength: float) -> None:
    x, y = blobs(120, 6, 4, 1.0)
    x, y = x[(y == 0) | (torch.arange(120) < 60)], y[(y == 0) | (torch.arange(120) < 60)]  # so that biases matter
    fitted = probe.fit(x, y, 4, strengths=[strength])
    z = ((x - x.mean(0)) / torch.where(x.std(0, correction=0) > 1e-3, x.std(0, correction=0), 1.0)).double()
    weight, bias = torch.zeros(6, 4, dtype=torch.double), torch.zeros(4, dtype=torch.double)

    def loss() -> torch.Tensor:
        return cross_entropy(z @ weight + bias, y) + strength / 2 * weight.square().sum()

    for tensor in (weight, bias):
        tensor.requires_grad_()
    solver = torch.optim.LBFGS([weight, bias], max_iter=2000, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        solver.zero_grad()
        value = loss()
        value.backward()
        return value

    solver.step(closure)
    best = loss().item()
    with torch.no_grad():
        weight.copy_(fitted.weight)
        bias.copy_(fitted.bias)
        found = loss().item()
    assert best - 1e-9 <= found <= best + 1e-4
    assert fitted.strength == strength


def test_the_strength_is_chosen_on_held_out_images() -> None:
    """Few images with many features of noise want a strong penalty, many images with few features a weak one."""
    noise, labels = blobs(60, 100, 3, 4.0)
    clean, their_labels = blobs(600, 8, 3, 0.5)
    strong, weak = probe.fit(noise, labels, 3), probe.fit(clean, their_labels, 3, strengths=(1e-4, 1e2))
    assert strong.strength > 1e-3
    assert weak.strength == 1e-4
    assert weak.held_out > 0.95
    test, test_labels = blobs(300, 8, 3, 0.5, seed=1)
    assert probe.accuracy(weak, test, test_labels) > 0.95


def test_held_out_images_do_not_teach_while_the_strength_is_chosen() -> None:
    """Labels without meaning: who had seen them would know all of them at the weakest penalty."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(100, 200, generator=generator), torch.randint(0, 2, (100,), generator=generator)
    fitted = probe.fit(x, y, 2)
    assert fitted.held_out < 0.9
    assert probe.accuracy(probe.fit(x, y, 2, strengths=[1e-4]), x, y) == 1


def test_the_seed_decides_what_is_held_out() -> None:
    x, y = blobs(40, 6, 4, 2.0)
    assert {probe.fit(x, y, 4, seed).held_out for seed in range(6)} != {probe.fit(x, y, 4, 0).held_out}
    first, again = probe.fit(x, y, 4, 1), probe.fit(x, y, 4, 1)
    assert torch.equal(first.weight, again.weight)


# ---- the command -----------------------------------------------------------------------------------------------------


def test_colours_are_told_apart_by_every_block(folder: Path, weights: Path, tmp_path: Path) -> None:
    outcome = probe.probe(tiny(folder, tmp_path, weights=str(weights), model="", model_arg=(), size=0, pool="mean"))
    assert outcome.blocks == BLOCKS
    assert set(outcome.accuracies) == {"weights", "random"}
    assert all(share == 1 for shares in outcome.accuracies.values() for share in shares)
    result = json.loads(outcome.result.read_text())
    assert result["accuracies"]["weights"] == list(outcome.accuracies["weights"])
    assert (result["model"], result["size"], result["images"]) == (TINY["model"], 16, [30, 12])
    assert [entry["block"] for entry in result["probes"]] == [*BLOCKS, *BLOCKS]
    assert result["probes"][0]["features"] == 16
    with Image.open(outcome.plot) as picture:
        assert picture.format == "PNG"


def test_weights_decide_and_fresh_ones_follow_from_the_seed(folder: Path, weights: Path, tmp_path: Path) -> None:
    """Weights that do not see the patches know nothing in any block."""
    state, info = checkpoint.read(weights)
    for name in state:
        if name.startswith("patch_embed"):
            state[name].zero_()
    checkpoint.write(tmp_path / "blind.safetensors", state, info)
    outcome = probe.probe(tiny(folder, tmp_path / "a", weights=str(tmp_path / "blind.safetensors"), pool="mean"))
    assert outcome.accuracies["weights"] == (1 / 3,) * 3
    assert outcome.accuracies["random"] == (1.0,) * 3
    alone = probe.probe(tiny(folder, tmp_path / "b", pool="mean"))
    assert alone.accuracies == {"random": outcome.accuracies["random"]}
    without = probe.probe(tiny(folder, tmp_path / "c", weights=str(weights), random=False))
    assert set(without.accuracies) == {"weights"}


def test_probes_do_not_look_at_validation_labels(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, rows = images.load_splits, []
    for turn in range(2):

        def turned(*arguments: Any, by: int = turn) -> Any:
            train, val = plain(*arguments)
            val.labels = [(label + by) % 3 for label in val.labels]
            return train, val

        monkeypatch.setattr(probe, "load_splits", turned)
        outcome = probe.probe(tiny(folder, tmp_path / str(turn), pool="mean"))
        rows.append(json.loads(outcome.result.read_text())["probes"])
    assert [row["accuracy"] for row in rows[0]] == [1.0] * 3
    assert [row["accuracy"] for row in rows[1]] == [0.0] * 3  # nothing was learned from them
    for name in ("strength", "held_out"):
        assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]]


@pytest.mark.forks
def test_batches_and_loader_processes_change_nothing(folder: Path, tmp_path: Path) -> None:
    plain, other = (
        probe.probe(tiny(folder, tmp_path / name, **changes))
        for name, changes in (("a", {}), ("b", {"batch_size": 100, "workers": 1}))
    )
    assert plain.accuracies == other.accuracies


def test_half_precision_sees_the_colours_too(folder: Path, tmp_path: Path) -> None:
    outcome = probe.probe(tiny(folder, tmp_path, precision="bfloat16", pool="mean"))
    assert min(outcome.accuracies["random"]) > 0.9


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"data": ""}, ValueError, "data must name a folder, got ''"),
        ({"out": ""}, ValueError, "out must name a folder, got ''"),
        ({"data": "absent"}, OSError, "there is no folder absent/train"),
        ({"model": "", "model_arg": ()}, ValueError, "model must be given where no weights are"),
        ({"model": "", "weights": "x"}, ValueError, "model_arg goes with model"),
        ({"random": False}, ValueError, "random must be on where no weights are given"),
        ({"pool": "max"}, ValueError, "pool must be one of"),
        ({"batch_size": 0}, ValueError, "batch_size must be"),
        ({"model": "resnet10t", "model_arg": (), "pool": "token"}, ValueError, "pool must be mean or auto"),
        ({"weights": "absent.safetensors"}, OSError, "absent.safetensors"),
    ],
)
def test_what_cannot_be_probed_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        probe.probe(tiny(folder, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_folders_that_hold_something_else_are_refused(folder: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="out must name a folder, got the file"):
        probe.probe(tiny(folder, tmp_path / "file"))
    (tmp_path / "result.json").touch()
    with pytest.raises(ValueError, match="holds a result; give --overwrite"):
        probe.probe(tiny(folder, tmp_path))
    probe.probe(tiny(folder, tmp_path, overwrite=True))
    state, _ = checkpoint.read(weights)
    checkpoint.write(tmp_path / "plain.safetensors", state, {})
    changes = {"weights": str(tmp_path / "plain.safetensors"), "model": "", "model_arg": (), "overwrite": True}
    with pytest.raises(ValueError, match=r"model must be given, because .*plain.safetensors does not name one"):
        probe.probe(tiny(folder, tmp_path, **changes))


def test_one_training_image_is_too_few(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train, val = images.load_splits(str(folder))
    monkeypatch.setattr(probe, "load_splits", lambda *_: (train.pick([0]), val))
    with pytest.raises(ValueError, match="train must hold at least 2 images, got 1"):
        probe.probe(tiny(folder, tmp_path / "out"))


def test_the_command_prints_a_table(
    folder: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"--data={folder}", f"--weights={weights}", f"--out={tmp_path}", "--device=cpu", "--pool=mean"]
    assert cli.main(["probe", *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:3]] == [
        ["block", "weights", "random"],
        ["embedding", "100.00%", "100.00%"],
    ]
    assert lines[-1].endswith(f"wrote {tmp_path / 'result.json'} and {tmp_path / 'probe.png'}")
    assert cli.main(["probe", *words]) == 2
    assert "holds a result" in capsys.readouterr().err
