"""The study as a BIDS dataset: images, exact cord fractions, the raters' masks, their soft truth."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.truth import cord_of, fractions
from paper.cohort import CENTRE_S_MM, CONTRASTS, FIELD_MM, SEED, SITES, Participant, participants, protocol
from paper.raters import OFFSET_MM, draw_mask
from softseg_bids.app.demo import BRIGHT, CENTRE_MM, disc_image, stored_grid
from softseg_bids.app.demo_people import FILES
from softseg_bids.app.outcome import Exit
from softseg_bids.bids.derivatives import BIDS_VERSION, sidecar, write_json, write_table, write_text
from softseg_bids.image.grid import Array, Floats, Grid, like_stored
from softseg_bids.image.volume import write_volume
from softseg_bids.synthesis.adult import disc_tips_mm, draw_adult
from softseg_bids.synthesis.scan import Image, Pose, draw_pose, scan
from softseg_bids.truth import cli as truth_cli

NAME = "The paper in small"
LABELS, RATERS, SOFT = (Path("derivatives", name) for name in ("labels", "raters", "softgt"))
LABELLED = "T2w"
# Points along each axis of a voxel that are asked for its cord fraction: per millimetre at least.
PARTS = 5


class Drawn(NamedTuple):
    """One image with what is known of it, all on canonical axes.

    Attributes
    ----------
    contrast : str
    array, fraction : ndarray of float32
        The image, about 0 to 1.3, and the exact cord fraction of its voxels.
    rated : ndarray of uint8
        The rater's mask.
    grid : Grid
    discs_mm : dict of int to ndarray, shape (3,)
        Posterior tips of the discs, scanner mm.
    """

    contrast: str
    array: Array
    fraction: Array
    rated: NDArray[np.uint8]
    grid: Grid
    discs_mm: dict[int, Floats]


def make(root: Path, people: Sequence[Participant] | None = None) -> None:
    """Write the study; what is there already stays.

    Parameters
    ----------
    root : Path
    people : sequence of Participant, optional
        All of the cohort.
    """
    people = participants() if people is None else people
    write_json(root / "dataset_description.json", _description("raw", NAME))
    write_text(
        root / "README.md", f"# {NAME}\n\nNobody's data: drawn bodies, scanned by a simulated scanner.\n"
    )
    rows = [{"participant_id": f"sub-{one.label}", "site": one.site} for one in people]
    write_table(root / "participants.tsv", rows, {"site": {"Description": "Imagined scanner"}})
    for folder, name in ((LABELS, "exact cord fractions and discs"), (RATERS, "simulated raters")):
        write_json(root / folder / "dataset_description.json", _description("derivative", f"{NAME}: {name}"))
    for one in people:
        done = root / "sourcedata" / f"sub-{one.label}.json"
        if done.exists():
            continue
        for image in scan_person(one):
            write_image(root, one, image)
        write_json(done, {"Site": one.site, "Seed": [SEED, one.number]})
        _say(f"drew, scanned and rated sub-{one.label} of {len(people)}")


def make_soft(root: Path) -> None:
    """The soft truth of the raters' masks, by softseg-truth, of those who lack one in some contrast.

    Raises
    ------
    RuntimeError
        If a session got none.
    """
    lacking = [
        path.stem.removeprefix("sub-")
        for path in sorted((root / "sourcedata").glob("sub-*.json"))
        if len(list((root / SOFT / path.stem).rglob("*_probseg.nii.gz"))) < len(CONTRASTS)
    ]
    if not lacking:
        return
    said = truth_cli.main(
        [str(root), str(root / SOFT), "--masks", str(root / RATERS), "--participant-label", *lacking]
    )
    if said != Exit.DONE:
        raise RuntimeError(f"softseg-truth ended with {said} on {root}; its messages are above")


def scan_person(one: Participant) -> Iterator[Drawn]:
    """A person's body in all contrasts, each with its truth and a rater's mask; the same ones every time."""
    body = draw_adult(np.random.default_rng([SEED, one.number]), CENTRE_S_MM, 0.5 * FIELD_MM[2])
    # How far beside the cord a contrast shows it is the raters' part here, and no pia's.
    body = body._replace(pia_mm=0.0)
    pose = draw_pose(np.random.default_rng([SEED, one.number, 1]))
    tips = {value: pose.rotation @ tip + pose.shift_mm for value, tip in disc_tips_mm(body).items()}
    cord = cord_of(body)
    for place, stack in enumerate(protocol(SITES[one.site])):
        seed = SEED + 1000 * one.number + 100 * place
        for number, image in enumerate(scan(body, pose, stack, np.array(CENTRE_MM), seed)):
            axes_mm, rotation = seen_from(image, pose)
            rng = np.random.default_rng([SEED, one.number, 2, place, number])
            rated = draw_mask(cord, axes_mm, rotation, OFFSET_MM[image.contrast], rng)
            shape = (image.array.shape[0], image.array.shape[1], image.array.shape[2])
            exact = fractions(cord, axes_mm, rotation, PARTS)
            yield Drawn(image.contrast, image.array, exact, rated, Grid(shape, image.affine), tips)


def seen_from(image: Image, pose: Pose) -> tuple[tuple[Floats, Floats, Floats], Floats]:
    """Voxel centres along the image's axes (mm from the body's origin), and the turn into its frame."""
    spacing = np.linalg.norm(image.affine[:3, :3], axis=0)
    turn = image.affine[:3, :3] / spacing
    first = turn.T @ (image.affine[:3, 3] - pose.shift_mm)
    x, y, z = (first[a] + spacing[a] * np.arange(image.array.shape[a]) for a in range(3))
    return (x, y, z), np.asarray(pose.rotation.T @ turn)


def write_image(root: Path, one: Participant, image: Drawn) -> Path:
    """Write an image with its sidecar, and its labels below derivatives; where the image lies."""
    made = FILES[image.contrast]
    name = f"sub-{one.label}_{made.ending}"
    folder = Path(f"sub-{one.label}", made.folder)
    stored = stored_grid(image.grid, made.stored)
    path = root / folder / f"{name}.nii.gz"
    site = SITES[one.site]
    facts = {"Manufacturer": site.manufacturer, "InstitutionName": one.site, "MagneticFieldStrength": 3}
    write_volume(path, like_stored(np.rint(BRIGHT * image.array).astype(np.int16), stored), stored)
    write_json(sidecar(path), facts | made.facts)
    if made.folder == "dwi":
        write_text(path.with_name(f"{name}.bval"), "800\n")
        write_text(path.with_name(f"{name}.bvec"), "1\n0\n0\n")
    beside: list[tuple[Path, str, NDArray[Any]]] = [
        (LABELS, "label-SC_probseg", image.fraction),
        (RATERS, "label-SC_seg", image.rated),
    ]
    if image.contrast == LABELLED:
        beside.append((LABELS, "label-discs_dlabel", disc_image(image.grid, image.discs_mm)))
    for where, ending, values in beside:
        write_volume(root / where / folder / f"{name}_{ending}.nii.gz", like_stored(values, stored), stored)
    return path


def _description(kind: str, name: str) -> dict[str, Any]:
    return {
        "Name": name, "BIDSVersion": BIDS_VERSION, "DatasetType": kind, "License": "CC0",
        "GeneratedBy": [{"Name": "softseg-bids, paper"}],
    }  # fmt: skip


def _say(text: str) -> None:
    print(f"paper: {text}", file=sys.stderr, flush=True)
