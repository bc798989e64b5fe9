"""A mask corrected by hand, merged into the model's soft one.

An editor sees the model's mask cut at 0.5 and paints or erases voxels. What was not
touched keeps its soft values to the bit; where the edge was moved, the new edge gets a
soft rim that conserves the painted area.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

HALF = 0.5
# A value this near 0 or 1 is a rounded 0 or 1 (scaled integers, resaved floats).
_ROUNDING = 1e-3
# Weights of a voxel and its two neighbours along an axis: an edge one voxel wide.
_RIM = np.array([0.25, 0.5, 0.25])
_TOUCHING = np.ones((3, 3), dtype=bool)
# The largest float32 below the threshold.
_JUST_UNDER = np.nextafter(np.float32(HALF), np.float32(0))


def is_soft(array: NDArray[np.generic]) -> bool:
    """Whether a mask holds fractions: any value strictly between 0 and 1, rounding aside."""
    values = np.asarray(array, dtype=float)
    return bool(((values > _ROUNDING) & (values < 1.0 - _ROUNDING)).any())


def merge(soft: Array, corrected: NDArray[np.generic], spacing_mm: NDArray[np.floating]) -> Array:
    """Merge a corrected mask into the model's soft mask, slice by slice.

    In a slice where ``corrected`` equals ``soft >= 0.5`` nothing changes. In another, the
    voxels whose nearest piece of the model's edge was moved take the corrected mask smoothed
    by one voxel ([1 2 1]/4 along both axes, which conserves area); the others keep their
    soft values. The result is >= 0.5 exactly where ``corrected`` is set.

    Parameters
    ----------
    soft : ndarray, shape (x, y, z)
        The model's cord fraction in [0, 1], canonical axes.
    corrected : ndarray, shape (x, y, z)
        The mask as saved by the editor; voxels above 0.5 are cord. If it holds fractions
        (:func:`is_soft`) it is a soft mask already and is returned as it is.
    spacing_mm : ndarray, shape (3,)

    Returns
    -------
    ndarray of float32, shape (x, y, z), in [0, 1]

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if soft.shape != corrected.shape:
        raise ValueError(f"corrected mask has shape {corrected.shape}, the soft mask {soft.shape}")
    if is_soft(corrected):
        return np.clip(np.asarray(corrected, dtype=np.float32), 0, 1)
    old, new = soft >= HALF, np.asarray(corrected) > HALF
    merged = np.array(soft, dtype=np.float32)
    pixel_mm = (float(spacing_mm[0]), float(spacing_mm[1]))
    for k in np.flatnonzero((old != new).any(axis=(0, 1))):
        merged[:, :, k] = _merge_slice(merged[:, :, k], old[:, :, k], new[:, :, k], pixel_mm)
    return merged


def _merge_slice(soft: Array, old: Mask, new: Mask, pixel_mm: tuple[float, float]) -> Array:
    if not new.any():
        return np.zeros_like(soft)
    rim = soften(new)
    if not old.any():
        return rim
    return np.where(_moved(old, new, pixel_mm), rim, soft)


def soften(mask: Mask) -> Array:
    """A soft edge for a binary slice: same area, >= 0.5 exactly where the mask is set.

    Only where smoothing would drop a set voxel (a thin line's end) or fill a gap is a value
    moved, just across the threshold, and there the area changes a little.
    """
    smooth = mask.astype(np.float32)
    for axis in (0, 1):
        # A mask cut by the border goes on beyond it.
        smooth = ndimage.correlate1d(smooth, _RIM, axis=axis, mode="nearest")
    return np.where(mask, np.maximum(smooth, np.float32(HALF)), np.minimum(smooth, _JUST_UNDER))


def _moved(old: Mask, new: Mask, pixel_mm: tuple[float, float]) -> Mask:
    """Pixels whose soft value spoke of a piece of the old edge that is no longer there.

    A value inside the old mask tells the distance to the nearest pixel outside, a value
    outside to the nearest inside. It is void if that pixel touches a changed one.
    """
    touched = ndimage.binary_dilation(old != new, structure=_TOUCHING)
    moved = touched.copy()
    for side in (old, ~old):
        if (~side).any():
            nearest = ndimage.distance_transform_edt(
                side, sampling=pixel_mm, return_distances=False, return_indices=True
            )
            moved |= side & touched[tuple(nearest)]
    return np.asarray(moved)
