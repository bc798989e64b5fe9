"""The group's plain tables: which image counts, a column a region and contrast, one row an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from softseg_bids.app.group_read import WHO, who
from softseg_bids.bids.columns import column

LEAST_COVERAGE = 0.8
CORRECTED_FIRST = {"3D": 0, "2D": 1, "unknown": 2, "none": 3}
QC = (
    *WHO, "run", "contrast", "acq", "source_image", "status", "plane", "csa_fit", "length_mm",
    "n_slices", "coverage", "area_mm2", "area_sd_mm2", "n_flagged", "mask_source", "levels_source",
    "gradient_correction", "isocentre_offset_mm", "z_contrasts", "z_site", "excluded", "flags",
)  # fmt: skip


def usable_rows(long: pd.DataFrame) -> pd.DataFrame:
    """Rows that may enter statistics: 80 % of the region measured, in pixels that allow it, not excluded."""
    usable = (
        (long["coverage"] >= LEAST_COVERAGE) & (long["csa_fit"] != "no") & long["area_mm2"].notna()
    )  # fmt: skip
    if "excluded" in long:
        usable &= long["excluded"] != "image"
    return long[usable]


def best_images(long: pd.DataFrame) -> pd.DataFrame:
    """Of several images of one contrast, the one that covers most of a region.

    Coverage counts in whole percent; between equals the one corrected for gradient
    non-linearity, then the first run. Means of less than 80 % of a region are left out, and
    so are pixels too coarse to measure on.
    """
    usable = usable_rows(long)
    ranked = usable.assign(
        _covered=-usable["coverage"].round(2),
        _length=-usable["length_mm"].where(usable["region"] == "cord", 0.0).round(),
        _corrected=usable["gradient_correction"].map(CORRECTED_FIRST),
        session_id=usable["session_id"].astype(object).fillna(""),
    )
    ranked = ranked.sort_values(
        ["_length", "_covered", "_corrected", "run", "source_image"], na_position="first", kind="stable"
    )
    best = ranked.drop_duplicates([*WHO, "contrast", "region"])
    return best.drop(columns=["_covered", "_length", "_corrected"]).sort_index()


def wide(
    best: pd.DataFrame, facts: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """One row a session, a column a region and contrast (``vert-C3_T2w``).

    Harmonised areas, where there are some, stand in columns of their own (``vert-C3_T2w_harmonised``).

    Returns
    -------
    rows : list of dict
        With the participant's own columns (age, sex, ...).
    described : dict
        The data dictionary of all columns but the two identifiers.
    """
    described: dict[str, dict[str, Any]] = {}
    areas: dict[tuple[str, str], dict[str, Any]] = {}
    harmonised = "area_harmonised_mm2" in best
    names = [*WHO, "region", "contrast", "area_mm2", *(["area_harmonised_mm2"] if harmonised else [])]
    for participant, session, region, contrast, *values in zip(
        *(best[name].tolist() for name in names), strict=True
    ):
        cells = areas.setdefault((participant, session or ""), {})
        for value, ending in zip(values, ("", "_harmonised"), strict=False):
            name = f"{region}_{contrast}{ending}"
            cells[name] = value
            if name not in described:
                described[name] = column(
                    f"area_mm2 of {contrast} over {region}, n/a if less than {LEAST_COVERAGE:.0%} is covered"
                    + (", harmonised over scanners (ComBat)" if ending else ""),
                    "mm^2",
                )
    rows = []
    own: dict[str, None] = {}
    for said in facts:
        named = who(said)
        personal = {**said["participant_row"], **said["session_row"]}
        personal = {
            name: value for name, value in personal.items() if name not in WHO and name not in described
        }
        own |= dict.fromkeys(personal)
        rows.append(
            {**named, **personal, **areas.get((named["participant_id"], named["session_id"] or ""), {})}
        )
    personal_columns = {name: column(f"{name} of participants.tsv or the sessions table") for name in own}
    return rows, {**personal_columns, **described}


def quality(
    long: pd.DataFrame, facts: Sequence[dict[str, Any]], outliers: pd.DataFrame | None = None
) -> list[dict[str, Any]]:
    """One row an image: what was seen of the cord, how many slices are flagged, how far it stands apart.

    Parameters
    ----------
    long : DataFrame
    facts : sequence of dict
    outliers : DataFrame, optional
        From `stats.outliers`: index ``source_image``; columns ``z_contrasts z_site flags``.
    """
    flagged = {
        card["source"]: sum(card.get("slice_flags", {}).values()) for said in facts for card in said["images"]
    }
    apart: Mapping[Any, Any] = {} if outliers is None else outliers.to_dict("index")
    cords = long[long["region"] == "cord"]
    names = [name for name in QC if name in cords]
    rows = []
    for values in zip(*(cords[name].tolist() for name in names), strict=True):
        row: dict[str, Any] = dict(zip(names, values, strict=True))
        found = apart.get(row["source_image"], {})
        flags = [row["flags"]] if isinstance(row["flags"], str) and row["flags"] else []
        rows.append(
            {
                **row,
                "n_flagged": flagged.get(row["source_image"]),
                "z_contrasts": found.get("z_contrasts"),
                "z_site": found.get("z_site"),
                "flags": [*flags, *found.get("flags", [])],
            }
        )
    return rows
