"""Make a network that ends in a ReLU over its maximum end in a sigmoid, and mean the same.

Under a sigmoid the published weights would say "half cord" wherever they say nothing. Each head's values are
scaled and shifted so that their sigmoid is the cord fraction as the labels have it (Platt scaling with soft
targets); as an affine change of values it is taken up by the head's own weights. The sum of fractions then
is that of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from softseg_bids.model.releases.plainconv import PlainConvUNet
from softseg_bids.training.cases import Case, cut_patch, normalised
from softseg_bids.training.recipes import Recipe, judged

# Of the images, and of the voxels of each.
MOST_PATCHES, MOST_VOXELS = 8, 200_000
# Keeps the scale finite where values tell cord from the rest without fail (of standardised values).
RIDGE = 1e-6


@torch.no_grad()
def end_in_sigmoid(
    network: PlainConvUNet, training: Sequence[Case], recipe: Recipe, device: torch.device
) -> list[tuple[float, float]]:
    """Change a network's heads in place; the scale and shift of each, the finest first.

    A head whose values do not grow with the cord fraction is left as it is (scale 1, shift 0): there is
    nothing to be kept of what it says.
    """
    network.to(device).eval()
    rng = np.random.default_rng(0)
    chosen = np.unique(np.linspace(0, len(training) - 1, MOST_PATCHES).round().astype(int))
    heads = list(reversed(network.decoder.seg_layers))  # type: ignore[arg-type]
    seen_of: list[list[tuple[Tensor, Tensor]]] = [[] for _ in heads]
    for number in chosen:
        pair = normalised(cut_patch(training[number], recipe, None), recipe)
        image, cord, seen = (part[None, None].to(device) for part in pair)
        for kept, part in zip(seen_of, judged(network.supervised(image), cord, seen), strict=True):
            values, target, whole = (each.flatten().cpu() for each in part)
            at = torch.nonzero(whole)[:, 0]
            if len(at) > MOST_VOXELS:
                at = at[torch.from_numpy(rng.choice(len(at), MOST_VOXELS, replace=False))]
            kept.append((values[at], target[at]))
    network.train()
    found = []
    for head, kept in zip(heads, seen_of, strict=True):
        scale, shift = affine(*(torch.cat(parts) for parts in zip(*kept, strict=True)))
        head.weight.mul_(scale)
        head.bias.mul_(scale).add_(shift)
        found.append((scale, shift))
    return found


@torch.enable_grad()
def affine(values: Tensor, target: Tensor) -> tuple[float, float]:
    """Scale and shift after which the sigmoid of values has the least cross-entropy to their targets.

    Parameters
    ----------
    values, target : Tensor, shape (n,)
        Any values; fractions in [0, 1].

    Returns
    -------
    float, float
        1 and 0 if the values do not grow with the targets.
    """
    values, target = values.double(), target.double()
    deviation = values.std(correction=0) if len(values) else torch.tensor(0.0)
    if not float(deviation) > 0:
        return 1.0, 0.0
    middle = values.mean()
    known = (values - middle) / deviation
    line = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=200, line_search_fn="strong_wolfe", tolerance_grad=1e-9)

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = binary_cross_entropy_with_logits(line[0] * known + line[1], target) + RIDGE * line[0] ** 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    scale = float(line[0].detach() / deviation)
    if not (np.isfinite(scale) and scale > 0):
        return 1.0, 0.0
    return scale, float(line[1].detach() - scale * middle)
