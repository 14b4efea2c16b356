"""Lightning: python examples/lightning_module.py --devices 8."""

import argparse

import lightning
import timm
import torch

import onepfrac

parser = argparse.ArgumentParser()
options = {"recipe": "OnePFrac", "model": "vit_tiny_patch16_224", "resume": "", "devices": 1}
for name, value in (options | {"size": 224, "batch-size": 256, "steps": 10_000}).items():  # a batch is one rank's
    parser.add_argument(f"--{name}", type=type(value), default=value)
args = parser.parse_args()
data = onepfrac.recipe_of(args.recipe)


class Classifier(lightning.LightningModule):
    def configure_model(self):
        self.model = timm.create_model(args.model, img_size=args.size, num_classes=data.num_classes)

    def train_dataloader(self):  # asked for in each rank, when ranks, device and step are known
        self.stream = data.stream(batch_size=args.batch_size, size=args.size, augment="deit", device=self.device)
        self.stream.load_state_dict(self.stream.state_at(self.trainer.global_step * self.stream.global_batch_size))
        return torch.utils.data.DataLoader(self.stream, batch_size=None)  # num_workers=8 on the CPU

    def training_step(self, batch):
        self.log("loss", loss := torch.nn.functional.cross_entropy(self.model(batch[0]), batch[1]), prog_bar=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-3, weight_decay=0.05)


trainer = lightning.Trainer(max_steps=args.steps, devices=args.devices)
trainer.fit(Classifier(), ckpt_path=args.resume or None)
images = trainer.global_step * trainer.lightning_module.stream.global_batch_size
trainer.print({"steps": trainer.global_step, "images": images, "loss": trainer.callback_metrics["loss"].item()})
