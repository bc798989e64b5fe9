"""How many processors and how much memory this process may really use.

Batch systems and containers grant less than the machine has: the affinity mask and the limits of
the process's control groups (cgroup version 1 or 2) say how much. A limit may stand on any group
above the process's own, as a batch system nests a job's steps below the job.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

logger = logging.getLogger("softseg")

PROC = Path("/proc")
GIB = 2.0**30
UNIFIED = "cgroup2"


def usable_cpus(proc: Path = PROC) -> int:
    """Processors granted by the affinity mask and by the quotas of all control groups, at least 1.

    Parameters
    ----------
    proc : Path
        Where the kernel tells about this process.
    """
    granted = float(len(os.sched_getaffinity(0)))
    for group in _groups("cpu", proc):
        quota = _words(group / "cpu.max")
        if not quota:
            quota = _words(group / "cpu.cfs_quota_us") + _words(group / "cpu.cfs_period_us")
        numbers = [float(word) for word in quota if re.fullmatch(r"\d+", word)]
        if len(numbers) == 2 and min(numbers) > 0:
            granted = min(granted, numbers[0] / numbers[1])
    return max(1, math.floor(granted))


def usable_memory_gb(proc: Path = PROC) -> float:
    """Memory this process may use, GiB: what the machine has free, or less by a control group's limit."""
    return min(_available_gb(proc / "meminfo"), memory_limit_gb(proc))


def memory_limit_gb(proc: Path = PROC) -> float:
    """The least limit on memory of all control groups, GiB; infinite if there is none.

    ``memory.high`` counts too: beyond it the kernel slows a process down until it hardly moves.
    """
    limits = [math.inf]
    for group in _groups("memory", proc):
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            words = _words(group / name)
            if words and words[0].isdigit():
                limits.append(float(words[0]) / GIB)
    return min(limits)


def granted_processes(asked: int | None, proc: Path = PROC) -> int:
    """How many processes to run at once: what was asked for, but no more than there are processors."""
    usable = usable_cpus(proc)
    if asked is not None and asked > usable:
        logger.warning("--nprocs %d: only %d processors are granted here; using those", asked, usable)
    return usable if asked is None else min(asked, usable)


def granted_memory_gb(asked_gb: float | None, proc: Path = PROC) -> float:
    """Memory for all processes, GiB: what was asked for, but no more than the limit that kills.

    Without a wish nine tenths of what is usable, so that a step somewhat larger than declared
    does not end the run. Memory that other programs use at the moment does not cut a wish down.
    """
    if asked_gb is None:
        return 0.9 * usable_memory_gb(proc)
    limit = memory_limit_gb(proc)
    if asked_gb > limit:
        logger.warning("--mem %.1fG: only %.1f GiB are granted here; using those", asked_gb, limit)
    return min(asked_gb, limit)


def _groups(controller: str, proc: Path) -> Iterator[Path]:
    """The folders of the process's control groups with a controller, from its own up to the mount's root.

    ``/proc/self/cgroup`` names the group from the hierarchy's root, ``/proc/self/mountinfo`` says which
    part of the hierarchy is mounted where. In a container without a cgroup namespace the group's name is
    the host's, of which only the lower end is mounted.
    """
    mounts = list(_mounts(controller, proc))
    for line in _lines(proc / "self" / "cgroup"):
        number, controllers, name = line.split(":", 2)
        unified = number == "0" and not controllers
        if not unified and controller not in controllers.split(","):
            continue
        for is_unified, root, folder in mounts:
            if is_unified == unified:
                inside = PurePosixPath(name)
                below = inside.relative_to(root).parts if inside.is_relative_to(root) else ()
                for count in range(len(below), -1, -1):
                    yield folder.joinpath(*below[:count])


def _mounts(controller: str, proc: Path) -> Iterator[tuple[bool, PurePosixPath, Path]]:
    """Whether it is of version 2, which part of the hierarchy, and where: each mount of a controller."""
    for line in _lines(proc / "self" / "mountinfo"):
        place, _, kind = line.partition(" - ")
        root, folder = place.split()[3:5]
        fields = kind.split(" ")  # the source, in between, may be empty
        kind, options = fields[0], fields[-1]
        if kind == UNIFIED or (kind == "cgroup" and controller in options.split(",")):
            yield kind == UNIFIED, PurePosixPath(_plain(root)), Path(_plain(folder))


def _plain(text: str) -> str:
    """A path of mountinfo, where a space is written as ``\\040``."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), text)


def _available_gb(meminfo: Path) -> float:
    for line in _lines(meminfo):
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024 / GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
