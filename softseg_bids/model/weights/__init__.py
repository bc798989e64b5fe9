"""The packaged checkpoint: where it is and what it is, without importing torch."""

from __future__ import annotations

import hashlib
from pathlib import Path

DEFAULT = Path(__file__).with_name("default.pt")


def digest(path: Path = DEFAULT) -> str:
    """First 12 hexadecimal digits of the checkpoint's SHA-256: the model's name in every output."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
