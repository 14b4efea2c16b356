"""Two real processes, started by torchrun, together give the batches of one."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from onepfrac import OnePFrac

SCRIPT = """
import hashlib, itertools, json, sys
import torch
from torch.utils.data import DataLoader
from onepfrac import load_recipe

folder = sys.argv[1]
recipe = load_recipe(f"{folder}/recipe.json")
# Before torch.distributed is initialised the launcher's environment decides, afterwards the process group does.
early = recipe.stream(batch_size=3, size=16, augment="crop-flip")
torch.distributed.init_process_group("gloo")
stream = recipe.stream(batch_size=3, size=16, augment="crop-flip")
rank = torch.distributed.get_rank()
assert (early.rank, early.world_size) == (stream.rank, stream.world_size) == (rank, 2)
batches = []
for start, workers in ((0, 0), (12, 2)):
    stream.load_state_dict(stream.state_at(start))
    loader = DataLoader(stream, batch_size=None, num_workers=workers)
    for images, labels in itertools.islice(loader, 4):
        everywhere = [torch.empty_like(images) for _ in range(2)]
        torch.distributed.all_gather(everywhere, images)
        batches.append([hashlib.sha256(torch.cat(everywhere).numpy().tobytes()).hexdigest(), labels.tolist()])
with open(f"{folder}/{rank}.json", "w") as file:
    json.dump(batches, file)
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="torch was built without gloo")
@pytest.mark.forks
def test_two_processes_together_give_the_batches_of_one(tmp_path: Path) -> None:
    recipe = OnePFrac(num_classes=10, points=2000, canvas=32, pad=2, brush="fill")
    recipe.save(tmp_path / "recipe.json")
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = [str(tmp_path / "script.py"), str(tmp_path)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr

    alone = recipe.stream(batch_size=6, size=16, augment="crop-flip", rank=0, world_size=1)
    expected = list(itertools.islice(alone, 6))
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    for (images, labels), first, second in zip(expected[:4] + expected[2:], *ranks, strict=True):
        assert first[0] == second[0] == hashlib.sha256(images.numpy().tobytes()).hexdigest()
        assert first[1] + second[1] == labels.tolist()
