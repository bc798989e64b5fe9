"""The page of an evaluation, filled from its tables."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.app.identity import version
from softseg_bids.bids.dataset import Dataset
from softseg_bids.pages import plots
from softseg_bids.pages.study import EvaluatePage, Glance, Plot, evaluate_page
from softseg_bids.stats.response import response
from softseg_bids.study.evaluate_statistics import ALL, ERROR, SPREAD, curves_of, person_areas
from softseg_bids.study.judge import TRUTH, Judged
from softseg_bids.study.place import CORD, leading_region
from softseg_bids.study.tables import COLUMNS

NOTHING: dict[str, Any] = {"estimate": None, "ci_low": None, "ci_high": None, "p": None}
# Per image; what its axis says.
VIOLINS = {
    "dice": "Dice",
    "soft_dice": "soft Dice",
    "relative_volume_error": "relative volume error",
    "surface_mm": "surface distance (mm)",
    "hausdorff_95_mm": "95 % Hausdorff (mm)",
}
PREFERRED_PAIR = ("T1w", "T2w")
FEW = 3
# Of repeated measures over contrasts.
SHOWN = ("bias", "sd_bias", "contrast_effect")


def write_page(
    chosen: Namespace,
    dataset: Dataset,
    found: Judged,
    scores: pd.DataFrame,
    best: pd.DataFrame,
    varied: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    tested: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    contrasts: Sequence[str],
) -> Path:
    """Write ``evaluate.html``."""
    region = _region(best, contrasts)
    spread = pd.DataFrame(varied)
    page = EvaluatePage(
        dataset=dataset.name,
        methods=list(names),
        contrasts=list(contrasts),
        region=region,
        n_people=int(scores["participant_id"].nunique()),
        n_images=int(scores["source_image"].nunique()),
        glance=[glance(name, region, rows, scores) for name in (TRUTH, *names)],
        figures=_plots(scores, best, spread, found, region, names, contrasts),
        tests=_filled("tests", [row for row in tested if row.get("region") in (None, region)]),
        contrast_rows=_filled("summary", [row for row in rows if _is_shown(row, region)]),
        failures=[row for row in found.scores if row["status"] != "used"],
        left_out=found.left_out,
        notes=_notes(scores, best, contrasts, names),
    )
    return evaluate_page(page, version(), chosen.output / "evaluate.html")


def glance(name: str, region: str, rows: Sequence[Mapping[str, Any]], scores: pd.DataFrame) -> Glance:
    """The line of a method in the first table.

    Parameters
    ----------
    name : str
    region : str
        Of areas.
    rows : sequence of mapping
        From `evaluate_statistics.summary`.
    scores : DataFrame
    """
    own = [row for row in rows if row["method"] == name]

    def of(
        measure: str, statistic: str, contrast: str | None = ALL, where: str | None = None
    ) -> Mapping[str, Any]:
        return next(
            (
                NOTHING | dict(row)
                for row in own
                if row["measure"] == measure
                and row["statistic"] == statistic
                and (contrast is None or row.get("contrast") == contrast)
                and row.get("region") == where
            ),
            NOTHING,
        )

    mine = scores[scores["method"] == name]
    deviation = mine["reliability_deviation"].dropna()
    return Glance(
        name=name,
        scores=[of(measure, "mean") for measure in VIOLINS],
        area_bias=of("area_mm2", "bias", where=region),
        area_error=of(ERROR, "mean", where=region),
        spread=of(SPREAD, "mean", contrast=None, where=region),
        slope=of("area_mm2", "response_slope", where=region),
        reliability=float(deviation.mean()) if len(deviation) else None,
        n_failed=int((mine["status"] != "used").sum()) if name != TRUTH else None,
    )


def _plots(
    scores: pd.DataFrame,
    best: pd.DataFrame,
    spread: pd.DataFrame,
    found: Judged,
    region: str,
    names: Sequence[str],
    contrasts: Sequence[str],
) -> list[Plot]:
    made = [
        Plot(
            plots.violins({name: _values(scores, name, score) for name in names}, label),
            f"{label} by method",
            f"{label}: every labelled image; the line is the median.",
        )
        for score, label in VIOLINS.items()
    ]
    if len(spread) and spread["sd_mm2"].notna().any():
        part = spread[spread["region"] == region]
        groups = {name: _values(part, name, "sd_mm2") for name in (TRUTH, *names)}
        made.append(
            Plot(
                plots.violins(groups, "SD over contrasts (mm²)", TRUTH),
                "SD of area over contrasts by method",
                f"SD of area over {', '.join(contrasts)} of each person, {region}. A method that always says "
                "the same has none: look at the slope beside it.",
            )
        )
    own = best[best["region"] == region]
    made += _area_plots(own, best, region, names)
    made += _pair_plots(own, region, names, contrasts)
    curves = {name: curves_of(found.bins, name)[ALL] for name in names}
    made.append(
        Plot(
            plots.reliability_curves(curves),
            "Reliability curves of the methods",
            "Calibration: what part of voxels is cord where a method says so; on the dashed line a fraction "
            "means what it says. Against binary labels the curve of a good soft mask rises steeply at 0.5.",
        )
    )
    return made


def _area_plots(own: pd.DataFrame, best: pd.DataFrame, region: str, names: Sequence[str]) -> list[Plot]:
    """Bland and Altman against the labels, and measured over true area."""
    differences, scatters = [], []
    for place, name in enumerate(names):
        part = own[own["method"] == name][["area_mm2", "true_mm2"]].astype(float)
        if part.empty:
            continue
        shade = plots.method_colour(place)
        first, second = part["area_mm2"].to_numpy(), part["true_mm2"].to_numpy()
        off = first - second
        bias, sd = float(off.mean()), float(off.std(ddof=1)) if len(off) > 1 else float("nan")
        low, high = bias - 1.96 * sd, bias + 1.96 * sd
        differences.append(
            plots.Differences(f"{name} ({len(part)})", shade, 0.5 * (first + second), off, bias, low, high)
        )
        people = person_areas(best, name, region).to_numpy(float)
        line = response(people[:, 1], people[:, 0])
        scatters.append(
            plots.Scatter(
                f"{name}: slope {line.slope.estimate:.2f}" if np.isfinite(line.slope.estimate) else name,
                shade, people[:, 1], people[:, 0], line.slope.estimate, line.intercept.estimate,
            )
        )  # fmt: skip
    if not differences:
        return []
    return [
        Plot(
            plots.bland_altman(differences, "method - labels"),
            "Differences of area from the labels, by method",
            f"{region}: area minus that of the labels over their mean, every image of all contrasts; dashed: "
            "mean ± 1.96 SD over images (by contrast and over people: evaluate_summary.tsv).",
        ),
        Plot(
            plots.scatters(scatters, "true area (mm²)", "measured area (mm²)"),
            "Measured over true area, by method",
            f"{region}: each point a person, mean over contrasts. The slope is 1 if sizes are kept, "
            "and towards 0 if they are shrunk to a usual one.",
        ),
    ]


def _pair_plots(own: pd.DataFrame, region: str, names: Sequence[str], contrasts: Sequence[str]) -> list[Plot]:
    """T1w against T2w, or the first two contrasts."""
    pair = PREFERRED_PAIR if set(PREFERRED_PAIR) <= set(contrasts) else tuple(contrasts[:2])
    if len(pair) < 2:
        return []
    panels = []
    for place, name in enumerate((TRUTH, *names)):
        table = own[own["method"] == name].pivot_table(
            index="participant_id", columns="contrast", values="area_mm2", observed=True
        )
        both = table.reindex(columns=list(pair)).dropna().to_numpy(float)
        if len(both):
            shade = "#5b636c" if name == TRUTH else plots.method_colour(place - 1)
            panels.append(plots.Scatter(f"{name} ({len(both)})", shade, both[:, 0], both[:, 1]))
    if not panels:
        return []
    return [
        Plot(
            plots.scatters(panels, f"{pair[0]} (mm²)", f"{pair[1]} (mm²)"),
            f"Area on {pair[1]} over area on {pair[0]}, by method",
            f"{region}: {pair[1]} against {pair[0]}, each point a person; dashed: equal areas.",
        )
    ]


def _is_shown(row: Mapping[str, Any], region: str) -> bool:
    about = row["measure"] == "area_over_contrasts" and row["statistic"] in SHOWN
    return about and row["region"] == region


def _filled(table: str, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows with all columns of their table."""
    return [dict.fromkeys(COLUMNS[f"evaluate_{table}"]) | dict(row) for row in rows]


