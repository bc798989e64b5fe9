"""Centres: how far sites differ, as a mixed model and as coefficients of variation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.stats.design import LEAST_RANDOM_SITES, build, quoted, usable_covariates
from softseg_bids.stats.estimate import NAN, Interval, mean_interval
from softseg_bids.stats.mixed import fit
from softseg_bids.stats.one_way import one_way, ratio_interval, variance_interval

LEAST_EACH = 2
POOLED = "pooled"


def centres(
    best: pd.DataFrame,
    covariates: Sequence[str] = ("age", "sex"),
    outcome: str = "area_mm2",
    contrast_set: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """``csa ~ age + sex + ... + (1|site)`` of each region and contrast, and pooled over the contrast set.

    Parameters
    ----------
    best : DataFrame
        One row a participant, contrast and region (and run, where there are repeats), with
        ``site`` and covariates as of `design.tidy`.
    covariates : sequence of str
    contrast_set : sequence of str, optional
        What is pooled; by default every contrast. Distorted ones (DWI) would shift whom they are of.

    Returns
    -------
    list of dict
        Rows ``region contrast site statistic ...``: ``sd_site``, ``sd_people`` (within a site),
        ``sd_repeat`` (with repeats only), ``icc_site`` = site variance over all variance,
        ``site_effect`` (from the mean of the sites) with ``shrunken`` (the prediction of the
        mixed model) beside it. Under 5 sites only the effects, site being fixed.
    """
    rows: list[dict[str, Any]] = []
    known = best.dropna(subset=["site", outcome])
    known = known[known["site"] != ""]
    for region, there in known.groupby("region", sort=False, observed=True):
        parts = [(str(name), part) for name, part in there.groupby("contrast", sort=False, observed=True)]
        members = there if contrast_set is None else there[there["contrast"].isin(contrast_set)]
        if members["contrast"].nunique() > 1 and region != "cord":
            parts.append((POOLED, _person_means(members, outcome)))
        for contrast, part in parts:
            rows += [
                {"region": region, "contrast": contrast, **row} for row in _sites(part, covariates, outcome)
            ]
    return rows


def _person_means(there: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """Each participant's area over contrasts, every contrast brought to the same mean first.

    Contrast means are those of least squares within participants, so that who lacks a contrast
    does not shift it: ``csa ~ C(contrast) + C(participant)``.
    """
    area = there[outcome].to_numpy(float)
    contrast, person = (pd.factorize(there[name])[0] for name in ("contrast", "participant_id"))
    kinds = np.eye(contrast.max() + 1)[contrast]
    size = np.bincount(person)

    def within(values: np.ndarray) -> np.ndarray:
        return np.asarray(values - (np.bincount(person, values) / size)[person])

    centred = np.column_stack([within(column) for column in kinds.T])
    effects = np.linalg.lstsq(centred, within(area), rcond=None)[0]
    level = area - kinds @ (effects - effects.mean())
    return there.assign(**{outcome: level}).groupby("participant_id", sort=False).agg(
        {name: "mean" if name == outcome else "first" for name in there.columns if name != "participant_id"}
    ).reset_index()  # fmt: skip


def _sites(part: pd.DataFrame, covariates: Sequence[str], outcome: str) -> list[dict[str, Any]]:
    people = part.groupby("participant_id", sort=False)
    counts = people["site"].first().value_counts()
    sites = [str(name) for name in counts.index if counts[name] >= LEAST_EACH]
    part = part[part["site"].isin(sites)]
    if len(sites) < 2:
        return [{"statistic": "sd_site", "notes": f"{len(sites)} sites of {LEAST_EACH} people or more"}]
    kept, notes = usable_covariates(part, covariates)
    repeated = bool(part["participant_id"].duplicated().any())
    fixed = len(sites) < LEAST_RANDOM_SITES
    if fixed:
        notes.append(f"{len(sites)} sites: too few for a random effect, site is fixed")
    terms = [*map(quoted, kept), *(["C(site, Sum)"] if fixed else ["(1|site)"])]
    terms += ["(1|participant_id)"] if repeated else []
    single = part.drop_duplicates("participant_id")
    if repeated:
        means = part.groupby("participant_id", sort=False)[outcome].mean()
        single = single.assign(**{outcome: single["participant_id"].map(means)})
    try:
        rows = _effects(single, kept, outcome, sites)
        if not fixed:
            rows = _components(part, single, kept, terms, outcome, rows)
    except ValueError as error:
        return [{"statistic": "sd_site", "notes": "; ".join([*notes, f"no estimate: {error}"])}]
    basis = {
        "n_people": len(single), "n_sites": len(sites), "formula": f"csa ~ {' + '.join(terms)}",
        "notes": "; ".join(notes), "units": "mm^2",
    }  # fmt: skip
    return [{**basis, **row} for row in rows]


def _effects(single: pd.DataFrame, kept: list[str], outcome: str, sites: list[str]) -> list[dict[str, Any]]:
    """Each site's distance from the mean of the sites, by least squares."""
    design = build(single, outcome, ["0 + C(site)", *map(quoted, kept)])
    model = fit(design.outcome, design.matrix)
    columns = {name: f"C(site)[{name}]" for name in sites if f"C(site)[{name}]" in design.names}
    mean = np.isin(design.names, list(columns.values())) / len(columns)
    return [
        {
            "site": name, "statistic": "site_effect", "method": "least squares",
            **model.interval(np.asarray(np.array(design.names) == column, dtype=float) - mean).columns(),
            "n_people": int((design.frame["site"] == name).sum()),
        }
        for name, column in columns.items()
    ]  # fmt: skip


