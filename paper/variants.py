"""What is trained, by name: which labels, which contrasts, which loss; and the small network of all."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from paper.cohort import CONTRASTS, SEED
from softseg_bids.model.network import SEGMENTER, Architecture, FoldedUNet
from softseg_bids.training.fit import Settings
from softseg_bids.training.recipes import FOLDED, LOSSES, LossRecipe, Recipe

# The packaged segmenter's grid, but narrow, shallow, on patches of 24 mm: minutes, not days.
ARCHITECTURE: Architecture = SEGMENTER._replace(channels=(8, 12, 16), window=(32, 32, 16))
RECIPE = Recipe(FOLDED, ARCHITECTURE.window, ARCHITECTURE.spacing_mm, (8, 8, 4))
# Of every network but the long one, whatever it is shown: equal steps, equal seed. Nothing stops early; the
# best of the validations is kept, as published.
SETTINGS = Settings(
    steps=1200, batch=2, rate=4e-3, every=100, patience=10**6, augment=False, seed=SEED % 2**31
)


class Variant(NamedTuple):
    """A way to train.

    Attributes
    ----------
    name : str
    hard : bool
        On each rater's own binary mask, instead of the soft truth of all of them.
    alone : bool
        A network for each contrast, instead of one for all.
    loss : str
        Of `training.recipes.LOSSES`.
    said : str
        For the page.
    rounds : int
        Of so many times the steps of the others.
    augment : bool
        Whether the published augmentation shows more than ten people.
    """

    name: str
    hard: bool
    alone: bool
    loss: str
    said: str
    rounds: int = 1
    augment: bool = False


VARIANTS = (
    Variant("soft_all", False, False, "adaptive-wing", "one network, soft truth: the paper's"),
    Variant("hard_all", True, False, "adaptive-wing", "one network, each rater's own mask"),
    Variant("soft_per_contrast", False, True, "adaptive-wing", "a network a contrast, soft truth"),
    Variant("hard_per_contrast", True, True, "adaptive-wing", "a network a contrast, that rater's masks"),
    Variant("soft_all_dice", False, False, "dice", "as soft_all"),
    Variant("ours", False, False, "ours", "as soft_all"),
    # As many steps as six networks have together, to see whether that is what one network lacks.
    Variant("soft_all_long", False, False, "adaptive-wing", "as soft_all, augmented", rounds=6, augment=True),
)  # fmt: skip


class Job(NamedTuple):
    """One network to train.

    Attributes
    ----------
    name : str
        ``hard_all``, or ``hard_per_contrast-T1w``: that of its weights.
    variant : Variant
    contrasts : tuple of str
        That it is shown.
    """

    name: str
    variant: Variant
    contrasts: tuple[str, ...]

    @property
    def loss(self) -> LossRecipe:
        return LOSSES[self.variant.loss]

    def settings(self, base: Settings = SETTINGS) -> Settings:
        """How it is trained, ``base`` being how the others are."""
        return base._replace(steps=base.steps * self.variant.rounds, augment=self.variant.augment)


def jobs_of(variant: Variant) -> list[Job]:
    """The networks of a variant."""
    if not variant.alone:
        return [Job(variant.name, variant, CONTRASTS)]
    return [Job(f"{variant.name}-{contrast}", variant, (contrast,)) for contrast in CONTRASTS]


def job_for(variant: Variant, contrast: str) -> Job:
    """Which of a variant's networks looks at a contrast."""
    return next(job for job in jobs_of(variant) if contrast in job.contrasts)


def all_jobs() -> list[Job]:
    """Every network, those for all contrasts first."""
    return sorted(
        (job for variant in VARIANTS for job in jobs_of(variant)), key=lambda job: job.variant.alone
    )


def fresh_network() -> nn.Module:
    """The network with the random weights that all begin with."""
    torch.manual_seed(SETTINGS.seed)
    return FoldedUNet(ARCHITECTURE)
