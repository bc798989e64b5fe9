"""The group level: every table of OUT in one, from OUT alone.

A missing contrast never stops it; it is a row of the ledger. Repeats and reconstructions of
one contrast all stay in the long table, and the one that covers most of a region enters
statistics.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from softseg_bids.app.columns import LONG
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.results import session_facts, session_tables
from softseg_bids.app.settings import Settings
from softseg_bids.bids import derivatives
from softseg_bids.bids.columns import column

LEAST_COVERAGE = 0.8
WHO = ["participant_id", "session_id"]
TEXT = (
    "participant_id", "session_id", "run", "contrast", "acq", "ce", "rec", "plane", "site",
    "manufacturer", "scanner", "software", "region", "source_image", "csa_fit", "mask_source",
    "levels_source", "angle_source", "gradient_correction", "model_hash", "version", "status", "flags",
)  # fmt: skip
CORRECTED_FIRST = {"3D": 0, "2D": 1, "unknown": 2, "none": 3}
VARIABILITY = (
    *WHO, "region", "contrast_set", "members", "n_contrasts", "mean_mm2", "sd_mm2", "cv_percent",
    "range_mm2", "dwi_mm2",
)  # fmt: skip
MISSING = (*WHO, "contrast", "input", "status", "reason")
QC = (
    *WHO, "run", "contrast", "acq", "source_image", "status", "plane", "csa_fit", "length_mm",
    "n_slices", "coverage", "area_mm2", "area_sd_mm2", "n_flagged", "mask_source", "levels_source",
    "gradient_correction", "isocentre_offset_mm", "flags",
)  # fmt: skip
STATUS = {
    "Description": "What became of the input",
    "Levels": {
        "failed": "could not be processed",
        "left out": "not chosen",
        "not run": "the run stopped before",
        "no_cord": "no cord in the picture",
        "absent": "the session has no image of this contrast",
    },
}


def run(settings: Settings) -> Exit:
    """Write the group's tables.

    Raises
    ------
    Stop
        66 if OUT holds no results, 18 for an unknown participant, 64 if results of different
        models or versions would be pooled.
    """
    tables = chosen_tables(settings)
    facts = [session_facts(table) for table in tables]
    long = pd.concat([read_long(table) for table in tables], ignore_index=True)
    if not settings.allow_mixed:
        check_uniform(long, settings.out)
    out = settings.out
    derivatives.write_table(out / "group_csa.tsv", _records(long), columns=LONG)
    best = best_images(long)
    rows, described = wide(best, facts)
    derivatives.write_table(out / "group_csa_wide.tsv", rows, described, columns=[*WHO, *described])
    spread = variability(best, settings.contrast_set)
    described = {
        "dwi_mm2": column("area_mm2 of the DWI, which is distorted and no member of the set", "mm^2")
    }
    derivatives.write_table(out / "group_variability.tsv", spread, described, columns=VARIABILITY)
    lost = missing(long, facts, settings.contrast_set)
    derivatives.write_table(out / "group_missing.tsv", lost, {"status": STATUS}, columns=MISSING)
    derivatives.write_table(out / "group_qc.tsv", quality(long, facts), columns=QC)
    who = long["participant_id"].nunique()
    sys.stderr.write(
        f"softseg: {long['source_image'].nunique()} images of {who} participants pooled in {out}\n"
    )
    return Exit.DONE


def chosen_tables(settings: Settings) -> list[Path]:
    """The session tables to pool.

    Raises
    ------
    Stop
        66 if there are none, 18 for a participant who has none.
    """
    tables = session_tables(settings.out)
    if not tables:
        raise Stop(
            Exit.NO_INPUT, f"{settings.out}: holds no participant's results; run the participant level first"
        )
    if not settings.participants:
        return tables
    owner = {table: table.name.split("_", 1)[0].removeprefix("sub-") for table in tables}
    unknown = sorted(set(settings.participants) - set(owner.values()))
    if unknown:
        there = ", ".join(sorted(set(owner.values())))
        raise Stop(
            Exit.NOTHING_SELECTED, f"{settings.out}: has no results of {', '.join(unknown)}; it has {there}"
        )
    return [table for table in tables if owner[table] in settings.participants]


def read_long(table: Path) -> pd.DataFrame:
    """One session's joined table; text stays text, missing values are NaN."""
    return pd.read_csv(
        table, sep="\t", dtype=dict.fromkeys(TEXT, str), na_values=["n/a"], keep_default_na=False
    )


def check_uniform(long: pd.DataFrame, out: Path) -> None:
    """Refuse to pool what different models or versions computed.

    Raises
    ------
    Stop
        64, naming them.
    """
    for name, what in (("model_hash", "models"), ("version", "versions")):
        found = sorted(long[name].dropna().unique())
        if len(found) > 1:
            raise Stop(
                Exit.USAGE,
                f"{out}: holds results of different {what} ({', '.join(found)}); "
                "run the participant level again for all, or pool them with --allow-mixed",
            )


