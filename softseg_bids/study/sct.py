"""CSV tables of the Spinal Cord Toolbox's ``sct_process_segmentation``, read as areas of regions.

Columns used: ``Filename`` (the segmentation), ``VertLevel`` (``3``, ``2:3``, ``2,3``), ``DistancePMJ``,
``Slice (I->S)`` and ``MEAN(area)``, as SCT 4 to 7 write them. Rows over levels become the regions of the
same levels; rows per slice are averaged over their level, every slice alike, as SCT itself does.
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from softseg_bids.bids.names import bare
from softseg_bids.core.levels import LEVEL_NAMES
from softseg_bids.image.volume import DataError, check_file

FILENAME, AREA, LEVEL, PMJ, SLICES = "Filename", "MEAN(area)", "VertLevel", "DistancePMJ", "Slice (I->S)"
NO_VALUE = frozenset({"", "none", "nan", "n/a"})
C2_C3 = (2, 3)


class CsvArea(NamedTuple):
    """An area of a CSV table.

    Attributes
    ----------
    table : Path
    name : str
        The segmentation's file name without extensions.
    region : str
        As this project names regions; empty where it has none of that kind.
    area_mm2 : float
        NaN where SCT gave none.
    n_slices : int
        Rows behind it.
    """

    table: Path
    name: str
    region: str
    area_mm2: float
    n_slices: int


def tables_below(folder: Path) -> list[Path]:
    """The CSV tables of ``sct_process_segmentation`` in a file or below a folder (others are passed over)."""
    paths = [folder] if folder.is_file() else sorted(folder.rglob("*.csv"))
    return [path for path in paths if {FILENAME, AREA} <= set(_header(path))]


def read_areas(path: Path) -> list[CsvArea]:
    """The areas of one table; of rows that were appended twice the last counts.

    Raises
    ------
    DataError
        If it is no table of ``sct_process_segmentation``, or holds an area that is no number.
    """
    header = _header(path)
    if not {FILENAME, AREA} <= set(header):
        raise DataError(
            f"{path}: has no columns {FILENAME} and {AREA}; give a table of sct_process_segmentation"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    single: dict[tuple[str, str], CsvArea] = {}
    slices: dict[str, dict[str, tuple[int, float]]] = defaultdict(dict)
    for number, row in enumerate(rows, start=2):
        name, area = bare(Path(row.get(FILENAME) or "")), _area(path, number, row.get(AREA))
        levels = _levels(row.get(LEVEL))
        if _is_slice(row) and len(levels) == 1 and not _number(row.get(PMJ)):
            slices[name][str(row.get(SLICES))] = (levels[0], area)
        elif not _is_slice(row):
            region = _region(levels, row)
            single[name, region] = CsvArea(path, name, region, area, 1)
    return [
        *single.values(),
        *(each for name, own in slices.items() for each in _over_slices(path, name, own)),
    ]


def _over_slices(path: Path, name: str, slices: dict[str, tuple[int, float]]) -> list[CsvArea]:
    by_level: dict[int, list[float]] = defaultdict(list)
    for level, area in slices.values():
        by_level[level].append(area)
    found = {f"vert-{LEVEL_NAMES[level]}": areas for level, areas in by_level.items() if level in LEVEL_NAMES}
    if all(level in by_level for level in C2_C3):
        found["vert-C2:C3"] = [area for level in C2_C3 for area in by_level[level]]
    rows = []
    for region, areas in found.items():
        known = [area for area in areas if not math.isnan(area)]
        mean = sum(known) / len(known) if known else math.nan
        rows.append(CsvArea(path, name, region, mean, len(known)))
    return rows


def _region(levels: list[int], row: dict[str, str]) -> str:
    distance = _number(row.get(PMJ))
    if distance:
        return f"pmj-{distance:g}"
    names = [LEVEL_NAMES.get(level, "") for level in levels]
    if not levels:
        return "cord"
    if not all(names) or levels != list(range(levels[0], levels[-1] + 1)):
        return ""
    return f"vert-{names[0]}" if len(names) == 1 else f"vert-{names[0]}:{names[-1]}"


def _levels(text: str | None) -> list[int]:
    """The levels of a cell: ``2:3`` is a range, ``2,3`` a list."""
    numbers = [int(float(each)) for each in re.findall(r"\d+(?:\.\d+)?", text or "")]
    if ":" in (text or "") and len(numbers) == 2:
        return list(range(min(numbers), max(numbers) + 1))
    return sorted(set(numbers))


def _is_slice(row: dict[str, str]) -> bool:
    return re.fullmatch(r"\s*\d+\s*", row.get(SLICES) or "") is not None


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _area(path: Path, number: int, text: str | None) -> float:
    if (text or "").strip().lower() in NO_VALUE:
        return math.nan
    try:
        return float(text or "")
    except ValueError as error:
        raise DataError(f"{path}: line {number} has the area {text!r}; correct or remove the line") from error


def _header(path: Path) -> list[str]:
    check_file(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}); save it as CSV again") from error
