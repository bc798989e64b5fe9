"""Centres: how far sites differ, as a mixed model and as coefficients of variation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.stats import nested
from softseg_bids.stats.design import LEAST_RANDOM_SITES, Design, build, once, quoted, usable_covariates
from softseg_bids.stats.estimate import NAN, Interval, mean_interval
from softseg_bids.stats.mixed import Fit, fit
from softseg_bids.stats.one_way import one_way, ratio_interval, variance_interval
from softseg_bids.stats.vendors import vendor

LEAST_EACH = 2
POOLED = "pooled"


def centres(
    best: pd.DataFrame,
    covariates: Sequence[str] = ("age", "sex"),
    outcome: str = "area_mm2",
    contrast_set: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """``csa ~ age + sex + ... + (1|site)`` of each region and contrast, and pooled over the contrast set.

    Repeats add ``(1|participant_id)``; the pooled model is of one value a participant and contrast (the
    mean of its repeats) and adds ``C(contrast, Sum)`` as well, so that who lacks a contrast does not shift
    it. A person counts at one site, as the first of their participants: travelling volunteers would count
    as several independent people.

    Parameters
    ----------
    best : DataFrame
        One row a participant, contrast and region (and run, where there are repeats), with
        ``person_id site`` and covariates as of `design.tidy`.
    covariates : sequence of str
    contrast_set : sequence of str, optional
        What is pooled; by default every contrast. Distorted ones (DWI) would shift whom they are of.

    Returns
    -------
    list of dict
        Rows ``region contrast site statistic ...``: ``sd_site``, ``sd_people`` (within a site),
        ``sd_repeat`` (with repeats only; pooled ``sd_within_people``, what contrasts of a person differ
        by beyond their means), ``icc_site`` = site variance over all variance, ``site_effect`` (from the
        mean of the sites) with ``shrunken`` (the prediction of the mixed model) beside it. Under 5 sites
        only the effects, site being fixed.
    """
    rows: list[dict[str, Any]] = []
    known = best.dropna(subset=["site", outcome])
    known = known[known["site"] != ""]
    for region, there in known.groupby("region", sort=False, observed=True):
        parts = [
            (str(name), once(part)) for name, part in there.groupby("contrast", sort=False, observed=True)
        ]
        members = there if contrast_set is None else there[there["contrast"].isin(contrast_set)]
        if members["contrast"].nunique() > 1 and region != "cord":
            parts.append((POOLED, _of_contrasts(members, outcome)))
        for contrast, part in parts:
            rows += [
                {"region": region, "contrast": contrast, **row} for row in _sites(part, covariates, outcome)
            ]
    return rows


def _of_contrasts(there: pd.DataFrame, outcome: str) -> pd.DataFrame:
    """One row a participant and contrast, the mean of its repeats: they are of one contrast still."""
    first = once(there, ("person_id",))
    groups = first.groupby(["participant_id", "contrast"], sort=False, observed=True)
    return first.assign(**{outcome: groups[outcome].transform("mean")}).drop_duplicates(
        ["participant_id", "contrast"]
    )


def _sites(part: pd.DataFrame, covariates: Sequence[str], outcome: str) -> list[dict[str, Any]]:
    people = part.drop_duplicates("participant_id").set_index("participant_id")["site"]
    part = part[part["site"] == part["participant_id"].map(people)]
    counts = people.value_counts()
    sites = [str(name) for name in counts.index if counts[name] >= LEAST_EACH]
    part = part[part["site"].isin(sites)]
    if len(sites) < 2:
        return [{"statistic": "sd_site", "notes": f"{len(sites)} sites of {LEAST_EACH} people or more"}]
    kept, notes = usable_covariates(part, covariates)
    pooled = part["contrast"].nunique() > 1
    fixed = len(sites) < LEAST_RANDOM_SITES
    if fixed:
        notes.append(f"{len(sites)} sites: too few for a random effect, site is fixed")
    common = [*map(quoted, kept), *(["C(contrast, Sum)"] if pooled else [])]
    again = ["(1|participant_id)"] if part["participant_id"].duplicated().any() else []
    terms = [*common, "C(site, Sum)" if fixed else "(1|site)", *again]
    try:
        rows = _effects(part, [*common, *again], outcome, sites)
        if not fixed:
            rows = _components(part, terms, outcome, "sd_within_people" if pooled else "sd_repeat", rows)
    except ValueError as error:
        return [{"statistic": "sd_site", "notes": "; ".join([*notes, f"no estimate: {error}"])}]
    basis = {
        "n_people": part["participant_id"].nunique(), "n_sites": len(sites),
        "formula": f"csa ~ {' + '.join(terms)}", "notes": "; ".join(notes), "units": "mm^2",
    }  # fmt: skip
    return [{**basis, **row} for row in rows]


def _effects(part: pd.DataFrame, terms: list[str], outcome: str, sites: list[str]) -> list[dict[str, Any]]:
    """Each site's distance from the mean of the sites, the site being fixed."""
    design = build(part, outcome, ["0 + C(site)", *terms])
    model = fit(design.outcome, design.matrix, design.terms)
    columns = {name: f"C(site)[{name}]" for name in sites if f"C(site)[{name}]" in design.names}
    mean = np.isin(design.names, list(columns.values())) / len(columns)
    people = design.frame.groupby("site")["participant_id"].nunique()
    return [
        {
            "site": name, "statistic": "site_effect",
            "method": "REML, site fixed, Satterthwaite" if design.terms else "least squares",
            **model.interval(np.asarray(np.array(design.names) == column, dtype=float) - mean).columns(),
            "n_people": int(people[name]),
        }
        for name, column in columns.items()
    ]  # fmt: skip


