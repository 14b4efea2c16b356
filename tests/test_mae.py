"""Masked autoencoder: what the encoder may see, exact resuming, ranks, refusals, and an encoder that finetune takes."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from command_words import as_options
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.optim import create_optimizer_v2

from onepfrac.datasets import recipe_of
from onepfrac.train import checkpoint, finetune, machine, mae, options
from onepfrac.train.masked_autoencoder import MaskedAutoencoder, build_autoencoder, normalise

ENCODER = ("patch_size=4", "embed_dim=16", "depth=2", "num_heads=2")
TINY: dict[str, Any] = {
    "recipe": "OnePFrac:num_classes=4,delta=0.5,points=500,canvas=16,pad=1,brush=fill", "size": 16, "batch_size": 8,
    "steps": 6, "warmup": 2, "save_every": 3, "log_every": 2, "pictures": 3, "lr": 0.1, "device": "cpu",
    "model_arg": ENCODER, "decoder_dim": 8, "decoder_depth": 1, "decoder_heads": 2,
}  # fmt: skip


def tiny(out: Path, **changes: Any) -> mae.Settings:
    return mae.Settings(**{**TINY, "out": str(out), **changes})


def same(left: Path, right: Path) -> bool:
    a, b = load_file(left), load_file(right)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def model_of(
    name: str = "vit_tiny_patch16_224", mask: float = 0.75, sincos: bool = True, **more: Any
) -> MaskedAutoencoder:
    torch.manual_seed(0)
    arguments = options.model_arguments(ENCODER) | more
    return build_autoencoder(name, 16, arguments, mask=mask, dim=8, depth=1, heads=2, sincos=sincos).eval()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six steps that nothing interrupted."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert mae.pretrain_mae(tiny(out)).finished
    return out


# ---- the model -------------------------------------------------------------------------------------------------------


def test_patches_are_put_together_to_the_image_they_were_cut_from() -> None:
    model = model_of(patch_size=(4, 8))
    images = torch.arange(2 * 3 * 16 * 16, dtype=torch.float32).reshape(2, 3, 16, 16)
    patches = model.patchify(images)
    assert patches.shape == (2, 8, 96)
    assert torch.equal(patches[1, 3].reshape(4, 8, 3), images[1, :, 4:8, 8:16].permute(1, 2, 0))  # second row, right
    assert torch.equal(model.unpatchify(patches), images)


def test_hidden_patches_do_not_reach_the_encoder_and_visible_ones_do() -> None:
    model, images = model_of(), torch.randn(3, 3, 16, 16)
    order = mae.draw_orders(0, 0, 3, 16)
    latent = model.encode(images, order)
    assert latent.shape == (3, 1 + 4, 16)  # a class token and a quarter of 16 patches
    for name, chosen, equal in (("hidden", order[:, 4:], True), ("visible", order[:, :1], False)):
        patches = model.patchify(images)
        patches.scatter_(1, chosen[:, :, None].expand(-1, -1, 48), 9.0)
        assert torch.equal(model.encode(model.unpatchify(patches), order), latent) is equal, name


def test_the_encoder_with_all_patches_in_their_order_is_timms() -> None:
    for arguments in ({}, {"no_embed_class": True}, {"reg_tokens": 2}, {"class_token": False, "global_pool": "avg"}):
        model, images = model_of(**arguments), torch.randn(2, 3, 16, 16)
        model.visible = 16
        order = torch.arange(16).expand(2, -1)
        assert torch.equal(model.encode(images, order), model.encoder.forward_features(images)), arguments


def test_the_decoder_puts_each_patch_where_it_belongs() -> None:
    """Whatever the order in which the same patches are seen and hidden, the same is painted."""
    model, images, order = model_of(), torch.randn(2, 3, 16, 16), mae.draw_orders(0, 0, 2, 16)
    shuffled = torch.cat([order[:, [2, 0, 3, 1]], order[:, 4:].flip(1)], 1)
    painted = model(images, order)
    for left, right in zip(painted, model(images, shuffled), strict=True):
        torch.testing.assert_close(left, right)
    assert not torch.allclose(painted[1], model(images, order.flip(1))[1])
    hidden = painted[1][0, order[0, 4:]]
    assert (
        torch.cdist(hidden, hidden) + torch.eye(12) > 1e-3
    ).all()  # each by its position, though nothing else differs


def test_the_loss_is_that_of_the_hidden_patches_alone_each_normalised() -> None:
    model, images, order = model_of(), torch.randn(2, 3, 16, 16), mae.draw_orders(1, 0, 2, 16)
    loss, painted = model(images, order)
    errors = []
    for image in range(2):
        for patch in order[image, 4:].tolist():
            true = images[image, :, patch // 4 * 4 :, patch % 4 * 4 :][:, :4, :4].permute(1, 2, 0).flatten()
            wanted = (true - true.mean()) / (true.var() + 1e-6).sqrt()
            errors.append((painted[image, patch] - wanted).square().mean())
    torch.testing.assert_close(loss, torch.stack(errors).mean())


def test_a_flat_patch_is_normalised_to_zeros() -> None:
    patches, mean, spread = normalise(torch.full((1, 1, 48), -1.0))
    assert not patches.any()
    assert (mean.item(), spread.item()) == (-1.0, pytest.approx(1e-3))


@given(mask=st.floats(0.05, 0.95), step=st.integers(0, 2**40))
def test_the_share_that_is_hidden_is_exact_and_every_patch_has_its_turn(mask: float, step: int) -> None:
    visible = model_of(mask=mask).visible
    assert 16 - visible == round(16 * mask)
    order = mae.draw_orders(3, step, 5, 16)
    assert torch.equal(order.sort(1).values, torch.arange(16).expand(5, -1))
    assert len({tuple(row) for row in order.tolist()}) == 5  # each image has a mask of its own


def test_masks_follow_from_seed_and_step() -> None:
    first = mae.draw_orders(0, 1, 4, 16)
    torch.rand(3)
    assert torch.equal(mae.draw_orders(0, 1, 4, 16), first)
    for seed, step in ((1, 1), (0, 2)):
        assert not torch.equal(mae.draw_orders(seed, step, 4, 16), first)


def test_masks_are_uniform() -> None:
    counts = torch.zeros(16)
    for step in range(400):
        counts += torch.bincount(mae.draw_orders(0, step, 8, 16)[:, :4].flatten(), minlength=16)
    assert (counts - 800).abs().max() < 5 * math.sqrt(800 * 0.75)


def test_fixed_position_embeddings_differ_everywhere_and_get_no_gradient() -> None:
    for arguments in ({}, {"no_embed_class": True}, {"class_token": False, "global_pool": "avg"}):
        fixed, learnt = model_of(**arguments), model_of(sincos=False, **arguments)
        position = fixed.encoder.pos_embed
        assert not position.requires_grad
        assert len({tuple(row) for row in position[0].tolist()}) == position.shape[1]
        if position.shape[1] == 17:
            assert not position[0, 0].any()  # the class token's
        assert learnt.encoder.pos_embed.requires_grad
        assert not torch.equal(position, learnt.encoder.pos_embed)


def test_every_weight_that_learns_gets_a_gradient() -> None:
    """Or ranks would wait for gradients that never come."""
    for arguments in ({}, {"class_token": False, "global_pool": "avg"}, {"class_token": False, "global_pool": "map"}):
        model = model_of(**arguments)
        model(torch.randn(2, 3, 16, 16), mae.draw_orders(0, 0, 2, 16))[0].backward()
        assert [
            name for name, weight in model.named_parameters() if (weight.grad is None) == weight.requires_grad
        ] == []


def test_embeddings_norms_and_biases_do_not_decay() -> None:
    model = model_of(sincos=False)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = create_optimizer_v2(model, "adamw", weight_decay=0.1).param_groups
    free = [parameter for group in groups if not group["weight_decay"] for parameter in group["params"]]
    found = {names[id(parameter)] for parameter in free}
    assert {"hidden", "encoder.pos_embed", "encoder.cls_token", "norm.weight", "paint.bias"} <= found
    assert not {"paint.weight", "enter.weight", "encoder.blocks.0.attn.qkv.weight"} & found


def test_a_reconstruction_keeps_what_was_seen() -> None:
    model, images, order = model_of(), torch.randn(2, 3, 16, 16), mae.draw_orders(0, 0, 2, 16)
    shown = model.reconstruct(images, order)
    assert shown.shape == (2, 3, 3, 16, 16)
    assert torch.equal(shown[:, 0], images)
    true, masked, painted = (model.patchify(shown[:, part]) for part in range(3))
    seen = torch.zeros(2, 16, dtype=torch.bool).scatter_(1, order[:, :4], True)
    assert torch.equal(masked[seen], true[seen])
    assert torch.equal(painted[seen], true[seen])
    assert not masked[~seen].any()
    predicted = model(images, order)[1]
    torch.testing.assert_close(painted[~seen], (predicted * normalise(true)[2] + normalise(true)[1])[~seen])


# ---- a run -----------------------------------------------------------------------------------------------------------


def test_the_loss_falls(tmp_path: Path) -> None:
    outcome = mae.pretrain_mae(tiny(tmp_path / "run", steps=150, warmup=15, log_every=10, lr=0.2, augment="none"))
    assert outcome.last_loss < 0.8 * outcome.first_loss
    assert outcome.first_loss > 0.3  # there is something to learn


def test_a_run_leaves_weights_checkpoint_picture_settings_and_log(finished: Path) -> None:
    names = {"weights.safetensors", "checkpoint.safetensors", "reconstruction.png", "settings.json", "recipe.json"}
    assert {path.name for path in finished.iterdir()} == names | {"log.jsonl", "tensorboard"}
    info = checkpoint.read_info(finished / "weights.safetensors")
    recipe = recipe_of(TINY["recipe"])
    assert (info["kind"], info["step"]) == ("weights of onepfrac mae, format 1", 6)
    assert info["fingerprint"] == recipe.fingerprint == recipe_of(str(finished / "recipe.json")).fingerprint
    assert info["recipe"] == json.loads(recipe.to_json())
    assert (info["settings"]["model"], info["settings"]["size"]) == ("vit_tiny_patch16_224", 16)
    assert tuple(info["settings"]["model_arg"]) == ENCODER
    written = json.loads((finished / "settings.json").read_text())["settings"]
    assert options.from_json(mae.Settings, written, "file") == tiny(finished)


def test_the_weights_are_the_encoders_under_timms_names(finished: Path) -> None:
    keywords = {"num_classes": 0, "img_size": 16, **options.model_arguments(ENCODER)}
    model = timm.create_model("vit_tiny_patch16_224", **keywords)
    saved = load_file(finished / "weights.safetensors")
    assert saved.keys() == model.state_dict().keys()
    model.load_state_dict(saved)
    whole = load_file(finished / "checkpoint.safetensors")
    assert all(torch.equal(whole[f"model.encoder.{name}"], value) for name, value in saved.items())


def test_the_picture_shows_images_masks_and_reconstructions(finished: Path) -> None:
    pixels = np.asarray(Image.open(finished / "reconstruction.png").convert("L"))
    assert pixels.shape == (2 + 2 * 18, 2 + 6 * 18)  # three images in two rows of six tiles
    masked = pixels[2:18, 20:36].reshape(4, 4, 4, 4).swapaxes(1, 2).reshape(16, 16)
    assert (masked == 128).all(1).sum() >= 12  # hidden patches are gray


def test_no_picture_is_made_where_none_is_asked_for(tmp_path: Path) -> None:
    mae.pretrain_mae(tiny(tmp_path / "run", pictures=0, steps=1, warmup=0))
    assert not (tmp_path / "run" / "reconstruction.png").exists()


def test_finetune_takes_the_weights(finished: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for path in (tmp_path / split / name for split in ("train", "val") for name in "ab"):
        path.mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8)).save(path / "0.png")
    settings = finetune.Settings(
        data=str(tmp_path), weights=str(finished / "weights.safetensors"), out=str(tmp_path / "tuned"),
        epochs=1, batch_size=2, lr=0.0, device="cpu",
    )  # fmt: skip
    tuned = load_file(finetune.finetune(settings).weights)
    assert tuned["head.weight"].shape == (2, 16)
    assert all(torch.equal(tuned[name], value) for name, value in load_file(finished / "weights.safetensors").items())


@pytest.mark.parametrize(
    "recipe", ["FractalScenes:num_classes=3,canvas=32,points=500", "Noise:num_classes=3,canvas=16"]
)
def test_any_recipe_of_the_family_serves_also_with_several_labels_an_image(tmp_path: Path, recipe: str) -> None:
    outcome = mae.pretrain_mae(tiny(tmp_path / "run", recipe=recipe, steps=1, warmup=0, augment="deit", draws="fresh"))
    assert math.isfinite(outcome.last_loss)


@pytest.mark.forks
def test_loader_processes_change_nothing(tmp_path: Path, finished: Path) -> None:
    mae.pretrain_mae(tiny(tmp_path / "run", workers=2))
    assert same(tmp_path / "run" / "weights.safetensors", finished / "weights.safetensors")


def test_half_precision_trains(tmp_path: Path, finished: Path) -> None:
    outcome = mae.pretrain_mae(tiny(tmp_path / "run", precision="bfloat16"))
    assert math.isfinite(outcome.last_loss)
    assert not same(tmp_path / "run" / "weights.safetensors", finished / "weights.safetensors")


# ---- resuming --------------------------------------------------------------------------------------------------------


def test_a_run_that_time_stopped_resumes_to_the_same_bits(tmp_path: Path, finished: Path) -> None:
    out = tmp_path / "run"
    for step in (1, 2):
        outcome = mae.pretrain_mae(tiny(out, minutes=1e-9, resume=True))
        assert (outcome.step, outcome.finished, outcome.signal) == (step, False, 0)
        assert not (out / "weights.safetensors").exists()
    assert mae.pretrain_mae(tiny(out, resume=True)).finished
    for name in ("weights.safetensors", "checkpoint.safetensors"):
        assert same(out / name, finished / name)
    assert (out / "reconstruction.png").read_bytes() == (finished / "reconstruction.png").read_bytes()


def test_a_signal_finishes_the_step_and_writes_a_checkpoint(
    tmp_path: Path, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, plain = tmp_path / "run", machine.seed_step

    def interrupted(seed: int, index: int) -> None:
        plain(seed, index)
        if index == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(machine, "seed_step", interrupted)
        assert mae.main(as_options(tiny(out))) == 128 + signal.SIGTERM
    assert checkpoint.read_info(out / "checkpoint.safetensors")["step"] == 4
    assert mae.main(["--resume", f"--out={out}"]) == 0  # the settings are the checkpoint's
    assert same(out / "weights.safetensors", finished / "weights.safetensors")


def test_a_finished_run_is_left_as_it_is(finished: Path) -> None:
    before = load_file(finished / "weights.safetensors")
    outcome = mae.pretrain_mae(tiny(finished, resume=True))
    assert outcome.finished
    assert math.isnan(outcome.last_loss)
    assert all(torch.equal(before[name], value) for name, value in load_file(finished / "weights.safetensors").items())


def test_a_run_begins_anew_only_when_asked(tmp_path: Path, finished: Path) -> None:
    with pytest.raises(ValueError, match="holds a run; give --resume to go on, --overwrite to start anew"):
        mae.pretrain_mae(tiny(finished))
    out = tmp_path / "run"
    mae.pretrain_mae(tiny(out, resume=True, steps=1, warmup=0))  # nothing to go on from
    mae.pretrain_mae(tiny(out, overwrite=True, steps=2, warmup=0, pictures=0))
    assert checkpoint.read_info(out / "weights.safetensors")["step"] == 2
    assert not (out / "reconstruction.png").exists()


@pytest.mark.parametrize(
    ("changes", "info", "words"),
    [
        ({"mask": 0.5}, {}, r"mask must stay 0.75 to go on from .*checkpoint.safetensors, got 0.5"),
        ({"seed": 1}, {}, "seed must stay 0"),
        ({}, {"kind": "checkpoint of onepfrac pretrain, format 1"}, "must be a checkpoint of onepfrac mae, format 1"),
        ({}, {"fingerprint": "0" * 16}, "recipe must stay 0000000000000000 to go on from"),
        ({}, {"step": 9}, r"must hold a step in 1\.\.6, got 9"),
        ({}, {"settings": {}}, "another version wrote it"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    tmp_path: Path, finished: Path, changes: dict[str, Any], info: dict[str, Any], words: str
) -> None:
    tensors, old = checkpoint.read(finished / "checkpoint.safetensors")
    (tmp_path / "run").mkdir()
    checkpoint.write(tmp_path / "run" / "checkpoint.safetensors", tensors, {**old, **info})
    with pytest.raises(ValueError, match=words):
        mae.pretrain_mae(tiny(tmp_path / "run", resume=True, **changes))
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["checkpoint.safetensors"]


def test_a_safetensors_file_of_another_program_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "checkpoint.safetensors")
    with pytest.raises(ValueError, match="but is 'of another program'"):
        mae.pretrain_mae(tiny(tmp_path, resume=True))


def test_what_may_differ_on_resuming_is_said_on_purpose() -> None:
    """A new setting must be put on one side or the other."""
    pinned = (
        "steps seed recipe size augment draws model model_arg position mask decoder_dim decoder_depth decoder_heads "
        "batch_size lr min_lr warmup weight_decay precision"
    )
    assert {field.name for field in dataclasses.fields(mae.Settings)} == set(pinned.split()) | mae.FREE


# ---- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"steps": 0}, "steps must be an integer"),
        ({"warmup": 6}, r"warmup must be less than steps \(6\), got 6"),
        ({"out": ""}, "out must name a folder, got ''"),
        ({"position": "rope"}, "position must be one of 'sincos', 'learnt'"),
        ({"mask": 1.5}, "mask must be a number"),
        ({"mask": 0.0}, "mask must leave some of 16 patches and hide some, got 0.0"),
        ({"mask": 0.99}, "mask must leave some of 16 patches and hide some, got 0.99"),
        ({"size": 18}, r"size must be a multiple of the patch \(4, 4\), got 18"),
        ({"decoder_dim": 10}, r"decoder_dim must be a multiple of 4 and of decoder_heads \(2\), got 10"),
        ({"decoder_dim": 8, "decoder_heads": 3}, r"of 4 and of decoder_heads \(3\), got 8"),
        ({"model_arg": ("patch_size=4", "embed_dim=18", "num_heads=2")}, "embed_dim is a multiple of 4, got 18"),
        ({"model": "resnet10t", "model_arg": ()}, "model must be a VisionTransformer of timm with position emb"),
        ({"model_arg": (*ENCODER, "pos_embed=none")}, "model must be a VisionTransformer of timm with position emb"),
        ({"model": "vit_of_nobody"}, "model must be one of timm's"),
        ({"recipe": "Nothing"}, "recipe must be a dataset"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused_and_nothing_is_written(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        mae.pretrain_mae(tiny(**{"out": tmp_path / "run", **changes}))
    assert not (tmp_path / "run").exists()


def test_the_command_line_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mae.main([f"--out={tmp_path / 'run'}", "--recipe=Nothing"]) == 2
    assert capsys.readouterr().err.startswith("onepfrac.train.mae: error: recipe must be a dataset")
    (tmp_path / "file").touch()
    assert mae.main(as_options(tiny(tmp_path / "file"))) == 2
    assert "out must name a folder, got the file" in capsys.readouterr().err


def test_a_batch_that_the_ranks_cannot_share_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of 3 with 3 rank\(s\), got 8"):
        mae.pretrain_mae(tiny(tmp_path / "run"))


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) by step"):
        mae.pretrain_mae(tiny(out, steps=40, lr=1e30, warmup=0, save_every=1))
    assert all(torch.isfinite(value).all() for value in load_file(out / "checkpoint.safetensors").values())


# ---- ranks -----------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
def test_two_ranks_do_what_one_does(tmp_path: Path) -> None:
    """Their masks and images are the halves of one's, so only the order of float sums differs."""
    changes = {"lr": 0.01, "position": "learnt"}
    words = as_options(tiny(tmp_path / "two", **changes))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "onepfrac.train.mae", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("steps 0 to 6 of 8 images") == 1  # rank 0 alone speaks
    mae.pretrain_mae(tiny(tmp_path / "one", **changes))
    left, right = (load_file(tmp_path / name / "checkpoint.safetensors") for name in ("one", "two"))
    assert left.keys() == right.keys()
    for name, value in left.items():
        if name.startswith("model."):
            torch.testing.assert_close(right[name], value, rtol=1e-3, atol=2e-5)


@pytest.mark.gpu
def test_a_run_on_cuda_trains_in_bfloat16_and_resumes(tmp_path: Path) -> None:
    assert math.isfinite(mae.pretrain_mae(tiny(tmp_path / "whole", device="cuda")).last_loss)
    mae.pretrain_mae(tiny(tmp_path / "parts", device="cuda", minutes=1e-9))
    assert mae.pretrain_mae(tiny(tmp_path / "parts", device="cuda", resume=True)).finished
    left, right = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "parts"))
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=1e-2, atol=1e-3)
