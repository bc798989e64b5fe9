"""Patients and controls: adjusted differences, effect sizes, false discovery rate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from softseg_bids.stats.design import (
    Design,
    build,
    names_in,
    quoted,
    site_term,
    usable_covariates,
    weights_of,
)
from softseg_bids.stats.estimate import Interval, noncentrality_interval
from softseg_bids.stats.mixed import Fit, fit

GROUP_COLUMNS = ("pathology", "group", "diagnosis")
CONTROL_NAMES = frozenset(
    {"hc", "control", "controls", "con", "ctrl", "healthy", "healthy control", "hv", "normal", "none", "0"}
)
LEAST_EACH = 3


def group_column(frame: pd.DataFrame, asked: str | None) -> str | None:
    """The column that tells patients from controls: the one asked for, else the first that tells groups.

    A column that is the same for all is taken where no other tells more.
    """
    names = [name for name in ((asked,) if asked else GROUP_COLUMNS) if name in frame]
    kinds = {name: int(frame[name].nunique()) for name in names}
    return next((name for least in (2, 1) for name in names if kinds[name] >= least), None)


def control_label(values: pd.Series, asked: str | None = None) -> str | None:
    """What controls are called among the values of a group column; None if none of them is known."""
    labels = [str(value) for value in values.dropna().unique()]
    if asked is not None:
        return asked if asked in labels else None
    return next((label for label in sorted(labels) if label.strip().lower() in CONTROL_NAMES), None)


def differences(
    frame: pd.DataFrame,
    column: str,
    reference: str,
    covariates: Sequence[str] = ("age", "sex"),
    formula: str | None = None,
    outcome: str = "area_mm2",
) -> list[dict[str, Any]]:
    """Every group against the controls, for each region and contrast.

    ``csa ~ group + age + sex + (1|site)``, site fixed under 5 sites; ``(1|person_id)`` where a
    person is there more than once. Without random effects the errors are HC3 (groups differ in
    spread); with them, from the model, with Satterthwaite's degrees of freedom. p values are corrected over
    the regions of a contrast and group (Benjamini-Hochberg).

    Parameters
    ----------
    frame : DataFrame
        One row a participant, contrast and region, with covariates as of `design.tidy`.
    column, reference : str
        Group column and the controls' label in it.
    covariates : sequence of str
    formula : str, optional
        Right-hand side, in place of the default terms; the group is added if it is not in it.

    Returns
    -------
    list of dict
        Rows ``region contrast group versus statistic ...`` with ``difference`` and ``effect_size``.
    """
    rows: list[dict[str, Any]] = []
    known = frame.dropna(subset=[column])
    known = known.assign(**{column: known[column].astype(str)})
    for (region, contrast), part in known.groupby(["region", "contrast"], sort=False, observed=True):
        found = _compare(part.dropna(subset=[outcome]), column, reference, covariates, formula, outcome)
        rows += [{"region": region, "contrast": contrast, "versus": reference, **row} for row in found]
    return _corrected(rows)


def _compare(
    part: pd.DataFrame,
    column: str,
    reference: str,
    covariates: Sequence[str],
    formula: str | None,
    outcome: str,
) -> list[dict[str, Any]]:
    counts = _people_in(part, column)
    enough = [str(name) for name in counts.index if counts[name] >= LEAST_EACH]
    rows = [
        {
            "group": name,
            "statistic": "difference",
            "n_people": int(count),
            "notes": f"{count} people: too few",
        }
        for name, count in counts.items()
        if name not in (*enough, reference)
    ]
    others = [name for name in enough if name != reference]
    if reference not in enough:
        note = f"{counts.get(reference, 0)} controls ({reference}): too few"
        return rows + [{"group": name, "statistic": "difference", "notes": note} for name in others]
    if not others:
        return rows
    # The first category is the reference, in a formula of the user's, too.
    part = part[part[column].isin(enough)]
    part = part.assign(**{column: pd.Categorical(part[column], [reference, *others])})
    group = quoted(column)
    if formula is None:
        kept, notes = usable_covariates(part, covariates)
        site, said = site_term(part)
        terms, notes = [group, *map(quoted, kept), *site], notes + said
    else:
        terms, notes = [formula if column in names_in(formula) else f"{group} + {formula}"], []
    if part["person_id"].duplicated().any() and "person_id" not in names_in(" ".join(terms)):
        terms.append("(1|person_id)")
    try:
        design = build(part, outcome, terms)
        model, covariance, method = _fitted(design)
    except ValueError as error:
        note = f"no estimate: {error}"
        if "depend on each other" in str(error):
            note += " (is the group the same as the site?)"
        return rows + [{"group": name, "statistic": "difference", "notes": note} for name in others]
    there = _people_in(design.frame, column)
    basis = {
        "n_controls": int(there[reference]),
        "method": method,
        "formula": design.formula,
        "notes": "; ".join(notes),
    }
    for name in others:
        weights = weights_of(
            design,
            *[term for term in design.names if _is_of(term, column, name)],
        )
        people = {**basis, "group": name, "n_people": int(there.get(name, 0))}
        if not weights.any() or not people["n_people"]:
            rows.append({**people, "statistic": "difference", "notes": f"the formula has no term for {name}"})
            continue
        difference = _interval(model, covariance, weights, design)
        rows.append({**people, "statistic": "difference", **difference.columns(), "units": "mm^2"})
        rows.append(
            {
                **people,
                "statistic": "effect_size",
                **_effect_size(model, weights, design.random).columns(),
                "units": "",
            }
        )
    return rows


def _people_in(part: pd.DataFrame, column: str) -> pd.Series:
    """How many people each group has, most first; of one person several participants may be there."""
    return (
        part.groupby(column, observed=True)["person_id"].nunique().sort_values(ascending=False, kind="stable")
    )


def _is_of(term: str, column: str, group: str) -> bool:
    """Whether a coefficient is the group's own: of its column, and no interaction."""
    factor, _, level = term.partition("[T.")
    return level == f"{group}]" and ":" not in factor and column in names_in(factor)