def _components(
    part: pd.DataFrame,
    single: pd.DataFrame,
    kept: list[str],
    terms: list[str],
    outcome: str,
    effects: list[dict[str, Any]],
) -> list[dict[str, Any]]:
    design = build(single, outcome, [*map(quoted, kept), "(1|site)"])
    model = fit(design.outcome, design.matrix, design.terms)
    parts = one_way(design.outcome, design.matrix, design.terms[0].codes)
    site, person = model.random_sds[0], model.residual_sd
    low, high = np.sqrt(variance_interval(parts))
    ratios = ratio_interval(parts)
    icc = Interval(site**2 / (site**2 + person**2), *(r / (1 + r) if np.isfinite(r) else 1.0 for r in ratios))
    found = {
        "sd_site": Interval(site, low, high),
        "sd_people": Interval.sd(person, parts.df),
        "icc_site": icc,
    }
    method = "REML, exact interval"
    if "(1|participant_id)" in terms:
        whole = build(part, outcome, terms)
        nested = fit(whole.outcome, whole.matrix, whole.terms)
        site, person, repeat = *nested.random_sds, nested.residual_sd
        found["sd_site"] = found["sd_site"]._replace(estimate=site)
        # What differs between people's means holds part of the repeats' noise: no interval.
        found["sd_people"] = Interval(person)
        count = part["participant_id"].nunique()
        found["sd_repeat"] = Interval.sd(repeat, len(part) - count)
        found["icc_site"] = Interval(site**2 / (site**2 + person**2 + repeat**2), icc.low, icc.high)
    shrunken = dict(zip(pd.factorize(design.frame["site"])[1], model.effects[0][:, 0], strict=True))
    rows = [
        {
            "statistic": name, **value.columns(), "method": method,
            **({"units": ""} if name == "icc_site" else {}),
        }
        for name, value in found.items()
    ]  # fmt: skip
    return rows + [{**row, "shrunken": float(shrunken.get(row["site"], NAN))} for row in effects]


def vendor_variation(best: pd.DataFrame, outcome: str = "area_mm2") -> list[dict[str, Any]]:
    """Coefficients of variation within and between sites, per vendor, as spine-generic reports them.

    Within: the mean over a vendor's sites of SD over mean of its people; between: SD over mean of the
    sites' means (Cohen-Adad et al., Sci. Data 8:219, 2021).

    Parameters
    ----------
    best : DataFrame
        One row a participant, contrast and region with ``site`` and ``manufacturer``; of controls, as
        those of spine-generic are of healthy people.

    Returns
    -------
    list of dict
        Rows ``region contrast manufacturer statistic ...``: ``mean``, ``cov_within_site``,
        ``cov_between_sites`` (%).
    """
    rows: list[dict[str, Any]] = []
    keys = ["region", "contrast", "manufacturer"]
    known = best.dropna(subset=[*keys, "site", outcome])
    known = known[(known["site"] != "") & (known["manufacturer"] != "")]
    for key, part in known.groupby(keys, sort=False, observed=True):
        sites = part.groupby("site")[outcome].agg(["mean", "std", "size"])
        whole = sites[sites["size"] >= LEAST_EACH]
        basis = dict(zip(keys, key, strict=True)) | {
            "n_sites": len(whole),
            "n_people": int(whole["size"].sum()),
            "method": "spine-generic",
        }
        if whole.empty:
            rows.append({**basis, "statistic": "cov_within_site", "notes": "no site with two people"})
            continue
        means = whole["mean"].to_numpy(float)
        within = mean_interval(100.0 * whole["std"].to_numpy(float) / means)
        rows.append({**basis, "statistic": "mean", **mean_interval(means).columns(), "units": "mm^2"})
        rows.append({**basis, "statistic": "cov_within_site", **within.columns(), "units": "%"})
        if len(means) > 1:
            sd = Interval.sd(float(means.std(ddof=1)), len(means) - 1)
            rows.append(
                {
                    **basis,
                    "statistic": "cov_between_sites",
                    **sd.scaled(100.0 / means.mean()).columns(),
                    "units": "%",
                }
            )
    return rows
