"""What an experiment is: arms that differ in a few settings, at a scale that says how much is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Arm", "Experiment", "Scale"]


@dataclass(frozen=True)
class Arm:
    """One row of a table.

    Attributes
    ----------
    name
        Its name in tables and in ``--arms``; no commas.
    pretrain
        Fields of `onepfrac.train.pretrain.Settings` that make it what it is; empty: as the scale has it. None: no
        pre-training.
    value
        Its place on the experiment's axis, if that has one.
    model
        A model of timm; none: the scale's.
    baseline
        The arm over which its gain is told.
    reported
        What the paper has, in percent; None: nothing, or another comparison.
    """

    name: str
    pretrain: Mapping[str, Any] | None = field(default_factory=dict)
    value: float | None = None
    model: str = ""
    baseline: str = "scratch"
    reported: float | None = None

    @property
    def needs_photo(self) -> bool:
        """Whether its recipe is that of a photograph."""
        return self.pretrain is not None and str(self.pretrain.get("recipe", "")).partition(":")[0] == "SingleImage"


@dataclass(frozen=True)
class Experiment:
    """A table of the paper, or a question in its manner.

    Attributes
    ----------
    name, title
        For the command line and for people.
    claim
        What the paper claims, or what is asked, in one sentence.
    arms
        The rows.
    axis
        What ``Arm.value`` counts; none: the arms are categories.
    order
        Pairs (better, worse) of arms that must come out so if the claim holds.

    Raises
    ------
    ValueError
        If two arms have one name, or ``order`` or a baseline names no arm.
    """

    name: str
    title: str
    claim: str
    arms: tuple[Arm, ...]
    axis: str = ""
    order: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names) or any("," in name or not name for name in names):
            raise ValueError(f"arms of {self.name} must have different names without commas, got {names}")
        for name in [name for pair in self.order for name in pair] + [arm.baseline for arm in self.arms]:
            if name not in names:
                raise ValueError(
                    f"order and baselines of {self.name} must name arms ({', '.join(names)}), got {name!r}"
                )
        if self.axis and any(arm.value is None and arm.pretrain is not None for arm in self.arms):
            raise ValueError(f"arms of {self.name} must have a value, since the axis is {self.axis!r}")

    def arm(self, name: str) -> Arm:
        """Return an arm by its name.

        Raises
        ------
        ValueError
            If there is none.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise ValueError(f"arms must be among {', '.join(arm.name for arm in self.arms)} in {self.name}, got {name!r}")


@dataclass(frozen=True)
class Scale:
    """How much is done.

    Attributes
    ----------
    name, about
        For the command line and for people: what it takes.
    pretrain, finetune
        Fields of the `Settings` of `onepfrac.train.pretrain` and `onepfrac.train.finetune` that all arms share.
    seeds
        One run of an arm each: weights, order, mixup, crops. The dataset's seed is ``pretrain["data_seed"]`` for all.
    rates
        Learning rates of fine-tuning. Of several, each arm takes the one with the highest accuracy on training images
        that are held out, with a seed that is not reported; none: that of ``finetune``.
    images, held_out, test
        Of each class: images to fine-tune on, further training images on which rates are chosen, and validation images
        that give the accuracy; 0: all, or none held out.
    probe
        Whether every block of the pre-trained model is probed linearly, with the same images.
    models
        Arguments of timm's models at this image size, by the model's name.
    datasets
        Further fields of a recipe by the dataset's name, where an arm does not say them.

    Raises
    ------
    ValueError
        If there are no seeds, or several rates and no images held out.
    """

    name: str
    about: str
    pretrain: Mapping[str, Any]
    finetune: Mapping[str, Any]
    seeds: tuple[int, ...]
    rates: tuple[float, ...] = ()
    images: int = 0
    held_out: int = 0
    test: int = 0
    probe: bool = False
    models: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    datasets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError(f"seeds of scale {self.name} must hold one or more, got none")
        if len(self.rates) > 1 and not (self.images and self.held_out):
            raise ValueError(
                f"images and held_out of scale {self.name} must be 1 or more, since rates are chosen on images that are"
                f" held out; got {self.images} and {self.held_out}"
            )
