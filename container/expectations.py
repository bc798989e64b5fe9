"""What a check says aloud, and when it fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from container.processes import Failed

Result = TypeVar("Result")


def expect_nothing(where: str, lines: Sequence[str]) -> None:
    """Fail with what is wrong, if anything."""
    if lines:
        raise Failed(f"{where}: {len(lines)} things are wrong:\n  " + "\n  ".join(lines[:20]))


def expect_code(code: int, call: Callable[..., str], *arguments: object) -> None:
    """Fail unless a command ends with this exit code."""
    try:
        output = call(*arguments)
    except Failed as failure:
        if not str(failure).startswith(f"exit code {code}:"):
            raise
    else:
        raise Failed(f"exit code 0 instead of {code}:\n{output[-1000:]}")


@contextmanager
def listening() -> Iterator[int]:
    """A port of this machine that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def timed(what: str, call: Callable[..., Result], *arguments: object) -> Result:
    """Call, and say how long it took."""
    start = time.monotonic()
    result = call(*arguments)
    say(f"{what}: {time.monotonic() - start:.0f} s")
    return result


def say(text: str) -> None:
    """A line of the report, at once."""
    print(f"container-test: {text}", flush=True)
