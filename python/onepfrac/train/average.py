"""An exponential moving average of a model's weights, as DeiT and ConvNeXt keep one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from onepfrac.train.parallel import local, spread_like, whole

__all__ = ["Average"]

_PREFIX = "average."


class Average:
    """``average <- d average + (1 - d) weights`` after each step, with ``d = min(decay, (1 + step) / (10 + step))``.

    Buffers such as the statistics of a BatchNorm are averaged too; integers are the model's own. Where FSDP spread the
    model's weights the average is spread in the same way.
    """

    def __init__(self, model: torch.nn.Module, decay: float) -> None:
        self._decay = decay
        self._model = model.state_dict()  # shares the model's memory
        self._names = [name for name, tensor in self._model.items() if tensor.is_floating_point()]
        self._average = {name: self._model[name].detach().clone() for name in self._names}

    def update(self, step: int) -> None:
        """Take in the weights after so many steps."""
        blend = get_ema_multi_avg_fn(min(self._decay, (1 + step) / (10 + step)))
        parts = [[local(tensors[name]) for name in self._names] for tensors in (self._average, self._model)]
        blend(*parts, None)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a state_dict, whole; every rank must call it where weights are spread."""
        return {name: whole(self._average.get(name, tensor)) for name, tensor in self._model.items()}

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a checkpoint must hold, under names of its own; every rank must call it."""
        return {_PREFIX + name: whole(tensor) for name, tensor in self._average.items()}

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Take over what `state` returned.

        Raises
        ------
        ValueError
            If names or shapes are those of another model.
        """
        shapes = {_PREFIX + name: tensor.shape for name, tensor in self._average.items()}
        if {name: tensor.shape for name, tensor in tensors.items()} != shapes:
            raise ValueError(f"the average of {len(tensors)} tensors does not fit this model's {len(shapes)}")
        for name, own in self._average.items():
            local(own).copy_(local(spread_like(tensors[_PREFIX + name], own)))
