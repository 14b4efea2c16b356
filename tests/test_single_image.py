"""SingleImage: from photographs to canvases, affine copies against OpenCV's, and the recipe as text."""

from __future__ import annotations

import base64
import builtins
import dataclasses
import hashlib
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onepfrac import SingleImage, load_recipe
from onepfrac.draws import Purpose, uniform
from onepfrac.files import MAX_JSON_BYTES

CPU = torch.device("cpu")


def text_of(image: NDArray[np.uint8]) -> str:
    """An image of grays as a recipe has it."""
    return base64.b64encode(image.tobytes()).decode()


def some_recipe(canvas: int = 40, seed: int = 0, **fields: Any) -> SingleImage:
    """A recipe of soft blobs, without a photograph."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6), np.uint8)
    image = np.asarray(Image.fromarray(noise).resize((canvas, canvas), Image.Resampling.BICUBIC))
    return SingleImage(text_of(image), False, canvas=canvas, **fields)


def images_of(recipe: SingleImage, labels: list[int], threads: int = 1) -> NDArray[np.uint8]:
    """The images of classes, uint8 (B, canvas, canvas)."""
    return recipe.draw(recipe.plan_images(labels), CPU, threads)[:, 0].numpy()


def photo(name: str) -> NDArray[np.uint8]:
    """One of scikit-image's bundled photographs: "camera" (512, 512), "astronaut" or "coffee" (400, 600, 3)."""
    data = pytest.importorskip("skimage.data", reason="needs the photographs of scikit-image")
    return np.asarray(getattr(data, name)())


@pytest.fixture
def cv2() -> Any:
    return pytest.importorskip("cv2", reason="needs OpenCV: the extra 'photo'")


