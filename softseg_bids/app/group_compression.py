"""Compression from the per-slice tables in OUT: minima per level, and narrowings."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app.exclusions import MISSING, unquoted
from softseg_bids.app.group_choice import label_in
from softseg_bids.app.group_profiles import NOTHING, Excluded, read_slices
from softseg_bids.app.group_tables import LEAST_COVERAGE
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.stats.compression import cord_of, level_minima, site_level, sites

Rows = list[dict[str, Any]]
KEYS = ("participant_id", "session_id", "contrast")
NO_PROFILE = {"status": "no profile", "figures": ("compression", "compression_sites")}
TOO_LITTLE = f"under {LEAST_COVERAGE:.0%} of the cord in view was measured"


def read_sites(path: Path) -> dict[str, list[float]]:
    """Given sites by participant (``sub-01``) or session (``sub-01_ses-A``), as level coordinates.

    A table with the columns ``participant_id``, perhaps ``session_id`` (each with or without its ``sub-``,
    ``ses-``), and ``site`` (C5-C6, C5 or 6.0).

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
            session = unquoted(row.get("session_id") or "")
            parts = [_labelled("sub-", unquoted(row["participant_id"] or ""))]
            parts += [_labelled("ses-", session)] if session not in MISSING else []
            try:
                found.setdefault("_".join(parts), []).append(site_level(unquoted(row["site"] or "")))
            except ValueError as error:
                raise Stop(Exit.USAGE, f"{path}, line {number}: {error}") from error
    return found


def _labelled(prefix: str, name: str) -> str:
    return name if name.startswith(prefix) else f"{prefix}{name}"


def check_sites(given: Iterable[str], tables: Iterable[Path], path: Path) -> None:
    """Refuse sites of whom there are no results: they would be given to nobody.

    Parameters
    ----------
    given : iterable of str
        Keys of :func:`read_sites`.
    tables : iterable of Path
        All session tables of OUT, whether pooled or not.
    path : Path
        Where the sites stand.

    Raises
    ------
    Stop
        64, naming them.
    """
    known: set[str] = set()
    for table in tables:
        participant, session = (label_in(table, prefix) for prefix in ("sub-", "ses-"))
        known |= {f"sub-{participant}", f"sub-{participant}_ses-{session}"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise Stop(
            Exit.USAGE,
            f"--compression {path}: OUT has no results of {', '.join(unknown)}; correct participant_id and "
            "session_id there",
        )


def compression(
    best: pd.DataFrame,
    tables: Mapping[str, Path],
    given: Mapping[str, list[float]] | None,
    excluded: Excluded = NOTHING,
) -> tuple[Rows, Rows, Rows]:
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

    Returns
    -------
    minima, sites : list of dict
        Rows of the two tables.
    lost : list of dict
        Rows of the ledger: images of which there are no minima, or no sites either, and why.
    """
    minima: Rows = []
    found: Rows = []
    lost: Rows = []
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
        named = {"participant_id": participant, "session_id": session, "contrast": contrast}
        if cord is None:
            why = (
                "its per-slice table is not in OUT" if slices is None else "under two slices may enter a mean"
            )
            lost.append({**named, "input": source, **NO_PROFILE, "reason": why})
            continue
        if not np.isfinite(cord.level).any():
            why = "its slices have no vertebral levels"
            lost.append({**named, "input": source, **NO_PROFILE, "reason": why, "figures": ("compression",)})
        named["source_image"] = source
        own = given or {}
        asked = own.get(f"{participant}_{session}", own.get(participant))
        minima += [{**named, **row} for row in level_minima(cord)]
        found += [{**named, **row} for row in sites(cord, asked)]
    whole = zip(*(images[name].tolist() for name in KEYS), strict=True)
    without = best[
        ~pd.Series(zip(*(best[name] for name in KEYS), strict=True), index=best.index).isin(set(whole))
    ]
    lost += [
        {**dict(zip(KEYS, key, strict=True)), **NO_PROFILE, "reason": TOO_LITTLE}
        for key in without[list(KEYS)].drop_duplicates().itertuples(index=False)
    ]
    return minima, found, lost
