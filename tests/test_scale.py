"""The simulated dataset of spine-generic's shape, and what `make scale` computes from its measurements."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks are not installed

from bench.memory import Size as ImageSize
from bench.memory import fit, peak_gb, write_image
from bench.scale import Cost, Run, cost_of, section, size_mb, written
from bench.spine_generic import CORD, PARTICIPANTS, SITES, cylinder, labels, write_dataset
from softseg_bids.bids.discover import discover
from softseg_bids.bids.plan import plan

CONTRASTS = ("T1w", "T2w", "T2starw", "MTon", "MToff", "GRET1w", "DWI")


def test_as_large_as_spine_generic() -> None:
    people = labels()
    assert len(people) == len({label for label, _ in people}) == PARTICIPANTS == 267
    sites = Counter(site for _, site in people)
    assert len(sites) == SITES == 42 and set(sites.values()) == {6, 7}


def test_every_image_is_found_with_its_labels(tmp_path: Path) -> None:
    assert write_dataset(tmp_path, 3, 2) == 21
    begin = time.process_time()
    found = discover(tmp_path)
    rows = plan(tmp_path, found.scans, found.left_out)
    assert time.process_time() - begin < 3
    assert len(rows) == 21 and {row["status"] for row in rows} == {"chosen"}
    assert Counter(scan.contrast for scan in found.scans) == dict.fromkeys(CONTRASTS, 3)
    labelled = [scan for scan in found.scans if scan.discs is not None]
    assert [scan.contrast for scan in labelled] == ["T2w"] * 3
    assert {scan.combine for scan in found.scans if scan.contrast == "DWI"} == {"diffusion"}
    assert found.participant_row(found.participants[0])["institution_id"] == "aesite"


def test_discovery_takes_time_in_proportion(tmp_path: Path) -> None:
    took = []
    for count in (10, 40):
        write_dataset(tmp_path / str(count), count, 8)
        begin = time.process_time()
        discover(tmp_path / str(count))
        took.append(time.process_time() - begin)
    assert took[1] < 8 * took[0]  # four times the images
    # All 267 may take 5 s; four times that, as a busy machine's processors are slower, too.
    assert took[1] < 4 * 5 * 40 / 267


def test_the_cord_of_an_image() -> None:
    image = cylinder((1.0, 1.0, 4.0))
    assert image.shape == (24, 24, 10)
    assert image[..., 0].sum() / CORD == pytest.approx(np.pi * 4.5**2, rel=0.03)


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("sketched")
def test_intermediate_files_are_few_and_go(tmp_path: Path, softseg: Callable[..., int]) -> None:
    images = write_dataset(tmp_path / "bids", 1, 1)
    out, work = tmp_path / "out", tmp_path / "work"
    assert softseg(tmp_path / "bids", out, "participant", "-w", work) == 0
    assert 0 < size_mb(work) / images < 20
    assert softseg(tmp_path / "bids", out, "participant") == 0
    assert size_mb(out / ".softseg-work") == 0
    assert len(list((out / "sub-aesite01").rglob("*_probseg.nii.gz"))) == images


class TestSection:
    """What the page says."""

    def test_an_image_costs_what_more_images_cost_more(self) -> None:
        runs = [
            Run(16, 112, Cost(99, 60, 200), 0.2, 0.0, Cost(50, 30, 200)),
            Run(
                267, 1869, Cost(999, 60 + 0.5 * (1869 - 112), 210), 0.3, 0.0, Cost(500, 30 + 0.25 * 1757, 200)
            ),
        ]
        text = "\n".join(section(1869, Cost(4, 3.24, 180), runs, Cost(9, 8, 300), "16 of 16 ended well"))
        assert "| 0.50 s | 1 s |" in text and "| 0.25 s | |" in text and "| 3.2 s, 180 MiB | 5 s |" in text
        assert "| 210 MiB | flat |" in text and "16 of 16" in text

    def test_the_rest_of_the_page_stays(self) -> None:
        page = "# A\n<!-- scale:begin -->\nold\n<!-- scale:end -->\n<!-- x:begin -->\n<!-- x:end -->\n"
        new = written(page, "scale", ["new"])
        assert new == page.replace("\nold\n", "\n\nnew\n\n")
        assert written(new, "scale", ["new"]) == new

    def test_a_page_without_markers(self) -> None:
        with pytest.raises(ValueError, match="scale:begin"):
            written("# A\n", "scale", ["new"])


def test_a_run_that_fails_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exit code 66.*no such folder"):
        cost_of(tmp_path / "none", tmp_path / "out", "participant", "--dry-run")


def test_fit_finds_the_plane() -> None:
    sizes = [(1.0, 1.0), (2.0, 9.0), (16.0, 16.0), (30.0, 10.0)]
    rows = [{"voxels": v, "field": f, "step": 0.4 + 0.05 * v + 0.02 * f} for v, f in sizes]
    assert fit(rows, "step") == pytest.approx((0.4, 0.05, 0.02))


def test_peak_memory_of_a_step(tmp_path: Path) -> None:
    image = tmp_path / "bids" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    peaks = []
    for shape in ((16, 16, 16), (256, 256, 128)):
        write_image(image, ImageSize("x", shape, (1.0, 1.0, 1.0)))
        peaks.append(peak_gb("conform", image, tmp_path))
    # The large one as float32 alone is 0.03 GiB.
    assert 0.03 < peaks[1] - peaks[0] < 0.5
