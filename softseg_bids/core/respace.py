"""One line of voxels seen on another spacing: the arithmetic of every change of grid."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def axis_weights(
    n_in: int,
    n_out: int,
    scale: float,
    shift: float,
    outside: Literal["edge", "zero"],
) -> Floats:
    """Weights that average a linearly interpolated line over each output voxel.

    Output voxel ``i`` covers input positions ``scale * i + shift ± scale / 2`` (in input
    voxels). The weight of input ``j`` is the integral of its hat function over that
    interval, divided by its width; so an output finer than the input interpolates, a
    coarser one integrates, and either way ``sum(out) * scale == sum(in)`` wherever the
    output covers the input.

    Parameters
    ----------
    n_in, n_out : int
        Number of voxels along the axis.
    scale, shift : float
        Output voxel width, and the position of output voxel 0, in input voxels.
    outside : {"edge", "zero"}
        What lies beyond the input: its last value (images) or nothing (masks).

    Returns
    -------
    ndarray, shape (n_out, n_in)
    """
    centre = scale * np.arange(n_out)[:, None] + shift
    position = np.arange(n_in)[None, :]
    upper = _hat_integral(centre + 0.5 * scale - position)
    lower = _hat_integral(centre - 0.5 * scale - position)
    weights = (upper - lower) / scale
    if outside == "edge":
        missing = 1.0 - weights.sum(axis=1)
        nearest = np.where(centre[:, 0] < 0.5 * (n_in - 1), 0, n_in - 1)
        weights[np.arange(n_out), nearest] += missing
    return weights


def _hat_integral(t: NDArray[np.floating]) -> Floats:
    """Integral of the unit hat function from minus infinity to ``t``."""
    t = np.clip(t, -1.0, 1.0).astype(float)
    return np.where(t < 0, 0.5 * (t + 1) ** 2, 1 - 0.5 * (1 - t) ** 2)
