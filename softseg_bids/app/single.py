"""One image without BIDS: `softseg IMAGE.nii.gz -o DIR`. The same steps, with plain file names."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

from softseg_bids.app import identity, level_steps, session_steps, steps
from softseg_bids.app.identity import checkpoint, version
from softseg_bids.app.jobs import ScanJob, SessionJob
from softseg_bids.app.outcome import Exit
from softseg_bids.app.records import read_record
from softseg_bids.bids.contrasts import contrast_key
from softseg_bids.bids.dataset import Scan
from softseg_bids.bids.names import bare, parse_name
from softseg_bids.image.volume import DataError, count_volumes

NAMES = {
    "probseg": "_cord_soft.nii.gz",
    "mask": "_cord_mask.nii.gz",
    "model": "_cord_model_soft.nii.gz",
    "centreline": "_centreline.nii.gz",
    "levels": "_levels.nii.gz",
    "discs": "_discs.nii.gz",
    "perslice": "_slices.tsv",
    "perlevel": "_regions.tsv",
    "montage": "_montage.png",
    "sagittal": "_sagittal.png",
    "overview": "_overview.png",
}


def run(chosen: Namespace) -> Exit:
    """Segment and measure one image.

    Parameters
    ----------
    chosen : Namespace
        From `options.single_parser`.

    Returns
    -------
    Exit
        65 if the image cannot be used, else 0; no cord is 0.
    """
    model, model_hash = checkpoint(chosen.model)
    try:
        scan = scan_of(chosen.image.absolute(), chosen.discs, chosen.corrected)
        with tempfile.TemporaryDirectory() as folder:
            status = _process(scan, chosen, model, model_hash, Path(folder))
    except DataError as error:
        sys.stderr.write(f"softseg: {error}\n")
        return Exit.ALL_UNREADABLE
    sys.stderr.write(f"softseg: {chosen.image}: {status}; results in {chosen.out}\n")
    return Exit.DONE


def scan_of(image: Path, discs: Path | None, corrected: Path | None) -> Scan:
    """A lone image as a scan: a series with a .bval beside it is diffusion, any other one is echoes."""
    name = parse_name(image)
    bval = image.with_name(f"{bare(image)}.bval")
    is_series = count_volumes(image) > 1
    is_diffusion = is_series and bval.exists()
    return Scan(
        participant=name.entities.get("sub", bare(image)),
        session=name.entities.get("ses"),
        contrast="DWI" if is_diffusion else contrast_key(name, {}) or "unknown",
        acq=name.entities.get("acq"),
        ce=None,
        rec=None,
        run=name.entities.get("run"),
        suffix=name.suffix,
        datatype="anat",
        paths=(image,),
        combine="diffusion" if is_diffusion else "echoes" if is_series else "single",
        bval=bval if is_diffusion else None,
        relative=image.name,
        stem=bare(image),
        entities=name.entities,
        metadata={},
        discs=discs,
        corrected=corrected,
    )


def _process(scan: Scan, chosen: Namespace, model: Path, model_hash: str, folder: Path) -> str:
    """All steps one after the other; the scan's status."""
    out, device_name = chosen.out.absolute(), chosen.device
    places = {name: _made(folder / name) for name in ("scan", "trace", "session")}
    outputs = {product: str(out / f"{scan.stem}{ending}") for product, ending in NAMES.items()}
    job = ScanJob(
        scan, outputs, [str(path) for path in scan.paths], version(), model_hash, identity.uncertainty(model)
    )
    image, checksum = steps.conform(
        [str(path) for path in scan.paths], [], scan.combine, str(scan.bval or ""), places["scan"]
    )
    stored = [outputs["model"], outputs["probseg"]]
    soft = steps.segment(image, checksum, str(model), model_hash, device_name, stored, places["scan"]).soft
    traced = steps.trace(image, soft, str(scan.corrected or ""), "", places["trace"])
    sight = level_steps.find(image, traced.line, str(model), device_name, places["trace"]).sight
    record = steps.save(
        image, checksum, soft, traced.soft, traced.line, sight, job.as_json(), places["trace"]
    ).record
    session = _session_of(job, out, folder, chosen.pmj_distances)
    _measure([record], session.as_json(), places["session"])
    return read_record(record).status


def _session_of(job: ScanJob, out: Path, folder: Path, pmj_distances_mm: list[float]) -> SessionJob:
    scan = job.scan
    made: dict[str, Any] = {
        "table": str(folder / "joined.tsv"),
        "curves": str(out / f"{scan.stem}_curves.svg"),
    }
    return SessionJob(
        scan.participant,
        scan.session,
        made,
        scan.paths[0].parent.name,
        job.version,
        job.model_hash,
        pmj_distances_mm=list(dict.fromkeys(pmj_distances_mm)),
    )


def _measure(records: list[Path], session: str, folder: Path) -> None:
    labels = session_steps.label(records, [], folder).labels
    slices = session_steps.measure(records, labels, folder).slices
    regions = session_steps.summarise(records, labels, slices, session, folder).regions
    session_steps.draw(records, labels, slices, regions, session, folder)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
