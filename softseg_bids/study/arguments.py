"""Kinds of arguments that the commands of this room take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from softseg_bids.study.running import PACKAGED

# What the labels themselves are called among methods.
LABELS = "labels"


def method(text: str) -> tuple[str, Path | None]:
    """An argument that is a method: its name and where its masks or its model lie (None: packaged)."""
    name, separator, where = text.partition("=")
    if not separator or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", name) or name == LABELS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=PATH with a name of letters, digits and _ . + - (and not {LABELS!r})"
        )
    if where == PACKAGED:
        return name, None
    path = Path(where).absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{where}: does not exist; check the path of {name}")
    return name, path


def existing_folder(text: str) -> Path:
    """An argument that is a folder."""
    path = Path(text).absolute()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: is not a folder; check the path")
    return path


def existing_place(text: str) -> Path:
    """An argument that is a folder or a file."""
    path = Path(text).absolute()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: does not exist; check the path")
    return path
