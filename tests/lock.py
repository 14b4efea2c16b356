"""Reads requirements-dev.lock."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

__all__ = ["LOCK", "Locked", "read"]

LOCK = Path(__file__).resolve().parent.parent / "requirements-dev.lock"
_PIN = re.compile(r"==([^,*]+)")


@dataclass(frozen=True)
class Locked:
    """A line of the lock: one version of a package, where it is installed, and the SHA-256 of its files."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> Version:
        pin = _PIN.fullmatch(str(self.requirement.specifier))
        if pin is None:
            raise ValueError(f"{self.requirement} must name one version")
        return Version(pin[1])

    def installed_on(self, python: str) -> bool:
        """Whether Linux on x86-64 with a Python such as ``3.12`` gets it."""
        marker = self.requirement.marker
        place = {
            "python_version": python,
            "python_full_version": f"{python}.{2 if python == '3.10' else 0}",  # below that, uv's own special case
            "sys_platform": "linux",
            "os_name": "posix",
            "platform_system": "Linux",
            "platform_machine": "x86_64",
            "platform_python_implementation": "CPython",
            "implementation_name": "cpython",
        }
        return marker is None or marker.evaluate(place)


def read(text: str) -> list[Locked]:
    """Return the lines of a lock, in order."""
    found = []
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if line.strip() and not line.startswith("#"):
            words, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
            found.append(Locked(Requirement(words), tuple(hashes)))
    return found
