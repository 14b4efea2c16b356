"""Weights: loaded by their header, described by a card, published as a folder that timm reads."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from family import SMALL
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES

import onepfrac
from onepfrac import cli, files
from onepfrac.datasets import OnePFrac, Recipe
from onepfrac.train import card, checkpoint, digest, finetune, models, options, pretrain, publish, weights

RECIPE = OnePFrac(num_classes=4, delta=0.5, points=500, canvas=16, pad=1)
VIT = "vit_tiny_patch16_224"
PUBLISHED = [VIT, "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "resnet18", "convnext_atto"]
PUBLISHED += ["deit_tiny_distilled_patch16_224", "mobilenetv4_conv_small_035"]
RUN: dict[str, Any] = {
    "steps": 2, "warmup": 1, "sheet": 0, "device": "cpu", "threads": 1, "size": 16, "batch_size": 4, "drop_path": 0.0,
    "num_classes": 4, "delta": 0.5, "points": 500, "canvas": 16, "pad": 1,
    "model_arg": ("patch_size=8", "embed_dim=16", "depth=1", "num_heads=2"),
}  # fmt: skip


def pairs_of(arguments: dict[str, Any]) -> tuple[str, ...]:
    return tuple(f"{name}={value!r}" for name, value in arguments.items())


def write(path: Path, name: str = VIT, data: Recipe = RECIPE, outputs: int = -1, **info: Any) -> torch.nn.Module:
    """Write weights of one of the small models as a pre-training does, all of them random; return the model.

    What ``info`` holds replaces entries of the header; of the settings, those that it names.
    """
    size, arguments = FAMILIES[name]
    torch.manual_seed(1)
    model = models.build_model(name, data.num_classes if outputs < 0 else outputs, size, arguments)
    model(torch.rand(8, 3, size, size))  # statistics of batch norm
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    made = pretrain.Settings(model=name, model_arg=pairs_of(arguments), size=size, out="runs/x")
    about: dict[str, Any] = {"kind": pretrain.WEIGHTS, "step": 2, "recipe": json.loads(data.to_json())}
    about |= {"fingerprint": data.fingerprint, **info}
    about["settings"] = dataclasses.asdict(made) | info.get("settings", {})
    checkpoint.write(path, model.state_dict(), about)
    return model.eval()


def outputs(model: torch.nn.Module, size: int = 16) -> torch.Tensor:
    torch.manual_seed(2)
    with torch.no_grad():
        given: torch.Tensor = model.eval()(torch.randn(2, 3, size, size))
    return given


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a pre-training of two steps."""
    out = tmp_path_factory.mktemp("runs") / "run"
    pretrain.pretrain(pretrain.Settings(**{**RUN, "out": str(out)}))
    return out


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """The folder of a fine-tuning of those weights on two colours."""
    root = tmp_path_factory.mktemp("tuned")
    for split in ("train", "val"):
        for name, gray in (("dark | night", 20), ("light", 220)):
            (root / split / name).mkdir(parents=True)
            Image.fromarray(np.full((16, 16, 3), gray, np.uint8)).save(root / split / name / "0.png")
    settings = finetune.Settings(
        data=str(root), weights=str(run / "weights.safetensors"), out=str(root / "out"), epochs=1, batch_size=2,
        device="cpu",
    )  # fmt: skip
    finetune.finetune(settings)
    return root / "out"


# ---- load_pretrained -------------------------------------------------------------------------------------------------


def test_importing_the_package_does_not_import_timm() -> None:
    code = "import sys, onepfrac; assert not {'timm', 'onepfrac.train'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert onepfrac.load_pretrained is weights.load_pretrained
    assert "load_pretrained" in onepfrac.__all__
    with pytest.raises(AttributeError, match="module 'onepfrac' has no attribute 'load_pretraind'"):
        onepfrac.load_pretraind  # noqa: B018


def test_a_run_gives_its_model_with_its_classifier_in_training_mode(run: Path) -> None:
    for path in (run, str(run), run / "weights.safetensors"):
        model = onepfrac.load_pretrained(path)
        saved = load_file(run / "weights.safetensors")
        assert model.state_dict().keys() == saved.keys()
        assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
        assert all(module.training for module in model.modules())
        assert model.num_classes == 4


