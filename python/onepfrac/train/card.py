"""The model card of weights: Markdown with the hub's front matter, made from the header of the file alone."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from onepfrac.datasets import Recipe
from onepfrac.files import canonical_json
from onepfrac.train import finetune, options, pretrain
from onepfrac.train.weights import About, about_weights, recipe_in

__all__ = ["card", "card_of", "default_license"]

_SHOWN = 80  # characters of a value that are shown
_LISTED = 100  # classes that are listed


def card_of(path: str | os.PathLike[str], license: str | None = None) -> str:
    """Return the model card of a weights file.

    Every number in it stands in the file's header; the tensors are not read.

    Parameters
    ----------
    path
        As of `onepfrac.train.weights.about_weights`.
    license
        The hub's name of a licence, as ``cc-by-4.0``. None: ``mit``, but no licence where photographs went into the
        weights, whose terms the header does not hold.

    Returns
    -------
    Text of a README.md: front matter in YAML, then Markdown.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    TypeError, ValueError
        If it is no weights file of onepfrac, its recipe was altered, or ``license`` is no such name.
    """
    return card(about_weights(path), license)


def default_license(about: About) -> str | None:
    """Return ``mit`` where every image was drawn from formulas, None where photographs went into the weights."""
    recipe = about.info.get("recipe")
    drawn = about.program != "finetune" and isinstance(recipe, dict) and recipe.get("dataset") != "SingleImage"
    return "mit" if drawn else None


def card(about: About, license: str | None = None) -> str:
    """Return the card of a header that was read, see `card_of`."""
    if license is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license):
        raise ValueError(f"license must be a name as mit, apache-2.0 or cc-by-4.0, got {license!r:.80}")
    license = license or default_license(about)
    recipe = recipe_in(about) if "recipe" in about.info else None
    does = "image-classification" if about.program == "finetune" else "image-feature-extraction"
    front = ["library_name: timm", f"pipeline_tag: {does}", *([f"license: {license}"] if license else [])]
    front += ["tags:", "- timm", "- onepfrac", *(["- formula-driven-supervised-learning"] if recipe else [])]
    parts = [
        ["---", *front, "---"],
        [f"# {about.model}, {_what(about, recipe)}"],
        _model(about, license),
        _loading(about),
        _labels(about, recipe),
        _recipe(recipe, about.info["settings"]) if recipe else [],
        _command(about),
        ["## Settings of the training", "", *_table("setting", _deciding(about).items())],
        _numbers(about),
        _limits(about, recipe),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _what(about: About, recipe: Recipe | None) -> str:
    if recipe is None:
        return f"fine-tuned on images of {about.num_classes} classes"
    return f"pre-trained on {recipe.dataset}"


def _model(about: About, license: str | None) -> list[str]:
    given = "".join(f", `{_cell(f'{name}={value!r}')}`" for name, value in about.model_args.items())
    outputs = f"{about.num_classes} outputs" if about.num_classes else "no classifier"
    rows = [
        f"The model is timm's `{about.model}`{given}: images of {about.size} x {about.size} pixels, {outputs}.",
        f"`onepfrac {about.program}` trained it from scratch."
        if not about.info["settings"].get("weights")
        else f"`onepfrac {about.program}` trained it, from other weights.",
    ]
    if license is None:
        rows.append("No licence is stated here; whoever owns the photographs has a say in it.")
    return rows


def _loading(about: About) -> list[str]:
    model = 'timm.create_model("hf-hub:USER/NAME", pretrained=True, num_classes=10)  # USER/NAME: where this lies'
    return [
        "## Loading",
        "",
        "```python",
        "import timm",
        "",
        f"model = {model}",
        "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)",
        "```",
        "",
        "`num_classes=10` gives a fresh classifier for 10 classes of yours; 0 gives features, and without it the model"
        " is as it was trained. From a folder on the disk, with timm or with onepfrac:",
        "",
        "```python",
        'model = timm.create_model("local-dir:FOLDER", pretrained=True, num_classes=10)',
        'model = onepfrac.load_pretrained("FOLDER", num_classes=10)',
        "```",
    ]


def _labels(about: About, recipe: Recipe | None) -> list[str]:
    title = ["## Labels", ""]
    if about.program == "finetune":
        rows = _table("output", enumerate(about.info["classes"][:_LISTED]))
        more = ["", "All stand in `config.json`, under `label_names`."] if about.num_classes > _LISTED else []
        return [*title, "Outputs in this order:", "", *rows, *more]
    if about.num_classes == 0:
        return [*title, "There are none: the model gives features."]
    means = "perturbation" if recipe is not None and recipe.dataset == "OnePFrac" else "class"
    return [
        *title,
        f"The {about.num_classes} outputs count from 0: output k stands for {means} number k of the recipe below. It"
        " says nothing of photographs: for those, put a classifier of your own in its place. The classes are shown by"
        " `onepfrac grid --recipe recipe.json`.",
    ]


def _recipe(recipe: Recipe, settings: Mapping[str, Any]) -> list[str]:
    fields = [field.name for field in dataclasses.fields(recipe)]  # type: ignore[arg-type]
    plain = {name: getattr(recipe, name) for name in fields}
    rows = ["## Recipe", "", f"Dataset `{recipe.dataset}`, fingerprint `{recipe.fingerprint}`.", ""]
    values = json.loads(recipe.to_json())
    rows += [*_table("field", ((name, values[name]) for name in fields)), "", "```python", "import onepfrac", ""]
    if all(isinstance(value, (int, float, str, tuple)) and len(repr(value)) <= _SHOWN for value in plain.values()):
        rows += [f"recipe = onepfrac.{recipe.dataset}({', '.join(f'{k}={v!r}' for k, v in plain.items())})"]
    else:
        rows += ['recipe = onepfrac.load_recipe("recipe.json")']
    rows += [f'assert recipe.fingerprint == "{recipe.fingerprint}"']
    names = ("batch_size", "size", "augment", "draws")
    if all(name in settings for name in names) and settings.get("crop") is True:
        values = {name: None if settings[name] == "none" else settings[name] for name in names}
        rows += [f"stream = recipe.stream({', '.join(f'{name}={value!r}' for name, value in values.items())})"]
    return [*rows, "```"]


def _deciding(about: About) -> dict[str, Any]:
    """Return the settings that decide the weights: not those of the machine, nor what the recipe says."""
    titles = options.groups(pretrain.Settings)
    told = pretrain.FREE | ({name for name in titles if titles[name] == "dataset"} if "recipe" in about.info else set())
    return {name: value for name, value in about.info["settings"].items() if name not in told}


def _command(about: About) -> list[str]:
    """Return the command that trains such weights again; it names the settings that differ from the defaults."""
    kinds: dict[str, Any] = {"pretrain": pretrain.Settings, "finetune": finetune.Settings}
    if about.program not in kinds:
        return []
    defaults = {field.name: field.default for field in dataclasses.fields(kinds[about.program])}
    words = ["onepfrac", about.program]
    words += ["--recipe", "recipe.json"] if about.program == "pretrain" else ["--data", "FOLDER"]
    if about.info["settings"].get("weights"):
        words += ["--weights", "WEIGHTS"]
    for name, value in _deciding(about).items():
        value = tuple(value) if isinstance(value, list) else value
        if name in defaults and name not in ("data", "weights", "cache") and value != defaults[name]:
            words += _option(name, value)
    return ["## Training it again", "", "```sh", shlex.join(words), "```"]


def _option(name: str, value: object) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    items = value if isinstance(value, tuple) else (value,)
    return [f"--{flag}={' '.join(str(item).split())}" for item in items]


def _numbers(about: About) -> list[str]:
    """Return what else the header holds: the step, results, versions and the checksum."""
    found: dict[str, Any] = {"step": about.info.get("step")}
    if isinstance(images := about.info.get("images"), list):
        found |= dict(zip(("training images", "validation images"), images, strict=False))
    for key in ("metrics", "versions"):
        if isinstance(values := about.info.get(key), dict):
            found |= values
    found["SHA-256 of the tensors"] = about.info.get("sha256")
    rows = [(name, value) for name, value in found.items() if value is not None]
    return ["## Results and versions", "", *_table("what", rows)] if rows else []


def _limits(about: About, recipe: Recipe | None) -> list[str]:
    rows = [
        f"- Images must be {about.size} x {about.size} pixels, unless position embeddings are resampled, and normalised"
        " with mean = std = 0.5. `timm.data.resolve_model_data_config` knows both.",
    ]
    if recipe is not None:
        drawn = "in colour" if recipe.planes > 1 else "black and one gray" if recipe.bitmap else "gray"
        rows += [f"- The training images are {drawn}: on photographs the weights are a start for fine-tuning."]
    if recipe is not None and recipe.dataset != "SingleImage":
        rows += ["- No photograph, no person and no text stands in the training images."]
    return ["## Limits", "", *rows]


def _table(what: str, rows: Iterable[tuple[object, object]]) -> list[str]:
    return [f"| {what} | value |", "|---|---|", *(f"| {_cell(name)} | {_cell(value)} |" for name, value in rows)]


def _cell(value: object) -> str:
    """Return a value in one line, cut where it is long, without what Markdown or HTML would take for markup."""
    if isinstance(value, str):
        text = value
    else:
        text = canonical_json(value)
    text = " ".join(text.split())
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}..."
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;")):
        text = text.replace(sign, written)
    return text or "-"
