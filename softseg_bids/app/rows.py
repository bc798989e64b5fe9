"""Rows of the long table: one an image and region; and what the session's JSON says beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from softseg_bids.app import facts
from softseg_bids.app.alignment import Alignment
from softseg_bids.app.columns import MEASURES
from softseg_bids.app.finding import UNSURE, source_of
from softseg_bids.app.jobs import SessionJob
from softseg_bids.app.level_images import label_facts
from softseg_bids.app.records import Record
from softseg_bids.app.tables import SliceTable
from softseg_bids.bids import derivatives
from softseg_bids.core.levels import Region, regions, summarise
from softseg_bids.image.grid import Grid

NO_CORD = "no_cord"


class Common(NamedTuple):
    """The stretch that the images of a session share, None if there is none; who was left out, and why."""

    extent_mm: tuple[float, float] | None
    left_out: dict[str, str]


def region_rows(
    record: Record, session: SessionJob, alignment: Alignment, table: SliceTable, common: Common
) -> list[dict[str, Any]]:
    """All rows of one measured image: ``cord``, ``common``, and the regions its levels allow.

    Parameters
    ----------
    record, session
        The scan, and its session.
    alignment, table
        What it shares with the session, and its slices.
    common : Common
        The stretch the session's images share.
    """
    wanted = [Region("cord", *table.whole_mm)]
    if (
        common.extent_mm
        and alignment.shares
        and table.usable.any()
        and record.job.scan.key not in common.left_out
    ):
        wanted.append(Region("common", *common.extent_mm))
    wanted += regions(alignment.discs, table.extent_mm, session.pmj_distances_mm)
    rows = [_row(record, session, alignment, table, region) for region in wanted]
    unsure = unsure_regions(alignment, table.extent_mm, session.pmj_distances_mm)
    return rows + [_unsure_row(record, session, alignment, table, name) for name in unsure]


def unsure_regions(
    alignment: Alignment, extent_mm: tuple[float, float], pmj_distances_mm: Sequence[float]
) -> list[str]:
    """Names of the regions that an image shows, if labels too unsure to be shown are right."""
    sure = {region.name for region in regions(alignment.discs, None, pmj_distances_mm)}
    everything = {**alignment.doubtful, **alignment.discs}
    return [
        region.name for region in regions(everything, extent_mm, pmj_distances_mm) if region.name not in sure
    ]


def empty_row(record: Record, session: SessionJob) -> dict[str, Any]:
    """The row of an image in which no cord was found: no numbers, and the flag."""
    return {
        **_image_columns(record, session),
        "region": "cord",
        "status": NO_CORD,
        "flags": [NO_CORD],
        "levels_source": "none",
    }


def card(record: Record, grid: Grid, alignment: Alignment | None, table: SliceTable | None) -> dict[str, Any]:
    """What a page says about one image beside its rows.

    Parameters
    ----------
    record : Record
    grid : Grid
        The canonical grid of the image.
    alignment, table
        None where no cord was found.
    """
    scan = record.job.scan
    spacing = [round(float(value), 4) for value in grid.spacing_mm]
    said: dict[str, Any] = {
        "key": scan.key,
        "contrast": scan.contrast,
        "source": scan.relative,
        "status": record.status,
        "plane": facts.plane_of(grid.spacing_mm),
        "voxel_mm": spacing,
        "mask_source": record.mask_source,
        "edited": len(record.edited) if record.mask_source == "corrected" else None,
        "gradient_correction": scan.gradient_correction,
        "combine": scan.combine,
        "stem": scan.stem,
        "mask_name": derivatives.mask_name(scan),
        "folder": str(scan.folder),
        "repeat": " ".join(
            f"{name}-{value}" for name in ("acq", "ce", "rec", "run") if (value := getattr(scan, name))
        ),
    }
    if alignment is None or table is None:
        return said
    return said | {
        "csa_fit": facts.csa_fit(grid.spacing_mm, table.tilt_deg),
        "levels_source": alignment.levels_source,
        **label_facts(alignment),
        "angle_source": alignment.angle_source,
        "flags": [*table.image_flags, *alignment.flags],
        "notes": alignment.notes,
        "slice_flags": dict(Counter(flag for flags in table.flags for flag in flags)),
    }


def session_facts(
    session: SessionJob, cards: list[dict[str, Any]], common: Common, kept: Sequence[str] = ()
) -> dict[str, Any]:
    """The session's JSON object: with it, the group level and the pages need OUT only.

    Parameters
    ----------
    session, cards, common
        The session, what is said about each of its images, and the stretch they share.
    kept : sequence of str
        Sources of the images that other runs measured.
    """
    return {
        "participant": session.participant,
        "session": session.session,
        "dataset": session.dataset,
        "version": session.version,
        "model_hash": session.model_hash,
        "participant_row": session.participant_row,
        "session_row": session.session_row,
        "images": cards,
        "common_mm": common.extent_mm,
        "left_out_of_common": common.left_out,
        "missing": session.missing,
        "from_other_runs": list(kept),
    }


def _row(
    record: Record, session: SessionJob, alignment: Alignment, table: SliceTable, region: Region
) -> dict[str, Any]:
    measures = {name: table.measures[name] for name in MEASURES}
    found = summarise(measures, table.starts_mm, table.ends_mm, region, table.usable)
    middle = 0.5 * (table.starts_mm + table.ends_mm)
    inside = (middle >= region.start_mm) & (middle <= region.end_mm)
    offset = facts.isocentre_offset_mm(table.points_mm[inside]) if inside.any() else np.nan
    flags = [*table.image_flags, *alignment.flags, *region.flags]
    source = source_of(region.labels, alignment.label_sources) if region.labels else alignment.levels_source
    if offset > facts.ISOCENTRE_MM and record.job.scan.gradient_correction in ("none", "unknown"):
        flags.append("far_from_isocentre")
    return {
        **_image_columns(record, session),
        **found,
        "region": region.name,
        "start_mm": region.start_mm,
        "end_mm": region.end_mm,
        "status": record.status,
        "plane": facts.plane_of(table.spacing_mm),
        "csa_fit": facts.csa_fit(table.spacing_mm, table.tilt_deg),
        "edited": int(table.edited[inside].sum()),
        "levels_source": source,
        "angle_source": alignment.angle_source,
        "isocentre_offset_mm": offset,
        "flags": flags,
    }


def _unsure_row(
    record: Record, session: SessionJob, alignment: Alignment, table: SliceTable, name: str
) -> dict[str, Any]:
    """The row of a region whose labels are not sure: no numbers, and the flag."""
    return {
        **_image_columns(record, session),
        "region": name,
        "n_slices": 0,
        "start_mm": None,
        "end_mm": None,
        "status": record.status,
        "plane": facts.plane_of(table.spacing_mm),
        "csa_fit": facts.csa_fit(table.spacing_mm, table.tilt_deg),
        "levels_source": "none",
        "angle_source": alignment.angle_source,
        "flags": list(dict.fromkeys([*table.image_flags, *alignment.flags, UNSURE])),
    }


def _image_columns(record: Record, session: SessionJob) -> dict[str, Any]:
    scan = record.job.scan
    return {
        "participant_id": f"sub-{scan.participant}",
        "session_id": f"ses-{scan.session}" if scan.session else None,
        "run": scan.run,
        "contrast": scan.contrast,
        "acq": scan.acq,
        "ce": scan.ce,
        "rec": scan.rec,
        "site": facts.site_of(
            session.participant_row, session.session_row, scan.metadata, session.site_column
        ),
        **facts.scanner_facts(scan.metadata),
        "source_image": scan.relative,
        "mask_source": record.mask_source,
        "gradient_correction": scan.gradient_correction,
        "model_hash": record.job.model_hash,
        "version": record.job.version,
    }
