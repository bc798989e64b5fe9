"""The ledger of a group: who is missing from which table, from all that could tell it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from softseg_bids.app.exclusions import Exclusion
from softseg_bids.app.group_profiles import Excluded, Idle
from softseg_bids.app.group_read import WHO, who
from softseg_bids.app.group_statistics import Study
from softseg_bids.app.group_tables import LEAST_COVERAGE
from softseg_bids.stats.ledger import (
    of_batches,
    of_centres,
    of_groups,
    of_images,
    of_norms,
    of_people,
    of_sessions,
)

Rows = list[dict[str, Any]]
# Tables that are only there when they were asked for, or when the study has what they are about.
OPTIONAL = ("harmonisation", "compression", "compression_sites", "norms_offset", "change", "change_model")
NO_EFFECT = "exclusion without effect"


def ledger(
    study: Study,
    long: pd.DataFrame,
    facts: Sequence[Mapping[str, Any]],
    tables: Mapping[str, Sequence[dict[str, Any]]],
    lost: Iterable[dict[str, Any]],
) -> Rows:
    """All rows of the ledger.

    Parameters
    ----------
    study : Study
    long : DataFrame
        All rows, with what people excluded.
    facts : sequence of mapping
        Of the sessions.
    tables : mapping of str to sequence of dict
        The tables of statistics, by name.
    lost : iterable of dict
        Rows that the steps themselves told: they were tried, so that they stand in the ledger even if
        nothing is left in the table.
    """
    sessions = [
        {"who": who(dict(said)), **{key: said[key] for key in ("missing", "images")}} for said in facts
    ]
    settings = study.settings
    group = study.group if study.control is not None else None
    rows = [
        *of_sessions(sessions, settings.contrast_set),
        *of_images(long, LEAST_COVERAGE, settings.include_limited),
        *of_people(study.people, study.covariates, group, settings.formula),
        *(of_groups(study.people, group) if group is not None else []),
        *of_centres(study.best.drop_duplicates(WHO)),
        *of_batches(study.best, tables.get("harmonisation", ())),
        *of_norms(study.best, tables.get("norms_offset", ())),
    ]
    # Nobody is missing from a table that is not there.
    absent = {name for name in OPTIONAL if not tables.get(name)}
    kept = [(row, _there(row["figures"], absent)) for row in rows]
    return [*({**row, "figures": figures} for row, figures in kept if figures), *lost]


def of_exclusions(
    long: pd.DataFrame, exclusions: Sequence[Exclusion], excluded: Excluded, idle: Iterable[Idle]
) -> Rows:
    """Exclusions that are about no image, are not understood, or took nothing out.

    Parameters
    ----------
    long : DataFrame
        All rows.
    exclusions : sequence of Exclusion
        All that were listed.
    excluded : mapping of str to sequence of Exclusion
        Source image -> what is about it.
    idle : iterable of Idle
    """
    used = {exclusion for found in excluded.values() for exclusion in found}
    rows: Rows = []
    for each in exclusions:
        if each.what == "nothing":
            reason = f"{each.reason}: this list is not about the cord's mask or levels, and excludes nothing"
            rows.append({"input": each.file, "status": NO_EFFECT, "reason": reason, "figures": "none"})
        elif each not in used:
            reason = "no image of this name is there"
            rows.append(
                {"input": each.file, "status": "unknown exclusion", "reason": reason, "figures": "none"}
            )
    named = long.drop_duplicates("source_image").set_index("source_image")[[*WHO, "contrast"]]
    rows += [
        {
            **dict(zip(named.columns, named.loc[each.source], strict=True)), "input": each.source,
            "status": NO_EFFECT, "reason": f"{each.exclusion.said}: {each.reason}", "figures": "none",
        }
        for each in idle
    ]  # fmt: skip
    return rows


def _there(figures: str | Sequence[str], absent: set[str]) -> str | list[str]:
    return figures if isinstance(figures, str) else [name for name in figures if name not in absent]
