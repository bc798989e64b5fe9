"""The simulated studies themselves: every kind runs, and gives each statistic a truth and an interval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench import studies


@pytest.mark.parametrize("draw", studies.STUDIES, ids=lambda draw: draw.__name__)
def test_every_study_gives_intervals(draw: object) -> None:
    found = list(draw(np.random.default_rng(3)))  # type: ignore[operator]
    assert found
    for statistic, study, truth, low, high in found:
        assert np.isfinite([truth, low, high]).all() and low < high, (statistic, study)


def test_coverage_is_counted() -> None:
    table = studies.coverage(4, (studies.repeated,))
    assert set(table["n"]) == {4} and table["coverage"].between(0, 1).all()
    assert studies.as_markdown(table).count("\n") == len(table) + 1


def test_the_page_has_its_place() -> None:
    page = (Path(studies.__file__).parents[1] / "docs" / "statistics.md").read_text()
    assert page.count("<!-- studies:begin -->") == page.count("<!-- studies:end -->") == 1
