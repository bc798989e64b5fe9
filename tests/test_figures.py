from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from softseg_bids.core.cord import Centreline
from softseg_bids.pages import figures, tiles
from softseg_bids.pages.canvas import LEGEND_HEIGHT
from softseg_bids.pages.marks import SliceNote
from softseg_bids.pages.tiles import PIXELS_PER_MM, Layout

RADIUS_MM = 5.0
AMBER = np.array([255, 176, 0])


def body(
    spacing: tuple[float, float, float] = (1.0, 1.0, 5.0), n_slices: int = 8
) -> tuple[NDArray[np.float32], NDArray[np.float32], Centreline]:
    """A bright round cord that leans to the right and front, its soft mask and its line."""
    step = np.asarray(spacing)
    shape = (round(60 / step[0]), round(70 / step[1]), n_slices)
    slices = np.arange(n_slices)
    z = slices * step[2]
    points = np.column_stack([25 + 0.15 * z, 30 + 0.2 * z, z])
    x, y = np.arange(shape[0])[:, None, None] * step[0], np.arange(shape[1])[None, :, None] * step[1]
    distance = np.hypot(x - points[:, 0], y - points[:, 1])
    soft = np.clip(0.5 + (RADIUS_MM - distance) / 1.6, 0, 1).astype(np.float32)
    noise = np.random.default_rng(1).normal(0, 4, shape)
    tangents = np.tile(np.array([0.15, 0.2, 1.0]) / np.linalg.norm([0.15, 0.2, 1.0]), (n_slices, 1))
    return (40 + 100 * soft + noise).astype(np.float32), soft, Centreline(slices, points, tangents)


def notes_of(line: Centreline, flagged: int | None = None) -> dict[int, SliceNote]:
    return {
        int(k): SliceNote(int(k) + 100, "C3", 78.5, ("jump",) if k == flagged else ()) for k in line.slices
    }


def rgba(path: Path) -> NDArray[np.float64]:
    return np.asarray(Image.open(path).convert("RGBA")).astype(float)


def n_amber(path: Path) -> int:
    return int((np.abs(rgba(path)[..., :3] - AMBER).max(axis=2) < 25).sum())


def test_montage_outlines_the_cord_in_every_tile(tmp_path: Path) -> None:
    image, soft, line = body()
    files = figures.montage(tmp_path / "m.png", image, soft, (1, 1, 5), line, notes_of(line))
    layout = Layout(8)
    sizes = {Image.open(path).size for path in files}
    assert sizes == {layout.shape[::-1]}
    assert PIXELS_PER_MM >= 5
    contour, colours = rgba(files.contour)[..., 3], rgba(files.soft)[..., 3]
    for place in range(8):
        rows, columns = np.nonzero(contour[layout.box(place)] > 60)
        radii = np.hypot(columns + 0.5 - 90, rows + 0.5 - 90) / PIXELS_PER_MM
        np.testing.assert_allclose([radii.min(), radii.max()], RADIUS_MM, atol=0.4)
        tile = colours[layout.box(place)]
        assert tile[90, 90] == tile.max() > 140
        assert tile[5, 5] == 0
    outside = np.ones(layout.shape, bool)
    for place in range(8):
        outside[layout.box(place)] = False
    assert contour[outside].max() == 0
    assert colours[:-LEGEND_HEIGHT][outside[:-LEGEND_HEIGHT]].max() == 0


def test_montage_is_radiological(tmp_path: Path) -> None:
    image, soft, line = body()
    x, y = (np.round(line.points_mm[:, axis]).astype(int) for axis in (0, 1))
    for k in line.slices:
        image[x[k] + 10, y[k], k] = 3000
        image[x[k], y[k] - 9, k] = -3000
    files = figures.montage(tmp_path / "m.png", image, soft, (1, 1, 5), line, {})
    # The second tile carries no letters: the right spot is left of the middle, the back one below.
    tile = rgba(files.image)[Layout(8).box(1)][..., 0]
    assert tile[90, 30] > tile[90, 150] + 50
    assert tile[144, 90] < tile[36, 90]


