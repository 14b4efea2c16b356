"""A checksum of tensors that does not depend on the file in which they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch

from onepfrac.files import canonical_json

__all__ = ["check_digest", "check_seal", "digest", "sealed"]

_SEAL = "header_sha256"


def digest(tensors: Mapping[str, torch.Tensor]) -> str:
    """Return the SHA-256 of named tensors as 64 hexadecimal digits.

    It is that of, for each tensor in the order of the names, the line of JSON ``["name","dtype",[shape]]`` and the
    tensor's bytes, little-endian. The header of a file does not enter, so another JSON object there changes nothing.
    """
    total = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu()
        dtype = str(tensor.dtype).removeprefix("torch.")
        total.update(f"{canonical_json([name, dtype, list(tensor.shape)])}\n".encode("ascii"))
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``info`` with the SHA-256 of its canonical JSON text as ``header_sha256``; an older one is replaced."""
    bare = {key: value for key, value in info.items() if key != _SEAL}
    return {**bare, _SEAL: hashlib.sha256(canonical_json(bare).encode("ascii")).hexdigest()}


def check_seal(info: Mapping[str, Any], name: str) -> None:
    """Refuse a JSON object that is not the one that was `sealed`.

    Raises
    ------
    ValueError
        If it differs or was not sealed; ``name`` says where it comes from.
    """
    if _SEAL not in info:
        raise ValueError(f"{name} was altered, or an older version wrote it: its header lacks the checksum {_SEAL}")
    if (found := sealed(info)[_SEAL]) != info[_SEAL]:
        raise ValueError(f"{name} was altered: its header has the SHA-256 {found}, but says {info[_SEAL]!r:.80}")


def check_digest(tensors: Mapping[str, torch.Tensor], info: Mapping[str, Any], name: str) -> None:
    """Refuse tensors that are not those for which ``info`` (a file's JSON object) holds the ``sha256``.

    Raises
    ------
    ValueError
        If they differ; ``name`` says where they come from.
    """
    if (found := digest(tensors)) != info.get("sha256"):
        says = repr(info.get("sha256"))
        raise ValueError(f"{name} was altered: its tensors have the SHA-256 {found}, its header says {says:.80}")