def best_images(long: pd.DataFrame) -> pd.DataFrame:
    """Of several images of one contrast, the one that covers most of a region.

    Coverage counts in whole percent; between equals the one corrected for gradient
    non-linearity, then the first run. Means of less than 80 % of a region are left out, and
    so are pixels too coarse to measure on.
    """
    usable = long[(long["coverage"] >= LEAST_COVERAGE) & (long["csa_fit"] != "no") & long["area_mm2"].notna()]
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

    Returns
    -------
    rows : list of dict
        With the participant's own columns (age, sex, ...).
    described : dict
        The data dictionary of all columns but the two identifiers.
    """
    order = dict.fromkeys(
        f"{region}_{contrast}" for region, contrast in zip(best["region"], best["contrast"], strict=True)
    )
    areas: dict[tuple[str, str], dict[str, Any]] = {}
    for row in _records(best):
        cells = areas.setdefault((row["participant_id"], row["session_id"] or ""), {})
        cells[f"{row['region']}_{row['contrast']}"] = row["area_mm2"]
    rows = []
    own: dict[str, None] = {}
    for said in facts:
        who = _who(said)
        personal = {**said["participant_row"], **said["session_row"]}
        personal = {name: value for name, value in personal.items() if name not in WHO and name not in order}
        own |= dict.fromkeys(personal)
        rows.append({**who, **personal, **areas.get((who["participant_id"], who["session_id"] or ""), {})})
    described = {name: column(f"{name} of participants.tsv or the sessions table") for name in own}
    for name in order:
        region, contrast = name.rsplit("_", 1)
        described[name] = column(
            f"area_mm2 of {contrast} over {region}, n/a if less than {LEAST_COVERAGE:.0%} is covered",
            "mm^2",
        )
    return rows, described


def variability(best: pd.DataFrame, contrast_set: Iterable[str]) -> list[dict[str, Any]]:
    """Spread of area over a declared set of contrasts, per session and region.

    ``cord`` is left out: it is another stretch in every image.
    """
    members = list(contrast_set)
    rows = []
    shared = best[best["region"] != "cord"]
    for (participant, session, region), part in shared.groupby([*WHO, "region"], sort=False):
        areas = part.set_index("contrast")["area_mm2"]
        there = [name for name in members if name in areas.index]
        values = areas.loc[there]
        several = len(there) > 1
        mean, spread = values.mean(), values.std(ddof=1)
        rows.append(
            {
                "participant_id": participant,
                "session_id": session,
                "region": region,
                "contrast_set": members,
                "members": there,
                "n_contrasts": len(there),
                "mean_mm2": mean,
                "sd_mm2": spread,
                "cv_percent": 100 * spread / mean if several else None,
                "range_mm2": values.max() - values.min() if several else None,
                "dwi_mm2": areas.get("DWI"),
            }
        )
    return rows


def missing(
    long: pd.DataFrame, facts: Sequence[dict[str, Any]], contrast_set: Iterable[str]
) -> list[dict[str, Any]]:
    """The ledger: every input without a measurement, and every contrast of the set a session lacks."""
    members = list(contrast_set)
    rows: list[dict[str, Any]] = []
    for said in facts:
        who = _who(said)
        rows += [{**who, **entry} for entry in said["missing"]]
        rows += [
            {
                **who,
                "contrast": card["contrast"],
                "input": card["source"],
                "status": "no_cord",
                "reason": "no cord was found in it",
            }
            for card in said["images"]
            if card["status"] == "no_cord"
        ]
        known = {card["contrast"] for card in said["images"]} | {
            entry["contrast"] for entry in said["missing"]
        }
        rows += [
            {
                **who,
                "contrast": name,
                "status": "absent",
                "reason": "the session has no image of this contrast",
            }
            for name in members
            if name not in known
        ]
    return rows


def quality(long: pd.DataFrame, facts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an image: what was seen of the cord, and how many slices are flagged."""
    flagged = {
        card["source"]: sum(card.get("slice_flags", {}).values()) for said in facts for card in said["images"]
    }
    rows = _records(long[long["region"] == "cord"])
    return [
        {name: row.get(name) for name in QC} | {"n_flagged": flagged.get(row["source_image"])} for row in rows
    ]


def _who(said: dict[str, Any]) -> dict[str, Any]:
    session = said["session"]
    return {
        "participant_id": f"sub-{said['participant']}",
        "session_id": f"ses-{session}" if session else None,
    }


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): _value(value) for name, value in row.items()} for row in frame.to_dict("records")]


def _value(value: Any) -> Any:
    return None if pd.isna(value) else value
