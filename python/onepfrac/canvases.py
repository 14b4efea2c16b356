"""Canvases kept: with fixed draws an image has one canvas for ever, so it need be drawn only once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from onepfrac.buffers import allocate
from onepfrac.mutex import Mutex
from onepfrac.plan import Plan
from onepfrac.rendering import BITS, to_device

__all__ = ["CanvasStore", "store_shape"]


def store_shape(
    num_images: int, planes: int, canvas: int, bitmap: bool
) -> tuple[tuple[int, int, int, int], torch.dtype]:
    """Return shape and dtype of a store: bitmaps as bits, rows padded to whole words, other canvases as they are."""
    if bitmap:
        return (num_images, planes, canvas, -(-canvas // 32)), BITS
    return (num_images, planes, canvas, canvas), torch.uint8


class CanvasStore:
    """The canvases of all images of a recipe on one device, each drawn when it is first asked for.

    Parameters
    ----------
    shape, dtype
        Of all canvases, see `store_shape`.
    device
        Where they are kept.
    draw
        Draws planned canvases, in this dtype and shape but for the first number, on ``device``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        dtype: torch.dtype,
        device: torch.device,
        draw: Callable[[Plan], torch.Tensor],
    ) -> None:
        self._draw = draw
        self._canvases = allocate(shape, dtype, device)
        self._known = np.zeros(shape[0], np.bool_)
        self._mutex = Mutex()  # without it one thread could see that a canvas is known before it sees the canvas
        self._written: Any = None  # on CUDA, the event after the last writing: another stream may read

    def with_canvases_of(self, plan: Plan) -> torch.Tensor:
        """Return the store, (num_images, ...), in which the canvases of a plan with fixed draws are drawn."""
        with self._mutex.lock:
            self._draw_missing(plan)
        return self._canvases

    def _draw_missing(self, plan: Plan) -> None:
        kept = self._canvases
        if self._written is not None:
            torch.cuda.current_stream(kept.device).wait_event(self._written)
        images, first = np.unique(plan.images, return_index=True)
        missing = ~self._known[images]
        if missing.any():
            rows = to_device(torch.from_numpy(images[missing]), kept.device)
            kept[rows] = self._draw(plan[first[missing]])
            self._known[images[missing]] = True
            if kept.is_cuda:
                self._written = torch.cuda.Event()
                self._written.record(torch.cuda.current_stream(kept.device))
        if kept.is_cuda:  # its memory stays until this stream, too, is done with it
            kept.record_stream(torch.cuda.current_stream(kept.device))
