"""A few of the spoiled datasets of `make faults`: a right result or a clear sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults import fuzz, runs
from faults.lab import Lab, Outcome

pytestmark = pytest.mark.timeout(1200)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("lab") / "lab", seed=7)


def survived(outcome: Outcome, injected: int) -> None:
    assert (outcome.injected, outcome.problems) == (injected, []), "\n".join(outcome.problems)


def test_spoiled_participants(lab: Lab) -> None:
    survived(fuzz.datasets(lab, 24), 24)


def test_spoiled_tables(lab: Lab) -> None:
    survived(fuzz.tables(lab, 10), 10)


def test_spoiled_lone_images(lab: Lab) -> None:
    survived(fuzz.lone_images(lab, 6), 6)


@pytest.mark.parametrize("what", ["Path('a').touch()", "Path.home().joinpath('a').touch()", "mkdtemp()"])
def test_what_is_left_in_the_places_of_a_run_is_seen(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def careless(argv: list[str]) -> int:
        exec(f"from pathlib import Path; from tempfile import mkdtemp; {what}")
        return 0

    monkeypatch.setattr(runs, "main", careless)
    run = fuzz._run(lab, [])
    assert run.wait() == 0, run.said()
    [left] = fuzz._left(lab)
    assert str(lab.folder / "elsewhere") in left
    assert not fuzz._left(lab)


def test_writes_elsewhere_are_seen(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    before = fuzz._everything(tmp_path, out)
    (out / "a").write_text("a result")
    (tmp_path / "said-1.txt").write_text("what a run said")
    assert fuzz._everything(tmp_path, out) == before
    (tmp_path / "elsewhere").write_text("x")
    assert fuzz._everything(tmp_path, out) != before
