"""Harmonisation of a study's areas over scanners: who may be harmonised, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softseg_bids.stats.combat import LEAST_FOR_BAYES, Combat, combat
from softseg_bids.stats.design import OWN_STRETCHES, usable_covariates

LEAST_TO_FIT = 10
# Of a batch's people this share must lie within the ages that the other batches cover.
OVERLAP = 0.5
EVERY_BATCH = "all"
ROW = ["participant_id", "session_id"]


class Harmonised(NamedTuple):
    """Harmonised areas and how they were made.

    Attributes
    ----------
    areas : DataFrame
        ``participant_id session_id region contrast source_image area_harmonised_mm2``.
    rows : list of dict
        One a batch and feature: what was taken out; or why a batch was refused.
    """

    areas: pd.DataFrame
    rows: list[dict[str, Any]]


def batch_names(frame: pd.DataFrame) -> pd.Series:
    """Scanner and software of each row, with the site: two sites' scanners of one model are two."""
    parts = [frame[name].astype(object).fillna("").astype(str) for name in ("site", "scanner", "software")]
    return (parts[0] + " / " + parts[1] + " / " + parts[2]).str.strip(" /")


def harmonise(
    best: pd.DataFrame,
    fit_on: pd.Series,
    covariates: Sequence[str] = ("age", "sex"),
    outcome: str = "area_mm2",
    controls: pd.Series | None = None,
) -> Harmonised:
    """ComBat on region x contrast features.

    A batch is refused, and its areas stay without harmonised ones, if it has fewer than 10 people to
    fit on or fewer than 10 controls (whoever is fitted on: what patients of a site have in common is
    not told from its scanner), if their ages or sex do not overlap with those of the others, or if it
    has no name. A feature that a batch lacks, or has of fewer people, is harmonised among the others.
    Repeated sessions make the longitudinal model.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region, with ``source_image site scanner
        software`` and covariates.
    fit_on : Series of bool, index of ``best``
        Rows of the people the model is fitted on.
    covariates : sequence of str
        Effects that are kept; of a fit on patients too, the group belongs to them.
    controls : Series of bool, index of ``best``, optional
        Rows of controls; by default everyone is one.
    """
    healthy = pd.Series(True, index=best.index) if controls is None else controls
    data = best[~best["region"].isin(OWN_STRETCHES)]
    data = data.assign(
        session_id=data["session_id"].astype(object).fillna(""), _fit=fit_on.loc[data.index],
        _control=healthy.loc[data.index], _batch=batch_names(data),
    )  # fmt: skip
    sessions = data.drop_duplicates(ROW).set_index(ROW)
    kept, notes = usable_covariates(sessions, covariates)
    refused = refusals(sessions.reset_index(), kept)
    rows: list[dict[str, Any]] = [
        {"batch": name, "statistic": "refused", "n_fit": count, "notes": reason}
        for name, (count, reason) in refused.items()
    ]
    names = [name for name in sessions["_batch"].unique() if name not in refused]
    empty = pd.DataFrame(columns=[*ROW, "region", "contrast", "source_image", "area_harmonised_mm2"])
    if len(names) < 2:
        rows.append(
            {
                "batch": EVERY_BATCH,
                "statistic": "refused",
                "notes": f"{len(names)} batches can be harmonised, two are needed",
            }
        )
        return Harmonised(empty, rows)
    sessions = sessions[sessions["_batch"].isin(names)]
    table = data.pivot_table(index=ROW, columns=["region", "contrast"], values=outcome, sort=False)
    table = table.reindex(sessions.index)
    features = [(str(name[0]), str(name[1])) for name in table.columns.to_flat_index()]
    values = table.to_numpy(dtype=float)
    batches = np.array([names.index(name) for name in sessions["_batch"]], dtype=np.intp)
    fit_rows = sessions["_fit"].to_numpy(dtype=bool)
    people = pd.factorize(sessions.index.get_level_values("participant_id"))[0].astype(np.intp)
    complete = sessions[kept].notna().all(axis=1).to_numpy(dtype=bool)
    counts, healthy_counts = (
        _people_of(np.isfinite(values) & (complete & chosen)[:, None], batches, people)
        for chosen in (fit_rows, sessions["_control"].to_numpy(dtype=bool))
    )
    few = (counts < LEAST_TO_FIT) | (healthy_counts < LEAST_TO_FIT)
    rows += [
        {
            "region": region, "contrast": contrast, "batch": name, "statistic": "refused",
            "n_fit": int(counts[b, f]),
            "notes": f"{counts[b, f]} people to fit on, {healthy_counts[b, f]} controls: "
            f"{LEAST_TO_FIT} of each are needed",
        }
        for f, (region, contrast) in enumerate(features)
        for b, name in enumerate(names)
        if few[b, f]
    ]  # fmt: skip
    values = np.where(few[batches], np.nan, values)
    longitudinal = len(people) > people.max() + 1
    who = people if longitudinal else None
    try:
        found = combat(values, batches, _numbers(sessions, kept), fit_rows, who, least=LEAST_TO_FIT)
    except ValueError as error:
        return Harmonised(empty, [*rows, {"batch": EVERY_BATCH, "statistic": "refused", "notes": str(error)}])
    method = ("longitudinal " if longitudinal else "") + (
        "ComBat, empirical Bayes" if found.bayes else "location and scale"
    )
    if not found.bayes:
        notes.append(f"{len(features)} features: fewer than {LEAST_FOR_BAYES}, no empirical Bayes")
    rows += _parameters(found, features, names, counts, method, notes)
    at, feature = np.nonzero(np.isfinite(found.values))
    areas = sessions.index.to_frame(index=False).iloc[at].reset_index(drop=True)
    areas = areas.assign(
        region=[features[n][0] for n in feature],
        contrast=[features[n][1] for n in feature],
        area_harmonised_mm2=found.values[at, feature],
    )
    # Of the image that was measured, not of others of its contrast.
    areas = areas.merge(data[[*ROW, "region", "contrast", "source_image"]], on=[*ROW, "region", "contrast"])
    return Harmonised(areas, rows)


