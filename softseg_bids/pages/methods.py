"""A study's methods, ready to paste: what was done to its images, by which versions, and whom to cite.

Only what has left a trace in the tables is said. The text is made to be copied into papers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from softseg_bids.pages.references import WORKS, bibtex, listed

# With fewer sites the comparison of centres has site as a fixed effect (`stats/centres.py`).
LEAST_RANDOM_SITES = 5
CITED = re.compile(r"@(\w+)")


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
    tables : collection of str
        Names of the group's tables that have rows.
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
    tables: frozenset[str] = frozenset()
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
            "(@bland1986) with exact intervals (@carkeet2015), and all contrasts by ICC(2,1) and ICC(3,1) "
            "on complete cases (@mcgraw1996)."
        )
    if "rescan" in tables:
        said.append(
            "Where scans were repeated within a session, the within-person SD gave the minimum detectable "
            "change, 1.96 √2 SD."
        )
    if "groups" in tables and options.get("group_column"):
        said.append(
            f"Groups ({options['group_column']}; controls: {options.get('controls') or 'none named'}) "
            f"were compared {_adjusted(options)}, with Hedges' g, and p values corrected over regions for "
            "the false discovery rate (@benjamini1995)."
        )
    if "centres" in tables and study.sites > 1:
        kind = "random" if study.sites >= LEAST_RANDOM_SITES else "fixed"
        said.append(f"Centres were compared by models with site as a {kind} effect {_adjusted(options)}.")
    if "vendors" in tables:
        said.append(
            "Coefficients of variation within and between sites are given per vendor, as spine-generic "
            "reports them (@cohenadad2021; @cohenadad2021data)."
        )
    if "harmonisation" in tables and options.get("combat"):
        said.append(
            "CSA was harmonised over scanners by ComBat (@johnson2007; @fortin2018; for repeated visits "
            f"@beer2020), fitted on {options.get('combat_fit_on') or 'all'}; harmonised values are "
            "reported beside the raw ones."
        )
    if "norms" in tables:
        said.append(_norms(options))
    if "change" in tables:
        said.append(
            "Sessions of a person were aligned at their midpoint and measured over the identical stretch; "
            "rates of change came from a mixed model of CSA over time."
        )
    return [*said, "Intervals are 95 % confidence intervals."] if said else []


def _adjusted(options: Mapping[str, Any]) -> str:
    if options.get("formula"):
        return f"by the model CSA ~ {options['formula']}"
    used = _listed(options.get("covariates_used", options.get("covariates", [])))
    return f"adjusted for {used}" if used else "without adjustment"


def _norms(options: Mapping[str, Any]) -> str:
    kind = options.get("norms", "controls")
    if kind == "published":
        return (
            "Percentiles are those of a published normative database (@valosek2024, by levels of the PAM50 "
            "template, @deleener2018; T2w, 19 to 52 years, C1 to T3), shifted by "
            "the mean distance of the study's own controls from it."
        )
    if kind == "controls":
        return (
            "Percentiles are those of the study's own controls given age and sex, a control being "
            "compared with the others (@crawford2006)."
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
