"""Agreement of two measurements (Bland-Altman) and of several (intraclass correlation)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from softseg_bids.stats.estimate import DRAW_SEED, DRAWS, LARGE_DF, LEVEL, NAN, Interval, mean_interval

LIMIT = 1.96
LEAST_PAIRS = 3
VISIT = ["person_id", "participant_id", "session_id"]


class BlandAltman(NamedTuple):
    """Differences of paired values: their mean, 95 % limits, and whether they grow with the size.

    Attributes
    ----------
    bias, lower, upper : Interval
        Limits of agreement are bias -+ 1.96 SD; their intervals are exact (Carkeet 2015).
    sd : Interval
        Of the differences.
    slope : Interval
        Difference on mean of the two, mm² per mm²; 0 is no proportional bias.
    n : int
    """

    bias: Interval
    lower: Interval
    upper: Interval
    sd: Interval
    slope: Interval
    n: int


def bland_altman(first: np.ndarray, second: np.ndarray) -> BlandAltman:
    """Agreement of paired values, ``first - second``.

    Parameters
    ----------
    first, second : ndarray, shape (n,)
        Of n independent people, finite; n of 3 or more.
    """
    difference, middle = first - second, 0.5 * (first + second)
    n = len(difference)
    mean, sd = float(difference.mean()), float(difference.std(ddof=1))
    low, high = (at * sd for at in _quantile_interval(n))
    upper = Interval(mean + LIMIT * sd, mean + low, mean + high)
    lower = Interval(mean - LIMIT * sd, mean - high, mean - low)
    slope = Interval(NAN)
    if np.ptp(middle) > 0:
        line = stats.linregress(middle, difference)
        slope = Interval.t(float(line.slope), float(line.stderr), n - 2)
    return BlandAltman(mean_interval(difference), lower, upper, Interval.sd(sd, n - 1), slope, n)


def _quantile_interval(n: int) -> tuple[float, float]:
    """Interval of mean + 1.96 SD of a normal, as sample SDs above the sample mean: exact, noncentral t."""
    tail = 0.5 * (1.0 - LEVEL)
    if n > LARGE_DF:
        half = float(stats.norm.isf(tail)) * float(np.sqrt(1.0 / n + LIMIT**2 / (2.0 * (n - 1))))
        return LIMIT - half, LIMIT + half
    low, high = (
        float(stats.nct.ppf(at, n - 1, LIMIT * np.sqrt(n))) / np.sqrt(n) for at in (tail, 1.0 - tail)
    )
    return low, high


def icc(table: np.ndarray) -> tuple[Interval, Interval]:
    """ICC(2,1), absolute agreement, and ICC(3,1), consistency, of one measurement.

    Estimates, and the exact interval of ICC(3,1), of McGraw & Wong, Psychol. Methods 1:30-46, 1996. Their
    interval of ICC(2,1) holds too little where few contrasts vary (87 % with five, docs/statistics.md); it
    is a generalised confidence interval here (Ionan et al., BMC Med. Res. Methodol. 14:121, 2014).

    Parameters
    ----------
    table : ndarray, shape (n, k)
        n people by k contrasts, complete; at least 2 by 2.

    Raises
    ------
    ValueError
        If the table is smaller, or not complete.
    """
    n, k = table.shape
    if n < 2 or k < 2 or not np.isfinite(table).all():
        raise ValueError(f"an ICC needs a complete table of at least 2 by 2, this one is {n} by {k}")
    grand = table.mean()
    people, contrasts = table.mean(axis=1), table.mean(axis=0)
    msr = k * ((people - grand) ** 2).sum() / (n - 1)
    msc = n * ((contrasts - grand) ** 2).sum() / (k - 1)
    mse = ((table - people[:, None] - contrasts + grand) ** 2).sum() / ((n - 1) * (k - 1))
    agreement = (msr - mse) / (msr + (k - 1) * mse + k / n * (msc - mse))
    consistency = (msr - mse) / (msr + (k - 1) * mse)
    tail = 0.5 * (1 - LEVEL)
    inner = (n - 1) * (k - 1)
    f = msr / mse
    low, high = f / stats.f.isf(tail, n - 1, inner), f * stats.f.isf(tail, inner, n - 1)
    third = Interval(consistency, (low - 1) / (low + k - 1), (high - 1) / (high + k - 1))
    low, high = _generalised(np.array([msr, msc, mse]), n, k)
    second = Interval(agreement, low, high)
    return second, third


def _generalised(squares: np.ndarray, n: int, k: int) -> tuple[float, float]:
    """Interval of ICC(2,1) from mean squares of people, contrasts and residual.

    Each mean square over its expectation is chi-squared; what expectations the observed ones then
    speak for is drawn (from one seed: the same numbers give the same interval).
    """
    rng = np.random.default_rng(DRAW_SEED)
    df = np.array([n - 1, k - 1, (n - 1) * (k - 1)])
    people, contrasts, residual = (squares * df / rng.chisquare(df, size=(DRAWS, 3))).T
    person = np.maximum(people - residual, 0.0) / k
    contrast = np.maximum(contrasts - residual, 0.0) / n
    low, high = np.quantile(person / (person + contrast + residual), [0.5 * (1 - LEVEL), 0.5 * (1 + LEVEL)])
    return float(low), float(high)


def agreement(best: pd.DataFrame, contrast_set: Sequence[str]) -> list[dict[str, Any]]:
    """Bland-Altman of every pair of contrasts, ICC on complete cases, soft against binary area.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region: ``person_id participant_id session_id contrast region
        area_mm2 area_binary_mm2``, and ``years`` since the first session where known. Images are compared
        within a session: of several of a person the earliest that has what is compared.

    Returns
    -------
    list of dict
        Rows ``region contrast versus statistic estimate ci_low ci_high ... n_people units notes``.
    """
    rows: list[dict[str, Any]] = []
    chosen = best[best["contrast"].isin([*contrast_set, "DWI"])]
    for region, part in _by_date(chosen).groupby("region", sort=False, observed=True):
        areas = part.set_index([*VISIT, "contrast"])["area_mm2"].unstack(sort=False)
        names = [name for name in contrast_set if name in areas]
        for one, other in combinations(names, 2) if region != "cord" else ():
            pair = _earliest(areas[[one, other]]).to_numpy(float)
            rows += [{"region": region, "contrast": one, "versus": other, **row} for row in pair_rows(pair)]
        for name in areas:
            own = part[part["contrast"] == name].set_index(VISIT)
            both = _earliest(own[["area_binary_mm2", "area_mm2"]]).to_numpy(float)
            rows += [
                {"region": region, "contrast": f"{name} binary", "versus": f"{name} soft", **row}
                for row in pair_rows(both)
            ]
        if region != "cord":
            rows += [{"region": region, **row} for row in _icc_rows(areas.reindex(columns=names))]
    return rows


def _by_date(best: pd.DataFrame) -> pd.DataFrame:
    """Rows in the order of each person's sessions: by years, else by the sessions' names."""
    years = best["years"] if "years" in best else pd.Series(NAN, index=best.index)
    named = best.assign(session_id=best["session_id"].astype(object).fillna(""), years=years)
    return named.sort_values(["years", "session_id", "participant_id"], kind="stable")


def _earliest(table: pd.DataFrame) -> pd.DataFrame:
    """Of each person the first row that is complete."""
    complete = table.dropna()
    return complete[~complete.index.get_level_values("person_id").duplicated()]


def scaling(first: np.ndarray, second: np.ndarray) -> Interval:
    """The factor between paired areas, ``first = factor * second``: the geometric mean of the ratios.

    Equal to one over the factor of the reverse; a mean of ratios is not.

    Parameters
    ----------
    first, second : ndarray, shape (n,)
        Of n independent people, positive; n of 2 or more for an interval. ``error`` and ``df`` are
        those of the logarithm, ``p`` is of the hypothesis that the factor is 1.
    """
    log = mean_interval(np.log(first) - np.log(second))
    return log._replace(
        estimate=float(np.exp(log.estimate)), low=float(np.exp(log.low)), high=float(np.exp(log.high))
    )


def pair_rows(pair: np.ndarray) -> list[dict[str, Any]]:
    """Rows of a table for paired areas: bias, limits of agreement, SD of differences, slope.

    Parameters
    ----------
    pair : ndarray, shape (n, 2)
        Differences are the first minus the second column.
    """
    n = len(pair)
    if n < LEAST_PAIRS:
        return [
            {
                "statistic": "bias",
                "n_people": n,
                "units": "mm^2",
                "notes": f"{n} people have both",
            }
        ]
    found = bland_altman(pair[:, 0], pair[:, 1])
    named = {
        "bias": found.bias, "limit_low": found.lower, "limit_high": found.upper, "sd_difference": found.sd,
        "slope": found.slope,
    }  # fmt: skip
    return [
        {
            "statistic": name, **interval.columns(), "n_people": n, "method": "Bland-Altman",
            "units": "" if name == "slope" else "mm^2",
        }
        for name, interval in named.items()
    ]  # fmt: skip


def _icc_rows(areas: pd.DataFrame) -> list[dict[str, Any]]:
    complete = _earliest(areas)
    names = ";".join(areas.columns)
    basis = {"contrast": names, "n_people": len(complete), "units": ""}
    if areas.shape[1] < 2 or len(complete) < LEAST_PAIRS:
        note = f"{len(complete)} people have all {areas.shape[1]} contrasts in one session"
        return [{"statistic": "icc_2_1", **basis, "notes": note}]
    second, third = icc(complete.to_numpy(float))
    people = areas.index.get_level_values("person_id").nunique()
    note = f"{people - len(complete)} people without all contrasts are left out"
    return [
        {"statistic": "icc_2_1", **second.columns(), **basis, "method": "generalised", "notes": note},
        {"statistic": "icc_3_1", **third.columns(), **basis, "method": "McGraw & Wong", "notes": note},
    ]
