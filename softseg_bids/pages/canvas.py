"""Drawing in pixels: text, letters, legend and thin curves over a grey picture.

At 72 dots per inch a point is a pixel, so every size below is in pixels of the figure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
# Rows and columns of a rectangle of pixels.
Box = tuple[slice, slice]

INK = "#e8eaed"
FAINT = "#a6adb5"
BACKGROUND = 11
# Amber stays apart from grey, from the contour's cyan and from the mask's colours at rest.
MARK = "#ffb000"
TEXT_SIZE = 13
CONTOUR_WIDTH = 1.3
LEGEND_HEIGHT = 44
HALO = (patheffects.withStroke(linewidth=2.5, foreground="black"),)


def blank(height: int, width: int) -> Bytes:
    """A picture of the background's shade, shape (height, width)."""
    return np.full((height, width), BACKGROUND, dtype=np.uint8)


def over(grey: Bytes) -> tuple[Figure, Axes]:
    """A figure whose background is a grey picture, and axes in its pixels (origin top left)."""
    figure, axes = _transparent(*grey.shape)
    figure.figimage(np.repeat(grey[:, :, None], 3, axis=2), origin="upper", zorder=-1)
    return figure, axes


def rendered(figure: Figure) -> Bytes:
    """The drawn figure, shape (height, width, 3)."""
    return _rgba(figure)[:, :, :3].copy()


def line_opacity(segments: Floats, shape: tuple[int, int], dashed: Floats | None = None) -> Bytes:
    """Opacity (0 to 255) of thin antialiased lines.

    Parameters
    ----------
    segments : ndarray, shape (n, 2, 2)
        Drawn solid: (start, end) x (column, row) in pixels.
    shape : tuple of int
        Height and width of the picture.
    dashed : ndarray, shape (m, 2), optional
        A curve through these pixels, drawn dashed and fainter.
    """
    figure, axes = _transparent(*shape)
    solid = LineCollection(list(segments), linewidths=CONTOUR_WIDTH, colors="white", capstyle="round")
    axes.add_collection(solid)
    if dashed is not None:
        axes.plot(*dashed.T, color="white", linewidth=0.9, linestyle="--", alpha=0.6)
    return _rgba(figure)[:, :, 3].copy()


def write(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    """Text at a pixel, as given: a dollar sign in a name starts no formula."""
    axes.text(x, y, text, parse_math=False, **{"color": INK, "size": TEXT_SIZE, **style})


def letters(axes: Axes, box: Box, names: str, across: float = 0.5) -> None:
    """Four orientation letters at the left, right, upper and lower edge of a box.

    The upper and lower ones lie at this part of its width, where they do not hide the cord.
    """
    rows, columns = box
    middle_x = columns.start + across * (columns.stop - columns.start)
    middle_y = 0.5 * (rows.start + rows.stop)
    places = (
        (columns.start + 9, middle_y),
        (columns.stop - 9, middle_y),
        (middle_x, rows.start + 10),
        (middle_x, rows.stop - 10),
    )
    for (x, y), name in zip(places, names, strict=True):
        write(axes, x, y, name, ha="center", va="center", path_effects=HALO)


def legend(axes: Axes, soft: Bytes, pixels_per_mm: float, text: str) -> None:
    """A sentence, a bar of 10 mm and the scale of soft values, in the lowest LEGEND_HEIGHT pixels.

    The scale's values are written into ``soft``, the layer that gives them their colours.
    """
    height, width = soft.shape
    top = height - LEGEND_HEIGHT
    write(axes, 8, top + 14, text, color=FAINT, size=TEXT_SIZE - 1)
    centre = top + 32
    bar = 10 * pixels_per_mm
    axes.plot([8, 8 + bar], [centre, centre], color=INK, linewidth=2, solid_capstyle="butt")
    write(axes, 14 + bar, centre, "10 mm", va="center", size=TEXT_SIZE - 1)
    left, length = width - 150, 120
    write(axes, left - 6, centre, "cord fraction 0", ha="right", va="center", size=TEXT_SIZE - 1)
    write(axes, left + length + 6, centre, "1", va="center", size=TEXT_SIZE - 1)
    axes.add_patch(Rectangle((left, centre - 6), length, 12, fill=False, edgecolor=FAINT, linewidth=0.8))
    soft[centre - 6 : centre + 6, left : left + length] = np.linspace(0, 255, length).astype(np.uint8)


def _transparent(height: int, width: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    figure.patch.set_alpha(0.0)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    return figure, axes


def _rgba(figure: Figure) -> Bytes:
    agg = FigureCanvasAgg(figure)
    agg.draw()
    return np.asarray(agg.buffer_rgba())
