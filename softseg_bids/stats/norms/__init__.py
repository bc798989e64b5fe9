"""The packaged normative table, with its licence and citation in README.md."""

from __future__ import annotations

from pathlib import Path

PUBLISHED = Path(__file__).parent / "normative_csa.tsv"
CITATION = (
    "Valosek J., Bedard S. et al. (2024). A database of the healthy human spinal cord morphometry in the "
    "PAM50 template space. Imaging Neuroscience 2, 1-15. doi:10.1162/imag_a_00075 (table: MIT licence, "
    "PAM50-normalized-metrics)"
)
