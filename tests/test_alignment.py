"""Images of one session in scanner space."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import centred_grid, cylinder, disc_labels

from softseg_bids.app.alignment import Alignment, Labels, Traced, align
from softseg_bids.app.finding import DISAGREE
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


def labelled(*heights: dict[int, float]) -> dict[str, Alignment]:
    """Images with these discs, "a" and so on; and "z", which has none."""
    discs = [{value: (0.5, 5.5 + 0.2 * round(z - 0.5), z) for value, z in at.items()} for at in heights]
    images = {name: image(LONG, given) for name, given in zip("abc", discs, strict=False)}
    return align(images | {"z": image(LONG)})[1]


NECK = {3: 25.5, 4: 8.5, 5: -8.5}


@pytest.mark.parametrize("shift", [17, 10, 7])
def test_labels_that_contradict_each_other_are_not_shared(shift: int) -> None:
    found = labelled(NECK, {value: z - shift for value, z in NECK.items()})
    assert found["z"].discs == {} and found["z"].levels_source == "none"
    assert [found[name].flags for name in "abz"] == [[DISAGREE]] * 3
    assert all(set(found[name].discs) == set(NECK) and found[name].levels_source == "given" for name in "ab")
    far = round(shift * np.linalg.norm(TILT))
    assert f"the given C2-C3 lies {far} mm above the one of b" in found["a"].notes
    assert f"the given C2-C3 lies {far} mm below the one of a" in found["b"].notes
    [note] = found["z"].notes
    assert note.startswith("the labels of a and b contradict each other (C2-C3")


def test_labels_without_a_value_in_common_can_contradict_each_other() -> None:
    # The second file's numbers are two too high.
    found = labelled({3: 25.5, 4: 8.5}, {5: 8.5, 6: -6.5})
    assert found["z"].discs == {} and all(found[name].flags == [DISAGREE] for name in "abz")


def test_what_files_in_dispute_agree_on_is_shared() -> None:
    # The lowest label of the second file is wrong; only the third has the one below.
    found = labelled(NECK, NECK | {5: -16.5}, {6: -25.5})
    assert set(found["z"].discs) == {3, 4, 6} and found["z"].flags == [DISAGREE]
    assert found["z"].discs[3] == pytest.approx(found["a"].discs[3])
    # What is an image's own is left alone; the third fits both.
    assert set(found["a"].discs) == set(NECK) and set(found["c"].discs) == {3, 4, 6}
    assert all(found[name].flags == [DISAGREE] for name in "abc")


def test_labels_of_one_file_too_close_to_each_other_are_told() -> None:
    found = labelled({3: 25.5, 8: 8.5})
    assert set(found["a"].discs) == {3, 8} and found["z"].discs == {}
    assert all(found[name].flags == [DISAGREE] for name in "az")
    assert "the C7-T1 of a lies 17 mm below the given C2-C3: both cannot be right" in found["a"].notes
    assert found["z"].notes == [
        "the labels of a contradict each other (C2-C3): not shared until they are mended"
    ]


def test_four_millimetres_between_two_labels_are_no_dispute() -> None:
    found = labelled(NECK, {value: z - 4 for value, z in NECK.items()})
    assert set(found["z"].discs) == set(NECK) and all(not found[name].flags for name in "abz")
    assert found["z"].discs[3] == pytest.approx(0.5 * (found["a"].discs[3] + found["b"].discs[3]))


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


def station(
    height_mm: float, discs: dict[int, tuple[float, float, float]] | None = None, shift: float = 0.0
) -> Traced:
    """An image of 80 mm of the cord about a height."""
    grid = Grid(LONG.shape, LONG.affine.copy())
    grid.affine[1:3, 3] += 0.2 * height_mm, height_mm
    return image(grid, discs, shift)


def test_stations_that_overlap_only_the_next_one_share_all_the_same() -> None:
    stations = {"loins": station(-120), "neck": station(0, DISCS), "chest": station(-60)}
    _, found = align(stations)
    assert all(one.shares and not one.flags for one in found.values())
    assert found["loins"].levels_source == "shared" and found["loins"].discs == found["neck"].discs
    along = np.linalg.norm(TILT)
    middle = {name: np.mean(one.positions_mm) for name, one in found.items()}
    assert middle["chest"] - middle["neck"] == pytest.approx(60 * along, abs=0.1)
    assert middle["loins"] - middle["neck"] == pytest.approx(120 * along, abs=0.1)
    # The axis begins at its upper end, whichever image that is of.
    assert min(found["neck"].positions_mm) == pytest.approx(0, abs=0.01)


def test_a_station_that_moved_is_no_bridge() -> None:
    _, found = align({"neck": station(0, DISCS), "chest": station(-60, shift=9.0), "loins": station(-120)})
    assert all("not_shared" in found[name].flags and not found[name].discs for name in ("chest", "loins"))
    assert "its centreline lies" in found["chest"].notes[0] and "another part" in found["loins"].notes[0]


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
