"""What every column of every table means: the data dictionary written beside each TSV."""

from __future__ import annotations

from typing import Any

_MM = "mm"
_MM2 = "mm^2"
_DEG = "deg"

# column: (description, units or None)
_PLAIN: dict[str, tuple[str, str | None]] = {
    # Which image
    "participant_id": ("Participant, sub-<label>", None),
    "session_id": ("Session, ses-<label>; n/a if the dataset has none", None),
    "run": ("Run label; repeats of one contrast differ in it", None),
    "contrast": ("Contrast key: the suffix; MTS is split into MTon, MToff, GRET1w, dwi is DWI", None),
    "acq": ("Label of the acq- entity", None),
    "ce": ("Label of the ce- entity (contrast agent)", None),
    "rec": ("Label of the rec- entity (reconstruction)", None),
    "site": ("Site: the column asked for, else site, institution_id, InstitutionName of the sidecar", None),
    "person_id": ("Ties several participant_id to one person", None),
    "manufacturer": ("Scanner manufacturer", None),
    "scanner": ("Scanner model", None),
    "software": ("Scanner software version", None),
    "source_image": ("The image measured, from the dataset's root", None),
    # Where on the cord
    "region": (
        "Stretch of cord: cord (everything seen), common (what all images of the session cover), "
        "vert-C3 or vert-C2:C3 (vertebral levels), disc-C2C3 (5 mm to either side of a disc), "
        "pmj-50 (20 mm about 50 mm, or another distance, below the pontomedullary junction)",
        None,
    ),
    "start_mm": ("Upper end of the region along the session's cord axis, growing downwards", _MM),
    "end_mm": ("Lower end of the region along the session's cord axis", _MM),
    "slice": ("Index of the slice in the file, on the voxel axis nearest to superior-inferior", None),
    "position_mm": ("Position along the session's cord axis, 0 at its upper end, growing downwards", _MM),
    "level": ("Vertebral level as a coordinate: 3.4 is four tenths down C3; T1 is 8, L1 is 20", None),
    "pmj_mm": (
        "Distance from the pontomedullary junction along the centreline, growing downwards; n/a where the "
        "junction is not known",
        _MM,
    ),
    "x_mm": ("Scanner coordinate of the centreline, to the right", _MM),
    "y_mm": ("Scanner coordinate of the centreline, to the front", _MM),
    "z_mm": ("Scanner coordinate of the centreline, upwards", _MM),
    # Measures
    "area_mm2": (
        "Cross-sectional area perpendicular to the cord: sum of the soft mask, times pixel area, "
        "times the cosine between centreline and slice normal; over a region its length-weighted mean",
        _MM2,
    ),
    "area_binary_mm2": ("The same of the mask cut at 0.5", _MM2),
    "area_sd_mm2": (
        "Standard deviation of area_mm2 over the region's slices; of one slice, of the error the model "
        "expects of itself",
        _MM2,
    ),
    "diameter_ap_mm": ("Anterior-posterior diameter of the 0.5 contour, perpendicular to the cord", _MM),
    "diameter_rl_mm": ("Right-left diameter of the 0.5 contour, perpendicular to the cord", _MM),
    "eccentricity": ("Eccentricity of the ellipse of equal second moments: 0 is a circle", None),
    "solidity": ("Area of the contour over that of its convex hull", None),
    "angle_ap_deg": ("Tilt of the cord against the slice normal, in the anterior-posterior direction", _DEG),
    "angle_rl_deg": ("Tilt of the cord against the slice normal, in the right-left direction", _DEG),
    "length_mm": ("Length of cord measured (within one slice, or over the region)", _MM),
    "n_slices": ("Number of slices measured", None),
    "coverage": ("Measured length over the whole length of the region, 0 to 1", None),
    "isocentre_offset_mm": ("Distance of the region's middle from the scanner's isocentre", _MM),
    "edited": ("Whether a corrected mask changed the slice; over a region, how many slices", None),
    # Who computed
    "model_hash": ("First 12 hexadecimal digits of the checkpoint's SHA-256", None),
    "version": ("Version of softseg", None),
    "flags": ("What a reader should know before using the number, joined by semicolons", None),
    # Group tables
    "contrast_set": ("Contrasts the variability was asked over, joined by semicolons", None),
    "members": ("Contrasts of the set that were there, joined by semicolons", None),
    "n_contrasts": ("Number of contrasts that entered", None),
    "mean_mm2": ("Mean of area_mm2 over the members", _MM2),
    "sd_mm2": ("Standard deviation of area_mm2 over the members (n - 1)", _MM2),
    "range_mm2": ("Largest minus smallest area_mm2 of the members", _MM2),
    "cv_percent": ("sd_mm2 over mean_mm2", "%"),
    "input": ("The input file, from the dataset's root", None),
    "reason": ("Why, in words", None),
    "n_flagged": ("Number of flagged slices", None),
}

_LEVELLED: dict[str, tuple[str, dict[str, str]]] = {
    "plane": (
        "Plane of acquisition, from the voxel size",
        {"ax": "axial", "sag": "sagittal", "cor": "coronal", "iso": "near-isotropic"},
    ),
    "csa_fit": (
        "Whether pixels and plane allow a cross-section to be measured",
        {
            "good": "yes",
            "limited": "kept, but out of norms and group tests unless asked for",
            "no": "pixels are too coarse",
        },
    ),
    "mask_source": (
        "Who drew the mask",
        {"model": "the network", "corrected": "the network, merged with a corrected mask"},
    ),
    "levels_source": (
        "Where the labels of the region come from; of cord and common, most discs of the image",
        {
            "given": "disc labels of this image",
            "found": "at least one was found, by what this image itself shows",
            "shared": "given or found in other images of the session, through scanner space",
            "none": "no levels, or none that are sure",
        },
    ),
    "angle_source": (
        "Where the cord's direction comes from",
        {
            "own": "the image's own centreline",
            "session": "the session's axis: its longest centreline, and what others add to its ends",
            "straight": "a straight line fitted to a short slab",
        },
    ),
    "gradient_correction": (
        "Correction of gradient non-linearity on the scanner",
        {"none": "none", "2D": "in plane", "3D": "in three dimensions", "unknown": "not said by the sidecar"},
    ),
    "status": (
        "What became of the input",
        {
            "measured": "segmented and measured",
            "no_cord": "no cord in the picture",
            "failed": "could not be processed",
            "left out": "not chosen",
        },
    ),
    "rating": (
        "Quality as rated by a person",
        {"pass": "good", "fail": "not to be used", "n/a": "not rated"},
    ),
}


def column(description: str, units: str | None = None) -> dict[str, Any]:
    """The data-dictionary entry of one column."""
    return {"Description": description, **({"Units": units} if units else {})}


COLUMNS: dict[str, dict[str, Any]] = {
    **{name: column(*entry) for name, entry in _PLAIN.items()},
    **{name: {"Description": text, "Levels": levels} for name, (text, levels) in _LEVELLED.items()},
}
