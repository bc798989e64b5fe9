"""The command line: arguments in, exit code out."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
import traceback
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

from softseg_bids.app import work_folder
from softseg_bids.app.environment import limit_threads, use_private_folder
from softseg_bids.app.failures import unwritable
from softseg_bids.app.interruption import terminable
from softseg_bids.app.options import settings_of, single_parser
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

    def chosen() -> int:
        with terminable():
            if any(argument.endswith(IMAGES) for argument in argv):
                return _one_image(single_parser().parse_args(argv))
            return _dataset(settings_of(argv), argv)

    return answered("softseg", chosen)


def answered(program: str, call: Callable[[], int]) -> int:
    """Run a program to its exit code: whatever ends it is told in one line.

    Parameters
    ----------
    program : str
        What the line begins with.
    call : callable
        Returns an exit code.
    """
    logging.basicConfig(format=f"{program}: %(message)s", level=logging.WARNING)
    try:
        return call()
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else Exit.USAGE
    except Stop as stop:
        sys.stderr.write(f"{program}: {stop}\n")
        return stop.code
    except OutputError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return Exit.OUTPUT_UNWRITABLE
    except DataError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return Exit.USAGE
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted; run the same command again to go on from here\n")
        return Exit.INTERRUPTED
    except Exception as error:
        return _unexpected(program, error)


def entry() -> None:
    """The console script."""
    sys.exit(main(sys.argv[1:]))


def _unexpected(program: str, error: Exception) -> Exit:
    """Tell what nobody foresaw in one line; its traceback goes to a file."""
    if isinstance(error, OSError) and (place := unwritable(str(error))):
        sys.stderr.write(f"{program}: {place}\n")
        return Exit.OUTPUT_UNWRITABLE
    trace = traceback.format_exc()
    with contextlib.suppress(OSError):
        handle, path = tempfile.mkstemp(prefix=f"{program}-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(trace)
        trace = f"please report it with {path}\n"
    sys.stderr.write(f"{program}: unexpected {type(error).__name__}: {error}; {trace}")
    return Exit.SOME_FAILED


# Heavy libraries are imported within the functions below, when the environment is fit for them:
# matplotlib stops where neither the home nor the temporary folder can be written, and only the
# arguments say where OUT is.


def _one_image(chosen: Namespace) -> int:
    prepare(chosen.out.absolute(), chosen.omp_nthreads)
    from softseg_bids.app import single

    return single.run(chosen)


def _dataset(settings: Settings, argv: Sequence[str]) -> int:
    logging.getLogger().setLevel(logging.INFO if settings.verbose else logging.WARNING)
    if settings.level == "group":
        prepare(settings.out, settings.omp_nthreads)
        from softseg_bids.app import group

        return group.run(settings)
    from softseg_bids.app import looking

    dataset = None if settings.reports_only else looking.look(settings)
    if dataset is not None and settings.dry_run:
        looking.show(dataset)
        return Exit.DONE
    prepare(settings.out, settings.omp_nthreads, settings.work)
    from softseg_bids.app import participant

    if dataset is None:
        return participant.reports(settings, argv)
    return participant.run(settings, dataset, argv)


def prepare(out: Path, threads: int, work: Path | None = None) -> None:
    """Make OUT and the work folder; send what must be written beside them into OUT's private folder.

    Raises
    ------
    Stop
        73 if a folder cannot be made or written.
    """
    check_writable(out)
    if work is not None:
        work_folder.make(work)
    use_private_folder(out / PRIVATE)
    limit_threads(threads)


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
