"""How many processes this machine can run at once for us: its cores, and what affinity and cgroups leave of them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["memory_limit", "usable_cores"]


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, at least 1.

    That is the smaller of its CPU affinity and the CPU quota of its cgroup, version 1 or 2, rounded up: with a quota of
    1.5 cores, two processes use all of it, and one does not.

    Args:
        root: of the file system that /proc and the cgroups are looked up in.
    """
    if hasattr(os, "process_cpu_count"):  # from Python 3.13 on; it also follows PYTHON_CPU_COUNT
        cores = os.process_cpu_count() or 1
    elif hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    quotas = [float(cores)]
    for folder in _cgroups(root, "cpu"):
        # Version 2 has "max 100000" or "150000 100000": microseconds of CPU time, of each period; version 1 two files.
        words = _words(folder / "cpu.max") or (
            _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        )
        if len(words) == 2 and words[0].isdigit() and words[1].isdigit() and int(words[1]):
            quotas.append(int(words[0]) / int(words[1]))
    return max(1, math.ceil(min(quotas)))


def memory_limit(root: Path = Path("/")) -> int | None:
    """Return the bytes of memory that the cgroup of this process allows, or None where it has no limit.

    Args:
        root: of the file system that /proc and the cgroups are looked up in.
    """
    limits = []
    for folder in _cgroups(root, "memory"):
        words = _words(folder / "memory.max") or _words(folder / "memory.limit_in_bytes")
        if len(words) == 1 and words[0].isdigit() and int(words[0]) < 1 << 60:  # version 1 has no word for "no limit"
            limits.append(int(words[0]))
    return min(limits, default=None)


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders that may hold this process's limits: of its cgroups and of those around them."""
    paths = {}  # of this process's cgroup by controller; "" is version 2
    for line in _lines(root / "proc/self/cgroup"):
        _, names, path = line.split(":", 2)
        paths.update(dict.fromkeys(names.split(","), path))
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        kind, _, options = [*after.split(), "", ""][:3]
        name = {"cgroup2": "", "cgroup": controller}.get(kind)
        if name is None or name not in paths or (name and name not in options.split(",")):
            continue
        mounted, place = before.split()[3:5]
        place = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), place)
        folder = top = root / place.lstrip("/")
        # In a container the path may be that of the machine, of which the container sees only the end.
        inside = Path(paths[name])
        if inside.is_relative_to(mounted) and ".." not in inside.parts:
            folder = top / inside.relative_to(mounted)
        yield from (f for f in (folder, *folder.parents) if f.is_relative_to(top))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not on this system, or not ours to read
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
