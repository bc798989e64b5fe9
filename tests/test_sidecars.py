import json
import logging
from pathlib import Path
from typing import Any

import pytest

from softseg_bids.bids.names import parse_name
from softseg_bids.bids.sidecars import Sidecars, gradient_correction, gradient_token, read_json


def put(root: Path, relative: str, **content: Any) -> None:
    path = root / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def test_inheritance_nearest_wins(tmp_path: Path) -> None:
    put(tmp_path, "T2w.json", A="root", B="root", C="root", D="root")
    put(tmp_path, "T1w.json", A="another suffix")
    put(tmp_path, "acq-other_T2w.json", A="another acquisition")
    put(tmp_path, "sub-01/sub-01_T2w.json", B="participant", C="participant", D="participant")
    put(tmp_path, "sub-01/anat/sub-01_T2w.json", C="folder", D="folder")
    put(tmp_path, "sub-01/anat/sub-01_acq-full_T2w.json", D="own")
    name = parse_name(Path("sub-01_acq-full_run-1_T2w.nii.gz"))
    merged = Sidecars(tmp_path).metadata(tmp_path / "sub-01/anat", name)
    assert merged == {"A": "root", "B": "participant", "C": "folder", "D": "own"}


def test_own_sidecar_of_a_name_that_is_no_bids_name(tmp_path: Path) -> None:
    put(tmp_path, "sub-01/dwi/sub-01_dwi_moco_dwi_mean.json", A=1)
    name = parse_name(Path("sub-01_dwi_moco_dwi_mean.nii.gz"))._replace(suffix="dwi")
    assert Sidecars(tmp_path).metadata(tmp_path / "sub-01/dwi", name) == {"A": 1}


def test_nearest_bval_skips_links_without_content(tmp_path: Path) -> None:
    folder = tmp_path / "sub-01/dwi"
    folder.mkdir(parents=True)
    (tmp_path / "dwi.bval").write_text("0 1000")
    (folder / "sub-01_dwi.bval").symlink_to("nowhere")
    name = parse_name(Path("sub-01_dwi.nii.gz"))
    assert Sidecars(tmp_path).nearest(folder, name, ".bval") == tmp_path / "dwi.bval"
    assert Sidecars(tmp_path).nearest(folder, name, ".bvec") is None


@pytest.mark.parametrize("text", ['{"a": 1', "[1, 2]", "\udcff"])
def test_malformed_json_is_a_warning_that_names_it(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "sub-01_T2w.json"
    path.write_text(text, errors="surrogateescape")
    with caplog.at_level(logging.WARNING):
        assert read_json(path) == {}
    assert str(path) in caplog.text


@pytest.mark.parametrize(
    ("metadata", "entities", "kind"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "NORM"]}, {}, "none"),
        ({"ImageType": ["ORIGINAL", "DIS2D"]}, {}, "2D"),
        ({"ImageType": ["ORIGINAL", "DIS3D"], "NonlinearGradientCorrection": False}, {}, "3D"),
        ({"NonlinearGradientCorrection": False}, {}, "none"),
        ({"NonlinearGradientCorrection": True}, {}, "2D"),
        ({"NonlinearGradientCorrection": True, "MRAcquisitionType": "3D"}, {}, "3D"),
        ({}, {"acq": "fullND"}, "none"),
        ({}, {"rec": "DIS2D"}, "2D"),
        ({"ImageType": "DERIVED"}, {"acq": "full"}, "unknown"),
    ],
)
def test_gradient_correction(metadata: dict[str, Any], entities: dict[str, str], kind: str) -> None:
    assert gradient_correction(metadata, entities) == kind


@pytest.mark.parametrize(
    ("label", "token"), [("ND", "ND"), ("axND", "ND"), ("2ND", "ND"), ("GRAND", ""), ("", "")]
)
def test_gradient_token(label: str, token: str) -> None:
    assert gradient_token(label) == token
