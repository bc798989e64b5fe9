"""The demo dataset: valid, labelled where the discs are, and true."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import CORD

from softseg_bids.app import demo
from softseg_bids.app.demo_comparison import scores
from softseg_bids.app.demo_people import FILES, PEOPLE
from softseg_bids.image.grid import Grid, canonical
from softseg_bids.image.volume import DataError, read_volume
from softseg_bids.synthesis import contrast, protocol, scan

TWICE = PEOPLE[0]
ONCE = PEOPLE[1]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One person with two sessions."""
    root = tmp_path_factory.mktemp("demo") / "bids"
    demo.write_dataset(root, [TWICE], with_labels=True)
    return root


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file, delimiter="\t"))


def validator_errors(dataset: Path) -> str:
    """What the BIDS validator says; empty where it finds no error."""
    validator = Path(sys.executable).parent / "bids-validator-deno"
    run = subprocess.run([validator, dataset], capture_output=True, text=True, check=False)
    return run.stdout[-3000:] if run.returncode else ""


def test_the_dataset_has_no_errors(dataset: Path) -> None:
    assert validator_errors(dataset) == ""


def test_every_session_has_every_contrast(dataset: Path) -> None:
    for session in ("1", "2"):
        folder = dataset / "sub-01" / f"ses-{session}"
        names = {path.name.split(f"ses-{session}_")[1] for path in folder.glob("*/*.nii.gz")}
        assert names == {f"{file.ending}.nii.gz" for file in FILES.values()}
    facts = json.loads((dataset / "sub-01/ses-1/anat/sub-01_ses-1_flip-1_mt-on_MTS.json").read_text())
    assert facts["MTState"] is True and facts["Manufacturer"] == "Siemens"
    assert rows_of(dataset / "sub-01" / "sub-01_sessions.tsv")[1] == {"session_id": "ses-2", "acq_week": "6"}


def test_the_people_are_as_asked_for() -> None:
    assert len(PEOPLE) == 4
    assert sorted({person.site for person in PEOPLE}) == ["north", "south"]
    assert [len(person.sessions) for person in PEOPLE] == [2, 1, 1, 1]


def test_images_are_small_and_stored_like_real_ones(dataset: Path) -> None:
    for name, codes in (("T2w", "PSR"), ("T2starw", "LAS")):
        image = nib.load(dataset / f"sub-01/ses-1/anat/sub-01_ses-1_{name}.nii.gz")
        assert "".join(nib.aff2axcodes(image.affine)) == codes
        lengths = np.sort(np.array(image.shape) * image.header.get_zooms())
        assert np.abs(lengths - (60, 60, 90)).max() <= 1
        assert image.header["qform_code"] == image.header["sform_code"] == 1


def test_labels_lie_on_the_posterior_tips_of_the_discs(dataset: Path) -> None:
    labels = read_volume(
        dataset / "derivatives/labels/sub-01/ses-2/anat/sub-01_ses-2_T2w_label-discs_dlabel.nii.gz"
    )
    image = next(each for each in demo.scan_person(TWICE) if (each.session, each.contrast) == ("2", "T2w"))
    found = {
        int(labels.array[tuple(index)]): labels.grid.to_world(index) for index in np.argwhere(labels.array)
    }
    assert set(found) >= {2, 3, 4, 5}
    for value, point in found.items():
        assert np.abs(point - image.discs_mm[value]).max() < 0.8