def test_another_number_of_classes_gives_a_fresh_classifier_and_0_gives_features(tmp_path: Path) -> None:
    own = write(tmp_path / "weights.safetensors")
    fresh, same = (onepfrac.load_pretrained(tmp_path, count) for count in (7, 4))
    features = onepfrac.load_pretrained(tmp_path, 0)
    assert outputs(fresh).shape == (2, 7)
    assert fresh.head.weight.abs().max() < 0.15 < own.head.weight.abs().max()  # timm begins with truncated normals
    assert torch.equal(outputs(same), outputs(own))
    assert torch.equal(own.head(outputs(features)), outputs(own))
    for model in (fresh, features):
        assert torch.equal(model.blocks[0].attn.qkv.weight, own.blocks[0].attn.qkv.weight)


def test_another_size_and_stochastic_depth_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "weights.safetensors", "convnext_atto")
    model = onepfrac.load_pretrained(tmp_path, drop_path=0.3)
    assert max(m.drop_prob for m in model.modules() if isinstance(m, timm.layers.DropPath)) == pytest.approx(0.3)
    write(tmp_path / "weights.safetensors")
    assert onepfrac.load_pretrained(tmp_path, size=32)(torch.rand(1, 3, 32, 32)).shape == (1, 4)


def test_a_fine_tuned_model_has_its_classes(tuned: Path) -> None:
    model = onepfrac.load_pretrained(tuned)
    assert model.num_classes == 2
    assert model.pretrained_cfg["label_names"] == ("dark | night", "light")  # type: ignore[index]
    about = weights.about_weights(tuned)
    assert (about.program, about.model, about.size, about.model_arg) == ("finetune", VIT, 16, RUN["model_arg"])
    with pytest.raises(ValueError, match=r"weights\.safetensors holds no recipe; the weights of pretrain do"):
        weights.recipe_of_weights(tuned)


def test_an_encoder_without_a_classifier_gives_features_or_takes_a_fresh_one(tmp_path: Path) -> None:
    write(tmp_path / "weights.safetensors", outputs=0, kind="weights of onepfrac mae, format 1")
    assert onepfrac.load_pretrained(tmp_path).num_classes == 0
    assert outputs(onepfrac.load_pretrained(tmp_path)).shape == (2, 16)
    assert outputs(onepfrac.load_pretrained(tmp_path, 5)).shape == (2, 5)


def test_the_model_knows_how_its_images_are_prepared(tmp_path: Path) -> None:
    write(tmp_path / "weights.safetensors", "convnext_atto")
    model = onepfrac.load_pretrained(tmp_path, 7)
    config = timm.data.resolve_data_config(model=model)
    assert config["mean"] == config["std"] == (0.5, 0.5, 0.5)
    assert (config["input_size"], config["crop_pct"], config["interpolation"]) == ((3, 32, 32), 1.0, "bicubic")


def change(settings: dict[str, Any] | None = None, **info: Any) -> dict[str, Any]:
    return {"settings": settings or {}, **info}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (change(kind="checkpoint of onepfrac pretrain, format 1"), "must be weights .* but is 'checkpoint of onepfrac"),
        (change(kind="weights of onepfrac pretrain, format 2"), "must be weights that onepfrac pretrain, finetune or"),
        (change(kind=7), "must be weights that onepfrac"),
        (change({"model": "vit_of_nobody"}), "model must be one of timm's, got 'vit_of_nobody'"),
        (change({"model": None}), "model must be one of timm's, got None"),
        (change({"model_arg": "depth=1"}), "model_arg must be a list of strings, got 'depth=1'"),
        (change({"model_arg": [1]}), r"model_arg must be a list of strings, got \[1\]"),
        (change({"model_arg": ["checkpoint_path=x"]}), "model_arg must not set checkpoint_path"),
        (change({"model_arg": ["patch_size=8"]}), "does not fit the model: "),
        (change({"size": 0}), "size must be a number of pixels, got 0"),
        (change({"size": True}), "size must be a number of pixels, got True"),
        (change(recipe={"num_classes": "4"}), "the recipe's num_classes must be at least 1, got '4'"),
        (change(recipe=[]), "the recipe's num_classes must be at least 1, got None"),
        (
            change(recipe={"num_classes": 5}),
            r"model: head\.weight is \(4, 16\), the model's \(5, 16\)",
        ),
        (change(kind=finetune.WEIGHTS), "classes must be a list of names, got None"),
    ],
)
def test_a_header_that_is_not_legal_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    write(tmp_path / "weights.safetensors", **changes)
    with pytest.raises(ValueError, match=words):
        onepfrac.load_pretrained(tmp_path)


