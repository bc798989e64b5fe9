"""Change over time: of each person, and of groups. One contrast at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.stats.estimate import NAN, Interval
from softseg_bids.stats.mixed import Random, fit

LEAST_PEOPLE = 3
# Slopes of people are told apart from noise where enough of them came three times.
LEAST_FOR_SLOPES = 10
LEAST_YEARS = 0.08  # a month: a rate over less is noise over nearly nothing
# What should be the same at all visits of a person.
SETTINGS = ("scanner", "software", "acquisition")


def changes(visits: pd.DataFrame, rescan_sd: dict[tuple[str, str], Interval]) -> list[dict[str, Any]]:
    """Each later visit against the first: absolute, in percent, and per year.

    Parameters
    ----------
    visits : DataFrame
        One row a person, session, contrast and region: ``person_id participant_id session_id contrast
        region area_mm2 years scanner software acquisition coverage shift_error_mm``; ``years`` since the
        first visit, NaN if dates are not known.
    rescan_sd : dict of (region, contrast) to Interval
        Within-person SD of scan-rescan, with its degrees of freedom: from it the interval of a change.

    Returns
    -------
    list of dict
        ``... baseline_session change_mm2 ci_low ci_high change_percent annual_mm2 annual_ci_low
        annual_ci_high annual_percent years flags notes``; the dates are exact, so that an annual change is
        as sure as the change.
    """
    rows: list[dict[str, Any]] = []
    keys = ["person_id", "contrast", "region"]
    ordered = visits.sort_values("years", kind="stable", na_position="last")
    for (person, contrast, region), part in ordered.groupby(keys, sort=False, observed=True):
        if len(part) < 2:
            continue
        first, *later = part.to_dict("records")
        sd = rescan_sd.get((str(region), str(contrast)))
        elsewhere = any(name == str(contrast) for _, name in rescan_sd)
        why = "no repeats over this region" if elsewhere else "no repeats to know the noise from"
        rows += [
            {"person_id": person, "contrast": contrast, "region": region, **_change(first, visit, sd, why)}
            for visit in later
        ]
    return rows


def _change(
    first: dict[Any, Any], visit: dict[Any, Any], sd: Interval | None, why_not: str
) -> dict[str, Any]:
    change = visit["area_mm2"] - first["area_mm2"]
    years = visit["years"] - first["years"]
    rate = 1.0 / years if np.isfinite(years) and years >= LEAST_YEARS else NAN
    interval = Interval(change)
    notes = []
    if sd is None or not np.isfinite(sd.estimate):
        notes.append(f"no interval: {why_not}")
    else:
        interval = Interval.t(change, float(np.sqrt(2.0)) * sd.estimate, sd.df)
    if not np.isfinite(years):
        notes.append("no dates or ages of the sessions: no annual change")
    elif years < LEAST_YEARS:
        notes.append("less than a month apart: no annual change")
    flags = [f"{name}_changed" for name in SETTINGS if _text(first.get(name)) != _text(visit.get(name))]
    return {
        "participant_id": visit["participant_id"], "session_id": visit["session_id"],
        "baseline_session": first["session_id"], "years": years, "baseline_mm2": first["area_mm2"],
        "area_mm2": visit["area_mm2"], "change_mm2": change, "ci_low": interval.low, "ci_high": interval.high,
        "change_percent": 100.0 * change / first["area_mm2"], "annual_mm2": rate * change,
        "annual_ci_low": rate * interval.low, "annual_ci_high": rate * interval.high,
        "annual_percent": rate * 100.0 * change / first["area_mm2"], "coverage": visit["coverage"],
        "shift_error_mm": visit["shift_error_mm"], "flags": flags, "notes": "; ".join(notes),
    }  # fmt: skip


def _text(value: Any) -> str:
    return "" if value is None or value != value else str(value)


def without_rate(visits: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows of the ledger: people compared over time of whom no rate is known.

    Parameters
    ----------
    visits : DataFrame
        As of :func:`changes`.
    """
    rows: list[dict[str, Any]] = []
    for (_, contrast), part in visits.groupby(["person_id", "contrast"], sort=False, observed=True):
        times = part.drop_duplicates(["participant_id", "session_id"])
        if len(times) < 2:
            continue
        known = times["years"].dropna()
        reason, without = "the date of the visit is not known", times[times["years"].isna()]
        if len(known) < 2:
            reason, without = "the dates (or ages) of two visits at least are not known", times
        elif np.ptp(known) < LEAST_YEARS:
            reason, without = "the visits are less than a month apart", times
        rows += [
            {
                "participant_id": participant, "session_id": session, "contrast": contrast,
                "status": "no rate", "reason": reason, "figures": ("change_model",),
            }
            for participant, session in zip(without["participant_id"], without["session_id"], strict=True)
        ]  # fmt: skip
    return rows


