"""The group's page: one HTML file with its data inside, beside the figures it links to.

It needs no network and no other program. Names from a dataset are text, never markup: they reach
the page as JSON, and the scripts set them as text. A policy in the page lets only its own scripts run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from softseg_bids.image.volume import written_aside
from softseg_bids.pages.curves import colour
from softseg_bids.pages.group_data import embedded
from softseg_bids.pages.group_tables import FLAGS
from softseg_bids.pages.html import joined_script, pages_environment, script_hash

SCRIPTS = (
    "basics", "group_data", "files", "group_ratings", "group_table", "group_plot", "group_overview",
    "group_plots", "group_numbers", "group_review", "theme", "group_start",
)  # fmt: skip


@dataclass(frozen=True)
class TableData:
    """One table of the group.

    Attributes
    ----------
    name, title : str
        ``contrasts`` is ``group_contrasts.tsv``.
    columns : mapping of str to mapping
        Column -> its entry in the data dictionary (``Description``, ``Units``, ``Levels``).
    empty : str
        Why it may have no rows.
    rows : int
        Rows of the file; the page may hold fewer.
    data : mapping
        Column -> packed cells (`group_data.packed`).
    """

    name: str
    title: str
    empty: str
    columns: Mapping[str, Mapping[str, Any]]
    rows: int
    data: Mapping[str, Any]


@dataclass(frozen=True)
class GroupPage:
    """Everything on the group's page.

    Attributes
    ----------
    dataset : str
        The dataset's name.
    identity : str
        Tells studies apart in the browser's storage.
    version, model_hash : str
        Of the results; several are joined by commas.
    sessions : mapping
        Packed columns, one entry a session: ``participant_id session_id`` and the participant's own.
    images : mapping
        Packed columns, one entry an image, also of those that failed; ``session`` is its session's number.
    areas : mapping
        Packed columns, one entry an image and region: ``image region area_mm2 area_binary_mm2
        area_sd_mm2 coverage used``.
    profiles : mapping
        Areas over the level coordinate: ``first step values``, see `app.group_page_profiles`.
    tables : sequence of TableData
    absent : sequence of (str, str, str)
        File, title and reason of tables that are not there.
    notes : sequence of str
        What the statistics say about themselves.
    methods, bibliography : str
        As `pages.methods` writes them.
    order : sequence of int
        Which of its person's sessions each is, by date; 0 the first.
    group_column, controls : str or None
        What tells groups apart, and what controls are called in it.
    """

    dataset: str
    identity: str
    version: str
    model_hash: str
    sessions: Mapping[str, Any]
    images: Mapping[str, Any]
    areas: Mapping[str, Any]
    profiles: Mapping[str, Any]
    tables: Sequence[TableData] = ()
    absent: Sequence[tuple[str, str, str]] = ()
    notes: Sequence[str] = ()
    methods: str = ""
    bibliography: str = ""
    contrasts: Sequence[str] = field(default=())
    order: Sequence[int] = ()
    group_column: str | None = None
    controls: str | None = None


def group_page(page: GroupPage, path: Path) -> Path:
    """Write the group's page.

    Parameters
    ----------
    page : GroupPage
    path : Path
        Destination (``group.html``), in OUT beside the ``sub-*`` folders; appears whole or not at all.
    """
    environment = pages_environment()
    script = joined_script(environment, SCRIPTS)
    html = environment.get_template("group.html").render(
        page=page, data=embedded(_content(page)), script=script, script_hash=script_hash(script)
    )
    with written_aside(path) as aside:
        aside.write_text(html, encoding="utf-8", errors="backslashreplace")
    return path


def _content(page: GroupPage) -> dict[str, Any]:
    return {
        "dataset": page.dataset,
        "identity": page.identity,
        "version": page.version,
        "model": page.model_hash,
        "contrasts": {name: colour(name) for name in page.contrasts},
        "flags": {name: [flag.severity, flag.meaning] for name, flag in FLAGS.items()},
        "sessions": page.sessions,
        "order": list(page.order),
        "group_column": page.group_column,
        "controls": page.controls,
        "images": page.images,
        "areas": page.areas,
        "profiles": page.profiles,
        "tables": [vars(table) for table in page.tables],
        "absent": [list(each) for each in page.absent],
        "notes": list(page.notes),
        "methods": page.methods,
        "bibliography": page.bibliography,
    }
