"""``python -m faults``: inject every fault, write docs/reliability.md; exit code 1 if one did harm."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from faults import fuzz, kills, places
from faults.door import ROOT
from faults.lab import Lab, Outcome
from faults.report import write_report

FULL = {
    "kills": 50,
    "workers": 20,
    "real-kills": 5,
    "interruptions": 12,
    "memory": 6,
    "real-memory": 2,
    "full-disk": 12,
    "read-only": 8,
    "two-runs": 6,
    "vanishing": 12,
    "locales": 6,
    "datasets": 400,
    "tables": 88,
    "lone-images": 40,
}
KINDS: dict[str, Callable[[Lab, int], Outcome]] = {
    "kills": kills.whole_runs,
    "workers": kills.workers,
    "interruptions": kills.interruptions,
    "memory": kills.memory,
    "real-memory": kills.real_memory,
    "full-disk": places.full_disk,
    "read-only": places.read_only,
    "two-runs": places.two_runs,
    "vanishing": places.vanishing,
    "locales": places.locales,
    "datasets": fuzz.datasets,
    "tables": fuzz.tables,
    "lone-images": fuzz.lone_images,
}


def main(argv: Sequence[str]) -> int:
    """Inject faults; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"only these: {' '.join(FULL)}")
    parser.add_argument("--part", type=float, default=1.0, help="this part of the full counts (0.1: a tenth)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, default=ROOT / "docs" / "reliability.md")
    chosen = parser.parse_args(argv)
    unknown = set(chosen.kinds) - set(FULL)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    start = time.monotonic()
    outcomes = []
    try:
        lab = Lab(folder, chosen.seed)
        lab.prepare()
        for kind, full in FULL.items():
            if not chosen.kinds or kind in chosen.kinds:
                inject = KINDS.get(kind) or partial(_real_kills, folder)
                outcomes.append(inject(lab, max(1, round(full * chosen.part))))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    harm = sum(outcome.spoiled for outcome in outcomes)
    if not chosen.kinds:
        write_report(chosen.report, outcomes, chosen.seed)
    for outcome in outcomes:
        why = f" (not injected here: {outcome.skipped})" if outcome.skipped else ""
        print(f"{outcome.fault}: {outcome.injected} injected, {outcome.survived} survived{why}")
        print("".join(f"  {problem}\n" for problem in outcome.problems), end="")
    print(f"faults: {harm} did harm, after {(time.monotonic() - start) / 60:.0f} min")
    return int(harm > 0)


def _real_kills(folder: Path, lab: Lab, rounds: int) -> Outcome:
    """A drawn neck: the smallest image in which the packaged network finds a cord."""
    from softseg_bids.app.demo import scan_person, write_image
    from softseg_bids.app.demo_people import PEOPLE

    root = folder / "neck"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "neck", "BIDSVersion": "1.11.1"}')
    write_image(root, PEOPLE[0], next(scan_person(PEOPLE[0])))
    return kills.real_kills(lab, rounds, root)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
