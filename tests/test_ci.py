"""What CI makes of each outcome: it fails where something failed or hung, and says what it skipped."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTAINER = ("debootstrap", "buildah", "podman", "runc")
ALL = (*CONTAINER, "chromium", "shellcheck")
# In place of the project's: each target notes that it was made, and fails if it is named by FAIL.
MAKEFILE = """
build/tools/.ready hadolint test:
	@echo made $@; [ "$@" != "$(FAIL)" ]
.PHONY: build/tools/.ready hadolint test
"""


def ci(folder: Path, check: int = 0, fail: str = "", there: tuple[str, ...] = ALL) -> tuple[int, str]:
    """Run a copy of .ci/run among programs that are stand-ins; its exit code, and what it said.

    Parameters
    ----------
    folder : Path
        An empty one.
    check : int
        What the container's check, under its time limit, ends with.
    fail : str
        The target of make that fails.
    there : tuple of str
        Programs of Debian that are installed; there is no apt-get.
    """
    programs = folder / "bin"
    programs.mkdir()
    for name in ("bash", "dirname", "make", "id", "sh"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name in there:
        (programs / name).write_text("#!/bin/sh\n")
    (programs / "timeout").write_text(f'#!/bin/sh\necho "timeout $*"\nexit {check}\n')
    for path in programs.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    (folder / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
    (folder / "Makefile").write_text(MAKEFILE)
    done = subprocess.run(
        [str(programs / "bash"), folder / ".ci" / "run"],
        env={"PATH": str(programs), "FAIL": fail},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_everything_is_run(tmp_path: Path) -> None:
    code, said = ci(tmp_path)
    assert code == 0 and "SKIPPED" not in said and said.endswith("== passed ==\n")
    assert "made hadolint" in said and "made test" in said
    assert "timeout --kill-after=120 2700 .venv/bin/python -m container.check --participants 1" in said
    assert "--minutes 25" in said


@pytest.mark.parametrize("target", ["hadolint", "test"])
def test_what_make_finds_wrong_ends_it(target: str, tmp_path: Path) -> None:
    code, said = ci(tmp_path, fail=target)
    assert code != 0 and "passed" not in said


@pytest.mark.parametrize("check", [1, 124, 137])
def test_a_container_that_fails_or_hangs_ends_it(check: int, tmp_path: Path) -> None:
    code, said = ci(tmp_path, check=check)
    assert code == 1 and "passed" not in said


@pytest.mark.parametrize(("check", "what"), [(3, "container-test"), (4, "the rest of container-test")])
def test_what_could_not_be_tried_is_said_twice(check: int, what: str, tmp_path: Path) -> None:
    code, said = ci(tmp_path, check=check)
    assert code == 0 and said.count(f"SKIPPED {what}: see above") == 2


@pytest.mark.parametrize("lack", ALL)
def test_programs_that_cannot_be_installed_are_said(lack: str, tmp_path: Path) -> None:
    code, said = ci(tmp_path, there=tuple(name for name in ALL if name != lack))
    [line] = {line for line in said.splitlines() if line.startswith("SKIPPED")}
    assert code == 0 and lack in line and said.count(line) == 2
    assert ("timeout" in said) == (lack not in CONTAINER) and "made test" in said


def test_tools_that_cannot_be_installed_are_said(tmp_path: Path) -> None:
    code, said = ci(tmp_path, fail="build/tools/.ready")
    assert code == 0 and said.count("SKIPPED hadolint") == 2
    assert "made hadolint" not in said and "made test" in said
