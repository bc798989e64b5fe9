"""A participant's page, filled from what lies in OUT: tables, their JSON, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from softseg_bids.app.identity import library_versions
from softseg_bids.app.results import session_facts, session_tables
from softseg_bids.bids import derivatives
from softseg_bids.bids.rows import read_rows
from softseg_bids.pages.layers import Layers, layers_at
from softseg_bids.pages.report import (
    Correction,
    Exclusion,
    ImageCard,
    RegionCell,
    SessionBlock,
    SubjectPage,
    subject_page,
)


def build_page(participant: str, out: Path, root: Path) -> Path:
    """Write ``sub-XX.html``.

    Parameters
    ----------
    participant : str
        Label without ``sub-``.
    out, root : Path
        OUT, and the dataset, whose images the page's commands open.
    """
    tables = session_tables(out, participant)
    facts = [session_facts(table) for table in tables]
    blocks = [_session(out, table, said) for table, said in zip(tables, facts, strict=True)]
    exclusions = [
        Exclusion(missing["input"], missing["reason"], failed=missing["status"] == "failed")
        for said in facts
        for missing in said["missing"]
    ]
    last = facts[-1]
    row = {
        name: value for name, value in last["participant_row"].items() if value and name != "participant_id"
    }
    page = SubjectPage(
        participant,
        last["dataset"],
        blocks,
        exclusions,
        row,
        last["version"],
        last["model_hash"],
        library_versions(),
        bids=str(root),
        out=str(out),
    )
    return subject_page(page, derivatives.subject_page(out, participant))


def _session(out: Path, table: Path, facts: dict[str, Any]) -> SessionBlock:
    rows = read_rows(table)
    keys = {card["source"]: card["key"] for card in facts["images"]}
    cells = [_cell(row, keys[row["source_image"]]) for row in rows if row["source_image"] in keys]
    curves = derivatives.session_figure(out, facts["participant"], facts["session"], "Curves", ".svg")
    measured = any(card["status"] == "measured" for card in facts["images"])
    hashes = {row["source_image"]: row for row in rows}
    cards = [_card(out, card, hashes[card["source"]]) for card in facts["images"]]
    return SessionBlock(
        facts["session"] or "", cards, cells, curves if measured and curves.is_file() else None, _notes(facts)
    )


def _notes(facts: dict[str, Any]) -> list[str]:
    notes = [f"{card['key']}: {note}" for card in facts["images"] for note in card.get("notes", [])]
    notes += [
        f"{key} is not part of the common region: {reason}."
        for key, reason in facts["left_out_of_common"].items()
    ]
    return notes


def _cell(row: dict[str, str | None], key: str) -> RegionCell:
    area, binary, spread, coverage = (
        _number(row[name]) for name in ("area_mm2", "area_binary_mm2", "area_sd_mm2", "coverage")
    )
    return RegionCell(row["region"] or "", key, area, binary, spread, coverage, _words(row["flags"]))


def _card(out: Path, card: dict[str, Any], row: dict[str, str | None]) -> ImageCard:
    found = card["status"] == "measured"
    figures = out / f"sub-{card['key'].split('_', 1)[0].removeprefix('sub-')}" / "figures"
    stem = f"{card['stem']}_desc-{card['contrast']}"
    overview = figures / f"{stem}Overview_qc.png"
    return ImageCard(
        key=card["key"],
        contrast=card["contrast"],
        source=card["source"],
        plane=card["plane"],
        voxel_mm=tuple(card["voxel_mm"]),
        status=card["status"],
        montage=_layers(figures / f"{stem}Montage_qc.png") if found else None,
        sagittal=_layers(figures / f"{stem}Sagittal_qc.png") if found else None,
        overview=overview if not found and overview.is_file() else None,
        csa_fit=card.get("csa_fit", "n/a"),
        gradient_correction=card["gradient_correction"],
        isocentre_offset_mm=_number(row.get("isocentre_offset_mm")),
        mask_source=card["mask_source"],
        edited=card["edited"],
        levels_source=card.get("levels_source", "none"),
        angle_source=card.get("angle_source", "n/a"),
        model_hash=row.get("model_hash") or "n/a",
        flags=card.get("flags", ()),
        slice_flags=card.get("slice_flags", {}),
        correction=_correction(card) if found else None,
        repeat=card["repeat"],
    )


def _correction(card: dict[str, Any]) -> Correction:
    mask = Path(card["folder"], f"{card['mask_name']}.nii.gz")
    soft = mask.with_name(mask.name.replace("_mask.nii.gz", "_probseg.nii.gz"))
    return Correction(card["source"], str(mask), str(soft), str(mask), "CORRECTED_MASKS")


def _layers(path: Path) -> Layers | None:
    return layers_at(path) if path.is_file() else None


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(text.split(";")) if text else ()
