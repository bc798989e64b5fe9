"""What other runs measured of a session of which this run does a part: it stays in the session's table.

A run may be of some contrasts only, and another one of the others. Positions along the cord are
those of one run: a stretch that the images of several runs share is not known, so there is no ``common``.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from softseg_bids.app.results import session_facts
from softseg_bids.app.rows import Common
from softseg_bids.bids.dataset import Dataset
from softseg_bids.bids.rows import Row, read_rows
from softseg_bids.image.volume import DataError

COMMON = "common"
APART = (
    "the session's images were measured by several runs, and the curves show those of one; "
    "run them together to compare them"
)


class Kept(NamedTuple):
    """What a session's table and its JSON in OUT say about images that are not this run's.

    Attributes
    ----------
    rows, cards, missing : list of dict
        Rows of the table; of the JSON what it says about each image, and the inputs without a measurement.
    common : Common
        The stretch that their run found.
    """

    rows: list[Row]
    cards: list[dict[str, Any]]
    missing: list[dict[str, str]]
    common: Common

    @property
    def sources(self) -> list[str]:
        """The images."""
        return [card["source"] for card in self.cards]


NOTHING = Kept([], [], [], Common(None, {}))


def elsewhere(dataset: Dataset, participant: str, session: str | None) -> list[str]:
    """Inputs of a session that only the selection leaves out, and that are no part of a chosen scan."""
    chosen = {acquisition(scan.relative) for scan in dataset.scans_of(participant, session)}
    inputs = [
        entry.path.relative_to(dataset.root).as_posix()
        for entry in dataset.left_out
        if not entry.asked and (entry.participant, entry.session) == (participant, session)
    ]
    return [name for name in inputs if acquisition(name) not in chosen]


def acquisition(source: str) -> str:
    """What all echoes of one acquisition are called: they are one image."""
    return re.sub(r"_echo-[0-9]+", "", source)


def read_kept(table: Path, inputs: list[str]) -> Kept:
    """What stands in OUT about some inputs.

    Parameters
    ----------
    table : Path
        The session's table; it need not exist.
    inputs : list of str
        From :func:`elsewhere`.

    Raises
    ------
    DataError
        If the table is there, but its JSON cannot be used.
    """
    if not inputs or not table.exists():
        return NOTHING
    facts = session_facts(table)
    wanted = {acquisition(name) for name in inputs}
    rows = [row for row in read_rows(table) if acquisition(row.get("source_image") or "") in wanted]
    measured = {row["source_image"] for row in rows}
    cards = [card for card in facts["images"] if card["source"] in measured]
    known = {card["source"] for card in cards}  # a run that was killed between the two files left one of them
    return Kept(
        [row for row in rows if row["source_image"] in known],
        cards,
        [entry for entry in facts["missing"] if entry["input"] in inputs],
        Common(facts["common_mm"], facts["left_out_of_common"]),
    )


def with_kept(missing: list[dict[str, str]], kept: Kept) -> list[dict[str, str]]:
    """A session's inputs without a measurement, when what other runs said about theirs counts."""
    measured = {acquisition(source) for source in kept.sources}
    said = {entry["input"]: entry for entry in kept.missing}
    return [
        said.get(entry["input"], entry) for entry in missing if acquisition(entry["input"]) not in measured
    ]


def without_common(rows: Iterable[Row]) -> list[Row]:
    """Rows of images that share no stretch any more."""
    return [row for row in rows if row["region"] != COMMON]


def is_joined(table: Path) -> bool:
    """Whether a session's table in OUT holds the images of several runs, or cannot be read any more."""
    try:
        return table.exists() and bool(session_facts(table).get("from_other_runs"))
    except DataError:
        return True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let no other run change a folder's table between reading and writing it.

    Runs that share a work folder wait for each other anyway. Where the file system knows no locks on
    folders the block is run without.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