# ---- from a photograph to the canvas --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["camera", "astronaut", "coffee"])
@pytest.mark.parametrize("upright", [True, False])
def test_the_canvas_is_the_square_in_the_middle_in_gray(name: str, upright: bool, tmp_path: Path) -> None:
    picture = photo(name) if upright else photo(name).swapaxes(0, 1)  # coffee is wider than high, then higher than wide
    side = min(picture.shape[:2])
    top, left = ((n - side) // 2 for n in picture.shape[:2])
    square = Image.fromarray(picture[top : top + side, left : left + side])
    recipe = SingleImage.from_photo(picture, canny=False, canvas=side)
    assert np.array_equal(recipe.image, np.asarray(square.convert("L")))
    smaller = SingleImage.from_photo(picture, canny=False, canvas=100).image
    shrunk = square.resize((100, 100), Image.Resampling.BICUBIC).convert("L")
    assert np.array_equal(smaller, np.asarray(shrunk))
    Image.fromarray(picture).save(tmp_path / "photo.png")
    for path in (tmp_path / "photo.png", str(tmp_path / "photo.png")):
        assert np.array_equal(SingleImage.from_photo(path, canny=False, canvas=100).image, smaller)


@pytest.mark.parametrize("name", ["camera", "astronaut"])
def test_edges_are_those_of_opencv(name: str, cv2: Any) -> None:
    picture = photo(name)
    for low, high, canvas in ((100, 200, 512), (30.5, 60, 201)):
        recipe = SingleImage.from_photo(picture, low=low, high=high, canvas=canvas)
        gray = SingleImage.from_photo(picture, canny=False, canvas=canvas).image
        assert np.array_equal(recipe.image, cv2.Canny(gray, low, high) // 255 * 127)
        assert recipe.edges
        assert recipe.canvas == canvas
        assert 0.02 < (recipe.image > 0).mean() < 0.3
        assert len(recipe.pixels) == -(-canvas * -(-canvas // 8) // 3) * 4


def test_photographs_are_turned_upright_and_converted(tmp_path: Path) -> None:
    gray = np.random.default_rng(1).integers(0, 256, (30, 40), np.uint8)
    upright = SingleImage.from_photo(gray, canny=False, canvas=30).image
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(np.rot90(gray).copy()).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(SingleImage.from_photo(tmp_path / "turned.png", canny=False, canvas=30).image, upright)
    for mode in ("RGB", "RGBA"):
        Image.fromarray(gray).convert(mode).save(tmp_path / "photo.png")
        assert np.array_equal(SingleImage.from_photo(tmp_path / "photo.png", canny=False, canvas=30).image, upright)


def test_the_recipe_needs_neither_photograph_nor_opencv(tmp_path: Path, cv2: Any, monkeypatch: Any) -> None:
    del cv2
    Image.fromarray(photo("camera")).save(tmp_path / "photo.png")
    recipe = SingleImage.from_photo(tmp_path / "photo.png", canvas=96, num_classes=4, delta=0.3, seed=9)
    expected = images_of(recipe, [0, 3])
    recipe.save(tmp_path / "recipe.json")
    (tmp_path / "photo.png").unlink()
    monkeypatch.setitem(sys.modules, "cv2", None)
    again = load_recipe(tmp_path / "recipe.json")
    assert isinstance(again, SingleImage)
    assert again == recipe
    assert np.array_equal(images_of(again, [0, 3]), expected)


def test_without_opencv_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without_cv2(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "cv2":
            raise ModuleNotFoundError("No module named 'cv2'", name="cv2")
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_cv2)
    gray = np.random.default_rng(1).integers(0, 256, (30, 40), np.uint8)
    with pytest.raises(ModuleNotFoundError, match=r"canny=True needs OpenCV.*pip install 'onepfrac\[photo\]'"):
        SingleImage.from_photo(gray)
    assert SingleImage.from_photo(gray, canny=False).image.any()


# ---- affine copies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("canvas", [8, 33, 512])
def test_with_delta_0_every_class_is_the_canvas_exactly(canvas: int) -> None:
    recipe = some_recipe(canvas, delta=0.0)
    assert np.array_equal(images_of(recipe, [0, 7]), [recipe.image, recipe.image])
    bits = np.random.default_rng(2).integers(0, 2, (canvas, canvas), np.uint8)
    edges = SingleImage(base64.b64encode(np.packbits(bits, axis=1).tobytes()).decode(), True, 0.0, canvas=canvas)
    assert np.array_equal(images_of(edges, [5]), [bits * 127])


def class_map(recipe: SingleImage, label: int) -> NDArray[np.float64]:
    """The map of a class as the docstring has it, in pixels with centres at (i + 0.5, j + 0.5): (2, 3)."""
    epsilon = (uniform(recipe.seed, Purpose.AFFINE, label, 6) - 0.5).reshape(2, 3) * recipe.delta
    linear = np.eye(2) + epsilon[:, :2]
    middle = np.full(2, recipe.canvas / 2)
    return np.column_stack([linear, middle - linear @ middle + recipe.canvas * epsilon[:, 2]])


@pytest.mark.parametrize("delta", [0.01, 0.1, 0.9])
def test_views_are_the_inverse_of_the_maps(delta: float) -> None:
    recipe = some_recipe(delta=delta, seed=3)
    for label, view in enumerate(recipe.views(np.arange(50))):
        forth, back = (np.vstack([m, [0, 0, 1]]) for m in (class_map(recipe, label), view))
        assert np.allclose(forth @ back, np.eye(3), atol=1e-9)


def test_the_six_numbers_are_uniform_and_the_determinant_is_1_minus_delta_or_more() -> None:
    recipe = some_recipe(delta=0.9)
    numbers = np.array([class_map(recipe, label) for label in range(500)])
    views = recipe.views(np.arange(500))
    determinants = 1 / np.linalg.det(views[:, :, :2])
    assert (determinants >= 0.1).all()
    assert determinants == pytest.approx(np.linalg.det(numbers[:, :, :2]))
    linear = np.abs(numbers[:, :, :2] - np.eye(2))
    assert 0.44 < linear.max() <= 0.45
    moved = (numbers @ [20, 20, 1] - 20) / 40  # the centre
    assert 0.44 < np.abs(moved).max() <= 0.45
    assert np.abs(moved.mean(0)).max() < 4 * 0.9 / np.sqrt(12 * 500)


def warped(cv2: Any, recipe: SingleImage, label: int) -> NDArray[np.uint8]:
    """A class's copy by OpenCV's warpAffine, cubic, black outside."""
    matrix = class_map(recipe, label)
    matrix[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5  # OpenCV has the centre of pixel (0, 0) at (0, 0)
    size = (recipe.canvas, recipe.canvas)
    return np.asarray(cv2.warpAffine(recipe.image, matrix, size, flags=cv2.INTER_CUBIC, borderValue=0))


@pytest.mark.parametrize("name", ["camera", "astronaut"])
@pytest.mark.parametrize(("blur", "mean", "largest"), [(0, 1.5, 40), (3, 0.5, 6)])
def test_copies_are_those_of_warpaffine(name: str, blur: int, mean: float, largest: int, cv2: Any) -> None:
    """OpenCV's cubic has a = -3/4, places in 1/32 pixel and no antialiasing; little on a blurred photograph."""
    picture = Image.fromarray(photo(name)).filter(ImageFilter.GaussianBlur(blur))
    recipe = SingleImage.from_photo(np.asarray(picture), canny=False, canvas=256)
    for label in range(8):
        got, expected = images_of(recipe, [label])[0].astype(int), warped(cv2, recipe, label).astype(int)
        places = places_of(recipe, label)
        inside = ((places >= 3) & (places <= 253)).all(0)  # OpenCV mixes black into the border
        assert inside.mean() > 0.7
        far = np.abs(got - expected)[inside]
        assert far.mean() <= mean
        assert far.max() <= largest


def places_of(recipe: SingleImage, label: int) -> NDArray[np.float64]:
    """Where the pixels of a copy lie on the canvas: (x and y, row, column)."""
    centres = np.arange(recipe.canvas) + 0.5
    x, y = np.meshgrid(centres, centres)
    forth = np.vstack([class_map(recipe, label), [0, 0, 1]])
    return np.einsum("ij,jyx->iyx", np.linalg.inv(forth), np.stack([x, y, np.ones_like(x)]))[:2]


WHITE = text_of(np.full((256, 256), 255, np.uint8))


def test_what_lies_outside_of_the_canvas_is_black() -> None:
    recipe = SingleImage(WHITE, False, 0.3, canvas=256)
    for label in range(8):
        got = images_of(recipe, [label])[0]
        assert set(np.unique(got)) == {0, 255}
        places = places_of(recipe, label)
        assert np.array_equal(got == 255, ((places >= 0) & (places < 256)).all(0))


def test_all_threads_and_vector_units_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = some_recipe(100, delta=0.4)
    expected = images_of(recipe, list(range(10)))
    for level in ("scalar", "avx2", "avx512"):
        monkeypatch.setenv("ONEPFRAC_SIMD", level)
        assert np.array_equal(images_of(recipe, list(range(10)), threads=3), expected)


@pytest.mark.gpu
def test_a_gpu_gives_the_bits_of_the_cpu() -> None:
    for canvas in (33, 512):
        recipe = some_recipe(canvas)
        plan = recipe.plan(np.arange(20))
        assert torch.equal(recipe.draw(plan, torch.device("cuda")).cpu(), recipe.draw(plan, CPU))


def test_images_are_the_same_for_ever() -> None:
    y, x = np.mgrid[:64, :64]
    recipe = SingleImage(text_of((x * 3 + y).astype(np.uint8)), False, seed=7, canvas=64)
    assert hashlib.sha256(images_of(recipe, [0, 1, 999]).tobytes()).hexdigest()[:16] == "7e242e3d7ae6fd53"
    assert recipe.fingerprint == "5888cf80d06c6a30"


# ---- the recipe -----------------------------------------------------------------------------------------------------


def test_fresh_draws_are_the_fixed_images() -> None:
    recipe = some_recipe(num_classes=5)
    fixed, fresh = (recipe.plan(np.arange(12), draws) for draws in ("fixed", "fresh"))
    assert np.array_equal(fixed.labels, fresh.labels)
    assert torch.equal(recipe.draw(fixed, CPU), recipe.draw(fresh, CPU))


@pytest.mark.parametrize("draws", ["fixed", "fresh"])
@pytest.mark.parametrize("cache", [0, 2**20])
def test_a_stream_gives_the_images_of_its_classes(draws: str, cache: int) -> None:
    recipe = some_recipe(num_classes=6)
    stream = iter(recipe.stream(batch_size=9, size=40, draws=draws, dtype=torch.uint8, channels=1, cache=cache))
    for _ in range(3):
        images, labels = next(stream)
        assert np.array_equal(images[:, 0].numpy(), images_of(recipe, labels.tolist()))


def test_a_stream_may_augment() -> None:
    images, labels = next(iter(some_recipe(num_classes=6).stream(batch_size=4, size=32, augment="deit")))
    assert images.shape == (4, 3, 32, 32)
    assert torch.isfinite(images).all()
    assert sorted(set(labels.tolist())) == sorted(labels.tolist())


def test_no_samples_give_no_images() -> None:
    recipe = some_recipe()
    assert recipe.draw(recipe.plan(np.zeros(0, np.int64)), CPU).shape == (0, 1, 40, 40)


@given(st.integers(8, 40), st.booleans(), st.integers(0, 2**32 - 1), st.floats(0, 0.9))
def test_json_gives_back_an_equal_recipe_with_the_same_image(canvas: int, edges: bool, seed: int, delta: float) -> None:
    image = np.random.default_rng(seed).integers(0, 2 if edges else 256, (canvas, canvas), np.uint8)
    data = np.packbits(image, axis=1) if edges else image
    recipe = SingleImage(base64.b64encode(data.tobytes()).decode(), edges, delta, 5, seed, canvas=canvas)
    again = SingleImage.from_json(recipe.to_json())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert again.fingerprint == recipe.fingerprint
    assert pickle.loads(pickle.dumps(recipe)) == recipe
    assert np.array_equal(again.image, image * 127 if edges else image)


def test_the_largest_canvas_fits_a_file(tmp_path: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (2048, 2048), np.uint8)
    recipe = SingleImage.from_photo(image, canny=False, canvas=2048)
    recipe.save(tmp_path / "recipe.json")
    assert (tmp_path / "recipe.json").stat().st_size < MAX_JSON_BYTES // 2
    assert load_recipe(tmp_path / "recipe.json") == recipe


def test_the_image_is_not_part_of_the_repr_and_of_errors() -> None:
    recipe = some_recipe()
    assert repr(recipe) == "SingleImage(edges=False, delta=0.1, num_classes=1000, seed=0, canvas=40)"
    with pytest.raises(ValueError, match="pixels must be") as caught:
        dataclasses.replace(recipe, canvas=41)
    assert len(str(caught.value)) < 200


def test_every_field_changes_the_fingerprint() -> None:
    base = some_recipe(8)
    bits = base64.b64encode(bytes([1] * 8)).decode()
    others = [
        some_recipe(8, 1),
        some_recipe(9),
        SingleImage(bits, True, canvas=8),
        *(dataclasses.replace(base, **change) for change in ({"delta": 0.2}, {"num_classes": 9}, {"seed": 1})),  # type: ignore[arg-type]
    ]
    assert len({recipe.fingerprint for recipe in (base, *others)}) == 7


GRAYS = text_of(np.arange(64, dtype=np.uint8).reshape(8, 8))
NINE = np.packbits(np.ones((9, 9), np.uint8), axis=1)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, r"pixels must be base64 of 64 bytes \(8 rows of 8\), got a bytes", {"pixels": b"AAAA"}),
        (ValueError, "pixels must be base64 of 64 bytes .* got 3 bytes", {"pixels": "AAAB"}),
        (ValueError, r"pixels must be base64 of 8 bytes \(8 rows of 1\), got 64 bytes", {"edges": True}),
        (ValueError, "text that is not base64", {"pixels": "*" * 88}),
        (ValueError, "text that is not base64", {"pixels": GRAYS + "\n"}),
        (ValueError, "text that is not base64", {"pixels": "é"}),
        (ValueError, "text that is not base64", {"pixels": GRAYS[:-1]}),
        (ValueError, "last letter holds bits that are not used", {"pixels": GRAYS[:-3] + "x=="}),
        (ValueError, "pixels must not be all black", {"pixels": text_of(np.zeros((8, 8), np.uint8))}),
        (
            ValueError,
            "pixels must have zeros in the 7 bits after each row's last pixel",
            {"pixels": text_of(NINE | 1), "edges": True, "canvas": 9},
        ),
        (TypeError, "edges must be a bool, got 1 of type int", {"edges": 1}),
        (ValueError, r"delta must be a number in \[0, 0.9\], got 1.0", {"delta": 1.0}),
        (ValueError, "num_classes must be an integer in 1..1000000, got 0", {"num_classes": 0}),
        (ValueError, "seed must be an integer in 0..18446744073709551615, got -1", {"seed": -1}),
        (ValueError, "canvas must be an integer in 8..2048, got 2049", {"canvas": 2049}),
    ],
)
def test_bad_arguments_are_refused(error: type[Exception], message: str, arguments: dict[str, Any]) -> None:
    SingleImage(GRAYS, False, canvas=8)
    with pytest.raises(error, match=message):
        SingleImage(**({"pixels": GRAYS, "edges": False, "canvas": 8} | arguments))


GRAY_PHOTO = np.arange(400, dtype=np.uint8).reshape(20, 20)


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (TypeError, "photo must be a path or an array of uint8, got a list", {"photo": [[1]]}),
        (TypeError, "photo must be an array of uint8, got float64", {"photo": GRAY_PHOTO / 255}),
        (ValueError, r"photo must have the shape \(H, W\) or \(H, W, 3\)", {"photo": GRAY_PHOTO[None]}),
        (ValueError, r"photo must have the shape .* got \(0, 20\)", {"photo": GRAY_PHOTO[:0]}),
        (ValueError, "photo must not be all black", {"photo": GRAY_PHOTO * 0}),
        (TypeError, "canny must be a bool, got 1", {"canny": 1}),
        (ValueError, "low must be a number in .* got -1", {"low": -1}),
        (ValueError, r"high must be a number in \[100, inf\), got 99", {"high": 99}),
        (ValueError, "canvas must be an integer in 8..2048, got 4096", {"canvas": 4096}),
        (ValueError, r"delta must be a number in \[0, 0.9\], got 2", {"delta": 2}),
    ],
)
def test_bad_photographs_and_settings_are_refused(
    error: type[Exception], message: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(error, match=message):
        SingleImage.from_photo(**({"photo": GRAY_PHOTO, "canny": False, "canvas": 8} | arguments))


def test_files_that_are_no_images_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError):
        SingleImage.from_photo(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(OSError, match="cannot identify image file"):
        SingleImage.from_photo(tmp_path / "text.png")
    Image.fromarray(GRAY_PHOTO).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ValueError, match="photo must have fewer pixels"):
        SingleImage.from_photo(tmp_path / "large.png")


