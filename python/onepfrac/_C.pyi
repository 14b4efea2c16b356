from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT_VERSION: int
ORBITS: int
BURN_IN: int
MAX_MAPS: int
SYSTEM_WORDS: int
CUDA_ARCHS: str

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
