"""Rendering: systems in, pictures out. Every function is pure: the same arguments give the same bits on every device.

The work is done in the extension ``_C``; this module checks arguments. Where torch.compile traces a call, it goes
through the operators ``onepfrac::pack`` and ``onepfrac::draw_into``, which a compiled graph holds as they are.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from onepfrac import _C
from onepfrac.arrays import cuda_index, dense_tensor, host_array, shared_tensor
from onepfrac.buffers import allocate
from onepfrac.checks import check_choice, check_int, shown
from onepfrac.cpus import available_cpus
from onepfrac.ifs import IFS
from onepfrac.systems import Maps, Seed, Systems, diverges, pack_words

__all__ = [
    "BITS",
    "BRUSHES",
    "COUNTED_BRUSHES",
    "DTYPES",
    "GRADES",
    "HITS",
    "MAX_POINTS",
    "Capabilities",
    "capabilities",
    "check_device",
    "check_out",
    "check_threads",
    "density",
    "device_of",
    "expand",
    "pack",
    "render",
    "replay",
    "simd_cap",
    "stream_of",
    "to_device",
]

BRUSHES = ("point", "fill", "patch", "patch_fixed")
DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)  # of pictures
BITS = torch.int32  # of canvases as bits
COUNTED_BRUSHES = ("point", "fill", "patch_fixed")  # those of densities: the texture of "patch" belongs to bits
HITS, GRADES = torch.int32, torch.uint8  # dtypes of densities
MIN_SIZE, MAX_SIZE = 8, 4096
MAX_POINTS = 1_000_000_000
MAX_THREADS = 1024
_SIMD_LEVELS = ("scalar", "avx2", "avx512")


def render(
    maps: Maps | Systems,
    probs: ArrayLike | torch.Tensor | None = None,
    *,
    points: int = 100_000,
    size: int = 512,
    pad: int = 6,
    brush: str = "patch",
    seed: Seed = 0,
    threads: int | None = None,
    device: str | int | torch.device | None = None,
    dtype: torch.dtype | None = None,
    out: Any = None,
) -> Any:
    """Draw one picture of each system.

    An image is played by 256 orbits, which start at the fixed point of the map that contracts most and discard 32
    steps; their bounding box is fitted to the canvas, each axis by itself, as the released generators do.

    Usable inside ``torch.compile`` without a graph break (maps a tensor, an IFS or packed).

    Parameters
    ----------
    maps
        (B, N, 2, 3) real numbers, N = 1..16: rows ``[[a, b, e], [c, d, f]]`` of ``v -> A v + t``; used in float32.
        An `IFS` counts as a batch of one. NumPy, torch (copied to the host from a GPU), or anything array-like.
        Or what `pack` made of them: then nothing is left to do but to draw, and on a GPU the call is a single kernel
        launch, which a CUDA graph can capture; probs and seed stand in it already.
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
        CPU threads, 1..1024. Default: ``torch.get_num_threads()``, or fewer where the process may use fewer CPUs.
    device
        ``"cpu"`` or a CUDA device. Default: the device of ``out``, else of ``maps`` if that is a tensor or packed,
        else the CPU. On a GPU the work is queued on torch's current stream.
    dtype
        torch.uint8 (default), float16, bfloat16 or float32. Ink is 127 in uint8 and 127/255 in the float dtypes. Or
        torch.int32 for bits, 32 pixels a word: bit i of word j is column 32 j + i; `expand` makes pictures of them.
    out
        Where to write: a C-contiguous array (B, 1, size, size) of torch, NumPy, CuPy or any library with DLPack.

    Returns
    -------
    torch.Tensor
        (B, 1, size, size), or (B, 1, size, ceil(size / 32)) for bits; ``out`` itself where it was given.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is legal. Also where a system's orbits run away to infinity.
    MemoryError
        If the CPU has no room for the pictures.
    KeyboardInterrupt
        On Ctrl-C, or whatever a signal's handler raises, within a tenth of a second; ``out`` is then written in part.

    References
    ----------
    Nakamura et al., "Scaling Backwards: Minimal Synthetic Pre-training?", ECCV 2024, section 3; Barnsley, "Fractals
    Everywhere", 1988, section III.8 (the chaos game).
    """
    points = check_int("points", points, 1, MAX_POINTS)
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    pad = check_int("pad", pad, 0, (size - 1) // 2)
    brush = check_choice("brush", brush, BRUSHES)
    if threads is not None:
        threads = check_threads(threads)
    where = device_of(device, out, maps)
    systems = _systems_on(where, maps, probs, seed)
    if out is None:
        kind = _check_dtype(dtype)
        out = allocate((len(systems), 1, size, _columns(size, kind)), kind, where)
    else:
        bits = str(getattr(out, "dtype", "")).split(".")[-1] == "int32"
        columns = _columns(size, BITS if bits else torch.uint8)
        check_out(out, (len(systems), 1, size, columns), dtype, where)
    draw_into = torch.ops.onepfrac.draw_into if torch.compiler.is_compiling() else _draw_into
    draw_into(systems.words, out, systems.num_maps, points, pad, brush, threads)
    return out


def density(
    maps: Maps | Systems,
    probs: ArrayLike | torch.Tensor | None = None,
    *,
    points: int = 100_000,
    size: int = 256,
    pad: int = 0,
    brush: str = "point",
    seed: Seed = 0,
    threads: int | None = None,
    device: str | int | torch.device | None = None,
    dtype: torch.dtype | None = None,
    out: Any = None,
) -> Any:
    """Count the hits of each pixel: how many of a picture's points ink it.

    Orbits, bounds and pixels are those of `render`, so that the pixels with a hit are those that `render` inks for the
    same arguments. A brush adds one hit to each pixel that it covers.

    Parameters
    ----------
    maps, probs, points, size, pad, seed, threads, device
        As in `render`.
    brush
        ``"point"``, ``"fill"`` (3x3) or ``"patch_fixed"`` (one random 3x3 mask an image).
    dtype
        torch.int32 (default) for hits. Or torch.uint8 for grades: 0 where nothing fell, else
        ``max(1, floor(255 hits / most))``, ``most`` being the most hits of a pixel of that picture.
    out
        Where to write: a C-contiguous array (B, 1, size, size) of torch, NumPy, CuPy or any library with DLPack.

    Returns
    -------
    torch.Tensor
        (B, 1, size, size); ``out`` itself where it was given.

    Raises
    ------
    TypeError, ValueError
        As `render`.

    References
    ----------
    Anderson and Farrell, "Improving Fractal Pre-training", WACV 2022, section 3.2: pictures graded by density.
    """
    points = check_int("points", points, 1, MAX_POINTS)
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    pad = check_int("pad", pad, 0, (size - 1) // 2)
    brush_number = BRUSHES.index(check_choice("brush", brush, COUNTED_BRUSHES))
    threads = check_threads(threads)
    where = device_of(device, out, maps)
    systems = _systems_on(where, maps, probs, seed)
    shape = (len(systems), 1, size, size)
    if out is None:
        out = allocate(shape, _check_dtype(HITS if dtype is None else dtype, (GRADES, HITS)), where)
    else:
        check_out(out, shape, dtype, where, (GRADES, HITS))
    if len(systems):
        _C.density(
            systems.words, out, systems.num_maps, points, pad, brush_number, threads, simd_cap(), stream_of(where)
        )
    return out


def expand(
    canvases: torch.Tensor,
    which: ArrayLike | None = None,
    *,
    size: int,
    dtype: torch.dtype | None = None,
    threads: int | None = None,
) -> torch.Tensor:
    """Make pictures of canvases that `render` drew as bits.

    Parameters
    ----------
    canvases
        int32 (C, 1, size, ceil(size / 32)), as `render` returns them.
    which
        (B,) integers in 0..C-1: picture i shows canvas ``which[i]``. Default: all, in order.
    size
        Side of the canvas in pixels, 8..4096.
    dtype, threads
        As in `render`.

    Returns
    -------
    torch.Tensor
        (B, 1, size, size), the pictures that `render` draws in this dtype, on the device of ``canvases``.

    Raises
    ------
    TypeError, ValueError
        Naming the argument, its value and what is legal.
    """
    size = check_int("size", size, MIN_SIZE, MAX_SIZE)
    if not isinstance(canvases, torch.Tensor):
        raise TypeError(f"canvases must be a torch.Tensor, got {type(canvases).__name__}")
    canvases = dense_tensor("canvases", canvases)
    rows = (1, size, _columns(size, BITS))
    if canvases.dtype is not torch.int32 or tuple(canvases.shape[1:]) != rows or not canvases.is_contiguous():
        raise ValueError(
            f"canvases must be contiguous int32 of the shape (C, {rows[0]}, {rows[1]}, {rows[2]}), got"
            f" {canvases.dtype} {tuple(canvases.shape)}"
        )
    count = canvases.shape[0]
    numbers = np.arange(count) if which is None else host_array("which", which)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise TypeError(f"which must be integers of the shape (B,), got {numbers.dtype} {numbers.shape}")
    if numbers.size and not (int(numbers.min()) >= 0 and int(numbers.max()) < count):
        raise ValueError(f"which must be in 0..{count - 1}, got {numbers.min()}..{numbers.max()}")
    kind = _check_dtype(dtype, DTYPES)
    where = check_device("canvases", canvases.device)
    out = allocate((numbers.size, 1, size, size), kind, where)
    if numbers.size == 0:
        return out
    chosen = to_device(torch.from_numpy(np.ascontiguousarray(numbers, dtype=np.int64)), where)
    _C.expand(canvases.flatten(0, 1), chosen, out, check_threads(threads), simd_cap(), stream_of(where))
    return out


def pack(
    maps: Maps,
    probs: ArrayLike | torch.Tensor | None = None,
    seed: Seed = 0,
    *,
    device: str | int | torch.device | None = None,
) -> Systems:
    """Check systems and lay them out as the renderer takes them, once, for any number of calls of `render`.

    Parameters
    ----------
    maps, probs, seed
        As in `render`.
    device
        Where they will be drawn. Default: the device of ``maps`` if that is a tensor, else the CPU.

    Returns
    -------
    Systems
        B systems of N maps; on a GPU they arrive in the order of torch's current stream.

    Raises
    ------
    TypeError, ValueError
        As `render`.
    """
    where = device_of(device, None, maps)
    if not torch.compiler.is_compiling():
        words, num_maps = pack_words(maps, probs, seed)
        return Systems(to_device(torch.from_numpy(words.view(np.int32)), where), num_maps)
    if isinstance(maps, IFS):
        probs = maps.probs if probs is None else probs
        maps = maps.maps[None]
    tensor = torch.as_tensor(maps)
    weights = None if probs is None else torch.as_tensor(probs)
    number, numbers = (
        (0, torch.as_tensor(seed)) if not isinstance(seed, int) else (check_int("seed", seed, 0, 2**64 - 1), None)
    )
    signed = number - 2**64 if number >= 2**63 else number  # operators take int64
    return Systems(torch.ops.onepfrac.pack(tensor, weights, signed, numbers, where), tensor.shape[1])


@torch.library.custom_op("onepfrac::pack", mutates_args=())
def _pack_operator(
    maps: torch.Tensor, probs: torch.Tensor | None, seed: int, seeds: torch.Tensor | None, device: torch.device
) -> torch.Tensor:
    words, _ = pack_words(maps, probs, seed % 2**64 if seeds is None else seeds)
    return to_device(torch.from_numpy(words.view(np.int32)), device)


@_pack_operator.register_fake
def _(
    maps: torch.Tensor, probs: torch.Tensor | None, seed: int, seeds: torch.Tensor | None, device: torch.device
) -> torch.Tensor:
    return torch.empty((maps.shape[0], _C.SYSTEM_WORDS), dtype=torch.int32, device=device)


@torch.library.custom_op("onepfrac::draw_into", mutates_args=("out",))
def _draw_into_operator(
    words: torch.Tensor, out: torch.Tensor, num_maps: int, points: int, pad: int, brush: str, threads: int | None
) -> None:
    _draw_into(words, out, num_maps, points, pad, brush, threads)


def _draw_into(
    words: torch.Tensor, out: Any, num_maps: int, points: int, pad: int, brush: str, threads: int | None
) -> None:
    if words.shape[0] == 0:
        return
    where = stream_of(words.device)
    _C.render(words, out, num_maps, points, pad, BRUSHES.index(brush), check_threads(threads), simd_cap(), where)


def stream_of(device: torch.device) -> int:
    """Return torch's current stream on a CUDA device; 0 on the CPU, which has none."""
    return torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the host tensor on ``device``; to CUDA by a copy from pinned memory that does not hold up the host."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


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
    given = system.probs if probs is None else np.ascontiguousarray(host_array("probs", probs), dtype=np.float64)
    numbers = np.ascontiguousarray(host_array("draws", draws), dtype=np.float64)
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
    except (RuntimeError, OverflowError, UnicodeError):
        raise ValueError(f"{name} must be 'cpu', 'cuda' or 'cuda:N', got {device!r}") from None
    if where.type == "cpu":
        return torch.device("cpu")  # there is one, whatever its number
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
    """Return the number of CPU threads to use: ``threads``, or torch's own where it is None.

    Torch's number follows OMP_NUM_THREADS and is 1 in a loader's workers; here it is never more than the CPUs that the
    process may use.

    Raises
    ------
    TypeError, ValueError
        If it is not an integer in 1..1024.
    """
    if threads is None:
        return min(torch.get_num_threads(), available_cpus(), MAX_THREADS)
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


