"""From an experiment and a scale to jobs: the settings of each run, and a key that changes when they do."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from onepfrac import files
from onepfrac.datasets import RECIPES
from onepfrac.train import finetune, options, pretrain
from onepfrac.train.experiments.grid import Arm, Experiment, Scale

__all__ = ["Changes", "Job", "deal", "jobs_of", "parse_changes", "scale_key"]

_TUNING_SEED = 1000  # of the runs that choose a learning rate; not reported
_OURS = {
    "pretrain": {
        "out",
        "resume",
        "overwrite",
        "seed",
        "minutes",
        "sheet",
        "recipe",
        "model",
        "model_arg",
        "keep_every",
    },
    "finetune": {"out", "resume", "overwrite", "seed", "minutes", "data", "data_root", "download", "weights", "model"}
    | {"model_arg", "size", "per_class", "val_per_class"},
}
# Fields of a recipe that an arm's recipe takes over from the scale, by the name that they have among the settings.
_SHARED = {"num_classes": "num_classes", "points": "points", "canvas": "canvas", "pad": "pad", "data_seed": "seed"}


@dataclass(frozen=True)
class Changes:
    """Settings that are changed for all arms of a scale; ``photo`` is the recipe of the arm with a photograph."""

    pretrain: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    finetune: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    photo: str = ""


@dataclass(frozen=True)
class Job:
    """One run: pre-train, unless ``pretraining`` is None; choose one of several learning rates; fine-tune; probe.

    ``out`` of both, ``finetuning.weights`` and a chosen ``finetuning.lr`` are filled in when it runs.
    ``key`` names the run by its settings, ``body`` its pre-training, ``choice`` the choice of a rate, which an arm's
    runs share; each is a sha256, whatever experiment or arm it belongs to.
    """

    arm: str
    seed: int
    pretraining: pretrain.Settings | None
    finetuning: finetune.Settings
    rates: tuple[float, ...]
    probes: bool
    fingerprint: str
    key: str
    body: str
    choice: str

    def trial(self, rate: float) -> str:
        """Return the key of the fine-tuning that tries a rate."""
        return _digest({"choice": self.choice, "rate": rate})

    def trial_settings(self, rate: float) -> finetune.Settings:
        """Return the settings of that."""
        return dataclasses.replace(self.finetuning, lr=rate, seed=_TUNING_SEED)


def jobs_of(
    experiment: Experiment, scale: Scale, data: str = "data", changes: Changes | None = None, seeds: Sequence[int] = ()
) -> list[Job]:
    """Return the jobs of all arms, seed after seed, so that a table is whole as early as it can be.

    Parameters
    ----------
    experiment, scale
        What to run. An arm with a photograph is left out unless ``changes`` has one.
    data
        The name of the photographs, which enters the keys.
    changes
        Settings to change for all arms.
    seeds
        Other seeds than the scale's.

    Raises
    ------
    ValueError, TypeError, OSError
        If a setting is not legal.
    """
    changes = changes or Changes()
    arms = [arm for arm in experiment.arms if changes.photo or not arm.needs_photo]
    return [_job(arm, scale, seed, data, changes) for seed in (seeds or scale.seeds) for arm in arms]


def deal(jobs: Sequence[Job], index: int, count: int) -> list[Job]:
    """Return one of ``count`` shares: every ``count``-th job; where a rate is chosen, of every ``count``-th arm."""
    if all(len(job.rates) < 2 for job in jobs):
        return list(jobs[index::count])
    arms = list(dict.fromkeys(job.arm for job in jobs))
    return [job for job in jobs if job.arm in arms[index::count]]


def scale_key(scale: Scale) -> str:
    """Return a name for what a scale says of all runs: results of another are not put into one table with them."""
    about = {field.name: getattr(scale, field.name) for field in dataclasses.fields(scale)}
    return _digest({name: value for name, value in about.items() if name not in ("name", "about", "seeds")})


def parse_changes(name: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Turn ``("steps=4000", "lr=2e-3")`` into settings of ``name``, ``"pretrain"`` or ``"finetune"``.

    Raises
    ------
    ValueError
        If a pair is malformed, or names no setting or one that the experiment decides.
    """
    cls = {"pretrain": pretrain.Settings, "finetune": finetune.Settings}[name]
    hints = get_type_hints(cls)
    legal = sorted(hints.keys() - _OURS[name])
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or key not in legal:
            raise ValueError(f"{name} must be KEY=VALUE with a KEY of {', '.join(legal)}; got {pair!r}")
        kind = hints[key]
        try:
            if kind is bool:
                found[key] = {"true": True, "on": True, "false": False, "off": False}[text.lower()]
            elif kind in (int, float):
                found[key] = kind(text)
            else:
                found[key] = text if kind is str else tuple(text.split())
        except (KeyError, ValueError):
            kinds = "on or off" if kind is bool else f"a number ({kind.__name__})"
            raise ValueError(f"{name} {key} must be {kinds}, got {text!r}") from None
    return found


