"""Which of others' releases a path is, and how to run it: the one door to this room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from softseg_bids.image.grid import Array, Floats
from softseg_bids.image.volume import DataError, Volume
from softseg_bids.model.releases.contrast_agnostic import (
    NORMALISED_RELU,
    SIGMOID,
    WINDOW,
    ContrastAgnostic,
    segment_as_published,
)
from softseg_bids.model.releases.folders import LIGHTNING_NAMES, PLANS, model_in
from softseg_bids.model.releases.nnunet import NnUNet, load_nnunet, segment_with_nnunet
from softseg_bids.model.releases.plainconv import build
from softseg_bids.model.releases.reading import read_checkpoint

Release = ContrastAgnostic | NnUNet

SUFFIXES = (".ckpt", ".pth")


def is_release(path: Path) -> bool:
    """Whether a path is a release of others: a folder, or a file with weights in their layout."""
    if path.is_dir() or path.suffix in SUFFIXES:
        return True
    try:
        content = read_checkpoint(path)
    except DataError:
        return False
    return "networks" not in content and ("state_dict" in content or "network_weights" in content)


def load_release(path: Path, device: torch.device) -> Release:
    """Load a contrast-agnostic checkpoint (file, or the folder it lies in) or an nnU-Net result folder.

    Raises
    ------
    DataError
        If it is neither, or cannot be used.
    """
    if path.is_dir():
        return _from_folder(path, device)
    content = read_checkpoint(path)
    if "network_weights" in content:
        folder = path.parent.parent
        if not (folder / PLANS).is_file():
            raise DataError(f"{path}: is one fold of nnU-Net; give --model the folder with plans.json")
        return load_nnunet(folder, device)
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise DataError(f"{path}: holds no weights (state_dict); give --model best_model_loss.ckpt itself")
    settings = content.get("softseg", {})
    try:
        network = build(state)
        window = tuple(int(n) for n in settings.get("window", WINDOW))
        ending = str(settings.get("ending", NORMALISED_RELU))
        if len(window) != 3 or ending not in (NORMALISED_RELU, SIGMOID):
            raise ValueError(f"window {window}, ending {ending!r}")
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: is no contrast-agnostic model of the releases v2.x ({error}); use another checkpoint"
        ) from error
    return ContrastAgnostic(network.to(device), (window[0], window[1], window[2]), ending, device)


def segment_released(model: Release, volume: Volume, find_cord: Callable[[], Floats | None]) -> Array:
    """Cord fraction of every voxel; ``find_cord`` tells where our own network sees one (scanner mm)."""
    if isinstance(model, NnUNet):
        return segment_with_nnunet(model, volume)
    return segment_as_published(model, volume, find_cord())


def _from_folder(folder: Path, device: torch.device) -> Release:
    model = model_in(folder)
    if model is None:
        raise DataError(
            f"{folder}: holds no result folder of nnU-Net and no {LIGHTNING_NAMES[0]}; "
            "give --model the one to use"
        )
    return load_nnunet(model, device) if model.is_dir() else load_release(model, device)