def _components(
    part: pd.DataFrame, terms: list[str], outcome: str, within: str, effects: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    design = build(part, outcome, terms)
    model = fit(design.outcome, design.matrix, design.terms)
    found, method = (
        _one_level(design, model) if len(design.terms) == 1 else _two_levels(design, model, within)
    )
    shrunken = dict(zip(pd.factorize(design.frame["site"])[1], model.effects[0][:, 0], strict=True))
    rows = [
        {
            "statistic": name, **value.columns(), "method": method,
            **({"units": ""} if name == "icc_site" else {}),
        }
        for name, value in found.items()
    ]  # fmt: skip
    return rows + [{**row, "shrunken": float(shrunken.get(row["site"], NAN))} for row in effects]


def _one_level(design: Design, model: Fit) -> tuple[dict[str, Interval], str]:
    parts = one_way(design.outcome, design.matrix, design.terms[0].codes)
    site, person = model.random_sds[0], model.residual_sd
    low, high = np.sqrt(variance_interval(parts))
    share = site**2 / (site**2 + person**2)
    ratios = (ratio / (1 + ratio) if np.isfinite(ratio) else 1.0 for ratio in ratio_interval(parts))
    return {
        "sd_site": Interval(site, low, high),
        "sd_people": Interval.sd(person, parts.df),
        "icc_site": Interval(share, *ratios),
    }, "REML, exact interval"


def _two_levels(design: Design, model: Fit, within: str) -> tuple[dict[str, Interval], str]:
    codes = [term.codes for term in design.terms]
    draws, df = nested.variances(design.outcome, design.matrix, codes[0], codes[1], model)
    site, person, rest = *model.random_sds, model.residual_sd
    share = site**2 / (site**2 + person**2 + rest**2)
    return {
        "sd_site": nested.interval(site, draws, lambda a, b, e: np.sqrt(a)),
        "sd_people": nested.interval(person, draws, lambda a, b, e: np.sqrt(b)),
        within: Interval.sd(rest, df),
        "icc_site": nested.interval(share, draws, lambda a, b, e: a / (a + b + e)),
    }, "REML, generalised interval"


def vendor_variation(best: pd.DataFrame, outcome: str = "area_mm2") -> list[dict[str, Any]]:
    """Coefficients of variation within and between sites, per vendor, as spine-generic reports them.

    Within: the mean over a vendor's sites of SD over mean of its people; between: SD over mean of the
    sites' means (Cohen-Adad et al., Sci. Data 8:219, 2021).

    Parameters
    ----------
    best : DataFrame
        One row a participant, contrast and region with ``person_id site`` and ``manufacturer``; of
        controls, as those of spine-generic are of healthy people. Of a person's participants the first
        counts.

    Returns
    -------
    list of dict
        Rows ``region contrast manufacturer statistic ...``: ``mean``, ``cov_within_site``,
        ``cov_between_sites`` (%).
    """
    rows: list[dict[str, Any]] = []
    keys = ["region", "contrast", "manufacturer"]
    known = best.dropna(subset=[*keys, "site", outcome])
    known = once(known[(known["site"] != "") & (known["manufacturer"] != "")])
    known = known.assign(manufacturer=known["manufacturer"].map(vendor))
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
