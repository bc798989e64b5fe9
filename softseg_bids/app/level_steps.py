"""The step that looks for vertebral levels in one image: it comes after the centreline is known."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.records import line_from
from softseg_bids.app.sights import Sight, save_sight
from softseg_bids.image.grid import canonical, line_world
from softseg_bids.image.volume import Volume, read_volume


class Sighted(NamedTuple):
    """What an image shows of levels."""

    sight: Path


def find(image: str, line: Path, model: str, device: str, folder: Path) -> Sighted:
    """Look for levels along the centreline of an image.

    Parameters
    ----------
    image : str
        The conformed image.
    line : Path
        From `steps.trace`; without a cord nothing is looked for.
    model, device : str
        The checkpoint (one without a network for levels finds none), and where it runs.
    """
    fields = json.loads(line.read_text(encoding="utf-8"))["line"]
    sight = None
    if fields is not None:
        volume = read_volume(Path(image))
        grid = canonical(np.broadcast_to(np.uint8(0), volume.grid.shape), volume.grid)[1]
        points = line_world(line_from(fields), grid)[::-1]
        sight = run_levels(volume, points, model, device) if len(points) > 1 else None
    return Sighted(save_sight(folder / "sight.npz", sight))


def run_levels(volume: Volume, line_mm: NDArray[np.float64], model: str, device: str) -> Sight | None:
    """What a checkpoint's level network sees along a line (scanner mm, from the top), if it has one."""
    from softseg_bids.model.levels import read_levels

    loaded = _loaded(model, device)
    if loaded is None:
        return None
    architecture, network, place = loaded
    where, evidence = read_levels(architecture, network, volume, line_mm, place)
    return Sight(where.points_mm, evidence)


@lru_cache(maxsize=1)
def _loaded(model: str, device: str) -> Any:
    from softseg_bids.model.checkpoint import load_level_network
    from softseg_bids.model.predict import device_of

    place = device_of(device)
    found = load_level_network(Path(model), place)
    return None if found is None else (*found, place)
