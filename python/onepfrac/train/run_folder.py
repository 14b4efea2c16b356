"""The folder of a run: what lies in it, the log, and the checkpoint to go on from."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import timm
import torch
from torch.utils.tensorboard import SummaryWriter

from onepfrac import __version__, files
from onepfrac.train import checkpoint, options

__all__ = [
    "Log",
    "begin",
    "drop_older_checkpoint",
    "find_checkpoint",
    "read_checkpoint",
    "saved_settings",
    "settle",
    "versions",
    "write_checkpoint",
]

_Settings = TypeVar("_Settings")

# The temporary names of `files.write_bytes` for the files of a run.
_LEFT = re.compile(r"\.(?:\w+(?:-\w+)*\.(?:safetensors|jsonl?|png))\.[0-9a-f]{16}\.tmp")

CHECKPOINT, OLDER, LOG = "checkpoint.safetensors", "checkpoint-before.safetensors", "log.jsonl"
_OWN = (
    OLDER,
    CHECKPOINT,
    LOG,
    "weights.safetensors",
    "weights-*.safetensors",
    "reconstruction.png",
    "tensorboard/events.*",
)


def versions() -> dict[str, str]:
    """Return the versions of what decides a run's arithmetic."""
    return {"onepfrac": __version__, "torch": torch.__version__, "timm": timm.__version__}


def write_checkpoint(
    out: str | os.PathLike[str], tensors: Mapping[str, torch.Tensor], info: Mapping[str, Any], here: bool = True
) -> None:
    """Write the checkpoint of a run as `checkpoint.write` does, and keep the one before it, see `read_checkpoint`."""
    path = Path(out, CHECKPOINT)
    if here and path.exists():
        _keep(path)
    checkpoint.write(path, tensors, info, here)


def _keep(path: Path) -> None:
    """Give a checkpoint the older one's name besides its own, so that there is one of either name at any moment."""
    spare = path.with_name(f".{OLDER}.{secrets.token_hex(8)}.tmp")
    try:
        os.link(path, spare)
    except OSError:  # a file system without links
        os.replace(path, path.with_name(OLDER))
        return
    os.replace(spare, path.with_name(OLDER))
    spare.unlink(missing_ok=True)  # it stays where both names are of one file already


def settle(out: str | os.PathLike[str], start: int) -> None:
    """Remove what killed processes left; if the run goes on from the checkpoint before a damaged one, put it in place.

    ``start`` is the step to go on from.
    """
    folder = Path(out)
    if start and _step_in(folder / CHECKPOINT) != start and (folder / OLDER).exists():
        os.replace(folder / OLDER, folder / CHECKPOINT)
    for name in filter(_LEFT.fullmatch, os.listdir(folder) if folder.is_dir() else ()):
        (folder / name).unlink()


def drop_older_checkpoint(out: str | os.PathLike[str]) -> None:
    """Remove the checkpoint before the last one, of a run that is finished."""
    Path(out, OLDER).unlink(missing_ok=True)


def read_checkpoint(
    out: str | os.PathLike[str], tensors: bool = True
) -> tuple[Path, dict[str, torch.Tensor], dict[str, Any]] | None:
    """Return path, tensors and header of the last checkpoint of a run; None where there is none.

    Where it is damaged the one before it is taken, with a ``RuntimeWarning`` that says what was wrong. Without
    ``tensors`` the header alone is read.

    Raises
    ------
    OSError, ValueError
        If no checkpoint that is there can be read.
    """
    damage: ValueError | None = None
    for path in (Path(out, CHECKPOINT), Path(out, OLDER)):
        if not path.exists():
            continue
        try:
            found = checkpoint.read(path) if tensors else ({}, checkpoint.read_info(path))
        except ValueError as error:
            damage = damage or error
            continue
        if not found[1] and Path(out, OLDER).exists():  # no other program writes into the folder of a run
            damage = damage or ValueError(f"{path} was altered: its header is not that of a checkpoint")
            continue
        if damage is not None:
            step = found[1].get("step")
            warnings.warn(f"{damage}; the one before it, of step {step}, is used", RuntimeWarning, stacklevel=2)
        return path, *found
    if damage is not None:
        raise damage
    return None


def saved_settings(out: str | os.PathLike[str], cls: type[_Settings], kind: str) -> _Settings | None:
    """Return the settings in the header of a run's last checkpoint; None where there is none.

    Raises
    ------
    OSError, ValueError
        If the file cannot be read, or is no checkpoint of this ``kind``.
    """
    found = read_checkpoint(out, tensors=False)
    return None if found is None else _settings_in(found[0], found[2], cls, kind)


def _settings_in(path: Path, info: Mapping[str, Any], cls: type[_Settings], kind: str) -> _Settings:
    if info.get("kind") != kind:
        raise ValueError(f"{path} must be a {kind}, but is {info.get('kind', 'of another program')!r:.80}")
    if not isinstance(info.get("settings"), dict):
        raise ValueError(f"{path} must hold settings, got {info.get('settings')!r:.80}")
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
        If the folder holds a run and neither is wanted, a checkpoint of another run, or broken ones alone.
    """
    out = Path(settings.out)
    if out.exists() and not out.is_dir():
        raise ValueError(f"out must name a folder, got the file {out}")
    if not resume:
        if any((out / name).exists() for name in (CHECKPOINT, OLDER, "weights.safetensors")) and not overwrite:
            raise ValueError(
                f"out: {out} holds a run; give --resume to go on, --overwrite to start anew, or another --out"
            )
        return 0, {}
    found = read_checkpoint(out)
    if found is None:
        return 0, {}
    path, tensors, info = found
    saved = _settings_in(path, info, type(settings), kind)
    for name in sorted({field.name for field in dataclasses.fields(settings)} - free):
        if getattr(saved, name) != getattr(settings, name):
            is_, was = getattr(settings, name), getattr(saved, name)
            raise ValueError(f"{name} must stay {was!r} to go on from {path}, got {is_!r}")
    if info.get("fingerprint") != fingerprint:
        raise ValueError(f"recipe must stay {info.get('fingerprint')} to go on from {path}, got {fingerprint}")
    step = info.get("step")
    if type(step) is not int or not 0 < step <= settings.steps:
        raise ValueError(f"{path} must hold a step in 1..{settings.steps}, got {step!r}")
    return step, tensors


def begin(out: str | os.PathLike[str], start: int, about: Mapping[str, Any]) -> None:
    """Make the folder and write settings.json. Where the run starts anew, remove what an earlier one left."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    if start == 0:
        for old in [found for pattern in _OWN for found in folder.glob(pattern)]:
            old.unlink()
    settle(folder, start)
    files.write_text(folder / "settings.json", json.dumps({**about, "versions": versions()}, indent=2) + "\n")


def _step_in(path: Path) -> object:
    """Return the step of a checkpoint; None where it cannot be read."""
    try:
        return checkpoint.read_info(path).get("step")
    except (OSError, ValueError):
        return None


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
        os.fsync(self._file.fileno())  # the checkpoint of this step must not outlive its line
        for name, value in values.items():
            self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what TensorBoard still holds; once more does nothing."""
        self._file.close()
        self._board.close()


def _lines(path: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a log; a run that was killed may leave part of one at the end."""
    lines = []
    for text in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1] if path.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            break
        if not isinstance(line, dict) or type(line.get("step")) is not int:
            break
        lines.append(line)
    return lines
