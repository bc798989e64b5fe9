"""The only writer in OUT: masks, tables and what makes of a folder a BIDS derivative dataset.

Every file is written aside and renamed, with the same bytes for the same content, so that runs of
other participants may write to one OUT at the same time and a reader never sees half a file.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from softseg_bids.bids.columns import COLUMNS
from softseg_bids.bids.dataset import Scan
from softseg_bids.bids.products import (
    PRODUCTS,
    figure,
    mask_name,
    output,
    session_figure,
    session_figures,
    session_outputs,
    session_stem,
    session_table,
    subject_page,
)
from softseg_bids.bids.sidecars import read_json
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import DataError, write_volume, written_aside

__all__ = [
    "PRODUCTS",
    "OutputError",
    "figure",
    "mask_name",
    "output",
    "remove",
    "session_figure",
    "session_figures",
    "session_outputs",
    "session_stem",
    "session_table",
    "sidecar",
    "sources",
    "subject_page",
    "write_description",
    "write_json",
    "write_mask",
    "write_table",
    "write_text",
]

NAME = "softseg"
BIDS_VERSION = "1.11.1"
THRESHOLD = 0.5
SIGNIFICANT_DIGITS = 6
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# The validator knows none of these names (the text of BIDS asks to keep the sources' entities).
# No trailing slashes: `figures/` would match nothing.
BIDSIGNORE = (
    "*.html", "figures", "qc_fail.yml", "group_*", "*_morph.tsv", "*_morph.json",
    "*_flip-*", "*_mt-*", "*_inv-*",
)  # fmt: skip

LEVELS = (
    *((number, f"C{number}") for number in range(1, 8)),
    *((number + 7, f"T{number}") for number in range(1, 13)),
    *((number + 19, f"L{number}") for number in range(1, 6)),
)
# A disc's value is that of the level below it; 25 lies above the sacrum.
DISCS = (
    *((low[0], f"{high[1]}-{low[1]}") for high, low in pairwise((*LEVELS, (25, "S1")))),
    (49, "pontomedullary groove"),
    (50, "pontomedullary junction"),
    (60, "conus"),
)
README = """# Soft segmentation of the spinal cord

Written by softseg. Start with the pages `sub-*.html` and `group.html`.

- `*_label-SC_desc-*_probseg.nii.gz`: fraction of each voxel that is spinal cord, on the image's own grid
- `*_label-SC_desc-*_mask.nii.gz`: the same cut at 0.5
- `*_label-centerline_desc-*_mask.nii.gz`: centreline
- `*_seg-vertebrae_desc-*_dseg.nii.gz`: vertebral levels, named in `seg-vertebrae_dseg.tsv`
- `*_seg-discs_desc-*_dseg.nii.gz`: posterior tips of the discs, named in `seg-discs_dseg.tsv`
- `*_morph.tsv`: cross-sectional area and shape, per slice and per region
- `group_*.tsv`: all participants together

