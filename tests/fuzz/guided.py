"""Fuzzing that coverage guides: inputs that reach new code are kept and changed further (libFuzzer, through atheris).

    PYTHONPATH=tests python -m fuzz.guided recipe --runs 100000 --corpus corpus/recipe
    PYTHONPATH=tests python -m fuzz.guided --build build/guided
    PYTHONPATH=build/guided/python:tests python -m fuzz.guided bindings --runs 100000 --corpus corpus/bindings

Targets are the bindings and the readers of recipes, categories, checkpoints and states of streams. An input must be
refused with a ValueError or TypeError, or be read to what is written and read again the same. One that does otherwise
is written to the folder of ``--crashes`` and named. The package's Python is instrumented as it is imported, and its C++
where the extension was built with ``--build``, by GCC: its trace of branches is counted in a table for libFuzzer.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["TARGETS", "build", "main"]

ROOT = Path(__file__).resolve().parents[2]
COUNTERS = 1 << 16
REFUSALS = (TypeError, ValueError)

Target = Callable[[bytes], None]

# GCC calls this at every branch; the table is libFuzzer's to look at.
COVERAGE = f"""
#include <stdint.h>
uint8_t onepfrac_counters[{COUNTERS}];
void __sanitizer_cov_trace_pc(void) {{
    uint64_t place = (uint64_t)(uintptr_t)__builtin_return_address(0) * 0x9E3779B97F4A7C15u;
    ++onepfrac_counters[place >> 48];
}}
void __sanitizer_cov_trace_cmpf(float a, float b) {{ (void)a, (void)b; }}
void __sanitizer_cov_trace_cmpd(double a, double b) {{ (void)a, (void)b; }}
#define COMPARE(name, type)                                        \\
    void (*onepfrac_##name)(type, type);                           \\
    void __sanitizer_cov_trace_##name(type a, type b) {{           \\
        if (onepfrac_##name) onepfrac_##name(a, b);                \\
    }}
