"""The recipes of README.md and docs/clusters.md, run as they stand there, with programs that record."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml
from fake_slurm import Slurm

from softseg_bids.app.options import settings_of

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/clusters.md")
PEOPLE = ("sub-01", "sub-02", "sub-x3")
pytestmark = pytest.mark.timeout(1200)

# Notes how it was called; fails for one participant, as a broken image would make it.
RECORDER = """#!/bin/bash
printf '%s\\n' "$(printf '%q ' "$@")" >> @LOG@
case "$*" in *sub-02*) exit 1;; esac
"""


def blocks(page: str, language: str) -> list[str]:
    """All blocks of a language on a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [content for name, content in found if name == language]


def block(page: str, language: str, holding: str) -> str:
    """The first block of a language that holds a text."""
    return next(found for found in blocks(page, language) if holding in found)


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """The environment of a cluster with three participants' folders and recording programs."""
    slurm = Slurm(tmp_path / "slurm")
    for name in ("apptainer", "softseg"):
        command = slurm.bin / name
        command.write_text(RECORDER.replace("@LOG@", str(tmp_path / f"{name}.log")))
        command.chmod(0o755)
    for person in PEOPLE:
        (tmp_path / "bids" / person).mkdir(parents=True)
    (tmp_path / "bids" / "derivatives").mkdir()
    given = {name.upper(): str(tmp_path / name) for name in ("bids", "out", "image")}
    return {**os.environ, **given, "PATH": f"{slurm.bin}:{os.environ['PATH']}"}


def calls(log: Path) -> list[list[str]]:
    return [shlex.split(line) for line in log.read_text().splitlines()]


@pytest.mark.parametrize("page", PAGES)
def test_array(page: str, tmp_path: Path, machine: dict[str, str]) -> None:
    script, submission = block(page, "bash", "#SBATCH"), block(page, "bash", "--parsable")
    if script != submission:  # the README's submission writes the script itself
        (tmp_path / "softseg.sbatch").write_text(script)
    submission = submission.replace("export BIDS=", "# export BIDS=")
    subprocess.run(["bash", "-euc", submission], cwd=tmp_path, env=machine, check=True, timeout=600)
    slurm = tmp_path / "slurm" / "state"
    batch = Slurm.__new__(Slurm)
    batch.state = slurm
    assert batch.wait("1", 600) == "FAILED"  # one task of three
    assert batch.wait("2", 600) == "COMPLETED"  # and the group all the same
    *tasks, group = calls(tmp_path / "apptainer.log")
    labels = []
    for task in tasks:
        assert task[:3] == ["run", "--cleanenv", "--containall"]
        assert task.count("--bind") == 2 and f"{machine['BIDS']}:/data:ro" in task
        settings = settings_of(task[task.index(machine["IMAGE"]) + 1 :])
        labels += settings.participants
        assert (settings.level, settings.mem_gb, settings.clean_work) == ("participant", 8, True)
    assert labels == [person.removeprefix("sub-") for person in PEOPLE]
    assert settings_of(group[group.index(machine["IMAGE"]) + 1 :]).level == "group"


@pytest.mark.parametrize("page", PAGES)
def test_xargs(page: str, tmp_path: Path, machine: dict[str, str]) -> None:
    said = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block(page, "bash", "xargs")],
        cwd=tmp_path, env=machine, check=True, timeout=600, capture_output=True, text=True,
    )  # fmt: skip
    assert "some participants failed" in said.stderr
    settings = [settings_of(call) for call in calls(tmp_path / "softseg.log")]
    assert sorted(label for each in settings for label in each.participants) == ["01", "02", "x3"]
    assert settings[-1].level == "group" and str(settings[-1].out) == machine["OUT"]


@pytest.mark.parametrize("page", PAGES)
def test_babs(page: str) -> None:
    recipe = yaml.safe_load(block(page, "yaml", "bids_app_args"))
    arguments = recipe["bids_app_args"]
    assert arguments.pop("$SUBJECT_SELECTION_FLAG") == "--participant-label"
    words = [word for item in arguments.items() for word in item if word]
    settings = settings_of(["in", "out", "participant", *words, "--participant-label", "sub-01"])
    assert settings.participants == ("01",) and settings.mem_gb == 8
    assert recipe["zip_foldernames"] == {"softseg": (ROOT / "version").read_text().strip().replace(".", "-")}


def test_babs_is_called_by_the_same_names() -> None:
    """The folder that the README's commands and those of the long form add and use."""
    for page in PAGES:
        [commands] = [text for text in blocks(page, "") if "babs init" in text]
        assert re.findall(r"containers-add (\S+)", commands) == re.findall(
            r"--container-name (\S+)", commands
        )
        assert "--container-config softseg.yaml" in commands


def test_every_bash_block_is_run_here() -> None:
    assert [len(blocks(page, "bash")) for page in PAGES] == [2, 3]
