"""A demo dataset of drawn people, and how far the measured CSA is from their true area.

``python -m softseg_bids.app.demo DIR`` writes it (``--labels``: with disc labels, too);
``python -m softseg_bids.app.demo --compare DIR OUT``
compares the results of a run on it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softseg_bids.app.demo_comparison import report
from softseg_bids.app.demo_people import (
    CITATION,
    FILES,
    LABELS_LINE,
    PARTICIPANT_COLUMNS,
    PEOPLE,
    README,
    SCANNERS,
    TRUTH_COLUMNS,
    Person,
    participant_rows,
    session_rows,
    stem_of,
)
from softseg_bids.app.environment import limit_threads
from softseg_bids.app.identity import version
from softseg_bids.app.outcome import Exit
from softseg_bids.bids.derivatives import BIDS_VERSION, sidecar, write_json, write_table, write_text
from softseg_bids.image.grid import Array, Floats, Grid, like_stored
from softseg_bids.image.volume import DataError, write_volume

NAME = "Demo of softseg-bids"
TRUTH = Path("derivatives", "truth", "truth_area.tsv")
LABELS = Path("derivatives", "labels")
LABELLED = "T2w"
# The vertebral column in front of the cord is deeper than the arches behind it.
CENTRE_MM = (0.0, 4.0, 0.0)
BRIGHT = 1000.0  # stored value of a signal of 1


class Scanned(NamedTuple):
    """One image of a person.

    Attributes
    ----------
    session, contrast
    array : ndarray of float32
        Canonical axes.
    grid : Grid
    discs_mm : dict of int to ndarray, shape (3,)
        Posterior tips of the discs, scanner mm.
    areas : dict of str to (float, float)
        Region to true area (mm2) and length (mm).
    """

    session: str | None
    contrast: str
    array: Array
    grid: Grid
    discs_mm: dict[int, Floats]
    areas: dict[str, tuple[float, float]]


def main(argv: Sequence[str]) -> int:
    """Write the dataset, or compare a run's results with its truth; an exit code."""
    parser = argparse.ArgumentParser(prog="python -m softseg_bids.app.demo", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DIR", help="write the demo dataset here")
    parser.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("DIR", "OUT"),
        help="compare results in OUT with DIR's truth",
    )
    parser.add_argument("--labels", action="store_true", help="with disc labels of the T2w images")
    chosen = parser.parse_args(argv)
    if (chosen.folder is None) == (chosen.compare is None):
        parser.error("give DIR, or --compare DIR OUT")
    if chosen.labels and chosen.compare:
        parser.error("--labels goes with DIR")
    try:
        if chosen.compare:
            dataset, out = chosen.compare
            print(report(dataset / TRUTH, out))
        else:
            limit_threads(1)  # arrays this small are drawn faster by one thread than by two
            write_dataset(chosen.folder, with_labels=chosen.labels)
    except DataError as error:
        sys.stderr.write(f"demo: {error}\n")
        return Exit.USAGE
    return Exit.DONE


def write_dataset(root: Path, people: Sequence[Person] = PEOPLE, with_labels: bool = False) -> None:
    """Write the dataset and its truth; the same files every time.

    Parameters
    ----------
    root : Path
    people : sequence of Person
    with_labels : bool
        Disc labels in the derivatives, too; otherwise the app has to find the levels itself, and labels that
        an earlier demo left there are removed.

    Raises
    ------
    DataError
        If ``root`` holds something else.
    """
    check_folder(root)
    write_json(root / "dataset_description.json", _description("raw"))
    write_text(root / "README.md", README.format(labels=LABELS_LINE if with_labels else ""))
    write_table(root / "participants.tsv", participant_rows(people), PARTICIPANT_COLUMNS)
    for folder in (*([LABELS] if with_labels else []), TRUTH.parent):
        write_json(root / folder / "dataset_description.json", _description("derivative"))
    truth: list[dict[str, Any]] = []
    done, count = 0, sum(len(person.sessions) for person in people) * len(FILES)
    for person in people:
        if rows := session_rows(person):
            who = f"sub-{person.label}"
            write_table(root / who / f"{who}_sessions.tsv", rows, PARTICIPANT_COLUMNS)
        for image in scan_person(person):
            path = write_image(root, person, image)
            if image.contrast == LABELLED:
                labels = labels_of(root, path)
                labels.unlink(missing_ok=True)  # those of an earlier demo
                if with_labels:
                    write_labels(labels, image)
            truth += truth_rows(person, image)
            done += 1
            sys.stderr.write(f"demo: {done:2d} of {count} images: {path.relative_to(root)}\n")
    write_table(root / TRUTH, truth, TRUTH_COLUMNS)


