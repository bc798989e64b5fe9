"""Commands that end when this ends: each is a process group of its own, ended by its id."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

PATIENCE_S = 10
TAIL = 3000  # characters of a failed command's output that are shown
_end: ContextVar[float] = ContextVar("end", default=float("inf"))  # by the monotonic clock


class Failed(Exception):
    """A command failed, or what it made is not what it must be."""


class Late(Failed):
    """A command took longer than it may."""


class Unavailable(Exception):
    """Something that a check needs of the world outside cannot be had."""


def run(
    command: Sequence[object],
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_s: float = 3600,
) -> str:
    """Run a command to its end.

    Parameters
    ----------
    command : sequence
        The program and its arguments.
    environment : mapping of str to str, optional
        Variables to set beside those of this process.
    folder : Path, optional
        Where it runs.
    timeout_s : float
        How long it may take, seconds; less where :func:`within` leaves less.

    Returns
    -------
    str
        What it wrote to standard output and standard error.

    Raises
    ------
    Failed
        If it ends with another code than 0, with the end of its output.
    Late
        If it takes too long.
    """
    words = [str(word) for word in command]
    timeout_s = max(0.0, min(timeout_s, _end.get() - time.monotonic()))
    process = subprocess.Popen(
        words,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise Late(f"took more than {timeout_s:.0f} s: {shlex.join(words)}") from error
    finally:
        end(process)
    if process.returncode:
        raise Failed(f"exit code {process.returncode}: {shlex.join(words)}\n{output[-TAIL:]}")
    return output


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """All commands begun inside take no longer than this together."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def end(process: subprocess.Popen[str]) -> None:
    """End a process and all of its group that are left, gently first; nothing if it has ended."""
    if process.poll() is not None:
        return
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(PATIENCE_S)
            return
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return


def unmount_below(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Unmount everything that is mounted inside a folder, the innermost first."""
    points = [Path(line.split()[1]) for line in mounts.read_text().splitlines()]
    for point in sorted((point for point in points if folder in point.parents), reverse=True):
        run(["umount", point])
