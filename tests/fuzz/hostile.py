"""Arguments that nobody sane would pass: what arrays can be disguised as or spoiled with, and numbers, texts, flags.

A disguise shows the same elements in another way, so that a call may refuse it or must give the right answer. What is
spoiled may be anything. `plain` gives back what an argument means, as a contiguous copy.
"""

from __future__ import annotations

import copy
import ctypes
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

__all__ = ["Rng", "disguised", "plain", "same", "spoiled", "spoiled_flag", "spoiled_number", "spoiled_text"]

Rng = np.random.Generator
MOST_BYTES = 1 << 24  # of an array that is copied
_ERRORS = (KeyError, OSError, RuntimeError, ZeroDivisionError, BufferError, OverflowError, AttributeError, ValueError)


class _DlTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
        ("manager", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)


class Exporter:
    """An array that offers DLPack alone, honest but for the fields that are given; ``source`` is what it means."""

    def __init__(self, array: np.ndarray, name: bytes = b"dltensor", says: Any = None, **fields: Any) -> None:
        if not array.dtype.isnative:  # of which DLPack knows nothing
            array = array.view(array.dtype.newbyteorder("="))
        self.source = array
        self._capsule_name = name
        self._says = says
        codes = {"i": 0, "u": 1, "f": 2, "b": 6}
        self._shape = (ctypes.c_int64 * max(array.ndim, 1))(*array.shape)
        self._strides = (ctypes.c_int64 * max(array.ndim, 1))(*(s // max(array.itemsize, 1) for s in array.strides))
        self._tensor = _DlTensor(
            array.ctypes.data,
            1,
            0,
            array.ndim,
            codes.get(array.dtype.kind, 3),
            8 * array.itemsize,
            1,
            self._shape,
            self._strides,
        )
        for field, value in fields.items():
            if field == "size":
                self._shape[0] = value
            elif field == "stride":
                self._strides[0] = value
            else:
                setattr(self._tensor, field, value)

    @property
    def shape(self) -> Any:
        return self.source.shape if self._says is None else self._says

    @property
    def dtype(self) -> np.dtype:
        return self.source.dtype

    def __dlpack__(self, **_: Any) -> object:
        return _new_capsule(ctypes.addressof(self._tensor), self._capsule_name, None)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._tensor.device_type, self._tensor.device_id


class Raising:
    """Raises one error whatever it is asked for."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def _fail(self, *_: object, **__: object) -> Any:
        raise self._error("as it pleases")

    __array__ = __len__ = __getitem__ = __index__ = __int__ = __float__ = __bool__ = __iter__ = _fail
    __dlpack__ = __dlpack_device__ = _fail


class Lying:
    """Says that it has more, or something else, than it has."""

    def __init__(self, value: Any, length: int = 3) -> None:
        self._value, self._length = value, length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, place: Any) -> Any:
        return self._value

    def __array__(self, *_: object, **__: object) -> Any:
        return self._value

    def __index__(self) -> Any:
        return self._value


class Number:
    """An integer by ``__index__`` alone."""

    def __init__(self, value: int) -> None:
        self._value = value

    def __index__(self) -> int:
        return self._value

    def __repr__(self) -> str:
        return f"Number({self._value})"


def _misaligned(array: np.ndarray) -> np.ndarray:
    room = np.zeros(array.nbytes + 1, np.uint8)
    room[1:] = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
    return room[1:].view(array.dtype).reshape(array.shape)


def _holed(array: np.ndarray) -> np.ndarray:
    room = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    room[..., ::2] = array
    return room[..., ::2]


def _locked(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view


def _in_torch(array: np.ndarray, change: Callable[[torch.Tensor], torch.Tensor] = lambda t: t) -> Any:
    return change(torch.from_numpy(array))


_DISGUISES: tuple[Callable[[np.ndarray], Any], ...] = (
    _in_torch,
    lambda a: _in_torch(a).view(a.shape),
    lambda a: _in_torch(a.copy()).requires_grad_(a.dtype.kind == "f"),
    lambda a: torch._neg_view(_in_torch(-a)) if a.dtype.kind == "f" else _in_torch(a),
    lambda a: memoryview(a),
    lambda a: Exporter(a),
    lambda a: np.asfortranarray(a),
    lambda a: np.ascontiguousarray(a[::-1])[::-1],
    _holed,
    _misaligned,
    _locked,
    lambda a: a.astype(a.dtype.newbyteorder(">")),
    lambda a: a.view(np.ma.MaskedArray),
    lambda a: (ctypes.c_uint8 * a.nbytes).from_buffer_copy(a.tobytes()),
    lambda a: a.tolist(),
    lambda a: Lying(a),
)


def disguised(rng: Rng, array: Any) -> Any:
    """Return the elements of an array in another guise."""
    if not isinstance(array, np.ndarray) or max(array.nbytes, *array.shape, 0) > MOST_BYTES:  # (2**40, 0) is long too
        return array
    try:
        return _DISGUISES[rng.integers(len(_DISGUISES))](array)
    except (
        TypeError,
        ValueError,
        IndexError,
        AttributeError,
        RuntimeError,
        BufferError,
    ):  # not for this dtype or shape
        return array


_DTYPES = (
    "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "g", "F", "D", "O", "S3", "U2", "V5",
    "M8[s]", "V0", ">i4", ">u8", ">f4", "i4,f4",
)  # fmt: skip
_FLOATS = (math.nan, math.inf, -math.inf, 5e-324, 1e-45, -0.0, 1e308, -1e308, 3.5e38, 1e20, -1.0, 0.0, 2.0**31, 2.0**63)
_INTEGERS = (
    -(2**63),
    -(2**31) - 1,
    -(2**31),
    -1,
    0,
    1,
    2**15,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**64 - 1,
)


def _poisoned(rng: Rng, array: np.ndarray) -> np.ndarray:
    result = np.array(array)
    flat = result.reshape(-1)
    for _ in range(int(rng.integers(1, 4))):
        if flat.size and flat.dtype.kind == "f":
            with np.errstate(all="ignore"):
                flat[rng.integers(flat.size)] = _FLOATS[rng.integers(len(_FLOATS))]
        elif flat.size and flat.dtype.kind in "iu":
            number = _INTEGERS[rng.integers(len(_INTEGERS))] % 2 ** (8 * flat.itemsize)
            flat[rng.integers(flat.size)] = (
                np.array([number], np.uint64).view(np.uint8)[: flat.itemsize].copy().view(flat.dtype)[0]
            )
    return result


def _random_bytes(rng: Rng, array: np.ndarray) -> np.ndarray:
    return np.frombuffer(rng.bytes(array.nbytes), np.uint8).copy().view(array.dtype).reshape(array.shape)


def _vast(rng: Rng, array: np.ndarray) -> np.ndarray:
    side = int(rng.choice([2**20, 2**32 + 8, 2**40]))
    shape = list(array.shape) or [1]
    shape[rng.integers(len(shape))] = side
    return np.lib.stride_tricks.as_strided(np.zeros(1, array.dtype), shape, [0] * len(shape))


def _bad_exporter(rng: Rng, array: np.ndarray) -> Exporter:
    fields: tuple[dict[str, Any], ...] = (
        {"ndim": -1}, {"ndim": 65}, {"ndim": 2**31 - 1}, {"shape": None}, {"data": None}, {"size": -1}, {"size": 2**62},
        {"size": 2**63 - 1}, {"stride": -1}, {"stride": 2**62}, {"device_type": 0}, {"device_type": 2},
        {"device_type": 8},
        {"device_type": -1}, {"device_id": -1}, {"lanes": 0}, {"lanes": 4}, {"bits": 0}, {"bits": 7}, {"bits": 255},
        {"code": 17}, {"byte_offset": 1}, {"name": b"used_dltensor"}, {"name": b"dltensor_versioned"}, {"says": (7,)},
        {"says": 5}, {"strides": None},
    )  # fmt: skip
    chosen = fields[rng.integers(len(fields))]
    if "byte_offset" in chosen and array.itemsize == 1:
        chosen = {"ndim": -1}  # a byte further on is no lie that shows
    if "strides" in chosen and not array.flags.c_contiguous:
        chosen = {"ndim": -1}  # nor are other elements, perhaps nobody's
    return Exporter(array, **chosen)


def _other_tensor(rng: Rng, array: np.ndarray) -> Any:
    tensor = torch.from_numpy(np.ascontiguousarray(array).copy())
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: tensor.to("meta"),
        lambda: tensor.to_sparse(),
        lambda: torch.conj(tensor.to(torch.complex64)),
        lambda: torch.quantize_per_tensor(tensor.float(), 0.1, 0, torch.quint8),
        lambda: tensor.to(torch.bfloat16),
        lambda: tensor.to(torch.float8_e4m3fn),
        lambda: torch.nested.nested_tensor([tensor.float()]),
        lambda: torch.nn.Parameter(tensor.float()),
    )
    return kinds[rng.integers(len(kinds))]()


def spoiled(rng: Rng, array: Any) -> Any:
    """Return what takes the place of an array and is likely not legal."""
    if not isinstance(array, np.ndarray) or array.nbytes > MOST_BYTES:
        array = np.zeros((2, 2), np.float32)
    error = _ERRORS[rng.integers(len(_ERRORS))]
    kinds: tuple[Callable[[], Any], ...] = (
        lambda: _poisoned(rng, array),
        lambda: _poisoned(rng, array),
        lambda: _random_bytes(rng, array),
        lambda: array.reshape(-1),
        lambda: array[None],
        lambda: array[:-1],
        lambda: array[..., :-1],
        lambda: array[:0],
        lambda: np.concatenate([array, array]),
        lambda: array.astype(_DTYPES[rng.integers(len(_DTYPES))]),
        lambda: np.zeros(array.shape, _DTYPES[rng.integers(len(_DTYPES))]),
        lambda: _vast(rng, array),
        lambda: _bad_exporter(rng, array),
        lambda: _bad_exporter(rng, array),
        lambda: _other_tensor(rng, array),
        lambda: Raising(error),
        lambda: Lying(array[:0]),
        lambda: Lying(5),
        lambda: (None, 3, -1.5, "maps", b"abc", object(), [], [[1], [2, 3]], {}, np.float32(1), 10**40, [10**400])[
            rng.integers(12)
        ],
    )
    try:
        with np.errstate(all="ignore"):
            return kinds[rng.integers(len(kinds))]()
    except (TypeError, ValueError, IndexError, RuntimeError, NotImplementedError, BufferError, OverflowError):
        return None


def spoiled_number(rng: Rng, value: Any) -> Any:
    """Return what takes the place of a number."""
    error = _ERRORS[rng.integers(len(_ERRORS))]
    values = (
        *_INTEGERS, 2**32 + 8, 10**30, -(10**400), 10**400, None, 1.5, math.nan, math.inf, "8", b"8", True, 1j,
        [], [8], value,
        np.int64(3), np.uint8(8), np.float32(8), np.array(8), np.array([8]), Number(8), Number(10**30), Raising(error),
        Lying("x"), torch.tensor(8), 7, 8, 16, 1024, 1025, 4096, 4097,
    )  # fmt: skip
    return values[rng.integers(len(values))]


def spoiled_text(rng: Rng, value: Any) -> Any:
    """Return what takes the place of a text."""
    values = (
        "", "scalar", "avx2", "avx512", "AVX2", "sse", "\0", "\ud800", "é" * 1000, None, b"scalar", b"\xff", 5, [],
        "point", "fill", "patch", "patch_fixed", "cpu", "cuda", "cuda:99", "meta", Raising(KeyError), object(), value,
    )  # fmt: skip
    return values[rng.integers(len(values))]


def spoiled_flag(rng: Rng, value: Any) -> Any:
    """Return what takes the place of a flag."""
    values = (
        True,
        False,
        None,
        0,
        1,
        2,
        "x",
        "",
        Raising(KeyError),
        np.bool_(True),
        np.array([1, 2]),
        [],
        value,
        math.nan,
    )
    return values[rng.integers(len(values))]


def plain(value: Any) -> Any:
    """Return what an argument means: arrays as contiguous copies in NumPy or torch; None where there is no telling."""
    if isinstance(value, Exporter):
        value = value.source
    if isinstance(value, np.ndarray):
        if value.nbytes > MOST_BYTES:
            return None
        if isinstance(value, np.ma.MaskedArray) and value.size == 1:
            return value.copy()  # it passes for a number
        return np.array(value, dtype=value.dtype.newbyteorder("="), order="C")
    if isinstance(value, memoryview):
        return np.array(value)
    if isinstance(value, torch.Tensor):
        try:
            return value.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format)
        except (RuntimeError, NotImplementedError):
            return None
    if isinstance(value, (list, dict)):
        return copy.deepcopy(value)
    return value


def same(one: Any, other: Any) -> bool:
    """Tell whether two results are the same to the bit."""
    if isinstance(one, torch.Tensor):
        if not isinstance(other, torch.Tensor) or one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.numel() == 0:
            return True
        parts = [part.detach().contiguous().view(-1).view(torch.uint8) for part in (one, other)]
        return torch.equal(*parts)
    if isinstance(one, np.ndarray):
        return (
            isinstance(other, np.ndarray)
            and one.dtype == other.dtype
            and one.shape == other.shape
            and one.tobytes() == other.tobytes()
        )
    if isinstance(one, (tuple, list)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other) or (one != one and other != other)  # NaN is itself here
