"""An estimate with its interval: what every table of statistics shows, and the plain ways to one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import optimize, stats

LEVEL = 0.95
NAN = float("nan")
# The noncentral t is normal here to four digits, and slow.
LARGE_DF = 1000.0
# Of generalised intervals, from one seed: the same numbers give the same interval.
DRAWS, DRAW_SEED = 20_000, 1


class Interval(NamedTuple):
    """An estimate.

    Attributes
    ----------
    estimate, low, high : float
        With its 95 % confidence interval; NaN where there is none.
    error : float
        Standard error.
    df : float
        Degrees of freedom behind the interval.
    p : float
        Two-sided, of the hypothesis that the estimate is 0.
    """

    estimate: float
    low: float = NAN
    high: float = NAN
    error: float = NAN
    df: float = NAN
    p: float = NAN

    @classmethod
    def t(cls, estimate: float, error: float, df: float, level: float = LEVEL) -> Interval:
        """Student's interval; without one if there are no degrees of freedom."""
        if not (df > 0 and np.isfinite(error)):
            return cls(estimate, error=error, df=df)
        half = float(stats.t.ppf(0.5 * (1.0 + level), df)) * error
        p = float(2.0 * stats.t.sf(abs(estimate) / error, df)) if error > 0 else NAN
        return cls(estimate, estimate - half, estimate + half, error, float(df), p)

    @classmethod
    def sd(cls, sd: float, df: float, level: float = LEVEL) -> Interval:
        """A standard deviation of normal values: chi-squared interval."""
        if not df > 0:
            return cls(sd, df=df)
        tail = 0.5 * (1.0 - level)
        low, high = np.sqrt(df / stats.chi2.ppf([1.0 - tail, tail], df)) * sd
        return cls(sd, float(low), float(high), df=float(df))

    def scaled(self, factor: float) -> Interval:
        """The same in other units (a positive factor)."""
        return self._replace(
            estimate=self.estimate * factor, low=self.low * factor, high=self.high * factor,
            error=self.error * factor,
        )  # fmt: skip

    def columns(self) -> dict[str, float]:
        """The columns ``estimate ci_low ci_high se df p`` of a table."""
        return {
            "estimate": self.estimate, "ci_low": self.low, "ci_high": self.high, "se": self.error,
            "df": self.df, "p": self.p,
        }  # fmt: skip


def noncentrality_interval(t: float, df: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval of the mean of a noncentral t of which one value was seen.

    Behind intervals of standardised differences (Steiger & Fouladi 1997) and of limits of agreement.
    """
    tail = 0.5 * (1.0 - level)
    if df > LARGE_DF:
        half = float(stats.norm.isf(tail)) * float(np.sqrt(1.0 + t**2 / (2.0 * df)))
        return t - half, t + half

    def at(probability: float) -> float:
        def over(delta: float) -> float:
            below = float(stats.nct.cdf(t, df, delta))
            # Far out the series gives up, where the answer is 0 or 1.
            return (below if np.isfinite(below) else float(delta < t)) - probability

        reach = 10.0 + 2.0 * abs(t)
        return float(optimize.brentq(over, t - reach, t + reach))

    return at(1.0 - tail), at(tail)


def mean_interval(values: np.ndarray) -> Interval:
    """Mean of independent values with Student's interval.

    Parameters
    ----------
    values : ndarray, shape (n,)
    """
    n = len(values)
    if n < 2:
        return Interval(float(values.mean()) if n else NAN)
    return Interval.t(float(values.mean()), float(values.std(ddof=1) / np.sqrt(n)), n - 1)
