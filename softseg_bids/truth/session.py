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
from softseg_bids.image.grid import Array, Floats, Grid, cropped, respaced
from softseg_bids.image.sampling import mean_over_voxels, points_of, values_at
from softseg_bids.image.volume import DataError

Mask = NDArray[np.bool_]

# Masks are averaged on voxels of this size or, if the reference's pixels are in between, theirs.
FINEST_MM, COARSEST_MM = 0.5, 1.0
# Room about the masks, and the radius about the centre that an image must cover.
MARGIN_MM, COVER_MM = 12.0, 8.0


class Given(NamedTuple):
    """The mask of one contrast.

    Attributes
    ----------
    name : str
        For messages: the mask's file.
    contrast : str
    mask : ndarray
        On canonical axes, fractions in [0, 1].
    grid : Grid
        Canonical.
    """

    name: str
    contrast: str
    mask: Array
    grid: Grid


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
        In the order of ``given``.

    Raises
    ------
    DataError
        If there is one contrast only, a mask is empty or cut by the border of its image throughout, or
        the contrasts do not overlap.
    """
    settings = settings or Settings()
    if len(given) < 2:
        names = ", ".join(one.name for one in given) or "none"
        raise DataError(f"only one contrast has a mask ({names}); a soft truth is the average of two or more")
    whole = [_whole(one) for one in given]
    work = _working_grid(given, whole)
    step = float(work.spacing_mm[2])
    points = points_of(work)
    centres, covered = [], []
    for one, kept in zip(given, whole, strict=True):
        stack = values_at(_continued(one.mask, kept), one.grid, points)
        centre = slice_centres(stack, work.spacing_mm)
        centres.append(centre)
        covered.append(_covered(centre, one.grid, kept, work))
    known = np.array(covered)
    alone = _alone(known)
    _require_overlap(given, known, alone)
    found = agree(np.array(centres), known & ~alone[:, None], step, settings.tolerance_mm)
    moves = _moves(given, whole, np.array(centres), found, work, settings.rigid)
    moved = [
        values_at(_continued(one.mask, kept), one.grid, move.back(points))
        for one, kept, move in zip(given, whole, moves, strict=True)
    ]
    soft, count = average(moved, found.used)
    count = np.where(count >= settings.at_least, count, 0)
    soft = np.where(count > 0, soft, np.float32(0))
    return [
        _brought_back(number, one, kept, soft, count, found, moves[number], work, bool(alone[number]))
        for number, (one, kept) in enumerate(zip(given, whole, strict=True))
    ]


class _Move(NamedTuple):
    """How the slices of one contrast are moved onto the session's centreline.

    ``shift_mm`` (z, 2) is line minus centre, ``turn_deg`` (z,) the contrast's turn; both known everywhere.
    """

    work: Grid
    line_mm: Floats
    shift_mm: Floats
    turn_deg: Floats

    def back(self, points_mm: Floats) -> Floats:
        """Points of the average to those of the contrast."""
        return self._moved(points_mm, to_average=False)

    def forth(self, points_mm: Floats) -> Floats:
        """Points of the contrast to those of the average (slices do not change)."""
        return self._moved(points_mm, to_average=True)

    def _moved(self, points_mm: Floats, to_average: bool) -> Floats:
        spacing = self.work.spacing_mm
        local = self.work.to_index(points_mm) * spacing
        z = local[..., 2] / spacing[2]
        slices = np.arange(len(self.shift_mm))
        shift = np.stack([np.interp(z, slices, self.shift_mm[:, a]) for a in (0, 1)], axis=-1)
        line = np.stack([np.interp(z, slices, self.line_mm[:, a]) for a in (0, 1)], axis=-1)
        turn = np.deg2rad(np.interp(z, slices, self.turn_deg)) * (-1.0 if to_average else 1.0)
        offset = local[..., :2] - (line - shift if to_average else line)
        turned = np.stack(
            [
                np.cos(turn) * offset[..., 0] - np.sin(turn) * offset[..., 1],
                np.sin(turn) * offset[..., 0] + np.cos(turn) * offset[..., 1],
            ],
            axis=-1,
        )
        out = local.copy()
        out[..., :2] = turned + (line if to_average else line - shift)
        return self.work.to_world(out / spacing)


def _whole(one: Given) -> Mask:
    if not one.mask.any():
        raise DataError(f"{one.name}: the mask is empty; draw the cord in it, or remove it")
    kept = whole_slices(one.mask)
    if not kept.any():
        raise DataError(
            f"{one.name}: the mask touches the border of the field of view in every slice: the cord is cut"
        )
    return kept


def _continued(array: Array, kept: Mask) -> Array:
    """An array whose other slices are the nearest of those that count.

    Half an end slice lies beyond its centre: interpolation must not fade there. What lies further is
    left out by :func:`_covered`.
    """
    known = np.flatnonzero(kept)
    distance = np.abs(np.arange(array.shape[2])[:, None] - known)
    return array[:, :, known[distance.argmin(axis=1)]]


def _working_grid(given: Sequence[Given], whole: Sequence[Mask]) -> Grid:
    """Isotropic voxels along the reference's axes, about all masks."""
    reference = given[0].grid
    size = float(np.clip(reference.spacing_mm.min(), FINEST_MM, COARSEST_MM))
    fine = respaced(reference, (size, size, size))
    corners = []
    for one, kept in zip(given, whole, strict=True):
        where = np.argwhere((one.mask >= 0.5) & kept)
        box = np.array(np.meshgrid(*zip(where.min(axis=0) - 0.5, where.max(axis=0) + 0.5, strict=True)))
        corners.append(fine.to_index(one.grid.to_world(box.reshape(3, -1).T)))
    points = np.concatenate(corners)
    margin = np.array([MARGIN_MM, MARGIN_MM, size]) / size
    low = np.floor(points.min(axis=0) - margin).astype(int)
    shape = np.ceil(points.max(axis=0) + margin).astype(int) - low + 1
    return cropped(fine, low, (int(shape[0]), int(shape[1]), int(shape[2])))


