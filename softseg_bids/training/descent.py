"""One step down a loss: what every training here does alike, whatever it learns."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LONGEST_GRADIENT = 1.0


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
