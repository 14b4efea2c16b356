"""Weights as a folder that timm reads, from the disk or from a hub: configuration, weights, card, recipe."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from onepfrac import files
from onepfrac.train import checkpoint
from onepfrac.train.card import card, default_license
from onepfrac.train.digest import digest
from onepfrac.train.weights import About, make_model, pretrained_cfg, read_weights, recipe_in

__all__ = ["PUBLISHED", "publish"]

PUBLISHED = ("README.md", "config.json", "model.safetensors", "recipe.json")
"""The files of a published folder; ``recipe.json`` only where the weights hold a recipe."""


def publish(
    weights: str | os.PathLike[str],
    out: str | os.PathLike[str],
    license: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the folder ``out``, from which ``timm.create_model("local-dir:OUT", pretrained=True)`` makes the model.

    It holds ``config.json``, ``model.safetensors`` (the tensors, and the header with their checksum), ``README.md``
    (the card) and ``recipe.json``. The model is made and the weights are loaded into it before anything is written;
    the folder appears whole or not at all.

    Parameters
    ----------
    weights
        As of `onepfrac.load_pretrained`.
    out
        The folder; it must not be there.
    license
        As of `onepfrac.train.card.card_of`; must be given where photographs went into the weights.
    overwrite
        Replace ``out``, if all that lies there are files of `PUBLISHED`.

    Returns
    -------
    The folder.

    Raises
    ------
    OSError
        If a file cannot be read or written.
    TypeError, ValueError
        If the weights are none of onepfrac's or were altered, ``out`` is there, or a licence must be given.
    """
    folder = Path(out)
    _check_out(folder, overwrite)
    tensors, about = read_weights(weights)
    license = license or default_license(about)
    if license is None:
        raise ValueError(
            f"license must be given for {about.path}, into which photographs went: mit, cc-by-4.0, other or such"
        )
    info = _for_others(about.info) | {"sha256": digest(tensors)}
    about = About(about.path, about.program, about.model, about.model_arg, about.size, about.num_classes, info)
    text, config = card(about, license), _config(make_model(tensors, about), about, license)
    recipe = recipe_in(about) if "recipe" in info else None

    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.temporary_folder(folder) as new:
        checkpoint.write(new / "model.safetensors", tensors, info)
        files.write_text(new / "config.json", config)
        files.write_text(new / "README.md", text)
        if recipe is not None:
            recipe.save(new / "recipe.json")
        files.put_folder(new, folder)
    return folder


def _check_out(folder: Path, overwrite: bool) -> None:
    if not folder.name:
        raise ValueError(f"out must name a folder, got {str(folder)!r}")
    if not os.path.lexists(folder):
        return
    if not folder.is_dir() or folder.is_symlink():
        raise ValueError(f"out must name a folder, got the file {folder}")
    if not overwrite:
        raise ValueError(f"out must not be there yet, got {folder}; give --overwrite to replace it")
    if others := sorted({path.name for path in folder.iterdir()} - set(PUBLISHED)):
        raise ValueError(f"out: {folder} is replaced only if nothing else lies there, but there is {others[0]}")


def _config(model: torch.nn.Module, about: About, license: str) -> str:
    """Return the text of config.json, from which timm makes the model."""
    settings: dict[str, Any] = {
        "architecture": about.model,
        "num_classes": about.num_classes,
        "num_features": model.num_features,
    }
    if isinstance(pool := getattr(model, "global_pool", None), str):
        settings["global_pool"] = pool
    settings["model_args"] = about.model_args
    settings["pretrained_cfg"] = pretrained_cfg(about, model) | {"license": license}
    try:
        return json.dumps(settings, indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"model_arg must hold what JSON can, got {' '.join(about.model_arg)}: {error}") from error


def _for_others(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return the header without the folders of this machine: of an absolute path the last part stays."""
    settings = {
        name: Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value
        for name, value in info["settings"].items()
    }
    return {**info, "settings": settings}
