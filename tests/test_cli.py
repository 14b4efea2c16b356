"""The command line: what each command writes and prints, and its errors in one line."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import onepfrac
from onepfrac import cli, contact_sheet
from onepfrac.train import finetune, machine, pretrain, probe

RUN = ["--steps=4", "--warmup=1", "--log-every=2", "--sheet=0", "--batch-size=4", "--device=cpu", "--size=16"]
RUN += ["--num-classes=4", "--points=300", "--canvas=16", "--pad=1", "--model-arg=patch_size=8"]
RUN += ["--model-arg=embed_dim=16", "--model-arg=depth=1", "--model-arg=num_heads=2"]


def error_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line that a refused command prints."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith(f"onepfrac {arguments[0]}: error: ")
    return lines[0]


def help_of(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main([*arguments, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


# ---- the program -----------------------------------------------------------------------------------------------------


def test_version_and_module_entry() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "onepfrac", "--version"], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == ["onepfrac", onepfrac.__version__]


def test_help_lists_all_commands_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of([], capsys)
    for command in ("info", "bench", "grid", "export", "pretrain", "finetune"):
        assert f"\n    {command} " in text
        assert f"onepfrac {command}" in text


@pytest.mark.parametrize("arguments", [[], ["paint"], ["info", "--colour"], ["pretrain", "--steps", "many"]])
def test_a_malformed_command_line_is_refused_with_its_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: onepfrac" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "cls"), [("pretrain", pretrain.Settings), ("finetune", finetune.Settings), ("probe", probe.Settings)]
)
def test_help_shows_every_setting_with_its_default(name: str, cls: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(help_of([name], capsys).split())  # lines are broken at hyphens too
    for field in dataclasses.fields(cls):
        assert f"--{field.name.replace('_', '-')}" in text
        if isinstance(field.default, (int, float)) and not isinstance(field.default, bool):
            assert f"{field.metadata['help']}(default:{field.default})".replace(" ", "") in text
    assert "examples:" in text


@pytest.mark.parametrize(("name", "presets"), [("pretrain", pretrain.PRESETS), ("finetune", finetune.PRESETS)])
def test_help_says_what_the_presets_set(name: str, presets: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(help_of([name], capsys).split())
    for values in presets.values():
        for field, value in values.items():
            assert f"{field} {' '.join(value) if isinstance(value, tuple) else value}" in text


def test_heavy_libraries_are_not_imported_for_a_light_command() -> None:
    code = (
        "import sys; from onepfrac import cli; cli.main(['info']); "
        "heavy = {'timm', 'torchvision', 'PIL', 'tensorboard'} & set(sys.modules); sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_traceback_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEPFRAC_TRACEBACK", "1")
    with pytest.raises(ValueError, match="seconds must be"):
        cli.main(["bench", "--seconds=0"])


def test_ctrl_c_outside_a_training_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("onepfrac.bench.render", interrupt)
    assert cli.main(["bench", "--device=cpu"]) == 130
    assert "interrupted" in capsys.readouterr().err


# ---- info ------------------------------------------------------------------------------------------------------------


def test_info_tells_versions_and_paths(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ONEPFRAC_SIMD", "scalar")
    assert cli.main(["info"]) == 0
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    lines = {name.strip(): value.strip() for name, value in lines.items()}
    assert lines["onepfrac"] == f"{onepfrac.__version__}, format 1"
    assert lines["torch"] == torch.__version__.split("+")[0] or torch.__version__.startswith(lines["torch"])
    assert lines["SIMD levels"].startswith("scalar")
    assert lines["SIMD levels"].endswith("capped by ONEPFRAC_SIMD=scalar")
    assert "CUDA code for" in lines


def test_info_names_cuda_devices(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from onepfrac import _C

    monkeypatch.setattr(_C, "cuda_device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    assert cli.main(["info"]) == 0
    assert "card 0" in capsys.readouterr().out


def test_a_missing_package_is_named_as_such() -> None:
    assert cli._installed("no-such-package-anywhere") == "not installed"


# ---- bench -----------------------------------------------------------------------------------------------------------


def test_bench_prints_a_row_for_each_work_and_thread_count_and_writes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bench.json"
    assert cli.main(["bench", "--seconds=0.01", "--device=cpu", f"--json={path}"]) == 0
    printed = capsys.readouterr().out.splitlines()[1:]
    rows = json.loads(path.read_text())["rows"]
    assert len(printed) == len(rows) == (8 if torch.get_num_threads() > 1 else 4)
    streams = {f"stream 224, deit, {draws} draws" for draws in ("fixed", "fresh")}
    assert {row["what"] for row in rows} == {"render 224, point", "render 512, patch"} | streams
    for line, row in zip(printed, rows, strict=True):
        assert row["images_a_second"] > 10
        assert row["calls"] >= 3
        assert line.endswith(f"{row['what']}, {row['where']}")


def test_bench_leaves_torchs_threads_as_they_were_and_refuses_what_is_not_there() -> None:
    before = torch.get_num_threads()
    assert cli.main(["bench", "--seconds=0.01", "--device=cpu"]) == 0
    assert torch.get_num_threads() == before
    assert cli.main(["bench", "--device=tpu"]) == 2
    assert cli.main(["bench", "--seconds=nan"]) == 2


# ---- grid ------------------------------------------------------------------------------------------------------------

SMALL = ["--canvas=32", "--pad=2", "--points=500", "--num-classes=6", "--tile=32"]


def test_grid_writes_a_sheet_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheet.png"
    assert cli.main(["grid", f"--out={out}", "--classes=4", "--sigma=3.2", "--seed=5", *SMALL]) == 0
    with Image.open(out) as page:
        assert f"{page.width} x {page.height} pixels" in capsys.readouterr().out
        first = np.asarray(page).copy()
    recipe = onepfrac.OnePFrac(3.2, canvas=32, pad=2, points=500, num_classes=6, seed=5)
    recipe.save(tmp_path / "recipe.json")
    assert cli.main(["grid", f"--out={out}", "--classes=4", f"--recipe={tmp_path / 'recipe.json'}", "--tile=32"]) == 0
    with Image.open(out) as page:
        assert np.array_equal(np.asarray(page), first)


def test_grid_shows_the_recipe_of_any_dataset(tmp_path: Path) -> None:
    found = onepfrac.Categories([onepfrac.sample_ifs(seed=seed) for seed in range(3)])
    for recipe in (onepfrac.FractalDB(3, categories=found, canvas=32), onepfrac.OFDB(3, categories=found, canvas=32)):
        recipe.save(tmp_path / "recipe.json")
        out = tmp_path / f"{recipe.dataset}.png"
        assert cli.main(["grid", f"--out={out}", f"--recipe={tmp_path / 'recipe.json'}", "--tile=32"]) == 0
        with Image.open(out) as page:
            assert np.array_equal(np.asarray(page), np.asarray(contact_sheet.classes(recipe, tile=32)))


def test_grid_takes_a_dataset_by_its_name_and_fields(tmp_path: Path) -> None:
    out = tmp_path / "noise.png"
    assert cli.main(["grid", f"--out={out}", "--recipe=Noise:num_classes=3,canvas=32", "--tile=32"]) == 0
    with Image.open(out) as page:
        shown = contact_sheet.classes(onepfrac.Noise(num_classes=3, canvas=32), tile=32)
        assert np.array_equal(np.asarray(page), np.asarray(shown))


def test_grid_writes_a_table_of_sigma_against_delta(tmp_path: Path) -> None:
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    for out, deltas in ((one, ["0.1"]), (two, ["0.1", "0.5"])):
        assert cli.main(["grid", f"--out={out}", "--sigma", "3", "4", "--delta", *deltas, *SMALL, "--classes=1"]) == 0
    with Image.open(one) as narrow, Image.open(two) as wide:
        assert narrow.width < wide.width


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sigma", "9"], "sigma must be"),
        (["--delta", "nan"], "delta must be"),
        (["--brush", "spray"], "brush must be one of"),
        (["--classes", "0"], "count must be"),
        (["--out", "sheet.jpg"], "must end in .png"),
        (["--recipe", "absent.json"], "absent.json"),
        (["--recipe", "x.json", "--sigma", "3"], "recipe x.json already says sigma"),
        (["--tile", "5"], "tile must be"),
    ],
)
def test_grid_refuses_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    small = [] if "--recipe" in arguments else ["--canvas=32", "--pad=2", "--points=500", "--num-classes=2"]
    assert words in error_of(["grid", *small, *arguments], capsys)
    assert not list(tmp_path.iterdir())


# ---- pretrain and finetune -------------------------------------------------------------------------------------------


def test_pretrain_trains_resumes_and_says_when_all_is_done(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    assert cli.main(["pretrain", *RUN, *out, "--minutes=1e-9"]) == 0
    text = capsys.readouterr().out
    assert "by chance: loss 1.386, accuracy 25.00%" in text
    assert f"stopped at step 1 of 4; to go on: onepfrac pretrain --resume --out {tmp_path / 'run'}" in text
    assert cli.main(["pretrain", "--resume", *out]) == 0
    text = capsys.readouterr().out
    assert "end:   loss" in text
    assert "waiting for data" in text
    assert f"wrote {tmp_path / 'run' / 'weights.safetensors'}" in text
    assert cli.main(["pretrain", "--resume", *out]) == 0
    assert "is finished, all 4 steps" in capsys.readouterr().out
    assert "holds a run; give --resume" in error_of(["pretrain", *RUN, *out], capsys)


def test_the_paper_preset_trains_with_the_papers_augmentation(tmp_path: Path) -> None:
    assert cli.main(["pretrain", "--preset=paper", *RUN, f"--out={tmp_path / 'run'}"]) == 0
    about = json.loads((tmp_path / "run" / "settings.json").read_text())["settings"]
    assert (about["augment"], about["crop"], about["steps"], about["lr"]) == ("deit", True, 4, 1e-3)


def test_a_signal_shows_in_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = machine.seed_step

    def terminated(seed: int, index: int) -> None:
        plain(seed, index)
        if index == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(machine, "seed_step", terminated)
    assert cli.main(["pretrain", *RUN, f"--out={tmp_path / 'run'}"]) == 143
    assert "stopped at step 2 of 4" in capsys.readouterr().out
    assert (tmp_path / "run" / "checkpoint.safetensors").exists()


def test_other_ranks_are_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done = pretrain.Outcome(4, True, 0, 1.0, 0.5, 1.0, 0.5, 1.0, 1.0, 0.0, tmp_path)
    monkeypatch.setattr(pretrain, "pretrain", lambda settings: done)
    monkeypatch.setenv("RANK", "1")
    assert cli.main(["pretrain", "--preset=paper"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lr=-1"], "lr must be"),
        (["--threads=2000"], "threads must be an integer in 1..1024, got 2000"),
        (["--model=nobody"], "model must be one of timm's"),
        (["--model-arg=heads:3"], "model_arg must look like key=value"),
        (["--device=cuda:77"], "device must be one of this machine's"),
        (["--recipe=absent.json"], "already says canvas, num_classes, pad, points"),
        (["--lr=1e30", "--warmup=0"], "the loss is"),
    ],
)
def test_pretrain_refuses_in_one_line(
    tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in error_of(["pretrain", *RUN, f"--out={tmp_path / 'run'}", *arguments], capsys)


def test_a_run_that_fails_closes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        words = ["pretrain", *RUN, f"--out={tmp_path / 'run'}", "--lr=1e30", "--warmup=0"]
        assert "the loss is" in error_of(words, capsys)
        gc.collect()
    assert [str(one.message) for one in said if str(tmp_path) in str(one.message)] == []


def test_finetune_takes_what_pretrain_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "val"):
        for name in ("dark", "light"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(4):
                gray = np.full((16, 16, 3), 40 + number if name == "dark" else 200 + number, np.uint8)
                Image.fromarray(gray).save(tmp_path / split / name / f"{number}.png")
    assert cli.main(["pretrain", *RUN, f"--out={tmp_path / 'run'}"]) == 0
    words = [f"--data={tmp_path}", f"--out={tmp_path / 'tuned'}", "--device=cpu"]
    words += ["--epochs=2", "--batch-size=4", f"--weights={tmp_path / 'run' / 'weights.safetensors'}"]
    assert cli.main(["finetune", *words]) == 0
    assert "after 4 steps" in capsys.readouterr().out
    assert json.loads((tmp_path / "tuned" / "result.json").read_text())["size"] == 16
    assert "holds a result" in error_of(["finetune", *words], capsys)
    assert "model must be given" in error_of(["finetune", "--data=x"], capsys)
