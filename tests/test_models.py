"""timm's models: made for an image size, loaded with a body, refused with a reason."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from tiny_models import FAMILIES, NEXT, VIT, make

from onepfrac.train import models

CLASSIFIERS = {
    "deit_tiny_distilled_patch16_224": ("head", "head_dist"),
    "swin_tiny_patch4_window7_224": ("head.fc",),
    "resnet18": ("fc",),
    "convnext_atto": ("head.fc",),
    "mobilenetv4_conv_small_035": ("classifier",),
}


def count(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# ---- making ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_model_of_each_family_is_made_for_any_image_size_and_trains(name: str) -> None:
    size = FAMILIES[name][0]
    for pixels in (size, 2 * size):
        model = make(name, 3, pixels)
        assert all(module.training for module in model.modules())
        outputs = model(torch.rand(2, 3, pixels, pixels))
        assert outputs.shape == (2, 3)
        outputs.square().sum().backward()
    assert count(model) < 1e6


def test_a_model_without_a_classifier_gives_features() -> None:
    for name in ("vit_tiny_patch16_224", "resnet18", "convnext_atto", "swin_tiny_patch4_window7_224"):
        model = make(name, 0)
        size = FAMILIES[name][0]
        assert model(torch.rand(2, 3, size, size)).shape == (2, model.num_features)


def test_other_channels_are_an_argument_of_the_model() -> None:
    model = make("resnet18", in_chans=1)
    assert model(torch.rand(2, 1, 32, 32)).shape == (2, 4)


def test_trial_images_change_neither_weights_nor_statistics_nor_random_numbers() -> None:
    arguments = {**FAMILIES["resnet18"][1], "drop_rate": 0.5}
    torch.manual_seed(0)
    plain, after = timm.create_model("resnet18", num_classes=4, **arguments).state_dict(), torch.rand(3)
    made = make("resnet18", drop_rate=0.5).state_dict()
    assert torch.equal(torch.rand(3), after)
    assert all(torch.equal(plain[key], made[key]) for key in plain)


@pytest.mark.parametrize(
    ("name", "size", "arguments", "drop_path", "words"),
    [
        ("vit_of_nobody", 16, {}, 0.0, r"model must be one of timm's \(timm.list_models\(\) lists them\)"),
        ("vit_tiny_patch16_224", 16, {"patch_sizes": 8}, 0.0, "model vit_tiny_patch16_224 cannot be made with"),
        ("vit_tiny_patch16_224", 16, {**VIT, "num_heads": 3}, 0.0, "cannot be made with"),
        ("vit_tiny_patch16_224", 8, {**VIT, "patch_size": 16}, 0.0, "cannot (take images of 8 x 8|be made with)"),
        (
            "vit_tiny_patch16_224",
            16,
            {**VIT, "global_pool": ""},
            0.0,
            r"must give 4 numbers for each of 2 images, but gives",
        ),
        (
            "convnext_atto",
            16,
            {**NEXT, "patch_size": 32},
            0.0,
            "cannot take images of 16 x 16 pixels: Calc",
        ),
        ("resnet18", 32, {"features_only": True}, 0.0, "must give 4 numbers for each of 2 images, but gives list"),
        ("halonet_h1", 32, {}, 0.0, "cannot take images of 32 x 32 pixels: AssertionError$"),
        ("densenet121", 32, {"growth_rate": 4, "block_config": (1, 1)}, 0.1, "drop_path must be 0 for .* got 0.1"),
    ],
)
def test_what_a_model_cannot_do_is_told_before_training(
    name: str, size: int, arguments: dict[str, Any], drop_path: float, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        models.build_model(name, 4, size, arguments, drop_path)


def test_stochastic_depth_is_what_was_asked_for() -> None:
    arguments = FAMILIES["convnext_atto"][1]
    model = models.build_model("convnext_atto", 3, 32, arguments, drop_path=0.4)
    rates = [module.drop_prob for module in model.modules() if isinstance(module, timm.layers.DropPath)]
    assert max(rates) == pytest.approx(0.4)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_classifiers_are_found_under_each_familys_name(name: str) -> None:
    assert models.classifier_names(make(name)) == CLASSIFIERS[name]
    assert models.classifier_names(make(name, 0)) == CLASSIFIERS[name]
    model = make(name)
    model.pretrained_cfg = {}  # type: ignore[assignment]
    assert models.classifier_names(model) == CLASSIFIERS[name]


# ---- loading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILIES)
def test_a_body_comes_over_at_another_image_size_without_its_classifier(name: str) -> None:
    size = FAMILIES[name][0]
    source, target = make(name, 4), make(name, 7, 2 * size)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    heads = tuple(f"{head}." for head in models.classifier_names(target))
    before = {key: value.clone() for key, value in target.state_dict().items()}
    models.load_body(target, source.state_dict(), "source")
    state, given = target.state_dict(), source.state_dict()
    for key, value in state.items():
        if key.startswith(heads):
            assert torch.equal(value, before[key])
        elif value.shape == given[key].shape:
            assert torch.equal(value, given[key])
        else:
            assert "pos" in key
            assert not torch.equal(value, before[key])
    assert torch.isfinite(target.eval()(torch.rand(1, 3, 2 * size, 2 * size))).all()


def test_statistics_of_batch_norm_belong_to_the_body() -> None:
    source, target = make("resnet18"), make("resnet18", 7)
    source(torch.rand(8, 3, 32, 32))
    models.load_body(target, source.state_dict(), "source")
    assert torch.equal(target.bn1.running_mean, source.bn1.running_mean)
    assert target.bn1.num_batches_tracked == 1


def test_position_embeddings_are_resampled_and_the_class_tokens_stays() -> None:
    source, target = make("vit_tiny_patch16_224"), make("vit_tiny_patch16_224", 7, 32)
    models.load_body(target, source.state_dict(), "source")
    own, given = target.state_dict()["pos_embed"], source.state_dict()["pos_embed"]
    assert own.shape == (1, 17, 16)
    assert torch.equal(own[0, 0], given[0, 0])
    expected = timm.layers.resample_abs_pos_embed(given, [4, 4], num_prefix_tokens=1)
    assert torch.equal(own, expected)


def test_tables_of_relative_positions_keep_their_centre() -> None:
    name = "swin_tiny_patch4_window7_224"
    source, target = make(name, window_size=2), make(name, 4, window_size=4)
    models.load_body(target, source.state_dict(), "source")
    key = "layers.0.blocks.0.attn.relative_position_bias_table"
    own, given = (model.state_dict()[key].reshape(n, n) for model, n in ((target, 7), (source, 3)))
    torch.testing.assert_close(own[3, 3], given[1, 1])


def test_all_weights_come_over_with_their_classifier() -> None:
    source, target = make("convnext_atto"), make("convnext_atto")
    torch.nn.init.normal_(source.head.fc.weight)
    models.load_all(target, source.state_dict(), "source")
    assert all(torch.equal(value, target.state_dict()[key]) for key, value in source.state_dict().items())
    with pytest.raises(
        ValueError, match=r"source .*: head.fc.weight is \(4, 16\), the model's \(7, 16\), head.fc.bias"
    ):
        models.load_all(make("convnext_atto", 7), source.state_dict(), "source")


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("vit_tiny_patch16_224", {"embed_dim": 32}, r"cls_token is \(1, 1, 16\), the model's \(1, 1, 32\), .* more$"),
        ("vit_tiny_patch16_224", {"depth": 2}, r"the weights lack blocks\.1\.attn\.proj\.bias, .* and 9 more$"),
        ("vit_tiny_patch16_224", {"depth": 0}, r"the model lacks blocks\.0\.attn\.proj\.bias, .* and 9 more$"),
        ("vit_tiny_patch16_224", {"global_pool": "avg"}, r"the weights lack fc_norm.*; the model lacks norm\.bias"),
        ("swin_tiny_patch4_window7_224", {"num_heads": (2, 2)}, r"relative_position_bias_table is \(49, 1\), the"),
        ("convnext_atto", {"depths": (1, 2, 1, 1)}, r"the weights lack stages\.1\.blocks\.1\.conv_dw\.bias, "),
        ("resnet18", {"channels": (8, 8, 16, 24)}, r"layer4\.0\.conv1\.weight is \(16, 16, 3, 3\), the model's \(24"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_and_loads_nothing(name: str, changes: dict[str, Any], words: str) -> None:
    source, target = make(name), make(name, **changes)
    for parameter in source.parameters():
        torch.nn.init.normal_(parameter)
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(ValueError, match="^source does not fit the model: .*" + words):
        models.load_body(target, source.state_dict(), "source")
    assert all(torch.equal(value, before[key]) for key, value in target.state_dict().items())


def test_what_timm_cannot_resample_is_refused_by_its_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"embed_dim": (16, 32), "num_heads": (1, 1), "depth": (1, 1)}
    source, target = (models.build_model("levit_128s", 4, size, arguments) for size in (64, 96))
    with pytest.raises(ValueError, match=r"attention_biases is \(1, 16\), the model's \(1, 36\)"):
        models.load_body(target, source.state_dict(), "source")

    def fail(*_: object) -> None:
        raise AssertionError("no square")

    def rename(weights: dict[str, torch.Tensor], _: torch.nn.Module) -> dict[str, torch.Tensor]:
        return {f"encoder.{key}": value for key, value in weights.items()}

    for fit in (fail, rename):
        monkeypatch.setattr("timm.models.vision_transformer.checkpoint_filter_fn", fit)
        with pytest.raises(ValueError, match=r"pos_embed is \(1, 5, 16\), the model's \(1, 17, 16\)$"):
            models.load_body(make("vit_tiny_patch16_224", 4, 32), make("vit_tiny_patch16_224").state_dict(), "source")
