"""The gallery: a page of every dataset, its parameters, a contact sheet, and how long a thousand images take.

    python docs/gallery.py          # writes docs/gallery.md and docs/pictures/gallery/*.png

Times are those of benchmarks/results/dataset.json. Needs the extra [photo] and scikit-image.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

from onepfrac import OFDB, FractalDB, FractalScenes, Noise, OnePFrac, SingleImage, VisualAtoms, contact_sheet, files
from onepfrac.datasets import Recipe

FOLDER = Path(__file__).parent
PICTURES = FOLDER / "pictures" / "gallery"
RESULTS = FOLDER.parent / "benchmarks" / "results" / "dataset.json"
SHOWN = 24


@dataclass(frozen=True)
class Exhibit:
    """A dataset as the page shows it."""

    title: str
    measured: str  # its name in dataset.json
    code: str
    text: str
    make: Callable[[], Recipe]


def photograph() -> Any:
    """A photograph that scikit-image brings along: "camera" (Lav Varshney, CC0)."""
    from skimage import data

    return data.camera()


EXHIBITS = (
    Exhibit(
        "1p-frac",
        "1p-frac",
        "OnePFrac(sigma=3.5, delta=0.1, num_classes=1000)",
        """One system, L perturbations of its parameters, each a class of one image (Nakamura et al., "Scaling
        Backwards", ECCV 2024).""",
        OnePFrac,
    ),
    Exhibit(
        "FractalDB",
        "FractalDB-1k",
        "FractalDB(num_classes=1000, instances=1000)",
        """A category is a random system whose picture is inked to a fifth, found by a search; its instances are 25
        weightings of the parameters under four mirrorings, with points and texture of their own (Kataoka et al.,
        "Pre-training without Natural Images", ACCV 2020). `sampling="sigma"` draws contractions instead, and
        `jitter="scale"`, `"svd"`, `"sval"` changes them as Anderson and Farrell do.
        `categories=onepfrac.Categories.load(...)` takes systems of a file, or of a folder of CSV files as
        published.""",
        FractalDB,
    ),
    Exhibit(
        "OFDB",
        "OFDB",
        "OFDB(num_classes=1000)",
        """FractalDB's categories with one image each; variety comes from the stream's augmentation (Nakamura et al.,
        "Pre-training Vision Transformers with Very Limited Synthesized Images", ICCV 2023).""",
        OFDB,
    ),
    Exhibit(
        "Visual Atoms",
        "VisualAtom-1k",
        "VisualAtoms(num_classes=1000, instances=1000)",
        """Rings of sine waves and Perlin noise; a category is a set of wave parameters, an instance a place, noise and
        grays (Takashima et al., "Visual Atoms", CVPR 2023).""",
        VisualAtoms,
    ),
    Exhibit(
        "Fractal scenes",
        "FractalScenes",
        "FractalScenes(num_classes=1000, objects=(1, 5))",
        """Several fractals graded by their hits per pixel, in colour, over diamond-square clouds; labels are all
        classes in the image (Anderson and Farrell, "Improving Fractal Pre-training", WACV 2022).""",
        FractalScenes,
    ),
    Exhibit(
        "Gaussian noise",
        "Noise, gaussian",
        'Noise("gaussian", delta=0.1, num_classes=1000)',
        """One image of noise, L perturbations of its pixels: the control of 1p-frac without shapes (`"uniform"` is the
        other kind). The classes differ by less than can be seen.""",
        Noise,
    ),
    Exhibit(
        "One real image",
        "SingleImage, Canny",
        "SingleImage.from_photo(photograph, canny=True, delta=0.1, num_classes=1000)",
        """One photograph, in gray, its Canny edges, L affine copies as classes: 1p-frac's control with a real image;
        `canny=False` leaves out the edges. The photograph here is scikit-image's `camera` (CC0).""",
        lambda: SingleImage.from_photo(photograph()),
    ),
)


def main() -> None:
    """Draw the sheets, write the page."""
    found = json.loads(RESULTS.read_text())
    rows = {row["dataset"]: row for row in found["rows"]}
    PICTURES.mkdir(parents=True, exist_ok=True)
    machine = found["machine"]
    parts = [HEAD.format(shown=SHOWN, cpu=machine["cpu"], simd=machine["simd"][-1], commit=found["commit"])]
    for exhibit in EXHIBITS:
        recipe = exhibit.make()
        picture = PICTURES / f"{recipe.dataset}.png"
        contact_sheet.save(contact_sheet.classes(recipe, SHOWN, columns=8, tile=96), picture)
        parts.append(section(exhibit, recipe, rows[exhibit.measured], picture))
        print(f"{picture}: {picture.stat().st_size / 1000:.0f} kB")
    files.write_text(FOLDER / "gallery.md", "\n\n".join(parts) + "\n")


HEAD = """\
# Gallery

Every dataset: what it is, its parameters, the first images of {shown} classes, and the time for a thousand images on
one thread ({cpu}, {simd}, one core of a virtual machine; `python benchmarks/dataset.py`, commit {commit}). "Canvas"
draws them into memory; "stream" is what training takes, float32 3 x 224 x 224 under crops and flips, with new draws for
every image; "as PNG" draws and encodes them. "Released rule" is the published generator's rule in plain Python (for the
scenes in Numba and OpenCV, as released; `benchmarks/released.py`), on the same machine. `python docs/gallery.py` writes
this page."""


def section(exhibit: Exhibit, recipe: Recipe, row: dict[str, Any], picture: Path) -> str:
    """Return a dataset's part of the page."""
    each = row["ms_an_image"]
    times = [f"canvas {each['canvas']:.2f} s", f"stream {each['stream']:.2f} s", f"as PNG {each['building']:.2f} s"]
    if "released" in each:
        times.append(f"released rule {each['released']:#.3g} s")
    text = " ".join(textwrap.dedent(exhibit.text).split())
    lines = [
        f"## {exhibit.title}",
        text,
        f"```python\ndata = onepfrac.{exhibit.code}\n```",
        f"![Classes of {exhibit.title}]({picture.relative_to(FOLDER)})",
        f"A thousand images: {', '.join(times)}." + whole(row),
        f"Parameters: {', '.join(parameters(recipe))}. Recipe `{recipe.fingerprint}`.",
    ]
    return "\n\n".join(lines)


def whole(row: dict[str, Any]) -> str:
    """Tell about the whole set, where it is larger than what was measured."""
    if row["images"] <= 1000:
        stated = row["stated_hours"]
        return f" Nakamura et al. (ECCV 2024) state {60 * stated:.1f} minutes for making them." if stated else ""
    streaming, building = row["whole_seconds"]["stream"], row["whole_seconds"]["building"]
    text = f" All {row['images']:,} images, extrapolated from {row['sample']}: {streaming / 60:.1f} minutes to stream, "
    text += f"{building / 60:.1f} minutes and {row['whole_disk_bytes'] / 1e9:.2f} GB as PNG"
    if row["stated_hours"] is not None:
        text += f"; Nakamura et al. (ECCV 2024) state {row['stated_hours']:g} hours for making it"
    return text + "."


def parameters(recipe: Recipe) -> list[str]:
    """Return ``name=value`` of every field that is short enough to be read."""
    shown = []
    for field in fields(recipe):  # type: ignore[arg-type]
        value = getattr(recipe, field.name)
        if field.default is not MISSING and len(repr(value)) < 40:
            shown.append(f"`{field.name}={value!r}`")
    return shown


if __name__ == "__main__":
    main()
