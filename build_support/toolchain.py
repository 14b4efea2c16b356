"""Which compilers the build uses, and with which flags.

Four environment variables steer the build; a value that is not listed here is an error.

``ONEPFRAC_CUDA``        ``1`` (default) builds the CUDA kernels, ``0`` leaves them out.
``ONEPFRAC_CUDA_ARCHS``  architectures such as ``90`` or ``80,90+PTX``: machine code for each, PTX where asked for.
``ONEPFRAC_WERROR``      ``1`` turns warnings into errors, ``0`` (default) does not.
``ONEPFRAC_SANITIZE``    ``address``, ``undefined``, ``address,undefined`` or ``thread`` compiles the C++ with these
                         sanitizers, whose library the process must load first (.ci/sanitize does).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

CUDA_WHEELS = "cuda-toolkit[nvcc,cudart,cccl]==13.0.*"
DEFAULT_ARCHS = (75, 80, 86, 89, 90, 100, 120)
OLDEST_NVCC = (12, 0)

# -fno-fast-math first: it undoes a -ffast-math that the caller's CFLAGS may carry, and must not undo what follows it.
CXX_FLAGS = (
    "-std=c++20",
    "-fno-fast-math",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wconversion",
)
NVCC_FLAGS = (
    "-std=c++20",
    "-O3",
    "-fmad=false",
    "-ftz=false",
    "-prec-div=true",
    "-prec-sqrt=true",
    "-Xcompiler=-fPIC,-fvisibility=hidden,-ffp-contract=off,-Wall,-Wextra",
)
X86_FLAGS = {
    "_avx2.cpp": ("-mavx2", "-mfma", "-mbmi2"),
    "_avx512.cpp": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma", "-mbmi2"),
}
# Enough speed for the tests; -g1 and frame pointers so that reports name lines. AddressSanitizer's checks are calls:
# in line, GCC takes minutes for each of the unrolled loops.
SANITIZED_FLAGS = (
    "-O1",
    "-g1",
    "-fno-omit-frame-pointer",
    "-fno-sanitize-recover=all",
    "--param=asan-instrumentation-with-call-threshold=0",
)
CUDART_LIBRARIES = ("cudart_static", "dl", "rt", "pthread")


def switch(name: str, default: bool, environ: Mapping[str, str] = os.environ) -> bool:
    """Read an environment variable that is ``0`` or ``1``; unset or empty means the default."""
    value = environ.get(name, "").strip()
    if value not in ("", "0", "1"):
        raise ValueError(f"{name}={value!r}: must be 0 or 1")
    return default if value == "" else value == "1"


def sanitizers(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """Read ONEPFRAC_SANITIZE; empty where it is unset or empty. Raises ValueError for what cannot be combined."""
    value = environ.get("ONEPFRAC_SANITIZE", "").strip()
    names = tuple(sorted({name.strip() for name in value.split(",")})) if value else ()
    if names not in ((), ("address",), ("undefined",), ("address", "undefined"), ("thread",)):
        raise ValueError(
            f"ONEPFRAC_SANITIZE={value!r}: must be address, undefined, address,undefined or thread, or empty"
        )
    return names


@dataclass(frozen=True)
class Nvcc:
    """A CUDA compiler: path, version, folder of its toolkit, and the architectures it makes machine code for."""

    path: Path
    version: tuple[int, int]
    root: Path
    archs: frozenset[int]

    @property
    def library_dir(self) -> Path | None:
        """The folder of libcudart_static.a, or None if the linker must know it (a distribution's package)."""
        folders = [self.root / "lib64", self.root / "lib", *sorted(self.root.glob("targets/*/lib"))]
        return next((folder for folder in folders if (folder / "libcudart_static.a").exists()), None)

    @property
    def include_dir(self) -> Path | None:
        """The folder of cuda_runtime.h, or None if the host compiler knows it (naming /usr/include would break g++)."""
        folders = [self.root / "include", *sorted(self.root.glob("targets/*/include"))]
        found = next((folder for folder in folders if (folder / "cuda_runtime.h").exists()), None)
        return None if found == Path("/usr/include") else found


def _ask(*command: str | Path) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def inspect_nvcc(path: Path) -> Nvcc | None:
    """Ask the compiler at ``path`` what it is; None if it does not run or is older than 12.0."""
    try:
        release = re.search(r"release (\d+)\.(\d+)", _ask(path, "--version"))
        # --dryrun names the toolkit's folder even where `path` is a wrapper script or a link.
        top = re.search(r"^#\$ TOP=(.*)$", _ask(path, "--dryrun", "-E", "-x", "cu", os.devnull), re.MULTILINE)
        archs = frozenset(int(code) for code in re.findall(r"\bsm_(\d+)\b", _ask(path, "--list-gpu-code")))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"onepfrac: {path} does not work and is passed over: {error}")
        return None
    if release is None or (int(release[1]), int(release[2])) < OLDEST_NVCC:
        print(f"onepfrac: {path} is older than CUDA {OLDEST_NVCC[0]}.{OLDEST_NVCC[1]} and is passed over")
        return None
    root = Path(top[1].strip()) if top else path.resolve().parent.parent
    return Nvcc(path, (int(release[1]), int(release[2])), root.resolve(), archs)


