"""The methods text: it says what was done, and cites what it names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import pytest

from softseg_bids.app.group_traces import trace_of
from softseg_bids.pages.methods import Study, Trace, bibliography, methods
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
        ("agreement", {}, "Bland & Altman, 1986) with exact intervals"),
        ("rescan", {}, "minimum detectable change"),
        ("groups", {"group_column": "pathology", "controls": "HC"}, "Groups (pathology; controls: HC)"),
        ("centres", {}, "Centres were compared"),
        ("compression", {}, "least area and antero-posterior diameter of each level"),
        ("change_model", {}, "Rates of change were estimated"),
        ("norms", {"norms": "published"}, "Valošek et al., 2024"),
        ("norms", {"norms": "published"}, "De Leener et al., 2018"),
        ("vendors", {}, "Cohen-Adad et al., 2021; Cohen-Adad, Alonso-Ortiz et al., 2021"),
        ("norms", {"norms": "controls"}, "Crawford & Garthwaite, 2006"),
        ("norms", {"norms": "controls", "covariates_used": ["age"]}, "own controls given age, a control"),
        ("norms", {"norms": "mine.tsv"}, "a table of norms (mine.tsv)"),
        ("change", {}, "identical stretch"),
    ],
)  # fmt: skip
def test_only_what_was_done_is_said(table: str, options: dict[str, object], said: str) -> None:
    done = dataclasses.replace(STUDY, tables={table: Trace()}, options=options)
    assert said in methods(done)
    assert said not in methods(dataclasses.replace(done, tables={}))


def seen(*statistics: str, by: Sequence[str] = ()) -> Trace:
    return Trace(frozenset(statistics), by)


@pytest.mark.parametrize(
    ("table", "trace", "said", "not_said"),
    [
        ("agreement", seen("icc_2_1"), "generalised (Ionan et al., 2014)", "never"),
        ("agreement", seen("bias"), "limits of agreement", "ICC"),
        ("groups", Trace(formulas=["csa ~ group + height"]), "model CSA ~ group + height, with", "of some"),
        ("centres", Trace(formulas=["csa ~ age + (1|site)", "csa ~ (1|site)"]),
         "by the model CSA ~ age + (1|site) (of some regions and contrasts 1 other", "x:"),
        ("power", seen("people_per_group"), "5 %, from the SD between the study's controls.", "repeats"),
        ("power", seen("people_per_group", "people_for_change"), "and that of its repeated scans", "x:"),
        ("harmonisation", seen("shift", "scale", by=["location and scale"]),
         "of location and scale (Johnson et al., 2007; Fortin et al., 2018), fitted on controls", "Beer"),
        ("harmonisation", seen("shift", "refused", by=["longitudinal ComBat, empirical Bayes"]),
         "Beer et al., 2020), in its longitudinal form", "location and scale"),
        ("harmonisation", seen("shift", "refused"), "was refused (group_harmonisation.tsv)", "Beer"),
        ("harmonisation", seen("refused"), "", "harmonis"),
        ("change", seen("midpoint"), "over the identical stretch.", "not be aligned"),
        ("change", seen("midpoint", "labels"), "stretch; where they could not be aligned", "x:"),
        ("change", seen("labels"), "could not be aligned; regions", "identical"),
        ("contrasts", seen("bias", by=["REML, jackknife over people"]),
         "coefficients, from leaving out one person after the other (CR3, Bell & McCaffrey, 2002).",
         "Satterthwaite"),
        ("contrasts", seen("sd_between_people", by=["REML, Satterthwaite", "REML, exact interval"]),
         "Satterthwaite, 1946); of ratios of variances, exact (Harville & Fenech, 1985)", "Bell"),
        ("groups", seen("difference", "effect_size", by=["least squares, HC3"]),
         "(HC3, MacKinnon & White, 1985); of Hedges' g, from the noncentral t", "Satterthwaite"),
        ("change_model", seen("difference", by=["REML, jackknife over people"]),
         "Welch's degrees of freedom (Welch, 1947)", "exact"),
        ("vendors", seen("mean", by=["spine-generic"]), "Intervals are 95 % confidence intervals.", "Welch"),
        ("compression_sites", seen("given"), "they were given beforehand.", "0.8"),
        ("compression_sites", seen("detected"), "they were detected where the area", "given"),
    ],
)  # fmt: skip
def test_what_was_done_is_what_the_rows_say(table: str, trace: Trace, said: str, not_said: str) -> None:
    # The option that was given is about the comparison of groups, and may have failed.
    options = {"group_column": "group", "formula": "height", "combat": True}
    text = methods(dataclasses.replace(STUDY, tables={table: trace}, options=options))
    text = text.split("# References")[0]
    assert said in text and not_said not in text


def test_a_table_without_numbers_says_nothing() -> None:
    rows = [{"statistic": "refused", "estimate": None}, {"statistic": "shift", "estimate": "nan"}]
    assert trace_of("harmonisation", rows) is None
    assert trace_of("norms", [{"z": None, "notes": "hidden: 3 controls"}]) is None
    found = trace_of("harmonisation", [*rows, {"statistic": "shift", "estimate": "1.5", "method": "ComBat"}])
    assert found == Trace(frozenset({"shift", "refused"}), ("ComBat",), ())
    change = [{"change_mm2": "1", "alignment": "labels"}, {"change_mm2": None, "alignment": "midpoint"}]
    found = trace_of("change", change)
    assert found is not None and found.statistics == {"labels"}
    formulas = [{"statistic": "x", "estimate": "1", "formula": name} for name in ("a", "b", "b")]
    found = trace_of("groups", formulas)
    assert found is not None and list(found.formulas) == ["b", "a"]
    assert trace_of("mood_swings", [{"mood": "3"}]) == Trace() and trace_of("norms", []) is None


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
        tables=dict.fromkeys(("contrasts", "agreement", "groups", "vendors", "norms"), Trace())
        | {"harmonisation": Trace(frozenset({"shift"})), "agreement": Trace(frozenset({"icc_2_1"}))},
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
        assert work.short.endswith(work.year) and work.kind in (
            "article",
            "inproceedings",
            "incollection",
            "book",
            "misc",
        )
        assert work.doi == "" or re.fullmatch(r"10\.\d{4,5}/\S+", work.doi), work


def test_proceedings_without_a_volume() -> None:
    assert "Conference 56-61. doi:" in listed(WORKS["mckinney2010"])
    entry = bibtex("m", WORKS["mckinney2010"])
    assert "  pages = {56--61}" in entry and "volume" not in entry
    assert "  howpublished = {Zenodo}" in bibtex("b", WORKS["brett"])
