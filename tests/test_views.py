from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.cord import Centreline
from softseg_bids.pages import views

SPACING = np.array([0.8, 1.2, 3.0])


def straight(n_slices: int, x_mm: float, y_mm: float) -> Centreline:
    slices = np.arange(n_slices)
    points = np.column_stack([np.full(n_slices, x_mm), np.full(n_slices, y_mm), slices * SPACING[2]])
    return Centreline(slices, points, np.tile([0.0, 0.0, 1.0], (n_slices, 1)))


def test_axial_frame_puts_right_left_and_front_up() -> None:
    frame = views.axial_frame(np.array([10.0, 20.0, 0.0]), 30.0, 6.0, SPACING)
    assert len(frame.across_mm) == len(frame.down_mm) == 180
    assert frame.across_mm[0] > frame.across_mm[-1]
    assert frame.down_mm[0] > frame.down_mm[-1]
    assert frame.pixels_per_mm == pytest.approx(6.0)
    np.testing.assert_allclose(frame.to_pixels(np.array([10.0, 20.0])), [90.0, 90.0])
    # 5 mm to the patient's right is left of the middle, 5 mm to the front above it.
    np.testing.assert_allclose(frame.to_pixels(np.array([15.0, 25.0])), [60.0, 60.0])


@pytest.mark.parametrize("order", [1, 3])
def test_sampling_reproduces_a_ramp_and_knows_the_field(order: views.Order) -> None:
    x, y = np.arange(50) * SPACING[0], np.arange(40) * SPACING[1]
    plane = 2.0 * x[:, None] - 3.0 * y[None]
    frame = views.axial_frame(np.array([20.0, 24.0, 0.0]), 20.0, 5.0, SPACING)
    expected = 2.0 * frame.across_mm[None] - 3.0 * frame.down_mm[:, None]
    np.testing.assert_allclose(frame.sample(plane, order), expected, atol=0.05)
    outside = views.axial_frame(np.array([-40.0, 24.0, 0.0]), 20.0, 5.0, SPACING)
    assert np.isnan(outside.sample(plane, order)).all()


def test_outline_of_a_disc_is_its_circle_and_stays_in_view() -> None:
    grid = np.stack(np.meshgrid(np.arange(60) * 0.8, np.arange(50) * 1.2, indexing="ij"), axis=-1)
    distance = np.linalg.norm(grid - np.array([24.0, 30.0]), axis=-1)
    soft = np.clip(0.5 + (6.0 - distance) / 2, 0, 1)
    frame = views.axial_frame(np.array([24.0, 30.0, 0.0]), 30.0, 6.0, SPACING)
    segments = frame.outline(soft)
    radii = np.linalg.norm(segments - 90.0, axis=-1) / 6.0
    np.testing.assert_allclose(radii, 6.0, atol=0.06)
    aside = views.axial_frame(np.array([36.0, 30.0, 0.0]), 20.0, 6.0, SPACING).outline(soft)
    assert 0 < len(aside) < len(segments)
    assert aside.min() >= 0
    assert aside.max() <= 120


def test_window_ignores_the_far_field_and_follows_scale() -> None:
    rng = np.random.default_rng(3)
    image = rng.uniform(100, 200, (60, 50, 6))
    line = straight(6, 24.0, 30.0)
    window = views.cord_window(image, SPACING, line)
    assert window.low == pytest.approx(np.full(6, 101), abs=2)
    far = image.copy()
    far[:8] = 1e5
    np.testing.assert_array_equal(views.cord_window(far, SPACING, line).high, window.high)
    np.testing.assert_allclose(views.cord_window(image * 7, SPACING, line).high, window.high * 7)


def test_window_of_a_flat_image_is_not_empty() -> None:
    window = views.cord_window(np.full((60, 50, 4), 5.0), SPACING, straight(4, 24.0, 30.0))
    assert (window.high > window.low).all()
    assert np.isfinite(views.to_grey(np.full((2, 2), 5.0), window.low[0], window.high[0])).all()


def test_grey_marks_what_lies_outside() -> None:
    grey = views.to_grey(np.array([[np.nan, -1.0, 0.5, 2.0]]), 0.0, 1.0)
    assert grey.tolist() == [[views.OUTSIDE, 0, 128, 255]]


def test_sagittal_plane_follows_a_cord_that_bends_sideways() -> None:
    shape = (60, 40, 20)
    x = 12.0 + 20.0 * np.sin(np.linspace(0, np.pi, shape[2]))
    centres = x / SPACING[0]
    soft = np.exp(-0.5 * ((np.arange(60)[:, None] - centres[None]) / 1.5) ** 2)[:, None, :] * np.ones(shape)
    line = straight(20, 0.0, 24.0)
    line = line._replace(points_mm=np.column_stack([x, line.points_mm[:, 1:]]))
    plane = views.sagittal_plane(soft, SPACING, line)
    assert plane.shape == (40, 20)
    assert plane.min() > 0.9
    straight_plane = views.sagittal_plane(soft, SPACING, straight(20, 12.0, 24.0))
    assert straight_plane.min() < 0.1


def test_sagittal_frame_is_true_in_mm_with_front_left_and_head_up() -> None:
    frame = views.sagittal_frame(40.0, 10.0, 20, 5.0, SPACING)
    assert len(frame.across_mm) == 150
    assert len(frame.down_mm) == 300
    assert frame.across_mm[0] > frame.across_mm[-1]
    # The first row is the upper edge of the last slice, half a slice above its centre.
    assert frame.down_mm[0] == pytest.approx(19.5 * 3.0 - 0.1)
    square = frame.to_pixels(np.array([[30.0, 20.0], [20.0, 30.0]]))
    assert square[1, 0] - square[0, 0] == pytest.approx(square[0, 1] - square[1, 1])
