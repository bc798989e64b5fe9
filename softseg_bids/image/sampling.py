"""Values of an image at scanner points, and means over the voxels of any other grid, parallel or not."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from softseg_bids.image.grid import Array, Floats, Grid

Move = Callable[[Floats], Floats]


def values_at(array: NDArray[np.floating], grid: Grid, points_mm: Floats) -> Array:
    """Linearly interpolated values at scanner points; beyond the image those of its border.

    Parameters
    ----------
    array : ndarray, shape grid.shape
    grid : Grid
    points_mm : ndarray, shape (..., 3)

    Returns
    -------
    ndarray of float32, shape (...)
    """
    index = np.moveaxis(grid.to_index(points_mm), -1, 0)
    values = ndimage.map_coordinates(array, index, order=1, mode="nearest", prefilter=False)
    return np.asarray(values, dtype=np.float32)


def points_of(grid: Grid, offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Floats:
    """Scanner points of all voxels, each moved by an offset in voxels; shape (*grid.shape, 3)."""
    axes = [np.arange(n, dtype=float) + o for n, o in zip(grid.shape, offset, strict=True)]
    return grid.to_world(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1))


def mean_over_voxels(array: NDArray[np.floating], source: Grid, target: Grid, move: Move) -> Array:
    """Mean of an image over each voxel of another grid: interpolated to finer, integrated to coarser ones.

    Each voxel is the mean of points in it that lie at most one source voxel apart.

    Parameters
    ----------
    array : ndarray, shape source.shape
    source, target : Grid
        In any position to each other.
    move : callable
        Scanner points (..., 3) of the target to those of the source they show.
    """
    counts = [max(1, int(np.ceil(h / source.spacing_mm.min() - 1e-3))) for h in target.spacing_mm]
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    total = np.zeros(target.shape, dtype=np.float32)
    for offset in product(*steps):
        total += values_at(array, source, move(points_of(target, offset)))
    return total / np.float32(np.prod(counts))
