"""Compression: minima per level, and narrowings against the cord above and below.

Everything is read from the profile over positions along the cord, interpolated between slices: on
5 mm slices a minimum lies where the interpolated profile has it, and levels begin where they do.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.levels import LEVEL_NAMES

Floats = NDArray[np.float64]

STEP_MM = 0.5
WINDOW_MM, DISTANCE_MM = 20.0, 10.0
LEAST_WINDOW = 0.5
# Over voids and excluded slices nothing is interpolated, but for a slice or two of 1 mm.
BRIDGED_MM = 3.0
# About a given site the narrowest place is looked for: a disc is labelled within some millimetres.
SEARCH_MM = 7.5
# Healthy cords stay above this (docs/statistics.md, outliers and narrowings); narrower is a compression.
NARROW = 0.80
APART_MM = 15.0
MEASURES = ("area_mm2", "diameter_ap_mm", "diameter_rl_mm")
NUMBERS = {name: number for number, name in LEVEL_NAMES.items()}


class Cord(NamedTuple):
    """Measures along the cord on an even grid.

    Attributes
    ----------
    position_mm, level : ndarray, shape (n,)
        Level as a coordinate (5.5: the middle of C5; 6.0: disc C5-C6), NaN outside the labels.
    measures : dict of ndarray, shape (n,)
    """

    position_mm: Floats
    level: Floats
    measures: dict[str, Floats]


def cord_of(
    position_mm: Floats, level: Floats, measures: dict[str, Floats], usable: NDArray[np.bool_]
) -> Cord | None:
    """The profile between the outermost usable slices; None if there are fewer than two.

    Measures are NaN where slices that may not enter lie between usable ones more than 3 mm apart.

    Parameters
    ----------
    position_mm, level : ndarray, shape (n,)
        Of the slices, in any order.
    measures : dict of ndarray, shape (n,)
        Keys of `MEASURES`.
    usable : ndarray of bool, shape (n,)
        Slices that may enter means.
    """
    every = np.argsort(position_mm)
    ranks = np.flatnonzero(usable[every] & np.isfinite(measures["area_mm2"][every]))
    if len(ranks) < 2:
        return None
    order = every[ranks]
    at = position_mm[order]
    grid = np.arange(at[0], at[-1] + 1e-9, STEP_MM)
    hole = (np.diff(ranks) > 1) & (np.diff(at) > BRIDGED_MM)
    after = np.clip(np.searchsorted(at, grid, side="right") - 1, 0, len(at) - 2)
    # The slices at the ends of a hole were measured.
    unseen = hole[after] & (grid > at[after]) & (grid < at[after + 1])
    found = {
        name: np.where(unseen, np.nan, _interpolated(grid, at, measures[name][order])) for name in MEASURES
    }
    return Cord(grid, _interpolated(grid, at, level[order]), found)


def _interpolated(grid: Floats, at: Floats, values: Floats) -> Floats:
    known = np.isfinite(values)
    if known.sum() < 2:
        return np.full(len(grid), np.nan)
    return np.interp(grid, at[known], values[known], left=np.nan, right=np.nan)


def level_minima(cord: Cord) -> list[dict[str, Any]]:
    """Per level: least area and least AP diameter, where, and AP over RL there.

    Returns
    -------
    list of dict
        ``region min_area_mm2 min_area_level min_ap_mm min_ap_level ap_over_rl``.
    """
    rows = []
    whole = np.floor(cord.level)
    for number in np.unique(whole[np.isfinite(whole)]).astype(int):
        # The border belongs to both levels: a narrowing at a disc is one of both.
        inside = (cord.level >= number) & (cord.level <= number + 1)
        area = np.where(inside & np.isfinite(cord.measures["area_mm2"]), cord.measures["area_mm2"], np.inf)
        # Its borders alone say nothing of a level that was not measured.
        if not np.isfinite(area[(cord.level > number) & (cord.level < number + 1)]).any():
            continue
        ap = np.where(
            inside & np.isfinite(cord.measures["diameter_ap_mm"]), cord.measures["diameter_ap_mm"], np.inf
        )
        smallest, thinnest = int(np.argmin(area)), int(np.argmin(ap))
        rows.append(
            {
                "region": f"vert-{LEVEL_NAMES[number]}",
                "min_area_mm2": float(area[smallest]),
                "min_area_level": float(cord.level[smallest]),
                **(
                    {
                        "min_ap_mm": float(ap[thinnest]),
                        "min_ap_level": float(cord.level[thinnest]),
                        "ap_over_rl": float(ap[thinnest] / cord.measures["diameter_rl_mm"][thinnest]),
                    }
                    if np.isfinite(ap[thinnest])
                    else {}
                ),
            }
        )
    return rows


def ratios(cord: Cord, measure: str = "area_mm2") -> Floats:
    """Each place over the mean of the 20 mm windows that end 10 mm above and begin 10 mm below it.

    A window counts if half of it was measured; where only one does, it stands for both; else NaN.
    """
    return cord.measures[measure] / _around(cord, measure)[0]


def _around(cord: Cord, measure: str) -> tuple[Floats, NDArray[np.intp]]:
    """Mean of the windows about each place, and how many of the two count."""
    values = cord.measures[measure]
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    near, far = round(DISTANCE_MM / STEP_MM), round((DISTANCE_MM + WINDOW_MM) / STEP_MM)
    here, n = np.arange(len(values)), len(values)
    windows = []
    for low, high in ((here - far, here - near), (here + near + 1, here + far + 1)):
        low, high = np.clip(low, 0, n), np.clip(high, 0, n)
        count = counts[high] - counts[low]
        enough = count >= LEAST_WINDOW * (far - near)
        windows.append(np.where(enough, (sums[high] - sums[low]) / np.maximum(count, 1), np.nan))
    both = np.array(windows)
    there = np.isfinite(both).sum(axis=0)
    total = np.nansum(both, axis=0)
    return np.where(there > 0, total / np.maximum(there, 1), np.nan), there


def sites(cord: Cord, given: list[float] | None = None) -> list[dict[str, Any]]:
    """Narrowings: at given levels, or where the area falls under 0.8 of the cord about it.

    Parameters
    ----------
    cord : Cord
    given : list of float, optional
        Level coordinates, as of :func:`site_level`; none is an empty list.

    Returns
    -------
    list of dict
        ``site_source level position_mm min_area_mm2 min_ap_mm ap_over_rl area_ratio ap_ratio
        rl_ratio n_windows notes``.
    """
    if given is None:
        return [_site(cord, place, "detected", "") for place in _narrow(cord)]
    rows: list[dict[str, Any]] = []
    for level in given:
        where = np.flatnonzero(np.isfinite(cord.level))
        if not len(where) or not cord.level[where].min() <= level <= cord.level[where].max():
            rows.append({"site_source": "given", "level": level, "notes": "the site was not measured"})
            continue
        middle = cord.position_mm[where[np.argmin(np.abs(cord.level[where] - level))]]
        near = np.flatnonzero(
            (np.abs(cord.position_mm - middle) <= SEARCH_MM) & np.isfinite(cord.measures["area_mm2"])
        )
        if not len(near):
            rows.append({"site_source": "given", "level": level, "notes": "the site was not measured"})
            continue
        rows.append(_site(cord, int(near[np.argmin(cord.measures["area_mm2"][near])]), "given", ""))
    return rows


def _narrow(cord: Cord) -> list[int]:
    """Places of least ratio under the limit, with both windows, the deepest first taken."""
    ratio = np.where(_around(cord, "area_mm2")[1] == 2, ratios(cord), np.inf)
    found: list[int] = []
    for place in np.argsort(ratio).tolist():
        if not ratio[place] < NARROW:
            break
        if all(abs(cord.position_mm[place] - cord.position_mm[other]) >= APART_MM for other in found):
            found.append(place)
    return sorted(found)


def _site(cord: Cord, place: int, source: str, notes: str) -> dict[str, Any]:
    windows = int(_around(cord, "area_mm2")[1][place])
    here = {name: float(cord.measures[name][place]) for name in MEASURES}
    return {
        "site_source": source,
        "level": float(cord.level[place]),
        "position_mm": float(cord.position_mm[place]),
        "min_area_mm2": here["area_mm2"],
        "min_ap_mm": here["diameter_ap_mm"],
        "ap_over_rl": here["diameter_ap_mm"] / here["diameter_rl_mm"],
        "area_ratio": float(ratios(cord)[place]),
        "ap_ratio": float(ratios(cord, "diameter_ap_mm")[place]),
        "rl_ratio": float(ratios(cord, "diameter_rl_mm")[place]),
        "n_windows": windows,
        "notes": notes or ("" if windows == 2 else f"{windows} of 2 reference windows were measured"),
    }


def site_level(text: str) -> float:
    """A site as a level coordinate: ``C5-C6`` or ``C5/C6`` is 6.0 (the disc), ``C5`` 5.5, ``6.2`` itself.

    Raises
    ------
    ValueError
        If it is none of these.
    """
    text = text.strip().upper()
    pair = re.fullmatch(r"([CTL]\d+)\s*[-/]\s*([CTL]\d+)", text)
    if pair and pair[1] in NUMBERS and NUMBERS.get(pair[2]) == NUMBERS[pair[1]] + 1:
        return float(NUMBERS[pair[2]])
    if text in NUMBERS:
        return NUMBERS[text] + 0.5
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no site: write C5-C6, C5 or a level coordinate such as 6.0") from None
