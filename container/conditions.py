"""Under which restrictions a container runs, and what a process inside can do under them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

STRANGER = 54321  # a user and group number that no system gives a name
OWN_USER = 1000  # the image's own user
PROBED = ("/", "/opt/softseg", "/home/softseg", "/tmp", "/data", "/out")


@dataclass(frozen=True)
class Condition:
    """A set of restrictions; the defaults are the strictest.

    Attributes
    ----------
    name : str
    uid : int
        User and group number of the caller, to whom the outputs must belong.
    chosen : bool
        Whether the caller names the user; else it is the image's own one.
    read_only : bool
        Whether the root and the data cannot be written.
    tmpfs : bool
        Whether /tmp can be written although the root cannot.
    powerless : bool
        Without capabilities and without a way to gain any.
    network : bool
        Whether the machine's network can be reached.
    """

    name: str
    uid: int = STRANGER
    chosen: bool = True
    read_only: bool = True
    tmpfs: bool = False
    powerless: bool = True
    network: bool = False

    def writable(self) -> list[str]:
        """The folders among PROBED that can be written."""
        if self.uid == 0 and not self.read_only:
            return list(PROBED)
        if self.read_only:
            return ["/tmp", "/out"] if self.tmpfs else ["/out"]
        return ["/home/softseg", "/tmp", "/out"]

    def wrong(self, found: dict[str, Any]) -> list[str]:
        """What a probe found that these restrictions do not say, one line each.

        Parameters
        ----------
        found : dict
            As ``probe.py`` prints it.
        """
        expected: dict[str, Any] = {
            "uid": self.uid,
            "named": self.uid != STRANGER,
            "no_new_privileges": self.powerless,
            "network": self.network,
            "writable": self.writable(),
        }
        lines = [
            f"{key} is {found[key]}, not {value}" for key, value in expected.items() if found[key] != value
        ]
        if self.uid == 0 and bool(found["capabilities"]) == self.powerless:
            lines.append(f"capabilities are {found['capabilities']:#x}")
        if self.uid and found["capabilities"]:
            lines.append(f"capabilities are {found['capabilities']:#x}, not 0")
        return lines


# The app runs under each of these; probes must find each as it is described.
RESTRICTED = (
    Condition("a stranger, read-only, a tmpfs on /tmp", tmpfs=True),
    Condition("a stranger, read-only, nothing to write to but OUT"),
    Condition("the image's own user", uid=OWN_USER, chosen=False, read_only=False, powerless=False),
)
# Here nothing is restricted: were a probe blind, it would see no difference.
OPEN = Condition("root, writable, with network", uid=0, read_only=False, powerless=False, network=True)


@dataclass(frozen=True)
class Mounts:
    """Folders of the machine that a container sees.

    Attributes
    ----------
    data, out : Path
        On /data and /out.
    more : tuple of (Path, str)
        Further folders, read-only, and where they are seen.
    """

    data: Path
    out: Path
    more: tuple[tuple[Path, str], ...] = ()
