"""Who made a scanner: one name for every way that headers write it."""

from __future__ import annotations

import re

# What a header's text begins with, and the name.
VENDORS = {
    r"siemens": "Siemens", r"philips": "Philips", r"(ge|gems|general electric)\b": "GE", r"canon": "Canon",
    r"toshiba": "Toshiba", r"hitachi": "Hitachi", r"fujifilm": "Fujifilm", r"bruker": "Bruker",
    r"(united imaging|uih)\b": "United Imaging",
}  # fmt: skip


def vendor(text: str) -> str:
    """The vendor of a ``Manufacturer``: Siemens for SIEMENS and Siemens Healthineers alike.

    A name that is not known stays as it is, but for its spaces and capitals.
    """
    name = " ".join(text.split())
    known = (vendor for start, vendor in VENDORS.items() if re.match(start, name, re.IGNORECASE))
    return next(known, name.title())
