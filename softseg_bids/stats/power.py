"""Sample size from the study's own data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from softseg_bids.stats.design import build, once, quoted, usable_covariates
from softseg_bids.stats.estimate import Interval
from softseg_bids.stats.mixed import fit
from softseg_bids.stats.rescan import within_person

EFFECTS_PERCENT = (2.0, 5.0, 10.0)
POWER, ALPHA = 0.8, 0.05
LEAST_PEOPLE = 10
MOST_PEOPLE = 10_000_000


def people_needed(
    effect: float, sd: float, *, groups: int, power: float = POWER, alpha: float = ALPHA
) -> float:
    """Least number of people (in each group) for a two-sided t test.

    Parameters
    ----------
    effect, sd : float
        Difference of means, and SD of one value (of one change, for one group), in one unit.
    groups : int
        2: two independent groups; 1: the mean change of one.
    power, alpha : float

    Returns
    -------
    float
        A whole number; NaN if there is no spread to go by.
    """
    if not (sd > 0 and effect > 0):
        return float("nan")

    def reached(n: int) -> bool:
        df = groups * (n - 1)
        shift = effect / sd * np.sqrt(n / groups)
        limit = stats.t.ppf(1.0 - alpha / 2.0, df)
        return bool(stats.nct.sf(limit, df, shift) + stats.nct.cdf(-limit, df, shift) >= power)

    low, high = 1, 2
    while not reached(high):
        low, high = high, 2 * high
        if high > MOST_PEOPLE:
            return float("inf")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle, high)
    return float(high)


def sample_sizes(
    people: pd.DataFrame, repeats: pd.DataFrame, covariates: tuple[str, ...] = ("age", "sex")
) -> list[dict[str, Any]]:
    """People needed for 80 % power at 5 %, for each region and contrast.

    Two groups: by the SD of the controls, given age and sex. Change within people: by the SD of
    scan-rescan repeats; without repeats no number.

    Parameters
    ----------
    people : DataFrame
        Controls, one row a participant, contrast and region, with ``person_id``: of a person's participants
        the first counts.
    repeats : DataFrame
        All usable rows, repeats included.

    Returns
    -------
    list of dict
        Rows ``region contrast statistic effect_percent estimate ci_low ci_high ...``; statistics
        ``people_per_group`` and ``people_for_change``. Intervals are those of the SD.
    """
    rows: list[dict[str, Any]] = []
    again = dict(list(repeats.groupby(["region", "contrast"], sort=False, observed=True)))
    for (region, contrast), part in once(people).groupby(["region", "contrast"], sort=False, observed=True):
        basis = {"region": region, "contrast": contrast, "units": "people", "n_people": len(part)}
        mean = float(part["area_mm2"].mean())
        if len(part) < LEAST_PEOPLE:
            note = f"{len(part)} controls: too few to plan by"
            rows.append({**basis, "statistic": "people_per_group", "notes": note})
        else:
            kept, notes = usable_covariates(part, covariates)
            design = build(part, "area_mm2", [quoted(name) for name in kept])
            model = fit(design.outcome, design.matrix)
            sd = Interval.sd(model.residual_sd, model.df_residual)
            method = "SD of controls" + (f" given {' and '.join(kept)}" if kept else "")
            said = {**basis, "statistic": "people_per_group", "method": method, "notes": "; ".join(notes)}
            rows += [{**said, **each} for each in _needed(sd, mean, groups=2)]
        found = within_person(again[region, contrast]) if (region, contrast) in again else None
        if found is not None:
            change = found[0].scaled(float(np.sqrt(2.0)))
            said = {
                **basis, "statistic": "people_for_change", "n_people": found[2],
                "method": "sqrt(2) SD of repeats",
            }  # fmt: skip
            rows += [{**said, **each} for each in _needed(change, found[1], groups=1)]
    return rows


def _needed(sd: Interval, mean: float, *, groups: int) -> list[dict[str, Any]]:
    return [
        {
            "effect_percent": percent,
            "sd_mm2": sd.estimate,
            **Interval(
                *(people_needed(percent / 100.0 * mean, value, groups=groups) for value in sd[:3])
            ).columns(),
        }
        for percent in EFFECTS_PERCENT
    ]
