"""Several processes under torchrun: their group, DDP or FSDP, tensors that are spread over ranks, stopping together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

__all__ = [
    "Vote",
    "begin",
    "end",
    "local",
    "place",
    "same_everywhere",
    "spread_like",
    "total",
    "whole",
    "without_sync",
    "wrap",
]


def place() -> tuple[int, int]:
    """Return rank and number of ranks as torchrun's environment says: 0 of 1 without it."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))


def begin(device: torch.device) -> bool:
    """Make torch.distributed's process group if there are several ranks and no group yet; return whether it did."""
    if place()[1] == 1 or dist.is_initialized():
        return False
    store, rank, world = next(dist.rendezvous("env://"))
    if os.environ.get("GROUP_WORLD_SIZE") == "1":
        # torchrun keeps its store when it starts the ranks again, with the addresses of those that died: a newcomer
        # that reads them before they are replaced fails. Between machines the counts differ; see docs/training.md.
        store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world)
    return True


def end(begun: bool) -> None:
    """Wait for all ranks, and destroy the process group if `begin` made it."""
    if begun:
        dist.barrier()
        dist.destroy_process_group()


def wrap(model: torch.nn.Module, device: torch.device, way: str) -> torch.nn.Module:
    """Return the module to train, whose gradients are means over all ranks.

    Parameters
    ----------
    model
        A timm model on ``device``, with the same weights on every rank. ``"fsdp"`` spreads its own parameters over the
        ranks, so its optimizer must be made afterwards.
    device
        The rank's device.
    way
        ``"ddp"``: every rank holds all weights. ``"fsdp"``: weights, gradients and optimizer state are spread (Zhao et
        al., VLDB 2023), gathered stage by stage when they are needed. ``"auto"``: DDP.

    Raises
    ------
    ValueError
        If FSDP is asked for and this torch has none (before 2.6).
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return model
    if way != "fsdp":
        return DistributedDataParallel(model, device_ids=[device] if device.type == "cuda" else None)
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError as error:
        raise ValueError(f"parallel must be ddp with torch {torch.__version__}: fsdp needs 2.6 or later") from error
    mesh = dist.init_device_mesh(device.type, (dist.get_world_size(),))
    # timm names the stages of a model, which are blocks in a ViT, by the modules whose outputs are its features.
    for stage in dict.fromkeys(entry["module"] for entry in getattr(model, "feature_info", [])):
        module = model.get_submodule(stage)
        if any(True for _ in module.parameters()):
            fully_shard(module, mesh=mesh)
    fully_shard(model, mesh=mesh)
    return model


@contextmanager
def without_sync(net: torch.nn.Module, skip: bool) -> Iterator[None]:
    """Where ``skip``, let gradients add up on each rank instead of exchanging them: more of the step is to come."""
    exchange: Any = net
    if hasattr(net, "set_requires_gradient_sync"):  # FSDP
        exchange.set_requires_gradient_sync(not skip)
        yield
    else:
        with exchange.no_sync() if skip and hasattr(net, "no_sync") else nullcontext():
            yield


def local(tensor: torch.Tensor) -> torch.Tensor:
    """Return this rank's part of a spread tensor, which shares its memory; any other tensor as it is."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return all of a spread tensor; every rank must call it. Any other tensor comes back as it is."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def spread_like(tensor: torch.Tensor, model: Any) -> torch.Tensor:
    """Return a whole tensor, which every rank has, spread as ``model`` is if that is spread and of the same shape."""
    if not hasattr(model, "device_mesh") or tensor.shape != model.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements, src_data_rank=None)


def same_everywhere(name: str, value: int) -> None:
    """Check that all ranks have the same integer.

    Raises
    ------
    ValueError
        On every rank, if they do not.
    """
    if not dist.is_initialized():
        return
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    if len(set(values)) > 1:
        raise ValueError(f"{name} must be the same on all ranks, got {values}: do they see the same folder?")


def total(values: torch.Tensor) -> torch.Tensor:
    """Return the sum of a tensor over all ranks, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


class Vote:
    """Lets the ranks stop after the same step, though a signal or a clock reaches each at another moment.

    Each step's wishes are exchanged while the next step is computed, on the CPU, so nobody waits for them.
    """

    def __init__(self) -> None:
        many = dist.is_initialized() and dist.get_world_size() > 1
        self._group: Any = dist.new_group(backend="gloo") if many else None
        self._pending: tuple[torch.Tensor, Any] | None = None

    def stop(self, wish: bool) -> bool:
        """Return whether any rank wished to stop: of one rank now, of several a step ago."""
        if self._group is None:
            return wish
        stops = False
        if self._pending is not None:
            wishes, work = self._pending
            work.wait()
            stops = bool(wishes.item())
        wishes = torch.tensor(float(wish))
        self._pending = (wishes, dist.all_reduce(wishes, group=self._group, async_op=True))
        return stops

    def close(self) -> None:
        """Wait for the last exchange, which nobody asked for."""
        if self._pending is not None:
            self._pending[1].wait()
