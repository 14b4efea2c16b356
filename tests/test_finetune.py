"""Fine-tuning: images in, an accuracy and weights out; exact resuming, parts of a step, ranks, refusals."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from command_words import as_options
from PIL import Image
from safetensors.torch import load_file, save_file

from onepfrac.train import checkpoint, finetune, images, machine, models

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


def same(left: Path, right: Path) -> bool:
    a, b = (load_file(path / "weights.safetensors") for path in (left, right))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def close(left: Path, right: Path, tolerance: float) -> None:
    a, b = (load_file(path / "weights.safetensors") for path in (left, right))
    assert a.keys() == b.keys()
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, rtol=1e-3, atol=tolerance)


# Everything that draws: order, crops, flips, a policy, erasing, mixup, cutmix, drop path; 3 steps an epoch.
DRAWING: dict[str, Any] = {
    "epochs": 4, "auto_augment": "rand-m9-mstd0.5-inc1", "re_prob": 0.5, "mixup": 0.8, "cutmix": 1.0,
    "drop_path": 0.3, "evaluate_every": 1, "save_every": 1, "clip_grad": 1.0, "smoothing": 0.1, "accumulate": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def finished(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve steps that nothing interrupted, with all that draws."""
    out = tmp_path_factory.mktemp("finished") / "run"
    outcome = finetune.finetune(tiny(folder, out, **DRAWING))
    assert outcome.finished
    assert outcome.steps == 12
    return out


# ---- settings --------------------------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers() -> None:
    settings = finetune.Settings(data="x", model="y")
    assert (settings.optimizer, settings.momentum, settings.lr, settings.weight_decay) == ("sgd", 0.9, 0.01, 1e-4)
    assert (settings.batch_size, settings.epochs) == (768, 1000)


def test_the_paper_preset_writes_the_papers_recipe_out() -> None:
    paper = finetune.resolve({"data": "x", "weights": "y"}, "paper")
    assert (paper.optimizer, paper.momentum, paper.lr, paper.weight_decay) == ("sgd", 0.9, 0.01, 1e-4)
    assert (paper.batch_size, paper.epochs, paper.size, paper.crop) == (768, 1000, 224, 0.08)
    assert (paper.auto_augment, paper.re_prob, paper.smoothing) == ("rand-m9-mstd0.5-inc1", 0.25, 0.1)
    assert (paper.mixup, paper.cutmix, paper.mix_prob, paper.mix_switch) == (0.8, 1.0, 1.0, 0.5)


def test_given_settings_win_over_a_preset_and_weights_over_its_model() -> None:
    quick = finetune.resolve({"data": "x"}, "quick")
    assert quick.model_arg == finetune.PRESETS["quick"]["model_arg"]
    assert quick.overwrite
    other = finetune.resolve({"data": "x", "weights": "y", "epochs": 3, "out": "elsewhere"}, "quick")
    assert (other.model, other.model_arg, other.epochs, other.overwrite) == ("", (), 3, False)


def test_the_learning_rate_warms_up_linearly_and_falls_as_a_cosine_to_zero() -> None:
    settings = finetune.Settings(data="x", model="y", lr=1e-3, batch_size=1024, warmup=0.1)
    rates = [finetune.learning_rate(settings, step, 110) for step in range(111)]
    assert rates[:11] == pytest.approx([2e-3 * step / 11 for step in range(1, 12)])
    assert rates[11] == pytest.approx(2e-3)
    assert rates[11:] == sorted(rates[11:], reverse=True)
    assert rates[110] == pytest.approx(0, abs=1e-12)


# ---- training --------------------------------------------------------------------------------------------------------


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


