"""Flags of slices and images, one odd thing at a time."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.quality import image_flags, in_means, slice_flags


def table(areas: list[float] | np.ndarray, slice_mm: float, binary: float = 1.0) -> dict[str, np.ndarray]:
    area = np.asarray(areas, dtype=float)
    return {
        "area_mm2": area,
        "area_binary_mm2": area * binary,
        "length_mm": np.full(len(area), slice_mm),
    }


def where(name: str, flags: list[list[str]]) -> list[int]:
    return [n for n, of_slice in enumerate(flags) if name in of_slice]


@pytest.mark.parametrize(("slice_mm", "outer"), [(0.8, 4), (1.0, 3), (1.5, 2), (2.0, 2), (2.5, 0), (5.0, 0)])
def test_outer_three_millimetres_of_a_3d_slab_are_partial(slice_mm: float, outer: int) -> None:
    flags = slice_flags(table([70] * 40, slice_mm), slice_mm)
    assert where("partial_end", flags) == [*range(outer), *range(40 - outer, 40)]
    assert sum(map(len, flags)) == 2 * outer


def test_partly_filled_thick_slices_at_the_ends() -> None:
    areas = [10, 40, 70, 72, 71, 70, 69, 50]
    flags = slice_flags(table(areas, 5), 5)
    assert where("partial_end", flags) == [0, 1, 7]
    np.testing.assert_array_equal(in_means(flags), [False, False, True, True, True, True, True, False])


def test_a_tapering_end_loses_two_slices_at_most() -> None:
    flags = slice_flags(table([70, 70, 70, 70, 50, 35, 24, 15], 5), 5)
    assert where("partial_end", flags) == [6, 7]


def test_blur_beyond_a_3d_slab_is_not_counted_as_its_outer_part() -> None:
    made = table([10, 30, *[70] * 30, 5], 1)
    made["area_binary_mm2"][[0, 1, -1]] = np.nan
    assert where("partial_end", slice_flags(made, 1)) == [0, 1, 2, 3, 4, 29, 30, 31, 32]


def test_blurred_ends_beside_a_void_are_partial() -> None:
    areas = np.array([*[70] * 20, 50, 20, *[np.nan] * 8, 5, 25, 54, *[70] * 20])
    assert where("partial_end", slice_flags(table(areas, 1), 1)) == [0, 1, 2, 20, 21, 30, 31, 32, 50, 51, 52]


def test_nineteen_percent_under_the_neighbour_is_not_partial() -> None:
    assert where("partial_end", slice_flags(table([57, 70, 70, 70], 5), 5)) == []


def test_void_and_gap_by_length_and_the_partial_slices_beside() -> None:
    areas = np.full(60, 70.0)
    areas[20:26] = np.nan
    areas[26] = 30
    areas[40:42] = np.nan
    flags = slice_flags(table(areas, 1), 1)
    assert where("void", flags) == list(range(20, 26))
    assert where("gap", flags) == [40, 41]
    assert where("partial_end", flags) == [0, 1, 2, 26, 57, 58, 59]
    assert not in_means(flags)[[20, 26, 40]].any()
    assert image_flags(table(areas, 1), flags) == ["void", "gap"]


def test_missing_slices_at_an_end_are_no_void() -> None:
    flags = slice_flags(table([np.nan, np.nan, 70, 70, 70, 70], 5), 5)
    assert where("void", flags) == []
    assert where("gap", flags) == [0, 1]


def test_jump_is_a_single_slice_not_a_compression() -> None:
    areas = np.full(80, 70.0)
    areas[20] = 95
    z = np.arange(80)
    areas -= 28 * np.exp(-(((z - 55) / 7.0) ** 2))  # 40 % narrower over a centimetre or two
    flags = slice_flags(table(areas, 1), 1)
    assert where("jump", flags) == [20]
    assert in_means(flags)[20]
    assert image_flags(table(areas, 1), flags) == []


def test_many_jumps_flag_the_image() -> None:
    areas = np.full(60, 70.0)
    areas[10:50:8] = 20
    flags = slice_flags(table(areas, 1), 1)
    assert where("jump", flags) == list(range(10, 50, 8))
    assert "jump" in image_flags(table(areas, 1), flags)


def test_two_jumps_in_a_row_flag_the_image() -> None:
    """A leak of 4 mm on 90 slices is no twentieth of them."""
    areas = [70.0] * 90
    areas[40:44] = [112.0] * 4
    flags = slice_flags(table(areas, 1), 1.0)
    assert where("jump", flags) == [40, 41, 42, 43]
    assert image_flags(table(areas, 1), flags) == ["jump"]
    areas[41:44] = [70.0] * 3
    assert image_flags(table(areas, 1), slice_flags(table(areas, 1), 1.0)) == []


def test_two_slices_know_no_jump() -> None:
    assert slice_flags(table([70, 60], 5), 5) == [[], []]


def test_facts_and_levels_become_flags() -> None:
    facts = {"touches_edge": np.array([True, False, False, False]), "pieces": np.array([1, 1, 2, 0])}
    levels = np.array([2.5, 3.0, np.nan, np.nan])
    flags = slice_flags(table([70] * 4, 5), 5, facts=facts, levels=levels)
    assert flags == [["touches_edge"], [], ["fragment", "no_level"], ["no_level"]]
    assert image_flags(table([70] * 10, 5), flags) == ["touches_edge", "fragment"]


@pytest.mark.parametrize(
    ("areas", "slice_mm", "binary", "expected"),
    [
        ([70] * 7, 5, 1.0, ["short_slab"]),
        ([70] * 8, 5, 1.0, []),
        ([15] * 10, 5, 1.0, ["implausible_area"]),
        ([160] * 10, 5, 1.0, ["implausible_area"]),
        ([70] * 10, 5, 0.8, ["blurred"]),
        ([70] * 10, 5, np.nan, ["blurred"]),
        ([np.nan] * 10, 5, 1.0, ["short_slab"]),
    ],
)
def test_image_flags(areas: list[float], slice_mm: float, binary: float, expected: list[str]) -> None:
    assert image_flags(table(areas, slice_mm, binary), [[] for _ in areas]) == expected
