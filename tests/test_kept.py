"""Runs of a part of a dataset leave alone what other runs measured."""

from __future__ import annotations

import csv
import json
import multiprocessing
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import MakeDataset

from softseg_bids.app import kept
from softseg_bids.bids import derivatives
from softseg_bids.image.volume import DataError

pytestmark = pytest.mark.usefixtures("sketched")

T1W, T2W = "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz"
DISCS = {3: (0.0, 8.0, 15.0), 4: (0.0, 6.0, 1.0), 5: (0.0, 4.0, -13.0)}
Softseg = Callable[..., int]


def table_of(out: Path, session: str | None = None) -> Path:
    return derivatives.session_table(out, "01", session)


def rows_of(out: Path, session: str | None = None) -> list[dict[str, str]]:
    with table_of(out, session).open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def facts_of(out: Path, session: str | None = None) -> dict[str, Any]:
    path = derivatives.sidecar(table_of(out, session))
    facts: dict[str, Any] = json.loads(path.read_text())["Session"]
    return facts


def contrasts(out: Path) -> list[str]:
    return [row["contrast"] for row in rows_of(out) if row["region"] == "cord"]


class TestSessions:
    """Sessions that were not asked for."""

    @pytest.fixture
    def out(self, bids: MakeDataset, tmp_path: Path) -> Path:
        for label in "AB":
            bids.image(f"sub-01/ses-{label}/anat/sub-01_ses-{label}_T2w.nii.gz")
            defaced = bids.root / f"sub-01/ses-{label}/anat/sub-01_ses-{label}_desc-x_mask.nii.gz"
            defaced.write_bytes(b"no image")
        return tmp_path / "out"

    def test_a_run_of_one_leaves_the_other_as_it_is(
        self, bids: MakeDataset, softseg: Softseg, out: Path
    ) -> None:
        assert softseg(bids.root, out, "participant") == 0
        before = table_of(out, "B").read_bytes(), derivatives.sidecar(table_of(out, "B")).read_bytes()
        assert before[0].count(b"\n") == 3
        assert softseg(bids.root, out, "participant", "--session-label", "A") == 0
        assert before == (
            table_of(out, "B").read_bytes(),
            derivatives.sidecar(table_of(out, "B")).read_bytes(),
        )
        filters = out.parent / "filter.json"
        filters.write_text('{"T2w": {"session": "A"}}')
        assert softseg(bids.root, out, "participant", "--bids-filter-file", filters) == 0
        assert before[0] == table_of(out, "B").read_bytes()
        assert "ses-B" in (out / "sub-01.html").read_text()

    def test_one_job_each(self, bids: MakeDataset, softseg: Softseg, out: Path) -> None:
        for label in "AB":
            assert softseg(bids.root, out, "participant", "--session-label", label) == 0
        assert [len(rows_of(out, label)) for label in "AB"] == [2, 2]
        assert softseg(bids.root, out, "group") == 0


