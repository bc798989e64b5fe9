"""The soft truth of one session: masks brought together in scanner space, averaged, and brought back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.softtruth import (
    TOLERANCE_MM,
    Agreement,
    agree,
    average,
    slice_centres,
    turns_deg,
    whole_slices,
)
from softseg_bids.image.grid import Array, Floats, Grid
from softseg_bids.image.sampling import mean_over_voxels, points_of, values_at
from softseg_bids.image.volume import DataError
from softseg_bids.truth.geometry import (
    Given,
    Move,
    box_about,
    continued,
    covered_slices,
    filled,
    heights_in,
    spans_of,
    working_grid,
)

Mask = NDArray[np.bool_]


class Settings(NamedTuple):
    """How to average.

    Attributes
    ----------
    tolerance_mm : float
        A slice further from the session's centreline is rejected.
    at_least : int
        Slices that fewer contrasts cover get no truth.
    rigid : bool
        Turn slices in their plane, too.
    """

    tolerance_mm: float = TOLERANCE_MM
    at_least: int = 2
    rigid: bool = False


class Truth(NamedTuple):
    """The soft truth of one contrast on its own canonical grid.

    Attributes
    ----------
    soft : ndarray of float32
        0 in slices without truth.
    labelled : ndarray of bool, shape (z,)
        Slices that have one.
    dropped, rejected : ndarray of bool, shape (z,)
        Slices with a mask that did not enter: partial or cut; too far from the centreline.
    distance_mm : ndarray, shape (z,)
        Of the mask's centre from the session's centreline; NaN where unknown.
    shift_mm : ndarray, shape (z, 2)
        By which the slice was moved, right and to the front of the reference.
    overlaps, outlying : bool
        Whether it shares slices with another contrast; whether it lies elsewhere as a whole.
    contrasts : tuple of int
        Smallest and largest number of contrasts averaged in its labelled slices; (0, 0) without any.
    problem : str
        Why nothing of its mask can be used; empty if some can.
    """

    soft: Array
    labelled: Mask
    dropped: Mask
    rejected: Mask
    distance_mm: Floats
    shift_mm: Floats
    overlaps: bool
    outlying: bool
    contrasts: tuple[int, int]
    problem: str = ""


def soft_truth(given: Sequence[Given], settings: Settings | None = None) -> list[Truth]:
    """The soft truth of a session.

    Parameters
    ----------
    given : sequence of Given
        One a contrast; the first is the reference: its axes are those of the average.
    settings : Settings, optional

    Returns
    -------
    list of Truth
        In the order of ``given``. A contrast whose mask cannot be used is left out, with its ``problem``.

    Raises
    ------
    DataError
        If fewer than two contrasts have a mask that can be used (that is not empty, reaches 0.5, and is
        not cut by the border of its image throughout), or the contrasts do not overlap.
    """
    settings = settings or Settings()
    checked = [_whole(one) for one in given]
    usable = [one for one, (_, problem) in zip(given, checked, strict=True) if not problem]
    _require_two(given, usable, [problem for _, problem in checked if problem])
    made = iter(_averaged(usable, [kept for kept, problem in checked if not problem], settings))
    return [
        _unusable(one, problem) if problem else next(made)
        for one, (_, problem) in zip(given, checked, strict=True)
    ]


def _averaged(given: Sequence[Given], whole: Sequence[Mask], settings: Settings) -> list[Truth]:
    work = working_grid(given, whole)
    step = float(work.spacing_mm[2])
    points = points_of(work)
    centres, covered = [], []
    for one, kept in zip(given, whole, strict=True):
        stack = values_at(continued(one.mask, kept), one.grid, points)
        centre = slice_centres(stack, work.spacing_mm)
        centres.append(centre)
        covered.append(covered_slices(centre, one.grid, kept, work))
    known = np.array(covered)
    alone = _alone(known)
    _require_overlap(given, known, alone)
    found = agree(np.array(centres), known & ~alone[:, None], step, settings.tolerance_mm)
    moves = _moves(given, whole, np.array(centres), found, work, settings.rigid)
    moved = [
        values_at(continued(one.mask, kept), one.grid, move.back(points))
        for one, kept, move in zip(given, whole, moves, strict=True)
    ]
    soft, count = average(moved, found.used)
    count = np.where(count >= settings.at_least, count, 0)
    soft = np.where(count > 0, soft, np.float32(0))
    return [
        _brought_back(number, one, kept, soft, count, found, moves[number], work, bool(alone[number]))
        for number, (one, kept) in enumerate(zip(given, whole, strict=True))
    ]


def _whole(one: Given) -> tuple[Mask, str]:
    """The slices of a mask that may stand for the cord; and why it cannot be used, or nothing."""
    kept = whole_slices(one.mask, float(one.grid.spacing_mm[2]))
    if not one.mask.any():
        problem = f"{one.name}: the mask is empty; draw the cord in it, or remove it"
    elif not kept.any():
        problem = (
            f"{one.name}: the mask touches the border of the field of view in every slice: the cord is cut; "
            "remove it"
        )
    elif not ((one.mask >= 0.5) & kept).any():
        problem = (
            f"{one.name}: no voxel reaches 0.5 where the cord is whole; draw the cord in it, or remove it"
        )
    else:
        problem = ""
    return kept, problem


def _require_two(given: Sequence[Given], usable: Sequence[Given], problems: Sequence[str]) -> None:
    if len(usable) >= 2:
        return
    names = ", ".join(one.name for one in usable) or "none"
    left = (
        f"{len(usable)} of {len(given)} contrasts can be used" if problems else "only one contrast has a mask"
    )
    told = "; ".join([*problems, f"{left} ({names})"])
    raise DataError(f"{told}; a soft truth is the average of two or more")


def _unusable(one: Given, problem: str) -> Truth:
    """No truth for a contrast whose mask cannot be used."""
    count = one.mask.shape[2]
    none = np.zeros(count, dtype=bool)
    return Truth(
        soft=np.zeros(one.mask.shape, dtype=np.float32),
        labelled=none,
        dropped=np.asarray(one.mask.any(axis=(0, 1))),
        rejected=none,
        distance_mm=np.full(count, np.nan),
        shift_mm=np.zeros((count, 2)),
        overlaps=False,
        outlying=False,
        contrasts=(0, 0),
        problem=problem,
    )


def _alone(covered: Mask) -> Mask:
    """Contrasts that share no slice with any other."""
    shared = covered.sum(axis=0) >= 2
    return np.asarray(~(covered & shared).any(axis=1))


def _require_overlap(given: Sequence[Given], covered: Mask, alone: Mask) -> None:
    if not alone.all():
        return
    heights = "; ".join(
        f"{one.name} covers {own.sum()} slices of the common grid"
        for one, own in zip(given, covered, strict=True)
    )
    raise DataError(
        f"the contrasts do not overlap along the cord ({heights}); no slice is covered by two of them"
    )


def _moves(
    given: Sequence[Given],
    whole: Sequence[Mask],
    centres_mm: Floats,
    found: Agreement,
    work: Grid,
    rigid: bool,
) -> list[Move]:
    line = filled(found.line_mm)
    step = float(work.spacing_mm[2])
    points = points_of(work) if rigid else np.empty(0)
    moves = []
    reference: Array | None = None
    for number, (one, kept) in enumerate(zip(given, whole, strict=True)):
        shift = filled(np.where(found.used[number][:, None], line - centres_mm[number], np.nan))
        move = Move(work, line, shift, np.zeros(len(line)))
        if rigid:
            stack = values_at(continued(one.mask, kept), one.grid, move.back(points))
            reference = stack if reference is None else reference
            move = move._replace(turn_deg=turns_deg(stack, reference, step))
        moves.append(move)
    return moves


def _brought_back(
    number: int,
    one: Given,
    kept: Mask,
    soft: Array,
    count: NDArray[np.intp],
    found: Agreement,
    move: Move,
    work: Grid,
    alone: bool,
) -> Truth:
    """The average on a contrast's own voxels, in the slices where both may be trusted."""
    present = np.asarray(one.mask.any(axis=(0, 1)))
    heights = heights_in(one, work)
    slices = np.arange(len(count))
    usable = found.used[number] & (count > 0)
    nearest = np.clip(np.round(heights), 0, len(count) - 1).astype(int)
    # Every slice of the average within the native one must be there.
    labelled = kept & np.array(
        [bool(usable[low : high + 1].all()) for low, high in spans_of(heights, one.grid, work, len(count))]
    )
    out = np.zeros(one.mask.shape, dtype=np.float32)
    if labelled.any():
        box, local = box_about(one, labelled)
        part = mean_over_voxels(continued(soft, count > 0), work, local, move.forth)
        out[box] = np.clip(part, 0, 1)
        out[:, :, ~labelled] = 0
    distance = np.interp(heights, slices, np.nan_to_num(found.distance_mm[number], nan=-1.0))
    distance = np.where(kept & (found.distance_mm[number][nearest] >= 0), np.abs(distance), np.nan)
    numbers = count[nearest[labelled]]
    return Truth(
        soft=out,
        labelled=labelled,
        dropped=present & ~kept,
        rejected=kept & (distance > 0) & ~found.used[number][nearest] & np.isfinite(distance),
        distance_mm=distance,
        shift_mm=move.shift_mm[nearest],
        overlaps=not alone,
        outlying=bool(found.outlying[number]),
        contrasts=(int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0),
    )
