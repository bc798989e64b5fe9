"""Which labels an image uses, and what is written of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import centred_grid, cylinder, disc_labels
from test_labelling import seen_of, spine

from softseg_bids.app.alignment import Traced, align
from softseg_bids.app.finding import DISAGREE, UNSURE, decide
from softseg_bids.app.landmarks import Track, axis_of
from softseg_bids.app.level_images import disc_image
from softseg_bids.app.sights import Sight, load_sight, save_sight
from softseg_bids.core.cord import trace
from softseg_bids.core.evidence import Evidence
from softseg_bids.core.labelling import Found
from softseg_bids.image.volume import Volume

LONG, SLAB = centred_grid((30, 40, 160)), centred_grid((60, 60, 6), (0.5, 0.5, 5.0))
# Height of the top of C1 in these images.
TOP_MM = 70.0
TRUE = spine()


def sight(evidence: Evidence | None = None) -> Sight:
    """Evidence of a neck on rows along the z axis: position p lies at height TOP_MM - p."""
    at, seen = seen_of(TRUE, -9, 149)
    points = np.column_stack([np.zeros_like(at), np.zeros_like(at), TOP_MM - at])
    return Sight(points, evidence or seen)


def image(
    shape: object, looked: Sight | None = None, discs: dict[int, tuple[float, float, float]] | None = None
) -> Traced:
    grid = LONG if shape is LONG else SLAB
    line = trace(cylinder(grid, over=3), grid.spacing_mm)
    assert line is not None
    labels = Volume(disc_labels(grid, discs).astype(np.float32), grid) if discs else None
    return Traced(grid, grid, line, labels, looked)


def test_found_labels_serve_the_session_with_their_confidence() -> None:
    _, found = align({"long": image(LONG, sight()), "slab": image(SLAB)})
    long, slab = found["long"], found["slab"]
    assert long.levels_source == "found" and slab.levels_source == "shared"
    assert slab.discs == long.discs and {3, 4, 5, 6} <= set(long.discs)
    assert long.disc_points_mm[3] == pytest.approx([0, 8.0, TOP_MM - TRUE[3]], abs=1.0)
    assert all(0.7 <= value <= 1 for value in long.confidences.values())
    assert set(long.confidences) == set(long.discs)


def test_given_labels_win_and_a_disagreement_is_flagged() -> None:
    near = {3: (0.5, 8.5, TOP_MM - TRUE[3]), 4: (0.5, 8.5, TOP_MM - TRUE[4])}
    _, found = align({"long": image(LONG, sight(), near)})
    assert found["long"].levels_source == "given" and set(found["long"].discs) == {3, 4}
    assert not found["long"].confidences and DISAGREE not in found["long"].flags
    assert found["long"].disc_points_mm[3] == pytest.approx(near[3], abs=1.0)
    # One level too low.
    shifted = {3: (0.5, 8.5, TOP_MM - TRUE[4]), 4: (0.5, 8.5, TOP_MM - TRUE[5])}
    _, found = align({"long": image(LONG, sight(), shifted), "slab": image(SLAB)})
    assert set(found["long"].discs) == {3, 4} and DISAGREE in found["long"].flags
    assert any("C2-C3 lies" in note and "below the one found" in note for note in found["long"].notes)
    assert DISAGREE in found["slab"].flags and found["slab"].levels_source == "shared"


def test_discs_nobody_can_number_give_no_levels_and_a_flag() -> None:
    doubtful = {n: Found(20.0 * n, 8.0, 0.4) for n in range(8, 14)}
    decision = decide({}, {}, doubtful, sight())
    assert decision.source == "none" and not decision.positions_mm and decision.flags == [UNSURE]
    assert decide({}, {}, {}, None) == ({}, {}, {}, "none", [], [])


def test_a_session_in_which_nothing_was_looked_for_has_no_levels() -> None:
    _, found = align({"long": image(LONG)})
    assert found["long"].levels_source == "none" and not found["long"].flags


def test_a_point_before_the_axis_lies_across_it() -> None:
    z = np.linspace(30, -30, 61)
    axis = axis_of(Track(np.column_stack([0 * z, 0.3 * z, z]), np.arange(61)))
    on, before = axis.point(20.0), axis.point(20.0, 7.0)
    assert np.linalg.norm(before - on) == pytest.approx(7.0) and before[1] > on[1]
    assert (before - on) @ [0, 0.3, 1] == pytest.approx(0, abs=1e-6)
    assert axis.positions(before)[0][0] == pytest.approx(20.0, abs=0.05)


def test_a_sight_survives_its_file_and_so_does_none(tmp_path: Path) -> None:
    before = sight()
    after = load_sight(save_sight(tmp_path / "sight.npz", before))
    assert after is not None
    np.testing.assert_array_equal(after.points_mm, before.points_mm)
    for one, two in zip(after.evidence, before.evidence, strict=True):
        np.testing.assert_array_equal(one, two)
    assert load_sight(save_sight(tmp_path / "nothing.npz", None)) is None


def test_discs_are_drawn_in_their_voxel_and_left_out_beyond_the_image() -> None:
    drawn = disc_image({3: [0.4, 8.4, 10.2], 9: [0.0, 0.0, 500.0]}, LONG)
    assert np.unique(drawn).tolist() == [0, 3]
    index = np.argwhere(drawn == 3)
    assert len(index) == 1
    assert np.abs(LONG.to_world(index[0].astype(float)) - [0.4, 8.4, 10.2]).max() <= 0.5
