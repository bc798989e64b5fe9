"""Methods against each other on the same people: signed ranks, and repeated measures over contrasts."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.stats.anova import AnovaRM

LEAST_PEOPLE = 3
# With fewer no two-sided signed-rank p can be below 0.05, however clear the difference.
LEAST_FOR_P = 6


def signed_ranks(values: pd.DataFrame) -> list[dict[str, Any]]:
    """Wilcoxon's signed-rank test between every two methods, p times the number of pairs (Bonferroni).

    Parameters
    ----------
    values : DataFrame
        One row a person (independent), one column a method; people without both are left out of a pair.

    Returns
    -------
    list of dict
        Rows ``method versus statistic estimate p p_corrected n_people notes``; ``estimate`` is the median
        difference, the first method minus the second.
    """
    pairs = list(combinations(values.columns, 2))
    return [_ranked(values, one, other, len(pairs)) for one, other in pairs]


def _ranked(values: pd.DataFrame, one: str, other: str, n_pairs: int) -> dict[str, Any]:
    both = values[[one, other]].dropna().to_numpy(float)
    difference = both[:, 0] - both[:, 1]
    n = len(difference)
    row = {
        "method": one, "versus": other, "statistic": "median_difference", "n_people": n,
        "test": "Wilcoxon signed-rank, Bonferroni",
        "estimate": float(np.median(difference)) if n else None,
    }  # fmt: skip
    if n < LEAST_PEOPLE:
        return row | {"notes": f"{n} people have both: no test"}
    if not difference.any():
        return row | {"p": 1.0, "p_corrected": 1.0, "notes": "equal in everybody"}
    p = float(stats.wilcoxon(difference).pvalue)
    note = f"of {n} people no difference can have p < 0.05" if n < LEAST_FOR_P else ""
    return row | {"p": p, "p_corrected": min(1.0, n_pairs * p), "notes": note}


def repeated_measures(frame: pd.DataFrame, outcome: str, contrast_set: Sequence[str]) -> dict[str, Any]:
    """Analysis of variance over contrasts, repeated within people, on complete cases.

    Parameters
    ----------
    frame : DataFrame
        Rows ``participant_id contrast`` and the outcome, one a person and contrast.
    outcome : str
    contrast_set : sequence of str
        Contrasts that enter, as far as they are there.

    Returns
    -------
    dict
        ``statistic f_value df df_error p n_people notes``; without a value where there are fewer than
        two contrasts or three people who have all of them.
    """
    table = frame[frame["contrast"].isin(contrast_set)].pivot_table(
        index="participant_id", columns="contrast", values=outcome, observed=True
    )
    complete = table.dropna()
    n, k = complete.shape
    row = {
        "statistic": "contrast_effect", "test": "repeated-measures ANOVA over contrasts", "n_people": n,
        "contrast": ";".join(name for name in contrast_set if name in table),
    }  # fmt: skip
    if k < 2 or n < LEAST_PEOPLE:
        return row | {"notes": f"{n} people have all {k} contrasts: no analysis"}
    left = f"{len(table) - n} people without all contrasts are left out" if len(table) > n else ""
    if np.allclose(complete.to_numpy(), complete.to_numpy()[:, :1]):
        return row | {"p": 1.0, "notes": "equal over contrasts in everybody"}
    long = complete.reset_index().melt("participant_id", value_name="value")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a residual of nothing divides by 0: F is infinite, and p 0
        found = AnovaRM(long, "value", "participant_id", within=["contrast"]).fit().anova_table.iloc[0]
    return row | {
        "f_value": float(found["F Value"]), "df": float(found["Num DF"]), "df_error": float(found["Den DF"]),
        "p": float(found["Pr > F"]), "notes": left,
    }  # fmt: skip
