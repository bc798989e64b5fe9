"""BIDS filter files: groups of entities that restrict which images of a kind are taken."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from softseg_bids.bids.contrasts import CONTRASTS, SUFFIXES
from softseg_bids.bids.sidecars import json_object
from softseg_bids.image.volume import DataError

Filters = Mapping[str, Mapping[str, Any]]

# Groups of files written for other BIDS Apps (BABS hands one file to all): nothing here is of that kind.
_FOREIGN_GROUPS = frozenset({"bold", "fmap", "sbref", "roi", "asl", "perf", "pet", "func", "eeg", "meg"})
_OWN_GROUPS = tuple(dict.fromkeys((*SUFFIXES, *CONTRASTS)))
_KNOWN_GROUPS = _FOREIGN_GROUPS | {group.casefold() for group in _OWN_GROUPS}


class FilterError(DataError):
    """A BIDS filter file asks for something that does not exist (a usage error)."""


def read_filters(path: Path) -> dict[str, dict[str, Any]]:
    """Read a BIDS filter file: ``{"T1w": {"acquisition": "full"}}``.

    Groups are suffixes or contrast keys, in any case; entities have pybids' names or their
    short forms; ``null`` means that the entity is absent, ``"*"`` that it is there.

    Raises
    ------
    FilterError
        If the file cannot be read or is not made of known groups of entities.
    """
    try:
        filters = json_object(path)
    except DataError as error:
        raise FilterError(
            f'{error}; a BIDS filter file holds groups of entities: {{"T1w": {{"acquisition": "full"}}}}'
        ) from error
    try:
        check_filters(filters)
    except FilterError as error:
        raise FilterError(f"{path}: {error}") from error
    return filters


def check_filters(filters: Mapping[str, Any]) -> None:
    """Refuse groups that would silently do nothing.

    Raises
    ------
    FilterError
        If a group is neither a suffix, a contrast key nor a group of other BIDS Apps, or is
        not a set of entities.
    """
    for group, query in filters.items():
        if group.casefold() not in _KNOWN_GROUPS:
            raise FilterError(
                f"the group {group!r} of BIDS filters is unknown; use one of {', '.join(_OWN_GROUPS)}"
            )
        if not isinstance(query, Mapping):
            raise FilterError(
                f'the group {group!r} of BIDS filters must hold entities: {{"acquisition": "full"}}'
            )


def groups_of(suffix: str, contrast: str, filters: Filters) -> list[str]:
    """The groups of a filter file that speak of an image of this suffix and contrast."""
    own = {suffix.casefold(), contrast.casefold()}
    return [group for group in filters if group.casefold() in own]
