"""The tables the group's page knows: what they are called, in which order, and when one is not there."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """A table of the group.

    Attributes
    ----------
    name : str
        ``contrasts`` is ``group_contrasts.tsv``.
    title : str
    empty : str
        Why it may have no rows.
    absent : str
        Why it may not be there.
    """

    name: str
    title: str
    empty: str = "the study has nothing for it"
    absent: str = "every group level of this version writes it; run it again"


ONE_CONTRAST = "no region was measured in images that may enter statistics"
NO_VISITS = "no person came twice"
COMPRESSION = "not asked for (--compression)"
# In the order of the page: what stands in a manuscript first.
KNOWN = (
    Known("contrasts", "Contrasts: mean areas, biases and spread (mixed model)", ONE_CONTRAST),
    Known("agreement", "Agreement: Bland-Altman of pairs, ICC, soft against binary", ONE_CONTRAST),
    Known("rescan", "Scan-rescan: within-person SD and minimum detectable change", ONE_CONTRAST),
    Known(
        "groups", "Groups: adjusted differences",
        "participants.tsv names no groups with controls among them (a column pathology, group or diagnosis; "
        "or --group-column and --controls)",
    ),
    Known("centres", "Centres: variance components and site effects", "no site is named"),
    Known("vendors", "Vendors: variation within and between sites", "no site with a manufacturer is named"),
    Known("change_model", "Change over time: rates of groups", NO_VISITS, NO_VISITS),
    Known("change", "Change over time, each visit", NO_VISITS, NO_VISITS),
    Known("power", "Sample sizes from the study's own spread", "too few controls to know their spread"),
    Known("norms", "Each person against the reference", "no image may be compared with the reference"),
    Known(
        "norms_offset", "Offset between this study and the table of norms", "no level is in the table",
        "no table of norms was asked for (--norms published, or --norms FILE)",
    ),
    Known("profile", "Mean area of each vertebral level", "no image has vertebral levels"),
    Known("compression", "Least area and diameter of each level", "no image has levels", COMPRESSION),
    Known("compression_sites", "Sites of compression", "none was given or detected", COMPRESSION),
    Known("harmonisation", "Harmonisation over scanners", "nothing to harmonise", "not asked for (--combat)"),
    Known("variability", "Spread over contrasts, each session and region", ONE_CONTRAST),
    Known("missing", "The ledger: who is missing from which figure, and why", "nobody is missing"),
)  # fmt: skip
# Shown in parts of their own.
ELSEWHERE = frozenset({"csa", "csa_wide", "qc"})


class Flag(NamedTuple):
    """A flag: how much it asks for a look (3 distrust, 2 look, 1 know), and what it means."""

    severity: int
    meaning: str


FLAGS = {
    "failed": Flag(3, "could not be processed"),
    "no_cord": Flag(3, "less than 10 mm of cord were found"),
    "implausible_area": Flag(3, "median area under 20 or over 150 mm²"),
    "outlier_contrasts": Flag(3, "far from what the person's other contrasts say"),
    "outlier_site": Flag(3, "far from the other images of the site"),
    "fragment": Flag(2, "more than one object in a slice"),
    "jump": Flag(2, "the area jumps, on two slices in a row or on more than 5 % of them"),
    "touches_edge": Flag(2, "the cord meets the border of the image"),
    "void": Flag(2, "no cord over 5 mm or more between two pieces, mostly metal"),
    "gap": Flag(2, "no cord over some millimetres between two pieces"),
    "blurred": Flag(2, "soft and binary area differ by more than 15 %"),
    "moved": Flag(2, "the centreline lies over 3 mm from the session's"),
    "not_shared": Flag(2, "the centreline lies over 6 mm from the session's: no labels are shared"),
    "labels_unusable": Flag(2, "disc labels lie outside of the image or far from the cord"),
    "levels_disagree": Flag(2, "disc labels, given or found, contradict each other"),
    "levels_unsure": Flag(1, "discs are seen, but not surely which ones"),
    "counted_from_sacrum": Flag(2, "levels are counted from the sacrum, with nothing from T1 up in view"),
    "not run": Flag(2, "the run stopped before"),
    "far_from_isocentre": Flag(1, "beyond 60 mm from the isocentre without gradient correction"),
    "short_slab": Flag(1, "under 40 mm of cord"),
    "disc2_extrapolated": Flag(1, "disc 2 was not labelled"),
    "coarse": Flag(1, "pixels too coarse to measure an area"),
    "limited": Flag(1, "pixels or plane limit the area: out of norms and group tests"),
    "excluded": Flag(1, "excluded by a person"),
    "partial_end": Flag(1, "partly filled or badly interpolated slices at an end: in no mean"),
    "no_level": Flag(1, "outside the known vertebral levels"),
    "scanner_changed": Flag(1, "another scanner than at the first visit"),
    "acquisition_changed": Flag(1, "another acquisition or plane than at the first visit"),
    "software_changed": Flag(1, "another scanner software than at the first visit"),
}
