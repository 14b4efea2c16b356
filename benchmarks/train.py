"""A training step on the stream against the same step on one batch that never changes.

    python benchmarks/train.py             # a table, and benchmarks/results/train.json
    python benchmarks/train.py --smoke     # seconds; writes nothing

On a GPU: ViT-Tiny, 224 pixels, bfloat16, batches of 256, the stream rendering ahead beside the model. On a CPU, where
the stream draws between the steps on the same cores: the same model at batches of 16, float32.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import timm
import torch
from timing import take_turns, write

import onepfrac


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print the table, write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="two turns of a tiny batch; write nothing")
    options = parser.parse_args(arguments)
    cuda = torch.cuda.is_available()
    device = torch.device("cuda" if cuda else "cpu")
    batch = 256 if cuda else 2 if options.smoke else 16
    model = timm.create_model("vit_tiny_patch16_224", num_classes=1000).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    stream = onepfrac.OnePFrac(num_classes=1000).stream(
        batch_size=batch, size=224, augment="deit", device=device, dtype=torch.bfloat16 if cuda else torch.float32
    )
    batches = iter(stream)
    constant = next(batches)

    def step(images: torch.Tensor, labels: torch.Tensor) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda):
            loss = torch.nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if cuda:
            torch.cuda.synchronize()

    contestants: dict[str, Any] = {
        "constant batch": (1, lambda _: step(*constant)),
        "stream": (1, lambda _: step(*next(batches))),
        "stream alone": (1, lambda _: next(batches)),
    }
    turns = 2 if options.smoke else 200 if cuda else 12
    timings = take_turns(contestants, turns, warm_up=20 if cuda else 1)
    ratio = timings["stream"]["median"] / timings["constant batch"]["median"]
    print(f"ms a step of ViT-Tiny, {batch} images on {device.type} (median)")
    for name, timing in timings.items():
        print(f"  {name:16s} {timing['median']:9.2f}")
    print(f"  a step on the stream takes {ratio:.3f}x the step on a constant batch")
    if not options.smoke:
        found = {"model": "vit_tiny_patch16_224", "batch": batch, "device": device.type, "ms_a_step": timings}
        write("train_gpu" if cuda else "train", found | {"ratio": ratio}, ("timm",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
