"""Facts about a scan that move its area."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.app.facts import csa_fit, isocentre_offset_mm, plane_of, scanner_facts, site_of


@pytest.mark.parametrize(
    ("spacing", "plane"),
    [((1, 1, 1), "iso"), ((0.8, 0.8, 0.8), "iso"), ((0.5, 0.5, 5), "ax"), ((3, 0.7, 0.7), "sag"),
     ((0.8, 3, 0.8), "cor"), ((1.2, 1, 1), "iso")],
)  # fmt: skip
def test_plane(spacing: tuple[float, float, float], plane: str) -> None:
    assert plane_of(np.array(spacing, dtype=float)) == plane


@pytest.mark.parametrize(
    ("spacing", "tilt", "fit"),
    [((1, 1, 1), 40, "good"), ((0.5, 0.5, 5), 10, "good"), ((0.5, 0.5, 5), 35, "limited"),
     ((2.5, 0.8, 0.8), 5, "limited"), ((4.5, 1, 1), 5, "no")],
)  # fmt: skip
def test_fitness(spacing: tuple[float, float, float], tilt: float, fit: str) -> None:
    assert csa_fit(np.array(spacing, dtype=float), tilt) == fit


def test_scanner() -> None:
    found = scanner_facts({"Manufacturer": "Siemens", "SoftwareVersions": "syngo\tMR E11", "Other": 1})
    assert found == {"manufacturer": "Siemens", "scanner": "", "software": "syngo MR E11"}


class TestSite:
    """Where an image was acquired."""

    def test_the_column_asked_for(self) -> None:
        assert site_of({"site": "a", "centre": "b"}, {}, {}, "centre") == "b"

    def test_in_order(self) -> None:
        metadata = {"InstitutionName": "Hospital"}
        assert site_of({"site": "a", "institution_id": "b"}, {}, metadata, None) == "a"
        assert site_of({"site": None, "institution_id": "b"}, {}, metadata, None) == "b"
        assert site_of({}, {}, metadata, None) == "Hospital"
        assert site_of({}, {}, {}, None) == ""

    def test_the_sessions_own_site_counts(self) -> None:
        assert site_of({"site": "a"}, {"site": "c"}, {}, None) == "c"
        assert site_of({"site": "a"}, {"site": None}, {}, None) == "a"

    def test_a_column_asked_for_is_never_replaced(self) -> None:
        assert site_of({"site": "a", "centre": None}, {}, {"InstitutionName": "H"}, "centre") == ""


def test_isocentre() -> None:
    assert isocentre_offset_mm(np.array([[0, 3, 3.0], [0, 3, 5.0]])) == pytest.approx(5.0)
