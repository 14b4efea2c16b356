"""Image data: folders, datasets of timm, crops as torchvision draws them, batches that seed and number decide."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10
from torchvision.transforms import v2

from onepfrac.train import images
from onepfrac.train.images import Augment, Batches, Photographs

RNG = np.random.default_rng(0)
CPU = torch.device("cpu")


def write_images(folder: Path, shapes: list[tuple[int, int]], mode: str = "RGB") -> None:
    folder.mkdir(parents=True)
    for number, (height, width) in enumerate(shapes):
        pixels = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(folder / f"{number}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of six training and two validation images, of several sizes and modes."""
    root = tmp_path_factory.mktemp("photographs")
    for split, count in (("train", 6), ("val", 2)):
        write_images(root / split / "a", [(20 + i, 30) for i in range(count)])
        write_images(root / split / "b", [(40, 12)] * count, "RGBA")
    return root


def numbers(count: int, first: int = 0) -> Any:
    return np.arange(first, first + count, dtype=np.uint64)


# ---- folders ---------------------------------------------------------------------------------------------------------


def test_fewer_images_of_each_class_can_be_asked_for(folder: Path) -> None:
    found = images.load_photographs(folder / "train", per_class=2)
    assert found.labels == [0, 0, 1, 1]
    assert [Path(path).name for path in found.items] == ["0.png", "1.png"] * 2
    assert found.classes == ("a", "b")
    assert found[2][0].shape == (3, 40, 12)  # RGB, though the file is RGBA
    assert found[2][0].dtype == torch.uint8


@pytest.mark.parametrize("cache", [False, True])
def test_some_of_the_images_can_be_picked(folder: Path, cache: bool) -> None:
    whole = images.load_photographs(folder / "train", cache=cache)
    part = whole.pick([9, 1])
    assert part.labels == [1, 0]
    assert all(torch.equal(part[i][0], whole[j][0]) for i, j in ((0, 9), (1, 1)))
    assert (part[1][0].data_ptr() == whole[1][0].data_ptr()) == cache  # decoded images are shared


def test_decoded_images_are_those_of_the_files(folder: Path) -> None:
    kept = images.load_photographs(folder / "train", cache=True)
    read = images.load_photographs(folder / "train")
    assert all(torch.equal(kept[i][0], read[i][0]) for i in range(len(read)))
    first = np.array(Image.open(folder / "train" / "a" / "0.png"))
    assert np.array_equal(kept[0][0].permute(1, 2, 0).numpy(), first)


@pytest.mark.parametrize("name", ["val", "validation", "test"])
def test_the_validation_folder_has_one_of_three_names(folder: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "train").symlink_to(folder / "train")
    (tmp_path / name).symlink_to(folder / "val")
    train, val = images.load_splits(str(tmp_path), per_class=(3, 1))
    assert (len(train), len(val)) == (6, 2)


def test_val_comes_before_test_and_a_named_split_before_both(folder: Path, tmp_path: Path) -> None:
    for name, target in (("learn", "train"), ("val", "val"), ("test", "train")):
        (tmp_path / name).symlink_to(folder / target)
    assert len(images.load_splits(str(tmp_path), splits=("learn", ""))[1]) == 4
    assert len(images.load_splits(str(tmp_path), splits=("learn", "test"))[1]) == 12


def test_a_folder_that_is_not_there_and_a_file_that_is_no_image_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder nowhere/train"):
        images.load_splits("nowhere")
    (tmp_path / "train").symlink_to(folder / "train")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*/val"):
        images.load_splits(str(tmp_path))
    write_images(tmp_path / "broken" / "a", [(30, 30)])
    path = tmp_path / "broken" / "a" / "0.png"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(OSError, match=r"cannot read the image .*broken/a/0\.png"):
        images.load_photographs(tmp_path / "broken", cache=True)


def test_training_and_validation_must_go_together(folder: Path) -> None:
    train, val = images.load_splits(str(folder))
    images.check_splits(train, val)
    with pytest.raises(ValueError, match="val must hold images, got none"):
        images.check_splits(train, val.pick([]))
    val.classes = ("a", "c")
    with pytest.raises(ValueError, match=r"the same classes, got \('a', 'b'\) and \('a', 'c'\)"):
        images.check_splits(train, val)


# ---- datasets of timm ------------------------------------------------------------------------------------------------


