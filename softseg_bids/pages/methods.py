"""A study's methods, ready to paste: what was done to its images, by which versions, and whom to cite.

Only what has left a trace in the tables is said. The text is made to be copied into papers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from softseg_bids.pages.references import WORKS, bibtex, listed

CITED = re.compile(r"@(\w+)")


@dataclass(frozen=True)
class Trace:
    """What a table's rows with numbers say was done.

    Attributes
    ----------
    statistics : collection of str
        What stands in ``statistic`` (``alignment`` of change, ``site_source`` of sites of compression), and
        ``refused`` where something was refused.
    methods, formulas : sequence of str
        What stands in ``method`` and ``formula``, most frequent first.
    """

    statistics: frozenset[str] = frozenset()
    methods: Sequence[str] = ()
    formulas: Sequence[str] = ()


@dataclass(frozen=True)
class Study:
    """What a methods text is about.

    Attributes
    ----------
    versions, models : sequence of str
        Of softseg-bids and its checkpoints behind the results.
    participants, sessions, images, sites : int
        How many there are; sites without a name do not count.
    contrasts : sequence of str
    libraries : mapping of str to str
        Versions of the libraries that touch a number.
    tables : mapping of str to Trace
        The group's tables that have rows with numbers, by name (``groups``).
    regions : collection of str
        Names of the regions in the long table.
    levels_sources : collection of str
        Where images have their vertebral levels from: ``given``, ``found``, ``shared``.
    options : mapping
        What the group level was asked for, as the JSON of its tables says.
    """

    versions: Sequence[str]
    models: Sequence[str]
    participants: int
    sessions: int
    images: int
    sites: int
    contrasts: Sequence[str]
    libraries: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Trace] = field(default_factory=dict)
    regions: frozenset[str] = frozenset()
    levels_sources: frozenset[str] = frozenset()
    options: Mapping[str, Any] = field(default_factory=dict)


def methods(study: Study) -> str:
    """The methods as Markdown, with the references it cites."""
    text = _text(study)
    shown = CITED.sub(lambda found: WORKS[found.group(1)].short, text)
    works = "\n".join(f"- {listed(WORKS[key])}" for key in _keys(text))
    return f"# Methods\n\n{shown}\n\n# References\n\n{works}\n"


def bibliography(study: Study) -> str:
    """The cited references as BibTeX."""
    return "\n".join(bibtex(key, WORKS[key]) for key in _keys(_text(study)))


def _keys(text: str) -> list[str]:
    return list(dict.fromkeys(CITED.findall(text)))


def _text(study: Study) -> str:
    paragraphs = {
        "Segmentation": _segmentation(study),
        "Morphometry": _morphometry(study),
        "Statistics": _statistics(study),
        "Quality": _quality(study),
        "Software": _software(study),
    }
    parts = [f"**{name}.** {' '.join(sentences)}" for name, sentences in paragraphs.items() if sentences]
    return "\n\n".join(parts)


def _segmentation(study: Study) -> list[str]:
    sites = f" of {study.sites} sites" if study.sites > 1 else ""
    many = f" in {study.sessions} sessions" if study.sessions != study.participants else ""
    return [
        f"The spinal cord was segmented in {_count(study.images, 'image')} ({_listed(study.contrasts)}) of "
        f"{_count(study.participants, 'participant')}{many}{sites} with softseg-bids "
        f"{_listed(study.versions)} (model {_listed(study.models)}), a BIDS App (@gorgolewski2016; "
        "@gorgolewski2017).",
        "It implements contrast-agnostic soft segmentation (@bedard2025): one network for all contrasts "
        "gives each voxel the fraction of it that is spinal cord.",
        "The network was trained on synthetic images of random contrast (in the manner of @billot2023), "
        "located the cord coarsely, segmented it at 1 mm, and the soft mask was integrated onto the "
        "voxels of the image.",
    ]


def _morphometry(study: Study) -> list[str]:
    return [
        "Cross-sectional area (CSA) was the sum of the soft mask over a slice times the area of a pixel, "
        "times the cosine between the slice's normal and the tangent of the smoothed centreline.",
        "A region's CSA is the mean over its slices, weighted by the length of cord in each; partly "
        "filled slices at the ends of a slab and slices without cord entered no mean, and regions of "
        "which less than 80 % was seen entered no statistics.",
        *_levels(study),
        "Of several images of one contrast, the one that covered most of a region was used.",
    ]


def _levels(study: Study) -> list[str]:
    sources, said = study.levels_sources, []
    ways = {
        "given": "labelled beforehand (numbered as in the Spinal Cord Toolbox; @deleener2017)",
        "found": "found by a second network of softseg-bids",
    }
    used = [way for source, way in ways.items() if source in sources]
    if used:
        shared = ", and were shared with the session's other images in scanner space"
        said.append(
            "Vertebral levels reach from the posterior tip of one disc to the next; the discs were "
            f"{' or '.join(used)}{shared if 'shared' in sources else ''}."
        )
    if any(region.startswith("pmj-") for region in study.regions):
        said.append("CSA was also measured at a distance from the pontomedullary junction (@bedard2022).")
    return said


def _statistics(study: Study) -> list[str]:
    tables, options = study.tables, study.options
    said: list[str] = []
    if "contrasts" in tables:
        used = _listed([name for name in options.get("contrast_set", []) if name in study.contrasts])
        said.append(
            f"Dependence on the contrast{f' ({used})' if used else ''} was estimated per region by a "
            "linear mixed model, CSA ~ contrast + (1|participant), by restricted maximum likelihood "
            "(@patterson1971); a contrast's bias is its distance from the mean of the contrasts."
        )
    if "agreement" in tables:
        said.append(
            "Pairs of contrasts, and soft and binary masks, were compared by limits of agreement "
            "(@bland1986) with exact intervals (@carkeet2015)."
        )
        if "icc_2_1" in tables["agreement"].statistics:
            said.append(
                "All contrasts were compared by ICC(2,1) and ICC(3,1) on complete cases (@mcgraw1996), "
                "ICC(2,1) with a generalised (@ionan2014), ICC(3,1) with an exact confidence interval."
            )
    if "rescan" in tables:
        said.append(
            "Where scans were repeated within a session, the within-person SD gave the minimum detectable "
            "change, 1.96 √2 SD."
        )
    if "groups" in tables and options.get("group_column"):
        said.append(
            f"Groups ({options['group_column']}; controls: {options.get('controls') or 'none named'}) "
            f"were compared {_models(tables['groups'])}, with Hedges' g, and p values corrected over "
            "regions for the false discovery rate (@benjamini1995)."
        )
    if "centres" in tables:
        said.append(
            f"Centres were compared {_models(tables['centres'])}; a site's effect is its distance from the "
            "mean of the sites, all fixed."
        )
    if "vendors" in tables:
        said.append(
            "Coefficients of variation within and between sites are given per vendor, as spine-generic "
            "reports them (@cohenadad2021; @cohenadad2021data)."
        )
    if "power" in tables:
        said.append(_power(tables["power"]))
    if "shift" in tables.get("harmonisation", Trace()).statistics:
        said.append(_harmonised(tables["harmonisation"], options))
    if "norms" in tables:
        said.append(_norms(options))
    if "change" in tables:
        said.append(_change(tables["change"]))
    if "change_model" in tables:
        said.append(
            f"Rates of change were estimated {_models(tables['change_model'])}, time in years since the "
            "person's first visit."
        )
    said += _compression(tables)
    return [*said, _intervals(tables)] if said else []


# What stands in the column `method` of a table -> how its intervals were made.
WAYS = {
    "jackknife over people": "of coefficients, from leaving out one person after the other (CR3, @bell2002)",
    "Satterthwaite": "of coefficients, with Satterthwaite's degrees of freedom (@satterthwaite1946)",
    "HC3": "of coefficients, Student's with heteroscedasticity-consistent errors (HC3, @mackinnon1985)",
    "exact interval": (
        "of ratios of variances, exact (@harville1985); of an SD between people or sites, by Williams' "
        "method (@williams1962); of a residual SD, from the chi-squared distribution"
    ),
}


def _intervals(tables: Mapping[str, Trace]) -> str:
    """How intervals were made, in the words of the tables' own methods."""
    done = [method for trace in tables.values() for method in trace.methods]
    ways = [said for word, said in WAYS.items() if any(word in method for method in done)]
    if any("jackknife" in method for method in tables.get("change_model", Trace()).methods):
        ways.append("of a difference in rates of change, with Welch's degrees of freedom (@welch1947)")
    if "effect_size" in tables.get("groups", Trace()).statistics:
        ways.append("of Hedges' g, from the noncentral t distribution (@steiger1997)")
    return f"Intervals are 95 % confidence intervals{': ' if ways else ''}{'; '.join(ways)}."