def _first_that_works(paths: Iterable[Path]) -> Nvcc | None:
    return next((nvcc for path in paths if path.is_file() and (nvcc := inspect_nvcc(path)) is not None), None)


def system_nvcc(environ: Mapping[str, str] = os.environ) -> Nvcc | None:
    """The machine's own compiler: under CUDA_HOME, under CUDA_PATH, then on PATH."""
    homes = (environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH"))
    paths = [Path(home, "bin", "nvcc") for home in homes if home]
    if (on_path := shutil.which("nvcc", path=environ.get("PATH", ""))) is not None:
        paths.append(Path(on_path))
    return _first_that_works(paths)


def wheel_nvcc(search: Iterable[str] | None = None) -> Nvcc | None:
    """The compiler of CUDA_WHEELS where they are installed in this Python (site-packages/nvidia/cu13)."""
    folders = sys.path if search is None else search
    return _first_that_works(path for folder in folders for path in sorted(Path(folder, "nvidia").glob("*/bin/nvcc")))


def find_nvcc() -> Nvcc:
    """The compiler to use. Raises RuntimeError, saying what to do, where there is none."""
    nvcc = system_nvcc() or wheel_nvcc()
    if nvcc is None:
        raise RuntimeError(
            "no nvcc >= 12.0 under CUDA_HOME or CUDA_PATH, on PATH, or in this Python's site-packages. "
            f"Build with isolation (plain `pip install .` fetches it), or `pip install '{CUDA_WHEELS}'`, "
            "or set ONEPFRAC_CUDA=0 to build without the CUDA kernels."
        )
    return nvcc


@dataclass(frozen=True)
class CudaArchs:
    """What goes into the extension: machine code for ``sass`` and PTX for ``ptx``, as compute capability times ten."""

    sass: tuple[int, ...]
    ptx: tuple[int, ...]

    def __str__(self) -> str:
        return " ".join([*map(str, self.sass), *(f"{arch}+PTX" for arch in self.ptx)])

    @property
    def flags(self) -> list[str]:
        """The -gencode flags of nvcc."""
        return [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in self.sass] + [
            f"-gencode=arch=compute_{arch},code=compute_{arch}" for arch in self.ptx
        ]


def choose_archs(asked: str | None, nvcc: Nvcc, report: Callable[[str], object] = print) -> CudaArchs:
    """The architectures to build.

    ``asked`` is the value of ONEPFRAC_CUDA_ARCHS. Without it the default ones that ``nvcc`` knows are built, with
    PTX of the newest, and those left out are reported. An architecture that was asked for and is unknown is an error.
    """
    if not (asked or "").strip(" ,"):
        sass = tuple(arch for arch in DEFAULT_ARCHS if arch in nvcc.archs)
        if not sass:
            raise ValueError(f"{nvcc.path} knows none of the default architectures {DEFAULT_ARCHS}")
        if missing := [arch for arch in DEFAULT_ARCHS if arch not in nvcc.archs]:
            report(f"onepfrac: nvcc {nvcc.version[0]}.{nvcc.version[1]} lacks these architectures, left out: {missing}")
        return CudaArchs(sass, sass[-1:])
    sass_set: set[int] = set()
    ptx_set: set[int] = set()
    for token in re.split(r"[\s,]+", (asked or "").strip(" ,")):
        match = re.fullmatch(r"(\d{2,3})(\+PTX)?", token)
        if match is None:
            raise ValueError(f"ONEPFRAC_CUDA_ARCHS={asked!r}: {token!r} is not an architecture such as 90 or 90+PTX")
        arch = int(match[1])
        if arch not in nvcc.archs:
            known = " ".join(map(str, sorted(nvcc.archs)))
            raise ValueError(f"ONEPFRAC_CUDA_ARCHS={asked!r}: {nvcc.path} does not know {arch}; it knows {known}")
        sass_set.add(arch)
        if match[2]:
            ptx_set.add(arch)
    return CudaArchs(tuple(sorted(sass_set)), tuple(sorted(ptx_set)))


def link_order(source: str) -> tuple[int, str]:
    """Sort key of the objects: plain files first, wider instruction sets last.

    The linker keeps the first copy of an inline function that several files hold. In this order it is the copy that
    runs on every processor, and no AVX-512 copy of, say, std::vector's can end up in the plain code.
    """
    rank = next((number for number, suffix in enumerate(X86_FLAGS, 1) if source.endswith(suffix)), 0)
    return rank, source


def cxx_flags_for(name: str, x86: bool) -> tuple[str, ...] | None:
    """The instruction set flags of a C++ file by its name's suffix; None if the file is not for this processor."""
    for suffix, flags in X86_FLAGS.items():
        if name.endswith(suffix):
            return flags if x86 else None
    return ()