Every table has a JSON file beside it that says what its columns mean.
"""


class OutputError(DataError):
    """OUT cannot be written, or belongs to another tool (exit code 73)."""


def write_mask(
    path: Path, array: NDArray[np.generic], grid: Grid, like: Path, product: str, extra: Mapping[str, Any]
) -> None:
    """Write an image in OUT with its sidecar.

    Parameters
    ----------
    path : Path
        From :func:`output`.
    array : ndarray, shape grid.shape
        On the stored axes of ``like``. Kept as float32 for fractions in [0, 1], as the smallest
        unsigned integers for masks and levels.
    grid : Grid
        Where the array lies.
    like : Path
        The source image, whose qform and sform codes are kept.
    product : str
        Key of PRODUCTS.
    extra : mapping
        Further facts for the sidecar: ``Sources`` (see :func:`sources`), model, versions.
    """
    made = PRODUCTS[product]
    facts: dict[str, Any] = {"Description": made.description, "Manual": False}
    if made.kind:
        facts["Type"] = made.kind
    if product == "mask":
        facts["Threshold"] = THRESHOLD
    if extra.get("Sources"):
        facts["SpatialReference"] = extra["Sources"][0]
    text = json_text(facts | dict(extra))
    # The sidecar vouches for the image: it is gone while another image takes the place of its own.
    if not _holds(sidecar(path), text.encode()):
        sidecar(path).unlink(missing_ok=True)
    fractions = made.suffix == "probseg"
    write_volume(path, array.astype(np.float32 if fractions else np.uint8), grid, like)
    write_text(sidecar(path), text)


def sources(scan: Scan) -> list[str]:
    """The ``bids:raw:`` URIs of the files a scan was made from."""
    return [f"bids:raw:{scan.folder / path.name}" for path in scan.paths]


def sidecar(path: Path) -> Path:
    """The JSON file beside an image or a table."""
    return path.with_name(path.name.split(".", 1)[0] + ".json")


def write_table(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    dictionary: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    columns: Sequence[str] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> None:
    """Write rows as TSV, and the JSON data dictionary of its columns beside it.

    Parameters
    ----------
    path : Path
        The ``.tsv`` file.
    rows : sequence of mapping
        Column to value. None, NaN and empty values are written as ``n/a``, numbers with
        six significant digits, sequences joined by ``;``.
    dictionary : mapping, optional
        Descriptions of columns that :data:`~softseg_bids.bids.columns.COLUMNS` does not have
        (of a wide table), each with ``Description`` and perhaps ``Units`` and ``Levels``.
    columns : sequence of str, optional
        Their order; by default that of their first appearance in the rows.
    extra : mapping, optional
        Further objects for the JSON, beside the columns.

    Raises
    ------
    ValueError
        If there are neither rows nor columns, or a column has no description.
    """
    names = list(columns or dict.fromkeys(name for row in rows for name in row))
    if not names:
        raise ValueError(f"{path}: a table without rows needs its columns")
    described = {**COLUMNS, **(dictionary or {})}
    unknown = [name for name in names if name not in described]
    if unknown:
        raise ValueError(f"{path}: columns without description: {', '.join(unknown)}")
    lines = ["\t".join(names)]
    lines += ["\t".join(cell(row.get(name)) for name in names) for row in rows]
    write_json(sidecar(path), {name: described[name] for name in names} | dict(extra or {}))
    write_text(path, "\n".join(lines) + "\n")


def cell(value: Any) -> str:
    """One value as a table shows it."""
    # The commonest kinds first: the tables of a large study have tens of millions of cells.
    if isinstance(value, str):
        return _on_one_line(value)
    if value is None:
        return "n/a"
    if isinstance(value, float | np.floating):
        return f"{float(value) + 0.0:.{SIGNIFICANT_DIGITS}g}" if math.isfinite(value) else "n/a"
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, int | np.integer):
        return str(int(value))
    if isinstance(value, Iterable):
        value = ";".join(cell(each) for each in value)
    return _on_one_line(str(value))


@lru_cache(maxsize=1 << 14)
def _on_one_line(text: str) -> str:
    return " ".join(_CONTROL.sub(" ", text).split()) or "n/a"


def write_description(
    out: Path,
    root: Path,
    name: str,
    version: str,
    links: Mapping[str, Path] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> None:
    """Make of OUT a derivative dataset: its description, ``.bidsignore`` and the table of levels.

    Parameters
    ----------
    out : Path
        Made if it does not exist.
    root, name : Path, str
        The source dataset.
    version : str
        Of this app.
    links : mapping of str to Path, optional
        Further datasets that sidecars refer to (``bids:corrected:...``).
    environment : mapping of str to str
        Where the container is read from.

    Raises
    ------
    OutputError
        If OUT cannot be written, or another tool's derivatives lie there.
    """
    path = out / "dataset_description.json"
    try:
        owner = _owner(path)
        if owner not in (None, NAME):
            raise OutputError(f"{out}: holds the output of {owner}; name another (or a new) folder")
        generator: dict[str, Any] = {"Name": NAME, "Version": version}
        if container := _container(environment):
            generator["Container"] = container
        datasets = {"raw": root, **(links or {})}
        description = {
            "Name": f"Soft segmentation of the spinal cord: {name}",
            "BIDSVersion": BIDS_VERSION,
            "DatasetType": "derivative",
            "GeneratedBy": [generator],
            "SourceDatasets": [{"URL": root.absolute().as_uri()}],
            "DatasetLinks": {key: _link(folder, out) for key, folder in datasets.items()},
        }
        write_json(path, description)
        write_text(out / ".bidsignore", "\n".join(BIDSIGNORE) + "\n")
        # No JSON beside it: by inheritance it would speak of every level image.
        write_text(out / "seg-vertebrae_dseg.tsv", _rows_of(LEVELS))
        write_text(out / "seg-discs_dseg.tsv", _rows_of(DISCS))
        if not (out / "README.md").exists():
            write_text(out / "README.md", README)
    except OSError as error:
        raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write an object as JSON; numpy values and paths become plain ones."""
    write_text(path, json_text(content))


def json_text(content: Mapping[str, Any]) -> str:
    """An object as indented JSON; numpy values and paths become plain ones."""
    return json.dumps(content, indent=2, ensure_ascii=False, default=_plain) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write text (UTF-8), unless the file holds it already."""
    data = text.encode(errors="backslashreplace")  # names of files need not be text
    if _holds(path, data):
        return
    with written_aside(path) as aside:
        aside.write_bytes(data)


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def remove(path: Path) -> None:
    """Take a file of an earlier run out of OUT, with its sidecar; nothing if it is not there."""
    path.unlink(missing_ok=True)
    sidecar(path).unlink(missing_ok=True)


def _rows_of(names: Iterable[tuple[int, str]]) -> str:
    return "index\tname\n" + "".join(f"{number}\t{label}\n" for number, label in names)


def _owner(description: Path) -> str | None:
    """Who made the dataset in OUT, by its description; None if nobody says."""
    if not description.exists():
        return None
    content = read_json(description)
    generators = content.get("GeneratedBy") or [{}]
    first = generators[0] if isinstance(generators, list) else {}
    named = str(first.get("Name", "")) if isinstance(first, dict) else ""
    if not named and content.get("DatasetType", "raw") == "raw":
        return "a raw dataset" if content else None
    return named or None


def _link(folder: Path, out: Path) -> str:
    """A relative path where OUT lies within the dataset (both may be moved), else a file URI."""
    folder, out = folder.absolute(), out.absolute()
    if out.is_relative_to(folder):
        return Path(os.path.relpath(folder, out)).as_posix()
    return folder.as_uri()


def _container(environment: Mapping[str, str]) -> dict[str, str] | None:
    """The container this runs in: named by its image's own variable, or by Apptainer."""
    if tag := environment.get("SOFTSEG_CONTAINER_TAG"):
        return {"Type": "docker", "Tag": tag}
    if image := environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER"):
        return {"Type": "apptainer", "Tag": Path(image).name}
    return None


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else str(value)
