"""How many processors and how much memory this process may really use.

Batch systems and containers grant less than the machine has: affinity masks and cgroup
limits say how much.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
GIB = 2.0**30


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Processors granted by the affinity mask and the cgroup's quota (version 2 or 1), at least 1."""
    granted = float(len(os.sched_getaffinity(0)))
    quota = _words(cgroup / "cpu.max")
    if not quota:
        quota = _words(cgroup / "cpu/cpu.cfs_quota_us") + _words(cgroup / "cpu/cpu.cfs_period_us")
    if len(quota) == 2 and quota[0] not in ("max", "-1"):
        granted = min(granted, float(quota[0]) / float(quota[1]))
    return max(1, math.floor(granted))


def usable_memory_gb(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> float:
    """Memory this process may use, GiB: the smallest of what is available and the cgroup's limits."""
    limits = [_available_gb(meminfo)]
    for name in ("memory.max", "memory.high", "memory/memory.limit_in_bytes"):
        words = _words(cgroup / name)
        if words and words[0] != "max":
            limits.append(float(words[0]) / GIB)
    return min(limits)


def _available_gb(meminfo: Path) -> float:
    for line in meminfo.read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024 / GIB
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
