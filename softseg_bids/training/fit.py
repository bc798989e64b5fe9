"""Train a network on labelled images, mixed with procedural bodies: resumable, stopped early.

One readable loop. A step's examples depend on the seed and the step alone, so that a run that was
stopped and goes on sees what it would have seen.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from softseg_bids.image.volume import DataError
from softseg_bids.training.batches import Batch, Examples, batches
from softseg_bids.training.cases import Case, cut_patch, normalised
from softseg_bids.training.dataset import Pair
from softseg_bids.training.descent import descend
from softseg_bids.training.recipes import LossRecipe, Recipe, total_loss
from softseg_bids.training.state import keep, keep_best, load_best, resumed

# Patches of each validation image, evenly spread along its label.
VALIDATION_PLACES = (0.15, 0.5, 0.85)
WARMUP_STEPS = 100


class Settings(NamedTuple):
    """How to train.

    Attributes
    ----------
    steps, batch : int
    rate : float
        Learning rate; it falls to 0 as a cosine.
    every : int
        Steps between validations.
    patience : int
        Validations without improvement that end the training.
    synthetic : float
        Share of the examples that are procedural bodies, 0 to 1.
    augment : bool
    seed : int
    tensorboard : bool
        Write a TensorBoard log, too.
    workers : int
        Processes that draw examples ahead; the result is the same for any number.
    """

    steps: int
    batch: int = 2
    rate: float = 1e-3
    every: int = 250
    patience: int = 20
    synthetic: float = 0.0
    augment: bool = True
    seed: int = 0
    tensorboard: bool = False
    workers: int = 0


class Result(NamedTuple):
    """Steps done in all, the best validation loss and its step, and whether it was stopped early."""

    step: int
    best_loss: float
    best_step: int
    stopped_early: bool


def fit(
    network: nn.Module,
    recipe: Recipe,
    loss: LossRecipe,
    training: Sequence[Case],
    validation: Sequence[Case],
    settings: Settings,
    folder: Path,
    device: torch.device,
    say: Callable[[str], None],
    defined: Mapping[str, str] | None = None,
) -> Result:
    """Train; the best weights end in the network, and in ``folder/best.pt``.

    The state lies in ``folder/state.pt``; if it is there, training goes on from it. ``folder/log.tsv``
    has a row a validation.

    Parameters
    ----------
    defined : mapping of str to str, optional
        What makes this training this one beside what is given here (its data, the weights it began with), by
        the names the user knows; a state of another one is refused.

    Raises
    ------
    DataError
        If the state is of another training, TensorBoard is asked for and not installed, or a process that
        draws examples was killed.
    """
    board = _board(folder) if settings.tensorboard else None
    network.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    defined = {**(defined or {}), **_defined(loss, settings)}
    state = resumed(folder, recipe, defined, network, optimiser, device, say)
    step, best, best_step, stale = state["step"], state["best"], state["best_step"], state["stale"]
    patches = [
        normalised(cut_patch(case, recipe, None, place), recipe)
        for case in validation
        for place in VALIDATION_PLACES
    ]
    began, losses = time.monotonic(), []
    log = folder / "log.tsv"
    if not log.exists():
        log.write_text("step\tseconds\trate\tloss\tvalidation_loss\tdice\tvolume_error\n", encoding="utf-8")
    end = settings.steps if stale < settings.patience else step
    for batch in batches(examples(training, recipe, settings), range(step, end), settings.workers, device):
        rate, fading = schedule(step, settings)
        losses.append(_step(network, optimiser, batch, recipe, loss, rate, fading))
        step += 1
        if step % settings.every and step != settings.steps:
            continue
        scores = validate(network, recipe, loss, patches, device)
        row = (step, time.monotonic() - began, rate, float(np.mean(losses)), *scores)
        with log.open("a", encoding="utf-8") as file:
            file.write("\t".join(f"{value:.6g}" for value in row) + "\n")
        say(
            f"step {step}: loss {row[3]:.4f}, validation {scores[0]:.4f}, Dice {scores[1]:.3f}, "
            f"volume {scores[2]:+.1%}"
        )
        if board is not None:
            for name, value in zip(
                ("loss", "validation/loss", "validation/dice", "validation/volume_error"),
                row[3:],
                strict=True,
            ):
                board.add_scalar(name, value, step)
            board.add_scalar("rate", rate, step)
            board.flush()
        losses.clear()
        stale += 1
        if scores[0] < best:
            best, best_step, stale = scores[0], step, 0
            keep_best(folder, network, step)
        progress = {"step": step, "best": best, "best_step": best_step, "stale": stale}
        keep(folder, recipe, defined, network, optimiser, progress)
        if stale >= settings.patience:
            break
    if board is not None:
        board.close()
    load_best(folder, network, device)
    return Result(step, best, best_step, stale >= settings.patience)


def schedule(step: int, settings: Settings) -> tuple[float, float]:
    """Learning rate of a step (warm-up, then a cosine to 0), and the share of it that is left."""
    left = 0.5 * (1 + math.cos(math.pi * min(step / max(settings.steps, 1), 1.0)))
    return settings.rate * min(1.0, (step + 1) / WARMUP_STEPS) * left, left


def examples(training: Sequence[Case], recipe: Recipe, settings: Settings) -> Examples:
    """What is shown in each step."""
    return Examples(training, recipe, settings.batch, settings.synthetic, settings.augment, settings.seed)


@torch.no_grad()
def validate(
    network: nn.Module, recipe: Recipe, loss: LossRecipe, patches: Sequence[Pair], device: torch.device
) -> tuple[float, float, float]:
    """Mean loss, Dice at 0.5 and relative volume error of all patches together."""
    network.eval()
    values, overlap, total, predicted, true = [], 0.0, 0.0, 0.0, 0.0
    for pair in patches:
        image, cord, seen = (part[None, None].to(device) for part in pair)
        values.append(float(total_loss(network, image, cord, seen, loss, 1.0)))
        soft = network(image).float().sigmoid() * seen
        target = cord * seen
        one, other = soft >= 0.5, target >= 0.5
        overlap += float((one & other).sum())
        total += float(one.sum() + other.sum())
        predicted, true = predicted + float(soft.sum()), true + float(target.sum())
    network.train()
    return float(np.mean(values)), 2 * overlap / max(total, 1.0), predicted / max(true, 1e-6) - 1


def _step(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    recipe: Recipe,
    loss: LossRecipe,
    rate: float,
    fading: float,
) -> float:
    image, cord, seen = batch
    with torch.autocast(image.device.type, torch.bfloat16, enabled=image.device.type == "cuda"):
        value = total_loss(network, image, cord, seen, loss, fading)
    return descend(value, optimiser, rate)


def _defined(loss: LossRecipe, settings: Settings) -> dict[str, str]:
    """What must not change when a training goes on, under the names of the options.

    Steps may: a training may be made longer, though its rate then falls otherwise than in one go.
    """
    terms = f"{loss.loss.__name__} + {loss.dice:g} fading soft_dice" if loss.dice else loss.loss.__name__
    return {
        "--loss": terms,
        "--batch": str(settings.batch),
        "--rate": f"{settings.rate:g}",
        "--synthetic": f"{settings.synthetic:g}",
        "augmentation": "yes" if settings.augment else "no",
        "--seed": str(settings.seed),
    }


def _board(folder: Path) -> Any:
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))
    except ImportError as error:
        raise DataError(
            "TensorBoard is not installed; `pip install tensorboard`, or leave --tensorboard out: "
            "log.tsv has the same"
        ) from error
