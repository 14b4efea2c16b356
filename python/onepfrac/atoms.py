"""Visual Atoms as the renderer takes them, and drawing them. The recipe is `onepfrac.VisualAtoms`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepfrac import _C
from onepfrac.buffers import allocate
from onepfrac.checks import check_int
from onepfrac.rendering import MAX_SIZE, MIN_SIZE, check_threads, simd_cap, stream_of, to_device

__all__ = [
    "MAX_COEFFICIENT",
    "MAX_LINES",
    "MAX_LINE_WIDTH",
    "MAX_OVAL",
    "MAX_RADIUS",
    "MAX_VERTICES",
    "MAX_WAVES",
    "Atoms",
    "atom_words",
    "draw_atoms",
    "polylines",
]

MAX_VERTICES: int = _C.MAX_ATOM_VERTICES
MAX_LINES: int = _C.MAX_ATOM_LINES
MAX_WAVES: int = _C.MAX_ATOM_WAVES
MAX_COEFFICIENT = 100.0
MAX_LINE_WIDTH = 100.0
MAX_RADIUS = 4096
MAX_OVAL = 64.0


@dataclass(frozen=True, eq=False)
class Atoms:
    """A batch of Visual Atoms, packed.

    Attributes
    ----------
    words
        int32 tensor (B, 13), the renderer's own layout, on the device that draws: see `atom_words`.
    max_vertices
        No atom has more vertices, 3..2048.
    """

    words: torch.Tensor
    max_vertices: int

    @staticmethod
    def of(words: NDArray[np.uint32], max_vertices: int, device: torch.device) -> Atoms:
        """Bring what `atom_words` returned to a device."""
        return Atoms(to_device(torch.from_numpy(words.view(np.int32)), device), max_vertices)

    def __len__(self) -> int:
        return self.words.shape[0]

    @property
    def device(self) -> torch.device:
        """Where the atoms are."""
        return self.words.device


def atom_words(
    keys: NDArray[np.uint64],
    *,
    vertices: ArrayLike,
    lines: ArrayLike,
    waves: ArrayLike,
    coefficient: ArrayLike,
    line_width: ArrayLike,
    radius: ArrayLike,
    oval: ArrayLike,
    centre: ArrayLike,
) -> NDArray[np.uint32]:
    """Check atoms and lay them out as the renderer takes them.

    Parameters
    ----------
    keys
        uint64 (B,), the keys of the images' draws.
    vertices, lines
        Integers (B,), 3..2048 and 1..2000.
    waves
        Integers (B, 2), 0..1000: how often the two sine waves go round.
    coefficient
        (B,), 0..100: of the noise, in pixels.
    line_width
        (B,), 0..100: how much further out each line lies, in pixels.
    radius
        (B,), 0..4096: of the start, in pixels.
    oval
        (B, 2), 0..64: factors of the radius in x and y.
    centre
        (B, 2), -16384..16384: x and y in pixels.

    Returns
    -------
    uint32 (B, 13)

    Raises
    ------
    ValueError
        Naming the atom, what is wrong with it and what is legal; or an array of another shape.
    """
    batch = len(keys)
    counts = np.empty((batch, 4), np.int32)
    counts[:, 0], counts[:, 1], counts[:, 2:] = vertices, lines, waves
    sizes = np.empty((batch, 7), np.float32)
    sizes[:, 0], sizes[:, 1], sizes[:, 2] = coefficient, line_width, radius
    sizes[:, 3:5], sizes[:, 5:] = oval, centre
    return _C.pack_atoms(np.ascontiguousarray(keys, np.uint64), counts, sizes)


def draw_atoms(atoms: Atoms, *, size: int, threads: int | None = None) -> torch.Tensor:
    """Draw atoms on the device that they are on: closed polylines, later lines over earlier ones, on black.

    On a GPU the work is queued on torch's current stream.

    Parameters
    ----------
    atoms
        B packed atoms.
    size
        Side of the canvas in pixels, 8..4096.
    threads
        CPU threads, 1..1024. Default: ``torch.get_num_threads()``.

    Returns
    -------
    uint8 tensor (B, 1, size, size) of grays.

    References
    ----------
    Takashima et al., "Visual Atoms: Pre-training Vision Transformers with Sinusoidal Waves", CVPR 2023.
    """
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    out = allocate((len(atoms), 1, size, size), torch.uint8, atoms.device)
    _C.draw_atoms(atoms.words, out, atoms.max_vertices, check_threads(threads), simd_cap(), stream_of(atoms.device))
    return out


def polylines(words: NDArray[np.uint32], number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return the lines of atom ``number`` of ``words``, in the order in which they are drawn.

    Returns
    -------
    (float32 (lines, vertices, 2), uint8 (lines,)): x and y of the vertices in pixels, not closed; grays.
    """
    return _C.atom_polylines(words, number)
