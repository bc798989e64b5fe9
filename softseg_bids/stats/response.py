"""How a measured area follows the true one over people: the slope beside every claim of little spread.

A method that shrinks every cord to a usual size has no spread over contrasts; its slope is 0.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from softseg_bids.stats.estimate import NAN, Interval

Floats = NDArray[np.float64]

LEAST_POINTS = 3


class Response(NamedTuple):
    """The least-squares line of measured on true area.

    Attributes
    ----------
    slope : Interval
        1 is right; towards 0 sizes are shrunk to a usual one.
    intercept : Interval
        mm², where the true area is 0.
    n : int
    """

    slope: Interval
    intercept: Interval
    n: int


def response(true: Floats, measured: Floats) -> Response:
    """Slope and intercept of measured on true area, with Student's intervals.

    Parameters
    ----------
    true, measured : ndarray, shape (n,)
        Of independent people, mm²; pairs that are not finite are left out.

    Returns
    -------
    Response
        NaN where fewer than three pairs are left or all have one true size.
    """
    known = np.isfinite(true) & np.isfinite(measured)
    x, y = np.asarray(true)[known], np.asarray(measured)[known]
    n = len(x)
    if n < LEAST_POINTS or np.ptp(x) == 0:
        return Response(Interval(NAN), Interval(NAN), n)
    line = stats.linregress(x, y)
    return Response(
        Interval.t(float(line.slope), float(line.stderr), n - 2),
        Interval.t(float(line.intercept), float(line.intercept_stderr), n - 2),
        n,
    )
