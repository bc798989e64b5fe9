"""What softseg-evaluate wrote of the variants, as the page needs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from paper.cohort import CONTRASTS
from softseg_bids.stats.variability import spread

Floats = NDArray[np.float64]

REGION = "vert-C2:C3"
ALL = "all"


class Results(NamedTuple):
    """The tables of one or more evaluations of the same people, one below the other.

    Attributes
    ----------
    methods : list of str
    areas, scores, summary, tests, variability, reliability : DataFrame
        As written; the labels' own areas are method ``labels``.
    """

    methods: list[str]
    areas: pd.DataFrame
    scores: pd.DataFrame
    summary: pd.DataFrame
    tests: pd.DataFrame
    variability: pd.DataFrame
    reliability: pd.DataFrame


def read(folders: Sequence[Path]) -> Results:
    """The tables of evaluations; methods in the order of their folders and tables."""
    names = ("areas", "scores", "summary", "tests", "variability", "reliability")
    tables = {
        name: pd.concat(
            [pd.read_csv(folder / f"evaluate_{name}.tsv", sep="\t") for folder in folders], ignore_index=True
        ).drop_duplicates()
        for name in names
    }
    return Results(methods=list(dict.fromkeys(tables["scores"]["method"])), **tables)


def estimate(
    results: Results,
    method: str,
    measure: str,
    statistic: str,
    contrast: str | None = ALL,
    region: str = REGION,
) -> Mapping[str, Any]:
    """The row of the summary that holds an estimate.

    Parameters
    ----------
    results : Results
    method, measure, statistic : str
    contrast : str or None
        None: whatever it is.
    region : str
        Of areas; scores of whole images have none.

    Raises
    ------
    ValueError
        If there is not exactly one.
    """
    rows = results.summary
    keep = (rows["method"] == method) & (rows["measure"] == measure) & (rows["statistic"] == statistic)
    keep &= rows["region"].isna() | (rows["region"] == region)
    if contrast is not None:
        keep &= rows["contrast"] == contrast
    found = rows[keep]
    if len(found) != 1:
        raise ValueError(
            f"{method}: {len(found)} rows of {measure}, {statistic}, {contrast}; one was expected"
        )
    return {str(name): value for name, value in found.iloc[0].items()}


def errors(results: Results, method: str, contrast: str) -> Floats:
    """Measured minus true area of each person (mm²)."""
    own = results.areas
    keep = (own["method"] == method) & (own["contrast"] == contrast) & (own["region"] == REGION)
    return own.loc[keep & own["in_statistics"].astype(bool), "error_mm2"].to_numpy(float)


def biases(results: Results, method: str) -> dict[str, float]:
    """Mean error of each contrast (mm²); NaN where nobody's area could be measured."""
    found = {contrast: errors(results, method, contrast) for contrast in CONTRASTS}
    return {contrast: float(own.mean()) if len(own) else float("nan") for contrast, own in found.items()}


def widest_bias(results: Results, method: str) -> tuple[str, float]:
    """The contrast whose mean error is largest either way, and that error."""
    known = {contrast: bias for contrast, bias in biases(results, method).items() if np.isfinite(bias)}
    return max(known.items(), key=lambda pair: abs(pair[1]))


def sd_of_six(results: Results, method: str) -> float:
    """Mean over people of the SD over all six contrasts, DWI among them (mm²)."""
    own = results.areas[(results.areas["method"] == method) & results.areas["in_statistics"].astype(bool)]
    rows = [row for row in spread(own, CONTRASTS) if row["region"] == REGION]
    return float(np.nanmean([row["sd_mm2"] for row in rows]))


def spreads(results: Results, method: str) -> Floats:
    """SD over the five contrasts of each person (mm²)."""
    own = results.variability
    return own.loc[(own["method"] == method) & (own["region"] == REGION), "sd_mm2"].to_numpy(float)


def test_of(results: Results, measure: str, one: str, other: str) -> tuple[float, float]:
    """Median difference of two methods, ``one - other``, and Wilcoxon's p with Bonferroni's correction.

    Raises
    ------
    ValueError
        If they were not tested.
    """
    rows = results.tests
    rows = rows[(rows["measure"] == measure) & (rows["region"].isna() | (rows["region"] == REGION))]
    for first, second, sign in ((one, other, 1.0), (other, one, -1.0)):
        found = rows[(rows["method"] == first) & (rows["versus"] == second)]
        if len(found) == 1:
            return sign * float(found["estimate"].iloc[0]), float(found["p_corrected"].iloc[0])
    raise ValueError(f"{one} and {other} were not tested on {measure}")
