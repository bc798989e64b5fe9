"""Planes cut from a canonical volume for display, in pixels of a fixed size in mm.

Display conventions: axial planes are seen from below (the patient's right on the left,
front up), sagittal ones from the patient's left with the front on the left and the head up,
as viewers show them by default. A voxel of index i is centred at i times its spacing.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from softseg_bids.core.contour import outline
from softseg_bids.core.cord import Centreline

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
# Of interpolation: linear for masks, as their outline; cubic for images.
Order = Literal[1, 3]

# The window follows the cord and its near surroundings, so that fat does not decide it ...
WINDOW_RADIUS_MM = 11.0
WINDOW_PERCENTILES = (1.0, 99.0)
# ... with room above, as on T1w the cord itself is the brightest tissue there ...
WINDOW_HEADROOM = 0.2
# ... and follows the fall-off of surface coils, but not the anatomy of single slices.
WINDOW_SMOOTH_MM = 12.0
# Grey level of what lies beyond the field of view.
OUTSIDE = 18


class Window(NamedTuple):
    """Intensities shown as black and white, one pair a slice, each of shape (n_slices,)."""

    low: Floats
    high: Floats


def cord_window(image: NDArray[np.floating], spacing_mm: Floats, line: Centreline) -> Window:
    """Robust window of every slice, from the intensities around the cord.

    The 1st and 99th percentile within a square of 22 mm about the centreline, smoothed along
    the cord, and some headroom; slices beyond its ends take the nearest value.
    """
    bounds = np.array(
        [
            np.percentile(_around(image[:, :, index], point, spacing_mm), WINDOW_PERCENTILES)
            for index, point in zip(line.slices, line.points_mm, strict=True)
        ]
    )
    sigma = WINDOW_SMOOTH_MM / spacing_mm[2]
    smooth = ndimage.gaussian_filter1d(bounds, sigma, axis=0, mode="nearest")
    every = np.arange(image.shape[2])
    low = np.interp(every, line.slices, smooth[:, 0])
    high = np.interp(every, line.slices, smooth[:, 1])
    # Never empty, even where the surroundings of the cord hold a single value.
    width = np.maximum(high - low, 1e-6 * np.abs(high) + np.finfo(np.float32).tiny)
    return Window(low, low + (1 + WINDOW_HEADROOM) * width)


def _around(plane: NDArray[np.floating], point_mm: Floats, spacing_mm: Floats) -> NDArray[np.floating]:
    ranges = []
    for axis in range(2):
        ends = (point_mm[axis] + np.array([-1, 1]) * WINDOW_RADIUS_MM) / spacing_mm[axis]
        start, stop = np.clip(np.round(ends).astype(int), 0, plane.shape[axis] - 1)
        ranges.append(slice(start, stop + 1))
    return plane[ranges[0], ranges[1]]


def to_grey(values: Floats, low: Floats | float, high: Floats | float) -> Bytes:
    """Values from ``low`` to ``high`` as 0 to 255; NaN, beyond the field of view, as a dark grey."""
    scaled = np.clip((values - low) / (np.asarray(high) - low), 0.0, 1.0) * 255
    return np.where(np.isnan(values), OUTSIDE, np.round(scaled)).astype(np.uint8)


class Frame(NamedTuple):
    """Where a display plane lies in a plane of voxels.

    Attributes
    ----------
    across_mm, down_mm : ndarray
        Position of each pixel column and row along the plane's two axes, in frame mm.
    spacing_mm : ndarray, shape (2,)
        Voxel size along these axes.
    """

    across_mm: Floats
    down_mm: Floats
    spacing_mm: Floats

    @property
    def pixels_per_mm(self) -> float:
        """Resolution of the display, the same both ways."""
        return float(1.0 / abs(self.across_mm[1] - self.across_mm[0]))

    def sample(self, plane: NDArray[np.floating], order: Order) -> Floats:
        """Interpolate a plane of voxels at every pixel; NaN outside, shape (rows, columns)."""
        first = self.across_mm / self.spacing_mm[0]
        second = self.down_mm / self.spacing_mm[1]
        where = np.stack(np.meshgrid(first, second))
        values = ndimage.map_coordinates(plane.astype(float), where, order=order, mode="nearest")
        inside = np.logical_and.outer(_within(second, plane.shape[1]), _within(first, plane.shape[0]))
        return np.where(inside, values, np.nan)

    def to_pixels(self, points_mm: Floats) -> Floats:
        """Pixel position (column, row) of points given along the plane's axes in mm, shape (..., 2)."""
        steps = np.array([self.across_mm[1] - self.across_mm[0], self.down_mm[1] - self.down_mm[0]])
        start = np.array([self.across_mm[0], self.down_mm[0]])
        return np.asarray((points_mm - start) / steps + 0.5, dtype=float)

    def outline(self, plane: NDArray[np.floating]) -> Floats:
        """The measured outline (0.5) of a plane of soft values that lies in view, in pixels.

        Returns
        -------
        ndarray, shape (n, 2, 2)
            Segments as (start, end) x (column, row).
        """
        segments = self.to_pixels(outline(plane, (float(self.spacing_mm[0]), float(self.spacing_mm[1]))))
        size = np.array([len(self.across_mm), len(self.down_mm)])
        return segments[((segments >= 0) & (segments <= size)).all(axis=(1, 2))]


def _within(index: Floats, size: int) -> NDArray[np.bool_]:
    return (index >= -0.5) & (index <= size - 0.5)


def axial_frame(centre_mm: Floats, size_mm: float, pixels_per_mm: float, spacing_mm: Floats) -> Frame:
    """A square axial view about a point: columns run to the patient's left, rows to the back."""
    n_pixels = round(size_mm * pixels_per_mm)
    offsets = (np.arange(n_pixels) + 0.5) / pixels_per_mm - 0.5 * size_mm
    return Frame(centre_mm[0] - offsets, centre_mm[1] - offsets, spacing_mm[:2])


def sagittal_frame(
    front_mm: float, back_mm: float, n_slices: int, pixels_per_mm: float, spacing_mm: Floats
) -> Frame:
    """A sagittal view over all slices: columns run to the back, rows downwards."""
    columns = max(2, round((front_mm - back_mm) * pixels_per_mm))
    rows = max(2, round(n_slices * spacing_mm[2] * pixels_per_mm))
    top_mm = float((n_slices - 0.5) * spacing_mm[2])
    across = front_mm - (np.arange(columns) + 0.5) / pixels_per_mm
    down = top_mm - (np.arange(rows) + 0.5) / pixels_per_mm
    return Frame(np.asarray(across, dtype=float), down, spacing_mm[1:])


def sagittal_plane(array: NDArray[np.floating], spacing_mm: Floats, line: Centreline) -> NDArray[np.floating]:
    """The curved plane that follows the cord from left to right, shape (y, z).

    Each row is cut at the cord's own right-left position (linear interpolation), so the whole
    cord is seen in one plane; front-back positions and heights stay true.
    """
    every = np.arange(array.shape[2])
    x = np.interp(every, line.slices, line.points_mm[:, 0]) / spacing_mm[0]
    x = np.clip(x, 0, array.shape[0] - 1)
    lower = np.minimum(np.floor(x).astype(int), max(array.shape[0] - 2, 0))
    upper = np.minimum(lower + 1, array.shape[0] - 1)
    part = x - lower
    plane = array[lower, :, every] * (1 - part)[:, None] + array[upper, :, every] * part[:, None]
    return np.asarray(plane.T)
