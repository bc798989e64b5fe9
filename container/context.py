"""What the images are made of: a copy of the sources, and where they come from."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILES = (
    "Dockerfile",
    "Singularity.def",
    ".dockerignore",
    "run.py",
    "version",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "requirements",
    "container",
    "softseg_bids",
)


def snapshot(folder: Path) -> Path:
    """A copy of what the images are made of: all runs use the same, whatever changes meanwhile."""
    folder.mkdir()
    for name in FILES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def torch_index() -> str | None:
    """Where torch comes from, as in the Makefile: nowhere special where pip was told of local wheels."""
    given = os.environ.get("TORCH_INDEX", "auto")
    if given != "auto":
        return given
    return "" if os.environ.get("PIP_FIND_LINKS") else None


def revision() -> str:
    """The commit, marked where the working copy differs from it; ``unknown`` without git."""
    words = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def source() -> str:
    """Where the repository was cloned from, without any user or password in it."""
    words = ["git", "remote", "get-url", "origin"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    scheme, found, rest = done.stdout.strip().partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else "unknown"
