"""What a scan's JSON sidecars say, with BIDS inheritance, and facts read from them.

Only the few sidecars of the chosen scans are read. One malformed file is a warning that names
it and otherwise counts as empty: it never ends a run.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softseg_bids.bids.names import Name, parse_name
from softseg_bids.image.volume import DataError, check_file

logger = logging.getLogger(__name__)

Metadata = dict[str, Any]


class Sidecars:
    """Sidecars of one dataset; every folder is listed and every JSON file read at most once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._listings: dict[tuple[Path, str], list[tuple[int, Name, Path]]] = {}
        self._contents: dict[Path, Metadata] = {}

    def metadata(self, folder: Path, name: Name) -> Metadata:
        """Merged metadata of the image ``name`` in ``folder``: key by key, the nearest sidecar wins."""
        merged: Metadata = {}
        for path in self._applying(folder, name, ".json"):
            merged.update(self._content(path))
        return merged

    def nearest(self, folder: Path, name: Name, extension: str) -> Path | None:
        """The nearest file of another kind that belongs to an image (``.bval``), or None."""
        applying = [path for path in self._applying(folder, name, extension) if path.exists()]
        return applying[-1] if applying else None

    def _applying(self, folder: Path, name: Name, extension: str) -> list[Path]:
        """Files that belong to an image, the nearest last (BIDS inheritance principle).

        A file applies if it lies in the image's folder or above it, has the image's suffix, and
        names no entity that the image does not have. Within one folder the one with more
        entities is the nearer, and the image's own name the nearest.
        """
        found = [
            (depth, other.text == name.text, len(other.entities), path)
            for depth, other, path in self._candidates(folder, extension)
            if other.text == name.text or _applies(other, name)
        ]
        return [path for *_, path in sorted(found)]

    def _candidates(self, folder: Path, extension: str) -> list[tuple[int, Name, Path]]:
        """Files of one kind in a folder and above it within the dataset, with their depth."""
        key = (folder, extension)
        if key not in self._listings:
            above = [] if folder == self._root else self._candidates(folder.parent, extension)
            depth = len(folder.parts)
            paths = [path for path in folder.iterdir() if path.name.endswith(extension)]
            self._listings[key] = above + [(depth, parse_name(path), path) for path in paths]
        return self._listings[key]

    def _content(self, path: Path) -> Metadata:
        if path not in self._contents:
            self._contents[path] = read_json(path)
        return self._contents[path]


def read_json(path: Path) -> Metadata:
    """The object in a JSON file; {} with a warning that names it if it holds none."""
    try:
        return json_object(path)
    except DataError as error:
        logger.warning("%s; it is ignored", error)
        return {}


def json_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file that somebody else wrote.

    Raises
    ------
    DataError
        If it is no file, no text, no JSON (also if nested too deeply to be read), or no object.
    """
    check_file(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds no JSON object")
    return content


def gradient_correction(metadata: Mapping[str, Any], entities: Mapping[str, str]) -> str:
    """How gradient non-linearity was corrected: ``none``, ``2D``, ``3D`` or ``unknown``.

    ImageType (DIS2D, DIS3D, ND; written by the scanner) is asked first, then
    NonlinearGradientCorrection, then an ``acq-`` or ``rec-`` label that ends in one of the three.
    A correction of undeclared kind is taken to have as many dimensions as the acquisition.
    """
    kinds = {"DIS3D": "3D", "DIS2D": "2D", "ND": "none"}
    image_type = metadata.get("ImageType")
    tokens = {str(token).upper() for token in image_type} if isinstance(image_type, list) else set()
    for token, kind in kinds.items():
        if token in tokens:
            return kind
    corrected = metadata.get("NonlinearGradientCorrection")
    if isinstance(corrected, bool):
        if not corrected:
            return "none"
        return "3D" if str(metadata.get("MRAcquisitionType", "")).upper() == "3D" else "2D"
    for entity in ("rec", "acq"):
        token = gradient_token(entities.get(entity, ""))
        if token:
            return kinds[token]
    return "unknown"


def gradient_token(label: str) -> str:
    """The ``ND``, ``DIS2D`` or ``DIS3D`` an entity label ends in, else an empty string."""
    found = re.search(r"(DIS2D|DIS3D|(?<![A-Z])ND)$", label)
    return found.group(1) if found else ""


def _applies(sidecar: Name, image: Name) -> bool:
    return sidecar.suffix == image.suffix and all(
        image.entities.get(key) == value for key, value in sidecar.entities.items()
    )
