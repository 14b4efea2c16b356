"""A bound on the memory and the time that torch takes for a model that strangers describe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

__all__ = ["Bound", "Bounded", "Limits", "bound_by"]

_MIB = 1024 * 1024
_PIXELS = 224 * 224
_FEATURES = 16384  # of a classifier's input, at most


@dataclass(frozen=True)
class Limits:
    """Bytes of all new tensors together, bytes of the largest one, and operations."""

    total: int
    largest: int
    operations: int


@dataclass(frozen=True)
class Bound:
    """What making a model may take, and what sending two images through it."""

    making: Limits
    passing: Limits


def bound_by(tensors: Mapping[str, torch.Tensor], num_classes: int = 0, size: int = 0) -> Bound:
    """Return what the model may take whose weights are said to be these.

    timm's models take at most 1.2 times the memory of their weights while they are made, and less than ten operations
    a weight. The bound leaves each twice that and more, and what small models need.

    Parameters
    ----------
    tensors
        All tensors of the file.
    num_classes, size
        Outputs and pixels for which the caller himself asks, 0 where the file decides; those of the file give no room.
    """
    weights = sum(4 * tensor.numel() for tensor in tensors.values())
    room = max(1.0, size**2 / _PIXELS)
    making = 2 * weights + int(64 * _MIB * room) + 4 * _FEATURES * num_classes
    operations = 4000 + 40 * min(len(tensors), 10_000)
    largest = weights + int(512 * _MIB * room)
    return Bound(Limits(making, making, operations), Limits(64 * largest, largest, operations))


class Bounded(TorchDispatchMode):
    """A context in which torch makes no more tensors, and no larger ones, than limits say.

    Each operation is first done without memory (on the device "meta"), which tells the size of what it would give.

    Raises
    ------
    ValueError
        Where an operation would go beyond the limits; it is not done.
    """

    def __init__(self, limits: Limits) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._limits = limits
        self._bytes = 0
        self._operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do an operation if what it gives is within the limits."""
        kwargs = kwargs or {}
        self._operations += 1
        if func.overloadpacket is torch.ops.aten.unbind:  # what iterates over a tensor makes one of each of its rows
            self._operations += args[0].shape[args[1] if len(args) > 1 else 0]
        if self._operations > self._limits.operations:
            raise ValueError(
                f"it takes more than {self._limits.operations} operations, more than its weights let expect"
            )
        if not func._schema.name.endswith("_"):  # in place, where nothing is made
            size = _size_of_outputs(func, args, kwargs)
            self._bytes += size
            if size > self._limits.largest or self._bytes > self._limits.total:
                raise ValueError(
                    f"it takes more memory than its weights let expect: {self._bytes} bytes with a tensor of {size},"
                    f" and may take {self._limits.total} with one of {self._limits.largest}"
                )
        return func(*args, **kwargs)


def _size_of_outputs(func: Any, args: Any, kwargs: Any) -> int:
    """Return the bytes that the outputs of an operation would take; views of its inputs take none."""
    names = {argument.name for argument in func._schema.arguments}
    given = tree_map(
        _without_memory, (args, {**kwargs, **({"device": torch.device("meta")} if "device" in names else {})})
    )
    held = {leaf.untyped_storage()._cdata for leaf in tree_leaves(given) if isinstance(leaf, torch.Tensor)}
    try:
        made = func(*given[0], **given[1])
    except (NotImplementedError, RuntimeError):  # its size depends on values, as of `item`; or it is no legal call
        return 0
    storages = {
        leaf.untyped_storage()._cdata: leaf.untyped_storage().nbytes()
        for leaf in tree_leaves(made)
        if isinstance(leaf, torch.Tensor)
    }
    return sum(size for storage, size in storages.items() if storage not in held)


def _without_memory(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
