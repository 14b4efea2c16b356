"""What all recipes share: the order of images, one canonical JSON text, a fingerprint, and the way to a stream."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import torch
from numpy.typing import ArrayLike

from onepfrac.augment import Policy
from onepfrac.camera import Film, take_planes
from onepfrac.checks import check_int
from onepfrac.draws import FORMAT_VERSION
from onepfrac.files import canonical_json, parse_json_object, write_text
from onepfrac.map_style import Images
from onepfrac.plan import MAX_IMAGES, MAX_SAMPLE, Plan, check_images, check_samples, image_seeds, images_of
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
    planes: ClassVar[int] = 1
    """Planes of a canvas: 1 gray, 3 red, green and blue."""
    bitmap: ClassVar[bool] = True
    """Whether a canvas holds 0 and 127 alone, and can be drawn as bits; else it holds grays 0..255."""
    multi_label: ClassVar[bool] = False
    """Whether an image shows several classes; its target is then a vector of zeros and ones."""

    num_classes: int
    seed: int
    canvas: int

    @property
    def num_instances(self) -> int:
        """Images of a class: the field ``instances``, or 1 where a recipe has none."""
        return int(getattr(self, "instances", 1))

    @property
    def num_images(self) -> int:
        """All images; number ``label * num_instances + instance`` is an instance of a class."""
        return self.num_classes * self.num_instances

    @abstractmethod
    def prepare(self) -> None:
        """Do what is done once for a dataset (drawing its systems): later calls are fast, errors come early."""

    @abstractmethod
    def _plan(self, order: Plan) -> Plan:
        """Add to keys, labels and numbers of images what the renderer needs."""

    @abstractmethod
    def draw(self, plan: Any, device: torch.device, threads: int | None = None, bits: bool = False) -> torch.Tensor:
        """Draw planned canvases on ``device``.

        Returns
        -------
        uint8 (B, planes, canvas, canvas); a `bitmap` dataset's can be asked for as ``bits``, as of `onepfrac.render`.
        """

    def plan(self, samples: ArrayLike, draws: str = "fixed") -> Plan:
        """Plan the images of samples, in the order of a stream.

        Parameters
        ----------
        samples
            Integers in 0..2**62-1, (B,). Sample i belongs to round ``i // num_classes``, in which each class comes
            once; see `onepfrac.plan.images_of`.
        draws
            ``"fixed"``: an image is the same for ever, as in a folder. ``"fresh"``: every sample is drawn anew.

        Returns
        -------
        Plan of B samples.
        """
        indices = check_samples(samples)
        labels, images = images_of(self.seed, self.num_classes, self.num_instances, indices)
        return self._plan(Plan(image_seeds(self.seed, draws, images, indices), labels, images, indices))

    def plan_images(self, images: ArrayLike, draws: str = "fixed", epoch: int = 0) -> Plan:
        """Plan images by their numbers.

        Parameters
        ----------
        images
            Integers in 0..num_images-1, (B,).
        draws
            As in `plan`; with ``"fresh"``, image i of an epoch is sample ``epoch * num_images + i``.
        epoch
            From 0, such that samples stay below 2**62; decides fresh draws and augmentation.
        """
        numbers = check_images(images, self.num_images)
        epoch = check_int("epoch", epoch, 0, MAX_SAMPLE // self.num_images - 1)
        samples = numbers + epoch * self.num_images
        return self._plan(
            Plan(image_seeds(self.seed, draws, numbers, samples), numbers // self.num_instances, numbers, samples)
        )

    def targets(self, plan: Plan) -> torch.Tensor:
        """Return what a model should say of the images of a plan.

        Returns
        -------
        int64 (B,), the classes; or, where an image shows several, float32 (B, num_classes) of zeros and ones, from the
        plan's ``classes`` (int64 (B, K), padded with -1).
        """
        if not self.multi_label:
            return torch.from_numpy(plan.labels)
        classes = getattr(plan, "classes")  # noqa: B009  # only plans of these datasets have it
        hot = torch.zeros((len(plan), self.num_classes + 1))  # the padding falls into the last column
        hot.scatter_(1, torch.from_numpy(classes) % (self.num_classes + 1), 1.0)
        return hot[:, :-1].contiguous()

    def take(self, plan: Any, shots: Shots, film: Film, out: torch.Tensor, threads: int | None = None) -> None:
        """Draw planned canvases and take their pictures, ``shots`` one a sample, into ``out`` (see `Film.empty`).

        A recipe whose renderer can take the picture on the way says so by a method of its own.
        """
        chunk = max(1, _CANVAS_BYTES[out.device.type] // (self.planes * self.canvas * self.canvas))
        for start in range(0, len(plan), chunk):
            part = slice(start, start + chunk)
            canvases = self.draw(plan[part], out.device, threads)
            take_planes(canvases, shots[part], film, out[part], threads=threads)

    def _check_images(self) -> None:
        """Refuse more images than can be counted."""
        if self.num_images > MAX_IMAGES:
            raise ValueError(
                f"num_classes x instances must be at most 2**40, got {self.num_classes} x {self.num_instances}"
            )

    def to_json(self) -> str:
        """Return the recipe as canonical JSON: sorted keys, no spaces, with format version and dataset's name."""
        values = {field.name: self._to_json(field.name) for field in fields(self)}  # type: ignore[arg-type]
        return canonical_json({"format": FORMAT_VERSION, "dataset": self.dataset, **values})

    def _to_json(self, field: str) -> object:
        """Return a field's value as JSON takes it; what it gives must be legal for the constructor too."""
        return getattr(self, field)

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
            raise ValueError(f"{name}: format must be {FORMAT_VERSION}, got {values.get('format')!r:.80}")
        if values.get("dataset") != cls.dataset:
            raise ValueError(f"{name}: dataset must be {cls.dataset!r}, got {values.get('dataset')!r:.80}")
        del values["format"], values["dataset"]
        known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
        if unknown := sorted(values.keys() - known):
            raise ValueError(f"{name}: unknown fields {unknown!r:.200}; {cls.dataset} has {sorted(known)}")
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

    def images(
        self,
        size: int = 224,
        augment: str | Policy | None = None,
        draws: str = "fixed",
        *,
        dtype: torch.dtype | None = None,
        channels: int = 3,
        mean: float | Sequence[float] = 0.5,
        std: float | Sequence[float] = 0.5,
        transform: Callable[[torch.Tensor], Any] | None = None,
        threads: int | None = None,
        cache: int = 32 * 2**20,
    ) -> Images:
        """Return the dataset's images by number, as a torch Dataset; the parameters are those of `onepfrac.Images`."""
        return Images(
            self,
            size=size,
            augment=augment,
            draws=draws,
            dtype=dtype,
            channels=channels,
            mean=mean,
            std=std,
            transform=transform,
            threads=threads,
            cache=cache,
        )
