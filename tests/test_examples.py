"""The guides' examples run, and under two ranks and on resuming train on exactly the stream's images, each once."""

from __future__ import annotations

import ast
import csv
import hashlib
import itertools
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from onepfrac import recipe_of

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
RECIPE, SIZE, STEPS = "OnePFrac:num_classes=6,points=500,canvas=32,pad=1,brush=fill", 32, 2

# Runs a script several times, each time in new processes with what torchrun tells its ranks; notes which images go into
# the patch embedding, the only convolution of a ViT, and its weights at the end. The processes are forked from one that
# has imported what takes seconds to import.
SPY = """
import hashlib, importlib, json, multiprocessing, os, runpy, socket, sys
import torch

def digest(tensor):
    return hashlib.sha256(tensor.detach().contiguous().numpy().tobytes()).hexdigest()

def run(script, options, rank, ranks, port, report):
    if ranks > 1:
        places = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": ranks, "LOCAL_WORLD_SIZE": ranks, "GROUP_RANK": 0}
        places |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "test"}
        os.environ.update({name: str(value) for name, value in places.items()})
    seen, weights = [], []
    def note(module, arguments):
        if isinstance(module, torch.nn.Conv2d):
            seen.append(digest(arguments[0]))
            weights[:] = [module.weight]
    torch.nn.modules.module.register_module_forward_pre_hook(note)
    sys.argv = [script, *options]
    runpy.run_path(script, run_name="__main__")
    with open(f"{report}-{rank}.json", "w") as file:
        json.dump([seen, digest(weights[0])], file)

modules, script, runs = json.loads(sys.argv[1])
for module in modules:
    importlib.import_module(module)
fork = multiprocessing.get_context("fork")
for number, (ranks, options) in enumerate(runs):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [fork.Process(target=run, args=(script, options, rank, ranks, port, number)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)
    print("end of run", flush=True)
"""

# What train.py of timm (1.0) asks of dataset and loader, in our words.
STAND_IN = """
import argparse, csv, os
import timm, torch
from timm import utils
from timm.data import create_dataset, create_loader, resolve_data_config
from timm.optim import create_optimizer_v2

parser = argparse.ArgumentParser()
for name, kind, default in (
    ("model", str, None), ("num-classes", int, None), ("img-size", int, None), ("batch-size", int, 128),
    ("epochs", int, 300), ("resume", str, ""), ("opt", str, "sgd"), ("lr", float, 0.1), ("warmup-epochs", int, 5),
    ("workers", int, 4), ("device", str, "cuda"), ("output", str, ""), ("experiment", str, ""),
    ("log-interval", int, 50), ("train-split", str, "train"), ("val-split", str, "validation"), ("seed", int, 42),
):
    parser.add_argument(f"--{name}", type=kind, default=default)
parser.add_argument("--no-prefetcher", action="store_true")
args = parser.parse_args()
assert args.no_prefetcher and not args.val_split
device = utils.init_distributed_device(args)
utils.random_seed(args.seed, args.rank)
model = timm.create_model(args.model, num_classes=args.num_classes, img_size=args.img_size)
config = resolve_data_config(vars(args), model=model)
optimizer = create_optimizer_v2(model, args.opt, lr=args.lr)
first = 0
if args.resume:
    saved = torch.load(args.resume)
    model.load_state_dict(saved["state_dict"])
    optimizer.load_state_dict(saved["optimizer"])
    first = saved["epoch"] + 1
net = torch.nn.parallel.DistributedDataParallel(model) if args.distributed else model
dataset = create_dataset(
    "", root=None, split=args.train_split, is_training=True, batch_size=args.batch_size, seed=args.seed, repeats=0
)
loader = create_loader(
    dataset, input_size=config["input_size"], batch_size=args.batch_size, is_training=True, hflip=0.5, collate_fn=None,
    use_prefetcher=False, mean=config["mean"], std=config["std"], num_workers=args.workers, device=device,
    distributed=args.distributed, pin_memory=False,
)
folder = os.path.join(args.output, args.experiment)
os.makedirs(folder, exist_ok=True)
for epoch in range(first, args.epochs):
    if hasattr(dataset, "set_epoch"):
        dataset.set_epoch(epoch)
    for index, (images, labels) in enumerate(loader):
        loss = torch.nn.functional.cross_entropy(net(images.to(device)), labels.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        last = index == len(loader) - 1
    assert last
    if utils.is_primary(args):
        state = {"epoch": epoch, "state_dict": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, os.path.join(folder, "last.pth.tar"))
        with open(os.path.join(folder, "summary.csv"), "w") as file:
            csv.writer(file).writerows([["epoch", "train_loss"], [epoch, loss.item()]])
"""


