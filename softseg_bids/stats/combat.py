"""ComBat: location and scale of each batch, taken out of each feature.

Johnson, Li & Rabinovic, Biostatistics 8:118-127, 2007 (cross-sectional); Beer et al., NeuroImage
220:117129, 2020 (longitudinal: the person's own level is a random intercept). Written anew for
features with gaps, for a fit on some rows (controls) that is applied to all, and for few features,
where empirical Bayes has nothing to borrow strength from.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.stats.mixed import Random, fit

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

# Fewer features than this say too little of how batch effects are distributed.
LEAST_FOR_BAYES = 10
CONVERGED, MOST_ROUNDS = 1e-6, 1000


class Combat(NamedTuple):
    """Harmonised values and what was taken out.

    Attributes
    ----------
    values : ndarray, shape (n, features)
        NaN where the input is.
    shift, scale : ndarray, shape (batches, features)
        Of each batch against all, in residual SDs and as ratio of SDs, as used.
    residual_sd : ndarray, shape (features,)
    bayes : bool
        Whether shift and scale were shrunken towards each other over features.
    """

    values: Floats
    shift: Floats
    scale: Floats
    residual_sd: Floats
    bayes: bool


def combat(
    values: Floats,
    batches: Codes,
    covariates: Floats,
    fit_rows: NDArray[np.bool_] | None = None,
    people: Codes | None = None,
    bayes: bool | None = None,
    least: int = 2,
) -> Combat:
    """Harmonise features over batches.

    Parameters
    ----------
    values : ndarray, shape (n, features)
        NaN where a feature was not measured.
    batches : ndarray of int, shape (n,)
        0 to batches - 1. Where a batch has fewer than ``least`` fitted rows of a feature, it has no
        harmonised values of it.
    covariates : ndarray, shape (n, c)
        Effects that are kept (without an intercept), finite; NaN gives NaN.
    fit_rows : ndarray of bool, shape (n,), optional
        Rows on which the model is fitted; it is applied to all.
    people : ndarray of int, shape (n,), optional
        Who each row is: with it the longitudinal model, a random intercept for each person.
    bayes : bool, optional
        By default with 10 features or more.

    Raises
    ------
    ValueError
        If ``least`` is under two, or no feature has two batches.
    """
    n, features = values.shape
    chosen = np.ones(n, dtype=bool) if fit_rows is None else fit_rows
    if least < 2:
        raise ValueError(f"a scale needs two rows of each batch, not {least}")
    batch_count = int(batches.max()) + 1
    complete = np.isfinite(covariates).all(axis=1)
    standard, base = np.full((n, features), np.nan), np.full((n, features), np.nan)
    sigma = np.full(features, np.nan)
    for column in range(features):
        fitted = np.isfinite(values[:, column]) & complete & chosen
        enough = np.bincount(batches[fitted], minlength=batch_count) >= least
        if enough.sum() < 2:
            continue
        there = np.isfinite(values[:, column]) & complete & enough[batches]
        base[there, column], sigma[column] = _expected(
            values[:, column],
            np.eye(batch_count)[batches][:, enough],
            covariates,
            there,
            there & chosen,
            people,
        )
        standard[:, column] = (values[:, column] - base[:, column]) / sigma[column]
    alive = np.isfinite(sigma)
    if not alive.any():
        raise ValueError(f"no feature has {least} rows to fit in two batches")
    bayes = int(alive.sum()) >= LEAST_FOR_BAYES if bayes is None else bayes
    shift, scale = _moments(np.where(chosen[:, None], standard, np.nan), batches, batch_count)
    if bayes:
        shift, scale = _shrunken(np.where(chosen[:, None], standard, np.nan), batches, shift, scale)
    adjusted = (standard - shift[batches]) / np.sqrt(scale)[batches] * sigma + base
    return Combat(adjusted, shift, np.sqrt(scale), sigma, bayes)


def _expected(
    value: Floats, indicator: Floats, covariates: Floats, there: NDArray[np.bool_],
    fitted: NDArray[np.bool_], people: Codes | None,
) -> tuple[Floats, float]:  # fmt: skip
    """What each row would be in an average batch, and the residual SD."""
    design = np.column_stack([indicator, covariates])
    if people is None:
        coefficients = np.linalg.lstsq(design[fitted], value[fitted], rcond=None)[0]
        residual = value[fitted] - design[fitted] @ coefficients
        sigma, own = float(np.sqrt((residual**2).mean())), np.zeros(int(there.sum()))
    else:
        codes = np.unique(people[fitted], return_inverse=True)[1].astype(np.intp)
        model = fit(value[fitted], design[fitted], [Random(codes)])
        coefficients, sigma = model.coefficients, model.residual_sd
        own = _own_level(
            value[there] - design[there] @ coefficients, people[there], (model.random_sds[0] / sigma) ** 2
        )
    share = indicator[fitted].mean(axis=0)
    effects = coefficients[: indicator.shape[1]]
    average = float(share @ effects)
    return average + covariates[there] @ coefficients[indicator.shape[1] :] + own, sigma


def _own_level(residual: Floats, people: Codes, ratio: float) -> Floats:
    """Predicted random intercept of each row's person (BLUP), whether or not they were fitted."""
    count = np.bincount(people)
    total = np.bincount(people, residual)
    return np.asarray((ratio * total / (1.0 + ratio * count))[people])


def _moments(standard: Floats, batches: Codes, count: int) -> tuple[Floats, Floats]:
    known = np.isfinite(standard)
    filled = np.where(known, standard, 0.0)
    inside = np.eye(count)[batches].T
    n = inside @ known
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = inside @ filled / np.where(n > 0, n, np.nan)
        square = inside @ (np.where(known, standard - shift[batches], 0.0) ** 2)
        return shift, square / np.where(n > 1, n - 1, np.nan)


def _shrunken(standard: Floats, batches: Codes, shift: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Posterior modes: normal prior of shifts, inverse gamma prior of variances, by moments."""
    out_shift, out_scale = np.full_like(shift, np.nan), np.full_like(scale, np.nan)
    for batch in range(len(shift)):
        there = np.isfinite(shift[batch])
        seen_shift, seen_scale = shift[batch, there], scale[batch, there]
        part = standard[batches == batch][:, there]
        n = np.isfinite(part).sum(axis=0)
        middle, spread = seen_shift.mean(), seen_shift.var(ddof=1)
        mean, variance = seen_scale.mean(), seen_scale.var(ddof=1)
        shape = (2 * variance + mean**2) / variance
        rate = (mean * variance + mean**3) / variance
        location, width = seen_shift, seen_scale
        for _ in range(MOST_ROUNDS):
            moved = (spread * n * seen_shift + width * middle) / (spread * n + width)
            widened = (0.5 * np.nansum((part - moved) ** 2, axis=0) + rate) / (0.5 * n + shape - 1)
            change = max(
                np.abs((moved - location) / np.where(location == 0, 1, location)).max(),
                np.abs((widened - width) / width).max(),
            )
            location, width = moved, widened
            if change < CONVERGED:
                break
        out_shift[batch, there], out_scale[batch, there] = location, width
    return out_shift, out_scale
