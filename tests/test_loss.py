"""The losses against closed forms: what each of them is least at, and where it bends."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from softseg_bids.model.loss import (
    absolute_error,
    adaptive_wing,
    area_error,
    cross_entropy,
    squared_error,
)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
GUESSES = torch.linspace(0.01, 0.99, 99)


def minimiser(loss: Loss, share: float) -> float:
    """What a voxel is best said to be that is cord in a share of 100 cases."""
    target = (torch.arange(100) < round(100 * share)).float()
    seen = torch.ones_like(target)
    values = [loss(torch.logit(guess).expand(100), target, seen) for guess in GUESSES]
    return float(GUESSES[int(torch.stack(values).argmin())])


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7])
def test_cross_entropy_and_squares_are_least_at_the_expected_fraction(share: float) -> None:
    for loss in (cross_entropy, squared_error):
        assert minimiser(loss, share) == pytest.approx(share, abs=0.011)


def test_absolute_error_is_least_at_the_median() -> None:
    assert minimiser(absolute_error, 0.4) == pytest.approx(0.01)
    assert minimiser(absolute_error, 0.6) == pytest.approx(0.99)


@pytest.mark.parametrize(("share", "least"), [(0.3, 0.17), (0.5, 0.42), (0.6, 0.99)])
def test_adaptive_wing_is_not_calibrated(share: float, least: float) -> None:
    assert minimiser(adaptive_wing, share) == pytest.approx(least, abs=0.015)


def wing(distance: float, target: float) -> float:
    """The published formula, term by term."""
    theta, alpha, omega, epsilon = 0.5, 2.1, 8.0, 1.0
    power = alpha - target
    if distance < theta:
        return float(omega * np.log(1 + (distance / epsilon) ** power))
    a = omega * (1 / (1 + (theta / epsilon) ** power)) * power * (theta / epsilon) ** (power - 1) / epsilon
    return float(a * distance - (theta * a - omega * np.log(1 + (theta / epsilon) ** power)))


@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("predicted", [0.05, 0.45, 0.55, 0.9])
def test_adaptive_wing_is_the_published_formula(target: float, predicted: float) -> None:
    logit, one = torch.logit(torch.tensor([predicted])), torch.ones(1)
    found = adaptive_wing(logit, torch.tensor([target]), one)
    assert float(found) == pytest.approx(wing(abs(target - predicted), target), rel=1e-4)


def test_adaptive_wing_bends_without_a_step() -> None:
    """At distance theta both branches have one value and one slope."""
    for target in (0.0, 0.2, 1.0):
        below, above = (wing(0.5 + off, target) for off in (-1e-5, 1e-5))
        assert above - below == pytest.approx(0, abs=2e-3)
        inner = (wing(0.5 - 1e-5, target) - wing(0.5 - 3e-5, target)) / 2e-5
        outer = (wing(0.5 + 3e-5, target) - wing(0.5 + 1e-5, target)) / 2e-5
        assert inner == pytest.approx(outer, rel=1e-3)


@pytest.mark.parametrize("loss", [absolute_error, squared_error, adaptive_wing])
def test_gradients_are_finite_and_vanish_where_nothing_was_seen(loss: Loss) -> None:
    target = torch.tensor([0.0, 0.0, 0.4, 1.0, 1.0])
    logits = torch.tensor([-60.0, 2.0, -0.4, 60.0, -60.0], requires_grad=True)
    seen = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0])
    loss(logits, target, seen).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None and bool(logits.grad.isfinite().all())
    assert float(logits.grad[1]) > 0
    assert float(logits.grad[4]) == 0


def test_the_error_of_areas_is_square_while_small_and_linear_beyond() -> None:
    fraction = torch.zeros((1, 1, 20, 20, 4))
    fraction[..., 5:15, 5:15, 1:] = 1
    seen = torch.ones_like(fraction)

    def wider(voxels: int) -> float:
        """Every slice with cord shows so many voxels too many."""
        said = fraction.clone()
        said[..., 0, :voxels, 1:] = 1
        return float(area_error(torch.logit(said, eps=1e-6), fraction, seen))

    assert wider(0) == pytest.approx(0, abs=1e-6)
    assert wider(4) == pytest.approx(0.5 * 0.04**2, rel=0.01)
    assert wider(20) == pytest.approx(0.05 * (0.2 - 0.025), rel=0.01)
    # What lies outside the view has no area, and neither has a slice without cord.
    unseen = seen.clone()
    unseen[..., :, :, 2:] = 0
    said = torch.logit(torch.ones_like(fraction) * 0.5)
    assert float(area_error(said, fraction, unseen)) == pytest.approx(
        0.05 * (200 / 100 - 1 - 0.025), rel=0.01
    )
    empty = torch.zeros_like(fraction, requires_grad=True)
    value = area_error(empty, torch.zeros_like(fraction), seen)
    value.backward()
    assert float(value.detach()) == 0 and empty.grad is not None and not empty.grad.any()