@pytest.mark.forks
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
        ({"momentum": 0.0, "optimizer": "sgd"}, ValueError, "momentum must be more than 0 with optimizer sgd"),
        ({"layer_decay": 0.0}, ValueError, "layer_decay must be more than 0"),
        ({"auto_augment": "blur"}, ValueError, "auto_augment must be a policy of timm .*, got 'blur'"),
        (
            {"mixup": 0.5, "batch_size": 7},
            ValueError,
            r"a multiple of 2 with 1 rank\(s\), 1 part\(s\) a step and mixup, got 7",
        ),
        ({"accumulate": 3}, ValueError, r"a multiple of 3 with 1 rank\(s\), 3 part\(s\) a step, got 8"),
        ({"data": "torch/fake"}, ValueError, "data: timm cannot read torch/fake"),
        ({"lr": 1e30, "optimizer": "sgd"}, FloatingPointError, "the loss is (nan|inf) in epoch"),
    ],
)
def test_what_cannot_be_run_is_refused(
    folder: Path, tmp_path: Path, changes: dict[str, Any], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        finetune.finetune(tiny(folder, tmp_path / "out", **changes))
    assert not (tmp_path / "out").exists()


def test_ranks_neither_download_together_nor_share_an_odd_batch(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="download must be off with several ranks"):
        finetune.finetune(tiny(folder, tmp_path / "out", download=True))
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of 2 with 2 rank\(s\), 1 part"):
        finetune.finetune(tiny(folder, tmp_path / "out", batch_size=7))


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


def test_a_folder_with_other_weights_is_not_written_over_unasked(folder: Path, tmp_path: Path) -> None:
    """Those of a pre-training, say; nor does resuming take a file for a folder."""
    (tmp_path / "weights.safetensors").touch()
    for resume in (False, True):
        with pytest.raises(ValueError, match="holds weights; give --overwrite"):
            finetune.finetune(tiny(folder, tmp_path, resume=resume))
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="out must name a folder, got the file"):
        finetune.finetune(tiny(folder, tmp_path / "file", resume=True))


def test_a_run_without_a_checkpoint_that_was_killed_before_its_result_begins_anew(folder: Path, tmp_path: Path) -> None:
    settings = tiny(folder, tmp_path, epochs=1)
    finetune.finetune(settings)
    before = load_file(tmp_path / "weights.safetensors")
    (tmp_path / "result.json").unlink()
    for changes in ({"resume": False}, {"resume": True, "seed": 1}):
        with pytest.raises(ValueError, match="holds weights; give --overwrite"):
            finetune.finetune(dataclasses.replace(settings, **changes))
    assert finetune.finetune(dataclasses.replace(settings, resume=True)).finished
    after = load_file(tmp_path / "weights.safetensors")
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_finished_run_keeps_no_checkpoint_that_a_kill_left(folder: Path, tmp_path: Path, finished: Path) -> None:
    shutil.copytree(finished, tmp_path / "run")
    names = sorted(os.listdir(finished))
    for name in ("checkpoint.safetensors", "checkpoint-before.safetensors", f".weights.safetensors.{0:016x}.tmp"):
        (tmp_path / "run" / name).touch()
    assert finetune.finetune(tiny(folder, tmp_path / "run", **DRAWING, resume=True)).finished
    assert sorted(os.listdir(tmp_path / "run")) == names


def test_five_likeliest_are_counted_where_there_are_five_classes(tmp_path: Path) -> None:
    classes = [str(i) for i in range(6)]
    shades = images.Photographs(
        range(6), range(6), classes, lambda i: torch.full((3, 16, 16), 40 * i, dtype=torch.uint8)
    )
    settings = finetune.Settings(**{**TINY, "data": "x", "out": str(tmp_path), "batch_size": 6, "epochs": 1, "lr": 0.0})
    outcome = finetune.finetune(settings, shades, shades)
    model = models.build_model(settings.model, 6, 16, {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2})
    model.load_state_dict(load_file(outcome.weights))
    pixels = torch.stack([shades[i][0] for i in range(6)]) / 127.5 - 1
    order = model.eval()(pixels).argsort(dim=1, descending=True)
    assert outcome.accuracy == pytest.approx((order[:, 0] == torch.arange(6)).double().mean().item())
    assert outcome.top5 == pytest.approx((order[:, :5] == torch.arange(6)[:, None]).any(1).double().mean().item())
    assert json.loads((tmp_path / "result.json").read_text())["top5"] == outcome.top5
    assert outcome.top5 > outcome.accuracy


