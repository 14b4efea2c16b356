"""One small recipe of every dataset, for tests of what holds for all of them."""

from __future__ import annotations

import base64

import numpy as np

import onepfrac
from onepfrac import datasets

GRAYS = np.add.outer(np.arange(40) * 3, np.arange(40) * 2).astype(np.uint8)

PIXELS = base64.b64encode(GRAYS.tobytes()).decode()

CATEGORIES = onepfrac.Categories([onepfrac.sample_ifs(4.0 + n / 2, n, seed=n) for n in (2, 3, 4, 5)])

SMALL: dict[str, datasets.Recipe] = {
    "OnePFrac": onepfrac.OnePFrac(num_classes=5, points=2000, canvas=40, pad=2, brush="fill"),
    "FractalDB": onepfrac.FractalDB(4, categories=CATEGORIES, instances=60, points=3000, canvas=40, pad=2),
    "OFDB": onepfrac.OFDB(4, categories=CATEGORIES, points=3000, canvas=40, pad=2),
    "FractalScenes": onepfrac.FractalScenes(4, instances=3, points=3000, canvas=40),
    "Noise": onepfrac.Noise(num_classes=5, canvas=40),
    "SingleImage": onepfrac.SingleImage(PIXELS, False, num_classes=5, canvas=40),
    "VisualAtoms": onepfrac.VisualAtoms(4, instances=3, canvas=40, vertices=(20, 60), lines=(8, 20), radius=(0, 9)),
}
"""By the name in ``datasets.RECIPES``; `test_family` fails where one is missing."""
