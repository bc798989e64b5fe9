"""Visits of one person measured over the identical stretch of cord, from the per-slice tables in OUT.

Sessions are brought to the middle of all along the cord, by the shape of the cord and by labels; a
region's limits are the mean of what the sessions say there, so that all are labelled once; and only
what every session of the contrast covers is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app.group_profiles import NOTHING, Excluded, Slices, read_slices
from softseg_bids.app.group_tables import LEAST_COVERAGE
from softseg_bids.core.levels import LEVEL_NAMES
from softseg_bids.core.midpoint import Profile, Shift, midpoint, pooled, shift_between, shift_of_labels
from softseg_bids.stats.design import OWN_STRETCHES

FEATURES = ("area_mm2", "diameter_ap_mm", "diameter_rl_mm")
# A stretch that is known worse than this is not the same stretch.
MOST_ERROR_MM = 3.0
LEAST_STRETCH_MM = 20.0
ROUNDING_MM = 1e-6
WHOLE = "stretch"
NUMBERS = {f"vert-{name}": number for number, name in LEVEL_NAMES.items()}
COLUMNS = [
    "person_id", "participant_id", "session_id", "contrast", "region", "area_mm2", "years", "scanner",
    "software", "coverage", "shift_error_mm", "alignment",
]  # fmt: skip
FACTS = ("person_id", "participant_id", "session_id", "years", "scanner", "software")
Tables = Mapping[str, Path]


def visits(best: pd.DataFrame, tables: Tables, excluded: Excluded = NOTHING) -> pd.DataFrame:
    """Areas of everyone with several sessions, each contrast on its own.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region, with ``person_id years``.
    tables : mapping of str to Path
        Source image -> its per-slice table.
    excluded : mapping, optional
        Source image -> what people excluded of it: it is measured at no visit.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`; ``alignment`` is ``midpoint``, or ``labels`` where sessions could not be aligned
        (each region as each session measured it).
    """
    keyed = best.assign(visit=best["participant_id"] + "/" + best["session_id"])
    several = keyed.groupby("person_id")["visit"].transform("nunique") > 1
    rows: list[dict[str, Any]] = []
    for _, part in keyed[several].groupby("person_id", sort=False):
        rows += _person(part, tables, excluded)
    return pd.DataFrame(rows, columns=COLUMNS)


def _person(part: pd.DataFrame, tables: Tables, excluded: Excluded) -> list[dict[str, Any]]:
    order = part.sort_values(["years", "visit"], kind="stable")["visit"].unique().tolist()
    # The image of a contrast: the one with most cord, unless too much of that is missing.
    images = part.sort_values("region", key=lambda names: names != "cord", kind="stable")
    images = images.drop_duplicates(["visit", "contrast"])
    named = zip(images["contrast"], images["visit"], images["source_image"], images["flags"], strict=True)
    slices: dict[tuple[str, str], Slices] = {}
    alone: set[tuple[str, str]] = set()
    for contrast, visit, source, flags in named:
        read = read_slices(tables[source], excluded.get(source, ())) if source in tables else None
        if read is not None:
            slices[contrast, visit] = read
        if "not_shared" in str(flags):
            alone.add((contrast, visit))
    labels = {visit: _labels(part[part["visit"] == visit]) for visit in order}
    moves = _moves(order, {key: found for key, found in slices.items() if key not in alone}, labels)
    rows: list[dict[str, Any]] = []
    for contrast in part["contrast"].unique().tolist():
        own = part[part["contrast"] == contrast]
        there = [visit for visit in order if (contrast, visit) in slices]
        if len(there) < 2:
            continue
        chosen = moves
        if any((contrast, visit) in alone for visit in there):
            chosen = _moves(there, {(contrast, visit): slices[contrast, visit] for visit in there}, {})
        firsts = own.drop_duplicates("visit")
        values = firsts[list(FACTS)].itertuples(index=False)
        facts = dict(
            zip(firsts["visit"], (dict(zip(FACTS, row, strict=True)) for row in values), strict=True)
        )
        if chosen is not None and all(visit in chosen for visit in there):
            found = _identical(own, {visit: (slices[contrast, visit], chosen[visit]) for visit in there})
        else:
            found = _as_labelled(own)
        rows += [{**facts[row["visit"]], "contrast": contrast, **row} for row in found]
    return rows


def _as_labelled(own: pd.DataFrame) -> list[dict[str, Any]]:
    """Regions as each session measured them, where sessions cannot be aligned."""
    names = ["visit", "region", "area_mm2", "coverage"]
    rows = own.loc[~own["region"].isin(OWN_STRETCHES), names].itertuples(index=False)
    return [{**dict(zip(names, row, strict=True)), "alignment": "labels"} for row in rows]


def _labels(session: pd.DataFrame) -> dict[int, float]:
    """Disc positions of a session, as the limits of its vertebral regions say them."""
    found: dict[int, float] = {}
    for region, start, end in zip(session["region"], session["start_mm"], session["end_mm"], strict=True):
        if region in NUMBERS:
            found.setdefault(NUMBERS[region], float(start))
            found.setdefault(NUMBERS[region] + 1, float(end))
    return found


def _profile(slices: Slices) -> Profile | None:
    features = np.column_stack([slices.measures[name] for name in FEATURES])
    known = slices.usable & (np.isfinite(features) & (features > 0)).all(axis=1)
    if known.sum() < 3:
        return None
    order = np.argsort(slices.position_mm[known])
    return Profile(slices.position_mm[known][order], features[known][order])


def _moves(
    order: list[str], slices: Mapping[tuple[Any, str], Slices], labels: Mapping[str, dict[int, float]]
) -> dict[str, Shift] | None:
    """How far each visit is to be moved to the middle of all; None if they cannot be aligned."""
    first, *later = order
    profiles = {key: _profile(found) for key, found in slices.items()}
    shifts = [Shift(0.0, 0.0)]
    for visit in later:
        found = []
        for contrast in {contrast for contrast, _ in slices}:
            fixed, moving = profiles.get((contrast, first)), profiles.get((contrast, visit))
            if fixed is not None and moving is not None:
                found.append(shift_between(fixed, moving))
        found.append(shift_of_labels(labels.get(first, {}), labels.get(visit, {})))
        mean = pooled([shift for shift in found if shift is not None])
        if mean is None or mean.error_mm > MOST_ERROR_MM:
            return None
        shifts.append(mean)
    moved = midpoint([shift.shift_mm for shift in shifts])
    return {
        visit: Shift(to, shift.error_mm) for visit, to, shift in zip(order, moved, shifts, strict=True)
    }  # fmt: skip


def _identical(own: pd.DataFrame, views: Mapping[str, tuple[Slices, Shift]]) -> list[dict[str, Any]]:
    """Every region over what all visits cover of it, and the whole stretch they share."""
    extents = {visit: slices.extent_mm for visit, (slices, _) in views.items()}
    if any(extent is None for extent in extents.values()):
        return []
    seen = [
        (extent[0] + views[visit][1].shift_mm, extent[1] + views[visit][1].shift_mm)
        for visit, extent in extents.items()
        if extent is not None
    ]
    low, high = max(start for start, _ in seen), min(end for _, end in seen)
    limits: dict[str, tuple[float, float]] = {}
    moved = {visit: shift.shift_mm for visit, (_, shift) in views.items()}
    there = own[~own["region"].isin(OWN_STRETCHES) & own["visit"].isin(views)]
    for region, part in there.groupby("region", sort=False):
        by = np.array([moved[visit] for visit in part["visit"]])
        start, end = (
            float(np.mean(part[name].to_numpy(dtype=float) + by)) for name in ("start_mm", "end_mm")
        )
        if min(end, high) - max(start, low) >= LEAST_COVERAGE * (end - start):
            limits[str(region)] = (start, end)
    if high - low >= LEAST_STRETCH_MM:
        limits[WHOLE] = (low, high)
    views = _without_holes(views)
    rows: list[dict[str, Any]] = []
    for name, (start, end) in limits.items():
        found: list[dict[str, Any]] = [
            {
                **slices.mean(max(start, low) - shift.shift_mm, min(end, high) - shift.shift_mm),
                "visit": visit, "shift_error_mm": shift.error_mm,
            }
            for visit, (slices, shift) in views.items()
        ]  # fmt: skip
        least = LEAST_STRETCH_MM if name == WHOLE else LEAST_COVERAGE * (end - start)
        if min(each["length_mm"] for each in found) < least - ROUNDING_MM:
            continue
        rows += [
            {
                "visit": each["visit"], "region": name, "area_mm2": each["area_mm2"],
                "coverage": each["length_mm"] / (end - start), "shift_error_mm": each["shift_error_mm"],
                "alignment": "midpoint",
            }
            for each in found
        ]  # fmt: skip
    return rows


def _without_holes(views: Mapping[str, tuple[Slices, Shift]]) -> dict[str, tuple[Slices, Shift]]:
    """What one visit lacks (excluded slices, voids) is measured at none: the stretch stays identical."""
    seen = {
        visit: slices.usable & np.isfinite(slices.measures["area_mm2"])
        for visit, (slices, _) in views.items()
    }
    holes = {
        visit: np.column_stack([slices.starts_mm, slices.ends_mm])[~seen[visit]] + shift.shift_mm
        for visit, (slices, shift) in views.items()
    }
    found: dict[str, tuple[Slices, Shift]] = {}
    for visit, (slices, shift) in views.items():
        middle = (slices.position_mm + shift.shift_mm)[:, None]
        others = np.concatenate([hole for other, hole in holes.items() if other != visit])
        gone = ((middle > others[:, 0]) & (middle < others[:, 1])).any(axis=1)
        found[visit] = slices._replace(usable=slices.usable & ~gone), shift
    return found
