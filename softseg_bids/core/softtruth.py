"""One soft mask of a session's cord from a binary mask per contrast, slice by slice.

After Bédard & Karthik (Medical Image Analysis 2025): the slices of every contrast are moved so that
their weighted centres agree (translation only, so that what differs at the boundary survives), and
averaged over the contrasts that cover each slice. Arrays share one canonical grid; a slice is an index
on its last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

# A slice further than this from the session's centreline is another place, or another thing.
TOLERANCE_MM = 2.0
# Centres of slices are noisy by a fraction of a pixel; a line of their medians over this length is not.
SMOOTHING_MM = 10.0
# An end slice smaller than this share of the cord further in is cut by the end of the mask.
WHOLE_SHARE = 0.8
# As much as the published pipeline drops at each end (ten slices of 0.8 mm).
END_MM = 8.0
# The cord further in: enough for a median, and near enough for a cord that tapers.
INTERIOR_MM = 16.0
# Beyond this the axes of two sections do not belong to each other: a round cord has none.
MOST_TURN_DEG = 20.0


class Agreement(NamedTuple):
    """Which slices of which contrasts enter.

    Attributes
    ----------
    line_mm : ndarray, shape (z, 2)
        The session's centreline; NaN where no contrast is.
    distance_mm : ndarray, shape (contrasts, z)
        Of each centre from it; NaN without one.
    used : ndarray of bool, shape (contrasts, z)
    outlying : ndarray of bool, shape (contrasts,)
        Contrasts that lie elsewhere as a whole: none of their slices is used.
    """

    line_mm: Floats
    distance_mm: Floats
    used: Mask
    outlying: Mask


def slice_centres(mask: Array, spacing_mm: Floats) -> Floats:
    """Weighted centre of each slice (x, y), mm from voxel 0's centre, shape (z, 2); NaN where empty."""
    mass = mask.sum(axis=(0, 1), dtype=float)
    safe = np.where(mass > 0, mass, np.nan)
    x = np.arange(mask.shape[0]) @ mask.sum(axis=1, dtype=float) / safe
    y = np.arange(mask.shape[1]) @ mask.sum(axis=0, dtype=float) / safe
    return np.stack([x, y], axis=1) * np.asarray(spacing_mm)[:2]


def whole_slices(mask: Array, step_mm: float) -> Mask:
    """Slices of a mask that may stand for the cord, shape (z,).

    Left out are those that touch the border of the image, where the cord is cut, and partial ones at
    either end: within 8 mm of it (one slice if slices are thicker, a third of a short mask at most), all
    up to the innermost one that is more than 20 % smaller than the median of the 16 mm further in.
    """
    area = mask.sum(axis=(0, 1), dtype=float)
    partial = _partial_end(area, step_mm) | _partial_end(area[::-1], step_mm)[::-1]
    edge = np.ones(mask.shape[:2], dtype=bool)
    edge[1:-1, 1:-1] = False
    return np.asarray((area > 0) & ~partial & ~(mask[edge] >= 0.5).any(axis=0))