@pytest.mark.parametrize(("dtype", "name"), [(np.uint16, "deep.png"), (np.float32, "float.tif")])
def test_photographs_of_more_than_8_bits_are_refused(dtype: type[np.generic], name: str, tmp_path: Path) -> None:
    Image.fromarray(GRAY_PHOTO.astype(dtype)).save(tmp_path / name)
    with pytest.raises(ValueError, match="photo must have 8 bits a channel, got Pillow's mode"):
        SingleImage.from_photo(tmp_path / name, canny=False)


def test_a_photograph_without_edges_is_refused(cv2: Any) -> None:
    del cv2
    with pytest.raises(ValueError, match="photo must not be all black after Canny with thresholds 100 and 200"):
        SingleImage.from_photo(np.full((30, 30), 200, np.uint8))


def test_bits_are_refused() -> None:
    recipe = some_recipe()
    with pytest.raises(ValueError, match="bits must be False"):
        recipe.draw(recipe.plan([0]), CPU, bits=True)


def test_a_recipe_from_a_stranger_is_checked() -> None:
    values = json.loads(some_recipe(8).to_json())
    for change in ({"pixels": None}, {"edges": "yes"}, {"canvas": 16}):
        with pytest.raises((TypeError, ValueError), match=next(iter(change)) if "canvas" not in change else "pixels"):
            SingleImage.from_json(json.dumps(values | change))
