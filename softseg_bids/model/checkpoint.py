"""A checkpoint: all that is needed to use the networks, in one small file.

It holds, for each network, its architecture (with grid and window), its weights in half
precision, and a provenance: how it was trained and how it scored. Locator and segmenter are always
there, the network that finds levels may be missing. Loading reads tensors and plain values only;
nothing in the file is executed.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from softseg_bids.image.volume import DataError, written_aside
from softseg_bids.model.levels import LevelArchitecture, LevelNet
from softseg_bids.model.network import Architecture, FoldedUNet
from softseg_bids.model.releases.release import is_release
from softseg_bids.model.weights import DEFAULT

FORMAT = 1
ROLES = ("locator", "segmenter")
# May be missing: then levels are not looked for.
LEVEL_ROLE = "levels"


def save_checkpoint(
    path: Path,
    networks: dict[str, tuple[Architecture | LevelArchitecture, dict[str, Tensor]]],
    provenance: dict[str, Any],
) -> None:
    """Write architectures and weights of the named networks, and where they come from."""
    content = {
        "format": FORMAT,
        "networks": {
            role: {
                "architecture": architecture._asdict(),
                "state": {name: tensor.detach().cpu().half() for name, tensor in state.items()},
            }
            for role, (architecture, state) in networks.items()
        },
        "provenance": provenance,
    }
    with written_aside(path) as aside:
        torch.save(content, aside)


def load_checkpoint(path: Path, device: torch.device) -> dict[str, tuple[Architecture, FoldedUNet]]:
    """Read the networks of a checkpoint, ready to infer.

    Raises
    ------
    DataError
        If the file is missing, is no checkpoint of ours, holds anything but tensors and plain
        values, or was written in another format.
    """
    content = _checked(path)
    return {role: _build(path, role, content["networks"].get(role), device) for role in ROLES}


def load_level_network(path: Path, device: torch.device) -> tuple[LevelArchitecture, LevelNet] | None:
    """Read the network that finds levels, or None if the checkpoint came without one.

    Others' releases have none: with them the packaged checkpoint's looks for levels.

    Raises
    ------
    DataError
        As of :func:`load_checkpoint`.
    """
    entry = _checked(DEFAULT if is_release(path) else path)["networks"].get(LEVEL_ROLE)
    if entry is None:
        return None
    try:
        fields = {name: tuple(value) for name, value in entry["architecture"].items()}
        architecture = LevelArchitecture(**fields)
        network = LevelNet(architecture)
        network.load_state_dict({name: tensor.float() for name, tensor in entry["state"].items()})
    except (TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"{path}: its {LEVEL_ROLE} is incomplete ({error}); use another checkpoint"
        ) from error
    return architecture, network.to(device).eval().requires_grad_(False)


def _checked(path: Path) -> dict[str, Any]:
    content = _read(path)
    if content.get("format") != FORMAT:
        raise DataError(
            f"{path}: checkpoint format {content.get('format')!r}; this version reads format {FORMAT}: "
            "use the checkpoint that came with it, or train again"
        )
    return content


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataError(f"{path}: no such checkpoint; give --model a file, or reinstall for the packaged one")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: cannot be read as weights alone ({reason}); it is damaged or not one of ours"
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("networks"), dict):
        raise DataError(f"{path}: holds no networks of this project; give --model one of its checkpoints")
    return content


def _build(path: Path, role: str, entry: Any, device: torch.device) -> tuple[Architecture, FoldedUNet]:
    try:
        fields = {name: tuple(value) for name, value in entry["architecture"].items()}
        architecture = Architecture(**fields)
        _slope, _offset = architecture.scaling  # told now, not in the middle of a run
        network = FoldedUNet(architecture)
        network.load_state_dict({name: tensor.float() for name, tensor in entry["state"].items()})
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as error:
        raise DataError(f"{path}: its {role} is incomplete ({error}); use another checkpoint") from error
    # Channels last, as in training: a fifth less time on a CPU.
    network.to(device=device, memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    return architecture, network.eval().requires_grad_(False)
