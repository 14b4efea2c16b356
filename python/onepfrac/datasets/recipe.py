"""What all recipes share: one canonical JSON text, a fingerprint, saving, and the way to a stream."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from functools import cached_property
from typing import ClassVar, TypeVar

import torch
from numpy.typing import ArrayLike

from onepfrac.augment import Policy
from onepfrac.camera import Film, take_pictures
from onepfrac.draws import FORMAT_VERSION
from onepfrac.files import canonical_json, parse_json_object, write_text
from onepfrac.plan import Plan
from onepfrac.shots import Shots
from onepfrac.stream import Stream

__all__ = ["Recipe"]

_Self = TypeVar("_Self", bound="Recipe")

_CANVAS_BYTES = {"cpu": 16 * 1024 * 1024, "cuda": 256 * 1024 * 1024}  # of canvases held at a time


class Recipe(ABC):
    """The immutable description of a dataset; two equal recipes are the same dataset on every machine.

    A recipe is a frozen dataclass whose fields are numbers and strings, checked when it is made. It says how samples
    are planned (`plan`) and how planned pictures are drawn (`draw`); everything else follows from that.
    """

    dataset: ClassVar[str]
    """The dataset's name in the JSON text."""

    num_classes: int
    seed: int
    canvas: int

    @abstractmethod
    def prepare(self) -> None:
        """Do what is done once for a dataset (drawing its systems): later calls are fast, errors come early."""

    @abstractmethod
    def plan(self, samples: ArrayLike, draws: str = "fixed") -> Plan:
        """Plan the images of ``samples`` (integers, (B,))."""

    @abstractmethod
    def draw(self, plan: Plan, device: torch.device, threads: int | None, bits: bool = False) -> torch.Tensor:
        """Draw planned canvases on ``device``: uint8 (B, 1, canvas, canvas) of 0 and 127, or bits as `render`'s."""

    def take(self, plan: Plan, shots: Shots, film: Film, out: torch.Tensor, threads: int | None = None) -> None:
        """Draw planned canvases and take their pictures, ``shots`` one a sample, into ``out`` (see `Film.empty`).

        A recipe whose renderer can take the picture on the way says so by a method of its own.
        """
        chunk = max(1, _CANVAS_BYTES[out.device.type] // (self.canvas * self.canvas))
        for start in range(0, len(plan), chunk):
            part = slice(start, start + chunk)
            canvases = self.draw(plan[part], out.device, threads)
            take_pictures(canvases.flatten(0, 1), shots[part], film, out[part], threads=threads)

    def to_json(self) -> str:
        """Return the recipe as canonical JSON: sorted keys, no spaces, with format version and dataset's name."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        return canonical_json({"format": FORMAT_VERSION, "dataset": self.dataset, **values})

    @classmethod
    def from_json(cls: type[_Self], text: str) -> _Self:
        """Read what `to_json` wrote.

        Raises
        ------
        TypeError, ValueError
            If it is not JSON, is another dataset or format version, has unknown or missing fields, or illegal values.
        """
        return cls.from_fields(parse_json_object(text, "recipe"), "recipe")

    @classmethod
    def from_fields(cls: type[_Self], values: dict[str, object], name: str) -> _Self:
        """Make the recipe from a parsed JSON object; ``name`` says in errors where it came from."""
        values = dict(values)
        if values.get("format") != FORMAT_VERSION or isinstance(values["format"], bool):
            raise ValueError(f"{name}: format must be {FORMAT_VERSION}, got {values.get('format')!r}")
        if values.get("dataset") != cls.dataset:
            raise ValueError(f"{name}: dataset must be {cls.dataset!r}, got {values.get('dataset')!r}")
        del values["format"], values["dataset"]
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"{name}: unknown fields {unknown}; {cls.dataset} has {sorted(known)}")
        if missing := sorted(known - values.keys()):
            raise ValueError(f"{name}: missing fields {missing}")
        try:
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}: {error}") from error

    @cached_property
    def fingerprint(self) -> str:
        """The first 16 hexadecimal digits of the SHA-256 of the JSON text."""
        return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()[:16]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON text to ``path``; a reader sees the old file or the new one, never a part."""
        write_text(path, self.to_json() + "\n")

    def stream(
        self,
        batch_size: int = 256,
        size: int = 224,
        augment: str | Policy | None = None,
        device: str | torch.device = "cpu",
        draws: str = "fixed",
        threads: int | None = None,
        *,
        dtype: torch.dtype | None = None,
        channels: int = 3,
        channels_last: bool = False,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        rank: int | None = None,
        world_size: int | None = None,
        prefetch: int = 2,
        cache: int = 32 * 2**20,
    ) -> Stream:
        """Return the endless stream of this dataset's batches; the parameters are those of `onepfrac.Stream`."""
        return Stream(
            self,
            batch_size=batch_size,
            size=size,
            augment=augment,
            device=device,
            draws=draws,
            threads=threads,
            dtype=dtype,
            channels=channels,
            channels_last=channels_last,
            mean=mean,
            std=std,
            rank=rank,
            world_size=world_size,
            prefetch=prefetch,
            cache=cache,
        )
