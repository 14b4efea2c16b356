"""The build backend: setuptools, which also asks for a CUDA compiler where the machine has none.

See https://setuptools.pypa.io/en/latest/build_meta.html#dynamic-build-dependencies-and-other-build-meta-tweaks
"""

from __future__ import annotations

from typing import Any

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - the hooks that stay as they are

from toolchain import CUDA_WHEELS, switch, system_nvcc


def _compiler_requires() -> list[str]:
    needed = switch("ONEPFRAC_CUDA", True) and system_nvcc() is None
    return [CUDA_WHEELS] if needed else []


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_compiler_requires()]


def get_requires_for_build_editable(config_settings: Any = None) -> list[str]:
    return [*build_meta.get_requires_for_build_editable(config_settings), *_compiler_requires()]
