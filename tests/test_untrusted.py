"""Files of strangers: recipes, categories, weights, states and photographs that were made to do harm."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from family import SMALL
from programs import run
from promises.tally import tried

import onepfrac
from onepfrac import files

LONGEST_MESSAGE = 3000

# Reads one file a line of the argument and prints by how much memory grew, in MiB, and what came of each.
READER = """
import json, resource, sys, time
import onepfrac
from onepfrac import SingleImage, load_recipe
from onepfrac.train import checkpoint

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

read = {
    "recipe": load_recipe,
    "tensors": checkpoint.read,
    "model": onepfrac.load_pretrained,
    "photo": lambda path: SingleImage.from_photo(path, canny=False, canvas=64),
}
"""


def read_in_child(kind: str, *paths: Path, first: Path | None = None) -> list[tuple[str, float, float, str]]:
    """Read files in a process of its own; return for each the kind of error, MiB of growth, seconds and message.

    ``first`` is a good file of this kind, so that the growth is the bad file's and not that of libraries.
    """
    printed = run(
        f"""
        for path in {[str(path) for path in ([first] if first else []) + list(paths)]}:
            before, start = peak(), time.monotonic()
            try:
                read[{kind!r}](path)
                outcome = ("none", "")
            except Exception as error:
                outcome = (type(error).__name__, str(error))
            print(json.dumps([outcome[0], peak() - before, time.monotonic() - start, outcome[1][:20000]]))
        """,
        before=READER,
    )
    lines = [tuple(json.loads(line)) for line in printed.splitlines()]
    if first is not None:
        assert lines.pop(0)[0] == "none"
    tried(len(lines))
    return lines  # type: ignore[return-value]


def refused(read: Callable[[], object]) -> str:
    """Return the message of the ValueError or TypeError that a call raises, soon."""
    start = time.monotonic()
    with pytest.raises((ValueError, TypeError)) as caught:
        read()
    tried()
    assert time.monotonic() - start < 20
    assert len(str(caught.value)) <= LONGEST_MESSAGE
    return str(caught.value)


# JSON


def as_recipe(**fields: Any) -> str:
    return files.canonical_json({**json.loads(onepfrac.OnePFrac().to_json()), **fields})


MIB = 1024 * 1024
BOMBS = {
    "empty lists": lambda size: '{"format":1,"categories":[' + "[]," * (size // 3) + "[]]}",
    "empty objects": lambda size: '{"format":1,"categories":[' + "{}," * (size // 3) + "{}]}",
    "lists of one": lambda size: '{"format":1,"categories":[' + "[0]," * (size // 4) + "[]]}",
    "short strings": lambda size: '{"format":1,"categories":[' + '"ab",' * (size // 5) + '"a"]}',
    "keys": lambda size: '{"format":1,' + ",".join(f'"{n:x}":0' for n in range(size // 9)) + "}",
    "objects": lambda size: '{"format":1,"categories":[' + '{"a":0},' * (size // 8) + "{}]}",
}


def test_json_takes_no_more_than_ten_times_its_size_and_64_mib(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text(SMALL["OnePFrac"].to_json())
    paths = [tmp_path / f"{name}.json" for name in BOMBS]
    for path in paths:
        path.write_text(BOMBS[path.stem](16 * MIB))
    for error, growth, _, message in read_in_child("recipe", *paths, first=tmp_path / "good.json"):
        assert error == "ValueError"
        assert "json must hold long values" in message
        assert growth < 16 * 10 + 64


def test_long_lists_of_systems_are_far_from_the_bound_of_json() -> None:
    systems = [{"maps": [[[0.5, 0, 0], [0, 0.5, 0.25]]] * 2, "probs": [0.5, 0.5]}] * 80_000
    text = files.canonical_json({"systems": systems})
    with pytest.raises(ValueError, match="must hold long values"):  # numbers without digits, and so no systems
        files.parse_json_object(text, "systems")
    rows = [{"maps": (torch.rand(3, 2, 3, dtype=torch.float64) - 0.5).tolist(), "probs": [1 / 3] * 3}] * 5_000
    assert len(files.parse_json_object(files.canonical_json({"systems": rows}), "systems")["systems"]) == 5_000  # type: ignore[arg-type]


HOSTILE_JSON = {
    "deep lists": "[" * 100_000,
    "a deep field": '{"format":1,"dataset":"OnePFrac","seed":' + "[" * 5000 + "]" * 5000 + "}",
    "deep objects": '{"a":' * 100_000,
    "a number of many digits": '{"format":' + "9" * 1_000_000 + "}",
    "an infinity": '{"format":1e999}',
    "a long key twice": '{"' + "k" * 1_000_000 + '":1,"' + "k" * 1_000_000 + '":2}',
    "a long unknown key": '{"format":1,"dataset":"OnePFrac","' + "k" * 1_000_000 + '":1}',
    "a long format": '{"format":"' + "f" * 1_000_000 + '"}',
    "a long name": '{"format":1,"dataset":"' + "d" * 1_000_000 + '"}',
    "lone surrogates": '{"format":"\\ud800"}',
    "a path for categories": '{"format":1,"dataset":"OFDB","categories":"/etc/passwd"}',
    "10^18 classes": as_recipe(num_classes=10**18),
    "classes of 4000 digits": as_recipe(num_classes=10**4000),
    "10^18 points": as_recipe(points=10**18),
    "a canvas of 10^9": as_recipe(canvas=10**9),
    "a long seed": as_recipe(seed="s" * 1_000_000),
    "a list for a number": as_recipe(delta=[0.0] * 100_000),
    "not UTF-8": "\udcff",
}


@pytest.mark.parametrize("name", HOSTILE_JSON)
def test_hostile_json_is_refused_soon_with_a_short_message(name: str, tmp_path: Path) -> None:
    path = tmp_path / "stranger.json"
    path.write_bytes(HOSTILE_JSON[name].encode("utf-8", "surrogateescape"))
    refused(lambda: onepfrac.load_recipe(path))
    refused(lambda: onepfrac.Categories.load(path))
    refused(lambda: files.parse_json_object(HOSTILE_JSON[name] + "]", "text"))
    for kind in SMALL.values():
        refused(lambda kind=kind: type(kind).from_json(HOSTILE_JSON[name]))  # type: ignore[misc]