def _moved_on(part: pd.DataFrame) -> str:
    """How many people were scanned otherwise at a later visit."""
    said = []
    for name in SETTINGS:
        if name not in part:
            continue
        kinds = part[name].map(_text).groupby(part["person_id"]).nunique()
        if (kinds > 1).any():
            said.append(f"{name} changed between visits of {int((kinds > 1).sum())} of {len(kinds)} people")
    return "; ".join(said)


def slopes(
    visits: pd.DataFrame, group: str | None = None, reference: str | None = None
) -> list[dict[str, Any]]:
    """Annual change of groups, and their differences: ``csa ~ time*group + (time|person)``.

    Slopes are random where ten people or more came three times, else only levels are. Errors come from
    leaving out one person after the other, so that they hold whatever the people's own slopes are; a
    difference has Welch's degrees of freedom.

    Parameters
    ----------
    visits : DataFrame
        As of :func:`changes`; people with one visit add to nothing and are left out.
    group, reference : str, optional
        Group column, and what controls are called in it.

    Returns
    -------
    list of dict
        Rows ``region contrast group versus statistic ...``: ``annual_change`` (mm²/year), ``annual_percent``
        (of the group's level at the first visit), ``difference`` of annual change.
    """
    rows: list[dict[str, Any]] = []
    known = visits.dropna(subset=["years", "area_mm2"])
    for (region, contrast), part in known.groupby(["region", "contrast"], sort=False, observed=True):
        several = part.groupby("person_id")["years"].transform(np.ptp) >= LEAST_YEARS
        part = part[several]
        basis = {"region": region, "contrast": contrast}
        label = (part[group] if group else pd.Series("all", index=part.index)).astype(object)
        part = part.assign(_group=label.where(label.notna(), None)).dropna(subset=["_group"])
        people = part.drop_duplicates("person_id")["_group"].value_counts()
        names = [str(name) for name in people.index if people[name] >= LEAST_PEOPLE]
        if not names:
            note = f"{len(part['person_id'].unique())} people with visits a month or more apart: too few"
            rows.append({**basis, "statistic": "annual_change", "notes": note})
            continue
        rows += [{**basis, **row} for row in _slopes(part[part["_group"].isin(names)], names, reference)]
    return rows


def _slopes(part: pd.DataFrame, names: Sequence[str], reference: str | None) -> list[dict[str, Any]]:
    years = part["years"].to_numpy(dtype=float)
    label = part["_group"].astype(str).to_numpy()
    member = np.column_stack([(label == name).astype(float) for name in names])
    design = np.column_stack([member, member * years[:, None]])
    people = pd.factorize(part["person_id"])[0].astype(np.intp)
    three = int((np.bincount(people) >= 3).sum())
    columns = np.column_stack([np.ones_like(years), years]) if three >= LEAST_FOR_SLOPES else None
    if (
        len(part) <= design.shape[1] + people.max() + 1
        and columns is None
        and len(part) <= design.shape[1] + 1
    ):
        return [{"statistic": "annual_change", "notes": f"{len(part)} visits: too few for a model"}]
    model = fit(part["area_mm2"].to_numpy(dtype=float), design, [Random(people, columns)])
    each = part.drop_duplicates("person_id")["_group"].value_counts()
    covariance = model.robust(people)
    random = "(time|person)" if columns is not None else "(1|person)"
    basis = {
        "method": "REML, " + ("Satterthwaite" if covariance is None else "jackknife over people"),
        "formula": f"csa ~ time*group + {random}" if len(names) > 1 else f"csa ~ time + {random}",
        "n_images": len(part),
        "notes": _moved_on(part),
    }

    count, unit = len(names), np.eye(2 * len(names))

    def interval(weights: np.ndarray, *behind: str) -> Interval:
        if covariance is None:
            return model.interval(weights)
        error = float(np.sqrt(weights @ covariance @ weights))
        parts = [
            (covariance[count + names.index(name), count + names.index(name)], each[name] - 1)
            for name in behind
        ]
        # People who all change alike leave nothing to estimate: no interval.
        terms = sum(part**2 / own for part, own in parts)
        df = sum(part for part, _ in parts) ** 2 / terms if terms > 0 else np.nan
        return Interval.t(float(weights @ model.coefficients), error, float(df))

    rows: list[dict[str, Any]] = []
    for n, name in enumerate(names):
        slope = interval(unit[count + n], name)
        said = {**basis, "group": name, "n_people": int(each[name])}
        rows.append({**said, "statistic": "annual_change", **slope.columns(), "units": "mm^2/year"})
        percent = slope.scaled(100.0 / float(model.coefficients[n]))
        rows.append({**said, "statistic": "annual_percent", **percent.columns(), "units": "%/year"})
        if reference is not None and reference in names and name != reference:
            weights = unit[count + n] - unit[count + names.index(reference)]
            found = interval(weights, name, reference)
            rows.append(
                {
                    **said,
                    "versus": reference,
                    "statistic": "difference",
                    **found.columns(),
                    "units": "mm^2/year",
                }
            )
    return rows
