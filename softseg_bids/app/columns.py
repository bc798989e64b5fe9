"""Which columns the tables have, in their order (their meaning: `bids.columns`)."""

from __future__ import annotations

MEASURES = (
    "area_mm2", "area_binary_mm2", "diameter_ap_mm", "diameter_rl_mm", "eccentricity", "solidity",
    "angle_ap_deg", "angle_rl_deg",
)  # fmt: skip

LONG = (
    "participant_id", "session_id", "run", "contrast", "acq", "ce", "rec", "plane", "site", "manufacturer",
    "scanner", "software", "region", "source_image", "area_mm2", "area_binary_mm2", "area_sd_mm2",
    "diameter_ap_mm", "diameter_rl_mm", "eccentricity", "solidity", "angle_ap_deg", "angle_rl_deg",
    "length_mm", "n_slices", "coverage", "start_mm", "end_mm", "csa_fit", "mask_source", "edited",
    "levels_source", "angle_source", "gradient_correction", "isocentre_offset_mm", "model_hash", "version",
    "status", "flags",
)  # fmt: skip

SLICES = (
    "slice",
    "position_mm",
    "x_mm",
    "y_mm",
    "z_mm",
    "level",
    "pmj_mm",
    *MEASURES,
    "area_sd_mm2",
    "length_mm",
    "edited",
    "flags",
)
