"""Lengths along a polyline, and the place on it nearest to a point."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def arc_mm(points_mm: NDArray[np.floating]) -> Floats:
    """Length along a polyline from its first point, shape (n,), in mm.

    Of a line that runs from the upper end downwards these are positions.

    Parameters
    ----------
    points_mm : ndarray, shape (n, d)
    """
    steps = np.linalg.norm(np.diff(np.asarray(points_mm, dtype=float), axis=0), axis=1)
    return np.concatenate([[0.0], np.cumsum(steps)])


def project(points_mm: NDArray[np.floating], line_points_mm: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Nearest point of a polyline to each of some points.

    Parameters
    ----------
    points_mm : ndarray, shape (m, 3)
    line_points_mm : ndarray, shape (n, 3)
        At least two points, from the upper end downwards, in the same space.

    Returns
    -------
    position_mm, distance_mm : ndarray, shape (m,)
        Length along the line of the nearest point, and the distance to it. A point beyond an
        end belongs to that end.
    """
    points = np.asarray(points_mm, dtype=float)
    line = np.asarray(line_points_mm, dtype=float)
    step = np.diff(line, axis=0)
    length = np.linalg.norm(step, axis=1)
    # All points against all segments: sessions have tens of labels and hundreds of segments.
    offset = points[:, None] - line[None, :-1]
    along = np.einsum("mnd,nd->mn", offset, step)
    share = np.clip(np.divide(along, length**2, out=np.zeros_like(along), where=length > 0), 0.0, 1.0)
    distance = np.linalg.norm(offset - share[..., None] * step, axis=2)
    nearest = distance.argmin(axis=1)
    row = np.arange(len(points))
    return arc_mm(line)[nearest] + (share * length)[row, nearest], distance[row, nearest]
