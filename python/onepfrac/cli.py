"""The command line ``onepfrac``: each command parses its options and calls one function of the library."""

from __future__ import annotations

import argparse
import math
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Sequence
from importlib import metadata

__all__ = ["main"]

_DESCRIPTION = (
    "Draws the images of formula-driven pre-training where they are used, and pre-trains vision models on them."
)
_EXAMPLES = """\
examples:
  onepfrac info                                    what is installed
  onepfrac bench                                   how fast it draws and streams here
  onepfrac grid                                    classes of 1p-frac on one page, classes.png
  onepfrac search --categories 1000                systems for FractalDB, systems.json
  onepfrac export OnePFrac --out 1p-frac           its images as PNG files, a folder a class
  onepfrac pretrain --preset quick                 a small ViT in two minutes on two CPU cores
  onepfrac finetune --weights runs/quick/weights.safetensors --data FOLDER
                                                   the same ViT on photographs
  onepfrac probe --weights runs/quick/weights.safetensors --data FOLDER
                                                   what each of its blocks knows about them

onepfrac COMMAND --help says more."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments
        What follows the program's name; default: ``sys.argv[1:]``.

    Returns
    -------
    0; 2 for input that is not legal; 128 + n where signal n ended a training early.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="onepfrac",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"onepfrac {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (text, add_options, _) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if arguments[:1] == [name]:  # other commands' options need imports that take seconds
            add_options(command)
    namespace = parser.parse_args(arguments)
    try:
        return _COMMANDS[namespace.command][2](namespace)
    except (FloatingPointError, OSError, TypeError, ValueError) as error:
        if os.environ.get("ONEPFRAC_TRACEBACK") == "1":
            raise
        print(f"onepfrac {namespace.command}: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"onepfrac {namespace.command}: interrupted", file=sys.stderr)
        return 130


# ---- info ------------------------------------------------------------------------------------------------------------


def _info_options(parser: argparse.ArgumentParser) -> None:
    del parser  # no options


def _info(namespace: argparse.Namespace) -> int:
    del namespace
    import torch

    import onepfrac
    from onepfrac.cpus import available_cpus
    from onepfrac.rendering import capabilities

    able = capabilities()
    cap = os.environ.get("ONEPFRAC_SIMD")
    rows = [
        ("onepfrac", f"{onepfrac.__version__}, format {able.format_version}"),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        *((name, _installed(name)) for name in ("torch", "torchvision", "timm", "numpy")),
        ("CPU", f"{available_cpus()} of {os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads"),
        ("SIMD levels", ", ".join(able.simd_levels) + (f"; capped by ONEPFRAC_SIMD={cap}" if cap else "")),
        ("CUDA code for", able.cuda_archs or "none: built without CUDA"),
    ]
    for index in range(able.cuda_devices):
        rows.append((f"CUDA device {index}", torch.cuda.get_device_name(index)))
    if able.cuda_devices == 0:
        rows.append(("CUDA devices", "none"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"{name:<{width}}  {value}")
    return 0


# ---- bench -----------------------------------------------------------------------------------------------------------


def _bench_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each row is timed (default: 2)")
    parser.add_argument("--device", action="append", help="cpu, cuda or cuda:N; may be given again (default: all)")
    parser.add_argument("--json", metavar="FILE", help="write the rows to a file too")


def _bench(namespace: argparse.Namespace) -> int:
    import json
    from dataclasses import asdict
    from pathlib import Path

    from onepfrac.bench import bench
    from onepfrac.files import write_text

    print(f"{'images/s':>10}  {'spread':>6}  what")
    rows = []
    for row in bench(namespace.seconds, namespace.device):
        rows.append(asdict(row))
        print(f"{row.images_a_second:10,.0f}  {100 * row.spread:4.0f} %  {row.what}, {row.where}", flush=True)
    if namespace.json:
        write_text(Path(namespace.json), json.dumps({"onepfrac": _version(), "rows": rows}, indent=1) + "\n")
    return 0


# ---- grid ------------------------------------------------------------------------------------------------------------


def _grid_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac import OnePFrac

    recipe = OnePFrac()
    parser.epilog = textwrap.dedent("""\
        examples:
          onepfrac grid                                        classes of the default recipe
          onepfrac grid --sigma 4.2 --delta 0.3 --classes 12   another fractal, larger perturbations
          onepfrac grid --recipe runs/quick/recipe.json        what a run was trained on
          onepfrac grid --sigma 3 3.5 5 --delta 0.01 0.1 0.5   a table of sigma-factor against delta""")
    out = parser.add_argument_group("page")
    out.add_argument("--out", default="classes.png", metavar="FILE", help="where to write it (default: classes.png)")
    out.add_argument(
        "--classes", type=int, metavar="N", help="classes to show, in a table: in each cell (default: 40, 4)"
    )
    out.add_argument("--tile", type=int, metavar="PIXELS", help="side of a picture (default: 112, in a table 72)")
    out.add_argument("--columns", type=int, default=0, metavar="N", help="pictures in a row (default: as fits)")
    data = parser.add_argument_group("dataset")
    data.add_argument(
        "--recipe",
        metavar="RECIPE",
        help="JSON file of a recipe, or NAME:field=value,..., in place of this group's other options",
    )
    several = "; several numbers here or for {} make a table"
    data.add_argument(
        "--sigma", type=float, nargs="+", metavar="X", help=f"sigma-factor (default: 3.5){several.format('delta')}"
    )
    data.add_argument(
        "--delta", type=float, nargs="+", metavar="X", help=f"size of epsilon (default: 0.1){several.format('sigma')}"
    )
    for name, text in _RECIPE_OPTIONS.items():
        default = getattr(recipe, name)
        flag = f"--{name.replace('_', '-')}"
        metavar = "X" if isinstance(default, float) else "N" if isinstance(default, int) else "NAME"
        data.add_argument(flag, type=type(default), metavar=metavar, help=f"{text} (default: {default})")


_RECIPE_OPTIONS = {
    "num_classes": "L, the number of perturbations",
    "seed": "seed of the dataset",
    "num_maps": "N, maps of the fractal",
    "mode": "how epsilon is applied: additive or multiplicative",
    "points": "points of an image",
    "canvas": "width and height of the canvas in pixels",
    "pad": "free border of the canvas in pixels",
    "brush": "what one point inks: point, fill, patch or patch_fixed",
    "min_inked": "share of the picture that must be inked",
}


def _grid(namespace: argparse.Namespace) -> int:
    from onepfrac import OnePFrac, contact_sheet, recipe_of

    names = [*_RECIPE_OPTIONS, "sigma", "delta"]
    given = {name: getattr(namespace, name) for name in names if getattr(namespace, name) is not None}
    sizes = {} if namespace.tile is None else {"tile": namespace.tile}
    if namespace.recipe and given:
        raise ValueError(f"recipe {namespace.recipe} already says {', '.join(given)}; give one or the other")
    sigmas, deltas = given.pop("sigma", [OnePFrac.sigma]), given.pop("delta", [OnePFrac.delta])
    if len(sigmas) == len(deltas) == 1:
        recipe = recipe_of(namespace.recipe) if namespace.recipe else OnePFrac(sigmas[0], deltas[0], **given)
        count = 40 if namespace.classes is None else namespace.classes
        page = contact_sheet.classes(recipe, count, columns=namespace.columns, **sizes)
    else:
        count = 4 if namespace.classes is None else namespace.classes
        page = contact_sheet.sigma_against_delta(OnePFrac(**given), sigmas, deltas, per_cell=count, **sizes)
    contact_sheet.save(page, namespace.out)
    print(f"wrote {namespace.out}, {page.width} x {page.height} pixels")
    return 0


# ---- search ----------------------------------------------------------------------------------------------------------


def _search_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac.category_search import SAMPLINGS, Rule

    rule = Rule()
    parser.epilog = textwrap.dedent("""\
        examples:
          onepfrac search --categories 1000 --out systems.json    FractalDB-1k's rule
          onepfrac search --categories 1000 --out csv             as CSV files in a folder, the published format
          onepfrac search --sampling sigma --out contractions.json

        FractalDB(categories=onepfrac.Categories.load("systems.json")) makes a dataset of them. What is found so far is
        kept in OUT.partial; the same command goes on there, and ends with the same categories.""")
    parser.add_argument("--categories", type=int, default=1000, metavar="N", help="how many to find (default: 1000)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the search (default: 0)")
    parser.add_argument(
        "--out",
        default="systems.json",
        metavar="FILE",
        help="a .json file, or a folder for CSV (default: systems.json)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's number)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default: cpu)")
    group = parser.add_argument_group("rule")
    group.add_argument(
        "--sampling", choices=SAMPLINGS, default=rule.sampling, help=f"how systems are drawn (default: {rule.sampling})"
    )
    for name, text in (
        ("min_maps", "fewest maps of a system"),
        ("max_maps", "most maps of a system"),
        ("fill", "share of the picture that must be inked"),
        ("points", "points of the picture that decides"),
        ("size", "its width and height in pixels"),
        ("pad", "its free border in pixels"),
    ):
        default = getattr(rule, name)
        flag = f"--{name.replace('_', '-')}"
        metavar = "X" if isinstance(default, float) else "N"
        group.add_argument(
            flag, type=type(default), default=default, metavar=metavar, help=f"{text} (default: {default})"
        )


def _search(namespace: argparse.Namespace) -> int:
    from pathlib import Path

    from tqdm import tqdm

    from onepfrac.categories import check_folder
    from onepfrac.category_search import Rule, Search

    names = ("sampling", "min_maps", "max_maps", "fill", "points", "size", "pad")
    search = Search(namespace.categories, namespace.seed, Rule(**{name: getattr(namespace, name) for name in names}))
    out = Path(namespace.out)
    if out.exists() and not namespace.overwrite:
        raise ValueError(f"out must not be there yet, got {out}; give --overwrite to replace it")
    check_folder(out, search.num_categories)
    partial = out.with_name(out.name + ".partial")
    if partial.exists():
        search.resume(partial)
        print(f"going on from {partial}: {search.num_found} of {search.num_categories} categories")
    with tqdm(total=search.num_categories, initial=search.num_found, unit=" categories", disable=None) as bar:
        found = search.run(namespace.threads, namespace.device, bar.update, partial)
    found.save(out, search.about())
    partial.unlink(missing_ok=True)
    tried = int(search.attempts.sum()) + search.num_categories
    print(f"wrote {out}: {search.num_categories} categories of {tried} candidates")
    return 0


# ---- export ----------------------------------------------------------------------------------------------------------


def _export_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac.datasets import RECIPES
    from onepfrac.export import FORMATS, SHARD_SIZE
    from onepfrac.plan import DRAWS

    parser.epilog = _EXPORT_EXAMPLES
    parser.add_argument(
        "recipe", metavar="RECIPE", help=f"NAME or NAME:field=value,field=value of {', '.join(RECIPES)}; or a JSON file"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder; an export that lies there goes on")
    parser.add_argument(
        "--format", choices=FORMATS, default=FORMATS[0], help=f"what is written (default: {FORMATS[0]})"
    )
    parser.add_argument(
        "--size", type=int, metavar="PIXELS", help="side of the pictures (default: the canvas as it is drawn)"
    )
    parser.add_argument(
        "--draws", choices=DRAWS, default=DRAWS[0], help=f"fixed, or the fresh ones of epoch 0 (default: {DRAWS[0]})"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="threads (default: the CPUs it may use)")
    parser.add_argument("--shard-size", type=int, metavar="N", help=f"images of a shard (default: {SHARD_SIZE})")


_EXPORT_EXAMPLES = """\
examples:
  onepfrac export OnePFrac --out 1p-frac
  onepfrac export OnePFrac:num_classes=100,canvas=256 --out small
  onepfrac export runs/quick/recipe.json --size 224 --out pictures
  onepfrac export OnePFrac --format webdataset --out shards

