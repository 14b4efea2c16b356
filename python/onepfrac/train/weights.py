"""Weights that a training wrote: what their header says, the timm model with them in it, and the recipe behind them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch

from onepfrac.datasets import RECIPES, Recipe
from onepfrac.train import checkpoint, options
from onepfrac.train.bounded import bound_by
from onepfrac.train.models import build_model, classifier_names, load_all, load_body, takes_size

__all__ = [
    "About",
    "about_weights",
    "load_pretrained",
    "make_model",
    "pretrained_cfg",
    "read_weights",
    "recipe_in",
    "recipe_of_weights",
]

_KIND = re.compile(r"weights of onepfrac (\w+), format 1")
_FILES = ("weights.safetensors", "model.safetensors")  # of a run's folder, of a published one


@dataclass(frozen=True)
class About:
    """What the header of a weights file says.

    ``program`` is the training that wrote it (``pretrain``, ``finetune``, ``mae``), ``info`` the header's JSON object.
    ``num_classes`` is 0 where there is no classifier; ``size`` is the width and height of the images in pixels.
    """

    path: Path
    program: str
    model: str
    model_arg: tuple[str, ...]
    size: int
    num_classes: int
    info: Mapping[str, Any]

    @property
    def model_args(self) -> dict[str, Any]:
        """Keyword arguments with which ``timm.create_model`` makes the model, besides the number of classes."""
        arguments = options.model_arguments(self.model_arg)
        return arguments | ({"img_size": self.size} if takes_size(self.model) else {})


def about_weights(path: str | os.PathLike[str]) -> About:
    """Read the header of a weights file.

    Parameters
    ----------
    path
        A weights file, or a folder that holds ``weights.safetensors`` (a run's) or ``model.safetensors`` (published).

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If it is no weights file that a training of onepfrac wrote, or its header is not legal.
    """
    file = _file(path)
    return _about(file, checkpoint.read_info(file))


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], About]:
    """Return the tensors of a weights file, on the CPU, and what `about_weights` returns; raises as that does.

    Raises
    ------
    ValueError
        Also if the header holds a checksum of the tensors, and it is that of others.
    """
    file = _file(path)
    tensors, info = checkpoint.read(file)
    about = _about(file, info)
    return tensors, about


def load_pretrained(
    path: str | os.PathLike[str], num_classes: int | None = None, *, size: int | None = None, drop_path: float = 0.0
) -> torch.nn.Module:
    """Return the timm model of a weights file, with the weights in it.

    Parameters
    ----------
    path
        A weights file that ``onepfrac pretrain``, ``finetune`` or the MAE training wrote, or a folder that holds
        ``weights.safetensors`` (a run's) or ``model.safetensors`` (what ``onepfrac publish`` wrote).
    num_classes
        None: as the weights, with their classifier if they have one. 0: no classifier, the model gives features
        (B, ``model.head_hidden_size``). Another number: a fresh classifier, drawn from torch's generator; the number
        of the weights keeps theirs.
    size
        Width and height of the images in pixels, where not those of the training; position embeddings and tables of
        relative positions are resampled as timm does.
    drop_path
        Rate of stochastic depth, for training on.

    Returns
    -------
    A float32 model on the CPU, in training mode as ``timm.create_model`` gives it; call ``.eval()`` before inference.
    Its ``pretrained_cfg`` says how images are prepared (mean = std = 0.5), for ``timm.data.resolve_model_data_config``.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    ValueError
        If onepfrac wrote no such file, it was altered, an argument is not legal for its model, or the model that it
        names takes much more memory than the weights that it holds.
    """
    tensors, about = read_weights(path)
    return make_model(tensors, about, num_classes, size, drop_path)


def make_model(
    tensors: Mapping[str, torch.Tensor],
    about: About,
    num_classes: int | None = None,
    size: int | None = None,
    drop_path: float = 0.0,
) -> torch.nn.Module:
    """Return the timm model of weights that were read, see `load_pretrained`."""
    outputs = about.num_classes if num_classes is None else num_classes
    arguments = options.model_arguments(about.model_arg)
    bound = bound_by(tensors, num_classes or 0, size or 0)
    model = build_model(about.model, outputs, about.size if size is None else size, arguments, drop_path, bound)
    if outputs == about.num_classes:
        load_all(model, tensors, str(about.path))
    else:
        load_body(model, tensors, str(about.path))
    config: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    described = pretrained_cfg(about, model)
    config.clear()
    config.update(described)
    return model


def pretrained_cfg(about: About, model: torch.nn.Module) -> dict[str, Any]:
    """Return what timm calls ``pretrained_cfg``: how images are prepared for the weights, and which layers are special.

    Parameters
    ----------
    about
        The weights.
    model
        A model of their architecture.
    """
    own: Mapping[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    channels = int(about.model_args.get("in_chans", 3))
    names = {"label_names": tuple(about.info["classes"])} if about.program == "finetune" else {}
    return {
        "architecture": about.model,
        "tag": f"onepfrac_{about.program}",
        "custom_load": False,
        "input_size": (channels, about.size, about.size),
        "fixed_input_size": takes_size(about.model),
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": (0.5,) * channels,
        "std": (0.5,) * channels,
        "num_classes": about.num_classes,
        "pool_size": None,
        "first_conv": own.get("first_conv"),
        "classifier": own.get("classifier") or classifier_names(model),
        **names,
    }


def recipe_of_weights(path: str | os.PathLike[str]) -> Recipe:
    """Return the recipe of the images on which weights were trained, from their header.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    TypeError, ValueError
        If it is no weights file of onepfrac, holds no recipe, or one whose fingerprint is not the header's.
    """
    return recipe_in(about_weights(path))


def recipe_in(about: About) -> Recipe:
    """Return the recipe in a header that was read, see `recipe_of_weights`."""
    values, name = about.info.get("recipe"), f"the recipe in {about.path}"
    if not isinstance(values, dict):
        raise ValueError(f"{about.path} holds no recipe; the weights of pretrain do")
    kind = RECIPES.get(str(values.get("dataset")))
    if kind is None:
        raise ValueError(f"{name}: dataset must be one of {', '.join(RECIPES)}, got {values.get('dataset')!r:.80}")
    recipe = kind.from_fields(values, name)
    if recipe.fingerprint != about.info.get("fingerprint"):
        raise ValueError(
            f"{name} was altered: its fingerprint is {recipe.fingerprint}, the header says"
            f" {about.info.get('fingerprint')!r:.80}"
        )
    return recipe


def _file(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    if not found.is_dir():
        return found
    for name in _FILES:
        if (found / name).is_file():
            return found / name
    raise FileNotFoundError(f"the folder {path} holds none of {', '.join(_FILES)}")


def _about(file: Path, info: dict[str, Any]) -> About:
    written = _KIND.fullmatch(str(info.get("kind")))
    if written is None:
        raise ValueError(
            f"{file} must be weights that onepfrac pretrain, finetune or mae wrote, but is"
            f" {info.get('kind', 'of another program')!r:.80}"
        )
    settings = info.get("settings")
    if not isinstance(settings, dict):
        raise ValueError(f"the header of {file} must hold settings, got {settings!r:.80}")
    # What finetune resolved stands beside its settings, in which the model may be left open.
    model, arguments, size = (info.get(key, settings.get(key)) for key in ("model", "model_arg", "size"))
    arguments = [] if arguments is None else arguments
    if not isinstance(model, str) or not timm.is_model(model):
        raise ValueError(f"the header of {file}: model must be one of timm's, got {model!r:.80}")
    if not isinstance(arguments, list) or not all(isinstance(pair, str) for pair in arguments):
        raise ValueError(f"the header of {file}: model_arg must be a list of strings, got {arguments!r:.80}")
    if type(size) is not int or size < 1:
        raise ValueError(f"the header of {file}: size must be a number of pixels, got {size!r:.80}")
    return About(file, written[1], model, tuple(arguments), size, _num_classes(file, written[1], info), info)


def _num_classes(file: Path, program: str, info: Mapping[str, Any]) -> int:
    if program == "finetune":
        classes = info.get("classes")
        if not isinstance(classes, list) or not classes:
            raise ValueError(f"the header of {file}: classes must be a list of names, got {classes!r:.80}")
        return len(classes)
    if program != "pretrain":
        return 0
    recipe = info.get("recipe")
    count = recipe.get("num_classes") if isinstance(recipe, dict) else None
    if type(count) is not int or count < 1:
        raise ValueError(f"the header of {file}: the recipe's num_classes must be at least 1, got {count!r:.80}")
    return count
