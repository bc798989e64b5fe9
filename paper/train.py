"""Train every variant: ``python -m paper.train`` (``make paper-train``).

Stopped anywhere, it goes on when called again.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from paper import study, variants
from paper.cohort import participants, sides
from paper.variants import ARCHITECTURE, RECIPE, SETTINGS, Job
from paper.weights import WEIGHTS, is_trained, path_of, save
from softseg_bids.core.scores import binarise
from softseg_bids.lab.dataset import find, load
from softseg_bids.training.cases import Case
from softseg_bids.training.fit import Settings, fit

FOLDER = Path(__file__).parents[1] / "runs" / "paper"
Cases = dict[str, list[tuple[str, Case]]]


def main(argv: Sequence[str] | None = None) -> int:
    """Make the study, train what is not trained yet."""
    parser = argparse.ArgumentParser(prog="python -m paper.train", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="study and state of the trainings")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these networks")
    parser.add_argument("--again", action="store_true", help="forget the committed weights, train all anew")
    parser.add_argument("--steps", type=int, default=SETTINGS.steps, metavar="N", help="of every network")
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    settings = SETTINGS._replace(steps=chosen.steps)
    if chosen.again:
        for job in variants.all_jobs():
            path_of(job.name).unlink(missing_ok=True)
        shutil.rmtree(chosen.folder / "training", ignore_errors=True)
    todo = [
        job
        for job in variants.all_jobs()
        if not is_trained(path_of(job.name), job.settings(settings))
        and (not chosen.only or job.name in chosen.only)
    ]
    if not todo:
        _say(f"all networks are trained; they lie in {WEIGHTS}")
        return 0
    root = chosen.folder.absolute() / "bids"
    side_of = sides()
    study.make(root, [one for one in participants() if side_of[one.label] != "test"])
    study.make_soft(root)
    cases: dict[bool, Cases] = {}
    for job in todo:
        hard = job.variant.hard
        if hard not in cases:
            cases[hard] = load_cases(root, hard, chosen.folder)
        train(job, cases[hard], job.settings(settings), chosen.folder / "training", WEIGHTS)
    return 0


def train(job: Job, cases: Cases, settings: Settings, folder: Path, weights: Path) -> Path:
    """Train one network, or go on with it; where its weights lie.

    Parameters
    ----------
    job : Job
    cases : dict of side to list of (contrast, Case)
    settings : Settings
    folder : Path
        State and log lie in a folder of the network's name below it, until it is done.
    weights : Path
        Folder of the result.
    """
    own = folder / job.name
    own.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    network = variants.fresh_network()
    training, validation = (
        [case for contrast, case in cases[side] if contrast in job.contrasts]
        for side in ("train", "validation")
    )
    result = fit(
        network, RECIPE, job.loss, training, validation, settings, own, torch.device("cpu"),
        lambda text: _say(f"{job.name}: {text}"),
    )  # fmt: skip
    facts = {
        "name": job.name, "loss": job.variant.loss, "hard": job.variant.hard,
        "contrasts": list(job.contrasts),
        "steps": result.step, "best_step": result.best_step, "validation_loss": result.best_loss,
        "batch": settings.batch, "seed": settings.seed, "images": len(training),
    }  # fmt: skip
    path = save(path_of(job.name, weights), ARCHITECTURE, network, facts)
    spent = time.process_time() - began
    _say(f"{job.name}: {result.step} steps, best at {result.best_step} ({spent:.0f} CPU s)")
    return path


def load_cases(root: Path, hard: bool, folder: Path) -> Cases:
    """Images and labels of who is trained on and validated with, on the network's grid.

    Hard labels are cut there again, so that the network is shown nothing but 0 and 1.
    """
    cases: Cases = {"train": [], "validation": []}
    side_of = sides()
    for number, one in enumerate(find(root, root / (study.RATERS if hard else study.SOFT), [], "site")):
        side = side_of[one.person.participant]
        if side in cases:
            case = load(one, RECIPE, hard, folder / "conformed" / str(number))
            if hard:
                case = case._replace(cord=binarise(case.cord))
            cases[side].append((one.scan.contrast, case))
    shutil.rmtree(folder / "conformed", ignore_errors=True)
    counts = " and ".join(f"{len(found)} of {side}" for side, found in cases.items())
    _say(f"{'hard' if hard else 'soft'} labels: {counts} images")
    return cases


def _say(text: str) -> None:
    print(f"paper-train: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