An image folder holds DIR/CLASS/IMAGE.png, for torchvision.datasets.ImageFolder, which finds labels and image numbers as
they are here; webdataset makes DIR/shard-000000.tar and so on. The same command goes on with an export that was
interrupted, by whatever."""


def _export(namespace: argparse.Namespace) -> int:
    from onepfrac.datasets import recipe_of
    from onepfrac.export import export_images

    done = export_images(
        recipe_of(namespace.recipe),
        namespace.out,
        namespace.format,
        size=namespace.size,
        draws=namespace.draws,
        shard_size=namespace.shard_size,
        workers=namespace.workers,
        progress=True,
    )
    if done.images == 0:
        print(f"the export in {done.folder} is finished, all {done.total} images")
        return 0
    before = f" after {done.total - done.images} that were there" if done.images < done.total else ""
    print(
        f"wrote {done.images} images{before} to {done.folder}: {done.bytes / 1e6:.1f} MB, {done.seconds:.1f} s,"
        f" {done.images / done.seconds:.0f} images/s"
    )
    return 0


# ---- pretrain and finetune -------------------------------------------------------------------------------------------


def _pretrain_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac.train import options, pretrain

    presets = [f"{name:<6} {_settings_text(values)}" for name, values in pretrain.PRESETS.items()]
    presets = [textwrap.fill(text, 110, initial_indent="  ", subsequent_indent=" " * 9) for text in presets]
    parser.epilog = "\n".join(["presets:", *presets, "", _PRETRAIN_EXAMPLES])
    parser.add_argument(
        "--preset", choices=list(pretrain.PRESETS), help="start from these settings; options beside it win"
    )
    options.add_options(parser, pretrain.Settings)


_PRETRAIN_EXAMPLES = """\
examples:
  onepfrac pretrain --preset quick
  onepfrac pretrain --preset quick --steps 5000 --delta 0.2 --out runs/longer
  onepfrac pretrain --resume --out runs/longer
  torchrun --nproc-per-node 8 -m onepfrac pretrain --preset paper
  tensorboard --logdir runs

