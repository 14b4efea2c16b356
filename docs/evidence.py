"""The evidence: what pre-training on one fractal is worth on real photographs, from the lines of results alone.

    python docs/evidence.py          # writes docs/evidence.md and docs/pictures/evidence-*.png

The lines are those that `onepfrac experiment` wrote, in benchmarks/results/evidence.jsonl.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from onepfrac import files
from onepfrac.train.experiments import report
from onepfrac.train.experiments.catalogue import EXPERIMENTS

FOLDER = Path(__file__).parent
PICTURES = FOLDER / "pictures"
RESULTS = FOLDER.parent / "benchmarks" / "results" / "evidence.jsonl"
SHOWN = ("main", "delta")

INTRODUCTION = """# Evidence

What weights from one fractal are worth, measured with this package on CIFAR-10, at the largest scale that two CPU
cores could afford: a ViT of 0.5 million parameters at 32 pixels, pre-trained on 96 000 images (the paper: 80 million
of 224 pixels) and fine-tuned on 1000 photographs, 100 a class. The learning rate of fine-tuning is chosen for each
arm from two, on other 1000 photographs; accuracy is that on 5000 test images. Every figure below is made from [the
lines of results](../benchmarks/results/evidence.jsonl) by `python docs/evidence.py`; the commands that made the lines
stand under each table, and 1p-frac at delta 0.2 of the first table is the 0.2 of the second.

What it shows, at this scale:

* Weights from perturbations of one fractal beat fresh ones, and those from Gaussian noise are worse than fresh: the
  paper's order.
* 100 perturbations of one fractal gave more than 100 fractals of OFDB, whose classes 1500 steps do not suffice to
  learn (loss 4.0; chance is 4.6). The paper, with 800 times as many images, has them level.
* Accuracy rises with delta, in the paper's order: 0.01, which cannot be learned (loss 3.9), below fresh weights, 0.05,
  0.1 and 0.2 above. Single steps of it lie within the noise of three seeds but for 0.05 and 0.2 over fresh weights:
  seeds differ by up to 3.4 points at 0.01 and 0.1. A linear probe likes the weights of 0.01 best of all, fine-tuning
  at this rate least; why, we do not know.
* A new image of each class each time (fresh) is no better than one for ever, here within the noise.
* Each block of the weights from one fractal serves a linear probe better than the fresh one, by one to three points.

What it does not show: the paper's heights. A gain of 20 points takes the paper's length of pre-training; `--scale
h200` and `--scale paper` go there and have not been run. The scale's settings (mean of the patches, crops and flips
instead of DeiT's recipe, delta 0.2, two rates) were chosen in pilots of one seed that looked at the same test images
([the notes](../benchmarks/NOTES.md), "What pre-training of minutes is worth").
"""


def lines_of(name: str) -> list[dict[str, Any]]:
    """The lines of the runs of an experiment."""
    lines = [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line["experiment"] == name and line["kind"] == "run"]


def page() -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    for name in SHOWN:
        lines = lines_of(name)
        text = report.text_of(EXPERIMENTS[name], report.rows_of(EXPERIMENTS[name], lines), lines)
        text = text.replace("\n## ", "\n### ").replace("(report.png)", f"(pictures/evidence-{name}.png)")
        parts.append("#" + text)
    return "\n".join(parts)


def main() -> None:
    """Write the page and its pictures."""
    for name in SHOWN:
        rows = report.rows_of(EXPERIMENTS[name], lines_of(name))
        buffer = io.BytesIO()
        report.plot(EXPERIMENTS[name], rows).savefig(buffer, format="png", dpi=120)
        files.write_bytes(PICTURES / f"evidence-{name}.png", buffer.getvalue())
    files.write_text(FOLDER / "evidence.md", page())


if __name__ == "__main__":
    main()
