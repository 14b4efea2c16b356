"""The folder of a run: what lies in it, the log, and the checkpoint to go on from."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import timm
import torch
from torch.utils.tensorboard import SummaryWriter

from onepfrac import __version__, files
from onepfrac.train import checkpoint, options

__all__ = ["Log", "begin", "find_checkpoint", "saved_settings", "versions"]

_Settings = TypeVar("_Settings")

CHECKPOINT, LOG = "checkpoint.safetensors", "log.jsonl"
_OWN = (CHECKPOINT, LOG, "weights.safetensors", "weights-*.safetensors", "reconstruction.png", "tensorboard/events.*")


def versions() -> dict[str, str]:
    """Return the versions of what decides a run's arithmetic."""
    return {"onepfrac": __version__, "torch": torch.__version__, "timm": timm.__version__}


def saved_settings(path: Path, cls: type[_Settings], kind: str) -> _Settings:
    """Return the settings in the header of a checkpoint.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or is no checkpoint of this ``kind``.
    """
    info = checkpoint.read_info(path)
    if info.get("kind") != kind:
        raise ValueError(f"{path} must be a {kind}, but is {info.get('kind', 'of another program')!r}")
    return options.from_json(cls, info["settings"], str(path))


def find_checkpoint(
    settings: Any, kind: str, free: set[str], fingerprint: str, *, resume: bool, overwrite: bool
) -> tuple[int, dict[str, torch.Tensor]]:
    """Return step and tensors of the checkpoint to go on from, or 0 and nothing; refuse what does not belong here.

    Parameters
    ----------
    settings
        The run's settings, with the fields ``out`` and ``steps``.
    kind
        What the checkpoint calls itself.
    free
        Names of the settings that may differ from the checkpoint's.
    fingerprint
        The recipe's.
    resume, overwrite
        What the user wants of a folder that holds a run.

    Raises
    ------
    OSError, ValueError
        If the folder holds a run and neither is wanted, or a checkpoint of another run or a broken one.
    """
    out = Path(settings.out)
    path = out / CHECKPOINT
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must name a folder, got the file {out}")
    if not resume:
        if (path.exists() or (out / "weights.safetensors").exists()) and not overwrite:
            raise ValueError(
                f"out: {out} holds a run; give --resume to go on, --overwrite to start anew, or another --out"
            )
        return 0, {}
    if not path.exists():
        return 0, {}
    saved = saved_settings(path, type(settings), kind)
    for name in sorted({field.name for field in dataclasses.fields(settings)} - free):
        if getattr(saved, name) != getattr(settings, name):
            is_, was = getattr(settings, name), getattr(saved, name)
            raise ValueError(f"{name} must stay {was!r} to go on from {path}, got {is_!r}")
    tensors, info = checkpoint.read(path)
    if info.get("fingerprint") != fingerprint:
        raise ValueError(f"recipe must stay {info.get('fingerprint')} to go on from {path}, got {fingerprint}")
    step = info.get("step")
    if not isinstance(step, int) or not 0 < step <= settings.steps:
        raise ValueError(f"{path} must hold a step in 1..{settings.steps}, got {step!r}")
    return step, tensors


def begin(out: str | os.PathLike[str], start: int, about: Mapping[str, Any]) -> None:
    """Make the folder and write settings.json. Where the run starts anew, remove what an earlier one left."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if start == 0:
        for old in [found for pattern in _OWN for found in folder.glob(pattern)]:
            old.unlink()
    files.write_text(folder / "settings.json", json.dumps({**about, "versions": versions()}, indent=2) + "\n")


class Log:
    """Named numbers by step: for TensorBoard, and as JSON lines ``{"step": 50, "train/loss": 6.9, ...}``.

    A run that goes on after ``start`` steps replaces what was logged later than that.
    """

    def __init__(self, out: str | os.PathLike[str], start: int) -> None:
        path = Path(out, LOG)
        kept = [line for line in _lines(path) if line["step"] <= start]
        files.write_text(path, "".join(json.dumps(line) + "\n" for line in kept))
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - until `close`
        self._board = SummaryWriter(str(Path(out, "tensorboard")), purge_step=start + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Add the values of a step."""
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what TensorBoard still holds; once more does nothing."""
        self._file.close()
        self._board.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a log; a run that was killed may leave part of one at the end."""
    lines = []
    for text in path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []:
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines
