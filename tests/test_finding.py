"""Which labels an image uses, and what is written of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import centred_grid, cylinder, disc_labels
from test_labelling import seen_of, spine

from softseg_bids.app.alignment import Traced, align
from softseg_bids.app.finding import DISAGREE, FROM_SACRUM, UNSURE, Looked, decide, main_source, source_of
from softseg_bids.app.landmarks import Track, axis_of
from softseg_bids.app.level_images import disc_image, label_facts
from softseg_bids.app.rows import unsure_regions
from softseg_bids.app.sights import Sight, load_sight, save_sight
from softseg_bids.core.cord import trace
from softseg_bids.core.evidence import LEVEL_CLASSES, Evidence
from softseg_bids.core.labelling import HEIGHTS_MM, Found
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


def shown(found: dict[int, Found]) -> Looked:
    """Labels that the image itself shows."""
    return Looked(found, frozenset(found), shows_discs=bool(found))


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
    assert all(0.7 <= long.confidences[value] <= 1 for value in long.discs)
    assert set(long.confidences) >= set(long.discs)


def test_given_labels_win_and_a_disagreement_is_flagged() -> None:
    near = {3: (0.5, 8.5, TOP_MM - TRUE[3]), 4: (0.5, 8.5, TOP_MM - TRUE[4])}
    _, found = align({"long": image(LONG, sight(), near)})
    long = found["long"]
    assert long.label_sources == {n: "given" if n in near else "found" for n in long.discs}
    assert {3, 4, 5, 6, 7} <= set(long.discs) and DISAGREE not in long.flags
    assert long.disc_points_mm[3] == pytest.approx(near[3], abs=0.51)
    # One level too low.
    shifted = {3: (0.5, 8.5, TOP_MM - TRUE[4]), 4: (0.5, 8.5, TOP_MM - TRUE[5])}
    _, found = align({"long": image(LONG, sight(), shifted), "slab": image(SLAB)})
    assert set(found["long"].discs) == {3, 4} and DISAGREE in found["long"].flags
    assert set(found["long"].label_sources.values()) == {"given"}
    assert any("C2-C3 lies" in note and "below the one found" in note for note in found["long"].notes)
    assert DISAGREE in found["slab"].flags and found["slab"].levels_source == "shared"


def test_the_junction_is_found_beside_given_discs() -> None:
    discs = {n: (0.5, 8.5, TOP_MM - TRUE[n]) for n in (3, 4, 5, 6, 7, 8)}
    at, seen = seen_of(TRUE, -55, 149)
    high = Sight(np.column_stack([0 * at, 0 * at, TOP_MM - at]), seen)
    _, found = align({"long": image(LONG, high, discs), "slab": image(SLAB)})
    long, slab = found["long"], found["slab"]
    assert long.levels_source == "given" and long.label_sources[50] == "found"
    assert long.discs[50] == pytest.approx(long.discs[3] + TRUE[50] - TRUE[3], abs=1.0)
    assert slab.discs == long.discs and set(slab.label_sources.values()) == {"shared"}


@pytest.mark.parametrize("given", [{50: -26.5}, {3: TRUE[3] + 1.0}])
def test_one_given_label_leaves_the_found_ones_in_place(given: dict[int, float]) -> None:
    points = {value: (0.5, 8.5 if value == 3 else 0.5, TOP_MM - at) for value, at in given.items()}
    grid = centred_grid((30, 40, 200))
    line = trace(cylinder(grid, over=3), grid.spacing_mm)
    assert line is not None
    labels = Volume(disc_labels(grid, points).astype(np.float32), grid)
    _, found = align({"long": Traced(grid, grid, line, labels, sight())})
    long = found["long"]
    assert {3, 4, 5, 6} <= set(long.discs) and long.levels_source == "found"
    assert [value for value, source in long.label_sources.items() if source == "given"] == list(given)
    assert long.flags == []


def test_where_given_and_found_disagree_only_the_given_count() -> None:
    certain = {n: Found(TRUE[n], 8.0, 0.95) for n in range(2, 9)}
    agree = decide({3: TRUE[3] + 4.9}, {}, shown(certain), (0, 150))
    assert set(agree.positions_mm) == set(certain) and not agree.flags
    assert agree.positions_mm[3] == TRUE[3] + 4.9
    apart = decide({3: TRUE[3] + 5.1}, {}, shown(certain), (0, 150))
    assert apart.positions_mm == {3: TRUE[3] + 5.1} and apart.flags == [DISAGREE]
    assert set(apart.confidences) == set(certain)
    # No label in common, but two discs in one place.
    del certain[3]
    shifted = decide({3: TRUE[4] - 2.0}, {}, shown(certain), (0, 150))
    assert set(shifted.positions_mm) == {3} and shifted.flags == [DISAGREE]
    assert any("C3-C4 found lies 2 mm below the given C2-C3" in note for note in shifted.notes)


def test_labels_of_the_session_complete_those_of_an_image() -> None:
    session = {3: 36.0, 4: 53.0}
    both = decide({50: -26.0}, session, shown({}), (0, 150))
    assert both.positions_mm == {50: -26.0, **session}
    assert both.sources == {50: "given", 3: "shared", 4: "shared"} and not both.flags
    against = decide({3: 53.0, 4: 70.0}, {}, shown({}), (0, 150), ["why"])
    assert against.positions_mm == {3: 53.0, 4: 70.0} and against.flags == [DISAGREE]
    assert against.notes == ["why"]


def test_discs_nobody_can_number_give_no_levels_and_a_flag() -> None:
    doubtful = {n: Found(20.0 * n, 8.0, 0.4) for n in range(8, 14)}
    decision = decide({}, {}, shown(doubtful), (100, 300))
    assert not decision.positions_mm and decision.flags == [UNSURE]
    assert decision.confidences == dict.fromkeys(range(8, 14), 0.4)
    assert decide({}, {}, shown({}), (0, 100)) == ({}, {}, {}, {}, {}, [], [])


def test_no_discs_are_said_to_be_seen_where_none_can_be_told() -> None:
    doubtful = {n: Found(20.0 * n, 8.0, 0.0) for n in range(8, 14)}
    decision = decide({}, {}, Looked(doubtful, frozenset(doubtful), shows_discs=False), (100, 300))
    assert decision.flags == [] and decision.notes == [] and not decision.positions_mm


def faint(top: float, bottom: float, disc: float) -> Sight:
    """As :func:`sight`, of a stretch, its marks less clear."""
    at, seen = seen_of(TRUE, top, bottom, disc=disc)
    return Sight(np.column_stack([0 * at, 0 * at, TOP_MM - at]), seen)


def test_an_image_alone_shares_with_nobody_however_faint_its_discs() -> None:
    alone = faint(-9, 149, disc=0.38)
    assert not alone.evidence.shows_discs
    _, found = align({"long": image(LONG, alone)})
    long = found["long"]
    assert long.discs and set(long.label_sources.values()) == {"found"} and long.levels_source == "found"


def test_a_label_is_found_in_the_images_that_show_it_and_shared_with_the_others() -> None:
    # The second image is bright from C5 down only; the third shows no discs at all.
    images = {
        "whole": image(LONG, sight()), "low": image(LONG, faint(TRUE[5] + 8, 149, 0.9)),
        "blank": image(LONG, faint(-9, 149, 0.02)),
    }  # fmt: skip
    _, found = align(images)
    discs = set(found["whole"].discs)
    assert {3, 4, 5, 6, 7} <= discs
    assert {found["whole"].label_sources[n] for n in discs} == {"found"}
    low = found["low"].label_sources
    assert {low[n] for n in (3, 4, 5)} == {"shared"} and {low[n] for n in (6, 7)} == {"found"}
    assert set(found["blank"].label_sources.values()) == {"shared"}


def unsure_at_the_top(**more: float) -> dict[int, Found]:
    """C2-C3 and C3-C4 doubtful, C5-C6 and below sure."""
    sureness = {3: 0.6, 4: 0.65, 6: 0.9, 7: 0.9, 8: 0.9, 9: 0.3}
    return {n: Found(TRUE[n], 8.0, value, **more) for n, value in sureness.items()}


def test_labels_that_are_unsure_are_flagged_though_others_are_sure() -> None:
    decision = decide({}, {}, shown(unsure_at_the_top()), (0, 150))
    assert set(decision.positions_mm) == {6, 7, 8} and decision.flags == [UNSURE]
    assert decision.notes == ["seen, but not surely enough to be shown: C2-C3, C3-C4, T1-T2"]
    assert decision.confidences[3] == 0.6 and set(decision.doubtful_mm) == {3, 4, 9}
    # An image that ends below them misses nothing; nor does one in which they hardly can be.
    assert decide({}, {}, shown(unsure_at_the_top()), (TRUE[5], TRUE[8])).flags == []
    # The one below all that are sure is missed as well.
    below = decide({}, {}, shown(unsure_at_the_top()), (TRUE[5], 150))
    assert below.flags == [UNSURE] and below.notes == ["seen, but not surely enough to be shown: T1-T2"]
    assert decide({}, {}, shown(unsure_at_the_top(in_view=0.3)), (0, 150)).flags == []
    # Labels somebody gave are not missed.
    whole = decide({3: TRUE[3], 4: TRUE[4]}, {}, shown(unsure_at_the_top()), (0, TRUE[8]))
    assert whole.flags == [] and set(whole.doubtful_mm) == {9}


LOINS = {n: Found(TRUE[n], 8.0, 0.81) for n in range(20, 26)}


def test_labels_that_only_the_sacrum_numbers_are_flagged() -> None:
    at = TRUE[19], TRUE[23]
    alone = decide({}, {}, shown(LOINS), at)
    assert set(alone.positions_mm) == set(LOINS) and alone.flags == [FROM_SACRUM]
    assert "counted up from the sacrum" in alone.notes[0]
    # With the lower chest in view it is the same; the conus numbers nothing.
    chest = {n: Found(TRUE[n], 8.0, 0.81) for n in range(12, 20)}
    assert FROM_SACRUM in decide({60: TRUE[21]}, {}, shown(chest | LOINS), at).flags


@pytest.mark.parametrize("anchor", [50, 2, 3, 8, 9])
def test_what_is_seen_of_the_neck_anchors_the_count(anchor: int) -> None:
    for confidence in (0.9, 0.4):
        seen = shown(LOINS | {anchor: Found(TRUE[anchor], 8.0, confidence)})
        assert FROM_SACRUM not in decide({}, {}, seen, (TRUE[19], TRUE[23])).flags
    hardly = shown(LOINS | {anchor: Found(TRUE[anchor], 8.0, 0.1, in_view=0.2)})
    assert FROM_SACRUM in decide({}, {}, hardly, (TRUE[19], TRUE[23])).flags


@pytest.mark.parametrize("given", [50, 3, 22])
def test_a_given_label_anchors_the_count(given: int) -> None:
    label = {given: TRUE[given]}
    for own, shared in ((label, {}), ({}, label)):
        decision = decide(own, shared, shown(LOINS), (TRUE[19], TRUE[23]))
        assert decision.flags == [] and set(decision.positions_mm) == {given, *LOINS}


def test_four_lumbar_vertebrae_seen_alone_are_flagged() -> None:
    four = HEIGHTS_MM[:22] + HEIGHTS_MM[23:]
    true = spine(heights=four)
    at, seen = seen_of(true, true[20] - 20, true[25] + 45)
    # The network surely knows the sacrum, here the 24th level; of the loins, that they lie above.
    kinds = 25.0 + (at > true[24]) + (at > true[25])
    spread = np.where(at > true[24] - 30, 0.3, 5.0)
    scores = -0.5 * ((np.arange(LEVEL_CLASSES)[:, None] - kinds) / spread) ** 2
    seen = seen._replace(classes=scores - np.log(np.exp(scores).sum(axis=0)))
    middle = 0.5 * (at[0] + at[-1])
    looked = Sight(np.column_stack([0 * at, 0 * at, middle - at]), seen)
    _, found = align({"long": image(LONG, looked)})
    long = found["long"]
    # All names are one off, and sure.
    assert set(long.discs) == {21, 22, 23, 24, 25} and FROM_SACRUM in long.flags


def test_regions_of_unsure_labels_are_named_and_no_others() -> None:
    _, found = align({"long": image(LONG, sight())})
    doubtful = {3: TRUE[3], 4: TRUE[4], 7: TRUE[7]}
    alignment = replace(found["long"], discs={5: TRUE[5], 6: TRUE[6]}, doubtful=doubtful)
    names = unsure_regions(alignment, (0.0, 95.0), (50.0,))
    assert names == ["vert-C3", "vert-C4", "vert-C6", "vert-C2:C3", "disc-C2C3"]
    assert unsure_regions(alignment, (TRUE[5] + 1, 105.0), (50.0,)) == ["vert-C6"]


def test_a_region_is_as_found_as_its_least_given_label() -> None:
    sources = {2: "found", 3: "given", 4: "given", 5: "shared"}
    assert [source_of(labels, sources) for labels in ((3, 4), (2, 3, 4), (4, 5), (8,))] == [
        "given", "found", "shared", "none",
    ]  # fmt: skip
    assert main_source(sources) == "given" and main_source({}) == "none"
    assert main_source({50: "given", 3: "found", 4: "found"}) == "found"
    assert main_source({50: "given"}) == "given"


def test_what_a_sidecar_says_of_labels() -> None:
    _, found = align({"long": image(LONG, sight())})
    alignment = replace(found["long"], label_sources={3: "given"}, confidences={3: 0.91234, 4: 0.5})
    assert label_facts(alignment) == {
        "LabelSource": {"C2-C3": "given"}, "LabelConfidence": {"C2-C3": 0.912, "C3-C4": 0.5},
    }  # fmt: skip
    assert label_facts(replace(alignment, confidences={})) == {"LabelSource": {"C2-C3": "given"}}


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
