"""Fit slope and offset of the segmenter's logits (Platt's scaling), on images that the set does not hold.

``python -m bench.scaling --weights FILE`` says them; `softseg_bids.training.pack --scaling` puts them in.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize

from bench.images import Spec, make, plan_calibration
from bench.running import in_processes, say
from bench.scores import CLEAR_CNR
from softseg_bids.core.cord import keep_cord
from softseg_bids.image.grid import Array, Grid, resample
from softseg_bids.model.edges import dense_logits, scaled
from softseg_bids.model.predict import Model, load_own, segment_fine
from softseg_bids.model.weights import DEFAULT

# Voxels without any cord in sight say nothing of edges.
LEAST_FRACTION = 0.002
LEAST_IMAGES = 10
_model: Model


class Edges(NamedTuple):
    """What one image says of its edges.

    Attributes
    ----------
    logits : ndarray
        Of the network, on ``dense``.
    dense, grid : Grid
    near : ndarray of bool, shape grid.shape
        Voxels that are judged.
    true : ndarray, shape (near.sum(),)
        Their true fraction.
    """

    logits: Array
    dense: Grid
    grid: Grid
    near: NDArray[np.bool_]
    true: NDArray[np.float64]


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the images, segment them without any scaling, fit, and say the result."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description="Fit the logits' scaling.")
    parser.add_argument("--weights", type=Path, default=DEFAULT, help="the checkpoint (the packaged one)")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(argv)
    specs = plan_calibration(options.images)
    made = in_processes(_edges, specs, options.processes, _prepare, options.weights)
    shown = [edges for edges in made if edges is not None]
    slope, offset = fitted(shown)
    before, after = cross_entropy(shown, (1.0, 0.0)), cross_entropy(shown, (slope, offset))
    say(f"{len(shown)} images; cross-entropy {before:.4f} unscaled, {after:.4f} scaled")
    print(f"--scaling {slope:.2f} {offset:.2f}")
    return 0


def fitted(shown: Sequence[Edges]) -> tuple[float, float]:
    """Slope and offset of least cross-entropy, every image counting the same.

    Raises
    ------
    ValueError
        With too few images, or if there is no such scaling.
    """
    if len(shown) < LEAST_IMAGES:
        raise ValueError(f"{len(shown)} images can be judged, {LEAST_IMAGES} are needed: give --images more")

    def loss(scaling: NDArray[np.float64]) -> float:
        return cross_entropy(shown, (float(scaling[0]), float(scaling[1])))

    found = minimize(loss, [1.5, 0.0], method="Nelder-Mead", options={"xatol": 0.005, "fatol": 1e-6})
    slope, offset = (float(value) for value in found.x)
    if not found.success or slope <= 0:
        raise ValueError(f"no scaling fits (slope {slope:.2f}, offset {offset:.2f}): {found.message}")
    return slope, offset


def cross_entropy(shown: Sequence[Edges], scaling: tuple[float, float]) -> float:
    """Mean over images of the mean over voxels, of scaled fractions against true ones."""
    means = []
    for logits, dense, grid, near, true in shown:
        told = np.clip(scaled(logits, dense, grid, scaling)[near], 1e-5, 1 - 1e-5)
        means.append(-np.mean(true * np.log(told) + (1 - true) * np.log(1 - told)))
    return float(np.mean(means))


def _prepare(weights: Path) -> None:
    global _model
    torch.set_num_threads(1)
    _model = load_own(weights, torch.device("cpu"))


def _edges(spec: Spec) -> Edges | None:
    """None where nothing can be judged: no cord found, none known exactly, or fluid and cord too alike."""
    case = make(spec)
    whole = np.array([section.is_whole for section in case.sections], dtype=bool)
    if case.fraction is None or case.cnr < CLEAR_CNR or not whole.any():
        return None
    found = segment_fine(_model, case.array, case.grid)
    if found is None:
        return None
    soft = resample(*found, case.grid, outside="zero")
    near = (keep_cord(soft, case.grid.spacing_mm) > LEAST_FRACTION) & whole
    if not near.any():
        return None
    logits, dense = dense_logits(*found)
    return Edges(logits, dense, case.grid, near, np.asarray(case.fraction[near], dtype=float))


if __name__ == "__main__":
    raise SystemExit(main())
