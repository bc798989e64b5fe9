from itertools import permutations, product

import numpy as np
import pytest
from numpy.typing import NDArray

from softseg_bids.image.grid import Grid, canonical, cropped, like_stored, resample, respaced, stored_slices


def rotation(degrees: tuple[float, float, float]) -> NDArray[np.float64]:
    matrix = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        turn = np.eye(3)
        one, two = (axis + 1) % 3, (axis + 2) % 3
        turn[one, one] = turn[two, two] = np.cos(angle)
        turn[two, one] = np.sin(angle)
        turn[one, two] = -np.sin(angle)
        matrix = turn @ matrix
    return matrix


def grid_of(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float] = (1, 1, 1),
    degrees: tuple[float, float, float] = (0, 0, 0),
) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = rotation(degrees) * spacing
    affine[:3, 3] = (-11, 7, 30)
    return Grid(shape, affine)


STORED = [(order, flips) for order in permutations(range(3)) for flips in product((1, -1), repeat=3)]


@pytest.mark.parametrize(("order", "flips"), STORED)
def test_reorienting_moves_no_world_point(order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    affine = grid_of((3, 4, 5), (1, 2, 3), (12, -8, 5)).affine.copy()
    affine[:3, :3] = (affine[:3, :3] * flips)[:, order]
    stored = Grid((3, 4, 5), affine)
    array = np.arange(60).reshape(stored.shape)
    turned, ras = canonical(array, stored)
    assert (np.diag(ras.affine)[:3] > 0).all()
    np.testing.assert_array_equal(turned.shape, ras.shape)
    np.testing.assert_allclose(sorted(ras.spacing_mm), sorted(stored.spacing_mm))
    for index in [(0, 0, 0), (2, 1, 3), (1, 3, 4)]:
        where = np.round(ras.to_index(stored.to_world(np.array(index, dtype=float)))).astype(int)
        assert turned[tuple(where)] == array[index]
    np.testing.assert_array_equal(like_stored(turned, stored), array)


def test_world_and_back() -> None:
    grid = grid_of((4, 5, 6), (0.5, 0.7, 5), (20, 10, 40))
    points = np.random.default_rng(1).random((7, 3)) * 10
    np.testing.assert_allclose(grid.to_index(grid.to_world(points)), points)
    np.testing.assert_allclose(grid.spacing_mm, (0.5, 0.7, 5))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.4, 3.0, 1.3), (2.0, 2.0, 2.0)])
def test_respaced_covers_the_same_box(spacing: tuple[float, float, float]) -> None:
    grid = grid_of((20, 13, 7), (0.5, 0.9, 5), (15, 0, 30))
    new = respaced(grid, spacing)
    np.testing.assert_allclose(new.spacing_mm, spacing)
    centre = grid.to_world((np.array(grid.shape) - 1) / 2)
    np.testing.assert_allclose(new.to_world((np.array(new.shape) - 1) / 2), centre)
    excess = np.array(new.shape) * spacing - np.array(grid.shape) * grid.spacing_mm
    assert (excess > -0.01).all()
    assert (excess < spacing).all()


def test_respaced_to_its_own_spacing_is_the_same_grid() -> None:
    grid = grid_of((9, 8, 7), (0.8, 0.8, 0.8), (3, 4, 5))
    same = respaced(grid, (0.8, 0.8, 0.8))
    assert same.shape == grid.shape
    np.testing.assert_allclose(same.affine, grid.affine)


def test_cropped_keeps_positions() -> None:
    grid = grid_of((9, 8, 7), (1, 2, 3), (3, 4, 5))
    part = cropped(grid, np.array([2, -1, 3]), (4, 4, 4))
    np.testing.assert_allclose(part.to_world(np.zeros(3)), grid.to_world(np.array([2.0, -1, 3])))
    np.testing.assert_allclose(part.spacing_mm, grid.spacing_mm)


@pytest.mark.parametrize("spacing", [(0.5, 0.5, 0.5), (1.0, 1.0, 1.0), (0.9, 1.3, 5.0), (2.5, 2.5, 2.5)])
def test_volume_is_conserved_between_oblique_grids(spacing: tuple[float, float, float]) -> None:
    source = grid_of((30, 28, 26), (1, 1, 1), (20, 20, 0))
    soft = np.zeros(source.shape, dtype=np.float32)
    soft[3:-3, 3:-3, 3:-3] = np.random.default_rng(0).random((24, 22, 20), dtype=np.float32)
    target = respaced(source, spacing)
    there = resample(soft, source, target, outside="zero")
    assert there.shape == target.shape
    assert there.dtype == np.float32
    volume, expected = there.sum(dtype=float) * np.prod(spacing), soft.sum(dtype=float)
    assert volume == pytest.approx(expected, rel=1e-5)
    assert there.min() >= 0
    assert there.max() <= 1.00001


def test_an_image_is_continued_at_its_edge_and_a_mask_is_not() -> None:
    source = grid_of((6, 6, 6))
    ones = np.ones(source.shape, dtype=np.float32)
    beyond = cropped(source, np.array([-3, -3, -3]), (12, 12, 12))
    np.testing.assert_allclose(resample(ones, source, beyond), 1, rtol=1e-6)
    mask = resample(ones, source, beyond, outside="zero")
    assert mask.sum(dtype=float) == pytest.approx(216)
    assert mask[0].max() == 0


def test_a_gradient_stays_where_it_is() -> None:
    source = grid_of((12, 10, 40), (1, 1, 0.5))
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32) * 0.5, source.shape)
    target = respaced(source, (1, 1, 2.5))
    there = resample(ramp, source, target)[5, 5, 1:-1]
    height = target.to_world(np.array([[5.0, 5, k] for k in range(1, target.shape[2] - 1)]))[:, 2]
    np.testing.assert_allclose(there, height - source.affine[2, 3], atol=1e-4)


def test_grids_that_are_not_parallel_are_refused() -> None:
    with pytest.raises(ValueError, match="not parallel"):
        resample(np.zeros((4, 4, 4)), grid_of((4, 4, 4)), grid_of((4, 4, 4), degrees=(5, 0, 0)))


def test_stored_slices_are_the_file_s_own_indices() -> None:
    array = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    affine = np.array(
        [[0, 0, 1.0, 0], [1, 0, 0, 0], [0, -1, 0, 7], [0, 0, 0, 1]]
    )  # its second axis runs down
    stored = Grid((4, 5, 6), affine)
    turned, _ = canonical(array, stored)
    for index in range(turned.shape[2]):
        number = int(stored_slices(np.array([index]), stored)[0])
        assert set(turned[:, :, index].ravel()) == set(array[:, number].ravel())
