"""timm's models for the training scripts: fresh, or with weights that a training wrote."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import timm
import torch

from onepfrac.train.bounded import Bound, Bounded

__all__ = ["build_model", "classifier_names", "load_all", "load_body", "model_of", "takes_size"]

# What timm's constructors, forward passes and checkpoint filters raise where arguments, sizes or shapes do not fit.
_UNFIT = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_NAME = re.compile(r"\w+(\.\w+)?", re.ASCII)  # with a tag; neither a path nor a place in the network
_MAX_NUMBER = 1_000_000
_MAX_KERNEL = 64 * 64  # larger patches than any model's; timm's resampling takes time by the square of this


def build_model(
    name: str,
    num_classes: int,
    size: int,
    arguments: Mapping[str, Any],
    drop_path: float = 0.0,
    bound: Bound | None = None,
) -> torch.nn.Module:
    """Make a timm model with fresh weights, in training mode.

    A model that is made for one image size is made for ``size``. Two images are sent through each new model, so
    that what a size or an argument breaks is told here and not in the first step.

    Parameters
    ----------
    name
        Its name in timm.
    num_classes
        Outputs; 0: no classifier, the model gives features.
    size
        Width and height of its images in pixels.
    arguments
        Further keyword arguments of ``timm.create_model``.
    drop_path
        Rate of stochastic depth; 0 is legal for every model.
    bound
        What the model may take, where name or arguments come from strangers.

    Raises
    ------
    ValueError
        If timm does not know the model, or the model refuses an argument, does not take images of this size, has no
        stochastic depth, is no image classifier or takes more than ``bound``.
    """
    if not _NAME.fullmatch(name) or not timm.is_model(name):
        raise ValueError(f"model must be one of timm's (timm.list_models() lists them), got {name!r:.80}")
    if bound is not None:
        _check_numbers(name, [size, *arguments.values()])
    keywords = dict(arguments)
    if takes_size(name):
        keywords["img_size"] = size
    if drop_path:
        keywords["drop_path_rate"] = drop_path
    try:
        with Bounded(bound.making) if bound else nullcontext():
            model: torch.nn.Module = timm.create_model(name, num_classes=num_classes, **keywords)
    except _UNFIT as error:
        if "drop_path_rate" in str(error):
            raise ValueError(
                f"drop_path must be 0 for model {name}, which has no stochastic depth; got {drop_path}"
            ) from error
        raise ValueError(f"model {name} cannot be made with {keywords}: {_why(error)}") from error
    _check_images(model, name, num_classes, (keywords.get("in_chans", 3), size, size), bound)
    return model


def _check_numbers(name: str, values: list[Any]) -> None:
    """Refuse numbers in a stranger's arguments that would make long lists in Python, of which torch knows nothing."""
    while values:
        value = values.pop()
        if isinstance(value, (list, tuple, set, frozenset)):
            values.extend(value)
        elif isinstance(value, dict):
            values.extend([*value.keys(), *value.values()])
        elif isinstance(value, int) and abs(value) > _MAX_NUMBER:
            raise ValueError(f"model {name} must have a size and arguments up to {_MAX_NUMBER}, got {value!r:.20}")


def takes_size(name: str) -> bool:
    """Return whether the model of this name is made for one image size, which its argument ``img_size`` gives."""
    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError as error:  # a tag that timm does not know
        raise ValueError(f"model must be one of timm's (timm.list_models() lists them): {error}") from error
    return config is not None and bool(config.fixed_input_size)


