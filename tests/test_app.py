"""The app end to end, on cylinders whose area is known."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from conftest import CORD, RADIUS_MM, MakeDataset, centred_grid, cylinder, write_image

from softseg_bids.app import under_way
from softseg_bids.image.grid import Grid, canonical

AREA = np.pi * RADIUS_MM**2
TILT = (0.1, 0.3, 1.0)
DISCS = {3: (0.0, 8.0, 15.0), 4: (0.0, 6.0, 1.0), 5: (0.0, 4.0, -13.0)}
T1W = "sub-01/anat/sub-01_T1w.nii.gz"
T2W = "sub-01/anat/sub-01_T2w.nii.gz"
SESSION = "sub-01/anat/sub-01_label-SC_desc-session_morph.tsv"
Softseg = Callable[..., int]

pytestmark = pytest.mark.usefixtures("sketched")


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def manifest_of(out: Path) -> dict[str, Any]:
    path = max(out.glob("logs/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def areas(out: Path, contrast: str = "T2w") -> np.ndarray[Any, Any]:
    table = rows_of(out / "sub-01" / "anat" / f"sub-01_label-SC_desc-{contrast}Perslice_morph.tsv")
    return np.array([float(row["area_mm2"]) for row in table])


def product(out: Path, what: str) -> Path:
    return out / "sub-01" / "anat" / f"sub-01_label-SC_desc-T2w{what}.nii.gz"


@pytest.mark.usefixtures("drawn")
def test_participant_then_group(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    bids.image("sub-01/anat/sub-01_T1w.nii.gz", axis=TILT)
    bids.image(T2W, axis=TILT)
    bids.image("sub-02/anat/sub-02_T2w.nii.gz")
    bids.discs(T2W, DISCS)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    table = rows_of(out / SESSION)
    regions = {"cord", "common", "vert-C3", "vert-C4", "vert-C2:C3", "disc-C2C3"}
    assert {row["region"] for row in table} == regions
    assert {row["contrast"]: row["levels_source"] for row in table} == {"T1w": "shared", "T2w": "given"}
    by_region = {(row["contrast"], row["region"]): row for row in table}
    for key in (("T1w", "cord"), ("T2w", "common"), ("T1w", "vert-C3")):
        assert float(by_region[key]["area_mm2"]) == pytest.approx(AREA, rel=2e-3)
    levels = nib.load(out / "sub-01/anat/sub-01_seg-vertebrae_desc-T1w_dseg.nii.gz").get_fdata()
    assert set(np.unique(levels)) == {0, 3, 4}
    assert (out / "sub-01.html").stat().st_size > 10_000
    assert softseg(bids.root, out, "group") == 0
    wide = rows_of(out / "group_csa_wide.tsv")
    assert [row["participant_id"] for row in wide] == ["sub-01", "sub-02"]
    assert float(wide[0]["vert-C3_T1w"]) == pytest.approx(AREA, rel=2e-3)
    assert wide[1]["vert-C3_T1w"] == "n/a"
    assert subprocess.run([Path(sys.executable).parent / "bids-validator-deno", out]).returncode == 0


def test_a_second_run_computes_nothing(
    bids: MakeDataset, softseg: Softseg, network: list[object], tmp_path: Path
) -> None:
    bids.image(T2W)
    out, work = tmp_path / "out", tmp_path / "work"
    assert softseg(bids.root, out, "participant", "-w", work) == 0
    [first] = out.glob("logs/*/nipype.log")
    assert softseg(bids.root, out, "participant", "-w", work) == 0
    [second] = set(out.glob("logs/*/nipype.log")) - {first}
    executed = [line for line in second.read_text().splitlines() if "Executing" in line]
    assert len(executed) == 1 and "page" in executed[0]
    assert len(network) == 1


def test_what_was_removed_is_made_again(
    bids: MakeDataset, softseg: Softseg, network: list[object], tmp_path: Path
) -> None:
    bids.image(T2W)
    out, work = tmp_path / "out", tmp_path / "work"
    softseg(bids.root, out, "participant", "-w", work)
    removed = [product(out, "_mask"), out / SESSION, out / "sub-01/figures/sub-01_desc-T2wMontage_qc.png"]
    for path in removed:
        path.unlink()
    assert softseg(bids.root, out, "participant", "-w", work) == 0
    assert all(path.exists() for path in removed)
    assert len(network) == 1


def test_the_network_is_not_asked_again_without_a_work_folder(
    bids: MakeDataset, softseg: Softseg, network: list[object], tmp_path: Path
) -> None:
    bids.image(T2W, axis=TILT)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    before = (out / SESSION).read_bytes()
    assert not (out / ".softseg-work").exists()
    assert softseg(bids.root, out, "participant") == 0
    assert len(network) == 1
    assert (out / SESSION).read_bytes() == before
    bids.image(T2W, axis=(0, 0, 1))
    assert softseg(bids.root, out, "participant") == 0
    assert len(network) == 2


class TestIntermediateFiles:
    """They go after success, but not those of a failed run, nor from a folder that the user named."""

    def test_those_of_a_failed_run_stay(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        bids.image(T2W)
        (bids.root / T1W).write_bytes(b"no image")
        out = tmp_path / "out"
        assert softseg(bids.root, out, "participant") == 1
        assert len(list((out / ".softseg-work").glob("*/scans/sub_01_T2w/save/record.json"))) == 1
        bids.image(T1W)
        assert softseg(bids.root, out, "participant") == 0
        assert not (out / ".softseg-work").exists()

    def test_a_folder_of_the_users_stays(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        bids.image(T2W)
        out, work = tmp_path / "out", tmp_path / "work"
        assert softseg(bids.root, out, "participant", "-w", work) == 0
        [record] = work.glob("*/scans/*/save/record.json")
        written = record.stat().st_mtime_ns
        assert softseg(bids.root, out, "participant", "-w", work) == 0
        assert record.stat().st_mtime_ns == written  # nothing was done again
        assert softseg(bids.root, out, "participant", "-w", work, "--clean-workdir") == 0
        assert work.is_dir() and not list(work.iterdir())

    def test_other_peoples_files_stay(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        bids.image(T2W)
        out = tmp_path / "out"
        (out / ".softseg-work" / "softseg-0.0.1" / "scans").mkdir(parents=True)
        (out / ".softseg-work" / "softseg-0.0.1" / "claims").touch()
        assert softseg(bids.root, out, "participant") == 0
        assert [path.name for path in (out / ".softseg-work").iterdir()] == ["softseg-0.0.1"]

    def test_pages_alone(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
        bids.image(T2W)
        out = tmp_path / "out"
        assert softseg(bids.root, out, "participant") == 0
        assert softseg(bids.root, out, "participant", "--reports-only") == 0
        assert not (out / ".softseg-work").exists()

    def test_ctrl_c_while_they_are_removed(
        self, bids: MakeDataset, softseg: Softseg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The run has ended by then, and its manifest is written."""

        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        bids.image(T2W)
        out = tmp_path / "out"
        monkeypatch.setattr(under_way.shutil, "rmtree", interrupted)
        assert softseg(bids.root, out, "participant") == 0
        assert manifest_of(out)["exit_code"] == 0


