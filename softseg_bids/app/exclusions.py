"""What people exclude: ``exclude.tsv`` with slices or levels and a reason, or SCT's ``qc_fail.yml``."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.core.levels import LEVEL_NAMES

COLUMNS = ("file", "slices", "levels", "reason", "rater", "date")
MISSING = ("", "-", "n/a")
NUMBERS = {name: number for number, name in LEVEL_NAMES.items()}
# What SCT's lists are about: the mask, or the labels that levels come from.
MASK_LISTS = ("FILES_SEG",)
LABEL_LISTS = ("FILES_LABEL", "FILES_PMJ")


@dataclass(frozen=True)
class Exclusion:
    """One thing that somebody excluded.

    Attributes
    ----------
    file : str
        Path from the dataset's root, a file name, or a participant (``sub-01``).
    slices : tuple of (int, int)
        First and last slice, as numbered in the per-slice table.
    levels : tuple of (int, int)
        First and last vertebra.
    what : str
        ``image``, ``slices`` (with ``slices`` or ``levels``), ``labels``: regions that need labels; or
        ``nothing``, of a list that says nothing about the cord's mask or levels.
    reason, rater, date : str
    """

    file: str
    slices: tuple[tuple[int, int], ...] = ()
    levels: tuple[tuple[int, int], ...] = ()
    what: str = "image"
    reason: str = ""
    rater: str = ""
    date: str = ""

    @property
    def said(self) -> str:
        """Reason, rater and date in one line."""
        by = " ".join(part for part in (self.rater and f"by {self.rater}", self.date) if part)
        return f"{self.reason or 'excluded'} ({by})" if by else self.reason or "excluded"

    def concerns(self, source: str) -> bool:
        """Whether it is about an image (path from the dataset's root).

        A name fits if it is the image's, with or without folders and extension, or begins with it: SCT's
        lists name derived files (``sub-01_T2w_RPI_r.nii.gz``, ``sub-01_T2w_label-SC_seg.nii.gz``).
        """
        if self.what == "nothing":
            return False
        name = _stem(self.file)
        own = _stem(source)
        if "/" in self.file.strip("/") and _stem(self.file) == own:
            return source.endswith(self.file) or Path(source).name == Path(self.file).name
        participant = re.fullmatch(r"sub-[0-9A-Za-z]+(_ses-[0-9A-Za-z]+)?", name)
        return name == own or name.startswith(f"{own}_") or bool(participant and own.startswith(f"{name}_"))


def read_exclusions(path: Path) -> list[Exclusion]:
    """Exclusions from a ``.tsv`` or a ``.yml``.

    Raises
    ------
    Stop
        64, with the file and line, if it cannot be read.
    """
    try:
        if path.suffix.lower() in (".yml", ".yaml"):
            return list(_from_yaml(yaml.safe_load(path.read_text(encoding="utf-8"))))
        with path.open(encoding="utf-8", newline="") as file:
            # A quote is a character like others in a TSV: a reason may begin with one that nothing closes.
            return list(_from_rows(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)))
    except (ValueError, yaml.YAMLError, UnicodeDecodeError) as error:
        said = str(error).splitlines()[0]
        raise Stop(Exit.USAGE, f"{path}: not a list of exclusions: {said}") from error


def exclusion_of(said: Mapping[str, Any]) -> Exclusion:
    """An exclusion from what `dataclasses.asdict` made of it, after a way through JSON."""
    pairs = {name: tuple((first, last) for first, last in said[name]) for name in ("slices", "levels")}
    return Exclusion(**(dict(said) | pairs))


def _from_rows(reader: csv.DictReader[str]) -> Iterable[Exclusion]:
    if "file" not in (reader.fieldnames or ()):
        raise ValueError(f"it needs the column 'file' (and may have {', '.join(COLUMNS[1:])})")
    for number, row in enumerate(reader, start=2):
        cells = {
            name: "" if (row.get(name) or "").strip() in MISSING else str(row[name]).strip()
            for name in COLUMNS
        }
        if not cells["file"]:
            raise ValueError(f"line {number} names no file")
        try:
            slices = ranges(unquoted(cells["slices"]), int)
            levels = ranges(unquoted(cells["levels"]), lambda text: NUMBERS[text.upper()])
        except (ValueError, KeyError) as error:
            raise ValueError(
                f"line {number}: slices are written 10-14,20 and levels C3-C4,C6 ({error} is neither)"
            ) from error
        yield Exclusion(
            unquoted(cells["file"]), slices, levels, "slices" if slices or levels else "image",
            cells["reason"], cells["rater"], cells["date"],
        )  # fmt: skip


def unquoted(cell: str) -> str:
    """A name or number without the quotes that spreadsheets set about a cell with a comma in it."""
    return cell.strip().strip('"').strip()


def ranges(text: str, number: Any) -> tuple[tuple[int, int], ...]:
    """``10-14,20`` as ((10, 14), (20, 20)); each end through ``number``.

    Raises
    ------
    ValueError, KeyError
        If an end is none, or a range runs backwards.
    """
    found = []
    for part in filter(None, (piece.strip() for piece in re.split("[,;]", text))):
        first, _, last = part.partition("-")
        low = number(first.strip())
        high = number(last.strip()) if last else low
        if high < low:
            raise ValueError(part)
        found.append((low, high))
    return tuple(found)


def _from_yaml(content: Any) -> Iterable[Exclusion]:
    lists: Mapping[str, Any] = {"FILES_SEG": content} if isinstance(content, list) else content or {}
    if not isinstance(lists, Mapping) or not all(isinstance(each, list | None) for each in lists.values()):
        raise ValueError("it is no mapping of FILES_SEG, FILES_LABEL to lists of files")
    for name, files in lists.items():
        what = "image" if name in MASK_LISTS else "labels" if name in LABEL_LISTS else "nothing"
        for file in files or ():
            yield Exclusion(str(file), what=what, reason=f"failed in {name}")


def _stem(path: str) -> str:
    return Path(path).name.removesuffix(".gz").removesuffix(".nii")
