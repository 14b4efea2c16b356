"""Tables and plots of an experiment, from its lines of results alone."""

from __future__ import annotations

import dataclasses
import io
import math
import shlex
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot, which keeps all figures in a global list

from onepfrac import files
from onepfrac.train import finetune, pretrain
from onepfrac.train.experiments.grid import Arm, Experiment

__all__ = ["Row", "difference", "plot", "rows_of", "text_of", "verdict", "write"]

_OURS, _GRAY = "#1b6ca8", "#8a929a"


@dataclass(frozen=True)
class Row:
    """What an arm's runs came to; accuracies are shares of 1, in the order of the seeds.

    ``deviation`` is the standard deviation over seeds (n - 1), None of one run. ``loss`` is the mean of pre-training's
    last loss, None where there was none.
    """

    arm: Arm
    seeds: tuple[int, ...]
    accuracies: tuple[float, ...]
    mean: float
    deviation: float | None
    loss: float | None


def rows_of(experiment: Experiment, lines: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    """Return a row for each arm that has runs, by its name, in the experiment's order; of two equal runs the last."""
    rows: dict[str, Row] = {}
    for arm in experiment.arms:
        runs = {line["seed"]: line for line in lines if line["arm"] == arm.name}
        if not runs:
            continue
        chosen = [runs[seed] for seed in sorted(runs)]
        accuracies = tuple(float(line["accuracy"]) for line in chosen)
        losses = [line["pretraining"]["loss"] for line in chosen if line["pretraining"]]
        losses = [loss for loss in losses if loss is not None]
        rows[arm.name] = Row(
            arm=arm,
            seeds=tuple(sorted(runs)),
            accuracies=accuracies,
            mean=statistics.fmean(accuracies),
            deviation=statistics.stdev(accuracies) if len(accuracies) > 1 else None,
            loss=statistics.fmean(losses) if losses else None,
        )
    return rows


def difference(row: Row, other: Row) -> tuple[float, float | None]:
    """Return by how much ``row`` is better, and the standard error of that, None where one of them has a single run.

    The means are taken as independent, their variances as unequal.
    """
    gain = row.mean - other.mean
    if row.deviation is None or other.deviation is None:
        return gain, None
    variances = row.deviation**2 / len(row.accuracies) + other.deviation**2 / len(other.accuracies)
    return gain, math.sqrt(variances)


def verdict(row: Row, other: Row) -> str:
    """Say whether ``row`` is better than ``other``: by more than two standard errors, or not."""
    gain, error = difference(row, other)
    if error is None:
        return "one seed is not enough to tell"
    if abs(gain) <= 2 * error:
        return "within the noise"
    return "holds" if gain > 0 else "does not hold"


def write(experiment: Experiment, lines: Sequence[Mapping[str, Any]], out: Path) -> Path:
    """Write report.md and report.png into ``out`` and return the path of the former.

    Raises
    ------
    ValueError
        If there are no lines.
    OSError
        If a file cannot be written.
    """
    rows = rows_of(experiment, lines)
    if not rows:
        raise ValueError(f"out must hold results of {experiment.name}, {out} holds none")
    buffer = io.BytesIO()
    plot(experiment, rows).savefig(buffer, format="png", dpi=120)
    files.write_bytes(out / "report.png", buffer.getvalue())
    files.write_text(out / "report.md", text_of(experiment, rows, lines))
    return out / "report.md"


def text_of(experiment: Experiment, rows: Mapping[str, Row], lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the report as Markdown."""
    last = lines[-1]
    images, machines = last["images"], sorted({f"{x['machine']['device']}, {x['machine']['cpu']}" for x in lines})
    versions = sorted({", ".join(f"{name} {value}" for name, value in x["versions"].items()) for x in lines})
    commits = sorted({x["commit"] for x in lines if x["commit"]})
    parts = [
        f"# {experiment.title}",
        experiment.claim,
        f"Scale {last['scale']}. Accuracy on {images['test']} images of {last['data']} ({images['classes']} classes)"
        f" after fine-tuning on {images['train']} images; s.d. over seeds; gain over the arm of fresh weights, ± the"
        " standard error of the difference of two means.",
        "\n".join(_table(experiment, rows)),
        "The paper's figures are those of ViT-Tiny on CIFAR-100 (Nakamura et al., ECCV 2024), after 80 million images"
        " of 224 pixels: not to be held against another scale, where only the order can be.",
    ]
    if experiment.order:
        checks = ["| expected | difference | |", "|---|---:|---|"]
        for better, worse in experiment.order:
            if better in rows and worse in rows:
                told = _signed(*difference(rows[better], rows[worse]))
                checks.append(f"| {better} > {worse} | {told} | {verdict(rows[better], rows[worse])} |")
            else:
                checks.append(f"| {better} > {worse} | | not run |")
        parts += ["## Order", "A difference of more than two standard errors decides.", "\n".join(checks)]
    if probed := _probes(rows, lines):
        text = "Accuracy of a linear probe of each block of the frozen model, with the same images, %; mean over seeds."
        parts += ["## Blocks", text, "\n".join(probed)]
    parts += [
        f"![{experiment.title}](report.png)",
        "## How",
        "All of it:",
        _block([_command(experiment, rows, last)]),
    ]
    parts += [
        "One run of each arm, step by step; FOLDER holds the images, train/CLASS/* and val/CLASS/*:",
        _block([text for row in rows.values() for text in _steps(row, lines)]),
    ]
    hours = sum(x["seconds"] + (x["pretraining"] or {"seconds": 0.0})["seconds"] for x in lines) / 3600
    parts.append(f"{len(lines)} runs, {hours:.2f} h of training. On {'; '.join(machines)}.")
    parts.append(f"Versions: {'; '.join(versions)}." + (f" Commit {', '.join(commits)}." if commits else ""))
    return "\n\n".join(parts) + "\n"


def plot(experiment: Experiment, rows: Mapping[str, Row]) -> Figure:
    """Return the plot: accuracy against the axis, or a bar an arm; beside it, if it has two figures, the paper's."""
    reported = [row for row in rows.values() if row.arm.reported is not None]
    panels = 2 if len(reported) > 1 else 1
    figure = Figure(figsize=(4.5 * panels, 3.6 if experiment.axis else 1.2 + 0.35 * len(rows)), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False, sharey=not experiment.axis)[0]
    # The standard error of a mean, at which two arms can be compared by eye.
    errors = {name: (row.deviation or 0.0) / math.sqrt(len(row.accuracies)) for name, row in rows.items()}
    measured = {name: (100 * row.mean, 100 * errors[name]) for name, row in rows.items()}
    _panel(axes[0], experiment, rows, measured, "here, % ± standard error", _OURS)
    if panels == 2:
        theirs = {row.arm.name: (float(row.arm.reported or 0.0), 0.0) for row in reported}
        _panel(axes[1], experiment, rows, theirs, "the paper, CIFAR-100, %", _GRAY)
    if not experiment.axis:
        axes[0].invert_yaxis()  # once, since the panels share it
    figure.suptitle(experiment.title, fontsize=10)
    return figure


def _panel(
    axis: Axes,
    experiment: Experiment,
    rows: Mapping[str, Row],
    points: Mapping[str, tuple[float, float]],
    title: str,
    colour: str,
) -> None:
    axis.set_title(title, fontsize=9, loc="left")
    axis.spines[["top", "right"]].set_visible(False)
    if not experiment.axis:
        names = list(rows)
        shown = [(names.index(name), *point) for name, point in points.items()]
        places, means, errors = zip(*shown, strict=True)
        bars = axis.barh(places, means, xerr=errors if any(errors) else None, color=colour, height=0.7)
        axis.bar_label(bars, [f"{mean:.1f}" for mean in means], padding=4, fontsize=8)
        axis.set_yticks(range(len(names)), names, fontsize=8)
        axis.set_xlim(0, 1.15 * max(mean + error for mean, error in points.values()) or 1)
        return
    placed = [(rows[n].arm.value, *point) for n, point in points.items() if rows[n].arm.value is not None]
    values, means, errors = zip(*placed, strict=True) if placed else ((), (), ())
    axis.errorbar(values, means, yerr=errors, fmt="o-", color=colour, capsize=3)
    if values and min(values) > 0 and max(values) / min(values) > 10:
        axis.set_xscale("log")
    for name, (mean, error) in points.items():
        if rows[name].arm.value is None:
            axis.axhline(mean, color=_GRAY, linestyle="--", linewidth=1, label=name)
            axis.axhspan(mean - error, mean + error, color=_GRAY, alpha=0.2, linewidth=0)
            axis.legend(fontsize=8)
    axis.set_xlabel(experiment.axis)


def _table(experiment: Experiment, rows: Mapping[str, Row]) -> list[str]:
    lines = [
        "| arm | paper, % | accuracy, % | s.d. | n | gain | pre-training loss |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for arm in experiment.arms:
        paper = "" if arm.reported is None else f"{arm.reported:.1f}"
        row = rows.get(arm.name)
        if row is None:
            lines.append(f"| {arm.name} | {paper} | not run | | | | |")
            continue
        deviation = "" if row.deviation is None else f"{100 * row.deviation:.2f}"
        base = rows.get(arm.baseline)
        gain = _signed(*difference(row, base)) if base is not None and base is not row else ""
        loss = "" if row.loss is None else f"{row.loss:.3f}"
        accuracy = f"{100 * row.mean:.2f}"
        lines.append(f"| {arm.name} | {paper} | {accuracy} | {deviation} | {len(row.accuracies)} | {gain} | {loss} |")
    return lines


def _probes(rows: Mapping[str, Row], lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a table of the probes of all blocks, a table more where other models have other blocks."""
    tables: dict[tuple[str, ...], list[str]] = {}
    for name in rows:
        probes = {line["seed"]: line["probe"] for line in lines if line["arm"] == name and line.get("probe")}
        for blocks in dict.fromkeys(tuple(probe["blocks"]) for probe in probes.values()):
            shares = [probe["accuracies"] for probe in probes.values() if tuple(probe["blocks"]) == blocks]
            means = [f"{100 * statistics.fmean(column):.2f}" for column in zip(*shares, strict=True)]
            head = [f"| arm | {' | '.join(blocks)} |", "|---|" + "---:|" * len(blocks)]
            tables.setdefault(blocks, head).append(f"| {name} | {' | '.join(means)} |")
    return [line for number, table in enumerate(tables.values()) for line in ([""] if number else []) + table]


def _signed(gain: float, error: float | None) -> str:
    return f"{100 * gain:+.2f}" + ("" if error is None else f" ± {100 * error:.2f}")


def _command(experiment: Experiment, rows: Mapping[str, Row], line: Mapping[str, Any]) -> str:
    words = ["onepfrac", "experiment", line["experiment"], "--scale", line["scale"], "--data", line["data"]]
    if len(rows) < len(experiment.arms):
        words += ["--arms", ",".join(rows)]
    for name, changes in line["changes"].items():
        words += [f"--{name}={key}={_word(value)}" for key, value in changes.items()]
    words += ["--photo", "PHOTO"] if any(row.arm.needs_photo for row in rows.values()) else []
    return shlex.join(words)


def _steps(row: Row, lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the commands that do what the arm's first run did."""
    line = next(line for line in lines if line["arm"] == row.arm.name and line["seed"] == row.seeds[0])
    settings, folder = line["settings"], f"runs/{row.arm.name}"
    before = (
        [] if settings["pretrain"] is None else [_options("pretrain", pretrain.Settings, settings["pretrain"], folder)]
    )
    after = _options("finetune", finetune.Settings, settings["finetune"], f"{folder}-finetuned")
    if before:
        after += f" --weights {folder}/weights.safetensors"
    images = line["images"]
    if images["per_class"]:
        after += f" --per-class {images['per_class']}"
    if images["test_per_class"]:
        after += f" --val-per-class {images['test_per_class']}"
    return [*before, after]


def _options(command: str, cls: type[Any], settings: Mapping[str, Any], out: str) -> str:
    words = ["onepfrac", command]
    for field in dataclasses.fields(cls):
        value, flag = settings.get(field.name, field.default), "--" + field.name.replace("_", "-")
        if field.name == "out":
            words += [flag, out]
        elif field.name == "data":  # an archive has been unpacked
            words += [flag, value if "/" in value else "FOLDER"]
        elif isinstance(value, bool):
            if value != field.default:
                words.append(flag if value else "--no-" + field.name.replace("_", "-"))
        elif isinstance(value, (list, tuple)):
            words += [f"{flag}={item}" for item in value]
        elif value != field.default:
            words.append(f"{flag}={value}")
    return shlex.join(words)


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(value) if isinstance(value, (list, tuple)) else str(value)


def _block(commands: Sequence[str]) -> str:
    return "\n".join(["```", *commands, "```"])
