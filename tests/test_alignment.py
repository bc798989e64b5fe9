"""Images of one session in scanner space."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import centred_grid, cylinder, disc_labels

from softseg_bids.app.alignment import Labels, Traced, align
from softseg_bids.core.cord import trace
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import Volume

TILT = (0.0, 0.2, 1.0)
LONG = centred_grid((30, 40, 80))
SLAB = centred_grid((60, 60, 6), (0.5, 0.5, 5.0))


def image(
    grid: Grid, discs: dict[int, tuple[float, float, float]] | None = None, shift: float = 0.0
) -> Traced:
    soft = cylinder(grid, axis=TILT, centre_mm=(0.0, shift, 0.0), over=3)
    line = trace(soft, grid.spacing_mm)
    assert line is not None
    labels = Volume(disc_labels(grid, discs).astype(np.float32), grid) if discs else None
    return Traced(grid, grid, line, labels)


SLAB_OF_LABELS = centred_grid((40, 40, 50))
DISCS = {3: (0.5, 12.5, 15.5), 4: (0.5, 8.5, 0.5), 5: (0.5, 5.5, -14.5)}


def test_labels_serve_the_whole_session() -> None:
    axis, found = align({"slab": image(SLAB), "long": image(LONG, DISCS)})
    assert axis == "long"
    assert found["long"].levels_source == "given" and found["slab"].levels_source == "shared"
    assert found["slab"].discs == found["long"].discs
    along = np.linalg.norm(TILT)
    assert found["long"].discs[4] - found["long"].discs[3] == pytest.approx((15 + 0.2 * 4) / along, abs=0.05)


def test_labels_of_an_image_without_cord_serve_too() -> None:
    labels = Volume(disc_labels(SLAB_OF_LABELS, DISCS).astype(np.float32), SLAB_OF_LABELS)
    _, found = align({"long": image(LONG)}, [Labels(labels, SLAB_OF_LABELS)])
    assert found["long"].levels_source == "shared" and set(found["long"].discs) == {3, 4, 5}


def test_positions_are_those_of_the_axis() -> None:
    _, found = align({"slab": image(SLAB), "long": image(LONG)})
    positions = np.array(found["slab"].positions_mm)
    # Slices of 5 mm on a cord tilted by 0.2, counted downwards while slices run upwards.
    np.testing.assert_allclose(np.diff(positions), -5 * np.hypot(1, 0.2), rtol=0.01)


def test_a_short_slab_takes_the_sessions_tangents() -> None:
    _, found = align({"slab": image(SLAB), "long": image(LONG)})
    assert found["slab"].angle_source == "session" and found["long"].angle_source == "own"
    expected = np.array(TILT) / np.linalg.norm(TILT)
    np.testing.assert_allclose(found["slab"].tangents, np.tile(expected, (6, 1)), atol=0.01)


def test_alone_it_takes_a_straight_line() -> None:
    _, found = align({"slab": image(SLAB)})
    assert found["slab"].angle_source == "straight"
    expected = np.array(TILT) / np.linalg.norm(TILT)
    np.testing.assert_allclose(found["slab"].tangents, np.tile(expected, (6, 1)), atol=0.01)


def test_four_millimetres_apart_is_flagged() -> None:
    _, found = align({"slab": image(SLAB, shift=4.2), "long": image(LONG, DISCS)})
    assert "moved" in found["slab"].flags and found["slab"].levels_source == "shared"
    assert found["slab"].angle_source == "straight"


def test_eight_millimetres_apart_shares_nothing() -> None:
    _, found = align({"slab": image(SLAB, shift=8.5), "long": image(LONG, DISCS)})
    assert "not_shared" in found["slab"].flags and found["slab"].levels_source == "none"
    assert not found["slab"].shares and found["slab"].discs == {}


def test_another_part_of_the_cord_shares_nothing() -> None:
    low = Grid(LONG.shape, LONG.affine.copy())
    low.affine[1:3, 3] -= 20, 100
    _, found = align({"low": image(low), "long": image(LONG, DISCS)})
    assert "not_shared" in found["low"].flags or "not_shared" in found["long"].flags


@pytest.mark.parametrize(
    ("discs", "problem"),
    [
        ({30: (0.0, 8.0, 0.0)}, "label 30 is no disc"),
        ({3: (14.5, -19.5, 39.5), 4: (0.0, 8.0, 0.0)}, "from the cord"),
        ({3: (0.0, 8.0, 0.0), 4: (0.0, 12.0, 15.0)}, "order of the spine"),
    ],
)
def test_labels_that_cannot_be_right(discs: dict[int, tuple[float, float, float]], problem: str) -> None:
    _, found = align({"long": image(LONG, discs)})
    assert problem in " ".join(found["long"].notes)


def test_the_axes_of_an_image_may_be_turned() -> None:
    turn = np.deg2rad(20)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    oblique = Grid(SLAB.shape, rotation @ SLAB.affine)
    _, found = align({"slab": image(oblique), "long": image(LONG)})
    world = np.array(found["slab"].tangents) @ (oblique.affine[:3, :3] / oblique.spacing_mm).T
    expected = np.array(TILT) / np.linalg.norm(TILT)
    np.testing.assert_allclose(world, np.tile(expected, (len(world), 1)), atol=0.02)
