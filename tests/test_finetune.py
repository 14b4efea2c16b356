"""Fine-tuning: a folder of images in, an accuracy and weights out."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from onepfrac.train import checkpoint, finetune, images, models

MODEL = ("patch_size=8", "embed_dim=16", "depth=1", "num_heads=2")
TINY: dict[str, Any] = {
    "model": "vit_tiny_patch16_224", "model_arg": MODEL, "size": 16, "epochs": 10, "batch_size": 8,
    "optimizer": "adamw", "lr": 0.5, "crop": 0.8, "device": "cpu",
}  # fmt: skip
COLOURS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (220, 30, 30)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes that colour tells apart; 8 training and 4 validation images each, of several sizes and modes."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4)):
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                shape = (20 + number, 24, 3)
                pixels = np.clip(np.array(colour) + rng.integers(-20, 20, shape), 0, 255).astype(np.uint8)
                image = Image.fromarray(pixels)
                image.convert("RGBA" if number == 0 else "RGB").save(root / split / name / f"{number}.png")
    return root


def tiny(folder: Path, to: Path, **changes: Any) -> finetune.Settings:
    return finetune.Settings(**{**TINY, "data": str(folder), "out": str(to), **changes})


def test_the_defaults_are_the_papers() -> None:
    settings = finetune.Settings(data="x", model="y")
    assert (settings.optimizer, settings.momentum, settings.lr, settings.weight_decay) == ("sgd", 0.9, 0.01, 1e-4)
    assert (settings.batch_size, settings.epochs) == (768, 1000)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_colours_are_learned(folder: Path, tmp_path: Path, optimizer: str) -> None:
    lr = {"adamw": 0.5, "sgd": 5.0}[optimizer]
    outcome = finetune.finetune(tiny(folder, tmp_path, optimizer=optimizer, lr=lr, evaluate_every=4))
    assert outcome.accuracy >= 0.9
    assert [epoch for epoch, _ in outcome.accuracies] == [4, 8, 10]
    assert outcome.accuracies[-1][1] == outcome.accuracy
    assert outcome.steps == 10 * 3


def test_the_same_seed_gives_the_same_weights_cached_or_not(folder: Path, tmp_path: Path) -> None:
    for name, changes in (("a", {}), ("b", {"cache": True}), ("c", {"seed": 1})):
        finetune.finetune(tiny(folder, tmp_path / name, epochs=2, **changes))
    a, b, c = (load_file(tmp_path / name / "weights.safetensors") for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not all(torch.equal(a[key], c[key]) for key in a)


def test_loader_processes_are_used(folder: Path, tmp_path: Path) -> None:
    assert 0 <= finetune.finetune(tiny(folder, tmp_path, epochs=1, workers=1)).accuracy <= 1


def test_result_and_weights_tell_what_was_done(folder: Path, tmp_path: Path) -> None:
    settings = tiny(folder, tmp_path, epochs=1)
    outcome = finetune.finetune(settings)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["accuracy"] == outcome.accuracy
    assert result["classes"] == list(COLOURS)
    assert result["settings"]["lr"] == 0.5
    assert result["images"] == [24, 12]
    model = timm.create_model(
        "vit_tiny_patch16_224", num_classes=3, img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2,
        checkpoint_path=str(outcome.weights),
    )  # fmt: skip
    assert model(torch.zeros(1, 3, 16, 16)).shape == (1, 3)


def test_weights_name_their_model_and_size(folder: Path, tmp_path: Path) -> None:
    """Of a pre-training and of a fine-tuning; only the body is taken over."""
    arguments = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
    source = models.build_model("vit_tiny_patch16_224", 9, 16, arguments)
    info = {"settings": {"model": "vit_tiny_patch16_224", "model_arg": list(MODEL), "size": 16}}
    checkpoint.write(tmp_path / "weights.safetensors", source.state_dict(), info)
    changes = {"model": "", "model_arg": (), "size": 0, "lr": 0.0, "epochs": 1}
    first = finetune.finetune(tiny(folder, tmp_path / "a", weights=str(tmp_path / "weights.safetensors"), **changes))
    state = load_file(first.weights)
    assert state["head.weight"].shape == (3, 16)
    body = {key: value for key, value in source.state_dict().items() if not key.startswith("head.")}
    assert all(torch.equal(state[key], value) for key, value in body.items())
    plain = tmp_path / "plain.safetensors"
    save_file(source.state_dict(), plain)
    with pytest.raises(ValueError, match=r"model must be given, because .* does not name one"):
        finetune.finetune(tiny(folder, tmp_path / "b", weights=str(plain), **changes))
    named = tiny(folder, tmp_path / "b", weights=str(plain), lr=0.0, epochs=1)
    assert finetune.finetune(named).accuracy == first.accuracy


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"data": ""}, ValueError, "data must name a folder"),
        ({"data": "absent"}, OSError, "there is no folder absent/train"),
        ({"out": ""}, ValueError, "out must name a folder"),
        ({"model": "", "model_arg": ()}, ValueError, "model must be given where no weights are"),
        ({"model": "", "weights": "x"}, ValueError, "model_arg goes with model"),
        ({"weights": "absent.safetensors"}, OSError, "absent.safetensors"),
        ({"batch_size": 25}, ValueError, "batch_size must be at most the 24 training images, got 25"),
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of 'sgd', 'adamw'"),
        ({"epochs": 0}, ValueError, "epochs must be"),
        ({"lr": 1e30, "optimizer": "sgd"}, FloatingPointError, "the loss is (nan|inf) in epoch"),
    ],
)
def test_what_cannot_be_run_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        finetune.finetune(tiny(folder, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_a_result_is_not_written_over_unasked(folder: Path, tmp_path: Path) -> None:
    settings = tiny(folder, tmp_path, epochs=1)
    finetune.finetune(settings)
    with pytest.raises(ValueError, match="holds a result; give --overwrite"):
        finetune.finetune(settings)
    finetune.finetune(dataclasses.replace(settings, overwrite=True))


def test_training_and_validation_must_have_the_same_classes(folder: Path, tmp_path: Path) -> None:
    train, val = (images.load_photographs(folder / split) for split in ("train", "val"))
    val.classes = ("blue", "green", "yellow")
    with pytest.raises(ValueError, match="train and val must hold the same classes"):
        finetune.finetune(tiny(folder, tmp_path), train, val)
