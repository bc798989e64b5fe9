"""The axis of a session of several stations."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.app.chain import LEAST_ADDED_MM, chain, lengthened
from softseg_bids.app.landmarks import Floats, Track
from softseg_bids.core.levels import arc_mm

RADIUS_MM = 300.0


def bent(start_mm: float, end_mm: float, beside_mm: float = 0.0) -> Track:
    """A stretch of a cord that bends, by lengths along it from the top; or a line beside it."""
    s = np.arange(start_mm, end_mm + 0.5)
    angle = s / RADIUS_MM
    radius = RADIUS_MM + beside_mm
    return Track(np.column_stack([0 * s, radius * np.cos(angle), -radius * np.sin(angle)]), np.arange(len(s)))


def least_step_mm(points: Floats) -> float:
    return float(np.diff(arc_mm(points)).min())


def test_three_stations_are_one_bent_axis() -> None:
    tracks = {"loins": bent(220, 340), "chest": bent(100, 250), "neck": bent(0, 130)}
    longest, axis, placements = chain(tracks)
    assert longest == "chest" and axis.length_mm == pytest.approx(340, abs=0.5)
    for key, start in (("neck", 0), ("chest", 100), ("loins", 220)):
        placement = placements[key]
        assert placement.shares and placement.apart_mm < 0.1
        expected = start + np.arange(len(placement.positions_mm))
        np.testing.assert_allclose(placement.positions_mm, expected, atol=0.5)
    tangents = axis.tangents(np.linspace(0, axis.length_mm, 50))
    assert np.isfinite(tangents).all() and (np.diff(tangents[:, 1]) < 0.03).all()


def test_what_lies_beside_the_axis_is_led_to_its_end_and_not_counted_as_cord() -> None:
    line = bent(0, 100).points_mm
    longer = lengthened(line, bent(60, 200, beside_mm=5.0).points_mm)
    np.testing.assert_array_equal(longer[:101], line)
    assert arc_mm(longer)[-1] == pytest.approx(200, abs=3)
    assert np.diff(arc_mm(longer)).max() < 2 and least_step_mm(longer) > 0.4
    np.testing.assert_allclose(longer[-50:], bent(60, 200, beside_mm=5.0).points_mm[-50:])


@pytest.mark.parametrize("reach", [LEAST_ADDED_MM - 1, LEAST_ADDED_MM + 1])
def test_a_little_more_at_an_end_leaves_the_axis_as_it_is(reach: float) -> None:
    _, axis, _ = chain({"long": bent(0, 120), "other": bent(60, 120 + reach)})
    assert axis.length_mm == pytest.approx(120 + (reach if reach > LEAST_ADDED_MM else 0), abs=0.5)


def test_a_short_slab_has_a_place_and_does_not_lengthen_the_axis() -> None:
    _, axis, placements = chain({"long": bent(0, 120), "slab": bent(105, 140)})
    assert axis.length_mm == pytest.approx(120, abs=0.1) and placements["slab"].shares


def test_the_track_that_overlaps_most_is_joined_first() -> None:
    # The loins overlap the neck, too: by 1 mm.
    tracks = {"neck": bent(0, 150), "loins": bent(149, 260), "chest": bent(80, 220, beside_mm=2.0)}
    _, axis, placements = chain(tracks)
    assert all(placement.shares for placement in placements.values())
    # The chest bridges: the loins are compared over 71 mm of it, not over 1 mm of the neck.
    assert placements["loins"].apart_mm == pytest.approx(2.0, abs=0.8)
    assert axis.length_mm == pytest.approx(260, abs=3)
