"""One neck scanned again, moved and nodded: how much of a change the whole road measures where there is none.

``python -m bench.moved [--bodies 3] [--found] [--write docs/statistics.md]`` draws healthy necks and scans
each (T2w, 1 mm) as it lies, again, 5 mm up and down and nodded by 10 degrees both ways, in the same field of
view, with noise, shading and texture of its own each time. The participant level segments every scan with
the packaged model; the group level compares each with the first. Disc labels are the true ones (``--found``:
those the packaged network finds).
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from bench.report import replace_part
from softseg_bids.app.cli import main as softseg
from softseg_bids.app.demo import CENTRE_MM, LABELS, Scanned, labels_of, write_image, write_labels
from softseg_bids.app.demo_people import Person
from softseg_bids.bids.derivatives import BIDS_VERSION, write_json
from softseg_bids.image.grid import Grid
from softseg_bids.synthesis.adult import disc_tips_mm, draw_adult
from softseg_bids.synthesis.body import Body
from softseg_bids.synthesis.protocol import CENTRE_S_MM, FIELD_MM
from softseg_bids.synthesis.scan import Pose, Stack, scan
from softseg_bids.synthesis.scan import Sequence as Imaged

SEED = 20240901
T2W = Stack((Imaged("T2w", (1.0, 1.0, 1.0), noise=0.025),), FIELD_MM, fine_mm=(0.6, 0.6, 0.6))
REGIONS = ("stretch", "vert-C2:C3", "vert-C3", "vert-C4", "vert-C5")
# Comes before all others in the order of names: what changes are measured from.
FIRST = "0"
# Largest change, in per cent, that may be measured of what has not changed.
LIMIT_PERCENT = 0.5


class Move(NamedTuple):
    """How a neck lies otherwise than the first time: mm towards the head, degrees of nodding."""

    up_mm: float
    nod_deg: float
    said: str


MOVES = {
    "again": Move(0.0, 0.0, "not at all, scanned again"),
    "up": Move(5.0, 0.0, "5 mm up"),
    "down": Move(-5.0, 0.0, "5 mm down"),
    "front": Move(0.0, 10.0, "nodded by 10°"),
    "back": Move(0.0, -10.0, "nodded by -10°"),
    "upfront": Move(5.0, 10.0, "5 mm up and 10°"),
    "downback": Move(-5.0, -10.0, "5 mm down and -10°"),
}


class Change(NamedTuple):
    """What the group level says of one region between the first scan and another."""

    move: str
    region: str
    percent: float
    alignment: str


def scanned(body: Body, session: str, move: Move, seed: int) -> Scanned:
    """One scan with its true disc labels: the body has moved, the field of view has not."""
    turn = Rotation.from_euler("x", move.nod_deg, degrees=True).as_matrix()
    pose = Pose(turn, np.array([0.0, 0.0, move.up_mm]))
    [image] = scan(body, pose, T2W, np.array(CENTRE_MM) - pose.shift_mm, seed)
    shape = (image.array.shape[0], image.array.shape[1], image.array.shape[2])
    discs = {value: pose.rotation @ tip + pose.shift_mm for value, tip in disc_tips_mm(body).items()}
    return Scanned(session, "T2w", image.array, Grid(shape, image.affine), discs, {})


def write_dataset(root: Path, bodies: int, moves: Mapping[str, Move], *, with_labels: bool) -> None:
    """Write the scans as a dataset, a participant a body and a session a scan."""
    for folder, kind in ((root, "raw"), *([(root / LABELS, "derivative")] if with_labels else [])):
        write_json(
            folder / "dataset_description.json",
            {"Name": "moved necks", "BIDSVersion": BIDS_VERSION, "DatasetType": kind},
        )
    sessions = {FIRST: Move(0.0, 0.0, ""), **moves}
    for number in range(bodies):
        person = Person(f"{number + 1:02d}", SEED + number, tuple(sessions), 40, "F", 170, 65, "north")
        body = draw_adult(np.random.default_rng(person.seed), CENTRE_S_MM, 0.5 * FIELD_MM[2])
        for place, (session, move) in enumerate(sessions.items()):
            image = scanned(body, session, move, person.seed * 100 + place)
            path = write_image(root, person, image)
            if with_labels:
                write_labels(labels_of(root, path), image)


def compared(root: Path, out: Path, moves: Mapping[str, Move]) -> Iterator[Change]:
    """Segment and measure all scans, and compare each with the first of its body.

    Raises
    ------
    RuntimeError
        If the app ends with an error.
    """
    for level in (["participant"], *(["group", "--session-label", FIRST, move] for move in moves)):
        if code := softseg([str(root), str(out), *level, *(["--nprocs", "1"] if len(level) == 1 else [])]):
            raise RuntimeError(f"softseg {' '.join(level)} ended with {code}")
        if len(level) > 1:
            yield from changes_in(out / "group_change.tsv", level[-1])


def changes_in(path: Path, move: str) -> Iterator[Change]:
    """The rows of a table of changes that are of our regions."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["region"] in REGIONS:
                yield Change(move, row["region"], float(row["change_percent"]), row["alignment"])


def table(changes: Sequence[Change], moves: Mapping[str, Move]) -> list[str]:
    """A row a movement: median and largest |change| of each region over the bodies, and how many had it."""
    lines = ["| moved | " + " | ".join(REGIONS) + " |", "|---|" + "---:|" * len(REGIONS)]
    for name, move in moves.items():
        cells = []
        for region in REGIONS:
            found = [abs(each.percent) for each in changes if (each.move, each.region) == (name, region)]
            cells.append(f"{np.median(found):.2f} / {max(found):.2f} ({len(found)})" if found else "n/a")
        lines.append(f"| {move.said} | {' | '.join(cells)} |")
    within = [abs(each.percent) <= LIMIT_PERCENT for each in changes]
    aligned = sum(each.alignment == "midpoint" for each in changes)
    return [
        *lines,
        "",
        f"Of {len(changes)} changes {sum(within)} are within {LIMIT_PERCENT:g} %, and "
        f"{sum(abs(each.percent) <= 2 * LIMIT_PERCENT for each in changes)} within {2 * LIMIT_PERCENT:g} %; "
        f"{aligned} are of aligned scans.",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Scan, measure, and print the changes, or write them into a page; 0 whatever they are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--bodies", type=int, default=3)
    parser.add_argument("--moves", nargs="+", choices=MOVES, default=list(MOVES), help="by default all")
    parser.add_argument("--found", action="store_true", help="levels are found by the network, not given")
    parser.add_argument("--write", type=Path, help="page whose table is written anew")
    chosen = parser.parse_args(argv)
    moves = {name: MOVES[name] for name in chosen.moves}
    with tempfile.TemporaryDirectory(prefix="softseg-moved-") as folder:
        root, out = Path(folder) / "bids", Path(folder) / "out"
        write_dataset(root, chosen.bodies, moves, with_labels=not chosen.found)
        text = "\n".join(table(list(compared(root, out, moves)), moves))
    sys.stdout.write(f"{text}\n")
    if chosen.write is not None:
        replace_part("moved", text, chosen.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
