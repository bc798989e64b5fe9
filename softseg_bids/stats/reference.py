"""Where a person stands among healthy people: the study's own controls, or a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from softseg_bids.stats.design import OWN_STRETCHES, ages, build, quoted, usable_covariates
from softseg_bids.stats.estimate import LEVEL, NAN, Interval, mean_interval
from softseg_bids.stats.mixed import fit

LEAST_CONTROLS = 20
PUBLISHED_CONTRAST = "T2w"
PUBLISHED_AGES = (19.0, 52.0)
PUBLISHED_LEVELS = frozenset([f"C{n}" for n in range(1, 8)] + ["T1", "T2", "T3", "C2-C3"])
WHO = ["participant_id", "session_id", "region", "contrast", "source_image", "area_mm2"]
JUDGED = ("expected_mm2", "reference_low", "reference_high", "z", "percentile")
NOT_IN_TABLE = "not_in_table"
TABLE_COLUMNS = ("level", "sex", "n", "csa_mm2_mean", "csa_mm2_sd")


def eligible(best: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series]:
    """Rows that may be compared with norms, and for each of the others the reason."""
    flags = best["flags"].astype(object).fillna("").astype(str)
    reason = pd.Series("", index=best.index, dtype=object)
    reason[best["csa_fit"] != "good"] = "pixels or plane limit the area"
    reason[flags.str.contains("far_from_isocentre")] = (
        "more than 60 mm from the isocentre without gradient correction"
    )
    reason[best["region"].isin(OWN_STRETCHES)] = "not a fixed stretch of cord"
    return best[reason == ""], reason[reason != ""]


def own_controls(
    best: pd.DataFrame, is_control: pd.Series, covariates: Sequence[str] = ("age", "sex")
) -> pd.DataFrame:
    """Everyone against the study's own controls, given age and sex.

    ``csa ~ age + sex`` of the controls predicts each person; the distance over its prediction SD
    follows Student's t (Crawford & Garthwaite 2006). A control is predicted by the others. Beyond the
    controls' ages (or another number's range) nothing is said: the line is known where controls are.

    Parameters
    ----------
    best : DataFrame
        Eligible rows, one a participant, contrast and region.
    is_control : Series of bool, index of ``best``

    Returns
    -------
    DataFrame
        `WHO` with ``reference expected_mm2 reference_low reference_high z percentile n_controls notes``; z is
        the normal value of the same percentile. A frame, because a row a measured area in dicts would be
        what takes most memory of a large study.
    """
    parts = best.groupby(["region", "contrast"], sort=False, observed=True)
    found = [_against_controls(part, is_control.loc[part.index], covariates) for _, part in parts]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=WHO)


def _against_controls(part: pd.DataFrame, is_control: pd.Series, covariates: Sequence[str]) -> pd.DataFrame:
    kept, notes = usable_covariates(part[is_control], covariates)
    part = part.assign(_control=is_control)
    complete = part.dropna(subset=kept)
    controls = complete[complete["_control"]]
    # Sessions of one person are no independent controls: the first counts.
    first = ~controls["person_id"].duplicated()
    controls = controls[first]
    said = "; ".join(notes)
    if len(controls) < LEAST_CONTROLS:
        note = f"{len(controls)} controls, {LEAST_CONTROLS} are needed"
        return part[WHO].assign(reference="controls", notes=note)
    levels = {name: set(controls[name]) for name in kept if not pd.api.types.is_numeric_dtype(controls[name])}
    for name, seen in levels.items():
        complete = complete[complete[name].isin(seen)]
    design = build(complete, "area_mm2", [quoted(name) for name in kept])
    matrix, outcome = design.matrix, design.outcome
    fitted = complete.index.isin(controls.index)
    model = fit(outcome[fitted], matrix[fitted])
    inverse = np.linalg.inv(matrix[fitted].T @ matrix[fitted])
    leverage = np.einsum("ni,ij,nj->n", matrix, inverse, matrix)
    residual = outcome - matrix @ model.coefficients
    df = np.where(fitted, model.df_residual - 1, model.df_residual)
    total = model.residual_sd**2 * model.df_residual
    room = np.where(fitted, 1.0 - leverage, 1.0)
    left_out = np.where(fitted, (total - residual**2 / room) / df, model.residual_sd**2)
    # Left out, a control's own distance is its residual over 1 - h, with SD s/sqrt(1 - h).
    distance = np.where(fitted, residual / room, residual)
    spread = np.sqrt(left_out * np.where(fitted, 1.0 / room, 1.0 + leverage))
    percentile = np.asarray(stats.t.cdf(distance / spread, df))
    half = np.asarray(stats.t.ppf(0.5 * (1 + LEVEL), df)) * spread
    expected = outcome - distance
    found = complete[WHO].assign(
        reference="controls", expected_mm2=expected, reference_low=expected - half,
        reference_high=expected + half, z=stats.norm.ppf(percentile), percentile=100.0 * percentile,
        n_controls=len(controls) - fitted, notes=said,
    )  # fmt: skip
    beyond = _beyond(complete, controls, [name for name in kept if name not in levels])
    found.loc[beyond != "", list(JUDGED)] = NAN
    return found.assign(notes=found["notes"].where(beyond == "", beyond))


def _beyond(frame: pd.DataFrame, controls: pd.DataFrame, covariates: Sequence[str]) -> pd.Series:
    """For each row which number lies outside the controls' range, as a sentence; empty if none does."""
    said = pd.Series("", index=frame.index, dtype=object)
    for name in covariates:
        low, high = controls[name].min(), controls[name].max()
        said[~frame[name].between(low, high)] = f"outside the controls' {name}, {low:.0f}-{high:.0f}"
    return said


