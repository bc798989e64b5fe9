"""A few of the faults that `make faults` injects in full: nothing is lost, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import kills, places
from faults.lab import TRACKER, Lab, Outcome
from faults.runs import ROOT, differences, send, watched
from faults.whole import half_written, problem_of
from softseg_bids.app import level_steps, steps

pytestmark = pytest.mark.timeout(1200)
PATIENT_S = 60.0  # a test machine may be busy; `make faults` asks for 5 s


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A dataset, and what an undisturbed run leaves."""
    made = Lab(tmp_path_factory.mktemp("lab") / "lab", seed=1)
    made.prepare()
    return made


def survived(outcome: Outcome) -> None:
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    assert outcome.injected and not outcome.problems, "\n".join(outcome.problems)


def test_an_undisturbed_run_leaves_all_kinds_of_results(lab: Lab) -> None:
    endings = {"".join(Path(name).suffixes) for name in lab.reference}
    assert {".nii.gz", ".json", ".tsv", ".html", ".png", ".svg"} <= endings


def test_killed_runs(lab: Lab) -> None:
    outcome = kills.whole_runs(lab, 2)
    survived(outcome)
    assert outcome.files > 10


@pytest.mark.parametrize(("inject", "rounds"), [(kills.workers, 1), (kills.memory, 2)])
def test_one_process_of_several(lab: Lab, inject: Callable[[Lab, int], Outcome], rounds: int) -> None:
    """A killed one, and one without memory."""
    outcome = inject(lab, rounds)
    if outcome.skipped:
        pytest.skip(outcome.skipped)
    survived(outcome)


@pytest.mark.parametrize("inject", [kills.workers, kills.memory])
def test_what_one_processor_cannot_show_is_told(
    lab: Lab, inject: Callable[[Lab, int], Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(kills, "usable_cpus", lambda: 1)
    monkeypatch.setattr(lab, "say", said.append)
    outcome = inject(lab, 3)
    assert (outcome.injected, outcome.problems) == (0, []) and "one processor" in outcome.skipped
    assert len(said) == 1 and "not injected" in said[0]


def test_interruptions(lab: Lab) -> None:
    survived(kills.interruptions(lab, 2, soon_s=PATIENT_S))


def test_a_full_disk(lab: Lab) -> None:
    survived(places.full_disk(lab, 2))


def test_a_disk_that_becomes_read_only(lab: Lab) -> None:
    survived(places.read_only(lab, 1))


def test_two_runs_at_once(lab: Lab) -> None:
    survived(places.two_runs(lab, 1))


def test_an_image_that_vanishes(lab: Lab) -> None:
    survived(places.vanishing(lab, 2))


def test_a_locale_without_most_letters(lab: Lab) -> None:
    survived(places.locales(lab, 1))


class TestTheInstruments:
    """What would find harm finds it."""

    def test_the_stand_in_stays_in_the_runs(self, lab: Lab) -> None:
        """Tests of the real network may share this process."""
        assert lab.reference
        assert steps.run_network.__module__ == steps.__name__
        assert level_steps.run_levels.__module__ == level_steps.__name__

    def test_half_a_file_is_seen(self, lab: Lab, tmp_path: Path) -> None:
        lab.clear()
        lab.fork().wait()
        for name in lab.reference:
            path = lab.out / name
            if path.suffix in (".gz", ".json", ".tsv", ".html", ".png", ".svg"):
                assert problem_of(path) == ""
                cut = tmp_path / path.name
                cut.write_bytes(path.read_bytes()[:-3])
                assert problem_of(cut), name

    def test_a_file_written_in_place_is_seen(self, tmp_path: Path) -> None:
        with watched(tmp_path) as reports:
            folder = tmp_path / "sub-01"
            folder.mkdir()
            time.sleep(0.3)
            (folder / ".part-1.json").write_text("{")
            (folder / "a.json").write_text("{}")
            (folder / ".part-1.json").rename(folder / "b.json")
            time.sleep(0.3)
        wrong = "\n".join(reports[0].problems)
        assert "a.json: written under its visible name" in wrong and "b.json: Expecting" in wrong
        assert half_written(tmp_path) == [it for it in half_written(tmp_path) if "b.json" in it] != []

    def test_a_lost_result_is_seen(self) -> None:
        assert differences({"a": "1", "b": "2"}, {"b": "3", "c": "4"}) == [
            "a: missing",
            "b: different",
            "c: unexpected",
        ]

    def test_a_process_that_is_gone_gets_no_signal(self) -> None:
        ended = subprocess.Popen(["true"])
        ended.wait()
        assert not send(ended.pid, signal.SIGTERM)
        assert send(os.getpid(), signal.SIGCONT)


def test_nothing_of_it_is_installed() -> None:
    assert 'include = ["softseg_bids*"]' in (ROOT / "pyproject.toml").read_text()


def test_a_trace_is_harm_unless_it_is_that_of_pythons_own_tracker() -> None:
    lines = (
        'File "/usr/lib/python3.11/multiprocessing/resource_tracker.py", line 239, in main',
        "    cache[rtype].remove(name)",
        "KeyError: '/mp-0imhejjz'",
    )
    tracker = "Traceback (most recent call last):\n  " + "\n".join(lines) + "\n"
    ours = tracker.replace("resource_tracker", "steps")
    assert TRACKER.sub("", f"one\n{tracker}{tracker}two\n") == "one\ntwo\n"
    assert TRACKER.sub("", tracker + ours) == ours
