"""The end of a run, whatever it is, is told once and as it was."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeDataset

from softseg_bids.app import session_steps, under_way
from softseg_bids.app.manifest import Entry, Manifest
from softseg_bids.app.options import settings_of
from softseg_bids.app.progress import Progress, Unit
from softseg_bids.app.under_way import MEASURING, Run, with_sessions

SEGMENTED = [Entry("a", "01", "A"), Entry("b", "01", "A", status="no_cord"), Entry("c", "02")]
LEFT_OUT = Entry("d", "01", "A", status="left out", reason="unknown")
Softseg = Callable[..., int]


def sessions(**changes: Any) -> Progress:
    units = {"one": Unit("sub-01_ses-A", 4, **changes), "two": Unit("sub-02", 4, "done", {MEASURING})}
    return Progress("sessions", units)


class TestSessions:
    """What becomes of images whose session has no table."""

    def test_of_one_that_failed(self) -> None:
        failed = sessions(state="failed", failed_step="label", reason="a fault", crash="crash.txt")
        found = with_sessions([*SEGMENTED, LEFT_OUT], failed)
        assert [entry.status for entry in found] == ["failed", "failed", "measured", "left out"]
        assert found[0].reason == "its session could not be measured: a fault"
        assert (found[0].step, found[0].crash, found[0].unreadable) == ("label", "crash.txt", False)

    def test_of_one_that_was_not_reached(self) -> None:
        found = with_sessions(SEGMENTED, sessions(state="waiting"))
        assert [entry.status for entry in found] == ["not run", "not run", "measured"]
        assert "before its session" in found[0].reason

    def test_of_one_that_only_could_not_be_drawn(self) -> None:
        drawn = sessions(state="failed", failed_step="draw", finished={"label", MEASURING})
        assert with_sessions(SEGMENTED, drawn) == SEGMENTED

    def test_before_sessions_are_measured(self) -> None:
        assert with_sessions(SEGMENTED, Progress("sessions", {})) == SEGMENTED


@pytest.mark.usefixtures("sketched")
def test_a_failed_session_in_the_manifest(
    bids: MakeDataset, softseg: Softseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    bids.image("sub-01/anat/sub-01_T2w.nii.gz")
    monkeypatch.setattr(session_steps, "align", broken)
    assert softseg(bids.root, tmp_path / "out", "participant") == 1
    [manifest] = tmp_path.glob("out/logs/*/manifest.json")
    [entry] = json.loads(manifest.read_text())["inputs"]
    assert (entry["status"], entry["step"]) == ("failed", "label") and "a fault of ours" in entry["reason"]


class TestTelling:
    """The main thread and the watcher of an interruption may both be at it."""

    @pytest.fixture
    def run(self, tmp_path: Path) -> Run:
        run = Run(settings_of(["/bids", str(tmp_path / "out"), "participant"]), Manifest([], "1"))
        run.begin()
        return run

    def test_the_second_waits_for_the_first_and_says_nothing(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        said, reached, go_on = [], threading.Event(), threading.Event()

        def slow(text: str) -> None:
            said.append(text)
            reached.set()
            go_on.wait(30)

        monkeypatch.setattr(under_way, "say", slow)
        threads = [threading.Thread(target=run._end, kwargs={"interrupted": it}) for it in (False, True)]
        threads[0].start()
        assert reached.wait(30)
        threads[1].start()
        go_on.set()
        for thread in threads:
            thread.join()
        assert len(said) == 1 and not run.manifest.interrupted
        assert json.loads((run.logs / "manifest.json").read_text())["exit_code"] == 0

    def test_who_hangs_keeps_nobody(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(under_way, "PATIENCE_S", 0.05)
        with run.telling:
            run._end(interrupted=True)
        assert not run.ended
        run._end()
