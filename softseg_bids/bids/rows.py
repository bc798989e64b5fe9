"""Reading the tables people keep beside their images (participants.tsv and the like).

Such tables are written by hand: a byte-order mark, Windows line ends, an empty last line or a
row that is too short must never end a run.
"""

from __future__ import annotations

import codecs
import logging
import os
from pathlib import Path

from softseg_bids.image.volume import DataError, check_file

logger = logging.getLogger(__name__)

Row = dict[str, str | None]

MISSING = frozenset({"", "-", "n/a"})


def read_rows(path: Path) -> list[Row]:
    """Rows of a tab-separated file as dictionaries; ``None`` where a value is missing.

    Missing values are the empty string, ``-`` and ``n/a`` (in any case). Rows that are too
    short are filled with ``None``, what a row has too much is dropped; either is logged as a
    warning that names the file and the line.

    Parameters
    ----------
    path : Path
        UTF-8 (with or without a byte-order mark), UTF-16 as spreadsheets write it, or Latin-1; any
        line ends. A file that does not exist or cannot be read gives no rows.
    """
    text = _read_text(path)
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    header = [name.strip() for name in lines[0].split("\t")]
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        if len(cells) != len(header):
            logger.warning("%s: row %d has %d cells, not %d", path, number, len(cells), len(header))
        values: list[str | None] = [_value(cell) for cell in cells]
        values += [None] * (len(header) - len(values))
        rows.append(dict(zip(header, values, strict=False)))
    return rows


def find_row(path: Path, column: str, label: str, prefix: str) -> Row:
    """The first row whose ``column`` is ``label``, with or without ``prefix``; {} if none is."""
    for row in read_rows(path):
        if (row.get(column) or "").removeprefix(prefix) == label:
            return row
    return {}


def _value(cell: str) -> str | None:
    cell = cell.strip()
    return None if cell.casefold() in MISSING else cell


def _read_text(path: Path) -> str:
    if not os.path.lexists(path):
        return ""
    try:
        check_file(path)
        raw = path.read_bytes()
    except (OSError, DataError) as error:
        logger.warning("%s: cannot be read (%s); it is ignored", path, error)
        return ""
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
