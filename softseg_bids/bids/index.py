"""The index of a dataset's images: the only place where pybids is asked.

Only NIfTI files of the participants asked for are indexed, and no metadata: a few tenths of a
second where indexing everything takes minutes.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bids import BIDSLayout, BIDSLayoutIndexer
from bids.layout import Query

from softseg_bids.bids.filters import FilterError
from softseg_bids.image.volume import DataError

logger = logging.getLogger(__name__)

EXTENSIONS = (".nii.gz", ".nii")

# Folders of other modalities, as BIDS names them.
_OTHER_DATATYPES = "func|fmap|perf|pet|eeg|ieeg|meg|beh|micr|motion|mrs|nirs"
# What a filter file may call an entity besides pybids' own name for it.
_ALIASES = {
    "sub": "subject", "ses": "session", "acq": "acquisition", "ce": "ceagent", "rec": "reconstruction",
    "dir": "direction", "mod": "modality",
}  # fmt: skip
_QUERIES = {"query.none": Query.NONE, "query.any": Query.ANY, "*": Query.ANY}


class Index:
    """The images of some participants, and the queries of a filter file among them."""

    def __init__(
        self, root: Path, participants: Sequence[str], everyone: Sequence[str], database_dir: Path | None
    ) -> None:
        self._root = root
        self._participants = frozenset(participants)
        if database_dir is None:
            chosen = None if set(participants) == set(everyone) else participants
            self._layout = _layout(root, _ignored(chosen))
        else:
            self._layout = _kept_layout(root, database_dir, self._participants)

    def images(self) -> list[Path]:
        """All NIfTI files of the participants, in the order of their paths."""
        paths = [Path(name) for name in self._layout.get(return_type="filename", extension=list(EXTENSIONS))]
        return sorted(path for path in paths if self._is_asked_for(path))

    def matching(self, query: Mapping[str, Any]) -> frozenset[Path]:
        """The images that match one group of a filter file.

        Raises
        ------
        FilterError
            If the query names an entity that BIDS does not know.
        """
        entities = {_ALIASES.get(name, name): _query_value(value) for name, value in query.items()}
        regex_search = bool(entities.pop("regex_search", False))
        try:
            names = self._layout.get(return_type="filename", regex_search=regex_search, **entities)
        except (ValueError, TypeError) as error:
            raise FilterError(f"the BIDS filter {dict(query)} cannot be used: {error}") from error
        return frozenset(Path(name) for name in names)

    def _is_asked_for(self, path: Path) -> bool:
        first = path.relative_to(self._root).parts[0]
        return first.removeprefix("sub-") in self._participants


def _query_value(value: Any) -> Any:
    """What pybids is asked for: JSON's null means that the entity must be absent."""
    if value is None:
        return Query.NONE
    if isinstance(value, str):
        return _QUERIES.get(value.casefold(), value)
    if isinstance(value, list):
        return [_query_value(each) for each in value]
    return value


def _ignored(participants: Iterable[str] | None) -> list[re.Pattern[str]]:
    """Patterns, against ``/sub-01/anat/...``, of all that need not be indexed."""
    who = "" if participants is None else f"(?:{'|'.join(map(re.escape, participants))})(?:/|$)"
    return [
        re.compile(rf"^/(?!sub-{who})"),
        re.compile(rf"/(?:{_OTHER_DATATYPES})(?:/|$)"),
        re.compile(r"^(?!.*\.nii(?:\.gz)?$).*\.[^/]*$"),
        re.compile("[\ud800-\udfff]"),  # bytes of a name that are no text; SQLite refuses them
    ]


def _layout(root: Path, ignore: list[re.Pattern[str]], **options: Any) -> BIDSLayout:
    indexer = BIDSLayoutIndexer(validate=False, index_metadata=False, ignore=ignore)
    try:
        return BIDSLayout(root, validate=False, config="bids", indexer=indexer, **options)
    except (AttributeError, RecursionError) as error:
        raise DataError(f"{root / 'dataset_description.json'}: must hold a JSON object ({error})") from error


def _kept_layout(root: Path, folder: Path, participants: frozenset[str]) -> BIDSLayout:
    """The index kept in a folder: of all of this dataset, and made again when the dataset changed.

    pybids returns a database made for another dataset without a word, so its root is compared.
    """
    database = folder / "layout_index.sqlite"
    if not database.exists():
        return _made(root, folder)
    try:
        layout = BIDSLayout(database_path=folder, validate=False)
        made_for = Path(layout.root)
        files = [Path(name) for name in layout.get(return_type="filename")]
    except Exception as error:  # sqlite's, SQLAlchemy's or pybids' own, as the damage may be
        raise DataError(f"{database}: is no usable pybids index ({error}); delete it") from error
    if made_for != root:
        raise DataError(f"{folder}: was made for {made_for}, not for {root}; name another folder")
    known = {path.relative_to(root).parts[0].removeprefix("sub-") for path in files}
    if database.stat().st_mtime > _last_change(root) and participants <= known:
        return layout
    return _made(root, folder)


def _made(root: Path, folder: Path) -> BIDSLayout:
    if not _is_writable(folder):
        logger.warning("%s: the index cannot be kept there; choose a folder you may write to", folder)
        return _layout(root, _ignored(None))
    return _layout(root, _ignored(None), database_path=folder, reset_database=True)


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def _last_change(root: Path) -> float:
    """Time at which a file was last added to or taken from a participant's folders."""
    folders = [root, *root.glob("sub-*"), *root.glob("sub-*/*"), *root.glob("sub-*/ses-*/*")]
    return max(folder.stat().st_mtime for folder in folders if folder.is_dir())
