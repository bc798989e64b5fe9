"""Harmonisation of a study's areas over scanners: who may be harmonised, and by what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from softseg_bids.stats.combat import LEAST_FOR_BAYES, Combat, combat
from softseg_bids.stats.design import OWN_STRETCHES, usable_covariates

LEAST_TO_FIT = 10
# Of a batch's people this share must lie within what another batch covers: the middle of its people,
# because one person alone covers nothing.
OVERLAP = 0.5
MIDDLE = (0.1, 0.9)
TIME = "years"
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
    group: str | None = None,
) -> Harmonised:
    """ComBat on region x contrast features.

    A batch is refused, and its areas stay without harmonised ones, if it has fewer than 10 people to
    fit on or fewer than 10 controls (whoever is fitted on: what patients of a site have in common is
    not told from its scanner), if their ages or sex do not overlap with those of the other batches that
    are not refused, or if it has no name. A feature that a batch lacks, or has of fewer people, is
    harmonised among the others.

    Repeated sessions of those fitted on make the longitudinal model, in which change over time is kept
    (Beer et al. 2020, whose covariates hold time and group x time): scanners change with the years, and
    what people lose would be taken for a scanner's. A batch that cannot be told from time is refused.

    Parameters
    ----------
    best : DataFrame
        One row a session, contrast and region, with ``person_id source_image site scanner
        software`` and covariates, and ``years`` since the person's first session where known.
    fit_on : Series of bool, index of ``best``
        Rows of the people the model is fitted on.
    covariates : sequence of str
        Effects that are kept; of a fit on patients too, the group belongs to them.
    controls : Series of bool, index of ``best``, optional
        Rows of controls; by default everyone is one.
    group : str, optional
        The covariate whose levels change over time at their own rates.
    """
    healthy = pd.Series(True, index=best.index) if controls is None else controls
    data = best[~best["region"].isin(OWN_STRETCHES)]
    data = data.assign(
        session_id=data["session_id"].astype(object).fillna(""), _fit=fit_on.loc[data.index],
        _control=healthy.loc[data.index], _batch=batch_names(data),
    )  # fmt: skip
    sessions = data.drop_duplicates(ROW).set_index(ROW)
    sessions, said = _timed(sessions)
    refused = refusals(sessions.reset_index(), _kept(sessions, covariates)[0])
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
    kept, notes = _kept(sessions, covariates)
    notes += said if TIME in kept else []
    table = data.pivot_table(index=ROW, columns=["region", "contrast"], values=outcome, sort=False)
    table = table.reindex(sessions.index)
    features = [(str(name[0]), str(name[1])) for name in table.columns.to_flat_index()]
    values = table.to_numpy(dtype=float)
    batches = np.array([names.index(name) for name in sessions["_batch"]], dtype=np.intp)
    fit_rows = sessions["_fit"].to_numpy(dtype=bool)
    people = pd.factorize(sessions["person_id"])[0].astype(np.intp)
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
    longitudinal = _repeated(sessions)
    who = people if longitudinal else None
    try:
        found = combat(values, batches, _numbers(sessions, kept, group), fit_rows, who, least=LEAST_TO_FIT)
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


def _repeated(sessions: pd.DataFrame) -> bool:
    """Whether somebody who is fitted on came more than once."""
    return bool(sessions.loc[sessions["_fit"], "person_id"].duplicated().any())


def _timed(sessions: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Sessions with the time of each: years, or without any date the order of a participant's sessions.

    Who came once is at the beginning, dates or not.
    """
    years = sessions.get(TIME, pd.Series(np.nan, index=sessions.index)).astype(float)
    once = ~sessions["person_id"].duplicated(keep=False)
    if years[~once].notna().any():
        return sessions.assign(**{TIME: years.mask(once & years.isna(), 0.0)}), []
    order = sessions.sort_index().groupby(level="participant_id").cumcount().reindex(sessions.index)
    note = "no dates of sessions: their order is kept as time"
    return sessions.assign(**{TIME: order.astype(float)}), [note]


def _kept(sessions: pd.DataFrame, covariates: Sequence[str]) -> tuple[list[str], list[str]]:
    """Covariates whose effects can be kept, time among them where those fitted on came again; and notes."""
    kept, notes = usable_covariates(sessions, [name for name in covariates if name != TIME])
    if not _repeated(sessions):
        return kept, notes
    time, said = usable_covariates(sessions[sessions["_fit"]], [TIME])
    return [*kept, *time], [*notes, *said]


