"""Processors and memory granted to this process: the affinity mask, and control groups of both versions."""

from __future__ import annotations

import logging
import math
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import centred_grid, write_image

from softseg_bids.app import workflow
from softseg_bids.app.options import settings_of
from softseg_bids.app.resources import (
    granted_memory_gb,
    granted_processes,
    memory_limit_gb,
    usable_cpus,
    usable_memory_gb,
)

CPUS = 8
MEMINFO = "MemTotal: 33554432 kB\nMemAvailable: 16777216 kB\n"  # 16 GiB available
JOB = "system.slice/slurmstepd.scope/job_7"


class Machine:
    """A fake /proc and its mounted control groups."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.proc = root / "proc"
        (self.proc / "self").mkdir(parents=True)
        (self.proc / "meminfo").write_text(MEMINFO)

    def groups(self, *lines: str) -> None:
        (self.proc / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def mount(self, folder: str, kind: str, options: str, root: str = "/") -> Path:
        place = self.root / folder
        place.mkdir(parents=True, exist_ok=True)
        shown = str(place).replace(" ", "\\040")
        with (self.proc / "self" / "mountinfo").open("a") as file:
            file.write(f"35 31 0:32 {root} {shown} rw,relatime shared:9 - {kind} {kind} {options}\n")
        return place

    def version_2(self, group: str = JOB) -> Path:
        """A machine of version 2 with this process in a group; the mount."""
        self.groups(f"0::/{group}")
        return self.mount("cgroup", "cgroup2", "rw")

    def version_1(self, group: str = "slurm/uid_1/job_7", root: str = "/") -> Path:
        """A machine of version 1 with this process in a group; the folder of the mounts."""
        self.groups(f"4:memory:/{group}", f"1:cpu,cpuacct:/{group}", "0::/")
        self.mount("groups/memory", "cgroup", "rw,memory", root)
        self.mount("groups/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct", root)
        self.mount("groups/unified", "cgroup2", "rw")
        return self.root / "groups"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(CPUS)))
    return Machine(tmp_path)


def say(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def test_a_machine_without_groups(machine: Machine) -> None:
    assert usable_cpus(machine.proc) == CPUS
    assert usable_memory_gb(machine.proc) == pytest.approx(16)
    assert math.isinf(memory_limit_gb(machine.proc))


def test_this_machine() -> None:
    assert 1 <= usable_cpus() <= len(os.sched_getaffinity(0))
    assert 0 < usable_memory_gb() < 1e5


def test_affinity(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    say(machine.version_2() / JOB / "cpu.max", "400000 100000")
    assert usable_cpus(machine.proc) == 2


@pytest.mark.parametrize(
    ("text", "cpus"), [("200000 100000", 2), ("350000 100000", 3), ("50000 100000", 1), ("max 100000", CPUS)]
)
def test_quota_of_version_2(machine: Machine, text: str, cpus: int) -> None:
    say(machine.version_2() / JOB / "cpu.max", text)
    assert usable_cpus(machine.proc) == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("300000", 3), ("-1", CPUS)])
def test_quota_of_version_1(machine: Machine, quota: str, cpus: int) -> None:
    group = machine.version_1() / "cpu,cpuacct" / "slurm/uid_1/job_7"
    say(group / "cpu.cfs_quota_us", quota)
    say(group / "cpu.cfs_period_us", "100000")
    assert usable_cpus(machine.proc) == cpus


def test_a_job_limits_the_steps_nested_in_it(machine: Machine) -> None:
    mount = machine.version_2(f"{JOB}/step_0/user/task_0")
    say(mount / JOB / "memory.max", str(6 * 2**30))
    say(mount / JOB / "cpu.max", "200000 100000")
    say(mount / JOB / "step_0/user/task_0/memory.max", "max")
    say(mount / "other/memory.max", str(2**30))  # somebody else's job
    assert usable_memory_gb(machine.proc) == pytest.approx(6)
    assert usable_cpus(machine.proc) == 2


@pytest.mark.parametrize("name", ["memory.max", "memory.high"])
def test_memory_of_version_2(machine: Machine, name: str) -> None:
    mount = machine.version_2()
    say(mount / JOB / name, str(4 * 2**30))
    assert memory_limit_gb(machine.proc) == pytest.approx(4)
    say(mount / JOB / name, str(64 * 2**30))
    assert usable_memory_gb(machine.proc) == pytest.approx(16)  # the machine has no more


def test_memory_of_version_1(machine: Machine) -> None:
    mounts = machine.version_1()
    say(mounts / "memory" / "memory.limit_in_bytes", "9223372036854771712")  # how version 1 says "none"
    assert usable_memory_gb(machine.proc) == pytest.approx(16)
    say(mounts / "memory" / "slurm/uid_1/memory.limit_in_bytes", str(3 * 2**30))
    assert usable_memory_gb(machine.proc) == pytest.approx(3)


def test_a_container_that_sees_only_its_own_group(machine: Machine) -> None:
    mounts = machine.version_1("docker/abc", root="/docker/abc")
    say(mounts / "memory" / "memory.limit_in_bytes", str(2 * 2**30))
    assert usable_memory_gb(machine.proc) == pytest.approx(2)


def test_a_mount_of_a_part_that_is_not_ours(machine: Machine) -> None:
    mounts = machine.version_1("user.slice", root="/docker/abc")
    say(mounts / "memory" / "memory.limit_in_bytes", str(5 * 2**30))
    assert usable_memory_gb(machine.proc) == pytest.approx(5)


def test_a_mount_without_a_source(machine: Machine) -> None:
    mount = machine.version_2()
    with (machine.proc / "self" / "mountinfo").open("a") as file:
        file.write("36 31 0:33 / /mnt/x rw,relatime - tmpfs  rw\n")
    machine.mount("groups/memory", "cgroup", "rw,memory")
    say(mount / JOB / "memory.max", str(2**30))
    assert memory_limit_gb(machine.proc) == pytest.approx(1)


def test_a_mount_with_a_space_in_its_name(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "with space")
    say(machine.version_2() / JOB / "memory.max", str(2**30))
    assert memory_limit_gb(machine.proc) == pytest.approx(1)


class TestGranted:
    """What was asked for, within the limits."""

    def test_by_default_all_processors_and_nine_tenths_of_the_memory(self, machine: Machine) -> None:
        say(machine.version_2() / JOB / "memory.max", str(10 * 2**30))
        assert granted_processes(None, machine.proc) == CPUS
        assert granted_memory_gb(None, machine.proc) == pytest.approx(9)

    def test_less_is_granted_as_it_is(self, machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
        assert granted_processes(3, machine.proc) == 3
        assert granted_memory_gb(2.5, machine.proc) == 2.5
        assert not caplog.records

    def test_no_more_than_the_limit(self, machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
        mount = machine.version_2()
        say(mount / JOB / "cpu.max", "200000 100000")
        say(mount / JOB / "memory.max", str(4 * 2**30))
        with caplog.at_level(logging.WARNING, "softseg"):
            assert granted_processes(16, machine.proc) == 2
            assert granted_memory_gb(64, machine.proc) == pytest.approx(4)
        assert [record.getMessage().split(":")[0] for record in caplog.records] == [
            "--nprocs 16",
            "--mem 64.0G",
        ]

    def test_memory_that_others_use_now_cuts_no_wish_down(self, machine: Machine) -> None:
        assert granted_memory_gb(24, machine.proc) == 24

    @pytest.mark.parametrize("asked", [(), ("--nprocs", "4096", "--mem", "1G")])
    def test_the_command_line_asks(
        self, asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, machine: Machine
    ) -> None:
        settings = settings_of(["/bids", "/out", "participant", *asked])
        assert settings.nprocs <= CPUS
        assert settings.mem_gb == (1 if asked else pytest.approx(0.9 * usable_memory_gb(), rel=0.2))


class TestDeclared:
    """What steps tell nipype that they need."""

    @pytest.mark.parametrize("shape", [(8, 8, 8), (100, 100, 50)])
    def test_the_network_by_its_image(self, tmp_path: Path, shape: tuple[int, int, int]) -> None:
        image = write_image(tmp_path / "a.nii.gz", np.zeros(shape, np.uint8), centred_grid(shape, (2, 2, 2)))
        voxels = math.prod(shape) / 1e6
        assert workflow.network_memory_gb(image) == pytest.approx(workflow.declared_gb(voxels))
        assert workflow.light_memory_gb([image]) == pytest.approx(
            workflow.LIGHT_GB + workflow.LIGHT_GB_PER_MILLION_VOXELS * voxels
        )

    def test_volumes_that_are_combined_count_together(self, tmp_path: Path) -> None:
        grid = centred_grid((40, 40, 40))
        series = write_image(tmp_path / "dwi.nii.gz", np.zeros((40, 40, 40, 6), np.uint8), grid)
        single = workflow.light_memory_gb([series]) - workflow.LIGHT_GB
        assert workflow.light_memory_gb([series, series]) - workflow.LIGHT_GB == pytest.approx(single)
        together = workflow.light_memory_gb([series, series], combined=True) - workflow.LIGHT_GB
        assert together == pytest.approx(12 * single)

    def test_an_unreadable_image_asks_for_the_least(self, tmp_path: Path) -> None:
        assert workflow.light_memory_gb([tmp_path / "none.nii.gz"]) == workflow.LIGHT_GB
        assert workflow.light_memory_gb([]) == workflow.LIGHT_GB
