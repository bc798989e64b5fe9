"""Bring profiles of one cord, seen several times, to one coordinate along it.

Between visits the person lies differently, so positions along the cord start anywhere. Where the
cord is thick and thin tells how far one profile is shifted against another; labels, where there are
some, tell it too. Every profile is moved to the middle of all, so that none is a reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

Floats = NDArray[np.float64]

STEP_MM = 0.25
SMOOTHING_MM = 3.0
FARTHEST_MM = 60.0
# Two profiles must overlap by this much (or by half of the shorter) before their shapes are compared.
LEAST_OVERLAP_MM = 40.0
# Smoothed profiles vary over several millimetres: so far apart are independent values.
CORRELATED_MM = 2.0 * np.sqrt(np.pi) * SMOOTHING_MM
# Noise is never taken to be less than half a percent: discretisation, even without any other.
LEAST_NOISE = 0.005
# A disc is labelled again within about this.
LABEL_SD_MM = 1.5


class Profile(NamedTuple):
    """Positive quantities along the cord.

    Attributes
    ----------
    position_mm : ndarray, shape (n,)
        Increasing.
    features : ndarray, shape (n, k)
        Area, diameters; finite.
    """

    position_mm: Floats
    features: Floats


class Shift(NamedTuple):
    """How far a profile is to be moved, and the standard error of that, both in mm."""

    shift_mm: float
    error_mm: float


def shift_between(fixed: Profile, moving: Profile) -> Shift | None:
    """The shift of a profile onto another by their shape.

    Logarithms of the features, smoothed by 3 mm and centred on the overlap, so that a cord that
    shrinks everywhere, or another contrast, does not move it. Its error follows from what differs at
    the best place and from how steep the profiles are.

    Parameters
    ----------
    fixed, moving : Profile
        With the same features.

    Returns
    -------
    Shift or None
        To be added to the positions of ``moving``; None if too little of the two overlaps.
    """
    grids = [_even(profile) for profile in (fixed, moving)]
    (start_a, a), (start_b, b) = grids
    least = int(min(LEAST_OVERLAP_MM / STEP_MM, 0.5 * min(len(a), len(b))))
    steps = int(FARTHEST_MM / STEP_MM)
    origin = start_a - start_b
    lags = np.arange(-steps, steps + 1) + round(-origin / STEP_MM)
    costs = np.array([_difference(a, b, int(lag), least) for lag in lags])
    if least < 2 or not np.isfinite(costs).any():
        return None
    best = int(np.nanargmin(costs))
    offset = 0.0
    if 0 < best < len(costs) - 1 and np.isfinite(costs[best - 1 : best + 2]).all():
        before, here, after = costs[best - 1 : best + 2]
        bend = before - 2 * here + after
        offset = float(0.5 * (before - after) / bend) if bend > 0 else 0.0
    lag = int(lags[best])
    low, high = max(0, lag), min(len(a), lag + len(b))
    slope = np.gradient(a[low:high], STEP_MM, axis=0)
    noise = max(float(costs[best]), LEAST_NOISE**2)
    # Fisher's information of independent values, of which there is one every few millimetres.
    information = float((slope**2).sum()) * STEP_MM / CORRELATED_MM / noise
    error = 1.0 / np.sqrt(information) if information > 0 else np.inf
    return Shift(origin + (lag + offset) * STEP_MM, float(error))


def shift_of_labels(fixed: dict[int, float], moving: dict[int, float]) -> Shift | None:
    """The shift that brings labels (value to position) onto others; None without a common one."""
    common = sorted(fixed.keys() & moving.keys())
    if not common:
        return None
    distances = [fixed[value] - moving[value] for value in common]
    return Shift(float(np.mean(distances)), float(LABEL_SD_MM * np.sqrt(2.0 / len(common))))


def pooled(shifts: Sequence[Shift]) -> Shift | None:
    """Mean of shifts weighted by their inverse variances; None if there is none with a finite error."""
    known = [shift for shift in shifts if np.isfinite(shift.error_mm)]
    if not known:
        return None
    weights = np.array([shift.error_mm for shift in known]) ** -2.0
    mean = float(np.average([shift.shift_mm for shift in known], weights=weights))
    return Shift(mean, float(weights.sum() ** -0.5))


def midpoint(shifts_mm: Sequence[float]) -> list[float]:
    """Shifts onto a first profile (its own is 0) turned into shifts onto the middle of all."""
    middle = float(np.mean(shifts_mm))
    return [shift - middle for shift in shifts_mm]


def _even(profile: Profile) -> tuple[float, Floats]:
    """Start, and log features on an even grid, smoothed."""
    position = np.arange(profile.position_mm[0], profile.position_mm[-1] + 1e-9, STEP_MM)
    values = [np.interp(position, profile.position_mm, np.log(column)) for column in profile.features.T]
    return float(position[0]), gaussian_filter1d(np.column_stack(values), SMOOTHING_MM / STEP_MM, axis=0)


def _difference(a: Floats, b: Floats, lag: int, least: int) -> float:
    """Mean squared difference of what overlaps if b starts ``lag`` steps after a."""
    low, high = max(0, lag), min(len(a), lag + len(b))
    if high - low < least:
        return float("nan")
    rest = a[low:high] - b[low - lag : high - lag]
    return float(((rest - rest.mean(axis=0)) ** 2).mean())
