"""Two masks of one image side by side, for judging them blind: one picture, and a contour of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.cord import Centreline
from softseg_bids.core.scores import HALF
from softseg_bids.pages import views
from softseg_bids.pages.canvas import blank, letters, line_opacity, over, rendered, write
from softseg_bids.pages.layers import CONTOUR_COLOUR, indexed_png, one_colour, picture_png

Image = NDArray[np.floating]
Floats = NDArray[np.float64]

# A tile is this wide, or wider where the masks lie so far apart that one of them would be out of view.
TILE_MM, TILE_PIXELS = 24.0, 168
# From a cord's centre to the edge of a tile: the cord's half, and a margin.
ABOUT_CORD_MM = 10.0
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
    slices: Sequence[int],
) -> PairFigure:
    """Axial tiles about the middle of both masks, head first; nothing in them tells whose a mask is.

    Tiles about the centre of either would show its outline in the middle wherever the masks lie apart.

    Parameters
    ----------
    image, first, second : ndarray, shape (x, y, z)
        Canonical image and masks on one grid.
    spacing_mm : sequence of float
    slices : sequence of int
        Canonical slices to show, at least one, between the first and the last that a mask reaches.

    Raises
    ------
    ValueError
        If the arrays differ in shape, both masks are empty, or there is no such slice.
    """
    if not image.shape == first.shape == second.shape:
        raise ValueError(f"image and masks differ in shape: {image.shape}, {first.shape}, {second.shape}")
    spacing = np.asarray(spacing_mm, dtype=float)
    line, apart_mm = between(first, second, spacing)
    if not slices or not set(slices) <= set(line.slices.tolist()):
        raise ValueError(f"a pair needs at least one slice with a mask, not {list(slices)}")
    window = views.cord_window(image, spacing, line)
    shown = [index - int(line.slices[0]) for index in slices]
    tile_mm = max(TILE_MM, float(apart_mm[shown].max()) + 2 * ABOUT_CORD_MM)
    size = TILE_PIXELS
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
        frame = views.axial_frame(centre, tile_mm, size / tile_mm, spacing)
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


def between(first: Image, second: Image, spacing_mm: Floats) -> tuple[Centreline, Floats]:
    """The line midway between two masks, the same whichever comes first.

    Parameters
    ----------
    first, second : ndarray, shape (x, y, z)
    spacing_mm : ndarray, shape (3,)

    Returns
    -------
    line : Centreline
        Upright. In each slice the mean of the two centres; that of one mask where the other has nothing from
        0.5 on; interpolated where neither has.
    apart_mm : ndarray, shape (n,)
        Distance between the two centres in each slice, 0 where there are not two.

    Raises
    ------
    ValueError
        If neither mask has anything from 0.5 on.
    """
    centres = np.stack([_centres(mask, spacing_mm) for mask in (first, second)])
    there = np.flatnonzero(np.isfinite(centres).any(axis=(0, 2)))
    if not len(there):
        raise ValueError("a pair needs a mask that reaches 0.5 somewhere")
    slices = np.arange(there[0], there[-1] + 1)
    middle = np.nanmean(centres[:, there], axis=0)
    across = [np.interp(slices, there, middle[:, axis]) for axis in (0, 1)]
    points = np.stack([*across, slices * spacing_mm[2]], axis=1)
    apart = np.nan_to_num(np.linalg.norm(centres[0] - centres[1], axis=1))[slices]
    return Centreline(slices, points, np.tile([0.0, 0.0, 1.0], (len(slices), 1))), apart


def _centres(mask: Image, spacing_mm: Floats) -> Floats:
    """Centre (x, y) in mm of what is at least half cord in each slice, shape (z, 2); NaN where nothing is."""
    strong = mask >= HALF
    count = strong.sum(axis=(0, 1)).astype(float)
    count[count == 0] = np.nan
    x = np.arange(mask.shape[0]) @ strong.sum(axis=1) / count
    y = np.arange(mask.shape[1]) @ strong.sum(axis=0) / count
    return np.stack([x, y], axis=1) * spacing_mm[:2]
