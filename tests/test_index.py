import os
import shutil
from pathlib import Path

import pytest
from bids_phantoms import add_image, add_images

from softseg_bids.bids.filters import FilterError
from softseg_bids.bids.index import Index
from softseg_bids.image.volume import DataError


def index(root: Path, *participants: str, database: Path | None = None) -> Index:
    everyone = sorted(path.name.removeprefix("sub-") for path in root.glob("sub-*"))
    return Index(root, participants or everyone, everyone, database)


def names(found: Index) -> list[str]:
    return [path.name for path in found.images()]


def test_only_images_of_those_asked_for(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", "T2w", "dwi")
    add_images(tmp_path, "sub-011", "T2w")
    add_image(tmp_path, "sub-01/func/sub-01_bold.nii.gz")
    add_image(tmp_path, "derivatives/x/sub-01/anat/sub-01_T1w.nii.gz")
    add_image(tmp_path, "sourcedata/sub-01/anat/sub-01_T1w.nii.gz")
    assert names(index(tmp_path, "01")) == ["sub-01_T2w.nii.gz", "sub-01_dwi.nii.gz"]
    assert len(names(index(tmp_path))) == 3


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"acquisition": "full"}, ["acq-full_run-1_T2w", "acq-full_run-2_T2w"]),
        ({"acq": "full", "run": 2}, ["acq-full_run-2_T2w"]),
        ({"acquisition": None}, ["T2w"]),
        ({"acq": "*", "run": [1]}, ["acq-full_run-1_T2w"]),
        ({"acq": "f.*l", "run": "1", "regex_search": True}, ["acq-full_run-1_T2w"]),
        ({"run": "Query.ANY"}, ["acq-full_run-1_T2w", "acq-full_run-2_T2w"]),
    ],
)
def test_queries(tmp_path: Path, query: dict[str, object], expected: list[str]) -> None:
    add_images(tmp_path, "sub-01", "T2w", "acq-full_run-1_T2w", "acq-full_run-2_T2w")
    found = sorted(path.name for path in index(tmp_path).matching(query))
    assert found == [f"sub-01_{name}.nii.gz" for name in expected]


def test_query_of_an_unknown_entity(tmp_path: Path) -> None:
    add_images(tmp_path, "sub-01", "T2w")
    with pytest.raises(FilterError, match="aquisition"):
        index(tmp_path).matching({"aquisition": "full"})


@pytest.mark.parametrize("text", ['["x"]', "[" * 100_000])
def test_description_that_is_no_object(tmp_path: Path, text: str) -> None:
    add_images(tmp_path, "sub-01", "T2w")
    (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(DataError, match="dataset_description"):
        index(tmp_path)


def test_kept_index_follows_the_dataset(tmp_path: Path) -> None:
    root, database = tmp_path / "ds", tmp_path / "db"
    add_images(root, "sub-01", "T2w")
    assert names(index(root, database=database)) == ["sub-01_T2w.nii.gz"]
    kept = database / "layout_index.sqlite"
    later = kept.stat().st_mtime + 10
    os.utime(kept, (later, later))
    assert names(index(root, "01", database=database)) == ["sub-01_T2w.nii.gz"]
    assert kept.stat().st_mtime == later  # used as it was
    add_images(root, "sub-01", "T1w")
    add_images(root, "sub-02", "T1w")
    os.utime(kept, (0, 0))
    assert len(names(index(root, database=database))) == 3
    assert names(index(root, "02", database=database)) == ["sub-02_T1w.nii.gz"]


def test_kept_index_of_another_dataset_is_refused(tmp_path: Path) -> None:
    one, other, database = tmp_path / "one", tmp_path / "other", tmp_path / "db"
    add_images(one, "sub-01", "T2w")
    shutil.copytree(one, other)
    index(one, database=database)
    with pytest.raises(DataError, match="was made for"):
        index(other, database=database)


def test_damaged_kept_index(tmp_path: Path) -> None:
    add_images(tmp_path / "ds", "sub-01", "T2w")
    (tmp_path / "db").mkdir()
    (tmp_path / "db/layout_index.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DataError, match="no usable pybids index"):
        index(tmp_path / "ds", database=tmp_path / "db")


def test_index_that_cannot_be_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    add_images(tmp_path / "ds", "sub-01", "T2w")
    (tmp_path / "file").write_text("in the way")
    assert names(index(tmp_path / "ds", database=tmp_path / "file/db")) == ["sub-01_T2w.nii.gz"]
    assert "cannot be kept" in caplog.text
