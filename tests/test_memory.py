"""Memory: no growth without end, bounds on the peak, and an allocation that fails leaves all usable."""

from __future__ import annotations

import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import run
from promises.tally import tried

import onepfrac
from onepfrac import rendering

MIB = 2**20

# What the programs below share: the resident memory, its peak, and small pictures that must stay the same.
PREAMBLE = """
import gc, json, os, sys
from pathlib import Path
import numpy as np, torch, onepfrac
from onepfrac import rendering

MIB = 2**20
torch.set_num_threads(2)

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def of_status(name):
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

ifs = onepfrac.sample_ifs(sigma=3.5, seed=3)
maps = np.repeat(ifs.maps[None], 8, 0)
small = lambda: onepfrac.render(maps, points=3000, size=64, threads=2)
expected = small()
"""


# --- growth


@pytest.mark.parametrize("kind", ["fixed", "fresh", "one thread", "colour"])
def test_an_endless_stream_does_not_grow(
    kind: str, request: pytest.FixtureRequest, record_property: pytest.RecordProperty
) -> None:
    images = 1_000_000 if request.config.getoption("--nightly") else 64_000
    code = f"""
        of_kind = {{
            "fixed": (onepfrac.OnePFrac(num_classes=64, points=1000, canvas=32), dict(augment="deit")),
            "fresh": (onepfrac.OnePFrac(num_classes=64, points=1000, canvas=32), dict(augment="deit", draws="fresh")),
            "one thread": (onepfrac.Noise(num_classes=16, canvas=32), dict(augment="crop-flip", threads=1)),
            "colour": (onepfrac.FractalScenes(num_classes=16, points=1000, canvas=32), dict(augment=None)),
        }}
        recipe, settings = of_kind[{kind!r}]
        stream = iter(recipe.stream(batch_size=64, size=32, **settings))
        batches, seen = {images} // 64, []
        for number in range(batches):
            next(stream)
            # By the half every cache is full; the first of three makes room for the lists of this very test.
            if number in (batches // 2 - 1, batches // 2, batches - 1):
                gc.collect()
                seen.append(np.array([resident(), len(gc.get_objects()), len(os.listdir("/proc/self/fd"))]))
        grown = seen[2] - seen[1]
        print(json.dumps([float(grown[0] / ({images} / 2)), int(grown[1]), int(grown[2])]))
    """
    slope, objects, files = json.loads(run(code, before=PREAMBLE, timeout=7200))
    tried(images)
    record_property("bytes an image", slope)
    # Pages come and go by the MiB, whatever the number of images: over fewer, one step is more than the bound.
    assert slope < (4 if images >= 100_000 else 64), f"{slope} bytes an image"
    assert objects <= 8  # the lists of this test
    assert files == 0


# --- the peak


@pytest.mark.parametrize(
    ("name", "call", "most"),
    [
        ("binary images", "onepfrac.render(many, points=100_000, size=224, threads=2)", 64),
        ("the largest canvas", "onepfrac.render(maps[:2], points=300_000, size=4096, threads=2)", 64),
        ("points without a buffer", "onepfrac.render(maps[:2], points=2_000_000, size=512, threads=2)", 64),
        ("densities", 'rendering.density(many, points=100_000, size=512, brush="point", threads=2)', 64),
        ("pictures", "next(iter(stream))", 64),
    ],
)
def test_the_memory_beside_the_output_is_bounded(name: str, call: str, most: int) -> None:
    code = f"""
        many = np.repeat(maps, 16, 0)
        recipe = onepfrac.OnePFrac(num_classes=64)
        stream = recipe.stream(batch_size=64, size=224, augment="deit", draws="fresh", threads=2)
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = resident()
        out = {call}
        out = out[0] if isinstance(out, tuple) else out
        print((of_status("VmHWM") - before - out.numel() * out.element_size()) / MIB)
    """
    assert float(run(code, before=PREAMBLE)) < most, name


# --- allocations that fail


def test_where_memory_ends_calls_raise_memory_error_and_all_goes_on() -> None:
    code = """
        import resource
        calls = {
            "render": lambda: onepfrac.render(maps, points=1000, size=4096, dtype=torch.float32),
            "density": lambda: rendering.density(maps, points=1000, size=4096, brush="point"),
            "expand": lambda: rendering.expand(canvases, np.zeros(512, np.int64), size=1024),
            "picture": lambda: onepfrac.picture(canvas, np.repeat(np.eye(3)[None, :2] * 0.5, 2000, 0), size=512),
            "stream": lambda: next(iter(stream)),
            "canvases": lambda: next(iter(keeping)),
            "atoms": lambda: next(iter(atoms)),
            "scenes": lambda: next(iter(scenes)),
            "noise": lambda: next(iter(noise)),
            "images": lambda: onepfrac.render(np.repeat(maps, 10_000_000 // 8, 0), points=1, size=8),
        }
        canvases = onepfrac.render(maps[:1], points=1000, size=1024, dtype=torch.int32)
        canvas = onepfrac.render(maps[:1], points=1000, size=64)
        recipe = onepfrac.OnePFrac(num_classes=8, points=5000, canvas=64)
        stream = recipe.stream(batch_size=1024, size=224, augment=None)
        of_many = onepfrac.OnePFrac(num_classes=20_000, points=50_000, canvas=256)
        keeping = of_many.stream(batch_size=8, size=32, augment=None, cache=2**40)
        atoms = onepfrac.VisualAtoms(num_classes=8).stream(batch_size=2048, size=32, augment=None)
        scenes = onepfrac.FractalScenes(num_classes=4, canvas=512).stream(batch_size=1024, size=32, augment=None)
        noise = onepfrac.Noise(num_classes=4).stream(batch_size=2048, size=224, augment=None)
        states = [s.state_dict() for s in (stream, keeping, atoms, scenes, noise)]
        torch.ones(2**22).exp().sum()  # torch's own threads: where OpenMP cannot start them it ends the process
        limit = of_status("VmSize") + 96 * MIB
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
        for name, call in calls.items():
            try:
                call()
                print(name, "went through")
            except MemoryError as error:
                print(name, "MemoryError")
            except BaseException as error:
                print(name, type(error).__name__, str(error)[:200])
            assert torch.equal(small(), expected), name
        assert states == [s.state_dict() for s in (stream, keeping, atoms, scenes, noise)]
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.getrlimit(resource.RLIMIT_AS)[1]))
        print(len(next(iter(stream))[0]))
    """
    *lines, after = run(code, before=PREAMBLE).splitlines()
    assert [line for line in lines if not line.endswith(" MemoryError")] == []
    assert len(lines) == 10
    tried(len(lines))
    assert after == "1024"