def _systems_on(
    where: torch.device, maps: Maps | Systems, probs: ArrayLike | torch.Tensor | None, seed: Seed
) -> Systems:
    """Return the systems of a call, packed, on the device that draws."""
    if not isinstance(maps, Systems):
        return pack(maps, probs, seed, device=where)
    if probs is not None or not (isinstance(seed, int) and seed == 0):
        raise ValueError("probs and seed must not be given beside packed systems, which hold them already")
    if maps.device != where:
        raise ValueError(f"maps must be packed for the device {where}, got systems on {maps.device}")
    return maps


def device_of(device: str | int | torch.device | None, out: Any, maps: Any) -> torch.device:
    """Return where to work: ``device``, else where ``out`` is, else where ``maps`` are, else the CPU."""
    if device is not None:
        return check_device("device", device)
    for array in (out, maps):
        if isinstance(array, (torch.Tensor, Systems)):
            return check_device("device", array.device)
    if out is not None and hasattr(out, "__dlpack_device__") and (index := cuda_index("out", out)) is not None:
        return check_device("device", torch.device("cuda", check_int("out's device", index, 0, 127)))
    return torch.device("cpu")


def _columns(size: int, dtype: torch.dtype) -> int:
    return -(-size // 32) if dtype is BITS else size


def _check_dtype(dtype: torch.dtype | None, legal: tuple[torch.dtype, ...] = (*DTYPES, BITS)) -> torch.dtype:
    if dtype is None:
        return torch.uint8
    if not isinstance(dtype, torch.dtype):
        raise TypeError(f"dtype must be {_listed(legal)}, got {shown(dtype)}")
    if dtype not in legal:
        raise ValueError(f"dtype must be {_listed(legal)}, got {dtype}")
    return dtype


def _listed(dtypes: tuple[torch.dtype, ...]) -> str:
    return " or ".join([*filter(None, [", ".join(map(str, dtypes[:-1]))]), str(dtypes[-1])])


def check_out(
    out: Any,
    shape: tuple[int, ...],
    dtype: torch.dtype | None,
    where: torch.device,
    legal: tuple[torch.dtype, ...] = (*DTYPES, BITS),
) -> None:
    """Refuse an ``out`` that cannot take the result; what remains (contiguity, being writable) the core refuses.

    It must have ``dtype``, or any legal one where that is None.
    """
    if isinstance(out, torch.Tensor):
        plain = out.layout is torch.strided and not (out.is_quantized or out.is_nested)
        if not torch.compiler.is_compiling():  # which takes no such tensors
            plain = plain and not (out.is_conj() or out.is_neg())
        if not plain:
            raise ValueError("out must be a dense tensor whose elements lie in memory as they are, got one that is not")
        actual: torch.device | None = out.device
        kind: Any = out.dtype
        if out.requires_grad:
            raise ValueError("out must not require a gradient, got a tensor that does")
        if not out.is_contiguous():
            raise ValueError(f"out must be contiguous, got strides {tuple(out.stride())}")
    elif isinstance(out, np.ndarray):
        actual = torch.device("cpu")
        kind = {str(kind).removeprefix("torch."): kind for kind in legal}.get(out.dtype.name, out.dtype)
        if not out.flags.writeable:
            raise ValueError("out must be writable, got a read-only array")
        if not out.flags.c_contiguous:
            raise ValueError(f"out must be contiguous, got strides {out.strides} in bytes")
        if not out.dtype.isnative:
            raise ValueError(f"out must be in the machine's byte order, got {out.dtype.str}")
    elif hasattr(out, "__dlpack__") and hasattr(out, "shape"):
        check_out(shared_tensor("out", out), shape, dtype, where, legal)
        return
    else:
        raise TypeError(f"out must be an array of torch, NumPy or a library with DLPack, got {type(out).__name__}")
    if tuple(out.shape) != shape:
        raise ValueError(f"out must have the shape {shape}, got {tuple(out.shape)}")
    if kind not in legal or (dtype is not None and kind is not _check_dtype(dtype, legal)):
        wanted = _listed(legal) if dtype is None else str(dtype)
        raise ValueError(f"out must have the dtype {wanted}, got {kind}")
    if actual != where:
        raise ValueError(f"out must be on the device {where}, got {actual}")


def simd_cap() -> str:
    """Return the vector unit that ONEPFRAC_SIMD caps the CPU path at; empty where it is not set."""
    level = os.environ.get("ONEPFRAC_SIMD", "")
    if level and level not in _SIMD_LEVELS:
        raise ValueError(f"the environment variable ONEPFRAC_SIMD must be scalar, avx2 or avx512, got {level!r}")
    return level
