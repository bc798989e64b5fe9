"""What the app left in OUT, image by image, for whoever compares it with something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from softseg_bids.app.group_tables import LEAST_COVERAGE
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.results import session_facts, session_tables
from softseg_bids.bids.masks import Known
from softseg_bids.bids.names import bare
from softseg_bids.bids.rows import Row, read_rows
from softseg_bids.bids.sidecars import read_json
from softseg_bids.study.place import CORD

MEASURED, NO_CORD, FAILED = "measured", "no_cord", "failed"


class Ours(NamedTuple):
    """One image of OUT.

    Attributes
    ----------
    key : str
        Unique in OUT: its source.
    participant, session : str, str or None
        Labels without prefix.
    contrast, source : str
    status, reason : str
        ``measured``, ``no_cord`` or ``failed``.
    soft, slices : Path
        Soft mask and per-slice table, which are there if it is measured.
    discs : Path
        Disc labels, which are there if some are known and in view.
    rows : sequence of dict
        Its rows of the session's table.
    card : mapping
        What the session's JSON says of it; empty if it failed.
    """

    key: str
    participant: str
    session: str | None
    contrast: str
    source: str
    status: str
    reason: str
    soft: Path
    slices: Path
    discs: Path
    rows: Sequence[Row]
    card: Mapping[str, Any]

    @property
    def known(self) -> Known:
        """What masks of it may be named after."""
        own = bare(Path(self.source))
        stem = str(self.card.get("stem", own.rsplit("_", 1)[0]))
        names = tuple(dict.fromkeys((str(self.card.get("key", own)), own)))
        return Known(self.key, self.participant, names, stem, self.contrast)

    @property
    def named(self) -> dict[str, Any]:
        """The columns that name it in a table."""
        return {
            "participant_id": f"sub-{self.participant}",
            "session_id": f"ses-{self.session}" if self.session else None,
            "contrast": self.contrast,
            "source_image": self.source,
        }


def read_ours(out: Path) -> list[Ours]:
    """All images of OUT, also those that failed.

    Raises
    ------
    Stop
        66 if OUT holds no results.
    DataError
        If a session's table cannot be used.
    """
    tables = session_tables(out)
    if not tables:
        raise Stop(Exit.NO_INPUT, f"{out}: has no results; run `softseg BIDS_DIR {out} participant` first")
    return [image for table in tables for image in _of_session(out, table)]


def _of_session(out: Path, table: Path) -> list[Ours]:
    facts = session_facts(table)
    rows = read_rows(table)
    found = []
    for card in facts["images"]:
        folder, stem = out / card["folder"], f"{card['stem']}_label-SC_desc-{card['contrast']}"
        found.append(
            Ours(
                card["source"], facts["participant"], facts["session"], card["contrast"], card["source"],
                card["status"], "no cord was found" if card["status"] == NO_CORD else "",
                folder / f"{stem}_probseg.nii.gz", folder / f"{stem}Perslice_morph.tsv",
                folder / f"{card['stem']}_seg-discs_desc-{card['contrast']}_dseg.nii.gz",
                [row for row in rows if row["source_image"] == card["source"]], card,
            )
        )  # fmt: skip
    there = {image.source for image in found}
    lost = [each for each in facts["missing"] if each["status"] == FAILED and each["input"] not in there]
    return found + [
        Ours(
            each["input"], facts["participant"], facts["session"], each["contrast"], each["input"],
            FAILED, each["reason"], Path(), Path(), Path(), [], {},
        )
        for each in lost
    ]  # fmt: skip


def raw_root(out: Path, asked: Path | None) -> Path | None:
    """The dataset OUT was made from: the folder asked for, else the one OUT's description links to; None if
    it is not there."""
    if asked is not None:
        return asked
    link = read_json(out / "dataset_description.json").get("DatasetLinks", {})
    raw = str(link.get("raw", "")) if isinstance(link, dict) else ""
    if not raw:
        return None
    folder = Path(raw.removeprefix("file://")) if raw.startswith("file:") else out / raw
    return folder.resolve() if folder.is_dir() else None


def enough(region: str, coverage: float) -> bool:
    """Whether an area over a region may enter statistics; ``cord`` is whatever was seen."""
    return region == CORD or coverage >= LEAST_COVERAGE
