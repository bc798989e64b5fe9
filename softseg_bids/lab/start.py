"""What a training begins with, and the checkpoint it ends in."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from softseg_bids.image.volume import DataError, written_aside
from softseg_bids.model.checkpoint import load_checkpoint, load_level_network, save_checkpoint
from softseg_bids.model.network import Architecture
from softseg_bids.model.predict import Model, load_model
from softseg_bids.model.releases.contrast_agnostic import NORMALISED_RELU, SIGMOID, ContrastAgnostic
from softseg_bids.model.releases.plainconv import layout_of
from softseg_bids.model.weights import DEFAULT
from softseg_bids.training.recipes import (
    FOLDED,
    PLAIN,
    Recipe,
    architecture_of,
    network_of,
    recipe_of,
)


class Start(NamedTuple):
    """A network to train.

    Attributes
    ----------
    recipe : Recipe
    network : nn.Module
    architecture : Architecture or None
        What a checkpoint says of it, if it is one of ours.
    others : Path
        The checkpoint whose locator and level network go along with it, untrained.
    ends_in_relu : bool
        Whether its values are meant to be divided by their maximum, not to go through a sigmoid.
    """

    recipe: Recipe
    network: nn.Module
    architecture: Architecture | None
    others: Path = DEFAULT
    ends_in_relu: bool = False


def begin(chosen: Namespace) -> Start:
    """The network to train: random, or a copy of a checkpoint's.

    Raises
    ------
    DataError
        If the checkpoint cannot be used or is of another architecture, or the patch does not fit.
    """
    window = tuple(chosen.patch) if chosen.patch else None
    if chosen.start is None:
        recipe = _recipe(chosen.architecture or FOLDED, window)
        network = network_of(recipe)
        return Start(recipe, network, None if recipe.name == PLAIN else architecture_of(recipe))
    model = load_model(chosen.start, "cpu")
    if isinstance(model, ContrastAgnostic):
        name = PLAIN
    elif isinstance(model, Model):
        name = FOLDED
    else:
        raise DataError(f"{chosen.start}: is a result of nnU-Net, which is not fine-tuned here; use nnU-Net")
    if chosen.architecture not in (None, name):
        raise DataError(
            f"{chosen.start}: is no {chosen.architecture}, but {name}; leave --architecture out, or choose "
            "another checkpoint"
        )
    if isinstance(model, ContrastAgnostic):
        recipe = _recipe(name, window or model.window)
        state = model.network.state_dict()
        start = Start(
            recipe,
            network_of(recipe, layout=layout_of(state)),
            None,
            ends_in_relu=model.ending == NORMALISED_RELU,
        )
    else:
        architecture, segmenter = model.segmenter
        recipe = _recipe(name, window, architecture)
        state = segmenter.state_dict()
        start = Start(
            recipe,
            network_of(recipe, architecture=architecture),
            architecture_of(recipe, architecture),
            chosen.start,
        )
    start.network.load_state_dict(state)
    return start


def write_checkpoint(folder: Path, start: Start, facts: dict[str, Any]) -> Path:
    """Write a trained network so that ``softseg --model`` runs it; where it lies.

    The published architecture is written in the layout of its releases; ours with the locator and the level
    network of the checkpoint it began with (or the packaged ones), which were not trained.
    """
    state = {name: tensor.detach().cpu() for name, tensor in start.network.state_dict().items()}
    if start.architecture is None:
        path = folder / "model.ckpt"
        content = {
            "state_dict": {f"net.{name}": tensor for name, tensor in state.items()},
            "softseg": {"window": list(start.recipe.window), "ending": SIGMOID},
            "provenance": facts,
        }
        with written_aside(path) as aside:
            torch.save(content, aside)
        return path
    path = folder / "model.pt"
    cpu = torch.device("cpu")
    locator, finder = load_checkpoint(start.others, cpu)["locator"]
    networks: dict[str, Any] = {
        "locator": (locator, finder.state_dict()),
        "segmenter": (start.architecture, state),
    }
    levels = load_level_network(start.others, cpu)
    if levels is not None:
        networks["levels"] = levels[0], levels[1].state_dict()
    save_checkpoint(path, networks, facts)
    return path


def _recipe(name: str, window: Any, architecture: Architecture | None = None) -> Recipe:
    try:
        return recipe_of(name, window, architecture)
    except ValueError as error:
        raise DataError(f"--patch: {error}") from error
