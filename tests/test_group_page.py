"""The group's page as a file: what it embeds, how it is told, and what it says is missing."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.group_out import make_out
from softseg_bids.app import group_page, group_page_profiles
from softseg_bids.app.cli import main
from softseg_bids.app.group_page import write_group_page
from softseg_bids.app.group_page_profiles import profiles, resample
from softseg_bids.bids import derivatives
from softseg_bids.image.volume import DataError
from softseg_bids.pages.group import GroupPage
from softseg_bids.pages.group import group_page as render
from softseg_bids.pages.group_data import embedded, packed, packed_rows
from softseg_bids.pages.group_tables import ELSEWHERE, FLAGS, KNOWN
from softseg_bids.pages.html import script_hash

EVIL = "</script><script>window.hacked=1</script><!--&\u2028"


def content(page: Path) -> dict[str, Any]:
    """What the page carries, read as a browser does: up to the next end tag."""
    text = page.read_text(encoding="utf-8").split('<script type="application/json" id="data">')[1]
    found: dict[str, Any] = json.loads(text.split("</script>")[0])
    return found


def column(packed_column: dict[str, Any]) -> list[Any]:
    if "n" in packed_column:
        return list(packed_column["n"])
    return [None if place < 0 else packed_column["s"][place] for place in packed_column["i"]]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people of two sites, one failed image and one without cord, after the group level."""
    out = tmp_path_factory.mktemp("study") / "out"
    make_out(out, 4, contrasts=("T1w", "T2w", "MTon"), sites=2, name=EVIL)
    assert main(["/nowhere", str(out), "group"]) == 0
    return out


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "moved"))


class TestPacking:
    def test_nothing_ends_the_script_element(self) -> None:
        text = embedded({EVIL: [EVIL, 1.5, None]})
        assert not re.search("[<>&\u2028\u2029]", text)
        assert json.loads(text) == {EVIL: [EVIL, 1.5, None]}

    def test_what_json_cannot_say(self) -> None:
        with pytest.raises(ValueError, match="JSON"):
            embedded([float("nan")])

    @pytest.mark.parametrize(
        ("name", "cells", "found"),
        [
            ("area_mm2", ["70.5", None, "-1e-05", "n/a"], {"n": [70.5, None, -1e-05, None]}),
            ("n_slices", ["3", "12"], {"n": [3, 12]}),
            ("run", ["1", "2"], {"s": ["1", "2"], "i": [0, 1]}),
            ("visit", ["01", "2"], {"s": ["01", "2"], "i": [0, 1]}),
            ("sex", ["F", "M", "F", None], {"s": ["F", "M"], "i": [0, 1, 0, -1]}),
            ("notes", [None, "n/a"], {"s": [], "i": [-1, -1]}),
        ],
    )
    def test_numbers_are_numbers_and_labels_stay(self, name: str, cells: list[Any], found: Any) -> None:
        assert packed(name, cells) == found

    def test_rows_without_a_column(self) -> None:
        assert packed_rows([{"a": "1"}, {}], ["a"]) == {"a": {"n": [1, None]}}


def test_the_page_needs_nothing_from_elsewhere(study: Path) -> None:
    text = (study / "group.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", text)
    assert not re.search(r"@import|url\(", text)
    assert text.count("<script") == 2
    script = text.split("<script>")[1].split("</script>")[0]
    assert f"script-src '{script_hash(script)}'" in text
    assert "default-src 'none'" in text


def test_names_are_text(study: Path) -> None:
    text = (study / "group.html").read_text(encoding="utf-8")
    assert "<script>window.hacked" not in text and "&lt;script&gt;window.hacked" in text
    assert content(study / "group.html")["dataset"] == EVIL


def test_areas_are_those_of_the_tables(study: Path) -> None:
    page = content(study / "group.html")
    areas = {name: column(packed_column) for name, packed_column in page["areas"].items()}
    header, *lines = [line.split("\t") for line in (study / "group_csa_wide.tsv").read_text().splitlines()]
    cells = {
        (line[0], name): float(value)
        for line in lines
        for name, value in zip(header, line, strict=True)
        if re.search(r"_(T1w|T2w|MTon)$", name) and value != "n/a"
    }
    images = {name: column(packed_column) for name, packed_column in page["images"].items()}
    people = column(page["sessions"]["participant_id"])
    shown = {
        (people[images["session"][image]], f"{region}_{images['contrast'][image]}"): area
        for image, region, area, used in zip(
            *(areas[name] for name in ("image", "region", "area_mm2", "used")), strict=True
        )
        if used
    }
    assert shown == pytest.approx(cells)
    assert sum(areas["used"]) == len(cells) > 50