def test_only_flagged_slices_are_framed(tmp_path: Path) -> None:
    image, soft, line = body()
    plain = figures.montage(tmp_path / "p.png", image, soft, (1, 1, 5), line, notes_of(line))
    flagged = figures.montage(tmp_path / "f.png", image, soft, (1, 1, 5), line, notes_of(line, flagged=5))
    assert n_amber(plain.image) == 0
    changed = np.abs(rgba(plain.image) - rgba(flagged.image)).max(axis=2) > 60
    layout = Layout(8)
    rows, columns = layout.box(2)
    assert n_amber(flagged.image) > 4 * layout.size
    assert changed[rows.start, columns.start : columns.stop].mean() > 0.9
    assert not changed[layout.box(3)][10:-10, 10:-10].any()
    # The other layers say nothing about flags.
    assert plain.soft.read_bytes() == flagged.soft.read_bytes()
    assert plain.contour.read_bytes() == flagged.contour.read_bytes()


@pytest.mark.parametrize("flag", ["no_level", "partial_end"])
def test_what_every_image_has_is_not_framed(tmp_path: Path, flag: str) -> None:
    image, soft, line = body()
    notes = {k: note._replace(flags=(flag,)) for k, note in notes_of(line).items()}
    for draw in (figures.montage, figures.sagittal):
        assert n_amber(draw(tmp_path / "m.png", image, soft, (1, 1, 5), line, notes).image) == 0
        with_doubt = {k: note._replace(flags=(flag, "jump")) for k, note in notes.items()}
        assert n_amber(draw(tmp_path / "n.png", image, soft, (1, 1, 5), line, with_doubt).image) > 40


def test_figures_do_not_change_with_the_scale_of_intensities_or_from_run_to_run(tmp_path: Path) -> None:
    image, soft, line = body()
    once = figures.montage(tmp_path / "a.png", image, soft, (1, 1, 5), line, notes_of(line))
    again = figures.montage(tmp_path / "b.png", 8 * image, soft, (1, 1, 5), line, notes_of(line))
    for first, second in zip(once, again, strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_a_slice_without_note_or_area_is_drawn(tmp_path: Path) -> None:
    image, soft, line = body()
    soft[:, :, 4] = 0
    notes = {4: SliceNote(4, "", float("nan"), ("a flag whose name is longer than the tile is wide $x$",))}
    files = figures.montage(tmp_path / "m.png", image, soft, (1, 1, 5), line, notes)
    assert rgba(files.contour)[Layout(8).box(3)][..., 3].max() == 0
    assert rgba(files.contour)[Layout(8).box(2)][..., 3].max() > 200


@pytest.mark.parametrize(("spacing_z", "expected"), [(5.0, 1), (2.5, 1), (1.0, 3), (0.8, 4), (0.5, 6)])
def test_thin_slices_are_shown_every_3_mm(spacing_z: float, expected: int) -> None:
    slices = np.arange(10, 70)
    shown = tiles.tile_slices(slices, spacing_z, {})
    assert len(shown) == 60 // expected
    assert shown == sorted(shown, reverse=True)
    assert set(np.diff(shown)) == {-expected}


def test_a_flagged_slice_speaks_for_its_neighbours() -> None:
    slices = np.arange(10, 70)
    flagged = {k: SliceNote(k, flags=("jump",)) for k in (20, 41, 42)}
    shown = tiles.tile_slices(slices, 1.0, flagged)
    assert len(shown) == 20
    assert {20, 42} <= set(shown)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 5.0), (0.5, 2.0, 1.0)])