def test_both_sessions_show_the_same_cord_elsewhere(dataset: Path) -> None:
    truth = rows_of(dataset / demo.TRUTH)
    assert len(truth) == 2 * 7 * 2
    levelled = {row["area_mm2"] for row in truth if row["region"] == "vert-C2:C3"}
    assert len(levelled) == 1 and 60 <= float(levelled.pop()) <= 85
    first, second = (read_volume(dataset / f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz") for n in (1, 2))
    assert first.grid.shape == second.grid.shape
    assert not np.allclose(first.grid.affine, second.grid.affine, atol=0.5)
    assert not np.allclose(first.array, second.array)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR", "ILA"])
def test_stored_grids_hold_the_same_places(codes: str) -> None:
    grid = Grid((4, 5, 6), np.array([[1.0, 0, 0, -7], [0, 0.9, 0, 3], [0, 0, 2, 11], [0, 0, 0, 1]]))
    stored = demo.stored_grid(grid, codes)
    assert "".join(nib.aff2axcodes(stored.affine)) == codes
    _, back = canonical(np.zeros(stored.shape), stored)
    assert back.shape == grid.shape
    np.testing.assert_allclose(back.affine, grid.affine)


def test_levels_are_left_to_the_app_unless_labels_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = next(image for image in demo.scan_person(ONCE) if image.contrast == demo.LABELLED)
    monkeypatch.setattr(demo.write_dataset, "__defaults__", ([ONCE], False))
    monkeypatch.setattr(demo, "scan_person", lambda _: [one])
    assert demo.main([str(tmp_path / "bids"), "--labels"]) == 0
    assert len(list((tmp_path / "bids").glob("derivatives/labels/sub-*/anat/*_dlabel.nii.gz"))) == 1
    assert "disc labels" in (tmp_path / "bids" / "README.md").read_text()
    assert demo.main([str(tmp_path / "bids")]) == 0
    assert not list((tmp_path / "bids").rglob("*_dlabel*"))
    assert "disc labels" not in (tmp_path / "bids" / "README.md").read_text()
    assert (tmp_path / "bids" / demo.TRUTH).is_file()
    with pytest.raises(SystemExit):
        demo.main(["--compare", "a", "b", "--labels"])


def test_labels_out_of_view_are_left_out() -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    image = demo.disc_image(
        grid, {2: np.array([1.2, 2, 3]), 3: np.array([1, 1, 9.0]), 4: np.array([-1.0, 0, 0])}
    )
    assert np.argwhere(image).tolist() == [[1, 2, 3]] and image.max() == 2


def test_other_files_are_not_written_among(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="holds other files"):
        demo.check_folder(tmp_path)


def test_an_earlier_demo_is_written_again(dataset: Path, tmp_path: Path) -> None:
    demo.check_folder(dataset)
    demo.check_folder(tmp_path / "new")


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main(["--compare", str(tmp_path), str(tmp_path)]) == 64
    assert "run both levels on it first" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        demo.main([])


def test_a_perfect_mask_is_measured_as_the_truth(
    softseg: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images show the cord alone, so that the stand-in network returns its true fractions."""
    alone = tuple(float(tissue in ("white", "grey")) for tissue in contrast.TISSUES)
    monkeypatch.setattr(contrast, "SEQUENCES", contrast.SEQUENCES)
    for name in list(contrast.SEQUENCES):
        monkeypatch.setitem(contrast.SEQUENCES, name, alone)
    clean = tuple(
        stack._replace(
            sequences=tuple(sequence._replace(noise=0.0) for sequence in stack.sequences),
            distortion_mm=0.0,
            shading=0.0,
        )
        for stack in protocol.NECK
    )
    monkeypatch.setattr(protocol, "NECK", clean)
    monkeypatch.setattr(scan, "TEXTURE", 0.0)
    monkeypatch.setattr(demo, "BRIGHT", CORD)
    bids, out = tmp_path / "bids", tmp_path / "out"
    demo.write_dataset(bids, [ONCE], with_labels=True)
    assert softseg(bids, out, "participant") == 0
    assert softseg(bids, out, "group") == 0
    assert validator_errors(out) == ""
    found = scores(rows_of(bids / demo.TRUTH), rows_of(out / "group_csa.tsv"))
    assert all(score.n == 1 for score in found.values())
    for (name, region), score in found.items():
        assert abs(score.bias) < 0.01 * score.true, (name, region, score)
