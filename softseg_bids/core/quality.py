"""What is odd about a slice or an image, from the per-slice table alone.

Slice flags:

- ``void``: no cord in a run of slices of 5 mm or more between two pieces (metal, usually)
- ``gap``: no cord in a shorter run between two pieces (a hole in the mask)
- ``partial_end``: the outermost slices of a slab, partly filled or badly interpolated
- ``jump``: the area differs by more than 25 % from that of the slices about it
- ``touches_edge``: the cord meets the border of the image
- ``fragment``: the slice holds more than one object
- ``no_level``: outside the known vertebral levels

The first three never enter a mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

VOID, GAP, PARTIAL_END = "void", "gap", "partial_end"
JUMP, TOUCHES_EDGE, FRAGMENT, NO_LEVEL = "jump", "touches_edge", "fragment", "no_level"
SHORT_SLAB, IMPLAUSIBLE_AREA, BLURRED = "short_slab", "implausible_area", "blurred"
OUT_OF_MEANS = frozenset({VOID, GAP, PARTIAL_END})

# A hole in a mask is a slice or a few; screws and cages take out 5 mm and more.
LEAST_VOID_MM = 5.0
# An end slice this much under its neighbour is only partly filled: healthy cords change by
# under 10 % over 5 mm.
PARTIAL_DROP = 0.20
# A tilted cord can end across two thick slices (or 3 mm of thin ones); more would eat into a
# tapering conus.
MOST_PARTIAL_SLICES = 2
# The outer slabs of a 3-D acquisition alias, and interpolation has no neighbour there.
# Slices up to 2 mm apart are taken as 3-D.
END_MM, THIN_SLICE_MM = 3.0, 2.0
# Single slices (or a few) against the median of their neighbourhood: compression narrows a
# cord by more than this, but over a centimetre, so that its neighbours follow.
JUMP_SHARE = 0.25
NEIGHBOURHOOD_MM = 10.0
LEAST_NEIGHBOURS = 2
# A stray jump in a hundred slices is noise; one in twenty is a bad mask, and so is a leak of a few slices.
JUMPS_OF_AN_IMAGE = 0.05
JUMPS_IN_A_ROW = 2
# Healthy cervical cords have 50 to 110 mm², the thinnest thoracic ones and atrophy 25.
AREA_RANGE_MM2 = (20.0, 150.0)
# A straight fit has no curvature: its angles are those of the whole slab.
SHORT_SLAB_MM = 40.0
# Soft and binary area agree within some percent unless the edge is wider than the cord.
SOFT_BINARY_SHARE = 0.15


def slice_flags(
    table: Mapping[str, NDArray[np.floating]],
    slice_mm: float,
    *,
    facts: Mapping[str, NDArray[Any]] | None = None,
    levels: NDArray[np.floating] | None = None,
) -> list[list[str]]:
    """Flags of each slice, in the order of the table.

    Parameters
    ----------
    table : mapping of str to ndarray, shape (n,)
        From `cord.measure_slices`, consecutive slices.
    slice_mm : float
        Distance between slice centres.
    facts : mapping of str to ndarray, shape (n,), optional
        ``touches_edge`` and ``pieces``, from `cord.inspect_slices`.
    levels : ndarray, shape (n,), optional
        From `levels.level_coordinate`, if there are labels.
    """
    area = np.asarray(table["area_mm2"], dtype=float)
    firm = np.isfinite(np.asarray(table["area_binary_mm2"], dtype=float))
    found = {**_holes(area, slice_mm), PARTIAL_END: _partial_ends(area, firm, slice_mm)}
    found[JUMP] = _jumps(area, found[PARTIAL_END], slice_mm)
    if facts is not None:
        found[TOUCHES_EDGE] = np.asarray(facts["touches_edge"], dtype=bool)
        found[FRAGMENT] = np.asarray(facts["pieces"]) > 1
    if levels is not None:
        found[NO_LEVEL] = np.isnan(levels)
    return [[name for name, mask in found.items() if mask[n]] for n in range(len(area))]


def in_means(flags: Sequence[Sequence[str]]) -> Mask:
    """Which slices may enter a mean: those without a void, gap or partial-end flag, shape (n,)."""
    return np.array([OUT_OF_MEANS.isdisjoint(of_slice) for of_slice in flags], dtype=bool)


def image_flags(table: Mapping[str, NDArray[np.floating]], flags: Sequence[Sequence[str]]) -> list[str]:
    """Flags of a whole image.

    ``void``, ``gap``, ``touches_edge`` and ``fragment`` if any slice has them, ``jump`` if two in a
    row or more than 5 % have; ``short_slab``: under 40 mm of cord; ``implausible_area``: median outside 20
    to 150 mm²; ``blurred``: soft and binary area differ by more than 15 % (median).

    Parameters
    ----------
    table : mapping of str to ndarray, shape (n,)
        From `cord.measure_slices`.
    flags : sequence of sequences of str
        From :func:`slice_flags`.
    """
    count = {
        name: sum(name in of_slice for of_slice in flags)
        for name in (VOID, GAP, TOUCHES_EDGE, FRAGMENT, JUMP)
    }
    found = [name for name in (VOID, GAP, TOUCHES_EDGE, FRAGMENT) if count[name]]
    in_a_row = max((stop - start for start, stop in _runs(_having(JUMP, flags))), default=0)
    if count[JUMP] > JUMPS_OF_AN_IMAGE * len(flags) or in_a_row >= JUMPS_IN_A_ROW:
        found.append(JUMP)
    area = np.asarray(table["area_mm2"], dtype=float)
    seen = np.isfinite(area)
    if np.asarray(table["length_mm"])[seen].sum() < SHORT_SLAB_MM:
        found.append(SHORT_SLAB)
    if not seen.any():
        return found
    if not AREA_RANGE_MM2[0] <= np.median(area[seen]) <= AREA_RANGE_MM2[1]:
        found.append(IMPLAUSIBLE_AREA)
    binary = np.nan_to_num(np.asarray(table["area_binary_mm2"], dtype=float)[seen])
    if np.median(np.abs(binary / area[seen] - 1.0)) > SOFT_BINARY_SHARE:
        found.append(BLURRED)
    return found


def _having(name: str, flags: Sequence[Sequence[str]]) -> Mask:
    return np.array([name in of_slice for of_slice in flags], dtype=bool)


def _runs(mask: Mask) -> list[tuple[int, int]]:
    """Start and stop of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def _holes(area: Floats, slice_mm: float) -> dict[str, Mask]:
    """Runs of slices without cord; at an end of the table they count as gaps."""
    holes = {VOID: np.zeros(len(area), dtype=bool), GAP: np.zeros(len(area), dtype=bool)}
    for start, stop in _runs(np.isnan(area)):
        inside = start > 0 and stop < len(area)
        long = (stop - start) * slice_mm >= LEAST_VOID_MM
        holes[VOID if inside and long else GAP][start:stop] = True
    return holes