The folder receives weights.safetensors (for timm.create_model(..., checkpoint_path=...)), checkpoint.safetensors,
settings.json, recipe.json, classes.png and tensorboard/.
After Ctrl-C or SIGTERM the step is finished and a checkpoint written."""


def _settings_text(values: dict[str, object]) -> str:
    shown = {name: " ".join(value) if isinstance(value, tuple) else value for name, value in values.items()}
    return ", ".join(f"{name} {value}" for name, value in shown.items())


def _pretrain(namespace: argparse.Namespace) -> int:
    from onepfrac.train import options, pretrain

    settings = pretrain.resolve(options.given(namespace, pretrain.Settings), namespace.preset)
    speaks = int(os.environ.get("RANK", 0)) == 0
    outcome = pretrain.pretrain(settings)
    if not speaks:
        return 0
    if math.isnan(outcome.last_loss):
        print(f"the run in {settings.out} is finished, all {outcome.step} steps; its weights are in {outcome.weights}")
        return 0
    print(f"start: loss {outcome.first_loss:.3f}, accuracy {outcome.first_accuracy:.1%}")
    print(f"end:   loss {outcome.last_loss:.3f}, accuracy {outcome.last_accuracy:.1%}")
    print(f"{outcome.seconds:.0f} s, {outcome.images_per_second:.0f} images/s, {outcome.waiting:.1%} waiting for data")
    if outcome.finished:
        print(f"wrote {outcome.weights}; beside it settings, recipe, contact sheet, checkpoint and TensorBoard log")
        return 0
    print(
        f"stopped at step {outcome.step} of {settings.steps}; to go on: onepfrac pretrain --resume --out {settings.out}"
    )
    return 128 + outcome.signal if outcome.signal else 0


def _finetune_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac.train import finetune, options

    presets = [f"{name:<6} {_settings_text(values)}" for name, values in finetune.PRESETS.items()]
    presets = [textwrap.fill(text, 110, initial_indent="  ", subsequent_indent=" " * 9) for text in presets]
    parser.epilog = "\n".join(["presets:", *presets, "", _FINETUNE_EXAMPLES])
    parser.add_argument(
        "--preset", choices=list(finetune.PRESETS), help="start from these settings; options beside it win"
    )
    options.add_options(parser, finetune.Settings)


_FINETUNE_EXAMPLES = """\
examples:
  onepfrac finetune --preset quick --weights runs/quick/weights.safetensors --data FOLDER
  onepfrac finetune --weights runs/quick/weights.safetensors --data torch/cifar10 --data-root data --download
  onepfrac finetune --model vit_tiny_patch16_224 --data FOLDER          from scratch
  onepfrac finetune --resume --out runs/finetune
  torchrun --nproc-per-node 8 -m onepfrac finetune --preset paper --weights FILE --data FOLDER --workers 8

