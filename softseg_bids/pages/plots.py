"""Plots of methods against each other, as SVG files in memory: equal numbers give equal bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from softseg_bids.pages.curves import COLOURS, INK, MUTED

Floats = NDArray[np.float64]

PANEL_IN, MOST_COLUMNS = 3.3, 3
GRID = "#d9dde2"
# Methods take the colours of contrasts, in their order: both are never in one plot.
METHOD_COLOURS = tuple(COLOURS.values())
FEWEST_FOR_DENSITY = 4


class Differences(NamedTuple):
    """One panel of Bland and Altman.

    Attributes
    ----------
    title, colour : str
    mean, difference : ndarray, shape (n,)
        mm².
    bias, low, high : float
        Bias and limits of agreement; NaN where there are too few people.
    """

    title: str
    colour: str
    mean: Floats
    difference: Floats
    bias: float
    low: float
    high: float


class Scatter(NamedTuple):
    """One panel of points about the line of equality.

    Attributes
    ----------
    title, colour : str
    x, y : ndarray, shape (n,)
    slope, intercept : float
        Of the fitted line, NaN where there is none.
    """

    title: str
    colour: str
    x: Floats
    y: Floats
    slope: float = float("nan")
    intercept: float = float("nan")


def method_colour(place: int) -> str:
    """The colour of the method at a place of their order."""
    return METHOD_COLOURS[place % len(METHOD_COLOURS)]


def bland_altman(panels: Sequence[Differences], label: str) -> bytes:
    """Differences over means, with bias and limits of agreement; all panels on one scale.

    Parameters
    ----------
    panels : sequence of Differences
    label : str
        What the difference is (``softseg - other``).
    """
    figure, axes = _grid(len(panels))
    every = np.concatenate([np.append(panel.difference, [panel.low, panel.high]) for panel in panels])
    reach = 1.12 * float(np.nanmax(np.abs(np.append(every, 0.5))))
    for panel, place in zip(panels, axes, strict=False):
        place.scatter(panel.mean, panel.difference, s=22, color=panel.colour, alpha=0.75, linewidths=0)
        place.axhline(0, color=MUTED, linewidth=0.8)
        for value, style in ((panel.bias, "-"), (panel.low, "--"), (panel.high, "--")):
            if np.isfinite(value):
                place.axhline(value, color=INK, linewidth=1.2, linestyle=style)
                place.annotate(
                    f"{value:+.1f}", (1.0, value), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                    textcoords="offset points", ha="right", size=8, color=INK,
                )  # fmt: skip
        place.set_ylim(-reach, reach)
        _dress(place, panel.title, "mean area (mm²)", f"{label} (mm²)")
    return _svg(figure)


def scatters(panels: Sequence[Scatter], x_label: str, y_label: str) -> bytes:
    """Points about the line of equality, one scale for all panels and axes."""
    figure, axes = _grid(len(panels))
    every = np.concatenate([np.append(panel.x, panel.y) for panel in panels])
    every = every[np.isfinite(every)]
    low, high = (float(every.min()), float(every.max())) if every.size else (0.0, 100.0)
    room = max(1.0, 0.06 * (high - low))
    limits = low - room, high + room
    for panel, place in zip(panels, axes, strict=False):
        place.plot(limits, limits, color=MUTED, linewidth=0.9, linestyle="--")
        place.scatter(panel.x, panel.y, s=22, color=panel.colour, alpha=0.75, linewidths=0)
        if np.isfinite(panel.slope):
            ends = np.array([np.nanmin(panel.x), np.nanmax(panel.x)])
            place.plot(ends, panel.intercept + panel.slope * ends, color=INK, linewidth=1.3)
        place.set_xlim(*limits)
        place.set_ylim(*limits)
        _dress(place, panel.title, x_label, y_label)
    return _svg(figure)


def violins(groups: Mapping[str, Floats], label: str, reference: str = "") -> bytes:
    """A violin a group with its points and median; groups of under four values are points only.

    Parameters
    ----------
    groups : mapping of str to ndarray, shape (n,)
        NaN is left out.
    label : str
    reference : str, optional
        A group that is no method: grey, so that methods keep their colours.
    """
    methods = [name for name in groups if name != reference]
    figure = Figure(
        figsize=(max(3.4, 1.15 * len(groups) + 1.2), 3.4), facecolor="white", layout="constrained"
    )
    axes = figure.add_subplot()
    rng = np.random.default_rng(0)  # of the points' places only
    for place, (name, values) in enumerate(groups.items()):
        known = np.asarray(values, dtype=float)
        known = known[np.isfinite(known)]
        shade = MUTED if name == reference else method_colour(methods.index(name))
        if len(known) >= FEWEST_FOR_DENSITY and np.ptp(known) > 0:
            body = axes.violinplot(known, [place], widths=0.8, showextrema=False)["bodies"][0]  # type: ignore[index]
            body.set(facecolor=shade, alpha=0.3, edgecolor="none")
        jitter = rng.uniform(-0.09, 0.09, len(known))
        axes.scatter(place + jitter, known, s=13, color=shade, alpha=0.8, linewidths=0, zorder=3)
        if len(known):
            middle = float(np.median(known))
            axes.plot([place - 0.22, place + 0.22], [middle] * 2, color=INK, linewidth=1.8, zorder=4)
    axes.set_xticks(range(len(groups)), [_plain(name) for name in groups], rotation=20, ha="right")
    axes.set_xlim(-0.6, len(groups) - 0.4)
    _dress(axes, "", "", label)
    return _svg(figure)


def reliability_curves(curves: Mapping[str, Floats]) -> bytes:
    """Mean true over mean predicted fraction; a bin's mark grows with its voxels.

    Parameters
    ----------
    curves : mapping of str to ndarray, shape (10, 3)
        From `core.calibration.reliability`.
    """
    figure = Figure(figsize=(4.6, 3.9), facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle="--")
    for place, (name, curve) in enumerate(curves.items()):
        filled = curve[curve[:, 0] > 0]
        size = 12 + 60 * np.sqrt(filled[:, 0] / max(float(filled[:, 0].max(initial=1)), 1))
        shade = method_colour(place)
        axes.plot(filled[:, 1], filled[:, 2], color=shade, linewidth=1.4, label=_plain(name))
        axes.scatter(filled[:, 1], filled[:, 2], s=size, color=shade, alpha=0.7, linewidths=0)
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.legend(frameon=False, fontsize=9)
    _dress(axes, "", "predicted fraction", "true fraction")
    return _svg(figure)


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    columns = max(1, min(MOST_COLUMNS, count))
    rows = -(-max(count, 1) // columns)
    figure = Figure(
        figsize=(columns * PANEL_IN, rows * PANEL_IN * 0.92), facecolor="white", layout="constrained"
    )
    axes = list(np.atleast_1d(figure.subplots(rows, columns)).ravel())
    for place in axes[count:]:
        place.set_axis_off()
    return figure, axes[:count]


def _dress(axes: Axes, title: str, x_label: str, y_label: str) -> None:
    axes.set_title(_plain(title), color=INK, size=10)
    axes.set_xlabel(_plain(x_label), color=INK, size=9)
    axes.set_ylabel(_plain(y_label), color=INK, size=9)
    axes.grid(True, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, labelsize=8.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _plain(text: str) -> str:
    """Text as given: a dollar sign in a name starts no formula."""
    return text.replace("$", r"\$")


def _svg(figure: Figure) -> bytes:
    content = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "softseg"}):
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()
