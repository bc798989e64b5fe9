"""Intervals about two nested random intercepts: sites and their people, people and their sessions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from softseg_bids.stats.estimate import DRAW_SEED, DRAWS, LEVEL, NAN, Interval
from softseg_bids.stats.mixed import Fit

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def variances(outcome: Floats, design: Floats, outer: Codes, inner: Codes, model: Fit) -> tuple[Floats, int]:
    """Generalised draws of three variances: of outer groups, of inner ones within them, of the residual.

    Each of three sums of squares over its expectation is (nearly) chi-squared; what variances the observed
    ones then speak for is drawn, from one seed (Weerahandi, J. Am. Stat. Assoc. 88:899-905, 1993). The sum
    within inner groups is exact. The other two are of means, weighted by their fitted precision (Burdick &
    Graybill, Confidence Intervals on Variance Components, 1992, ch. 5, have equal weights); what fixed
    effects take of them is taken off their degrees of freedom.

    Parameters
    ----------
    outcome : ndarray, shape (n,)
    design : ndarray, shape (n, p)
    outer, inner : ndarray of int, shape (n,)
        Groups of each row; every inner group lies in one outer group, some have several rows.
    model : Fit
        Of these, with the random terms outer, inner.

    Returns
    -------
    draws : ndarray, shape (draws, 3)
        Those of outer and inner may be negative.
    df : int
        Degrees of freedom of the residual.

    Raises
    ------
    ValueError
        If nothing is left to tell one of the three from the next.
    """
    between, within = (sd**2 for sd in model.random_sds)
    noise = model.residual_sd**2
    count = np.bincount(inner).astype(float)
    home = np.zeros(len(count), dtype=np.intp)
    home[inner] = outer
    sse, df = _within(outcome, design, inner)

    def means(values: Floats) -> Floats:
        return np.column_stack([np.bincount(inner, column) / count for column in values.T])

    left = means((outcome - design @ model.coefficients)[:, None])[:, 0]
    fixed = means(design)
    weight = 1.0 / (within + noise / count)
    total = np.bincount(home, weight)
    share = weight / total[home]
    own = np.bincount(home, share * left)
    inside = weight * (1.0 - share)
    inner_square = float((weight * (left - own[home]) ** 2).sum())
    inner_parts = np.array([inside.sum(), (inside / count).sum()])
    fixed_own = np.column_stack([np.bincount(home, share * column) for column in fixed.T])
    inner_df = len(count) - len(total) - _taken(fixed - fixed_own[home], weight, model.covariance)
    parts = np.column_stack([
        np.ones(len(total)), np.bincount(home, share**2), np.bincount(home, share**2 / count),
    ])  # fmt: skip
    heavy = 1.0 / (parts @ [between, within, noise])
    middle = heavy @ own / heavy.sum()
    outer_square = float(heavy @ (own - middle) ** 2)
    outer_parts = (heavy * (1.0 - heavy / heavy.sum())) @ parts
    centred = fixed_own - heavy @ fixed_own / heavy.sum()
    outer_df = len(total) - 1 - _taken(centred, heavy, model.covariance)
    if df < 1 or inner_df < 0.5 or outer_df < 0.5:
        raise ValueError("too few rows to tell three nested variances from each other")
    # With fixed effects taken out the sums expect less, by the share of degrees of freedom that is left.
    inner_parts *= inner_df / (len(count) - len(total))
    outer_parts *= outer_df / (len(total) - 1)
    chi = np.random.default_rng(DRAW_SEED).chisquare([outer_df, inner_df, df], size=(DRAWS, 3))
    e = sse / chi[:, 2]
    b = (inner_df * inner_square / chi[:, 1] - inner_parts[1] * e) / inner_parts[0]
    a = (outer_df * outer_square / chi[:, 0] - outer_parts[1] * b - outer_parts[2] * e) / outer_parts[0]
    return np.column_stack([a, b, e]), df


def interval(estimate: float, draws: Floats, of: Callable[[Floats, Floats, Floats], Floats]) -> Interval:
    """An estimate with the interval of a function of the three variances, none of them below 0."""
    values = of(*np.maximum(draws, 0.0).T)
    low, high = np.quantile(values, [0.5 * (1 - LEVEL), 0.5 * (1 + LEVEL)])
    return Interval(estimate, float(low), float(high), NAN)


def _within(outcome: Floats, design: Floats, inner: Codes) -> tuple[float, int]:
    """Residual sum of squares within inner groups, and its degrees of freedom."""
    count = np.bincount(inner)

    def centred(values: Floats) -> Floats:
        means = np.column_stack([np.bincount(inner, column) / count for column in values.T])
        return np.asarray(values - means[inner])

    value, columns = centred(outcome[:, None])[:, 0], centred(design)
    found, _, rank, _ = np.linalg.lstsq(columns, value, rcond=1e-9)
    return float(((value - columns @ found) ** 2).sum()), len(outcome) - len(count) - int(rank)


def _taken(columns: Floats, weight: Floats, covariance: Floats) -> float:
    """What the fixed effects' own error takes off a weighted sum of squares of mean 1 each."""
    return float(np.einsum("ni,ij,nj,n->", columns, covariance, columns, weight))
