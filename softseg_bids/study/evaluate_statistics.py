"""Statistics of an evaluation: how good each method is, how far it depends on the contrast, who is better."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from softseg_bids.core.calibration import BINS, reliability
from softseg_bids.stats.agreement import pair_rows
from softseg_bids.stats.estimate import mean_interval
from softseg_bids.stats.methods import repeated_measures, signed_ranks
from softseg_bids.stats.response import response
from softseg_bids.stats.variability import contrast_effects, spread
from softseg_bids.study.judge import TRUTH
from softseg_bids.study.place import region_rank

Floats = NDArray[np.float64]
Row = dict[str, Any]

SCORES = ("dice", "soft_dice", "relative_volume_error", "surface_mm", "hausdorff_95_mm")
ALL = "all"
ERROR, SPREAD = "absolute_area_error", "sd_over_contrasts"
UNITS = {"surface_mm": "mm", "hausdorff_95_mm": "mm", ERROR: "mm^2", SPREAD: "mm^2"}


def best_areas(areas: pd.DataFrame) -> pd.DataFrame:
    """Areas that enter statistics: one image a method, person, contrast and region.

    Of several sessions of a person the first, of several images the one that covers most.
    """
    usable = areas[areas["in_statistics"]].assign(
        session_id=areas["session_id"].astype(object).where(areas["session_id"].notna(), ""),
        person_id=areas["participant_id"],
    )
    usable = usable.sort_values(["session_id", "coverage"], ascending=[True, False], kind="stable")
    usable = usable.drop_duplicates(["method", "participant_id", "contrast", "region"]).sort_index()
    return usable.sort_values("region", key=lambda names: names.map(region_rank), kind="stable")


def variability(best: pd.DataFrame, methods: Sequence[str], contrast_set: Sequence[str]) -> list[Row]:
    """SD over contrasts of every person, region and method, the labels' own first."""
    return [
        {"method": method, **row}
        for method in (TRUTH, *methods)
        for row in spread(best[best["method"] == method], contrast_set)
        if row["n_contrasts"] > 0
    ]


def summary(
    scores: pd.DataFrame,
    best: pd.DataFrame,
    varied: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
    contrast_set: Sequence[str],
) -> list[Row]:
    """Every estimate of every method.

    Measures: the scores (means over people of each person's mean), ``area_mm2`` against the labels' (bias,
    limits, mean absolute error; slope and intercept of measured on true area over people), the spread
    over contrasts, and the model and the analysis of variance of area over contrasts.
    """
    rows: list[Row] = []
    for method in methods:
        own = scores[scores["method"] == method]
        for contrast, part in ((ALL, own), *own.groupby("contrast", sort=False)):
            rows += [
                {"method": method, "contrast": contrast, **_mean(part, name)}
                for name in SCORES
                if part[name].notna().any()
            ]
    for method in (TRUTH, *methods):
        own = best[best["method"] == method]
        for region, part in own.groupby("region", sort=False):
            basis = {"method": method, "region": region}
            rows += [basis | row for row in _against_truth(part) if method != TRUTH]
            rows += [basis | row for row in _over_contrasts(part, contrast_set) if region != "cord"]
    frame = pd.DataFrame(varied)
    for key, part in frame.groupby(["method", "region"], sort=False) if len(frame) else ():
        known = part["sd_mm2"].dropna().to_numpy(float)
        if len(known):
            rows.append(
                {
                    **dict(zip(("method", "region"), key, strict=True)), "measure": SPREAD,
                    "contrast": ";".join(contrast_set),
                    "statistic": "mean", **mean_interval(known).columns(), "n_people": len(known),
                    "units": "mm^2",
                }
            )  # fmt: skip
    return rows


def tests(
    scores: pd.DataFrame,
    best: pd.DataFrame,
    varied: Sequence[Mapping[str, Any]],
    methods: Sequence[str],
) -> list[Row]:
    """Wilcoxon's signed-rank test between every two methods, on one value a person.

    Errors of volume and area are compared by their size.
    """
    tables: list[tuple[Row, pd.DataFrame]] = []
    for name in SCORES:
        values = scores[name].abs() if name == "relative_volume_error" else scores[name]
        tables.append(({"measure": name}, _by_person(scores.assign(value=values), methods)))
    judged = best[best["method"] != TRUTH]
    judged = judged.assign(value=judged["error_mm2"].astype(float).abs())
    for region, part in judged.groupby("region", sort=False):
        tables.append(({"measure": ERROR, "region": region}, _by_person(part, methods)))
    frame = pd.DataFrame(varied)
    for region, part in frame.groupby("region", sort=False) if len(frame) else ():
        part = part.assign(value=part["sd_mm2"])
        tables.append(({"measure": SPREAD, "region": region}, _by_person(part, methods)))
    return [basis | row for basis, table in tables for row in signed_ranks(table)]


