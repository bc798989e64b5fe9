"""Whether a predicted fraction means what it says: reliability, and the response to size.

CSA is a sum of soft values, so they must be fractions; and an area must follow the true one,
because a method that always says 70 mm² has no spread over contrasts either.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Soft = NDArray[np.floating]

BINS = 10


def fraction_bins(predicted: Soft, true: Soft) -> Floats:
    """Voxels sorted by their predicted fraction into ten bins.

    Parameters
    ----------
    predicted, true : ndarray of one shape
        Fractions in [0, 1]; the voxels that are asked.

    Returns
    -------
    ndarray, shape (10, 3)
        How many voxels, sum of the predicted and sum of the true fractions. Bins of several images add up.
    """
    flat, wanted = np.ravel(predicted).astype(float), np.ravel(true).astype(float)
    index = np.minimum((flat * BINS).astype(int), BINS - 1)
    columns = [np.bincount(index, weight, BINS) for weight in (np.ones_like(flat), flat, wanted)]
    return np.stack(columns, axis=1)


def reliability(bins: Floats) -> Floats:
    """The reliability curve: of each bin its voxels, mean predicted and mean true fraction.

    Parameters
    ----------
    bins : ndarray, shape (10, 3)
        From :func:`fraction_bins`, perhaps summed over images. An empty bin has zeros.
    """
    count = np.maximum(bins[:, :1], 1)
    return np.concatenate([bins[:, :1], bins[:, 1:] / count], axis=1)


def deviation(curve: Floats) -> tuple[float, float]:
    """Largest difference of predicted and true over the filled bins, and its mean weighted by voxels.

    Parameters
    ----------
    curve : ndarray, shape (10, 3)
        From :func:`reliability`. 0 is best.
    """
    off = np.abs(curve[:, 1] - curve[:, 2])
    largest = float(off[curve[:, 0] > 0].max(initial=0))
    return largest, float((off * curve[:, 0]).sum() / max(curve[:, 0].sum(), 1))
