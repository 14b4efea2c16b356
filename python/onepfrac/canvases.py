"""Canvases kept as bits: with fixed draws a class has one canvas for ever, so it need be drawn only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from onepfrac.plan import Plan
from onepfrac.rendering import to_device

__all__ = ["CanvasStore", "store_bytes"]


def store_bytes(num_classes: int, canvas: int) -> int:
    """Return the size of a store in bytes: one bit a pixel, rows padded to whole words."""
    return num_classes * canvas * 4 * -(-canvas // 32)


class CanvasStore:
    """The canvases of all classes of a recipe on one device, each drawn when it is first asked for.

    Parameters
    ----------
    num_classes, canvas
        L, and the side of a canvas in pixels.
    device
        Where they are kept.
    draw_bits
        Draws planned canvases as bits, int32 (B, 1, canvas, words) on ``device``.
    """

    def __init__(
        self, num_classes: int, canvas: int, device: torch.device, draw_bits: Callable[[Plan], torch.Tensor]
    ) -> None:
        self._draw_bits = draw_bits
        self._bits = torch.empty((num_classes, 1, canvas, -(-canvas // 32)), dtype=torch.int32, device=device)
        self._known = np.zeros(num_classes, np.bool_)
        self._written: Any = None  # on CUDA, the event after the last writing: another stream may read

    def with_canvases_of(self, plan: Plan) -> torch.Tensor:
        """Return the store, int32 (L, 1, canvas, words), in which the canvases of a plan with fixed draws are drawn."""
        if self._written is not None:
            torch.cuda.current_stream(self._bits.device).wait_event(self._written)
        labels, first = np.unique(plan.labels, return_index=True)
        missing = ~self._known[labels]
        if missing.any():
            rows = to_device(torch.from_numpy(labels[missing]), self._bits.device)
            self._bits[rows] = self._draw_bits(plan[first[missing]])
            self._known[labels[missing]] = True
            if self._bits.is_cuda:
                self._written = torch.cuda.Event()
                self._written.record(torch.cuda.current_stream(self._bits.device))
        if self._bits.is_cuda:  # its memory stays until this stream, too, is done with it
            self._bits.record_stream(torch.cuda.current_stream(self._bits.device))
        return self._bits
