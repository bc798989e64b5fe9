"""The per-slice table of the cord: what every later number derives from.

Arrays are canonical (x to the right, y to the front, z up); a slice is an index on axis 2.
Its area is that of the section perpendicular to the cord: the sum over its pixels times
the tangent's z component.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from softseg_bids.core.centreline import Centreline, trace
from softseg_bids.core.contour import Shape, across, outline, shape_of
from softseg_bids.core.pieces import HALF, HALO_MM, REACH_MM, Box, bounding_box, halo, keep_cord, within_reach

__all__ = ["Centreline", "inspect_slices", "keep_cord", "measure_areas", "measure_slices", "trace"]

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A component belongs to the line that passes through it or this close to it.
_ON_LINE_MM = 3.0


def measure_slices(soft: Array, spacing_mm: NDArray[np.floating], line: Centreline) -> dict[str, Floats]:
    """The per-slice table: area and shape of the section perpendicular to the cord.

    ``area_mm2 = sum(soft) px py t_z`` over the >= 0.5 component on the line dilated by 3 mm
    (in a slice that stays below 0.5, within 12 mm of the line). The tangents are those of
    ``line``. Diameters, eccentricity and solidity come from the 0.5 outline projected along
    the cord onto the perpendicular plane: soft second moments would grow with blur.

    Parameters
    ----------
    soft : ndarray, shape (x, y, z)
        Cord fraction in [0, 1], canonical axes; never renormalised.
    spacing_mm : ndarray, shape (3,)
    line : Centreline

    Returns
    -------
    dict of ndarray, each of shape (n,)
        One entry a slice of ``line.slices``; NaN where there is no cord.

        - ``area_mm2``, ``area_binary_mm2`` (of the voxels >= 0.5)
        - ``diameter_ap_mm``, ``diameter_rl_mm``, ``eccentricity``, ``solidity``
        - ``angle_ap_deg``: tilt of the tangent in the sagittal plane, atan2(t_y, t_z),
          positive if the cord runs to the front as it goes up (SCT calls this rotation about
          the right-left axis angle_RL)
        - ``angle_rl_deg``: tilt in the coronal plane, atan2(t_x, t_z), positive if it runs to
          the right as it goes up (SCT: angle_AP)
        - ``length_mm``: length of cord in the slice, pz / t_z; of every slice, cord or not
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    body, support, box = _support(soft, spacing, line)
    inner = soft[box].astype(float)
    normal = line.tangents[:, 2]
    shapes = [
        shape_of(
            outline(np.where(support[:, :, k], inner[:, :, k], 0.0), (spacing[0], spacing[1]))
            @ across(tangent).T
        )
        for k, tangent in enumerate(line.tangents)
    ]
    table = {name: np.array([getattr(shape, name) for shape in shapes]) for name in Shape._fields}
    return {
        **_areas(inner, body, support, spacing, line),
        **table,
        "angle_ap_deg": np.rad2deg(np.arctan2(line.tangents[:, 1], normal)),
        "angle_rl_deg": np.rad2deg(np.arctan2(line.tangents[:, 0], normal)),
    }


