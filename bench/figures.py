"""Two small pictures for docs/benchmark.md: measured against true area, and the reliability curve."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from bench.judging import Judged
from bench.scores import reliability


def draw_areas(results: Sequence[Judged], path: Path) -> None:
    """Measured on true mean area of each image, coloured by contrast; strangers hollow."""
    names = sorted({one.image["contrast"] for one in results if one.image["kind"] != "stranger"})
    colours = dict(zip(names, plt.get_cmap("tab20")(np.linspace(0, 1, max(len(names), 1))), strict=True))
    figure, axes = plt.subplots(figsize=(5.2, 4.4), layout="constrained")
    axes.plot([20, 120], [20, 120], color="0.6", linewidth=1)
    for name in names:
        points = _points([one for one in results if one.image["contrast"] == name])
        axes.scatter(*points, s=14, color=colours[name], label=name)
    held_out = _points([one for one in results if one.image["kind"] == "stranger"])
    axes.scatter(
        *held_out, s=16, facecolors="none", edgecolors="0.3", linewidths=0.8, label="held-out bodies"
    )
    axes.set(xlabel="true area, mm²", ylabel="measured area, mm²", xlim=(20, 120), ylim=(20, 120))
    axes.legend(fontsize=7, frameon=False, loc="upper left")
    _save(figure, path)


def draw_reliability(results: Sequence[Judged], path: Path) -> None:
    """Mean true against mean predicted fraction in ten bins."""
    curve = reliability(results)
    figure, axes = plt.subplots(figsize=(3.6, 3.4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.plot(curve[:, 1], curve[:, 2], marker="o", markersize=4, color="tab:red", linewidth=1)
    axes.set(xlabel="predicted cord fraction", ylabel="true cord fraction", xlim=(0, 1), ylim=(0, 1))
    _save(figure, path)


def _points(results: Sequence[Judged]) -> tuple[list[float], list[float]]:
    return [one.image["true_mm2"] for one in results], [one.image["area_mm2"] for one in results]


def _save(figure: plt.Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the date and version that matplotlib writes, equal pictures are equal files.
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)
