"""A cord protocol for the neck, after spine-generic (Cohen-Adad 2021), in a small field of view."""

from __future__ import annotations

from softseg_bids.synthesis.scan import Sequence, Stack

# The middle of the field lies at this height below the top of C1: C1-C2 to C5-C6 is in view.
CENTRE_S_MM = 48.0
FIELD_MM = (60.0, 60.0, 90.0)

NECK = (
    Stack(
        (Sequence("T1w", (1.0, 1.0, 1.0)), Sequence("T2w", (0.8, 0.8, 0.8), noise=0.025)),
        FIELD_MM,
        fine_mm=(0.6, 0.6, 0.8),
    ),
    Stack(
        (
            Sequence("T2starw", (0.5, 0.5, 5.0), 2, 0.03),
            Sequence("MTon", (0.9, 0.9, 5.0), 2, 0.015),
            Sequence("MToff", (0.9, 0.9, 5.0), 2, 0.015),
            Sequence("GRET1w", (0.9, 0.9, 5.0), 2, 0.02),
        ),
        FIELD_MM,
        fine_mm=(0.5, 0.5, 1.25),
        is_aligned=True,
    ),
    Stack(
        (Sequence("DWI", (0.9, 0.9, 5.0), 2, 0.04),),
        FIELD_MM,
        fine_mm=(0.6, 0.6, 1.25),
        is_aligned=True,
        distortion_mm=0.3,
    ),
)
