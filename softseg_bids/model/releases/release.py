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
from softseg_bids.model.releases.nnunet import NnUNet, load_nnunet, segment_with_nnunet
from softseg_bids.model.releases.plainconv import build
from softseg_bids.model.releases.reading import read_checkpoint

Release = ContrastAgnostic | NnUNet

LIGHTNING_NAMES = ("best_model_loss.ckpt", "best_model.ckpt")
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
        if not (folder / "plans.json").is_file():
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
    if (folder / "plans.json").is_file():
        return load_nnunet(folder, device)
    for name in LIGHTNING_NAMES:
        if (folder / name).is_file():
            return load_release(folder / name, device)
    below = sorted(found.parent for found in folder.glob("*/plans.json"))
    if len(below) != 1:
        raise DataError(
            f"{folder}: holds {len(below)} result folders of nnU-Net and no best_model_loss.ckpt; "
            "give --model the one to use"
        )
    return load_nnunet(below[0], device)
