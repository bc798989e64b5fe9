"""Quick figures in the places of the app's own, for tests that are not about pictures.

The same files, by the same writers, but of a few pixels: drawing takes half of a run on a tiny image.
What figures show is tested in test_figures.py and test_curves.py, and test_app.py draws some for real.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from softseg_bids.image.volume import written_aside
from softseg_bids.pages import curves, figures
from softseg_bids.pages.layers import Layers, write_layers, write_picture

GREY, EMPTY = np.full((4, 4, 3), 90, np.uint8), np.zeros((4, 4), np.uint8)


def _layers(path: Path, *_: object) -> Layers:
    return write_layers(path, GREY, EMPTY, EMPTY)


def _picture(path: Path, *_: object) -> Path:
    return write_picture(path, GREY)


def _curves(path: Path, *_: object) -> Path:
    with written_aside(path) as aside:
        aside.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>')
    return path


def sketch(patch: pytest.MonkeyPatch) -> None:
    """Sketch from now on, in this process and its forks."""
    patch.setattr(figures, "montage", _layers)
    patch.setattr(figures, "sagittal", _layers)
    patch.setattr(figures, "overview", _picture)
    patch.setattr(curves, "draw", _curves)
