"""A step down a loss, what it is shown, the mean of weights, when steps end: as all trainings here do it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

Tensors = tuple[Tensor, ...] | list[Tensor]

LONGEST_GRADIENT = 1.0
# The first steps of a run wait for the compiler and the first bodies: they say nothing of its pace.
SLOW_STEPS = 50


class Clock:
    """Tells when the last ``decay`` steps of a run must begin, for it to end after so many minutes.

    Parameters
    ----------
    minutes : float
        How long the run may take.
    decay : int
        How many steps its end takes.
    """

    def __init__(self, minutes: float, decay: int) -> None:
        self._limit_s, self._decay = 60 * minutes, decay
        self._began, self._slow_s, self._steps = time.monotonic(), 0.0, 0

    @property
    def spent_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def step(self) -> None:
        """A step is done."""
        self._steps += 1
        if self._steps == SLOW_STEPS:
            self._slow_s = self.spent_s

    @property
    def is_late(self) -> bool:
        """Whether the last steps must begin now, at the pace so far."""
        timed = self._steps - SLOW_STEPS
        pace_s = (self.spent_s - self._slow_s) / timed if timed >= SLOW_STEPS else 0.0
        return self.spent_s + self._decay * pace_s >= self._limit_s


def replayed(
    fresh: Iterable[Iterable[Tensor]], count: int, size: int, rng: np.random.Generator
) -> Iterator[list[tuple[Tensor, ...]]]:
    """Examples from a pool of the latest: drawing one costs more than learning from it.

    Parameters
    ----------
    fresh : iterable of iterable of Tensor
        New examples, the parts of several stacked along the first axis; taken in before each batch.
    count : int
        Examples in a batch.
    size : int
        Examples in the pool.
    rng : numpy Generator

    Yields
    ------
    list of tuple of Tensor
        The parts of ``count`` examples.
    """
    pool: deque[tuple[Tensor, ...]] = deque(maxlen=size)
    for new in fresh:
        pool.extend(zip(*new, strict=True))
        yield [pool[i] for i in rng.integers(len(pool), size=count)]


def averaged(network: nn.Module, steps: int) -> torch.optim.swa_utils.AveragedModel:
    """A copy of a network to hold its weights' exponential average over so many steps, at first fewer."""

    def nearer(averages: Tensors, current: Tensors, count: Tensor | int) -> None:
        torch._foreach_lerp_(averages, current, max(1 / steps, 9 / (10 + int(count))))

    return torch.optim.swa_utils.AveragedModel(network, multi_avg_fn=nearer)


def descend(value: Tensor, optimiser: torch.optim.Optimizer, rate: float) -> float:
    """Move the optimiser's parameters against the gradient of a loss, clipped to length 1.

    Parameters
    ----------
    value : Tensor, scalar
        The loss, not yet differentiated.
    optimiser : torch Optimizer
        With one group of parameters.
    rate : float
        Learning rate of this step.

    Returns
    -------
    float
        The loss before the step.
    """
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.zero_grad(set_to_none=True)
    value.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], LONGEST_GRADIENT)
    optimiser.step()
    return float(value.detach())
