"""The plots of an evaluation's page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from softseg_bids.pages import plots
from softseg_bids.pages.study import Plot
from softseg_bids.stats.response import response
from softseg_bids.study.evaluate_statistics import ALL, curves_of, person_areas
from softseg_bids.study.judge import TRUTH, Judged

# Per image; what its axis says.
VIOLINS = {
    "dice": "Dice",
    "soft_dice": "soft Dice",
    "relative_volume_error": "relative volume error",
    "surface_mm": "surface distance (mm)",
    "hausdorff_95_mm": "95 % Hausdorff (mm)",
}
PREFERRED_PAIR = ("T1w", "T2w")


def evaluation_plots(
    scores: pd.DataFrame,
    best: pd.DataFrame,
    spread: pd.DataFrame,
    found: Judged,
    region: str,
    names: Sequence[str],
    contrasts: Sequence[str],
) -> list[Plot]:
    """All plots: violins of scores and spread, differences, response, contrast against contrast, reliability.

    Parameters
    ----------
    scores, best, spread : DataFrame
        As the tables ``evaluate_scores``, best areas, and ``evaluate_variability``.
    found : Judged
        For the reliability curves.
    region : str
        Of areas.
    names, contrasts : sequence of str
    """
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


def _values(frame: pd.DataFrame, method: str, name: str) -> Any:
    return frame.loc[frame["method"] == method, name].to_numpy(float)
