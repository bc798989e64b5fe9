"""The outline of a slice against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.contour import NO_SHAPE, across, area_and_moments, outline, shape_of


def ellipse(semi_x: float, semi_y: float, spacing: tuple[float, float], centre: tuple[float, float]):
    """Exact-area ellipse on pixels by 16x16 supersampling, 40 mm wide."""
    axes = [(np.arange(int(40 / p) * 16).reshape(-1, 16) + 0.5) / 16 * p - p / 2 for p in spacing]
    x = axes[0][:, :, None, None] - centre[0]
    y = axes[1][None, None] - centre[1]
    return ((x / semi_x) ** 2 + (y / semi_y) ** 2 <= 1).mean(axis=(1, 3))


def test_square_of_known_corners() -> None:
    values = np.zeros((6, 6))
    values[2:4, 2:4] = 1
    area, _ = area_and_moments(outline(values, (1.0, 1.0)))
    # Half a pixel beyond the centres on each side, corners cut by a triangle of 1/8.
    assert area == pytest.approx(4 - 4 / 8)


def test_segments_close_and_keep_the_inside_on_the_left() -> None:
    rng = np.random.default_rng(3)
    segments = outline(rng.random((12, 9)), (1.0, 0.7))
    starts = segments[:, 0][np.lexsort(segments[:, 0].T)]
    ends = segments[:, 1][np.lexsort(segments[:, 1].T)]
    np.testing.assert_allclose(starts, ends, atol=1e-12)
    assert area_and_moments(segments)[0] > 0


@pytest.mark.parametrize(("middle", "pieces_area"), [(0.4, "split"), (0.6, "joined")])
def test_saddle_follows_its_mean(middle: float, pieces_area: str) -> None:
    high, low = (0.9, 2 * middle - 0.9)
    values = np.array([[high, low], [low, high]])
    solidity = shape_of(outline(values, (1.0, 1.0))).solidity
    assert (solidity > 0.75) == (pieces_area == "joined")


@pytest.mark.parametrize("spacing", [(0.5, 0.5), (1.0, 1.0), (0.8, 0.5)])
def test_ellipse_has_its_diameters_eccentricity_and_solidity(spacing: tuple[float, float]) -> None:
    segments = outline(ellipse(6.1, 3.9, spacing, (20.13, 19.71)), spacing)
    area, moments = area_and_moments(segments)
    shape = shape_of(segments)
    assert area == pytest.approx(np.pi * 6.1 * 3.9, rel=0.015)
    assert np.sqrt(np.diag(moments)) * 2 == pytest.approx([6.1, 3.9], rel=0.015)
    assert shape.diameter_rl_mm == pytest.approx(12.2, abs=0.12)
    assert shape.diameter_ap_mm == pytest.approx(7.8, abs=0.12)
    assert shape.eccentricity == pytest.approx(np.sqrt(1 - (3.9 / 6.1) ** 2), abs=0.01)
    assert shape.solidity > 0.99


def test_hole_lowers_solidity() -> None:
    values = ellipse(6, 6, (0.5, 0.5), (20, 20)) - ellipse(3, 3, (0.5, 0.5), (20, 20))
    assert shape_of(outline(values, (0.5, 0.5))).solidity == pytest.approx(0.75, abs=0.02)


def test_object_cut_by_the_border_is_closed() -> None:
    values = np.ones((4, 5))
    area, _ = area_and_moments(outline(values, (2.0, 1.0)))
    assert area == pytest.approx(4 * 5 * 2 - 4 * 2 / 8)


def test_nothing_and_a_point_have_no_shape() -> None:
    for peak in (0.0, 0.5):
        values = np.zeros((5, 5))
        values[2, 2] = peak
        np.testing.assert_array_equal(shape_of(outline(values, (1.0, 1.0))), NO_SHAPE)


def test_across_undoes_the_stretch_of_a_tilted_slice() -> None:
    tilt = np.deg2rad(40)
    matrix = across(np.array([0.0, np.sin(tilt), np.cos(tilt)]))
    np.testing.assert_allclose(matrix, np.diag([1.0, np.cos(tilt)]), atol=1e-12)
    tangent = np.array([0.3, -0.4, 0.9])
    tangent /= np.linalg.norm(tangent)
    assert np.linalg.det(across(tangent)) == pytest.approx(tangent[2])
