"""Three pictures of one size that lie on each other: image, contour, soft mask.

The page stacks them and shows or hides the upper two, so a reader can always look at the
image alone. All are indexed PNGs: grey with a few colours, one colour of varying opacity,
and one index a soft value, which keeps a page of eleven images at a few megabytes.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from softseg_bids.image.volume import written_aside

Bytes = NDArray[np.uint8]

# Perceptually uniform, and without the cyan in which the contour is drawn.
SOFT_COLOURS = "inferno"
CONTOUR_COLOUR = "#2fe6ff"
# The image must stay readable where the mask is certain.
MOST_OPAQUE = 0.6


class Layers(NamedTuple):
    """The files of one figure: the picture itself and two transparent overlays of its size."""

    image: Path
    contour: Path
    soft: Path


def layers_at(path: Path) -> Layers:
    """The files of the figure whose picture is ``x.png``: beside it ``x_contour.png`` and ``x_soft.png``."""
    return Layers(
        path, path.with_name(f"{path.stem}_contour.png"), path.with_name(f"{path.stem}_soft.png")
    )


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
    _write(files.contour, indexed_png(contour, _one_colour(CONTOUR_COLOUR)))
    _write(files.soft, indexed_png(soft, soft_palette()))
    return files


def write_picture(path: Path, picture: Bytes) -> Path:
    """Write one picture without overlays, shape (height, width, 3)."""
    _write(path, picture_png(picture))
    return path


def picture_png(picture: Bytes) -> bytes:
    """A PNG of 256 colours chosen from the picture itself."""
    image = Image.fromarray(picture).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return _png(image)


def indexed_png(indices: Bytes, palette: Bytes) -> bytes:
    """A PNG whose pixels are indices into 256 colours with opacity.

    Parameters
    ----------
    indices : ndarray of uint8, shape (height, width)
    palette : ndarray of uint8, shape (256, 4)
    """
    image = Image.fromarray(indices).convert("L")
    coloured = Image.frombytes("P", image.size, image.tobytes())
    coloured.putpalette(palette[:, :3].tobytes())
    return _png(coloured, palette[:, 3].tobytes())


def soft_palette() -> Bytes:
    """Colour and opacity (growing with the value) of each soft value from 0 to 1, shape (256, 4)."""
    value = np.linspace(0.0, 1.0, 256)
    # The palest tenth of the scale would pass for bright tissue.
    rgba = np.array(matplotlib.colormaps[SOFT_COLOURS](0.9 * value))
    rgba[:, 3] = MOST_OPAQUE * value
    return np.round(255 * rgba).astype(np.uint8)


def _one_colour(colour: str) -> Bytes:
    rgb = Image.new("RGB", (1, 1), colour).tobytes()
    opacity = np.arange(256, dtype=np.uint8)
    return np.column_stack([np.tile(np.frombuffer(rgb, np.uint8), (256, 1)), opacity])


def _png(image: Image.Image, opacity: bytes | None = None) -> bytes:
    buffer = io.BytesIO()
    if opacity is None:
        image.save(buffer, "PNG", optimize=True)
    else:
        image.save(buffer, "PNG", optimize=True, transparency=opacity)
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with written_aside(path) as aside:
        aside.write_bytes(content)
