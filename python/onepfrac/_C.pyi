from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION: int
ORBITS: int
BURN_IN: int
MAX_MAPS: int
SYSTEM_WORDS: int
CUDA_ARCHS: str
SHOT_WORDS: int
NOISE_LEVELS: int
NOISE_BASE_PURPOSE: int
ATOM_WORDS: int
MAX_ATOM_VERTICES: int
MAX_ATOM_LINES: int
MAX_ATOM_WAVES: int
SCENE_WORDS: int
SCENE_OBJECT_WORDS: int
SCENE_LEVELS: int
MAX_OBJECTS: int

def checked_dlpack(array: Any, name: str, stream: int) -> Any: ...
def philox4x32(key: int, counters: NDArray[np.uint32]) -> NDArray[np.uint32]: ...
def sincos_turns(turns: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def exp_fixed(x: NDArray[np.float64]) -> NDArray[np.float64]: ...
def log_fixed(x: NDArray[np.float64]) -> NDArray[np.float64]: ...
def pack_systems(
    maps: NDArray[np.float32], probs: NDArray[np.float64], seeds: NDArray[np.uint64]
) -> NDArray[np.uint32]: ...
def diverges(systems: NDArray[np.uint32], num_maps: int) -> NDArray[np.bool_]: ...
def render(
    systems: Any, out: Any, num_maps: int, points: int, pad: int, brush: int, threads: int, simd: str, stream: int
) -> None: ...
def render_host_block(
    systems: Any,
    out: Any,
    num_maps: int,
    points: int,
    pad: int,
    brush: int,
    threads: int,
    band_rows: int,
    reverse: bool,
) -> None: ...
def density(
    systems: Any, out: Any, num_maps: int, points: int, pad: int, brush: int, threads: int, simd: str, stream: int
) -> None: ...
def density_host_block(
    systems: Any,
    out: Any,
    num_maps: int,
    points: int,
    pad: int,
    brush: int,
    threads: int,
    band_rows: int,
    reverse: bool,
) -> None: ...
def replay(
    maps: NDArray[np.float64],
    probs: NDArray[np.float64],
    draws: NDArray[np.float64],
    size: int,
    pad: int,
    brush: int,
) -> NDArray[np.bool_]: ...
def expand(canvases: Any, which: Any, out: Any, threads: int, simd: str, stream: int) -> None: ...
def expand_host_block(canvases: Any, which: Any, out: Any, threads: int, reverse: bool) -> None: ...
def simd_levels() -> list[str]: ...
def cuda_layout(size: int, limit: int) -> tuple[int, int]: ...
def cuda_device_count() -> int: ...
def pack_shots(
    views: NDArray[np.float64],
    steps: NDArray[np.int8],
    amounts: NDArray[np.float64],
    windows: NDArray[np.float64],
    erased: NDArray[np.int32],
    keys: NDArray[np.uint64],
    size: int,
) -> NDArray[np.uint32]: ...
def take_pictures(
    shots: Any,
    canvases: Any,
    which: Any,
    width: int,
    out: Any,
    table: Any,
    noise: Any,
    bilinear: bool,
    channels_last: bool,
    threads: int,
    simd: str,
    stream: int,
) -> None: ...
def take_pictures_host_block(
    shots: Any,
    canvases: Any,
    which: Any,
    width: int,
    out: Any,
    table: Any,
    noise: Any,
    bilinear: bool,
    channels_last: bool,
    threads: int,
    reverse: bool,
) -> None: ...
def draw_pictures(
    systems: Any,
    num_maps: int,
    points: int,
    canvas: int,
    pad: int,
    brush: int,
    shots: Any,
    out: Any,
    table: Any,
    noise: Any,
    bilinear: bool,
    channels_last: bool,
    threads: int,
    simd: str,
    stream: int,
) -> None: ...
def draw_pictures_host_block(
    systems: Any,
    num_maps: int,
    points: int,
    canvas: int,
    pad: int,
    brush: int,
    shots: Any,
    out: Any,
    table: Any,
    noise: Any,
    bilinear: bool,
    channels_last: bool,
    threads: int,
    reverse: bool,
) -> None: ...
def picture_bytes(canvas: int, size: int) -> int: ...
def fits_block(canvas: int, size: int, device: int) -> bool: ...
def draw_noise(base: Any, keys: Any, half: int, out: Any, threads: int, simd: str, stream: int) -> None: ...
def draw_noise_host_block(
    base: Any, keys: Any, half: int, out: Any, threads: int, band_rows: int, reverse: bool
) -> None: ...
def pack_atoms(
    keys: NDArray[np.uint64], counts: NDArray[np.int32], sizes: NDArray[np.float32]
) -> NDArray[np.uint32]: ...
def draw_atoms(atoms: Any, out: Any, max_vertices: int, threads: int, simd: str, stream: int) -> None: ...
def draw_atoms_host_block(atoms: Any, out: Any, max_vertices: int, threads: int, reverse: bool) -> None: ...
def atom_polylines(atoms: NDArray[np.uint32], number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]: ...
def scene_workspace_bytes(size: int) -> int: ...
def paint_scenes(
    pictures: Any, scenes: Any, objects: Any, out: Any, workspace: Any, threads: int, simd: str, stream: int
) -> None: ...
def paint_scenes_host_block(
    pictures: Any, scenes: Any, objects: Any, out: Any, threads: int, reverse: bool
) -> None: ...