def write_mnist(root: Path) -> None:
    """The files that torchvision reads as MNIST: ten training and five test digits of constant gray."""
    raw = root / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name, count in (("train", 10), ("t10k", 5)):
        pixels = np.repeat(np.arange(count, dtype=np.uint8) * 10, 28 * 28)
        head = np.array([2051, count, 28, 28], ">i4").tobytes()
        (raw / f"{name}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = np.arange(count, dtype=np.uint8) % 3
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(np.array([2049, count], ">i4").tobytes() + labels.tobytes())


@pytest.mark.parametrize("cache", [False, True])
def test_a_dataset_of_torchvision_is_named_as_timm_names_it(tmp_path: Path, cache: bool) -> None:
    write_mnist(tmp_path)
    train, val = images.load_splits("torch/mnist", str(tmp_path), per_class=(2, 0), cache=cache)
    assert (train.labels, val.labels) == ([0, 0, 1, 1, 2, 2], [0, 1, 2, 0, 1])
    assert [int(train[i][0][0, 0, 0]) for i in range(6)] == [0, 30, 10, 40, 20, 50]
    assert train[0][0].shape == (3, 28, 28)  # gray becomes RGB
    assert train.classes == val.classes
    assert len(train.classes) == 10


def test_cifar_10_is_read_in_its_own_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CIFAR10, "_check_integrity", lambda self: True)  # its images are not ours to copy
    monkeypatch.setattr(CIFAR10, "_load_meta", lambda self: setattr(self, "classes", ["plane", "car"]))
    base = tmp_path / CIFAR10.base_folder
    base.mkdir()
    for name, _ in [*CIFAR10.train_list, *CIFAR10.test_list]:
        entry = {"data": np.full((2, 3 * 32 * 32), 7, np.uint8), "labels": [0, 1]}
        (base / name).write_bytes(pickle.dumps(entry))
    train, val = images.load_splits("TORCH/cifar10", str(tmp_path))
    assert (len(train), len(val), train.classes) == (10, 2, ("plane", "car"))
    assert (train[3][0] == 7).all()


def test_a_dataset_without_a_list_of_labels_is_read_for_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def made(name: str, root: str | None, split: str, download: bool) -> Any:
        assert (name, root, split, download) == ("hfds/me/mine", None, split, True)
        dataset = images.datasets.ImageFolder(str(folder / {"train": "train", "test": "val"}[split]))
        del dataset.targets
        dataset.classes = [("first", "1st"), "second"]
        return dataset

    monkeypatch.setattr(images, "create_dataset", made)
    for cache in (False, True):
        train, val = images.load_splits("hfds/me/mine", "", True, ("", "test"), (2, 1), cache)
        assert (train.labels, val.labels) == ([0, 0, 1, 1], [0, 1])
        assert train.classes == ("first, 1st", "second")
        assert [train[i][0].shape for i in (1, 2)] == [(3, 21, 30), (3, 40, 12)]


def test_shards_of_webdataset_are_read_once_into_memory(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    for name, count in (("train", 5), ("val", 2)):
        with webdataset.TarWriter(str(tmp_path / f"{name}-0.tar")) as shard:
            for i in range(count):
                pixels = np.full((10 + i, 12, 3), 20 * i, np.uint8)
                shard.write({"__key__": f"{i:03d}", "png": Image.fromarray(pixels), "cls": i % 3})
    splits = ("train-0.tar", "val-0.tar")
    train, val = images.load_splits("wds/mine", str(tmp_path), splits=splits, per_class=(1, 0))
    assert (train.labels, val.labels) == ([0, 1, 2], [0, 1])
    assert train.classes == val.classes == ("0", "1", "2")  # val shows two of the three
    assert [int(train[i][0][0, 0, 0]) for i in range(3)] == [0, 20, 40]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("torch/fake", r"data: timm cannot read torch/fake \(split 'train', data_root '.*'\): AssertionError: Unknown"),
        ("torch/cifar10", "RuntimeError: Dataset not found or corrupted"),
    ],
)
def test_what_timm_cannot_read_is_refused(tmp_path: Path, name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        images.load_splits(name, str(tmp_path))


def test_a_folder_named_like_a_dataset_is_reached_by_its_path(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "mine").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert len(images.load_splits("./torch/mine")[0]) == 12


# ---- batches ---------------------------------------------------------------------------------------------------------


def test_a_crop_is_resampled_as_torchvision_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.from_numpy(RNG.integers(0, 256, (3, 50, 40), dtype=np.uint8))
    box = np.array([[3, 5, 30, 22]])
    monkeypatch.setattr(images, "crop_boxes", lambda *_: box)
    batches = Batches(Photographs([0], [0], ["a"], lambda _: image), 16, Augment(0.5))
    want = v2.functional.resized_crop(image, *box[0].tolist(), [16, 16], v2.InterpolationMode.BICUBIC, True)
    want = want / 127.5 - 1
    seen = {bool(torch.equal(batches[np.array([0]), numbers(1, i)][0][0], want)) for i in range(20)}
    flipped = {bool(torch.equal(batches[np.array([0]), numbers(1, i)][0][0], want.flip(2))) for i in range(20)}
    assert seen == flipped == {True, False}
    for i in range(20):
        got = batches[np.array([0]), numbers(1, i)][0][0]
        assert torch.equal(got, want) or torch.equal(got, want.flip(2))


@pytest.mark.parametrize(("shape", "least"), [((32, 32), 0.5), ((60, 40), 0.08), ((30, 300), 0.9), ((300, 30), 0.9)])
def test_crops_have_the_distribution_of_torchvisions(shape: tuple[int, int], least: float) -> None:
    count = 4000
    draws = np.random.default_rng(1).random((count, 22))
    boxes = images.crop_boxes(draws, np.array([shape] * count), least)
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= shape).all()
    torch.manual_seed(0)
    crop, image = v2.RandomResizedCrop(8, (least, 1.0)), torch.zeros(1, *shape)
    others = [crop.make_params([image]) for _ in range(count)]
    theirs = np.array([[other[name] for name in ("top", "left", "height", "width")] for other in others])
    for mine, other in zip(boxes.T, theirs.T, strict=True):
        spread = max(mine.std(), other.std())
        assert abs(mine.mean() - other.mean()) <= 5 * spread * (2 / count) ** 0.5
        assert np.abs(np.quantile(mine, [0.1, 0.5, 0.9]) - np.quantile(other, [0.1, 0.5, 0.9])).max() <= 2 + spread / 5
    if min(shape) * 4 < max(shape):  # no attempt fits: torchvision's crop at the centre
        assert np.array_equal(boxes, theirs)


