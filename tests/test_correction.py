"""Merging corrected masks: what is not touched stays, what is touched is unbiased."""

from __future__ import annotations

import numpy as np
import pytest
from cord_phantoms import AREA_MM2, cylinder
from scipy.ndimage import gaussian_filter

from softseg_bids.core.correction import is_soft, merge, soften

SPACING = np.array([0.5, 0.5, 2.0])
PIXEL_MM2 = 0.25


def disc(radius_mm: float, centre_mm: tuple[float, float] = (15.0, 15.0)) -> np.ndarray:
    x = np.arange(60)[:, None] * 0.5 - centre_mm[0]
    y = np.arange(60)[None, :] * 0.5 - centre_mm[1]
    return np.hypot(x, y) <= radius_mm


@pytest.fixture(scope="module", params=[0.0, 1.0, 2.5], ids=["sharp", "blurred", "very blurred"])
def soft(request: pytest.FixtureRequest) -> np.ndarray:
    """A disc of 5 mm radius in twelve slices, its edge blurred by so many pixels."""
    mask = np.repeat(disc(5.0)[:, :, None], 12, axis=2).astype(np.float32)
    return gaussian_filter(mask, (request.param, request.param, 0))


def area_mm2(values: np.ndarray) -> np.ndarray:
    return values.sum(axis=(0, 1), dtype=float) * PIXEL_MM2


def test_unedited_mask_changes_nothing(soft: np.ndarray) -> None:
    np.testing.assert_array_equal(merge(soft, soft >= 0.5, SPACING), soft)
    np.testing.assert_array_equal(merge(soft, (soft >= 0.5).astype(np.uint8), SPACING), soft)


@pytest.mark.parametrize(
    "painted",
    [
        disc(6.0),
        disc(4.0),
        disc(5.0, (16.3, 14.2)),
        disc(5.0) | disc(2.5, (20.0, 15.0)),
        disc(5.0) & ~disc(2.5, (20.0, 15.0)),
        disc(3.0, (5.0, 24.0)),
    ],
    ids=["grown", "shrunk", "moved", "bump", "bite", "elsewhere"],
)
def test_only_edited_slices_change_and_have_the_painted_area(soft: np.ndarray, painted: np.ndarray) -> None:
    corrected = soft >= 0.5
    corrected[:, :, 4:7] = painted[:, :, None]
    merged = merge(soft, corrected, SPACING)
    others = [0, 1, 2, 3, 7, 8, 9, 10, 11]
    np.testing.assert_array_equal(merged[:, :, others], soft[:, :, others])
    np.testing.assert_array_equal(merged >= 0.5, corrected)
    assert merged.min() >= 0
    assert merged.max() <= 1
    # What the model's own soft and binary areas differ by is not the edit's doing.
    own = abs(area_mm2(soft)[5] / area_mm2(soft >= 0.5)[5] - 1)
    np.testing.assert_allclose(area_mm2(merged)[4:7], painted.sum() * PIXEL_MM2, rtol=0.01 + own)