def run(
    folder: Path, example: str, of_two: list[object], resumed: list[object], modules: list[str]
) -> tuple[list[str], list[list[str]]]:
    """Run an example with two ranks and then, resumed, with one: what each run printed, what each model saw."""
    runs = [[ranks, ["--recipe", RECIPE, *map(str, words)]] for ranks, words in ((2, of_two), (1, resumed))]
    job = json.dumps([modules, str(ROOT / "examples" / f"{example}.py"), runs])
    path = os.environ.get("PYTHONPATH", "")  # may be relative
    absolute = os.pathsep.join(os.path.abspath(part) for part in path.split(os.pathsep) if part)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": absolute}
    command = [sys.executable, "-c", SPY, job]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    reports = [json.loads((folder / name).read_text()) for name in ("0-0.json", "0-1.json", "1-0.json")]
    seen, weights = zip(*reports, strict=True)
    assert weights[0] == weights[1] != weights[2]  # the two ranks trained one model
    return done.stdout.split("end of run")[:2], list(seen)


def expected(rank: int, ranks: int, batch_size: int, start: int) -> list[str]:
    """Return what one rank must see in steps ``start .. start + STEPS - 1``."""
    stream = recipe_of(RECIPE).stream(batch_size, SIZE, augment="deit", rank=rank, world_size=ranks)
    stream.load_state_dict(stream.state_at(start * stream.global_batch_size))
    batches = itertools.islice(stream, STEPS)
    return [hashlib.sha256(images.numpy().tobytes()).hexdigest() for images, _ in batches]


TIMM = ["--model", "test_vit", "--size", SIZE]
CASES: dict[str, tuple[list[object], list[object], list[object], list[str]]] = {
    # options always, of two ranks, and to resume; slow imports
    "plain_torch": (TIMM, [], [], ["timm"]),
    "lightning_module": (
        TIMM,
        ["--devices", 2],
        ["--resume", f"lightning_logs/version_0/checkpoints/epoch=0-step={STEPS}.ckpt"],
        ["timm", "lightning"],
    ),
    "hf_trainer": (
        ["--size", SIZE, "--width", 16, "--layers", 1, "--heads", 2],
        [],
        ["--resume", f"runs/hf/checkpoint-{STEPS}"],
        ["transformers.trainer", "transformers.models.vit.modeling_vit"],
    ),
}
SEEN = [expected(0, 2, 4, start=0), expected(1, 2, 4, start=0), expected(0, 1, 8, start=STEPS)]


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
@pytest.mark.parametrize("example", CASES)
def test_two_ranks_share_the_global_batches_and_one_goes_on_with_the_next(tmp_path: Path, example: str) -> None:
    always, of_two, resume, modules = CASES[example]
    of_two = [*always, "--batch-size", 4, "--steps", STEPS, *of_two]
    resumed = [*always, "--batch-size", 8, "--steps", 2 * STEPS, *resume]
    texts, seen = run(tmp_path, example, of_two, resumed, modules)
    assert seen == SEEN
    for text, steps in zip(texts, (STEPS, 2 * STEPS), strict=True):
        line = next(line for line in text.splitlines() if line.startswith("{'steps'"))
        report: dict[str, Any] = ast.literal_eval(line)
        assert (report["steps"], report["images"]) == (steps, steps * 8)
        assert math.isfinite(report["loss"])


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
@pytest.mark.parametrize("script", ["stand-in", "timm's"])
def test_timms_script_trains_on_the_stream_and_resumes_at_an_epoch(tmp_path: Path, script: str) -> None:
    path = tmp_path / "train.py"
    if script == "stand-in":
        path.write_text(STAND_IN)
    elif "ONEPFRAC_TIMM_TRAIN" in os.environ:
        path = Path(os.environ["ONEPFRAC_TIMM_TRAIN"]).resolve()
    else:
        pytest.skip("timm's packages hold no train.py: ONEPFRAC_TIMM_TRAIN may name one")
    always = [path, "--model", "test_vit", "--img-size", SIZE, "--opt", "adamw", "--lr", 1e-3, "--warmup-epochs", 0]
    always += ["--workers", 0, "--device", "cpu", "--output", tmp_path, "--experiment", "run", "--log-interval", 1]
    always += ["--steps", STEPS]
    resumed = [*always, "--batch-size", 8, "--epochs", 2, "--resume", tmp_path / "run" / "last.pth.tar"]
    _, seen = run(tmp_path, "timm_train", [*always, "--batch-size", 4, "--epochs", 1], resumed, ["timm.data"])
    assert seen == SEEN
    with open(tmp_path / "run" / "summary.csv") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert losses
    assert all(map(math.isfinite, losses))


def test_every_example_is_short_tested_and_on_the_page() -> None:
    page = (ROOT / "docs" / "guides.md").read_text()
    assert {path.stem for path in EXAMPLES} == {*CASES, "timm_train"}
    for path in EXAMPLES:
        text = path.read_text()
        assert text.count("\n") < 40, path
        assert f"```python\n{text}```\n" in page, path
