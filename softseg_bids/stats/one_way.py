"""Exact intervals about one random intercept: how far groups differ, how far their members do."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from softseg_bids.stats.estimate import LEVEL
from softseg_bids.stats.mixed import Random, incidence

Floats = NDArray[np.float64]

# Above this many groups the eigenvalues cost more than they give: means are then taken as independent.
MOST_GROUPS = 1500


class OneWay(NamedTuple):
    """What exact intervals about one random intercept need.

    Attributes
    ----------
    loadings, squares : ndarray, shape (r,)
        ``squares`` are independent, each of mean ``residual variance + loading * group variance``.
    sse : float
        Residual sum of squares within groups, with ``df`` degrees of freedom.
    df : int
    """

    loadings: Floats
    squares: Floats
    sse: float
    df: int


def one_way(outcome: Floats, design: Floats, codes: NDArray[np.intp]) -> OneWay:
    """Split the variation into independent sums of squares (Harville & Fenech, Biometrics 41, 1985).

    Parameters
    ----------
    outcome : ndarray, shape (n,)
    design : ndarray, shape (n, p)
        Full column rank.
    codes : ndarray of int, shape (n,)
        Group of each row.

    Raises
    ------
    ValueError
        If nothing is left to tell groups or rows within groups apart.
    """
    q = np.linalg.qr(design)[0]
    rest = outcome - q @ (q.T @ outcome)
    z = incidence(Random(codes))
    zq = np.asarray(z.T @ q)
    totals = np.asarray(z.T @ rest)
    if z.shape[1] > MOST_GROUPS:
        values = np.bincount(codes).astype(float)
        df = len(outcome) - design.shape[1] - len(values) + 1
        squares = totals**2 / values
    else:
        values, vectors = np.linalg.eigh(np.asarray((z.T @ z).toarray()) - zq @ zq.T)
        kept = values > 1e-8 * max(float(values.max()), 1.0)
        values = values[kept]
        squares = (vectors[:, kept].T @ totals) ** 2 / values
        df = len(outcome) - design.shape[1] - len(values)
    if df < 1 or not len(values):
        raise ValueError("too few rows to tell differences between groups from those within")
    return OneWay(values, squares, max(float(rest @ rest - squares.sum()), 0.0), df)


def ratio_interval(parts: OneWay, level: float = LEVEL) -> tuple[float, float]:
    """Exact interval of group variance over residual variance, at least 0."""
    tail = 0.5 * (1.0 - level)
    r = len(parts.squares)
    within = parts.sse / parts.df

    def solve(quantile: float) -> float:
        def over(log_ratio: float) -> float:
            total = (parts.squares / (1.0 + np.exp(log_ratio) * parts.loadings)).sum() / r
            return float(total / within - quantile)

        return _root(over)

    upper, lower = (float(stats.f.ppf(at, r, parts.df)) for at in (tail, 1.0 - tail))
    return solve(lower), solve(upper)


def variance_interval(parts: OneWay, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the group variance, the residual variance taken as estimated (Williams' way)."""
    tail = 0.5 * (1.0 - level)
    r = len(parts.squares)
    within = parts.sse / parts.df

    def solve(quantile: float) -> float:
        def over(log_variance: float) -> float:
            return float((parts.squares / (within + np.exp(log_variance) * parts.loadings)).sum() - quantile)

        return _root(over)

    upper, lower = (float(stats.chi2.ppf(at, r)) for at in (tail, 1.0 - tail))
    return solve(lower), solve(upper)


def _root(falling: Callable[[float], float]) -> float:
    """exp of the root of a falling function of a logarithm; 0 if it is negative everywhere."""
    low, high = -25.0, 25.0
    if falling(low) <= 0:
        return 0.0
    return float(np.exp(optimize.brentq(falling, low, high))) if falling(high) < 0 else float("inf")