def check_folder(root: Path) -> None:
    """Refuse to write among other files.

    Raises
    ------
    DataError
        If ``root`` is neither empty nor an earlier demo.
    """
    if not root.exists() or not any(root.iterdir()):
        return
    described = root / "dataset_description.json"
    if not described.is_file() or NAME not in described.read_text(encoding="utf-8"):
        raise DataError(f"{root}: holds other files; name a new folder for the demo dataset")


def scan_person(person: Person) -> Iterator[Scanned]:
    """Draw a person's body and scan it in every session: the same body, lying differently, other noise."""
    from softseg_bids.synthesis.adult import disc_tips_mm, draw_adult, mean_area_mm2
    from softseg_bids.synthesis.protocol import CENTRE_S_MM, FIELD_MM, NECK
    from softseg_bids.synthesis.scan import draw_pose, scan

    body = draw_adult(np.random.default_rng(person.seed), CENTRE_S_MM, 0.5 * FIELD_MM[2])
    tips = disc_tips_mm(body)
    c2_c3 = float(body.discs_mm[1]), float(body.discs_mm[3])
    for number, session in enumerate(person.sessions):
        pose = draw_pose(np.random.default_rng([person.seed, number]))
        discs = {value: pose.rotation @ tip + pose.shift_mm for value, tip in tips.items()}
        for place, stack in enumerate(NECK):
            seed = person.seed * 1000 + number * 100 + place * 10
            for image in scan(body, pose, stack, np.array(CENTRE_MM), seed):
                stretches = {"cord": image.seen_mm, "vert-C2:C3": c2_c3}
                areas = {
                    name: (mean_area_mm2(body, *ends), ends[1] - ends[0]) for name, ends in stretches.items()
                }
                shape = (image.array.shape[0], image.array.shape[1], image.array.shape[2])
                yield Scanned(session, image.contrast, image.array, Grid(shape, image.affine), discs, areas)


def write_image(root: Path, person: Person, image: Scanned) -> Path:
    """Write an image with its sidecar and its b-values."""
    made = FILES[image.contrast]
    stem = stem_of(person.label, image.session)
    place = Path(*stem.split("_"), made.folder, f"{stem}_{made.ending}.nii.gz")
    path = root / place
    stored = stored_grid(image.grid, made.stored)
    values = np.rint(BRIGHT * image.array).astype(np.int16)
    write_volume(path, like_stored(values, stored), stored)
    write_json(sidecar(path), SCANNERS[person.site] | made.facts)
    if image.contrast == "DWI":
        write_text(path.with_name(f"{stem}_{made.ending}.bval"), "800\n")
        write_text(path.with_name(f"{stem}_{made.ending}.bvec"), "1\n0\n0\n")
    return path


def labels_of(root: Path, image: Path) -> Path:
    """Where the disc labels of an image in the dataset belong."""
    place = image.relative_to(root)
    return root / LABELS / place.with_name(place.name.replace(".nii.gz", "_label-discs_dlabel.nii.gz"))


def write_labels(path: Path, image: Scanned) -> None:
    """Write the disc labels of an image."""
    stored = stored_grid(image.grid, FILES[image.contrast].stored)
    write_volume(path, like_stored(disc_image(image.grid, image.discs_mm), stored), stored)


def disc_image(grid: Grid, discs_mm: dict[int, Floats]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One voxel a disc, for those in the field of view."""
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for value, point in discs_mm.items():
        index = np.rint(grid.to_index(point)).astype(int)
        if (index >= 0).all() and (index < grid.shape).all():
            labels[tuple(index)] = value
    return labels


def stored_grid(grid: Grid, codes: str) -> Grid:
    """The same voxels in another order (``PSR``: the first axis runs to the back, the second up)."""
    names = ("RL", "AP", "SI")
    change = np.eye(4)
    change[:3, :3] = 0
    shape = [0, 0, 0]
    for stored, code in enumerate(codes):
        axis = next(number for number, pair in enumerate(names) if code in pair)
        backwards = code == names[axis][1]
        shape[stored] = grid.shape[axis]
        change[axis, stored] = -1 if backwards else 1
        change[axis, 3] = grid.shape[axis] - 1 if backwards else 0
    return Grid((shape[0], shape[1], shape[2]), grid.affine @ change)


def truth_rows(person: Person, image: Scanned) -> list[dict[str, Any]]:
    """One row a region."""
    return [
        {
            "participant_id": f"sub-{person.label}",
            "session_id": f"ses-{image.session}" if image.session else None,
            "contrast": image.contrast,
            "region": region,
            "area_mm2": area,
            "length_mm": length,
        }
        for region, (area, length) in image.areas.items()
    ]


def _description(kind: str) -> dict[str, Any]:
    return {
        "Name": NAME,
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": kind,
        "License": "CC0",
        "Authors": ["softseg-bids contributors"],
        "ReferencesAndLinks": [CITATION],
        "GeneratedBy": [{"Name": "softseg-bids demo", "Version": version()}],
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
