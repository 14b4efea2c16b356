"""The benchmarks run, and loose ratios hold: never absolute times, which belong to a machine."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


def smoke(name: str) -> str:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "--smoke", name], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_renderer_is_several_times_as_fast_as_numba() -> None:
    pytest.importorskip("numba")
    text = smoke("render")
    row = next(line for line in text.splitlines() if "equal probabilities" in line and " 224 " in line)
    best = float(re.search(r"Numba, plain +[\d.]+ \( *([\d.]+)x", row)[1])  # type: ignore[index]
    # A vector unit makes 20 to 40 on an idle machine; the scalar path draws a little faster than Numba.
    assert best > (8 if "AVX" in text else 0.7), row


def test_time_grows_with_points_and_images_and_not_faster() -> None:
    least = {"points": [math.inf, math.inf], "batch": [math.inf, math.inf]}
    for _ in range(3):  # what else runs can only lengthen a time
        axes = {line.split()[0]: line for line in smoke("growth").splitlines() if " ms a" in line}
        for axis, times in least.items():
            few, many = (float(value) for value in re.findall(r"\d+: ([\d.]+)", axes[axis]))
            times[:] = min(times[0], few), min(times[1], many)
        if all(few < many < 4 * few for few, many in least.values()):  # twice the points, twice the images
            return
    pytest.fail(str(least))


def test_the_augmented_stream_is_faster_than_png_files_and_pil() -> None:
    text = smoke("stream")
    times = {line[2:42].strip(): float(line[42:50]) for line in text.splitlines() if line.endswith("x")}
    for draws in ("fixed", "fresh"):  # 40 and 20 times on an idle machine with a vector unit
        assert times["PNG and timm, DeiT's recipe"] > 4 * times[f"onepfrac, DeiT's recipe, {draws} draws"], text


def test_every_dataset_is_drawn_far_faster_than_by_the_released_rules() -> None:
    pytest.importorskip("skimage")
    text = smoke("dataset")
    rows = re.findall(r"canvas +([\d.]+), stream +([\d.]+), building +([\d.]+), released +([\d.]+|-);", text)
    assert len(rows) == 7
    compared = [(float(canvas), float(released)) for canvas, *_, released in rows if released != "-"]
    assert len(compared) == 5
    *plain, (scenes, numba) = compared
    assert all(released > 50 * canvas for canvas, released in plain), text  # 500 to 10 000 on an idle machine
    assert numba > scenes, text  # 6


def test_visual_atoms_are_drawn_faster_than_by_pillow() -> None:
    text = smoke("visual_atoms")
    ratios = {line[2:34].strip(): float(line.split()[-1][:-1]) for line in text.splitlines() if line.endswith("x")}
    assert ratios["Pillow, a call a segment, RGB"] > 20, text  # 150 on an idle machine with a vector unit
    assert ratios["Pillow, a call a line, gray"] > 1.5, text  # 11


def test_a_step_on_the_stream_is_timed_beside_one_on_a_constant_batch() -> None:
    assert re.search(r"takes \d+\.\d+x the step on a constant batch", smoke("train"))


def test_the_proof_of_the_camera_trains_all_arms_and_compares_them() -> None:
    script = str(FOLDER / "camera_proof.py")
    done = subprocess.run([sys.executable, script, "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for line in ("onepfrac ", "timm, PIL ", "ours - timm, PIL "):
        assert re.search(rf"^ *{re.escape(line)}.*\d", done.stdout, re.MULTILINE), done.stdout


def test_an_unknown_benchmark_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / "run.py"), "paint"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "NAME must be one of render" in done.stderr


def test_the_line_fit_finds_a_line_and_says_how_far_off_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    from timing import fit_line

    x = [1.0, 2.0, 5.0, 10.0]
    assert np.allclose(fit_line(x, [3 + 2 * v for v in x]), (3, 2, 0), atol=1e-9)
    assert fit_line(x, [5.0, 7.0, 13.0, 46.0])[2] > 0.2
