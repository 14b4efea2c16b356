"""Builds the extension onepfrac._C from csrc/; everything else about the package stands in pyproject.toml.

`pip install .` or, while developing, `python setup.py build_ext --inplace`: files are compiled side by side, and only
those whose command or headers changed. build_support/toolchain.py holds the flags and the environment variables.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

ROOT = Path(__file__).resolve().parent
os.chdir(ROOT)
sys.path.insert(0, str(ROOT / "build_support"))

import toolchain  # noqa: E402 - found through the line above


def sources() -> list[str]:
    found = (str(path) for suffix in ("cpp", "cu") for path in Path("csrc").rglob(f"*.{suffix}"))
    return sorted(found, key=toolchain.link_order)


@dataclass(frozen=True)
class Compilation:
    """One call of a compiler: ``source`` -> ``object``, with the headers it read in ``object``.d."""

    source: str
    object: Path
    command: tuple[str, ...]

    @property
    def _stamp(self) -> str:
        return "\n".join([*self.command, *(os.environ.get(f"NVCC_{when}_FLAGS", "") for when in ("PREPEND", "APPEND"))])

    def is_fresh(self) -> bool:
        """True if the object was made by this command from files that have not changed since."""
        try:
            made = self.object.stat().st_mtime_ns
            if self.object.with_suffix(".cmd").read_text() != self._stamp:
                return False
            rule = self.object.with_suffix(".d").read_text().replace("\\\n", " ")
            return all(Path(name).stat().st_mtime_ns < made for name in rule.partition(":")[2].split())
        except OSError:
            return False

    def run(self) -> None:
        """Compile. Raises CompileError with the compiler's output."""
        self.object.parent.mkdir(parents=True, exist_ok=True)
        self.object.with_suffix(".cmd").unlink(missing_ok=True)
        start = time.perf_counter()
        done = subprocess.run(self.command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        output = (done.stdout + done.stderr).strip()
        print(
            f"onepfrac: {self.source}  {time.perf_counter() - start:.1f} s",
            *filter(None, [output]),
            sep="\n",
            flush=True,
        )
        if done.returncode != 0:
            raise CompileError(f"{self.source} did not compile (status {done.returncode}): {shlex.join(self.command)}")
        self.object.with_suffix(".cmd").write_text(self._stamp)


class BuildExtension(build_ext):
    """Compiles .cpp and .cu side by side and links them with a static cudart."""

    def build_extension(self, ext: Extension) -> None:
        import pybind11

        werror = toolchain.switch("ONEPFRAC_WERROR", False)
        sanitizers = toolchain.sanitizers()
        sanitize = (f"-fsanitize={','.join(sanitizers)}",) if sanitizers else ()
        debug = self.debug or bool(sanitizers)
        x86 = self.plat_name.endswith("x86_64")
        processors = self.parallel if isinstance(self.parallel, int) else len(os.sched_getaffinity(0))
        includes = [str(folder) for folder in (*self.include_dirs, pybind11.get_include())]
        defines = ["-DONEPFRAC_X86=1"] if x86 else []
        nvcc, archs = None, ""
        if toolchain.switch("ONEPFRAC_CUDA", True):
            nvcc = toolchain.find_nvcc()
            chosen = toolchain.choose_archs(os.environ.get("ONEPFRAC_CUDA_ARCHS"), nvcc)
            archs = str(chosen)
            defines.append("-DONEPFRAC_CUDA=1")
            includes += [str(nvcc.include_dir)] if nvcc.include_dir else []
            print(f"onepfrac: CUDA for {archs} with {nvcc.path} {nvcc.version[0]}.{nvcc.version[1]} of {nvcc.root}")
        else:
            print("onepfrac: without CUDA, because ONEPFRAC_CUDA=0")
        common = [*defines, "-Icsrc"]

        def compilation(source: str) -> Compilation | None:
            kind = "-".join([self.plat_name, sys.implementation.cache_tag or "", *sanitizers])
            object_ = Path("build", f"objects-{kind}", source + ".o")
            files = ["-MMD", "-MF", str(object_.with_suffix(".d")), "-c", source, "-o", str(object_)]
            if source.endswith(".cu"):
                if nvcc is None:
                    return None
                flags = [*toolchain.NVCC_FLAGS, *chosen.flags, f"--threads={min(processors, len(chosen.flags))}"]
                flags += ["--Werror=all-warnings", "-Xcompiler=-Werror"] if werror else []
                flags += [f"-ccbin={os.environ['CXX']}"] if os.environ.get("CXX") else []
                flags += [f"-isystem={folder}" for folder in includes]
                return Compilation(source, object_, (str(nvcc.path), *flags, *common, *files))
            simd = toolchain.cxx_flags_for(source, x86)
            if simd is None:
                return None
            compiler = getattr(self.compiler, "compiler_so_cxx", self.compiler.compiler_so)
            flags = [*toolchain.CXX_FLAGS, *simd, "-g" if debug else "-g0", *(["-Werror"] if werror else [])]
            flags += [*sanitize, *toolchain.SANITIZED_FLAGS] if sanitizers else []
            flags += [part for folder in includes for part in ("-isystem", folder)]
            flags += [f'-DONEPFRAC_CUDA_ARCHS_STRING="{archs}"']
            return Compilation(source, object_, (*compiler, *flags, *common, *files))

        Path("build").mkdir(exist_ok=True)
        with open("build/.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two builds in one checkout take turns
            start = time.perf_counter()
            found = [one for one in map(compilation, ext.sources) if one is not None]
            stale = [one for one in found if self.force or not one.is_fresh()]
            # The slowest first: CUDA files, compiled once an architecture, then the unrolled vector loops.
            stale.sort(key=lambda one: (not one.source.endswith(".cu"), -toolchain.link_order(one.source)[0]))
            with ThreadPoolExecutor(max(1, processors)) as pool:
                jobs = [pool.submit(one.run) for one in stale]
                try:
                    for job in jobs:
                        job.result()
                except CompileError:
                    pool.shutdown(cancel_futures=True)
                    raise
            target = self.get_ext_fullpath(ext.name)
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            library_dir = nvcc.library_dir if nvcc else None
            self.compiler.link_shared_object(
                [str(one.object) for one in found],
                target,
                libraries=list(toolchain.CUDART_LIBRARIES) if nvcc else ["pthread"],
                library_dirs=[str(library_dir)] if library_dir else [],
                extra_postargs=[
                    *sanitize,
                    "-Wl,--as-needed,--exclude-libs,ALL",
                    *([] if debug else ["-Wl,--strip-debug"]),
                ],
                build_temp=self.build_temp,
                target_lang="c++",
            )
        print(f"onepfrac: compiled {len(stale)} of {len(found)} files in {time.perf_counter() - start:.1f} s")


setup(ext_modules=[Extension("onepfrac._C", sources(), language="c++")], cmdclass={"build_ext": BuildExtension})
