"""All sessions of a dataset: masks found, averaged, written, and told on a page."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from softseg_bids.app.identity import version
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.session_steps import canonical_grid
from softseg_bids.app.steps import same_place
from softseg_bids.bids import derivatives
from softseg_bids.bids.dataset import Dataset, Scan, Selection
from softseg_bids.bids.discover import discover
from softseg_bids.image.grid import canonical, like_stored, stored_slices
from softseg_bids.image.volume import DataError, read_grid, read_mask
from softseg_bids.pages.layers import layers_at
from softseg_bids.pages.truth import ContrastBlock, SessionPart
from softseg_bids.truth import records
from softseg_bids.truth.cli import PROGRAM, TRUST
from softseg_bids.truth.figures import draw, offsets
from softseg_bids.truth.geometry import Given
from softseg_bids.truth.records import FIGURE, Record
from softseg_bids.truth.session import Settings, Truth, soft_truth

LABELS = "labels"


class Source(NamedTuple):
    """An image with the mask that was found for it, and what that holds or why it cannot be used."""

    scan: Scan
    mask: Path
    given: Given | DataError

    @property
    def length_mm(self) -> float:
        """Of the cord in the mask; less than nothing if it cannot be used."""
        if isinstance(self.given, DataError):
            return -1.0
        return float(self.given.mask.any(axis=(0, 1)).sum() * self.given.grid.spacing_mm[2])


def run(chosen: Namespace) -> Exit:
    """Average every session; see `cli.main` for what is returned."""
    selection = Selection(
        participants=tuple(chosen.participants),
        sessions=tuple(chosen.sessions),
        contrasts=tuple(chosen.contrasts),
        derivatives={"corrected": chosen.masks},
    )
    dataset = discover(chosen.bids, selection)
    # Before anything in OUT is touched: where there is no mask, --masks is likely to be wrong.
    if not any(scan.corrected for scan in dataset.scans):
        raise Stop(
            Exit.NO_INPUT,
            f"{chosen.masks}: holds no mask of any image of {dataset.root}; name the folder by --masks, and "
            "each mask after its image (sub-01_T2w_label-SC_seg.nii.gz); nothing was written or removed",
        )
    links = {LABELS: chosen.masks}
    derivatives.write_description(chosen.out, dataset.root, dataset.name, version(), links)
    rows: list[dict[str, Any]] = []
    for participant, session in dataset.sessions:
        path = records.place(chosen.out, participant, session)
        # It vouches for what lies in OUT of this session, which changes now.
        derivatives.remove(path)
        record = _session(dataset, participant, session, chosen)
        records.write(path, record)
        rows += record.rows
    page = records.tell(chosen.out, dataset.name, version())
    tried = {(row["participant_id"], row["session_id"]) for row in rows}
    made = {(row["participant_id"], row["session_id"]) for row in rows if row["status"] == "written"}
    sys.stderr.write(f"{PROGRAM}: {len(made)} of {len(tried)} sessions; look at {page}\n")
    return Exit.DONE if made == tried else Exit.SOME_FAILED if made else Exit.ALL_UNREADABLE


def _session(dataset: Dataset, participant: str, session: str | None, chosen: Namespace) -> Record:
    """Write the truth of one session, and remove what an earlier run wrote and this one does not."""
    settings = Settings(chosen.tolerance, chosen.at_least, chosen.in_plane == "rigid")
    sources, notes = _sources(dataset.scans_of(participant, session), chosen.reference)
    label = derivatives.session_stem(participant, session)
    part = SessionPart(label, "", [], None, notes, chosen.tolerance, chosen.in_plane)
    # Of these alone it may be written anew: no other may stay, whatever happens to this run.
    _keep(chosen.out, participant, session, [source.scan for source in sources])
    if not sources:
        return Record([], replace(part, error="no image of this session has a mask"))
    try:
        found = _averaged(sources, settings)
    except DataError as error:
        sys.stderr.write(f"{PROGRAM}: {label}: {error}\n")
        _keep(chosen.out, participant, session, [])
        rows = [_row(source.scan, source.mask, chosen, None, str(error)) for source in sources]
        return Record(rows, replace(part, error=str(error)))
    pairs = list(zip(sources, found, strict=True))
    for _, (_, truth) in pairs:
        if truth.problem:
            sys.stderr.write(f"{PROGRAM}: {label}: {truth.problem}\n")
    made = [source.scan for source, (_, truth) in pairs if verdict(truth, chosen.tolerance)[0] == "written"]
    _keep(chosen.out, participant, session, made)
    averaged = [source.mask for source, (_, truth) in pairs if truth.overlaps and not truth.outlying]
    rows = [_row(source.scan, source.mask, chosen, pair, "") for source, pair in pairs]
    blocks = [_written(source, *pair, averaged, chosen, settings) for source, pair in pairs]
    curves = offsets([(given.contrast, truth) for given, truth in found], [given.grid for given, _ in found])
    return Record(rows, replace(part, blocks=blocks, offsets=curves))


def _keep(out: Path, participant: str, session: str | None, scans: Sequence[Scan]) -> None:
    """Remove a session's soft truth, with its figures, but for that of some scans.

    Nothing tells a truth of masks that are gone from one of today's: it would be trained on.
    """
    kept = {derivatives.output(out, scan, "truth") for scan in scans}
    for scan in scans:
        kept |= set(layers_at(derivatives.figure(out, scan, FIGURE)))
    for path in (
        *derivatives.session_outputs(out, participant, session, "truth"),
        *derivatives.session_figures(out, participant, session, FIGURE),
    ):
        if path not in kept:
            derivatives.remove(path)


def _sources(scans: Sequence[Scan], reference: str | None) -> tuple[list[Source], list[str]]:
    """One image a contrast with its mask, the most trusted first; and what to say of the others.

    Of several images of one contrast with a mask the one whose mask covers most of the cord is used.
    """
    order = [reference, *TRUST] if reference else list(TRUST)
    found: dict[str, list[Source]] = {}
    notes = []
    for scan in scans:
        if scan.corrected is None:
            notes.append(f"{scan.relative}: no mask was found for it")
        else:
            source = Source(scan, scan.corrected, _given(scan, scan.corrected))
            found.setdefault(scan.contrast, []).append(source)
    best = {key: max(sources, key=lambda source: source.length_mm) for key, sources in found.items()}
    for key, sources in found.items():
        notes += [_another(source, best[key]) for source in sources if source is not best[key]]
    keys = sorted(best, key=lambda key: (order.index(key) if key in order else len(order), key))
    return [best[key] for key in keys], notes


def _given(scan: Scan, path: Path) -> Given | DataError:
    """The mask of an image on canonical axes, or what is wrong with either."""
    try:
        image, mask = read_grid(scan.paths[0]), read_mask(path)
    except DataError as error:
        return error
    turned, grid = canonical(mask.array, mask.grid)
    where = canonical_grid(image)
    if turned.shape != where.shape or not same_place(grid, where):
        return DataError(
            f"{path}: is not on the grid of its image {scan.relative}; bring it there "
            "(sct_register_multimodal -identity 1 -x nn), or draw it on the image itself"
        )
    return Given(str(path), scan.contrast, np.ascontiguousarray(turned, dtype=np.float32), where)


def _another(left: Source, used: Source) -> str:
    why = left.given if isinstance(left.given, DataError) else "that mask is longer"
    return f"{left.scan.relative}: of the same contrast as {used.scan.relative}, which is used: {why}"


def _averaged(sources: Sequence[Source], settings: Settings) -> list[tuple[Given, Truth]]:
    given = []
    for source in sources:
        if isinstance(source.given, DataError):
            raise source.given
        given.append(source.given)
    return list(zip(given, soft_truth(given, settings), strict=True))


def _row(
    scan: Scan, mask: Path, chosen: Namespace, found: tuple[Given, Truth] | None, reason: str
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "participant_id": f"sub-{scan.participant}",
        "session_id": f"ses-{scan.session}" if scan.session else None,
        "contrast": scan.contrast,
        "source_image": scan.relative,
        "mask": _relative(mask, chosen.masks),
        "status": "failed",
        "reason": reason,
    }
    if found is None:
        return row
    given, truth = found
    status, reason = verdict(truth, chosen.tolerance)
    row |= {"status": status, "reason": reason}
    row |= {
        "n_labelled": int(truth.labelled.sum()),
        "n_dropped": int(truth.dropped.sum()),
        "n_rejected": int(truth.rejected.sum()),
        "fewest_contrasts": truth.contrasts[0],
        "most_contrasts": truth.contrasts[1],
    }
    if truth.labelled.any():
        pixel = float(given.grid.spacing_mm[:2].prod()) / truth.labelled.sum()
        row |= {
            "largest_distance_mm": float(np.nanmax(truth.distance_mm[truth.labelled])),
            "area_mask_mm2": float(given.mask[:, :, truth.labelled].sum(dtype=float)) * pixel,
            "area_soft_mm2": float(truth.soft.sum(dtype=float)) * pixel,
        }
    return row


def verdict(truth: Truth, tolerance_mm: float) -> tuple[str, str]:
    """What became of a contrast, and why (empty if nothing is to be said)."""
    if truth.problem:
        return "none", truth.problem
    if not truth.overlaps:
        return "no_overlap", "shares no slice with another contrast"
    if truth.outlying:
        known = truth.distance_mm[np.isfinite(truth.distance_mm)]
        return "outlying", (
            f"its centre lies {np.median(known):.1f} mm from the session's centreline (more than "
            f"{tolerance_mm:g} mm): was the person moved, or is the mask of something else?"
        )
    if not truth.labelled.any():
        return "none", "no slice of it agrees with the others"
    rejected = int(truth.rejected.sum())
    return "written", f"{rejected} slices rejected" if rejected else ""


def _written(
    source: Source,
    given: Given,
    truth: Truth,
    averaged: Sequence[Path],
    chosen: Namespace,
    settings: Settings,
) -> ContrastBlock:
    """Write one contrast's truth with its sidecar and figure; what the page says of it."""
    scan, stored = source.scan, read_grid(source.scan.paths[0])
    path = derivatives.output(chosen.out, scan, "truth")
    status, reason = verdict(truth, chosen.tolerance)
    if status != "written":
        return ContrastBlock(scan.contrast, scan.relative, status, reason, facts={}, figure=None, labelled=0)
    where = np.sort(stored_slices(np.flatnonzero(truth.labelled), stored))
    facts = {
        "Description": "Soft ground truth: mean of the masks of several contrasts, in the slices listed",
        "Sources": [
            *derivatives.sources(scan),
            *(f"bids:{LABELS}:{_relative(mask, chosen.masks)}" for mask in averaged),
        ],
        "SliceRanges": _ranges(where),
        "ContrastsAveraged": list(truth.contrasts),
        "InPlane": chosen.in_plane,
        "ToleranceMillimetres": settings.tolerance_mm,
        "SlicesRejected": int(truth.rejected.sum()),
        "SlicesDropped": int(truth.dropped.sum()),
        "SoftsegVersion": version(),
    }
    derivatives.write_mask(path, like_stored(truth.soft, stored), stored, scan.paths[0], "truth", facts)
    row = _row(scan, source.mask, chosen, (given, truth), "")
    shown: Mapping[str, str] = {
        "slices": f"{row['n_labelled']} ({row['n_dropped']} dropped, {row['n_rejected']} rejected)",
        "contrasts averaged": "{} to {}".format(*truth.contrasts),
        "largest distance": f"{row['largest_distance_mm']:.1f} mm",
        "area of the mask": f"{row['area_mask_mm2']:.1f} mm²",
        "area of the truth": f"{row['area_soft_mm2']:.1f} mm²",
    }
    picture = draw(derivatives.figure(chosen.out, scan, FIGURE), scan, given, truth)
    return ContrastBlock(
        scan.contrast, scan.relative, status, reason, shown, picture, labelled=int(truth.labelled.sum())
    )


def _ranges(indices: NDArray[np.intp]) -> list[list[int]]:
    """First and last of each run of consecutive indices."""
    runs = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    return [[int(run[0]), int(run[-1])] for run in runs]


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else path.as_posix()
