"""The model card of weights: Markdown with the hub's front matter, made from the header of the file alone."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onepfrac.datasets import Recipe
from onepfrac.files import canonical_json
from onepfrac.train import finetune, options, pretrain
from onepfrac.train.weights import About, about_weights, recipe_in

__all__ = ["card", "card_of", "default_license"]

_SHOWN = 80  # characters of a value that are shown


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
    settings: Mapping[str, Any] = about.info["settings"]
    does = "image-classification" if about.program == "finetune" else "image-feature-extraction"
    front = ["library_name: timm", f"pipeline_tag: {does}", *([f"license: {license}"] if license else [])]
    front += ["tags:", "- timm", "- onepfrac", *(["- formula-driven-supervised-learning"] if recipe else [])]
    parts = [
        ["---", *front, "---"],
        [f"# {about.model}, {_what(about, recipe)}"],
        _model(about, license),
        _loading(about),
        _labels(about, recipe),
        _recipe(recipe) if recipe else [],
        _command(about),
        ["## Settings of the training", "", *_table("setting", settings.items())],
        _numbers(about),
        _limits(about, recipe),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _what(about: About, recipe: Recipe | None) -> str:
    if recipe is None:
        return f"fine-tuned on images of {about.num_classes} classes"
    return f"pre-trained on {recipe.dataset}"


def _model(about: About, license: str | None) -> list[str]:
    given = "".join(f", `{name}={value!r}`" for name, value in about.model_args.items())
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
        return [*title, "Outputs in this order:", "", *_table("output", enumerate(about.info["classes"]))]
    if about.num_classes == 0:
        return [*title, "There are none: the model gives features."]
    means = "perturbation number k of one fractal" if recipe and recipe.dataset == "OnePFrac" else "class number k"
    return [
        *title,
        f"Output k, from 0 to {about.num_classes - 1}, stands for {means} of the recipe below. It says nothing of"
        " photographs: for those, put a classifier of your own in its place. `onepfrac grid --recipe recipe.json` shows"
        " the classes.",
    ]


def _recipe(recipe: Recipe) -> list[str]:
    fields = [field.name for field in dataclasses.fields(recipe)]  # type: ignore[arg-type]
    plain = {name: getattr(recipe, name) for name in fields}
    rows = ["## Recipe", "", f"Dataset `{recipe.dataset}`, fingerprint `{recipe.fingerprint}`.", ""]
    rows += [*_table("field", ((name, value) for name, value in plain.items())), "", "```python", "import onepfrac", ""]
    written = {name: repr(value) for name, value in plain.items()}
    if all(len(text) <= _SHOWN and _is_literal(text) for text in written.values()):
        rows += [f"recipe = onepfrac.{recipe.dataset}({', '.join(f'{k}={v}' for k, v in written.items())})"]
    else:
        rows += ['recipe = onepfrac.load_recipe("recipe.json")']
    return [*rows, f'assert recipe.fingerprint == "{recipe.fingerprint}"', "```"]


def _command(about: About) -> list[str]:
    """Return the command that trains such weights again, in so far as settings differ from the defaults."""
    if about.program not in ("pretrain", "finetune"):
        return []
    settings: Any = {"pretrain": pretrain.Settings, "finetune": finetune.Settings}[about.program]
    here = pretrain.FREE | {"data", "weights", "cache", "evaluate_every"}  # of the machine, or no part of the result
    titles = options.groups(settings)
    defaults = {field.name: field.default for field in dataclasses.fields(settings)}
    words = ["onepfrac", about.program]
    words += ["--recipe", "recipe.json"] if about.program == "pretrain" else ["--data", "FOLDER"]
    if about.info["settings"].get("weights"):
        words += ["--weights", "WEIGHTS"]
    for name, value in about.info["settings"].items():
        value = tuple(value) if isinstance(value, list) else value
        if name in defaults and name not in here and titles[name] != "dataset" and value != defaults[name]:
            words += _option(name, value)
    return ["## Training it again", "", "```sh", shlex.join(words), "```"]


def _option(name: str, value: object) -> list[str]:
    flag = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    return [f"--{flag}={item}" for item in (value if isinstance(value, tuple) else (value,))]


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
    elif isinstance(value, (bool, int, float, Sequence, Mapping)) or value is None:
        text = canonical_json(value)
    else:
        text = str(value)
    text = " ".join(text.split())
    if len(text) > _SHOWN:
        text = f"{text[:_SHOWN]}..."
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "&#96;")):
        text = text.replace(sign, written)
    return text or "-"


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return False
    return True
