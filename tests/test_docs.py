"""The documentation site says what the program does, and fetches nothing from elsewhere."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from softseg_bids.app.options import Parser, parser, single_parser
from softseg_bids.app.outcome import Exit
from softseg_bids.bids.columns import COLUMNS
from softseg_bids.bids.products import PRODUCTS
from softseg_bids.core import quality
from softseg_bids.lab.cli import parser as train_parser
from softseg_bids.study.doors import compare_parser, drift_parser, evaluate_parser
from softseg_bids.study.tables import COLUMNS as STUDY_TABLES
from softseg_bids.study.tables import DESCRIBED
from softseg_bids.truth.cli import parser as truth_parser

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [path for path in sorted(DOCS.glob("*.md")) if path.name != "architecture.md"]


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def options() -> set[str]:
    parsers = (
        parser, single_parser, compare_parser, drift_parser, evaluate_parser, truth_parser, train_parser,
    )  # fmt: skip
    actions = [action for make in parsers for action in make()._actions]
    return {option for action in actions for option in action.option_strings}


def test_every_exit_code_is_explained() -> None:
    headings = re.findall(r"^### (\d+)(?:: |, )", text_of("troubleshooting.md"), re.MULTILINE)
    assert {int(code) for code in headings} - {137} == {int(code) for code in Exit}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_options_exist(page: Path) -> None:
    """Of every command of ours in a block, and of every option in backquotes on its own."""
    text = page.read_text(encoding="utf-8")
    commands = " ".join(re.findall(r"^softseg .*$", text, re.MULTILINE))
    alone = " ".join(re.findall(r"`(--[a-z][a-z-]+)(?: [^`]*)?`", text))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", f"{commands} {alone}"))
    others = {
        "--gpus", "--read-only", "--userns", "--fakeroot", "--nv", "--cleanenv", "--containall", "--cap-drop",
        "--bind", "--array", "--cpus-per-task", "--processing-level", "--write", "--ipc",
        "--build-arg",
    }  # fmt: skip
    assert named - others <= options()


@pytest.mark.parametrize(
    ("page", "make"),
    [("soft-truth.md", truth_parser), ("training.md", train_parser)],
)
def test_every_option_of_the_training_commands_is_explained(page: str, make: Callable[[], Parser]) -> None:
    text = text_of(page)
    usual = {"--help", "--version", "--participant-label", "--session-label", "--session-id", "--device"}
    for action in make()._actions:
        names = {name for name in action.option_strings if name.startswith("--") and "_" not in name}
        for name in names - usual - {"--seed", "--omp-nthreads"}:
            assert name in text, name


@pytest.mark.parametrize(
    ("page", "make"),
    [("compare.md", compare_parser), ("drift.md", drift_parser), ("evaluate.md", evaluate_parser)],
)
def test_every_option_of_the_judging_commands_is_explained(page: str, make: Callable[[], Parser]) -> None:
    text = text_of(page)
    for action in make()._actions:
        names = [name for name in action.option_strings if name.startswith("--") and "_" not in name]
        for name in set(names) - {"--help", "--version"}:
            assert f"`{name}" in text, name
    assert "Not validated in patients" in text


def test_every_column_of_the_judging_tables_is_described() -> None:
    described = {**COLUMNS, **DESCRIBED}
    names = {name for columns in STUDY_TABLES.values() for name in columns}
    assert names <= set(described)
    pages = "".join(text_of(page) for page in ("compare.md", "drift.md", "evaluate.md"))
    assert all(f"`{table}.tsv`" in pages for table in STUDY_TABLES)


def test_every_flag_of_a_slice_is_explained() -> None:
    flags = {quality.VOID, quality.GAP, quality.PARTIAL_END, quality.JUMP, quality.TOUCHES_EDGE,
             quality.FRAGMENT, quality.NO_LEVEL, quality.SHORT_SLAB, quality.IMPLAUSIBLE_AREA,
             quality.BLURRED}  # fmt: skip
    rows = re.findall(
        r"^\| (`[a-z0-9_`, ]+`) \|(.*)\|$", text_of("outputs.md").split("## Flags")[1], re.MULTILINE
    )
    explained = {flag: rest for names, rest in rows for flag in re.findall(r"`(\w+)`", names)}
    assert flags <= set(explained)
    out = {flag for flag, rest in explained.items() if rest.rstrip().endswith("| no")}
    assert out == quality.OUT_OF_MEANS


def test_columns_exist() -> None:
    rows = re.findall(
        r"^\| (`[a-z0-9_`, ]+`) \|", text_of("outputs.md").split("## Measures")[1], re.MULTILINE
    )
    measures = {name for names in rows[:7] for name in re.findall(r"`(\w+)`", names)}
    assert measures <= set(COLUMNS) and "area_mm2" in measures


def test_file_names_are_those_written() -> None:
    text = text_of("outputs.md")
    for product in PRODUCTS.values():
        if "truth" not in product.description.lower() and "True cord" not in product.description:
            assert f"*_{product.entities}T2w{product.variant}_{product.suffix}{product.extension}" in text


def test_the_readme_judges_the_weights_as_the_benchmark_does() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split("## Limits")[1].split())
    benchmark = text_of("benchmark.md")
    [spread] = re.findall(r"SD of CSA over six contrasts \|[^|]*\| ([\d.]+) mm²", benchmark)
    assert f"six contrasts have an SD of {float(spread):.1f} mm²" in readme
    [row] = re.findall(r"^\| sub-errsm30_acq-crop_T1w \|(.*)\|$", benchmark, re.MULTILINE)
    measured, manual = (float(cell) for cell in row.split("|")[4:6])
    assert f"T1w lies {100 * (measured / manual - 1):.0f} % above" in readme
    [slope] = re.findall(r"slope of measured on true area \|[^|]*\| ([\d.]+)", benchmark)
    assert f"slope {float(slope):.2f}" in readme
    [astray] = re.findall(r"images with cord > 10 mm off the true one \|[^|]*\| (\d+ of \d+)", benchmark)
    assert f"{astray} images have cord where none is" in readme


def test_a_real_persons_slices_are_shown_with_their_source_and_licence() -> None:
    text = text_of("soft-truth.md")
    assert "sub-errsm30" in text and "sct_testing_data" in text
    assert "(pictures/soft-truth-real.png)" in text and "(pictures/soft-truth-real.txt)" in text
    assert (DOCS / "pictures" / "soft-truth-real.png").stat().st_size < 4e5
    notice = " ".join((DOCS / "pictures" / "soft-truth-real.txt").read_text().split())
    assert "Copyright (c) NeuroPoly Permission is hereby granted, free of charge" in notice


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with every warning an error."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed; `make docs` installs it")
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md"):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet"]
    subprocess.run(command, cwd=folder, check=True, timeout=250)
    return folder / "build" / "site"


def test_the_site_is_whole_small_and_alone(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert {"index.html", "clusters.html", "changelog.html", "contributing.html"} <= {p.name for p in pages}
    assert sum(path.stat().st_size for path in site.rglob("*") if path.is_file()) < 6e6
    for page in pages:
        html = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe)[^>]*\ssrc=\"([^\"]+)\"", html)
        fetched += re.findall(r"<link[^>]*\shref=\"([^\"]+)\"", html)
        assert not [source for source in fetched if "//" in source], page
    for sheet in site.rglob("*.css"):
        assert not re.findall(
            r"(?:@import|url\()\s*['\"]?(?:https?:)?//", sheet.read_text(errors="replace")
        ), sheet


def test_every_page_can_be_reached() -> None:
    told = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = re.findall(r"[\w-]+\.md", str(told))
    assert set(listed) >= {path.name for path in PAGES}