COMPARE(cmp1, uint8_t)
COMPARE(cmp2, uint16_t)
COMPARE(cmp4, uint32_t)
COMPARE(cmp8, uint64_t)
COMPARE(const_cmp1, uint8_t)
COMPARE(const_cmp2, uint16_t)
COMPARE(const_cmp4, uint32_t)
COMPARE(const_cmp8, uint64_t)
void (*onepfrac_switch)(uint64_t, uint64_t*);
void __sanitizer_cov_trace_switch(uint64_t value, uint64_t* cases) {{
    if (onepfrac_switch) onepfrac_switch(value, cases);
}}
"""
COVERED = "-fsanitize-coverage=trace-pc,trace-cmp"
COMPARISONS = ("cmp1", "cmp2", "cmp4", "cmp8", "const_cmp1", "const_cmp2", "const_cmp4", "const_cmp8", "switch")


class Choices:
    """Stands in for a NumPy generator: every draw is decided by the bytes of an input, by zeros where they end.

    Single numbers, which decide what is called and how it is spoiled, are read from the first byte on; arrays from the
    last byte back, so that however large they are a decision stays at its byte.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self._end = len(data)

    def _taken(self, size: int, of_array: bool) -> bytes:
        if of_array:
            piece = self._data[max(self._end - size, 0) : max(self._end, 0)]
            self._end -= size
        else:
            piece = self._data[self._place : self._place + size]
            self._place += size
        return piece.ljust(size, b"\0")

    def _number(self, count: int, of_array: bool = False) -> int:
        """Return a number in 0..count-1 from as many bytes as it takes."""
        size = max(1, ((count - 1).bit_length() + 7) // 8)
        return int.from_bytes(self._taken(size, of_array), "little") % count

    def bytes(self, length: int) -> bytes:
        return self._taken(length, True)

    def integers(self, low: int, high: int | None = None, size: Any = None, dtype: Any = None) -> Any:
        low, high = (0, low) if high is None else (low, high)
        if size is None:
            made = low + self._number(int(high) - int(low))
            return made if dtype is None else np.dtype(dtype).type(made)
        return self._array(size, lambda: low + self._number(int(high) - int(low), True), dtype or np.int64)

    def random(self, size: Any = None) -> Any:
        return self.uniform(0.0, 1.0, size)

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        def draw() -> float:
            return low + (high - low) * self._number(1 << 16, size is not None) / (1 << 16)

        return draw() if size is None else self._array(size, draw, np.float64)

    def choice(self, options: Any, size: Any = None) -> Any:
        options = np.asarray(options)
        if size is None:
            return options[self._number(len(options))]
        return options[self._array(size, lambda: self._number(len(options), True), np.int64)]

    @staticmethod
    def _array(size: Any, draw: Callable[[], Any], dtype: Any) -> Any:
        shape = (size,) if isinstance(size, int) or np.ndim(size) == 0 else tuple(size)
        return np.array([draw() for _ in range(int(np.prod(shape)))], dtype).reshape(shape)


def _bindings(folder: Path) -> Target:
    from fuzz.bindings import check

    def run(data: bytes) -> None:
        check(Choices(data))

    return run


def _recipe(folder: Path) -> Target:
    path, again = folder / "recipe.json", folder / "again.json"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        try:
            recipe = onepfrac.load_recipe(path)
        except REFUSALS:
            return
        recipe.save(again)
        read = onepfrac.load_recipe(again)
        assert read == recipe, "a recipe that was written is read as another"
        assert read.fingerprint == recipe.fingerprint

    return run


def _categories(folder: Path) -> Target:
    published, again = folder / "published", folder / "again.json"
    published.mkdir()

    def run(data: bytes) -> None:
        (published / "00000.csv").write_bytes(data)
        try:
            categories = onepfrac.Categories.load(published)
        except REFUSALS:
            return
        categories.save(again)
        read = onepfrac.Categories.load(again)
        assert len(read) == len(categories) == 1
        ours, theirs = read.systems[0], categories.systems[0]
        assert np.array_equal(ours.maps, theirs.maps), "categories that were written are read as others"
        assert np.array_equal(ours.probs, theirs.probs)

    return run


def _checkpoint(folder: Path) -> Target:
    from onepfrac.train import checkpoint, weights

    path, again = folder / "weights.safetensors", folder / "again.safetensors"

    def run(data: bytes) -> None:
        # A whole file; its header; what we keep in the header. Changed bytes of the whole seldom leave a file.
        if data[:1] == b"\2":
            kept = {"format": "pt", "onepfrac": data[1:].decode("utf-8", "replace")}
            entry = {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
            data = b"\1" + json.dumps({"__metadata__": kept, "a": entry}).encode()
        head = len(data[1:]).to_bytes(8, "little")
        path.write_bytes(data[1:] if data[:1] == b"\0" else head + data[1:] + bytes(64))
        with contextlib.suppress(*REFUSALS):
            weights.about_weights(path)
        try:
            tensors, info = checkpoint.read(path)
        except REFUSALS:
            return
        checkpoint.write(again, tensors, {name: value for name, value in info.items() if name != "sha256"})
        read, _ = checkpoint.read(again)
        assert read.keys() == tensors.keys(), "tensors that were written are read under other names"
        for name, tensor in tensors.items():
            assert tensor.shape == read[name].shape
            assert tensor.contiguous().view(torch.uint8).equal(read[name].view(torch.uint8)) or tensor.ndim == 0

    return run


def _state(folder: Path) -> Target:
    stream = onepfrac.OnePFrac(num_classes=4, points=300, canvas=32).stream(batch_size=2, size=32)

    def run(data: bytes) -> None:
        stream.load_state_dict(stream.state_at(2))
        before = stream.state_dict()
        try:
            state = json.loads(data)
        except (ValueError, RecursionError):
            return
        try:
            stream.load_state_dict(state)
        except REFUSALS:
            assert stream.state_dict() == before, "a state that was refused moved the stream"
            return
        assert stream.state_dict() == state, "a state that was taken is not the stream's"

    return run


TARGETS: dict[str, Callable[[Path], Target]] = {
    "bindings": _bindings,
    "recipe": _recipe,
    "categories": _categories,
    "checkpoint": _checkpoint,
    "state": _state,
}


def seeds_of(target: str) -> list[bytes]:
    """Return inputs that are read, to begin with."""
    ifs = onepfrac.sample_ifs(sigma=3.5)
    if target == "recipe":
        from family import SMALL

        return [recipe.to_json().encode() for recipe in SMALL.values()]
    if target == "categories":
        with tempfile.TemporaryDirectory() as folder:
            onepfrac.Categories([ifs]).save(folder)
            return [(Path(folder) / "00000.csv").read_bytes(), b"0.5,0,0,0.5,0,0,0.5\n0.5,0,0,0.5,1,1,0.5\n"]
    if target == "checkpoint":
        from onepfrac.train import checkpoint

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.safetensors"
            info = {"kind": "weights of onepfrac pretrain, format 1", "model": "vit_tiny_patch16_224", "num_classes": 2}
            checkpoint.write(path, {"a": torch.arange(12.0).view(2, 6), "b": torch.ones(2, dtype=torch.int64)}, info)
            whole, kept = path.read_bytes(), json.dumps(info | {"size": 32, "settings": {}, "model_arg": ["depth=1"]})
            return [b"\0" + whole, b"\1" + whole[8:-64], b"\2" + kept.encode()]
    if target == "state":
        stream = onepfrac.OnePFrac(num_classes=4, points=300, canvas=32).stream(batch_size=2, size=32)
        return [json.dumps(stream.state_at(samples)).encode() for samples in (0, 4)]
    return [bytes(64), *(np.random.default_rng(seed).bytes(1024) for seed in range(64))]


def build(folder: Path) -> Path:
    """Build the package in a copy below ``folder`` with counters at every branch of the C++; return where it lies."""
    compiler = shutil.which("gcc")
    if compiler is None:
        raise SystemExit("--build needs GCC")
    folder = folder.resolve()
    for part in ("csrc", "build_support", "python"):
        shutil.copytree(ROOT / part, folder / part, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.so"))
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, folder / name)
    source, counters = folder / "coverage.c", folder / "coverage.o"
    source.write_text(COVERAGE)
    subprocess.run([compiler, "-O2", "-fPIC", "-c", source, "-o", counters], check=True)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {
        "ONEPFRAC_CUDA": "0",
        "CC": compiler,
        "CXXFLAGS": COVERED,  # setuptools of today takes these, older ones those
        "CFLAGS": COVERED,
        "LDFLAGS": str(counters),
    }
    subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], cwd=folder, env=environment, check=True
    )
    return folder / "python"


