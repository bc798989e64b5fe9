"""Images seen along a curve."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import centred_grid

from softseg_bids.image.grid import Grid
from softseg_bids.image.straight import ribbon, straighten

ACROSS, COLUMNS = np.array([-4.0, 0.0, 4.0]), np.arange(-10.0, 21.0, 1.0)


def test_a_straight_line_gives_rows_a_step_apart_and_goes_on_beyond_its_ends() -> None:
    line = np.array([[1.0, 2.0, z] for z in (20.0, 10.0, 0.0)])
    where = ribbon(line, 2.0, 6.0, 4.0)
    np.testing.assert_allclose(where.points_mm[:, 2], np.arange(26.0, -4.1, -2.0), atol=1e-9)
    np.testing.assert_allclose(where.points_mm[:, :2], np.tile([1.0, 2.0], (16, 1)), atol=1e-9)
    np.testing.assert_allclose(where.right, np.tile([1.0, 0, 0], (16, 1)), atol=1e-9)
    np.testing.assert_allclose(where.front, np.tile([0, 1.0, 0], (16, 1)), atol=1e-9)


def test_a_tilted_line_keeps_right_front_and_line_perpendicular() -> None:
    z = np.linspace(40, -40, 30)
    where = ribbon(np.column_stack([0.1 * z, 0.4 * z, z]), 1.25, 60.0, 30.0)
    along = np.gradient(where.points_mm, axis=0)
    for a, b in ((where.right, where.front), (where.right, along), (where.front, along)):
        assert np.abs((a * b).sum(axis=1)).max() < 1e-6
    assert (where.front[:, 1] > 0.9).all() and (where.right[:, 0] > 0.9).all()
    steps = np.linalg.norm(np.diff(where.points_mm, axis=0), axis=1)
    np.testing.assert_allclose(steps, 1.25, rtol=1e-6)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.6, 2.0)])
def test_a_linear_image_is_sampled_exactly_wherever_it_lies(spacing: tuple[float, float, float]) -> None:
    shape = tuple(round(60 / h) for h in spacing)
    grid = centred_grid(shape, spacing)  # type: ignore[arg-type]
    turned = Grid(grid.shape, grid.affine.copy())
    turned.affine[:3, 3] += [3.0, -5.0, 100.0]
    index = np.moveaxis(np.indices(grid.shape), 0, -1).astype(float)
    world = turned.to_world(index)
    array = (world @ [0.5, 2.0, -1.0]).astype(np.float32)
    line = np.array([[3.0, -5.0, 110.0], [3.0, -4.0, 90.0]])
    where = ribbon(line, 1.25, 0.0, 0.0)
    planes = straighten(array, turned, where, ACROSS, COLUMNS)
    assert planes.seen.all()
    points = where.points_mm[None, :, None] + ACROSS[:, None, None, None] * where.right[None, :, None]
    points = points + COLUMNS[None, None, :, None] * where.front[None, :, None]
    np.testing.assert_allclose(planes.values, points @ [0.5, 2.0, -1.0], atol=0.02)


def test_what_lies_outside_is_not_seen() -> None:
    grid = centred_grid((20, 20, 20))
    where = ribbon(np.array([[0, 0, 5.0], [0, 0, -5.0]]), 1.0, 30.0, 0.0)
    planes = straighten(np.ones(grid.shape, np.float32), grid, where, ACROSS, COLUMNS)
    height = where.points_mm[:, 2]
    assert not planes.seen[:, height > 10.6].any() and planes.seen[1, height < 9.0][:, 10].all()
    assert (planes.values[~planes.seen] == 0).all()
    away = ribbon(np.array([[500.0, 0, 5.0], [500.0, 0, -5.0]]), 1.0, 0.0, 0.0)
    assert not straighten(np.ones(grid.shape, np.float32), grid, away, ACROSS, COLUMNS).seen.any()
