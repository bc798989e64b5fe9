"""Evidence of several images, and the labelling that fits all of it."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.evidence import LEVEL_CLASSES, MARKS, Evidence, pool
from softseg_bids.core.labelling import (
    CONFIDENT,
    HEIGHTS_MM,
    SEGMENTS,
    Found,
    cut_probabilities,
    label_axis,
    sure,
)

STEP = 1.25


def spine(size: float = 1.0, heights: tuple[float, ...] = HEIGHTS_MM) -> dict[int, float]:
    """Positions of the labels of a spine: 1 is the top of C1."""
    tops = np.concatenate([[0.0], np.cumsum(size * np.asarray(heights))])
    return {50: -26.0} | {n + 1: float(top) for n, top in enumerate(tops)}


def seen_of(
    labels: dict[int, float], top: float, bottom: float, known: float = 5.0, disc: float = 0.9, hide: int = 0
) -> tuple[np.ndarray, Evidence]:
    """What a good network says of a stretch: discs anywhere, names to ``known`` levels below C1 only."""
    rng = np.random.default_rng(7)
    at = np.arange(top, bottom, STEP)
    marks = np.full((len(MARKS), len(at)), 0.02)
    for value, place in labels.items():
        row = {50: 2, 2: 1}.get(value, 0)
        if value in (1, 26, hide):
            continue
        marks[row] = np.maximum(marks[row], disc * np.exp(-0.5 * ((at - place) / 1.5) ** 2))
    kinds = np.searchsorted(sorted(labels.values()), at, side="right")
    spread = np.where((kinds <= known) | (kinds >= 30 - known), 1.0, 8.0)
    scores = -0.5 * ((np.arange(LEVEL_CLASSES)[:, None] - kinds) / spread) ** 2
    scores += rng.normal(0, 0.3, scores.shape)
    logs = scores - np.log(np.exp(scores).sum(axis=0))
    return at, Evidence(marks, np.full(len(at), 8.0), logs, np.ones(len(at), dtype=bool))


def labels_of(*views: tuple[np.ndarray, Evidence]) -> dict[int, Found]:
    pooled = pool(views)
    assert pooled is not None
    return label_axis(pooled)


def test_probabilities_of_all_labellings_sum_to_one() -> None:
    pooled = pool([seen_of(spine(), 10, 150)])
    assert pooled is not None
    cuts = cut_probabilities(pooled)
    assert cuts.min() >= 0
    # Each kind begins at most once in a labelling.
    assert cuts.sum(axis=1).max() < 1 + 1e-6
    assert cuts[4].sum() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("size", [0.85, 1.0, 1.12])
@pytest.mark.parametrize("view", [(-60, 130), (15, 170), (-40, 600)])
def test_what_has_an_anchor_is_labelled_right(size: float, view: tuple[float, float]) -> None:
    true = spine(size)
    found = sure(labels_of(seen_of(true, *view)))
    inside = [n for n, at in true.items() if view[0] + 4 < at < view[1] - 4 and n not in (1, 26)]
    assert [n for n in inside if n not in found] == []
    assert max(abs(found[n].position_mm - true[n]) for n in inside) < 1.0
    assert all(found[n].before_mm == pytest.approx(8.0, abs=0.1) for n in inside if n < 50)


def test_rows_that_all_lean_one_way_are_no_proof() -> None:
    """Two in three for one numbering, row after row, is two in three: not a certainty."""
    at, seen = seen_of(spine(), 330, 520, known=0)
    kinds = np.searchsorted(sorted(spine().values()), at, side="right")
    likely = np.full(seen.classes.shape, 1e-6)
    likely[kinds, np.arange(len(at))], likely[kinds - 1, np.arange(len(at))] = 2 / 3, 1 / 3
    leaning = seen._replace(classes=np.log(likely / likely.sum(axis=0)))
    assert max(label.confidence for label in labels_of((at, leaning)).values()) < 0.9


def test_a_chest_alone_has_no_numbers() -> None:
    found = labels_of(seen_of(spine(), 150, 360))
    assert found and not sure(found)
    assert max(label.confidence for label in found.values()) < CONFIDENT


def test_a_vertebra_more_below_is_not_counted_into_the_chest() -> None:
    # Thirteen ribs, so to say: what lies above keeps its names, what lies below has none.
    heights = (*HEIGHTS_MM[:19], 29.5, *HEIGHTS_MM[19:])
    tops = np.concatenate([[0.0], np.cumsum(heights)])
    true = {n + 1: float(top) for n, top in enumerate(tops)}
    at, evidence = seen_of(true, -20, 640)
    # The network knows C1 to C5, and the sacrum (S1 is the 26th level here) as what it is.
    classes = np.roll(evidence.classes, 0, axis=0).copy()
    low = at > tops[25] - 40
    kinds = np.where(at[low] > tops[25], 26, 25)
    scores = -0.5 * (np.arange(LEVEL_CLASSES)[:, None] - kinds) ** 2 * 4.0
    classes[:, low] = scores - np.log(np.exp(scores).sum(axis=0))
    found = sure(labels_of((at, evidence._replace(classes=classes))))
    assert all(abs(found[n].position_mm - true[n]) < 1.5 for n in range(3, 15))
    wrong = [n for n in found if 21 <= n <= 25 and abs(found[n].position_mm - true[n]) > 3]
    assert wrong == []


def test_a_disc_that_is_not_seen_is_not_labelled_and_its_neighbours_are() -> None:
    true = spine()
    found = sure(labels_of(seen_of(true, -10, 160, hide=6)))
    assert 6 not in found
    assert abs(found[5].position_mm - true[5]) < 1 and abs(found[7].position_mm - true[7]) < 1


def test_the_joint_of_c1_and_c2_is_named_only_where_it_is_seen() -> None:
    true = spine()
    shown, hidden = (labels_of(seen_of(true, -10, 160, hide=hide)) for hide in (0, 2))
    assert 2 in sure(shown)
    assert 3 in sure(hidden) and 2 not in sure(hidden)
    # Nor where the view ends right above it: what else is there would tell it from a remnant within C2.
    assert 2 not in sure(labels_of(seen_of(true, true[2] - 3, 160)))
    # Its place is still told, for whoever wants to know how unsure it is.
    assert abs(hidden[2].position_mm - true[2]) < 4 and hidden[2].confidence == 0


def test_nothing_seen_is_nothing_found() -> None:
    assert pool([]) is None
    assert pool([(np.arange(5.0), Evidence.nothing(5))]) is None


def test_an_image_that_shows_nothing_changes_nothing() -> None:
    true = spine()
    at, clear = seen_of(true, 10, 150)
    blank = Evidence(
        np.full_like(clear.marks, 0.02),
        clear.tip_mm,
        np.full_like(clear.classes, -np.log(LEVEL_CLASSES)),
        clear.seen,
    )
    alone, both = labels_of((at, clear)), labels_of((at, clear), (at, blank))
    assert sure(both).keys() == sure(alone).keys()
    for value, label in sure(alone).items():
        assert both[value].position_mm == pytest.approx(label.position_mm, abs=0.3)
    assert clear.shows_discs and not blank.shows_discs


def test_two_images_of_two_parts_are_numbered_together() -> None:
    # The lower one alone cannot be numbered.
    true = spine()
    upper, lower = seen_of(true, -10, 140), seen_of(true, 120, 260)
    assert not sure(labels_of(lower))
    found = sure(labels_of(upper, lower))
    assert all(abs(found[n].position_mm - true[n]) < 1.5 for n in (9, 10, 11))


def test_the_conus_is_where_it_is_seen() -> None:
    at, evidence = seen_of(spine(), 350, 560)
    evidence.marks[3] = 0.8 * np.exp(-0.5 * ((at - 420) / 6) ** 2)
    found = labels_of((at, evidence))
    assert found[60].position_mm == pytest.approx(420, abs=1.5) and 60 in sure(found)


def test_logits_become_probabilities_only_where_something_was_seen() -> None:
    seen = np.array([False, True, True, False])
    out = np.zeros((len(MARKS) + 1 + LEVEL_CLASSES, 2))
    out[len(MARKS)] = 0.7
    evidence = Evidence.from_logits(out, 10.0, seen, 1)
    np.testing.assert_allclose(evidence.marks[:, 1:3], 0.5)
    np.testing.assert_allclose(evidence.tip_mm, [0, 7, 7, 0])
    np.testing.assert_allclose(np.exp(evidence.classes).sum(axis=0), 1)
    assert (evidence.marks[:, [0, 3]] == 0).all()


def test_every_variant_leads_back_to_the_sacrum() -> None:
    reached = {0}
    for number, segment in enumerate(SEGMENTS):
        assert all(before < number for before, _ in segment.before)
        if any(before in reached for before, _ in segment.before):
            reached.add(number)
    assert reached == set(range(len(SEGMENTS)))
