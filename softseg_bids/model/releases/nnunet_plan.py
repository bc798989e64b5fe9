"""What nnU-Net's plans.json and dataset.json say about running a network: read, checked, refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from softseg_bids.image.volume import DataError

# What the cord is called in dataset.json, without case and separators; else it must be the only label.
CORD_NAMES = ("sc", "scseg", "cord", "spinalcord")
SCHEMES = ("ZScoreNormalization", "CTNormalization", "NoNormalization", "RescaleTo01Normalization")
# nnU-Net's reader that turns every image by itself.
TURNING_READER = "NibabelIOWithReorient"


class Plan(NamedTuple):
    """What a result folder says about how to run its networks.

    Attributes
    ----------
    spacing_mm, patch : tuple
        On the network's axes.
    axes : tuple of int
        The network's axes, as axes of the image in its trained orientation.
    orientation : str
        nibabel's axis codes of that orientation.
    scheme : str
        Normalisation.
    masked : bool
        Whether it counts only what is not zero.
    intensities : mapping
        Of the training set, for fixed normalisations.
    channel : int
        The cord's, among the outputs.
    regions : bool
        Outputs may overlap (sigmoid), else they exclude each other (softmax).
    """

    spacing_mm: tuple[float, float, float]
    patch: tuple[int, int, int]
    axes: tuple[int, int, int]
    orientation: str
    scheme: str
    masked: bool
    intensities: Mapping[str, float]
    channel: int
    regions: bool


def plan_of(folder: Path, plans: dict[str, Any], dataset: dict[str, Any], name: str) -> Plan:
    """The plan of one configuration.

    Raises
    ------
    DataError
        If dataset.json names no orientation, or no cord.
    ValueError, KeyError
        If it cannot be run here, or an entry is missing.
    """
    settings = dict(plans["configurations"][name])
    while parent := settings.pop("inherits_from", None):
        settings = dict(plans["configurations"][parent]) | settings
    architecture = settings.get("architecture", {}).get("network_class_name") or settings.get(
        "UNet_class_name", ""
    )
    if not str(architecture).endswith("PlainConvUNet"):
        raise ValueError(f"its network is a {str(architecture).rsplit('.', maxsplit=1)[-1]}")
    if settings.get("previous_stage") is not None:
        raise ValueError("it is the second stage of a cascade")
    channels = dataset.get("channel_names", dataset.get("modality", {}))
    if len(channels) != 1:
        raise ValueError(f"it needs {len(channels)} images at once")
    spacing, patch = settings["spacing"], settings["patch_size"]
    if len(spacing) != 3 or len(patch) != 3:
        raise ValueError(f"its configuration {name} works in {len(patch)} dimensions")
    # nnU-Net reads arrays with their axes reversed, then permutes them.
    forward = [2 - int(axis) for axis in plans["transpose_forward"]]
    intensities = plans.get("foreground_intensity_properties_per_channel", {}).get("0", {})
    labels = dataset["labels"]
    regions = any(isinstance(value, list | tuple) for value in labels.values())
    scheme = str(settings["normalization_schemes"][0])
    if scheme not in SCHEMES:
        raise ValueError(f"its normalisation is {scheme}")
    return Plan(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        patch=(int(patch[0]), int(patch[1]), int(patch[2])),
        axes=(forward[0], forward[1], forward[2]),
        orientation=_orientation(folder, plans, dataset),
        scheme=scheme,
        masked=bool(settings["use_mask_for_norm"][0]),
        intensities={key: float(value) for key, value in intensities.items()},
        channel=_cord_channel(labels, regions, folder),
        regions=regions,
    )


def _orientation(folder: Path, plans: dict[str, Any], dataset: dict[str, Any]) -> str:
    """nibabel's codes (whither axes run) of SCT's (whence they come), in dataset.json; else RAS."""
    if plans.get("image_reader_writer") == TURNING_READER:
        return "RAS"
    named = str(dataset.get("image_orientation", "LPI")).upper()
    opposite = {"L": "R", "R": "L", "P": "A", "A": "P", "I": "S", "S": "I"}
    if len(named) != 3 or {frozenset((c, opposite.get(c, ""))) for c in named} != {
        frozenset("LR"), frozenset("PA"), frozenset("IS")
    }:  # fmt: skip
        raise DataError(f"{folder / 'dataset.json'}: image_orientation {named!r} is none, such as RPI")
    return "".join(opposite[letter] for letter in named)


def _cord_channel(labels: Mapping[str, Any], regions: bool, folder: Path) -> int:
    foreground = [name for name in labels if name.casefold() not in ("background", "ignore")]
    bare = {name: "".join(c for c in name.casefold() if c.isalnum()) for name in foreground}
    named = [name for name in foreground if bare[name] in CORD_NAMES]
    chosen = named[0] if named else foreground[0] if len(foreground) == 1 else None
    if chosen is None:
        raise DataError(
            f"{folder / 'dataset.json'}: none of its labels ({', '.join(foreground)}) is called spinal cord; "
            "rename the cord's to SC"
        )
    return foreground.index(chosen) if regions else int(labels[chosen])


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises
    ------
    DataError
        If there is none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error}); unpack the whole release") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no JSON object; unpack the whole release")
    return content