def classifier_names(model: torch.nn.Module) -> tuple[str, ...]:
    """Return the names of the model's classifiers, two where it is distilled, as ``head.fc``."""
    config: Mapping[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    listed = config.get("classifier") or ()
    names = [listed] if isinstance(listed, str) else list(listed)
    # Some of timm's list none, and some of those listed are only a part of the module that another classifier replaces.
    made = model.get_classifier()  # type: ignore[operator]
    heads = made if isinstance(made, (tuple, list)) else (made,)
    names += [name for name, module in model.named_modules() if any(module is head for head in heads)]
    return tuple(dict.fromkeys(names))


def load_body(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Load all weights but the classifier's, which stays as it is.

    What depends on the size of images or patches (position embeddings, tables of relative positions) is resampled as
    timm does for that model.

    Parameters
    ----------
    model
        A timm model.
    weights
        Tensors by timm's names; the classifier's may be absent.
    name
        Where they come from, for error messages.

    Raises
    ------
    ValueError
        If the weights do not fit the model; the message tells the first names or shapes that differ.
    """
    heads = tuple(f"{head}." for head in classifier_names(model))
    own = {key: value for key, value in model.state_dict().items() if not key.startswith(heads)}
    _load(model, own, {key: value for key, value in weights.items() if not key.startswith(heads)}, name)


def load_all(model: torch.nn.Module, weights: Mapping[str, torch.Tensor], name: str) -> None:
    """Load all weights, as `load_body`, and the classifier's too."""
    _load(model, model.state_dict(), weights, name)


def _load(
    model: torch.nn.Module, own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], name: str
) -> None:
    sides = (("the weights lack", own.keys() - weights.keys()), ("the model lacks", weights.keys() - own.keys()))
    if odd := [f"{what} {_some(sorted(names))}" for what, names in sides if names]:
        raise ValueError(f"{name} does not fit the model: {'; '.join(odd)}")
    fitted = dict(weights)
    if _differing(own, fitted):
        fitted = _resample(model, fitted)
    if differing := _differing(own, fitted):
        shapes = [f"{key} is {tuple(weights[key].shape)}, the model's {tuple(own[key].shape)}" for key in differing]
        raise ValueError(f"{name} does not fit the model: {_some(shapes)}")
    model.load_state_dict(fitted, strict=False)


def _differing(own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor]) -> list[str]:
    return [key for key, value in own.items() if value.shape != weights[key].shape]


def _resample(model: torch.nn.Module, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights as timm fits them to a model of another image size; unchanged where it cannot."""
    # The function that create_model(..., pretrained=True) calls; it stands beside the model's class.
    fit = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if fit is None or any(value.ndim == 4 and value.shape[2:].numel() > _MAX_KERNEL for value in weights.values()):
        return weights
    try:
        fitted: dict[str, torch.Tensor] = fit(dict(weights), model)
    except _UNFIT:
        return weights
    return fitted if fitted.keys() == weights.keys() else weights


def _check_images(
    model: torch.nn.Module, name: str, num_classes: int, shape: tuple[Any, int, int], bound: Bound | None
) -> None:
    """Send two images through, as training does, and leave model and random numbers as they were.

    Raises
    ------
    ValueError
        If the model cannot take them, or does not give a row of ``num_classes`` numbers for each.
    """
    weight, buffers = next(model.parameters()), [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), Bounded(bound.passing) if bound else nullcontext():
            outputs = model(torch.zeros(2, *shape, dtype=weight.dtype, device=weight.device))
    except _UNFIT as error:
        raise ValueError(f"model {name} cannot take images of {shape[1]} x {shape[2]} pixels: {_why(error)}") from error
    for buffer, before in buffers:  # statistics of batch norm
        buffer.copy_(before)
    given = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
    if num_classes and given != (2, num_classes):
        raise ValueError(f"model {name} must give {num_classes} numbers for each of 2 images, but gives {given}")


def _why(error: Exception) -> str:
    return str(error)[:1000] or type(error).__name__  # some of timm's asserts say nothing


def _some(words: list[str]) -> str:
    """Return at most three of the words, and how many more there are."""
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more


def model_of(
    model: str, model_arg: tuple[str, ...], size: int, weights: str, info: dict[str, Any]
) -> tuple[str, tuple[str, ...], int]:
    """Return a model's name, its arguments and the image size: those given, else those that the weights name.

    Parameters
    ----------
    model, model_arg, size
        What was asked for: a model of timm, its arguments as ``key=value``, pixels; '' and 0 where not given.
    weights
        Path of the weights, for the error.
    info
        What the header of the weights says.

    Raises
    ------
    ValueError
        If neither names a model, or what the header says of it is not legal.
    """
    made = info.get("settings", {})
    made = made if isinstance(made, dict) else {}
    name, arguments = info.get("model") or made.get("model"), info.get("model_arg", made.get("model_arg")) or []
    if not (model or name):
        raise ValueError(f"model must be given, because {weights} does not name one")
    trained = info.get("size", made.get("size", 0))
    if type(trained) is not int or not 0 <= trained <= _MAX_NUMBER:
        raise ValueError(f"the header of {weights}: size must be a number of pixels, got {trained!r:.80}")
    if model:
        return model, model_arg, size or trained or 224
    if not isinstance(name, str):
        raise ValueError(f"the header of {weights}: model must be one of timm's, got {name!r:.80}")
    if not isinstance(arguments, (list, tuple)) or not all(isinstance(pair, str) for pair in arguments):
        raise ValueError(f"the header of {weights}: model_arg must be a list of strings, got {arguments!r:.80}")
    return name, tuple(arguments), size or trained or 224
