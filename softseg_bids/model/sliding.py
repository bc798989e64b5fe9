"""MONAI's sliding windows; importing them opens no socket."""

from __future__ import annotations

import socket

# urllib3, which monai brings along, would open an IPv6 socket while it is imported; nothing here may.
_ipv6, socket.has_ipv6 = socket.has_ipv6, False
from monai.inferers import sliding_window_inference  # noqa: E402

socket.has_ipv6 = _ipv6

__all__ = ["sliding_window_inference"]
