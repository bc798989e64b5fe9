"""The tables of this room: one writer, one dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from softseg_bids.app.group_columns import DESCRIBED as GROUP
from softseg_bids.bids.columns import column
from softseg_bids.bids.derivatives import write_table

_MM, _MM2 = "mm", "mm^2"

# What each table has even if there are no rows.
COLUMNS: dict[str, tuple[str, ...]] = {
    "compare_areas": (
        "participant_id", "session_id", "contrast", "source_image", "kind", "region", "area_mm2",
        "area_binary_mm2", "other_area_mm2", "difference_mm2", "coverage", "our_coverage", "other_coverage",
        "n_slices", "dice", "in_statistics", "other_file",
    ),
    "compare_agreement": (
        "kind", "region", "contrast", "statistic", "estimate", "ci_low", "ci_high", "se", "df", "p",
        "n_people", "units", "method", "notes",
    ),
    "compare_failures": (
        "participant_id", "session_id", "contrast", "source_image", "kind", "tool", "failure", "reason",
    ),
    "compare_key": ("pair", "a", "b", "participant_id", "session_id", "contrast", "source_image", "dice",
                    "difference_mm2"),
    "drift_areas": (
        "participant_id", "session_id", "contrast", "source_image", "region", "old_area_mm2", "new_area_mm2",
        "difference_mm2", "in_statistics", "lost",
    ),
    "drift": (
        "region", "contrast", "statistic", "estimate", "ci_low", "ci_high", "se", "df", "p", "n_people",
        "units", "method", "notes",
    ),
    "drift_verdict": (
        "region", "contrast", "n_people", "n_lost", "bias_mm2", "ci_low", "ci_high", "scaling",
        "tolerance_mm2", "verdict", "interval_within", "reason",
    ),
    "evaluate_scores": (
        "method", "participant_id", "session_id", "contrast", "source_image", "status", "dice", "soft_dice",
        "relative_volume_error", "surface_mm", "hausdorff_95_mm", "n_slices", "reliability_deviation",
        "mask_file", "reason",
    ),
    "evaluate_areas": (
        "method", "participant_id", "session_id", "contrast", "source_image", "region", "area_mm2",
        "true_mm2", "error_mm2", "coverage", "in_statistics",
    ),
    "evaluate_variability": (
        "method", "participant_id", "session_id", "region", "contrast_set", "members", "n_contrasts",
        "mean_mm2", "sd_mm2", "cv_percent", "range_mm2", "dwi_mm2",
    ),
    "evaluate_summary": (
        "method", "region", "contrast", "measure", "statistic", "estimate", "ci_low", "ci_high", "se", "df",
        "p", "f_value", "df_error", "n_people", "n_images", "units", "test", "notes",
    ),
    "evaluate_tests": (
        "measure", "region", "method", "versus", "statistic", "estimate", "p", "p_corrected", "n_people",
        "test", "notes",
    ),
    "evaluate_reliability": ("method", "contrast", "bin", "n_voxels", "predicted", "true"),
    "evaluate_left_out": ("participant_id", "session_id", "contrast", "source_image", "reason"),
}  # fmt: skip

DESCRIBED: dict[str, dict[str, Any]] = GROUP | {
    "kind": {
        "Description": "What of the other tool was compared",
        "Levels": {"mask": "its mask, measured here over the same slices", "csv": "an area of its own table"},
    },
    "tool": {
        "Description": "Who failed",
        "Levels": {"softseg": "this app", "other": "the tool it is compared with"},
    },
    "failure": column("What failed: missing, empty, other_grid, unreadable, no_cord, failed, incomplete, "
                      "no_common_region, or flags of the mask"),
    "other_area_mm2": column("Area by the other tool", _MM2),
    "difference_mm2": column("First area minus second (ours minus the other's, new minus old)", _MM2),
    "our_coverage": column("Measured length over that of the region, of our mask alone; cord is all that "
                           "either mask shows"),
    "other_coverage": column("As our_coverage, of the other mask alone"),
    "dice": column("Dice overlap of the masks cut at 0.5: in a comparison over all slices that either mask "
                   "reaches, in an evaluation over those of the label"),
    "soft_dice": column("Overlap of the soft masks, 2 sum(p r) / (sum(p²) + sum(r²))"),
    "in_statistics": column("Whether at least 80 % of the region was measured"),
    "other_file": column("File the other value comes from"),
    "mask_file": column("The method's mask"),
    "pair": column("Number of the pair on the page"),
    "a": column("Who drew the mask on the left"),
    "b": column("Who drew the mask on the right"),
    "old_area_mm2": column("area_mm2 by the old model", _MM2),
    "new_area_mm2": column("area_mm2 by the new model", _MM2),
    "lost": column("Whether the area is lost: only the old model measured it, over the judged region or in "
                   "an image of which the new model measured nothing"),
    "n_lost": column("Images of which an area was lost"),
    "bias_mm2": column("Mean of the differences", _MM2),
    "scaling": column("Geometric mean of new over old area"),
    "tolerance_mm2": column("Largest bias that passes", _MM2),
    "verdict": {
        "Description": "Whether the contrast passed",
        "Levels": {
            "pass": "bias within the tolerance",
            "fail": "bias beyond it, or an image was lost",
            "not_judged": "the old model measured nothing that the new one could change",
        },
    },
    "interval_within": column("Whether the whole 95 % interval of the bias lies within the tolerance"),
    "method": column("Method that is judged, or by which an estimate was found"),
    "versus": column("What it is compared with"),
    "relative_volume_error": column("(sum of the mask - sum of the label) / sum of the label"),
    "surface_mm": column("Mean distance between the surfaces of both masks cut at 0.5", _MM),
    "hausdorff_95_mm": column("Larger of the two directions' 95th percentiles of surface distance", _MM),
    "reliability_deviation": column("Mean difference of predicted and true fraction, over ten bins"),
    "true_mm2": column("Area of the label over the same slices", _MM2),
    "error_mm2": column("area_mm2 minus true_mm2", _MM2),
    "measure": column("Which measure the row is about"),
    "test": column("Statistical test"),
    "statistic": column("What is estimated"),
    "f_value": column("F of the analysis of variance"),
    "df_error": column("Degrees of freedom of the error"),
    "p_corrected": column("p times the number of comparisons (Bonferroni), at most 1"),
    "bin": column("Bin of the predicted fraction: 0 is 0 to 0.1"),
    "n_voxels": column("Voxels in the bin"),
    "predicted": column("Mean predicted fraction of the bin"),
    "true": column("Mean true fraction of the bin"),
    "status": column("used, empty, missing, other_grid, unreadable or failed; measured or no_cord"),
}  # fmt: skip


def write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write one of the tables of this room, with its JSON.

    Parameters
    ----------
    path : Path
        Its name decides the columns.
    rows : sequence of mapping
    """
    write_table(path, rows, DESCRIBED, columns=COLUMNS[path.stem])
