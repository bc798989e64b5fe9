"""Three pictures of one size that lie on each other: image, contour, soft mask.

The page stacks them and shows or hides the upper two, so a reader can always look at the
image alone. All are indexed PNGs: greys and the colour of marks, one colour of varying opacity,
and one index a soft value, which keeps a page of eleven images at a few megabytes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from softseg_bids.image.volume import written_aside
from softseg_bids.pages.canvas import MARK

Bytes = NDArray[np.uint8]

# Perceptually uniform, and without the cyan in which the contour is drawn.
SOFT_COLOURS = "inferno"
CONTOUR_COLOUR = "#2fe6ff"
# The image must stay readable where the mask is certain.
MOST_OPAQUE = 0.6
# Letters in the ink's bluish white are grey; what is warmer than this is a mark.
LEAST_COLOUR = 40


class Layers(NamedTuple):
    """The files of one figure: the picture itself and two transparent overlays of its size."""

    image: Path
    contour: Path
    soft: Path


def layers_at(path: Path) -> Layers:
    """The files of the figure whose picture is ``x.png``: beside it ``x_contour.png`` and ``x_soft.png``."""
    return Layers(path, path.with_name(f"{path.stem}_contour.png"), path.with_name(f"{path.stem}_soft.png"))


def write_layers(path: Path, picture: Bytes, contour: Bytes, soft: Bytes) -> Layers:
    """Write the three layers of a figure.

    Parameters
    ----------
    path : Path
        The picture's file (``.png``); the overlays lie beside it, see :func:`layers_at`.
    picture : ndarray of uint8, shape (height, width, 3)
        Image and annotations.
    contour : ndarray of uint8, shape (height, width)
        Opacity of the contour, 0 to 255.
    soft : ndarray of uint8, shape (height, width)
        Soft value times 255.

    Raises
    ------
    ValueError
        If the layers differ in size.
    """
    if not picture.shape[:2] == contour.shape == soft.shape:
        raise ValueError(f"layers differ in size: {picture.shape}, {contour.shape}, {soft.shape}")
    files = layers_at(path)
    _write(files.image, picture_png(picture))
    _write(files.contour, indexed_png(contour, one_colour(CONTOUR_COLOUR)))
    _write(files.soft, indexed_png(soft, soft_palette()))
    return files


def write_picture(path: Path, picture: Bytes) -> Path:
    """Write one picture without overlays, shape (height, width, 3)."""
    _write(path, picture_png(picture))
    return path


def picture_png(picture: Bytes) -> bytes:
    """A PNG of 128 greys and 128 shades of the colour of marks.

    Parameters
    ----------
    picture : ndarray of uint8, shape (height, width, 3)
        Grey but for marks, whose red exceeds their blue.
    """
    values = picture.astype(int)
    brightest = values.max(axis=2)
    marked = values[:, :, 0] - values[:, :, 2] > LEAST_COLOUR
    indices = np.where(marked, 128 + brightest // 2, values.mean(axis=2) // 2).astype(np.uint8)
    return indexed_png(indices, _picture_palette())


def _picture_palette() -> Bytes:
    step = np.linspace(0.0, 1.0, 128)[:, None]
    rgb = np.concatenate([step * 255 * np.ones(3), step * np.array(ImageColor.getrgb(MARK))])
    return np.column_stack([np.round(rgb), np.full(256, 255)]).astype(np.uint8)


def indexed_png(indices: Bytes, palette: Bytes) -> bytes:
    """A PNG whose pixels are indices into 256 colours with opacity.

    Parameters
    ----------
    indices : ndarray of uint8, shape (height, width)
    palette : ndarray of uint8, shape (256, 4)
    """
    height, width = indices.shape
    image = Image.frombytes("P", (width, height), indices.tobytes())
    image.putpalette(palette[:, :3].tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, transparency=palette[:, 3].tobytes())
    return buffer.getvalue()


def soft_palette() -> Bytes:
    """Colour and opacity (growing with the value) of each soft value from 0 to 1, shape (256, 4)."""
    value = np.linspace(0.0, 1.0, 256)
    # The palest tenth of the scale would pass for bright tissue.
    rgba = np.array(matplotlib.colormaps[SOFT_COLOURS](0.9 * value))
    rgba[:, 3] = MOST_OPAQUE * value
    return np.round(255 * rgba).astype(np.uint8)


def one_colour(colour: str) -> Bytes:
    """A palette of one colour whose opacity is the index, shape (256, 4)."""
    rgb = np.array(ImageColor.getrgb(colour), dtype=np.uint8)
    return np.column_stack([np.tile(rgb, (256, 1)), np.arange(256, dtype=np.uint8)])


def _write(path: Path, content: bytes) -> None:
    with written_aside(path) as aside:
        aside.write_bytes(content)
