from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from softseg_bids.pages.layers import (
    MOST_OPAQUE,
    indexed_png,
    layers_at,
    picture_png,
    soft_palette,
    write_layers,
    write_picture,
)


def test_soft_colours_grow_in_lightness_and_opacity() -> None:
    palette = soft_palette().astype(float)
    lightness = palette[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -1.0).all()
    assert lightness[-1] - lightness[0] > 150
    np.testing.assert_allclose(palette[:, 3] / 255, MOST_OPAQUE * np.arange(256) / 255, atol=0.003)


def test_soft_values_survive_the_file(tmp_path: Path) -> None:
    soft = np.arange(240, dtype=np.uint8).reshape(12, 20)
    picture = np.zeros((12, 20, 3), np.uint8)
    files = write_layers(tmp_path / "a" / "x.png", picture, soft, soft)
    assert files == layers_at(tmp_path / "a" / "x.png")
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["x.png", "x_contour.png", "x_soft.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(files.soft).convert("RGBA")), soft_palette()[soft])
    contour = np.asarray(Image.open(files.contour).convert("RGBA"))
    np.testing.assert_array_equal(contour[..., 3], soft)
    assert len(np.unique(contour[..., :3].reshape(-1, 3), axis=0)) == 1


def test_picture_keeps_its_greys(tmp_path: Path) -> None:
    grey = np.tile(np.arange(0, 256, 2, dtype=np.uint8), (30, 1))
    picture = np.repeat(grey[..., None], 3, axis=2)
    picture[10:12, 5:40] = (255, 176, 0)
    path = write_picture(tmp_path / "p.png", picture)
    stored = np.asarray(Image.open(path).convert("RGBA")).astype(int)[..., :3]
    assert np.abs(stored - picture).max() <= 2
    assert len(np.unique(stored[0])) >= 126
    assert path.read_bytes() == picture_png(picture)


def test_indices_need_no_more_room_than_their_entropy() -> None:
    empty = indexed_png(np.zeros((900, 1300), np.uint8), soft_palette())
    assert len(empty) < 6000


def test_layers_of_different_size_are_refused(tmp_path: Path) -> None:
    picture, contour, soft = (np.zeros(shape, np.uint8) for shape in ((4, 5, 3), (4, 5), (4, 6)))
    with pytest.raises(ValueError, match="differ in size"):
        write_layers(tmp_path / "x.png", picture, contour, soft)
    assert not list(tmp_path.iterdir())
