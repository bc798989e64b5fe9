"""Train a network on labelled images, mixed with procedural bodies: resumable, stopped early.

One readable loop. A step's examples depend on the seed and the step alone, so that a run that was
stopped and goes on sees what it would have seen.
"""

from __future__ import annotations

import importlib
import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from softseg_bids.image.volume import DataError, written_aside
from softseg_bids.training.augment import augmentation
from softseg_bids.training.cases import Case, cut_patch, normalised
from softseg_bids.training.dataset import Pair, draw_pair
from softseg_bids.training.descent import descend
from softseg_bids.training.recipes import PLAIN, LossRecipe, Recipe, total_loss

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
) -> Result:
    """Train; the best weights end in the network, and in ``folder/best.pt``.

    The state lies in ``folder/state.pt``; if it is there, training goes on from it. ``folder/log.tsv``
    has a row a validation.

    Raises
    ------
    DataError
        If the state is of another training, or TensorBoard is asked for and not installed.
    """
    board = _board(folder) if settings.tensorboard else None
    network.to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    state = _resumed(folder, recipe, network, optimiser, device)
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
    while step < settings.steps and stale < settings.patience:
        rate, fading = schedule(step, settings)
        batch = examples(training, recipe, settings, step, device)
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
            _save(folder / "best.pt", {"step": step, "network": network.state_dict()})
        progress = {
            "step": step,
            "best": best,
            "best_step": best_step,
            "stale": stale,
            "recipe": _named(recipe),
        }
        _save(
            folder / "state.pt",
            progress | {"network": network.state_dict(), "optimiser": optimiser.state_dict()},
        )
    if board is not None:
        board.close()
    if not (folder / "best.pt").exists():
        raise DataError(
            f"{folder}: no step gave a finite validation loss; lower the rate, or look at the labels"
        )
    network.load_state_dict(torch.load(folder / "best.pt", map_location=device, weights_only=True)["network"])
    return Result(step, best, best_step, stale >= settings.patience)


def schedule(step: int, settings: Settings) -> tuple[float, float]:
    """Learning rate of a step (warm-up, then a cosine to 0), and the share of it that is left."""
    left = 0.5 * (1 + math.cos(math.pi * min(step / max(settings.steps, 1), 1.0)))
    return settings.rate * min(1.0, (step + 1) / WARMUP_STEPS) * left, left


def examples(
    training: Sequence[Case], recipe: Recipe, settings: Settings, step: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """The batch of a step: image, cord fraction and what was seen, each (n, 1, x, y, z)."""
    rng = np.random.default_rng([settings.seed, step])
    change = augmentation(recipe.window, int(rng.integers(2**31))) if settings.augment else None
    pairs = []
    for _ in range(settings.batch):
        if rng.random() < settings.synthetic:
            pairs.append(_synthetic(rng, recipe, device))
            continue
        pair = normalised(cut_patch(training[int(rng.integers(len(training)))], recipe, rng), recipe)
        pairs.append(normalised(change(pair), recipe) if change else pair)
    image, cord, seen = (torch.stack(parts)[:, None].to(device) for parts in zip(*pairs, strict=True))
    return image, cord, seen


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
    batch: tuple[Tensor, Tensor, Tensor],
    recipe: Recipe,
    loss: LossRecipe,
    rate: float,
    fading: float,
) -> float:
    image, cord, seen = batch
    with torch.autocast(image.device.type, torch.bfloat16, enabled=image.device.type == "cuda"):
        value = total_loss(network, image, cord, seen, loss, fading)
    return descend(value, optimiser, rate)


def _synthetic(rng: np.random.Generator, recipe: Recipe, device: torch.device) -> Pair:
    """A procedural body on the network's axes."""
    pair = draw_pair(rng, recipe.window, recipe.spacing_mm, device)
    if recipe.name == PLAIN:
        pair = Pair(*(part.flip(1, 2) for part in pair))
    return normalised(Pair(*(part.cpu() for part in pair)), recipe)


def _resumed(
    folder: Path, recipe: Recipe, network: nn.Module, optimiser: torch.optim.Optimizer, device: torch.device
) -> dict[str, Any]:
    path = folder / "state.pt"
    if not path.exists():
        return {"step": 0, "best": math.inf, "best_step": 0, "stale": 0}
    state = torch.load(path, map_location=device, weights_only=True)
    if state["recipe"] != _named(recipe):
        raise DataError(f"{path}: is of another network or patch ({state['recipe']}); use another folder")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return dict(state)


def _named(recipe: Recipe) -> str:
    return json.dumps(recipe._asdict())


def _board(folder: Path) -> Any:
    try:
        return importlib.import_module("torch.utils.tensorboard").SummaryWriter(str(folder / "tensorboard"))
    except ImportError as error:
        raise DataError(
            "TensorBoard is not installed; `pip install tensorboard`, or leave --tensorboard out: "
            "log.tsv has the same"
        ) from error


def _save(path: Path, content: dict[str, Any]) -> None:
    with written_aside(path) as aside:
        torch.save(content, aside)
