"""From the network's grid to an image's own voxels, without the softness that grids add.

The network learns fractions that were interpolated onto its grid, and linear interpolation would bring them
to finer voxels: twice an edge grows wider than what the image's voxels hold. The logits of a fraction run
straight across an edge; they are interpolated instead and scaled (Platt, Advances in Large Margin
Classifiers 1999), and the fractions they give are averaged over the image's voxels.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.special import expit, logit

from softseg_bids.image.grid import Array, Grid, resample, respaced

# The grid between has so many voxels to one of the network's, across the cord.
PARTS = 2
# Fractions below this, or as near to 1, are no edge.
LEAST = 1e-3


def to_voxels(soft: Array, fine: Grid, grid: Grid, scaling: tuple[float, float]) -> Array:
    """Fractions on the network's grid as those of an image's voxels.

    Parameters
    ----------
    soft : ndarray of float32, shape fine.shape
        In [0, 1].
    fine, grid : Grid
        The network's and the image's; canonical axes, parallel.
    scaling : tuple of float
        Slope and offset of the logits: `Architecture.scaling`.

    Returns
    -------
    ndarray of float32, shape grid.shape
        In [0, 1]; 0 beyond ``fine``. Integrated where the voxels are larger than the network's.
    """
    return scaled(*dense_logits(soft, fine), grid, scaling)


def dense_logits(soft: Array, fine: Grid) -> tuple[Array, Grid]:
    """Logits of fractions, interpolated to smaller voxels across the cord, not along it; and their grid."""
    x, y, z = fine.spacing_mm
    logits = logit(np.clip(soft, LEAST, 1 - LEAST))
    parted = ndimage.zoom(logits, (PARTS, PARTS, 1), order=1, mode="nearest", grid_mode=True)
    return parted, respaced(fine, (x / PARTS, y / PARTS, z))


def scaled(logits: Array, dense: Grid, grid: Grid, scaling: tuple[float, float]) -> Array:
    """Fractions of scaled logits, averaged over an image's voxels."""
    slope, offset = scaling
    return np.clip(resample(expit(slope * logits + offset), dense, grid, outside="zero"), 0, 1)
