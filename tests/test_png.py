"""PNG files: what Pillow reads is what was written."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from onepfrac import png


@pytest.mark.parametrize("width", [*range(1, 35), 63, 64, 65])
def test_bitmaps_come_out_of_pillow_as_they_went_in(width: int) -> None:
    drawn = np.random.default_rng(width).integers(0, 2, (2, 9, width), np.uint8)
    words = np.zeros((2, 9, -(-width // 32), 32), np.uint8)
    words.reshape(2, 9, -1)[:, :, :width] = drawn
    packed = np.packbits(words, axis=-1, bitorder="little").view("<i4")[..., 0]
    for bitmap, data in zip(drawn, png.bitmaps(packed, width), strict=True):
        image = Image.open(io.BytesIO(data))
        image.verify()
        image = Image.open(io.BytesIO(data))
        assert (image.mode, image.size) == ("P", (width, 9))
        assert np.array_equal(np.asarray(image.convert("RGB")), np.repeat(bitmap[:, :, None] * 127, 3, axis=2))
        assert np.array_equal(np.asarray(image.convert("L")), bitmap * 127)


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("planes", [1, 3])
def test_pictures_come_out_of_pillow_as_they_went_in(planes: int, smooth: bool) -> None:
    grays = np.random.default_rng(planes).integers(0, 256, (3, planes, 7, 11), np.uint8)
    grays[0] = 9
    for picture, data in zip(grays, png.pictures(grays, smooth), strict=True):
        image = Image.open(io.BytesIO(data))
        image.load()
        assert image.mode == ("L" if planes == 1 else "RGB")
        assert np.array_equal(np.asarray(image).reshape(7, 11, planes), picture.transpose(1, 2, 0))


def test_rows_that_resemble_each_other_take_less_as_differences() -> None:
    slope = np.add.outer(np.arange(64), np.arange(64) ** 2 % 251).astype(np.uint8)[None, None]
    assert 2 * len(png.pictures(slope, smooth=True)[0]) < len(png.pictures(slope)[0])
