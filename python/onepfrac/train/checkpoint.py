"""Weights and checkpoints as safetensors: tensors, and in the header one JSON object that says what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from onepfrac import files

__all__ = ["read", "read_info", "restore", "training_state", "write"]

_KEY = "onepfrac"  # the header's entry that holds the JSON object


def write(path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], info: Mapping[str, Any]) -> None:
    """Write tensors of any device, and ``info`` (plain JSON data), to ``path``; the file is whole or absent."""
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    # "format" is what other readers of safetensors look for.
    files.write_bytes(path, save(plain, {"format": "pt", _KEY: files.canonical_json(dict(info))}))


def read_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object in the header of a safetensors file, empty if another hand wrote it.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated or no safetensors file, or its JSON object is not legal.
    """
    return _open(path, with_tensors=False)[1]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a safetensors file, on the CPU, and what `read_info` returns; raises as that does."""
    return _open(path, with_tensors=True)


def training_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return weights and optimizer state as named tensors, without learning rates: those follow from the step."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    state: dict[int, dict[str, torch.Tensor]] = optimizer.state_dict()["state"]
    return tensors | {f"optimizer.{i}.{key}": tensor for i, entry in state.items() for key, tensor in entry.items()}


def restore(model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put what `training_state` returned back into a model and an optimizer of the same make.

    Raises
    ------
    ValueError
        If it does not fit them.
    """
    weights: dict[str, torch.Tensor] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        index, _, key = rest.partition(".")
        if part == "model":
            weights[rest] = tensor
        elif (
            part == "optimizer"
            and index.isdecimal()
            and int(index) < len(shapes)
            and tensor.shape in (torch.Size(), shapes[int(index)])
        ):
            state.setdefault(int(index), {})[key] = tensor
        else:
            raise ValueError(f"tensor {name!r} of shape {tuple(tensor.shape)} belongs to nothing in this model")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the model: {error}") from error
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def _open(path: str | os.PathLike[str], with_tensors: bool) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    with open(path, "rb"):  # raises the plain OSError where the file cannot be read
        pass
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            names = list(file.keys()) if with_tensors else []
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or no safetensors file: {error}") from error
    info = files.parse_json_object(metadata[_KEY], f"the header of {path}") if _KEY in metadata else {}
    return tensors, info
