"""What is told while a pass runs."""

from __future__ import annotations

import io

import pytest

from softseg_bids.app.progress import Progress, Unit, duration, failures


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progress(stream: io.StringIO, steps: int = 2) -> Progress:
    return Progress("scans", {name: Unit(f"image {name}", steps) for name in "abc"}, stream)


def test_plain_lines_elsewhere() -> None:
    stream = io.StringIO()
    told = progress(stream)
    for step in ("one", "two"):
        told.event("a", step, "start")
        told.event("a", step, "end")
    told.event("b", "one", "exception")
    assert stream.getvalue() == "scans [1/3] image a: done\nscans [2/3] image b: failed\n"


def test_one_line_on_a_terminal() -> None:
    stream = Terminal()
    told = progress(stream, steps=1)
    told.event("a", "one", "start")
    told.event("a", "one", "end")
    told.event("b", "one", "start")
    told.close()
    last = stream.getvalue().split("\r")[-1]
    assert "1 done, 1 running, 0 failed of 3" in last and "left" in last and last.endswith("\n")
    assert stream.getvalue().count("\n") == 1


def test_a_cached_step_ends_without_a_start() -> None:
    told = progress(io.StringIO(), steps=1)
    told.event("a", "one", "end")
    assert told.in_state("done") == ["a"]


def test_which_steps_are_under_way() -> None:
    told = progress(io.StringIO())
    told.event("a", "one", "start")
    assert told.units["a"].under_way == {"one"}
    told.event("a", "one", "end")
    assert not told.units["a"].under_way and told.in_state("running") == ["a"]


def test_steps_behind_a_failed_one_change_nothing() -> None:
    told = progress(io.StringIO())
    told.event("a", "one", "start")
    told.event("a", "one", "exception")
    told.event("a", "two", "end")
    assert told.units["a"].state == "failed" and told.units["a"].failed_step == "one"
    told.units["a"].reason = "damaged"
    assert failures(told.units.values()) == ["image a: damaged"]


@pytest.mark.parametrize(("seconds", "text"), [(5, "5 s"), (300, "5 min"), (7200, "2.0 h")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text
