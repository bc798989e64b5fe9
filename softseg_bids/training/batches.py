"""The examples of each step, drawn ahead by further processes.

A step's examples depend on the seed and the step alone: not on how many processes draw them, on their
threads, on the device, nor on how often the run was stopped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from softseg_bids.image.volume import DataError
from softseg_bids.training.augment import augmentation
from softseg_bids.training.cases import Case, cut_patch, normalised
from softseg_bids.training.dataset import Pair, draw_pair, stacked
from softseg_bids.training.recipes import PLAIN, Recipe

Batch = tuple[Tensor, Tensor, Tensor]
CPU = torch.device("cpu")


class Examples(Dataset[Batch]):
    """By step: image, cord fraction and what was seen, each (batch, 1, x, y, z).

    Parameters
    ----------
    training : sequence of Case
    recipe : Recipe
    batch : int
    synthetic : float
        Share of procedural bodies, 0 to 1.
    augment : bool
    seed : int
    """

    def __init__(
        self, training: Sequence[Case], recipe: Recipe, batch: int, synthetic: float, augment: bool, seed: int
    ) -> None:
        self.training, self.recipe = training, recipe
        self.batch, self.synthetic, self.augment, self.seed = batch, synthetic, augment, seed

    def __getitem__(self, step: int) -> Batch:
        threads = torch.get_num_threads()
        # Sums over several threads are rounded otherwise.
        torch.set_num_threads(1)
        try:
            return self._drawn(step)
        finally:
            torch.set_num_threads(threads)

    def _drawn(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, step])
        window, spacing_mm = self.recipe.window, self.recipe.spacing_mm
        change = augmentation(window, spacing_mm, int(rng.integers(2**31))) if self.augment else None
        pairs = []
        for _ in range(self.batch):
            if rng.random() < self.synthetic:
                pairs.append(_synthetic(rng, self.recipe))
                continue
            case = self.training[int(rng.integers(len(self.training)))]
            pair = normalised(cut_patch(case, self.recipe, rng), self.recipe)
            pairs.append(normalised(change(pair), self.recipe) if change else pair)
        return stacked(pairs)


def batches(examples: Examples, steps: range, workers: int, device: torch.device) -> Iterator[Batch]:
    """The examples of some steps, in order, on a device.

    Parameters
    ----------
    workers : int
        Processes that draw ahead; 0 to draw here, in turn with the steps.

    Raises
    ------
    DataError
        If one of them was killed.
    """
    on_gpu = device.type == "cuda"
    loader: DataLoader[Batch] = DataLoader(
        examples, batch_size=None, sampler=steps, num_workers=workers, pin_memory=on_gpu
    )
    drawn = iter(loader)
    for _ in steps:
        try:
            image, cord, seen = next(drawn)
        except RuntimeError as error:
            if "DataLoader worker (pid" not in str(error):
                raise
            raise DataError(
                f"a process that draws examples was killed ({str(error).splitlines()[0]}); use fewer "
                "--workers, or give the container more shared memory (docker run --shm-size)"
            ) from error
        yield tuple(part.to(device, non_blocking=on_gpu) for part in (image, cord, seen))


def _synthetic(rng: np.random.Generator, recipe: Recipe) -> Pair:
    """A procedural body on the network's axes."""
    pair = draw_pair(rng, recipe.window, recipe.spacing_mm, CPU)
    if recipe.name == PLAIN:
        pair = Pair(*(part.flip(1, 2) for part in pair))
    return normalised(pair, recipe)
