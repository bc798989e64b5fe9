"""A step that fails, or whose process is killed or interrupted, importable by worker processes."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from softseg_bids.app.interfaces import StepInterface


class Result(NamedTuple):
    said: str


def maybe_die(word: str, after: str, folder: Path) -> Result:
    if word == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "interrupt":
        signal.raise_signal(signal.SIGINT)
    if word == "sleep":
        time.sleep(600)
    if word == "fail":
        raise ValueError(word)
    return Result(word)


class MaybeDie(StepInterface):
    step = staticmethod(maybe_die)
