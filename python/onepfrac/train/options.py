"""Settings as a frozen dataclass: one field is one checked value, one command-line option and one line of help."""

from __future__ import annotations

import argparse
import ast
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_type_hints

from onepfrac.checks import check_choice, check_float, check_int

__all__ = ["add_options", "check", "from_json", "given", "groups", "model_arguments", "setting"]

_Settings = TypeVar("_Settings")

_MAX_PAIR = 2000
# What other options say, and what would have timm look for weights.
_FIXED = frozenset(["num_classes", "img_size", "drop_path_rate", "pretrained", "checkpoint_path", "cache_dir"])
_FIXED |= {"pretrained_cfg", "pretrained_cfg_overlay"}


def setting(
    default: Any,
    text: str,
    *,
    group: str | None = None,
    choices: Sequence[str] | None = None,
    low: float = 0,
    high: float = math.inf,
) -> Any:
    """Return a dataclass field that knows its help text and its legal values.

    Parameters
    ----------
    default
        Its default.
    text
        Its line in ``--help``; the default is added there.
    group
        Title of the group that begins with this field.
    choices
        Legal strings.
    low, high
        Legal numbers, both ends included.
    """
    metadata = {"help": text, "group": group, "choices": choices, "low": low, "high": high}
    return dataclasses.field(default=default, metadata=metadata)


def check(settings: Any) -> None:
    """Check the type and range of every field.

    Raises
    ------
    TypeError, ValueError
        If one is not legal; the message names the field, the value and what is legal.
    """
    hints = get_type_hints(type(settings))
    for field in dataclasses.fields(settings):
        name, value, kind = field.name, getattr(settings, field.name), hints[field.name]
        low, high = field.metadata["low"], field.metadata["high"]
        if kind is int:
            check_int(name, value, int(low), 2**63 if high == math.inf else int(high))
        elif kind is float:
            check_float(name, value, low, high)
        elif field.metadata["choices"]:
            check_choice(name, value, field.metadata["choices"])
        elif kind in (bool, str) and not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, got {value!r} of type {type(value).__name__}")


def groups(cls: type[Any]) -> dict[str, str]:
    """Return the title of the group of each field of ``cls``."""
    title, found = "", {}
    for field in dataclasses.fields(cls):
        title = field.metadata["group"] or title
        found[field.name] = title
    return found


def add_options(parser: argparse.ArgumentParser, cls: type[Any]) -> None:
    """Add one option for each field of the dataclass ``cls``: ``num_classes`` becomes ``--num-classes``.

    An option that is not given leaves no trace in the namespace, so that `given` can tell.
    """
    hints, titles = get_type_hints(cls), groups(cls)
    parts = {title: parser.add_argument_group(title) for title in dict.fromkeys(titles.values())}
    for field in dataclasses.fields(cls):
        kind, default = hints[field.name], field.default
        if isinstance(default, tuple):
            default = " ".join(default)
        shown = ("on" if default else "off") if kind is bool else default if default != "" else "none"
        keywords: dict[str, Any] = {"default": argparse.SUPPRESS}
        keywords["help"] = f"{field.metadata['help']} (default: {shown})".replace("%", "%%")
        if kind is bool:
            keywords["action"] = argparse.BooleanOptionalAction
        elif kind is int or kind is float:
            keywords |= {"type": kind, "metavar": "N" if kind is int else "X"}
        elif field.metadata["choices"]:
            keywords["choices"] = field.metadata["choices"]
        elif kind is str:
            keywords["metavar"] = "TEXT"
        else:  # tuple[str, ...]
            keywords |= {"action": "append", "metavar": "KEY=VALUE"}
        parts[titles[field.name]].add_argument("--" + field.name.replace("_", "-"), **keywords)


def given(namespace: argparse.Namespace, cls: type[Any]) -> dict[str, Any]:
    """Return the fields of ``cls`` that were given on the command line."""
    values = {
        field.name: getattr(namespace, field.name) for field in dataclasses.fields(cls) if field.name in namespace
    }
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def from_json(cls: type[_Settings], values: Mapping[str, Any], name: str) -> _Settings:
    """Make settings from a JSON object in which every field of ``cls`` stands, and no other.

    Raises
    ------
    TypeError, ValueError
        If a field is missing or unknown, or a value is not legal; ``name`` says where they come from.
    """
    fields = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    if odd := fields ^ values.keys():
        raise ValueError(f"{name}: another version wrote it, the settings differ in {', '.join(sorted(odd))}")
    return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def model_arguments(pairs: Sequence[str]) -> dict[str, Any]:
    """Turn ``("embed_dim=96", "act_layer=relu")`` into keyword arguments for ``timm.create_model``.

    Values are Python literals (``96``, ``0.1``, ``(3, 3)``, ``True``); anything else is a string.

    Raises
    ------
    ValueError
        If a pair is malformed, or sets what another option sets.
    """
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not (equals and key.isidentifier()):
            raise ValueError(f"model_arg must look like key=value, got {pair!r:.200}")
        if key in _FIXED:
            raise ValueError(f"model_arg must not set {key}, which follows from other options; got {pair!r:.200}")
        if len(pair) > _MAX_PAIR:  # Python's parser takes memory by the nesting of what it reads
            raise ValueError(f"model_arg must be at most {_MAX_PAIR} characters, got {len(pair)}: {pair!r:.80}")
        try:
            arguments[key] = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):  # no literal, as "{[]}"
            arguments[key] = text
    return arguments
