"""Contact sheets: labelled pictures of a dataset's classes on one page, as PNG."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch.nn.functional import interpolate

from onepfrac import files
from onepfrac.checks import check_int
from onepfrac.datasets import OnePFrac, Recipe

__all__ = ["classes", "save", "sigma_against_delta"]

PAPER, INK, FRAME = 250, 20, 205  # grays of page, lettering and the line round a picture
GAP = 8  # pixels between tiles
MAX_SIDE = 20_000  # pixels


def classes(recipe: Recipe, count: int = 40, *, columns: int = 0, tile: int = 112) -> Image.Image:
    """Draw classes of a recipe, evenly spaced, each with its number, by its first image.

    Of 1p-frac, the length of epsilon is told too: Euclidean, over all 6N parameters. Ink is shown at twice its gray.

    Parameters
    ----------
    recipe
        The dataset.
    count
        How many, at least 1; no more than there are.
    columns
        Pictures in a row; 0: as near to a page of 8:5 as fits.
    tile
        Side of a picture in pixels, 32..1024.

    Returns
    -------
    Grayscale image; in colour where the recipe's are.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.
    """
    count = min(check_int("count", count, 1, 1_000_000), recipe.num_classes)
    check_int("tile", tile, 32, 1024)
    columns = check_int("columns", columns, 0, 1_000) or max(1, round((count * 8 / 5) ** 0.5))
    shown = np.linspace(0, recipe.num_classes - 1, count).round().astype(np.int64)
    labels: list[tuple[str, ...]] = [(f"class {number}",) for number in shown]
    if isinstance(recipe, OnePFrac):
        lengths = np.linalg.norm(recipe.liep.epsilon[shown].reshape(count, -1), axis=1)
        labels = [(*label, f"|eps| {length:#.3g}") for label, length in zip(labels, lengths, strict=True)]
    return _page(_pictures(recipe, shown, tile), labels, columns, title=_title(recipe))


def sigma_against_delta(
    recipe: OnePFrac, sigmas: Sequence[float], deltas: Sequence[float], *, per_cell: int = 4, tile: int = 72
) -> Image.Image:
    """Draw a table: a row for each sigma-factor, a column for each delta, in each cell the first classes.

    Parameters
    ----------
    recipe
        Everything but sigma, delta and the number of classes.
    sigmas, deltas
        At least one each.
    per_cell
        Classes in a cell, 1..64.
    tile
        Side of a picture in pixels, 32..1024.

    Returns
    -------
    Grayscale image.

    Raises
    ------
    TypeError, ValueError
        If an argument is outside its range.

    Notes
    -----
    A cell stays empty, and its label says "none", where not one system of a thousand inks more than the recipe's
    ``min_inked``.
    """
    check_int("per_cell", per_cell, 1, 64)
    check_int("tile", tile, 32, 1024)
    if not sigmas or not deltas:
        raise ValueError(f"sigmas and deltas must hold at least one number each, got {sigmas} and {deltas}")
    side = int(np.ceil(per_cell**0.5))
    rows = -(-per_cell // side)
    cells, labels = [], []
    for sigma in sigmas:
        drawable = _drawable(replace(recipe, sigma=sigma))
        for delta in deltas:
            cell = replace(recipe, sigma=sigma, delta=delta, num_classes=per_cell)
            block = np.full((rows * (tile + 2) - 2, side * (tile + 2) - 2), PAPER, np.uint8)
            drawable_cell = drawable and _drawable(cell, epsilon=True)
            for place, picture in enumerate(_pictures(cell, np.arange(per_cell), tile) if drawable_cell else ()):
                top, left = place // side * (tile + 2), place % side * (tile + 2)
                block[top : top + tile, left : left + tile] = picture[:, :, 0]
            cells.append(block[:, :, None])
            labels.append((f"sigma {sigma:g}, delta {delta:g}" + ("" if drawable_cell else ": none"),))
    shown = f"{per_cell} classes a cell; {recipe.mode}, N = {recipe.num_maps}, seed {recipe.seed}"
    return _page(np.stack(cells), labels, len(deltas), title=f"1p-frac, sigma-factor against delta: {shown}")


def save(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a contact sheet as PNG; the file is whole or absent.

    Raises
    ------
    ValueError
        If the name does not end in ``.png``.
    OSError
        If the file cannot be written.
    """
    if not os.fspath(path).lower().endswith(".png"):
        raise ValueError(f"a contact sheet's name must end in .png, got {os.fspath(path)!r}")
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    files.write_bytes(path, buffer.getvalue())


