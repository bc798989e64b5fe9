"""Places along the cord: positions, vertebral levels, regions, and means over a region.

A *position* is a length in millimetres along the session's axis, 0 at its upper end and
growing downwards. A disc label N lies at the posterior tip of the disc above vertebra N
(3 = C2-C3, 8 = C7-T1), so level N reaches from disc N to disc N + 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.polyline import arc_mm, project

__all__ = [
    "LEVEL_NAMES",
    "Region",
    "arc_mm",
    "below_junction_mm",
    "common_extent",
    "level_coordinate",
    "project",
    "regions",
    "summarise",
]

Floats = NDArray[np.float64]

LEVEL_NAMES: dict[int, str] = dict(
    enumerate(
        [f"C{n}" for n in range(1, 8)] + [f"T{n}" for n in range(1, 13)] + [f"L{n}" for n in range(1, 6)], 1
    )
) | {25: "S1"}
# Labels that are no discs.
PONTOMEDULLARY_GROOVE, PONTOMEDULLARY_JUNCTION, CONUS = 49, 50, 60

# C2 from its lower disc up to the base of the dens, over C3 with its disc: the back of the
# axis's body is 21 mm high (five CT models, Teo et al., J. Spine), a C3 level 18-19 mm. People
# and readers of label 2 differ by some 15 %, so a region that uses it is flagged.
C2_OVER_C3 = 1.15
DISC_2_EXTRAPOLATED = "disc2_extrapolated"

DISC_HALF_WIDTH_MM = 5.0
PMJ_DISTANCES_MM, PMJ_HALF_WIDTH_MM = (50.0,), 10.0
# A stretch shared by all images of a session is of use from here.
LEAST_COMMON_MM = 30.0


class Region(NamedTuple):
    """A stretch of cord.

    Attributes
    ----------
    name : str
    start_mm, end_mm : float
        Positions, start above end.
    flags : tuple of str
        What to know about its limits.
    labels : tuple of int
        The disc labels that its limits come from.
    """

    name: str
    start_mm: float
    end_mm: float
    flags: tuple[str, ...] = ()
    labels: tuple[int, ...] = ()


def level_coordinate(positions_mm: NDArray[np.floating], disc_positions_mm: Mapping[int, float]) -> Floats:
    """Vertebral level as a number: 3.4 is four tenths of the way down C3.

    Parameters
    ----------
    positions_mm : ndarray, shape (n,)
    disc_positions_mm : mapping of int to float
        Position of each disc label.

    Returns
    -------
    ndarray, shape (n,)
        NaN where a disc above or below is not known.
    """
    positions = np.asarray(positions_mm, dtype=float)
    level = np.full(positions.shape, np.nan)
    for vertebra, (start, end) in _level_bounds(disc_positions_mm).items():
        inside = (positions >= start) & (positions < end)
        level[inside] = vertebra + (positions[inside] - start) / (end - start)
    return level


def below_junction_mm(positions_mm: NDArray[np.floating], disc_positions_mm: Mapping[int, float]) -> Floats:
    """Distance below the pontomedullary junction along the centreline, negative above it.

    Parameters
    ----------
    positions_mm : ndarray, shape (n,)
    disc_positions_mm : mapping of int to float
        Position of each label: the junction (50), or the groove (49) in its place.

    Returns
    -------
    ndarray, shape (n,)
        NaN where neither is known.
    """
    junction = _junction(disc_positions_mm)
    top = np.nan if junction is None else disc_positions_mm[junction]
    return np.asarray(np.asarray(positions_mm, dtype=float) - top)


def regions(
    disc_positions_mm: Mapping[int, float],
    extent_mm: tuple[float, float] | None = None,
    pmj_distances_mm: Sequence[float] = PMJ_DISTANCES_MM,
) -> list[Region]:
    """The regions that disc labels define, from the top down.

    ``vert-<level>`` between two known neighbouring discs; ``vert-C2:C3`` from disc 2 to disc
    4, disc 2 extrapolated (and flagged) from discs 3 and 4 if it is missing; ``disc-C2C3``, 5 mm
    to either side of disc 3; ``pmj-50``, 10 mm to either side of 50 mm below the
    pontomedullary junction (label 50; the groove, 49, in its place), and so on for other distances.

    Parameters
    ----------
    disc_positions_mm : mapping of int to float
        Position of each label.
    extent_mm : tuple of float, optional
        Start and end of what was measured: regions wholly outside are left out.
    pmj_distances_mm : sequence of float
        Where to measure below the junction.
    """
    discs = disc_positions_mm
    found = [
        Region(f"vert-{LEVEL_NAMES[level]}", start, end, labels=(level, level + 1))
        for level, (start, end) in _level_bounds(discs).items()
        if level in LEVEL_NAMES
    ]
    if 3 in discs and 4 in discs and discs[3] < discs[4]:
        guess = discs[3] - C2_OVER_C3 * (discs[4] - discs[3])
        top = discs.get(2, guess)
        flags, labels = ((), (2, 3, 4)) if 2 in discs else ((DISC_2_EXTRAPOLATED,), (3, 4))
        if top < discs[3]:
            found.append(Region("vert-C2:C3", top, discs[4], flags, labels))
    if 3 in discs:
        around = discs[3] - DISC_HALF_WIDTH_MM, discs[3] + DISC_HALF_WIDTH_MM
        found.append(Region("disc-C2C3", *around, labels=(3,)))
    junction = _junction(discs)
    if junction is not None:
        for distance in pmj_distances_mm:
            middle = discs[junction] + distance
            around = middle - PMJ_HALF_WIDTH_MM, middle + PMJ_HALF_WIDTH_MM
            found.append(Region(f"pmj-{distance:g}", *around, labels=(junction,)))
    if extent_mm is None:
        return found
    return [region for region in found if region.start_mm < extent_mm[1] and region.end_mm > extent_mm[0]]


def _junction(labels: Mapping[int, float]) -> int | None:
    """The label that marks the pontomedullary junction, if there is one."""
    return next((v for v in (PONTOMEDULLARY_JUNCTION, PONTOMEDULLARY_GROOVE) if v in labels), None)


def _level_bounds(disc_positions_mm: Mapping[int, float]) -> dict[int, tuple[float, float]]:
    """Start and end of each level whose two discs are known and in the right order."""
    return {
        disc: (disc_positions_mm[disc], disc_positions_mm[disc + 1])
        for disc in sorted(disc_positions_mm)
        if disc in LEVEL_NAMES
        and disc + 1 in disc_positions_mm
        and disc_positions_mm[disc] < disc_positions_mm[disc + 1]
    }


def common_extent(
    extents_mm: Mapping[str, tuple[float, float]],
) -> tuple[tuple[float, float] | None, dict[str, str]]:
    """The stretch that all images of a session cover, leaving out those that would spoil it.

    Images that would shrink the intersection below 30 mm are left out: as few as possible,
    and of equally small choices the one that leaves the longest stretch.

    Parameters
    ----------
    extents_mm : mapping of str to (start, end)
        Measured stretch of each image, as positions.

    Returns
    -------
    extent : (start, end) or None
        None if no image covers 30 mm.
    excluded : dict of str to str
        The images left out, each with the reason.
    """
    best: tuple[float, float] | None = None
    best_score = (0, 0.0)
    # The intersection starts where one of its images does: try each.
    for start in sorted({start for start, _ in extents_mm.values()}):
        ends = [
            end for first, end in extents_mm.values() if first <= start and end - start >= LEAST_COMMON_MM
        ]
        if ends and (len(ends), min(ends) - start) > best_score:
            best, best_score = (start, min(ends)), (len(ends), min(ends) - start)
    excluded = {
        key: _why_excluded(extent, best)
        for key, extent in extents_mm.items()
        if best is None or extent[0] > best[0] or extent[1] < best[1]
    }
    return best, excluded


def _why_excluded(extent: tuple[float, float], common: tuple[float, float] | None) -> str:
    if common is None:
        return (
            f"it covers {max(extent[1] - extent[0], 0.0):.0f} mm of cord, less than {LEAST_COMMON_MM:.0f} mm"
        )
    shared = max(min(extent[1], common[1]) - max(extent[0], common[0]), 0.0)
    return f"it would shrink the common stretch from {common[1] - common[0]:.0f} to {shared:.0f} mm"


def summarise(
    slices: Mapping[str, NDArray[np.floating]],
    starts_mm: NDArray[np.floating],
    ends_mm: NDArray[np.floating],
    region: Region,
    used: NDArray[np.bool_] | None = None,
) -> dict[str, float]:
    """Mean of each column over a region, each slice weighted by its length inside it.

    Parameters
    ----------
    slices : mapping of str to ndarray, shape (n,)
        Columns of the per-slice table, ``area_mm2`` among them; NaN where there is no cord.
    starts_mm, ends_mm : ndarray, shape (n,)
        Positions of the upper and lower face of each slice.
    region : Region
    used : ndarray of bool, shape (n,), optional
        Slices that may enter a mean (`quality.in_means`); by default all.

    Returns
    -------
    dict
        The mean of each column but lengths (NaN without a slice), ``area_sd_mm2`` (weighted SD
        over slices, NaN of fewer than two), ``length_mm`` (measured cord inside the region),
        ``n_slices``, ``coverage`` = measured length / length of the region, at most 1.
    """
    inside = np.minimum(ends_mm, region.end_mm) - np.maximum(starts_mm, region.start_mm)
    counted = (inside > 1e-6) & np.isfinite(slices["area_mm2"])
    if used is not None:
        counted &= used
    weight = np.where(counted, inside, 0.0)
    found = {name: _mean(values, weight) for name, values in slices.items() if name != "length_mm"}
    spread = _mean((np.asarray(slices["area_mm2"]) - found["area_mm2"]) ** 2, weight)
    count = int(counted.sum())
    whole = region.end_mm - region.start_mm
    return {
        **found,
        "area_sd_mm2": float(np.sqrt(spread)) if count > 1 else float("nan"),
        "length_mm": float(weight.sum()),
        "n_slices": count,
        "coverage": float(min(weight.sum() / whole, 1.0)) if whole > 0 else float("nan"),
    }


def _mean(values: NDArray[np.floating], weight: NDArray[np.floating]) -> float:
    """Weighted mean of the finite values, NaN if there are none."""
    known = np.isfinite(values) & (weight > 0)
    if not known.any():
        return float("nan")
    return float(np.average(values[known], weights=weight[known]))