def test_what_went_wrong_is_on_the_page(study: Path) -> None:
    images = {name: column(each) for name, each in content(study / "group.html")["images"].items()}
    status = dict(zip(images["source"], images["status"], strict=True))
    assert status["sub-002/anat/sub-002_T1w.nii.gz"] == "failed"
    assert status["sub-003/anat/sub-003_MTon.nii.gz"] == "no_cord"
    lost = images["source"].index("sub-002/anat/sub-002_T1w.nii.gz")
    assert images["reason"][lost] == "the file is damaged" and images["shown"][lost] is None
    none = images["source"].index("sub-003/anat/sub-003_MTon.nii.gz")
    assert images["shown"][none] == "O"
    for figure, shown in zip(images["figure"], images["shown"], strict=True):
        for letter in shown or "":
            assert (study / f"{figure}{group_page.FIGURES[letter]}_qc.png").is_file()


def test_tables_that_are_not_there_have_a_reason(copy: Path) -> None:
    derivatives.remove(copy / "group_agreement.tsv")
    page = content(write_group_page(copy))
    absent = {file: why for file, _, why in page["absent"]}
    assert "run it again" in absent["group_agreement.tsv"]
    assert absent["group_change.tsv"] == "no person came twice"
    assert "--combat" in absent["group_harmonisation.tsv"]
    assert "agreement" not in {table["name"] for table in page["tables"]}


def test_a_table_nobody_told_of_is_shown(copy: Path) -> None:
    (copy / "group_mood_swings.tsv").write_text("who\tmood\nsub-001\t3\nsub-002\tn/a\n")
    [found] = [table for table in content(write_group_page(copy))["tables"] if table["name"] == "mood_swings"]
    assert found["title"] == "Mood swings" and found["data"]["mood"] == {"n": [3, None]}


def test_a_long_table_is_cut_and_says_so(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_page, "MOST_ROWS", 2)
    [found] = [table for table in content(write_group_page(copy))["tables"] if table["name"] == "variability"]
    assert found["rows"] > 2 and len(column(found["data"]["region"])) == 2


def test_ratings_outlive_new_participants_and_a_new_place(study: Path, copy: Path) -> None:
    before = content(study / "group.html")["identity"]
    wide = copy / "group_csa_wide.tsv"
    wide.write_text("\n".join(wide.read_text().splitlines()[:-1]) + "\n")
    after = content(write_group_page(copy))
    assert after["identity"] == before and len(column(after["sessions"]["page"])) == 3
    description = json.loads((copy / "dataset_description.json").read_text())
    (copy / "dataset_description.json").write_text(json.dumps(description | {"Name": "another"}))
    assert content(write_group_page(copy))["identity"] != before


def test_without_the_group_level(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"group_csa_wide.tsv.*run the group level"):
        write_group_page(tmp_path)


