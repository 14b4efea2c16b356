"""The experiments by name, and the scales at which they run.

Figures of the paper are those of Nakamura et al., "Scaling Backwards: Minimal Synthetic Pre-training?", ECCV 2024, for
ViT-Tiny fine-tuned on CIFAR-100. Its pre-training sees 80 million images of 224 pixels: only the scale ``paper`` can
be held against them, at the others it is the order of arms that can.
"""

from __future__ import annotations

from onepfrac.train import finetune
from onepfrac.train.experiments.grid import Arm, Experiment, Scale

__all__ = ["EXPERIMENTS", "SCALES"]

_SCRATCH = Arm("scratch", None, reported=64.2)
_NOISE = (
    Arm("noise-gaussian", {"recipe": "Noise:kind=gaussian"}, reported=1.1),
    Arm("noise-uniform", {"recipe": "Noise:kind=uniform"}, reported=2.0),
)
_PHOTO = Arm("one-photograph", {"recipe": "SingleImage"}, reported=82.2)
_OFDB = Arm("OFDB", {"recipe": "OFDB"}, reported=84.0)
_FRACTAL_DB = Arm("FractalDB", {"recipe": "FractalDB"}, reported=81.6)
_VISUAL_ATOMS = Arm("VisualAtoms", {"recipe": "VisualAtoms"})
_ONE_P_FRAC = Arm("1p-frac", reported=84.2)
_MIXED, _UNMIXED = {"mixup": 0.8, "cutmix": 1.0}, {"mixup": 0.0, "cutmix": 0.0}


def _sweep(field: str, values: dict[float, float | None]) -> tuple[Arm, ...]:
    """Arms that differ in one number, and scratch; ``values`` are those numbers and what the paper has for them."""
    return (_SCRATCH, *(Arm(f"{v:g}", {field: v}, value=float(v), reported=paper) for v, paper in values.items()))


def _choices(field: str, values: tuple[str, ...], **reported: float) -> tuple[Arm, ...]:
    return (_SCRATCH, *(Arm(value, {field: value}, reported=reported.get(value)) for value in values))


_MODELS = {
    "vit": "vit_tiny_patch16_224",
    "swin": "swin_tiny_patch4_window7_224",
    "resnet": "resnet10t",
    "convnext": "convnext_femto",
}

