import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from bids_phantoms import add_image, add_images

from softseg_bids.bids import derivatives
from softseg_bids.bids.columns import COLUMNS, column
from softseg_bids.bids.derivatives import (
    OutputError,
    cell,
    sidecar,
    write_description,
    write_table,
    write_text,
)
from softseg_bids.bids.discover import discover
from softseg_bids.image.volume import read_series, read_volume

VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


def dataset(root: Path) -> None:
    """Every entity and folder that reaches a derivative's name."""
    add_images(
        root, "sub-01", "T1w", "acq-full_T2w", "T2star", "run-1_T2w", "run-2_T2w", "ce-gd_T1w",
        "rec-x_UNIT1", "flip-1_mt-on_MTS", "flip-1_mt-off_MTS", "flip-2_mt-off_MTS", "acq-MToff_MTS",
        "inv-2_part-mag_MP2RAGE", "echo-1_MEGRE", "echo-2_MEGRE", "echo-1_T2starw", "space-other_T2w",
        "acq-y_chunk-1_T2w",
    )  # fmt: skip
    series = add_image(root, "sub-02/ses-A/dwi/sub-02_ses-A_dir-PA_dwi.nii.gz", volumes=2)
    series.with_name("sub-02_ses-A_dir-PA_dwi.bval").write_text("0 1000")
    add_image(root, "sub-02/ses-A/dwi/sub-02_ses-A_rec-average_dir-AP_dwi.nii.gz")
    add_image(root, "sub-02/ses-A/anat/sub-02_ses-A_T2w.nii.gz")


def write_everything(root: Path, out: Path) -> None:
    found = discover(root)
    write_description(out, root, found.name, "1.2.3", {"corrected": root / "fixed"}, {})
    for scan in found.scans:
        image = read_series(scan.paths[0])
        extra = {"Sources": derivatives.sources(scan), "ModelHash": "0123456789ab", "Version": "1.2.3"}
        for product, made in derivatives.PRODUCTS.items():
            path = derivatives.output(out, scan, product)
            if made.extension == ".tsv":
                write_table(path, [{"participant_id": "sub-01", "area_mm2": 71.5, "flags": []}])
            else:
                derivatives.write_mask(path, image.array[..., 0], image.grid, scan.paths[0], product, extra)
        picture = derivatives.figure(out, scan, "Montage")
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(b"")
    for participant, session in found.sessions:
        table = derivatives.session_table(out, participant, session)
        write_table(table, [], columns=["participant_id", "area_mm2"], extra={"Participant": {"age": "30"}})
        write_text(derivatives.subject_page(out, participant), "<html></html>")
        write_text(derivatives.session_figure(out, participant, session, "Curves", ".svg"), "<svg/>")
    for name in ("csa", "csa_wide", "variability", "missing", "qc"):
        write_table(out / f"group_{name}.tsv", [{"participant_id": "sub-01"}])
    for name in ("group.html", "qc_fail.yml", "logs/a/manifest.json", "logs/a/crash.txt", ".work/b.nii.gz"):
        write_text(out / name, "x")


@pytest.mark.skipif(not VALIDATOR.exists(), reason="bids-validator-deno is not installed")
def test_every_product_validates(tmp_path: Path) -> None:
    root = tmp_path / "ds"
    out = root / "derivatives" / "softseg"
    dataset(root)
    write_everything(root, out)
    run = subprocess.run([VALIDATOR, out, "--format", "json"], capture_output=True, text=True, check=False)
    issues = json.loads(run.stdout)["issues"]["issues"]
    errors = [(issue["code"], issue.get("location")) for issue in issues if issue["severity"] == "error"]
    assert errors == []
    assert run.returncode == 0
    warnings = {issue["code"] for issue in issues}
    assert warnings <= {"TOO_FEW_AUTHORS", "SIDECAR_KEY_RECOMMENDED"}


def test_no_two_scans_share_an_output(tmp_path: Path) -> None:
    dataset(tmp_path)
    paths = [
        derivatives.output(tmp_path / "out", scan, product)
        for scan in discover(tmp_path).scans
        for product in derivatives.PRODUCTS
    ]
    assert len(set(paths)) == len(paths)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    root, out = tmp_path / "ds", tmp_path / "softseg"
    dataset(root)
    write_everything(root, out)
    texts = [path for path in out.rglob("*") if path.suffix in (".tsv", ".json", ".html")]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in texts}
    write_everything(root, out)
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in texts} == before


def test_mask_and_sidecar(tmp_path: Path) -> None:
    source = add_image(tmp_path, "sub-01/anat/sub-01_T2w.nii.gz")
    scan = discover(tmp_path).scans[0]
    image = read_volume(source)
    out = tmp_path / "out"
    for product, dtype in (("probseg", np.float32), ("mask", np.uint8), ("levels", np.uint8)):
        path = derivatives.output(out, scan, product)
        extra = {"Sources": derivatives.sources(scan), "Manual": True, "Edited": np.arange(2)}
        extra["Mean"] = np.float32(0.5)
        array = image.array if product == "probseg" else np.full(image.array.shape, 3.0)
        derivatives.write_mask(path, array, image.grid, source, product, extra)
        assert nib.load(path).get_data_dtype() == dtype
        facts = json.loads(sidecar(path).read_text())
        assert facts["Sources"] == ["bids:raw:sub-01/anat/sub-01_T2w.nii.gz"]
        assert facts["SpatialReference"] == facts["Sources"][0]
        assert (facts["Manual"], facts["Edited"], facts["Mean"]) == (True, [0, 1], 0.5)
        assert facts.get("Threshold") == (0.5 if product == "mask" else None)
        assert facts.get("Type") == ("ROI" if product == "mask" else None)
        derivatives.remove(path)
        derivatives.remove(path)
        assert not path.exists()
        assert not sidecar(path).exists()


