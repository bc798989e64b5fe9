"""One axis resampled: conservation, exactness on lines, and what lies outside."""

from __future__ import annotations

import numpy as np
import pytest

from softseg_bids.core.respace import axis_weights

CASES = [(20, 37, 0.5, 0.1), (20, 9, 2.3, 0.7), (13, 13, 1.0, 0.0), (40, 6, 6.66, 2.8)]


@pytest.mark.parametrize(("n_in", "n_out", "scale", "shift"), CASES)
def test_a_line_stays_a_line(n_in: int, n_out: int, scale: float, shift: float) -> None:
    weights = axis_weights(n_in, n_out, scale, shift, "edge")
    centre = scale * np.arange(n_out) + shift
    inside = (centre - 0.5 * scale >= 0) & (centre + 0.5 * scale <= n_in - 1)
    assert inside.sum() >= 3
    np.testing.assert_allclose((weights @ np.arange(n_in))[inside], centre[inside], atol=1e-12)


@pytest.mark.parametrize(("n_in", "n_out", "scale", "shift"), CASES)
def test_rows_of_images_sum_to_one(n_in: int, n_out: int, scale: float, shift: float) -> None:
    np.testing.assert_allclose(axis_weights(n_in, n_out, scale, shift, "edge").sum(axis=1), 1)


def test_mass_is_conserved_where_the_output_covers_the_input() -> None:
    rng = np.random.default_rng(0)
    for scale in (0.4, 0.93, 1.7, 5.1):
        values = rng.random(30)
        n_out = int(np.ceil(40 / scale))
        out = axis_weights(30, n_out, scale, -4.0, "zero") @ values
        assert out.sum() * scale == pytest.approx(values.sum(), rel=1e-12)


def test_agrees_with_numerical_integration_of_the_interpolated_line() -> None:
    rng = np.random.default_rng(1)
    values = rng.random(12)
    fine = np.linspace(0, 11, 110_001)
    line = np.interp(fine, np.arange(12), values)
    out = axis_weights(12, 5, 1.9, 1.5, "zero") @ values
    for i, mean in enumerate(out):
        within = np.abs(fine - (1.9 * i + 1.5)) <= 0.95
        assert mean == pytest.approx(line[within].mean(), abs=1e-4)


def test_beyond_the_input_lies_its_border_or_nothing() -> None:
    values = np.array([3.0, 1.0, 5.0])
    assert (axis_weights(3, 2, 1.0, -7.0, "edge") @ values).tolist() == [3.0, 3.0]
    assert (axis_weights(3, 2, 1.0, -7.0, "zero") @ values).tolist() == [0.0, 0.0]
