"""The page of a soft ground truth: what was averaged, what was not and why, and each image with it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from softseg_bids.image.volume import written_aside
from softseg_bids.pages.curves import INK, MUTED, colour
from softseg_bids.pages.html import pages_environment, svg_uri
from softseg_bids.pages.layers import Layers
from softseg_bids.pages.report import data_uri

Floats = NDArray[np.float64]


class Offsets(NamedTuple):
    """How far the slices of one mask lie from the session's centreline.

    Attributes
    ----------
    contrast : str
    height_mm, distance_mm : ndarray, shape (n,)
        Scanner z of each slice; NaN where the distance is not known.
    labelled : ndarray of bool, shape (n,)
        Slices that have a truth.
    """

    contrast: str
    height_mm: Floats
    distance_mm: Floats
    labelled: NDArray[np.bool_]


@dataclass(frozen=True)
class ContrastBlock:
    """One contrast of a session: ``status`` and ``reason`` as in the table, facts, and its figure."""

    contrast: str
    source: str
    status: str
    reason: str
    facts: Mapping[str, str]
    figure: Layers | None
    labelled: int


@dataclass(frozen=True)
class SessionPart:
    """One session: why it has no truth (or empty), its contrasts, the curves, images left out, and how."""

    label: str
    error: str
    blocks: Sequence[ContrastBlock]
    offsets: Sequence[Offsets] | None
    notes: Sequence[str]
    tolerance_mm: float
    in_plane: str


@dataclass(frozen=True)
class TruthPage:
    """The whole page."""

    dataset: str
    version: str
    sessions: Sequence[SessionPart]


def truth_page(page: TruthPage, path: Path) -> Path:
    """Write the page; one self-contained file.

    Returns
    -------
    Path
        ``path``.
    """
    environment = pages_environment()
    environment.filters["data_uri"] = data_uri
    plots = [_plot(part.offsets, part.tolerance_mm) if part.offsets else "" for part in page.sessions]
    html = environment.get_template("truth.html").render(page=page, plots=plots)
    with written_aside(path) as aside:
        aside.write_text(html, encoding="utf-8", errors="backslashreplace")
    return path


def _plot(curves: Sequence[Offsets], tolerance_mm: float) -> str:
    """Distance over height, one colour a contrast; slices without a truth hollow. A data URI."""
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    axes = figure.add_subplot()
    for curve in curves:
        known = np.isfinite(curve.distance_mm)
        shade = colour(curve.contrast)
        for chosen, face in ((known & curve.labelled, shade), (known & ~curve.labelled, "none")):
            axes.plot(
                curve.height_mm[chosen], curve.distance_mm[chosen], "o", color=shade,
                markerfacecolor=face, markersize=4.5,
            )  # fmt: skip
        axes.plot([], [], "o", color=shade, label=curve.contrast)
    axes.axhline(tolerance_mm, color=MUTED, linestyle="--", linewidth=1)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("scanner z of the slice, mm (head to the right)", color=INK)
    axes.set_ylabel("mm from the session's centreline", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(curves), loc="upper center", bbox_to_anchor=(0.5, 1.16))
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "softseg"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return svg_uri(buffer.getvalue())