class TestCorrections:
    """Masks corrected by hand."""

    @pytest.fixture
    def out(self, bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> Path:
        bids.image(T2W, axis=TILT)
        out = tmp_path / "out"
        assert softseg(bids.root, out, "participant") == 0
        return out

    def correct(self, out: Path, softseg: Softseg, bids: MakeDataset, edited: tuple[int, ...]) -> Path:
        image = nib.load(product(out, "_mask"))
        mask = np.asarray(image.dataobj).copy()
        for k in edited:
            mask[:, :, k] = np.roll(mask[:, :, k], 1, axis=0) | mask[:, :, k]
        path = out.parent / "corrected" / "sub-01" / "anat" / product(out, "_mask").name
        write_image(path, mask, Grid(mask.shape, image.affine))
        assert softseg(bids.root, out, "participant", "-d", f"corrected={path.parents[2]}") == 0
        return path

    def test_saved_unedited_it_changes_nothing(
        self, out: Path, softseg: Softseg, bids: MakeDataset, network: list[object]
    ) -> None:
        before = areas(out)
        self.correct(out, softseg, bids, ())
        np.testing.assert_allclose(areas(out), before, rtol=1e-3)
        assert {row["mask_source"] for row in rows_of(out / SESSION)} == {"corrected"}
        assert len(network) == 1

    def test_only_edited_slices_change(
        self, out: Path, softseg: Softseg, bids: MakeDataset, network: list[object]
    ) -> None:
        before = areas(out)
        model = nib.load(product(out, "_probseg")).get_fdata()
        self.correct(out, softseg, bids, (20, 21, 22))
        changed = np.flatnonzero(np.abs(areas(out) / before - 1) > 1e-3)
        assert set(changed) == {20, 21, 22}
        np.testing.assert_array_equal(nib.load(product(out, "Model_probseg")).get_fdata(), model)
        [cord] = [row for row in rows_of(out / SESSION) if row["region"] == "cord"]
        assert cord["edited"] == "3"
        assert softseg(bids.root, out, "participant") == 0
        np.testing.assert_allclose(areas(out), before, rtol=1e-6)
        assert not product(out, "Model_probseg").exists()
        assert len(network) == 1

    def test_another_grid_is_refused(self, out: Path, softseg: Softseg, bids: MakeDataset) -> None:
        path = out.parent / "corrected" / "sub-01" / "anat" / product(out, "_mask").name
        grid = centred_grid((20, 20, 20))
        write_image(path, np.ones((20, 20, 20), np.uint8) * (cylinder(grid) > 0.5), grid)
        assert softseg(bids.root, out, "participant", "-d", f"corrected={path.parents[2]}") == 1
        [entry] = manifest_of(out)["inputs"]
        assert entry["step"] == "trace" and str(path) in entry["reason"]


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.5, 0.5, 5.0), (2.5, 0.8, 0.8)])
def test_a_perfect_soft_mask_as_correction(
    bids: MakeDataset, softseg: Softseg, tmp_path: Path, spacing: tuple[float, float, float]
) -> None:
    shape = tuple(round(size / mm) for size, mm in zip((36, 36, 60), spacing, strict=True))
    grid = centred_grid(shape, spacing)  # type: ignore[arg-type]
    bids.image(T2W, grid, axis=TILT)
    soft = cylinder(grid, axis=TILT, over=8)
    path = tmp_path / "corrected" / "sub-01" / "anat" / "sub-01_T2w_label-SC_probseg.nii.gz"
    write_image(path, soft, grid)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant", "-d", f"corrected={tmp_path / 'corrected'}") == 0
    [cord] = [row for row in rows_of(out / SESSION) if row["region"] == "cord"]
    tolerance = 3e-3 if max(spacing[:2]) >= 2.5 else 1e-3
    assert float(cord["area_mm2"]) == pytest.approx(AREA, rel=tolerance)