# Lets the calls of malloc and its relatives for 64 KiB or more fail from a given one on, for as long as it is told.
FAILING_MALLOC = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_memalign(size_t, size_t);
static atomic_long left = -1; /* calls until one fails; below zero none does */
void fail_after(long calls) { atomic_store(&left, calls); }
static int fails(size_t size) {
    if (size < 65536 || atomic_load(&left) < 0) return 0;
    return atomic_fetch_sub(&left, 1) == 0;
}
void *malloc(size_t size) { return fails(size) ? (errno = ENOMEM, (void *)0) : __libc_malloc(size); }
void *calloc(size_t n, size_t size) { return fails(n * size) ? (errno = ENOMEM, (void *)0) : __libc_calloc(n, size); }
void *memalign(size_t a, size_t size) { return fails(size) ? (errno = ENOMEM, (void *)0) : __libc_memalign(a, size); }
void *aligned_alloc(size_t a, size_t size) { return memalign(a, size); }
int posix_memalign(void **out, size_t a, size_t size) {
    void *made = memalign(a, size);
    if (made == 0) return ENOMEM;
    *out = made;
    return 0;
}
"""


def test_whichever_allocation_fails_the_call_raises_memory_error_and_the_next_one_is_right(tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if (
        compiler is None
        or sysconfig.get_config_var("SOABI") is None
        or "linux-gnu" not in sysconfig.get_config_var("SOABI")
    ):
        pytest.skip("needs a C compiler and glibc to make allocations fail")
    source, library = tmp_path / "failing.c", tmp_path / "failing.so"
    source.write_text(FAILING_MALLOC)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source], check=True)
    code = """
        import ctypes, threading
        fail_after = ctypes.CDLL(os.environ["LD_PRELOAD"]).fail_after
        fail_after.argtypes = [ctypes.c_long]
        recipe = onepfrac.OnePFrac(num_classes=8, points=3000, canvas=256)
        settings = [(dict(augment="deit"), 64), (dict(augment=None, draws="fresh"), 256)]
        calls = [
            lambda: onepfrac.render(maps, points=50_000, size=512, threads=2),
            lambda: onepfrac.render(maps, points=50_000, size=512, threads=1, dtype=torch.float16),
            lambda: rendering.density(maps, points=50_000, size=512, brush="fill", dtype=torch.uint8, threads=2),
            *(lambda set=set, size=size: next(iter(recipe.stream(batch_size=8, size=size, threads=2, **set)))[0]
              for set, size in settings),
            lambda: next(iter(onepfrac.VisualAtoms(num_classes=8, canvas=512).stream(batch_size=8, size=64)))[0],
            lambda: next(iter(onepfrac.FractalScenes(num_classes=8, canvas=256).stream(batch_size=8, size=64)))[0],
        ]
        failed = 0
        for number, call in enumerate(calls):
            results = []
            # On a thread of its own each time, whose working memory is not there yet.
            def attempt(call=call):
                try:
                    results.append(call())
                except BaseException as error:
                    results.append(error)
            def on_new_thread():
                thread = threading.Thread(target=attempt)
                thread.start()
                thread.join()
                return results.pop()
            right = on_new_thread()
            assert torch.is_tensor(right), right
            for fail in range(200):
                fail_after(fail)
                got = on_new_thread()
                fail_after(-1)
                if torch.is_tensor(got):
                    assert torch.equal(got, right), (number, fail)
                    break
                assert isinstance(got, MemoryError), (number, fail, repr(got))
                failed += 1
                assert torch.equal(on_new_thread(), right), (number, fail)
            else:
                raise AssertionError("no end")
        print(failed)
    """
    failed = int(run(code, before=PREAMBLE, LD_PRELOAD=str(library)))
    assert failed >= 10
    tried(failed)


def test_a_batch_beyond_any_memory_is_a_memory_error_with_its_size() -> None:
    maps = np.full((2_000_000, 1, 2, 3), 0.3, np.float32)
    with pytest.raises(MemoryError, match="134217728000000 bytes"):
        onepfrac.render(maps, [1], size=4096, dtype=torch.float32)


@pytest.mark.gpu
def test_a_gpu_without_memory_raises_torchs_own_error_and_goes_on() -> None:
    maps = np.repeat(onepfrac.sample_ifs(sigma=3.5, seed=3).maps[None], 8, 0)
    free = torch.cuda.mem_get_info()[0]
    images = int(free // (4 * 4096 * 4096)) + 8
    packed = onepfrac.pack(np.repeat(maps, images // 8 + 1, 0), device="cuda")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        onepfrac.render(packed, points=1000, size=4096, dtype=torch.float32)
    after = rendering.render(maps, points=3000, size=64, device="cuda").cpu()
    assert torch.equal(after, onepfrac.render(maps, points=3000, size=64))
