"""Visits of one person measured over the identical stretch of cord, from the per-slice tables in OUT.

Sessions are brought to the middle of all along the cord, by the shape of the cord and by labels; a
region's limits are the mean of what the sessions say there, so that all are labelled once; and only
what every session of the contrast covers is measured. What cannot be compared is told with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app.group_profiles import NOTHING, Excluded, Slices, read_slices
from softseg_bids.app.group_read import WHO
from softseg_bids.app.group_tables import LEAST_COVERAGE, best_images, usable_rows
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
    "software", "acquisition", "coverage", "shift_error_mm", "alignment",
]  # fmt: skip
FACTS = ("person_id", "participant_id", "session_id", "years", "scanner", "software", "acquisition")
# What makes two images of one contrast different pictures of a cord.
ACQUISITION = ("acq", "ce", "rec", "plane")
NOT_COMPARED = "not compared"
FIGURES = ("change", "change_model")
Tables = Mapping[str, Path]
Lost = list[dict[str, Any]]


def comparable(long: pd.DataFrame, best: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    """The images of everyone with several sessions, of one acquisition at all visits where there is one.

    The best image of each session may be an axial one now and a sagittal one then: their difference
    is no change of the cord.

    Parameters
    ----------
    long : DataFrame
        All rows.
    best : DataFrame
        One row a session, contrast and region.
    people : DataFrame
        One row a session: ``participant_id session_id person_id years``.

    Returns
    -------
    DataFrame
        Rows as of ``best``, with ``person_id years visit acquisition``.
    """
    again = people[people.duplicated("person_id", keep=False)]
    chosen = _of_people(best, again)
    mixed = chosen.groupby(["person_id", "contrast"], sort=False)["acquisition"].nunique()
    wanted = {
        key: found
        for key, part in _of_people(usable_rows(long), again).groupby(["person_id", "contrast"], sort=False)
        if mixed.get(key, 0) > 1 and (found := _at_all_visits(part)) is not None
    }
    if not wanted:
        return chosen
    every = _of_people(long, again)
    asked = [wanted.get(key) for key in zip(every["person_id"], every["contrast"], strict=True)]
    other = best_images(every[every["acquisition"] == asked])
    kept = [key not in wanted for key in zip(chosen["person_id"], chosen["contrast"], strict=True)]
    return pd.concat([chosen[kept], other], ignore_index=True)


def _of_people(rows: pd.DataFrame, people: pd.DataFrame) -> pd.DataFrame:
    part = rows[rows["participant_id"].isin(people["participant_id"])]
    part = part.assign(session_id=part["session_id"].astype(object).fillna(""))
    part = part.merge(people[[*WHO, "person_id", "years"]], on=WHO, how="inner", validate="m:1")
    said = [part[name].astype(object).fillna("").astype(str) for name in ACQUISITION]
    named = [text.where(text == "", f"{name}-" + text) for name, text in zip(ACQUISITION, said, strict=True)]
    return part.assign(
        visit=part["participant_id"] + "/" + part["session_id"],
        acquisition=[" ".join(filter(None, each)) for each in zip(*named, strict=True)],
    )


def _at_all_visits(part: pd.DataFrame) -> str | None:
    """The acquisition that every visit has; of several the one that shows most cord."""
    at = part.groupby("acquisition", sort=False)["visit"].nunique()
    everywhere = at.index[at == part["visit"].nunique()]
    longest = part.groupby(["acquisition", "visit"])["length_mm"].max().groupby("acquisition").sum()
    return str(longest[everywhere].idxmax()) if len(everywhere) else None


def visits(best: pd.DataFrame, tables: Tables, excluded: Excluded = NOTHING) -> tuple[pd.DataFrame, Lost]:
    """Areas of everyone with several sessions, each contrast on its own.

    Parameters
    ----------
    best : DataFrame
        From :func:`comparable`.
    tables : mapping of str to Path
        Source image -> its per-slice table.
    excluded : mapping, optional
        Source image -> what people excluded of it: it is measured at no visit.

    Returns
    -------
    found : DataFrame
        Columns `COLUMNS`; ``alignment`` is ``midpoint``, or ``labels`` where sessions could not be aligned
        (each region as each session measured it).
    lost : list of dict
        Rows of the ledger: visits and regions that are compared with nothing, and why.
    """
    several = best.groupby("person_id")["visit"].transform("nunique") > 1
    rows: list[dict[str, Any]] = []
    lost: Lost = []
    for _, part in best[several].groupby("person_id", sort=False):
        found, missing = _person(part, tables, excluded)
        rows += found
        lost += missing
    return pd.DataFrame(rows, columns=COLUMNS), lost


def _person(part: pd.DataFrame, tables: Tables, excluded: Excluded) -> tuple[list[dict[str, Any]], Lost]:
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
    lost: Lost = []
    for contrast in part["contrast"].unique().tolist():
        own = part[part["contrast"] == contrast]
        firsts = images[images["contrast"] == contrast].set_index("visit", drop=False)
        there = [visit for visit in order if (contrast, visit) in slices]
        unread = [visit for visit in firsts.index if visit not in there]
        lost += _lost(firsts.loc[unread], "its per-slice table is not in OUT, or is empty")
        if len(there) < 2:
            lost += _lost(firsts.loc[there], "no other visit of the person has this contrast")
            continue
        chosen = moves
        if any((contrast, visit) in alone for visit in there):
            chosen = _moves(there, {(contrast, visit): slices[contrast, visit] for visit in there}, {})
        facts = firsts[list(FACTS)].to_dict("index")
        if chosen is not None and all(visit in chosen for visit in there):
            found, why = _identical(own, {visit: (slices[contrast, visit], chosen[visit]) for visit in there})
        else:
            found, why = _as_labelled(own)
        rows += [{**facts[row["visit"]], "contrast": contrast, **row} for row in found]
        for reason, regions in why.items():
            lost += _lost(firsts.loc[there], reason, regions)
    return rows, lost


def _lost(images: pd.DataFrame, reason: str, regions: Sequence[str] = ()) -> Lost:
    """Rows of the ledger, one an image."""
    names = ["participant_id", "session_id", "contrast", "source_image"]
    return [
        {
            **dict(zip([*names[:3], "input"], row, strict=True)), "region": ";".join(regions),
            "status": NOT_COMPARED, "reason": reason, "figures": FIGURES,
        }
        for row in images[names].itertuples(index=False)
    ]  # fmt: skip


def _as_labelled(own: pd.DataFrame) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Regions as each session measured them, where sessions cannot be aligned; reasons as of `_identical`."""
    names = ["visit", "region", "area_mm2", "coverage", "acquisition"]
    rows = own.loc[~own["region"].isin(OWN_STRETCHES), names].itertuples(index=False)
    found = [{**dict(zip(names, row, strict=True)), "alignment": "labels"} for row in rows]
    why = f"the visits cannot be aligned within {MOST_ERROR_MM:g} mm"
    return found, {why: [WHOLE]} if found else {f"{why}, and no region is labelled": []}


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