def _count_native(extension: str) -> int:
    """Let libFuzzer see the counters of an extension that `build` made; return how many there are, 0 without."""
    built = ctypes.CDLL(extension)
    counters = getattr(built, "onepfrac_counters", None)
    if counters is None:
        return 0
    fuzzer = ctypes.CDLL(importlib.import_module("atheris.core_with_libfuzzer").__file__)
    for name in COMPARISONS:  # by pointers: where libFuzzer is among the global symbols atheris takes another core
        theirs = ctypes.cast(fuzzer.__getattr__(f"__sanitizer_cov_trace_{name}"), ctypes.c_void_p).value
        ctypes.c_void_p.in_dll(built, f"onepfrac_{name}").value = theirs
    first = ctypes.addressof(ctypes.c_uint8.from_address(ctypes.cast(counters, ctypes.c_void_p).value or 0))
    fuzzer.__getattr__("__sanitizer_cov_8bit_counters_init")(ctypes.c_void_p(first), ctypes.c_void_p(first + COUNTERS))
    places = (ctypes.c_uint64 * (2 * COUNTERS))(*(x for place in range(COUNTERS) for x in (first + place, 0)))
    _keep.append(places)
    start = ctypes.addressof(places)
    end = ctypes.c_void_p(start + ctypes.sizeof(places))
    fuzzer.__getattr__("__sanitizer_cov_pcs_init")(ctypes.c_void_p(start), end)
    return COUNTERS


_keep: list[object] = []  # what libFuzzer points to
_WORK = "ONEPFRAC_GUIDED_WORK"  # the child's scratch folder


def main() -> None:
    """Fuzz a target until its runs are over."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.guided", description=__doc__.partition("\n")[0])
    parser.add_argument("target", nargs="?", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=10_000, help="inputs to try; default: 10000")
    parser.add_argument("--seed", type=int, default=1, help="of libFuzzer's own draws; default: 1")
    parser.add_argument("--corpus", type=Path, metavar="FOLDER", help="where inputs that reach new code are kept")
    parser.add_argument("--crashes", type=Path, metavar="FOLDER", default=Path("crashes"), help="for what fails")
    parser.add_argument("--build", type=Path, metavar="FOLDER", help="build an instrumented copy there, and end")
    arguments = parser.parse_args()
    if arguments.build is not None:
        print(build(arguments.build))
        return
    if arguments.target is None:
        parser.error("a target must be given: " + ", ".join(TARGETS))
    arguments.crashes.mkdir(parents=True, exist_ok=True)
    if arguments.corpus is not None:
        arguments.corpus.mkdir(parents=True, exist_ok=True)
    if (work := os.environ.get(_WORK)) is not None:
        fuzz(arguments.target, arguments.runs, arguments.seed, arguments.corpus, arguments.crashes, Path(work))
    with tempfile.TemporaryDirectory(prefix="guided-") as folder:
        # libFuzzer ends the process, so that another must remove what it leaves.
        command = [sys.executable, *sys.orig_argv[1:]]
        raise SystemExit(subprocess.run(command, env={**os.environ, _WORK: folder}, check=False).returncode)


def fuzz(target: str, runs: int, seed: int, corpus: Path | None, crashes: Path, place: Path) -> None:
    """Fuzz a target, with scratch files in ``place``; the process ends here, with 0 if nothing failed."""
    global np, torch, onepfrac
    import atheris
    import numpy as np
    import timm  # noqa: F401 - not to be instrumented
    import torch

    with atheris.instrument_imports(include=["onepfrac"], enable_loader_override=False):
        onepfrac = importlib.import_module("onepfrac")
        importlib.import_module("onepfrac.train.weights")
    seeds, work, kept = place / "seeds", place / "work", place / "corpus"
    for new in (seeds, work, kept):
        new.mkdir()
    for number, data in enumerate(seeds_of(target)):
        (seeds / str(number)).write_bytes(data)
    one_input = TARGETS[target](work)
    options = [f"-runs={runs}", f"-seed={seed}", f"-artifact_prefix={crashes}/", "-max_len=4096"]
    options += ["-rss_limit_mb=4096", "-timeout=60", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, str(corpus or kept), str(seeds)], one_input)
    native = _count_native(importlib.import_module("onepfrac._C").__file__ or "")
    print(f"guided: {target}, {native} counters of C++", flush=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