def _covered(centres_mm: Floats, grid: Grid, kept: Mask, work: Grid) -> Mask:
    """Slices of the average whose whole cord lies within the slices that count, and within the image."""
    spacing = work.spacing_mm
    ring = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]]) * COVER_MM
    points = np.full((len(centres_mm), len(ring), 3), np.nan)
    points[..., :2] = centres_mm[:, None] + ring
    points[..., 2] = (np.arange(len(centres_mm)) * spacing[2])[:, None]
    index = grid.to_index(work.to_world(points / spacing))
    inside = (index >= -0.5) & (index <= np.array(grid.shape) - 0.5)
    with np.errstate(invalid="ignore"):
        nearest = np.nan_to_num(np.round(index[..., 2]), nan=-1.0).astype(int)
    counts = kept[np.clip(nearest, 0, len(kept) - 1)] & (nearest >= 0)
    return np.asarray(inside.all(axis=(1, 2)) & counts.all(axis=1))


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
) -> list[_Move]:
    line = _filled(found.line_mm)
    step = float(work.spacing_mm[2])
    points = points_of(work) if rigid else np.empty(0)
    moves = []
    reference: Array | None = None
    for number, (one, kept) in enumerate(zip(given, whole, strict=True)):
        shift = _filled(np.where(found.used[number][:, None], line - centres_mm[number], np.nan))
        move = _Move(work, line, shift, np.zeros(len(line)))
        if rigid:
            stack = values_at(_continued(one.mask, kept), one.grid, move.back(points))
            reference = stack if reference is None else reference
            move = move._replace(turn_deg=turns_deg(stack, reference, step))
        moves.append(move)
    return moves


def _filled(values: Floats) -> Floats:
    """Unknown rows interpolated, and held beyond the ends; 0 if none is known."""
    known = np.flatnonzero(np.isfinite(values[:, 0]))
    if not known.size:
        return np.zeros_like(values)
    slices = np.arange(len(values))
    return np.stack([np.interp(slices, known, values[known, a]) for a in (0, 1)], axis=1)


def _brought_back(
    number: int,
    one: Given,
    kept: Mask,
    soft: Array,
    count: NDArray[np.intp],
    found: Agreement,
    move: _Move,
    work: Grid,
    alone: bool,
) -> Truth:
    """The average on a contrast's own voxels, in the slices where both may be trusted."""
    present = np.asarray(one.mask.any(axis=(0, 1)))
    heights = _heights(one, work)
    slices = np.arange(len(count))
    usable = found.used[number] & (count > 0)
    nearest = np.clip(np.round(heights), 0, len(count) - 1).astype(int)
    # Every slice of the average within the native one must be there.
    labelled = kept & np.array(
        [bool(usable[low : high + 1].all()) for low, high in _spans(heights, one.grid, work, len(count))]
    )
    out = np.zeros(one.mask.shape, dtype=np.float32)
    if labelled.any():
        box, local = _box_about(one, labelled)
        part = mean_over_voxels(_continued(soft, count > 0), work, local, move.forth)
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


def _heights(one: Given, work: Grid) -> Floats:
    """In which slice of the average (fractional) the centre of each native slice's mask lies, shape (z,)."""
    centres = slice_centres(one.mask, one.grid.spacing_mm)
    centres = _filled(centres) / one.grid.spacing_mm[:2]
    index = np.column_stack([centres, np.arange(len(centres))])
    return np.asarray(work.to_index(one.grid.to_world(index))[:, 2])


def _spans(heights: Floats, grid: Grid, work: Grid, count: int) -> list[tuple[int, int]]:
    half = 0.5 * grid.spacing_mm[2] / work.spacing_mm[2]
    lows = np.ceil(heights - half + 0.01).astype(int)
    highs = np.maximum(np.floor(heights + half - 0.01).astype(int), lows)
    return [
        (max(low, 0), high) if high >= 0 and low < count else (count, count)
        for low, high in zip(lows, highs, strict=True)
    ]


def _box_about(one: Given, labelled: Mask) -> tuple[tuple[slice, slice, slice], Grid]:
    """The part of a native grid about the labelled slices of the mask."""
    where = np.argwhere(one.mask[:, :, labelled] > 0)
    margin = np.ceil(MARGIN_MM / one.grid.spacing_mm[:2]).astype(int)
    low = np.maximum(where.min(axis=0)[:2] - margin, 0)
    high = np.minimum(where.max(axis=0)[:2] + margin + 1, one.mask.shape[:2])
    slices = np.flatnonzero(labelled)
    start = np.array([*low, slices[0]])
    shape = (int(high[0] - low[0]), int(high[1] - low[1]), int(slices[-1] - slices[0] + 1))
    box = tuple(slice(int(a), int(a) + n) for a, n in zip(start, shape, strict=True))
    return (box[0], box[1], box[2]), cropped(one.grid, start, shape)