FOLDER holds train/CLASS/*.jpg and val/CLASS/*.jpg. Weights that onepfrac pretrain wrote know their model.
After Ctrl-C or SIGTERM the step is finished and a checkpoint written."""


def _finetune(namespace: argparse.Namespace) -> int:
    from onepfrac.train import finetune, options

    settings = finetune.resolve(options.given(namespace, finetune.Settings), namespace.preset)
    outcome = finetune.finetune(settings)
    if int(os.environ.get("RANK", 0)) != 0:
        return 0
    if not outcome.finished:
        print(f"stopped after {outcome.steps} steps; to go on: onepfrac finetune --resume --out {settings.out}")
        return 128 + outcome.signal if outcome.signal else 0
    five = "" if outcome.top5 is None else f" (of the five likeliest {outcome.top5:.2%})"
    print(
        f"accuracy {outcome.accuracy:.2%}{five} after {outcome.steps} steps, {outcome.seconds:.0f} s; "
        f"wrote {outcome.weights}"
    )
    return 0


# ---- publish ---------------------------------------------------------------------------------------------------------


def _publish_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _PUBLISH_EXAMPLES
    parser.add_argument("weights", metavar="WEIGHTS", help="weights file of a training, or the folder of a run")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="the folder to write; must not be there yet")
    parser.add_argument(
        "--license",
        metavar="NAME",
        help="the hub's name of a licence, as cc-by-4.0 (default: mit; must be given where photographs were used)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace FOLDER, if nothing but a published model lies there"
    )


_PUBLISH_EXAMPLES = """\
examples:
  onepfrac publish runs/quick --out published
  onepfrac publish runs/finetune/weights.safetensors --license cc-by-4.0 --out published
  hf upload USER/NAME published                      to the Hugging Face hub, with its own program

FOLDER receives config.json, model.safetensors, README.md (a model card) and recipe.json. timm reads it:
timm.create_model("local-dir:FOLDER", pretrained=True), and from the hub ("hf-hub:USER/NAME", pretrained=True)."""


def _publish(namespace: argparse.Namespace) -> int:
    from onepfrac.train.publish import publish

    folder = publish(namespace.weights, namespace.out, namespace.license, namespace.overwrite)
    names = ", ".join(sorted(path.name for path in folder.iterdir()))
    print(f"wrote {folder}: {names}; read README.md, then: hf upload USER/NAME {folder}")
    return 0


# ---- probe -----------------------------------------------------------------------------------------------------------


def _probe_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac.train import options, probe

    parser.epilog = _PROBE_EXAMPLES
    options.add_options(parser, probe.Settings)


_PROBE_EXAMPLES = """\
examples:
  onepfrac probe --weights runs/quick/weights.safetensors --data FOLDER --per-class 100
  onepfrac probe --weights runs/quick/weights.safetensors --data torch/cifar10 --data-root data --download
  onepfrac probe --model resnet18 --data FOLDER          fresh weights alone

FOLDER holds train/CLASS/*.jpg and val/CLASS/*.jpg. The features of all blocks are kept in memory: 4 bytes each."""


def _probe(namespace: argparse.Namespace) -> int:
    from onepfrac.train import options, probe

    outcome = probe.probe(probe.Settings(**options.given(namespace, probe.Settings)))
    width = max(len(block) for block in ("block", *outcome.blocks))
    print("accuracy of a linear probe\n" + " ".join([f"{'block':<{width}}", *(f"{a:>8}" for a in outcome.accuracies)]))
    for i, block in enumerate(outcome.blocks):
        print(" ".join([f"{block:<{width}}", *(f"{shares[i]:>8.2%}" for shares in outcome.accuracies.values())]))
    print(f"{outcome.seconds:.0f} s; wrote {outcome.result} and {outcome.plot}")
    return 0


# ---- experiment ------------------------------------------------------------------------------------------------------


def _experiment_options(parser: argparse.ArgumentParser) -> None:
    from onepfrac.train import options
    from onepfrac.train.experiments import run
    from onepfrac.train.experiments.catalogue import EXPERIMENTS, SCALES

    names = [f"  {name:<8}  {experiment.title}" for name, experiment in EXPERIMENTS.items()]
    scales = [f"  {name:<8}  {scale.about}" for name, scale in SCALES.items()]
    parser.epilog = "\n".join(["experiments:", *names, "", "scales:", *scales, "", _EXPERIMENT_EXAMPLES])
    parser.add_argument("name", nargs="?", metavar="NAME", help=f"one of {', '.join(EXPERIMENTS)}")
    parser.add_argument("--list", action="store_true", help="only print the jobs; without NAME, the experiments")
    parser.add_argument("--report", action="store_true", help="only write the report again, from the results in OUT")
    options.add_options(parser, run.Settings)


_EXPERIMENT_EXAMPLES = """\
examples:
  onepfrac experiment main --scale smoke --data cifar10 --out runs/try
  onepfrac experiment delta --scale cpu --data cifar10-jpeg.tar.xz --minutes 30
  torchrun --nproc-per-node 8 -m onepfrac experiment main --scale h200 --data cifar100
  onepfrac experiment main --report

The folder receives a line of results a run (results*.jsonl), report.md, report.png, and work/ with the pre-trained
weights. The same command goes on with what was interrupted, by whatever. Under torchrun each process runs jobs of its
own."""


def _experiment(namespace: argparse.Namespace) -> int:
    from onepfrac.train import options
    from onepfrac.train.experiments import run
    from onepfrac.train.experiments.catalogue import EXPERIMENTS

    if namespace.name is None:
        if not namespace.list:
            raise ValueError(f"NAME must be one of {', '.join(EXPERIMENTS)}, got none; --list says what they are")
        for name, experiment in EXPERIMENTS.items():
            print(f"{name:<8}  {experiment.title}: {', '.join(arm.name for arm in experiment.arms)}")
        return 0
    settings = run.Settings(**options.given(namespace, run.Settings))
    if namespace.report:
        print(f"wrote {run.write_report(namespace.name, settings)}; beside it report.png")
        return 0
    outcome = run.run(namespace.name, settings, dry=namespace.list)
    if namespace.list:
        print(f"{outcome.done} jobs are done, {outcome.left} are left")
        return 0
    if outcome.report is not None:
        print(f"wrote {outcome.report}; beside it report.png and results")
    if outcome.left:
        print(f"stopped: {outcome.done} jobs are done, {outcome.left} are left; the same command goes on")
    return 128 + outcome.signal if outcome.signal else 0


def _version() -> str:
    from onepfrac import __version__

    return __version__


def _installed(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


_COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], Callable[[argparse.Namespace], int]]] = {
    "info": (
        "Show versions, what the renderer was built for, and the devices.",
        _info_options,
        _info,
    ),
    "bench": ("Time rendering and streaming on this machine, half a minute.", _bench_options, _bench),
    "grid": ("Write a contact sheet of a dataset's classes, or of sigma-factor against delta.", _grid_options, _grid),
    "search": ("Search for the systems of FractalDB's categories.", _search_options, _search),
    "export": (
        "Write all images of a dataset as PNG files, as an image folder or as webdataset's shards.",
        _export_options,
        _export,
    ),
    "pretrain": ("Pre-train a timm model on images that are drawn while it trains.", _pretrain_options, _pretrain),
    "finetune": (
        "Fine-tune a timm model, from weights or from scratch, on a folder of images.",
        _finetune_options,
        _finetune,
    ),
    "publish": ("Write weights as a folder with a model card that timm and a hub read.", _publish_options, _publish),
    "experiment": (
        "Run one of the paper's ablations: pre-train and fine-tune all its arms, and write a table.",
        _experiment_options,
        _experiment,
    ),
    "probe": ("Train a linear probe on every block of a frozen timm model.", _probe_options, _probe),
}