def test_what_is_no_weights_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds none of weights\.safetensors, model\.safetensors"):
        onepfrac.load_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match="absent"):
        onepfrac.load_pretrained(tmp_path / "absent.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="but is 'of another program'"):
        onepfrac.load_pretrained(tmp_path)
    write(tmp_path / "weights.safetensors")
    tensors, info = checkpoint.read(tmp_path / "weights.safetensors")
    for settings in (None, 3):
        checkpoint.write(tmp_path / "weights.safetensors", tensors, {**info, "settings": settings})
        with pytest.raises(ValueError, match=f"must hold settings, got {settings}"):
            onepfrac.load_pretrained(tmp_path)


# ---- digest and recipe -----------------------------------------------------------------------------------------------


def test_the_digest_is_the_documented_one() -> None:
    tensors = {"b": torch.tensor(1.5), "a": torch.arange(6, dtype=torch.int64).reshape(2, 3)}
    text = b'["a","int64",[2,3]]\n' + np.arange(6, dtype="<i8").tobytes()
    text += b'["b","float32",[]]\n' + np.array(1.5, "<f4").tobytes()
    assert digest.digest(tensors) == hashlib.sha256(text).hexdigest()


def test_the_digest_tells_names_shapes_types_and_bytes_apart_but_not_order_and_strides() -> None:
    base = {"a": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "b": torch.zeros(2, dtype=torch.bfloat16)}
    found = digest.digest(base)
    assert digest.digest(dict(reversed(base.items()))) == found
    assert digest.digest({**base, "a": base["a"].T.contiguous().T.requires_grad_()}) == found
    others: list[dict[str, torch.Tensor]] = [
        {**base, "a": base["a"].T},
        {**base, "a": base["a"].reshape(4)},
        {**base, "b": torch.zeros(2, dtype=torch.float16)},
        {**base, "a": base["a"] + torch.finfo(torch.float32).eps * 4},
        {"a": base["a"], "c": base["b"]},
        {"a": base["a"]},
    ]
    assert len({found, *map(digest.digest, others)}) == len(others) + 1


def test_the_recipe_stands_in_the_weights(run: Path, tmp_path: Path) -> None:
    assert weights.recipe_of_weights(run) == pretrain.build_recipe(pretrain.Settings(**RUN))
    for recipe in SMALL.values():
        write(tmp_path / "weights.safetensors", data=recipe)
        assert weights.recipe_of_weights(tmp_path) == recipe


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"recipe": {**json.loads(RECIPE.to_json()), "delta": 0.4}},
            "the recipe in .* was altered: its fing",
        ),
        ({"fingerprint": "0" * 16}, "was altered: .* the header says '0000000000000000'"),
        ({"fingerprint": None}, "was altered: .* the header says None"),
        ({"recipe": {"dataset": "Nothing", "num_classes": 4}}, "dataset must be one of OnePFrac, .* got 'Nothing'"),
        ({"recipe": {"dataset": [], "num_classes": 4}}, r"dataset must be one of .* got \[\]"),
        ({"recipe": {**json.loads(RECIPE.to_json()), "delta": -1}}, "the recipe in .*: delta must be"),
    ],
)
def test_an_altered_recipe_is_refused(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    write(tmp_path / "weights.safetensors", **changes)
    for use in (weights.recipe_of_weights, card.card_of, lambda path: publish.publish(path, tmp_path / "out")):
        with pytest.raises(ValueError, match=words):
            use(tmp_path)
    assert not (tmp_path / "out").exists()


# ---- cards -----------------------------------------------------------------------------------------------------------


def numbers(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w.-])\d+(?:\.\d+)?(?:e-?\d+)?(?![\w.-])", text))


