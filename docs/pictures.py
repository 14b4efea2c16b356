"""Make the pictures of the README: python docs/pictures.py."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from timm.data import create_transform

import onepfrac
from onepfrac import contact_sheet

FOLDER = Path(__file__).resolve().parent / "pictures"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    sheet = contact_sheet.classes(onepfrac.OnePFrac(), 24, columns=8, tile=120)
    contact_sheet.save(sheet, FOLDER / "classes.png")
    contact_sheet.save(augmentation(), FOLDER / "augmentation.png")
    for path in sorted(FOLDER.glob("*.png")):
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def augmentation(count: int = 32, columns: int = 4, tile: int = 96) -> Image.Image:
    """Draw one fractal under ``count`` draws of DeiT's recipe, taken by the camera, beside as many by timm and PIL.

    Of the three channels, which differ in the noise alone, the first is shown.
    """
    recipe = onepfrac.OnePFrac(num_classes=1)
    ours, _ = next(iter(recipe.stream(batch_size=count, size=tile, augment="deit")))
    canvas = recipe.draw(recipe.plan([0]), torch.device("cpu"))[0, 0].numpy()
    transform = create_transform(
        tile, is_training=True, scale=(0.08, 1.0), hflip=0.5, vflip=0.5, interpolation="bicubic",
        auto_augment="rand-m9-mstd0.5-inc1", color_jitter=0.4, re_prob=0.5, re_mode="pixel",
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5),
    )  # fmt: skip
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(0)
    theirs = torch.stack([transform(Image.fromarray(canvas).convert("RGB")) for _ in range(count)])

    font, step, gap = ImageFont.load_default(13), tile + 2, contact_sheet.GAP
    top, block = gap + 20, columns * step
    page = Image.new("L", (3 * gap + 2 * block, top + count // columns * step + gap), contact_sheet.PAPER)
    pen = ImageDraw.Draw(page)
    for left, caption, images in ((gap, "onepfrac", ours), (2 * gap + block, "timm, PIL", theirs)):
        pen.text((left, gap), caption, fill=contact_sheet.INK, font=font)
        grays = ((images[:, 0] * 0.5 + 0.5) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        for place, picture in enumerate(grays):
            corner = left + place % columns * step, top + place // columns * step
            page.paste(Image.fromarray(picture), corner)
    return page


if __name__ == "__main__":
    main()
