"""Processors and memory granted to this process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from softseg_bids.app.resources import usable_cpus, usable_memory_gb


@pytest.fixture
def meminfo(tmp_path: Path) -> Path:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n")
    return path


def test_affinity_without_cgroup(tmp_path: Path) -> None:
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))


@pytest.mark.parametrize(("text", "cpus"), [("100000 100000", 1), ("50000 100000", 1)])
def test_quota(tmp_path: Path, text: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert usable_cpus(tmp_path) == cpus


def test_no_quota(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000")
    assert usable_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_old_cgroups(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cpus(tmp_path) == 1


def test_memory_is_the_smallest_limit(tmp_path: Path, meminfo: Path) -> None:
    assert usable_memory_gb(tmp_path, meminfo) == pytest.approx(16)
    (tmp_path / "memory.max").write_text("max")
    assert usable_memory_gb(tmp_path, meminfo) == pytest.approx(16)
    (tmp_path / "memory.max").write_text(str(4 * 2**30))
    assert usable_memory_gb(tmp_path, meminfo) == pytest.approx(4)