class TestContrasts:
    """Images of a session that were not asked for."""

    @pytest.fixture
    def out(self, bids: MakeDataset, tmp_path: Path) -> Path:
        bids.image(T1W)
        bids.image(T2W)
        bids.discs(T2W, DISCS)
        return tmp_path / "out"

    def test_a_run_of_one_keeps_the_other(
        self, bids: MakeDataset, softseg: Softseg, out: Path, tmp_path: Path
    ) -> None:
        work = tmp_path / "work"
        assert softseg(bids.root, out, "participant", "-w", work) == 0
        before = [row for row in rows_of(out) if row["contrast"] == "T2w" and row["region"] != "common"]
        assert {row["region"] for row in rows_of(out)} > {"cord", "common", "vert-C3"}
        whole = table_of(out).read_bytes()
        assert softseg(bids.root, out, "participant", "-m", "T1w") == 0
        assert contrasts(out) == ["T1w", "T2w"]
        assert [row for row in rows_of(out) if row["contrast"] == "T2w"] == before
        facts = facts_of(out)
        # Positions are those of one run, so the images of two share no stretch.
        assert "common" not in {row["region"] for row in rows_of(out)} and facts["common_mm"] is None
        assert [card["source"] for card in facts["images"]] == [T1W, T2W]
        assert not facts["missing"] and facts["from_other_runs"] == [T2W]
        assert "measured by several runs" in (out / "sub-01.html").read_text()
        # What nipype remembers of the whole session is no longer what lies in OUT.
        assert softseg(bids.root, out, "participant", "-w", work) == 0
        assert table_of(out).read_bytes() == whole

    def test_one_run_each(self, bids: MakeDataset, softseg: Softseg, out: Path) -> None:
        assert softseg(bids.root, out, "participant", "-m", "T1w") == 0
        assert [entry["input"] for entry in facts_of(out)["missing"]] == [T2W]
        assert softseg(bids.root, out, "participant", "-m", "T2w") == 0
        assert contrasts(out) == ["T1w", "T2w"] and not facts_of(out)["missing"]
        assert softseg(bids.root, out, "group") == 0

    def test_only_of_inputs_that_are_still_there(
        self, bids: MakeDataset, softseg: Softseg, out: Path
    ) -> None:
        assert softseg(bids.root, out, "participant") == 0
        (bids.root / T2W).unlink()
        bids.image("sub-01/anat/sub-01_PDw.nii.gz")
        assert softseg(bids.root, out, "participant", "-m", "PDw") == 0
        assert contrasts(out) == ["PDw", "T1w"]

    def test_what_failed_in_another_run_is_still_said(
        self, bids: MakeDataset, softseg: Softseg, out: Path
    ) -> None:
        (bids.root / T2W).write_bytes(b"no image")
        assert softseg(bids.root, out, "participant") == 1
        [failed] = facts_of(out)["missing"]
        assert softseg(bids.root, out, "participant", "-m", "T1w") == 0
        assert facts_of(out)["missing"] == [failed] and failed["status"] == "failed"
        assert softseg(bids.root, out, "participant", "-m", "T2w") == 65
        assert {row["region"] for row in rows_of(out)} == {"cord", "common"}  # all of one run, as before
        assert contrasts(out) == ["T1w"] and [it["input"] for it in facts_of(out)["missing"]] == [T2W]

    @pytest.mark.timeout(600)
    def test_both_at_once_with_a_work_folder_each(
        self, bids: MakeDataset, softseg: Softseg, out: Path, tmp_path: Path
    ) -> None:
        context = multiprocessing.get_context("fork")
        barrier = context.Barrier(2, timeout=300)
        runs = []
        for key in ("T1w", "T2w"):
            arguments = (bids.root, out, "participant", "-m", key, "-w", tmp_path / key)
            runs.append(context.Process(target=_take_part, args=(softseg, arguments, barrier)))
            runs[-1].start()
        for run in runs:
            run.join()
        assert [run.exitcode for run in runs] == [0, 0]
        assert contrasts(out) == ["T1w", "T2w"]


def _take_part(call: Softseg, arguments: Sequence[object], barrier: Any) -> None:
    barrier.wait()
    sys.exit(call(*arguments))


def test_echoes_are_one_image() -> None:
    assert kept.acquisition("a/sub-1_acq-x_echo-12_T2w.nii") == "a/sub-1_acq-x_T2w.nii"


def test_a_table_without_its_json(tmp_path: Path) -> None:
    table = tmp_path / "a_morph.tsv"
    assert kept.read_kept(table, [T1W]) == kept.NOTHING and not kept.is_joined(table)
    table.write_text("source_image\n")
    assert kept.is_joined(table)
    with pytest.raises(DataError, match=r"a_morph\.json.*run the participant level again"):
        kept.read_kept(table, [T1W])
    assert kept.read_kept(table, []) == kept.NOTHING


def test_one_at_a_time_waits_for_the_other(tmp_path: Path) -> None:
    entered = threading.Event()

    def enter() -> None:
        with kept.alone(tmp_path / "anat"):
            entered.set()

    other = threading.Thread(target=enter, daemon=True)
    with kept.alone(tmp_path / "anat"):
        other.start()
        assert not entered.wait(0.3)
    assert entered.wait(60)
    other.join()
    assert not list((tmp_path / "anat").iterdir())
