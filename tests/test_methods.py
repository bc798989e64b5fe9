"""The methods text: it says what was done, and cites what it names."""

from __future__ import annotations

import dataclasses
import re

import pytest

from softseg_bids.pages.methods import Study, bibliography, methods
from softseg_bids.pages.references import WORKS, Work, bibtex, listed

STUDY = Study(["1.2.3"], ["cafe"], 12, 12, 60, 3, ["T1w", "T2w", "DWI"], {"numpy": "2.0", "pandas": "2.2"})


def test_the_numbers_of_the_study() -> None:
    text = methods(STUDY)
    assert "in 60 images (T1w, T2w and DWI) of 12 participants of 3 sites" in text
    assert "softseg-bids 1.2.3 (model cafe)" in text
    assert "numpy 2.0 (Harris et al., 2020) and pandas 2.2 (McKinney, 2010)" in text
    assert "mixed model" not in text  # no table of statistics is there


def test_one_person_of_one_site() -> None:
    text = methods(
        dataclasses.replace(STUDY, participants=1, sessions=2, images=1, sites=1, contrasts=["T2w"])
    )
    assert "in 1 image (T2w) of 1 participant in 2 sessions with" in text


@pytest.mark.parametrize(
    ("table", "options", "said"),
    [
        ("contrasts", {"contrast_set": ["T1w", "T2w", "MTon"]}, "contrast (T1w and T2w) was estimated"),
        ("agreement", {}, "McGraw & Wong, 1996"),
        ("rescan", {}, "minimum detectable change"),
        ("groups", {"group_column": "pathology", "controls": "HC", "covariates_used": ["age"]},
         "Groups (pathology; controls: HC) were compared adjusted for age"),
        ("groups", {"group_column": "pathology", "formula": "age * sex"}, "by the model CSA ~ age * sex"),
        ("centres", {}, "site as a fixed effect without adjustment"),
        ("harmonisation", {"combat": True, "combat_fit_on": "controls"}, "fitted on controls"),
        ("norms", {"norms": "published"}, "Valošek et al., 2024"),
        ("norms", {"norms": "published"}, "De Leener et al., 2018"),
        ("vendors", {}, "Cohen-Adad et al., 2021; Cohen-Adad, Alonso-Ortiz et al., 2021"),
        ("norms", {"norms": "controls"}, "Crawford & Garthwaite, 2006"),
        ("norms", {"norms": "mine.tsv"}, "a table of norms (mine.tsv)"),
        ("change", {}, "identical stretch"),
    ],
)  # fmt: skip
def test_only_what_was_done_is_said(table: str, options: dict[str, object], said: str) -> None:
    done = dataclasses.replace(STUDY, tables=frozenset({table}), options=options)
    assert said in methods(done)
    assert said not in methods(dataclasses.replace(done, tables=frozenset()))


def test_five_sites_are_a_random_effect() -> None:
    many = dataclasses.replace(STUDY, sites=5, tables=frozenset({"centres"}))
    assert "by models with site as a random effect" in methods(many)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"given", "shared"}, "were labelled beforehand (numbered as in the Spinal Cord Toolbox; De Leener "
         "et al., 2017), and were shared"),
        ({"found"}, "the discs were found by a second network of softseg-bids."),
        ({"given", "found", "none"}, "2017) or found by"),
    ],
)  # fmt: skip
def test_where_levels_come_from(sources: set[str], said: str) -> None:
    assert said in methods(dataclasses.replace(STUDY, levels_sources=frozenset(sources)))


def test_no_levels_no_sentence_about_them() -> None:
    text = methods(
        dataclasses.replace(STUDY, levels_sources=frozenset({"none"}), regions=frozenset({"cord"}))
    )
    assert "disc" not in text and "pontomedullary" not in text
    assert "Bédard & Cohen-Adad, 2022" in methods(dataclasses.replace(STUDY, regions=frozenset({"pmj-50"})))


def test_exclusions_are_named() -> None:
    assert "(exclude.tsv)" in methods(dataclasses.replace(STUDY, options={"exclude": "exclude.tsv"}))


def test_text_list_and_bibliography_cite_the_same() -> None:
    everything = dataclasses.replace(
        STUDY,
        tables=frozenset({"contrasts", "agreement", "groups", "vendors", "harmonisation", "norms"}),
        regions=frozenset({"cord", "pmj-50"}),
        levels_sources=frozenset({"given", "shared"}),
        libraries=dict.fromkeys(
            ("numpy", "scipy", "nibabel", "torch", "monai", "pybids", "nipype", "pandas"), "1"
        ),
        options={"group_column": "group", "combat": True, "norms": "published"},
    )
    text, entries = methods(everything), bibliography(everything)
    assert "@" not in text
    keys = re.findall(r"^@\w+\{(\w+),$", entries, re.MULTILINE)
    body, references = text.split("# References")
    assert len(set(keys)) == len(keys) == references.count("\n- ")
    for key in keys:
        assert WORKS[key].short in body and WORKS[key].title in references
    assert entries.count("{") == entries.count("}")


def test_an_entry_of_each_kind() -> None:
    work = Work(
        "A & B, 2000",
        "article",
        "Alder, Ann Bea and others",
        "Cords & cones",
        "2000",
        "J. Cords",
        "3(4):5-9",
        "10.1/x",
    )
    assert listed(work) == "Alder AB, et al. (2000). Cords & cones. J. Cords 3(4):5-9. doi:10.1/x"
    entry = bibtex("alder2000", work)
    for line in (
        "title = {{Cords \\& cones}}",
        "volume = {3}",
        "number = {4}",
        "pages = {5--9}",
        "doi = {10.1/x}",
    ):
        assert f"  {line}" in entry
    assert "publisher = {ASQC" in bibtex("i", WORKS["iglewicz1993"]) and "doi" not in bibtex(
        "i", WORKS["iglewicz1993"]
    )


def test_every_work_is_complete() -> None:
    assert len({work.doi for work in WORKS.values() if work.doi}) == sum(
        bool(work.doi) for work in WORKS.values()
    )
    for work in WORKS.values():
        assert work.short.endswith(work.year) and work.kind in ("article", "inproceedings", "book", "misc")
        assert work.doi == "" or re.fullmatch(r"10\.\d{4,5}/\S+", work.doi), work


def test_proceedings_without_a_volume() -> None:
    assert "Conference 56-61. doi:" in listed(WORKS["mckinney2010"])
    entry = bibtex("m", WORKS["mckinney2010"])
    assert "  pages = {56--61}" in entry and "volume" not in entry
    assert "  howpublished = {Zenodo}" in bibtex("b", WORKS["brett"])