def _job(arm: Arm, scale: Scale, seed: int, data: str, changes: Changes) -> Job:
    before = _pretrain_settings(arm, scale, seed, changes)
    like: dict[str, Any] = {"model": before.model, "model_arg": before.model_arg, "size": before.size}
    given = {**scale.finetune, **changes.finetune}
    rates = () if "lr" in changes.finetune else scale.rates
    if len(rates) == 1:
        given["lr"] = rates[0]
    after = finetune.Settings(**{**given, **like, "data": data, "seed": seed})
    fingerprint = "" if arm.pretrain is None else pretrain.build_recipe(before).fingerprint

    dataset = {name for name, group in options.groups(pretrain.Settings).items() if group == "dataset"}
    body = {name: value for name, value in _told(before).items() if name not in pretrain.FREE | dataset | {"seed"}}
    elsewhere = finetune.FREE | {"data", "weights", "seed", "lr"}
    about: dict[str, Any] = {
        "pretrain": None if arm.pretrain is None else {**body, "recipe": fingerprint},
        "finetune": {name: value for name, value in _told(after).items() if name not in elsewhere},
        "rates": rates if len(rates) > 1 else [after.lr],
        "images": [scale.images, scale.held_out, scale.test],
        "data": data,
        **({"probe": True} if scale.probe else {}),
    }
    return Job(
        arm=arm.name,
        seed=seed,
        pretraining=None if arm.pretrain is None else before,
        finetuning=after,
        rates=rates if len(rates) > 1 else (),
        probes=scale.probe,
        fingerprint=fingerprint,
        key=_digest({**about, "seed": seed}),
        body=_digest({"pretrain": about["pretrain"], "seed": seed}),
        choice=_digest(about),
    )


def _pretrain_settings(arm: Arm, scale: Scale, seed: int, changes: Changes) -> pretrain.Settings:
    given = {**scale.pretrain, **changes.pretrain, **(arm.pretrain or {}), "seed": seed, "sheet": 0}
    given["model"] = arm.model or given.get("model", pretrain.Settings.model)
    given.setdefault("model_arg", scale.models.get(given["model"], ()))
    if "recipe" in given:
        if arm.needs_photo:
            given["recipe"] = changes.photo
        else:
            given["recipe"] = _complete(given["recipe"], {**scale.pretrain, **changes.pretrain}, scale.datasets)
        dataset = {name for name, group in options.groups(pretrain.Settings).items() if group == "dataset"}
        given = {name: value for name, value in given.items() if name == "recipe" or name not in dataset}
    return pretrain.Settings(**given)


def _complete(text: str, shared: Mapping[str, Any], datasets: Mapping[str, Mapping[str, Any]]) -> str:
    """Add to a recipe's text the fields that the scale gives to all datasets, and to this one, where it has them."""
    name, _, said = text.partition(":")
    known = {field.name for field in dataclasses.fields(RECIPES[name])}  # type: ignore[arg-type]
    given = {_SHARED[key]: value for key, value in shared.items() if key in _SHARED and _SHARED[key] in known}
    given |= datasets.get(name, {})
    there = {part.partition("=")[0] for part in said.split(",")}
    more = [f"{key}={value}" for key, value in given.items() if key not in there]
    return f"{name}:{','.join([said, *more] if said else more)}" if said or more else name


def _told(settings: Any) -> dict[str, Any]:
    """Return the fields that are not at their defaults: a field that a later version adds leaves keys as they are."""
    fields = dataclasses.fields(settings)
    return {f.name: getattr(settings, f.name) for f in fields if getattr(settings, f.name) != f.default}


def _digest(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(files.canonical_json(dict(about)).encode()).hexdigest()
