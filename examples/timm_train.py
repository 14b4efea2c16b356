"""timm's own script: python examples/timm_train.py train.py --model vit_tiny_patch16_224 --opt adamw --epochs 100."""

import argparse
import itertools
import runpy
import sys

import timm.data

import onepfrac

parser = argparse.ArgumentParser(description="All other options are those of train.py.")
parser.add_argument("script", help="train.py from the repository of timm, of the version that is installed")
parser.add_argument("--recipe", default="OnePFrac", help="a dataset, or the JSON file of a recipe")
parser.add_argument("--steps", type=int, default=1000, help="of what train.py calls an epoch")
args, rest = parser.parse_known_args()
data = onepfrac.recipe_of(args.recipe)


class Epochs:  # training set and loader in one
    def set_epoch(self, epoch):  # train.py calls it before each, also of a resumed run
        self.stream.load_state_dict(self.stream.state_at(epoch * args.steps * self.stream.global_batch_size))

    def __len__(self):
        return args.steps

    def __iter__(self):
        return itertools.islice(self.stream, args.steps)


def create_loader(epochs, input_size, batch_size, mean, std, device, **_):
    epochs.stream = data.stream(batch_size, input_size[-1], augment="deit", device=device, mean=mean, std=std)
    return epochs


timm.data.create_dataset, timm.data.create_loader = lambda *_, **__: Epochs(), create_loader
sys.argv = [args.script, *rest, "--num-classes", str(data.num_classes), "--val-split", "", "--no-prefetcher"]
runpy.run_path(args.script, run_name="__main__")
