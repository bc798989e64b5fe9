"""Spread of area over contrasts: of each person, and as a mixed model over all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.stats import nested
from softseg_bids.stats.agreement import VISIT
from softseg_bids.stats.estimate import Interval
from softseg_bids.stats.mixed import Fit, Random, fit
from softseg_bids.stats.one_way import one_way, ratio_interval, variance_interval

WHO = ["participant_id", "session_id"]
OWN_STRETCH = "cord"
LEAST_PEOPLE = 3


def spread(best: pd.DataFrame, contrast_set: Iterable[str]) -> list[dict[str, Any]]:
    """SD, CV and range of area over a declared set of contrasts, per session and region.

    ``cord`` is left out: it is another stretch in every image.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region: ``participant_id session_id contrast region area_mm2``.
    contrast_set : iterable of str
    """
    members = list(contrast_set)
    shared = best[(best["region"] != OWN_STRETCH) & best["contrast"].isin([*members, "DWI"])]
    table = shared.assign(session_id=shared["session_id"].astype(object).fillna("")).pivot_table(
        index=[*WHO, "region"], columns="contrast", values="area_mm2", sort=False, observed=True
    )
    areas = table.reindex(columns=members)
    counts = areas.notna().sum(axis=1).to_numpy()
    mean, sd = areas.mean(axis=1).to_numpy(), areas.std(axis=1, ddof=1).to_numpy()
    several = counts > 1
    span = (areas.max(axis=1) - areas.min(axis=1)).to_numpy()
    there = areas.notna().to_numpy()
    dwi = table["DWI"].to_numpy() if "DWI" in table else np.full(len(table), np.nan)
    rows = []
    for n, (participant, session, region) in enumerate(table.index):
        rows.append(
            {
                "participant_id": participant,
                "session_id": session,
                "region": region,
                "contrast_set": members,
                "members": [name for name, seen in zip(members, there[n], strict=True) if seen],
                "n_contrasts": int(counts[n]),
                "mean_mm2": mean[n],
                "sd_mm2": sd[n],
                "cv_percent": 100 * sd[n] / mean[n] if several[n] else None,
                "range_mm2": span[n] if several[n] else None,
                "dwi_mm2": dwi[n],
            }
        )
    return rows


def contrast_effects(
    best: pd.DataFrame, contrast_set: Sequence[str], outcome: str = "area_mm2"
) -> list[dict[str, Any]]:
    """``csa ~ contrast + (1|participant)`` of each region: the main estimate of contrast dependence.

    A contrast's *bias* is its distance from the mean of the set's contrasts. Its standard error comes
    from leaving out one person after the other, because contrasts differ in noise: the model's own held
    the truth of the noisiest in 82 % of studies of eight people. The degrees of freedom are those of the
    people who have the contrast. Where leaving one out leaves a contrast without data, the model's
    (Satterthwaite).

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region, with ``person_id participant_id``.
    contrast_set : sequence of str
    outcome : str
        Column that is analysed.

    Returns
    -------
    list of dict
        Rows ``region contrast statistic estimate ci_low ci_high se df p n_people n_images units method
        notes``; statistics ``mean``, ``bias`` (per contrast), ``sd_bias`` (SD of the contrasts' means),
        ``sd_between_people``, ``sd_within_people``, ``share_between_people``.
    """
    rows: list[dict[str, Any]] = []
    chosen = best[best["contrast"].isin(contrast_set) & (best["region"] != OWN_STRETCH)]
    for region, part in chosen.groupby("region", sort=False, observed=True):
        rows += [
            {"region": region, **row}
            for row in _effects(part.dropna(subset=[outcome]), contrast_set, outcome)
        ]
    return rows


def _effects(part: pd.DataFrame, contrast_set: Sequence[str], outcome: str) -> list[dict[str, Any]]:
    names = [name for name in contrast_set if (part["contrast"] == name).any()]
    people, count = pd.factorize(part["person_id"])[0], part["person_id"].nunique()
    basis = {"n_people": count, "n_images": len(part), "units": "mm^2", "method": "REML"}
    if len(names) < 2 or count < LEAST_PEOPLE or len(part) <= len(names) + count:
        note = f"{len(names)} contrasts of {count} people: too few for a model"
        return [{"contrast": name, "statistic": "bias", **basis, "notes": note} for name in names]
    design = np.column_stack([(part["contrast"] == name).astype(float).to_numpy() for name in names])
    values = part[outcome].to_numpy(float)
    visit = part.groupby([part[name].astype(object).fillna("") for name in VISIT], sort=False)
    sessions = np.asarray(visit.ngroup(), dtype=np.intp)
    terms = [Random(people)] + ([Random(sessions)] if sessions.max() > people.max() else [])
    model = fit(values, design, terms)
    covariance = model.robust(people)
    basis["method"] = "REML, Satterthwaite" if covariance is None else "REML, jackknife over people"

    def interval(weights: np.ndarray, who: int) -> Interval:
        if covariance is None:
            return model.interval(weights)
        error = float(np.sqrt(weights @ covariance @ weights))
        return Interval.t(float(weights @ model.coefficients), error, who - 1)

    rows = []
    each = np.eye(len(names))
    for name, mean in zip(names, each, strict=True):
        own = part["contrast"] == name
        there = {**basis, "n_images": int(own.sum())}
        who = part.loc[own, "person_id"].nunique()
        rows.append({"contrast": name, "statistic": "mean", **interval(mean, who).columns(), **there})
        rows.append(
            {"contrast": name, "statistic": "bias", **interval(mean - 1 / len(names), who).columns(), **there}
        )
    rows.append(
        {"statistic": "sd_bias", "estimate": float(model.coefficients.std(ddof=1)), **basis, "method": "REML"}
    )
    return rows + [
        {**basis, **row} for row in _components(model, values, design, [term.codes for term in terms])
    ]


def _components(
    model: Fit, values: np.ndarray, design: np.ndarray, codes: list[np.ndarray]
) -> list[dict[str, Any]]:
    person, within = model.random_sds[0], model.residual_sd
    share = person**2 / (person**2 + within**2)
    found = {
        "sd_between_people": Interval(person),
        "sd_within_people": Interval(within),
        "share_between_people": Interval(share),
    }
    method, note = "REML, exact interval", ""
    if len(codes) == 1:
        parts = one_way(values, design, codes[0])
        found["sd_between_people"] = Interval(person, *np.sqrt(variance_interval(parts)))
        found["sd_within_people"] = Interval.sd(within, parts.df)
        low, high = ratio_interval(parts)
        found["share_between_people"] = Interval(
            share, low / (1 + low), high / (1 + high) if np.isfinite(high) else 1.0
        )
    else:
        method = "REML, generalised interval (sessions within people)"
        try:
            draws, df = nested.variances(values, design, codes[0], codes[1], model)
        except ValueError as error:
            note = f"no intervals: {error}"
        else:
            found["sd_between_people"] = nested.interval(person, draws, lambda a, b, e: np.sqrt(a))
            found["sd_within_people"] = Interval.sd(within, df)
            found["share_between_people"] = nested.interval(share, draws, lambda a, b, e: a / (a + e))
    return [
        {
            "statistic": name, **interval.columns(), "method": method, "notes": note,
            "units": "" if name.startswith("share") else "mm^2",
        }
        for name, interval in found.items()
    ]  # fmt: skip
