"""timm's models for the training scripts: fresh, or with the body of weights that a pre-training wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torch

__all__ = ["build_model", "load_body"]


def build_model(
    name: str, num_classes: int, size: int, arguments: Mapping[str, Any], drop_path: float = 0.0
) -> torch.nn.Module:
    """Make a timm model with fresh weights.

    Parameters
    ----------
    name
        Its name in timm.
    num_classes
        Outputs.
    size
        Width and height of its images in pixels.
    arguments
        Further keyword arguments of ``timm.create_model``.
    drop_path
        Rate of stochastic depth.

    Raises
    ------
    ValueError
        If timm does not know the model, or the model refuses an argument.
    """
    if not timm.is_model(name):
        raise ValueError(f"model must be one of timm's (timm.list_models() lists them), got {name!r}")
    keywords = dict(arguments)
    config = timm.get_pretrained_cfg(name)
    if config is not None and config.fixed_input_size:
        keywords["img_size"] = size
    if drop_path:
        keywords["drop_path_rate"] = drop_path
    try:
        model: torch.nn.Module = timm.create_model(name, num_classes=num_classes, **keywords)
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise ValueError(f"model {name} cannot be made with {keywords}: {error}") from error
    return model


def load_body(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Load all weights but the classifier's, which stays as it is.

    Position embeddings of another image size are resampled as timm does.

    Raises
    ------
    ValueError
        If the weights do not fit the model; ``name`` says where they come from.
    """
    config: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    heads = config.get("classifier") or ()
    prefixes = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    body = {key: value for key, value in weights.items() if not key.startswith(prefixes)}
    position, own = body.get("pos_embed"), model.state_dict().get("pos_embed")
    if position is not None and own is not None and position.shape != own.shape and position.ndim == own.ndim == 3:
        prefix = int(getattr(model, "num_prefix_tokens", 1))
        grid = model.patch_embed.grid_size  # type: ignore[union-attr]
        body["pos_embed"] = timm.layers.resample_abs_pos_embed(position, grid, num_prefix_tokens=prefix)
    try:
        missing, unknown = model.load_state_dict(body, strict=False)
    except RuntimeError as error:
        raise ValueError(f"{name} does not fit the model: {error}") from error
    if odd := [key for key in missing if not key.startswith(prefixes)] + list(unknown):
        raise ValueError(f"{name} does not fit the model: {len(odd)} names differ, among them {', '.join(odd[:3])}")
