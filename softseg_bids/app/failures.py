"""Why a step failed, in words for the user: from the note it left, else from its traceback."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

Kind = Literal["data", "memory", "output", "killed", "unexpected"]

KILLED = (
    "its worker process was killed, most often because memory ran out; give the run more memory, "
    "or fewer processes with --nprocs"
)
STARVED = "memory ran out; give the run more memory, fewer processes with --nprocs, or a smaller image"
LOST = (
    "its batch job ended without a result, most often because its memory or time ran out; ask for more in "
    "the plugin file, and see the job's own log"
)
# What nipype says when a batch job has gone and left nothing behind.
_NO_RESULT = "results file does not exist after"
# Input is checked when it is read, so these tell of OUT or of the work folder.
_UNWRITABLE = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
    errno.ENOTCONN,
})  # fmt: skip
_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SYSTEM_ERROR = re.compile(r"\[Errno (\d+)\] [^\n:]*(?:: '([^'\n]*)')?")
_OUT_OF_MEMORY = re.compile(
    r"MemoryError|OutOfMemory|out of memory|allocate memory|not enough memory|failed to map segment"
    r"|Unable to allocate|\[Errno 12\]|Resource temporarily unavailable|can't start new thread",
    re.IGNORECASE,
)


class Failure(NamedTuple):
    """Why a unit has no result.

    Attributes
    ----------
    reason : str
        A sentence that names the file and the remedy.
    kind : str
        ``data`` (the user's input), ``memory``, ``output`` (OUT or the work folder), ``killed``, or
        ``unexpected`` (ours).
    """

    reason: str
    kind: Kind


def explain(note: Mapping[str, Any] | None, trace: str, step: str) -> Failure:
    """What went wrong in a step.

    Parameters
    ----------
    note : mapping or None
        What the step itself could write down: ``message kind for_user``.
    trace : str
        The traceback, or empty.
    step : str
        Its name.
    """
    if note is not None and note["for_user"]:
        return Failure(note["message"], "data")
    if _NO_RESULT in trace:
        return Failure(LOST, "killed")
    said = f"{note['kind']}: {note['message']}" if note is not None else ""
    told = said or trace
    if unwritten := unwritable(told):
        return Failure(unwritten, "output")
    if _OUT_OF_MEMORY.search(told):
        return Failure(STARVED, "memory")
    last = trace.strip().rsplit("\n", 1)[-1].strip()
    return Failure(said or last or f"its step {step} could not be run", "unexpected")


def unwritable(said: str) -> str:
    """The sentence about a place that cannot be written, if an error message tells of one."""
    for number, place in _SYSTEM_ERROR.findall(said):
        if int(number) in _UNWRITABLE:
            return _unwritable(int(number), place)
    return ""


def unwritable_error(error: OSError) -> str:
    """The same from the error itself."""
    return _unwritable(error.errno or errno.EIO, str(error.filename or ""))


def _unwritable(number: int, place: str) -> str:
    remedy = "make room" if number in _SPACE else "make it writable, or choose another folder"
    where = place or "the output or the work folder"
    return f"{where}: cannot be written ({os.strerror(number)}); {remedy}, then run the same command again"
