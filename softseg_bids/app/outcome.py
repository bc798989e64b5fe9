"""Exit codes, and the exception that ends a run with one of them.

Their precedence is that of the checks in `cli`: the first that applies ends the run.
"""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the BIDS execution specification and of sysexits.h."""

    DONE = 0
    SOME_FAILED = 1
    INVALID_INPUT = 16
    UNKNOWN_LEVEL = 17
    NOTHING_SELECTED = 18
    USAGE = 64
    ALL_UNREADABLE = 65
    NO_INPUT = 66
    OUTPUT_UNWRITABLE = 73
    INTERRUPTED = 130


class Stop(Exception):
    """End the run: ``message`` names what is wrong and the remedy, ``code`` is returned."""

    def __init__(self, code: Exit, message: str) -> None:
        super().__init__(message)
        self.code = code
