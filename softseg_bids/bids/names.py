"""BIDS file names, taken apart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_ENTITY = re.compile(r"([a-zA-Z]+)-([a-zA-Z0-9+]+)")
_LABEL = re.compile(r"[a-zA-Z0-9+]+")


class Name(NamedTuple):
    """A file name's parts.

    Attributes
    ----------
    text : str
        The name without its extensions, ``sub-01_acq-full_T2w``.
    entities : dict of str
        Short keys to labels in the order of the name: ``{"sub": "01", "acq": "full"}``.
    suffix : str
        The last part, ``T2w``; empty if the name ends in an entity.
    stray : tuple of str
        Parts that are neither an entity nor the suffix (``RPI`` and ``r`` of old file names).
    """

    text: str
    entities: dict[str, str]
    suffix: str
    stray: tuple[str, ...]

    def stem(self, *without: str) -> str:
        """The entities joined as in a file name, but for those named."""
        return "_".join(f"{key}-{label}" for key, label in self.entities.items() if key not in without)


def parse_name(path: Path) -> Name:
    """Take a BIDS file name apart; never fails, for names that are no BIDS names either."""
    text = bare(path)
    entities: dict[str, str] = {}
    stray = []
    *leading, last = text.split("_")
    for part in leading:
        found = _ENTITY.fullmatch(part)
        if found and found.group(1) not in entities:
            entities[found.group(1)] = found.group(2)
        else:
            stray.append(part)
    if found := _ENTITY.fullmatch(last):
        entities.setdefault(found.group(1), found.group(2))
        last = ""
    return Name(text, entities, last, tuple(stray))


def is_label(text: str) -> bool:
    """Whether a text may be the label of a participant, session or other entity."""
    return _LABEL.fullmatch(text) is not None


def bare(path: Path) -> str:
    """A file's name without its extensions (``.nii.gz``, ``.json``)."""
    return path.name.split(".", 1)[0]