def test_the_page_alone_is_written_from_the_tables(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page, table = copy / "group.html", copy / "group_csa.tsv"
    before, written = page.read_bytes(), table.stat().st_mtime_ns
    page.unlink()
    assert main(["/nowhere", str(copy), "group", "--reports-only"]) == 0
    assert page.read_bytes() == before and table.stat().st_mtime_ns == written
    table.unlink()
    assert main(["/nowhere", str(copy), "group", "--reports-only"]) == 66
    assert "run the group level without --reports-only" in capsys.readouterr().err


def test_methods_lie_beside(study: Path) -> None:
    page = content(study / "group.html")
    assert (study / "logs" / "CITATION.md").read_text(encoding="utf-8") == page["methods"]
    assert (study / "logs" / "CITATION.bib").read_text(encoding="utf-8") == page["bibliography"]
    assert "4 participants of 2 sites" in page["methods"] and "0123456789ab" in page["methods"]
    assert "the discs were labelled beforehand" in page["methods"]


def test_equal_tables_give_equal_pages(study: Path) -> None:
    before = (study / "group.html").read_bytes()
    assert write_group_page(study).read_bytes() == before


def test_an_empty_study(tmp_path: Path) -> None:
    nothing = {"s": [], "i": []}
    page = GroupPage(
        "none", "x", "1", "h", {"participant_id": nothing, "session_id": nothing, "page": {"n": []}},
        {"session": {"n": []}}, {"image": {"n": []}}, {"image": [], "why": "no image"},
    )  # fmt: skip
    assert content(render(page, tmp_path / "group.html"))["images"] == {"session": {"n": []}}


class TestProfiles:
    def test_a_straight_profile_stays_straight(self) -> None:
        level = np.array([2.04, 2.37, 2.7, 3.03])
        start, values = resample(level, 70.0 + 5.0 * level, 0.1)
        assert start == 11  # level 2.1
        assert values == [round(10 * (70 + 5 * (2.1 + 0.1 * n))) for n in range(10)]

    def test_what_people_excluded_is_not_drawn(self, copy: Path) -> None:
        def drawn() -> dict[str, list[Any]]:
            page = content(copy / "group.html")
            sources = column(page["images"]["source"])
            found = page["profiles"]
            return dict(zip([sources[n] for n in found["image"]], found["values"], strict=True))

        before = drawn()
        images, levels, labels = (name for name in before if "sub-001" in name)
        listed = copy / "exclude.tsv"
        listed.write_text(f"file\tlevels\n{images}\t\n{levels}\tC4\n")
        assert main(["/nowhere", str(copy), "group", "--exclude", str(listed)]) == 0
        listed.unlink()
        after = drawn()
        assert images not in after and after[labels] == before[labels]
        assert None not in before[levels] and after[levels].count(None) >= 5
        page = (copy / "group.html").read_bytes()
        assert main(["/nowhere", str(copy), "group", "--reports-only"]) == 0
        assert (copy / "group.html").read_bytes() == page
        listed = copy / "qc_fail.yml"
        listed.write_text(f"FILES_LABEL:\n- {Path(labels).name}\n")
        assert main(["/nowhere", str(copy), "group", "--exclude", str(listed)]) == 0
        after = drawn()
        assert labels not in after and after[levels] == before[levels]

    def test_nothing_is_drawn_over_a_hole(self) -> None:
        level = np.array([2.0, 2.1, 3.0, 3.1])
        _, values = resample(level, np.full(4, 70.0), 0.1)
        assert values[:2] == [700, 700] and values[-1] == 700
        assert values[2:9] == [None] * 7

    def test_slices_of_no_mean_and_without_level_are_left_out(self, tmp_path: Path) -> None:
        rows = ["level\tarea_mm2\tflags", "2\t70\tn/a", "2.1\t10\tvoid", "2.2\t70\tjump", "n/a\t10\tn/a"]
        (tmp_path / "a.tsv").write_text("\n".join(rows) + "\n")
        found = profiles({5: tmp_path / "a.tsv"})
        assert (found["image"], found["start"], found["values"]) == ([5], [10], [[700, 700, 700]])

    def test_without_levels_it_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "a.tsv").write_text("level\tarea_mm2\tflags\nn/a\t70\tn/a\n")
        assert "disc labels" in profiles({0: tmp_path / "a.tsv", 1: tmp_path / "none.tsv"})["why"]

    def test_many_images_are_drawn_coarser_and_too_many_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "a.tsv").write_text("level\tarea_mm2\tflags\n2\t70\tn/a\n2.5\t71\tn/a\n")
        tables = dict.fromkeys(range(3), tmp_path / "a.tsv")
        monkeypatch.setattr(group_page_profiles, "MOST_POINTS", 8)
        assert profiles(tables)["step"] == 0.2
        monkeypatch.setattr(group_page_profiles, "MOST_IMAGES", 2)
        assert "too many" in profiles(tables)["why"]


def test_every_flag_and_table_is_told_once() -> None:
    names = [each.name for each in KNOWN]
    assert len(set(names)) == len(names) and not ELSEWHERE & set(names)
    assert all(1 <= flag.severity <= 3 and flag.meaning for flag in FLAGS.values())
