"""Weights and checkpoints as safetensors: tensors, and in the header one JSON object that says what they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from onepfrac import files
from onepfrac.train.average import Average
from onepfrac.train.digest import check_digest, check_seal, digest, sealed
from onepfrac.train.parallel import spread_like, whole

__all__ = ["read", "read_info", "restore", "training_state", "write"]

_KEY = "onepfrac"  # the header's entry that holds the JSON object
_SCALER: dict[str, type] = {"scale": float, "_growth_tracker": int}  # what moves in a GradScaler, with its types


def write(
    path: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], info: Mapping[str, Any], here: bool = True
) -> None:
    """Write tensors of any device and ``info`` (plain JSON data) to ``path``; the file is whole or absent.

    A checksum of the tensors and one of the header with it make sure that what is read is what was written.

    Where not ``here``, as on all ranks but one, nothing is written.
    """
    if not here:
        return
    # Copies, because safetensors refuses tensors that share memory, as tied weights do.
    plain = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    about = sealed({**info, "sha256": digest(plain)})
    # "format" is what other readers of safetensors look for.
    files.write_bytes(path, save(plain, {"format": "pt", _KEY: files.canonical_json(about)}))


def read_info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the JSON object in the header of a safetensors file, empty if another hand wrote it.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is truncated or no safetensors file, its JSON object is not legal, or not the one that was written.
    """
    return _open(path, with_tensors=False)[1]


def read(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors of a safetensors file, on the CPU, and what `read_info` returns.

    Raises
    ------
    OSError, ValueError
        As `read_info`; and if the tensors are not those that were written.
    """
    tensors, info = _open(path, with_tensors=True)
    if info:  # another hand wrote no checksum
        check_digest(tensors, info, str(path))
    return tensors, info


def training_state(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None = None,
    average: Average | None = None,
) -> dict[str, torch.Tensor]:
    """Return all that a run needs besides its step's number as named tensors; learning rates follow from the step.

    Where FSDP spread the weights every rank must call it, and gets them whole.
    """
    tensors = {f"model.{name}": whole(tensor) for name, tensor in model.state_dict().items()}
    state: dict[int, dict[str, torch.Tensor]] = optimizer.state_dict()["state"]
    for i, entry in state.items():
        # Lion and SGD keep no counter; a None is a momentum that no gradient has reached.
        tensors |= {f"optimizer.{i}.{key}": whole(value) for key, value in entry.items() if value is not None}
    if scaler is not None and scaler.is_enabled():
        moving = scaler.state_dict()
        tensors |= {f"scaler.{key}": torch.tensor(moving[key], dtype=torch.float64) for key in _SCALER}
    return tensors | (average.state() if average is not None else {})


def restore(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, torch.Tensor],
    scaler: torch.amp.GradScaler | None = None,
    average: Average | None = None,
) -> None:
    """Put what `training_state` returned back into objects of the same make, on any number of ranks.

    Raises
    ------
    ValueError
        If it does not fit them.
    """
    own = model.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    weights: dict[str, torch.Tensor] = {}
    state: dict[int, dict[str, torch.Tensor]] = {}
    averaged: dict[str, torch.Tensor] = {}
    scales: dict[str, float] = {}
    for name, tensor in tensors.items():
        part, _, rest = name.partition(".")
        index, _, key = rest.partition(".")
        if part == "model":
            weights[rest] = spread_like(tensor, own[rest]) if rest in own else tensor
        elif (
            part == "optimizer"
            and index.isdecimal()
            and int(index) < len(parameters)
            and tensor.shape in (torch.Size(), parameters[int(index)].shape)
        ):
            state.setdefault(int(index), {})[key] = spread_like(tensor, parameters[int(index)])
        elif part == "scaler" and scaler is not None and scaler.is_enabled() and tensor.ndim == 0:
            scales[rest] = _SCALER[rest](tensor.item()) if rest in _SCALER else tensor.item()
        elif part == "average" and average is not None:
            averaged[name] = tensor
        else:
            raise ValueError(f"tensor {name!r} of shape {tuple(tensor.shape)} belongs to nothing in this model")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"the weights do not fit the model: {error}") from error
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    if scaler is not None and scaler.is_enabled():
        if scales.keys() != _SCALER.keys():
            raise ValueError(f"the loss scale must have {sorted(_SCALER)}, got {sorted(scales)}")
        scaler.load_state_dict(scaler.state_dict() | scales)
    if average is not None:
        average.load(averaged)


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
    if _KEY not in metadata:
        return tensors, {}
    info = files.parse_json_object(metadata[_KEY], f"the header of {path}")
    check_seal(info, str(path))
    return tensors, info
