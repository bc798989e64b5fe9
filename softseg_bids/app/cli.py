"""The command line: arguments in, exit code out."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from softseg_bids.app import group, participant, single
from softseg_bids.app.environment import limit_threads, use_private_folder
from softseg_bids.app.options import settings_of
from softseg_bids.app.outcome import Exit, Stop
from softseg_bids.app.settings import PRIVATE, Settings
from softseg_bids.bids.derivatives import OutputError
from softseg_bids.image.volume import DataError

IMAGES = (".nii", ".nii.gz")


def main(argv: Sequence[str]) -> int:
    """Run the app.

    Parameters
    ----------
    argv : sequence of str
        The arguments, without the program's name.

    Returns
    -------
    int
        An exit code of :class:`~softseg_bids.app.outcome.Exit`.
    """
    logging.basicConfig(format="softseg: %(message)s", level=logging.WARNING)
    try:
        if any(argument.endswith(IMAGES) for argument in argv):
            return single.run(argv)
        settings = settings_of(argv)
        return _run(settings, argv)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else Exit.USAGE
    except Stop as stop:
        sys.stderr.write(f"softseg: {stop}\n")
        return stop.code
    except OutputError as error:
        sys.stderr.write(f"softseg: {error}\n")
        return Exit.OUTPUT_UNWRITABLE
    except DataError as error:
        sys.stderr.write(f"softseg: {error}\n")
        return Exit.USAGE
    except KeyboardInterrupt:
        sys.stderr.write("softseg: interrupted; run the same command again to go on from here\n")
        return Exit.INTERRUPTED


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def _run(settings: Settings, argv: Sequence[str]) -> int:
    logging.getLogger().setLevel(logging.INFO if settings.verbose else logging.WARNING)
    if settings.level == "group":
        check_writable(settings.out)
        return group.run(settings)
    if settings.reports_only:
        prepare(settings)
        return participant.reports(settings, argv)
    dataset = participant.look(settings)
    if settings.dry_run:
        participant.show(dataset)
        return Exit.DONE
    prepare(settings)
    return participant.run(settings, dataset, argv)


def prepare(settings: Settings) -> None:
    """Make OUT and the private folder; limit the threads of workers.

    Raises
    ------
    Stop
        73 if OUT cannot be written.
    """
    check_writable(settings.out)
    private = settings.out / PRIVATE
    for folder in (private, settings.work):
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise Stop(
                Exit.OUTPUT_UNWRITABLE, f"{folder}: cannot be made ({error.strerror}); choose another with -w"
            ) from error
    use_private_folder(private)
    limit_threads(settings.omp_nthreads)


def check_writable(out: Path) -> None:
    """Make the output folder if need be.

    Raises
    ------
    Stop
        73 if it cannot be made or written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Stop(
            Exit.OUTPUT_UNWRITABLE, f"{out}: cannot be made ({error.strerror}); choose another folder"
        ) from error
    if not os.access(out, os.W_OK | os.X_OK):
        raise Stop(
            Exit.OUTPUT_UNWRITABLE,
            f"{out}: cannot be written; change its permissions or choose another folder",
        )
