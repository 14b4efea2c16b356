"""Hugging Face's Trainer: python examples/hf_trainer.py, or torchrun --nproc-per-node 8 examples/hf_trainer.py."""

import argparse

import torch
import transformers

import onepfrac

parser = argparse.ArgumentParser()
options = {"recipe": "OnePFrac", "out": "runs/hf", "resume": "", "size": 224, "batch-size": 256, "steps": 10_000}
for name, value in (options | {"patch": 16, "width": 192, "layers": 12, "heads": 3}).items():
    parser.add_argument(f"--{name}", type=type(value), default=value)
args = parser.parse_args()
more = {"ignore_data_skip": True, "use_cpu": not torch.cuda.is_available(), "logging_steps": 1, "report_to": "none"}
more |= {"max_steps": args.steps, "per_device_train_batch_size": args.batch_size}
training = transformers.TrainingArguments(args.out, **more)
data = onepfrac.recipe_of(args.recipe)
stream = data.stream(batch_size=args.batch_size, size=args.size, augment="deit", device=training.device)


class StreamTrainer(transformers.Trainer):
    def get_train_dataloader(self):  # not through accelerate, which would share out among ranks what is one rank's own
        named = lambda batch: {"pixel_values": batch[0], "labels": batch[1]}  # noqa: E731
        return torch.utils.data.DataLoader(stream, batch_size=None, collate_fn=named)


class Position(transformers.TrainerCallback):
    def on_train_begin(self, training, state, control, **_):  # before the loader starts, at 0 or a checkpoint's step
        stream.load_state_dict(stream.state_at(state.global_step * stream.global_batch_size))


shape = {"image_size": args.size, "patch_size": args.patch, "hidden_size": args.width, "num_labels": data.num_classes}
shape |= {"num_hidden_layers": args.layers, "num_attention_heads": args.heads, "intermediate_size": 4 * args.width}
config = transformers.ViTConfig(**shape)
trainer = StreamTrainer(transformers.ViTForImageClassification(config), training, callbacks=[Position()])
step = trainer.train(resume_from_checkpoint=args.resume or None).global_step
if trainer.is_world_process_zero():
    print({"steps": step, "images": step * stream.global_batch_size, "loss": trainer.state.log_history[-2]["loss"]})