def _models(trace: Trace) -> str:
    """The models of a table, as its rows name them: they differ where a covariate or the sites do."""
    formulas = [formula.replace("csa ~", "CSA ~", 1) for formula in trace.formulas]
    if not formulas:
        return "by models that the tables name"
    others = len(formulas) - 1
    more = f" (of some regions and contrasts {_count(others, 'other')}, as the tables say)" if others else ""
    return f"by the model {formulas[0]}{more}"


def _power(trace: Trace) -> str:
    spreads = {
        "people_per_group": "the SD between the study's controls",
        "people_for_change": "that of its repeated scans (of a change)",
    }
    used = _listed([spread for name, spread in spreads.items() if name in trace.statistics])
    return f"Sample sizes are for a power of 80 % at a two-sided 5 %, from {used}."


def _harmonised(trace: Trace, options: Mapping[str, Any]) -> str:
    longitudinal = any("longitudinal" in method for method in trace.methods)
    bayes = any("empirical Bayes" in method for method in trace.methods)
    way = "ComBat with empirical Bayes" if bayes else "ComBat's model of location and scale"
    works = "@johnson2007; @fortin2018" + ("; @beer2020" if longitudinal else "")
    visits = ", in its longitudinal form" if longitudinal else ""
    fitted = "everybody, the group being kept" if options.get("combat_fit_on") == "all" else "controls"
    refused = (
        "; what could not be told from who was scanned was refused (group_harmonisation.tsv)"
        if "refused" in trace.statistics
        else ""
    )
    return (
        f"CSA was harmonised over scanners by {way} ({works}){visits}, fitted on {fitted}; harmonised values "
        f"are reported beside the raw ones{refused}."
    )


