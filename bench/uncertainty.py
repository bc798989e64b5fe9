"""Fit what a soft edge says of the error of a slice's area, on images that the set does not hold.

``python -m bench.uncertainty --weights FILE`` writes FILE with the ending .json, from which the app takes it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench import scores
from bench.images import plan_calibration
from bench.judging import Judged, Row
from bench.running import judge_all, say
from softseg_bids.core.uncertainty import AreaUncertainty, fit
from softseg_bids.image.volume import written_aside
from softseg_bids.model.weights import DEFAULT, digest


def main(argv: Sequence[str] | None = None) -> int:
    """Draw and judge the images, fit, write the JSON file beside the checkpoint."""
    parser = argparse.ArgumentParser(prog="python -m bench.uncertainty", description="Fit area_sd_mm2.")
    parser.add_argument("--weights", type=Path, default=DEFAULT, help="the checkpoint (the packaged one)")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(argv)
    results = list(judge_all(plan_calibration(options.images), options.weights, options.processes))
    found = fitted(results)
    share = scores.interval_share(results, found)
    say(f"{found}; the interval holds {100 * share:.1f} % of the slices that it was fitted on")
    write(options.weights.with_suffix(".json"), found, digest(options.weights))
    return 0


def fitted(results: Sequence[Judged]) -> AreaUncertainty:
    """Coefficients from all used slices of images with contrast enough, an equal number of each image.

    Raises
    ------
    ValueError
        With too few slices.
    """
    rows = [row for one in scores.clear(results) for row in _some([r for r in one.slices if r["used"]])]
    area, true, edge = (np.array([row[key] for row in rows]) for key in ("area_mm2", "true_mm2", "edge_mm2"))
    return fit(area - true, area, edge)


def write(path: Path, found: AreaUncertainty, model_hash: str) -> None:
    """Put the coefficients into the JSON file; what else it says stays."""
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    facts |= {"AreaUncertainty": [round(value, 5) for value in found], "AreaUncertaintyOf": model_hash}
    with written_aside(path) as aside:
        aside.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _some(rows: Sequence[Row], most: int = 20) -> list[Row]:
    """Evenly spaced rows: images of thin slices would count more than those of thick ones."""
    places = np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(int)
    return [rows[place] for place in places]


if __name__ == "__main__":
    raise SystemExit(main())