def _partial_ends(area: Floats, firm: Mask, slice_mm: float) -> Mask:
    """Partly filled slices at the ends of each piece, and the outer 3 mm of a 3-D slab.

    The slab begins at its first slice that reaches 0.5 (``firm``): what lies beyond is blur.
    """
    partial = np.zeros(len(area), dtype=bool)
    outer = int(np.ceil(END_MM / slice_mm - 1e-6))
    for start, stop in _runs(np.isfinite(area)):
        for order in (range(start, stop), range(stop - 1, start - 1, -1)):
            for here, inner in islice(pairwise(order), max(MOST_PARTIAL_SLICES, outer)):
                if area[here] >= (1.0 - PARTIAL_DROP) * area[inner]:
                    break
                partial[here] = True
    if firm.any() and slice_mm <= THIN_SLICE_MM:
        first, last = np.flatnonzero(firm)[[0, -1]]
        partial[: first + outer] = True
        partial[max(last + 1 - outer, 0) :] = True
    return partial & np.isfinite(area)


def _jumps(area: Floats, partial: Mask, slice_mm: float) -> Mask:
    """Slices whose area differs from the median of the others within 10 mm (two at least)."""
    known = np.isfinite(area) & ~partial
    reach = max(LEAST_NEIGHBOURS, int(NEIGHBOURHOOD_MM / slice_mm))
    jump = np.zeros(len(area), dtype=bool)
    for here in np.flatnonzero(known).tolist():
        near = np.arange(max(here - reach, 0), min(here + reach + 1, len(area)))
        near = near[known[near] & (near != here)]
        if len(near) >= LEAST_NEIGHBOURS:
            usual = np.median(area[near])
            jump[here] = abs(area[here] - usual) > JUMP_SHARE * usual
    return jump
