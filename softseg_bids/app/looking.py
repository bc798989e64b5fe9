"""Looking at a dataset before anything is written: what there is to do, and the plan as a table."""

from __future__ import annotations

import sys

from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.settings import Settings
from softseg_bids.app.validation import validate
from softseg_bids.bids.dataset import Dataset, NoInput, NothingSelected, Selection
from softseg_bids.bids.discover import discover
from softseg_bids.bids.filters import FilterError, read_filters
from softseg_bids.bids.plan import PLAN_COLUMNS, plan


def look(settings: Settings) -> Dataset:
    """Find what there is to do; validate first where that was asked for.

    Raises
    ------
    Stop
        16, 18 or 66, with the reason.
    DataError
        For a filter file or table that cannot be used.
    """
    if settings.validate and settings.bids.is_dir():
        validate(settings.bids)
    selection = Selection(
        participants=settings.participants,
        sessions=settings.sessions,
        contrasts=settings.contrasts,
        filters=read_filters(settings.filter_file) if settings.filter_file else {},
        derivatives=dict(settings.derivatives),
        database_dir=settings.database,
    )
    try:
        return discover(settings.bids, selection)
    except FilterError as error:
        raise FilterError(f"{settings.filter_file}: {error}") from error
    except NothingSelected as error:
        raise Stop(Exit.NOTHING_SELECTED, str(error)) from error
    except NoInput as error:
        raise Stop(Exit.NO_INPUT, str(error)) from error
    except OSError as error:
        place = error.filename or settings.bids
        raise Stop(
            Exit.NO_INPUT,
            f"{place}: cannot be read ({error.strerror}); change its permissions, or leave it out",
        ) from error


def show(dataset: Dataset) -> None:
    """Print the plan of a run as a table."""
    rows = plan(dataset.root, dataset.scans, dataset.left_out)
    widths = {name: max([len(name), *(len(row[name]) for row in rows)]) for name in PLAN_COLUMNS}
    for row in [dict(zip(PLAN_COLUMNS, PLAN_COLUMNS, strict=True)), *rows]:
        line = "  ".join(row[name].ljust(widths[name]) for name in PLAN_COLUMNS).rstrip()
        # A name may hold what the terminal's encoding does not.
        encoding = sys.stdout.encoding or "utf-8"
        print(line.encode(encoding, "backslashreplace").decode(encoding))
