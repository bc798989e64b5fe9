"""Where the masks of a session lie to each other: the common grid, what each covers, how its slices move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.softtruth import slice_centres
from softseg_bids.image.grid import Array, Floats, Grid, cropped, respaced

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


class Move(NamedTuple):
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


def continued(array: Array, kept: Mask) -> Array:
    """An array whose other slices are the nearest of those that count.

    Half an end slice lies beyond its centre: interpolation must not fade there. What lies further is
    left out by :func:`covered_slices`.
    """
    known = np.flatnonzero(kept)
    distance = np.abs(np.arange(array.shape[2])[:, None] - known)
    return array[:, :, known[distance.argmin(axis=1)]]


def working_grid(given: Sequence[Given], whole: Sequence[Mask]) -> Grid:
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


def covered_slices(centres_mm: Floats, grid: Grid, kept: Mask, work: Grid) -> Mask:
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


def filled(values: Floats) -> Floats:
    """Unknown rows interpolated, and held beyond the ends; 0 if none is known."""
    known = np.flatnonzero(np.isfinite(values[:, 0]))
    if not known.size:
        return np.zeros_like(values)
    slices = np.arange(len(values))
    return np.stack([np.interp(slices, known, values[known, a]) for a in (0, 1)], axis=1)


def heights_in(one: Given, work: Grid) -> Floats:
    """In which slice of the average (fractional) the centre of each native slice's mask lies, shape (z,)."""
    centres = slice_centres(one.mask, one.grid.spacing_mm)
    centres = filled(centres) / one.grid.spacing_mm[:2]
    index = np.column_stack([centres, np.arange(len(centres))])
    return np.asarray(work.to_index(one.grid.to_world(index))[:, 2])


def spans_of(heights: Floats, grid: Grid, work: Grid, count: int) -> list[tuple[int, int]]:
    half = 0.5 * grid.spacing_mm[2] / work.spacing_mm[2]
    lows = np.ceil(heights - half + 0.01).astype(int)
    highs = np.maximum(np.floor(heights + half - 0.01).astype(int), lows)
    return [
        (max(low, 0), high) if high >= 0 and low < count else (count, count)
        for low, high in zip(lows, highs, strict=True)
    ]


def box_about(one: Given, labelled: Mask) -> tuple[tuple[slice, slice, slice], Grid]:
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
