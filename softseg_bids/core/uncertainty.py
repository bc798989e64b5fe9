"""How far the area of a slice may be off: a standard deviation from the soft mask itself.

A network trained on fractions blurs its edge where it is in doubt. What the edge's softness says
about the error of the area is fitted on synthetic slices of known truth (:func:`fit`), once for
each checkpoint, and travels with it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

# Two-sided 95 % of a normal distribution.
_QUANTILE_95 = 1.959964
_LEAST_SLICES = 50
# Robustness: what lies further out than this is a failure, not the spread of a measurement.
_MOST_RELATIVE = 0.5


class AreaUncertainty(NamedTuple):
    """Coefficients of ``sd² = (area · A)² + (edge · E)² + floor²``.

    Attributes
    ----------
    area, edge : float
        Shares of the slice's area A and of its soft edge E (both mm²) that add to the deviation.
    floor_mm2 : float
        What remains of both.
    """

    area: float
    edge: float
    floor_mm2: float


def area_sd_mm2(area_mm2: Floats, edge_mm2: Floats, uncertainty: AreaUncertainty) -> Floats:
    """Standard deviation of the area of each slice.

    Parameters
    ----------
    area_mm2, edge_mm2 : ndarray, shape (n,)
        Area, and softness of the edge from :func:`softseg_bids.core.cord.inspect_slices`; NaN stays NaN.
    uncertainty : AreaUncertainty

    Returns
    -------
    ndarray, shape (n,)
        mm². The errors of neighbouring slices are not independent: a mean over slices has no
        smaller deviation than this says.
    """
    terms = (uncertainty.area * area_mm2, uncertainty.edge * edge_mm2, uncertainty.floor_mm2)
    return np.asarray(np.sqrt(sum(np.square(term) for term in terms)))


def fit(error_mm2: Floats, area_mm2: Floats, edge_mm2: Floats) -> AreaUncertainty:
    """Coefficients under which errors of known slices are most likely, scaled to cover 95 % of them.

    Parameters
    ----------
    error_mm2 : ndarray, shape (n,)
        Measured minus true area of slices in which the cord was found.
    area_mm2, edge_mm2 : ndarray, shape (n,)
        As measured.

    Raises
    ------
    ValueError
        With fewer than 50 slices.
    """
    usable = np.isfinite(error_mm2) & (np.abs(error_mm2) < _MOST_RELATIVE * area_mm2)
    if usable.sum() < _LEAST_SLICES:
        raise ValueError(f"{usable.sum()} usable slices; at least {_LEAST_SLICES} are needed")
    error, area, edge = error_mm2[usable], area_mm2[usable], edge_mm2[usable]

    def unlikeliness(logs: Floats) -> float:
        sd = area_sd_mm2(area, edge, AreaUncertainty(*np.exp(logs)))
        return float(np.mean(np.log(sd) + 0.5 * np.square(error / sd)))

    start = np.log([0.02, 0.05, 0.5])
    best = AreaUncertainty(*(float(v) for v in np.exp(minimize(unlikeliness, start, method="Nelder-Mead").x)))
    reach = np.quantile(np.abs(error) / area_sd_mm2(area, edge, best), 0.95)
    scale = float(reach / _QUANTILE_95)
    return AreaUncertainty(*(scale * value for value in best))