def _change(trace: Trace) -> str:
    midpoint = (
        "Sessions of a person were aligned at their midpoint along the cord and measured over the "
        "identical stretch"
    )
    if "labels" not in trace.statistics:
        return f"{midpoint}."
    if "midpoint" not in trace.statistics:
        return "Sessions of a person could not be aligned; regions were taken as each session was labelled."
    return f"{midpoint}; where they could not be aligned, regions were taken as each session was labelled."


def _compression(tables: Mapping[str, Trace]) -> list[str]:
    said = []
    if "compression" in tables:
        said.append(
            "The least area and antero-posterior diameter of each level were read from the profile "
            "interpolated between slices."
        )
    if "compression_sites" in tables:
        ways = {
            "given": "given beforehand",
            "detected": "detected where the area fell under 0.8 of that mean",
        }
        used = [way for source, way in ways.items() if source in tables["compression_sites"].statistics]
        said.append(
            "Sites of compression were compared with the mean of 20 mm windows that begin 10 mm above and "
            f"below them; they were {' or '.join(used)}."
        )
    return said


def _norms(options: Mapping[str, Any]) -> str:
    kind = options.get("norms", "controls")
    used = _listed(options.get("covariates_used", options.get("covariates", [])))
    if kind == "published":
        return (
            "Percentiles are those of a published normative database (@valosek2024, by levels of the PAM50 "
            "template, @deleener2018; T2w, 19 to 52 years, C1 to T3), shifted by "
            "the mean distance of the study's own controls from it."
        )
    if kind == "controls":
        return (
            f"Percentiles are those of the study's own controls{f' given {used}' if used else ''}, a control "
            "being compared with the others (@crawford2006)."
        )
    return (
        f"Percentiles are those of a table of norms ({kind}), shifted by the mean distance of the study's "
        "controls from it."
    )


def _quality(study: Study) -> list[str]:
    said = [
        "Images were flagged automatically where the mask was interrupted, fragmented or cut by the "
        "border, where its area jumped between slices or was implausible, and where it stood apart from "
        "the person's other contrasts or the site's images (robust z beyond 3.5; @iglewicz1993); flags "
        "alone excluded nothing."
    ]
    if study.options.get("exclude"):
        said.append(f"Images and slices were excluded by a rater's list ({study.options['exclude']}).")
    return said


def _software(study: Study) -> list[str]:
    works = {
        "nipype": "@gorgolewski2011", "pybids": "@yarkoni2019", "torch": "@paszke2019",
        "monai": "@cardoso2022",
        "numpy": "@harris2020", "scipy": "@virtanen2020", "pandas": "@mckinney2010", "nibabel": "@brett",
    }  # fmt: skip
    named = [
        f"{name} {version}" + (f" ({works[name]})" if name in works else "")
        for name, version in study.libraries.items()
    ]
    return [f"softseg-bids runs on {_listed(named)}."] if named else []


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)
