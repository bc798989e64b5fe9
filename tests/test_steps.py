"""The steps of a scan, without nipype."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from conftest import CORD, centred_grid, cylinder, write_image

from softseg_bids.app import steps
from softseg_bids.app.identity import code_digest
from softseg_bids.app.steps import conform, digest, same_place, slice_axis, stored_soft
from softseg_bids.image.grid import Grid
from softseg_bids.image.volume import DataError

GRID = centred_grid((20, 20, 24))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    return write_image(tmp_path / "a.nii.gz", CORD * cylinder(GRID, over=2), GRID)


def series(path: Path, volumes: int = 4) -> Path:
    base = CORD * cylinder(GRID, over=2)
    write_image(path, np.stack([base * (n + 1) for n in range(volumes)], -1), GRID)
    return path


class TestConform:
    """One sane 3-D image from whatever there is."""

    def test_a_plain_image_stays_where_it_is(self, image: Path, tmp_path: Path) -> None:
        made = conform([str(image)], [], "single", "", tmp_path)
        assert made.image == str(image) and made.checksum == digest([image])

    def test_split_echoes(self, image: Path, tmp_path: Path) -> None:
        second = write_image(tmp_path / "b.nii.gz", 3 * CORD * cylinder(GRID, over=2), GRID)
        made = conform([str(image), str(second)], [], "echoes", "", tmp_path)
        found = nib.load(made.image).get_fdata()
        np.testing.assert_allclose(found, np.sqrt(5) * nib.load(image).get_fdata(), rtol=1e-5)

    def test_echoes_of_one_file(self, tmp_path: Path) -> None:
        path = series(tmp_path / "e.nii.gz", 2)
        made = conform([str(path)], [], "echoes", "", tmp_path)
        assert nib.load(made.image).get_fdata().max() == pytest.approx(CORD * np.sqrt(2.5))

    def test_volumes_of_no_known_kind_are_not_mixed(self, tmp_path: Path) -> None:
        path = series(tmp_path / "sub-01_T2w.nii.gz", 2)
        with pytest.raises(DataError, match=r"T2w\.nii\.gz: has 2 volumes where one is expected"):
            conform([str(path)], [], "single", "", tmp_path)

    def test_echoes_must_share_a_grid(self, image: Path, tmp_path: Path) -> None:
        moved = Grid(GRID.shape, GRID.affine + np.array([[0, 0, 0, 2.0], *[[0] * 4] * 3]))
        other = write_image(tmp_path / "b.nii.gz", cylinder(GRID, over=2), moved)
        with pytest.raises(DataError, match=r"b\.nii\.gz: lies elsewhere"):
            conform([str(image), str(other)], [], "echoes", "", tmp_path)

    def test_diffusion_takes_the_weighted_volumes(self, tmp_path: Path) -> None:
        path = series(tmp_path / "d.nii.gz")
        bval = tmp_path / "d.bval"
        bval.write_text("0 0 800 800\n")
        made = conform([str(path)], [], "diffusion", str(bval), tmp_path)
        assert nib.load(made.image).get_fdata().max() == pytest.approx(3.5 * CORD)

    @pytest.mark.parametrize(
        ("text", "match"),
        [("0 800", "2 b-values for 4 volumes"), ("0 0 0 50", "above 200"), ("0 0 x 5", "cannot be read")],
    )
    def test_wrong_b_values(self, tmp_path: Path, text: str, match: str) -> None:
        path = series(tmp_path / "d.nii.gz")
        bval = tmp_path / "d.bval"
        bval.write_text(text)
        with pytest.raises(DataError, match=match):
            conform([str(path)], [], "diffusion", str(bval), tmp_path)

    def test_no_b_values(self, tmp_path: Path) -> None:
        path = series(tmp_path / "d.nii.gz")
        with pytest.raises(DataError, match=r"no \.bval"):
            conform([str(path)], [], "diffusion", "", tmp_path)

    def test_the_checksum_follows_the_content(self, image: Path, tmp_path: Path) -> None:
        before = conform([str(image)], [], "single", "", tmp_path).checksum
        write_image(image, 2 * CORD * cylinder(GRID, over=2), GRID)
        assert conform([str(image)], [], "single", "", tmp_path).checksum != before

    def test_what_is_not_there(self, tmp_path: Path) -> None:
        link = tmp_path / "link.nii.gz"
        link.symlink_to(tmp_path / "nowhere")
        with pytest.raises(DataError, match="git annex get"):
            conform([str(link)], [], "single", "", tmp_path)


def test_segment_drops_what_is_no_cord(image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soft = cylinder(GRID, over=2)
    soft[:2, :2, :3] = 1
    monkeypatch.setattr(steps, "run_network", lambda *_: soft)
    made = steps.segment(str(image), "x", "m", "h", "cpu", [], tmp_path)
    found = steps.load_soft(made.soft)
    assert found[:2, :2, :3].max() == 0 and found[10, 10, 10] == 1


def test_a_stored_mask_counts_only_for_the_same_image_and_model(tmp_path: Path) -> None:
    path = write_image(tmp_path / "a_probseg.nii.gz", cylinder(GRID, over=2), GRID)
    assert stored_soft([path], "c", "h") is None
    facts = {"SourceChecksum": "c", "ModelHash": "h", "CodeHash": code_digest(), "MaskSource": "model"}
    sidecar = tmp_path / "a_probseg.json"
    sidecar.write_text(json.dumps(facts))
    assert stored_soft([path], "c", "h") is not None
    assert stored_soft([path], "c", "other") is None
    assert stored_soft([path], "other", "h") is None
    for change in ({"MaskSource": "corrected"}, {"CodeHash": "older"}):
        sidecar.write_text(json.dumps(facts | change))
        assert stored_soft([path], "c", "h") is None


def test_the_slice_axis_is_the_thick_one() -> None:
    assert slice_axis(centred_grid((5, 5, 5), (4, 1, 1))) == 0
    assert slice_axis(centred_grid((5, 5, 5), (1, 1, 5))) == 2
    assert slice_axis(centred_grid((5, 5, 5), (1, 1, 1))) == 2


def test_same_place_forgives_header_rounding() -> None:
    rounded = Grid(GRID.shape, GRID.affine + 1e-4)
    shifted = Grid(GRID.shape, GRID.affine.copy())
    shifted.affine[0, 3] += 0.5
    assert same_place(GRID, rounded) and not same_place(GRID, shifted)