def _partial_end(area: Floats, step_mm: float) -> Mask:
    """Slices at the beginning of a mask that its end cuts, shape (z,)."""
    partial = np.zeros(len(area), dtype=bool)
    known = np.flatnonzero(area > 0)
    if known.size < 2:
        return partial
    inner_face_mm = (known - known[0] + 1) * step_mm
    count = min(max(int((inner_face_mm < END_MM + 1e-3).sum()), 1), max(known.size // 3, 1))
    interior = known[count : count + max(round(INTERIOR_MM / step_mm), 3)]
    small = np.flatnonzero(area[known[:count]] < WHOLE_SHARE * np.median(area[interior]))
    if small.size:
        partial[known[: small[-1] + 1]] = True
    return partial


def agree(centres_mm: Floats, covered: Mask, step_mm: float, tolerance_mm: float = TOLERANCE_MM) -> Agreement:
    """Compare the contrasts' centres with the session's centreline.

    The line is, slice by slice, the median of the centres where three or more contrasts are, else the
    centre of the first of them (the order of contrasts is the order of trust); then smoothed. A contrast
    of which more than half the slices are off is taken out, the farthest first, and the line drawn anew.

    Parameters
    ----------
    centres_mm : ndarray, shape (contrasts, z, 2)
        NaN where a contrast has no mask.
    covered : ndarray of bool, shape (contrasts, z)
    step_mm : float
        Distance of slices.
    tolerance_mm : float
    """
    covered = covered & np.isfinite(centres_mm[..., 0])
    outlying = np.zeros(len(covered), dtype=bool)
    while True:
        kept = covered & ~outlying[:, None]
        line = _line(centres_mm, kept, step_mm)
        distance = np.where(covered, np.linalg.norm(centres_mm - line, axis=2), np.nan)
        off = np.array([_share_off(d, ok, tolerance_mm) for d, ok in zip(distance, kept, strict=True)])
        # Two that disagree: the first is believed.
        if not (off > 0.5).any() or kept.any(axis=1).sum() < 2:
            return Agreement(line, distance, kept & (distance <= tolerance_mm), outlying)
        far = [
            _middle(d[ok]) if share > 0.5 else -1.0 for d, ok, share in zip(distance, kept, off, strict=True)
        ]
        outlying[int(np.argmax(far))] = True


def average(masks: Sequence[Array], used: Mask) -> tuple[Array, NDArray[np.intp]]:
    """Mean over the contrasts used in each slice, and how many those are.

    Parameters
    ----------
    masks : sequence of ndarray, shape (x, y, z)
        Moved onto each other.
    used : ndarray of bool, shape (contrasts, z)

    Returns
    -------
    ndarray, shape (x, y, z)
        In [0, 1]; 0 where none is used.
    ndarray of int, shape (z,)
    """
    count = used.sum(axis=0)
    total = np.zeros(masks[0].shape, dtype=float)
    for mask, own in zip(masks, used, strict=True):
        total += np.where(own, mask, 0.0)
    return (total / np.maximum(count, 1)).astype(np.float32), count


def turns_deg(mask: Array, reference: Array, step_mm: float) -> Floats:
    """Angle by which the long axis of each slice is turned against the reference's, degrees, shape (z,).

    From second moments, at most ±20, smoothed along the cord; 0 where either has no slice. Positive is
    from x towards y.
    """
    axes = [_axes_rad(one) for one in (mask, reference)]
    # Axes have no direction: angles differ by less than a right angle.
    difference = (axes[0] - axes[1] + 0.5 * np.pi) % np.pi - 0.5 * np.pi
    known = np.isfinite(difference) & (np.abs(difference) <= np.deg2rad(MOST_TURN_DEG))
    weight = known.astype(float)
    sigma = SMOOTHING_MM / step_mm
    mass = ndimage.gaussian_filter1d(weight, sigma, mode="constant")
    turn = ndimage.gaussian_filter1d(np.where(known, difference, 0.0), sigma, mode="constant")
    return np.rad2deg(np.where(mass > 1e-6, turn / np.maximum(mass, 1e-6), 0.0))


def _axes_rad(mask: Array) -> Floats:
    mass = mask.sum(axis=(0, 1), dtype=float)
    safe = np.where(mass > 0, mass, np.nan)
    x, y = np.arange(mask.shape[0])[:, None, None], np.arange(mask.shape[1])[None, :, None]
    dx, dy = x - (x * mask).sum(axis=(0, 1)) / safe, y - (y * mask).sum(axis=(0, 1)) / safe
    xx, yy, xy = ((part * mask).sum(axis=(0, 1)) / safe for part in (dx * dx, dy * dy, dx * dy))
    return np.asarray(0.5 * np.arctan2(2 * xy, xx - yy), dtype=float)


def _line(centres_mm: Floats, kept: Mask, step_mm: float) -> Floats:
    present = kept.sum(axis=0)
    line = np.full(centres_mm.shape[1:], np.nan)
    many = present >= 3
    own = np.where(kept[..., None], centres_mm, np.nan)
    if many.any():
        line[many] = np.nanmedian(own[:, many], axis=0)
    few = (present > 0) & ~many
    line[few] = own[kept.argmax(axis=0)[few], few]
    width = max(3, 2 * round(0.5 * SMOOTHING_MM / step_mm) + 1)
    known = np.flatnonzero(np.isfinite(line[:, 0]))
    if not known.size:
        return line
    slices = np.arange(known[0], known[-1] + 1)
    for axis in (0, 1):
        filled = np.interp(slices, known, line[known, axis])
        # Straight extensions: at an end, the median of a slope would lag behind.
        half = width // 2
        padded = np.pad(filled, half, mode="reflect", reflect_type="odd") if len(filled) > half else filled
        smooth = ndimage.median_filter(padded, width, mode="nearest")
        line[slices, axis] = smooth[half:-half] if len(filled) > half else smooth
    return line


def _share_off(distance: Floats, kept: Mask, tolerance_mm: float) -> float:
    return float((distance[kept] > tolerance_mm).mean()) if kept.any() else 0.0


def _middle(values: Floats) -> float:
    return float(np.median(values))
