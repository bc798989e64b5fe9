"""Labels as files hold them: points, maps of levels, landmarks in files of their own."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import centred_grid, disc_labels

from softseg_bids.app.landmarks import disc_points, level_borders, with_landmarks
from softseg_bids.image.grid import Grid, like_stored
from softseg_bids.image.volume import Volume

GRID = centred_grid((12, 12, 60))
DISCS = {3: (0.5, 5.5, 20.5), 4: (0.5, 5.5, 4.5)}


def labels(points: dict[int, tuple[float, float, float]], grid: Grid = GRID) -> Volume:
    return Volume(disc_labels(grid, points).astype(np.float32), grid)


def level_map(grid: Grid, slope: float = 0.0) -> Volume:
    """A cord of levels 2, 3 and 4 with discs 3 and 4 at heights 15 and -2, tilted."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(float)
    x, y, z = np.moveaxis(grid.to_world(index), -1, 0)
    along = z - slope * y
    level = 2 + (along < 15.0) + (along < -2.0)
    return Volume(np.where(np.hypot(x, y) < 4, level, 0).astype(np.float32), grid)


@pytest.mark.parametrize(("spacing", "slope"), [((1, 1, 1), 0.0), ((1, 1, 1), 0.3), ((0.5, 0.5, 5), 0.0)])
def test_a_map_of_levels_gives_the_discs_between_them(
    spacing: tuple[float, float, float], slope: float
) -> None:
    grid = centred_grid((24, 24, round(60 / spacing[2])), spacing)
    found = disc_points(level_map(grid, slope))
    assert set(found) == {3, 4}
    for value, height in ((3, 15.0), (4, -2.0)):
        assert found[value] == pytest.approx([0, 0, height], abs=0.5 * spacing[2] + 0.01)


def test_the_axes_of_a_map_may_be_stored_in_any_order() -> None:
    stored = Grid(
        (60, 12, 12), GRID.affine @ np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 59], [0, 0, 0, 1]])
    )
    turned = Volume(like_stored(level_map(GRID).array, stored), stored)
    plain = disc_points(level_map(GRID))
    for value, point in disc_points(turned).items():
        assert point == pytest.approx(plain[value])


def test_points_are_no_map_even_where_they_are_large() -> None:
    volume = labels(DISCS)
    assert level_borders(volume) == {}
    volume.array[4:7, 4:7, 20:23] = 7
    found = disc_points(volume)
    assert set(found) == {3, 4, 7} and found[7] == pytest.approx(GRID.to_world(np.array([5.0, 5, 21])))


def test_a_landmark_joins_the_discs() -> None:
    both, problems = with_landmarks(labels(DISCS), labels({50: (0.5, 0.5, 29.5)}))
    assert both is not None and not problems
    found = disc_points(both)
    assert set(found) == {3, 4, 50} and found[50] == pytest.approx([0.5, 0.5, 29.5])
    alone, _ = with_landmarks(None, labels({50: (0.5, 0.5, 29.5)}))
    assert alone is not None and set(disc_points(alone)) == {50}


def test_a_landmark_on_another_grid_is_brought_over() -> None:
    fine = centred_grid((24, 24, 120), (0.5, 0.5, 0.5))
    both, _ = with_landmarks(labels(DISCS), labels({50: (0.25, 0.25, 28.25)}, fine))
    assert both is not None
    assert disc_points(both)[50] == pytest.approx([0.25, 0.25, 28.25], abs=0.5)


@pytest.mark.parametrize(
    ("landmarks", "problem"),
    [
        ({1: (0.5, 0.5, 29.5)}, "label 1 is not used: in a file of a landmark it is 49, 50 or 60"),
        ({50: (0.5, 0.5, 25.5)}, "label 50 lies in the disc labels, too, 4 mm away: that one counts"),
    ],
)
def test_what_a_landmarks_file_may_not_say(
    landmarks: dict[int, tuple[float, float, float]], problem: str
) -> None:
    discs = labels(DISCS | {50: (0.5, 0.5, 29.5)})
    both, problems = with_landmarks(discs, labels(landmarks))
    assert both is not None and problems == [problem]
    np.testing.assert_array_equal(both.array, discs.array)
    nothing, _ = with_landmarks(None, labels({1: (0.5, 0.5, 29.5)}))
    assert nothing is None


def test_a_landmark_beyond_the_image_is_told() -> None:
    far = centred_grid((12, 12, 90))
    _, problems = with_landmarks(labels(DISCS), labels({50: (0.5, 0.5, 40.5)}, far))
    assert problems == ["label 50 lies outside the image"]
