"""The quality-control figures of one image: axial montage, sagittal view, overview.

Images are canonical arrays (x right, y front, z up). A figure with a mask is written as layers
of one size (see :mod:`softseg_bids.pages.layers`): the image with its annotations, the 0.5
contour of the soft mask, and the soft mask itself in colours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from softseg_bids.core.cord import Centreline
from softseg_bids.pages import views
from softseg_bids.pages.canvas import (
    FAINT,
    LEGEND_HEIGHT,
    TEXT_SIZE,
    Box,
    blank,
    legend,
    letters,
    line_opacity,
    over,
    rendered,
    write,
)
from softseg_bids.pages.layers import Layers, write_layers, write_picture
from softseg_bids.pages.marks import SliceNote, label_slices, label_tile, mark_disc
from softseg_bids.pages.tiles import PIXELS_PER_MM, TILE_MM, Layout, tile_slices

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
Image = NDArray[np.floating]
Spacing = Sequence[float] | Floats

# The sagittal view shows this much in front of and behind the cord.
BESIDE_CORD_MM = 30.0
SAGITTAL_PIXELS_PER_MM = 5.0
MOST_ROWS = 900
# Beside and above the sagittal view, and the room its legend needs.
SIDE, ABOVE, LEGEND_WIDTH = 52, 12, 520
# The longest side of an overview's planes; columns and rows of axial, coronal and sagittal planes.
OVERVIEW_PIXELS, GUTTER = 400, 8
OVERVIEW_AXES = ((0, 1), (0, 2), (1, 2))
OVERVIEW_LETTERS = ("RLAP", "RLSI", "APSI")


def montage(
    path: Path,
    image: Image,
    soft: Image,
    spacing_mm: Spacing,
    line: Centreline,
    notes: Mapping[int, SliceNote],
) -> Layers:
    """Axial tiles down the cord, each a 30 mm square about the centreline, 6 pixels per mm.

    Parameters
    ----------
    path : Path
        The picture's file (``.png``), see :func:`softseg_bids.pages.layers.layers_at`.
    image, soft : ndarray, shape (x, y, z)
        Canonical image and soft mask (0 to 1) on one grid.
    spacing_mm : sequence of float
        Voxel size, mm.
    line : Centreline
        The cord's centreline in this image.
    notes : mapping of int to SliceNote
        By canonical slice index; slices without a note show that index.

    Raises
    ------
    ValueError
        If image and mask differ in shape.
    """
    _check_shapes(image, soft)
    spacing = np.asarray(spacing_mm, dtype=float)
    window = views.cord_window(image, spacing, line)
    shown = tile_slices(line.slices, float(spacing[2]), notes)
    layout = Layout(len(shown))
    grey, colours = blank(*layout.shape), np.zeros(layout.shape, np.uint8)
    segments: list[Floats] = []
    for place, index in enumerate(shown):
        centre = line.points_mm[index - int(line.slices[0])]
        frame = views.axial_frame(centre, TILE_MM, PIXELS_PER_MM, spacing)
        box = layout.box(place)
        values = frame.sample(image[:, :, index], order=3)
        grey[box] = views.to_grey(values, window.low[index], window.high[index])
        colours[box] = _as_bytes(frame.sample(soft[:, :, index], order=1))
        segments.append(_moved(frame.outline(soft[:, :, index]), box))
    figure, axes = over(grey)
    for place, index in enumerate(shown):
        label_tile(axes, layout.box(place), notes.get(index, SliceNote(index)))
    for place in range(0, layout.n_tiles, layout.columns):
        letters(axes, layout.box(place), "RLAP", across=0.93)
    legend(
        axes,
        colours,
        PIXELS_PER_MM,
        (
            f"Radiological view: patient's right (R) on the left, front (A) up. Tiles of {TILE_MM:g} mm, "
            "head first; number as in the table."
        ),
    )
    contour = line_opacity(np.concatenate(segments), layout.shape)
    return write_layers(path, rendered(figure), contour, colours)


def sagittal(
    path: Path,
    image: Image,
    soft: Image,
    spacing_mm: Spacing,
    line: Centreline,
    notes: Mapping[int, SliceNote],
    discs: Mapping[str, Floats] | None = None,
) -> Layers:
    """Sagittal view in the curved plane that follows the cord from side to side, true in mm.

    Parameters
    ----------
    path, image, soft, spacing_mm, line, notes
        As :func:`montage`; flagged slices have a mark at the right edge.
    discs : mapping of str to ndarray, shape (3,)
        Name and frame position (mm) of disc points.

    Raises
    ------
    ValueError
        If image and mask differ in shape.
    """
    _check_shapes(image, soft)
    spacing = np.asarray(spacing_mm, dtype=float)
    frame = _sagittal_frame(image.shape, spacing, line)
    shape, box = _sagittal_layout(len(frame.down_mm), len(frame.across_mm))
    grey, colours = blank(*shape), np.zeros(shape, np.uint8)
    window = views.cord_window(image, spacing, line)
    at = frame.down_mm / spacing[2], np.arange(image.shape[2])
    low, high = (np.interp(*at, bound)[:, None] for bound in window)
    grey[box] = views.to_grey(frame.sample(views.sagittal_plane(image, spacing, line), order=1), low, high)
    mask = views.sagittal_plane(soft, spacing, line)
    colours[box] = _as_bytes(frame.sample(mask, order=1))
    centre = _moved(frame.to_pixels(line.points_mm[:, 1:]), box)
    figure, axes = over(grey)
    rows = dict(zip(line.slices[::-1].tolist(), centre[::-1, 1].tolist(), strict=True))
    label_slices(axes, box, rows, notes)
    for name, point in (discs or {}).items():
        mark_disc(axes, box, _moved(frame.to_pixels(point[1:]), box), name)
    letters(axes, box, "APSI", across=0.12)
    text = "Cut where the cord lies from right to left; front (A) on the left."
    legend(axes, colours, frame.pixels_per_mm, text)
    contour = line_opacity(_moved(frame.outline(mask), box), shape, dashed=centre)
    return write_layers(path, rendered(figure), contour, colours)


def _sagittal_frame(shape: tuple[int, ...], spacing: Floats, line: Centreline) -> views.Frame:
    edges = np.array([-0.5, shape[1] - 0.5]) * spacing[1]
    back = max(edges[0], line.points_mm[:, 1].min() - BESIDE_CORD_MM)
    front = min(edges[1], line.points_mm[:, 1].max() + BESIDE_CORD_MM)
    scale = min(SAGITTAL_PIXELS_PER_MM, MOST_ROWS / (shape[2] * spacing[2]))
    return views.sagittal_frame(front, back, shape[2], scale, spacing)


def _sagittal_layout(rows: int, columns: int) -> tuple[tuple[int, int], Box]:
    """Shape of the whole figure, and where the view lies in it."""
    width = max(columns + 2 * SIDE, LEGEND_WIDTH)
    left = (width - columns) // 2
    box = slice(ABOVE, ABOVE + rows), slice(left, left + columns)
    return (rows + 2 * ABOVE + LEGEND_HEIGHT, width), box


def overview(path: Path, image: Image, spacing_mm: Spacing) -> Path:
    """The middle planes of a field of view in which no cord was found (axial, coronal, sagittal).

    Parameters
    ----------
    path : Path
        The picture's file (``.png``).
    image : ndarray, shape (x, y, z)
        Canonical image.
    spacing_mm : sequence of float
        Voxel size, mm.
    """
    spacing = np.asarray(spacing_mm, dtype=float)
    size = np.asarray(image.shape) * spacing
    scale = OVERVIEW_PIXELS / size.max()
    low = float(np.percentile(image, 1.0))
    high = float(np.percentile(image[image >= image.mean()], 98.0))
    views_grey = []
    # Columns and rows run against the axes: right to left, front to back, head to feet.
    for across, down in OVERVIEW_AXES:
        normal = 3 - across - down
        frame = views.Frame(
            _pixel_centres(size[across], scale, spacing[across]),
            _pixel_centres(size[down], scale, spacing[down]),
            spacing[[across, down]],
        )
        plane = frame.sample(image.take(image.shape[normal] // 2, axis=normal), order=1)
        views_grey.append(views.to_grey(plane, low, max(high, low + 1e-6)))
    grey, boxes = _side_by_side(views_grey)
    figure, axes = over(grey)
    for box, names in zip(boxes, OVERVIEW_LETTERS, strict=True):
        letters(axes, box, names)
    text = "Middle planes of the field of view; patient's right (R) on the left."
    write(axes, GUTTER, grey.shape[0] - 10, text, color=FAINT, size=TEXT_SIZE - 1)
    return write_picture(path, rendered(figure))


def _side_by_side(pictures: Sequence[Bytes]) -> tuple[Bytes, list[Box]]:
    """Pictures in a row on one background with room for a line of text, and the box of each."""
    height = max(picture.shape[0] for picture in pictures)
    width = GUTTER + sum(picture.shape[1] + GUTTER for picture in pictures)
    grey = blank(height + GUTTER + 28, max(width, LEGEND_WIDTH))
    boxes, left = [], GUTTER
    for picture in pictures:
        top = GUTTER + (height - picture.shape[0]) // 2
        boxes.append((slice(top, top + picture.shape[0]), slice(left, left + picture.shape[1])))
        grey[boxes[-1]] = picture
        left += picture.shape[1] + GUTTER
    return grey, boxes


def _pixel_centres(size_mm: float, pixels_per_mm: float, spacing_mm: float) -> Floats:
    """Positions (mm) of the pixels across a whole axis, against its direction."""
    count = max(2, round(size_mm * pixels_per_mm))
    return size_mm * (1 - (np.arange(count) + 0.5) / count) - 0.5 * spacing_mm


def _as_bytes(values: Floats) -> Bytes:
    return np.round(255 * np.clip(np.nan_to_num(values), 0.0, 1.0)).astype(np.uint8)


def _moved(pixels: Floats, box: Box) -> Floats:
    """Points of a view (column, row) moved to its box in the figure, shape (..., 2)."""
    return np.asarray(pixels + np.array([box[1].start, box[0].start]), dtype=float)


def _check_shapes(image: Image, soft: Image) -> None:
    if image.shape != soft.shape:
        raise ValueError(f"image {image.shape} and mask {soft.shape} are not on one grid")