_ALL = (
    Experiment(
        name="main",
        title="One fractal against scratch, noise, thousands of fractals and one photograph",
        claim="Perturbations of one fractal are worth as much as many fractals, and it is shape that does it: noise is"
        " worth nothing.",
        arms=(
            _SCRATCH,
            *_NOISE,
            _PHOTO,
            _OFDB,
            _FRACTAL_DB,
            _VISUAL_ATOMS,
            _ONE_P_FRAC,
            Arm("1p-frac-fresh", {"draws": "fresh"}),
        ),
        order=(
            ("1p-frac", "scratch"),
            ("1p-frac", "noise-gaussian"),
            ("1p-frac", "noise-uniform"),
            ("1p-frac", "FractalDB"),
            ("1p-frac", "one-photograph"),
            ("OFDB", "FractalDB"),
            ("scratch", "noise-gaussian"),
            ("scratch", "noise-uniform"),
        ),
    ),
    Experiment(
        name="delta",
        title="How large the perturbations are",
        claim="Perturbations that people cannot see are enough from 0.05 on; smaller ones cannot be learned, and then"
        " pre-training harms.",
        axis="delta",
        arms=_sweep("delta", {0.001: 1.2, 0.01: 19.9, 0.05: 83.0, 0.1: 84.2, 0.2: None}),
        order=(("0.1", "0.05"), ("0.05", "0.01"), ("0.01", "0.001"), ("0.1", "scratch"), ("scratch", "0.01")),
    ),
    Experiment(
        name="sigma",
        title="How complex the fractal is",
        claim="The fractal of the smallest sigma-factor, with the most complex shape, is the best.",
        axis="sigma",
        arms=_sweep("sigma", {3.5: 84.2, 4.0: None, 4.5: None, 5.0: None, 5.5: None, 6.0: 81.3}),
        order=(("3.5", "6"), ("3.5", "scratch"), ("6", "scratch")),
    ),
    Experiment(
        name="classes",
        title="How many perturbations there are to tell apart",
        claim="More classes are better, and 16 already are far better than none.",
        axis="num_classes",
        arms=_sweep("num_classes", {16: 78.7, 64: None, 128: None, 256: None, 512: None, 1000: 84.2}),
        order=(("1000", "16"), ("16", "scratch")),
    ),
    Experiment(
        name="draws",
        title="One image a class for ever, against a new one each time",
        claim="The paper draws each class once; asked is whether new points and patches each time change anything.",
        arms=_choices("draws", ("fixed", "fresh"), fixed=84.2),
        order=(("fixed", "scratch"), ("fresh", "scratch")),
    ),
    Experiment(
        name="augment",
        title="Augmentation of the pre-training images",
        claim="The paper uses DeiT's recipe with mixup and cutmix; asked is which part of it matters.",
        arms=(
            _SCRATCH,
            Arm("deit", {"augment": "deit", **_MIXED}, reported=84.2),
            Arm("deit-without-crop", {"augment": "deit", "crop": False, **_MIXED}),
            Arm("deit-without-mixing", {"augment": "deit", **_UNMIXED}),
            Arm("crop-flip", {"augment": "crop-flip", **_UNMIXED}),
            Arm("none", {"augment": "none", **_UNMIXED}),
        ),
        order=(("deit", "none"), ("deit", "scratch")),
    ),
    Experiment(
        name="mode",
        title="Perturbations added to the parameters, against multiplied with them",
        claim="The paper adds them, its release multiplies; asked is whether that changes anything.",
        arms=_choices("mode", ("additive", "multiplicative"), additive=84.2),
        order=(("additive", "scratch"), ("multiplicative", "scratch")),
    ),
    Experiment(
        name="brush",
        title="What one point inks",
        claim="The released images ink a random patch a point; asked is whether that changes anything.",
        arms=_choices("brush", ("point", "fill", "patch", "patch_fixed"), patch=84.2),
        order=(("patch", "scratch"),),
    ),
    Experiment(
        name="model",
        title="Models of similar size and other make",
        claim="The paper pre-trains ViTs; asked is whether other models gain too, each over its own fresh weights.",
        arms=tuple(
            arm
            for name, model in _MODELS.items()
            for arm in (
                Arm(f"{name}-scratch", None, model=model, baseline=f"{name}-scratch"),
                Arm(name, model=model, baseline=f"{name}-scratch"),
            )
        ),
        order=tuple((name, f"{name}-scratch") for name in _MODELS),
    ),
    Experiment(
        name="family",
        title="The datasets of this package, with one image a class and with many",
        claim="The paper finds one image a class enough; asked is what more images, or other drawings, are worth.",
        arms=(
            _SCRATCH,
            *_NOISE,
            _PHOTO,
            _OFDB,
            _FRACTAL_DB,
            Arm("VisualAtoms-one", {"recipe": "VisualAtoms:instances=1"}),
            _VISUAL_ATOMS,
            Arm("FractalScenes", {"recipe": "FractalScenes", **_UNMIXED}),  # several labels: no mixing
            _ONE_P_FRAC,
        ),
        order=(("OFDB", "FractalDB"), ("1p-frac", "FractalDB")),
    ),
)

EXPERIMENTS: dict[str, Experiment] = {experiment.name: experiment for experiment in _ALL}
"""All experiments by name."""

_SWIN = "depths=(2,2,4,2)", "embed_dim=48", "num_heads=(2,4,8,16)"  # 6.0 M, ViT-Tiny has 5.5 M