def test_edited_discs_have_the_area_of_the_disc(soft: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    drawn, true = [], []
    for radius in (4.0, 4.5, 5.5, 6.0):
        for centre in rng.uniform(14.5, 15.5, (12, 2)):
            painted = disc(radius, (centre[0], centre[1]))
            corrected = soft >= 0.5
            corrected[:, :, 5] = painted
            area = area_mm2(merge(soft, corrected, SPACING))[5]
            drawn.append(area / (painted.sum() * PIXEL_MM2))
            true.append(area / (np.pi * radius**2))
    # Where the new edge meets the old one, the model's soft and binary areas may differ.
    own = abs(area_mm2(soft)[5] / area_mm2(soft >= 0.5)[5] - 1)
    np.testing.assert_allclose(drawn, 1, atol=0.01 + own)
    # Whole pixels scatter about a circle; softening them must not add a bias.
    assert np.mean(true) == pytest.approx(1, abs=0.006)


def test_one_added_pixel_is_a_small_local_change(soft: np.ndarray) -> None:
    corrected = soft >= 0.5
    edge = int(np.flatnonzero(corrected[:, 30, 5])[-1]) + 1
    corrected[edge, 30, 5] = True
    merged = merge(soft, corrected, SPACING)
    change = area_mm2(merged)[5] - area_mm2(soft)[5]
    assert 0 < change < 2.5 * PIXEL_MM2
    # The far side of the disc keeps its values.
    np.testing.assert_array_equal(merged[:28, :, 5], soft[:28, :, 5])


def test_erased_slice_is_empty(soft: np.ndarray) -> None:
    corrected = soft >= 0.5
    corrected[:, :, 3] = False
    merged = merge(soft, corrected, SPACING)
    assert not merged[:, :, 3].any()
    np.testing.assert_array_equal(merged[:, :, 4:], soft[:, :, 4:])


def test_erased_object_takes_its_halo_with_it() -> None:
    both = np.repeat((disc(5.0) | disc(2.0, (26.0, 26.0)))[:, :, None], 3, axis=2)
    soft = gaussian_filter(both.astype(np.float32), (1.5, 1.5, 0))
    merged = merge(soft, np.repeat(disc(5.0)[:, :, None], 3, axis=2) & (soft >= 0.5), SPACING)
    assert not merged[44:, 44:].any()
    np.testing.assert_array_equal(merged[:36, :36], soft[:36, :36])


def test_painting_on_nothing_gives_a_soft_edged_disc() -> None:
    empty = np.zeros((60, 60, 5), dtype=np.float32)
    empty[30:34, 30:34, 2] = 0.2  # what the model was unsure of is replaced
    corrected = np.zeros(empty.shape, dtype=np.uint8)
    corrected[:, :, 2] = 255 * disc(5.0)
    merged = merge(empty, corrected, SPACING)
    assert is_soft(merged)
    assert area_mm2(merged)[2] == pytest.approx(disc(5.0).sum() * PIXEL_MM2, rel=1e-5)
    assert not merged[:, :, [0, 1, 3, 4]].any()


def test_soft_correction_is_used_as_it_is() -> None:
    perfect = cylinder((0.5, 0.5, 5.0), (20.0, 0.0), 20, 30, finer=4)
    merged = merge(np.zeros_like(perfect), perfect, np.array([0.5, 0.5, 5.0]))
    np.testing.assert_array_equal(merged, perfect)
    assert merged.sum() * 0.25 * np.cos(np.deg2rad(20)) / 4 == pytest.approx(AREA_MM2, rel=1e-3)


def test_softening_conserves_area_and_the_mask() -> None:
    mask = disc(4.3) | disc(3.0, (24.0, 20.0))
    assert soften(mask).sum() == pytest.approx(mask.sum(), rel=1e-5)
    rng = np.random.default_rng(0)
    ragged = rng.random((40, 40)) > 0.5
    np.testing.assert_array_equal(soften(ragged) >= 0.5, ragged)
    whole = np.ones((4, 4), dtype=bool)
    np.testing.assert_array_equal(soften(whole), 1)


def test_full_slice_can_be_cut_down() -> None:
    full = np.ones((60, 60, 1), dtype=np.float32)
    merged = merge(full, disc(5.0)[:, :, None], SPACING)
    assert area_mm2(merged)[0] == pytest.approx(disc(5.0).sum() * PIXEL_MM2, rel=1e-5)


@pytest.mark.parametrize(
    ("values", "answer"),
    [([0, 1], False), ([0, 255], False), ([0.0, 0.9999], False), ([0, 0.5, 1], True), ([0, 0.02], True)],
)
def test_is_soft(values: list[float], answer: bool) -> None:
    assert is_soft(np.array(values)) is answer


def test_other_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 2, 3\)"):
        merge(np.zeros((2, 2, 2), dtype=np.float32), np.zeros((2, 2, 3)), SPACING)