def _fitted(design: Design) -> tuple[Fit, np.ndarray | None, str]:
    """The model for effect sizes, the coefficients' covariance for intervals, and how it was made."""
    model = fit(design.outcome, design.matrix, design.terms)
    if not design.terms:
        return model, model.robust(np.arange(model.n)), "least squares, HC3"
    return model, None, "REML, Satterthwaite"


def _interval(model: Fit, covariance: np.ndarray | None, weights: np.ndarray, design: Design) -> Interval:
    if covariance is None:
        return model.interval(weights)
    error = float(np.sqrt(weights @ covariance @ weights))
    return Interval.t(float(weights @ model.coefficients), error, model.df_residual)


def _effect_size(model: Fit, weights: np.ndarray, random: Sequence[str]) -> Interval:
    """Difference over the SD between people of one group and site (Hedges' g), noncentral t interval.

    That SD is of one value a person: what people differ by and what their repeated values do, the
    variances of all random terms but the site's. Its own degrees of freedom are those of g (Hedges,
    J. Educ. Behav. Stat. 32:341-370, 2007, for an SD of several variances).
    """
    plain = model.interval(weights)
    if not (plain.error > 0 and plain.df > 0):
        return Interval(float("nan"))
    variance, df = model.total_variance([n for n, name in enumerate(random) if name != "site"])
    sd = float(np.sqrt(variance))
    unit = plain.error / sd
    small_sample = 1.0 - 3.0 / (4.0 * df - 1.0)
    low, high = noncentrality_interval(plain.estimate / plain.error, df)
    return Interval(small_sample * plain.estimate / sd, low * unit, high * unit, df=df)


def _corrected(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Add ``p_fdr``: Benjamini-Hochberg over the regions of one contrast and group."""
    families: dict[tuple[Any, Any], list[dict[str, Any]]] = {}
    for row in rows:
        if row["statistic"] == "difference" and np.isfinite(row.get("p", np.nan)):
            families.setdefault((row["contrast"], row["group"]), []).append(row)
    for family in families.values():
        corrected = stats.false_discovery_control([row["p"] for row in family])
        for row, value in zip(family, corrected, strict=True):
            row["p_fdr"] = float(value)
    return rows
