"""Rendering: systems in, pictures out. Every function is pure: the same arguments give the same bits on every device.

The work is done in the extension ``_C``; this module checks arguments and converts arrays.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepfrac import _C
from onepfrac.checks import check_choice, check_int
from onepfrac.ifs import IFS

__all__ = [
    "BRUSHES",
    "DTYPES",
    "MAX_POINTS",
    "Capabilities",
    "capabilities",
    "check_device",
    "check_threads",
    "diverges",
    "render",
    "replay",
]

BRUSHES = ("point", "fill", "patch", "patch_fixed")
DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)
MIN_SIZE, MAX_SIZE = 8, 4096
MAX_POINTS = 1_000_000_000
MAX_THREADS = 1024
_SIMD_LEVELS = ("scalar", "avx2", "avx512")


def render(
    maps: ArrayLike | torch.Tensor | IFS,
    probs: ArrayLike | torch.Tensor | None = None,
    *,
    points: int = 100_000,
    size: int = 512,
    pad: int = 6,
    brush: str = "patch",
    seed: int | ArrayLike | torch.Tensor = 0,
    threads: int | None = None,
    device: str | int | torch.device | None = None,
    dtype: torch.dtype | None = None,
    out: Any = None,
) -> Any:
    """Draw one picture of each system.

    An image is played by 256 orbits, which start at the fixed point of the map that contracts most and discard 32
    steps; their bounding box is fitted to the canvas, each axis by itself, as the released generators do.

    Parameters
    ----------
    maps
        (B, N, 2, 3) real numbers, N = 1..16: rows ``[[a, b, e], [c, d, f]]`` of ``v -> A v + t``; used in float32.
        An `IFS` counts as a batch of one. NumPy, torch (copied to the host from a GPU), or anything array-like.
    probs
        (N,) or (B, N) weights, not negative, with a positive sum. Default: the IFS's own, else ``|det A|``.
    points
        Points an image, 1..1e9.
    size, pad
        Side of the square canvas in pixels, 8..4096, and the margin left free, less than half of it.
    brush
        What a point inks: ``"point"``, ``"fill"`` (3x3), ``"patch"`` (3x3, each covered pixel set with probability
        256/511) or ``"patch_fixed"`` (one random 3x3 mask an image).
    seed
        The key of the draws, 0..2**64 - 1: one for all images, or (B,) of them. An image depends on its own system and
        seed alone, whatever else is in the batch.
    threads
        CPU threads, 1..1024. Default: ``torch.get_num_threads()``.
    device
        ``"cpu"`` or a CUDA device. Default: the device of ``out``, else of ``maps`` if that is a tensor, else the CPU.
        On a GPU the work is queued on torch's current stream.
    dtype
        torch.uint8 (default), float16, bfloat16 or float32. Ink is 127 in uint8 and 127/255 in the float dtypes.
    out
        Where to write: a C-contiguous array (B, 1, size, size) of torch, NumPy, CuPy or any library with DLPack.

    Returns
    -------
    torch.Tensor
        (B, 1, size, size); ``out`` itself where it was given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is legal. Also where a system's orbits run away to infinity.

    References
    ----------
    Nakamura et al., "Scaling Backwards: Minimal Synthetic Pre-training?", ECCV 2024, section 3; Barnsley, "Fractals
    Everywhere", 1988, section III.8 (the chaos game).
    """
    systems = _pack(maps, probs, seed)
    points = check_int("points", points, 1, MAX_POINTS)
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    pad = check_int("pad", pad, 0, (size - 1) // 2)
    brush_number = BRUSHES.index(check_choice("brush", brush, BRUSHES))
    threads = check_threads(threads)
    batch = systems.words.shape[0]
    where = _device_of(device, out, maps)
    if out is None:
        result = torch.empty((batch, 1, size, size), dtype=_check_dtype(dtype), device=where)
    else:
        result = out
        _check_out(out, (batch, 1, size, size), dtype, where)
    if batch == 0:
        return result
    _refuse_divergent(systems)

    words: Any = systems.words
    stream = 0
    if where.type == "cuda":
        words = torch.from_numpy(systems.words.view(np.int32)).pin_memory().to(where, non_blocking=True)
        stream = torch.cuda.current_stream(where).cuda_stream
    _C.render(words, result, systems.num_maps, points, pad, brush_number, threads, _simd_cap(), stream)
    return result


def replay(
    maps: ArrayLike, probs: ArrayLike | None, draws: ArrayLike, *, size: int = 512, pad: int = 6, brush: str = "point"
) -> NDArray[np.bool_]:
    """Draw one image with the released generators' arithmetic, to the letter.

    float64, one orbit from the origin, which is inked too; ``draws`` against the running sum of the probabilities (the
    first j with ``draw <= sum_j``; where none is reached the point repeats). With the released draws,
    ``numpy.random.RandomState(100).random_sample(points)``, it reproduces the released images pixel for pixel.

    Parameters
    ----------
    maps
        (N, 2, 3) real numbers, used in float64.
    probs
        (N,) probabilities, taken as they are. Default: ``|det A|``, normalised.
    draws
        (T,) numbers; the orbit has T points, and the last draw is not used.
    size, pad
        As in `render`.
    brush
        ``"point"`` or ``"fill"``.

    Returns
    -------
    bool array (size, size)
        True where inked, row 0 on top.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is legal; also where the orbit does not stay finite.
    """
    system = IFS(maps, probs)
    given = system.probs if probs is None else np.ascontiguousarray(_host_array("probs", probs), dtype=np.float64)
    numbers = np.ascontiguousarray(_host_array("draws", draws), dtype=np.float64)
    if numbers.ndim != 1 or not 1 <= numbers.size <= MAX_POINTS:
        raise ValueError(f"draws must have the shape (T,) with T in 1..{MAX_POINTS}, got {numbers.shape}")
    if not np.isfinite(numbers).all():
        raise ValueError("draws must be finite, got NaN or infinity")
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    pad = check_int("pad", pad, 0, (size - 1) // 2)
    brush_number = BRUSHES.index(check_choice("brush", brush, BRUSHES[:2]))
    if diverges(system.maps[None], given[None])[0]:
        raise ValueError("maps must not run away to infinity: the orbits of this system do")
    return _C.replay(system.maps.reshape(-1), given, numbers, size, pad, brush_number)


def diverges(maps: ArrayLike | torch.Tensor | IFS, probs: ArrayLike | torch.Tensor | None = None) -> NDArray[np.bool_]:
    """Tell which systems run away to infinity: those that `render` refuses.

    Where the mean of log s1 (s1 the larger singular value of a map, weighted by probability) is not positive, no orbit
    can; elsewhere probe orbits are played and looked at.

    Parameters
    ----------
    maps, probs
        As in `render`.

    Returns
    -------
    bool array (B,)

    Raises
    ------
    TypeError, ValueError
        As `render`.
    """
    systems = _pack(maps, probs, 0)
    return _C.diverges(systems.words, systems.num_maps)


def check_device(name: str, device: str | int | torch.device) -> torch.device:
    """Return ``device`` as a torch device that exists.

    Raises
    ------
    TypeError, ValueError
        If it is not a device, neither the CPU nor CUDA, or not on this machine.
    """
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        raise TypeError(f"{name} must be 'cpu', 'cuda', 'cuda:N' or a torch.device, got {device!r}")
    try:
        where = torch.device(device)
    except RuntimeError:
        raise ValueError(f"{name} must be 'cpu', 'cuda' or 'cuda:N', got {device!r}") from None
    if where.type == "cpu":
        return where
    if where.type != "cuda":
        raise ValueError(f"{name} must be 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    if not _C.CUDA_ARCHS:
        raise ValueError(f"{name} must be 'cpu': this build has no CUDA kernels (ONEPFRAC_CUDA=0), got {device!r}")
    if not torch.cuda.is_available():
        raise ValueError(f"{name} must be 'cpu': torch finds no CUDA device here, got {device!r}")
    if ":" not in str(where):
        return torch.device("cuda", torch.cuda.current_device())
    if where.index >= torch.cuda.device_count():
        raise ValueError(f"{name} must be one of {torch.cuda.device_count()} CUDA devices, got {device!r}")
    return where


def check_threads(threads: int | None) -> int:
    """Return the number of CPU threads to use: ``threads``, or torch's own number where it is None.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer in 1..1024.
    """
    if threads is None:
        return min(torch.get_num_threads(), MAX_THREADS)
    return check_int("threads", threads, 1, MAX_THREADS)


class Capabilities(NamedTuple):
    """What this build and this machine can render with."""

    format_version: int
    simd_levels: tuple[str, ...]  # of the CPU path, weakest first
    cuda_archs: str  # GPU code in the build, such as "80 90 90+PTX"; "" where it was built without
    cuda_devices: int


def capabilities() -> Capabilities:
    """Tell what this build and this machine can render with."""
    return Capabilities(_C.FORMAT_VERSION, tuple(_C.simd_levels()), _C.CUDA_ARCHS, _C.cuda_device_count())


class _Systems(NamedTuple):
    words: NDArray[np.uint32]  # (B, SYSTEM_WORDS), as the core takes them
    num_maps: int


def _pack(
    maps: ArrayLike | torch.Tensor | IFS,
    probs: ArrayLike | torch.Tensor | None,
    seed: int | ArrayLike | torch.Tensor,
) -> _Systems:
    if isinstance(maps, IFS):
        if probs is None:
            probs = maps.probs
        maps = maps.maps[None]
    exact = _host_array("maps", maps)
    if exact.ndim != 4 or exact.shape[2:] != (2, 3) or not 1 <= exact.shape[1] <= _C.MAX_MAPS:
        raise ValueError(f"maps must have the shape (B, N, 2, 3) with N in 1..{_C.MAX_MAPS}, got {exact.shape}")
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(exact, dtype=np.float32)
    finite = np.isfinite(single).all(axis=(1, 2, 3))
    if not finite.all():
        index = int(np.argmin(finite))
        raise ValueError(f"maps must be finite in float32, got maps[{index}] = {exact[index].tolist()}")

    batch, num_maps = exact.shape[:2]
    if probs is None:
        double = exact.astype(np.float64)
        weights = np.abs(double[:, :, 0, 0] * double[:, :, 1, 1] - double[:, :, 0, 1] * double[:, :, 1, 0])
        if batch and not weights.any(axis=1).all():
            index = int(np.argmin(weights.any(axis=1)))
            raise ValueError(f"probs must be given: all determinants of maps[{index}] are zero, got None")
    else:
        weights = _host_array("probs", probs).astype(np.float64)
        if weights.shape not in ((num_maps,), (batch, num_maps)):
            raise ValueError(f"probs must have the shape ({num_maps},) or ({batch}, {num_maps}), got {weights.shape}")
        weights = np.broadcast_to(weights, (batch, num_maps))
        legal = (np.isfinite(weights) & (weights >= 0)).all(axis=1) & weights.any(axis=1)
        if not legal.all():
            index = int(np.argmin(legal))
            raise ValueError(
                "probs must be finite and not negative, with a positive sum, "
                f"got {weights[index].tolist()} for maps[{index}]"
            )
    words = _C.pack_systems(single, np.ascontiguousarray(weights), _seeds(seed, batch))
    return _Systems(words, num_maps)


def _refuse_divergent(systems: _Systems) -> None:
    away = _C.diverges(systems.words, systems.num_maps)
    if away.any():
        index = int(np.argmax(away))
        raise ValueError(f"maps must not run away to infinity: the orbits of maps[{index}] do")


def _seeds(seed: int | ArrayLike | torch.Tensor, batch: int) -> NDArray[np.uint64]:
    if isinstance(seed, (int, np.integer)) and not isinstance(seed, bool):
        return np.full(batch, check_int("seed", seed, 0, 2**64 - 1), dtype=np.uint64)
    numbers = _host_array("seed", seed)
    if numbers.dtype.kind not in "iu":
        raise TypeError(
            f"seed must be an integer or (B,) integers in 0..2**64 - 1, got {numbers.dtype} of shape {numbers.shape}"
        )
    if numbers.ndim == 0:
        return _seeds(int(numbers), batch)
    if numbers.shape != (batch,):
        raise ValueError(f"seed must be an integer or have the shape ({batch},), got {numbers.shape}")
    if (numbers < 0).any():
        raise ValueError(f"seed must be in 0..2**64 - 1, got {int(numbers.min())}")
    return np.ascontiguousarray(numbers, dtype=np.uint64)


def _host_array(name: str, array: Any) -> NDArray[Any]:
    """Bring any array of real numbers to the host, as NumPy."""
    if isinstance(array, torch.Tensor):
        tensor = array.detach()
        if tensor.dtype is torch.bfloat16:
            tensor = tensor.float()
        array = tensor.cpu().numpy()
    elif hasattr(array, "__dlpack_device__") and not isinstance(array, np.ndarray):
        array = torch.utils.dlpack.from_dlpack(array).cpu().numpy()
    try:
        result = np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array of real numbers: {error}") from None
    if result.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got {result.dtype} of shape {result.shape}")
    return result


def _device_of(device: str | int | torch.device | None, out: Any, maps: Any) -> torch.device:
    if device is not None:
        return check_device("device", device)
    for array in (out, maps):
        if isinstance(array, torch.Tensor):
            return check_device("device", array.device)
    if out is not None and hasattr(out, "__dlpack_device__"):
        kind, index = out.__dlpack_device__()
        if int(kind) == 2:  # kDLCUDA
            return check_device("device", torch.device("cuda", int(index)))
    return torch.device("cpu")


def _check_dtype(dtype: torch.dtype | None) -> torch.dtype:
    if dtype is None:
        return torch.uint8
    if dtype not in DTYPES:
        raise (ValueError if isinstance(dtype, torch.dtype) else TypeError)(
            f"dtype must be torch.uint8, float16, bfloat16 or float32, got {dtype!r}"
        )
    return dtype


def _check_out(out: Any, shape: tuple[int, ...], dtype: torch.dtype | None, where: torch.device) -> None:
    """Refuse an ``out`` that cannot take the result; what remains (contiguity, being writable) the core refuses."""
    if isinstance(out, torch.Tensor):
        actual: torch.device | None = out.device
        kind: Any = out.dtype
        if out.requires_grad:
            raise ValueError("out must not require a gradient, got a tensor that does")
        if not out.is_contiguous():
            raise ValueError(f"out must be contiguous, got strides {tuple(out.stride())}")
    elif isinstance(out, np.ndarray):
        actual = torch.device("cpu")
        kind = {"uint8": torch.uint8, "float16": torch.float16, "float32": torch.float32}.get(out.dtype.name, out.dtype)
        if not out.flags.writeable:
            raise ValueError("out must be writable, got a read-only array")
        if not out.flags.c_contiguous:
            raise ValueError(f"out must be contiguous, got strides {out.strides} in bytes")
        if not out.dtype.isnative:
            raise ValueError(f"out must be in the machine's byte order, got {out.dtype.str}")
    elif hasattr(out, "__dlpack__") and hasattr(out, "shape"):
        _check_out(torch.utils.dlpack.from_dlpack(out), shape, dtype, where)  # shares the memory
        return
    else:
        raise TypeError(f"out must be an array of torch, NumPy or a library with DLPack, got {type(out).__name__}")
    if tuple(out.shape) != shape:
        raise ValueError(f"out must have the shape {shape}, got {tuple(out.shape)}")
    if kind not in DTYPES or (dtype is not None and kind is not _check_dtype(dtype)):
        wanted = "torch.uint8, float16, bfloat16 or float32" if dtype is None else str(_check_dtype(dtype))
        raise ValueError(f"out must have the dtype {wanted}, got {kind}")
    if actual != where:
        raise ValueError(f"out must be on the device {where}, got {actual}")


def _simd_cap() -> str:
    level = os.environ.get("ONEPFRAC_SIMD", "")
    if level and level not in _SIMD_LEVELS:
        raise ValueError(f"the environment variable ONEPFRAC_SIMD must be scalar, avx2 or avx512, got {level!r}")
    return level
