"""How many CPUs this process may use: by its affinity, and by the quota of the control groups that it lies in."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["available_cpus", "cgroup_quota"]


def available_cpus() -> int:
    """Return the number of CPUs that this process may keep busy, 1 or more.

    A container that may use 2 of 64 cores is mostly given a quota of time, which neither `os.cpu_count` nor OpenMP
    looks at: 64 threads then stand still most of the time, all at once.
    """
    # Absent outside Linux.
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota_of_this_process()
    return max(1, cpus if quota is None else min(cpus, math.ceil(quota)))


@functools.cache
def _quota_of_this_process() -> float | None:
    return cgroup_quota(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))


def cgroup_quota(groups: Path, mounts: Path) -> float | None:
    """Return how many CPUs' time the control groups allow, None where they set no limit or there are none.

    Parameters
    ----------
    groups
        The file that names the process's groups, ``/proc/self/cgroup``.
    mounts
        Where they are mounted, ``/sys/fs/cgroup``.

    References
    ----------
    Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and cgroup-v1 (cpu.cfs_quota_us).
    """
    limits = []
    for line in _lines(groups):
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "")
        if controllers == "":  # version 2
            limits += [_limit(*_lines(group / "cpu.max")[0:1]) for group in _upwards(mounts, path)]
        elif "cpu" in controllers.split(","):
            limits += [
                _limit(" ".join(_lines(group / "cpu.cfs_quota_us") + _lines(group / "cpu.cfs_period_us")))
                for group in _upwards(mounts / controllers, path)
            ]
    return min((limit for limit in limits if limit is not None), default=None)


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    """The folder of a group and of those around it: the tightest limit counts.

    In a container the path may be one outside of it; then only the mount itself is there.
    """
    group = mount / path.lstrip("/")
    yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))


def _limit(text: str = "") -> float | None:
    """``"200000 100000"``, microseconds of CPU time in a period, as 2.0; None for ``max``, -1 or anything else."""
    quota, _, period = text.partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0 or int(quota) == 0:
        return None
    return int(quota) / int(period)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
