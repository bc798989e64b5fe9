"""From the network's grid to an image's own voxels, without the softness that grids add.

The network learns fractions that were interpolated onto its grid, and linear interpolation brings them to
finer voxels: twice an edge grows wider than what the image's voxels hold. The logits of a fraction run
straight across an edge; they are interpolated instead and scaled, and the fractions they give are averaged
over the image's voxels.
"""

from __future__ import annotations

import numpy as np
from scipy.special import expit, logit

from softseg_bids.image.grid import Array, Grid, resample, respaced

# Platt's scaling of the logits, with which of the voxels told q a share q is cord, and areas are right in
# the mean: read off images drawn for calibration (`bench/images.py`); docs/benchmark.md judges it on others.
STEEPER, HIGHER = 1.6, 0.1
# The grid between has so many voxels to one of the network's, across the cord.
PARTS = 2
# Fractions below this, or as near to 1, are no edge.
LEAST = 1e-4


def to_voxels(soft: Array, fine: Grid, grid: Grid) -> Array:
    """Fractions on the network's grid as those of an image's voxels.

    Parameters
    ----------
    soft : ndarray of float32, shape fine.shape
        In [0, 1].
    fine, grid : Grid
        The network's and the image's; canonical axes, parallel.

    Returns
    -------
    ndarray of float32, shape grid.shape
        In [0, 1]; 0 beyond ``fine``. Integrated where the voxels are larger than the network's.
    """
    x, y, z = fine.spacing_mm
    dense = respaced(fine, (x / PARTS, y / PARTS, z))
    logits = resample(logit(np.clip(soft, LEAST, 1 - LEAST)), fine, dense)
    return np.clip(resample(expit(STEEPER * logits + HIGHER), dense, grid, outside="zero"), 0, 1)
