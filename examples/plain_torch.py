"""A plain torch loop: python examples/plain_torch.py, or torchrun --nproc-per-node 8 examples/plain_torch.py."""

import argparse
import os

import timm
import torch

import onepfrac

parser = argparse.ArgumentParser()
options = {"recipe": "OnePFrac", "model": "vit_tiny_patch16_224", "checkpoint": "plain_torch.pt"}
for name, value in (options | {"size": 224, "batch-size": 256, "steps": 10_000}).items():  # a batch is one rank's
    parser.add_argument(f"--{name}", type=type(value), default=value)
args = parser.parse_args()
device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else "cpu"
data = onepfrac.recipe_of(args.recipe)
stream = data.stream(batch_size=args.batch_size, size=args.size, augment="deit", device=device)
model = net = timm.create_model(args.model, img_size=args.size, num_classes=data.num_classes).to(device)
if stream.world_size > 1:
    torch.distributed.init_process_group("gloo" if device == "cpu" else "nccl")
    net = torch.nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
if os.path.exists(args.checkpoint):  # go on from it
    saved = torch.load(args.checkpoint, map_location=device, weights_only=True)
    for part, state in zip((model, optimizer, stream), saved, strict=True):
        part.load_state_dict(state)
for images, labels in stream:
    loss = torch.nn.functional.cross_entropy(net(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if (seen := stream.state_dict()["samples"]) >= args.steps * stream.global_batch_size:
        break
if stream.rank == 0:
    torch.save([part.state_dict() for part in (model, optimizer, stream)], args.checkpoint)
    print({"steps": seen // stream.global_batch_size, "images": seen, "loss": loss.item()})
