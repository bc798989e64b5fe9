"""The manifest decides the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from softseg_bids.app.manifest import Entry, Manifest, new_run_folder, summary

DONE = Entry("a", status="measured")
BLANK = Entry("b", status="no_cord")
LEFT = Entry("c", status="left out")
FAILED = Entry("d", status="failed")
BROKEN = Entry("e", status="failed", unreadable=True)
STOPPED = Entry("f", status="not run")


@pytest.mark.parametrize(
    ("inputs", "code"),
    [([DONE, BLANK, LEFT], 0), ([DONE, FAILED], 1), ([DONE, STOPPED], 1), ([BROKEN, LEFT], 65),
     ([BROKEN, DONE], 1), ([BROKEN, FAILED], 1), ([LEFT], 0), ([], 0)],
)  # fmt: skip
def test_exit_code(inputs: list[Entry], code: int) -> None:
    assert Manifest([], "1", inputs=inputs).exit_code() == code


def test_a_failed_session_or_page_counts() -> None:
    assert Manifest([], "1", inputs=[DONE], sessions={"sub-01": "no space"}).exit_code() == 1
    assert (
        Manifest([], "1", inputs=[DONE], sessions={"sub-01": "done"}, pages={"sub-01": "x"}).exit_code() == 1
    )
    assert (
        Manifest([], "1", inputs=[DONE], sessions={"sub-01": "done"}, pages={"sub-01": "done"}).exit_code()
        == 0
    )


def test_it_is_written(tmp_path: Path) -> None:
    path = Manifest(["a", "b"], "1", "hash", {"out": tmp_path}, inputs=[FAILED]).write(tmp_path)
    content = json.loads(path.read_text())
    assert content["exit_code"] == 1 and content["inputs"][0]["status"] == "failed"
    assert content["settings"]["out"] == str(tmp_path)


def test_summary() -> None:
    assert summary([DONE, DONE, FAILED, LEFT]) == "2 measured, 1 left out, 1 failed"


def test_runs_side_by_side_have_their_own_folders(tmp_path: Path) -> None:
    assert new_run_folder(tmp_path) != new_run_folder(tmp_path)
