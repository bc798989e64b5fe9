"""Ending soon, and with a record, when somebody presses Ctrl-C or a batch system says terminate."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from softseg_bids.app.outcome import Exit

SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A library deep in its arithmetic does not notice the signal; batch systems kill after some seconds.
PATIENCE_S = 3.0
# Whether the run under way was told to end; a process has one run at a time.
_told = threading.Event()


@contextmanager
def interruptible(
    last_words: Callable[[], object],
    patience_s: float = PATIENCE_S,
    leave: Callable[[int], object] = os._exit,
) -> Iterator[None]:
    """Turn the first SIGINT or SIGTERM into KeyboardInterrupt, and see that the block ends soon after.

    Parameters
    ----------
    last_words : callable
        Called, in another thread, if the block has not ended in time; then the process ends.
    patience_s : float
        How long the block may take to end.
    leave : callable
        Ends the process at once, with an exit code.

    Notes
    -----
    Signals reach the main thread only; elsewhere nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    if _told.is_set():  # before the run was under way, where a library may have swallowed it
        raise KeyboardInterrupt
    ended = threading.Event()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not _told.is_set():  # a second Ctrl-C must not cut off the record of the first
            _told.set()
            raise KeyboardInterrupt

    def watch() -> None:
        # The byte arrives at once, also while the main thread is deep in a library.
        while number := os.read(reader, 1):
            if number[0] in SIGNALS and not ended.wait(patience_s):
                try:
                    last_words()
                finally:  # without them the process ends all the same
                    leave(Exit.INTERRUPTED)

    handlers = {number: signal.signal(number, interrupt) for number in SIGNALS}
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(writer)
        watcher.join()
        os.close(reader)
        _told.clear()


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt, as Python does with SIGINT, while no run is under way yet.

    The first process of a container is not ended by a signal for which it has no handler, and looking at
    a large dataset takes longer than a container is given to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        _told.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        _told.clear()


@contextmanager
def heeding() -> Iterator[None]:
    """End the block with KeyboardInterrupt if the run was told to end, whatever else became of it.

    A library may swallow the interruption, or take it for a failure: nipype does so within a node.
    """
    try:
        yield
    finally:
        if _told.is_set():
            raise KeyboardInterrupt
