"""The figures of docs/paper.md, as SVG: the plots of softseg-evaluate, and errors by contrast and method."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper.cohort import CONTRASTS
from paper.results import REGION, Results, errors, spreads
from softseg_bids.image.volume import written_aside
from softseg_bids.pages import plots
from softseg_bids.pages.curves import COLOURS, INK, MUTED

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
REFERENCES = ("raters", "soft_truth")
COLUMNS, PANEL_IN = 4, (2.9, 2.5)


def draw_all(results: Results, folder: Path = FOLDER) -> dict[str, Path]:
    """Write every figure; its name to where it lies."""
    networks = [name for name in results.methods if name not in REFERENCES]
    made = {
        "errors": error_panels({name: _by_contrast(results, name) for name in results.methods}),
        "spread": plots.violins(
            {name: spreads(results, name) for name in results.methods}, "SD over five contrasts (mm²)"
        ),
        "agreement": plots.bland_altman(
            [_differences(results, name, place) for place, name in enumerate(networks)], "measured - true"
        ),
        "t1w-t2w": plots.scatters(
            [_pair(results, name, place) for place, name in enumerate(networks)], "T1w (mm²)", "T2w (mm²)"
        ),
        "reliability": plots.reliability_curves({name: _reliability(results, name) for name in networks}),
    }
    paths = {}
    for name, content in made.items():
        paths[name] = folder / file_of(name)
        with written_aside(paths[name]) as aside:
            aside.write_bytes(content)
    return paths


def file_of(name: str) -> str:
    """What the file of a figure is called."""
    return f"paper-{name}.svg"


def error_panels(groups: Mapping[str, Mapping[str, np.ndarray]]) -> bytes:
    """A panel a method, a violin a contrast: measured minus true area of each person, all on one scale.

    Parameters
    ----------
    groups : mapping of method to mapping of contrast to ndarray
        mm².
    """
    rows = -(-len(groups) // COLUMNS)
    figure = Figure(
        figsize=(COLUMNS * PANEL_IN[0], rows * PANEL_IN[1]), facecolor="white", layout="constrained"
    )
    panels = figure.subplots(rows, COLUMNS, sharey=True, squeeze=False).ravel()
    for panel in panels[len(groups) :]:
        panel.set_axis_off()
    for panel, (method, contrasts) in zip(panels, groups.items(), strict=False):
        panel.axhline(0, color=MUTED, linewidth=0.8)
        for place, (contrast, values) in enumerate(contrasts.items()):
            shade = COLOURS[contrast]
            if len(values) >= plots.FEWEST_FOR_DENSITY and np.ptp(values) > 0:
                body = panel.violinplot(values, [place], widths=0.85, showextrema=False)["bodies"][0]
                body.set(facecolor=shade, alpha=0.35, edgecolor="none")
            panel.scatter(np.full(len(values), place), values, s=7, color=shade, linewidths=0, zorder=3)
            if len(values):
                panel.plot(
                    [place - 0.3, place + 0.3], [np.median(values)] * 2, color=INK, linewidth=1.6, zorder=4
                )
        panel.set_xticks(range(len(contrasts)), list(contrasts), rotation=35, ha="right", fontsize=7.5)
        panel.set_title(method, size=9.5, color=INK)
        panel.grid(True, axis="y", color=plots.GRID, linewidth=0.6)
        panel.tick_params(colors=INK, labelsize=7.5)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    for panel in panels[::COLUMNS]:
        panel.set_ylabel("measured - true (mm²)", size=8.5, color=INK)
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "softseg"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _by_contrast(results: Results, method: str) -> dict[str, np.ndarray]:
    return {contrast: errors(results, method, contrast) for contrast in CONTRASTS}


def _own(results: Results, method: str) -> pd.DataFrame:
    own = results.areas
    return own[(own["method"] == method) & (own["region"] == REGION) & own["in_statistics"].astype(bool)]


def _differences(results: Results, method: str, place: int) -> plots.Differences:
    part = _own(results, method)[["area_mm2", "true_mm2"]].to_numpy(float)
    off = part[:, 0] - part[:, 1]
    bias, sd = float(off.mean()), float(off.std(ddof=1))
    shade = plots.method_colour(place)
    return plots.Differences(method, shade, part.mean(axis=1), off, bias, bias - 1.96 * sd, bias + 1.96 * sd)


def _pair(results: Results, method: str, place: int) -> plots.Scatter:
    table = _own(results, method).pivot_table(index="participant_id", columns="contrast", values="area_mm2")
    both = table[["T1w", "T2w"]].dropna().to_numpy(float)
    return plots.Scatter(method, plots.method_colour(place), both[:, 0], both[:, 1])


def _reliability(results: Results, method: str) -> np.ndarray:
    own = results.reliability
    own = own[(own["method"] == method) & (own["contrast"] == "all")].sort_values("bin")
    return own[["n_voxels", "predicted", "true"]].fillna(0).to_numpy(float)