def test_table_and_its_dictionary(tmp_path: Path) -> None:
    path = tmp_path / "group_csa.tsv"
    rows: list[dict[str, Any]] = [
        {"participant_id": "sub-01", "area_mm2": 71.23456789, "flags": ["gap", "jump"], "edited": True},
        {"participant_id": "sub-02", "area_mm2": float("nan"), "n_slices": np.int64(7), "T2w": -0.0},
    ]
    write_table(path, rows, {"T2w": column("a wide column", "mm^2")}, extra={"Participant": {"age": None}})
    assert path.read_text() == (
        "participant_id\tarea_mm2\tflags\tedited\tn_slices\tT2w\n"
        "sub-01\t71.2346\tgap;jump\ttrue\tn/a\tn/a\n"
        "sub-02\tn/a\tn/a\tn/a\t7\t0\n"
    )
    dictionary = json.loads(sidecar(path).read_text())
    assert dictionary["area_mm2"]["Units"] == "mm^2"
    assert dictionary["T2w"] == {"Description": "a wide column", "Units": "mm^2"}
    assert dictionary["Participant"] == {"age": None}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"), (float("inf"), "n/a"), (np.float32(0.1), "0.1"), (1 / 3, "0.333333"),
        (1e6 / 7, "142857"),
        (np.True_, "true"), (0, "0"), ("a\tb\n", "a b"), ("", "n/a"), ([], "n/a"), ((1, None), "1;n/a"),
        (Path("a/b"), "a/b"),
    ],
)  # fmt: skip
def test_cell(value: object, text: str) -> None:
    assert cell(value) == text


def test_table_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs its columns"):
        write_table(tmp_path / "a.tsv", [])
    with pytest.raises(ValueError, match="without description: colour"):
        write_table(tmp_path / "a.tsv", [{"colour": 1}])


def test_description_says_where_from_and_by_whom(tmp_path: Path) -> None:
    root, out = tmp_path / "ds", tmp_path / "ds/derivatives/softseg"
    root.mkdir()
    apptainer = {"APPTAINER_CONTAINER": "/x/softseg_1.2.3.sif"}
    docker = {"SOFTSEG_CONTAINER_TAG": "x/softseg:1"}
    write_description(out, root, "Study", "1.2.3", environment=apptainer)
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    container = {"Type": "apptainer", "Tag": "softseg_1.2.3.sif"}
    assert description["GeneratedBy"] == [{"Name": "softseg", "Version": "1.2.3", "Container": container}]
    assert description["SourceDatasets"] == [{"URL": root.as_uri()}]
    assert description["DatasetLinks"] == {"raw": "../.."}
    write_description(tmp_path / "out", root, "Study", "1", environment=docker)
    elsewhere = json.loads((tmp_path / "out/dataset_description.json").read_text())
    assert elsewhere["DatasetLinks"] == {"raw": root.as_uri()}
    assert elsewhere["GeneratedBy"][0]["Container"] == {"Type": "docker", "Tag": "x/softseg:1"}
    levels = (out / "seg-vertebrae_dseg.tsv").read_text().splitlines()
    assert [levels[row] for row in (1, 7, 8, 20, 24)] == ["1\tC1", "7\tC7", "8\tT1", "20\tL1", "24\tL5"]
    discs = dict(line.split("\t") for line in (out / "seg-discs_dseg.tsv").read_text().splitlines())
    wanted = {"2": "C1-C2", "3": "C2-C3", "8": "C7-T1", "20": "T12-L1", "25": "L5-S1", "60": "conus"}
    assert {value: discs[value] for value in wanted} == wanted and "1" not in discs


def test_readme_of_the_user_stays(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_description(tmp_path, tmp_path / "ds", "Study", "1", environment={})
    assert (tmp_path / "README.md").read_text() == "mine"


@pytest.mark.parametrize(
    "description",
    [
        '{"Name": "x", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}',
        '{"Name": "raw data", "BIDSVersion": "1.8.0"}',
    ],
)
def test_folder_of_another_tool_is_refused(tmp_path: Path, description: str) -> None:
    (tmp_path / "dataset_description.json").write_text(description)
    with pytest.raises(OutputError, match="another"):
        write_description(tmp_path, tmp_path, "x", "1")


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_description(tmp_path / "file" / "out", tmp_path, "x", "1")


def test_every_column_is_described() -> None:
    assert all(entry["Description"] for entry in COLUMNS.values())
    lengths = [name for name in COLUMNS if name.endswith("_mm")]
    assert {COLUMNS[name]["Units"] for name in lengths} == {"mm"}
    areas = [name for name in COLUMNS if name.endswith("_mm2")]
    assert {COLUMNS[name]["Units"] for name in areas} == {"mm^2"}