def _values(frame: pd.DataFrame, method: str, name: str) -> Any:
    return frame.loc[frame["method"] == method, name].to_numpy(float)


def _region(best: pd.DataFrame, contrasts: Sequence[str]) -> str:
    """The region that speaks for the study: of those most people have over several contrasts."""
    if best.empty:
        return CORD
    own = best[(best["method"] == TRUTH) & best["contrast"].isin(contrasts)]
    own = own if len(own) else best
    counts = own[own["region"] != CORD].groupby("region")["participant_id"].nunique()
    if counts.empty:
        return CORD
    return leading_region(str(name) for name in counts[counts == counts.max()].index)


def _notes(
    scores: pd.DataFrame, best: pd.DataFrame, contrasts: Sequence[str], names: Sequence[str]
) -> list[str]:
    notes = []
    people = scores["participant_id"].nunique()
    if people < FEW:
        counted = f"Only {people} participant{'s' if people > 1 else ''}"
        notes.append(f"{counted}: nothing can be said about others; there are no tests or slopes.")
    if len(contrasts) < 2:
        there = contrasts[0] if contrasts else "none"
        notes.append(f"Only one contrast with a label ({there}): there is no spread over contrasts.")
    if len(names) == 1:
        notes.append("Only one method: there is nothing to test it against.")
    if best.empty:
        notes.append("No method measured 80 % of any region that the labels measured: no areas are compared.")
    return notes
