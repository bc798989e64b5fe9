"""The whole of it: ``python -m paper.report`` (``make paper``): study, masks, evaluation, docs/paper.md."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from paper import figures, page, results, study
from paper.cohort import participants
from paper.evaluate import TEACHERS, judge, predict, test_people
from paper.variants import all_jobs
from paper.weights import WEIGHTS, load, path_of
from softseg_bids.model.weights import digest

# Not where the networks are trained: that may be under way.
FOLDER = Path(__file__).parents[1] / "build" / "paper"


def main(argv: Sequence[str] | None = None) -> int:
    """Make the test participants anew, judge every trained variant, write the page."""
    parser = argparse.ArgumentParser(prog="python -m paper.report", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the study and the masks are made")
    parser.add_argument(
        "--keep", action="store_true", help="go on with the study and the masks that are there"
    )
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args(argv)
    torch.set_num_threads(chosen.threads)
    began = time.monotonic()
    loaded = {job.name: load(path_of(job.name)) for job in all_jobs() if path_of(job.name).exists()}
    trained = {name: facts for name, (_, _, facts) in loaded.items()}
    variants = page.whole_variants(trained)
    if not variants:
        print(f"paper: no variant is trained ({WEIGHTS}); make paper-train", file=sys.stderr)
        return 1
    root = chosen.folder.absolute() / "bids"
    masks, out = root.parent / "masks", root.parent / "evaluation"
    for folder in () if chosen.keep else (root, masks):
        shutil.rmtree(folder, ignore_errors=True)
    study.make(root, [one for one in participants() if one.label in test_people()])
    study.make_soft(root)
    predict(root, masks, variants=variants)
    judge(root, {name: root / folder for name, folder in TEACHERS.items()}, out / "teachers")
    # Apart from the teachers: p values are for the comparisons of networks alone.
    judge(root, {each.name: masks / each.name for each in variants}, out / "networks")
    found = results.read([out / "teachers", out / "networks"])
    figures.draw_all(found)
    parameters = sum(tensor.numel() for tensor in next(iter(loaded.values()))[1].parameters())
    minutes = (time.monotonic() - began) / 60
    page.write(
        found, trained, parameters,
        f"The cord was found by the locator in `{digest()}`; `make paper` took {minutes:.0f} minutes.",
    )  # fmt: skip
    print(f"paper: wrote {page.PAGE} after {minutes:.0f} minutes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
