"""Judge every variant on the test participants against what is true of them, by softseg-evaluate."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from paper import study
from paper.cohort import CONTRASTS, sides
from paper.variants import VARIANTS, Variant, job_for
from paper.weights import WEIGHTS, load, path_of
from softseg_bids.app.outcome import Exit
from softseg_bids.bids.dataset import Scan, Selection
from softseg_bids.bids.discover import discover
from softseg_bids.image.volume import read_volume, write_volume
from softseg_bids.model.predict import Model, load_own, segment
from softseg_bids.model.weights import DEFAULT
from softseg_bids.study import doors

# What is judged beside the networks, to know what they were taught.
TEACHERS = {"raters": study.RATERS, "soft_truth": study.SOFT}
SPREAD_OVER = [name for name in CONTRASTS if name != "DWI"]


def test_people() -> list[str]:
    """Labels of those whom no network has seen."""
    return [label for label, side in sides().items() if side == "test"]


def predict(root: Path, out: Path, weights: Path = WEIGHTS, variants: Sequence[Variant] = VARIANTS) -> None:
    """Every variant's masks of the test participants, in a folder of its name below ``out``.

    The packaged locator finds the cord for all of them.
    """
    cpu = torch.device("cpu")
    base = load_own(DEFAULT, cpu)
    networks: dict[tuple[str, str], Model] = {}
    for variant in variants:
        for contrast in CONTRASTS:
            architecture, network, _ = load(path_of(job_for(variant, contrast).name, weights))
            networks[variant.name, contrast] = base._replace(segmenter=(architecture, network))
    for scan in discover(root, Selection(participants=tuple(test_people()))).scans:
        for variant in variants:
            predict_scan(scan, networks[variant.name, scan.contrast], out / variant.name)
        _say(f"segmented {scan.relative} by {len(variants)} variants")


def predict_scan(scan: Scan, model: Model, folder: Path) -> Path:
    """One image's soft mask on its own grid; where it lies."""
    image = read_volume(scan.paths[0])
    path = folder / scan.folder / f"{scan.paths[0].name.split('.')[0]}_label-SC_probseg.nii.gz"
    write_volume(path, segment(model, image), image.grid, scan.paths[0])
    return path


def judge(root: Path, methods: Mapping[str, Path], out: Path) -> None:
    """Run softseg-evaluate on the test participants; its page and tables lie in ``out``.

    Raises
    ------
    RuntimeError
        If it cannot judge all of them.
    """
    shutil.rmtree(out, ignore_errors=True)
    named = [f"{name}={folder}" for name, folder in methods.items()]
    said = doors.evaluate(
        [str(root), *named, "--labels", str(root / study.LABELS), "-o", str(out),
         "--contrast-set", *SPREAD_OVER, "--participant-label", *test_people()]
    )  # fmt: skip
    if said != Exit.DONE:
        raise RuntimeError(f"softseg-evaluate ended with {said} on {root}; its messages are above")


def _say(text: str) -> None:
    print(f"paper: {text}", file=sys.stderr, flush=True)
