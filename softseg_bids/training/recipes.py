"""Networks and losses by name: the published ones and ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool3d

from softseg_bids.model.loss import absolute_error, adaptive_wing, cross_entropy, soft_dice, squared_error
from softseg_bids.model.network import SEGMENTER, Architecture, FoldedUNet, Triple
from softseg_bids.model.releases.contrast_agnostic import WINDOW
from softseg_bids.model.releases.plainconv import PUBLISHED, Layout, PlainConvUNet

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
# The published network, and ours.
PLAIN, FOLDED = "plainconvunet", "folded"
ARCHITECTURES = (PLAIN, FOLDED)


class LossRecipe(NamedTuple):
    """A loss, and the weight of soft Dice beside it at the beginning (it fades with the learning rate)."""

    loss: Loss
    dice: float = 0.0


LOSSES: dict[str, LossRecipe] = {
    "ours": LossRecipe(cross_entropy, 1.0),
    "adaptive-wing": LossRecipe(adaptive_wing),
    "cross-entropy": LossRecipe(cross_entropy),
    "absolute": LossRecipe(absolute_error),
    "squared": LossRecipe(squared_error),
    "dice": LossRecipe(soft_dice),
}


class Recipe(NamedTuple):
    """What a network is trained on.

    Attributes
    ----------
    name : str
        Of :data:`ARCHITECTURES`.
    window : tuple of int
        The patch.
    spacing_mm : tuple of float
    multiple : tuple of int
        Of which each side of the patch must be one.
    """

    name: str
    window: Triple
    spacing_mm: tuple[float, float, float]
    multiple: Triple


def recipe_of(name: str, window: Triple | None = None, architecture: Architecture | None = None) -> Recipe:
    """The recipe of an architecture, with another patch if one is given.

    Parameters
    ----------
    name : str
        Of :data:`ARCHITECTURES`.
    window : tuple of int, optional
        Voxels.
    architecture : Architecture, optional
        That of a network of ours that is there already; else that of the packaged one.

    Raises
    ------
    ValueError
        If the patch does not fit the network.
    """
    if name == PLAIN:
        found = Recipe(name, window or WINDOW, (1.0, 1.0, 1.0), (16, 32, 32))
    else:
        known = architecture or SEGMENTER
        half = 2 ** (len(known.channels) - 1)
        x, y, z = (f * half for f in known.fold)
        found = Recipe(name, window or known.window, known.spacing_mm, (x, y, z))
    # Instance normalisation needs more than one voxel on the coarsest grid.
    least = 2
    cells = [n // m for n, m in zip(found.window, found.multiple, strict=True)]
    fits = all(n % m == 0 for n, m in zip(found.window, found.multiple, strict=True))
    if not fits or cells[0] * cells[1] * cells[2] < least:
        raise ValueError(
            f"a patch of {found.window} does not fit {name}: its sides must be multiples of "
            f"{found.multiple}, with at least {least} such blocks"
        )
    return found


def network_of(
    recipe: Recipe, layout: Layout = PUBLISHED, architecture: Architecture | None = None
) -> nn.Module:
    """A network with random weights."""
    if recipe.name != PLAIN:
        return FoldedUNet(architecture_of(recipe, architecture))
    network = PlainConvUNet(layout)
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for head in network.decoder.seg_layers:  # type: ignore[union-attr]
        # Cord is rare: begin by expecting none.
        nn.init.normal_(head.weight, std=0.01)
        nn.init.constant_(head.bias, -3.0)
    return network


def architecture_of(recipe: Recipe, architecture: Architecture | None = None) -> Architecture:
    """What a checkpoint of ours says about it: the packaged one's or another, with the recipe's patch.

    Its scaling was fitted to other weights, so it is left out.
    """
    return (architecture or SEGMENTER)._replace(window=recipe.window, scaling=SEGMENTER.scaling)


def heads_of(network: nn.Module, image: Tensor) -> list[Tensor]:
    """All that a network says of an image, the finest first: the published one's heads at several scales."""
    return network.supervised(image) if isinstance(network, PlainConvUNet) else [network(image)]


def judged(heads: Sequence[Tensor], cord: Tensor, seen: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Each head with its target, the mean fraction of its larger voxels, and 1 where a voxel was seen."""
    found = []
    for head in heads:
        x, y, z = head.shape[2:]
        size = (x, y, z)
        mass = adaptive_avg_pool3d(seen, size)
        target = adaptive_avg_pool3d(cord * seen, size) / mass.clamp_min(1e-6)
        found.append((head.float(), target, (mass > 0.999).float()))
    return found


def total_loss(
    network: nn.Module, image: Tensor, cord: Tensor, seen: Tensor, recipe: LossRecipe, fading: float
) -> Tensor:
    """The loss of a batch, over all heads (:func:`heads_of`); head ``i`` has weight 0.5^i."""
    parts = judged(heads_of(network, image), cord, seen)
    weights = [0.5**number for number in range(len(parts))]
    total = image.new_zeros((), dtype=torch.float32)
    for weight, (logits, target, whole) in zip(weights, parts, strict=True):
        value = recipe.loss(logits, target, whole)
        if recipe.dice:
            value = value + recipe.dice * fading * soft_dice(logits, target, whole)
        total = total + weight * value
    return total / sum(weights)
