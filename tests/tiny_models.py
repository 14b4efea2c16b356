"""A model of each of timm's families with arguments that make it tiny, for tests of what holds for all of them."""

from __future__ import annotations

from typing import Any

import torch

from onepfrac.train import models

VIT: dict[str, Any] = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
SWIN: dict[str, Any] = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
NEXT: dict[str, Any] = {"depths": (1, 1, 1, 1), "dims": (8, 8, 16, 16)}
WIDE: dict[str, Any] = {
    "patch_size": 8,
    "embed_dim": 192,
    "depth": 1,
    "num_heads": 2,
}  # eva02's MLP is as wide as the model says

FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "vit_tiny_patch16_224": (16, VIT),
    "deit_tiny_distilled_patch16_224": (16, VIT),
    "vit_small_patch16_rope_224": (16, VIT),
    "beit_base_patch16_224": (16, VIT),
    "eva02_tiny_patch14_224": (16, WIDE),
    "naflexvit_base_patch16_gap": (32, {"embed_dim": 16, "depth": 1, "num_heads": 2}),
    "swin_tiny_patch4_window7_224": (32, SWIN),
    "swinv2_tiny_window8_256": (32, SWIN),
    "swinv2_cr_tiny_224": (32, SWIN),
    "resnet18": (32, {"layers": (1, 1, 1, 1), "channels": (8, 8, 16, 16)}),
    "convnext_atto": (32, NEXT),
    "mobilenetv4_conv_small_035": (32, {}),
    "maxvit_rmlp_pico_rw_256": (64, {"depths": (1, 1), "embed_dim": (32, 64), "stem_width": 16}),
}
"""Models of timm's families with the size of their images and what makes them small."""


def make(name: str, num_classes: int = 4, size: int = 0, **changes: Any) -> torch.nn.Module:
    usual, arguments = FAMILIES[name]
    torch.manual_seed(0)
    return models.build_model(name, num_classes, size or usual, {**arguments, **changes})
