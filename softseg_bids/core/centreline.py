"""The cord's centreline: smooth in millimetres, whatever the voxels.

Arrays are canonical (x to the right, y to the front, z up). *Frame mm* is voxel index
times spacing; a slice is an index on axis 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BSpline, make_smoothing_spline

from softseg_bids.core.pieces import FAINT, HALO_MM, LEAST_CORD_MM, bounding_box, cord_threshold, keep_cord

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# Curvature cannot be told from noise on less: the fit is a straight line.
STRAIGHT_BELOW_MM = 40.0
# Length scale of the smoothing spline. It halves a wave of 2 pi x 6 = 38 mm, keeps 98 % of
# one of 100 mm (a lordosis is longer), and averages centres over about 15 mm.
SMOOTHING_MM = 6.0
# What lies further than this from the line in its slice is another object.
_NEAR_LINE_MM = 15.0
# Slice centres further than this many robust SDs from the line stop counting (Tukey's
# biweight, its usual constant); the SD is never taken to be less than half a millimetre.
_OUTLIER_SD, _LEAST_SD_MM = 4.685, 0.5
_ROUNDS = 4
# The smoothing spline needs this many points.
_LEAST_FOR_SPLINE = 5


class Centreline(NamedTuple):
    """The cord's smooth centreline, one point a slice from the lowest slice with cord up.

    Attributes
    ----------
    slices : ndarray of int, shape (n,)
        Consecutive slice indices; voids between pieces are included.
    points_mm : ndarray, shape (n, 3)
        Frame mm, at the height of each slice's centre.
    tangents : ndarray, shape (n, 3)
        Unit vectors along the cord, upwards.
    """

    slices: NDArray[np.intp]
    points_mm: Floats
    tangents: Floats


def trace(soft: Array, spacing_mm: NDArray[np.floating]) -> Centreline | None:
    """Smooth centreline through the weighted centre of each slice.

    The line minimises ``sum w (centre - line)² pz + h⁴ ∫ line''² dz`` with w the slice's
    mass and h = 6 mm, a natural cubic smoothing spline whose strength knows neither voxel
    size nor slice thickness; under 40 mm of cord it is straight. Slices off the line are
    weighted down. Voids are bridged by the spline itself. Should the mask hold more than a cord,
    the line is that of what :func:`keep_cord` keeps.

    Parameters
    ----------
    soft : ndarray, shape (x, y, z)
        Cord fraction in [0, 1], canonical axes, as from :func:`keep_cord`. Values below 0.1
        do not count.
    spacing_mm : ndarray, shape (3,)

    Returns
    -------
    Centreline or None
        None if there is less than 10 mm of cord along the line.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    threshold = cord_threshold(soft, spacing)
    if not (soft >= threshold).any():
        return None
    curve, weight, offset_mm = _curve_through(soft, threshold, spacing)
    if (weight[_far_from(curve, weight.shape, offset_mm, spacing)] > 0).any():
        # More than one object: the mean of a slice may lie between them.
        curve, weight, _ = _curve_through(keep_cord(soft, spacing), threshold, spacing)
    firm = _firm(weight, threshold)
    line = _along(curve, _with_partial_ends(firm, weight, spacing[2]), spacing[2])
    length_mm = (spacing[2] / line.tangents[np.isin(line.slices, firm), 2]).sum()
    return line if length_mm >= LEAST_CORD_MM - 1e-6 else None


def _curve_through(soft: Array, threshold: float, spacing_mm: Floats) -> tuple[BSpline, Array, Floats]:
    """Curve through everything from 0.1, the cropped weights it used, and their offset (x, y) in mm."""
    box = bounding_box(soft >= FAINT, spacing_mm, 0.0)
    offset_mm = np.array([box[0].start, box[1].start]) * spacing_mm[:2]
    weight = np.where(soft[box[0], box[1]] >= FAINT, soft[box[0], box[1]], np.float32(0))
    firm = _firm(weight, threshold)
    curve = _fit(firm, *_centres(weight, firm, offset_mm, spacing_mm), spacing_mm[2])
    return curve, weight, offset_mm


def _firm(weight: Array, threshold: float) -> NDArray[np.intp]:
    """Slices that reach the threshold: only their centres are fitted."""
    return np.flatnonzero(weight.max(axis=(0, 1)) >= threshold)


