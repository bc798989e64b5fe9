"""How well a predicted mask agrees with a reference: overlap, volume, area, surface.

Arrays are canonical and soft, [0, 1] (binary ones are a special case). Where a score is
restricted to slices, other slices are treated as if neither mask had anything there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Soft = NDArray[np.floating]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

HALF = 0.5
# Neighbours in a slice: a cord's surface is its side, not the cut at the end of the field of view.
_IN_SLICE = ndimage.generate_binary_structure(3, 1)
_IN_SLICE[:, :, [0, 2]] = False


class SurfaceDistance(NamedTuple):
    """Symmetric surface distance in mm.

    Attributes
    ----------
    mean_mm, percentile_95_mm : float
        Mean, and 95th percentile, over both surfaces together.
    hausdorff_95_mm : float
        The larger of the two directions' 95th percentiles (the robust Hausdorff distance of
        Huttenlocher et al., IEEE TPAMI 15:850, 1993, as MONAI computes it).
    """

    mean_mm: float
    percentile_95_mm: float
    hausdorff_95_mm: float


def binarise(soft: Soft, cut: float = HALF) -> NDArray[np.float32]:
    """1 where at least half of a voxel is cord, else 0: the hard counterpart of a soft mask.

    Parameters
    ----------
    soft : ndarray of any shape
        Cord fraction in [0, 1].
    cut : float
        Another fraction than half, in (0, 1).
    """
    return np.asarray(soft >= cut, dtype=np.float32)


def slices_with_mask(reference: Soft) -> Mask:
    """Slices in which a reference mask has any voxel >= 0.5, shape (z,)."""
    return np.asarray((reference >= HALF).any(axis=(0, 1)))


def dice(predicted: Soft, reference: Soft, slices: Mask | None = None) -> float:
    """Dice overlap of the masks cut at 0.5: ``2 |P and R| / (|P| + |R|)``; higher is better.

    NaN if both are empty.

    Parameters
    ----------
    predicted, reference : ndarray, shape (x, y, z)
    slices : ndarray of bool, shape (z,), optional
        Slices to score, e.g. :func:`slices_with_mask`; by default all.
    """
    p, r = _chosen(predicted, slices) >= HALF, _chosen(reference, slices) >= HALF
    return _ratio(2.0 * (p & r).sum(), p.sum() + r.sum())


def soft_dice(predicted: Soft, reference: Soft, slices: Mask | None = None) -> float:
    """Overlap of soft masks, ``2 sum(p r) / (sum(p²) + sum(r²))``: 1 only if they are equal.

    With squares below, unlike with sums, a soft mask scores 1 against itself (Milletari et al.,
    3DV 2016). NaN if both are empty. Parameters as :func:`dice`.
    """
    p, r = _chosen(predicted, slices).astype(float), _chosen(reference, slices).astype(float)
    return _ratio(2.0 * (p * r).sum(), (p**2).sum() + (r**2).sum())


def relative_volume_error(predicted: Soft, reference: Soft, slices: Mask | None = None) -> float:
    """``(sum(p) - sum(r)) / sum(r)`` of the soft values: positive if too large, 0 is best.

    NaN if the reference is empty. Parameters as :func:`dice`.
    """
    p, r = _chosen(predicted, slices).sum(dtype=float), _chosen(reference, slices).sum(dtype=float)
    return _ratio(p - r, r)


def area_errors_mm2(predicted: Soft, reference: Soft, spacing_mm: NDArray[np.floating]) -> Floats:
    """Soft area of each slice minus the reference's, in the plane of the slice, in mm².

    Returns
    -------
    ndarray, shape (z,)
        NaN in slices where both are empty.
    """
    p, r = predicted.sum(axis=(0, 1), dtype=float), reference.sum(axis=(0, 1), dtype=float)
    error = (p - r) * float(spacing_mm[0]) * float(spacing_mm[1])
    return np.where((p > 0) | (r > 0), error, np.nan)


def surface_distance(
    predicted: Soft, reference: Soft, spacing_mm: NDArray[np.floating], slices: Mask | None = None
) -> SurfaceDistance:
    """Distances between the side surfaces of the masks cut at 0.5; lower is better.

    A mask's surface is made of its voxels with a neighbour outside it in the same slice. Each
    surface voxel of either mask contributes its distance (in 3-D, between voxel centres) to the
    other's surface; mean and percentile are over all of them together.

    Parameters
    ----------
    predicted, reference : ndarray, shape (x, y, z)
    spacing_mm : ndarray, shape (3,)
    slices : ndarray of bool, shape (z,), optional
        Slices to score; by default all.

    Returns
    -------
    SurfaceDistance
        NaN if either mask is empty.
    """
    use = np.ones(predicted.shape[2], dtype=bool) if slices is None else slices
    surfaces = [_surface((mask >= HALF) & use) for mask in (predicted, reference)]
    if not all(surface.any() for surface in surfaces):
        return SurfaceDistance(float("nan"), float("nan"), float("nan"))
    box = ndimage.find_objects((surfaces[0] | surfaces[1]).astype(np.uint8))[0]
    one, other = surfaces[0][box], surfaces[1][box]
    sampling = np.asarray(spacing_mm, dtype=float)
    there = ndimage.distance_transform_edt(~other, sampling=sampling)[one]
    back = ndimage.distance_transform_edt(~one, sampling=sampling)[other]
    both = np.concatenate([there, back])
    farthest = max(float(np.percentile(way, 95)) for way in (there, back))
    return SurfaceDistance(float(both.mean()), float(np.percentile(both, 95)), farthest)


def _surface(mask: Mask) -> Mask:
    return np.asarray(mask & ~ndimage.binary_erosion(mask, structure=_IN_SLICE))


def _chosen(array: Soft, slices: Mask | None) -> Soft:
    return array if slices is None else array[:, :, slices]


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