# fmt: off
_SCALES = (
    Scale(
        name="smoke",
        about="seconds a run: whether it works, its accuracies mean nothing",
        pretrain={
            "steps": 8, "warmup": 2, "save_every": 4, "log_every": 2,
            "num_classes": 4, "delta": 0.5, "data_seed": 1, "points": 500, "canvas": 16, "pad": 1, "size": 16,
            "drop_path": 0.0, "batch_size": 8, "lr": 0.1,
        },
        finetune={"epochs": 2, "batch_size": 8, "optimizer": "adamw", "crop": 0.8, "cache": True},
        seeds=(0, 1),
        rates=(0.1, 0.5),
        images=4,
        held_out=2,
        test=4,
        probe=True,
        models={
            "vit_tiny_patch16_224": ("patch_size=8", "embed_dim=16", "depth=1", "num_heads=2"),
            "swin_tiny_patch4_window7_224": (
                "patch_size=4", "window_size=2", "embed_dim=8", "depths=(1,1)", "num_heads=(1,2)",
            ),
            "resnet10t": ("channels=(8,8,8,8)",),
            "convnext_femto": ("patch_size=1", "depths=(1,1,1,1)", "dims=(8,8,8,8)"),
        },
        datasets={"VisualAtoms": {"lines": (1, 5), "radius": (0, 2)}},
    ),
    # About 270 images/s in pre-training and fine-tuning (as pretrain's preset quick): 51 000 images are 190 s, 20
    # epochs of 1000 images and 5000 to evaluate 75 s, the probes 15 s. `main` without the photograph: 8 arms, 7 x 190 +
    # 8 x 90 s = 34 minutes a seed. An estimate.
    # Crops and flips alone: 1500 steps then reach 49 % of 100 classes, where DeiT's recipe reaches 13 %, and with mixup
    # and cutmix 7 % after 3000 steps (one run each, benchmarks/NOTES.md): too few images to learn through all of it.
    Scale(
        name="cpu",
        about="two CPU cores, minutes a run: 32 pixels, a ViT of 0.5 M parameters",
        pretrain={
            "steps": 1500, "warmup": 100, "save_every": 250, "log_every": 100,
            "num_classes": 100, "delta": 0.2, "data_seed": 6, "points": 20_000, "canvas": 128, "pad": 3, "size": 32,
            "augment": "crop-flip", "mixup": 0.0, "cutmix": 0.0, "drop_path": 0.0, "batch_size": 64, "lr": 4e-3,
            "clip_grad": 1.0,
        },
        finetune={
            "epochs": 20, "batch_size": 64, "optimizer": "adamw", "weight_decay": 0.05, "warmup": 0.05, "crop": 0.5,
            "cache": True,
        },
        seeds=(0, 1, 2),
        rates=(0.002, 0.008),
        images=100,
        held_out=100,
        test=500,
        probe=True,
        models={
            # The mean of the patches, because a class token loses in fine-tuning what so short a pre-training gave.
            "vit_tiny_patch16_224": (
                "patch_size=4", "embed_dim=96", "depth=4", "num_heads=3", "global_pool=avg", "class_token=False",
            ),
            "swin_tiny_patch4_window7_224": (
                "patch_size=2", "window_size=4", "embed_dim=32", "depths=(2,2,1)", "num_heads=(1,2,4)",
            ),
            "resnet10t": ("channels=(32,48,64,96)",),
            "convnext_femto": ("depths=(1,1,3,1)", "dims=(24,48,96,128)"),
        },
        # Its lengths are pixels of a canvas of 512: a quarter of them, or all lines fall off the canvas.
        datasets={"VisualAtoms": {"lines": (1, 50), "radius": (0, 12)}},
    ),
    # ViT-Tiny at 64 pixels in patches of 8 has 65 tokens: forward 0.70 GFLOP (counted), a training image 3 x that, 2.1
    # GFLOP. An H200 has 989 TFLOP/s of dense bfloat16; a width of 192 reaches a few percent of it, say 5 %: 23 000
    # images/s. 2000 steps of 512 are 1.0 M images, 45 s, and half a minute to compile. Fine-tuning: 20 epochs of 10 000
    # images at 10 000 images/s (14 loader processes; the model could do more), 20 s. `main` without the photograph: 8
    # arms, (7 x 75 + 8 x 20) s = 11.5 minutes a seed, two seeds 23 minutes. An estimate, not measured.
    Scale(
        name="h200",
        about="one H200, two minutes a run: ViT-Tiny at 64 pixels",
        pretrain={
            "steps": 2000, "warmup": 200, "save_every": 500, "log_every": 100,
            "canvas": 256, "pad": 3, "points": 50_000, "size": 64, "batch_size": 512, "compile": True,
            "augment": "crop-flip", "mixup": 0.0, "cutmix": 0.0, "clip_grad": 1.0,
        },
        finetune={
            "epochs": 20, "batch_size": 256, "optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "warmup": 0.05,
            "cache": True, "workers": 14,
        },
        seeds=(0, 1),
        images=1000,
        probe=True,
        models={
            "vit_tiny_patch16_224": ("patch_size=8",),
            "swin_tiny_patch4_window7_224": ("patch_size=2", "window_size=4", *_SWIN),
        },
        datasets={"VisualAtoms": {"lines": (1, 100), "radius": (0, 25)}},
    ),
    Scale(
        name="paper",
        about="the paper's settings, a day or more of one GPU a run: 80 million images of 224 pixels",
        pretrain={},
        finetune={name: value for name, value in finetune.PRESETS["paper"].items() if name not in ("out", "size")},
        seeds=(0, 1, 2),
        models={"swin_tiny_patch4_window7_224": _SWIN},
    ),
)
# fmt: on

SCALES: dict[str, Scale] = {scale.name: scale for scale in _SCALES}
"""All scales by name."""
