"""The sub-pixel outline of one slice and the shape measures that follow from it.

The outline is kept as oriented segments, inside to the left, and never joined into
polygons: area and moments are sums over segments (Green's theorem), so several pieces
and holes need no special care.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

Floats = NDArray[np.float64]

# Corners of a cell, counter-clockwise; edge k joins corner k to corner k + 1.
_CORNERS = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
# An outline smaller than this (mm²) is one voxel at exactly the level: it has no shape.
_LEAST_AREA_MM2 = 1e-3


class Shape(NamedTuple):
    """Shape of a cross-section; every value NaN where there is no outline.

    Attributes
    ----------
    diameter_ap_mm, diameter_rl_mm : float
        Extent of the outline along the front-back and the right-left direction.
    eccentricity : float
        ``sqrt(1 - minor² / major²)`` of the ellipse with the outline's second moments.
    solidity : float
        Area over the area of the convex hull, at most 1.
    """

    diameter_ap_mm: float
    diameter_rl_mm: float
    eccentricity: float
    solidity: float


NO_SHAPE = Shape(np.nan, np.nan, np.nan, np.nan)


def outline(values: NDArray[np.floating], spacing_mm: tuple[float, float], level: float = 0.5) -> Floats:
    """Outline of ``values >= level`` by marching squares, bilinear between voxel centres.

    Saddles are decided by the mean of their four corners. Beyond the array there is
    nothing, so an object cut by the border is closed along it.

    Parameters
    ----------
    values : ndarray, shape (nx, ny)
        One slice, values in [0, 1].
    spacing_mm : tuple of float
        Pixel size along the two axes.
    level : float
        Value of the outline.

    Returns
    -------
    ndarray, shape (n, 2, 2)
        Segments as (start, end) x (x, y) in mm, pixel (0, 0) at the origin, with the
        inside to the left of each.
    """
    padded = np.pad(np.asarray(values, dtype=float), 1)
    nx, ny = padded.shape
    corner = np.stack([padded[i : nx - 1 + i, j : ny - 1 + j] for i, j in _CORNERS], axis=-1)
    inside = corner >= level
    mixed = inside.any(axis=-1) & ~inside.all(axis=-1)
    cell = np.argwhere(mixed) - 1  # undo the padding
    value, inside = corner[mixed], inside[mixed]
    following = np.roll(inside, -1, axis=1)
    leaves, enters = inside & ~following, ~inside & following
    crossing = _crossings(cell, value, level)
    joined = value.mean(axis=1) >= level

    segments = []
    for edge in range(4):
        waiting = leaves[:, edge].copy()
        # Around a joined saddle the outline cuts off the outer corner ahead of the edge it
        # leaves by; around a split one the inner corner behind it.
        for step in (1, 2, 3):
            ahead, behind = (edge + step) % 4, (edge - step) % 4
            target = np.where(joined, ahead, behind)
            found = waiting & enters[np.arange(len(cell)), target]
            segments.append(np.stack([crossing[found, edge], crossing[found, target[found]]], axis=1))
            waiting &= ~found
    return np.asarray(np.concatenate(segments) * np.asarray(spacing_mm), dtype=float)


def _crossings(cell: NDArray[np.intp], value: Floats, level: float) -> Floats:
    """Where the level is crossed on each edge of each cell, shape (n, 4, 2), in pixels."""
    following = np.roll(value, -1, axis=1)
    step = following - value
    share = np.divide(level - value, step, out=np.zeros_like(value), where=step != 0)
    direction = np.roll(_CORNERS, -1, axis=0) - _CORNERS
    return np.asarray(cell[:, None, :] + _CORNERS + share[..., None] * direction, dtype=float)


def across(tangent: Floats) -> Floats:
    """Map slice-plane offsets to the plane perpendicular to the cord, along the cord.

    The directions of that plane are right and front turned by the smallest rotation that
    takes the slice normal to the tangent, so that neither of the two is preferred.

    Parameters
    ----------
    tangent : ndarray, shape (3,)
        Unit vector along the cord, upwards.

    Returns
    -------
    ndarray, shape (2, 2)
        ``(right, front) = matrix @ (x, y)``; its determinant is ``tangent[2]``.
    """
    lateral = tangent[:2]
    return np.asarray(np.eye(2) - np.outer(lateral, lateral) / (1.0 + tangent[2]), dtype=float)


def shape_of(segments: Floats) -> Shape:
    """Diameters, eccentricity and solidity of an outline.

    Parameters
    ----------
    segments : ndarray, shape (n, 2, 2)
        Oriented segments in mm as from :func:`outline`, first coordinate to the right,
        second to the front.
    """
    if len(segments) < 3:
        return NO_SHAPE
    area, moments = area_and_moments(segments)
    points = segments.reshape(-1, 2)
    if area < _LEAST_AREA_MM2 or np.ptp(points, axis=0).min() <= 0:
        return NO_SHAPE
    minor, major = np.linalg.eigvalsh(moments)
    extent_rl, extent_ap = np.ptp(points, axis=0)
    return Shape(
        diameter_ap_mm=float(extent_ap),
        diameter_rl_mm=float(extent_rl),
        eccentricity=float(np.sqrt(max(0.0, 1.0 - minor / major))),
        solidity=float(min(1.0, area / ConvexHull(points).volume)),
    )


def area_and_moments(segments: Floats) -> tuple[float, Floats]:
    """Area (mm²) and central second moments per area (2, 2) inside oriented segments.

    Green's theorem: each segment stands for the signed triangle it forms with the origin.
    """
    # About their mean, or the triangles cancel large numbers.
    centred = segments - segments.reshape(-1, 2).mean(axis=0)
    start, end = centred[:, 0], centred[:, 1]
    cross = start[:, 0] * end[:, 1] - end[:, 0] * start[:, 1]
    area = 0.5 * cross.sum()
    if area <= 0:
        return float(area), np.full((2, 2), np.nan)
    both = start + end
    centre = (both * cross[:, None]).sum(axis=0) / (6.0 * area)
    outer = (
        np.einsum("n,ni,nj->ij", cross, both, both)
        + np.einsum("n,ni,nj->ij", cross, start, start)
        + np.einsum("n,ni,nj->ij", cross, end, end)
    )
    return float(area), np.asarray(outer / (24.0 * area) - np.outer(centre, centre))
