"""Labels of two origins on one spine."""

from __future__ import annotations

import numpy as np
import pytest
from test_labelling import spine

from softseg_bids.core.joining import Contradiction, added, contradictions

TRUE = spine() | {60: 430.0}


def part(*values: int, shift: float = 0.0) -> dict[int, float]:
    return {value: TRUE[value] + shift for value in values}


@pytest.mark.parametrize("size", [0.65, 1.0, 1.3])
def test_any_parts_of_one_spine_fit(size: float) -> None:
    whole = {value: size * at for value, at in TRUE.items()}
    rng = np.random.default_rng(4)
    for _ in range(20):
        chosen = [value for value in whole if rng.random() < 0.5]
        rest = {value: at for value, at in whole.items() if value not in chosen}
        assert contradictions({value: whole[value] for value in chosen}, rest) == []


def test_one_label_has_one_place() -> None:
    assert contradictions(part(3), part(3, shift=5.0)) == []
    [found] = contradictions(part(3), part(3, shift=-5.5))
    assert found == Contradiction(3, 3, pytest.approx(-5.5))


def test_a_shifted_numbering_leaves_a_level_of_no_height() -> None:
    # What is given as C2-C3 lies at C3-C4.
    found = contradictions({3: TRUE[4]}, part(4, 5, 6))
    assert (found[0].given, found[0].other) == (3, 4)
    assert [(one.given, one.other) for one in contradictions({3: TRUE[4]}, part(2))] == [(3, 2)]


def test_the_order_is_that_of_the_spine() -> None:
    assert [pair[:2] for pair in contradictions({4: 30.0}, {3: 40.0})] == [(4, 3)]
    assert [pair[:2] for pair in contradictions({50: 20.0}, part(2))] == [(50, 2)]


def test_groove_and_junction_are_one_place() -> None:
    assert contradictions({49: TRUE[50] + 4}, part(50, 3)) == []
    assert [pair[:2] for pair in contradictions({49: TRUE[50] + 12}, part(50))] == [(49, 50)]
    assert added({49: 0.0}, {50: 1.0, 3: 60.0}) == {3: 60.0}


def test_the_conus_lies_below_the_upper_chest() -> None:
    assert contradictions({60: TRUE[22]}, part(3, 10, 18, 21, 22, 23)) == []
    assert [pair[:2] for pair in contradictions({60: 100.0}, part(3, 12))] == [(60, 12)]
    assert [pair[:2] for pair in contradictions(part(12), {60: 100.0})] == [(12, 60)]


def test_what_is_given_is_not_added_again() -> None:
    assert added({3: 30.0}, {3: 31.0, 4: 50.0, 50: -20.0}) == {4: 50.0, 50: -20.0}
    assert added({}, {}) == {}