@pytest.mark.parametrize("name", SMALL)
def test_every_number_of_a_card_stands_in_the_header(tmp_path: Path, name: str) -> None:
    recipe = SMALL[name]
    metrics = {"loss": 1.25, "accuracy": 0.625}
    write(tmp_path / "weights.safetensors", data=recipe, metrics=metrics, versions={"torch": "2.99.7"})
    checksum = checkpoint.read_info(tmp_path / "weights.safetensors")["sha256"]
    text = card.card_of(tmp_path)
    fixed = {"0.5", "10", "0"}  # mean and std; num_classes=10 of the examples and what 0 does there
    assert numbers(text) <= numbers(json.dumps(checkpoint.read_info(tmp_path / "weights.safetensors"))) | fixed
    for word in ("1.25", "0.625", "2.99.7", checksum, recipe.fingerprint, recipe.dataset, VIT):
        assert word in text


def test_a_card_begins_with_the_hubs_front_matter(run: Path, tuned: Path) -> None:
    front, _, rest = card.card_of(run).removeprefix("---\n").partition("---\n")
    lines = ["library_name: timm", "pipeline_tag: image-feature-extraction", "license: mit", "tags:", "- timm"]
    assert front.splitlines() == [*lines, "- onepfrac", "- formula-driven-supervised-learning"]
    assert rest.startswith(f"\n# {VIT}, pre-trained on OnePFrac\n")
    text = card.card_of(tuned)
    assert "pipeline_tag: image-classification\ntags:\n" in text
    assert "No licence is stated here" in text
    assert "\nlicense: cc-by-4.0\n" in card.card_of(tuned, "cc-by-4.0")
    for name in ("MIT\nx: y", "", "Cc-by"):
        with pytest.raises(ValueError, match="license must be a name as mit"):
            card.card_of(run, name)