def test_three_classes_have_no_five_likeliest(finished: Path) -> None:
    assert json.loads((finished / "result.json").read_text())["top5"] is None


def test_an_epoch_sees_each_image_once_in_a_new_order_and_augments_it_anew(folder: Path, tmp_path: Path) -> None:
    settings = tiny(folder, tmp_path, epochs=3, accumulate=2)

    def order(start: int = 0, world: int = 1) -> list[Any]:
        return [list(finetune._order(settings, 24, start, rank, world)) for rank in range(world)]

    whole = order()[0]
    rows, numbers = (np.concatenate([part[i] for part in whole]) for i in (0, 1))
    assert np.array_equal(np.sort(rows.reshape(3, 24), axis=1), [np.arange(24)] * 3)
    assert len({tuple(epoch) for epoch in rows.reshape(3, 24).tolist()}) == 3
    assert np.array_equal(numbers, np.arange(72))
    later = order(start=4)[0]
    assert all(np.array_equal(a[i], b[i]) for a, b in zip(later, whole[8:], strict=True) for i in (0, 1))
    first, second = order(world=2)
    for step in range(9):
        mine = [part[1] for rank in (first, second) for part in rank[2 * step : 2 * step + 2]]
        assert np.array_equal(np.sort(np.concatenate(mine)), np.arange(8 * step, 8 * step + 8))


@pytest.mark.parametrize("accumulate", [2, 4])
def test_a_step_in_parts_is_a_step(folder: Path, tmp_path: Path, accumulate: int) -> None:
    """But for the order of float sums."""
    for name, parts in (("whole", 1), ("parts", accumulate)):
        finetune.finetune(tiny(folder, tmp_path / name, epochs=2, lr=0.01, optimizer="sgd", accumulate=parts))
    close(tmp_path / "whole", tmp_path / "parts", 1e-6)


def test_a_gradient_is_clipped_and_early_blocks_learn_slower(folder: Path, tmp_path: Path) -> None:
    """Nearly without momentum the length of the path tells: what moves, and how far."""
    base = {"epochs": 1, "optimizer": "sgd", "momentum": 1e-6, "weight_decay": 0.0, "lr": 64.0, "warmup": 0.0}
    finetune.finetune(tiny(folder, tmp_path / "start", **{**base, "lr": 0.0}))
    before = load_file(tmp_path / "start" / "weights.safetensors")

    def moved(name: str, **changes: Any) -> dict[str, float]:
        finetune.finetune(tiny(folder, tmp_path / name, **{**base, **changes}))
        after = load_file(tmp_path / name / "weights.safetensors")
        return {key: float((after[key] - value).norm()) for key, value in before.items()}

    clipped = moved("clipped", clip_grad=1e-3)
    assert 0 < math.hypot(*clipped.values()) <= 3 * 1e-3 * 1.0001  # rate 1 at first, three steps
    plain, decayed = moved("plain", lr=0.064), moved("decayed", lr=0.064, layer_decay=0.1)
    assert decayed["head.bias"] == pytest.approx(plain["head.bias"], rel=0.05)
    assert decayed["patch_embed.proj.weight"] == pytest.approx(plain["patch_embed.proj.weight"] / 100, rel=0.2)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_too(folder: Path, tmp_path: Path, precision: str) -> None:
    outcome = finetune.finetune(tiny(folder, tmp_path, precision=precision))
    assert outcome.accuracy >= 0.9
    state = load_file(outcome.weights)
    assert {value.dtype for value in state.values()} == {torch.float32}
    assert not same(tmp_path, tmp_path_of_float32(folder, tmp_path))


def tmp_path_of_float32(folder: Path, tmp_path: Path) -> Path:
    finetune.finetune(tiny(folder, tmp_path / "float32", precision="auto"))
    return tmp_path / "float32"