def read_norms(path: Path) -> pd.DataFrame:
    """A normative table: ``level sex n csa_mm2_mean csa_mm2_sd``, optionally ``contrast age_min age_max``.

    Raises
    ------
    ValueError
        If a column is missing.
    """
    table = pd.read_csv(path, sep="\t")
    lacking = [name for name in TABLE_COLUMNS if name not in table]
    if lacking:
        raise ValueError(f"{path}: a table of norms needs the columns {', '.join(lacking)}")
    return table


def published_scope(table: pd.DataFrame) -> pd.DataFrame:
    """The packaged table with its limits as columns: T2w, 19 to 52 years, C1 to T3."""
    inside = table[table["level"].isin(PUBLISHED_LEVELS)]
    return inside.assign(contrast=PUBLISHED_CONTRAST, age_min=PUBLISHED_AGES[0], age_max=PUBLISHED_AGES[1])


def region_of(level: str) -> str:
    """The region a level of a normative table is about: ``vert-C3``, ``vert-C2:C3``."""
    return f"vert-{level.replace('-', ':')}"


def from_table(
    best: pd.DataFrame, is_control: pd.Series, table: pd.DataFrame, name: str
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Everyone against a normative table, shifted by what the study's own controls say.

    The *bridging offset* is the mean distance of the study's controls from the table (same sex, within
    its ages): other masks and scanners measure another area. Without 20 controls nothing is shown.

    Parameters
    ----------
    best : DataFrame
        Eligible rows with ``age`` and ``sex`` (NaN where unknown).
    is_control : Series of bool, index of ``best``
    table : DataFrame
        From :func:`read_norms` or :func:`published_scope`.
    name : str
        What it is called in the tables.

    Returns
    -------
    people : list of dict
        Rows of the columns of :func:`own_controls`.
    offsets : list of dict
        One row a region and contrast: ``offset`` with its interval, or why norms are hidden; or
        ``not_in_table`` for what the table says nothing of.
    """
    people: list[dict[str, Any]] = []
    offsets: list[dict[str, Any]] = []
    unknown = pd.Series(np.nan, index=best.index)
    best = best.assign(age=ages(best.get("age", unknown)), sex=best.get("sex", unknown), _control=is_control)
    contrasts = table["contrast"].unique() if "contrast" in table else best["contrast"].unique()
    for level in table["level"].unique():
        for contrast in contrasts:
            part = best[(best["region"] == region_of(str(level))) & (best["contrast"] == contrast)]
            norms = table[table["level"] == level]
            if "contrast" in table:
                norms = norms[norms["contrast"] == contrast]
            if not part.empty:
                found, offset = _from_level(part, norms, name)
                people += found
                offsets.append({"region": region_of(str(level)), "contrast": contrast, **offset})
    return people, offsets + _not_in(best, offsets, name)


def _not_in(best: pd.DataFrame, offsets: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Regions and contrasts that were measured and are not in the table."""
    there = {(row["region"], row["contrast"]) for row in offsets}
    pairs = best[["region", "contrast"]].drop_duplicates().itertuples(index=False)
    return [
        {
            "region": region, "contrast": contrast, "statistic": NOT_IN_TABLE, "reference": name,
            "notes": f"the table of norms has no {contrast} of {region}",
        }
        for region, contrast in pairs
        if (region, contrast) not in there
    ]  # fmt: skip


