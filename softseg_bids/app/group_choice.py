"""What of OUT the group level pools: sessions, the column of sites, and options that belong elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.facts import site_of
from softseg_bids.app.group_read import WHO, who
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.results import session_tables
from softseg_bids.app.settings import Settings


def check_options(settings: Settings) -> None:
    """Refuse options that choose scans: the group level reads what was measured, and would not heed them.

    Raises
    ------
    Stop
        64, with what to do instead.
    """
    given = {"--contrasts": settings.contrasts, "--bids-filter-file": settings.filter_file}
    for name, value in given.items():
        if value:
            raise Stop(
                Exit.USAGE,
                f"{name} chooses scans, and belongs to the participant level; the group level pools what "
                "OUT holds (--contrast-set says over which contrasts variability is computed, --exclude "
                "leaves images out)",
            )


def chosen_tables(settings: Settings) -> list[Path]:
    """The session tables to pool.

    Raises
    ------
    Stop
        66 if there are none, 18 for a participant or session that has none.
    """
    tables = session_tables(settings.out)
    if not tables:
        raise Stop(
            Exit.NO_INPUT, f"{settings.out}: holds no participant's results; run the participant level first"
        )
    for prefix, asked in (("sub-", settings.participants), ("ses-", settings.sessions)):
        if not asked:
            continue
        owner = {table: label_in(table, prefix) for table in tables}
        unknown = sorted(set(asked) - set(owner.values()))
        if unknown:
            there = ", ".join(sorted(filter(None, set(owner.values())))) or "none"
            raise Stop(
                Exit.NOTHING_SELECTED,
                f"{settings.out}: has no results of {prefix}{', '.join(unknown)}; it has {there}",
            )
        tables = [table for table in tables if owner[table] in asked]
    return tables


def label_in(table: Path, prefix: str) -> str:
    """The label of an entity (``sub-``, ``ses-``) in a file's name, empty if it has none."""
    parts = table.name.split("_")
    return next((part.removeprefix(prefix) for part in parts if part.startswith(prefix)), "")


def with_sites(long: pd.DataFrame, facts: Sequence[dict[str, Any]], column: str | None) -> pd.DataFrame:
    """The long table with the sites of another column of participants.tsv or the sessions tables.

    Parameters
    ----------
    long : DataFrame
    facts : sequence of dict
        Of the sessions, with the rows of those tables.
    column : str or None
        None leaves the sites as the participant level found them.

    Raises
    ------
    Stop
        64 if nobody has such a column.
    """
    if column is None:
        return long
    there = {name for said in facts for row in ("participant_row", "session_row") for name in said[row]}
    if column not in there:
        raise Stop(
            Exit.USAGE,
            f"--site-column {column}: no such column of participants.tsv; there are "
            f"{', '.join(sorted(there)) or 'none'}",
        )
    rows = [
        {**who(said), "_site": site_of(said["participant_row"], said["session_row"], {}, column) or None}
        for said in facts
    ]
    sites = pd.DataFrame(rows)
    keys = [frame["session_id"].astype(object).fillna("") for frame in (long, sites)]
    joined = long[["participant_id"]].assign(session_id=keys[0]).merge(
        sites.assign(session_id=keys[1]), on=WHO, how="left", validate="m:1"
    )  # fmt: skip
    return long.assign(site=joined["_site"].to_numpy(dtype=object))