def reliability_rows(bins: Mapping[tuple[str, str], Floats], methods: Sequence[str]) -> list[Row]:
    """The reliability curve of each method, over all contrasts and of each."""
    rows = []
    for method in methods:
        for contrast, curve in curves_of(bins, method).items():
            for number, (voxels, predicted, true) in enumerate(curve.tolist()):
                rows.append(
                    {
                        "method": method, "contrast": contrast, "bin": number, "n_voxels": int(voxels),
                        "predicted": predicted if voxels else None, "true": true if voxels else None,
                    }
                )  # fmt: skip
    return rows


def curves_of(bins: Mapping[tuple[str, str], Floats], method: str) -> dict[str, Floats]:
    """Reliability curves of a method: ``all``, then of each contrast, each of shape (10, 3)."""
    own = {contrast: each for (name, contrast), each in bins.items() if name == method}
    total = np.sum([np.zeros((BINS, 3)), *own.values()], axis=0)
    return {name: reliability(each) for name, each in {ALL: total, **own}.items()}


def person_areas(best: pd.DataFrame, method: str, region: str) -> pd.DataFrame:
    """Measured and true area of each person, means over the contrasts; index ``participant_id``."""
    part = best[(best["method"] == method) & (best["region"] == region) & (best["contrast"] != "DWI")]
    return part.groupby("participant_id")[["area_mm2", "true_mm2"]].mean()


def _mean(part: pd.DataFrame, name: str) -> Row:
    people = part.groupby("participant_id")[name].mean().dropna().to_numpy(float)
    return {
        "measure": name, "statistic": "mean", **mean_interval(people).columns(), "n_people": len(people),
        "n_images": int(part[name].notna().sum()), "units": UNITS.get(name, ""),
    }  # fmt: skip


def _against_truth(part: pd.DataFrame) -> list[Row]:
    """Bias, limits, absolute error and response of the area, over all contrasts and in each."""
    rows: list[Row] = []
    people = part[part["contrast"] != "DWI"].groupby("participant_id")[["area_mm2", "true_mm2"]].mean()
    groups: Iterable[tuple[Any, pd.DataFrame]] = ((ALL, people), *part.groupby("contrast", sort=False))
    for contrast, own in groups:
        pair = own[["area_mm2", "true_mm2"]].to_numpy(float)
        basis = {"contrast": contrast, "measure": "area_mm2", "n_people": len(pair)}
        rows += [basis | _tested(row) for row in pair_rows(pair)]
        line = response(pair[:, 1], pair[:, 0])
        rows.append({**basis, "statistic": "response_slope", **line.slope.columns(), "units": ""})
        rows.append({**basis, "statistic": "response_intercept", **line.intercept.columns(), "units": "mm^2"})
    absolute = part.assign(size=(part["area_mm2"] - part["true_mm2"]).astype(float).abs())
    for contrast, own in ((ALL, absolute), *absolute.groupby("contrast", sort=False)):
        size = own.groupby("participant_id")["size"].mean().to_numpy(float)
        rows.append(
            {
                "contrast": contrast, "measure": ERROR, "statistic": "mean", **mean_interval(size).columns(),
                "n_people": len(size), "units": "mm^2",
            }
        )  # fmt: skip
    return rows


def _over_contrasts(part: pd.DataFrame, contrast_set: Sequence[str]) -> list[Row]:
    """Repeated measures over contrasts: the mixed model's biases, and the analysis of variance."""
    with np.errstate(divide="ignore", invalid="ignore"):  # labels may be equal over contrasts to the bit
        effects = contrast_effects(part, contrast_set)
    rows = [{"measure": "area_over_contrasts", **_tested(row)} for row in effects]
    analysis = repeated_measures(part, "area_mm2", contrast_set)
    return [*rows, {"measure": "area_over_contrasts", **analysis}]


def _by_person(frame: pd.DataFrame, methods: Sequence[str]) -> pd.DataFrame:
    """One row a person, one column a method: the mean of ``value``, only of images all methods have."""
    wanted = frame[frame["method"].isin(methods)]
    keys = [name for name in ("participant_id", "session_id", "source_image") if name in wanted]
    images = wanted.assign(session_id=wanted["session_id"].astype(object).fillna("")).pivot_table(
        index=keys, columns="method", values="value", dropna=False, observed=True
    )
    if "source_image" in keys:
        images = images.dropna()
    return images.groupby("participant_id").mean().reindex(columns=list(methods))


def _tested(row: Mapping[str, Any]) -> Row:
    """A row of another table, whose ``method`` is how an estimate was found."""
    changed = dict(row)
    changed["test"] = changed.pop("method", "")
    return changed
