"""CSA along the cord: the curves of all images of a session over one axis."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from softseg_bids.core.levels import Region
from softseg_bids.image.volume import written_aside

Floats = NDArray[np.float64]

# One colour a contrast, the same on every page. The first seven are Okabe and Ito's set for
# colour-blind readers (jfly.uni-koeln.de/color), the rest Tol's "muted" scheme.
COLOURS = {
    "T1w": "#0072B2",
    "T2w": "#D55E00",
    "T2starw": "#009E73",
    "MTon": "#CC79A7",
    "GRET1w": "#E69F00",
    "DWI": "#56B4E9",
    "MToff": "#7A6A00",
    "PDw": "#332288",
    "FLAIR": "#882255",
    "UNIT1": "#44AA99",
    "PSIR": "#999933",
    "STIR": "#AA4499",
    "MESE": "#CC6677",
    "MEGRE": "#117733",
    "MP2RAGE": "#5A5A5A",
}
# Repeats of a contrast share its colour and differ by marker.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LIGHT = 0.28
MARKER_DISTANCE_MM = 10.0
WIDTH_IN, PLOT_HEIGHT_IN, ROW_HEIGHT_IN = 11.0, 4.0, 0.24
BAND_COLOURS = ("#dfe3e8", "#eef0f3")
INK, MUTED = "#22262b", "#5b636c"


class Curve(NamedTuple):
    """The per-slice areas of one image.

    Attributes
    ----------
    contrast : str
        Contrast key; decides the colour.
    label : str
        Name in the legend.
    position_mm : ndarray, shape (n,)
        Position along the cord, growing downwards.
    area_mm2, area_binary_mm2 : ndarray, shape (n,)
        CSA from the soft and the binary mask; NaN where there is no cord.
    light : ndarray of bool, shape (n,)
        Slices that no mean uses (partial, void).
    """

    contrast: str
    label: str
    position_mm: Floats
    area_mm2: Floats
    area_binary_mm2: Floats
    light: NDArray[np.bool_]


def colour(contrast: str) -> str:
    """The contrast's colour; a key that is not in the table always gets the same one of its colours."""
    known = list(COLOURS.values())
    return COLOURS.get(contrast, known[zlib.crc32(contrast.encode()) % len(known)])