@pytest.mark.parametrize("augment", [Augment(0.3), Augment(0.3, "rand-m9-mstd0.5-inc1", 0.5), Augment(0.3, "", 1.0)])
def test_a_sample_is_decided_by_seed_and_number_alone(folder: Path, augment: Augment) -> None:
    read, kept = (images.load_photographs(folder / "train", cache=cache) for cache in (False, True))
    rows = np.array([0, 7, 3, 0])
    whole, labels = Batches(read, 16, augment, seed=5)[rows, numbers(4)]
    assert whole.dtype == torch.float32
    assert whole.shape == (4, 3, 16, 16)
    assert labels.tolist() == [0, 1, 0, 0]
    torch.rand(3)  # draws between do not matter
    parts = [Batches(kept, 16, augment, seed=5)[rows[i : i + 1], numbers(1, i)][0] for i in range(4)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(whole[0], whole[3])  # the same image with another number
    assert not torch.equal(Batches(read, 16, augment, seed=6)[rows, numbers(4)][0], whole)


@pytest.mark.forks
def test_loader_processes_change_nothing(folder: Path) -> None:
    found = images.load_photographs(folder / "train", cache=True)
    order = [(np.array([i, 11 - i]), numbers(2, 2 * i)) for i in range(5)]
    batches = Batches(found, 16, Augment(0.3, "rand-m9-mstd0.5-inc1", 0.5))
    left, right = (list(images.loader(batches, iter(order), workers, CPU)) for workers in (0, 2))
    assert len(left) == len(right) == 5
    assert all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(left, right, strict=True))


def test_without_augmentation_images_are_resized_and_cropped_at_the_centre(folder: Path) -> None:
    found = images.load_photographs(folder / "train")
    got = Batches(found, 16)[np.array([0, 11]), numbers(2)][0]
    resize = v2.Compose([v2.Resize(16, v2.InterpolationMode.BICUBIC, antialias=True), v2.CenterCrop(16)])
    want = torch.stack([resize(found[0][0]), resize(found[11][0])])
    assert torch.equal(got, want / 127.5 - 1)
    assert torch.equal(got, Batches(found, 16)[np.array([0, 11]), numbers(2, 9)][0])


def test_erasing_puts_noise_into_a_rectangle() -> None:
    gray = Photographs([0], [0], ["a"], lambda _: torch.full((3, 16, 16), 255, dtype=torch.uint8))
    plain, erased = (Batches(gray, 16, Augment(1.0, "", rate))[np.array([0]), numbers(1)][0] for rate in (0.0, 1.0))
    assert (plain == 1).all()
    assert 0.01 < (erased != 1).float().mean() < 0.5


@pytest.mark.parametrize("policy", ["blur", "rand-q9", "v9"])
def test_a_policy_that_timm_does_not_know_is_refused(folder: Path, policy: str) -> None:
    with pytest.raises(ValueError, match=f"auto_augment must be a policy of timm .*, got '{policy}'"):
        Batches(images.load_photographs(folder / "train"), 16, Augment(0.5, policy))
