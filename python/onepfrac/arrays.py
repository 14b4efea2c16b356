"""Arrays of other libraries: taken with care, for what is handed over may be anything.

The one home of taking foreign arrays. Whatever their code raises becomes a TypeError that names the argument; a memory
error and Ctrl-C stay what they are.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray

from onepfrac import _C

__all__ = ["cuda_index", "dense_tensor", "host_array", "on_host", "shared_tensor"]

_CUDA = 2  # DLPack's number


def host_array(name: str, array: Any) -> NDArray[Any]:
    """Bring any array of real numbers to the host, as NumPy.

    Raises
    ------
    TypeError, ValueError
        If it does not hold real numbers, is not regular, or cannot be read; the message names it.
    """
    result = on_host(name, array)
    if result.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold real numbers, got {result.dtype} of shape {result.shape}")
    return result


def on_host(name: str, array: Any) -> NDArray[Any]:
    """Bring any array to the host, as NumPy; errors are those of `host_array`, but for what it holds."""
    if not isinstance(array, (np.ndarray, torch.Tensor)) and hasattr(array, "__dlpack_device__"):
        array = shared_tensor(name, array)
    if isinstance(array, torch.Tensor):
        tensor = dense_tensor(name, array)
        try:
            if tensor.is_floating_point() and tensor.dtype not in (torch.float16, torch.float32, torch.float64):
                tensor = tensor.float()  # NumPy has no such dtype
            array = tensor.cpu().numpy()
        except (RuntimeError, TypeError) as error:
            _refuse(name, array, error)
    try:
        return np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name} must be a regular array of real numbers: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # whatever its __array__, __len__ or __getitem__ raised
        _refuse(name, array, error)


def dense_tensor(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor, less its gradient, whose elements lie in memory as they are.

    Conjugation and negation that torch has put off are done now.

    Raises
    ------
    TypeError, ValueError
        If it is sparse, quantized or nested, or on no device that holds memory.
    """
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_nested:
        kind = "nested" if tensor.is_nested else "quantized" if tensor.is_quantized else str(tensor.layout)
        raise TypeError(f"{name} must be a dense tensor, got one that is {kind}")
    if tensor.device.type not in ("cpu", "cuda"):
        raise ValueError(f"{name} must be on the CPU or a CUDA device, got a tensor on {tensor.device}")
    try:
        return tensor.detach().resolve_conj().resolve_neg()
    except (RuntimeError, TypeError, NotImplementedError) as error:
        _refuse(name, tensor, error)


def shared_tensor(name: str, array: Any) -> torch.Tensor:
    """Return a tensor that shares the memory of an array of a library with DLPack.

    What the array hands over is looked at before torch takes it: sizes, address, and whether they are those that the
    array says it has.

    Raises
    ------
    TypeError, ValueError
        Naming the array and what is wrong with it.
    """
    stream = 0
    if (index := cuda_index(name, array)) is not None:
        try:
            stream = torch.cuda.current_stream(index).cuda_stream or 1  # 1: the protocol's name of the default stream
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ValueError(f"{name} must be on a device of this machine, got CUDA device {index}") from error
    capsule = _C.checked_dlpack(array, name, stream)
    try:
        return torch.utils.dlpack.from_dlpack(capsule)
    except (RuntimeError, BufferError, TypeError, ValueError) as error:
        _refuse(name, array, error)


def cuda_index(name: str, array: Any) -> int | None:
    """Return the number of the CUDA device that an array with DLPack is on; None if it is on another kind.

    Raises
    ------
    TypeError
        If it does not say.
    """
    try:
        kind, index = array.__dlpack_device__()
        return int(index) if int(kind) == _CUDA else None
    except MemoryError:
        raise
    except Exception as error:
        _refuse(name, array, error)


def _refuse(name: str, array: object, error: Exception) -> NoReturn:
    raise TypeError(
        f"{name} must be an array that can be read, got a {type(array).__name__} that raised {type(error).__name__}"
    ) from error
