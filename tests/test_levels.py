"""Positions, levels, regions and their means against hand-worked numbers."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.levels import (
    C2_OVER_C3,
    DISC_2_EXTRAPOLATED,
    LEVEL_NAMES,
    Region,
    below_junction_mm,
    common_extent,
    level_coordinate,
    regions,
    summarise,
)

DISCS = {2: 10.0, 3: 30.0, 4: 48.0, 5: 66.0, 7: 100.0, 50: -40.0}


def region(name: str, found: list[Region]) -> Region:
    return next(one for one in found if one.name == name)


def test_level_names() -> None:
    assert [LEVEL_NAMES[n] for n in (1, 7, 8, 19, 20, 24, 25)] == ["C1", "C7", "T1", "T12", "L1", "L5", "S1"]
    assert sorted(LEVEL_NAMES) == list(range(1, 26))


def test_level_coordinate_needs_both_discs() -> None:
    level = level_coordinate(np.array([9.9, 10, 20, 37.2, 66, 80, 100, -40]), DISCS)
    np.testing.assert_allclose(level, [np.nan, 2, 2.5, 3.4, np.nan, np.nan, np.nan, np.nan])
    assert np.isnan(level_coordinate(np.arange(4.0), {})).all()
    assert np.isnan(level_coordinate(np.arange(4.0), {49: 0.0, 50: 3.0})).all()


def test_regions_of_known_discs() -> None:
    found = regions(DISCS)
    assert [one.name for one in found] == [
        "vert-C2", "vert-C3", "vert-C4", "vert-C2:C3", "disc-C2C3", "pmj-50",
    ]  # fmt: skip
    assert region("vert-C3", found) == Region("vert-C3", 30, 48, labels=(3, 4))
    assert region("vert-C2:C3", found) == Region("vert-C2:C3", 10, 48, labels=(2, 3, 4))
    assert region("disc-C2C3", found) == Region("disc-C2C3", 25, 35, labels=(3,))
    assert region("pmj-50", found) == Region("pmj-50", 0, 20, labels=(50,))


def test_distances_from_the_junction_name_their_regions() -> None:
    found = regions({50: -40.0}, (-10.0, 30.0), (50.0, 64.0, 32.5, 90.0))
    assert found == [
        Region("pmj-50", 0, 20, labels=(50,)),
        Region("pmj-64", 14, 34, labels=(50,)),
        Region("pmj-32.5", -17.5, 2.5, labels=(50,)),
    ]


def test_missing_disc_2_is_extrapolated_and_said() -> None:
    found = regions({3: 30.0, 4: 48.0})
    top = 30 - C2_OVER_C3 * 18
    extrapolated = Region("vert-C2:C3", pytest.approx(top), 48, (DISC_2_EXTRAPOLATED,), (3, 4))
    assert region("vert-C2:C3", found) == extrapolated
    assert "vert-C2" not in [one.name for one in found]


@pytest.mark.parametrize(
    "discs", [{2: 10.0, 3: 30.0}, {2: 10.0, 4: 48.0}, {3: 48.0, 4: 30.0}, {2: 35.0, 3: 30.0, 4: 48.0}]
)
def test_no_c2_c3_without_its_discs_in_order(discs: dict[int, float]) -> None:
    assert "vert-C2:C3" not in [one.name for one in regions(discs)]


def test_groove_stands_in_for_the_junction() -> None:
    assert regions({49: 3.0}) == [Region("pmj-50", 43, 63, labels=(49,))]
    assert regions({49: 3.0, 50: 5.0}) == [Region("pmj-50", 45, 65, labels=(50,))]


def test_regions_outside_the_extent_are_left_out() -> None:
    assert [one.name for one in regions(DISCS, (47.0, 60.0))] == ["vert-C3", "vert-C4", "vert-C2:C3"]
    assert regions({}, (0.0, 50.0)) == []


def test_common_is_the_intersection() -> None:
    assert common_extent({"a": (0, 80), "b": (10, 100), "c": (5, 60)}) == ((10, 60), {})


def test_common_leaves_out_the_fewest() -> None:
    extent, excluded = common_extent(
        {"top": (0, 50), "all": (0, 200), "low": (150, 190), "lower": (140, 200)}
    )
    assert extent == (150, 190)
    assert list(excluded) == ["top"]
    assert "from 40 to 0 mm" in excluded["top"]


def test_common_prefers_the_longer_of_equal_choices() -> None:
    extent, excluded = common_extent({"a": (0, 100), "b": (0, 35), "c": (60, 100)})
    assert extent == (60, 100)
    assert excluded == {"b": "it would shrink the common stretch from 40 to 0 mm"}


def test_nothing_common_when_all_are_short() -> None:
    extent, excluded = common_extent({"a": (0, 20), "b": (5, 34)})
    assert extent is None
    assert excluded["a"] == "it covers 20 mm of cord, less than 30 mm"
    assert common_extent({}) == (None, {})


def slices_of(areas: list[float]) -> dict[str, np.ndarray]:
    return {"area_mm2": np.array(areas, dtype=float), "solidity": np.array([np.nan, 0.9, 1.0, 0.8])}


STARTS, ENDS = np.array([0.0, 5, 10, 15]), np.array([5.0, 10, 15, 20])


def test_mean_is_weighted_by_the_length_inside() -> None:
    found = summarise(slices_of([60, 70, 80, 90]), STARTS, ENDS, Region("r", 2, 12))
    assert found["area_mm2"] == pytest.approx((3 * 60 + 5 * 70 + 2 * 80) / 10)
    assert found["area_sd_mm2"] == pytest.approx(np.sqrt((3 * 81 + 5 * 1 + 2 * 121) / 10))
    assert found["solidity"] == pytest.approx((5 * 0.9 + 2 * 1.0) / 7)
    assert (found["n_slices"], found["length_mm"], found["coverage"]) == (3, 10, 1)


def test_missing_and_unused_slices_lower_the_coverage() -> None:
    table = slices_of([60, np.nan, 80, 90])
    used = np.array([True, True, True, False])
    found = summarise(table, STARTS, ENDS, Region("r", 0, 25), used)
    assert found["area_mm2"] == pytest.approx(70)
    assert found["n_slices"] == 2
    assert found["coverage"] == pytest.approx(10 / 25)


def test_one_slice_has_no_sd_and_none_no_mean() -> None:
    one = summarise(slices_of([60, 70, 80, 90]), STARTS, ENDS, Region("r", 6, 9))
    assert one["area_mm2"] == 70
    assert np.isnan(one["area_sd_mm2"])
    assert one["n_slices"] == 1
    none = summarise(slices_of([60, 70, 80, 90]), STARTS, ENDS, Region("r", 30, 40))
    assert np.isnan(none["area_mm2"])
    assert (none["n_slices"], none["coverage"], none["length_mm"]) == (0, 0, 0)
    assert np.isnan(summarise(slices_of([60, 70, 80, 90]), STARTS, ENDS, Region("r", 3, 3))["coverage"])


def test_order_of_slices_does_not_matter() -> None:
    table = slices_of([60, 70, 80, 90])
    turned = {name: values[::-1] for name, values in table.items()}
    stretch = Region("r", 2, 12)
    assert summarise(table, STARTS, ENDS, stretch) == pytest.approx(
        summarise(turned, STARTS[::-1], ENDS[::-1], stretch)
    )


def test_length_column_is_measured_not_averaged() -> None:
    table = slices_of([60, 70, 80, 90]) | {"length_mm": np.full(4, 5.0)}
    assert summarise(table, STARTS, ENDS, Region("r", 0, 20))["length_mm"] == 20


def test_distance_from_the_junction_or_from_the_groove_in_its_place() -> None:
    at = np.array([-30.0, -26.0, 24.0])
    np.testing.assert_allclose(below_junction_mm(at, {50: -26.0, 49: -24.0, 3: 36.0}), [-4, 0, 50])
    np.testing.assert_allclose(below_junction_mm(at, {49: -24.0}), [-6, -2, 48])
    assert np.isnan(below_junction_mm(at, {3: 36.0})).all()
