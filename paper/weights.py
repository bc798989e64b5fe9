"""The committed weights: one small file a network, half precision, read as tensors and plain values only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from softseg_bids.image.volume import DataError
from softseg_bids.model.checkpoint import save_checkpoint
from softseg_bids.model.network import Architecture, FoldedUNet
from softseg_bids.model.releases.reading import read_checkpoint
from softseg_bids.training.fit import Settings

WEIGHTS = Path(__file__).with_name("weights")
ROLE = "segmenter"


def path_of(name: str, folder: Path = WEIGHTS) -> Path:
    """Where the weights of a network lie."""
    return folder / f"{name}.pt"


def save(path: Path, architecture: Architecture, network: nn.Module, facts: dict[str, Any]) -> Path:
    """Write a network's weights and how they were trained."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, {ROLE: (architecture, network.state_dict())}, facts)
    return path


def load(path: Path) -> tuple[Architecture, FoldedUNet, dict[str, Any]]:
    """Read a network, ready to infer, its architecture, and how it was trained.

    Raises
    ------
    DataError
        If the file is missing, holds more than weights, or is not one of these.
    """
    if not path.is_file():
        raise DataError(f"{path}: is not there; `make paper-train` makes it")
    content = read_checkpoint(path)
    try:
        entry = content["networks"][ROLE]
        architecture = Architecture(**{name: tuple(value) for name, value in entry["architecture"].items()})
        network = FoldedUNet(architecture)
        network.load_state_dict({name: tensor.float() for name, tensor in entry["state"].items()})
        facts = dict(content["provenance"])
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"{path}: holds no network of this study ({error}); `make paper-train` makes it"
        ) from error
    return architecture, network.eval().requires_grad_(False), facts


def is_trained(path: Path, settings: Settings) -> bool:
    """Whether a file holds a network trained for the steps that are asked for, with their seed."""
    if not path.exists():
        return False
    facts = load(path)[2]
    return facts["steps"] >= settings.steps and facts["seed"] == settings.seed
