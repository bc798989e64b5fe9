"""Where a training was left, and what defines it: only the same training goes on from there."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from softseg_bids.image.volume import DataError, written_aside
from softseg_bids.training.recipes import Recipe

STATE, BEST = "state.pt", "best.pt"


def resumed(
    folder: Path,
    recipe: Recipe,
    defined: Mapping[str, str],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    device: torch.device,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Load what lies in ``folder/state.pt`` into network and optimiser, if it is there.

    Parameters
    ----------
    defined : mapping of str to str
        What else makes a training this one and no other: name (as the user knows it) to value.

    Returns
    -------
    dict
        ``step``, ``best`` (loss), ``best_step``, ``stale`` (validations without improvement).

    Raises
    ------
    DataError
        If the state is of another training; the message names each difference.
    """
    path = folder / STATE
    if not path.exists():
        return {"step": 0, "best": math.inf, "best_step": 0, "stale": 0}
    state = torch.load(path, map_location=device, weights_only=True)
    if state["recipe"] != _named(recipe):
        raise DataError(f"{path}: is of another network or patch ({state['recipe']}); use another folder")
    if "defined" in state:
        _refuse_another(path, state["defined"], defined)
    else:
        say(f"{path} does not say what it was trained with; going on with what is asked for now")
    network.load_state_dict(state["network"])
    optimiser.load_state_dict(state["optimiser"])
    return dict(state)


def keep(
    folder: Path,
    recipe: Recipe,
    defined: Mapping[str, str],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    progress: Mapping[str, Any],
) -> None:
    """Write ``folder/state.pt``, for :func:`resumed`."""
    said = {"recipe": _named(recipe), "defined": dict(defined)}
    weights = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
    _save(folder / STATE, {**progress, **said, **weights})


def keep_best(folder: Path, network: nn.Module, step: int) -> None:
    """Write ``folder/best.pt``, for :func:`load_best`."""
    _save(folder / BEST, {"step": step, "network": network.state_dict()})


def load_best(folder: Path, network: nn.Module, device: torch.device) -> None:
    """The weights of the best validation so far.

    Raises
    ------
    DataError
        If there was none.
    """
    path = folder / BEST
    if not path.exists():
        raise DataError(
            f"{folder}: no step gave a finite validation loss; lower the rate, or look at the labels"
        )
    network.load_state_dict(torch.load(path, map_location=device, weights_only=True)["network"])


def _refuse_another(path: Path, before: Mapping[str, str], now: Mapping[str, str]) -> None:
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    if not names:
        return
    told = "; ".join(f"{name} {before.get(name, 'none')}, not {now.get(name, 'none')}" for name in names)
    raise DataError(
        f"{path}: this training began with {told}. Give the same again to go on with it, or another folder "
        "to begin a new one"
    )


def _named(recipe: Recipe) -> str:
    return json.dumps(recipe._asdict())


def _save(path: Path, content: dict[str, Any]) -> None:
    with written_aside(path) as aside:
        torch.save(content, aside)
