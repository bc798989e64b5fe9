"""Kinds of arguments that the commands of this room take."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple

from softseg_bids.app.identity import is_model
from softseg_bids.app.options import existing
from softseg_bids.image.volume import DataError
from softseg_bids.study.running import has_results

# The word for the packaged model.
PACKAGED = "packaged"
# What the labels themselves are called among methods.
LABELS = "labels"
NAME = r"[A-Za-z0-9][A-Za-z0-9_.+-]*"
# Before a contrast's own path, and where the next one begins.
KEY = re.compile(r"([A-Za-z0-9]+):")
NEXT = re.compile(r",(?=[A-Za-z0-9]+:)")


class Part(NamedTuple):
    """Where a method's masks come from, for one contrast or for all.

    Attributes
    ----------
    contrast : str or None
        Contrast key as given; None is all.
    path : Path or None
        None is the packaged model.
    runs : bool
        Whether it is a model, to be run.
    """

    contrast: str | None
    path: Path | None
    runs: bool


class Asked(NamedTuple):
    """A method as the user named it.

    Attributes
    ----------
    name : str
        With its cut, if there is one: ``ours@0.5``.
    cut : float or None
        Value in (0, 1) from which a voxel counts as cord, in masks that are made binary.
    parts : tuple of Part
        One, or one a contrast.
    """

    name: str
    cut: float | None
    parts: tuple[Part, ...]


def method(text: str) -> Asked:
    """An argument that is a method: ``NAME[@CUT]=PATH`` or ``NAME[@CUT]=KEY:PATH,KEY:PATH``.

    A path may hold any of ``= @ : ,``: what follows the first ``=`` is first looked for as a whole. It is
    refused where it could be meant both ways.
    """
    name, separator, where = text.partition("=")
    match = re.fullmatch(rf"({NAME})(?:@(.*))?", name)
    if not separator or match is None or match[1] == LABELS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not NAME=PATH with a name of letters, digits and _ . + - (and not {LABELS!r}); "
            "NAME@0.5 cuts its masks"
        )
    cut = None if match[2] is None else _cut(match[2], name)
    return Asked(name, cut, _parts(name, where))


def model_or_results(text: str) -> Path | None:
    """An argument that is a model, a folder of results, or the word ``packaged`` (None)."""
    if text == PACKAGED:
        return None
    path = Path(text).absolute()
    if not (_is_model(path) or has_results(path)):
        raise argparse.ArgumentTypeError(
            f"{text}: is neither a model nor a folder of softseg's results; check the path, or say "
            f"{PACKAGED!r} for the packaged model"
        )
    return path


def _parts(name: str, where: str) -> tuple[Part, ...]:
    pieces = NEXT.split(where) if KEY.match(where) else []
    if not pieces or Path(where).exists():
        whole = _part(None, where, name)
        if pieces and all(_is_there(KEY.sub("", piece, count=1)) for piece in pieces):
            raise argparse.ArgumentTypeError(
                f"{where}: is a path, and names paths for contrasts, too; write ./{where} for the path"
            )
        return (whole,)
    found: dict[str, Part] = {}
    for number, piece in enumerate(pieces):
        key, _, path = piece.partition(":")
        if key.casefold() in found:
            raise argparse.ArgumentTypeError(f"{name}: {key} has two paths; a contrast has one")
        for end in range(number + 2, len(pieces) + 1):
            if _is_there(longer := ",".join([path, *pieces[number + 1 : end]])):
                raise argparse.ArgumentTypeError(
                    f"{longer}: is a path, and names paths for contrasts, too; rename it or link to it"
                )
        found[key.casefold()] = _part(key, path, f"{name}, {key}")
    return tuple(found.values())


def _part(contrast: str | None, text: str, of: str) -> Part:
    if text == PACKAGED:
        return Part(contrast, None, True)
    if not _is_there(text):
        form = " (of KEY:PATH,KEY:PATH)" if contrast else ""
        raise argparse.ArgumentTypeError(f"{text}: does not exist; check the path of {of}{form}")
    path = existing(text)
    return Part(contrast, path, _is_model(path))


def _is_there(text: str) -> bool:
    return text == PACKAGED or (bool(text) and Path(text).exists())


def _cut(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{name}: {text!r} is no value to cut at, between 0 and 1")
    return value


def _is_model(path: Path) -> bool:
    try:
        return is_model(path)
    except DataError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