def _people_of(seen: np.ndarray, batches: np.ndarray, people: np.ndarray) -> np.ndarray:
    """How many people each batch has of each feature, however often they came: shape (batches, features)."""
    count, everyone = int(batches.max()) + 1, int(people.max()) + 1
    found = np.zeros((count, seen.shape[1]), dtype=int)
    for feature, there in enumerate(seen.T):
        distinct = np.unique(batches[there] * everyone + people[there])
        found[:, feature] = np.bincount(distinct // everyone, minlength=count)
    return found


def refusals(sessions: pd.DataFrame, covariates: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Batches that cannot be harmonised: people to fit on, and the reason.

    Parameters
    ----------
    sessions : DataFrame
        One row a session: ``participant_id _batch _fit _control`` and the covariates.
    covariates : sequence of str
        Those that are adjusted for.
    """
    people = sessions.drop_duplicates(["participant_id", "_batch"])
    known = people.dropna(subset=list(covariates))
    fitted, controls = known[known["_fit"]], known.loc[known["_control"], "_batch"].value_counts()
    found: dict[str, tuple[int, str]] = {}
    for name, part in people.groupby("_batch", sort=False):
        own, others = fitted[fitted["_batch"] == name], fitted[fitted["_batch"] != name]
        healthy = int(controls.get(name, 0))
        reason = _why_refused(str(name), own, others, len(part), healthy, covariates)
        if reason:
            found[str(name)] = (len(own), reason)
    return found


def _why_refused(
    name: str, own: pd.DataFrame, others: pd.DataFrame, people: int, controls: int, covariates: Sequence[str]
) -> str:
    if not name:
        return "neither scanner nor software nor site is known"
    if len(own) < LEAST_TO_FIT:
        return f"{len(own)} of its {people} people can be fitted on, {LEAST_TO_FIT} are needed"
    if controls < LEAST_TO_FIT:
        return f"{controls} of its {people} people are controls, {LEAST_TO_FIT} are needed"
    for covariate in covariates:
        there, elsewhere = own[covariate], others[covariate]
        if elsewhere.empty:
            continue
        if pd.api.types.is_numeric_dtype(there):
            share = float(there.between(elsewhere.min(), elsewhere.max()).mean())
            if share < OVERLAP:
                return (
                    f"{covariate} {there.min():.0f}-{there.max():.0f} does not overlap with that of the "
                    f"others, {elsewhere.min():.0f}-{elsewhere.max():.0f}"
                )
        elif not set(elsewhere.unique()) <= set(there.unique()) and covariate == "sex":
            return "its people to fit on are all of one sex"
        elif not set(there.unique()) & set(elsewhere.unique()):
            return f"no other batch shares its {covariate}"
    return ""


def _numbers(sessions: pd.DataFrame, covariates: Sequence[str]) -> np.ndarray:
    """Covariates as columns: centred numbers, and an indicator for each further category."""
    columns: list[np.ndarray] = []
    for name in covariates:
        values = sessions[name]
        if pd.api.types.is_numeric_dtype(values):
            columns.append((values - values.mean()).to_numpy(float))
            continue
        unknown = np.where(values.isna(), np.nan, 0.0)
        columns += [
            (values == level).to_numpy(float) + unknown for level in sorted(values.dropna().unique())[1:]
        ]
    return np.column_stack(columns) if columns else np.zeros((len(sessions), 0))


def _parameters(
    found: Combat,
    features: list[tuple[str, str]],
    names: list[str],
    counts: np.ndarray,
    method: str,
    notes: list[str],
) -> list[dict[str, Any]]:
    return [
        {
            "region": region, "contrast": contrast, "batch": name, "method": method,
            "n_fit": int(counts[b, f]), "notes": "; ".join(notes), "statistic": statistic,
            "estimate": float(value), "units": units,
        }
        for f, (region, contrast) in enumerate(features)
        for b, name in enumerate(names)
        for statistic, value, units in (
            ("shift", found.shift[b, f] * found.residual_sd[f], "mm^2"),
            ("scale", found.scale[b, f], ""),
        )
        if np.isfinite(value)
    ]  # fmt: skip