def draw(path: Path, curves: Sequence[Curve], regions: Sequence[Region]) -> Path:
    """Draw CSA over the position along the cord, soft area solid and binary area dotted.

    Slices that no mean uses are drawn light. Above the plot lie the vertebral levels and the
    extents of the other regions.

    Parameters
    ----------
    path : Path
        Destination (``.svg``).
    curves : sequence of Curve
        One an image, in the order of the legend.
    regions : sequence of Region
        Their extents in the same positions; ``cord``, which is each image's own, is not drawn.

    Raises
    ------
    ValueError
        If there is no curve.
    """
    if not curves:
        raise ValueError(f"{path}: no image has a curve to draw")
    rows = _rows(regions)
    legend_rows = -(-len(curves) // 5) + 1
    heights = np.array([len(rows) * ROW_HEIGHT_IN, PLOT_HEIGHT_IN, 0.55 + 0.24 * legend_rows])
    figure = Figure(figsize=(WIDTH_IN, float(heights.sum()) + 0.12), facecolor="white")
    top, plot, low = heights / figure.get_figheight()
    axes = figure.add_axes((0.065, low, 0.92, plot))
    for axes_curve, marker in zip(curves, markers(curves), strict=True):
        _draw_curve(axes, axes_curve, marker)
    axes.set_xlim(*_extent(curves))
    axes.set_ylim(*area_range(curves))
    _dress(axes)
    if rows:
        _draw_regions(figure.add_axes((0.065, low + plot, 0.92, top)), axes, rows)
    _draw_legend(figure, curves)
    # The salt and the missing date make equal figures equal files.
    with written_aside(path) as aside, matplotlib.rc_context({"svg.hashsalt": "softseg"}):
        figure.savefig(aside, format="svg", metadata={"Date": None})
    return path


def markers(curves: Sequence[Curve]) -> list[str]:
    seen: dict[str, int] = {}
    markers = []
    for curve in curves:
        repeat = seen.get(curve.contrast, 0)
        seen[curve.contrast] = repeat + 1
        markers.append(MARKERS[repeat % len(MARKERS)])
    return markers


def _draw_curve(axes: Axes, curve: Curve, marker: str) -> None:
    order = np.argsort(curve.position_mm)
    position, area, binary = (values[order] for values in curve[2:5])
    light = curve.light[order]
    counted = np.where(light, np.nan, area)
    shade = colour(curve.contrast)
    step = float(np.median(np.diff(position))) if len(position) > 1 else MARKER_DISTANCE_MM
    every = max(1, round(MARKER_DISTANCE_MM / max(step, 0.1)))
    axes.plot(position, np.where(light, np.nan, binary), color=shade, linewidth=0.9, linestyle=":", alpha=0.8)
    axes.plot(position, area, color=shade, linewidth=1.4, alpha=LIGHT, marker=".", markersize=3)
    axes.plot(position, counted, color=shade, linewidth=2.0, marker=marker, markersize=4.5, markevery=every)


def _extent(curves: Sequence[Curve]) -> tuple[float, float]:
    positions = np.concatenate([curve.position_mm for curve in curves])
    return float(positions.min()) - 2.0, float(positions.max()) + 2.0


def area_range(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits that hold every area a mean uses (all of them, if none does), with a little room."""
    every = np.concatenate([np.append(curve.area_mm2, curve.area_binary_mm2) for curve in curves])
    light = np.concatenate([np.append(curve.light, curve.light) for curve in curves])
    used = every[~light & np.isfinite(every)]
    shown = used if used.size else every[np.isfinite(every)]
    if not shown.size:
        return 0.0, 100.0
    room = max(4.0, 0.08 * float(np.ptp(shown)))
    return max(0.0, float(shown.min()) - room), float(shown.max()) + room


def _dress(axes: Axes) -> None:
    axes.set_xlabel("position along the cord (mm, downwards)", color=INK)
    axes.set_ylabel("cross-sectional area (mm²)", color=INK)
    axes.grid(True, color="#d9dde2", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _rows(regions: Sequence[Region]) -> list[list[Region]]:
    """Regions in rows from the top: single vertebral levels together, every other region alone."""
    levels = [region for region in regions if _level(region)]
    others = [[region] for region in regions if not _level(region) and region.name != "cord"]
    return ([levels] if levels else []) + others


def _level(region: Region) -> str:
    """The vertebra of a single-level region (``C3`` of ``vert-C3``), empty for other regions."""
    name = region.name.removeprefix("vert-")
    return name if name != region.name and ":" not in name else ""


def _draw_regions(strip: Axes, plot: Axes, rows: Sequence[Sequence[Region]]) -> None:
    strip.set_axis_off()
    strip.set_xlim(plot.get_xlim())
    strip.set_ylim(len(rows), 0)
    low, high = plot.get_xlim()
    for row, regions in enumerate(rows):
        for place, region in enumerate(sorted(regions, key=lambda region: region.start_mm)):
            start, end = max(region.start_mm, low), min(region.end_mm, high)
            if start >= end:
                continue
            band = Rectangle((start, row + 0.1), end - start, 0.8, facecolor=BAND_COLOURS[place % 2])
            strip.add_patch(band)
            name = _level(region)
            strip.text(
                0.5 * (start + end),
                row + 0.52,
                name or region.name,
                ha="center",
                va="center",
                color=INK,
                size=9,
                weight="bold" if name else "normal",
                clip_on=True,
                parse_math=False,
            )
            if name:
                plot.axvline(start, color="#b9c0c8", linewidth=0.8, zorder=0.5)
                plot.axvline(end, color="#b9c0c8", linewidth=0.8, zorder=0.5)
            if region.name == "common":
                plot.axvspan(start, end, color="#f3f5f8", zorder=0)


def _draw_legend(figure: Figure, curves: Sequence[Curve]) -> None:
    handles = [
        Line2D([], [], color=colour(curve.contrast), linewidth=2, marker=marker, label=curve.label)
        for curve, marker in zip(curves, markers(curves), strict=True)
    ]
    handles += [
        Line2D([], [], color=MUTED, linewidth=2, label="soft mask"),
        Line2D([], [], color=MUTED, linewidth=0.9, linestyle=":", label="binary mask"),
        Line2D([], [], color=MUTED, alpha=LIGHT, marker=".", label="slices in no mean"),
    ]
    legend = figure.legend(handles=handles, loc="lower center", ncols=5, frameon=False, fontsize=9)
    for text in legend.get_texts():
        text.set_parse_math(False)
