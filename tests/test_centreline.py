"""The centreline against curves whose position and tangent are known."""

from __future__ import annotations

import numpy as np
import pytest
from cord_phantoms import cylinder

from softseg_bids.core.centreline import trace


def tube(spacing: tuple[float, float, float], centre, height_mm: float) -> np.ndarray:
    """A soft-edged upright disc of 5 mm radius about ``centre(z) -> x, y`` in each slice."""
    px, py, pz = spacing
    x, y = np.arange(0, 50, px)[:, None, None], np.arange(0, 50, py)[None, :, None]
    z = np.arange(0, height_mm, pz)
    cx, cy = centre(z)
    return np.clip(5.5 - np.hypot(x - cx, y - cy), 0, 1).astype(np.float32)


def lordosis(z):
    return 25 + 0 * z, 25 + 5 * np.sin(2 * np.pi * z / 150)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 0.8), (1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (0.7, 0.7, 3.0)])
def test_follows_a_curve_whatever_the_slice_thickness(spacing: tuple[float, float, float]) -> None:
    line = trace(tube(spacing, lordosis, 240), np.array(spacing))
    assert line is not None
    z = line.points_mm[:, 2]
    np.testing.assert_allclose(z, line.slices * spacing[2])
    np.testing.assert_allclose(line.points_mm[:, 1], lordosis(z)[1], atol=0.25)
    np.testing.assert_allclose(line.points_mm[:, 0], 25, atol=0.02)
    slope = 5 * 2 * np.pi / 150 * np.cos(2 * np.pi * z / 150)
    middle = slice(8 if spacing[2] < 3 else 2, -8 if spacing[2] < 3 else -2)
    found = line.tangents[:, 1] / line.tangents[:, 2]
    np.testing.assert_allclose(found[middle], slope[middle], atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(line.tangents, axis=1), 1)


def test_smoothing_does_not_depend_on_the_voxels() -> None:
    lines = [trace(tube((1.0, 1.0, pz), lordosis, 200), np.array([1.0, 1.0, pz])) for pz in (1.0, 4.0)]
    assert lines[0] is not None
    assert lines[1] is not None
    np.testing.assert_allclose(lines[0].points_mm[::4], lines[1].points_mm, atol=0.1)


def test_tangent_is_the_derivative_of_the_points() -> None:
    line = trace(tube((1.0, 1.0, 1.0), lordosis, 160), np.ones(3))
    assert line is not None
    steps = np.gradient(line.points_mm, axis=0)
    steps /= np.linalg.norm(steps, axis=1, keepdims=True)
    np.testing.assert_allclose(line.tangents[1:-1], steps[1:-1], atol=1e-3)


def test_five_slices_of_five_millimetres_give_a_straight_line() -> None:
    soft = cylinder((0.5, 0.5, 5.0), (20.0, 0.0), height_mm=25, width_mm=30)
    line = trace(soft, np.array([0.5, 0.5, 5.0]))
    assert line is not None
    np.testing.assert_allclose(line.tangents, np.tile(line.tangents[0], (5, 1)))
    assert np.rad2deg(np.arctan2(line.tangents[0, 1], line.tangents[0, 2])) == pytest.approx(20, abs=0.1)


def test_void_is_bridged() -> None:
    whole = tube((1.0, 1.0, 1.0), lordosis, 200)
    void = whole.copy()
    void[:, :, 90:115] = 0
    line, bridged = trace(whole, np.ones(3)), trace(void, np.ones(3))
    assert line is not None
    assert bridged is not None
    np.testing.assert_array_equal(bridged.slices, line.slices)
    np.testing.assert_allclose(bridged.points_mm, line.points_mm, atol=0.6)


def test_outliers_and_far_noise_do_not_pull_the_line() -> None:
    clean = tube((1.0, 1.0, 1.0), lordosis, 160)
    noisy = clean.copy()
    noisy[:, :, 60:63] = np.roll(noisy[:, :, 60:63], 9, axis=0)  # three slices drawn beside the cord
    noisy[2:5, 2:5, :] = 0.4
    line, pulled = trace(clean, np.ones(3)), trace(noisy, np.ones(3))
    assert line is not None
    assert pulled is not None
    np.testing.assert_allclose(pulled.points_mm, line.points_mm, atol=0.1)


def test_a_second_tube_of_the_same_size_does_not_share_the_line() -> None:
    clean = np.pad(tube((1.0, 1.0, 1.0), lordosis, 160), ((0, 30), (0, 0), (0, 0)))
    both = np.maximum(clean, np.roll(clean, 38, axis=0) * (np.arange(160) < 120))
    line, pulled = trace(clean, np.ones(3)), trace(both, np.ones(3))
    assert line is not None
    assert pulled is not None
    np.testing.assert_allclose(pulled.points_mm, line.points_mm, atol=0.01)


def test_three_slices_with_one_astray_still_have_a_line() -> None:
    soft = tube((1.0, 1.0, 5.0), lambda z: (25 + 9 * (z == 5), 25 + 0 * z), 15)
    line = trace(soft, np.array([1.0, 1.0, 5.0]))
    assert line is not None
    assert np.isfinite(line.points_mm).all()
    assert np.abs(line.points_mm[:, 0] - 25).max() < 9


def test_faint_end_slices_belong_to_the_line_without_bending_it() -> None:
    soft = cylinder((1.0, 1.0, 5.0), height_mm=40, width_mm=30)
    soft[:12, :, -1] = 0
    soft[:, :, [0, -1]] *= 0.3
    line = trace(soft, np.array([1.0, 1.0, 5.0]))
    assert line is not None
    np.testing.assert_array_equal(line.slices, np.arange(8))
    np.testing.assert_allclose(line.tangents[:, 2], 1, atol=1e-6)


def test_ten_millimetres_of_cord_are_needed_along_the_cord() -> None:
    soft = cylinder((1.0, 1.0, 1.0), height_mm=30, width_mm=30)
    assert trace(soft[:, :, :9], np.ones(3)) is None
    assert trace(soft[:, :, :10], np.ones(3)) is not None
    tilted = cylinder((1.0, 1.0, 1.0), (40.0, 0.0), height_mm=8, width_mm=30)
    assert trace(tilted, np.ones(3)) is not None
    soft[:, :, 5:25] = 0  # ten slices, a void between them
    assert trace(soft, np.ones(3)) is not None


def test_one_thick_slice_is_taken_as_vertical() -> None:
    soft = cylinder((1.0, 1.0, 5.0), height_mm=20, width_mm=30)[:, :, :1]
    line = trace(soft, np.array([1.0, 1.0, 12.0]))
    assert line is not None
    np.testing.assert_array_equal(line.tangents, [[0, 0, 1]])


@pytest.mark.parametrize("value", [0.0, 0.15])
def test_nothing_and_noise_have_no_line(value: float) -> None:
    assert trace(np.full((10, 10, 40), value, dtype=np.float32), np.ones(3)) is None