@pytest.mark.slow
def test_a_compiled_model_trains_and_saves_plain_names(folder: Path, tmp_path: Path) -> None:
    for name, compiled in (("a", False), ("b", True)):
        finetune.finetune(tiny(folder, tmp_path / name, epochs=1, compile=compiled, lr=0.01))
    close(tmp_path / "a", tmp_path / "b", 1e-4)


def test_evaluations_are_told_where_there_is_no_terminal(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = finetune.finetune(tiny(folder, tmp_path, epochs=2, evaluate_every=1))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2"]
    assert f"accuracy {outcome.accuracy:.1%}" in lines[1]


# ---- resuming --------------------------------------------------------------------------------------------------------


@pytest.mark.forks
def test_loader_processes_change_nothing(folder: Path, tmp_path: Path, finished: Path) -> None:
    finetune.finetune(tiny(folder, tmp_path, **DRAWING, workers=2))
    assert same(tmp_path, finished)


def test_a_run_that_time_stopped_after_every_step_ends_the_same(folder: Path, tmp_path: Path, finished: Path) -> None:
    for step in range(1, 12):
        outcome = finetune.finetune(tiny(folder, tmp_path, **DRAWING, minutes=1e-9, resume=True))
        assert (outcome.steps, outcome.finished, outcome.signal) == (step, False, 0)
        assert math.isnan(outcome.accuracy) == (step < 3)
        np.random.rand(7)  # noqa: NPY002 - a resumed run does not find NumPy's state as it was left
    assert not (tmp_path / "weights.safetensors").exists()
    assert finetune.finetune(tiny(folder, tmp_path, **DRAWING, resume=True)).finished
    assert same(tmp_path, finished)
    results = [json.loads((path / "result.json").read_text()) for path in (tmp_path, finished)]
    for name in ("accuracy", "accuracies", "train_loss", "steps"):
        assert results[0][name] == results[1][name]
    assert {path.name for path in tmp_path.iterdir()} == {"result.json", "weights.safetensors"}


def test_the_scale_of_float16_is_kept(folder: Path, tmp_path: Path) -> None:
    changes = {"precision": "float16", "epochs": 2}
    finetune.finetune(tiny(folder, tmp_path / "whole", **changes))
    assert not finetune.finetune(tiny(folder, tmp_path / "parts", **changes, minutes=1e-9)).finished
    for steps in (1, 2, 3):
        assert checkpoint.read_info(tmp_path / "parts" / "checkpoint.safetensors")["scaler"]["_growth_tracker"] == steps
        finetune.finetune(tiny(folder, tmp_path / "parts", **changes, minutes=1e-9, resume=True))
    finetune.finetune(tiny(folder, tmp_path / "parts", **changes, resume=True))
    assert same(tmp_path / "whole", tmp_path / "parts")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_writes_a_checkpoint(
    folder: Path, tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    plain = machine.seed_step

    def interrupted(seed: int, index: int) -> None:
        plain(seed, index)
        if index == 8:  # the first part of the fifth step
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with monkeypatch.context() as patch:
        patch.setattr(machine, "seed_step", interrupted)
        outcome = finetune.finetune(tiny(folder, tmp_path, **DRAWING))
    assert (outcome.steps, outcome.finished, outcome.signal) == (5, False, number)
    assert signal.getsignal(number) == before
    finetune.finetune(tiny(folder, tmp_path, **DRAWING, resume=True))
    assert same(tmp_path, finished)


def test_a_killed_run_resumes_to_the_same_bits(folder: Path, tmp_path: Path) -> None:
    changes = {**DRAWING, "epochs": 25, "evaluate_every": 0, "cache": True}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "onepfrac", "finetune", *as_options(tiny(folder, killed, **changes))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    path, limit = killed / "checkpoint.safetensors", time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.01)
    time.sleep(0.05)  # somewhere in a later step, perhaps amid a write
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()
    assert 0 < checkpoint.read_info(path)["step"] < 75
    assert finetune.finetune(tiny(folder, killed, **changes, resume=True)).finished
    finetune.finetune(tiny(folder, whole, **changes))
    assert same(killed, whole)


def test_a_finished_run_is_told_again_and_left_as_it_is(folder: Path, finished: Path) -> None:
    before = (finished / "result.json").read_bytes()
    outcome = finetune.finetune(tiny(folder, finished, **DRAWING, resume=True))
    assert json.loads(before)["accuracy"] == outcome.accuracy
    assert outcome.accuracies[-1] == (4, outcome.accuracy)
    assert outcome.weights == finished / "weights.safetensors"
    assert (finished / "result.json").read_bytes() == before


def test_settings_come_from_the_run_on_resume(folder: Path, tmp_path: Path, finished: Path) -> None:
    given = {"out": str(finished), "resume": True, "workers": 1}
    assert finetune.resolve(given) == tiny(folder, finished, **DRAWING, resume=True, workers=1)
    finetune.finetune(tiny(folder, tmp_path, **DRAWING, minutes=1e-9))
    given = {"out": str(tmp_path), "resume": True}
    assert finetune.resolve(given) == tiny(folder, tmp_path, **DRAWING, resume=True)
    with pytest.raises(ValueError, match="data must name a folder"):
        finetune.resolve({"out": str(tmp_path / "absent"), "resume": True})


def test_a_run_with_other_settings_or_images_is_not_gone_on_with(folder: Path, tmp_path: Path) -> None:
    finetune.finetune(tiny(folder, tmp_path, minutes=1e-9))
    with pytest.raises(ValueError, match=r"holds a checkpoint; give --overwrite"):
        finetune.finetune(tiny(folder, tmp_path))
    with pytest.raises(ValueError, match=r"lr must stay 0\.5 to go on from the run in .*, got 0\.1"):
        finetune.finetune(tiny(folder, tmp_path, lr=0.1, resume=True))
    fewer = images.load_photographs(folder / "val").pick([0, 4, 8])
    with pytest.raises(ValueError, match="no longer holds the classes and numbers of images"):
        finetune.finetune(tiny(folder, tmp_path, resume=True), val=fewer)
    path = tmp_path / "checkpoint.safetensors"
    tensors, info = checkpoint.read(path)
    checkpoint.write(path, tensors, {**info, "step": 31})
    with pytest.raises(ValueError, match=r"must hold a step in 1\.\.30, got 31"):
        finetune.finetune(tiny(folder, tmp_path, resume=True))
    checkpoint.write(path, tensors, {**info, "kind": "something"})
    with pytest.raises(ValueError, match="must be a checkpoint of onepfrac finetune, format 1, but is 'something'"):
        finetune.finetune(tiny(folder, tmp_path, resume=True))


# ---- ranks -----------------------------------------------------------------------------------------------------------


def test_two_ranks_do_what_one_does(folder: Path, tmp_path: Path) -> None:
    """Without mixup and drop path, which each rank draws for itself, only the order of float sums differs."""
    changes = {"epochs": 3, "accumulate": 2, "lr": 0.05, "optimizer": "sgd", "auto_augment": "rand-m9", "re_prob": 0.3}
    changes |= {"evaluate_every": 1, "cache": True}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "onepfrac"]
    words = as_options(tiny(folder, tmp_path / "two", **changes))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "finetune", *words], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 3:") == 1  # rank 0 alone speaks
    finetune.finetune(tiny(folder, tmp_path / "one", **changes))
    close(tmp_path / "one", tmp_path / "two", 2e-5)
    one, two = (json.loads((tmp_path / name / "result.json").read_text()) for name in ("one", "two"))
    assert two["accuracies"] == one["accuracies"]
    assert two["train_loss"] == pytest.approx(one["train_loss"], rel=1e-3)
    assert two["ranks"] == 2


@pytest.mark.gpu
def test_a_run_on_cuda_resumes(folder: Path, tmp_path: Path) -> None:
    changes = {**DRAWING, "device": "cuda", "workers": 2}
    assert not finetune.finetune(tiny(folder, tmp_path, **changes, minutes=1e-9)).finished
    outcome = finetune.finetune(tiny(folder, tmp_path, **changes, resume=True))
    assert outcome.finished
    assert 0 <= outcome.accuracy <= 1