def test_a_failed_scan_costs_nobody_else_anything(
    bids: MakeDataset, softseg: Softseg, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = bids.image(T2W)
    bad = good.with_name("sub-01_T1w.nii.gz")
    bad.write_bytes(good.read_bytes()[:2000])
    bids.image("sub-02/anat/sub-02_T2w.nii.gz")
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 1
    by_input = {entry["input"]: entry for entry in manifest_of(out)["inputs"]}
    assert {name: entry["status"] for name, entry in by_input.items()} == {
        "sub-01/anat/sub-01_T1w.nii.gz": "failed", T2W: "measured",
        "sub-02/anat/sub-02_T2w.nii.gz": "measured",
    }  # fmt: skip
    said = capsys.readouterr().err
    assert str(bad) in said and "copy it again" in said and "Traceback" not in said
    assert not list(out.glob("logs/*/crash*"))
    assert softseg(bids.root, out, "group") == 0
    ledger = rows_of(out / "group_missing.tsv")
    assert ("sub-01/anat/sub-01_T1w.nii.gz", "failed") in {(row["input"], row["status"]) for row in ledger}


def test_a_scan_that_no_longer_works_leaves_no_old_result(
    bids: MakeDataset, softseg: Softseg, tmp_path: Path
) -> None:
    good = bids.image(T2W)
    bids.image("sub-01/anat/sub-01_T1w.nii.gz")
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    good.write_bytes(b"no image")
    assert softseg(bids.root, out, "participant") == 1
    assert {row["contrast"] for row in rows_of(out / SESSION)} == {"T1w"}


def test_an_unexpected_error_points_to_its_crash_file(
    bids: MakeDataset,
    softseg: Softseg,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from softseg_bids.app import steps

    def broken(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    bids.image(T2W)
    monkeypatch.setattr(steps, "run_network", broken)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 1
    [entry] = manifest_of(out)["inputs"]
    assert entry["step"] == "segment" and "a fault of ours" in Path(entry["crash"]).read_text()
    assert entry["crash"] in capsys.readouterr().err


def test_nothing_readable(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    path = bids.root / T2W
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no image")
    assert softseg(bids.root, tmp_path / "out", "participant") == 65


@pytest.mark.usefixtures("drawn")
def test_no_cord_is_no_failure(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    bids.empty("sub-01/anat/sub-01_T1w.nii.gz")
    bids.image(T2W)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    [row] = [row for row in rows_of(out / SESSION) if row["contrast"] == "T1w"]
    assert (row["status"], row["flags"], row["area_mm2"]) == ("no_cord", "no_cord", "n/a")
    assert not (out / "sub-01/anat/sub-01_label-SC_desc-T1w_mask.nii.gz").exists()
    assert (out / "sub-01/figures/sub-01_desc-T1wOverview_qc.png").exists()
    assert softseg(bids.root, out, "group") == 0
    assert "no_cord" in {row["status"] for row in rows_of(out / "group_missing.tsv")}


def test_a_cord_that_is_gone_leaves_no_mask(bids: MakeDataset, softseg: Softseg, tmp_path: Path) -> None:
    bids.image(T2W)
    out = tmp_path / "out"
    softseg(bids.root, out, "participant")
    bids.empty(T2W)
    assert softseg(bids.root, out, "participant") == 0
    assert not product(out, "_mask").exists() and not product(out, "_probseg").exists()
    assert not product(out, "Perslice_morph").with_suffix("").with_suffix(".tsv").exists()


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("order", ["LAS", "PIR", "LPI"])
def test_storage_does_not_matter(bids: MakeDataset, softseg: Softseg, tmp_path: Path, order: str) -> None:
    grid = centred_grid()
    image = nib.Nifti1Image(CORD * cylinder(grid, axis=TILT), grid.affine)
    change = nib.orientations.ornt_transform(
        nib.io_orientation(grid.affine), nib.orientations.axcodes2ornt(order)
    )
    stored = image.as_reoriented(change)
    stored.set_sform(stored.affine, 2)
    path = bids.root / T2W
    path.parent.mkdir(parents=True)
    nib.save(stored, path)
    out = tmp_path / "out"
    assert softseg(bids.root, out, "participant") == 0
    mask = nib.load(product(out, "_probseg"))
    assert nib.aff2axcodes(mask.affine) == tuple(order) and int(mask.header["sform_code"]) == 2
    turned, _ = canonical(np.asarray(mask.dataobj), Grid(mask.shape, mask.affine))
    np.testing.assert_allclose(turned, cylinder(grid, axis=TILT), atol=0.06)
    [cord] = [row for row in rows_of(out / SESSION) if row["region"] == "cord"]
    assert float(cord["area_mm2"]) == pytest.approx(AREA, rel=2e-3)


def test_two_processes(bids: MakeDataset, blind_checkpoint: Path, tmp_path: Path) -> None:
    from softseg_bids.app.cli import main

    bids.image(T2W)
    bids.image("sub-02/anat/sub-02_T2w.nii.gz")
    write_image(
        tmp_path / "corrected" / "sub-01_T2w_label-SC_seg.nii.gz",
        np.uint8(cylinder(centred_grid()) > 0.5),
        centred_grid(),
    )
    out = tmp_path / "out"
    options = [
        "--nprocs",
        "2",
        "--device",
        "cpu",
        "--model",
        str(blind_checkpoint),
        "-d",
        f"corrected={tmp_path / 'corrected'}",
    ]
    assert main([str(bids.root), str(out), "participant", *options]) == 0
    statuses = {entry["input"]: entry["status"] for entry in manifest_of(out)["inputs"]}
    assert statuses == {T2W: "measured", "sub-02/anat/sub-02_T2w.nii.gz": "no_cord"}


def test_the_models_own_doubt_stands_beside_every_area(
    bids: MakeDataset, softseg: Softseg, checkpoint: Path, tmp_path: Path
) -> None:
    bids.image(T2W, axis=TILT)
    facts = checkpoint.with_suffix(".json")
    facts.write_text('{"AreaUncertainty": [0.1, 0, 0]}')
    assert softseg(bids.root, tmp_path / "out", "participant") == 0
    table = rows_of(tmp_path / "out/sub-01/anat/sub-01_label-SC_desc-T2wPerslice_morph.tsv")
    inner = [row for row in table if row["area_mm2"] != "n/a"]
    for row in inner:
        assert float(row["area_sd_mm2"]) == pytest.approx(0.1 * float(row["area_mm2"]), rel=1e-4)
    facts.write_text('{"AreaUncertainty": "small"}')
    assert softseg(bids.root, tmp_path / "out2", "participant") == 64
    facts.write_text("{}")
    assert softseg(bids.root, tmp_path / "out3", "participant") == 0
    table = rows_of(tmp_path / "out3/sub-01/anat/sub-01_label-SC_desc-T2wPerslice_morph.tsv")
    assert {row["area_sd_mm2"] for row in table} == {"n/a"}