def _centres(
    weight: Array, slices: NDArray[np.intp], offset_mm: Floats, spacing_mm: Floats
) -> tuple[Floats, Floats]:
    """Weighted centre (n, 2) in frame mm and mass (n,) in mm² of some slices."""
    chosen = weight[:, :, slices].astype(float)
    mass = chosen.sum(axis=(0, 1))
    x = np.arange(chosen.shape[0]) @ chosen.sum(axis=1) / mass
    y = np.arange(chosen.shape[1]) @ chosen.sum(axis=0) / mass
    return np.stack([x, y], axis=1) * spacing_mm[:2] + offset_mm, mass * spacing_mm[0] * spacing_mm[1]


def _fit(slices: NDArray[np.intp], centres_mm: Floats, mass_mm2: Floats, pz_mm: float) -> BSpline:
    """Line (short slabs) or smoothing spline through slice centres, robust to outliers."""
    height = np.asarray(slices * pz_mm, dtype=float)
    weight = mass_mm2 / np.median(mass_mm2) * pz_mm
    curve = _robust(_straight, height, centres_mm, weight)
    rise = height[-1] - height[0] + pz_mm
    length = rise * np.sqrt(1.0 + (curve.derivative()(height[0]) ** 2).sum())
    if length < STRAIGHT_BELOW_MM or len(slices) < _LEAST_FOR_SPLINE:
        return curve
    return _robust(_smooth, height, centres_mm, weight)


def _robust(
    fit: Callable[[Floats, Floats, Floats], BSpline], height: Floats, centres_mm: Floats, weight: Floats
) -> BSpline:
    """Iteratively reweighted fit, Tukey's biweight on the distance from the curve."""
    curve = fit(height, centres_mm, weight)
    for _ in range(_ROUNDS):
        off = np.linalg.norm(centres_mm - curve(height), axis=1)
        # The median length of a normal 2-D residual is 1.1774 SD.
        limit = _OUTLIER_SD * max(_LEAST_SD_MM, float(np.median(off)) / 1.1774)
        trust = np.clip(1.0 - (off / limit) ** 2, 0.0, None) ** 2
        kept = trust > 1e-3
        if kept.sum() < min(len(height), _LEAST_FOR_SPLINE):
            break
        curve = fit(height[kept], centres_mm[kept], (weight * trust)[kept])
    return curve


def _straight(height: Floats, centres_mm: Floats, weight: Floats) -> BSpline:
    """Weighted least-squares line; vertical through a single point."""
    middle = np.average(height, weights=weight)
    mean = np.average(centres_mm, axis=0, weights=weight)
    rise = height - middle
    spread = (weight * rise**2).sum()
    slope = (weight * rise) @ (centres_mm - mean) / spread if spread > 0 else np.zeros(2)
    knots = np.repeat([middle - 1.0, middle + 1.0], 2)
    return BSpline(knots, np.stack([mean - slope, mean + slope]), 1)


def _smooth(height: Floats, centres_mm: Floats, weight: Floats) -> BSpline:
    return make_smoothing_spline(height, centres_mm, weight, lam=SMOOTHING_MM**4)


def _far_from(curve: BSpline, shape: tuple[int, ...], offset_mm: Floats, spacing_mm: Floats) -> Mask:
    """Voxels further than 15 mm from the curve in their own slice."""
    centre = curve(np.arange(shape[2]) * spacing_mm[2])
    x = np.arange(shape[0])[:, None] * spacing_mm[0] + offset_mm[0] - centre[:, 0]
    y = np.arange(shape[1])[:, None] * spacing_mm[1] + offset_mm[1] - centre[:, 1]
    return np.asarray(x[:, None] ** 2 + y[None] ** 2 > _NEAR_LINE_MM**2)


def _with_partial_ends(firm: NDArray[np.intp], weight: Array, pz_mm: float) -> NDArray[np.intp]:
    """All slices from the lowest to the highest, with the faint ones just beyond (3 mm, or one)."""
    present = np.asarray(weight.any(axis=(0, 1)))
    first, last = int(firm[0]), int(firm[-1])
    for _ in range(max(1, int(HALO_MM / pz_mm))):
        first -= int(first > 0 and present[first - 1])
        last += int(last + 1 < len(present) and present[last + 1])
    return np.arange(first, last + 1)


def _along(curve: BSpline, slices: NDArray[np.intp], pz_mm: float) -> Centreline:
    height = slices * pz_mm
    slope = np.column_stack([curve.derivative()(height), np.ones(len(height))])
    tangents = slope / np.linalg.norm(slope, axis=1, keepdims=True)
    return Centreline(slices, np.column_stack([curve(height), height]), tangents)
