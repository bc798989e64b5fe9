"""Two masks of one image side by side, for judging them blind: one picture, and a contour of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.cord import Centreline
from softseg_bids.pages import views
from softseg_bids.pages.canvas import blank, letters, line_opacity, over, rendered, write
from softseg_bids.pages.layers import CONTOUR_COLOUR, indexed_png, one_colour, picture_png

Image = NDArray[np.floating]
Floats = NDArray[np.float64]

TILE_MM, PIXELS_PER_MM = 24.0, 7.0
COLUMNS, GAP, LABEL = 4, 4, 20


class PairFigure(NamedTuple):
    """PNG files as bytes, all of one size: the image, and the 0.5 contours of the two masks."""

    picture: bytes
    first: bytes
    second: bytes


def pair_figure(
    image: Image,
    first: Image,
    second: Image,
    spacing_mm: Sequence[float] | Floats,
    line: Centreline,
    slices: Sequence[int],
) -> PairFigure:
    """Axial tiles about the centreline, head first; nothing in them tells whose a mask is.

    Parameters
    ----------
    image, first, second : ndarray, shape (x, y, z)
        Canonical image and masks on one grid.
    spacing_mm : sequence of float
    line : Centreline
    slices : sequence of int
        Canonical slices of the line to show, at least one.

    Raises
    ------
    ValueError
        If the arrays differ in shape, or there is no slice.
    """
    if not image.shape == first.shape == second.shape:
        raise ValueError(f"image and masks differ in shape: {image.shape}, {first.shape}, {second.shape}")
    if not slices:
        raise ValueError("a pair needs at least one slice")
    spacing = np.asarray(spacing_mm, dtype=float)
    window = views.cord_window(image, spacing, line)
    size = round(TILE_MM * PIXELS_PER_MM)
    rows = -(-len(slices) // COLUMNS)
    shape = rows * (size + LABEL + GAP) + GAP, COLUMNS * (size + GAP) + GAP
    grey = blank(*shape)
    contours: tuple[list[Floats], list[Floats]] = [], []
    boxes = []
    for place, index in enumerate(sorted(slices, reverse=True)):
        row, column = divmod(place, COLUMNS)
        top, left = GAP + LABEL + row * (size + LABEL + GAP), GAP + column * (size + GAP)
        boxes.append((slice(top, top + size), slice(left, left + size)))
        centre = line.points_mm[index - int(line.slices[0])]
        frame = views.axial_frame(centre, TILE_MM, PIXELS_PER_MM, spacing)
        values = frame.sample(image[:, :, index], order=3)
        grey[boxes[-1]] = views.to_grey(values, window.low[index], window.high[index])
        for segments, mask in zip(contours, (first, second), strict=True):
            segments.append(frame.outline(mask[:, :, index]) + np.array([left, top]))
    figure, axes = over(grey)
    for number, box in enumerate(boxes, start=1):
        write(axes, box[1].start + 2, box[0].start - 5, str(number), size=12)
    letters(axes, boxes[0], "RLAP", across=0.93)
    palette = one_colour(CONTOUR_COLOUR)
    opacities = [line_opacity(np.concatenate(segments), shape) for segments in contours]
    return PairFigure(picture_png(rendered(figure)), *(indexed_png(each, palette) for each in opacities))