def _from_level(
    part: pd.DataFrame, norms: pd.DataFrame, name: str
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    place, why = _lookup(part, norms)
    inside = why == ""
    looked_up = norms.reindex(place.to_numpy())
    mean, sd = (
        pd.Series(looked_up[column].to_numpy(float), index=part.index)
        for column in ("csa_mm2_mean", "csa_mm2_sd")
    )
    bridge = part[inside.to_numpy() & part["_control"].to_numpy(dtype=bool)]
    bridge = bridge[~bridge["person_id"].duplicated()]
    basis = {"statistic": "offset", "reference": name, "n_people": len(bridge), "units": "mm^2"}
    if len(bridge) < LEAST_CONTROLS:
        note = (
            f"hidden: {len(bridge)} controls in the table's scope, {LEAST_CONTROLS} are needed for an offset"
        )
        rows = [{**row, "reference": name, "notes": note} for row in _people(part)]
        return rows, {**basis, "notes": note}
    distance = (bridge["area_mm2"] - mean.loc[bridge.index]).to_numpy(float)
    offset = _offset(distance, norms.loc[place.loc[bridge.index]])
    expected = mean + offset.estimate
    z = (part["area_mm2"] - expected) / sd
    half = stats.norm.ppf(0.5 * (1 + LEVEL)) * sd
    said = f"offset {offset.estimate:+.1f} mm2 ({offset.low:+.1f} to {offset.high:+.1f}) applied"
    rows = []
    for index, row in zip(part.index, _people(part), strict=True):
        if why[index]:
            rows.append({**row, "reference": name, "notes": why[index]})
            continue
        rows.append({
            **row, "reference": name, "expected_mm2": float(expected[index]),
            "reference_low": float(expected[index] - half[index]),
            "reference_high": float(expected[index] + half[index]), "z": float(z[index]),
            "percentile": 100.0 * float(stats.norm.cdf(z[index])), "n_controls": len(bridge), "notes": said,
        })  # fmt: skip
    return rows, {**basis, **offset.columns(), "method": "mean distance of controls"}


def _offset(distance: np.ndarray, norms: pd.DataFrame) -> Interval:
    """Mean distance of controls from the table's means, which are means of people themselves.

    Their errors add: of each row of the table SD²/n, by the share of controls compared with it, with
    Welch and Satterthwaite's degrees of freedom.

    Parameters
    ----------
    distance : ndarray, shape (n,)
    norms : DataFrame
        The table's row of each control.
    """
    plain = mean_interval(distance)
    rows = norms[~norms.index.duplicated()]
    share = norms.index.value_counts().reindex(rows.index).to_numpy(float) / len(norms)
    count = pd.to_numeric(rows["n"], errors="coerce").to_numpy(float)
    squares = np.append((share * rows["csa_mm2_sd"].to_numpy(float)) ** 2 / count, plain.error**2)
    df = np.append(count - 1.0, plain.df)
    # A table that does not say of how many people it is has no error that is known.
    if not (np.isfinite(count) & (count > 1)).all():
        return Interval(plain.estimate)
    total = float(squares.sum())
    return Interval.t(plain.estimate, np.sqrt(total), total**2 / float((squares**2 / df).sum()))


def _lookup(part: pd.DataFrame, norms: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """The label of the table's row for each row, and why there is none."""
    place = pd.Series(np.nan, index=part.index)
    why = pd.Series("", index=part.index, dtype=object)
    for index, sex, age in zip(part.index, part["sex"], part["age"], strict=True):
        letter = str(sex).strip().upper()[:1] if isinstance(sex, str) else ""
        fitting = norms[norms["sex"].astype(str).str.upper().str[:1] == letter]
        fitting = fitting if letter in ("M", "F") and not fitting.empty else norms[norms["sex"] == "all"]
        if "age_min" in norms:
            if not np.isfinite(age):
                why[index] = "age is not known"
                continue
            fitting = fitting[(fitting["age_min"] <= age) & (age <= fitting["age_max"])]
        if fitting.empty:
            why[index] = "outside the table's ages" if "age_min" in norms else "not in the table"
            continue
        place[index] = fitting.index[0]
    return place, why


def _people(part: pd.DataFrame) -> list[dict[str, Any]]:
    return [dict(zip(WHO, row, strict=True)) for row in part[WHO].itertuples(index=False)]