def code_of(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.mark.parametrize("name", SMALL)
def test_the_code_of_a_card_makes_the_recipe_again(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = SMALL[name]
    write(tmp_path / "weights.safetensors", data=recipe, settings={"augment": "none", "batch_size": 6})
    publish.publish(tmp_path, tmp_path / "out", "mit")
    monkeypatch.chdir(tmp_path / "out")
    code = next(part for part in code_of(card.card_of(tmp_path), "python") if "fingerprint" in part)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["recipe"] == recipe
    assert next(iter(names["stream"]))[0].shape == (6, 3, 16, 16)
    assert ("load_recipe" in code) == (name in ("FractalDB", "OFDB", "SingleImage"))


def test_the_command_of_a_card_trains_the_same_weights(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish.publish(run, tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    (command,) = code_of((tmp_path / "out" / "README.md").read_text(), "sh")
    assert cli.main([*command.split()[1:], "--sheet=0", "--device=cpu", "--threads=1"]) == 0
    again, first = load_file("runs/pretrain/weights.safetensors"), load_file(run / "weights.safetensors")
    assert all(torch.equal(again[name], first[name]) for name in first)


def test_a_card_tells_labels_and_limits_of_its_dataset(tmp_path: Path, tuned: Path) -> None:
    texts = {}
    for name in ("OnePFrac", "VisualAtoms", "SingleImage"):
        write(tmp_path / "weights.safetensors", data=SMALL[name])
        texts[name] = card.card_of(tmp_path)
    assert "output k stands for perturbation number k" in texts["OnePFrac"]
    assert "black and one gray" in texts["OnePFrac"]
    assert "output k stands for class number k" in texts["VisualAtoms"]
    assert "training images are gray" in texts["VisualAtoms"]
    assert "\nlicense:" not in texts["SingleImage"]
    assert "No photograph" not in texts["SingleImage"]
    assert "No photograph" in texts["OnePFrac"]
    write(tmp_path / "weights.safetensors", outputs=0, kind="weights of onepfrac mae, format 1")
    assert "There are none: the model gives features." in card.card_of(tmp_path)
    assert "Training it again" not in card.card_of(tmp_path)
    names = [f"class {number}" for number in range(150)]
    write(tmp_path / "weights.safetensors", kind=finetune.WEIGHTS, classes=names)
    text = card.card_of(tmp_path)
    assert "| 99 | class 99 |\n\nAll stand in `config.json`, under `label_names`.\n" in text
    assert "class 100" not in text
    text = card.card_of(tuned)
    assert "| 0 | dark &#124; night |\n| 1 | light |" in text
    assert "| training images | 2 |" in text
    assert "`onepfrac finetune` trained it, from other weights." in text
    assert "onepfrac finetune --data FOLDER --weights WEIGHTS --batch-size=2 --epochs=1\n" in text


def test_what_a_header_holds_is_no_markup_in_its_card(tmp_path: Path) -> None:
    evil = "x | y\n```\n<script>` # " + "long " * 50
    settings = {"augment": evil, "evil": evil, "nothing": None, "flag": True, "compile": False, "crop": False}
    write(tmp_path / "weights.safetensors", settings=settings, versions={evil: evil})
    text = card.card_of(tmp_path)
    assert "<script>" not in re.sub(r"```sh\n.*?\n```\n", "", text, flags=re.DOTALL)
    assert text.count("\n```\n") == 4  # the ends of four blocks
    assert "| evil | x &#124; y &#96;&#96;&#96; &lt;script>&#96; # long" in text
    assert "--no-crop" in text
    assert "| nothing | null |" in text
    assert "--nothing" not in text


# ---- publish ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLISHED)
def test_timm_reads_a_published_folder_as_onepfrac_does(tmp_path: Path, name: str) -> None:
    own, size = write(tmp_path / "weights.safetensors", name), FAMILIES[name][0]
    out = publish.publish(tmp_path / "weights.safetensors", tmp_path / "out")
    assert {path.name for path in out.iterdir()} == set(publish.PUBLISHED)
    theirs, ours = timm.create_model(f"local-dir:{out}", pretrained=True), onepfrac.load_pretrained(out)
    assert torch.equal(outputs(theirs, size), outputs(own, size))
    assert torch.equal(outputs(ours, size), outputs(own, size))
    for count in (7, 0):
        fresh = timm.create_model(f"local-dir:{out}", pretrained=True, num_classes=count)
        shape, body = outputs(fresh, size).shape, onepfrac.load_pretrained(out, count).state_dict()
        assert shape == (2, count or own.head_hidden_size)
        heads = tuple(f"{head}." for head in models.classifier_names(own))
        state = fresh.state_dict()
        assert all(torch.equal(state[key], value) for key, value in body.items() if not key.startswith(heads))
    config = timm.data.resolve_data_config(model=theirs)
    assert (list(config["mean"]), list(config["std"]), config["crop_pct"]) == ([0.5] * 3, [0.5] * 3, 1.0)
    assert (list(config["input_size"]), config["interpolation"]) == ([3, size, size], "bicubic")


def test_a_published_folder_holds_card_recipe_and_checksum(run: Path, tmp_path: Path) -> None:
    out = publish.publish(run, tmp_path / "deep" / "out")
    assert onepfrac.load_recipe(out / "recipe.json") == weights.recipe_of_weights(out)
    info = checkpoint.read_info(out / "model.safetensors")
    tensors = load_file(out / "model.safetensors")
    assert info["sha256"] == digest.digest(tensors) == digest.digest(load_file(run / "weights.safetensors"))
    assert (out / "README.md").read_text() == card.card_of(out)
    assert info["sha256"] in card.card_of(out)
    config = files.read_json_object(out / "config.json")
    assert (config["architecture"], config["num_classes"], config["num_features"]) == (VIT, 4, 16)
    assert config["model_args"] == options.model_arguments(RUN["model_arg"]) | {"img_size": 16}
    again = publish.publish(out, tmp_path / "again")
    texts = set(publish.PUBLISHED) - {"model.safetensors"}  # whose header has no fixed order
    assert all((again / name).read_text() == (out / name).read_text() for name in texts)
    assert checkpoint.read_info(again / "model.safetensors") == info


def test_an_altered_published_file_is_refused(run: Path, tmp_path: Path) -> None:
    out = publish.publish(run, tmp_path / "out")
    data = bytearray((out / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (out / "model.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match=r"model\.safetensors was altered"):
        onepfrac.load_pretrained(out)


def test_folders_of_this_machine_stay_here(run: Path, tuned: Path, tmp_path: Path) -> None:
    publish.publish(tuned, tmp_path / "a", "other")
    publish.publish(run, tmp_path / "b")
    for name in ("a", "b"):
        for path in (tmp_path / name).iterdir():
            assert str(run.parent).encode() not in path.read_bytes()
            assert str(tuned.parent).encode() not in path.read_bytes()
    assert checkpoint.read_info(tmp_path / "a" / "model.safetensors")["settings"]["weights"] == "weights.safetensors"
    assert {path.name for path in (tmp_path / "a").iterdir()} == set(publish.PUBLISHED) - {"recipe.json"}
    theirs = timm.create_model(f"local-dir:{tmp_path / 'a'}", pretrained=True)
    assert list(theirs.pretrained_cfg["label_names"]) == ["dark | night", "light"]
    assert torch.equal(outputs(theirs), outputs(onepfrac.load_pretrained(tuned)))


def test_a_licence_must_be_given_where_photographs_went_in(tuned: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"license must be given for .* into which photographs went"):
        publish.publish(tuned, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    out = publish.publish(tuned, tmp_path / "out", "cc-by-4.0")
    assert "license: cc-by-4.0" in (out / "README.md").read_text()
    assert files.read_json_object(out / "config.json")["pretrained_cfg"]["license"] == "cc-by-4.0"  # type: ignore[index]


def test_what_is_there_is_not_written_over_unasked(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("old")
    with pytest.raises(ValueError, match=r"out must not be there yet, .* give --overwrite to replace it"):
        publish.publish(run, out)
    (out / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"replaced only if nothing else lies there, but there is notes\.txt"):
        publish.publish(run, out, overwrite=True)
    assert (out / "config.json").read_text() == "old"
    (out / "notes.txt").unlink()
    publish.publish(run, out, overwrite=True)
    assert {path.name for path in out.iterdir()} == set(publish.PUBLISHED)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_out_must_name_a_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("file", "link"):
        with pytest.raises(ValueError, match="out must name a folder, got the file"):
            publish.publish(run, tmp_path / name, overwrite=True)
    for name in ("", "."):
        with pytest.raises(ValueError, match=r"out must name a folder, got '\.'"):
            publish.publish(run, name)


@pytest.mark.parametrize("failing", ["write", "rename", "exchange"])
@pytest.mark.parametrize("there", [False, True])
def test_a_failure_leaves_what_was_there(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str, there: bool
) -> None:
    out, replace = tmp_path / "out", publish.os.replace  # type: ignore[attr-defined]
    if there:
        out.mkdir()
        (out / "config.json").write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    failed = []

    def rename(source: Path, target: Path) -> None:
        if target == out and not failed:  # what is renamed back then is
            failed.append(source)
            fail()
        replace(source, target)

    with monkeypatch.context() as patch:
        if failing == "write":
            patch.setattr(publish.files, "write_text", fail)
        else:
            patch.setattr(publish.os, "replace", rename)  # type: ignore[attr-defined]
            patch.setattr(publish.files, "exchange", fail if failing == "exchange" else lambda *_: False)
        with pytest.raises(OSError, match="No space left"):
            publish.publish(run, out, overwrite=there)
    assert [path.name for path in tmp_path.iterdir()] == (["out"] if there else [])
    if there:
        assert (out / "config.json").read_text() == "old"


def test_arguments_that_json_cannot_hold_are_refused(tmp_path: Path) -> None:
    arguments = [*pairs_of(FAMILIES["resnet18"][1]), "zero_init_last={1}"]
    write(tmp_path / "weights.safetensors", "resnet18", settings={"model_arg": arguments})
    with pytest.raises(ValueError, match=r"model_arg must hold what JSON can, got .*zero_init_last=\{1\}: Object"):
        publish.publish(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_publishes(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert cli.main(["publish", str(run), "--out", str(out), "--license", "apache-2.0"]) == 0
    said = f"wrote {out}: README.md, config.json, model.safetensors, recipe.json; "
    assert capsys.readouterr().out == f"{said}read README.md, then: hf upload USER/NAME {out}\n"
    assert "license: apache-2.0" in (out / "README.md").read_text()
    assert cli.main(["publish", str(run), "--out", str(out)]) == 2
    assert "onepfrac publish: error: out must not be there yet" in capsys.readouterr().err
    assert cli.main(["publish", str(run), "--out", str(out), "--overwrite"]) == 0
    with pytest.raises(SystemExit):
        cli.main(["publish", "--help"])
    assert "local-dir:FOLDER" in capsys.readouterr().out
