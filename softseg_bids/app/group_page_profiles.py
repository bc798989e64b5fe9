"""Areas over the vertebral level, of all images on one grid, for the group's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.exclusions import Exclusion
from softseg_bids.app.group_profiles import read_slices
from softseg_bids.bids.rows import MISSING
from softseg_bids.core.quality import OUT_OF_MEANS

Floats = NDArray[np.float64]

FIRST_LEVEL, LAST_LEVEL = 1.0, 26.0
# Finest first; a page holds so many points before it takes seconds to open.
STEPS = (0.1, 0.2, 0.25, 0.5)
MOST_POINTS = 400_000
# Slices of 5 mm are a third of a level apart; beyond this nothing is drawn between two.
WIDEST_GAP = 0.6
# A study of more images shows their means per level instead: reading so many tables takes minutes.
MOST_IMAGES = 12_000


def profiles(
    tables: Mapping[int, Path], excluded: Mapping[int, Sequence[Exclusion]] | None = None
) -> dict[str, Any]:
    """Area of each image over the level coordinate, interpolated between slices that enter means.

    Parameters
    ----------
    tables : mapping of int to Path
        Number of the image on the page -> its per-slice table in OUT.
    excluded : mapping of int to sequence of Exclusion, optional
        Number of the image on the page -> what people excluded of it: it is not drawn.

    Returns
    -------
    dict
        ``first`` (level of place 0), ``step``, ``image`` (numbers), ``start`` (place of the first value),
        ``values`` (lists of tenths of mm², None in gaps); and ``why``, if there is none.
    """
    if len(tables) > MOST_IMAGES:
        return _without(f"{len(tables)} images are too many for one page: means of levels stand for them")
    gone = excluded or {}
    found = {
        image: _read_without(path, gone[image]) if image in gone else _read(path)
        for image, path in tables.items()
    }
    known = {image: points for image, points in found.items() if len(points[0]) > 1}
    if not known:
        return _without("no image has vertebral levels; give disc labels (see Levels and corrections)")
    total = sum(float(np.ptp(levels)) for levels, _ in known.values())
    step = next((step for step in STEPS if total / step <= MOST_POINTS), STEPS[-1])
    drawn = {image: resample(*points, step) for image, points in known.items()}
    return {
        "first": FIRST_LEVEL, "step": step, "image": list(drawn),
        "start": [start for start, _ in drawn.values()], "values": [values for _, values in drawn.values()],
    }  # fmt: skip


def resample(level: Floats, area: Floats, step: float) -> tuple[int, list[int | None]]:
    """One profile on the grid ``FIRST_LEVEL + n * step``.

    Parameters
    ----------
    level : ndarray, shape (n,)
        Increasing level coordinates, n of 1 or more.
    area : ndarray, shape (n,)
        In mm².

    Returns
    -------
    start : int
        Place of the first value on the grid.
    values : list of int or None
        Tenths of mm²; None where the nearest slices are more than 0.6 levels apart.
    """
    first = int(np.ceil((level[0] - FIRST_LEVEL) / step - 1e-9))
    last = int(np.floor((level[-1] - FIRST_LEVEL) / step + 1e-9))
    grid = FIRST_LEVEL + step * np.arange(first, last + 1)
    tenths = np.rint(10.0 * np.interp(grid, level, area)).astype(int)
    right = np.clip(np.searchsorted(level, grid), 1, max(len(level) - 1, 1))
    wide = np.diff(level)[right - 1] > WIDEST_GAP if len(level) > 1 else np.zeros(len(grid), dtype=bool)
    return first, [None if hole else value for value, hole in zip(tenths.tolist(), wide, strict=True)]


def _without(why: str) -> dict[str, Any]:
    return {"first": FIRST_LEVEL, "step": STEPS[0], "image": [], "start": [], "values": [], "why": why}


def _read(path: Path) -> tuple[Floats, Floats]:
    """Levels, increasing, and areas of the slices that enter means; empty if there is no such table."""
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        names = header.split("\t")
        level, area, flags = (names.index(name) for name in ("level", "area_mm2", "flags"))
        cells = [line.split("\t") for line in lines]
        points = [
            (float(row[level]), float(row[area]))
            for row in cells
            if row[level] not in MISSING
            and row[area] not in MISSING
            and OUT_OF_MEANS.isdisjoint(row[flags].split(";"))
        ]
    except (OSError, ValueError, IndexError):
        return np.empty(0), np.empty(0)
    return _inside(points)


def _read_without(path: Path, exclusions: Sequence[Exclusion]) -> tuple[Floats, Floats]:
    """The same without what people excluded; slower, so that only images of a list come here."""
    slices = read_slices(path, exclusions)
    if slices is None:
        return np.empty(0), np.empty(0)
    area = slices.measures["area_mm2"]
    seen = slices.usable & np.isfinite(slices.level) & np.isfinite(area)
    return _inside(list(zip(slices.level[seen].tolist(), area[seen].tolist(), strict=True)))


def _inside(points: list[tuple[float, float]]) -> tuple[Floats, Floats]:
    ordered = np.array(sorted(points)).reshape(-1, 2)
    inside = (ordered[:, 0] >= FIRST_LEVEL) & (ordered[:, 0] < LAST_LEVEL)
    return ordered[inside, 0], ordered[inside, 1]
