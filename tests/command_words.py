"""The command-line options that give a training script certain settings."""

from __future__ import annotations

import dataclasses
from typing import Any


def as_options(settings: Any) -> list[str]:
    """Return options for every field of ``settings``, but those that are empty."""
    words: list[str] = []
    for field in dataclasses.fields(settings):
        value, flag = getattr(settings, field.name), "--" + field.name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag.removeprefix("--"))
        elif isinstance(value, tuple):
            words += [f"{flag}={item}" for item in value]
        elif value != "":
            words.append(f"{flag}={value}")
    return words