def test_sagittal_view_is_true_in_mm(tmp_path: Path, spacing: tuple[float, float, float]) -> None:
    image, soft, line = body(spacing, n_slices=round(40 / spacing[2]))
    files = figures.sagittal(tmp_path / "s.png", image, soft, spacing, line, notes_of(line))
    assert {Image.open(path).size for path in files} == {Image.open(files.image).size}
    colours = rgba(files.soft)[:-LEGEND_HEIGHT, :, 3]
    rows, columns = np.nonzero(colours > 0.5 * colours.max())
    scale = figures.SAGITTAL_PIXELS_PER_MM
    assert np.ptp(rows) == pytest.approx(40 * scale, abs=2)
    middle = rows == round(rows.mean())
    assert np.ptp(columns[middle]) == pytest.approx(2 * RADIUS_MM * scale, abs=3)
    # The cord runs to the front, which is on the left, as it goes up.
    upper, lower = columns[rows < rows.min() + 20].mean(), columns[rows > rows.max() - 20].mean()
    assert lower - upper == pytest.approx(0.2 * 36 * scale, rel=0.15)


def test_sagittal_view_marks_discs_in_view_and_flagged_slices(tmp_path: Path) -> None:
    image, soft, line = body()
    draw = figures.sagittal
    plain = draw(tmp_path / "p.png", image, soft, (1, 1, 5), line, notes_of(line)).image
    beyond = {"C7-T1": np.array([25.0, 30.0, -80.0])}
    away = draw(tmp_path / "o.png", image, soft, (1, 1, 5), line, notes_of(line), beyond).image
    assert plain.read_bytes() == away.read_bytes()
    discs = {"C3-C4": np.array([28.0, 36.0, 20.0])}
    marked = draw(tmp_path / "d.png", image, soft, (1, 1, 5), line, notes_of(line), discs).image
    changed = np.nonzero(np.abs(rgba(plain) - rgba(marked)).max(axis=2) > 80)
    row = figures.ABOVE + (7.5 * 5 - 20) * figures.SAGITTAL_PIXELS_PER_MM
    assert np.mean(changed[0]) == pytest.approx(row, abs=4)
    flagged = draw(tmp_path / "f.png", image, soft, (1, 1, 5), line, notes_of(line, flagged=4)).image
    assert n_amber(plain) == 0 < n_amber(flagged)


def test_a_long_field_is_kept_to_a_readable_height(tmp_path: Path) -> None:
    image, soft, line = body(n_slices=80)
    files = figures.sagittal(tmp_path / "s.png", image, soft, (1, 1, 5), line, {})
    height = Image.open(files.image).size[1]
    assert height == pytest.approx(figures.MOST_ROWS + 2 * figures.ABOVE + LEGEND_HEIGHT, abs=2)


def test_overview_shows_three_planes_the_right_way_round(tmp_path: Path) -> None:
    image = np.full((40, 50, 30), 50.0, np.float32)
    image[:, :, 15:] += 20
    image[30:, :, :] += 100
    path = figures.overview(tmp_path / "o.png", image, (2, 2, 4))
    picture = rgba(path)[..., 0]
    size, gutter = 400 / 120, figures.GUTTER
    axial = picture[gutter:-28, gutter : gutter + round(80 * size)]
    row = axial.shape[0] // 2
    assert axial[row, 40] > axial[row, -40] + 40
    coronal = picture[:, 2 * gutter + round(80 * size) :][gutter:-28, : round(80 * size)]
    assert coronal[40, -60] > coronal[-40, -60]


def test_overview_of_an_almost_empty_field(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 20), np.float32)
    image[3, 3, 3] = 1
    assert figures.overview(tmp_path / "o.png", image, (1, 1, 1)).stat().st_size > 0


@pytest.mark.parametrize("draw", [figures.montage, figures.sagittal])
def test_image_and_mask_must_be_on_one_grid(tmp_path: Path, draw: Callable[..., object]) -> None:
    image, soft, line = body()
    with pytest.raises(ValueError, match="not on one grid"):
        draw(tmp_path / "x.png", image, soft[:-1], (1, 1, 5), line, {})
    assert not list(tmp_path.iterdir())