def _identical(
    own: pd.DataFrame, views: Mapping[str, tuple[Slices, Shift]]
) -> tuple[list[dict[str, Any]], dict[str, list[str]]]:
    """Every region over what all visits cover of it, and the whole stretch they share.

    Returns
    -------
    rows : list of dict
    why : dict of str to list of str
        Reason -> the regions that were not compared; none names all.
    """
    why: dict[str, list[str]] = {}
    extents = {visit: slices.extent_mm for visit, (slices, _) in views.items()}
    if any(extent is None for extent in extents.values()):
        return [], {"no slice of one of the visits may enter a mean": []}
    seen = [
        (extent[0] + views[visit][1].shift_mm, extent[1] + views[visit][1].shift_mm)
        for visit, extent in extents.items()
        if extent is not None
    ]
    low, high = max(start for start, _ in seen), min(end for _, end in seen)
    short = f"all visits together cover less than {LEAST_COVERAGE:.0%} of it"
    little = (
        f"the visits share {max(high - low, 0.0):.0f} mm of cord, of which all that may enter a mean must be "
        f"{LEAST_STRETCH_MM:.0f} mm"
    )
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
        else:
            why.setdefault(short, []).append(str(region))
    if high - low >= LEAST_STRETCH_MM:
        limits[WHOLE] = (low, high)
    else:
        why[little] = [WHOLE]
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
            why.setdefault(little if name == WHOLE else short, []).append(name)
            continue
        rows += [
            {
                "visit": each["visit"], "region": name, "area_mm2": each["area_mm2"],
                "coverage": each["length_mm"] / (end - start), "shift_error_mm": each["shift_error_mm"],
                "alignment": "midpoint",
            }
            for each in found
        ]  # fmt: skip
    return rows, why


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
