"""An image seen along a curve: a few parallel sagittal planes, straightened.

A row lies at each step along the curve, from its upper end down; columns run from back to front,
planes from left to right. Beyond its ends the curve goes on straight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from softseg_bids.core.polyline import arc_mm
from softseg_bids.image.grid import Array, Grid, cropped, resample, respaced

Floats = NDArray[np.float64]

# The direction beyond an end is the mean one of this much of the curve.
END_MM = 25.0
# Finer voxels are averaged before they are sampled.
FINEST_MM = 1.0


class Ribbon(NamedTuple):
    """Where the rows of a straightened image lie, from the upper end of the curve down.

    Attributes
    ----------
    points_mm : ndarray, shape (n, 3)
        Scanner coordinates of column 0 mm of the middle plane.
    right, front : ndarray, shape (n, 3)
        Unit vectors across and along the columns, perpendicular to the curve.
    """

    points_mm: Floats
    right: Floats
    front: Floats


class Planes(NamedTuple):
    """A straightened image: values and what was in view, both of shape (planes, rows, columns)."""

    values: Array
    seen: NDArray[np.bool_]


def ribbon(points_mm: Floats, step_mm: float, above_mm: float, below_mm: float) -> Ribbon:
    """Rows along a curve and straight beyond its ends.

    Parameters
    ----------
    points_mm : ndarray, shape (n, 3)
        Scanner coordinates, from the upper end down; at least two points.
    step_mm : float
        Between rows.
    above_mm, below_mm : float
        How far to go on beyond the upper and the lower end.
    """
    points = np.asarray(points_mm, dtype=float)
    arc = arc_mm(points)
    up, down = _end_direction(points, arc), _end_direction(points[::-1], arc_mm(points[::-1]))
    rows = np.arange(-np.floor(above_mm / step_mm), np.floor((arc[-1] + below_mm) / step_mm) + 1) * step_mm
    along = np.column_stack([np.interp(rows, arc, points[:, k]) for k in range(3)])
    along += np.clip(-rows, 0, None)[:, None] * up + np.clip(rows - arc[-1], 0, None)[:, None] * down
    tangent = _units(np.gradient(along, axis=0))
    right = np.array([1.0, 0.0, 0.0]) - tangent[:, :1] * tangent
    right = _units(right)
    return Ribbon(along, right, np.cross(right, tangent))


def straighten(array: Array, grid: Grid, where: Ribbon, across_mm: Floats, columns_mm: Floats) -> Planes:
    """Sample an image on the planes of a ribbon.

    Parameters
    ----------
    array : ndarray, shape grid.shape
        Any orientation.
    grid : Grid
    where : Ribbon
    across_mm : ndarray, shape (planes,)
        Distance of each plane from the middle one, to the right.
    columns_mm : ndarray, shape (columns,)
        Distance of each column from the curve, to the front.
    """
    points = (
        where.points_mm[None, :, None]
        + across_mm[:, None, None, None] * where.right[None, :, None]
        + columns_mm[None, None, :, None] * where.front[None, :, None]
    )
    index = grid.to_index(points)
    last = np.asarray(grid.shape) - 1
    # A border voxel reaches half its size beyond its centre.
    seen = np.asarray(((index >= -0.5) & (index <= last + 0.5)).all(axis=-1))
    if not seen.any():
        return Planes(np.zeros(seen.shape, dtype=np.float32), seen)
    low = np.clip(np.floor(index[seen].min(axis=0)).astype(int) - 2, 0, last)
    high = np.clip(np.ceil(index[seen].max(axis=0)).astype(int) + 2, 0, last)
    part = np.asarray(array[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))])
    box = cropped(grid, low, (part.shape[0], part.shape[1], part.shape[2]))
    a, b, c = (max(float(h), FINEST_MM) for h in grid.spacing_mm)
    coarse = respaced(box, (a, b, c))
    image = resample(part, box, coarse)
    values = map_coordinates(image, coarse.to_index(points[seen]).T, order=1, mode="nearest")
    out = np.zeros(seen.shape, dtype=np.float32)
    out[seen] = values
    return Planes(out, seen)


def _end_direction(points: Floats, arc: Floats) -> Floats:
    """Unit vector out of the first point of a curve: its mean direction over the first 25 mm."""
    near = arc <= max(min(END_MM, arc[-1]), arc[1])
    offset = points[near] - points[near].mean(axis=0)
    direction = np.linalg.svd(offset, full_matrices=False)[2][0]
    return np.asarray(direction * np.sign(direction @ (points[0] - points[near][-1])))


def _units(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