def measure_areas(soft: Array, spacing_mm: NDArray[np.floating], line: Centreline) -> dict[str, Floats]:
    """``area_mm2``, ``area_binary_mm2`` and ``length_mm`` of :func:`measure_slices`, without the shapes.

    Outlines take most of that function's time; who compares areas of several masks needs none.
    Parameters as there.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    body, support, box = _support(soft, spacing, line)
    return _areas(soft[box].astype(float), body, support, spacing, line)


def _areas(inner: Floats, body: Mask, support: Mask, spacing: Floats, line: Centreline) -> dict[str, Floats]:
    """Areas and lengths of the slices of a box."""
    normal = line.tangents[:, 2]
    pixel_mm2 = spacing[0] * spacing[1] * normal
    area = np.where(support, inner, 0.0).sum(axis=(0, 1)) * pixel_mm2
    binary = body.sum(axis=(0, 1)) * pixel_mm2
    return {
        "area_mm2": np.where(area > 0, area, np.nan),
        "area_binary_mm2": np.where(binary > 0, binary, np.nan),
        "length_mm": spacing[2] / normal,
    }


def inspect_slices(
    soft: Array, spacing_mm: NDArray[np.floating], line: Centreline
) -> dict[str, NDArray[Any]]:
    """Facts about each slice that flags need and the table does not hold.

    Returns
    -------
    dict of ndarray, each of shape (n,)
        ``touches_edge`` (bool): voxels >= 0.5 in the outermost rows or columns of the image;
        ``pieces`` (int): number of separate objects >= 0.5 in the slice;
        ``edge_mm2`` (float): softness of its edge, the sum of ``p (1 - p)`` over the summed pixels
        times their area on the perpendicular plane, for :mod:`softseg_bids.core.uncertainty`.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    body, support, box = _support(soft, spacing, line)
    whole = np.zeros((*soft.shape[:2], len(line.slices)), dtype=bool)
    whole[box[:2]] = body
    border = np.ones(soft.shape[:2], dtype=bool)
    border[1:-1, 1:-1] = False
    pieces = [ndimage.label(body[:, :, k], structure=np.ones((3, 3)))[1] for k in range(body.shape[2])]
    touches = np.asarray(whole[border].any(axis=0))
    doubt = np.where(support, soft[box] * (1.0 - soft[box]), 0.0).sum(axis=(0, 1), dtype=float)
    edge = doubt * spacing[0] * spacing[1] * line.tangents[:, 2]
    return {"touches_edge": touches, "pieces": np.array(pieces), "edge_mm2": edge}


def _support(soft: Array, spacing_mm: Floats, line: Centreline) -> tuple[Mask, Mask, Box]:
    """Voxels >= 0.5 of the components on the line, and those that are summed.

    Returns
    -------
    body, support : ndarray of bool, shape of the box
    box : tuple of slice
        Where in ``soft`` they lie; its last slice is that of the line.
    """
    levels = slice(int(line.slices[0]), int(line.slices[-1]) + 1)
    margin = REACH_MM / spacing_mm[:2]
    low = np.floor(line.points_mm[:, :2].min(axis=0) / spacing_mm[:2] - margin)
    high = np.ceil(line.points_mm[:, :2].max(axis=0) / spacing_mm[:2] + margin)
    strong = soft[:, :, levels] >= HALF
    if strong.any():
        found = bounding_box(strong, spacing_mm, HALO_MM)
        low = np.minimum(low, [found[0].start, found[1].start])
        high = np.maximum(high, [found[0].stop, found[1].stop])
    rows = [slice(max(int(a), 0), int(b) + 1) for a, b in zip(low, high, strict=True)]
    box = (rows[0], rows[1], levels)
    strong = strong[rows[0], rows[1]]
    local = line.points_mm[:, :2] - np.array([rows[0].start, rows[1].start]) * spacing_mm[:2]
    body = _on_line(strong, spacing_mm, local)
    support = halo(body, strong, spacing_mm) if strong.any() else np.zeros_like(strong)
    for k in np.flatnonzero(~body.any(axis=(0, 1))):
        support[:, :, k] = within_reach(strong.shape[:2], local[k], spacing_mm) & ~strong[:, :, k]
    return body, support, box


def _on_line(strong: Mask, spacing_mm: Floats, local_mm: Floats) -> Mask:
    """The components that the line meets, or comes within 3 mm of in a slice."""
    labels, _ = ndimage.label(strong, structure=np.ones((3, 3, 3)))
    x = np.arange(strong.shape[0])[:, None] * spacing_mm[0] - local_mm[:, 0]
    y = np.arange(strong.shape[1])[:, None] * spacing_mm[1] - local_mm[:, 1]
    near = x[:, None] ** 2 + y[None] ** 2 <= max(_ON_LINE_MM, *spacing_mm[:2]) ** 2
    return np.asarray(strong & np.isin(labels, np.unique(labels[near & strong])))