def refusals(sessions: pd.DataFrame, covariates: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Batches that cannot be harmonised: people to fit on, and the reason.

    Each is compared with the batches that are left, again after every refusal: one that overlaps with
    a refused batch only has nothing to be compared with.

    Parameters
    ----------
    sessions : DataFrame
        One row a session: ``person_id _batch _fit _control`` and the covariates.
    covariates : sequence of str
        Those that are adjusted for.
    """
    known = sessions.dropna(subset=list(covariates))
    fitted = known[known["_fit"]]
    everyone, people, controls = (
        frame.drop_duplicates(["person_id", "_batch"])["_batch"].value_counts()
        for frame in (sessions, fitted, known[known["_control"]])
    )
    counts = {str(name): int(people.get(name, 0)) for name in sessions["_batch"].unique()}
    reasons = {
        name: _too_few(name, count, int(controls.get(name, 0)), int(everyone[name]))
        for name, count in counts.items()
    }
    found = {name: (counts[name], reason) for name, reason in reasons.items() if reason}
    while True:
        left = fitted[~fitted["_batch"].isin(list(found))]
        apart = {str(name): _apart(left, name, covariates) for name in left["_batch"].unique()}
        new = {name: (counts[name], reason) for name, reason in apart.items() if reason}
        if not new:
            return found
        found |= new


def _too_few(name: str, fitted: int, controls: int, people: int) -> str:
    """Why a batch is refused whatever the others are."""
    if not name:
        return "neither scanner nor software nor site is known"
    if fitted < LEAST_TO_FIT:
        return f"{fitted} of its {people} people can be fitted on, {LEAST_TO_FIT} are needed"
    if controls < LEAST_TO_FIT:
        return f"{controls} of its {people} people are controls, {LEAST_TO_FIT} are needed"
    return ""


def _apart(fitted: pd.DataFrame, name: str, covariates: Sequence[str]) -> str:
    """Why a batch cannot be compared with the others: they have no people, or no times, like its own."""
    people = fitted.drop_duplicates(["person_id", "_batch"])
    for covariate in covariates:
        rows = fitted if covariate == TIME else people
        mine = rows["_batch"] == name
        own, others = rows.loc[mine, covariate], rows[~mine]
        if others.empty:
            continue
        if pd.api.types.is_numeric_dtype(own):
            if _covered(own, others.groupby("_batch")[covariate]) >= OVERLAP:
                continue
            steady = _seen_again(fitted) if covariate == TIME else 0
            if steady < LEAST_TO_FIT:
                return _no_overlap(own, others[covariate], steady)
        elif covariate == "sex" and own.nunique() < 2 <= others[covariate].nunique():
            return "its people to fit on are all of one sex"
        elif not set(own.unique()) & set(others[covariate].unique()):
            return f"no other batch shares its {covariate}"
    return ""


def _covered(own: pd.Series, others: Any) -> float:
    """Share of values that lie within the middle 80 % of at least one other batch."""
    ends = np.column_stack([others.quantile(at).to_numpy(float) for at in MIDDLE])
    values = own.to_numpy(float)[:, None]
    return float(((ends[:, 0] <= values) & (values <= ends[:, 1])).any(axis=1).mean())


def _seen_again(fitted: pd.DataFrame) -> int:
    """How many people one batch saw at two times: they tell what time does, whatever the scanners do."""
    times = fitted.groupby(["person_id", "_batch"])[TIME].agg(np.ptp)
    return int(times[times > 0].index.get_level_values("person_id").nunique())


def _no_overlap(own: pd.Series, others: pd.Series, steady: int) -> str:
    if own.name != TIME:
        return (
            f"{own.name} {own.min():.0f}-{own.max():.0f} does not overlap with that of the others, "
            f"{others.min():.0f}-{others.max():.0f} (the middle 80 % of each)"
        )
    return (
        f"not to be told from time: its sessions are at {own.min():.1f}-{own.max():.1f} years, those of the "
        f"others at {others.min():.1f}-{others.max():.1f}, and {steady} people came to one scanner again "
        f"({LEAST_TO_FIT} are needed)"
    )


def _numbers(sessions: pd.DataFrame, covariates: Sequence[str], group: str | None) -> np.ndarray:
    """Covariates as columns: centred numbers, an indicator for each further category, group x time."""
    columns = {name: _columns(sessions[name]) for name in covariates}
    found = [column for each in columns.values() for column in each]
    if group in columns and TIME in columns:
        found += [columns[TIME][0] * column for column in columns[group]]
    return np.column_stack(found) if found else np.zeros((len(sessions), 0))


def _columns(values: pd.Series) -> list[np.ndarray]:
    if pd.api.types.is_numeric_dtype(values):
        return [(values - values.mean()).to_numpy(float)]
    unknown = np.where(values.isna(), np.nan, 0.0)
    return [(values == level).to_numpy(float) + unknown for level in sorted(values.dropna().unique())[1:]]


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
