"""Compression from the per-slice tables in OUT: minima per level, and narrowings."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.group_profiles import NOTHING, Excluded, read_slices
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.stats.compression import cord_of, level_minima, site_level, sites

Rows = list[dict[str, Any]]


def read_sites(path: Path) -> dict[str, list[float]]:
    """Given sites by participant (``sub-01``) or session (``sub-01_ses-A``), as level coordinates.

    A table with the columns ``participant_id``, perhaps ``session_id``, and ``site`` (C5-C6, C5 or 6.0).

    Raises
    ------
    Stop
        64, with the file and line, if it cannot be read.
    """
    found: dict[str, list[float]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        if not {"participant_id", "site"} <= set(reader.fieldnames or ()):
            raise Stop(Exit.USAGE, f"{path}: needs the columns participant_id and site")
        for number, row in enumerate(reader, start=2):
            session = row.get("session_id")
            key = row["participant_id"] + (f"_{session}" if session and session != "n/a" else "")
            try:
                found.setdefault(key, []).append(site_level(row["site"] or ""))
            except ValueError as error:
                raise Stop(Exit.USAGE, f"{path}, line {number}: {error}") from error
    return found


def compression(
    best: pd.DataFrame,
    tables: Mapping[str, Path],
    given: Mapping[str, list[float]] | None,
    excluded: Excluded = NOTHING,
) -> tuple[Rows, Rows]:
    """Minima per level, and sites, of the best image of every session and contrast.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region.
    tables : mapping of str to Path
        Source image -> its per-slice table.
    given : mapping, optional
        From :func:`read_sites`; without it, and for whom it does not name, sites are detected.
    excluded : mapping, optional
        Source image -> what people excluded of it; nothing is read there.
    """
    minima: Rows = []
    found: Rows = []
    images = best[best["region"] == "cord"]
    for participant, session, contrast, source in zip(
        *(images[name].tolist() for name in ("participant_id", "session_id", "contrast", "source_image")),
        strict=True,
    ):
        slices = read_slices(tables[source], excluded.get(source, ())) if source in tables else None
        cord = (
            cord_of(slices.position_mm, slices.level, slices.measures, slices.usable)
            if slices is not None
            else None
        )
        if cord is None:
            continue
        named = {
            "participant_id": participant,
            "session_id": session,
            "contrast": contrast,
            "source_image": source,
        }
        own = given or {}
        asked = own.get(f"{participant}_{session}", own.get(participant))
        minima += [{**named, **row} for row in level_minima(cord)]
        found += [{**named, **row} for row in sites(cord, asked)]
    return minima, found