def _pictures(recipe: Recipe, shown: NDArray[np.int64], tile: int) -> NDArray[np.uint8]:
    """Draw the first image of classes, uint8 (len(shown), tile, tile, planes); a bitmap's ink at twice its gray."""
    plan = recipe.plan_images(shown * recipe.num_instances)
    drawn = []
    for place in range(shown.size):
        canvas = recipe.draw(plan[place : place + 1], torch.device("cpu")).float()
        if recipe.canvas > tile:
            canvas = interpolate(canvas, (tile, tile), mode="bilinear", antialias=True)
        else:  # whole pixels, as sharp as they are
            canvas = interpolate(canvas, (tile, tile), mode="nearest")
        grays = canvas[0].permute(1, 2, 0) * (2 if recipe.bitmap else 1)
        drawn.append(grays.clamp(0, 255).round().to(torch.uint8).numpy())
    return np.stack(drawn)


def _drawable(recipe: OnePFrac, epsilon: bool = False) -> bool:
    """Tell whether a system of the recipe is accepted and, if asked, an epsilon for each of its classes."""
    try:
        _ = recipe.liep.epsilon if epsilon else recipe.ifs
    except ValueError:  # the recipe's own values were checked when it was made
        return False
    return True


def _title(recipe: Recipe) -> str:
    if not isinstance(recipe, OnePFrac):
        return f"{recipe.dataset}, {recipe.num_classes} classes, recipe {recipe.fingerprint}"
    return (
        f"1p-frac: sigma {recipe.sigma:g}, delta {recipe.delta:g} ({recipe.mode}), {recipe.num_classes} classes, "
        f"N = {recipe.num_maps}, seed {recipe.seed}; recipe {recipe.fingerprint}"
    )


def _page(tiles: NDArray[np.uint8], labels: Sequence[tuple[str, ...]], columns: int, title: str) -> Image.Image:
    """Lay out tiles (K, h, w, 1 or 3) in rows with their labels under them, and a title on top."""
    count, height, width, planes = tiles.shape
    columns = min(columns, count)
    font, head = ImageFont.load_default(11), ImageFont.load_default(13)
    line, lines = 13, len(labels[0])
    widest = max(font.getlength(text) for texts in labels for text in texts)
    step_x, step_y = max(width + 2, int(widest) + 2) + GAP, height + 2 + 2 + line * lines + GAP
    words = max(head.getlength(word) for word in title.split())
    page_width = max(columns * step_x - GAP, int(words) + 1) + 2 * GAP
    title_lines = _wrap(title, head, page_width - 2 * GAP)
    top = GAP + 17 * len(title_lines) + 4
    size = (page_width, top + -(-count // columns) * step_y)
    if max(size) > MAX_SIDE:
        raise ValueError(f"the contact sheet would have {size[0]} x {size[1]} pixels, more than {MAX_SIDE} a side")
    mode = "L" if planes == 1 else "RGB"
    paper, ink, frame = ((gray,) * planes for gray in (PAPER, INK, FRAME))
    page = Image.new(mode, size, paper)
    pen = ImageDraw.Draw(page)
    for number, text in enumerate(title_lines):
        pen.text((GAP, GAP + 17 * number), text, fill=ink, font=head)
    for place in range(count):
        left, y = GAP + place % columns * step_x, top + place // columns * step_y
        pen.rectangle((left, y, left + width + 1, y + height + 1), outline=frame)
        page.paste(Image.fromarray(tiles[place].squeeze(2) if planes == 1 else tiles[place]), (left + 1, y + 1))
        for number, text in enumerate(labels[place]):
            pen.text((left + 1, y + height + 4 + line * number), text, fill=ink, font=font)
    return page


def _wrap(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
